"""A fitted camera with some of its imperfections switched off: representative pixels, and cameras for each switch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.correlated_noise import noise_covariances

FloatArray = NDArray[np.float64]
Switches = Collection[str]

#: Imperfections in the order in which they are listed.
PARTS = (
    "read_noise",
    "rounding",
    "row_noise",
    "prnu",
    "dsnu",
    "nonlinearity",
    "clipping",
    "dark_current",
    "drift",
)
# Without rounding: codes this many times finer than the noise, which costs 0.0002 bit; and at most so many an electron.
_FINE = 16.0
_MOST_CODES_PER_E = 40.0
_LARGEST_SPAN = 2**23
_SPARE_CODES = 2**17
# Strata of pixels by their noise variance: the tail of hot and noisy pixels has strata of its own.
_STRATA = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97, 0.995, 1.0)


@dataclass(frozen=True)
class Pixel:
    """One pixel, standing for a share of all.

    Parameters
    ----------
    weight : float
        Share of the pixels.
    gain_dn_per_e, read_noise_e, offset_dn : float
    offset_error_e : float
        What is not known about its offset: the map's standard error, or without a map the sensor's DSNU.
    response : float
        1 + prnu, as far as a map knows it.
    response_error : float
        What is not known about it: the map's standard error, or without a map the sensor's PRNU.
    dark_e : float
        Dark charge during the exposure.
    """

    weight: float
    gain_dn_per_e: float
    read_noise_e: float
    offset_dn: float
    offset_error_e: float = 0.0
    response: float = 1.0
    response_error: float = 0.0
    dark_e: float = 0.0


@dataclass(frozen=True)
class Sensor:
    """One channel of a camera: its scalars, representative pixels, and noise that pixels share.

    ``row_noise_e`` is common to the pixels of a row, ``drift_e`` to those of a frame; neither is part of a pixel's
    ``read_noise_e``. ``absent`` tells for each imperfection that is not priced why. ``shift_dn`` (height, width) is to
    be taken off the codes, so that one axis serves all pixels: the whole part of a pixel's offset less their mean, and
    for real values the offset itself. ``lowest_e`` is the least charge there is: below 0 only without shot noise.
    """

    camera: Any
    pixels: tuple[Pixel, ...]
    row_noise_e: float
    drift_e: float
    absent: dict[str, str]
    shift_dn: FloatArray | float = 0.0
    lowest_e: float = 0.0

    @property
    def kind(self) -> str:
        """Kind of the noise model."""
        return str(self.camera.kind)

    @property
    def parts(self) -> tuple[str, ...]:
        """Imperfections that can be switched off."""
        return tuple(name for name in PARTS if name not in self.absent)


@dataclass(frozen=True)
class Measured:
    """A pixel's camera with integer codes, and what it does to light: charge = light * response + dark."""

    weight: float
    model: NoiseModel
    response: float
    response_error: float
    dark_e: float
    shared_row_e: float
    shared_frame_e: float
    codes_per_dn: int


@dataclass(frozen=True)
class Known:
    """What the user knows beside the noise model.

    Parameters
    ----------
    exposure_s : float or None
        Of the frames; dark charge is known only with it.
    row_noise_e, drift_e : float or None
        Noise common to a row, and to a frame, electrons; None: what the model holds.
    """

    exposure_s: float | None = None
    row_noise_e: float | None = None
    drift_e: float | None = None


NOTHING_KNOWN = Known()


