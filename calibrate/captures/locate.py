"""Paths as manifests and descriptors write them."""

from __future__ import annotations

import os
from pathlib import Path

from calibrate.captures.names import natural_key
from calibrate.plumbing.errors import PhotonbitsError


def locate(root: Path, text: str) -> Path:
    """Return the path that `text` names relative to `root`; back-slashes separate too (from Windows)."""
    return Path(os.path.normpath(root / text.replace("\\", "/")))


def expand(root: Path, text: str, where: str) -> list[Path]:
    """Return the files that a path or glob pattern names, in natural order.

    Raises
    ------
    PhotonbitsError
        A pattern matches nothing.
    """
    path = locate(root, text)
    if path.exists() or not any(sign in text for sign in "*?["):
        return [path]
    base = Path(path.anchor) if path.is_absolute() else Path()
    pattern = path.relative_to(base).as_posix() if path.is_absolute() else path.as_posix()
    try:
        found = sorted((hit for hit in base.glob(pattern) if hit.is_file()), key=natural_key)
    except (ValueError, NotImplementedError, OSError) as error:
        raise PhotonbitsError(
            f"the pattern {text!r} cannot be used: {error}",
            where=where,
            legal="*, ? and [abc]",
            remedy="Correct the pattern",
        ) from error
    if not found:
        raise PhotonbitsError(
            f"no file matches {text!r}",
            where=where,
            legal="a path or pattern relative to the manifest",
            remedy="Check the folder and the pattern",
        )
    return found


def require_files(listed: list[tuple[Path, str]], source: Path) -> None:
    """Refuse a list that names files that do not exist, all of them at once."""
    missing = [(path, where) for path, where in listed if not path.is_file()]
    if missing:
        path, where = missing[0]
        raise PhotonbitsError(
            f"{len(missing)} of {len(listed)} listed files do not exist, first {path} ({where})",
            where=source,
            legal="paths relative to this file",
            remedy="Copy the missing files there, or correct the paths",
        )
