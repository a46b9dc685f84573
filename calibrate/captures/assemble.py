"""From entries (a file and what is said about it) to a checked `CaptureSet`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from calibrate.captures.capture_set import CaptureSet, FrameKind, FrameReference, IgnoredFile, Level
from calibrate.captures.light_levels import separate_light
from calibrate.captures.varying import tell_apart
from calibrate.frames import FrameInfo, describe_file, read_frame
from calibrate.plumbing.errors import PhotonbitsError


@dataclass(frozen=True)
class Entry:
    """One file of the captures.

    `reference` carries the path and the layout of headerless files; its index is not used. `level` is an
    explicit group, `label` the group of last resort, used where neither exposure nor photons are known.
    `indices` selects frames of a stack; None means all. `where` names the entry in messages.
    `temperature_is_meant` where a person wrote it down: a header's may just drift.
    """

    reference: FrameReference
    kind: FrameKind
    where: str
    exposure_s: float | None = None
    photons_per_pixel: float | None = None
    level: str | None = None
    label: str = ""
    indices: tuple[int, ...] | None = None
    gain_setting: str | None = None
    info: FrameInfo | None = None
    temperature_c: float | None = None
    temperature_is_meant: bool = False
    mode: str | None = None
    gain_scale: str = "gain"


@dataclass(frozen=True)
class Stated:
    """What a manifest or descriptor says about the whole set."""

    bit_depth: int | None = None
    shape: tuple[int, int] | None = None
    sensor: dict[str, object] | None = None
    shift_bits: int = 0


class Notes:
    """Remarks, one per cause however many files share it."""

    def __init__(self) -> None:
        self._causes: dict[str, list[str]] = {}

    def add(self, cause: str, example: str) -> None:
        """Add one file's case of `cause`."""
        self._causes.setdefault(cause, []).append(example)

    def texts(self) -> tuple[str, ...]:
        """All remarks, in order of first appearance."""
        return tuple(
            f"{cause} ({len(examples)} file(s), first {examples[0]})" if examples[0] else cause
            for cause, examples in self._causes.items()
        )


def describe_entry(entry: Entry) -> Entry:
    """Return the entry with its file described."""
    if entry.info is not None:
        return entry
    reference = entry.reference
    info = describe_file(
        reference.path,
        dtype=reference.dtype,
        shape=reference.shape,
        byte_order=reference.byte_order,
        offset_bytes=reference.offset_bytes,
        key=reference.key,
    )
    return replace(entry, info=info)


def shifted(entry: Entry, bits: int) -> Entry:
    """Return the entry with ``bits`` empty low bits to be taken off its codes."""
    return replace(entry, reference=replace(entry.reference, shift_bits=bits)) if bits else entry


def info_of(entry: Entry) -> FrameInfo:
    """Return the description of an entry that `describe_entry` has seen."""
    if entry.info is None:
        raise RuntimeError("the entry has not been described")
    return entry.info


def assemble(
    entries: Iterable[Entry],
    *,
    root: Path,
    source: Literal["folder", "manifest", "emva1288"],
    stated: Stated,
    notes: Notes,
    ignored: Sequence[IgnoredFile] = (),
    input_files: tuple[Path, ...] = (),
    kept_notes: Sequence[str] = (),
) -> CaptureSet:
    """Describe every file, check that they belong together, and group them into levels (`light_levels`).

    Raises
    ------
    PhotonbitsError
        A file cannot be opened or appears twice; shapes, pixel types or bit depths are mixed; what is stated
        contradicts the files.
    """
    described = [shifted(describe_entry(entry), stated.shift_bits) for entry in entries]
    shape = _common_shape(described, stated)
    _common_dtype(described)
    sensor = _common_sensor(described, dict(stated.sensor or {}))
    if source == "emva1288":  # nobody has looked into the headers for it
        described = [_with_header_temperature(entry) for entry in described]
    described, sensor = tell_apart(described, sensor, notes.add)
    levels = _group(described, root, notes)
    bit_depth, bit_depth_source = _bit_depth(described, levels, stated, source, notes)
    for entry in described:
        if "other_images" in info_of(entry).header:
            notes.add("only the first image of a file with several FITS images is used", entry.where)
        if "companded" in info_of(entry).header:
            notes.add(
                "the codes are companded (LinearizationTable): response and noise are those of the codes", entry.where
            )
    return CaptureSet(
        root=root,
        source=source,
        levels=levels,
        shape=shape,
        bit_depth=bit_depth,
        ignored=tuple(ignored),
        sensor=sensor,
        input_files=input_files,
        notes=tuple(dict.fromkeys((*kept_notes, *notes.texts()))),
        bit_depth_source=bit_depth_source,
        gain_scale="iso" if any(entry.gain_scale == "iso" for entry in described) else "gain",
        shift_bits=stated.shift_bits,
    )


def _common_shape(entries: list[Entry], stated: Stated) -> tuple[int, int]:
    first = entries[0]
    shape = stated.shape or info_of(first).shape
    by = "stated" if stated.shape else f"that of {first.where}"
    for entry in entries:
        found = info_of(entry).shape
        if found != shape:
            raise PhotonbitsError(
                f"frame shapes are mixed: {found[0]} x {found[1]} (height x width) here, "
                f"{shape[0]} x {shape[1]} is {by}",
                where=entry.where,
                legal="one shape in one set of captures",
                remedy="Load each frame size (region of interest, binning) on its own",
            )
    return shape


