"""A Gaussian with its own mean and covariance at each position of the patch, shrunk to the stationary one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_eval.density.basis import GaussianBasis, gaussian_basis
from mi_eval.density.covariance import MOST_DENSE_PIXELS, PatchMoments, floor_eigenvalues
from mi_eval.density.gaussian import FittedGaussian, fit_sequential_gaussian
from mi_eval.density.patches import FloatArray, PatchSet

# Intensities of shrinkage that are tried: 1 is the stationary covariance.
_INTENSITIES = (1.0, 0.97, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.03)


@dataclass(frozen=True)
class FullGaussian:
    r"""Patch-position covariance shrunk towards the stationary covariance.

    .. math:: \Sigma = \lambda\,\Sigma_\mathrm{stationary} + (1 - \lambda)\,S

    with lambda, and one mean for all positions or one for each, chosen by the likelihood of held-out patches. What is
    fixed to the patch grid (repeated objects, a lenslet pattern) shows here; for fields without such a
    pattern lambda goes to 1.
    """

    name: str = "full_gaussian"

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, basis: GaussianBasis | None = None
    ) -> FittedGaussian:
        """Fit to `train`, choosing on `validation`; `basis`, if learnt already from the same, is not learnt again."""
        basis = gaussian_basis(train, validation) if basis is None else basis
        best: tuple[float, FloatArray, FloatArray] | None = None
        for mean, scatter in _candidate_means(basis.moments):
            about_global = scatter is basis.moments.scatter_dn2
            stationary = basis.stationary_dn2 if about_global else basis.choice.covariance(scatter, train)
            previous = basis.judge.nats(mean, stationary)
            if best is None or previous < best[0]:
                best = (previous, mean, stationary)
            if train.n_pixels > MOST_DENSE_PIXELS:  # no covariance by position: only the mean is chosen
                continue
            # Both ends are floored, so what lies between them is.
            own = floor_eigenvalues(scatter, train)
            for intensity in _INTENSITIES[1:]:
                covariance = intensity * stationary + (1 - intensity) * own
                nats = basis.judge.nats(mean, covariance)
                if nats < best[0]:
                    best = (nats, mean, covariance)
                if nats > previous:  # one minimum in lambda: past it nothing better comes
                    break
                previous = nats
        if best is None:
            raise ValueError("no candidate was tried")
        return fit_sequential_gaussian(self.name, best[1], best[2], basis.histogram, train, validation)


def _candidate_means(moments: PatchMoments) -> list[tuple[FloatArray, FloatArray]]:
    """Mean vectors with the second moments about them: the global mean, and the mean of each position."""
    shift = moments.position_mean_dn - moments.global_mean_dn
    about_position = moments.scatter_dn2 - np.outer(shift, shift)
    constant = np.full(shift.size, moments.global_mean_dn)
    return [(constant, moments.scatter_dn2), (moments.position_mean_dn, about_position)]
