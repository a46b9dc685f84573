"""A `CaptureSet` as a YAML manifest that loads as the same set."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from calibrate.captures.capture_set import CaptureSet, FrameReference, Level
from calibrate.frames import describe_file
from calibrate.plumbing.atomic import write_text_atomically
from calibrate.plumbing.errors import PhotonbitsError


def _relative(path: Path, start: Path) -> str:
    """Return `path` as seen from `start`, with slashes; absolute on another drive."""
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def _n_frames(reference: FrameReference) -> int:
    return describe_file(
        reference.path,
        dtype=reference.dtype,
        shape=reference.shape,
        byte_order=reference.byte_order,
        offset_bytes=reference.offset_bytes,
        key=reference.key,
    ).n_frames


def _layout(reference: FrameReference) -> dict[str, object]:
    values: dict[str, object] = {
        "dtype": reference.dtype,
        "shape": None if reference.shape is None else list(reference.shape),
        "byte_order": reference.byte_order,
        "offset_bytes": reference.offset_bytes or None,
        "key": reference.key,
    }
    return {name: value for name, value in values.items() if value is not None}


def _entries(level: Level, name: int | None, root: Path) -> list[dict[str, object]]:
    entries = []
    for source, group in groupby(level.frames, key=lambda reference: replace(reference, index=0)):
        indices = [reference.index for reference in group]
        # Null, not absent: absent would send the loader to headers and names.
        entry: dict[str, object] = {
            "path": _relative(source.path, root),
            "kind": level.kind,
            "exposure_s": level.exposure_s,
        }
        if level.photons_per_pixel is not None:
            entry["photons_per_pixel"] = level.photons_per_pixel
        if name is not None:
            entry["level"] = name
        if level.gain_setting is not None:
            entry["gain_setting"] = level.gain_setting
        if level.temperature_c is not None:
            entry["temperature_c"] = level.temperature_c
        if level.mode is not None:
            entry["mode"] = level.mode
        if indices != list(range(_n_frames(source))):
            entry["index"] = indices
        entries.append(entry | _layout(source))
    return entries


def manifest_text(captures: CaptureSet, folder: Path) -> str:
    """Return the YAML of a manifest that will lie in `folder`.

    Raises
    ------
    PhotonbitsError
        The captures are a table, which has no frames to list.
    """
    from ruamel.yaml import YAML

    if captures.source == "table":
        raise PhotonbitsError(
            "a table of means and variances has no frames to list",
            where=", ".join(str(path) for path in captures.input_files) or captures.root,
            legal="captures with frames",
            remedy="Use the table itself as CAPTURES",
        )

    def settings(level: Level) -> tuple[object, ...]:
        setting = (level.gain_setting, level.temperature_c, level.mode)
        return level.kind, level.exposure_s, level.photons_per_pixel, *setting

    shared = Counter(settings(level) for level in captures.levels)
    frames: list[dict[str, object]] = []
    for number, level in enumerate(captures.levels, start=1):
        nothing_known = level.exposure_s is None and level.photons_per_pixel is None
        named = shared[settings(level)] > 1 or nothing_known
        frames += _entries(level, number if named else None, captures.root)
    document: dict[str, object] = {}
    root = _relative(captures.root, folder)
    if root != ".":
        document["root"] = root
    sensor = dict(captures.sensor)
    if captures.bit_depth is not None:
        sensor["bit_depth"] = captures.bit_depth
    if captures.shift_bits:
        sensor["shift_bits"] = captures.shift_bits
    if sensor:
        document["sensor"] = sensor
    if captures.notes:
        document["notes"] = list(captures.notes)
    if captures.ignored:
        document["ignored"] = [{"path": item.path, "reason": item.reason} for item in captures.ignored]
    document["frames"] = frames
    yaml = YAML()
    yaml.width = 4096
    yaml.default_flow_style = False
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def write_manifest(captures: CaptureSet, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a YAML manifest that loads as the same captures, apart from their source.

    The file appears complete or not at all. Paths in it are relative to the captures' folder, which is
    written as `root` where the manifest lies elsewhere.

    Raises
    ------
    PhotonbitsError
        The captures are a table; the name does not end in .yaml or .yml; the file exists and `overwrite` is
        False.
    """
    target = Path(path)
    if target.suffix.lower() not in (".yaml", ".yml"):
        raise PhotonbitsError(
            f"a manifest named {target.name}",
            where=target,
            legal="a name that ends in .yaml or .yml",
            remedy="Choose such a name",
        )
    write_text_atomically(target, manifest_text(captures, target.parent), overwrite=overwrite)
