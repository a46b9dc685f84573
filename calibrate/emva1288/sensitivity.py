"""Gain, responsivity, dark noise, saturation, threshold and what follows, by release 4 and by release 3.1.

Equations are those of EMVA 1288 release 4.0 linear (16 June 2021); where release 3.1 (30 December 2016) differs, the
docstrings say how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from calibrate.emva1288.linearity import Linearity, fit_linearity
from calibrate.emva1288.statistics import Levels, Series

FloatArray = NDArray[np.float64]
Release = Literal["4.0", "3.1"]

#: Share of the saturation signal up to which gain and responsivity are fitted.
FIT_SHARE = 0.7
#: Release 4 calls a sensor saturated where between 0.1 % and 0.2 % of its pixels show the highest code.
SATURATED_SHARE = (0.001, 0.002)
#: Dark variance, DN^2, below which rounding hides the dark noise (equations 53 and 54).
LEAST_DARK_VARIANCE_DN2 = 0.24
#: Pixels at, or below, the highest code that make a share believable.
_FEWEST_PIXELS = 5


@dataclass(frozen=True)
class Saturation:
    """Where the sensor saturates.

    Parameters
    ----------
    light : float
        Photons or seconds; NaN without a light axis.
    signal_dn : float
        Mean less dark mean there.
    last_level : int
        Highest bright level at or below it.
    definition : {"clipped share", "variance maximum"}
    """

    light: float
    signal_dn: float
    last_level: int
    definition: str


@dataclass(frozen=True)
class Sensitivity:
    """The straight lines and numbers of one release.

    Parameters
    ----------
    release : {"4.0", "3.1"}
    light_unit : str
    signal_dn, excess_dn2 : ndarray
        Mean less dark mean, variance less dark variance, of every bright level.
    used : ndarray of bool
        Levels of the two lines through the origin.
    gain_dn_per_e : float
        K (equation 50).
    responsivity : float or None
        DN per photon or per second (equation 49).
    saturation : Saturation or None
    dark_variance_dn2 : float
        At exposure 0 where the darks allow it, as measured.
    dark_mean_slope_dn_per_s, dark_variance_slope_dn2_per_s : float or None
    linearity : Linearity or None
    rounding_dn2 : float
    """

    release: Release
    light_unit: str
    signal_dn: FloatArray
    excess_dn2: FloatArray
    used: NDArray[np.bool_]
    gain_dn_per_e: float
    responsivity: float | None
    saturation: Saturation | None
    dark_variance_dn2: float
    dark_mean_slope_dn_per_s: float | None
    dark_variance_slope_dn2_per_s: float | None
    linearity: Linearity | None
    rounding_dn2: float

    @property
    def dark_noise_hidden(self) -> bool:
        """Whether rounding hides the dark noise, so that only its upper limit 0.40/K is known."""
        return self.rounding_dn2 > 0 and self.dark_variance_dn2 < LEAST_DARK_VARIANCE_DN2

    @property
    def effective_dark_variance_dn2(self) -> float:
        """Dark variance with the standard's floor where rounding hides it."""
        if self.rounding_dn2 > 0:
            return max(self.dark_variance_dn2, LEAST_DARK_VARIANCE_DN2)
        return max(self.dark_variance_dn2, 0.0)

    @property
    def threshold_e(self) -> float:
        """Charge at which signal equals noise.

        Release 4 (equation 27): sqrt(sigma^2 + 1/4) + 1/2 with sigma the dark noise in electrons, rounding included;
        release 3.1 leaves the 1/4 out.
        """
        variance_e2 = self.effective_dark_variance_dn2 / self.gain_dn_per_e**2
        return float(np.sqrt(variance_e2 + (0.25 if self.release == "4.0" else 0.0)) + 0.5)

    @property
    def saturation_e(self) -> float | None:
        """Saturation capacity: responsivity times light over gain; without a light axis the signal over the gain."""
        if self.saturation is None:
            return None
        if self.responsivity is None:
            return self.saturation.signal_dn / self.gain_dn_per_e
        return self.responsivity * self.saturation.light / self.gain_dn_per_e


