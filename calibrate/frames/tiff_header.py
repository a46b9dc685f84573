"""What the tags of a TIFF or DNG say about a frame."""

from __future__ import annotations

import math
from typing import Any

from calibrate.sections import MOSAICS

#: Tags by number: a search by name goes through all of a page's tags.
_MAKE, _MODEL = 271, 272  # TIFF 6.0
_CFA_SIZE, _CFA_PATTERN = 33421, 33422  # TIFF/EP
_EXPOSURE_TIME, _EXIF, _ISO_SPEED = 33434, 34665, 34855  # EXIF 2.32
_CAMERA_SERIAL, _ACTIVE_AREA = 50735, 50829  # DNG 1.7
_LINEARIZATION, _BLACK_LEVEL, _WHITE_LEVEL = 50712, 50714, 50717  # DNG 1.7
_RATIONAL, _SIGNED_RATIONAL = 5, 10


def tiff_metadata(page: Any, first: Any) -> dict[str, object]:
    """Normalised metadata of a page (see `FrameInfo`); the file's first page speaks where the page itself is silent.

    A DNG says make, model, serial number and EXIF in its first directory, and what concerns the raw image in that
    image's own.
    """

    def tag(name: int) -> Any:
        value = page.tags.valueof(name)
        return first.tags.valueof(name) if value is None else value

    header: dict[str, object] = {}
    for key, name in (("make", _MAKE), ("model", _MODEL)):
        value = tag(name)
        if isinstance(value, str) and value.strip():
            header[key] = value.strip()
    # The one exposure in TIFF that a standard defines, in seconds: EXIF 2.32, tag 33434.
    exif = tag(_EXIF)
    exposure = exif.get("ExposureTime") if isinstance(exif, dict) else tag(_EXPOSURE_TIME)
    if isinstance(exposure, tuple) and len(exposure) == 2 and exposure[1] and exposure[0] >= 0:
        header["exposure_s"] = exposure[0] / exposure[1]
    # Photographic sensitivity, EXIF 2.32, tag 34855.
    speed = exif.get("ISOSpeedRatings") if isinstance(exif, dict) else tag(_ISO_SPEED)
    speed = speed[0] if isinstance(speed, tuple) and speed else speed
    if isinstance(speed, int) and speed > 0:
        header |= {"gain_setting": speed, "gain_scale": "iso"}
    mosaic = _mosaic(page)
    if mosaic is not None:
        header["cfa"] = mosaic
    # DNG 1.7, tags 50735 and 50829; EXIF 2.32, tag 42033.
    serial = tag(_CAMERA_SERIAL)
    serial = exif.get("BodySerialNumber") if serial is None and isinstance(exif, dict) else serial
    if isinstance(serial, str) and serial.strip():
        header["serial"] = serial.strip()
    area = page.tags.valueof(_ACTIVE_AREA)
    if isinstance(area, tuple) and len(area) == 4 and area[0] < area[2] and area[1] < area[3]:
        top, left, bottom, right = (int(place) for place in area)
        if (top, bottom, left, right) != (0, page.shape[0], 0, page.shape[1]):
            header["exposed"] = (top, bottom, left, right)
    header |= _levels(page)
    return header


def _levels(page: Any) -> dict[str, object]:
    """Black and white level as a DNG states them, DN, and whether a table companded the codes (tags 50712 to 50717)."""
    found: dict[str, object] = {}
    for key, name in (("black_level_dn", _BLACK_LEVEL), ("white_level_dn", _WHITE_LEVEL)):
        entry = page.tags.get(name)
        if entry is None:
            continue
        values = entry.value if isinstance(entry.value, tuple) else (entry.value,)
        if int(entry.dtype) in (_RATIONAL, _SIGNED_RATIONAL):
            values = tuple(a / b if b else math.nan for a, b in zip(values[::2], values[1::2], strict=False))
        if values and all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            found[key] = tuple(float(value) for value in values)
    if page.tags.get(_LINEARIZATION) is not None:
        found["companded"] = True
    return found


def _mosaic(page: Any) -> str | None:
    """Colours of the first four stored pixels: TIFF/EP tags 33421 and 33422, as DNG has them too.

    DNG counts the pattern from the corner of its ActiveArea (tag 50829), which need not be the first stored pixel.
    """
    size, codes = page.tags.valueof(_CFA_SIZE), page.tags.valueof(_CFA_PATTERN)
    try:
        colours = [{0: "R", 1: "G", 2: "B"}[code] for code in bytes(codes)]
        height, width = (int(number) for number in size)
    except (TypeError, ValueError, KeyError):
        return None
    area = page.tags.valueof(_ACTIVE_AREA)
    top, left = (int(area[0]), int(area[1])) if isinstance(area, tuple) and len(area) == 4 else (0, 0)
    if (height, width) != (2, 2) or len(colours) != 4:
        return None
    shifted = "".join(colours[2 * ((row - top) % 2) + (column - left) % 2] for row in (0, 1) for column in (0, 1))
    return shifted if shifted in MOSAICS else None
