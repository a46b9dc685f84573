"""Pictures of a sweep: information against whatever its settings differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.plumbing import figures as style

Entry = Mapping[str, Any]

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.AMBER, style.SKY, style.INK)
_MARKERS = "osD^vPX"
_HEIGHT_PX = 320
_LEAST_LOG_RATIO = 4.0
_DASHES = (0, (5, 3))
_MOST_TICKS = 6
_MOST_LINES = len(_COLOURS)
_LEAST_SIGNAL_RATIO = 1.05  # settings whose mean signals lie closer say nothing about light


@dataclass(frozen=True)
class Abscissa:
    """What lies along x: its key, its label, a slug for ids, and what else follows it."""

    key: str
    label: str
    title: str
    follows: tuple[str, ...] = ()


#: In the order in which pictures appear. What an abscissa moves by itself does not split its lines.
ABSCISSAE = (
    Abscissa("exposure_s", "exposure (s)", "exposure"),
    Abscissa("exposure_factor", "exposure, relative to the frames", "exposure"),
    Abscissa("light_factor", "light, relative to the frames", "light"),
    Abscissa("mean_signal_e", "mean signal (e⁻)", "mean signal", ("exposure_s", "exposure_factor", "light_factor")),
    Abscissa("gain_setting", "gain setting", "gain setting"),
    Abscissa("system_gain_dn_per_e", "system gain (DN/e⁻)", "system gain", ("read_noise_e",)),
    Abscissa("read_noise_e", "read noise (e⁻)", "read noise", ("system_gain_dn_per_e",)),
    Abscissa("bit_depth", "bit depth (bit)", "bit depth"),
    Abscissa("full_well_e", "full well (e⁻)", "full well"),
    Abscissa("dark_current_e_per_s", "dark current (e⁻/s)", "dark current"),
    Abscissa("prnu_percent", "photo-response non-uniformity (%)", "photo-response non-uniformity"),
    Abscissa("offset_dn", "offset (DN)", "offset"),
)


def coordinates(entry: Entry) -> dict[str, Any]:
    """What tells a setting from the others: camera, gain setting and exposure, or the changes of a what-if."""
    if entry["kind"] == "captured":
        names = ("camera", "gain_setting", "exposure_s")
        return {name: entry[name] for name in names} | {"patch_size": entry["patch_size"]}
    return {**entry["changes"], "patch_size": entry["patch_size"]}


def shown_abscissae(entries: Sequence[Entry]) -> list[Abscissa]:
    """Abscissae that take two values or more, all of them numbers."""
    out = []
    for abscissa in ABSCISSAE:
        values = [_value(entry, abscissa) for entry in entries]
        numbers = [value for value in values if value is not None]
        if len(numbers) < 2 or len(set(numbers)) < 2 or len(numbers) < len(values):
            continue
        if abscissa.key == "mean_signal_e" and (min(numbers) <= 0 or max(numbers) / min(numbers) < _LEAST_SIGNAL_RATIO):
            continue
        out.append(abscissa)
    return out


def lines_of(entries: Sequence[Entry], abscissa: Abscissa) -> list[tuple[str, list[Entry]]]:
    """Settings that differ in the abscissa alone, as one line each, with what is common to it in words."""
    coords = [coordinates(entry) for entry in entries]
    names = [name for name in dict.fromkeys(key for c in coords for key in c) if name != abscissa.key]
    names = [name for name in names if name not in abscissa.follows]
    varied = [name for name in names if len({str(c.get(name)) for c in coords}) > 1]
    lines: dict[tuple[str, ...], list[Entry]] = {}
    for entry, own in zip(entries, coords, strict=True):
        lines.setdefault(tuple(_words(name, own.get(name)) for name in varied), []).append(entry)
    return [(", ".join(word for word in key if word), members) for key, members in lines.items()]


def against(
    entries: Sequence[Entry], abscissa: Abscissa, best: Sequence[str], source: Entry | None = None
) -> Figure | None:
    """Information with its 95 % intervals against one abscissa; small points: seeds; rings: the best settings.

    ``source`` gives a dashed line. None where there are more lines than can be told apart.
    """
    lines = lines_of(entries, abscissa)
    if len(lines) > _MOST_LINES:
        return None
    numbers = [_value(entry, abscissa) or 0.0 for entry in entries]
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX + (18 * ((len(lines) + 1) // 2) if len(lines) > 1 else 0))
        axes = figure.subplots()
        for (label, members), colour, marker in zip(lines, _COLOURS, _MARKERS, strict=False):
            members = sorted(members, key=lambda entry: _value(entry, abscissa) or 0.0)
            x = np.array([_value(entry, abscissa) for entry in members], dtype=np.float64)
            information = [entry["mutual_information_bits_per_pixel"] for entry in members]
            value = np.array([entry["value"] for entry in information])
            low, high = (np.array([entry["ci95"][side] for entry in information]) for side in (0, 1))
            axes.errorbar(
                x,
                value,
                yerr=np.maximum([value - low, high - value], 0.0),
                fmt=marker + "-",
                color=colour,
                linewidth=1.4,
                elinewidth=1.1,
                capsize=3,
                label=style.safe_label(label, 34),
            )
            for place, entry in zip(x, members, strict=True):
                seeds = entry["seed_values_bits_per_pixel"]
                if len(seeds) > 1:
                    axes.plot([place] * len(seeds), seeds, ".", color=style.INK, markersize=3.5, zorder=4)
            for place, height, entry in zip(x, value, members, strict=True):
                if entry["name"] in best:
                    axes.plot(place, height, "o", markersize=13, markerfacecolor="none", markeredgecolor=style.INK)
        if source is not None:
            level = source["mutual_information_bits_per_pixel"]["value"]
            axes.axhline(level, color=style.MUTED, linewidth=1.1, linestyle=_DASHES, zorder=1)
        if min(numbers) > 0 and max(numbers) / min(numbers) >= _LEAST_LOG_RATIO:
            axes.set_xscale("log")
            style.plain_log_axis(axes.xaxis)
        elif len(set(numbers)) <= _MOST_TICKS:
            axes.set_xticks(sorted(set(numbers)), [format(number, "g") for number in sorted(set(numbers))])
        axes.margins(x=0.08, y=0.12)
        axes.set_xlabel(abscissa.label)
        axes.set_ylabel("information (bit/px)")
        if len(lines) > 1:
            figure.legend(loc="outside upper left", ncols=2 if len(lines) > 2 else 1, columnspacing=1.2)
    return figure


def side_by_side(entries: Sequence[Entry], best: Sequence[str]) -> Figure:
    """Information of every setting with its 95 % interval, one below the other."""
    with style.figure_style():
        figure = style.new_figure(max(150, 60 + 26 * len(entries)))
        axes = figure.subplots()
        for place, entry in enumerate(entries):
            information = entry["mutual_information_bits_per_pixel"]
            value, (low, high) = information["value"], information["ci95"]
            colour = style.ORANGE if entry["name"] in best else style.BLUE
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot(value, place, "o", color=colour, markersize=6)
            seeds = entry["seed_values_bits_per_pixel"]
            if len(seeds) > 1:
                axes.plot(seeds, [place] * len(seeds), ".", color=style.INK, markersize=3.5, zorder=4)
        several = len({entry["patch_size"] for entry in entries}) > 1
        names = [
            style.safe_label(_short(entry) + (f", {entry['patch_size']} px" if several else ""), 30)
            for entry in entries
        ]
        axes.set_yticks(range(len(entries)), names)
        axes.set_ylim(len(entries) - 0.4, -0.6)
        axes.set_xlabel("information (bit/px)")
    return figure


def _short(entry: Entry) -> str:
    """The name without that of its what-if, which stands above the picture."""
    return str(entry["name"]).removeprefix(f"{entry['group']}: ")


def _value(entry: Entry, abscissa: Abscissa) -> float | None:
    source = entry if abscissa.key == "mean_signal_e" else coordinates(entry)
    value = source.get(abscissa.key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_WORDS = {
    "camera": "{}",
    "gain_setting": "gain {}",
    "exposure_s": "{} s",
    "patch_size": "{} px",
    "exposure_factor": "exposure × {}",
    "light_factor": "light × {}",
    "system_gain_dn_per_e": "{} DN/e-",
    "read_noise_e": "{} e- read noise",
    "bit_depth": "{} bit",
    "full_well_e": "full well {} e-",
    "dark_current_e_per_s": "{} e-/s",
    "prnu_percent": "PRNU {} %",
    "offset_dn": "offset {} DN",
}


def _words(name: str, value: Any) -> str:
    if value is None:
        return ""
    return _WORDS[name].format(format(value, "g") if isinstance(value, float) else value)
