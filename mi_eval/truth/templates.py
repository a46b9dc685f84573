"""Patches that show one of a few known patterns: a finite mixture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.fields import Correlation
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


@dataclass(frozen=True)
class Templates:
    r"""Every frame shows one of N patterns of light, all equally likely.

    Patterns are smooth log-normal fields, fixed for a patch size. With T the number of the pattern,

    .. math:: I(Y;Z) = I(T;Z) = \log_2 N - E_z H(T | Z = z),

    a Monte-Carlo mean of the entropy of the posterior, which is exact for each z. Where light suffices to tell
    the patterns apart, every draw gives 0 and the information is :math:`\log_2 N` a patch without error.

    Parameters
    ----------
    contrast : float
        Standard deviation of the log of the light within a pattern.
    """

    family: ClassVar[Family] = "templates"

    name: str
    description: str
    noise_model: NoiseModel
    mean_e: float
    correlation: Correlation
    contrast: float = 0.5
    n_templates: int = 64
    monte_carlo_patches: int = 2000

    def __post_init__(self) -> None:
        if self.noise_model.bit_depth is None or self.noise_model.maps:
            raise PhotonbitsError("templates with real values or maps", legal="integer codes, without maps")

    def patterns_e(self, patch_size: int) -> FloatArray:
        """Light of the patterns, (n_templates, p, p)."""
        field = self.correlation.draw(self.n_templates, patch_size, np.random.default_rng([3, patch_size]))
        return self.mean_e * np.exp(self.contrast * field - self.contrast**2 / 2)

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, _LARGEST_PATCH, self.name)
        which = rng.integers(self.n_templates, size=n_patches)
        return pixel_sampler(self.noise_model, self.patterns_e(patch_size)[which], rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z), bits per pixel, with the standard error of the posterior's mean entropy."""
        rng = np.random.default_rng([4, patch_size])
        nats = self._log_masses(self.sample(self.monte_carlo_patches, patch_size, rng).frames)
        nats -= logsumexp(nats, axis=1, keepdims=True)
        entropy = -np.sum(np.exp(nats) * np.maximum(nats, -700.0), axis=1) / np.log(2)
        return monte_carlo_mean((np.log2(self.n_templates) - entropy) / patch_size**2)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z) of the mixture."""
        nats = logsumexp(self._log_masses(patches), axis=1) - np.log(self.n_templates)
        return np.asarray(-nats / np.log(2))

    def _log_masses(self, patches: NDArray[Any]) -> FloatArray:
        """Log p(z | pattern), natural, (n, n_templates)."""
        charge = self.patterns_e(patches.shape[1]).reshape(self.n_templates, -1)
        codes = patches.reshape(len(patches), -1)
        total = np.zeros((len(codes), self.n_templates))
        for pixel in range(codes.shape[1]):
            order = np.argsort(charge[:, pixel])  # the table is fastest for ascending charges
            logs, first = code_log_masses(self.noise_model, codes[:, pixel], charge[order, pixel])
            total[:, order] += logs[:, codes[:, pixel] - first].T
        return total
