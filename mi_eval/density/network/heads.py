"""What a network's outputs mean: a law of the next code. Each is a proper mass function whatever the outputs are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, softmax

from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.interface import flat_edges, flat_values
from mi_eval.density.network.features import FeatureMap, Features
from mi_eval.density.network.intensity_grid import IntensityGrid
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.torch_extra import Tensor, torch

N_NORMALS = 3
# Signal variance beside the noise that the Gaussian's prediction is taken to hold at least.
_LEAST_SIGNAL = 0.05
_LOG_RANGE = 12.0
# Wider cells, in standard deviations, go through the normal cdf.
_NARROW = 0.5
# Where float32 still holds the mass of a normal law, and what stands for infinity.
_DEEPEST = 12.0
_FAR = 1e4


class Head(ABC):
    """From outputs (n, p*p, n_outputs) to the law of each code."""

    @abstractmethod
    def initial_bias(self) -> FloatArray:
        """Outputs that the network starts from, (n_outputs,)."""

    @abstractmethod
    def targets(self, patches: PatchSet) -> tuple[Tensor, ...]:
        """What `mass_for_training` needs of the codes, first axis the patches."""

    def on_device(self, device: object) -> Tensor | None:
        """A table that `mass_for_training` needs, on its device."""
        return None

    @abstractmethod
    def mass_for_training(
        self, out: Tensor, features: tuple[Tensor, ...], targets: tuple[Tensor, ...], table: Tensor | None
    ) -> Tensor:
        """Mass (density) of each code in float32, (n, p*p)."""

    @abstractmethod
    def mass(self, out: FloatArray, features: Features, patches: PatchSet) -> FloatArray:
        """Mass (density per DN of light) of each code, (n, p*p)."""

    @abstractmethod
    def cdf(self, out: FloatArray, features: Features, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Conditional cdf at both edges of each code's cell, (n, p*p) each."""


