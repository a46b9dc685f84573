"""log P(lower <= N + r G < upper) for N ~ Poisson(y), G standard normal: the cell every code is.

The sum over n runs where its terms matter. The terms are log-concave in n, so they fall off at least as fast
as the Poisson factor on both sides of their peak, and outside the cell at least as fast as the normal factor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_ndtr, logsumexp, pdtr, pdtrc, xlogy

FloatArray = NDArray[np.float64]

_TAIL_NATS = 40.0  # terms below exp(-40) of the peak are dropped: 4e-18 of the sum each
_REACH_SIGMAS = 9.0
_BLOCK_TERMS = 2_000_000


def log_normal_interval(lower: FloatArray, upper: FloatArray) -> FloatArray:
    """log(Phi(upper) - Phi(lower)), accurate in both tails; -inf where the interval is empty."""
    flip = lower > 0
    low = np.where(flip, -upper, lower)
    high = np.where(flip, -lower, upper)
    log_high = log_ndtr(high)
    log_low = log_ndtr(low)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(np.isneginf(log_low), -np.inf, log_low - log_high)
        value = log_high + np.log1p(-np.exp(np.minimum(gap, 0.0)))
    return np.where(high > low, value, -np.inf)


def log_poisson(n: FloatArray, y: FloatArray) -> FloatArray:
    """log Poisson(n; y), n >= 0, y >= 0; 0 log 0 is 0."""
    return np.asarray(xlogy(n, y) - y - gammaln(n + 1.0), dtype=np.float64)


def log_poisson_interval(lower: FloatArray, upper: FloatArray, y: FloatArray) -> FloatArray:
    """log P(lower <= N < upper) for N ~ Poisson(y), edges real: the camera without read noise."""
    first = np.maximum(_ceil_with_hair(lower), 0.0)
    stop = _ceil_with_hair(upper)
    out = np.full(first.shape, -np.inf)
    some = (stop > first) & np.isfinite(first)
    with np.errstate(invalid="ignore"):
        short = some & (stop - first <= 4096)
    for index in _blocks(np.flatnonzero(short), stop[short] - first[short]):
        width = int(np.max((stop - first)[index]))
        n = first[index, None] + np.arange(width, dtype=np.float64)
        terms = np.where(n < stop[index, None], log_poisson(n, y[index, None]), -np.inf)
        out[index] = logsumexp(terms, axis=1)
    wide = np.flatnonzero(some & ~short)
    if wide.size:
        out[wide] = _log_wide_poisson(first[wide], stop[wide], y[wide])
    return out


def _ceil_with_hair(edge: FloatArray) -> FloatArray:
    """Smallest integer at or above the edge, forgiving rounding error where the edge is an integer itself."""
    finite = np.where(np.isfinite(edge), edge, 0.0)
    return np.where(np.isfinite(edge), np.ceil(finite - 1e-9 * np.maximum(1.0, np.abs(finite))), edge)


def _log_wide_poisson(first: FloatArray, stop: FloatArray, y: FloatArray) -> FloatArray:
    """Long or open intervals: distribution functions, and the leading terms where those underflow."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(first > 0, pdtrc(np.maximum(first - 1, 0), y), 1.0)
        beyond = np.where(np.isposinf(stop), 0.0, pdtrc(np.where(np.isposinf(stop), 0, stop - 1), y))
        left = np.where(np.isposinf(stop), 1.0, pdtr(np.where(np.isposinf(stop), 0, stop - 1), y))
        left_below = np.where(first > 0, pdtr(np.maximum(first - 1, 0), y), 0.0)
        value = np.where(first > y, above - beyond, left - left_below)
        out = np.log(value)
    tiny = ~(value > 1e-280)
    for i in np.flatnonzero(tiny):
        # The sum is dominated by the end nearest to y and falls at least geometrically from there.
        span = np.arange(4096.0)
        n = first[i] + span if first[i] > y[i] else stop[i] - 1 - span
        n = n[(n >= first[i]) & (n < stop[i])]
        out[i] = logsumexp(log_poisson(n, y[i]))
    return out


