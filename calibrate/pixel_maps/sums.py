"""Per-pixel sums over the frames: weighted means and variances, tile by tile, whatever the number of frames.

Two frames at a time become their mean deviation m and the square of their difference d. For L frames of one level in
pairs (a last odd frame stands alone) the sum of squares about the mean splits exactly into

    sum_k (z_k - mean)^2 = sum_pairs d^2 / 2 + sum_pairs n m^2 - (sum_pairs n m)^2 / L,

n = 2 or 1 frames. With two frames a level only the first term is left, and nothing has to be kept from frame to frame.
Weights come from the scalar fit, so every sum is linear in means and variances, and its expectation is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.pixel_maps.plan import LevelPlan

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

#: Pixels worked on at once: four float32 arrays of them stay in a core's second-level cache.
TILE_PIXELS = 1 << 15
#: Differences this many standard deviations of the scalar fit are set aside as single-frame outliers.
OUTLIER_SIGMAS = 6.0
#: Events of one pixel that are set aside: this many, or this share of its pairs where that is more.
MOST_EVENTS = 6
_MOST_EVENT_SHARE = 0.05
_SUMS = ("dark", "dark_by_time", "light", "dark_variance", "variance", "variance_signal")


@dataclass(frozen=True)
class LevelSeen:
    """A level and how many of its frames went into the sums."""

    plan: LevelPlan
    n_frames: int

    @property
    def mean_weight(self) -> float:
        """Weight of the level's mean: inverse variance, for brights times the response to light."""
        weight = self.n_frames / self.plan.variance_dn2
        return weight * self.plan.slope * self.plan.light_dn if self.plan.bright else weight

    @property
    def variance_weight(self) -> float:
        """Inverse variance of the level's variance; 0 for a single frame."""
        if self.n_frames < 2:
            return 0.0
        spread = 2 * self.plan.variance_dn2**2 / (self.n_frames - 1) + self.kappa4_dn4 / self.n_frames
        return 1 / spread

    @property
    def kappa4_dn4(self) -> float:
        """Fourth cumulant of the shot noise: (f' K)^3 f' u = shot^3 / (f' u)^2."""
        u = self.plan.slope * max(self.plan.signal_dn, 0.0)
        return self.plan.shot_share_dn2**3 / u**2 if u > 0 else 0.0

    @property
    def by_signal(self) -> float:
        """Variance of a pixel per unit of K u: bend f'^2."""
        return self.plan.bend * self.plan.slope**2

    @property
    def variance_coefficients(self) -> tuple[float, float]:
        """Coefficients of a bright level's variance in ``variance_signal`` and in ``variance``."""
        weight = self.variance_weight * self.by_signal
        return weight * self.plan.signal_dn, weight


@dataclass(frozen=True)
class EventTable:
    """Events as columns: flat pixel index, level index, size of the difference, and the mean left in its place."""

    pixel: NDArray[np.int64]
    level: NDArray[np.int16]
    size_dn: Float32Array
    mean_dn: Float32Array


@dataclass
class Events:
    """Differences far outside the noise, as they come."""

    tables: list[EventTable] = field(default_factory=list)

    def joined(self) -> EventTable:
        """All events in one table."""
        tables = self.tables
        return EventTable(
            np.concatenate([np.empty(0, np.int64), *(t.pixel for t in tables)]),
            np.concatenate([np.empty(0, np.int16), *(t.level for t in tables)]),
            np.concatenate([np.empty(0, np.float32), *(t.size_dn for t in tables)]),
            np.concatenate([np.empty(0, np.float32), *(t.mean_dn for t in tables)]),
        )


