"""The high-pass filter of release 4 (section 8.1) and how much noise and pattern it lets through.

The image smoothed by a 7x7 box, an 11x11 box and a 3x3 binomial filter, one after the other, is subtracted from the
image: uneven light goes, the pattern of pixels stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, uniform_filter1d

FloatArray = NDArray[np.float64]

BOXES = (7, 11)
_BINOMIAL = np.array([0.25, 0.5, 0.25])
#: Pixels on either side that one output pixel sees.
REACH = sum(box // 2 for box in BOXES) + 1
_EDGE = "reflect"  # d c b a | a b c d | d c b a, so that a constant stays constant up to the border


def smooth(image: FloatArray, axes: tuple[int, ...] = (0, 1)) -> FloatArray:
    """The image through the two boxes and the binomial filter along ``axes``."""
    out = np.asarray(image, dtype=np.float64)
    for axis in axes:
        for box in BOXES:
            out = uniform_filter1d(out, box, axis=axis, mode=_EDGE)
        out = convolve1d(out, _BINOMIAL, axis=axis, mode=_EDGE)
    return out


def high_pass(image: FloatArray) -> FloatArray:
    """The image less its smoothed self; same shape (height, width)."""
    return image - smooth(image)


@dataclass(frozen=True)
class Transfer:
    """What is left of the variance of white patterns.

    Parameters
    ----------
    pixels, rows, columns : float
        Of independent pixels; of rows, and of columns, that are constant along themselves.
    row_samples, column_samples : float
        Sum of squared autocorrelation: the means of n filtered lines fix a variance as n over this many would.
    """

    pixels: float = 1.0
    rows: float = 1.0
    columns: float = 1.0
    row_samples: float = 1.0
    column_samples: float = 1.0


@lru_cache(maxsize=8)
def transfer(height: int, width: int) -> Transfer:
    """Transfer of variance for frames of one shape, borders included.

    Notes
    -----
    With G the smoothing matrix along one axis, white noise keeps 1 - 2 tr(G)/n + |G|^2/n of its variance; over two
    axes tr and |.|^2 multiply.
    """
    (row_trace, row_power), (column_trace, column_power) = _smoothing(height), _smoothing(width)
    return Transfer(
        pixels=1 - 2 * row_trace * column_trace + row_power * column_power,
        rows=1 - 2 * row_trace + row_power,
        columns=1 - 2 * column_trace + column_power,
        row_samples=_samples(),
        column_samples=_samples(),
    )


def _smoothing(size: int) -> tuple[float, float]:
    """Mean of the diagonal of the smoothing matrix, and mean over rows of the sum of its squares."""
    # All rows farther from a border than the filter's reach are alike: a short matrix holds them all.
    short = min(size, 4 * REACH + 1)
    matrix = smooth(np.eye(short), axes=(0,))
    diagonal, power = np.diag(matrix), np.sum(matrix**2, axis=1)
    middle, more = short // 2, size - short
    return (
        float((np.sum(diagonal) + more * diagonal[middle]) / size),
        float((np.sum(power) + more * power[middle]) / size),
    )


@lru_cache(maxsize=1)
def _samples() -> float:
    """Sum over lags of the squared autocorrelation of filtered white noise along one axis."""
    impulse = np.zeros(4 * REACH + 1)
    impulse[2 * REACH] = 1.0
    kernel = impulse - smooth(impulse[:, None], axes=(0,))[:, 0]
    correlation = np.correlate(kernel, kernel, mode="full")
    return float(np.sum(correlation**2) / np.max(correlation) ** 2)
