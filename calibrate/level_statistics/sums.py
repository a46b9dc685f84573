"""Sums over the pixels of two frames of one level, tile by tile, each tile inside a core's cache.

Sums of codes and of their products are formed in float64, in tiles small enough that every partial sum of integer codes
is an exact integer, and added up as Python integers: means, variances and covariances have no rounding error whatever
the offset or the number of pixels. What only weighs and warns (fourth moments, the skewness of the noise, neighbours,
rows and columns) is formed from the differences of codes, which float32 holds exactly, in float32: to some 1e-6 of
itself, and twice as fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics.pairs import Candidates, FloatArray, PairSums

_TILE_PIXELS = 1 << 16  # products of 16-bit codes sum to less than 2^48: exact; some 2 MB of arrays

#: A difference beyond this many standard deviations makes a pair's pixels worth a second look.
SUSPICIOUS_SIGMAS = 6.0
#: From here on, in robust local standard deviations, a pixel of such a pair is kept as a candidate.
CANDIDATE_SIGMAS = 3.5
#: Least standard deviation of the difference of whole codes that is believed.
LEAST_SIGMA_CODES = 0.9
_BLOCK = (32, 64)


@dataclass(frozen=True)
class _TileNoise:
    """Sums over one tile of the difference d of two frames about its mean there."""

    squares: float
    fourth: float
    signal: float
    horizontal: float
    vertical: float
    largest: float
    columns: NDArray[Any]
    first_row: NDArray[Any]
    last_row: NDArray[Any]


def pair_sums(a: NDArray[np.generic], b: NDArray[np.generic]) -> PairSums:
    """Sums over two frames (height, width), exact for integer codes up to 16 bit."""
    exact = np.issubdtype(a.dtype, np.integer) and np.issubdtype(b.dtype, np.integer)
    number: type[int] | type[float] = int if exact else float
    in_single = exact and max(a.dtype.itemsize, b.dtype.itemsize) <= 2
    height, width = a.shape
    rows = min(max(1, _TILE_PIXELS // width), height)
    shift = 0.0 if exact else float(np.mean(a[:rows].astype(np.float64)))
    tiles = np.empty((2, rows, width))
    work = np.empty((3, rows, width), dtype=np.float32 if in_single else np.float64)
    ones = np.ones(width)
    total = [number(0)] * 5
    squares = fourth = signal = horizontal = vertical = row_power = largest = 0.0
    columns = np.zeros(width)
    last: NDArray[Any] | None = None
    for top in range(0, height, rows):
        codes = (a[top : top + rows], b[top : top + rows])
        n_rows = codes[0].shape[0]
        x, y = tiles[:, :n_rows]
        x[...], y[...] = codes
        if shift:
            x -= shift
            y -= shift
        flat_x, flat_y = x.reshape(-1), y.reshape(-1)
        rows_x, rows_y = x @ ones, y @ ones
        by_row = rows_x - rows_y
        products = (flat_x @ flat_x, flat_y @ flat_y, flat_x @ flat_y)
        sum_x, sum_y, xx, yy, xy = (number(part) for part in (rows_x.sum(), rows_y.sum(), *products))
        total = [sum_ + part for sum_, part in zip(total, (sum_x, sum_y, xx, yy, xy), strict=True)]
        row_power += float(by_row @ by_row)
        mean, mean_d = sum_x / x.size, (sum_x - sum_y) / x.size
        square_sum = float(xx + yy - 2 * xy - (sum_x - sum_y) * mean_d) if exact else None
        tile = _tile_noise(codes if in_single else (x, y), work[:, :n_rows], mean, mean_d, square_sum)
        squares += tile.squares
        fourth += tile.fourth
        signal += tile.signal
        horizontal += tile.horizontal
        vertical += tile.vertical
        largest = max(largest, tile.largest)
        columns += tile.columns
        if last is not None:
            vertical += float(last @ tile.first_row)
        last = tile.last_row
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = total
    n = a.size
    mean_d = (sum_a - sum_b) / n
    return PairSums(
        n,
        sum_a,
        sum_b,
        sum_aa,
        sum_bb,
        sum_ab,
        squares,
        fourth,
        signal,
        horizontal,
        vertical,
        row_power=row_power - height * (mean_d * width) ** 2,
        column_power=float(columns @ columns) - width * (mean_d * height) ** 2,
        shape=(height, width),
        shift_dn=shift,
        candidates=find_candidates(a, b, shift) if largest > SUSPICIOUS_SIGMAS**2 * squares / n > 0 else None,
    )


def _tile_noise(
    codes: tuple[NDArray[Any], NDArray[Any]],
    work: NDArray[Any],
    mean: float,
    mean_d: float,
    square_sum: float | None,
) -> _TileNoise:
    """Sums of the difference d of two tiles (rows, width), in the precision of ``work`` (3, rows, width).

    ``mean`` is that of the first tile, ``mean_d`` that of d, ``square_sum`` that of d squared about its mean, where it
    is known exactly.

    Notes
    -----
    With x the first frame the signal is s = x - d/2, so that with u = x - mean and d about its mean
    sum d^2 s = sum d^2 u - sum d^3 / 2 + (mean - mean_d / 2) sum d^2: nothing large cancels. The centres are those that
    the precision of ``work`` can hold.
    """
    u, d, square = work
    width = u.shape[1]
    u[...], square[...] = codes
    np.subtract(u, square, out=d)
    columns = np.ones(d.shape[0], dtype=d.dtype) @ d
    centre, centre_d = d.dtype.type(mean), d.dtype.type(mean_d)
    d -= centre_d
    u -= centre
    flat_u, flat, flat_square = u.reshape(-1), d.reshape(-1), square.reshape(-1)
    np.multiply(flat, flat, out=flat_square)
    squares = float(flat_square.sum(dtype=np.float64)) if square_sum is None else square_sum
    third = float(flat_square @ flat)
    return _TileNoise(
        squares=squares,
        fourth=float(flat_square @ flat_square),
        signal=float(flat_square @ flat_u) - third / 2 + (float(centre) - float(centre_d) / 2) * squares,
        # Neighbours in the flattened tile, less the products across the ends of rows.
        horizontal=float(flat[:-1] @ flat[1:]) - float(d[:-1, -1] @ d[1:, 0]),
        vertical=float(flat[:-width] @ flat[width:]),
        largest=float(flat_square.max()),
        columns=columns,
        first_row=d[0],
        last_row=d[-1].copy(),
    )


def find_candidates(a: NDArray[np.generic], b: NDArray[np.generic], shift_dn: float) -> Candidates | None:
    """Pixels whose difference stands out of its block of 32 x 64 by `CANDIDATE_SIGMAS`; None without any.

    The scale of a block comes from its own differences, clipped at 4.5 of the scale before until that rests: shading
    and drift widen it where they are, single pixels do not. Of whole codes it is 0.9 at least: where the noise is
    coarse most differences are 0, and those of one code or two are no outliers. More than 2 % of the pixels are no
    outliers but a scene that moved; nothing is a candidate then.
    """
    whole_codes = np.issubdtype(a.dtype, np.integer) and np.issubdtype(b.dtype, np.integer)
    height, width = a.shape
    edges = np.arange(0, max(width - _BLOCK[1] // 2, 1), _BLOCK[1])
    lengths = np.diff(np.append(edges, width))
    centre = (float(np.sum(a, dtype=np.float64)) - float(np.sum(b, dtype=np.float64))) / a.size
    parts: list[tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray, FloatArray]] = []
    rest_d2 = rest_d4 = rest_d2_signal = 0.0
    for top in range(0, height, _BLOCK[0]):
        x = a[top : top + _BLOCK[0]].astype(np.float64) - shift_dn
        y = b[top : top + _BLOCK[0]].astype(np.float64) - shift_dn
        d = x - y
        square = (d - centre) ** 2
        variance = np.add.reduceat(square.sum(axis=0), edges) / (lengths * square.shape[0])
        for _ in range(12):
            inside = square <= np.repeat(20.25 * variance, lengths)
            count = np.maximum(np.add.reduceat(inside.sum(axis=0), edges), 1)
            before, variance = variance, np.add.reduceat((square * inside).sum(axis=0), edges) / count
            if np.all(np.abs(variance - before) <= 1e-4 * before):
                break
        least = LEAST_SIGMA_CODES**2 if whole_codes else 1e-12 * max(float(variance.max()), float(square.mean()))
        scale = np.repeat(np.maximum(variance, least), lengths)
        rows, columns = np.nonzero(square > CANDIDATE_SIGMAS**2 * scale)
        sigmas = np.sqrt(square[rows, columns] / scale[columns])
        d -= (float(d.sum()) - float(d[rows, columns].sum())) / max(d.size - rows.size, 1)
        centred = d[rows, columns]
        parts.append(((rows + top) * width + columns, x[rows, columns], y[rows, columns], sigmas, centred))
        d[rows, columns] = 0.0
        np.multiply(d, d, out=square)
        flat = square.ravel()
        rest_d2 += float(flat.sum())
        rest_d4 += float(flat @ flat)
        rest_d2_signal += 0.5 * (float(flat @ x.ravel()) + float(flat @ y.ravel()))
    index, code_a, code_b, sigmas, centred = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not index.size or index.size > 0.02 * a.size:
        return None
    return Candidates(index, code_a, code_b, sigmas, centred, rest_d2, rest_d4, rest_d2_signal)
