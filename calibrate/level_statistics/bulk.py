"""The many ordinary pixels of a level with hot ones: their mean and pattern, which a few thousandths do not move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics.pairs import PairSums

#: Distance of the extreme codes from the mean, in standard deviations of the temporal noise, from which a second look
#: is taken; noise alone reaches 5.5 in 10^7 pixels.
HOT_SIGMAS = 8.0
#: Pixels further than this from the middle, in standard deviations of all but them, are left out of the bulk: a normal
#: law has 2e-9 there.
_CUT_SIGMAS = 6.0
_SAMPLE = 1 << 16
_TILE_PIXELS = 1 << 17
_STEPS = 20


@dataclass(frozen=True)
class Bulk:
    """The ordinary pixels of a pair of frames.

    Parameters
    ----------
    n_pixels : int
    mean_dn : float
        Of both frames.
    spatial_covariance_dn2 : float
        Covariance of the two frames over the ordinary pixels, DN^2: fixed pattern without temporal noise.
    temporal_variance_dn2 : float
        Half the variance of their difference.
    kurtosis : float
        Of their difference, from up to 65536 of them.
    """

    n_pixels: int
    mean_dn: float
    spatial_covariance_dn2: float
    temporal_variance_dn2: float
    kurtosis: float


def bulk_of(a: NDArray[np.generic], b: NDArray[np.generic], pair: PairSums) -> Bulk | None:
    """The pixels of two frames (height, width) whose mean lies within 6 standard deviations of that of such pixels.

    Middle and width start from the quartiles of up to 65536 pixels and follow from those inside until they rest. Pixels
    are chosen by a + b, so that nothing is cut from their difference. None where no pixel is left out.
    """
    x, y = a.ravel(), b.ravel()
    step = max(1, x.size // _SAMPLE)
    total, difference = (sign * x[::step].astype(np.float64) + y[::step].astype(np.float64) for sign in (1.0, -1.0))
    low, middle, high = (float(value) for value in np.percentile(total, (25.0, 50.0, 75.0)))
    width = (high - low) / 1.349
    if np.issubdtype(a.dtype, np.integer):
        width = max(width, 1.0)  # the quartiles of coarse codes may fall together
    count = -1
    for _ in range(_STEPS):
        inside = total[np.abs(total - middle) <= _CUT_SIGMAS * width]
        if inside.size == count or not inside.size:
            break
        count, middle, width = inside.size, float(inside.mean()), float(inside.std())
    if width <= 0:
        return None
    n, sum_a, sum_b, sum_ab = pair.n_pixels, pair.sum_a, pair.sum_b, pair.sum_ab
    squares = pair.sum_aa + pair.sum_bb
    for start in range(0, x.size, _TILE_PIXELS):
        u = x[start : start + _TILE_PIXELS].astype(np.float64)
        v = y[start : start + _TILE_PIXELS].astype(np.float64)
        out = np.flatnonzero(np.abs(u + v - middle) > _CUT_SIGMAS * width)
        u, v = u[out] - pair.shift_dn, v[out] - pair.shift_dn
        n -= out.size
        sum_a, sum_b, sum_ab = sum_a - float(u.sum()), sum_b - float(v.sum()), sum_ab - float(u @ v)
        squares -= float(u @ u + v @ v)
    if n == pair.n_pixels or n < 2:
        return None
    mean = pair.shift_dn + 0.5 * float(sum_a + sum_b) / n
    temporal = float(n * (squares - 2 * sum_ab) - (sum_a - sum_b) ** 2) / (2 * n * (n - 1))
    ordinary = difference[np.abs(total - middle) <= _CUT_SIGMAS * width]
    power = (ordinary - ordinary.mean()) ** 2
    kurtosis = float(np.mean(power**2) / np.mean(power) ** 2) if np.any(power > 0) else 3.0
    return Bulk(n, mean, float((n * sum_ab - sum_a * sum_b) / (n * n)), temporal, kurtosis)