def sensor_of(model: NoiseModel, known: Known) -> Sensor:
    """The imperfections that a noise model without channels knows of."""
    exposure_s, row_noise_e, drift_e = known.exposure_s, known.row_noise_e, known.drift_e
    camera = replace(model.camera)
    absent: dict[str, str] = {}
    dark = model.parameter("dark_current_e_per_s")
    dark_e = 0.0
    if dark is None or not dark.value > 0:
        absent["dark_current"] = "the noise model has none"
    elif exposure_s is None:
        absent["dark_current"] = "the exposure of the frames is not known (--exposure-s)"
    else:
        dark_e = dark.value * exposure_s
    pixels, shift = _pixels(model, dark_e)
    gain = float(camera.system_gain_dn_per_e)
    row = row_noise_e
    if row is None:
        row = _calibrated_row_noise_e(model)
        if row > 0:  # it was measured as part of the pixels' read noise, and is taken out of that
            own = [float(np.sqrt(max(pixel.read_noise_e**2 - row**2, 0.0))) for pixel in pixels]
            pixels = tuple(replace(pixel, read_noise_e=read) for pixel, read in zip(pixels, own, strict=True))
    drift = drift_e if drift_e is not None else _value(model, "offset_scatter_dn") / gain
    if row <= 0:
        absent["row_noise"] = "the noise model has none"
    if drift <= 0:
        absent["drift"] = "the noise model has no scatter of the offset from frame to frame"
    maps = model.maps or {}
    if all(p.response_error == 0 and p.response == 1 for p in pixels):
        absent["prnu"] = "photo-response known without error" if "prnu" in maps else "neither a map nor prnu_percent"
    if all(p.offset_error_e == 0 for p in pixels) and "offset_dn" not in model.readout_maps:
        absent["dsnu"] = "neither a map nor dsnu_e"
    if camera.response.form == "linear":
        absent["nonlinearity"] = "the response is linear"
    if camera.bit_depth is None:
        absent["rounding"] = "the measurements are real-valued"
        if camera.response.full_well_dn is None:
            absent["clipping"] = "the measurements are real-valued"
    if camera.kind == "poisson":
        absent["read_noise"] = "the camera counts photons without read noise"
    if camera.kind == "gaussian":
        absent["read_noise"] = "without shot noise nothing would be left: the gain has no limit"
    return Sensor(camera, pixels, row, drift, absent, shift)


def _calibrated_row_noise_e(model: NoiseModel) -> float:
    """Noise common to a row of the calibrated darks, electrons; 0 unless it stands out by three standard errors."""
    known = noise_covariances(model)
    if known is None or known[0].row_dn2 <= 0:
        return 0.0
    return float(np.sqrt(known[0].row_dn2)) / float(model.camera.system_gain_dn_per_e)


def _value(model: NoiseModel, name: str) -> float:
    entry = model.parameter(name)
    return 0.0 if entry is None else max(entry.value, 0.0)


def _pixels(model: NoiseModel, dark_e: float) -> tuple[tuple[Pixel, ...], FloatArray | float]:
    """Pixels from the strata of the noise variance (one without maps), and the shift of every pixel's codes."""
    camera, maps, readout = model.camera, model.maps or {}, dict(model.readout_maps)
    gain, read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    dsnu = 0.0 if "offset_dn" in readout else _value(model, "dsnu_e")
    prnu = 0.0 if "prnu" in maps else _value(model, "prnu_percent") / 100
    if not maps:
        whole_offset = float(camera.offset_dn) if model.bit_depth is None else 0.0
        return (Pixel(1.0, gain, read, float(camera.offset_dn), dsnu, 1.0, min(prnu, 0.5), dark_e),), whole_offset
    shape = model.map_shape or (1, 1)

    def array(values: object) -> FloatArray:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), shape)

    k = array(readout.get("system_gain_dn_per_e", gain))
    r = array(readout.get("read_noise_e", read))
    b = array(readout.get("offset_dn", float(camera.offset_dn)))
    b_error = np.hypot(array(maps.get("offset_dn_std", 0.0)) / k, dsnu)
    response = 1.0 + array(maps.get("prnu", 0.0))
    response_error = np.hypot(array(maps.get("prnu_std", 0.0)), prnu)
    dark = array(maps["dark_current_e_per_s"]) * _per_second(model, dark_e) if "dark_current_e_per_s" in maps else None
    d = np.maximum(array(dark_e) if dark is None else dark, 0.0)
    good = np.isfinite(k * r * b * b_error * response * response_error * d) & (k > 0) & (response > 0.05)
    if model.unusable_pixels is not None:
        good &= ~model.unusable_pixels
    if not np.any(good):
        raise PhotonbitsError("the noise maps have no finite pixel", remedy="Calibrate again with --maps")
    whole = np.floor(np.where(good, b, 0.0))
    base = float(np.round(np.mean(whole[good])))
    shift = np.where(good, b if model.bit_depth is None else whole - base, 0.0)
    b = b - shift if model.bit_depth is not None else b
    order = np.flatnonzero(good.ravel())
    order = order[np.argsort((r**2 + b_error**2 + d).ravel()[order], kind="stable")]
    chosen = []
    for low, high in pairwise(_STRATA):
        place = order[min(int(0.5 * (low + high) * order.size), order.size - 1)]
        values = [float(a.ravel()[place]) for a in (k, r, b, b_error, response, response_error, d)]
        chosen.append(
            Pixel(high - low, values[0], values[1], values[2], values[3], values[4], min(values[5], 0.5), values[6])
        )
    return tuple(chosen), shift


