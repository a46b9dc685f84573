"""What file and folder names say: dark or flat, exposure time, gain setting, temperature, read-out mode."""

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
# of a number, so that 1.2.3s says nothing. The decimal sign may be a comma or, where the file system or the habit
# forbids both, the letter p between digits (0p5ms).
_DECIMAL = r"[0-9]+(?:[.,p][0-9]+)?"
_NOT_INSIDE_NUMBER = r"(?<![0-9.])(?<![0-9][,pP])"
_EXPOSURE = re.compile(
    rf"{_NOT_INSIDE_NUMBER}(?P<number>{_DECIMAL}(?:e[-+]?[0-9]{{1,2}})?) ?"
    r"(?P<unit>ns|us|µs|μs|msec|ms|seconds|second|secs|sec|s|min)(?![^\W_])",
    re.IGNORECASE,
)
_GAIN = re.compile(rf"(?<![^\W\d_])(?P<name>gain|iso)[ _=-]?(?P<number>{_DECIMAL})", re.IGNORECASE)
_GAIN_BEFORE = re.compile(r"(?<![^\W\d_])(?:gain|iso)[ _=-]?$", re.IGNORECASE)
# A number stands on its own or after T, temp: cam2C is no temperature.
_TEMPERATURE = re.compile(
    r"(?:(?P<sign>(?<![^\W_])(?:[-−+]|minus[ _]?|m))|(?P<hyphen>(?<=[^\W_])-)"
    r"|(?<![^\W_])(?i:t|temp|temperature)|(?<![^\W_])(?<![0-9][.,]))"
    rf"(?P<number>{_DECIMAL}) ?(?:(?:°|deg) ?)?(?:C|(?i:celsius))(?![^\W_])"
)
_MODE = re.compile(
    r"(?<![^\W\d_])(?:read(?:out)?[ _-]?)?mode(?:[ _=-](?P<word>[a-z0-9]+)|(?P<number>[0-9]+))", re.IGNORECASE
)


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


def kind_of_root(name: str) -> NamedKind | None:
    """Return what the name of the captures' own folder says of all frames in it; None where it names several kinds.

    Examples
    --------
    >>> kind_of_root("darks_2024"), kind_of_root("darks_and_flats")
    ('dark', None)
    """
    words = tokens(name)
    several = sum(bool(words & kind) for kind in (_DARK, _BRIGHT, _BIAS)) > 1
    return None if several and not words & {"darkflat", "darkflats", "flatdark", "flatdarks"} else _kind_of_part(words)


def is_master(path: PurePath) -> bool:
    """Whether the file is called a master frame, that is, an average of frames."""
    return bool(tokens(path.name) & _MASTER)


def exposures_in(text: str) -> tuple[float, ...]:
    """Return the distinct exposure times, seconds, that one name states.

    Examples
    --------
    >>> exposures_in("flat_10ms_001"), exposures_in("1e-3s"), exposures_in("b_000_snap_001")
    ((0.01,), (0.001,), ())
    >>> exposures_in("dark_1,5ms"), exposures_in("dark_0p5ms"), exposures_in("dark,001,5ms")
    ((0.0015,), (0.0005,), (0.005,))
    """
    found = []
    for match in _EXPOSURE.finditer(text):
        unit = match["unit"].lower()
        number = Decimal(_plain_number(match["number"], text, match.start()))
        # Decimal, so that 250us is the same float as 0.00025 in a header.
        seconds = number.scaleb(_DECADES[unit]) if unit in _DECADES else number * _SECONDS[unit]
        found.append(float(seconds))
    return tuple(dict.fromkeys(found))


def _plain_number(number: str, text: str, start: int) -> str:
    """The number with a decimal point; its last part where a comma separates fields and no decimals.

    A comma separates where the name has commas beside anything but digits, after leading zeros (001,5ms), and
    after a gain (gain100,5ms).
    """
    if "," in number:
        whole, _, decimals = number.partition(",")
        numbered = len(whole) > 1 and whole.startswith("0")
        listed = re.search(r"(?<![0-9]),|,(?![0-9])", text) is not None
        if numbered or listed or _GAIN_BEFORE.search(text[:start]):
            return decimals
    return number.replace(",", ".").replace("p", ".").replace("P", ".")


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
        found = dict.fromkeys(_gain_number(match, part) for match in _GAIN.finditer(part))
        if len(found) == 1:
            return f"{float(next(iter(found))):g}"
    return None


def _gain_number(match: re.Match[str], text: str) -> str:
    """Gain 100 of ``gain100,5ms``, where the decimals belong to the exposure; 1.5 of ``gain1,5``."""
    number = match["number"]
    belongs = any(found.start() <= match.start("number") < found.end() for found in _EXPOSURE.finditer(text))
    listed = re.search(r"(?<![0-9]),|,(?![0-9])", text) is not None
    if "," in number and (belongs or listed):
        return number.partition(",")[0]
    return number.replace(",", ".").replace("p", ".").replace("P", ".")


def gain_scale_from_name(path: PurePath) -> str | None:
    """Return ``"iso"`` or ``"gain"``, whatever a name calls the gain setting that it states."""
    for part in reversed(path.parts):
        found = {match["name"].lower() for match in _GAIN.finditer(part)}
        if len(found) == 1:
            return str(found.pop())
    return None


def temperature_from_name(path: PurePath) -> tuple[float | None, bool]:
    """Return (sensor temperature in degrees Celsius or None, whether a name states one that cannot be read).

    ``_-10C``, ``m10C``, ``minus10C``, ``20degC``, ``-9.8°C``. A hyphen right after a letter or digit (``dark-10C``)
    may be a sign or a separator: nothing is guessed.

    Examples
    --------
    >>> temperature_from_name(PurePath("dark_-10.5C_300s")), temperature_from_name(PurePath("dark-10C"))
    ((-10.5, False), (None, True))
    """
    for part in reversed(path.parts):
        found: dict[float, None] = {}
        unclear = False
        for match in _TEMPERATURE.finditer(part):
            if match["hyphen"]:
                unclear = True
                continue
            value = float(_plain_number(match["number"], part, match.start("number")))
            found[-value if match["sign"] and match["sign"] != "+" else value] = None
        if unclear or len(found) > 1:
            return None, True
        if found:
            return next(iter(found)), False
    return None, False


def mode_from_name(path: PurePath) -> str | None:
    """Return the read-out mode that a name states (``mode1``, ``readmode_low``), lower case.

    Examples
    --------
    >>> mode_from_name(PurePath("mode_HCG/flat_1")), mode_from_name(PurePath("model_x"))
    ('hcg', None)
    """
    for part in reversed(path.parts):
        found = dict.fromkeys((match["word"] or match["number"]).lower() for match in _MODE.finditer(part))
        if len(found) == 1:
            return str(next(iter(found)))
    return None


def without_settings(text: str) -> str:
    """Return a name without the exposures, gain settings and temperatures that it states.

    Examples
    --------
    >>> without_settings("flat_50ms_gain100_-10C_lamp3")
    'flat____lamp3'
    """
    for pattern in (_GAIN, _EXPOSURE, _TEMPERATURE):
        text = pattern.sub("", text)
    return text


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
