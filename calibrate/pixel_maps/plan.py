"""What the scalar fit says about each level: how its frames are brought to one light, and what noise to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, Level
from calibrate.frames import iterate_frames
from calibrate.plumbing.progress import track
from calibrate.response import Response

FloatArray = NDArray[np.float64]
_CUT = 6.0


@dataclass(frozen=True)
class ScalarFit:
    """What the maps need of the scalar fit.

    Parameters
    ----------
    system_gain_dn_per_e, offset_dn, dark_current_e_per_s, read_noise_e, response
        As fitted; ``dark_current_e_per_s`` None where it is not known.
    bright_range_dn : (low, high)
        Means of the bright levels that the fit used.
    rounding_dn2 : float
        What rounding adds to the variance of the brights: 1/12, or 0 for real values.
    dark_rounding_dn2 : float or None
        The same for the darks, where coarse rounding adds something else on average over pixels; None: the same.
    variance_ratio : tuple of (mean_dn, ratio)
        Temporal variance of the fitted model at a level's mean over that of `LevelPlan`, where the model has terms
        (brighter-fatter, noise after the response) that act on all pixels alike; interpolated. Empty: 1.
    """

    system_gain_dn_per_e: float
    offset_dn: float
    dark_current_e_per_s: float | None
    read_noise_e: float
    response: Response
    bright_range_dn: tuple[float, float]
    rounding_dn2: float
    dark_rounding_dn2: float | None = None
    variance_ratio: tuple[tuple[float, float], ...] = ()

    @property
    def dark_rate_dn_per_s(self) -> float:
        """Mean dark charge a second, in DN."""
        return self.system_gain_dn_per_e * (self.dark_current_e_per_s or 0.0)

    @property
    def read_variance_dn2(self) -> float:
        """(K read_noise)^2."""
        return (self.system_gain_dn_per_e * self.read_noise_e) ** 2

    @property
    def smallest_variance_dn2(self) -> float:
        """What a noiseless level counts as: rounding, or a billionth of the brightest level's shot noise."""
        brightest = max(self.bright_range_dn[1] - self.offset_dn, 0.0)
        return max(self.rounding_dn2, 1e-9 * self.system_gain_dn_per_e * brightest, 1e-300)


@dataclass(frozen=True)
class LevelPlan:
    """One level as the maps see it; all in DN, ``mean_dn`` is that of all its frames and pixels.

    Parameters
    ----------
    bright : bool
    exposure_s : float
        0 where unknown.
    mean_dn : float
        For darks the scalar offset: what the pixels' deviations are counted from.
    scales, shifts_dn : tuple of float
        Frame k as ``(z - shift_k) * scale_k`` is a deviation from ``mean_dn`` at the level's mean light.
    signal_dn, light_dn : float
        Signal u before the response, and its part that is light.
    slope, bend : float
        f'(u), and the ratio of `ScalarFit.variance_ratio` at this level.
    variance_dn2 : float
        Temporal variance of a typical pixel under the scalar fit.
    shot_share_dn2 : float
        Its part that is shot noise.
    factor : float
        Sums of squares times this are unbiased: the frame means taken out, and the shot noise of scaled frames.
    """

    bright: bool
    exposure_s: float
    mean_dn: float
    scales: tuple[float, ...]
    shifts_dn: tuple[float, ...]
    signal_dn: float
    light_dn: float
    slope: float
    bend: float
    variance_dn2: float
    shot_share_dn2: float
    factor: float


def plan_levels(
    captures: CaptureSet, fit: ScalarFit, frame_means_dn: Sequence[Sequence[float]]
) -> tuple[tuple[Level, LevelPlan], ...]:
    """Levels that the maps are made from, darks first; bright levels outside ``fit.bright_range_dn`` are left out.

    Parameters
    ----------
    captures : CaptureSet
    fit : ScalarFit
    frame_means_dn : sequence of sequences
        Mean code of each frame, in the order of ``captures.levels``.
    """
    n_pixels = int(np.prod(captures.shape or (0, 0)))
    darks, brights = [], []
    for level, means in zip(captures.levels, frame_means_dn, strict=True):
        values = np.asarray(means, dtype=np.float64)
        if level.kind == "dark":
            darks.append((level, _plan_dark(level, values, n_pixels, fit)))
        elif fit.bright_range_dn[0] <= float(np.mean(values)) <= fit.bright_range_dn[1]:
            plan = _plan_bright(level, values, n_pixels, fit)
            if plan.light_dn > 0:
                brights.append((level, plan))
    return (*darks, *brights)


