"""Whether the flats were smoothed or sharpened before they were stored, and what that does to the gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet
from calibrate.flags import FLAGS
from calibrate.level_statistics import LevelStatistics, NeighbourCovariances, measure_covariances
from calibrate.photon_transfer.gauss_newton import Candidate

#: Share of the variance that light must make up: read noise may have correlations of its own.
_SHOT_SHARE = 0.8
#: Correlation of next neighbours from which on frames are read again, and in standard errors. Ordinary sensors stay
#: below 0.005; brighter-fatter ones reach 0.04 near full well, which is why the dimmer half of the levels is looked at.
_SUSPICIOUS = 0.03
_SIGMAS = 6.0
#: Standard errors by which the sum of correlations must differ from 1.
_SUM_SIGMAS = 4.0
#: Correlations below this are not looked for.
_LEAST_SEEN = 0.01

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Smoothing:
    """Largest correlation of next neighbours in the flats, and the sum of the correlations over all pixels.

    The variance is up to ``sum_of_correlations`` times too small, and with it the system gain.
    """

    correlation: float
    sum_of_correlations: float


def find_smoothing(
    captures: CaptureSet, levels: Sequence[LevelStatistics], fit: Candidate, highest_dn: float
) -> Smoothing | None:
    r"""Correlation of the flats' noise over pixels where it is far beyond what a sensor makes; None as a rule.

    Parameters
    ----------
    captures : CaptureSet
        Frames are read again only where next neighbours correlate.
    levels : sequence of LevelStatistics
    fit : Candidate
    highest_dn : float
        Mean of the brightest level that the fit used; levels up to half of that signal are looked at.

    Notes
    -----
    A linear filter with weights h of sum 1 leaves the mean and turns the variance :math:`\sigma^2` of independent
    pixels into :math:`\sigma^2\sum_j h_j^2`, with the covariance :math:`\sigma^2\sum_j h_j h_{j+k}` at the distance
    k. Over all k these add up to :math:`\sigma^2(\sum_j h_j)^2 = \sigma^2`: the sum of the correlations is the
    factor by which the variance has fallen. Where m pixels were made of each, as by demosaicing, the sum is m times
    that factor. Noise that lines share has the same covariance at all distances and is taken off first.
    """
    gain, offset = fit.layout.get(fit.theta, "gain"), fit.layout.get(fit.theta, "offset")
    middle = offset + 0.5 * (highest_dn - offset)
    lit = []
    for level in levels:
        variance = level.temporal_variance_dn2(offset) if level.kind == "bright" else None
        shot = gain * (level.mean_dn - offset)
        if variance and level.mean_dn <= middle and shot > _SHOT_SHARE * variance:
            lit.append(level)
    pixels = np.array([float(sum(p.n_pixels for p in level.pairs if not p.rejected)) for level in lit])
    if not lit or not pixels.sum():
        return None
    least = max(_SUSPICIOUS, _SIGMAS / float(np.sqrt(pixels.sum())))
    along, across = pixels @ np.array([level.neighbour_correlation for level in lit]) / pixels.sum()
    if max(abs(along), abs(across)) < least:
        return None
    dimmest = min(level.mean_dn for level in lit)
    found = [c for c in measure_covariances(captures, offset, middle) if c.mean_dn >= 0.9 * dimmest]
    if not found:
        return None
    weights = np.array([float(entry.samples[0, 0]) for entry in found])
    correlation = np.tensordot(weights / weights.sum(), np.array([_without_lines(entry) for entry in found]), axes=1)
    largest = max(float(correlation[0, 1]), float(correlation[1, 0]), key=abs)
    total, error = _sum_of(correlation, 1 / float(np.sqrt(weights.sum())))
    total = max(total, 0.01)
    apart = max(FLAGS["denoised"].threshold or 0.0, _SUM_SIGMAS * error)
    if abs(largest) < least or max(total, 1 / total) < 1 + apart:
        return None
    return Smoothing(largest, total)


def _without_lines(found: NeighbourCovariances) -> FloatArray:
    """Correlations over lags, the noise that lines share taken off."""
    covariance = found.covariance_dn2.copy()
    row, column = covariance[0, -1], covariance[-1, 0]
    covariance[0] -= row
    covariance[:, 0] -= column
    return np.asarray(covariance / max(float(covariance[0, 0]), 1e-300))


def _sum_of(correlation: FloatArray, error: float) -> tuple[float, float]:
    """Sum over lags of either sign, and its error; up to one square beyond the last with a correlation to see."""
    reach = np.maximum(*np.indices(correlation.shape))
    seen = np.abs(correlation) > max(_SUM_SIGMAS * error, _LEAST_SEEN)
    inside = reach <= int(reach[seen].max()) + 1
    copies = np.full(correlation.shape, 4.0)
    copies[0], copies[:, 0], copies[0, 0] = 2.0, 2.0, 1.0
    total = float(np.sum((copies * correlation)[inside]))
    return total, error * float(np.sqrt(2 * np.sum(copies[inside])))
