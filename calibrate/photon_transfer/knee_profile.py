"""The knee's error from its profile likelihood: a level at the knee makes it anything but a parabola."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import Candidate, fit_candidate

FloatArray = NDArray[np.float64]

#: Rise of -2 log likelihood at the ends of a 99.7 % interval, and its half-width in standard errors. A level whose
#: variance is low by chance, by 2.7 standard errors, draws the knee to itself; the truth is then 7 above that.
_RISE = 9.0
_HALF_WIDTH = 3.0
#: Interval over the quadratic one from which on it takes its place.
_WIDER = 1.25
_STEPS = np.array([1.5, 3.0, 4.0, 6.0, 9.0, 13.0, 18.0, 24.0, 32.0, 42.0, 55.0])


def with_profiled_knee(fit: Candidate, data: PhotonTransferData, shape: FloatArray) -> Candidate:
    """The fit with the knee's error from its profile, where that is wider than the quadratic one.

    The knee is held on both sides of the estimate and everything else fitted. The values within 9 of the least
    -2 log likelihood are the 99.7 % interval; where it is wider than the quadratic one by a quarter, its middle becomes
    the estimate, and a third of its half-width, along the path of the other parameters, the error.
    """
    position = fit.layout.names.index("knee")
    own = float(fit.theta[position])
    quadratic = float(np.sqrt(max(fit.covariance[position, position], 0.0)))
    if quadratic <= 0:
        return fit
    base = _held(fit, fit, own, data, shape)
    low, high = (_end(fit, base, own, side * quadratic, data, shape) for side in (-1.0, 1.0))
    if max(own - low, high - own) < _WIDER * _HALF_WIDTH * quadratic:
        return fit
    ends = [_held(fit, fit, knee, data, shape) for knee in (low, 0.5 * (low + high), high)]
    ways = [ends[0].theta - ends[1].theta, ends[2].theta - ends[1].theta]
    along = np.sign(ways[1] - ways[0]) * np.maximum(np.abs(ways[0]), np.abs(ways[1])) / _HALF_WIDTH
    # What the fit's own errors are beside the knee, with its widening for scatter.
    rest = fit.covariance - np.outer(fit.covariance[position], fit.covariance[position]) / quadratic**2
    middle = ends[1]
    covariance = rest + np.outer(along, along)
    return replace(fit, theta=middle.theta, covariance=covariance, residuals=middle.residuals)


def _cost(candidate: Candidate) -> float:
    return candidate.deviance + candidate.log_determinant


def _held(fit: Candidate, near: Candidate, knee: float, data: PhotonTransferData, shape: FloatArray) -> Candidate:
    start = near.theta.copy()
    start[fit.layout.names.index("knee")] = knee
    return fit_candidate(fit.name, fit.layout, data, start, shape, fit.nuisance, frozen="knee")


def _end(
    fit: Candidate, base: Candidate, own: float, step: float, data: PhotonTransferData, shape: FloatArray
) -> float:
    """Where the profile has risen by 9 on one side, interpolated; no farther than a fifth of the knee."""
    limit = _cost(base) + _RISE
    last, near = (own, _cost(base)), base
    for multiple in _STEPS:
        knee = own + float(np.clip(step * multiple, -0.2 * own, 0.2 * own))
        near = _held(fit, near, knee, data, shape)
        cost = _cost(near)
        if cost > limit:
            share = (limit - last[1]) / max(cost - last[1], 1e-12)
            return float(last[0] + share * (knee - last[0]))
        last = knee, cost
        if abs(knee - own) >= 0.2 * own:
            break
    return last[0]
