"""What the pictures and tables show, as plain numbers: small pure functions of a noise model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate.noise_model import Camera, NoiseModel
from calibrate.schema import CandidateEntry, CovarianceEntry, NoiseModelDocument

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: A decisive difference of the Bayesian information criterion (Kass and Raftery 1995, section 4.1).
DECISIVE_BIC = 10.0
# Scatter of lamps and shutters taken for granted where the fit reports none, so that the line is not
# drawn through the one level with the smallest error bar.
_TYPICAL_LIGHT_SCATTER = 1e-3


@dataclass(frozen=True)
class Levels:
    """Measured levels of one kind as arrays (n_levels,); NaN where the file holds null."""

    exposure_s: FloatArray
    photons_per_pixel: FloatArray
    mean_dn: FloatArray
    mean_std_dn: FloatArray
    variance_dn2: FloatArray
    variance_std_dn2: FloatArray
    fitted_mean_dn: FloatArray
    fitted_variance_dn2: FloatArray
    used: BoolArray

    @property
    def size(self) -> int:
        """Number of levels."""
        return int(self.mean_dn.size)


def levels_of(document: NoiseModelDocument, kind: Literal["bright", "dark"]) -> Levels:
    """The measured levels of one kind, in the file's order; none where the file holds no measurements."""
    entries = [entry for entry in document.measurements or () if entry.kind == kind]

    def column(name: str) -> FloatArray:
        return np.array([math.nan if getattr(e, name) is None else float(getattr(e, name)) for e in entries])

    names = [name for name in Levels.__dataclass_fields__ if name != "used"]
    columns = {name: column(name) for name in names}
    return Levels(**columns, used=np.array([e.used for e in entries], dtype=bool))


def variance_residuals(levels: Levels) -> FloatArray:
    """(measured - fitted variance) / standard error; NaN where there is no fit or no error."""
    error = np.where(levels.variance_std_dn2 > 0, levels.variance_std_dn2, np.nan)
    return (levels.variance_dn2 - levels.fitted_variance_dn2) / error


def signal_e(model: NoiseModel, mean_dn: ArrayLike) -> FloatArray:
    """Collected charge at a mean code: through the inverse response, over K; +inf above a full well."""
    camera = model.camera
    above = np.asarray(mean_dn, dtype=np.float64) - float(camera.offset_dn)
    return camera.response.inverse(above) / float(camera.system_gain_dn_per_e)


# ---- linearity -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linearity:
    """Mean signal against light, and its relative deviation from a straight line through the dark signal.

    Arrays (n_levels,) over the bright levels, in order of light; ``curve_*`` (n_points,) is the fitted response.
    """

    axis: Literal["photons", "exposure"]
    light: FloatArray
    signal_dn: FloatArray
    signal_std_dn: FloatArray
    used: BoolArray
    slope_dn: float
    deviation_percent: FloatArray
    deviation_std_percent: FloatArray
    curve_light: FloatArray
    curve_deviation_percent: FloatArray


def linearity(model: NoiseModel) -> Linearity | str:
    """Linearity of the used bright levels, or the reason in words why it cannot be shown.

    Notes
    -----
    Light is photons where all bright levels carry them, else the exposure. The straight line s = a x goes
    through the dark signal (offset plus fitted dark charge). Its slope minimises the sum of squared relative
    deviations over the used levels, each weighted by its own error and the scatter of the light.
    """
    document = model.document
    bright = levels_of(document, "bright")
    if bright.size == 0:
        return "This file holds no measured bright levels, so linearity cannot be shown."
    axis: Literal["photons", "exposure"] = "photons"
    light = bright.photons_per_pixel
    if not np.all(np.isfinite(light)):
        axis, light = "exposure", bright.exposure_s
    known = np.isfinite(light) & (light > 0)
    if not np.any(known):
        return (
            "The captures give neither exposure times nor photons, so there is no light axis to compare the "
            "signal with: linearity cannot be shown."
        )
    signal = bright.mean_dn - dark_signal_dn(model, bright.exposure_s)
    usable = known & bright.used & (signal > 0)
    different = np.unique(light[usable]).size
    if different < 3:
        return (
            f"The used levels above the dark signal have {different} different values of known light; linearity "
            "needs at least 3."
        )
    order = np.flatnonzero(known)[np.argsort(light[known], kind="stable")]
    scatter = model.parameter("light_scatter_percent")
    floor = scatter.value / 100 if scatter and scatter.value > 0 else _TYPICAL_LIGHT_SCATTER
    x, s = light[usable], signal[usable]
    weight = 1 / ((bright.mean_std_dn[usable] / s) ** 2 + floor**2)
    slope = _relative_slope(x, s, weight)
    # The fitted response has its own small-signal slope: s = f(k x).
    u = model.camera.response.inverse(s)
    finite = np.isfinite(u)
    k = _relative_slope(x[finite], u[finite], weight[finite]) if np.any(finite) else slope
    curve = np.linspace(x.min(), x.max(), 200)
    predicted = model.camera.response.evaluate(k * curve)
    line = slope * light[order]
    return Linearity(
        axis=axis,
        light=light[order],
        signal_dn=signal[order],
        signal_std_dn=bright.mean_std_dn[order],
        used=bright.used[order],
        slope_dn=slope,
        deviation_percent=100 * (signal[order] / line - 1),
        deviation_std_percent=100 * bright.mean_std_dn[order] / line,
        curve_light=curve,
        curve_deviation_percent=100 * (predicted / (slope * curve) - 1),
    )