class TileSums:
    """Sums of the pixels ``start`` to ``stop`` of the flattened frame.

    Attributes
    ----------
    dark, dark_by_time : float32 (n,)
        Sum of weight * (mean - offset), and the same times the exposure.
    light : float32 (n,)
        Sum over brights of weight * (mean - level's mean).
    dark_variance, variance, variance_signal : float32 (n,)
        Sum of weight * variance over darks; over brights with the two `LevelSeen.variance_coefficients`.
    seen : list of LevelSeen
        Levels in the order they came, for the expectations of the sums.
    constant : bool (n,)
        Pixels whose code has not changed yet.
    """

    def __init__(self, start: int, stop: int, n_pairs: int) -> None:
        n = stop - start
        self.start, self.stop = start, stop
        for name in _SUMS:
            setattr(self, name, np.zeros(n, dtype=np.float32))
        self.seen: list[LevelSeen] = []
        self.events = Events()
        self.event_count = np.zeros(n, dtype=np.uint8)
        self.most_events = int(min(max(MOST_EVENTS, np.ceil(_MOST_EVENT_SHARE * n_pairs)), 255))
        self._room = max(n // 2, 1024)
        self._first: NDArray[Any] | None = None
        self._suspects: NDArray[np.intp] | None = None
        self._frames = 0
        self._reference: Float32Array | None = None
        self._sum: Float32Array | None = None
        self._squares: Float32Array | None = None

    dark: Float32Array
    dark_by_time: Float32Array
    light: Float32Array
    dark_variance: Float32Array
    variance: Float32Array
    variance_signal: Float32Array

    # ---- codes that never change -------------------------------------------------------------------------

    def watch(self, codes: NDArray[Any]) -> None:
        """Look for pixels whose code changes; the first call remembers the codes."""
        if self._first is None:
            self._first = codes.copy()
        elif self._suspects is None:
            self._suspects = np.flatnonzero(codes == self._first)
        elif self._suspects.size:
            self._suspects = self._suspects[codes[self._suspects] == self._first[self._suspects]]

    @property
    def constant(self) -> BoolArray:
        """Pixels that gave one code in every frame seen; none before the second frame."""
        out = np.zeros(self.stop - self.start, dtype=bool)
        if self._suspects is not None:
            out[self._suspects] = True
        return out

    # ---- frames ------------------------------------------------------------------------------------------

    def set_outliers_aside(
        self, level: LevelPlan, number: int, mean: Float32Array, difference: Float32Array, square: Float32Array
    ) -> None:
        """Replace pairs that hold a single-frame outlier: the mean by the lower frame, the square by its expectation.

        ``mean`` and ``square`` are changed. What was taken is kept in ``events``; for a pixel that is noisy in many
        frames it is given back by `give_back`.
        """
        limit = np.float32(2 * OUTLIER_SIGMAS**2 * level.variance_dn2)
        if not square.max(initial=np.float32(0.0)) > limit:
            return
        found = np.flatnonzero(square > limit)
        found = found[self.event_count[found] < self.most_events][: self._room]
        self._room -= found.size
        self.event_count[found] += 1
        size = np.abs(difference[found])
        mean[found] -= size / 2
        square[found] = np.float32(2 * level.variance_dn2)
        self.events.tables.append(EventTable(found, np.full(found.size, number, np.int16), size, mean[found]))

    def add(
        self,
        level: LevelPlan,
        mean: Float32Array,
        square: Float32Array | None,
        scratch: Float32Array,
        *,
        last: bool,
    ) -> None:
        """Add one pair (its mean deviation and squared difference), or a single frame where ``square`` is None.

        ``square`` and ``scratch`` are overwritten. ``last`` closes the level.
        """
        count = 1 if square is None else 2
        if last and self._frames == 0:
            self._close(level, count, mean, square, 0.5 * level.factor, scratch)
            return
        if self._frames == 0:
            if self._reference is None:
                self._reference, self._sum, self._squares = (np.empty_like(self.dark) for _ in range(3))
            reference, total, squares = self._state()
            reference[...] = mean
            total[...] = 0.0
            if square is None:
                squares[...] = 0.0
            else:
                np.multiply(square, np.float32(0.5), out=squares)
        else:
            reference, total, squares = self._state()
            if square is not None:
                square *= np.float32(0.5)
                squares += square
            np.subtract(mean, reference, out=scratch)
            np.multiply(scratch, np.float32(count), out=mean)
            total += mean
            scratch *= mean
            squares += scratch
        self._frames += count
        if last:
            frames, self._frames = self._frames, 0
            total /= np.float32(frames)
            np.multiply(total, total, out=scratch)
            scratch *= np.float32(frames)
            squares -= scratch
            total += reference
            self._close(level, frames, total, squares, level.factor / (frames - 1), scratch)

    def finish(self) -> None:
        """Give back the arrays that only a further frame would need."""
        self._reference = self._sum = self._squares = self._first = None

    def release(self) -> None:
        """Give back all sums, once they are used."""
        for name in _SUMS:
            setattr(self, name, np.zeros(0, dtype=np.float32))

    def _state(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        if self._reference is None or self._sum is None or self._squares is None:
            raise RuntimeError("no level is open")
        return self._reference, self._sum, self._squares

    def _close(
        self,
        level: LevelPlan,
        frames: int,
        mean: Float32Array,
        squares: Float32Array | None,
        to_variance: float,
        scratch: Float32Array,
    ) -> None:
        """Fold a level's mean and its variance, ``squares * to_variance``, into the sums."""
        seen = LevelSeen(level, frames)
        self.seen.append(seen)

        def fold(target: Float32Array, values: Float32Array, weight: float) -> None:
            np.multiply(values, np.float32(weight), out=scratch)
            np.add(target, scratch, out=target)

        if level.bright:
            fold(self.light, mean, seen.mean_weight)
            if frames > 1 and squares is not None:
                by_signal, plain = seen.variance_coefficients
                fold(self.variance_signal, squares, by_signal * to_variance)
                fold(self.variance, squares, plain * to_variance)
            return
        fold(self.dark, mean, seen.mean_weight)
        if level.exposure_s:
            fold(self.dark_by_time, mean, seen.mean_weight * level.exposure_s)
        if frames > 1 and squares is not None:
            fold(self.dark_variance, squares, seen.variance_weight * to_variance)
