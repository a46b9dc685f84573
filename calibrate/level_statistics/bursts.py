"""Repeated frames of a still scene as levels: pixels of like signal take the place of flats of one light.

A pixel's signal decides in which range its noise is counted, and must not share that noise: pixels are sorted by the
other frames of the burst, or, where there are only two, by their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics.levels import LevelStatistics
from calibrate.level_statistics.pairs import PairSums
from calibrate.level_statistics.sums import pair_sums
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Ranges of signal, evenly spaced in its root, where shot noise is even: one for so many pixels of a frame.
_FEWEST_RANGES, _MOST_RANGES, _PIXELS_A_RANGE = 6, 24, 500
FEWEST_PIXELS = 256
_WIDTH = 64  # pixels of a range are laid out in rows of so many
_BLOCK = 16
#: Excess of a block's noise, in standard errors, from which something moved there; share from which nothing is still.
_MOVED_SIGMAS = 6.0
_MOST_MOVED = 0.5
#: Noise of pixels on slopes over that of the others, in standard errors, from which the whole scene moved.
_SHAKEN_SIGMAS = 5.0


@dataclass(frozen=True)
class BurstStatistics:
    """Levels of one or more bursts by range of signal, and how still the scenes were.

    Parameters
    ----------
    levels : tuple of LevelStatistics
        Kind ``bright``, without exposures, by rising signal.
    moved_fraction : float
        Share of the pixels left out because something moved there.
    shaken : float
        Relative excess of the temporal variance on the steeper half of each range's pixels; 0 where it is not
        significant.
    n_frames : int
    """

    levels: tuple[LevelStatistics, ...]
    moved_fraction: float
    shaken: float
    n_frames: int


@dataclass(frozen=True)
class _Pair:
    """Two frames, the signal that pixels are sorted by, its slope, and the pixels that stood still."""

    a: NDArray[Any]
    b: NDArray[Any]
    signal: FloatArray
    slope: FloatArray
    still: NDArray[np.bool_]


def measure_bursts(
    bursts: Sequence[Sequence[NDArray[Any]]], *, usable: NDArray[np.bool_] | None = None
) -> BurstStatistics:
    """Level statistics of repeated frames, by range of signal.

    Parameters
    ----------
    bursts : sequence of sequences of ndarray (height, width)
        Two frames or more of each still scene, all under one setting of the camera.
    usable : ndarray (height, width) of bool, optional
        Pixels that count; default: all.

    Raises
    ------
    PhotonbitsError
        If a burst has fewer than two frames, frames differ in size, over half of a scene moved, or no range holds
        enough pixels.

    Notes
    -----
    For each pair (0, 1), (2, 3) ... of a burst the pixels are sorted by the mean of the burst's other frames. This is
    independent of the pair's noise, so neither the pair's mean nor its variance in a range is biased by the sorting
    (sorting by the pair itself cuts noise at the ranges' edges). With two frames the mean of the eight neighbours in
    both of them takes its place. Drift of the lamp is taken out range by range, as in flats. Blocks of 16 x 16 pixels
    whose noise stands 6 standard errors above that of their ranges moved and are left out. If the noise is larger on
    slopes of the scene, the camera shook, and the flatter half of each range's pixels is used alone.
    """
    pairs = [pair for burst in bursts for pair in _pairs(burst, usable)]
    edges = _edges(pairs)
    moved = [_without_motion(pair, edges) for pair in pairs]
    n_usable = sum(int(np.count_nonzero(pair.still)) for pair in pairs)
    fraction = 1.0 - sum(int(np.count_nonzero(pair.still)) for pair in moved) / max(n_usable, 1)
    if fraction > _MOST_MOVED:
        raise PhotonbitsError(
            f"{100 * fraction:.0f} % of the repeated frames moved between shots",
            legal="frames of a still scene from a camera on a stand",
            remedy="Leave bursts of moving scenes out",
        )
    shaken, chosen = _without_shake(moved, edges)
    frames = sum(len(burst) for burst in bursts)
    levels = tuple(level for number in range(edges.size - 1) if (level := _level(chosen, edges, number)) is not None)
    if not levels:
        raise PhotonbitsError(
            f"no range of signal with {FEWEST_PIXELS} pixels", legal="larger frames", remedy="Use whole frames"
        )
    return BurstStatistics(levels, fraction, shaken, frames)


def _pairs(burst: Sequence[NDArray[Any]], usable: NDArray[np.bool_] | None) -> list[_Pair]:
    n = len(burst)
    if n < 2:
        raise PhotonbitsError(f"a burst of {n} frame(s)", legal="two frames of one scene, or more")
    shape = burst[0].shape
    if any(frame.shape != shape for frame in burst):
        raise PhotonbitsError("frames of a burst differ in size", legal=f"{shape}")
    from scipy import ndimage  # here, so that fits without bursts need not load it

    total = np.zeros(shape)
    for frame in burst:
        total += frame
    out = []
    for first in range(0, n - 1, 2):
        a, b = burst[first], burst[first + 1]
        if n > 2:
            signal = (total - a - b) / (n - 2)
        else:
            ring = np.ones((3, 3)) / 8.0
            ring[1, 1] = 0.0
            signal = ndimage.correlate(0.5 * total, ring, mode="mirror")
        slope = np.hypot(
            ndimage.correlate1d(0.5 * total, [-0.5, 0.0, 0.5], axis=0, mode="mirror"),
            ndimage.correlate1d(0.5 * total, [-0.5, 0.0, 0.5], axis=1, mode="mirror"),
        )
        out.append(_Pair(a, b, signal, slope, np.ones(shape, dtype=bool) if usable is None else usable))
    return out


def _edges(pairs: Sequence[_Pair]) -> FloatArray:
    """Edges of the ranges, DN: even steps of the root above the darkest signal."""
    low = min(float(np.quantile(pair.signal[pair.still], 0.001)) for pair in pairs)
    high = max(float(np.quantile(pair.signal[pair.still], 0.9999)) for pair in pairs)
    pixels = min(int(np.count_nonzero(pair.still)) for pair in pairs)
    ranges = int(np.clip(pixels // _PIXELS_A_RANGE, _FEWEST_RANGES, _MOST_RANGES))
    edges = low + max(high - low, 1e-6) * np.linspace(0.0, 1.0, ranges + 1) ** 2
    edges[0], edges[-1] = -np.inf, np.inf
    return np.asarray(edges)


def _range_of(pair: _Pair, edges: FloatArray) -> IntArray:
    return np.asarray(np.searchsorted(edges[1:-1], pair.signal, side="right"), dtype=np.int64)


def _centred(pair: _Pair, place: IntArray, still: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Differences about their range's mean over still pixels, and the variance of their range; (height, width) each."""
    d = pair.a.astype(np.float64) - pair.b
    index, values, ranges = place[still], d[still], int(place.max()) + 1
    count = np.maximum(np.bincount(index, minlength=ranges), 1)
    mean = np.bincount(index, weights=values, minlength=ranges) / count
    centred = d - mean[place]
    variance = np.bincount(index, weights=centred[still] ** 2, minlength=ranges) / count
    return centred, np.maximum(variance, 1e-12)[place]


def _without_motion(pair: _Pair, edges: FloatArray) -> _Pair:
    """The pair without the blocks whose differences are larger, or more of one sign, than noise makes them."""
    height, width = pair.a.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    if rows * columns < 4:
        return pair
    place, still = _range_of(pair, edges), pair.still
    for _ in range(4):  # the scale comes from the blocks that are left
        centred, variance = _centred(pair, place, still)
        pull = centred / np.sqrt(variance)
        fourth = float(np.mean(pull[still] ** 4)) if np.any(still) else 3.0

        def by_block(values: FloatArray) -> FloatArray:
            part = np.where(pair.still, values, 0.0)[: rows * _BLOCK, : columns * _BLOCK]
            return np.asarray(part.reshape(rows, _BLOCK, columns, _BLOCK).sum(axis=(1, 3)))

        count = np.maximum(by_block(np.ones_like(pull)), 1.0)
        # No single pixel may speak for its block: outliers are taken out elsewhere.
        energy = by_block(np.minimum(pull**2, 16.0) - 1.0) / np.sqrt(count * max(min(fourth, 6.0) - 1.0, 0.5))
        common = by_block(pull) / np.sqrt(count)
        bad = (energy > _MOVED_SIGMAS) | (np.abs(common) > _MOVED_SIGMAS)
        mask = np.zeros_like(still)
        mask[: rows * _BLOCK, : columns * _BLOCK] = np.repeat(np.repeat(bad, _BLOCK, axis=0), _BLOCK, axis=1)
        found = pair.still & ~mask
        if np.array_equal(found, still):
            break
        still = found
    return replace(pair, still=still)


def _without_shake(pairs: Sequence[_Pair], edges: FloatArray) -> tuple[float, list[_Pair]]:
    """Excess of the variance on slopes, and the pairs with the flatter pixels alone where it is significant."""
    excess, weight = 0.0, 0.0
    flatter: list[_Pair] = []
    for pair in pairs:
        place = _range_of(pair, edges)
        centred, _ = _centred(pair, place, pair.still)
        middle = np.full(edges.size - 1, np.inf)
        for number in range(edges.size - 1):
            here = pair.still & (place == number)
            if np.count_nonzero(here) < 2 * FEWEST_PIXELS:
                continue
            middle[number] = float(np.median(pair.slope[here]))
            steep = here & (pair.slope > middle[number])
            flat = here & ~steep
            # Shot noise rises with the signal, which may differ between the halves.
            level_steep, level_flat = float(pair.signal[steep].mean()), float(pair.signal[flat].mean())
            v_steep, v_flat = float(np.mean(centred[steep] ** 2)), float(np.mean(centred[flat] ** 2))
            lowest = edges[1] if number else level_flat
            expected = 1.0 + (level_steep - level_flat) / max(level_flat - float(lowest), np.sqrt(v_flat))
            n = min(np.count_nonzero(steep), np.count_nonzero(flat))
            excess += n * (v_steep / max(v_flat, 1e-12) - max(expected, 1.0))
            weight += n
        flatter.append(replace(pair, still=pair.still & (pair.slope <= middle[place])))
    if weight == 0:
        return 0.0, list(pairs)
    mean = excess / weight
    if mean < _SHAKEN_SIGMAS * float(np.sqrt(4.0 / weight)):
        return 0.0, list(pairs)
    return mean, flatter


def _level(pairs: Sequence[_Pair], edges: FloatArray, number: int) -> LevelStatistics | None:
    sums: list[PairSums] = []
    means: list[float] = []
    counts: list[int] = []
    codes: list[NDArray[Any]] = []
    for pair in pairs:
        here = pair.still & (_range_of(pair, edges) == number)
        count = int(np.count_nonzero(here)) // _WIDTH * _WIDTH
        if count < FEWEST_PIXELS:
            continue
        a, b = (frame[here][:count].reshape(-1, _WIDTH) for frame in (pair.a, pair.b))
        found = pair_sums(a, b)
        # Pixels beside each other here are not so in the frame.
        sums.append(replace(found, neighbour_horizontal=0.0, neighbour_vertical=0.0, row_power=0.0, column_power=0.0))
        means.append(0.5 * (found.mean_a_dn + found.mean_b_dn))
        counts.append(count)
        codes += [a, b]
    if not sums:
        return None
    everything = np.concatenate([code.ravel() for code in codes])
    low, high = everything.min(), everything.max()
    bits = int(np.bitwise_or.reduce(everything)) if np.issubdtype(everything.dtype, np.integer) else 0
    return LevelStatistics(
        kind="bright",
        exposure_s=None,
        photons_per_pixel=None,
        n_frames=2 * len(sums),
        # Pairs count alike in mean and variance, so few pixels in one of them weigh on the error.
        n_pixels=round(len(counts) / sum(1.0 / count for count in counts)),
        # Other scenes and other pixels: how the means differ says nothing about drift.
        frame_means_dn=(float(np.mean(means)),) * (2 * len(sums)),
        pairs=tuple(sums),
        minimum_code=float(low),
        maximum_code=float(high),
        minimum_fraction=float(np.mean(everything == low)),
        maximum_fraction=float(np.mean(everything == high)),
        code_bits=bits,
    )
