"""What file and folder names say: dark or flat, exposure time, gain setting."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import PurePath
from typing import Literal

NamedKind = Literal["bright", "dark", "bias"]

_DARK = {"dark", "darks", "darkframe", "darkframes", "darkflat", "darkflats", "flatdark", "flatdarks"}
_BRIGHT = {"flat", "flats", "flatfield", "flatfields", "flatframe", "flatframes", "bright", "brights"}
_BIAS = {"bias", "biases", "biasframe", "biasframes", "zero", "zeros", "offset", "offsets"}
_SCENE = {"light", "lights", "scene", "scenes"}
_MASTER = {"master", "masters"}
_SETTING = {"gain", "iso"}
_DIGITS = "0123456789"

_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORD = re.compile(r"[^\W\d_]+")

_DECADES = {"ns": -9, "us": -6, "µs": -6, "μs": -6, "ms": -3, "msec": -3}
_SECONDS = {"s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "min": 60}
# The unit may follow at once or after a blank; what comes before may be a letter (exp10ms) but not the rest
# of a number, so that 1.2.3s says nothing.
_EXPOSURE = re.compile(
    r"(?<![0-9.])(?P<number>[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]{1,2})?) ?"
    r"(?P<unit>ns|us|µs|μs|msec|ms|seconds|second|secs|sec|s|min)(?![^\W_])",
    re.IGNORECASE,
)
_GAIN = re.compile(r"(?<![^\W\d_])(?P<name>gain|iso)[ _=-]?(?P<number>[0-9]+(?:\.[0-9]+)?)", re.IGNORECASE)


def tokens(name: str) -> set[str]:
    """Return the words of a name in lower case, cut at digits, separators and inner capitals.

    Examples
    --------
    >>> sorted(tokens("FlatField-12_10ms"))
    ['field', 'flat', 'flatfield', 'ms']
    """
    words = set(_CAMEL.findall(name)) | set(_WORD.findall(name))
    return {word.lower() for word in words}


def _kind_of_part(words: set[str]) -> NamedKind | None:
    if words & _DARK:  # "flat dark" is a dark with the exposure of a flat
        return "dark"
    if words & _BRIGHT:
        return "bright"
    # "light_gain100_offset50": there the offset is a setting of the camera, not the kind of frame.
    if words & _BIAS and not words & (_SCENE | _SETTING):
        return "bias"
    return None


def kind_from_name(path: PurePath) -> NamedKind | None:
    """Return what a relative path says about the frame; the file name speaks first, then the nearest folder.

    Examples
    --------
    >>> kind_from_name(PurePath("darks/10ms_001.png")), kind_from_name(PurePath("flats/light_001.fits"))
    ('dark', 'bright')
    >>> kind_from_name(PurePath("light_001.png")) is None
    True
    """
    for part in reversed(path.parts):
        kind = _kind_of_part(tokens(part))
        if kind is not None:
            return kind
    return None


def is_master(path: PurePath) -> bool:
    """Whether the file is called a master frame, that is, an average of frames."""
    return bool(tokens(path.name) & _MASTER)


def exposures_in(text: str) -> tuple[float, ...]:
    """Return the distinct exposure times, seconds, that one name states.

    Examples
    --------
    >>> exposures_in("flat_10ms_001"), exposures_in("1e-3s"), exposures_in("b_000_snap_001")
    ((0.01,), (0.001,), ())
    """
    found = []
    for match in _EXPOSURE.finditer(text):
        unit = match["unit"].lower()
        number = Decimal(match["number"])
        # Decimal, so that 250us is the same float as 0.00025 in a header.
        seconds = number.scaleb(_DECADES[unit]) if unit in _DECADES else number * _SECONDS[unit]
        found.append(float(seconds))
    return tuple(dict.fromkeys(found))


def exposure_from_name(path: PurePath) -> tuple[float | None, bool]:
    """Return (exposure in seconds or None, whether a name states several different ones).

    `path` is relative and without its image suffix; the file name speaks first, then the nearest folder.
    """
    for part in reversed(path.parts):
        found = exposures_in(part)
        if len(found) == 1:
            return found[0], False
        if found:
            return None, True
    return None, False


def gain_from_name(path: PurePath) -> str | None:
    """Return the camera's gain setting that a name states (``gain120``, ``ISO 800``), as text."""
    for part in reversed(path.parts):
        found = dict.fromkeys(match["number"] for match in _GAIN.finditer(part))
        if len(found) == 1:
            return f"{float(next(iter(found))):g}"
    return None


def natural_key(path: PurePath) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts frame 2 before frame 10.

    Examples
    --------
    >>> names = [PurePath(name) for name in ("a10", "a9", "B1")]
    >>> [path.name for path in sorted(names, key=natural_key)]
    ['a9', 'a10', 'B1']
    """
    pieces: list[tuple[int, int, str]] = []
    for part in path.parts:
        for piece in re.findall(r"[0-9]+|[^0-9]+", part):
            pieces.append((0, int(piece), piece) if piece[0] in _DIGITS else (1, 0, piece.lower()))
        pieces.append((-1, 0, ""))  # a folder ends before its name goes on
    return (*pieces, (2, 0, str(path)))


def stem_without_number(stem: str) -> str:
    """Return a file stem without its running number: ``level_a_012`` gives ``level_a``."""
    return re.sub(r"[\s_.\-(\[#]*[0-9]+[)\]]?$", "", stem)
