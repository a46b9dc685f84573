"""A Gaussian with its own mean and covariance at each position of the patch, shrunk to the stationary one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_eval.density.gaussian import (
    FittedGaussian,
    PatchMoments,
    fit_sequential_gaussian,
    patch_moments,
    tapered_covariance,
)
from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.patches import FloatArray, PatchSet

# Intensities of shrinkage that are tried: 1 is the stationary covariance.
_INTENSITIES = (1.0, 0.97, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.03)
_TUNING_PIXELS = 1 << 18


@dataclass(frozen=True)
class FullGaussian:
    r"""Patch-position covariance shrunk towards the stationary covariance.

    .. math:: \Sigma = \lambda\,\Sigma_\mathrm{stationary} + (1 - \lambda)\,S

    with lambda, and one mean for all positions or one for each, chosen by held-out code length. What is
    fixed to the patch grid (repeated objects, a lenslet pattern) shows here; for fields without such a
    pattern lambda goes to 1.
    """

    name: str = "full_gaussian"

    def fit(self, train: PatchSet, validation: PatchSet, seed: int) -> FittedGaussian:
        """Fit to `train`, choosing on `validation`; see `DensityFamily.fit`."""
        moments = patch_moments(train)
        histogram = fit_light_histogram(train, validation)
        tuning = validation.thinned(_TUNING_PIXELS)
        best: tuple[float, FittedGaussian] | None = None
        for mean, scatter in _candidate_means(moments):
            stationary = tapered_covariance(mean, scatter, histogram, train, tuning)
            previous = np.inf
            for intensity in _INTENSITIES:
                covariance = intensity * stationary + (1 - intensity) * scatter
                fitted = fit_sequential_gaussian(self.name, mean, covariance, histogram, train, tuning)
                bits = float(fitted.code_length_bits(tuning).sum())
                if best is None or bits < best[0]:
                    best = (bits, fitted)
                if bits > previous:  # one minimum in lambda: past it nothing better comes
                    break
                previous = bits
        if best is None:
            raise ValueError("no candidate was tried")
        return best[1]


def _candidate_means(moments: PatchMoments) -> list[tuple[FloatArray, FloatArray]]:
    """Mean vectors with the second moments about them: the global mean, and the mean of each position."""
    shift = moments.position_mean_dn - moments.global_mean_dn
    about_position = moments.scatter_dn2 - np.outer(shift, shift)
    constant = np.full(shift.size, moments.global_mean_dn)
    return [(constant, moments.scatter_dn2), (moments.position_mean_dn, about_position)]
