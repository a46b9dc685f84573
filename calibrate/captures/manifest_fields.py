"""Which keys a manifest may have, and what each may hold: YAML and CSV alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from calibrate.plumbing.errors import PhotonbitsError

ENTRY_KEYS = (
    "path",
    "kind",
    "exposure_s",
    "photons_per_pixel",
    "level",
    "gain_setting",
    "temperature_c",
    "mode",
    "index",
    "dtype",
    "shape",
    "byte_order",
    "offset_bytes",
    "key",
    "comment",
)
SENSOR_KEYS = ("make", "model", "serial", "mode", "gain_setting", "temperature_c", "bit_depth", "shift_bits", "cfa")
#: Empty low bits that codes may have.
MOST_SHIFT_BITS = 16
RowKind = Literal["bright", "dark", "scene"]
_KINDS: dict[str, RowKind] = {
    "bright": "bright",
    "flat": "bright",
    "dark": "dark",
    "bias": "dark",
    "scene": "scene",
    "light": "scene",
}
_MOSAICS = ("RGGB", "GRBG", "GBRG", "BGGR")


@dataclass(frozen=True)
class Row:
    """One checked manifest entry; the path may still be a pattern."""

    path: str
    kind: RowKind
    is_bias: bool
    exposure_s: float | None
    exposure_is_open: bool
    photons_per_pixel: float | None
    level: str | None
    gain_setting: str | None
    temperature_c: float | None
    mode: str | None
    indices: tuple[int, ...] | None
    dtype: str | None
    shape: tuple[int, int] | None
    byte_order: Literal["little", "big"] | None
    offset_bytes: int
    key: str | None


def _wrong(key: str, value: object, where: str, legal: str) -> PhotonbitsError:
    return PhotonbitsError(f"{key} is {value!r}", where=where, legal=legal, remedy=f"Correct {key} in the manifest")


def check_keys(found: Mapping[Any, Any], legal: tuple[str, ...], where: str) -> None:
    """Refuse unknown keys: a misspelt ``exposure`` would silently lose its column."""
    for key in found:
        if key not in legal:
            raise PhotonbitsError(
                f"unknown key {key!r}", where=where, legal=", ".join(legal), remedy="Correct or remove it"
            )


def _number(row: Mapping[str, Any], key: str, where: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    legal = "a number of 0 and more, without unit" + (" (seconds)" if key == "exposure_s" else "")
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _wrong(key, value, where, legal) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, value, where, legal)
    if not math.isfinite(value) or value < 0:
        raise _wrong(key, value, where, legal)
    return float(value)


def whole_number(value: object, key: str, where: str, lowest: int, highest: int | None = None) -> int:
    """Return an integer from YAML or CSV within its range."""
    legal = f"a whole number of {lowest} and more" if highest is None else f"{lowest} to {highest}"
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise _wrong(key, value, where, legal)
    if highest is not None and value > highest:
        raise _wrong(key, value, where, legal)
    return value


def _shape(value: object, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    legal = "[height, width] or HEIGHTxWIDTH"
    parts: list[object] = list(value) if isinstance(value, list | tuple) else []
    if isinstance(value, str):
        parts = list(re.split(r"[xX× ,]+", value.strip().strip("[]()")))
    if len(parts) != 2:
        raise _wrong("shape", value, where, legal)
    height, width = (whole_number(part, "shape", where, 1) for part in parts)
    return height, width


def _indices(value: object, where: str) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = value.split()
    parts = value if isinstance(value, list) else [value]
    if not parts:
        raise _wrong("index", value, where, "a frame number from 0, or several")
    return tuple(whole_number(part, "index", where, 0) for part in parts)


def _word(row: Mapping[str, Any], key: str, where: str) -> str | None:
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(key, value, where, "a word or a number")
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_row(row: Mapping[str, Any], where: str, *, kind_required: bool = True) -> Row:
    """Return one manifest entry, checked; without a kind it is a scene, where none is required.

    Raises
    ------
    PhotonbitsError
        An unknown key, a missing path or kind, or a value outside its range.
    """
    check_keys(row, ENTRY_KEYS, where)
    path = row.get("path")
    if not isinstance(path, str) or not path.strip():
        raise _wrong("path", path, where, "a path or pattern relative to the manifest")
    word = str(row.get("kind", "" if kind_required else "scene")).strip().lower()
    if word not in _KINDS:
        raise _wrong("kind", row.get("kind"), where, ", ".join(_KINDS))
    photons = _number(row, "photons_per_pixel", where)
    if word in ("dark", "bias") and photons is not None:
        if photons > 0:
            raise _wrong("photons_per_pixel", photons, where, "nothing, or 0, for a dark")
        photons = None  # a dark has no light by definition: one spelling, so that levels compare equal
    byte_order = _word(row, "byte_order", where)
    if byte_order not in (None, "little", "big"):
        raise _wrong("byte_order", byte_order, where, "little or big")
    offset = row.get("offset_bytes")
    gain = _word(row, "gain_setting", where)
    return Row(
        path=path.strip(),
        kind=_KINDS[word],
        is_bias=word == "bias",
        exposure_s=_number(row, "exposure_s", where),
        exposure_is_open="exposure_s" not in row,
        photons_per_pixel=photons,
        level=_word(row, "level", where),
        gain_setting=gain,
        temperature_c=None if row.get("temperature_c") in (None, "") else _temperature(row["temperature_c"], where),
        mode=_word(row, "mode", where),
        indices=_indices(row.get("index"), where),
        dtype=_word(row, "dtype", where),
        shape=_shape(row.get("shape"), where),
        byte_order=byte_order,  # type: ignore[arg-type]
        offset_bytes=0 if offset is None else whole_number(offset, "offset_bytes", where, 0),
        key=_word(row, "key", where),
    )


def parse_sensor(block: Mapping[str, Any], where: str) -> tuple[dict[str, object], int | None, int]:
    """Return (sensor description, bit depth, empty low bits) of a manifest's ``sensor`` block.

    Raises
    ------
    PhotonbitsError
        An unknown key or a value outside its range.
    """
    check_keys(block, SENSOR_KEYS, where)
    sensor: dict[str, object] = {}
    bit_depth: int | None = None
    shift_bits = 0
    for key, value in block.items():
        if value is None or value == "":
            continue
        if key == "bit_depth":
            bit_depth = whole_number(value, key, where, 1, 32)
        elif key == "shift_bits":
            shift_bits = whole_number(value, key, where, 0, MOST_SHIFT_BITS)
        elif key == "temperature_c":
            sensor[key] = _temperature(value, where)
        elif key == "cfa":
            mosaic = str(value).upper()
            if mosaic not in ("MONO", "NONE", *_MOSAICS):
                raise _wrong(key, value, where, ", ".join(_MOSAICS) + ", mono")
            if mosaic in _MOSAICS:
                sensor[key] = mosaic
        elif isinstance(value, dict | list | bool):
            raise _wrong(key, value, where, "a word or a number")
        else:
            sensor[key] = value if key == "gain_setting" else str(value)
    return sensor, bit_depth, shift_bits


def _temperature(value: object, where: str) -> float:
    legal = "-273.15 and more (degrees Celsius)"
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise _wrong("temperature_c", value, where, legal) from None
    if isinstance(value, bool) or not math.isfinite(number) or number < -273.15:
        raise _wrong("temperature_c", value, where, legal)
    return number