def _common_dtype(entries: list[Entry]) -> None:
    first = entries[0]
    dtype = info_of(first).dtype
    for entry in entries:
        found = info_of(entry).dtype
        if found != dtype:
            raise PhotonbitsError(
                f"pixel types are mixed: {found} here, {dtype} in {first.where}",
                where=entry.where,
                legal="one pixel type in one set of captures",
                remedy="Load each recording format on its own, or record all frames with one bit depth",
            )


def _bit_depth(
    entries: list[Entry], levels: tuple[Level, ...], stated: Stated, source: str, notes: Notes
) -> tuple[int | None, str | None]:
    dtype = np.dtype(info_of(entries[0]).dtype)
    if stated.bit_depth is not None:
        if dtype.kind == "f" or stated.bit_depth > 8 * dtype.itemsize:
            raise PhotonbitsError(
                f"bit_depth {stated.bit_depth} is stated and the pixels are {dtype}",
                where=entries[0].where,
                legal="integer codes in a type of that many bits or more; no bit_depth for real numbers",
                remedy="Correct bit_depth, or save the raw integer codes",
            )
        return stated.bit_depth, "manifest" if source == "manifest" else "descriptor"
    hints: dict[int, str] = {}
    for entry in entries:
        hint = info_of(entry).bit_depth_hint
        if hint is not None:
            hints.setdefault(hint, entry.where)
    if not hints:
        return None, None
    if len(hints) > 1:
        (one, place), (other, other_place) = list(hints.items())[:2]
        raise PhotonbitsError(
            f"bit depths are mixed: {one} in {place}, {other} in {other_place}",
            where=other_place,
            legal="one bit depth in one set of captures",
            remedy="Load each recording format on its own, or state bit_depth in a manifest",
        )
    hint = next(iter(hints))
    if hint < 8 * dtype.itemsize:
        # "12 significant bits" may mean codes to 4095, or codes to 65520 with the low bits empty.
        bright = [level for level in levels if level.kind == "bright"] or list(levels)
        largest = int(read_frame(bright[-1].frames[0]).max())
        if largest >= 2**hint:
            notes.add(
                f"the files state {hint} significant bits but hold codes up to {largest}: left-aligned or "
                "scaled codes (--shift-bits takes empty low bits off); bit_depth is left open",
                "",
            )
            return None, None
    return hint, "files"


def _common_sensor(entries: list[Entry], sensor: dict[str, object]) -> dict[str, object]:
    """Complete `sensor` from headers where all files agree."""
    for key in ("make", "model", "cfa"):
        values = {info_of(entry).header.get(key) for entry in entries}
        if key not in sensor and len(values) == 1 and values != {None}:
            sensor[key] = values.pop()
    return sensor


def _with_header_temperature(entry: Entry) -> Entry:
    value = info_of(entry).header.get("temperature_c")
    return replace(entry, temperature_c=float(value)) if isinstance(value, int | float) else entry


def _group(entries: list[Entry], root: Path, notes: Notes) -> tuple[Level, ...]:
    groups: dict[tuple[object, ...], list[FrameReference]] = {}
    seen: dict[tuple[object, ...], str] = {}
    for entry in entries:
        nothing_known = entry.exposure_s is None and entry.photons_per_pixel is None and entry.level is None
        label = entry.label if nothing_known else None
        setting = (entry.gain_setting, entry.temperature_c, entry.mode)
        key = (entry.kind, entry.exposure_s, entry.photons_per_pixel, *setting, entry.level, label)
        reference = entry.reference
        identity = (reference.path.resolve(), reference.key, reference.offset_bytes)
        n_frames = info_of(entry).n_frames
        for index in entry.indices if entry.indices is not None else range(n_frames):
            if not 0 <= index < n_frames:
                raise PhotonbitsError(
                    f"there is no frame {index} in {reference.path.name}",
                    where=entry.where,
                    legal=f"index 0 to {n_frames - 1}",
                    remedy="Correct index",
                )
            before = seen.get((*identity, index))
            if before is not None:
                raise PhotonbitsError(
                    f"the same frame is listed twice: {reference.path.name} in {before} and again",
                    where=entry.where,
                    legal="each frame once (a frame paired with itself has no noise)",
                    remedy="Remove the second mention",
                )
            seen[(*identity, index)] = entry.where
            groups.setdefault(key, []).append(replace(reference, index=index))
    levels = [
        (
            Level(key[0], key[1], key[2], tuple(frames), key[3], key[4], key[5]),  # type: ignore[arg-type]
            key[2] is None and key[6] is None,
        )
        for key, frames in groups.items()
    ]
    return sort_levels(separate_light(levels, root, notes.add))


def sort_levels(levels: Iterable[Level]) -> tuple[Level, ...]:
    """Return bright levels by rising light (photons, else exposure), then darks by rising exposure."""
    levels = list(levels)
    bright = [level for level in levels if level.kind == "bright"]
    by_photons = all(level.photons_per_pixel is not None for level in bright)

    def light(level: Level) -> tuple[bool, float]:
        value = level.photons_per_pixel if by_photons else level.exposure_s
        return value is None, value or 0.0

    def exposure(level: Level) -> tuple[bool, float]:
        return level.exposure_s is None, level.exposure_s or 0.0

    dark = [level for level in levels if level.kind == "dark"]
    return (*sorted(bright, key=light), *sorted(dark, key=exposure))