def measure_sensitivity(
    levels: Levels, release: Release, *, share: float | None = None, grid_shift: float = 0.0
) -> Sensitivity | None:
    """Apply one release's formulas to the levels.

    Parameters
    ----------
    levels : Levels
    release : {"4.0", "3.1"}
    share : float, optional
        Share of clipped pixels that counts as saturation; default the middle of the standard's range.
    grid_shift : float
        Moves the variance maximum by this part of the levels' distance, -1/2 to 1/2: for its uncertainty.

    Returns
    -------
    Sensitivity or None
        None where the variance does not rise with the signal.
    """
    bright, dark = levels.bright, levels.dark
    signal = bright.mean_dn - levels.dark_weights @ dark.mean_dn
    excess = bright.variance_dn2 - levels.dark_weights @ dark.variance_dn2
    saturation = _variance_maximum(levels, signal, grid_shift)
    if release == "4.0":
        wanted = float(np.mean(SATURATED_SHARE)) if share is None else share
        saturation = _clipped_share(levels, signal, wanted) or saturation
    if saturation is None:
        limit, last = FIT_SHARE * float(np.max(signal)), bright.size - 1
    else:
        limit, last = FIT_SHARE * saturation.signal_dn, saturation.last_level
    used = (signal <= limit) & (np.arange(bright.size) <= last)
    if int(np.count_nonzero(used)) < 2:
        return None
    gain = _through_origin(signal[used], excess[used])
    if not gain > 0:
        return None
    responsivity = None
    if levels.light_unit:
        responsivity = _through_origin(bright.light[used], signal[used])
        if not responsivity > 0:
            return None
    mean_slope, variance_slope, dark_variance = _dark_lines(dark)
    linearity = None
    if levels.light_unit and saturation is not None:
        linearity = fit_linearity(bright.light, signal, saturation.signal_dn)
    return Sensitivity(
        release=release,
        light_unit=levels.light_unit,
        signal_dn=signal,
        excess_dn2=excess,
        used=used,
        gain_dn_per_e=gain,
        responsivity=responsivity,
        saturation=saturation,
        dark_variance_dn2=dark_variance,
        dark_mean_slope_dn_per_s=mean_slope,
        dark_variance_slope_dn2_per_s=variance_slope,
        linearity=linearity,
        rounding_dn2=levels.rounding_dn2,
    )


def _through_origin(x: FloatArray, y: FloatArray) -> float:
    """Slope of the unweighted straight line through the origin."""
    power = float(x @ x)
    return float(x @ y) / power if power > 0 else 0.0


def _dark_lines(dark: Series) -> tuple[float | None, float | None, float]:
    """Slopes of dark mean and dark variance with exposure (equations 29 and 30), and the variance at exposure 0.

    With darks at one exposure there are no slopes, and the variance is theirs.
    """
    t = dark.light
    if not np.all(np.isfinite(t)) or float(np.ptp(t)) == 0:
        return None, None, float(np.mean(dark.variance_dn2))
    centre = t - np.mean(t)
    power = float(centre @ centre)
    mean_slope = float(centre @ dark.mean_dn) / power
    variance_slope = float(centre @ dark.variance_dn2) / power
    return mean_slope, variance_slope, float(np.mean(dark.variance_dn2) - variance_slope * np.mean(t))


def _variance_maximum(levels: Levels, signal: FloatArray, grid_shift: float) -> Saturation | None:
    """Release 3.1: the level with the largest temporal variance; None where that is the brightest."""
    bright = levels.bright
    peak = int(np.argmax(bright.variance_dn2))
    if peak == 0 or peak == bright.size - 1:
        return None
    place = peak + grid_shift
    grid = np.arange(bright.size)
    light = float(np.interp(place, grid, bright.light)) if levels.light_unit else float("nan")
    at = float(np.interp(place, grid, signal)) if grid_shift else float(signal[peak])
    return Saturation(light, at, peak, "variance maximum")