@dataclass(frozen=True)
class NoiseAwareHead(Head):
    r"""Weights of intensities, seen through the camera: :math:`\sum_k \pi_k\,p(z|y_k)`."""

    grid: IntensityGrid

    def initial_bias(self) -> FloatArray:
        """The law of single pixels."""
        return np.log(self.grid.weights)

    def targets(self, patches: PatchSet) -> tuple[Tensor, ...]:
        """Row of each code in the table of masses."""
        return (torch.from_numpy(self.grid.locate(patches)),)

    def mass_for_training(
        self, out: Tensor, features: tuple[Tensor, ...], targets: tuple[Tensor, ...], table: Tensor | None
    ) -> Tensor:
        """Mixture over the grid."""
        if table is None:
            raise ValueError("no table")
        return (torch.softmax(out, dim=-1) * table[targets[0]]).sum(dim=-1)

    def on_device(self, device: object) -> Tensor | None:
        """Rows p(code | y_k) of all classes of pixels."""
        return torch.from_numpy(self.grid.masses.astype(np.float32)).to(device)

    def mass(self, out: FloatArray, features: Features, patches: PatchSet) -> FloatArray:
        """Mixture over the grid, float64."""
        rows = self.grid.masses[self.grid.locate(patches)]
        return np.asarray(np.einsum("npk,npk->np", softmax(out, axis=-1), rows))

    def cdf(self, out: FloatArray, features: Features, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Mixture of the camera's cdfs."""
        weights = softmax(out, axis=-1)
        lower, upper = (np.einsum("npk,npk->np", weights, edge) for edge in self.grid.edges(patches))
        return lower, upper


@dataclass(frozen=True)
class NormalMixtureHead(Head):
    r"""Three Gaussians of light on the stabilised scale, integrated over the code's cell.

    .. math:: \mu_k = \mu + \sigma a_k,\qquad
              \sigma_k^2 = 1 + \max(\sigma^2 - 1, \sigma^2/20)\,e^{b_k}

    with mu and sigma what the Gaussian predicts. No component is narrower than the noise.

    Parameters
    ----------
    feature_map : FeatureMap
    floor : float
        Variance of the noise on the stabilised scale: 1, or less where there is none.
    """

    feature_map: FeatureMap
    floor: float = 1.0

    def initial_bias(self) -> FloatArray:
        """Mostly one Gaussian as predicted, with a narrow and a wide one beside it."""
        return np.array([-2.0, 0.0, -2.5, 0.0, 0.0, 0.0, -1.4, 0.0, 1.4])

    def targets(self, patches: PatchSet) -> tuple[Tensor, ...]:
        """Lower edge, upper edge and width of each cell on the stabilised scale; the place alone of real values."""
        lower, upper = (np.clip(edge, -_FAR, _FAR) for edge in self._edges(patches))
        if not patches.discrete:
            return (torch.from_numpy(lower.astype(np.float32)),)
        return tuple(torch.from_numpy(a.astype(np.float32)) for a in (lower, upper, upper - lower))

    def mass_for_training(
        self, out: Tensor, features: tuple[Tensor, ...], targets: tuple[Tensor, ...], table: Tensor | None
    ) -> Tensor:
        """Mixture of cell masses; midpoint series for narrow cells, normal cdfs for wide ones."""
        lower, upper, width = (t.unsqueeze(-1) for t in (targets if len(targets) == 3 else targets * 3))
        weights, mean, sd = _components_torch(out, features, self.floor)
        inverse = 1 / sd
        middle = torch.clamp((0.5 * (upper + lower) - mean) * inverse, -_DEEPEST, _DEEPEST)
        density = torch.exp(-0.5 * middle**2) * (inverse / np.sqrt(2 * np.pi))
        if len(targets) == 1:
            return (weights * density).sum(dim=-1)
        delta = torch.clamp(width * inverse, max=_NARROW)
        part = density * sd * delta * torch.clamp(1 + delta**2 * (middle**2 - 1) / 24, min=0.1)
        wide = width * inverse > _NARROW
        # A GPU does the work sooner than it tells whether there is any.
        if wide.is_cuda or bool(wide.any()):
            high, low = (torch.erf((edge - mean) * inverse * np.sqrt(0.5)) for edge in (upper, lower))
            part = torch.where(wide, 0.5 * (high - low), part)
        return (weights * part).sum(dim=-1)

    def mass(self, out: FloatArray, features: Features, patches: PatchSet) -> FloatArray:
        """Mixture of exact cell masses, float64."""
        weights, mean, sd = _components(out, features, self.floor)
        lower, upper = self._edges(patches)
        total = np.zeros(lower.shape)
        for k in range(N_NORMALS):
            m, s = mean[..., k], sd[..., k]
            if patches.discrete:
                part = normal_cell_mass(lower, upper, m, s)
            else:
                part = np.exp(log_normal_density(lower, m, s)) * self._slope(patches)
            total += weights[..., k] * part
        return total

    def cdf(self, out: FloatArray, features: Features, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Mixture of normal cdfs."""
        weights, mean, sd = _components(out, features, self.floor)
        edges = self._edges(patches)
        u = [np.sum(weights * ndtr((edge[..., None] - mean) / sd), axis=-1) for edge in edges]
        return u[0], u[1]

    def _edges(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        stabiliser, centre = self.feature_map.stabiliser, self.feature_map.centre
        if not patches.discrete:
            x = stabiliser(flat_values(patches)) - centre
            return x, x
        lower, upper = flat_edges(patches)
        return stabiliser(lower) - centre, stabiliser(upper) - centre

    def _slope(self, patches: PatchSet) -> FloatArray:
        return self.feature_map.stabiliser.slope(flat_values(patches))


def _components(out: FloatArray, features: Features, floor: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and standard deviations, (n, p*p, 3) each."""
    logit, shift, log_variance = np.split(out.astype(np.float64), N_NORMALS, axis=-1)
    mean = features.mean.astype(np.float64)[..., None]
    sd = features.sd.astype(np.float64)[..., None]
    signal = np.maximum(sd**2 - floor, _LEAST_SIGNAL * sd**2)
    variance = floor + signal * np.exp(np.clip(log_variance, -_LOG_RANGE, _LOG_RANGE))
    return softmax(logit, axis=-1), mean + sd * shift, np.sqrt(variance)


def _components_torch(out: Tensor, features: tuple[Tensor, ...], floor: float) -> tuple[Tensor, Tensor, Tensor]:
    logit, shift, log_variance = torch.split(out, N_NORMALS, dim=-1)
    shape = (out.shape[0], out.shape[1], 1)
    mean, sd = features[2].reshape(shape), features[3].reshape(shape)
    signal = torch.maximum(sd**2 - floor, _LEAST_SIGNAL * sd**2)
    variance = floor + signal * torch.exp(torch.clamp(log_variance, -_LOG_RANGE, _LOG_RANGE))
    return torch.softmax(logit, dim=-1), mean + sd * shift, torch.sqrt(variance)


def make_head(
    feature_map: FeatureMap, train: PatchSet, validation: PatchSet, *, noise_aware: bool = True
) -> tuple[Head, str]:
    """The noise-aware head at low counts, three Gaussians elsewhere, and why."""
    if not noise_aware:
        return NormalMixtureHead(feature_map), "as asked for"
    grid = IntensityGrid.of(train, validation)
    if isinstance(grid, IntensityGrid):
        return NoiseAwareHead(grid), f"{grid.y_e.size} intensities"
    return NormalMixtureHead(feature_map), grid