def dark_signal_dn(model: NoiseModel, exposure_s: ArrayLike) -> FloatArray:
    """Mean code without light: the offset, and the dark charge where current and exposure are known."""
    exposure = np.asarray(exposure_s, dtype=np.float64)
    dark = model.parameter("dark_current_e_per_s")
    camera = model.camera
    rate = 0.0 if dark is None else dark.value * float(camera.system_gain_dn_per_e)
    return float(camera.offset_dn) + rate * np.where(np.isfinite(exposure), exposure, 0.0)


def _relative_slope(x: FloatArray, s: FloatArray, weight: FloatArray) -> float:
    """a that minimises sum w (1 - a x / s)^2."""
    ratio = x / s
    return float(np.sum(weight * ratio) / np.sum(weight * ratio**2))


# ---- noise -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoiseParts:
    """Temporal noise referred to the collected charge, electrons, arrays of equal shape; inf where f is flat."""

    total: FloatArray
    shot: FloatArray
    read: FloatArray
    rounding: FloatArray


def noise_parts_e(camera: Camera, y_e: ArrayLike) -> NoiseParts:
    """sqrt(y + r^2 + 1 / (12 (K f')^2)) and its parts at the charges ``y_e``, to first order."""
    y = np.asarray(y_e, dtype=np.float64)
    gain = float(camera.system_gain_dn_per_e)
    shot = np.zeros_like(y) if camera.kind == "gaussian" else np.sqrt(np.maximum(y, 0.0))
    read = np.full_like(y, float(camera.read_noise_e))
    rounding = np.zeros_like(y)
    if camera.bit_depth is not None:
        slope = camera.response.derivative(gain * y)
        rounding = np.where(slope > 0, 1 / (math.sqrt(12.0) * gain * np.where(slope > 0, slope, 1.0)), np.inf)
    return NoiseParts(np.sqrt(shot**2 + read**2 + rounding**2), shot, read, rounding)


def dark_variance_dn2(model: NoiseModel) -> float:
    """Temporal variance of a dark at zero exposure: the file's dark noise squared, else the model's."""
    entry = model.parameter("dark_noise_dn")
    if entry is not None:
        return entry.value**2
    parts = noise_parts_e(model.camera, 0.0)
    return float(parts.total) ** 2 * float(model.camera.system_gain_dn_per_e) ** 2


def top_signal_e(model: NoiseModel) -> float:
    """Largest charge worth drawing: saturation, else full well, else the highest code, else the data's end."""
    for name in ("saturation_e", "full_well_e"):
        entry = model.parameter(name)
        if entry is not None and entry.value > 0:
            return entry.value
    camera = model.camera
    if camera.bit_depth is not None:
        top = float(signal_e(model, float(camera.white_clip_dn)))
        if math.isfinite(top) and top > 0:
            return top
    means = levels_of(model.document, "bright").mean_dn
    if means.size:
        top = float(signal_e(model, float(means.max())))
        if math.isfinite(top) and top > 0:
            return top
    return 1e4


def ceiling_e(model: NoiseModel) -> float:
    """Charge at which the model's own mean stops rising: full well or highest code; `top_signal_e` without either."""
    camera = model.camera
    gain = float(camera.system_gain_dn_per_e)
    ends = [] if camera.response.full_well_dn is None else [camera.response.full_well_dn / gain]
    if camera.bit_depth is not None:
        ends.append(float(signal_e(model, float(camera.white_clip_dn))))
    known = [end for end in ends if math.isfinite(end) and end > 0]
    return min(known) if known else top_signal_e(model)


