"""Predicted standard errors of a set of captures, and what limits each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer.fisher import FisherInformation, LevelDesign, fisher_information
from calibrate.plan.sensor import PlanSensor
from calibrate.plan.targets import PARAMETER_OF, TARGETS, Target
from calibrate.response import Response

FloatArray = NDArray[np.float64]

#: A fit whose stated error exceeds the bound by this factor is limited by something other than noise.
_MISFIT = 1.5
MISFIT_LIMIT = "misfit of the model"
#: Frames that stand for any number of frames.
_ENDLESS = 10**9
#: An error that falls by less than this share, whatever is done, has no single limit.
_NO_LIMIT = 0.02


@dataclass(frozen=True)
class Scene:
    """What will be scored with the calibration.

    Parameters
    ----------
    signal_e : float
        Charge of a pixel, at which the information's error is taken.
    exposure_s : float
        For the dark part of the maps.
    """

    signal_e: float
    exposure_s: float


@dataclass(frozen=True)
class Prediction:
    """Errors in the units of `TARGETS`, ``inf`` where the captures do not tell; and the covariance behind them."""

    errors: Mapping[str, float]
    information: FisherInformation
    covariance: FloatArray


class Predictor:
    """Errors of captures of one sensor for one scene; derivatives that do not change are taken once."""

    def __init__(self, sensor: PlanSensor, scene: Scene) -> None:
        self.sensor, self.scene = sensor, scene
        self.slopes_bits = entropy_slopes_bits(sensor.model, scene.signal_e, sensor.point.response_coefficients)
        self.misfit_std: dict[str, float] = {}
        if sensor.present:
            self.misfit_std = _misfit_std(self.predict(sensor.present).information, sensor)

    @property
    def misfit_errors(self) -> dict[str, float]:
        """The part of each error that no frame lowers, in the units of `TARGETS`."""
        out = {}
        for name, parameter in PARAMETER_OF.items():
            if parameter in self.misfit_std:
                value = float(getattr(self.sensor.point, parameter))
                relative = TARGETS[name][0] == "%"
                out[name] = self.misfit_std[parameter] * (100 / value if relative and value > 0 else 1.0)
        slopes = [self.slopes_bits.get(name, 0.0) * std for name, std in self.misfit_std.items()]
        out["information"] = float(np.sqrt(np.sum(np.square(slopes))))
        return out

    def predict(self, levels: Sequence[LevelDesign], *, steady: bool = False) -> Prediction:
        """Errors from these captures; ``steady`` is without the scatter of light and offset."""
        point = self.sensor.point
        if steady:
            point = replace(point, light_scatter=0.0 if self.sensor.axis.unit else np.inf, offset_scatter_dn=0.0)
        return self.from_information(fisher_information(point, levels), levels)

    def from_information(self, information: FisherInformation, levels: Sequence[LevelDesign]) -> Prediction:
        """Errors where the information is known already."""
        information = fitted(information, levels)
        covariance = information.covariance()
        for name, misfit in self.misfit_std.items():
            if name in information.names:
                position = information.names.index(name)
                covariance[position, position] += misfit**2
        values = dict(zip(information.names, information.values, strict=True))
        std = dict(zip(information.names, np.sqrt(np.diag(covariance)), strict=True))
        errors: dict[str, float] = {}
        for name, parameter in PARAMETER_OF.items():
            if parameter not in std:
                continue
            if TARGETS[name][0] != "%":
                errors[name] = float(std[parameter])
            elif values[parameter] > 0:
                errors[name] = 100 * float(std[parameter]) / values[parameter]
        errors["information"] = self._information_bits(information.names, covariance)
        errors["maps"] = maps_bits(self.sensor, levels, self.scene)
        return Prediction(errors, information, covariance)

    def _information_bits(self, names: tuple[str, ...], covariance: FloatArray) -> float:
        slope = np.array([self.slopes_bits.get(name, 0.0) for name in names])
        used = slope != 0
        if not np.all(np.isfinite(np.diag(covariance)[used])):
            return np.inf
        return float(np.sqrt(slope[used] @ covariance[np.ix_(used, used)] @ slope[used]))


def _misfit_std(information: FisherInformation, sensor: PlanSensor) -> dict[str, float]:
    """What the file's own errors hold beyond the noise, where they are over 1.5 times the bound.

    A model that does not describe its camera is as wrong after more frames as before, so this part stays.
    """
    out = {}
    for name, stated in sensor.stated_std.items():
        if name in information.names:
            least = information.std(name)
            if np.isfinite(least) and stated > _MISFIT * least:
                out[name] = float(np.sqrt(stated**2 - least**2))
    return out


def fitted(information: FisherInformation, levels: Sequence[LevelDesign]) -> FisherInformation:
    """The information without the dark current where a fit would not have it.

    With one exposure for everything its charge is part of the offset; it is then left out and not called unknown, which
    would make the offset unknown too.
    """
    exposures = {level.exposure_s for level in levels}
    name = "dark_current_e_per_s"
    return information.without(name) if len(exposures) == 1 and name in information.names else information


def entropy_slopes_bits(model: NoiseModel, signal_e: float, coefficients: tuple[float, ...] = ()) -> dict[str, float]:
    r"""dH(Z|Y)/d(parameter) at the mean code of ``signal_e``, bit per unit of each parameter.

    The measurement is what it is, so its mean code m stays: with another gain or offset the charge behind it is
    another, :math:`y = f^{-1}(m - b)/K`. dI = -dH(Z|Y).

    Parameters
    ----------
    model : NoiseModel
        Maps are left aside.
    signal_e : float
    coefficients : tuple of float
        Of the response that is fitted; zeros where the model has fewer.
    """
    plain = model.with_parameters()
    camera = plain.camera
    mean_dn = float(camera.offset_dn) + float(
        camera.response.evaluate(np.array(float(camera.system_gain_dn_per_e) * signal_e))
    )
    reach = float(camera.white_clip_dn - camera.offset_dn) if camera.bit_depth is not None else None
    scale = camera.response.scale_dn if camera.response.form != "linear" else (reach or 2 * mean_dn + 1.0)

    def entropy(**changes: float | Response) -> float:
        changed = plain.with_parameters(**changes)
        c = changed.camera
        y = float(c.response.inverse(np.array(mean_dn - float(c.offset_dn)))) / float(c.system_gain_dn_per_e)
        return float(changed.conditional_entropy_bits(np.array([max(y, 0.0)]))[0])

    slopes: dict[str, float] = {}
    steps = {
        "system_gain_dn_per_e": 2e-3 * float(camera.system_gain_dn_per_e),
        "read_noise_e": 2e-3 * max(float(camera.read_noise_e), 0.1),
        "offset_dn": 1e-2,
    }
    for name, step in steps.items():
        value = float(getattr(camera, name))
        low = max(value - step, 0.0) if name == "read_noise_e" else value - step
        slopes[name] = (entropy(**{name: value + step}) - entropy(**{name: low})) / (value + step - low)
    for k in range(len(coefficients)):
        bent = [_bent(camera.response, coefficients, scale, k, sign * 1e-3) for sign in (1, -1)]
        slopes[f"nonlinearity[{k}]"] = (entropy(response=bent[0]) - entropy(response=bent[1])) / 2e-3
    return slopes


def _bent(response: Response, coefficients: tuple[float, ...], scale_dn: float, k: int, change: float) -> Response:
    changed = list(coefficients)
    changed[k] += change
    form = "polynomial" if response.form == "linear" else response.form
    return Response(form, tuple(changed), scale_dn, response.full_well_dn)


def maps_bits(sensor: PlanSensor, levels: Sequence[LevelDesign], scene: Scene) -> float:
    r"""Information that errors of the maps feign, bit per pixel: the larger of that in the dark and that at the signal.

    A map's error E (electrons squared, of one pixel) looks like a pattern that the scene has:
    :math:`\tfrac12 \log_2 (1 + E/V)` with V the pixel's noise. The dark part has :math:`E = h V_{dark}`, where h is the
    leverage of the darks at the scene's exposure (1/L for L darks of that exposure), the photo-response adds
    :math:`y^2 \sum V_j / (\sum y_j)^2` over the flats' frames.
    """
    darks = [level for level in levels if level.kind == "dark"]
    if not darks:
        return float(np.inf)
    point = sensor.point
    frames = np.array([float(level.n_frames) for level in darks])
    exposure = np.array([level.exposure_s for level in darks])
    columns = np.ones((exposure.size, 1))
    at = np.ones(1)
    if np.ptp(exposure) > 0:
        scale = float(np.max(exposure))
        columns = np.column_stack([columns, exposure / scale])
        at = np.array([1.0, scene.exposure_s / scale])
    leverage = float(at @ np.linalg.solve((columns.T * frames) @ columns, at))
    rounding = 0.0 if point.bit_depth is None else 1 / (12 * point.system_gain_dn_per_e**2)
    noise_e2 = point.read_noise_e**2 + rounding
    dark_e2 = noise_e2 + point.dark_current_e_per_s * scene.exposure_s
    brights = [level for level in levels if level.kind == "bright"]
    lit = np.array([sensor.charge_e(level) for level in brights])
    count = np.array([float(level.n_frames) for level in brights])
    by_response = np.inf
    if lit.size and float(np.sum(count * lit)) > 0:
        by_response = float(np.sum(count * (lit + noise_e2)) / np.sum(count * lit) ** 2)
    y = scene.signal_e
    in_light = (leverage * dark_e2 + y**2 * by_response) / (y + dark_e2) if y > 0 else leverage
    return float(0.5 * np.log2(1 + max(leverage, in_light)))


def least_possible(predictor: Predictor, levels: Sequence[LevelDesign]) -> Mapping[str, float]:
    """Errors with any number of frames at the same levels: what light and offset scatter leave."""
    endless = [replace(level, n_frames=_ENDLESS) for level in levels]
    return predictor.predict(endless).errors


def limits(predictor: Predictor, levels: Sequence[LevelDesign]) -> dict[str, str]:
    """What limits each error: the change that lowers it most.

    Tried are twice the frames at every flat, twice the darks, and a steady lamp and offset; the first two are frames at
    the same levels.
    """
    now = predictor.predict(levels).errors
    tried = {
        "bright frames": predictor.predict(_doubled(levels, "bright")).errors,
        "dark frames": predictor.predict(_doubled(levels, "dark")).errors,
        "light or offset scatter": predictor.predict(levels, steady=True).errors,
    }
    out = {}
    for name, error in now.items():
        if not np.isfinite(error):
            out[name] = "these captures do not tell"
            continue
        if predictor.misfit_errors.get(name, 0.0) > np.sqrt(0.5) * error:
            out[name] = MISFIT_LIMIT
            continue
        gains = {what: 1 - errors[name] / error for what, errors in tried.items()}
        best = max(gains, key=lambda what: gains[what])
        out[name] = best if gains[best] > _NO_LIMIT else "the levels themselves"
    return out


def _doubled(levels: Sequence[LevelDesign], kind: str) -> list[LevelDesign]:
    return [replace(level, n_frames=2 * level.n_frames) if level.kind == kind else level for level in levels]


def worst_ratio(errors: Mapping[str, float], targets: Sequence[Target]) -> float:
    """Largest error over what is wanted; 1 or less where all targets are reached."""
    return max((errors.get(target.name, np.inf) / target.wanted for target in targets), default=0.0)
