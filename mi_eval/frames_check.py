"""Whether frames are what the noise model was made for: one camera, its settings, codes, size and borders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from calibrate.captures import SceneFile
from calibrate.captures.settings import TEMPERATURE_GAP_C
from mi_eval.borders import exposed_region
from mi_eval.frame_source import FrameSource, Region
from mi_eval.patch_places import refuse_other_maps
from mi_eval.warnings import ScoreWarning, warning

_SAMPLE_FRAMES = 8
#: Different codes from which empty low bits are no accident of a few levels.
_FEWEST_CODES = 8
_LARGEST_BINNING = 8
#: Exposures that differ by less are one.
_EXPOSURE_TOLERANCE = 0.05
_IDENTITY = ("make", "model", "serial")


@dataclass(frozen=True)
class CheckedFrames:
    """Frames that fit the noise model.

    Parameters
    ----------
    source : FrameSource
        Cropped where the model knows the exposed part alone.
    exposed : Region or None
        Where patches may lie; None for everywhere.
    exposure_s : float or None
        Mean exposure that files, names or a manifest state for all frames.
    warnings : tuple of ScoreWarning
    """

    source: FrameSource
    exposed: Region | None = None
    exposure_s: float | None = None
    warnings: tuple[ScoreWarning, ...] = ()


def check_frames(
    source: FrameSource, model: NoiseModel, *, exposure_s: float | None = None, roi: bool = False
) -> CheckedFrames:
    """Frames, compared with the noise model by their headers and a sample of their codes.

    Parameters
    ----------
    source : FrameSource
    model : NoiseModel
    exposure_s : float, optional
        Of all frames; default: what the files say.
    roi : bool
        Frames of half (a third ...) of the calibrated size are a region of interest, not binned.

    Raises
    ------
    PhotonbitsError
        If frames come from several cameras or settings, or from another camera, mosaic or binning than the model's;
        if their codes are left-aligned; or if they are darks or flats.
    """
    doubts = [*_camera(source.files, model), *_settings(source, model)]
    exposure, more = _exposure(source, model, exposure_s)
    doubts += more
    sampled = source.sample(_SAMPLE_FRAMES)
    _refuse_left_aligned([frame for _, frame in sampled], source, model)
    whole = [frame for _, frame in sampled if frame.shape == source.shape]
    region, known_by = exposed_region(source, model, whole)
    cropped = source
    if region is not None:
        kept = (region[1] - region[0], region[3] - region[2])
        doubts.append(
            warning(
                "borders_cut",
                rows=f"{region[0]} to {region[1] - 1}",
                columns=f"{region[2]} to {region[3] - 1}",
                reason="the headers say so" if known_by == "header" else "the rest holds the dark level in every frame",
            )
        )
        known = _calibrated_shape(model)
        if known == kept:  # calibrated without borders: its maps begin at the first exposed pixel
            cropped = replace(source, shape=kept, crop=region)
            region = None
    doubts += _check_size(cropped, model, roi)
    mosaic = model.document.sensor.cfa
    if mosaic is not None and model.channel_layout is None:
        doubts.append(warning("cfa_without_channels", cfa=mosaic))
    return CheckedFrames(cropped, region, exposure, tuple(doubts))


# ---- whose frames, and how they were set ------------------------------------------------------------------------


def _values(files: Sequence[SceneFile], name: str) -> Counter[str]:
    """How many files state which value, as text."""
    found = (getattr(file, name) for file in files)
    return Counter(f"{value:g}" if isinstance(value, float) else str(value) for value in found if value is not None)


def _listing(counts: Counter[str]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common(6))


def _same(one: object, other: object) -> bool:
    """Whether two settings are the same, as numbers where both are."""
    try:
        return abs(float(str(one)) - float(str(other))) <= 1e-6 * max(abs(float(str(one))), 1.0)
    except ValueError:
        return str(one).strip().lower() == str(other).strip().lower()


def _camera(files: Sequence[SceneFile], model: NoiseModel) -> Iterable[ScoreWarning]:
    sensor = model.document.sensor
    for name, words in zip(_IDENTITY, ("makers", "cameras", "serial numbers"), strict=True):
        found = _values(files, name)
        if len(found) > 1:
            raise PhotonbitsError(
                f"frames of {len(found)} {words}: {_listing(found)}",
                legal="frames of one camera, that of the noise model",
                remedy="Score each camera's files on their own, with its noise model",
            )
        stated = getattr(sensor, name)
        for value in found:
            if stated is not None and not _same(value, stated):
                raise PhotonbitsError(
                    f"frames of {name} {value}, a noise model of {stated}",
                    where=files[0].path,
                    legal=f"frames of {name} {stated}",
                    remedy="Use the noise model of this camera",
                )
    kinds = Counter(str(file.info.header.get("kind")) for file in files)
    calibration = {kind: kinds[kind] for kind in ("dark", "bright", "bias") if kinds[kind]}
    if calibration:
        listing = ", ".join(f"{count} {'flat' if kind == 'bright' else kind}" for kind, count in calibration.items())
        yield warning("not_scenes", listing=listing, n_files=len(files))
    mosaics = _values(files, "cfa")
    for mosaic in mosaics:
        if sensor.cfa is not None and mosaic.upper() in ("RGGB", "BGGR", "GRBG", "GBRG") and mosaic != sensor.cfa:
            raise PhotonbitsError(
                f"frames with colour filters {mosaic}, a noise model of {sensor.cfa}",
                where=files[0].path,
                legal=f"frames that begin with the same filter, {sensor.cfa}",
                remedy="Use the read-out window of the captures, or fit with the frames' own pattern",
            )
        if sensor.cfa is None and model.channel_layout is None:
            yield warning("mosaic_unknown_to_model", cfa=mosaic)


def _settings(source: FrameSource, model: NoiseModel) -> Iterable[ScoreWarning]:
    sensor, validity = model.document.sensor, model.document.validity
    for name, words, code in (
        ("gain_setting", "gain settings", "other_gain_setting"),
        ("mode", "read-out modes", "other_mode"),
    ):
        found = _values(source.files, name)
        if len(found) > 1:
            raise PhotonbitsError(
                f"frames at {len(found)} {words}: {_listing(found)}",
                legal="one setting, that of the noise model",
                remedy="Score each setting's files on their own, with its noise model",
            )
        stated = getattr(sensor, name)
        for value in found:
            if stated is not None and not _same(value, stated):
                yield warning(code, found=value, calibrated=stated)
    temperatures = [file.temperature_c for file in source.files if file.temperature_c is not None]
    known = None if validity is None else validity.temperature_c
    if known is None and sensor.temperature_c is not None:
        known = (sensor.temperature_c, sensor.temperature_c)
    if temperatures and known is not None:
        low, high = min(temperatures), max(temperatures)
        if low < known[0] - TEMPERATURE_GAP_C or high > known[1] + TEMPERATURE_GAP_C:
            yield warning("temperature_outside_validity", found=_span(low, high), calibrated=_span(*known))


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _exposure(source: FrameSource, model: NoiseModel, given_s: float | None) -> tuple[float | None, list[ScoreWarning]]:
    """Exposure of the frames (their mean), and what is to be said about it."""
    stated = [file.exposure_s for file in source.files if file.exposure_s is not None]
    doubts: list[ScoreWarning] = []
    exposures = [given_s] if given_s is not None else stated
    if not exposures or (given_s is None and len(stated) < source.n_frames):
        return None, doubts
    low, high = min(exposures), max(exposures)
    if given_s is None and high > (1 + _EXPOSURE_TOLERANCE) * low:
        doubts.append(warning("exposures_differ", found=_span(low, high)))
    if given_s is not None and stated:
        wrong = [value for value in stated if abs(value - given_s) > _EXPOSURE_TOLERANCE * max(value, given_s)]
        if wrong:
            doubts.append(warning("exposure_contradicted", given=given_s, found=_span(min(stated), max(stated))))
    validity = model.document.validity
    known = None if validity is None else validity.exposure_s
    if known is not None and (
        high > (1 + _EXPOSURE_TOLERANCE) * known[1] or low < (1 - _EXPOSURE_TOLERANCE) * known[0]
    ):
        doubts.append(warning("exposure_outside_validity", found=_span(low, high), calibrated=_span(*known)))
    return float(np.mean(exposures)), doubts


# ---- codes and sizes --------------------------------------------------------------------------------------------


def _refuse_left_aligned(frames: Sequence[NDArray[Any]], source: FrameSource, model: NoiseModel) -> None:
    if model.bit_depth is None or any(not np.issubdtype(frame.dtype, np.integer) for frame in frames):
        return
    if any(entry.code == "left_aligned" for entry in model.document.fit.flags):
        raise PhotonbitsError(
            "the noise model was fitted to left-aligned codes (its flag left_aligned), whose rounding it does not know",
            where=model.path,
            legal="a model of codes without empty low bits",
            remedy="Fit again with --shift-bits, and score with it",
        )
    bits = 0
    for frame in frames:
        bits |= int(np.bitwise_or.reduce(frame, axis=None))
    empty = (bits & -bits).bit_length() - 1 if bits else 0
    if empty < 1 or np.unique(frames[0]).size < _FEWEST_CODES:
        return
    step = 2**empty
    # The offset of some cameras is even; noise takes odd codes all the same.
    raise PhotonbitsError(
        f"all codes are multiples of {step}, up to {max(int(frame.max()) for frame in frames)}: "
        f"left-aligned by {empty} bit(s), or another bit depth than the noise model's {model.bit_depth}",
        where=source.names[0],
        legal=f"codes of {model.bit_depth} bits without empty low bits",
        remedy=f"Use --shift-bits {empty} if the noise model was fitted to codes shifted so",
    )


def _calibrated_shape(model: NoiseModel) -> tuple[int, int] | None:
    layout = model.channel_layout
    return model.map_shape or (None if layout is None else layout.shape) or model.document.sensor.shape


def _check_size(source: FrameSource, model: NoiseModel, roi: bool) -> list[ScoreWarning]:
    """Refuse frames that are binned or turned by a quarter, and doubt those whose size alone suggests binning."""
    stated = {file.info.header.get("binning") for file in source.files} - {None}
    known = _calibrated_shape(model)
    if len(stated) > 1:
        raise PhotonbitsError(
            f"frames of several binnings: {', '.join(map(str, stated))}", legal="one binning, that of the captures"
        )
    if known is None or known == source.shape:
        return []
    height, width = source.shape
    fewer = [round(big / small) for big, small in zip(known, source.shape, strict=True)]
    more = [round(small / big) for big, small in zip(known, source.shape, strict=True)]
    said = next(iter(stated), (1, 1))
    size_alone = said == (1, 1) and model.map_shape is None
    reason = None
    if all(2 <= b <= _LARGEST_BINNING for b in fewer) and source.shape == (known[0] // fewer[0], known[1] // fewer[1]):
        reason = f"binned {fewer[0]} x {fewer[1]}"
    elif all(2 <= b <= _LARGEST_BINNING for b in more) and known == (height // more[0], width // more[1]):
        reason = f"not binned, while the captures were, {more[0]} x {more[1]}"
    elif model.map_shape is not None and known == (width, height):
        reason = "turned by a quarter"
    if reason is None or (size_alone and roi):
        refuse_other_maps(source.shape, model)
        return []
    if size_alone:
        shapes = (f"{height} x {width}", f"{known[0]} x {known[1]}")
        return [warning("maybe_binned", shape=shapes[0], calibrated=shapes[1], reason=reason)]
    raise PhotonbitsError(
        f"frames of {height} x {width}, calibrated at {known[0]} x {known[1]}: {reason}",
        where=source.names[0],
        legal="frames read out like the captures: binning changes gain, noise and full well",
        remedy="Calibrate in this mode",
    )
