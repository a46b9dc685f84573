"""The camera and the lamp to plan for, from a noise model and what people add to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer.fisher import CameraPoint, LevelDesign, code_cumulants
from calibrate.plan.light_axis import LightAxis, assumed_axis, measured_axis, measured_levels
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import NonlinearityEntry

FloatArray = NDArray[np.float64]

DEFAULT_SCATTER_PERCENT = 0.1
DEFAULT_SHAPE = (1080, 1920)
DEFAULT_EXPOSURE_S = 1.0
#: Distance of the brightest planned level from the highest code, standard deviations of one pixel.
_CLEARANCE = 5.0
#: Brightest planned level, share of saturation: points up to there are fitted without bias.
HIGHEST_FRACTION = 0.9


@dataclass(frozen=True)
class PlanSensor:
    """All that a plan needs to know.

    Parameters
    ----------
    model : NoiseModel
    point : CameraPoint
        With as many response coefficients as the fit shall be able to determine.
    shape : (height, width)
    saturation_e, saturation_dn : float
        Charge that fills the range, and the code there.
    axis : LightAxis
    present : tuple of LevelDesign
        What was shot already; empty without measurements.
    stated_std : dict
        Standard errors in the file.
    notes : tuple of str
        What was assumed.
    """

    model: NoiseModel
    point: CameraPoint
    shape: tuple[int, int]
    saturation_e: float
    saturation_dn: float
    axis: LightAxis
    present: tuple[LevelDesign, ...]
    stated_std: dict[str, float]
    notes: tuple[str, ...]

    @property
    def n_pixels(self) -> float:
        """Pixels of a frame."""
        return float(self.shape[0] * self.shape[1])

    @property
    def highest_fraction(self) -> float:
        """Share of saturation up to which levels are planned: clear of the highest code by 5 standard deviations."""
        fractions = np.linspace(0.02, HIGHEST_FRACTION, 89)
        if self.model.bit_depth is None:
            return HIGHEST_FRACTION
        mean, variance = code_cumulants(self.point, fractions * self.saturation_e)[:2]
        clear = mean + _CLEARANCE * np.sqrt(variance) < self.model.camera.white_clip_dn
        return float(fractions[clear][-1]) if np.any(clear) else float(fractions[0])

    def bright(self, fraction: float, n_frames: int) -> LevelDesign:
        """A level at a share of the saturation charge."""
        swept = self.axis.sweep == "exposure"
        exposure = self.axis.full_exposure_s * (fraction if swept else 1.0)
        dark = self.point.dark_current_e_per_s * exposure
        light = max(fraction * self.saturation_e - dark, 0.0) / self.point.responsivity_e_per_light
        return LevelDesign("bright", light, exposure, n_frames, self.n_pixels, disjoint_pairs=True)

    def dark(self, exposure_s: float, n_frames: int) -> LevelDesign:
        """Darks at one exposure."""
        return LevelDesign("dark", 0.0, exposure_s, n_frames, self.n_pixels, disjoint_pairs=True)

    def charge_e(self, level: LevelDesign) -> float:
        """Mean charge of a level, dark charge in it."""
        light = level.light if level.kind == "bright" else 0.0
        return self.point.responsivity_e_per_light * light + self.point.dark_current_e_per_s * level.exposure_s

    def fraction(self, level: LevelDesign) -> float:
        """Mean charge over the saturation charge."""
        return self.charge_e(level) / self.saturation_e

    def mean_dn(self, level: LevelDesign) -> float:
        """Mean code of a level."""
        return float(code_cumulants(self.point, np.array([self.charge_e(level)]))[0, 0])


def plan_sensor(
    model: NoiseModel,
    *,
    shape: tuple[int, int] | None = None,
    light_scatter_percent: float | None = None,
    exposure_max_s: float | None = None,
    response_terms: int = 1,
) -> PlanSensor:
    """The sensor of a noise model, with its measurements where it carries them.

    Parameters
    ----------
    model : NoiseModel
    shape : (height, width), optional
        Of the frames to be shot; default that of the file, else 1080 x 1920.
    light_scatter_percent : float, optional
        Default the fitted one, else 0.1 %.
    exposure_max_s : float, optional
        Exposure that fills the range; default from the measurements, else 1 s.
    response_terms : int
        Response coefficients that the fit shall be able to determine; at least as many as the model has.

    Raises
    ------
    PhotonbitsError
        If an argument is out of range, or nothing says where the sensor saturates.
    """
    _check(shape, light_scatter_percent, exposure_max_s, response_terms)
    if model.document.kind != "poisson-gaussian":
        raise PhotonbitsError(
            f"a noise model of kind {model.document.kind}",
            where=model.path,
            legal="poisson-gaussian: a plan weighs shot noise against read noise",
        )
    notes: list[str] = []
    if model.document.channels:
        notes.append("The plan takes the sensor's averages over its channels; a channel has a part of the pixels only.")
    camera = model.camera
    saturation_e, saturation_dn = _saturation(model)
    if shape is None:
        stored = model.document.sensor.shape
        shape = DEFAULT_SHAPE if stored is None else (int(stored[0]), int(stored[1]))
        if stored is None:
            notes.append(f"Frames of {shape[0]} x {shape[1]} pixels are assumed (--shape).")
    scatter = light_scatter_percent
    if scatter is None:
        entry = model.parameter("light_scatter_percent")
        scatter = DEFAULT_SCATTER_PERCENT if entry is None else entry.value
        if entry is None:
            notes.append(f"A light that scatters by {scatter:g} % from level to level is assumed.")
    curve = model.document.parameters.get("nonlinearity")
    coefficients: tuple[float, ...] = ()
    form: Literal["polynomial", "two-slope"] = "polynomial"
    scale = float(camera.response.inverse(np.array(saturation_dn - float(camera.offset_dn))))
    if isinstance(curve, NonlinearityEntry):
        form, coefficients, scale = curve.form, curve.coefficients, curve.scale_dn
    if form == "polynomial":
        coefficients += (0.0,) * max(0, response_terms - len(coefficients))
    dark = model.parameter("dark_current_e_per_s")
    offset_scatter = model.parameter("offset_scatter_dn")
    point = CameraPoint(
        system_gain_dn_per_e=float(camera.system_gain_dn_per_e),
        read_noise_e=float(camera.read_noise_e),
        offset_dn=float(camera.offset_dn),
        dark_current_e_per_s=max(0.0 if dark is None else dark.value, 0.0),
        response_coefficients=coefficients,
        response_scale_dn=scale,
        response_form=form,
        bit_depth=camera.bit_depth,
        light_scatter=scatter / 100,
        offset_scatter_dn=0.0 if offset_scatter is None else offset_scatter.value,
    )
    axis = measured_axis(model, saturation_e, point.dark_current_e_per_s)
    present: tuple[LevelDesign, ...] = ()
    if axis is not None:
        if exposure_max_s is not None:
            raise PhotonbitsError(
                f"exposure {exposure_max_s:g} s for a file that lists its own exposures",
                legal=f"nothing: they say that {axis.full_exposure_s:.4g} s fill the range",
            )
        present = measured_levels(model, axis, point.dark_current_e_per_s)
    else:
        if model.document.measurements:
            notes.append("The file lists no flats with darks: the plan starts from nothing.")
        if exposure_max_s is None:
            notes.append(f"An exposure of {DEFAULT_EXPOSURE_S:g} s is assumed to fill the range (--exposure-max-s).")
        axis = assumed_axis(saturation_e, point.dark_current_e_per_s, exposure_max_s or DEFAULT_EXPOSURE_S)
    point = replace(
        point,
        responsivity_e_per_light=axis.responsivity_e_per_light,
        light_scatter=point.light_scatter if axis.unit else np.inf,
    )
    stated = {
        name: entry.std
        for name in ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s")
        if (entry := model.parameter(name)) is not None and entry.std is not None
    }
    return PlanSensor(
        model=model.with_parameters(),
        point=point,
        shape=shape,
        saturation_e=saturation_e,
        saturation_dn=saturation_dn,
        axis=axis,
        present=present,
        stated_std=stated,
        notes=tuple(notes),
    )


def _saturation(model: NoiseModel) -> tuple[float, float]:
    """Charge and code where the range ends."""
    camera = model.camera
    gain, offset = float(camera.system_gain_dn_per_e), float(camera.offset_dn)
    found = [entry.value for name in ("saturation_e", "full_well_e") if (entry := model.parameter(name)) is not None]
    if model.bit_depth is not None:
        found.append(float(camera.response.inverse(np.array(camera.white_clip_dn - offset))) / gain)
    usable = [charge for charge in found if np.isfinite(charge) and charge > 0]
    if not usable:
        raise PhotonbitsError(
            "nothing says where this sensor saturates", remedy="Give --full-well-e, or a noise model with a bit depth"
        )
    charge = min(usable)
    return charge, offset + float(camera.response.evaluate(np.array(gain * charge)))


def _check(
    shape: tuple[int, int] | None,
    light_scatter_percent: float | None,
    exposure_max_s: float | None,
    response_terms: int,
) -> None:
    if shape is not None and shape[0] * shape[1] < 2:
        raise PhotonbitsError(f"shape {shape[0]} x {shape[1]}", legal="two pixels or more")
    if light_scatter_percent is not None and not 0 <= light_scatter_percent < np.inf:
        raise PhotonbitsError(f"light scatter {light_scatter_percent:g} %", legal="0 or more, in percent")
    if exposure_max_s is not None and not 0 < exposure_max_s < np.inf:
        raise PhotonbitsError(f"exposure {exposure_max_s:g} s", legal="a positive number of seconds")
    if not 0 <= response_terms <= 3:
        raise PhotonbitsError(f"{response_terms} response coefficients", legal="0 to 3")
