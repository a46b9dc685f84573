"""From a noise model and captures to a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calibrate.captures import CaptureSet, Setting, load_captures, split_by_setting
from calibrate.captures.hold_out import only_files
from calibrate.captures.settings import TEMPERATURE_GAP_C
from calibrate.channels import section_of_captures
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_files
from calibrate.validation.pairs import observe
from calibrate.validation.ranges import Comparison
from calibrate.validation.result import CheckResult, PartResult
from calibrate.validation.tables import check_table
from calibrate.validation.verdict import examine


def check_captures(
    model: NoiseModel, captures: str | Path | CaptureSet, *, seed: int = 0, unseen: bool = False
) -> CheckResult:
    """Compare captures with a noise model: noise per signal range, the whole distribution, offset and structure.

    Parameters
    ----------
    model : NoiseModel
    captures : path or CaptureSet
        Darks, flats or both, as for a fit; best frames that were not part of it. Or a table of means (above the
        offset) and variances.
    seed : int
        Of the randomised transform and of the sample of pixels in it.
    unseen : bool
        Compare only frames in files that were not part of the fit (by their SHA-256).

    Returns
    -------
    CheckResult
        ``agrees`` is False where anything differs by more than chance and the calibration's own errors allow, and by
        an amount that matters; ``findings`` says what.

    Raises
    ------
    PhotonbitsError
        If the captures cannot be read, do not fit the model (shape of the maps, bit depth, several gain settings),
        hold no pair of frames, or are saturated throughout; with ``unseen``, if all were part of the fit.
    """
    if not isinstance(captures, CaptureSet):
        captures = load_captures(captures)
    if captures.points:
        return check_table(model, captures)
    seen = _files_in_fit(model, captures)
    if unseen:
        captures = _without_files(captures, seen)
    captures, notes = _one_setting(model, captures)
    _check_depth(model, captures)
    parts = [_check_part(name, own, some, seed) for name, own, some in _channels(model, captures)]
    if not any(part.findings or np.any(part.comparison.judged) for part in parts):
        raise PhotonbitsError(
            "no level can be compared: all reach the ceiling or lie above the signals that the model was fitted at",
            where=captures.root,
            legal="levels below saturation, within validity.signal_dn of the model",
            remedy="Shoot darks, or flats at less light",
        )
    comparisons = [part.comparison for part in parts]
    notes += [f"Captures: {note}." for note in captures.notes]
    notes += _notes(model, captures, comparisons)
    n_frames, n_in_fit = _frames_in_fit(captures, comparisons, seen)
    if n_in_fit:
        word = "All" if n_in_fit == n_frames else f"{n_in_fit} of the {n_frames}"
        notes.insert(
            0,
            f"{word} frames were part of the fit: the check is not independent, and agreement says less. "
            "Shoot new frames for a check, or fit without these.",
        )
    return CheckResult(tuple(parts), n_frames, n_in_fit, tuple(notes))


def _channels(model: NoiseModel, captures: CaptureSet) -> Iterator[tuple[str | None, NoiseModel, CaptureSet]]:
    """The model's channels and the captures of their pixels; model and captures as they are without channels."""
    layout = model.channel_layout
    if layout is None:
        yield None, model, captures
        return
    layout.check_shape(captures.shape or (0, 0))
    for name, section in layout.sections.items():
        yield name, model.channel(name, maps=True), section_of_captures(captures, section)


def _check_part(name: str | None, model: NoiseModel, captures: CaptureSet, seed: int) -> PartResult:
    observed = observe(model, captures, seed=seed)
    verdict = examine(model, observed)
    return PartResult(name, verdict.comparison, verdict.findings, verdict.offset, observed.regions)


def _one_setting(model: NoiseModel, captures: CaptureSet) -> tuple[CaptureSet, list[str]]:
    """The captures of the model's gain, temperature and read-out mode, where they hold several."""
    sensor = model.document.sensor
    split = split_by_setting(captures)
    notes = list(split.notes)
    if len(split.parts) > 1:
        fitting = [setting for setting in split.parts if _is_model_setting(setting, model)]
        if len(fitting) == 1:
            notes.append(f"Only the captures at the model's setting, {fitting[0].words}, are compared.")
            return split.parts[fitting[0]], notes
        raise PhotonbitsError(
            f"captures at {len(split.parts)} settings ({'; '.join(setting.words for setting in split.parts)})",
            where=captures.root,
            legal="one setting, or the one that the model states among them",
            remedy="Check each setting from a folder or manifest of its own, with its own model",
        )
    own = captures.sensor.get("gain_setting")
    if sensor.gain_setting is not None and own is not None and not _same(own, sensor.gain_setting):
        notes.append(f"The captures state gain setting {own}, the model {sensor.gain_setting}.")
    return captures, notes


