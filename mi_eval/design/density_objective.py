"""Information as the code length of simulated frames under a density that is refitted as the design moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.density import FullGaussian, PatchSet, ScaleMixture, combine_code_lengths
from mi_eval.density.basis import gaussian_basis
from mi_eval.density.combine import fit_mixture_weights
from mi_eval.density.gaussian import FittedGaussian, Innovations
from mi_eval.density.scale_mixture import FittedScaleMixture
from mi_eval.design.objectives import Objective, patch_of, well_penalty
from mi_eval.design.problem import DesignProblem
from mi_eval.systems.protocol import Parameters
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]
Fitted = FittedGaussian | FittedScaleMixture

_BATCH_PATCHES = 1024  # of one step, for the density and for the gradient each
_CHUNK = 256
_REPORT_PATCHES = 8000
_TRAIN, _VALIDATION = 0.6, 0.15  # shares of a report; the rest is scored
_ENTROPY_NODES = 600


@dataclass(frozen=True)
class _Mixture:
    """A fitted family in torch: sequential Gaussians with weights, each with a little of one broad normal."""

    means: Tensor
    whitening: Tensor
    log_weights: Tensor
    outlier_weight: float
    broad_mean_dn: float
    broad_sd_dn: float

    @classmethod
    def of(cls, fitted: Fitted, train: PatchSet) -> _Mixture:
        """The family's own density, but smooth.

        A code costs the density in its middle, and outliers have a normal of twice the spread of all pixels
        instead of the histogram.
        """
        experts: tuple[Innovations, ...]
        if isinstance(fitted, FittedGaussian):
            experts, weights = (fitted.innovations,), np.ones(1)
        else:
            experts, weights = fitted.experts, fitted.weights
        mean, sd = float(train.value_dn.mean()), float(train.value_dn.std())
        means = torch.from_numpy(np.stack([e.mean_dn for e in experts]))
        inverse = torch.from_numpy(np.stack([np.linalg.inv(e.cholesky_dn) for e in experts]))
        return cls(means, inverse, torch.log(torch.from_numpy(weights)), fitted.outlier_weight, mean, 2 * sd)

    def code_length_bits(self, values_dn: Tensor) -> Tensor:
        """Minus log2 of the density per DN of patches (n, D), offset removed; per patch."""
        far = (values_dn - self.broad_mean_dn) / self.broad_sd_dn
        broad = -0.5 * far**2 - np.log(self.broad_sd_dn * np.sqrt(2 * np.pi)) + np.log(self.outlier_weight)
        logs = []
        for mean, whiten, log_weight in zip(self.means, self.whitening, self.log_weights, strict=True):
            e = (values_dn - mean) @ whiten.T
            normal = -0.5 * e**2 + torch.log(torch.diagonal(whiten)) - 0.5 * np.log(2 * np.pi)
            logs.append(torch.logaddexp(normal + np.log1p(-self.outlier_weight), broad).sum(dim=1) + log_weight)
        return -torch.logsumexp(torch.stack(logs), dim=0) / np.log(2)


class DensityObjective(Objective):
    r"""Code length of simulated frames under a density fitted to other frames of the same design, less the noise's.

    .. math:: I \le E[-\log_2 q(Z)] - H(Z|Y)

    The density q of whole patches (Gaussian with a covariance for each place, or scale mixture: whichever codes
    held-out patches better) is fitted again to fresh simulated frames every few steps, and held in between. Where q is
    the best of its family the gradient through it is 0, so the gradient at fixed q is that of the bound itself.

    An upper bound invites an encoder to hide what q cannot see. The patch, the context of q, must be larger than the
    point-spread function (`mi_eval.design.context`), and a value above the audit is flagged.
    """

    name = "density"
    noisy = True

    def __init__(
        self, problem: DesignProblem, n_objects: int, seed: int, patch_size: int, refit_every: int = 5
    ) -> None:
        system = problem.system
        patch_size = patch_of(system, patch_size)
        if patch_size % system.period_px:
            raise PhotonbitsError(
                f"patch_size {patch_size} with a system of period {system.period_px}",
                legal=f"multiples of {system.period_px}",
            )
        if n_objects < 64:
            raise PhotonbitsError(f"{n_objects} objects for a density", legal="64 or more")
        self._problem, self._seed, self._patch = problem, seed, patch_size
        self._refit_every = refit_every
        # Two pools: what the density was fitted to must not be what it scores.
        self._fit_pool = problem.draw(n_objects // 2, np.random.default_rng([seed, 13]))
        self._pool = problem.draw(n_objects - n_objects // 2, np.random.default_rng([seed, 14]))
        each = (system.frame_shape[0] // patch_size) * (system.frame_shape[1] // patch_size)
        self._per_frame, self._batch_size = each, -(-_BATCH_PATCHES // each)
        self._batch, self._noise_seed = self._pool, 0
        self._generator = torch.Generator()
        self._mixture: _Mixture | None = None
        self._reports: dict[bytes, float] = {}
        self._entropy: tuple[Tensor, Tensor] | None = None

    # ---- one step ------------------------------------------------------------------------------------------

    def prepare(self, step: int, parameters: Parameters) -> None:
        """Fit the density to frames of this design where its turn has come; draw the objects and noise of the step."""
        rng = np.random.default_rng([self._seed, 15, step])
        if self._mixture is None or step % self._refit_every == 0:
            self._refit(parameters, rng)
        self._batch = _some(self._pool, self._batch_size, rng)
        self._noise_seed = int(rng.integers(2**62))

    def _refit(self, parameters: Parameters, rng: np.random.Generator) -> None:
        with torch.no_grad():
            charge = self._charge(_some(self._fit_pool, self._batch_size, rng), parameters).numpy()
        patches = self._patches(self._problem.noise_model.sample(charge, rng), charge)
        train, validation = _split(patches, rng, (0.7, 0.3))
        fitted = _families(train, validation)
        best = min(fitted, key=lambda f: float(f.code_length_bits(validation).mean()))
        self._mixture = _Mixture.of(best, train)

    def bits(self, parameters: Parameters) -> Tensor:
        """Code length of this step's frames less the entropy of their noise, bits per pixel; with gradients."""
        if self._mixture is None:
            raise PhotonbitsError("a density objective that was not prepared", legal="prepare() before bits()")
        charge = self._charge(self._batch, parameters)
        generator = self._generator.manual_seed(self._noise_seed)
        frames = self._problem.channel.sample(charge, generator)
        camera = self._problem.noise_model.camera
        flat = _tiles(frames, self._patch).reshape(-1, self._patch**2) - float(camera.offset_dn)
        bits = self._mixture.code_length_bits(flat).mean() / self._patch**2
        if camera.kind == "poisson" and camera.bit_depth is None:  # probabilities on a lattice of K
            bits = bits - np.log2(float(camera.system_gain_dn_per_e))
        return bits - self._noise_bits(charge)

    def penalty(self, parameters: Parameters) -> Tensor:
        """For pixels whose charge plus 3 standard deviations of shot noise lies above the full well."""
        return well_penalty(self._problem, self._batch, parameters)

    def _charge(self, objects: Tensor, parameters: Parameters) -> Tensor:
        problem = self._problem
        return problem.charge_e(problem.system.forward(objects, parameters), parameters)

    def _noise_bits(self, charge: Tensor) -> Tensor:
        """Mean of H(Z|y), bits per pixel: the camera's exact entropy, interpolated between nodes even in sqrt(y)."""
        model = self._problem.noise_model
        if self._problem.channel.signed:
            level = np.quantile(charge.detach().numpy(), np.linspace(0, 1, 33))
            return torch.tensor(float(np.mean(model.conditional_entropy_bits(level))), dtype=torch.float64)
        top = float(torch.sqrt(charge.detach().max()))
        if self._entropy is None or top > float(self._entropy[0][-1]):
            root = np.linspace(0.0, 1.25 * top + 1e-3, _ENTROPY_NODES)
            bits = np.asarray(model.conditional_entropy_bits(root**2), dtype=np.float64)
            self._entropy = torch.from_numpy(root), torch.from_numpy(bits)
        root_nodes, bits_nodes = self._entropy
        step = root_nodes[1]
        place = torch.sqrt(torch.clamp(charge, min=1e-12)) / step
        left = torch.clamp(place.detach().floor().long(), 0, _ENTROPY_NODES - 2)
        share = place - left
        return (bits_nodes[left] * (1 - share) + bits_nodes[left + 1] * share).mean()

    def _patches(self, frames: NDArray[np.generic], charge: FloatArray) -> PatchSet:
        """Patches side by side; each frame is a group of its own."""
        model, codes = self._problem.noise_model, _tiles(frames, self._patch)
        camera, whole = model.camera, model.bit_depth is not None
        gain = float(camera.system_gain_dn_per_e)
        return PatchSet(
            codes=codes,
            frame_index=np.repeat(np.arange(len(frames)), len(codes) // len(frames)),
            noise_variance_dn2=float(model.variance_dn2(np.array(float(charge.mean())))),
            offset_dn=float(camera.offset_dn),
            black_clip_dn=float(camera.black_clip_dn) if whole else None,
            white_clip_dn=float(camera.white_clip_dn) if whole else None,
            lattice_dn=1.0 if whole else gain if camera.kind == "poisson" else None,
        )

    # ---- the value that is reported ------------------------------------------------------------------------

    def report(self, parameters: Parameters) -> float:
        """Code length of raw frames of new objects, under densities fitted to others of them, less that of the noise.

        Six frames of ten train, some choose and weigh the families, a quarter is scored: an upper bound of the
        information in expectation, whatever the densities.
        """
        key = b"".join(parameters[name].detach().numpy().tobytes() for name in sorted(parameters))
        if key not in self._reports:
            self._reports[key] = self._scored(parameters)
        return self._reports[key]

    def _scored(self, parameters: Parameters) -> float:
        problem, p = self._problem, self._patch
        rng = np.random.default_rng([self._seed, 16])
        count = max(len(self._pool), -(-_REPORT_PATCHES // self._per_frame))
        with torch.no_grad():
            charge = np.concatenate(
                [
                    self._charge(problem.draw(min(_CHUNK, count - first), rng), parameters).numpy()
                    for first in range(0, count, _CHUNK)
                ]
            )
        frames = problem.noise_model.sample(charge, rng)
        split = np.cumsum(np.array([_TRAIN, _VALIDATION]) * count).astype(int)
        parts = zip(np.split(frames, split), np.split(charge, split), strict=True)
        train, validation, test = (self._patches(*part) for part in parts)
        fitted = _families(train, validation)
        weights = fit_mixture_weights(np.stack([f.code_length_bits(validation) for f in fitted], axis=1))
        code = combine_code_lengths(np.stack([f.code_length_bits(test) for f in fitted], axis=1), weights)
        # Where the light is known the noise's own code length moves with that of the frames: less scatter.
        light = _tiles(charge[split[1] :], p)
        noise = np.asarray(problem.noise_model.log_pmf(test.codes, light), dtype=np.float64).mean() / np.log(2)
        return float(code.mean() / p**2 + noise)


def _families(train: PatchSet, validation: PatchSet) -> tuple[Fitted, Fitted]:
    basis = gaussian_basis(train, validation)
    return FullGaussian().fit(train, validation, 0, basis=basis), ScaleMixture().fit(train, validation, 0, basis=basis)


def _some(pool: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """At most ``size`` objects, drawn without replacement."""
    if len(pool) <= size:
        return pool
    return pool[torch.from_numpy(np.sort(rng.permutation(len(pool))[:size]))]


def _split(patches: PatchSet, rng: np.random.Generator, shares: tuple[float, float]) -> tuple[PatchSet, PatchSet]:
    """Patches of some frames, and of the others."""
    frames = np.unique(patches.frame_index)
    chosen = rng.permutation(frames)[: round(shares[0] * frames.size)]
    inside = np.isin(patches.frame_index, chosen)
    return patches.take(np.flatnonzero(inside)), patches.take(np.flatnonzero(~inside))


def _tiles(values: Any, patch: int) -> Any:
    """Frames (n, h, w) cut into patches side by side, (n * patches, patch, patch)."""
    rows, columns = (side // patch for side in values.shape[1:])
    cut = values[:, : rows * patch, : columns * patch].reshape(-1, rows, patch, columns, patch)
    return cut.swapaxes(2, 3).reshape(-1, patch, patch)
