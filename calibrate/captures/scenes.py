"""Frames of scenes: files with what their headers, names or a manifest say, before a pixel is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from calibrate.captures.assemble import Entry, Notes, describe_entry, info_of, shifted
from calibrate.captures.capture_set import FrameReference
from calibrate.captures.from_files import complete
from calibrate.captures.locate import require_files
from calibrate.captures.manifest import entries_of_row, name_within, read_manifest
from calibrate.frames import FrameInfo
from calibrate.plumbing.errors import PhotonbitsError


@dataclass(frozen=True)
class SceneFile:
    """A file of scene frames.

    Parameters
    ----------
    reference : FrameReference
        Its first frame.
    info : FrameInfo
    pages : tuple of int
        Frames of it that are meant.
    label : str
        Folder and name without its running number: frames that were shot together.
    exposure_s, temperature_c : float or None
    gain_setting, mode, make, model, serial, cfa : str or None
        What manifest, header or name say, in this order; None where nobody does.
    """

    reference: FrameReference
    info: FrameInfo
    pages: tuple[int, ...]
    label: str = ""
    exposure_s: float | None = None
    temperature_c: float | None = None
    gain_setting: str | None = None
    mode: str | None = None
    make: str | None = None
    model: str | None = None
    serial: str | None = None
    cfa: str | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.reference.path


def describe_scene(reference: FrameReference, root: Path) -> SceneFile:
    """What header and name say about a file of scenes; names are read relative to ``root``, a folder.

    Raises
    ------
    PhotonbitsError
        If the file is missing, damaged or no raw frame.
    """
    entry = Entry(reference, "bright", str(reference.path))
    return _scene(entry, name_within(reference.path, root), {}, None, look_for_exposure=True)


def load_scenes(path: Path) -> tuple[SceneFile, ...]:
    """The scenes that a manifest lists: entries of kind ``scene`` (or ``light``), or without a kind.

    Raises
    ------
    PhotonbitsError
        If the manifest cannot be read, a file is missing, or no entry is a scene.
    """
    content = read_manifest(path, kind_required=False)
    root = Path(os.path.normpath(path.parent / content.root))
    rows = [(row, where) for row, where in content.rows if row.kind == "scene"]
    if not rows:
        raise PhotonbitsError(
            f"the manifest lists {len(content.rows)} dark or flat frames and no scene",
            where=path,
            legal="entries of kind scene, or without a kind",
            remedy="List the frames to score; darks and flats are for calibrate fit",
        )
    listed = [(entry, row) for row, where in rows for entry in entries_of_row(row, root, where)]
    require_files([(entry.reference.path, entry.where) for entry, _ in listed], path)
    return tuple(
        _scene(
            shifted(entry, content.shift_bits),
            name_within(entry.reference.path, root),
            content.sensor,
            row.level,
            look_for_exposure=row.exposure_is_open,
        )
        for entry, row in listed
    )


def _scene(
    entry: Entry, name: PurePath, sensor: dict[str, object], label: str | None, *, look_for_exposure: bool
) -> SceneFile:
    entry = complete(describe_entry(entry), name, Notes(), look_for_exposure=look_for_exposure, stated=sensor)
    info = info_of(entry)

    def word(key: str, own: object = None) -> str | None:
        value = next((found for found in (own, sensor.get(key), info.header.get(key)) if found is not None), None)
        return f"{value:g}" if isinstance(value, float) else None if value is None else str(value)

    temperature = entry.temperature_c if entry.temperature_c is not None else sensor.get("temperature_c")
    indices = entry.indices if entry.indices is not None else tuple(range(info.n_frames))
    bad = [index for index in indices if not 0 <= index < info.n_frames]
    if bad:
        raise PhotonbitsError(
            f"there is no frame {bad[0]} in {entry.reference.path.name}",
            where=entry.where,
            legal=f"index 0 to {info.n_frames - 1}",
            remedy="Correct index",
        )
    return SceneFile(
        reference=entry.reference,
        info=info,
        pages=indices,
        label=label if label is not None else entry.label,
        exposure_s=entry.exposure_s,
        temperature_c=float(temperature) if isinstance(temperature, int | float) else None,
        gain_setting=word("gain_setting", entry.gain_setting),
        mode=word("mode", entry.mode),
        make=word("make"),
        model=word("model"),
        serial=word("serial"),
        cfa=word("cfa"),
    )
