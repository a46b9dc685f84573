"""A cheap look for a step of the read noise, where a merged dual-gain read-out hands over to its lower gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.data import PhotonTransferData

FloatArray = NDArray[np.float64]

#: Levels needed below and above, and step of the variance that is looked at, standard errors.
_FEWEST_BELOW = 2
_FEWEST_ABOVE = 3
_SIGMAS = 6.0
#: Chi-square by which a step must beat a smooth bend of the variance.
_BETTER = 10.0


@dataclass(frozen=True)
class Step:
    """Code above which the variance is larger by ``step_dn2``, with ``gain`` (DN/e-) on both sides."""

    code_dn: float
    step_dn2: float
    gain: float


def find_step(data: PhotonTransferData) -> Step | None:
    """Where the variance steps up over a straight line; None, as a rule, at once.

    Two conversion gains merged on one linear scale have v = K m + w below the hand-over and K m + w + d above it: the
    larger read noise, and the coarser codes, of the lower gain. Bends of the response, brighter-fatter sensors and gain
    that differs over pixels change the variance smoothly.
    """
    if not data.known_errors or data.offset_is_zero or not np.any(data.dark):
        return None
    rows = np.flatnonzero(data.used_bright & np.isfinite(data.variance_dn2))
    dark = data.still & np.isfinite(data.variance_dn2)
    if rows.size < _FEWEST_BELOW + _FEWEST_ABOVE or not np.any(dark):
        return None
    signal = data.mean_dn[rows] - float(np.mean(data.mean_dn[dark]))
    shape = np.maximum(data.kurtosis[rows] / 3.0, 1.0)
    error = np.sqrt(2.0 * shape / data.variance_samples[rows]) * data.variance_dn2[rows]
    if not np.all(error > 0) or np.ptp(signal) <= 0:  # frames or levels that are the same: the fit will say so
        return None
    noise = (data.variance_dn2[rows] - float(np.median(data.variance_dn2[dark]))) / error
    line = signal / error
    best: tuple[float, int, FloatArray] | None = None
    for first in range(_FEWEST_BELOW, rows.size - _FEWEST_ABOVE + 1):
        above = np.where(np.arange(rows.size) >= first, 1.0, 0.0) / error
        design = np.stack([line, above], axis=1)
        inverse = np.linalg.inv(design.T @ design)
        value = inverse @ design.T @ noise
        if value[1] < _SIGMAS * np.sqrt(inverse[1, 1]):
            continue
        left = float(np.sum((noise - design @ value) ** 2))
        if best is None or left < best[0]:
            best = left, first, value
    if best is None:
        return None
    left, first, value = best
    smooth = np.stack([line, line * signal, line * signal**2], axis=1)
    smooth = smooth / np.linalg.norm(smooth, axis=0)
    bent = noise - smooth @ np.linalg.lstsq(smooth, noise, rcond=None)[0]
    if left + _BETTER > float(bent @ bent):
        return None
    code = 0.5 * float(data.mean_dn[rows[first - 1]] + data.mean_dn[rows[first]])
    return Step(code, float(value[1]), float(value[0]))
