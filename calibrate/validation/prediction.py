"""What the model says of pixels whose mean code is known: their charge and their variance.

Away from the clips, and where noise blurs the steps of the codes and of single electrons, rounding adds 1/12 DN^2 and
nothing else. Elsewhere ("rough" below) the moments depend on where between two codes a pixel's offset lies: they are
then averaged over the pixels' offsets, from the model's maps or from the spread that the captures show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from calibrate.noise_model import Camera, NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import NonlinearityEntry, ParameterEntry

FloatArray = NDArray[np.float64]

#: Harmonics of the steps that the noise leaves below exp(-9.2) = 1e-4 are no longer seen.
_SMOOTH_NATS = 9.2
#: Below this many electrons (read noise in) the law's shape needs more than its first four cumulants.
_FEW_ELECTRONS = 20.0
_MANY_ELECTRONS = 500.0
_WIDE_DN = 100.0
#: Distance from the black clip, in standard deviations, from which on it changes a variance by less than 2e-4; and
#: that from the ceiling, below which pixels are left out of the comparison altogether.
BLACK_SIGMAS = 4.5
WHITE_SIGMAS = 4.0
#: A variance below this is none: a dark without read noise. Real values may be 16-bit codes as fractions of full scale,
#: where 1 DN is 2e-10 of the unit's square.
_LEAST_VARIANCE_DN2 = 1e-24
#: Above this noise the phase of the rounding is of no consequence.
_COARSE_DN = 10.0
_NODES_PER_DN = 16
_MOST_NODES = 65


@dataclass(frozen=True)
class PixelClasses:
    """Pixels with maps, grouped: arrays of one length.

    ``away_dn`` is the offset less the mean of all and, where no clip is near, less its whole codes, whose mean over
    the pixels is ``whole_dn``; ``read_noise_dn`` is that at the scalar gain (gain x read noise over
    the gain's ratio), ``gain_ratio`` the gain over its scalar, ``weights`` the share of the pixels, ``dark_ratio`` the
    dark charge over the mean.
    """

    away_dn: FloatArray
    read_noise_dn: FloatArray
    gain_ratio: FloatArray
    weights: FloatArray
    dark_ratio: FloatArray
    whole_dn: float = 0.0


@dataclass(frozen=True)
class Point:
    """Pixels with one mean code.

    Parameters
    ----------
    mean_dn : float
        Mean code over pixels and frames; with an offset map, after the map's own deviation from the scalar offset.
    dark_charge_e : float or None
        Charge of a dark, which does not follow from its mean; None for pixels in light.
    spread_dn2 : float
        Variance over the pixels of their mean codes.
    gain_square_ratio : float
        Mean square of the pixels' gain over the scalar's square.
    read_variance_dn2 : float or None
        Mean of the pixels' (gain x read noise)^2 from maps; None for the scalar's.
    classes : PixelClasses or None
        With maps, for points where rounding is coarse.
    """

    mean_dn: float
    dark_charge_e: float | None = None
    spread_dn2: float = 0.0
    gain_square_ratio: float = 1.0
    read_variance_dn2: float | None = None
    classes: PixelClasses | None = None


@dataclass(frozen=True)
class ClosedForm:
    """First-order moments at given means; arrays of one length.

    ``variance_dn2`` is slope^2 (K u + (K r)^2) + rounding with u the signal before the response curve.
    """

    charge_e: FloatArray
    slope: FloatArray
    shot_dn2: FloatArray
    read_dn2: FloatArray
    rounding_dn2: float

    @property
    def variance_dn2(self) -> FloatArray:
        """Temporal variance of a code, DN^2."""
        return np.asarray(self.slope**2 * (self.shot_dn2 + self.read_dn2) + self.rounding_dn2)


def one_code_dn(camera: Camera) -> float:
    """Least distance of codes, DN; 0 for real values, which have no such scale."""
    return 0.0 if camera.bit_depth is None else 1.0


def rounding_dn2(camera: Camera) -> float:
    """Variance of rounding to whole codes, DN^2."""
    return 0.0 if camera.bit_depth is None else 1.0 / 12.0


def closed_form(camera: Camera, mean_dn: FloatArray, dark_charge_e: FloatArray | None = None) -> ClosedForm:
    """Charge and variance at mean codes to first order in the noise.

    ``dark_charge_e`` holds the charge where it is known and NaN where it follows from the mean.
    """
    gain, read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    signal = np.asarray(mean_dn, dtype=np.float64) - float(camera.offset_dn)
    well = camera.response.full_well_dn
    if well is not None:
        signal = np.minimum(signal, float(camera.response.evaluate(np.array(well))))
    u = camera.response.inverse(signal)
    if dark_charge_e is not None:
        u = np.where(np.isfinite(dark_charge_e), gain * np.nan_to_num(dark_charge_e), u)
    slope = camera.response.derivative(u if well is None else np.minimum(u, np.nextafter(well, 0.0)))
    if camera.kind != "gaussian":
        u = np.maximum(u, 0.0)
    shot = np.zeros_like(u) if camera.kind == "gaussian" else gain * u
    return ClosedForm(u / gain, slope, shot, np.full_like(u, (gain * read) ** 2), rounding_dn2(camera))


def is_smooth(
    camera: Camera, first: ClosedForm, mean_dn: FloatArray, spread_dn2: FloatArray | float = 0.0
) -> NDArray[np.bool_]:
    """Whether rounding, single electrons and clips leave no mark on the law of a code.

    ``spread_dn2`` is the variance over pixels of their means, which brings some of them nearer to a clip.
    """
    gain, read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    charge, variance = np.maximum(first.charge_e, 0.0), first.variance_dn2
    blur = 2 * np.pi**2 * (gain * read) ** 2
    if camera.kind == "gaussian":
        fine = np.full(np.shape(charge), True)
    else:
        electrons = (2 * np.pi**2 * read**2 >= _SMOOTH_NATS) | ((charge == 0) & (read > 0))
        excess = charge / np.maximum(2 * (charge + read**2) ** 2, 1e-300)
        fine = electrons & ((charge + read**2 >= _FEW_ELECTRONS) | (excess < 1e-3))
        blur = blur + charge * (1 - np.cos(2 * np.pi * gain))
    if camera.bit_depth is None:
        # Single electrons at read noise: steps below 1 % of the law, gone in any count of its shares.
        return np.asarray(fine | ((read > 0) & (charge > _MANY_ELECTRONS)))
    # So many codes and electrons in the noise that no single step counts.
    wide = (gain <= 1) & (variance > _WIDE_DN**2) & (charge > _MANY_ELECTRONS)
    sigma = np.sqrt(np.maximum(variance, 0.0) + spread_dn2)
    inside = mean_dn - BLACK_SIGMAS * sigma > camera.black_clip_dn
    inside &= mean_dn + WHITE_SIGMAS * np.sqrt(np.maximum(variance, 0.0)) < highest_mean_dn(camera)
    knee = camera.response.knee_dn
    if knee is not None:  # pixels on both sides of it
        before = np.sqrt(gain**2 * (charge + read**2) + spread_dn2 / np.maximum(first.slope, 0.05) ** 2)
        inside &= np.abs(gain * charge - knee) > WHITE_SIGMAS * before
    return np.asarray(((fine & (blur >= _SMOOTH_NATS)) | wide) & inside)


def highest_mean_dn(camera: Camera) -> float:
    """Highest mean code: the white clip, or the full well below it; infinite for real values without a full well."""
    top = np.inf if camera.bit_depth is None else float(camera.white_clip_dn)
    if camera.response.full_well_dn is not None:
        well = float(camera.offset_dn) + float(camera.response.evaluate(np.array(camera.response.full_well_dn)))
        top = min(top, well)
    return float(top)


@dataclass(frozen=True)
class Mixture:
    """Code distributions of pixels of one charge whose offsets (and read noise) differ.

    ``pmf`` (n_nodes, n_codes) holds P(first_code + column) of the pixels at each node, ``weights`` their shares.
    ``whole_dn`` is the mean of the whole codes that were taken off.
    """

    charge_e: float
    weights: FloatArray
    first_code: int
    pmf: FloatArray
    whole_dn: float = 0.0

    def moments(self) -> tuple[float, float]:
        """Mean code over the pixels, DN, and mean temporal variance of a pixel, DN^2."""
        column = np.arange(self.pmf.shape[1], dtype=np.float64)
        mean = self.pmf @ column
        square = np.sum(self.pmf * (column - mean[:, None]) ** 2, axis=1)
        return self.first_code + self.whole_dn + float(self.weights @ mean), float(self.weights @ square)


def settle(model: NoiseModel, point: Point) -> Mixture:
    """Distributions of the point's pixels, the charge (of darks: the offset) such that their mean is the point's.

    For whole codes. Without maps the pixels' offsets are taken as normal with the point's spread.
    """
    camera = model.camera
    dark = point.dark_charge_e is not None
    first = closed_form(camera, np.array([point.mean_dn]))
    coarse = float(first.variance_dn2[0]) < _COARSE_DN**2
    nodes = point.classes or _normal_nodes(camera, point.spread_dn2 if coarse else 0.0)
    if point.dark_charge_e is not None:
        raised = float(camera.response.evaluate(np.array(float(camera.system_gain_dn_per_e) * point.dark_charge_e)))
        value, scale = float(point.mean_dn) - raised, 1.0
    else:
        value = max(float(first.charge_e[0]), 0.0)
        scale = float(camera.system_gain_dn_per_e) * max(float(first.slope[0]), 0.05)

    def at(trial: float) -> tuple[float, Mixture]:
        offset = trial if dark else float(camera.offset_dn)
        charge = float(point.dark_charge_e or 0.0) if dark else trial
        mixture = _mixture(model, nodes, offset, charge, dark=dark)
        return mixture.moments()[0] - point.mean_dn, mixture

    def is_close(error: float, found: Mixture) -> bool:
        return bool(abs(error) < 1e-3 * np.sqrt(max(found.moments()[1], 1e-12)))

    error, found = at(value)
    slope = scale
    for _ in range(6):
        if is_close(error, found):
            return found
        step = -error / slope
        new = value + step if dark or camera.kind == "gaussian" else max(value + step, 0.0)
        if new == value:
            return found
        new_error, found = at(new)
        if new_error != error:
            slope = max((new_error - error) / (new - value), 0.05 * scale)
        value, error = new, new_error
    return found if is_close(error, found) else _settle_by_bracket(at, first, value, scale, may_fall=dark)


def _settle_by_bracket(
    at: Callable[[float], tuple[float, Mixture]], first: ClosedForm, value: float, scale: float, *, may_fall: bool
) -> Mixture:
    """The mixture with the wanted mean where the mean hardly depends on the value: between two codes, or at a clip."""
    width = (1 + 10 * float(np.sqrt(first.variance_dn2[0]))) / scale
    low, high = value - width if may_fall else max(value - width, 0.0), value + width
    if at(low)[0] >= 0:
        return at(low)[1]
    if at(high)[0] <= 0:
        return at(high)[1]
    return at(float(brentq(lambda trial: at(trial)[0], low, high, xtol=1e-9 * width + 1e-12, rtol=1e-9)))[1]


def _mixture(model: NoiseModel, nodes: PixelClasses, offset_dn: float, charge_e: float, *, dark: bool) -> Mixture:
    camera = model.camera
    gain = nodes.gain_ratio * float(camera.system_gain_dn_per_e)
    read = nodes.read_noise_dn / float(camera.system_gain_dn_per_e)
    charge = charge_e * nodes.dark_ratio if dark else np.full(gain.shape, charge_e)
    offsets = offset_dn + nodes.away_dn
    spread = np.sqrt(np.max(gain**2 * (np.maximum(charge, 0.0) + read**2)))
    reach = 8 * spread + 20 * np.max(gain) * (camera.kind != "gaussian") + 2
    centre = offsets + camera.response.evaluate(gain * charge)
    low = int(np.clip(np.floor(np.min(centre) - reach), camera.black_clip_dn, camera.white_clip_dn))
    high = int(np.clip(np.ceil(np.max(centre) + reach), low, camera.white_clip_dn))
    maps = {"offset_dn": offsets, "read_noise_e": read, "system_gain_dn_per_e": gain}
    pixels = NoiseModel(camera, model.document, {name: values[None] for name, values in maps.items()})
    codes = np.arange(low, high + 1, dtype=np.float64)
    pmf = np.exp(pixels.log_pmf(codes[:, None, None], charge[None]))[:, 0].T
    return Mixture(charge_e, nodes.weights, low, pmf / np.sum(pmf, axis=1, keepdims=True), nodes.whole_dn)


def _normal_nodes(camera: Camera, spread_dn2: float) -> PixelClasses:
    """Offsets about the mean with a normal spread; enough of them to average over the phase of the rounding."""
    std = float(np.sqrt(max(spread_dn2, 0.0)))
    away, weights = np.zeros(1), np.ones(1)
    if std >= 0.02:
        count = int(np.clip(2 * np.ceil(4 * std * _NODES_PER_DN / 2) + 1, 9, _MOST_NODES))
        away = np.linspace(-4 * std, 4 * std, count)
        weights = np.exp(-0.5 * (away / std) ** 2)
        weights /= weights.sum()
    one = np.ones(away.shape)
    read = float(camera.system_gain_dn_per_e) * float(camera.read_noise_e)
    return PixelClasses(away, read * one, one, weights, one)


def predict_variances(model: NoiseModel, points: Sequence[Point]) -> FloatArray:
    """Temporal variance that the model gives the points, DN^2, exact in rounding and clipping; shape (n_points,)."""
    bare = model.with_parameters()
    camera = bare.camera
    means = np.array([point.mean_dn for point in points], dtype=np.float64)
    charges = np.array([np.nan if p.dark_charge_e is None else p.dark_charge_e for p in points], dtype=np.float64)
    first = closed_form(camera, means, charges)
    out = first.variance_dn2.copy()
    smooth = is_smooth(camera, first, means, np.array([point.spread_dn2 for point in points]))
    if np.any(smooth):
        out[smooth] = bare.variance_dn2(first.charge_e[smooth])
    for index, point in enumerate(points):
        if camera.bit_depth is not None and not smooth[index]:
            out[index] = settle(bare, point).moments()[1]
            if point.classes is not None:
                continue
        # Maps: their squares average to more than the square of their average.
        own = first.slope[index] ** 2
        out[index] += own * first.shot_dn2[index] * (point.gain_square_ratio - 1)
        if point.read_variance_dn2 is not None:
            out[index] += own * (point.read_variance_dn2 - first.read_dn2[index])
    return np.maximum(out, _LEAST_VARIANCE_DN2)


def predict_dark_mean(model: NoiseModel, point: Point) -> float:
    """Mean code that the model gives darks of the point's charge, at its own offset, rounding and clipping in, DN."""
    camera = model.camera
    charge = float(point.dark_charge_e or 0.0)
    raised = float(camera.response.evaluate(np.array(float(camera.system_gain_dn_per_e) * charge)))
    mean = np.array([float(camera.offset_dn) + raised])
    first = closed_form(camera, mean, np.array([charge]))
    if camera.bit_depth is None or is_smooth(camera, first, mean, point.spread_dn2)[0]:
        return float(mean[0])
    nodes = point.classes or _normal_nodes(camera, point.spread_dn2)
    return _mixture(model.with_parameters(), nodes, float(camera.offset_dn), charge, dark=True).moments()[0]


def perturbed(model: NoiseModel, name: str, change: float) -> NoiseModel | None:
    """The model, maps aside, with one entry of its covariance moved by ``change``; None where that is illegal."""
    document = model.document
    parameters: dict[str, Any] = dict(document.parameters)
    base, _, position = name.partition("[")
    entry = parameters.get(base)
    if isinstance(entry, NonlinearityEntry) and position:
        k = int(position.rstrip("]"))
        moved = tuple(c + change * (i == k) for i, c in enumerate(entry.coefficients))
        parameters[base] = entry.model_copy(update={"coefficients": moved})
    elif isinstance(entry, ParameterEntry):
        parameters[base] = entry.model_copy(update={"value": entry.value + change})
    else:
        return None
    try:
        return NoiseModel.from_document(document.model_copy(update={"parameters": parameters}))
    except PhotonbitsError:
        return None


def is_clear_of_clips(camera: Camera, mean_dn: float, sigma_dn: float) -> bool:
    """Whether pixels of this mean, with all their spread in ``sigma_dn``, are far from black and white clip."""
    low, high = mean_dn - BLACK_SIGMAS * sigma_dn, mean_dn + BLACK_SIGMAS * sigma_dn
    return low > camera.black_clip_dn and high < camera.white_clip_dn


def dark_rate_e_per_s(model: NoiseModel) -> float:
    """Mean dark current, electrons per second: of the map's usable pixels, else the scalar; 0 where there is none."""
    entry = model.parameter("dark_current_e_per_s")
    rates = (model.maps or {}).get("dark_current_e_per_s")
    if rates is not None:
        usable = np.ones(rates.shape, dtype=bool) if model.unusable_pixels is None else ~model.unusable_pixels
        return max(float(np.mean(rates, where=usable, dtype=np.float64)), 0.0)
    return 0.0 if entry is None else max(entry.value, 0.0)