def _is_model_setting(setting: Setting, model: NoiseModel) -> bool:
    """Whether the model states what varies over the captures, and states it as this setting does."""
    sensor = model.document.sensor
    if setting.gain_setting is not None and not _same(setting.gain_setting, sensor.gain_setting):
        return False
    if setting.mode is not None and setting.mode != sensor.mode:
        return False
    if setting.temperature_c is None:
        return True
    return sensor.temperature_c is not None and abs(setting.temperature_c - sensor.temperature_c) <= TEMPERATURE_GAP_C


def _same(one: object, other: object) -> bool:
    try:
        return float(str(one)) == float(str(other))
    except ValueError:
        return str(one) == str(other)


def _check_depth(model: NoiseModel, captures: CaptureSet) -> None:
    """Refuse captures of another bit depth than the model's; a file's own hint counts where it is the smaller one."""
    stated, own = captures.bit_depth, model.bit_depth
    if stated is None or own is None or stated == own or (captures.bit_depth_source == "files" and stated > own):
        return
    raise PhotonbitsError(
        f"captures of {stated} bit for a model of {own} bit",
        where=captures.root,
        legal=f"bit_depth {own}",
        remedy="Use the model of this pixel format, or correct the manifest; left-aligned codes need --shift-bits",
    )


def _notes(model: NoiseModel, captures: CaptureSet, comparisons: Sequence[Comparison]) -> list[str]:
    out = []
    lost, total = np.sum([comparison.left_out for comparison in comparisons], axis=0)
    if lost:
        out.append(f"{100 * lost / total:.2g} % of the pixels reach saturation and are left out.")
    beyond = sum(int(np.sum(~comparison.judged)) for comparison in comparisons)
    if beyond:
        out.append(f"{beyond} ranges lie above the signals that the model was fitted at: shown, not judged.")
    outliers = sum(comparison.n_outliers for comparison in comparisons)
    if outliers:
        out.append(f"{outliers} pixels stand out in one frame (cosmic rays, sparks) and are left out.")
    single = sum(level.n_frames == 1 for level in captures.levels)
    if single:
        out.append(f"{single} levels have one frame, which has no noise to compare.")
    kinds = {level.kind for level in captures.levels}
    if kinds == {"bright"}:
        out.append("No darks: the offset was not checked, and a wrong one may look like read noise.")
    if kinds == {"dark"}:
        out.append("No flats: gain and response were not checked.")
    if model.document.covariance is None:
        out.append("The model states no uncertainties: its numbers are taken as exact.")
    stored = model.document.sensor.shape
    if stored is not None and captures.shape is not None and tuple(stored) != captures.shape:
        out.append(f"The frames are {captures.shape[0]} x {captures.shape[1]}, the model's {stored[0]} x {stored[1]}.")
    return out


def _files_in_fit(model: NoiseModel, captures: CaptureSet) -> set[Path]:
    """The captures' files that went into the fit, by their digests."""
    known = {entry.sha256 for entry in model.document.provenance.files}
    if not known:
        return set()
    paths = sorted({reference.path for level in captures.levels for reference in level.frames})
    return {path for path, digest in zip(paths, sha256_of_files(paths), strict=True) if digest in known}


def _without_files(captures: CaptureSet, seen: set[Path]) -> CaptureSet:
    fresh = {reference.path for level in captures.levels for reference in level.frames} - seen
    if not fresh:
        raise PhotonbitsError(
            "all frames were part of the fit",
            where=captures.root,
            legal="files that the fit has not seen",
            remedy="Shoot new frames, or fit with --hold-out",
        )
    return only_files(captures, fresh)


def _frames_in_fit(captures: CaptureSet, comparisons: Sequence[Comparison], seen: set[Path]) -> tuple[int, int]:
    """Frames that are compared, and those of them in files that went into the fit; saturated ones are all alike."""
    used = frozenset().union(*(comparison.levels for comparison in comparisons))
    paths = [frame.path for index, level in enumerate(captures.levels) if index in used for frame in level.frames]
    return len(paths), sum(path in seen for path in paths)
