"""Manifests, YAML or CSV: frames listed by people or programs, with what the files cannot say."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from calibrate.captures.assemble import Entry, Notes, Stated, assemble, describe_entry
from calibrate.captures.capture_set import CaptureSet, FrameKind, FrameReference, IgnoredFile
from calibrate.captures.from_files import complete, note_unknown_exposures
from calibrate.captures.locate import expand, require_files
from calibrate.captures.manifest_fields import (
    ENTRY_KEYS,
    SENSOR_KEYS,
    Row,
    check_keys,
    parse_row,
    parse_sensor,
)
from calibrate.captures.text import read_text
from calibrate.plumbing.errors import PhotonbitsError

TOP_KEYS = ("sensor", "frames", "root", "notes", "ignored")
SCENE = "a scene, for mi-eval score"
_REMEDY = "Give `frames`, a list of entries with path and kind"


@dataclass
class ManifestContent:
    """What both spellings come down to."""

    rows: list[tuple[Row, str]]
    sensor: dict[str, object] = field(default_factory=dict)
    bit_depth: int | None = None
    shift_bits: int = 0
    root: Path = Path()
    notes: tuple[str, ...] = ()
    ignored: tuple[IgnoredFile, ...] = ()


def _yaml_document(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(read_text(path))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise PhotonbitsError(
            f"the manifest is no YAML: {problem}",
            where=place,
            legal="YAML 1.2",
            remedy="Correct the indentation, quotes or doubled keys there",
        ) from error
    if not isinstance(document, dict):
        raise PhotonbitsError("the manifest has no keys", where=path, legal=", ".join(TOP_KEYS), remedy=_REMEDY)
    if "schema" in document:
        raise PhotonbitsError(
            f"this is a file of schema {document['schema']!r}, not a manifest",
            where=path,
            legal="a manifest with `frames`",
            remedy="Name the captures here, not the noise model that was fitted to them",
        )
    return document


def _read_yaml(path: Path, kind_required: bool) -> ManifestContent:
    document = _yaml_document(path)
    check_keys(document, TOP_KEYS, str(path))
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise PhotonbitsError("the manifest lists no frames", where=path, legal="at least one entry", remedy=_REMEDY)
    rows = []
    for number, row in enumerate(frames, start=1):
        where = f"{path.name}, entry {number}"
        if not isinstance(row, dict):
            raise PhotonbitsError(f"the entry is {row!r}", where=where, legal="keys and values", remedy=_REMEDY)
        rows.append((parse_row(row, where, kind_required=kind_required), where))
    block = document.get("sensor") or {}
    if not isinstance(block, dict):
        raise PhotonbitsError(
            f"sensor is {block!r}", where=path, legal=", ".join(SENSOR_KEYS), remedy="Give keys and values"
        )
    sensor, bit_depth, shift_bits = parse_sensor(block, f"{path}, sensor")
    content = ManifestContent(rows, sensor, bit_depth, shift_bits)
    root = document.get("root")
    if root is not None:
        content.root = Path(str(root))
    content.notes = tuple(str(note) for note in document.get("notes") or ())
    content.ignored = tuple(
        IgnoredFile(str(item.get("path")), str(item.get("reason")))
        for item in document.get("ignored") or ()
        if isinstance(item, dict)
    )
    return content


def _read_csv(path: Path, kind_required: bool) -> ManifestContent:
    block: dict[str, Any] = {}
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.lstrip().startswith("#"):
            match = re.match(r"\s*#\s*(\w+)\s*:\s*(.*?)\s*$", line)
            if match and match[1] in SENSOR_KEYS:
                block[match[1]] = match[2].strip("\"'")
        elif line.strip(" ,;\t"):
            lines.append((number, line))
    if len(lines) < 2:
        raise PhotonbitsError(
            "the manifest lists no frames",
            where=path,
            legal="a heading line and one line a frame",
            remedy="Give columns path, kind, exposure_s",
        )
    heading = lines[0][1]
    delimiter = max(",;\t", key=heading.count)
    columns = [name.strip() for name in next(csv.reader([heading], delimiter=delimiter))]
    check_keys(dict.fromkeys(columns), ENTRY_KEYS, f"{path.name}, heading")
    rows = []
    for number, line in lines[1:]:
        where = f"{path.name}, line {number}"
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        if len(cells) > len(columns):
            raise PhotonbitsError(
                f"{len(cells)} cells for {len(columns)} columns",
                where=where,
                legal=delimiter.join(columns),
                remedy="Quote a path that holds the separator",
            )
        row = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
        rows.append((parse_row(row, where, kind_required=kind_required), where))
    if block.get("bit_depth", "").lower() in ("none", "null"):
        del block["bit_depth"]
    sensor, bit_depth, shift_bits = parse_sensor(block, f"{path}, comments")
    gain = sensor.get("gain_setting")
    if isinstance(gain, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", gain):
        sensor["gain_setting"] = float(gain) if "." in gain else int(gain)
    return ManifestContent(rows, sensor, bit_depth, shift_bits)


def read_manifest(path: Path, *, kind_required: bool = True) -> ManifestContent:
    """The checked rows of a YAML or CSV manifest, and what it says of all frames.

    Raises
    ------
    PhotonbitsError
        A key or value is not understood, or no frame is listed.
    """
    return (_read_csv if path.suffix.lower() == ".csv" else _read_yaml)(path, kind_required)


def entries_of_row(row: Row, root: Path, where: str) -> list[Entry]:
    """One entry for each file that the row names; scenes count as bright."""
    kind: FrameKind = "dark" if row.kind == "dark" else "bright"
    return [
        Entry(
            FrameReference(
                path=path,
                dtype=row.dtype,
                shape=row.shape,
                byte_order=row.byte_order,
                offset_bytes=row.offset_bytes,
                key=row.key,
            ),
            kind,
            where if path.name in row.path else f"{where}, {path.name}",
            row.exposure_s,
            row.photons_per_pixel,
            level=row.level,
            indices=row.indices,
            gain_setting=row.gain_setting,
            temperature_c=row.temperature_c,
            mode=row.mode,
        )
        for path in expand(root, row.path, where)
    ]


def name_within(path: Path, root: Path) -> PurePath:
    """The path relative to ``root``, else its last part alone."""
    try:
        return path.relative_to(root)
    except ValueError:
        return PurePath(path.name)


def load_manifest(
    path: Path, notes: Notes | None = None, *, scenes: bool = False, shift_bits: int | None = None
) -> CaptureSet:
    """Return the captures that a YAML or CSV manifest lists.

    What an entry leaves open (exposure, gain setting, temperature, mode) is looked up in the file's header and name;
    ``exposure_s: null`` says that it is not known. Frames are grouped by kind, exposure, photons and `level`. Scenes
    are left out, or with ``scenes`` a bright level each (`bursts.load_bursts`).
    ``shift_bits`` wins over the manifest's.

    Raises
    ------
    PhotonbitsError
        A key or value is not understood, a file is missing, or the frames do not belong together.
    """
    notes = notes or Notes()
    content = read_manifest(path)
    root = Path(os.path.normpath(path.parent / content.root))
    rows = [(row, where) for row, where in content.rows if scenes or row.kind != "scene"]
    unused = [IgnoredFile(row.path, SCENE) for row, _ in content.rows if row.kind == "scene" and not scenes]
    if not rows:
        raise PhotonbitsError(
            "the manifest lists scenes only",
            where=path,
            legal="entries of kind dark and flat",
            remedy="List darks and flats",
        )
    listed = [(entry, row) for row, where in rows for entry in entries_of_row(row, root, where)]
    require_files([(entry.reference.path, entry.where) for entry, _ in listed], path)
    entries = []
    for entry, row in listed:
        done = complete(
            describe_entry(entry),
            name_within(entry.reference.path, root),
            notes,
            look_for_exposure=row.exposure_is_open,
            stated=content.sensor,
        )
        if row.is_bias and row.exposure_is_open and done.exposure_s is None:
            done = replace(done, exposure_s=0.0)
        if scenes and done.kind == "bright" and done.level is None:
            done = replace(done, level=done.label)
        entries.append(done)
    note_unknown_exposures(entries, notes)
    return assemble(
        entries,
        root=root,
        source="manifest",
        stated=Stated(
            content.bit_depth, None, content.sensor, content.shift_bits if shift_bits is None else shift_bits
        ),
        notes=notes,
        ignored=(*content.ignored, *unused),
        input_files=(path,),
        kept_notes=content.notes,
    )
