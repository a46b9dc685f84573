"""Which settings vary over the frames of one set of captures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from calibrate.captures.settings import cluster_temperatures

if TYPE_CHECKING:
    from calibrate.captures.assemble import Entry

AddNote = Callable[[str, str], None]
#: Fewest bright levels at one temperature that make it a setting of its own, as many as the fit needs.
FEWEST_BRIGHT_LEVELS = 2


def tell_apart(
    entries: Sequence[Entry], sensor: dict[str, object], add_note: AddNote
) -> tuple[list[Entry], dict[str, object]]:
    """Entries that keep only the settings that vary, and the sensor with those that do not.

    Gain settings and read-out modes vary when two are known. Temperatures vary when they fall into clusters
    (`settings.cluster_temperatures`), one of them at least has darks and flats enough for a fit, and they were meant:
    written into names or a manifest, or one exposure was shot at several. Otherwise a camera that warms up while it
    works would lose its darks.
    """
    found, sensor = _temperatures(list(entries), dict(sensor), add_note)
    for name, word in (("gain_setting", "gain settings"), ("mode", "read-out modes")):
        values = {getattr(entry, name) for entry in found}
        known = values - {None}
        if len(known) > 1:
            sensor.pop(name, None)
            listing = ", ".join(sorted(str(value) for value in known))
            add_note(f"several {word}: {listing}; each is calibrated on its own", "")
            continue
        if name not in sensor and len(values) == 1 and known:
            only = str(next(iter(known)))
            sensor[name] = number_or_text(only) if name == "gain_setting" else only
        found = [replace(e, gain_setting=None) if name == "gain_setting" else replace(e, mode=None) for e in found]
    return found, sensor


def number_or_text(text: str) -> int | float | str:
    """A number, whole where it can be, else the text."""
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _temperatures(
    entries: list[Entry], sensor: dict[str, object], add_note: AddNote
) -> tuple[list[Entry], dict[str, object]]:
    known = {entry.temperature_c for entry in entries} - {None}
    clusters = cluster_temperatures(value for value in known if value is not None)
    groups = [[entry for entry in entries if entry.temperature_c in cluster] for cluster in clusters]
    if len(clusters) > 1 and any(_can_be_fitted(group) for group in groups) and _are_meant(groups):
        sensor.pop("temperature_c", None)
        means = [_mean_c(group) for group in groups]
        named = {value: mean for cluster, mean in zip(clusters, means, strict=True) for value in cluster}
        listing = ", ".join(f"{mean:g}" for mean in means)
        add_note(f"several sensor temperatures: {listing} degrees Celsius; each is calibrated on its own", "")
        return [
            entry if entry.temperature_c is None else replace(entry, temperature_c=named[entry.temperature_c])
            for entry in entries
        ], sensor
    if "temperature_c" not in sensor and known:
        if len(known) == 1 and all(entry.temperature_c is not None for entry in entries):
            sensor["temperature_c"] = next(iter(known))
        elif len(known) > 1:
            low, high = clusters[0][0], clusters[-1][-1]
            add_note(f"sensor temperatures differ: {low:g} to {high:g} degrees Celsius, taken as one setting", "")
    return [replace(entry, temperature_c=None) for entry in entries], sensor


def _can_be_fitted(group: list[Entry]) -> bool:
    brights = {(e.exposure_s, e.photons_per_pixel, e.level, e.label) for e in group if e.kind == "bright"}
    # Flats of one exposure may hold several lamp levels (`light_levels`): where people wrote the temperature, they may.
    named = [e for e in group if e.kind == "bright" and e.temperature_is_meant]
    frames = sum(len(e.indices) if e.indices is not None else e.info.n_frames if e.info else 1 for e in named)
    enough = len(brights) >= FEWEST_BRIGHT_LEVELS or frames >= 2 * FEWEST_BRIGHT_LEVELS
    return enough and any(entry.kind == "dark" for entry in group)


def _are_meant(groups: list[list[Entry]]) -> bool:
    if any(entry.temperature_is_meant for group in groups for entry in group):
        return True
    shot = [
        {(e.kind, e.exposure_s, e.gain_setting, e.mode) for e in group if e.exposure_s is not None} for group in groups
    ]
    every = [pair for pairs in shot for pair in pairs]
    return len(every) > len(set(every))


def _mean_c(group: list[Entry]) -> float:
    """Mean temperature, to a tenth of a degree; 0.0 and never -0.0."""
    values = [entry.temperature_c for entry in group if entry.temperature_c is not None]
    return round(sum(values) / len(values), 1) + 0.0
