"""Even light whose level changes from patch to patch: one number to know, exact by quadrature over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.laws import GammaLight
from mi_eval.truth.source import (
    Family,
    FloatArray,
    KnownInformation,
    Sample,
    check_patch_size,
    code_log_masses,
    monte_carlo_mean,
    pixel_sampler,
)

_LARGEST_PATCH = 64
_OUTSIDE = 1e-12  # probability of levels left out on each side
# Log mass of cells that the table leaves out (below 1e-17): finite, so that 0 of them count as 0.
_NOWHERE = -1e4


@dataclass(frozen=True)
class DriftingLamp:
    r"""Even light whose level is drawn afresh for every patch: a lamp that drifts is a scene of one number.

    .. math:: I(Y;Z) = I(S;Z) = E \log_2 \frac{p(z|s)}{\int p(z|s') dF(s')}

    by quadrature over the level, a third as fine as a patch can tell levels apart, and Monte Carlo over (s, z). About
    :math:`\log_2(1 + D \sigma_s^2/\sigma_z^2)/(2D)` bits per pixel with D the pixels of a patch.
    """

    family: ClassVar[Family] = "lamp"

    name: str
    description: str
    noise_model: NoiseModel
    light: GammaLight
    monte_carlo_patches: int = 4000

    def __post_init__(self) -> None:
        if self.noise_model.bit_depth is None or self.noise_model.maps:
            raise PhotonbitsError("drifting lamp with real values or maps", legal="integer codes, without maps")

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, _LARGEST_PATCH, self.name)
        level = self.light.quantile(rng.random(n_patches))
        light = np.broadcast_to(level[:, None, None], (n_patches, patch_size, patch_size))
        return pixel_sampler(self.noise_model, light, rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z), bits per pixel, with its Monte-Carlo standard error."""
        frames, light = self.sample(self.monte_carlo_patches, patch_size, np.random.default_rng([5, patch_size]))
        order = np.argsort(light[:, 0, 0])  # the table is fastest for ascending charges
        frames, level = frames[order], light[order, 0, 0]
        logs, first = code_log_masses(self.noise_model, frames, level)
        known = np.sum(_code_counts(frames, first, logs.shape[1]) * np.maximum(logs, _NOWHERE), axis=1)
        information = known / np.log(2) + self.surprise_bits(frames)
        return monte_carlo_mean(information / patch_size**2)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z) by quadrature over the level."""
        level, weight = self._quadrature(patches.shape[1])
        logs, first = code_log_masses(self.noise_model, patches, level)
        counts = _code_counts(patches, first, logs.shape[1])
        nats = logsumexp(counts @ np.maximum(logs, _NOWHERE).T + np.log(weight), axis=1)
        return np.asarray(-nats / np.log(2))

    def _quadrature(self, patch_size: int) -> tuple[FloatArray, FloatArray]:
        """Midpoint rule in the root of the level; steps a third of what shot noise lets a patch tell apart."""
        low, high = np.sqrt(self.light.quantile(np.array([_OUTSIDE, 1 - _OUTSIDE])))
        edges = np.linspace(low, high, int(np.ceil((high - low) * patch_size * 6)) + 1)
        mass = np.diff(self.light.distribution(edges**2))
        some = mass > 0
        return ((edges[:-1] + edges[1:]) / 2)[some] ** 2, mass[some] / mass.sum()


def _code_counts(patches: NDArray[Any], first: int, n_codes: int) -> FloatArray:
    """How often each code from ``first`` on occurs in each patch, (n, n_codes)."""
    codes = patches.reshape(len(patches), -1).astype(np.int64) - first
    flat = np.arange(len(codes))[:, None] * n_codes + codes
    return np.bincount(flat.ravel(), minlength=len(codes) * n_codes).reshape(-1, n_codes).astype(np.float64)