def _clipped_share(levels: Levels, signal: FloatArray, share: float) -> Saturation | None:
    """Release 4: where ``share`` of the pixels shows the highest code, interpolated between levels.

    The normal quantile of the share rises nearly in a straight line with the light, which the share itself does not.
    Where fewer than five pixels are clipped, or are not, the quantile comes from the level's mean and spread:
    (mean - (top - 1/2)) / spread.
    """
    if levels.top_code is None:
        return None
    bright = levels.bright
    always = float(np.min(bright.top_share))  # stuck pixels
    clipped = bright.top_share - always
    reached = np.flatnonzero(clipped >= share)
    if reached.size == 0 or reached[0] == 0:
        return None
    high, low = int(reached[0]), int(reached[0]) - 1
    fewest = _FEWEST_PIXELS / bright.n_pixels
    wanted = float(ndtri(share))
    edge = levels.top_code - 0.5
    spread = max(float(bright.spread_dn[low]), 1e-6)
    z_low = float((bright.mean_dn[low] - edge) / spread)
    if clipped[low] >= fewest or z_low >= wanted:
        z_low = float(ndtri(min(max(clipped[low], 0.5 / bright.n_pixels), share * 0.999)))
    axis = bright.light if levels.light_unit else np.arange(bright.size, dtype=np.float64)
    gap = float(axis[high] - axis[low])
    if clipped[high] <= 1 - fewest:
        z_high = float(ndtri(clipped[high]))
    else:
        # The next level's mean if it were not clipped: on the line from the origin, else as far as the last step.
        step = float(signal[low] - signal[max(low - 1, 0)])
        if levels.light_unit and axis[low] > 0:
            step = float(signal[low] / axis[low]) * gap
        z_high = max(float((bright.mean_dn[low] + step - edge) / spread), wanted)
    part = float(np.clip((wanted - z_low) / (z_high - z_low), 0.0, 1.0)) if z_high > z_low else 1.0
    at = float(signal[low] + part * (signal[high] - signal[low]))
    light = float(axis[low] + part * gap) if levels.light_unit else float("nan")
    return Saturation(light, at, low, "clipped share")


def sensitivity_values(found: Sensitivity) -> dict[str, float]:
    """Numbers by name; what the levels do not give is absent."""
    gain = found.gain_dn_per_e
    values = {"system_gain_dn_per_e": gain, "inverse_system_gain_e_per_dn": 1.0 / gain}
    # Release 4 gives what was measured, release 3.1 the floor where rounding hides it.
    noise2 = found.dark_variance_dn2 if found.release == "4.0" else found.effective_dark_variance_dn2
    values["temporal_dark_noise_dn"] = float(np.sign(noise2) * np.sqrt(abs(noise2)))
    if not (found.release == "4.0" and found.dark_noise_hidden):
        own = max(found.effective_dark_variance_dn2 - found.rounding_dn2, 0.0)
        values["temporal_dark_noise_e"] = float(np.sqrt(own)) / gain
    values["sensitivity_threshold_e"] = found.threshold_e
    efficiency = None
    if found.responsivity is not None:
        unit = "photon" if found.light_unit == "photons" else "s"
        values[f"responsivity_dn_per_{unit}"] = found.responsivity
        if found.light_unit == "photons":
            efficiency = found.responsivity / gain
            values["quantum_efficiency_percent"] = 100.0 * efficiency
            values["sensitivity_threshold_photons"] = found.threshold_e / efficiency
    saturation = found.saturation_e
    if saturation is not None and found.saturation is not None and saturation > 0:
        values["saturation_capacity_e"] = saturation
        if efficiency is not None:
            values["saturation_capacity_photons"] = found.saturation.light
        snr = float(np.sqrt(saturation))
        values |= {"snr_max": snr, "snr_max_db": 20 * float(np.log10(snr)), "snr_max_bit": float(np.log2(snr))}
        values["inverse_snr_max_percent"] = 100.0 / snr
        ratio = saturation / found.threshold_e
        values["dynamic_range"] = ratio
        values |= {"dynamic_range_db": 20 * float(np.log10(ratio)), "dynamic_range_bit": float(np.log2(ratio))}
    if found.linearity is not None:
        if found.release == "4.0":
            values["linearity_error_percent"] = found.linearity.error_percent
        else:
            values["linearity_error_min_percent"] = found.linearity.least_percent
            values["linearity_error_max_percent"] = found.linearity.largest_percent
    if found.dark_mean_slope_dn_per_s is not None and found.dark_variance_slope_dn2_per_s is not None:
        values["dark_current_from_mean_dn_per_s"] = found.dark_mean_slope_dn_per_s
        values["dark_current_from_mean_e_per_s"] = found.dark_mean_slope_dn_per_s / gain
        values["dark_current_from_variance_e_per_s"] = found.dark_variance_slope_dn2_per_s / gain**2
    return values
