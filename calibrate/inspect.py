"""What `calibrate inspect` says: which frames were found, how they were understood, what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibrate.captures import CaptureSet

_DEPTHS = (8, 10, 12, 14, 16)
_LEVELS_READ = 3


def inspect_captures(path: str | Path) -> dict[str, Any]:
    """Return what CAPTURES holds, ready for JSON.

    Parameters
    ----------
    path : str or Path
        As for `calibrate.load_captures`.

    Returns
    -------
    dict
        ``frames`` (their number), ``levels`` ({kind, exposure_s, photons_per_pixel, n_frames}), ``shape``
        ([height, width] or None), ``bit_depth``, ``ignored`` ({path, reason}); also ``source``, ``notes``,
        ``sensor``, ``points`` (lines of a table) and ``bit_depth_source``: ``"manifest"``, ``"descriptor"``,
        ``"files"``, ``"largest code seen"`` (a suggestion: the smallest usual depth that holds it) or None; and
        ``shift_bits``, the empty low bits that are taken off every code.

    Raises
    ------
    PhotonbitsError
        As `calibrate.load_captures`.
    """
    from calibrate.captures import load_captures

    return describe_captures(load_captures(path))


def describe_captures(captures: CaptureSet) -> dict[str, Any]:
    """Return what a capture set holds (see `inspect_captures`); the first frames of a few levels are read."""
    bit_depth, bit_depth_source, code_notes = _bit_depth(captures)
    return {
        "frames": sum(level.n_frames for level in captures.levels),
        "levels": [_level(level) for level in captures.levels],
        "shape": None if captures.shape is None else list(captures.shape),
        "bit_depth": bit_depth,
        "bit_depth_source": bit_depth_source,
        "shift_bits": captures.shift_bits,
        "ignored": [{"path": item.path, "reason": item.reason} for item in captures.ignored],
        "source": captures.source,
        "notes": [*captures.notes, *code_notes],
        "sensor": dict(captures.sensor),
        "points": len(captures.points),
    }


def _level(level: Any) -> dict[str, Any]:
    described = {
        "kind": level.kind,
        "exposure_s": level.exposure_s,
        "photons_per_pixel": level.photons_per_pixel,
        "n_frames": level.n_frames,
    }
    if level.gain_setting is not None:
        described["gain_setting"] = level.gain_setting
    return described


def _bit_depth(captures: CaptureSet) -> tuple[int | None, str | None, list[str]]:
    """Return (bit depth, its source, notes) from the codes of the brightest levels and what was stated."""
    import numpy as np

    from calibrate.frames import iterate_frames

    stated, source = captures.bit_depth, captures.bit_depth_source
    levels = (captures.bright_levels() or captures.dark_levels())[-_LEVELS_READ:]
    if not levels:
        return stated, source, []
    largest, smallest, used_bits, container = 0, 0, 0, 0
    for frame in iterate_frames(level.frames[0] for level in levels):
        if frame.dtype.kind == "f":
            return stated, source, ["the frames hold real numbers: no bit depth"]
        largest = max(largest, int(frame.max()))
        smallest = min(smallest, int(frame.min()))
        used_bits |= int(np.bitwise_or.reduce(frame, axis=None))
        container = 8 * frame.dtype.itemsize
    notes = []
    empty_bits = (used_bits & -used_bits).bit_length() - 1 if used_bits else 0
    if empty_bits >= 2 and container == 16:
        notes.append(
            f"left-aligned codes: all codes read are multiples of {2**empty_bits}, so the lowest "
            f"{empty_bits} of {container} bits are empty ({container - empty_bits} significant bits): --shift-bits "
            f"{empty_bits}, or shift_bits under `sensor` in a manifest, takes them off"
        )
    if smallest < 0:
        notes.append(f"codes are signed, the smallest one read is {smallest}")
    if stated is not None:
        if largest >= 2**stated:
            notes.append(f"bit_depth {stated} is stated but codes up to {largest} were read: correct bit_depth")
        return stated, source, notes
    suggested = next((depth for depth in _DEPTHS if largest < 2**depth), None)
    if suggested is None:
        return None, None, [*notes, f"no bit depth is stated; codes up to {largest} were read"]
    notes.append(
        f"no bit depth is stated; the largest code read is {largest}, so it is at least {suggested}: state "
        "bit_depth in a manifest if the converter has more"
    )
    return suggested, "largest code seen", notes


def _quantity(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.6g}{unit}"


def format_inspection(inspection: dict[str, Any]) -> str:
    """Return the text that people read: a summary, a table of levels, what was left out, and notes.

    Parameters
    ----------
    inspection : dict
        From `inspect_captures`.
    """
    shape = inspection["shape"]
    size = "unknown" if shape is None else f"{shape[1]} x {shape[0]} pixels (width x height)"
    depth = "unknown" if inspection["bit_depth"] is None else f"{inspection['bit_depth']} bit"
    if inspection["bit_depth_source"]:
        depth += f" (from: {inspection['bit_depth_source']})"
    if inspection["shift_bits"]:
        depth += f", after {inspection['shift_bits']} empty low bits"
    lines = [f"source     {inspection['source']}"]
    if inspection["points"]:
        lines.append(f"points     {inspection['points']}")
    else:
        lines += [f"frames     {inspection['frames']}", f"size       {size}", f"bit depth  {depth}"]
    lines += [f"{name:10s} {value}" for name, value in sorted(inspection["sensor"].items())]
    if inspection["levels"]:
        lines += ["", f"{'kind':8s}{'exposure':>14s}{'photons/pixel':>16s}{'frames':>9s}"]
    for level in inspection["levels"]:
        exposure = _quantity(level["exposure_s"], " s")
        photons = "-" if level["kind"] == "dark" else _quantity(level["photons_per_pixel"], "")
        gain = f"   gain setting {level['gain_setting']}" if "gain_setting" in level else ""
        lines.append(f"{level['kind']:8s}{exposure:>14s}{photons:>16s}{level['n_frames']:>9d}{gain}")
    if inspection["ignored"]:
        lines += ["", f"ignored ({len(inspection['ignored'])} files)"]
        lines += [f"  {item['path']}: {item['reason']}" for item in inspection["ignored"]]
    if inspection["notes"]:
        lines += ["", "notes"]
        lines += [f"  {note}" for note in inspection["notes"]]
    return "\n".join(lines) + "\n"