def log_cell_probability(lower: FloatArray, upper: FloatArray, y: FloatArray, read_noise_e: FloatArray) -> FloatArray:
    """log P(lower <= N + read_noise_e G < upper), one-dimensional arrays of equal length, electrons.

    ``y >= 0`` and ``read_noise_e > 0``. Natural logarithm; finite for every non-empty cell, however unlikely.
    """
    out = np.full(y.shape, -np.inf)
    some = upper > lower  # a code above a full well has both edges at +inf
    zero = some & (y <= 0)
    if np.any(zero):
        out[zero] = log_normal_interval(lower[zero] / read_noise_e[zero], upper[zero] / read_noise_e[zero])
    rest = np.flatnonzero(some & ~zero)
    if rest.size:
        start, stop = _window(lower[rest], upper[rest], y[rest], read_noise_e[rest])
        for index in _blocks(rest, stop - start):
            local = np.searchsorted(rest, index)
            out[index] = _sum_window(
                lower[index], upper[index], y[index], read_noise_e[index], start[local], stop[local]
            )
    return out


def _sum_window(
    lower: FloatArray, upper: FloatArray, y: FloatArray, r: FloatArray, start: FloatArray, stop: FloatArray
) -> FloatArray:
    n = start[:, None] + np.arange(int(np.max(stop - start)))
    terms = log_poisson(n, y[:, None]) + log_normal_interval(
        (lower[:, None] - n) / r[:, None], (upper[:, None] - n) / r[:, None]
    )
    peak = np.max(terms, axis=1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(peak[:, 0] + np.log(np.sum(np.exp(terms - peak), axis=1)), dtype=np.float64)


def _window(lower: FloatArray, upper: FloatArray, y: FloatArray, r: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and one-past-last n of the terms that matter."""
    peak = y.copy()
    for edge, outside in ((lower, y < lower), (upper, y > upper)):
        if np.any(outside):
            peak[outside] = _saddle(y[outside], edge[outside], r[outside])
    reach = _REACH_SIGMAS * r + 2.0
    down = np.sqrt(2 * _TAIL_NATS * peak) + 2.0
    up = np.sqrt(2 * _TAIL_NATS * peak) + _TAIL_NATS
    start = np.maximum(np.maximum(peak - down, np.minimum(peak, lower) - reach), 0.0)
    stop = np.minimum(peak + up, np.maximum(peak, upper) + reach)
    return np.floor(start), np.ceil(stop) + 1.0


def _saddle(y: FloatArray, edge: FloatArray, r: FloatArray) -> FloatArray:
    """n that maximises Poisson(n; y) exp(-(edge - n)^2 / 2 r^2): log(y/n) + (edge - n)/r^2 = 0."""
    log_n = np.log(np.maximum(y * (1.0 + edge / r**2) / (1.0 + y / r**2), 1e-3))
    for _ in range(12):
        n = np.exp(log_n)
        step = (np.log(y) - log_n + (edge - n) / r**2) / (1.0 + n / r**2)
        log_n = log_n + np.clip(step, -2.0, 2.0)
    return np.exp(log_n)


def _blocks(index: NDArray[np.intp], widths: FloatArray) -> list[NDArray[np.intp]]:
    """Indices grouped by similar width, each group small enough to hold all its terms."""
    groups: list[NDArray[np.intp]] = []
    if not index.size:
        return groups
    order = np.argsort(widths, kind="stable")
    octave = np.ceil(2 * np.log2(np.maximum(widths[order], 1.0)))
    for value in np.unique(octave):
        members = order[octave == value]
        per_block = max(1, int(_BLOCK_TERMS // max(float(np.max(widths[members])), 1.0)))
        groups.extend(np.sort(index[members[i : i + per_block]]) for i in range(0, members.size, per_block))
    return groups
