"""The second pass over the frames: each is read once, two at a time, and added to the tiles' sums on two threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import FrameReference, Level
from calibrate.frames import iterate_frames
from calibrate.pixel_maps.plan import LevelPlan
from calibrate.pixel_maps.sums import TILE_PIXELS, Float32Array, TileSums
from calibrate.plumbing.progress import track

_THREADS = 2
#: Pixels that are also measured from each half of the frames: enough to know a ratio of variances to 0.3 %.
HALF_PIXELS = 1 << 18


@dataclass
class Tile:
    """Sums over all frames, and over each half of the pairs where this tile is one of those compared."""

    whole: TileSums
    halves: tuple[TileSums, TileSums] | None


@dataclass(frozen=True)
class _Pair:
    """One frame, or two of one level, and where they stand in it."""

    frames: tuple[NDArray[Any], ...]
    plan: LevelPlan
    number: int
    position: int
    half: int
    last: bool
    last_of_half: bool


def sum_frames(levels: Sequence[tuple[Level, LevelPlan]], n_pixels: int) -> list[Tile]:
    """Sums over all frames of ``levels``, in tiles that follow each other in the flattened frame.

    Notes
    -----
    Pairs go to the two halves in turn, within a level where it has two pairs or more, and from level to level
    where it has one: the two frames of a pair stay together, because only their difference knows the noise.
    """
    n_pairs = sum(level.n_frames // 2 for level, _ in levels)
    tiles = _make_tiles(n_pixels, n_pairs)
    shares = [tiles[k::_THREADS] for k in range(_THREADS)]
    scratch = [_Scratch() for _ in shares]
    waiting: list[Future[None]] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for pair in _pairs(levels):
            # While the threads add up one pair the next one is read, so there are never more than four frames.
            for future in waiting:
                future.result()
            waiting = [
                pool.submit(_add_pair, pair, share, own) for share, own in zip(shares, scratch, strict=True) if share
            ]
        for future in waiting:
            future.result()
    for tile in tiles:
        for sums in (tile.whole, *(tile.halves or ())):
            sums.finish()
    return tiles


def _make_tiles(n_pixels: int, n_pairs: int) -> list[Tile]:
    starts = range(0, n_pixels, TILE_PIXELS)
    every = max(1, -(-len(starts) * TILE_PIXELS // HALF_PIXELS))
    tiles = []
    for number, start in enumerate(starts):
        stop = min(start + TILE_PIXELS, n_pixels)
        compared = number % every == every // 2
        halves = (TileSums(start, stop, n_pairs), TileSums(start, stop, n_pairs)) if compared else None
        tiles.append(Tile(TileSums(start, stop, n_pairs), halves))
    return tiles


def _pairs(levels: Sequence[tuple[Level, LevelPlan]]) -> Iterator[_Pair]:
    total = sum(level.n_frames for level, _ in levels)
    references = (reference for level, _ in levels for reference in level.frames)
    frames = iter(track(iterate_frames(references), "Pixel maps", total=total))
    turn = [0, 0]  # of darks and of brights: which half the next level begins with
    for number, (level, plan) in enumerate(levels):
        n_pairs = -(-level.n_frames // 2)
        first = turn[plan.bright]
        turn[plan.bright] = (first + n_pairs) % 2
        for k in range(n_pairs):
            count = min(2, level.n_frames - 2 * k)
            yield _Pair(
                tuple(np.ascontiguousarray(next(frames)).reshape(-1) for _ in range(count)),
                plan, number, 2 * k, (first + k) % 2, last=k == n_pairs - 1, last_of_half=k >= n_pairs - 2,
            )  # fmt: skip


class _Scratch:
    """Four tiles of float32 that one thread works in."""

    def __init__(self) -> None:
        self._tiles = [np.empty(TILE_PIXELS, dtype=np.float32) for _ in range(5)]

    def views(self, n: int) -> list[Float32Array]:
        return [tile[:n] for tile in self._tiles]


def _add_pair(pair: _Pair, tiles: Sequence[Tile], scratch: _Scratch) -> None:
    plan = pair.plan
    # 16-bit codes are exact in float32; wider codes and real numbers lose their offset first.
    exact = all(f.dtype.kind in "ui" and f.dtype.itemsize <= 2 for f in pair.frames)
    compute: Callable[[NDArray[Any], float, Float32Array], None] = _deviation_exact if exact else _deviation_wide
    shifts, scales = plan.shifts_dn[pair.position :], plan.scales[pair.position :]
    for tile in tiles:
        whole = tile.whole
        codes = [frame[whole.start : whole.stop] for frame in pair.frames]
        first, second, difference, square, spare = scratch.views(whole.stop - whole.start)
        for k, (values, out) in enumerate(zip(codes, (first, second), strict=False)):
            whole.watch(values)
            compute(values, shifts[k], out)
            if scales[k] != 1.0:
                out *= np.float32(scales[k])
        if len(codes) == 1:
            if tile.halves is not None:
                spare[...] = first
                tile.halves[pair.half].add(plan, spare, None, difference, last=pair.last_of_half)
            whole.add(plan, first, None, difference, last=pair.last)
            continue
        np.subtract(first, second, out=difference)
        first += second
        first *= np.float32(0.5)
        np.multiply(difference, difference, out=square)
        whole.set_outliers_aside(plan, pair.number, first, difference, square)
        if tile.halves is not None:
            second[...] = first
            spare[...] = square
            half = tile.halves[pair.half]
            half.add(plan, second, spare, difference, last=pair.last_of_half)
        whole.add(plan, first, square, difference, last=pair.last)


def _deviation_exact(codes: NDArray[Any], shift: float, out: Float32Array) -> None:
    np.subtract(codes, np.float32(shift), out=out, dtype=np.float32, casting="unsafe")


def _deviation_wide(codes: NDArray[Any], shift: float, out: Float32Array) -> None:
    np.subtract(codes, shift, out=out, dtype=np.float64, casting="unsafe")


def read_pixels(frames: Sequence[FrameReference], pixels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Codes of chosen pixels (flat indices) in every frame, shape (n_pixels, n_frames)."""
    out = np.empty((len(frames), pixels.size), dtype=np.float32)
    for row, frame in zip(out, track(iterate_frames(frames), "Telegraph noise", total=len(frames)), strict=True):
        row[...] = frame.reshape(-1)[pixels]
    return np.ascontiguousarray(out.T)
