"""Repeated frames of still scenes, and darks: captures for a fit without flats."""

from __future__ import annotations

from pathlib import Path

from calibrate.captures.capture_set import CaptureSet
from calibrate.captures.folder import load_folder
from calibrate.captures.manifest import load_manifest
from calibrate.plumbing.errors import PhotonbitsError

_MANIFESTS = ("manifest.yaml", "manifest.yml", "manifest.csv")


def load_bursts(path: str | Path, *, shift_bits: int | None = None) -> CaptureSet:
    """Captures whose bright levels are bursts: frames of one scene.

    In a folder every image that is not dark belongs to a burst: frames in one folder with one name up to a running
    number, or the pages of a stack. In a manifest entries of kind ``scene`` and ``flat`` are bursts, told apart by
    ``level``, else in the same way. Flats are still scenes, too. ``shift_bits`` as for `calibrate.load_captures`.

    Raises
    ------
    PhotonbitsError
        As `calibrate.load_captures`.
    """
    path = Path(path)
    if path.suffix.lower() in (".yaml", ".yml", ".csv") and path.is_file():
        return load_manifest(path, scenes=True, shift_bits=shift_bits)
    if not path.is_dir():
        raise PhotonbitsError(
            "no such folder or manifest",
            where=path,
            legal="a folder of repeated frames and darks, or a manifest (.yaml, .csv) that lists them",
            remedy="Check the path",
        )
    manifests = [path / name for name in _MANIFESTS if (path / name).is_file()]
    if len(manifests) == 1:
        return load_manifest(manifests[0], scenes=True, shift_bits=shift_bits)
    return load_folder(path, scenes=True, shift_bits=shift_bits or 0)
