"""What headers and names add to an entry: exposure and settings, one rule for folders and manifests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import PurePath

from calibrate.captures.assemble import Entry, Notes, info_of
from calibrate.captures.names import (
    exposure_from_name,
    gain_from_name,
    gain_scale_from_name,
    mode_from_name,
    stem_without_number,
    temperature_from_name,
)
from calibrate.frames import stem_of


def _header_number(entry: Entry, key: str) -> float | None:
    value = info_of(entry).header.get(key)
    return float(value) if isinstance(value, int | float) else None


def _differ(one: float | None, other: float | None) -> bool:
    """Whether both are known and more than 1 % apart."""
    return one is not None and other is not None and abs(one - other) > 0.01 * max(one, other)


def complete(
    entry: Entry, name: PurePath, notes: Notes, *, look_for_exposure: bool = True, stated: Collection[str] = ()
) -> Entry:
    """Return a described entry with exposure, settings and fallback group filled in where they are open.

    Parameters
    ----------
    entry : Entry
    name : PurePath
        Path relative to the captures, with suffix: its words may tell the exposure.
    notes : Notes
        Receives what was contradictory.
    look_for_exposure : bool
        False where a manifest says explicitly that the exposure is not known.
    stated : collection of str
        What a manifest says of all frames at once (``temperature_c``, ``mode``): not looked for again.

    Notes
    -----
    What the header says wins over the name: the camera wrote it.
    """
    bare = name.with_name(stem_of(entry.reference.path))
    exposure = entry.exposure_s
    if exposure is None and look_for_exposure:
        from_header = _header_number(entry, "exposure_s")
        from_name, ambiguous = exposure_from_name(bare)
        if ambiguous and from_header is None:
            notes.add("the name states several times, so the exposure is taken as unknown", entry.where)
        if _differ(from_header, from_name):
            notes.add(
                "header and name state different exposures, the header's is used",
                f"{entry.where}: {from_header:g} s in the header, {from_name:g} s by name",
            )
        exposure = from_header if from_header is not None else from_name
    gain = entry.gain_setting
    if gain is None:
        in_header = info_of(entry).header.get("gain_setting")
        gain = f"{in_header:g}" if isinstance(in_header, int | float) else gain_from_name(bare)
    temperature, meant = entry.temperature_c, entry.temperature_c is not None
    if temperature is None and "temperature_c" not in stated:
        temperature = _header_number(entry, "temperature_c")
        from_name, unclear = temperature_from_name(bare)
        meant = from_name is not None
        if unclear and temperature is None:
            notes.add("the name states a temperature whose sign or value is unclear: write it as _-10C", entry.where)
        temperature = from_name if temperature is None else temperature
    mode = entry.mode
    if mode is None and "mode" not in stated:
        in_header = info_of(entry).header.get("mode")
        mode = str(in_header) if in_header is not None else mode_from_name(bare)
    scale = str(info_of(entry).header.get("gain_scale") or gain_scale_from_name(bare) or entry.gain_scale)
    # A running number at the end tells frames of one level apart; stacks are numbered by level.
    stem = bare.name if info_of(entry).n_frames > 1 else stem_without_number(bare.name)
    return replace(
        entry,
        exposure_s=exposure,
        gain_setting=gain,
        temperature_c=temperature,
        temperature_is_meant=meant,
        mode=mode,
        gain_scale=scale,
        label=f"{name.parent.as_posix()}/{stem}",
    )


def note_unknown_exposures(entries: list[Entry], notes: Notes) -> None:
    """Say how frames were grouped when nothing tells their exposure."""
    for entry in entries:
        if entry.exposure_s is None and entry.photons_per_pixel is None and entry.level is None:
            notes.add("exposure unknown: grouped by folder and file name without its number", entry.where)
