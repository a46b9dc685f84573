"""Pixels of like noise: classes by gain, read noise and phase of the offset, from the maps of a noise model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_READ_CLASSES = 16
_COARSE_NOISE_DN = 0.7  # below this K r h depends on the phase of the offset within a code
_MOST_PHASES = 8
_LARGEST_READ_RATIO = 1.2  # within one class
_GAIN_CLASS_WIDTH = 0.05


@dataclass(frozen=True)
class PixelClasses:
    """Pixels of like noise, and how their measurements become codes of one axis.

    Parameters
    ----------
    models : tuple of NoiseModel
        Scalar model of each class, offset relative to ``shift_dn``.
    fit_class : ndarray (n_classes,)
        Classes that share a histogram in the deconvolution; their rows are averaged, which is exact.
    index : ndarray (height, width) or None
        Class of each pixel, -1 where a map is not finite; None for one class.
    shift_dn : ndarray (height, width) or float
        Taken off each measurement: the whole part of the pixel's offset, less their mean. Crop both maps as
        the frames are cropped.
    step_dn : float
        Width of a code, 1 unless measurements are real-valued.
    differential : bool
        Whether codes are bins of real values.
    response_error : float
        Relative standard error of the photo-response map (rms).
    law : ndarray (n_classes,) or None
        Classes with one number see light of one law: the channels of a sensor (colour filters, taps). None: all.
    """

    models: tuple[NoiseModel, ...]
    fit_class: IntArray
    index: IntArray | None = None
    shift_dn: FloatArray | float = 0.0
    step_dn: float = 1.0
    differential: bool = False
    response_error: float = 0.0
    law: IntArray | None = None


def classify_pixels(noise_model: NoiseModel, shape: tuple[int, int] | None = None) -> PixelClasses:
    """Classes of pixels by gain, predictive read noise and offset phase, and by channel where the sensor has some.

    Parameters
    ----------
    noise_model : NoiseModel
    shape : (height, width), optional
        Of the frames; needed where channels repeat and the model does not say it.

    Notes
    -----
    What a map does not know is noise: read^2 + (offset_std / K)^2 replaces read^2, otherwise the map's own
    error counts as information (0.5 log2(1 + 1/L) bit per pixel for a map of L frames). About 16 classes of
    read noise with equal numbers of pixels, split further where they span more than 20 %; gain classes 5 % wide;
    offset phases as in `_phases`.
    """
    if noise_model.channel_layout is not None:
        return _classify_channels(noise_model, shape or noise_model.document.sensor.shape)
    camera = noise_model.camera
    # The maps as read out: a raw gain map from few frames is mostly its own error.
    stds = {name: values for name, values in (noise_model.maps or {}).items() if name.endswith("_std")}
    maps = stds | dict(noise_model.readout_maps)
    real = camera.bit_depth is None
    names = {"system_gain_dn_per_e", "read_noise_e", "offset_dn", "offset_dn_std"} & set(maps)
    prnu = maps.get("prnu_std")
    error = 0.0 if prnu is None else float(np.sqrt(np.nanmean(np.square(prnu))))
    if not names:
        scalar = noise_model.with_parameters()
        return _with_step(PixelClasses((scalar,), np.zeros(1, dtype=np.int64), response_error=error), real)
    shape = noise_model.map_shape or (1, 1)

    def array(name: str, default: object) -> FloatArray:
        return np.broadcast_to(np.asarray(maps.get(name, default), dtype=np.float64), shape)

    gain = array("system_gain_dn_per_e", camera.system_gain_dn_per_e)
    offset = array("offset_dn", camera.offset_dn)
    with np.errstate(invalid="ignore", divide="ignore"):
        read = np.hypot(array("read_noise_e", camera.read_noise_e), array("offset_dn_std", 0.0) / gain)
    good = np.isfinite(gain) & np.isfinite(offset) & np.isfinite(read) & (gain > 0)
    if not np.any(good):
        raise PhotonbitsError("the noise maps have no finite pixel", remedy="Calibrate again with --maps")
    g, r, b = gain[good], read[good], offset[good]
    whole = np.floor(b)
    base = 0.0 if real else float(np.round(whole.mean()))
    phase = np.floor((b - whole) * (1 if real else _phases(g, r, shot=camera.kind != "gaussian")))
    by_gain = np.floor(np.log(g / np.median(g)) / _GAIN_CLASS_WIDTH + 0.5)
    by_read, third = _read_classes(r)
    keys, member = np.unique(np.stack([by_gain, phase, third, by_read]), axis=1, return_inverse=True)
    member = member.ravel()
    size = np.bincount(member)
    means = [np.bincount(member, weights=a) / size for a in (g, r, base + (b - whole) * (not real))]
    models = tuple(
        noise_model.with_parameters(
            system_gain_dn_per_e=float(k),
            read_noise_e=float(s) if camera.kind != "poisson" else 0.0,
            offset_dn=float(o),
        )
        for k, s, o in zip(*means, strict=True)
    )
    index = np.full(shape, -1, dtype=np.int64)
    index[good] = member
    shift = np.zeros(shape)
    shift[good] = b if real else whole - base
    fit_class = np.unique(keys[:3], axis=1, return_inverse=True)[1].ravel()
    return _with_step(PixelClasses(models, fit_class, index, shift, response_error=error), real)


def _classify_channels(noise_model: NoiseModel, shape: tuple[int, int] | None) -> PixelClasses:
    """The classes of every channel, each channel under a law of its own."""
    layout = noise_model.channel_layout
    if layout is None or shape is None:
        raise PhotonbitsError(
            "a noise model with channels and no frame size", legal="the size of the frames", remedy="Give the shape"
        )
    layout.check_shape(shape)
    parts = [classify_pixels(noise_model.channel(name, maps=True)) for name in layout.names]
    if noise_model.bit_depth is None and noise_model.camera.kind == "poisson":
        raise PhotonbitsError("real-valued frames of kind poisson with channels", legal="a model with a bit depth")
    index, shift = np.full(shape, -1, dtype=np.int64), np.zeros(shape)
    first = first_fit = 0
    fit_class, law, error = [], [], 0.0
    for number, (section, part) in enumerate(zip(layout.sections.values(), parts, strict=True)):
        own = np.zeros(index[section.index].shape, dtype=np.int64) if part.index is None else part.index
        index[section.index] = np.where(own >= 0, own + first, -1)
        shift[section.index] = part.shift_dn
        fit_class.append(part.fit_class + first_fit)
        law.append(np.full(len(part.models), number, dtype=np.int64))
        error += own.size / index.size * part.response_error**2
        first += len(part.models)
        first_fit += int(part.fit_class.max()) + 1
    return PixelClasses(
        models=tuple(model for part in parts for model in part.models),
        fit_class=np.concatenate(fit_class),
        index=index,
        shift_dn=shift,
        step_dn=min(part.step_dn for part in parts),
        differential=parts[0].differential,
        response_error=float(np.sqrt(error)),
        law=np.concatenate(law),
    )


def _phases(gain: FloatArray, read: FloatArray, *, shot: bool) -> int:
    """Number of classes by the fractional part of the offset: 1, 2, 4 or 8.

    Offsets that differ within a class by 1/p DN blur its histogram by 1/(12 p^2 K^2) electrons^2 more than its
    rows say. The law of y comes out that much wider, and E[h] lower by half of that times |h''|, which is at most
    0.72/r^4 bit: 0.002 bit at the darkest for p = 3.9/(K r^2), less where there is light.
    """
    r, k = float(np.quantile(read, 0.01)), float(np.quantile(gain, 0.01))
    wanted = 3.9 / max(k * r**2, 1e-6) if shot else 1.0
    if float(np.min(gain * read)) < _COARSE_NOISE_DN:
        wanted = max(wanted, 4.0)
    return int(min(_MOST_PHASES, 2 ** np.ceil(np.log2(max(wanted, 1.0)))))


def _read_classes(read: FloatArray) -> tuple[IntArray, IntArray]:
    """Class of each read noise, and the third of the classes it lies in."""
    edges = np.unique(np.quantile(read, np.linspace(0, 1, _READ_CLASSES + 1)))
    # Neighbouring quantiles within 2 % are one class; the long tail of hot pixels is split evenly in log r.
    kept = [edges[0]]
    for edge in edges[1:]:
        if kept[-1] > 0 and edge > kept[-1] * _LARGEST_READ_RATIO:
            steps = int(np.ceil(np.log(edge / kept[-1]) / np.log(_LARGEST_READ_RATIO)))
            kept.extend(np.geomspace(kept[-1], edge, steps + 1)[1:])
        elif edge > kept[-1] * 1.02:
            kept.append(edge)
    inner = np.array(kept[1:-1])
    classes = np.searchsorted(inner, read, side="right")
    thirds = np.quantile(read, [0.5, 0.9])
    return classes, np.searchsorted(thirds, np.append(inner, np.inf)[classes], side="left")


def _with_step(classes: PixelClasses, real: bool) -> PixelClasses:
    if not real:
        return classes
    camera = classes.models[0].camera
    shift = classes.shift_dn if classes.index is not None else float(camera.offset_dn)
    models = tuple(model.with_parameters(offset_dn=0.0) for model in classes.models)
    if camera.kind == "poisson":
        return replace(classes, models=models, shift_dn=shift, step_dn=float(camera.system_gain_dn_per_e))
    noise = [float(m.camera.system_gain_dn_per_e) * float(m.camera.read_noise_e) for m in models]
    if min(noise) <= 0:
        raise PhotonbitsError(
            "read_noise_e 0 with real-valued measurements", legal="kind poisson", remedy="Set kind: poisson"
        )
    return replace(classes, models=models, shift_dn=shift, step_dn=min(noise) / 4, differential=True)
