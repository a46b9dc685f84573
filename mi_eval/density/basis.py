"""What the Gaussian families learn from the same patches, learnt once: moments, histogram, stationary covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_eval.density.covariance import (
    CovarianceJudge,
    PatchMoments,
    StationaryChoice,
    choose_stationary,
    patch_moments,
)
from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet


@dataclass(frozen=True)
class GaussianBasis:
    """Shared parts of the Gaussian families, about one global mean."""

    moments: PatchMoments
    histogram: LightHistogram
    judge: CovarianceJudge
    choice: StationaryChoice
    stationary_dn2: FloatArray

    @property
    def mean_dn(self) -> FloatArray:
        """The global mean at every pixel, (p*p,)."""
        return np.full(self.moments.position_mean_dn.size, self.moments.global_mean_dn)


def gaussian_basis(train: PatchSet, validation: PatchSet) -> GaussianBasis:
    """Learn from `train`, choosing on `validation`."""
    moments = patch_moments(train)
    judge = CovarianceJudge.of(validation)
    mean = np.full(train.n_pixels, moments.global_mean_dn)
    choice, stationary = choose_stationary(mean, moments.scatter_dn2, train, judge)
    return GaussianBasis(moments, fit_light_histogram(train, validation), judge, choice, stationary)
