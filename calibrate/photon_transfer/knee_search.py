"""A cheap look for a knee in the response: noise per signal that falls at one place and rises again beyond it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics import LevelStatistics
from calibrate.photon_transfer.data import ROLL_OFF_RANGE, PhotonTransferData, unclipped_levels
from calibrate.photon_transfer.knee import Knee, inverted

FloatArray = NDArray[np.float64]

#: Levels beyond the knee from which on it is fitted: knee and slope take two, the third can disagree.
FEWEST_BEYOND = 3
_FEWEST_BELOW = 1
#: Fall of the noise per signal from one level to the next, or the one after it: share and standard errors.
_FALL = 0.08
_FALL_SIGMAS = 5.0
#: Rise beyond the fall, standard errors: a look, not a proof, which the criterion over all candidates gives.
_RISE_SIGMAS = 1.0
#: How many times the falls elsewhere it is: bends and brighter-fatter sensors fall everywhere.
_STEEPER = 1.5
#: Variance left beyond a knee over that below, and rise of the signal beyond it, share; less is a full well.
_LEAST_LEFT = 0.005
_LEAST_RISE = 0.02
#: Least slope that is taken for one; less is a full well.
LEAST_SLOPE = 0.05
#: How far beyond the knee a single level must lie to speak of one: standard deviations of its noise, and share.
_FAR_SIGMAS = 6.0
_FAR_SHARE = 0.05
#: Fall that a single level beyond must show, share.
_STEEP = 0.25
_SLOPES = (0.05, 0.95)
#: Starts whose knees are nearer than this share are one, and most places that are tried.
_APART = 0.003
_PLACES = 3


@dataclass(frozen=True)
class Start:
    """Where a fit of two slopes starts: gain, knee and slope from the levels on both sides of ``below_dn`` (code)."""

    gain: float
    knee_dn: float
    slope: float
    below_dn: float

    def below(self, data: PhotonTransferData) -> PhotonTransferData:
        """The data without the levels beyond."""
        return replace(data, usable=data.usable & (data.dark | (data.mean_dn < self.below_dn)))


@dataclass(frozen=True)
class Break:
    """Places where a knee may lie, and the data with the levels beyond it in use.

    ``light_pattern`` is the light's relative variance over a frame, from the levels below.
    """

    data: PhotonTransferData
    starts: tuple[Start, ...]
    light_pattern: float

    def below(self, data: PhotonTransferData) -> PhotonTransferData:
        """The data without the levels beyond the lowest of the places."""
        return self.starts[0].below(data)


@dataclass(frozen=True)
class KneeDoubt:
    """A knee that shows and is not fitted: mean code where the noise falls, and why."""

    code_dn: float
    reason: str


class _Curve:
    """Unclipped bright levels: signal, shot noise, noise per signal and its standard error."""

    def __init__(self, data: PhotonTransferData) -> None:
        dark = data.still & np.isfinite(data.variance_dn2)
        self.offset = 0.0 if not np.any(dark) else float(np.mean(data.mean_dn[dark]))
        floor = float(np.median(data.variance_dn2[dark])) if np.any(dark) else 0.0
        unclipped, self.clips = unclipped_levels(data, self.offset)
        rows = np.flatnonzero(data.bright & unclipped & np.isfinite(data.variance_dn2))
        self.rows = rows[data.mean_dn[rows] > self.offset]
        self.signal = data.mean_dn[self.rows] - self.offset
        self.variance = data.variance_dn2[self.rows]
        self.shot = self.variance - floor
        shape = np.maximum(data.kurtosis[self.rows] / 3.0, 1.0)
        self.error = np.sqrt(2.0 * shape / data.variance_samples[self.rows]) * self.variance
        self.ratio, self.ratio_error = self.shot / self.signal, self.error / self.signal

    def falls(self) -> list[tuple[int, int]]:
        """Last level below and first level beyond every fall of the noise per signal."""
        out = []
        for below in range(_FEWEST_BELOW - 1, self.rows.size - 1):
            # A level at the knee itself is in between, so that the fall may take two steps.
            beyond = below + 1 + int(np.argmin(self.ratio[below + 1 : below + 3]))
            fall = self.ratio[below] - self.ratio[beyond]
            error = np.hypot(self.ratio_error[below], self.ratio_error[beyond])
            elsewhere = max(self._largest_fall(0, below), self._largest_fall(beyond, self.rows.size - 1))
            if fall > max(_FALL * self.ratio[below], _FALL_SIGMAS * error, _STEEPER * elsewhere):
                out.append((below, beyond))
        return out

    def _largest_fall(self, first: int, last: int) -> float:
        """Largest fall over two steps from level ``first`` to ``last``, 0 where there is none."""
        ratio = self.ratio[first : last + 1]
        return float(np.max(ratio[:-2] - ratio[2:], initial=0.0)) if ratio.size > 2 else 0.0

    def rises(self, below: int, beyond: int) -> bool:
        """Whether the noise per signal rises again, which a full well or a smooth bend leaves out."""
        if self.variance[beyond] < _LEAST_LEFT * self.variance[below]:
            return False
        last = self.last_before_full_well(beyond)
        if last - beyond + 1 < FEWEST_BEYOND:
            return False
        if self.signal[last] < (1 + _LEAST_RISE) * self.signal[beyond]:
            return False
        part = slice(beyond, last + 1)
        line, covariance = np.polyfit(self.signal[part], self.shot[part], 1, w=1.0 / self.error[part], cov="unscaled")
        return bool(line[0] > 0 and line[1] < -_RISE_SIGMAS * np.sqrt(covariance[1, 1]))

    def last_before_full_well(self, first: int) -> int:
        """Last level to use from ``first`` on: up to 90 % of where the variance falls a second time."""
        variance = self.variance[first:]
        fallen = np.flatnonzero(variance < 0.9 * np.maximum.accumulate(variance))
        if not fallen.size:
            return int(self.rows.size) - 1
        peak = first + int(np.argmax(variance[: fallen[0] + 1]))
        return int(np.searchsorted(self.signal, ROLL_OFF_RANGE * self.signal[peak], side="right")) - 1

    def gain(self, below: int) -> float:
        """K from the levels up to one, DN per electron."""
        weight = 1.0 / self.ratio_error[: below + 1] ** 2
        return float(np.sum(weight * self.ratio[: below + 1]) / np.sum(weight))

    def start(self, below: int, beyond: int) -> Start:
        """Beyond a knee u_0 the variance is the line s K (m - (1 - s) u_0), m the mean signal."""
        gain = self.gain(below)
        part = slice(beyond, self.last_before_full_well(beyond) + 1)
        line = np.polyfit(self.signal[part], self.shot[part], 1, w=1.0 / self.error[part])
        slope = float(np.clip(line[0] / gain, *_SLOPES))
        ends = self.signal[below], self.signal[beyond]
        knee = float(np.clip(-line[1] / (slope * gain * (1 - slope)), *ends))
        return Start(gain, knee, slope, self.offset + 0.5 * (ends[0] + self.signal[below + 1]))

    def start_by_light(self, below: int, beyond: int, light: FloatArray) -> Start:
        """Where the light is known the means are two straight lines in it: rho L, and (1 - s) u_0 + s rho L beyond."""
        own = self.start(below, beyond)
        rho = float(np.sum(self.signal[: below + 1]) / np.sum(light[: below + 1]))
        part = slice(beyond, self.last_before_full_well(beyond) + 1)
        line = np.polyfit(rho * light[part], self.signal[part], 1, w=1.0 / self.signal[part])
        slope = float(np.clip(line[0], *_SLOPES))
        knee = float(np.clip(line[1] / (1 - slope), self.signal[below], max(self.signal[beyond], own.knee_dn)))
        return replace(own, knee_dn=knee, slope=slope)


def find_break(data: PhotonTransferData) -> Break | None:
    """Places where a knee may lie; None, as a rule, at once: for straight, bent and saturating sensors.

    Below a knee the noise per signal is K. Beyond it, it is s K (1 - (1 - s) u_0/m): it falls by 1 - s^2 and rises
    again towards s K. Bends, brighter-fatter sensors and full wells let it fall alone.
    """
    if not data.known_errors or data.offset_is_zero:
        return None
    curve = _Curve(data)
    places = [place for place in curve.falls() if curve.rises(*place)]
    if not places:
        return None
    last = curve.last_before_full_well(places[-1][1])
    used = curve.rows[: last + 1]
    usable = data.dark.copy()
    usable[used] = True
    usable |= data.bright & ~np.isfinite(data.variance_dn2) & (data.mean_dn <= data.mean_dn[used[-1]])
    saturates = "roll_off" if last + 1 < curve.rows.size else "clip" if curve.clips else "no"
    starts = [curve.start(*place) for place in places[:_PLACES]]
    if data.light_unit and np.all(np.isfinite(data.light[used])):
        by_light = [curve.start_by_light(*place, data.light[curve.rows]) for place in places[:_PLACES]]
        starts = [*by_light, starts[0]]
    distinct: list[Start] = []
    for start in starts:
        if all(abs(start.knee_dn / other.knee_dn - 1) > _APART for other in distinct):
            distinct.append(start)
    pattern = _light_pattern(data, curve, places[0][0])
    return Break(replace(data, usable=usable, saturates=saturates), tuple(distinct), pattern)


def _light_pattern(data: PhotonTransferData, curve: _Curve, below: int) -> float:
    """Relative variance of the light over a frame, from levels below the knee; 0 where it does not show."""
    rows = curve.rows[: below + 1]
    spatial = data.spatial_variance_dn2[rows] - float(np.mean(data.spatial_variance_dn2[data.dark]))
    signal = curve.signal[: below + 1]
    error = data.variance_dn2[rows] / np.sqrt(data.variance_samples[rows])
    weight = signal**4 / error**2
    value = float(np.sum(weight * spatial / signal**2) / np.sum(weight))
    return value if value > 3.0 / float(np.sqrt(np.sum(weight))) else 0.0


def with_own_tails(
    knee: Knee, offset_dn: float, measured: tuple[LevelStatistics, ...], cut: tuple[LevelStatistics, ...]
) -> tuple[LevelStatistics, ...]:
    """The levels with their outliers cut, but for those at the knee, which have long tails of their own.

    Pixels below the knee have 1/s times the noise of those beyond: where they are few, they look like outliers.
    """
    out = []
    for plain, level in zip(measured, cut, strict=True):
        signal = np.array([plain.mean_dn - offset_dn])
        at_knee = bool(knee.is_near(inverted(knee.knee_dn, knee.slope, signal))[0])
        if level.kind == "bright" and level.rejected_fraction > 0 and at_knee:
            level = replace(plain, pairs=tuple(replace(pair, candidates=None) for pair in plain.pairs))
        out.append(level)
    return tuple(out)


def doubt_a_knee(data: PhotonTransferData) -> KneeDoubt | None:
    """A knee with too few levels beyond it to fit; None where a full well, or nothing, is seen.

    Notes
    -----
    At the light u a level beyond a knee has shot noise s^2 K u and signal u_0 + s (u - u_0), which give s and u_0. At
    the edge of a full well u lies within the noise of that u_0, and beyond it s is 0.
    """
    if not data.known_errors or data.offset_is_zero or not data.has_light_axis:
        return None
    curve = _Curve(data)
    for below, beyond in curve.falls():
        left = int(curve.rows.size) - beyond
        fall = curve.ratio[below] - curve.ratio[beyond]
        if left >= FEWEST_BEYOND or curve.ratio[beyond] <= 0 or fall < _STEEP * curve.ratio[below]:
            continue
        rows = curve.rows[: below + 1]
        light = data.light[rows]
        per_light = float(np.sum(curve.signal[: below + 1] * light) / np.sum(light**2))
        u = per_light * data.light[curve.rows[beyond]]
        gain = curve.gain(below)
        slope = float(np.sqrt(curve.shot[beyond] / (gain * u)))
        if not 0.1 < slope < _SLOPES[1]:
            continue
        knee = (curve.signal[beyond] - slope * u) / (1 - slope)
        far = max(_FAR_SIGMAS * float(np.sqrt(gain * u)), _FAR_SHARE * u)
        if knee > curve.signal[below] * (1 - _FAR_SHARE) and u - knee > far:
            reason = f"only {left} of the levels lie beyond it, and {FEWEST_BEYOND} are needed"
            return KneeDoubt(curve.offset + float(curve.signal[below]), reason)
    return None