def _plan_dark(level: Level, means: FloatArray, n_pixels: int, fit: ScalarFit) -> LevelPlan:
    exposure = level.exposure_s or 0.0
    shot = max(fit.system_gain_dn_per_e * fit.dark_rate_dn_per_s * exposure, 0.0)
    rounding = fit.rounding_dn2 if fit.dark_rounding_dn2 is None else fit.dark_rounding_dn2
    variance = max(fit.read_variance_dn2 + shot + rounding, fit.smallest_variance_dn2)
    return LevelPlan(
        bright=False,
        exposure_s=exposure,
        mean_dn=fit.offset_dn,
        scales=(1.0,) * means.size,
        shifts_dn=tuple(_own_means(means, n_pixels) - float(np.mean(means)) + fit.offset_dn),
        signal_dn=fit.dark_rate_dn_per_s * exposure,
        light_dn=0.0,
        slope=1.0,
        bend=1.0,
        variance_dn2=variance,
        shot_share_dn2=shot,
        factor=_means_taken_out(means.size, n_pixels),
    )


def _plan_bright(level: Level, means: FloatArray, n_pixels: int, fit: ScalarFit) -> LevelPlan:
    exposure = level.exposure_s or 0.0
    mean = float(np.mean(means))
    u = float(fit.response.inverse(np.array(mean - fit.offset_dn)))
    slope = float(fit.response.derivative(np.array(u)))
    bend = 1.0
    if fit.variance_ratio:
        at, ratio = np.array(fit.variance_ratio).T
        order = np.argsort(at)
        bend = float(np.interp(mean, at[order], ratio[order]))
    gain = fit.system_gain_dn_per_e
    shot = bend * slope**2 * gain * max(u, 0.0)
    still = bend * slope**2 * fit.read_variance_dn2 + fit.rounding_dn2
    variance = max(shot + still, fit.smallest_variance_dn2)
    light = (means - fit.offset_dn) / (mean - fit.offset_dn) if mean != fit.offset_dn else np.ones(means.size)
    factor = _means_taken_out(means.size, n_pixels)
    if n_pixels > 1 and float(np.min(means)) - fit.offset_dn > np.sqrt(variance):
        # (z - b)/g - (mean - b): light scaled, offset left alone; g^-2 (g shot + still) is the scaled variance.
        scales = 1 / light
        shifts = fit.offset_dn + (mean - fit.offset_dn) * light
        factor *= variance / float(np.mean(shot / light + still / light**2))
    else:
        scales = np.ones(means.size)
        shifts = _own_means(means, n_pixels)
    return LevelPlan(
        bright=True,
        exposure_s=exposure,
        mean_dn=mean,
        scales=tuple(float(s) for s in scales),
        shifts_dn=tuple(float(s) for s in shifts),
        signal_dn=u,
        light_dn=u - fit.dark_rate_dn_per_s * exposure,
        slope=slope,
        bend=bend,
        variance_dn2=variance,
        shot_share_dn2=shot,
        factor=factor,
    )


def _own_means(means: FloatArray, n_pixels: int) -> FloatArray:
    """The frames' means, which are taken out; those of a single pixel are its noise and stay."""
    return means if n_pixels > 1 else np.full(means.size, float(np.mean(means)))


def _means_taken_out(n_frames: int, n_pixels: int) -> float:
    """Each frame's mean over N pixels holds 1/N of their noise, which goes with it: N/(N - 1)."""
    return n_pixels / (n_pixels - 1) if n_frames > 1 and n_pixels > 1 else 1.0


def measure_frame_means(captures: CaptureSet) -> list[list[float]]:
    """Mean code of every frame, in the order of ``captures.levels``: one more pass over the files.

    Frames of a level are compared with its first one, differences beyond six robust deviations cut to that: a few
    sparks in a small frame would move its mean by more than a lamp does.
    """
    total = sum(level.n_frames for level in captures.levels)
    frames = iter(track(iterate_frames(f for x in captures.levels for f in x.frames), "Frame means", total=total))
    out = []
    for level in captures.levels:
        first = next(frames).astype(np.float64)
        means = [float(np.mean(first))]
        for _ in range(level.n_frames - 1):
            difference = next(frames) - first
            low, middle, high = np.percentile(difference, [25, 50, 75])
            reach = _CUT * (high - low) / 1.349
            if reach > 0:  # codes coarser than the noise have no quartiles to cut by
                difference = np.clip(difference, middle - reach, middle + reach)
            means.append(means[0] + float(np.mean(difference)))
        out.append(means)
    return out