def _per_second(model: NoiseModel, dark_e: float) -> float:
    """The exposure, seconds, that the mean dark charge stands for."""
    mean = _value(model, "dark_current_e_per_s")
    return dark_e / mean if mean > 0 else 0.0


def measured(sensor: Sensor, off: Switches, highest_e: float) -> list[Measured]:
    """Cameras of the representative pixels with the parts ``off`` switched off, all with integer codes.

    Without rounding codes are finer than the noise by `_FINE`; without clipping they begin and end where no charge up
    to ``highest_e`` reaches. Information does not change with the scale and the offset of codes.
    """
    off, camera = frozenset(off), sensor.camera
    open_ends = camera.bit_depth is None or "clipping" in off
    reads = [_read_noise_e(sensor, pixel, off) for pixel in sensor.pixels]
    gains = [pixel.gain_dn_per_e for pixel in sensor.pixels]
    fine = 1
    if camera.bit_depth is None or "rounding" in off:
        quiet = min(reads)
        per_e = min(_FINE / quiet, _MOST_CODES_PER_E) if quiet > 0 else 2.0
        fine = max(1, int(np.ceil(per_e / min(gains))))
    shot = camera.kind != "gaussian"
    curve = camera.response
    if "nonlinearity" in off and curve.form != "linear":
        curve = replace(curve, form="linear", coefficients=(), scale_dn=1.0)
    full_well = None if "clipping" in off or curve.full_well_dn is None else curve.full_well_dn * fine
    scale = curve.scale_dn * fine if curve.form != "linear" else 1.0
    curve = replace(curve, scale_dn=scale, full_well_dn=full_well)
    below = int(np.ceil(10 * max(reads) * max(gains) * fine)) + 2
    below += int(np.ceil(max(-sensor.lowest_e, 0.0) * max(gains) * fine))
    out = []
    for pixel, read in zip(sensor.pixels, reads, strict=True):
        response = 1.0 if "prnu" in off else pixel.response
        error = 0.0 if "prnu" in off else pixel.response_error
        dark = 0.0 if "dark_current" in off else pixel.dark_e
        k = pixel.gain_dn_per_e * fine
        offset = (float(camera.offset_dn) if "dsnu" in off else pixel.offset_dn) * fine
        black, white = camera.black_clip_dn * fine, camera.white_clip_dn * fine
        if open_ends:
            # Where codes still are whole the offset's place between two of them is kept.
            offset, black = below + (0.0 if camera.bit_depth is None else offset % 1), 0
        top_e = highest_e * response * (1 + 2 * error) + dark
        reach = 10 * float(np.sqrt((top_e if shot else 0.0) + read**2)) + (60 if shot else 0)
        top = int(np.ceil(offset + float(curve.evaluate(np.array(k * (top_e + reach)))))) + 2
        white = top if open_ends or white - top > _SPARE_CODES else white
        model = NoiseModel.from_parameters(
            kind="gaussian" if not shot else ("poisson-gaussian" if read > 0 else "poisson"),
            system_gain_dn_per_e=k,
            read_noise_e=read,
            offset_dn=float(offset),
            bit_depth=32,
            black_clip_dn=int(black),
            white_clip_dn=int(min(white, black + _LARGEST_SPAN)),
            response=curve,
        )
        row = 0.0 if "row_noise" in off else sensor.row_noise_e
        frame = 0.0 if "drift" in off else sensor.drift_e
        out.append(Measured(pixel.weight, model, response, error, dark, row, frame, fine))
    return out


def _read_noise_e(sensor: Sensor, pixel: Pixel, off: frozenset[str]) -> float:
    """All Gaussian noise of a pixel before rounding, electrons."""
    own = 0.0 if "read_noise" in off else pixel.read_noise_e
    offset = 0.0 if "dsnu" in off else pixel.offset_error_e
    row = 0.0 if "row_noise" in off else sensor.row_noise_e
    frame = 0.0 if "drift" in off else sensor.drift_e
    return float(np.sqrt(own**2 + offset**2 + row**2 + frame**2))
