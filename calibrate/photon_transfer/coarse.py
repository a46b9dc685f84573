"""Dark noise below half a code: how much of it the rounding hides, by its profile likelihood.

Where a dark takes two codes only, its mean and its variance say the same thing (p and p (1 - p)), and a whole range
of read noises, each with an offset to match, explains the darks. A quadratic error estimate at one of them is then
far too small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import LEAST_DARK_VARIANCE_DN2, Candidate, fit_candidate

FloatArray = NDArray[np.float64]

#: Dark noise, DN, below which the profile is taken: rounding adds 1/12 to better than 1 % above.
COARSE_NOISE_DN = 0.55
_POINTS = 17


def with_profiled_dark_noise(fit: Candidate, data: PhotonTransferData, shape: FloatArray) -> Candidate:
    """The fit with the dark noise's error from its profile, where that is wider than the quadratic one.

    The dark noise is held at values from 0.01 to 0.8 DN and everything else fitted. The values within 1 of the least
    -2 log likelihood are the 68 % interval; where it is more than half as wide again as the quadratic one, its
    middle becomes the estimate and its half-width, along the path of the other parameters, the error.
    """
    position = fit.layout.names.index("dark_variance")
    if fit.theta[position] > COARSE_NOISE_DN**2 or not np.any(data.dark):
        return fit
    own = float(np.sqrt(fit.theta[position]))
    quadratic = float(np.sqrt(max(fit.covariance[position, position], 0.0))) / (2 * own)
    least = float(np.sqrt(LEAST_DARK_VARIANCE_DN2))
    near = np.clip(own + quadratic * np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0]), least, 0.8)
    noises = np.unique(np.concatenate([np.geomspace(least, 0.8, _POINTS), near]))
    path: list[Candidate] = []
    for noise in noises:  # each from the one before, which is near
        path.append(_held(path[-1] if path else fit, position, noise**2, data, shape))
    cost = np.array([point.deviance + point.log_determinant for point in path])
    inside = np.flatnonzero(cost <= cost.min() + 1.0)
    low, high = _crossing(noises, cost, inside[0], -1), _crossing(noises, cost, inside[-1], +1)
    middle = 0.5 * (low + high)
    if 0.5 * (high - low) < 1.5 * quadratic and abs(middle - own) < quadratic:
        return fit
    ends = [_held(fit, position, noise**2, data, shape) for noise in (low, middle, high)]
    along = 0.5 * (ends[2].theta - ends[0].theta)
    # From the middle to the farther end in every parameter: the path need not be straight.
    along = np.sign(along) * np.maximum(
        np.abs(along), np.maximum(np.abs(ends[2].theta - ends[1].theta), np.abs(ends[0].theta - ends[1].theta))
    )
    covariance = ends[1].covariance + np.outer(along, along)
    return replace(fit, theta=ends[1].theta, covariance=covariance, residuals=ends[1].residuals)


def _held(fit: Candidate, position: int, variance: float, data: PhotonTransferData, shape: FloatArray) -> Candidate:
    start = fit.theta.copy()
    start[position] = variance
    return fit_candidate(fit.name, fit.layout, data, start, shape, fit.nuisance, frozen="dark_variance")


def _crossing(noises: FloatArray, cost: FloatArray, index: int, side: int) -> float:
    """Where the cost passes its least value plus 1, between a point inside and its neighbour outside."""
    other = index + side
    if not 0 <= other < noises.size:
        return float(noises[index])
    limit = cost.min() + 1.0
    share = (limit - cost[index]) / max(cost[other] - cost[index], 1e-12)
    return float(noises[index] + min(share, 1.0) * (noises[other] - noises[index]))
