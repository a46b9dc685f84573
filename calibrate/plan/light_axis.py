"""How the light is changed from level to level, and what was shot already: from a noise model's measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer.fisher import LevelDesign
from calibrate.schema import MeasurementEntry

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LightAxis:
    """From a share of the range to light and exposure.

    Parameters
    ----------
    sweep : {"exposure", "lamp"}
        What is changed from level to level.
    unit : {"s", "photons", ""}
        Of the light; ``""`` is a lamp of unknown light, in electrons.
    responsivity_e_per_light : float
    full_light, full_exposure_s : float
        At saturation; with a lamp the exposure of all levels.
    """

    sweep: str
    unit: str
    responsivity_e_per_light: float
    full_light: float
    full_exposure_s: float


def assumed_axis(saturation_e: float, dark_current_e_per_s: float, exposure_s: float) -> LightAxis:
    """A steady lamp that fills the range in ``exposure_s``."""
    rate = saturation_e / exposure_s
    return LightAxis("exposure", "s", max(rate - dark_current_e_per_s, 1e-6 * rate), exposure_s, exposure_s)


def measured_axis(model: NoiseModel, saturation_e: float, dark_current_e_per_s: float) -> LightAxis | None:
    """The light of the file's own flats; None where it lists no flats or no darks."""
    brights, darks = (
        [entry for entry in model.document.measurements or () if entry.used and entry.kind == kind]
        for kind in ("bright", "dark")
    )
    if not brights or not darks:
        return None
    charge = np.array([_charge_e(model, entry) for entry in brights])
    exposure = np.array([np.nan if entry.exposure_s is None else entry.exposure_s for entry in brights])
    photons = np.array([np.nan if entry.photons_per_pixel is None else entry.photons_per_pixel for entry in brights])
    lit = charge - dark_current_e_per_s * np.nan_to_num(exposure)
    swept = _varies(exposure)
    if _varies(photons):
        unit, light = "photons", photons
    else:
        unit, light = ("s", exposure) if swept else ("", lit)
    responsivity = float(np.sum(lit) / np.sum(light))
    if swept:
        per_second = float(np.sum(light) / np.sum(exposure))
        full_exposure_s = saturation_e / (responsivity * per_second + dark_current_e_per_s)
        return LightAxis("exposure", unit, responsivity, per_second * full_exposure_s, full_exposure_s)
    seconds = float(np.mean(exposure)) if np.all(np.isfinite(exposure)) else 0.0
    full_light = (saturation_e - dark_current_e_per_s * seconds) / responsivity
    return LightAxis("lamp", unit, responsivity, full_light, seconds)


def measured_levels(model: NoiseModel, axis: LightAxis, dark_current_e_per_s: float) -> tuple[LevelDesign, ...]:
    """What the file's fit was made from, each level at its own measured light."""
    levels = []
    for entry in model.document.measurements or ():
        if not entry.used:
            continue
        seconds = entry.exposure_s or 0.0
        light = (_charge_e(model, entry) - dark_current_e_per_s * seconds) / axis.responsivity_e_per_light
        levels.append(
            LevelDesign(
                entry.kind,
                max(light, 0.0) if entry.kind == "bright" else 0.0,
                seconds,
                entry.n_frames,
                float(entry.n_pixels),
                _variance_factor(entry),
                disjoint_pairs=True,
            )
        )
    return tuple(levels)


def _varies(values: FloatArray) -> bool:
    return bool(np.all(np.isfinite(values)) and np.ptp(values) > 0)


def _charge_e(model: NoiseModel, entry: MeasurementEntry) -> float:
    camera = model.camera
    signal = np.array(entry.mean_dn - float(camera.offset_dn))
    return float(camera.response.inverse(signal)) / float(camera.system_gain_dn_per_e)


def _variance_factor(entry: MeasurementEntry) -> float:
    """By how much the stated error of a variance exceeds 2 v^2 / N; 1 within 5 %, which kappa_4 can make."""
    if entry.variance_dn2 <= 0:
        return 1.0
    pairs = max(entry.n_frames // 2, 1)
    ratio = (entry.variance_std_dn2 / entry.variance_dn2) ** 2 * entry.n_pixels * pairs / 2
    return float(ratio) if 1.05 < ratio < 100.0 else 1.0
