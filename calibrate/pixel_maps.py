"""Per-pixel offset, read noise, dark current and photo-response with their errors, in closed form.

A second pass over the frames, which needs the fitted scalars: which levels are below saturation, and how far
each level's mean lies along the response curve. Memory is a dozen arrays of one frame's size, whatever the
number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet
from calibrate.frames import iterate_frames
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track
from calibrate.response import Response

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ScalarFit:
    """What the maps need of the scalar fit."""

    system_gain_dn_per_e: float
    offset_dn: float
    dark_current_e_per_s: float | None
    read_noise_e: float
    response: Response
    bright_range_dn: tuple[float, float]
    rounding_dn2: float


def measure_maps(captures: CaptureSet, fit: ScalarFit) -> dict[str, FloatArray]:
    """Maps of one sensor, each with its standard error as ``NAME_std``; shapes (height, width).

    Returns
    -------
    dict
        ``offset_dn`` (DN), ``read_noise_e`` (e-), ``prnu`` (relative photo-response, mean 0), and
        ``dark_current_e_per_s`` where darks at two exposures or more are there. ``prnu`` holds the shading of
        the light as well: flats cannot tell the two apart.

    Raises
    ------
    PhotonbitsError
        If there are fewer than three darks.

    Notes
    -----
    With L_j darks at exposure t_j: offset and dark current by weighted least squares over t per pixel; read noise
    from the variance within levels, (sum of squares)/(sum L_j - levels), minus rounding and the pixel's dark charge.
    A variance that comes out negative is 0 with its standard error kept. Photo-response: with f' the slope of
    the response at a level's mean and x its signal, p = sum(z - offset - f(x)) / sum(f' x) over all frames.
    """
    dark = _DarkSums.collect(captures, fit)
    if dark.frames < 3 or dark.frames <= dark.levels:
        raise PhotonbitsError(
            f"{dark.frames} dark frames at {dark.levels} exposures for maps",
            where=captures.root,
            legal="three darks or more, two or more at one exposure",
            remedy="Shoot 16 darks for rough maps, 72 and more for scores, or fit with --no-maps",
        )
    gain = fit.system_gain_dn_per_e
    use_exposures = dark.has_exposures and fit.dark_current_e_per_s is not None
    mean_t = dark.sum_t / dark.sum_w if use_exposures else 0.0
    spread_t = dark.sum_tt - dark.sum_w * mean_t**2 if use_exposures else 0.0
    mean_z = dark.sum_z / dark.sum_w
    dark_rate = (dark.sum_tz - mean_t * dark.sum_z) / spread_t if spread_t > 0 else np.zeros_like(mean_z)
    dof = dark.frames - dark.levels
    variance = np.maximum(dark.sum_squares / dof, 0.0)
    shot = gain * np.maximum(dark_rate, 0.0) * dark.mean_t_of_squares / dof
    read_variance = variance - fit.rounding_dn2 - shot
    read_noise = np.sqrt(np.maximum(read_variance, 0.0)) / gain
    variance_std = np.maximum(variance, fit.rounding_dn2) * np.sqrt(2.0 / dof)
    maps: dict[str, FloatArray] = {"read_noise_e": read_noise}
    maps["read_noise_e_std"] = np.minimum(
        variance_std / (2 * gain**2 * np.maximum(read_noise, 1e-6)), np.sqrt(variance_std) / gain
    )
    # A pixel's own variance from few frames is too noisy to weigh with: no pixel is surer than the typical one.
    still = np.maximum(read_variance, np.median(read_variance)) + fit.rounding_dn2
    # The mean stays unbiased, so that the maps' own error can be taken out of DSNU and PRNU.
    still *= (np.mean(read_variance) + fit.rounding_dn2) / np.mean(still)
    maps["offset_dn"] = mean_z - dark_rate * mean_t
    if spread_t <= 0 and dark.has_exposures and fit.dark_current_e_per_s is not None:
        # One dark exposure: the scalar fit knows the mean dark charge in it, and no pixel's own.
        maps["offset_dn"] -= gain * fit.dark_current_e_per_s * dark.sum_t / dark.sum_w
    maps["offset_dn_std"] = np.sqrt(dark.error_variance(still, gain * np.maximum(dark_rate, 0.0), mean_t, spread_t))
    if spread_t > 0:
        maps["dark_current_e_per_s"] = dark_rate / gain
        slope_variance = dark.error_variance(still, gain * np.maximum(dark_rate, 0.0), mean_t, spread_t, slope=True)
        maps["dark_current_e_per_s_std"] = np.sqrt(slope_variance) / gain
    maps.update(_photo_response(captures, fit, maps["offset_dn"], maps["offset_dn_std"], dark_rate))
    return maps


@dataclass
class _DarkSums:
    """Running sums over all darks, weighted by the scalar fit's variance at each exposure.

    ``sum_squares`` is about each level's own mean, unweighted. ``levels_seen`` holds (exposure, frames, weight).
    """

    frames: int
    levels: int
    has_exposures: bool
    sum_w: float
    sum_t: float
    sum_tt: float
    mean_t_of_squares: float
    sum_z: FloatArray
    sum_tz: FloatArray
    sum_squares: FloatArray
    levels_seen: list[tuple[float, int, float]]

    @classmethod
    def collect(cls, captures: CaptureSet, fit: ScalarFit) -> _DarkSums:
        darks = captures.dark_levels()
        zero = np.zeros(captures.shape or (0, 0))
        exposures = [level.exposure_s for level in darks]
        out = cls(0, 0, None not in exposures, 0.0, 0.0, 0.0, 0.0, zero.copy(), zero.copy(), zero.copy(), [])
        total = sum(level.n_frames for level in darks)
        bar = track(iterate_frames(f for level in darks for f in level.frames), "Dark maps", total=total)
        gain = fit.system_gain_dn_per_e
        for level in darks:
            mean, squares = zero.copy(), zero.copy()
            for count in range(1, level.n_frames + 1):
                frame = next(bar).astype(np.float64)
                step = frame - mean
                mean += step / count
                squares += step * (frame - mean)
            t = level.exposure_s or 0.0
            charge = max(fit.dark_current_e_per_s or 0.0, 0.0) * t
            weight = level.n_frames / (gain**2 * (fit.read_noise_e**2 + charge) + fit.rounding_dn2)
            out.frames += level.n_frames
            out.levels += 1
            out.sum_w += weight
            out.sum_t += weight * t
            out.sum_tt += weight * t * t
            out.mean_t_of_squares += (level.n_frames - 1) * t
            out.sum_z += weight * mean
            out.sum_tz += weight * t * mean
            out.sum_squares += squares
            out.levels_seen.append((t, level.n_frames, weight))
        return out

    def error_variance(
        self, still: FloatArray, rate: FloatArray, mean_t: float, spread_t: float, *, slope: bool = False
    ) -> FloatArray:
        """Variance of the offset (or of the slope) for pixels of temporal variance ``still + rate t``, DN^2."""
        by_still = by_rate = 0.0
        for t, frames, weight in self.levels_seen:
            lever = weight * (t - mean_t) / spread_t if spread_t > 0 else 0.0
            share = lever if slope else weight / self.sum_w - lever * mean_t
            by_still += share**2 / frames
            by_rate += share**2 / frames * t
        return by_still * still + by_rate * rate


def _photo_response(
    captures: CaptureSet, fit: ScalarFit, offset: FloatArray, offset_std: FloatArray, dark_rate: FloatArray
) -> dict[str, FloatArray]:
    low, high = fit.bright_range_dn
    excess, lever, variance, frames = np.zeros_like(offset), 0.0, 0.0, 0
    mean_offset = float(np.mean(offset))
    levels = captures.bright_levels()
    total = sum(level.n_frames for level in levels)
    bar = track(iterate_frames(f for level in levels for f in level.frames), "Photo-response", total=total)
    gain = fit.system_gain_dn_per_e
    for level in levels:
        t = level.exposure_s or 0.0
        for _ in range(level.n_frames):
            frame = next(bar).astype(np.float64)
            mean = float(np.mean(frame))
            if not low <= mean <= high:
                continue
            dark_mean = float(np.mean(dark_rate)) * t
            u = float(fit.response.inverse(np.array(mean - mean_offset)))
            slope = float(fit.response.derivative(np.array(u)))
            light = u - dark_mean
            if light <= 0:
                continue
            excess += frame - offset - slope * (dark_rate * t - dark_mean) - (mean - mean_offset)
            lever += slope * light
            frames += 1
            variance += slope**2 * (gain * u + (gain * fit.read_noise_e) ** 2) + fit.rounding_dn2
    if lever <= 0:
        return {}
    prnu = excess / lever
    # The offset's own error is the same in every frame and adds up.
    std = np.sqrt(variance + (frames * offset_std) ** 2) / lever
    return {"prnu": prnu - np.mean(prnu), "prnu_std": std}
