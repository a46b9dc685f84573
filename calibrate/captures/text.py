"""Reading small text files that come from anywhere."""

from __future__ import annotations

from pathlib import Path

from calibrate.plumbing.errors import PhotonbitsError


def read_text(path: Path) -> str:
    """Return a text file's content, UTF-8 or else Windows-1252, with line feeds alone."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PhotonbitsError(
            f"the file cannot be opened: {error.strerror or error}",
            where=path,
            legal="a readable text file",
            remedy="Check the path and the rights",
        ) from error
    if b"\0" in data:
        raise PhotonbitsError(
            "this is a binary file",
            where=path,
            legal="a folder, a manifest (.yaml, .csv), an EMVA 1288 descriptor or a text table",
            remedy="Name the folder that holds the frames",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
