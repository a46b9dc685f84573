"""A network fitted to patches: a trunk, a head, and a little of the histogram."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from mi_eval.density.gaussian import OUTLIER_WEIGHTS
from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.network.device import on_best_device
from mi_eval.density.network.features import FeatureMap, Features
from mi_eval.density.network.heads import Head, make_head
from mi_eval.density.network.training import Masses, Schedule, one_thread, train
from mi_eval.density.network.trunk import Trunk, as_tensors
from mi_eval.density.patches import CHUNK_PIXELS, FloatArray, PatchSet
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture
from mi_eval.torch_extra import Tensor, torch

_CHECK_PIXELS = 1 << 17
_TUNING_PIXELS = 1 << 17
_TRAINING_OUTLIERS = 1e-4
_EVALUATED_AT_ONCE = 32
_N_FEATURES = 5

#: A trunk for patches of a size, on a device.
TrunkMaker: TypeAlias = Callable[[int, object], Trunk]


def in_order(patches: PatchSet) -> PatchSet:
    """The patches sorted by their light, so that a fit does not depend on how they were listed."""
    return patches.take(np.lexsort(flat_values(patches).T[::-1]).astype(np.int64))


def fit_network(
    name: str,
    make_trunk: TrunkMaker,
    schedule: Schedule,
    training: PatchSet,
    validation: PatchSet,
    seed: int,
    base: FittedScaleMixture | None = None,
    *,
    noise_aware: bool = True,
) -> FittedNetwork:
    """Fit a network to `training`, stopping on `validation`, on one thread.

    Parameters
    ----------
    name : str
    make_trunk : callable
        From patch size and device.
    schedule : Schedule
    training, validation : PatchSet
    seed : int
    base : FittedScaleMixture, optional
        The Gaussian whose innovations and predictions are inputs, where it is fitted already.
    noise_aware : bool
        False: three Gaussians at low counts too.
    """
    training, validation = in_order(training), in_order(validation)
    if base is None:
        base = ScaleMixture().fit(training, validation, seed)
    features = FeatureMap.of(base, training)
    head, reason = make_head(features, training, validation, noise_aware=noise_aware)

    def fit(device: object) -> FittedNetwork:
        return _fit(name, make_trunk, schedule, features, head, reason, training, validation, seed, device)

    with one_thread():
        fitted = on_best_device(fit, f"a fit of {name} to patches of {training.patch_size} x {training.patch_size}")
        return _with_outlier_weight(fitted, validation.thinned(_TUNING_PIXELS))


def _fit(
    name: str,
    make_trunk: TrunkMaker,
    schedule: Schedule,
    features: FeatureMap,
    head: Head,
    reason: str,
    training: PatchSet,
    validation: PatchSet,
    seed: int,
    device: object,
) -> FittedNetwork:
    histogram = fit_light_histogram(training, validation)
    steps = schedule.steps(training.n_patches, training.n_pixels)
    schedule = replace(schedule, batch_patches=schedule.batch(training.n_pixels))
    # Patches that the budget never reaches need no features.
    reach = steps * schedule.batch_patches
    if reach < training.n_patches:
        chosen = np.random.default_rng([seed, 11]).permutation(training.n_patches)[:reach]
        training = training.take(np.sort(chosen).astype(np.int64))
    bias = head.initial_bias()
    trunk = make_trunk(training.patch_size, device)
    weights = trunk.initial_weights(bias, [seed, 12])
    masses = _masses(head, trunk, device)
    tensors = _tensors(features, head, histogram, training, device)
    check = _tensors(features, head, histogram, validation.thinned(_CHECK_PIXELS), device)
    averaged = train(weights, masses, tensors, check, steps, schedule, [seed, 13])
    return FittedNetwork(
        name=name,
        make_trunk=make_trunk,
        patch_size=training.patch_size,
        features=features,
        head=head,
        head_reason=reason,
        weights=tuple(w.cpu().numpy() for w in averaged),
        histogram=histogram,
        outlier_weight=_TRAINING_OUTLIERS,
    )


def _tensors(
    features: FeatureMap, head: Head, histogram: LightHistogram, patches: PatchSet, device: object
) -> tuple[Tensor, ...]:
    inputs = as_tensors(features(patches), patches.patch_size, device)
    broad = torch.from_numpy(_broad(histogram, patches, features).astype(np.float32)).to(device)
    return (*inputs, broad, *(t.to(device) for t in head.targets(patches)))


def _broad(histogram: LightHistogram, patches: PatchSet, features: FeatureMap) -> FloatArray:
    """The histogram's mass, or density on the stabilised scale."""
    broad = histogram.weigh(patches)
    return broad if patches.discrete else broad / features.stabiliser.slope(flat_values(patches))


