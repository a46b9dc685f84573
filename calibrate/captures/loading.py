"""The one door: whatever CAPTURES is, it becomes a `CaptureSet`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from calibrate.captures.assemble import Notes
from calibrate.captures.capture_set import CaptureSet
from calibrate.captures.emva_descriptor import load_descriptor, looks_like_descriptor
from calibrate.captures.folder import load_folder
from calibrate.captures.manifest import load_manifest
from calibrate.captures.manifest_fields import MOST_SHIFT_BITS
from calibrate.captures.table import load_table
from calibrate.captures.text import read_text
from calibrate.frames import camera_raw_error, reader_by_suffix
from calibrate.plumbing.errors import PhotonbitsError

_LEGAL = "a folder, a manifest (.yaml, .yml, .csv), an EMVA 1288 descriptor or a text table"
_MANIFESTS = ("manifest.csv", "manifest.yaml", "manifest.yml")


def load_captures(path: str | Path, *, shift_bits: int | None = None) -> CaptureSet:
    """Return what was shot, from headers and names.

    Pixels are decoded only to check a header's bit depth, and to see whether four flats or more of one exposure were
    shot under several lamp levels.

    Parameters
    ----------
    path : str or Path
        A folder of frames; a manifest (YAML or CSV); an EMVA 1288 descriptor; a text table ``mean_dn
        variance_dn2 [exposure_s]``. A folder with one manifest.csv or manifest.yaml is read through it, and
        one with one EMVA descriptor and no images beside it through that.
    shift_bits : int, optional
        Empty low bits of left-aligned codes, 0 to 16, taken off whenever a frame is read. Default: what the manifest
        says, else 0.

    Raises
    ------
    PhotonbitsError
        The path does not exist or holds no captures; a file is damaged; frames do not belong together.
    """
    path = Path(path)
    if shift_bits is not None and not 0 <= shift_bits <= MOST_SHIFT_BITS:
        raise PhotonbitsError(f"shift_bits is {shift_bits}", legal=f"0 to {MOST_SHIFT_BITS}")
    try:
        if path.is_dir():
            return _load_folder(path, shift_bits)
        exists = path.is_file()
    except OSError as error:
        raise PhotonbitsError(
            f"the path cannot be used: {error}", where=path, legal=_LEGAL, remedy="Check the path"
        ) from error
    if not exists:
        raise PhotonbitsError("no such file or folder", where=path, legal=_LEGAL, remedy="Check the path")
    if reader_by_suffix(path) is not None:
        raise PhotonbitsError(
            "one image file is no set of captures",
            where=path,
            legal=_LEGAL,
            remedy="Name the folder, or list the file in a manifest that says which frames are dark or flat",
        )
    camera_raw = camera_raw_error(path)
    if camera_raw is not None:
        raise camera_raw
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return load_manifest(path, shift_bits=shift_bits)
    text = read_text(path)
    if suffix == ".csv" and _has_path_column(text):
        return load_manifest(path, shift_bits=shift_bits)
    if looks_like_descriptor(text):
        return load_descriptor(path, text, shift_bits=shift_bits or 0)
    if shift_bits:
        raise PhotonbitsError(
            f"shift_bits is {shift_bits} for a table, which has no codes", where=path, legal="captures with frames"
        )
    return load_table(path, text)


def _has_path_column(text: str) -> bool:
    """Whether the heading of a CSV names paths, so that it is a manifest and no table."""
    for line in text.split("\n"):
        if line.strip() and not line.lstrip().startswith("#"):
            names = line.replace(";", ",").replace("\t", ",").split(",")
            return any(name.strip().strip('"').lower() in ("path", "kind") for name in names)
    return True


def _load_folder(folder: Path, shift_bits: int | None) -> CaptureSet:
    manifests = [folder / name for name in _MANIFESTS if (folder / name).is_file()]
    if len(manifests) > 1:
        raise PhotonbitsError(
            "the folder holds several manifests: " + ", ".join(file.name for file in manifests),
            where=folder,
            legal="one manifest, or none",
            remedy="Name the one that is meant instead of the folder",
        )
    if manifests:
        return _through(manifests[0], load_manifest(manifests[0], shift_bits=shift_bits))
    descriptor = _only_descriptor(folder)
    if descriptor is not None:
        return _through(descriptor, load_descriptor(descriptor, shift_bits=shift_bits or 0))
    return load_folder(folder, shift_bits=shift_bits or 0)


def _through(file: Path, captures: CaptureSet) -> CaptureSet:
    notes = Notes()
    notes.add(f"{file.name} in the folder says which frames are used", "")
    return replace(captures, notes=(*notes.texts(), *captures.notes))


def _only_descriptor(folder: Path) -> Path | None:
    """Return the folder's EMVA descriptor when it is the only one and no image lies beside it."""
    try:
        files = [child for child in folder.iterdir() if child.is_file() and not child.name.startswith(".")]
    except OSError:
        return None  # load_folder says what is wrong
    if any(reader_by_suffix(file) is not None for file in files):
        return None
    texts = [file for file in files if file.suffix.lower() == ".txt"]
    found = [file for file in texts if _is_descriptor(file)]
    return found[0] if len(found) == 1 else None


def _is_descriptor(file: Path) -> bool:
    try:
        return looks_like_descriptor(read_text(file))
    except PhotonbitsError:
        return False
