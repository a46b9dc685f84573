"""FITS keywords as cameras write them, put into our names and units."""

from __future__ import annotations

import math
import re
from typing import Any

_KIND_KEYWORDS = ("IMAGETYP", "IMAGETYPE", "FRAMETYP", "FRAME", "OBSTYPE")
_SERIAL_KEYWORDS = ("SERIALNO", "SERIAL", "CAMSER", "CCDSERNO", "DETSERNO", "CAMERAID")
_LOWEST_C, _HIGHEST_C = -200.0, 100.0
_SECTION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")


def kind_from_words(text: str) -> str | None:
    """Return ``"bright"``, ``"dark"``, ``"bias"`` or ``"scene"`` for a header's frame type, None if unknown.

    Examples
    --------
    >>> [kind_from_words(text) for text in ("Dark Frame", "zero", "Flat Field", "FlatDark", "object", "?")]
    ['dark', 'bias', 'bright', 'dark', 'scene', None]
    """
    words = text.lower()
    if "master" in words:
        return "scene"  # an average of frames: no temporal noise left to measure
    if "dark" in words:
        return "dark"
    if "flat" in words:
        return "bright"
    if any(word in words for word in ("bias", "zero", "offset")):
        return "bias"
    if any(word in words for word in ("light", "object", "science")):
        return "scene"
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _comment(header: Any, keyword: str) -> str:
    return str(header.comments[keyword]).lower()


def _exposure_s(header: Any) -> float | None:
    """EXPTIME, else EXPOSURE; both are seconds, and a card whose comment says otherwise is left alone."""
    for keyword in ("EXPTIME", "EXPOSURE"):
        if keyword in header:
            comment = _comment(header, keyword)
            if re.search(r"\b(ms|msec|milli\w*|us|usec|micro\w*|ns|minutes?)\b|µs", comment):
                continue
            value = _number(header[keyword])
            if value is not None and value >= 0:
                return value
    return None


def fits_metadata(header: Any) -> dict[str, object]:
    """Return the normalised metadata of one FITS header (see `FrameInfo.header`)."""
    found: dict[str, object] = {}
    for keyword in _KIND_KEYWORDS:
        kind = kind_from_words(str(header[keyword])) if keyword in header else None
        if kind is not None:
            found["kind"] = kind
            break
    exposure = _exposure_s(header)
    if exposure is not None:
        found["exposure_s"] = exposure
    for keyword in ("CCD-TEMP", "SET-TEMP"):
        temperature = _number(header.get(keyword))
        # Beyond this range the number is in kelvin or a dead probe: no guess.
        if temperature is not None and _LOWEST_C <= temperature <= _HIGHEST_C:
            found["temperature_c"] = temperature
            break
    model = header.get("INSTRUME")
    if isinstance(model, str) and model.strip():
        found["model"] = model.strip()
    for keyword in _SERIAL_KEYWORDS:
        serial = str(header.get(keyword, "")).strip()
        if serial:
            found["serial"] = serial
            break
    _gain(header, found)
    _mode(header, found)
    _mosaic(header, found)
    _binning(header, found)
    _sections(header, found)
    return found


def _gain(header: Any, found: dict[str, object]) -> None:
    """GAIN is a camera setting in some programs and e-/DN in others: its comment tells them apart."""
    gain = _number(header.get("GAIN"))
    if gain is not None:
        if re.search(r"e-?\s*/|electron|/\s*(adu|dn)\b", _comment(header, "GAIN")):
            found["gain_header_e_per_dn"] = gain
        else:
            found["gain_setting"] = int(gain) if gain == int(gain) else gain
    if "gain_setting" not in found:
        speed = _number(header.get("ISOSPEED"))  # cameras with photographers' sensitivities
        if speed is not None and speed > 0:
            found |= {"gain_setting": int(speed) if speed == int(speed) else speed, "gain_scale": "iso"}
    conversion = _number(header.get("EGAIN"))
    if conversion is not None:
        found["gain_header_e_per_dn"] = conversion


def _mode(header: Any, found: dict[str, object]) -> None:
    """READOUTM or READMODE, a name or a number, in lower case: programs differ in their capitals."""
    for keyword in ("READOUTM", "READMODE"):
        value = header.get(keyword)
        text = "" if value is None or isinstance(value, bool) else str(value).strip().lower()
        if text:
            found["mode"] = text
            return


def _mosaic(header: Any, found: dict[str, object]) -> None:
    """BAYERPAT, when the pattern starts at the first stored pixel."""
    pattern = str(header.get("BAYERPAT", "")).strip().upper()
    shifted = any(_number(header.get(keyword)) not in (None, 0.0) for keyword in ("XBAYROFF", "YBAYROFF"))
    flipped = str(header.get("ROWORDER", "")).strip().upper() == "BOTTOM-UP"
    if pattern in ("RGGB", "GRBG", "GBRG", "BGGR") and not shifted and not flipped:
        found["cfa"] = pattern


def _binning(header: Any, found: dict[str, object]) -> None:
    """XBINNING and YBINNING, else CCDSUM ("2 2"): rows first, as everywhere here."""
    columns, rows = (_number(header.get(keyword)) for keyword in ("XBINNING", "YBINNING"))
    if columns is None or rows is None:
        parts = [_number(part) for part in str(header.get("CCDSUM", "")).split()]
        columns, rows = (parts[0], parts[1]) if len(parts) == 2 else (None, None)
    if columns is not None and rows is not None and columns >= 1 and rows >= 1:
        found["binning"] = (int(rows), int(columns))


def _sections(header: Any, found: dict[str, object]) -> None:
    """Exposed rows and columns of the stored frame: TRIMSEC, else DATASEC, else what BIASSEC leaves on one side.

    Sections are [first column:last column, first row:last row], from 1, both ends included (NOAO conventions).
    """
    for keyword in ("TRIMSEC", "DATASEC"):
        section = _section(header, keyword)
        if section is not None:
            found["exposed"] = section
            return
    bias = _section(header, "BIASSEC")
    height, width = _number(header.get("NAXIS2")), _number(header.get("NAXIS1"))
    if bias is None or height is None or width is None:
        return
    rows, columns = (0, int(height)), (0, int(width))
    top, bottom, left, right = bias
    if (top, bottom) == rows:
        columns = (right, columns[1]) if left == 0 else (0, left) if right == columns[1] else columns
    elif (left, right) == columns:
        rows = (bottom, rows[1]) if top == 0 else (0, top) if bottom == rows[1] else rows
    if rows[0] < rows[1] and columns[0] < columns[1]:
        found["exposed"] = (*rows, *columns)


def _section(header: Any, keyword: str) -> tuple[int, int, int, int] | None:
    """(first row, row after the last, first column, column after the last), from 0; None for what is no section."""
    match = _SECTION.fullmatch(str(header.get(keyword, "")))
    if match is None:
        return None
    left, right, top, bottom = (int(part) for part in match.groups())
    if not 1 <= left <= right or not 1 <= top <= bottom:
        return None
    return top - 1, bottom, left - 1, right


def stated_bit_depth(header: Any) -> int | None:
    """Bits of the converter where the header says so (``BITDEPTH``)."""
    value = _number(header.get("BITDEPTH"))
    return int(value) if value is not None and value == int(value) and 1 <= value <= 16 else None