def _masses(head: Head, trunk: Trunk, device: object) -> Masses:
    table = head.on_device(device)

    def masses(weights: Sequence[Tensor], batch: tuple[Tensor, ...]) -> Tensor:
        inputs, broad, targets = batch[:_N_FEATURES], batch[_N_FEATURES], batch[_N_FEATURES + 1 :]
        mass = head.mass_for_training(trunk(weights, inputs), inputs, targets, table)
        return (1 - _TRAINING_OUTLIERS) * mass + _TRAINING_OUTLIERS * broad + 1e-30

    return masses


@dataclass(frozen=True)
class FittedNetwork(FittedDensity):
    r"""Code of a network.

    .. math:: q(z_i|z_{<i}) = (1-\epsilon)\,q_\mathrm{head}(z_i|f(z_{<i})) + \epsilon\,h(z_i)

    with h the code histogram.

    Parameters
    ----------
    features : FeatureMap
    head : Head
    head_reason : str
        Size of the noise-aware head, or why there is none.
    weights : tuple of ndarray
    histogram : LightHistogram
    outlier_weight : float
        epsilon.
    """

    name: str
    make_trunk: TrunkMaker
    patch_size: int
    features: FeatureMap
    head: Head
    head_reason: str
    weights: tuple[np.ndarray, ...]
    histogram: LightHistogram
    outlier_weight: float

    @cached_property
    def _placed(self) -> dict[str, tuple[list[Tensor], Trunk]]:
        return {}

    def _on(self, device: object) -> tuple[list[Tensor], Trunk]:
        """Weights and trunk on a device; they stay there."""
        if str(device) not in self._placed:
            weights = [torch.from_numpy(w).to(device) for w in self.weights]
            self._placed[str(device)] = weights, self.make_trunk(self.patch_size, device)
        return self._placed[str(device)]

    def outputs(self, patches: PatchSet) -> tuple[FloatArray, Features]:
        """The network's outputs (n, p*p, n_outputs), and its inputs."""
        features = self.features(patches)
        with one_thread():
            out = on_best_device(lambda device: self._outputs(features, device), f"the codes of {self.name}")
        return out, features

    def _outputs(self, features: Features, device: Any) -> FloatArray:
        weights, trunk = self._on(device)
        inputs = as_tensors(features, self.patch_size, device)
        at_once = _EVALUATED_AT_ONCE if device.type == "cpu" else max(1, CHUNK_PIXELS // self.patch_size**2)
        with torch.inference_mode():
            parts = [
                trunk(weights, [t[start : start + at_once] for t in inputs]).cpu().numpy()
                for start in range(0, len(features.mean), at_once)
            ]
        return np.concatenate(parts).astype(np.float64)

    def masses(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Mass (density) of the head and of the histogram, (n, p*p) each."""
        return self.head.mass(*self.outputs(patches), patches), self.histogram.weigh(patches)

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        mass, broad = self.masses(patches)
        bits = -np.log2((1 - self.outlier_weight) * mass + self.outlier_weight * broad)
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        low, high = self.head.cdf(*self.outputs(patches), patches)
        edges = flat_edges(patches) if patches.discrete else (flat_values(patches),) * 2
        low, high = (
            u + self.outlier_weight * (self.histogram.cdf(edge) - u) for u, edge in zip((low, high), edges, strict=True)
        )
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)


def _with_outlier_weight(fitted: FittedNetwork, tuning: PatchSet) -> FittedNetwork:
    """`fitted` with the share of the histogram that codes `tuning` best."""
    parts = [fitted.masses(chunk) for chunk in tuning.chunks()]
    bits = [sum(float(-np.log((1 - w) * mass + w * broad).sum()) for mass, broad in parts) for w in OUTLIER_WEIGHTS]
    return replace(fitted, outlier_weight=float(OUTLIER_WEIGHTS[int(np.argmin(bits))]))