def variance_curve(model: NoiseModel, lowest_e: float) -> tuple[FloatArray, FloatArray]:
    """Mean signal above the offset (DN) and temporal variance (DN^2) that the model predicts, up to its ceiling.

    Exact up to 20 000 electrons, where rounding may show, and within 8 standard deviations of the ceiling; to
    first order between, where rounding and clipping are out of reach and the exact sum would take seconds.
    """
    camera = model.camera
    gain, offset, r = float(camera.system_gain_dn_per_e), float(camera.offset_dn), float(camera.read_noise_e)
    end = ceiling_e(model)
    reach = 8 * math.sqrt((0.0 if camera.kind == "gaussian" else end) + r**2)
    start = min(lowest_e, end / 10)
    smooth = np.geomspace(start, max(end - reach, 2 * start), 100)
    charge = np.union1d(smooth, np.linspace(max(end - reach, start), end + reach, 36))
    shot = 0.0 if camera.kind == "gaussian" else charge
    mean = camera.response.evaluate(gain * charge)
    variance = (gain * camera.response.derivative(gain * charge)) ** 2 * (shot + r**2)
    if camera.bit_depth is None:
        plain = model.with_parameters()
        return plain.mean_dn(charge) - offset, plain.variance_dn2(charge)
    exact = (charge <= 2e4) | (charge >= end - reach)
    variance += 1 / 12
    code_mean, code_variance = model.code_table(charge[exact]).moments()
    mean[exact], variance[exact] = code_mean - offset, code_variance
    return mean, variance


def sensitivity_threshold_e(model: NoiseModel) -> float:
    """Charge at which signal equals noise, y^2 = y + s^2 with s the noise without light (EMVA 1288 R4, threshold)."""
    floor = noise_parts_e(model.camera, 0.0)
    dark2 = float(floor.total) ** 2
    if model.camera.kind == "gaussian":
        return math.sqrt(dark2)
    return 0.5 + math.sqrt(0.25 + dark2)


@dataclass(frozen=True)
class UserNumbers:
    """What the parameters mean for a user."""

    electrons_per_dn: float
    dark_noise_e: float
    shot_limited_above_e: float
    threshold_e: float
    saturation_e: float | None
    snr_max: float | None
    dynamic_range_db: float | None


def user_numbers(model: NoiseModel) -> UserNumbers:
    """Signal-to-noise ratio at saturation and dynamic range (saturation over threshold), where saturation is known."""
    floor = float(noise_parts_e(model.camera, 0.0).total)
    threshold = sensitivity_threshold_e(model)
    saturation = model.parameter("saturation_e") or model.parameter("full_well_e")
    top = saturation.value if saturation is not None and saturation.value > 0 else None
    snr = dynamic = None
    if top is not None:
        parts = noise_parts_e(model.camera, 0.0)
        shot2 = 0.0 if model.camera.kind == "gaussian" else top
        snr = top / math.sqrt(shot2 + float(parts.total) ** 2)
        dynamic = 20 * math.log10(top / threshold) if threshold > 0 else None
    gain = float(model.camera.system_gain_dn_per_e)
    return UserNumbers(1 / gain, floor, floor**2, threshold, top, snr, dynamic)


# ---- tables ----------------------------------------------------------------------------------------------


def ranked_candidates(candidates: tuple[CandidateEntry, ...]) -> list[tuple[CandidateEntry, float]]:
    """Candidates with their BIC above the smallest, best first."""
    if not candidates:
        return []
    best = min(entry.bic for entry in candidates)
    return sorted(((entry, entry.bic - best) for entry in candidates), key=lambda pair: (pair[1], pair[0].name))


def correlation(covariance: CovarianceEntry) -> tuple[FloatArray, FloatArray]:
    """Standard errors (n,) and correlations (n, n); NaN where a variance is zero."""
    matrix = np.asarray(covariance.matrix, dtype=np.float64).reshape(len(covariance.names), -1)
    std = np.sqrt(np.maximum(np.diag(matrix), 0.0)) if matrix.size else np.zeros(0)
    outer = np.outer(std, std)
    return std, np.divide(matrix, outer, out=np.full_like(matrix, np.nan), where=outer > 0)


def significant(value: float, digits: int = 3) -> str:
    """A number in running text: `digits` significant digits, no exponent for 1e-4 to 1e7.

    Examples
    --------
    >>> significant(13248.0), significant(0.50123), significant(2.0)
    ('13200', '0.501', '2')
    """
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-4 <= abs(value) < 1e7:
        return f"{float(text):.0f}" if abs(value) >= 1 else f"{float(text):f}".rstrip("0")
    return text
