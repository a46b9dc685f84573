"""What the means of frames say: drift, a shifted offset, another dark current."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate.noise_model import NoiseModel
from calibrate.validation.diagnoses import SIGMAS, Finding, finding, threshold
from calibrate.validation.observed import Cell, Observed
from calibrate.validation.prediction import Point, dark_rate_e_per_s, one_code_dn, predict_dark_mean, rounding_dn2

#: A flat's mean says how its lamp drifts where its signal is so many times the dark noise.
_LIT_SIGMAS = 10.0


@dataclass(frozen=True)
class OffsetTest:
    """Means of the darks less the model's: at zero exposure, and their rise.

    ``rate_dn_per_s`` and its error are None unless darks at two exposures or more are there.
    """

    shift_dn: float
    shift_std_dn: float
    rate_dn_per_s: float | None
    rate_std_dn_per_s: float | None
    highest_exposure_s: float


def dark_noise_dn(model: NoiseModel) -> float:
    """The model's noise of a dark, rounding included, DN."""
    camera = model.camera
    read = float(camera.system_gain_dn_per_e) * float(camera.read_noise_e)
    return float(np.sqrt(read**2 + rounding_dn2(camera)))


def _cells(observed: Observed, index: int) -> list[Cell]:
    return [cell for cell in observed.cells if cell.level == index]


def _mean_variance(observed: Observed, index: int) -> float:
    """Variance of the mean of one frame of a level, what rows and columns have in common included, DN^2."""
    level = observed.levels[index]
    own = _cells(observed, index)
    n = sum(cell.n_pairs for cell in own)
    variance = sum(cell.variance_dn2 * cell.n_pairs for cell in own) / n if n else 0.0
    part = level.structure
    if part is not None and part.within_dn2 > 0:
        variance *= max((part.between_rows_dn2 + part.between_columns_dn2) / part.within_dn2 - 1, 1.0)
    return variance / level.n_pixels


def _expected_dark_mean(model: NoiseModel, observed: Observed, index: int) -> float:
    """Mean code of a dark level under the model, the offset map's deviation included."""
    level = observed.levels[index]
    own = _cells(observed, index)
    n = sum(cell.n_pairs for cell in own)
    if not n:
        return level.mean_offset_away_dn + predict_dark_mean(model, Point(0.0, level.dark_charge_e))
    means = [cell.offset_away_dn + predict_dark_mean(model, cell.point) for cell in own]
    return float(np.average(means, weights=[cell.n_pairs for cell in own]))


def find_drift(model: NoiseModel, observed: Observed) -> tuple[list[Finding], float]:
    """Frames of a level whose means differ; and by how many DN the darks' do, at most."""
    offset, noise = float(model.camera.offset_dn), dark_noise_dn(model)
    lamp = dark = 0.0
    for index, level in enumerate(observed.levels):
        if level.n_frames < 2:
            continue
        spread = float(np.ptp(level.frame_means_dn))
        # The largest of many differences: five standard errors more than chance makes of so many frames.
        chance = np.sqrt(_mean_variance(observed, index)) * (SIGMAS * np.sqrt(2) + np.sqrt(2 * np.log(level.n_frames)))
        light = level.mean_dn - level.mean_offset_away_dn - offset
        if spread <= chance:
            continue
        if level.kind == "dark":
            dark = max(dark, spread)
        elif light > _LIT_SIGMAS * max(noise, one_code_dn(model.camera)):
            lamp = max(lamp, 100 * spread / light)
    out: list[Finding] = []
    if lamp > threshold("drift"):
        advice = "Let the lamp warm up, shoot the frames of a level straight after each other, and look for flicker."
        out.append(finding("drift", kind="bright", amount=f"{lamp:.2g} %", what="lamp", advice=advice))
    if dark > threshold("offset_shift") * noise:
        advice = "Let the camera reach its temperature, and check that no automatic black level is on."
        amount = f"{dark:.2g} DN ({dark / noise:.2g} of the dark noise)"
        out.append(finding("drift", kind="dark", amount=amount, what="offset", advice=advice))
        return out, dark
    return out, 0.0


def measure_offset(model: NoiseModel, observed: Observed) -> OffsetTest | None:
    """Darks' means less the model's, and the weighted line through them over exposure; None without darks."""
    gain = float(model.camera.system_gain_dn_per_e)
    scatter = model.parameter("offset_scatter_dn")
    difference, variance, exposures = [], [], []
    for index, level in enumerate(observed.levels):
        if level.kind != "dark":
            continue
        own = _cells(observed, index)
        # Cells leave out the pixels that the defect map calls cold or stuck; a single frame has none.
        mean = level.mean_dn
        if own:
            mean = float(np.average([cell.mean_dn for cell in own], weights=[cell.n_pairs for cell in own]))
        difference.append(mean - _expected_dark_mean(model, observed, index))
        noise = _mean_variance(observed, index) / (level.n_frames - level.n_frames % 2 or 1)
        variance.append(max(noise + (scatter.value**2 if scatter is not None else 0.0), 1e-24))
        exposures.append(level.exposure_s)
    if not difference:
        return None
    offset, rate = model.parameter("offset_dn"), model.parameter("dark_current_e_per_s")
    offset_std = 0.0 if offset is None or offset.std is None else offset.std
    rate_std = 0.0 if rate is None or rate.std is None else gain * rate.std
    weight = 1 / np.array(variance)
    t = np.array([exposure or 0.0 for exposure in exposures])
    if rate is not None and None not in exposures and np.ptp(t) > 0:
        design = np.stack([np.ones_like(t), t], axis=1)
        covariance = np.linalg.inv(design.T @ (weight[:, None] * design))
        shift, slope = covariance @ design.T @ (weight * np.array(difference))
        return OffsetTest(
            float(shift),
            float(np.hypot(np.sqrt(covariance[0, 0]), offset_std)),
            float(slope),
            float(np.hypot(np.sqrt(covariance[1, 1]), rate_std)),
            float(t.max()),
        )
    # One exposure, or none known: the dark current's error is one of the offset.
    std = float(np.sqrt(1 / weight.sum() + offset_std**2 + (rate_std * t.max()) ** 2))
    return OffsetTest(float(weight @ np.array(difference) / weight.sum()), std, None, None, float(t.max()))


def find_offset(model: NoiseModel, test: OffsetTest | None, drift_dn: float) -> list[Finding]:
    """Offset and dark current away from the model's; a shift within the drift that was found is part of that."""
    if test is None:
        return []
    out = []
    noise = dark_noise_dn(model)
    least = threshold("offset_shift") * noise
    if abs(test.shift_dn) > max(SIGMAS * test.shift_std_dn, least, drift_dn):
        values = {"shift_dn": test.shift_dn, "sigmas": abs(test.shift_dn) / noise}
        out.append(finding("offset_shift", offset_dn=float(model.camera.offset_dn), **values))
    entry = model.parameter("dark_current_e_per_s")
    if test.rate_dn_per_s is not None and test.rate_std_dn_per_s is not None and entry is not None:
        rise = abs(test.rate_dn_per_s) * test.highest_exposure_s
        if rise > least and abs(test.rate_dn_per_s) > SIGMAS * test.rate_std_dn_per_s:
            own = dark_rate_e_per_s(model)
            rate = own + test.rate_dn_per_s / float(model.camera.system_gain_dn_per_e)
            out.append(finding("dark_current_changed", rate_e_per_s=rate, model_e_per_s=own))
    return out
