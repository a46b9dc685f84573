"""The budget in a report: what limits the camera, in bars, words and a table; where the bits are over frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from calibrate.plumbing import figures as style
from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import Block, Chart, Charts, Column, Paragraph, Section, Table

Score = Mapping[str, Any]

#: What each part is called on the page.
NAMES = {
    "read_noise": "read noise",
    "rounding": "rounding",
    "row_noise": "row noise",
    "prnu": "photo-response (PRNU)",
    "dsnu": "offsets (DSNU)",
    "nonlinearity": "nonlinearity",
    "clipping": "clipping",
    "dark_current": "dark current",
    "drift": "drift",
}
_SMALL_BITS = 0.002


def budget_sections(score: Score) -> list[Section]:
    """The section `What limits the camera`; none for a score without a budget."""
    budget = score.get("budget")
    if budget is None:
        return []
    blocks: list[Block] = [Paragraph(_sentence(score))]
    if budget["parts"]:
        caption = (
            "What each imperfection costs: the information that the same light would bring without it (bars: standard "
            "error). Prices do not add up: noise that hides behind other noise costs little until that is gone."
        )
        chart = Chart(_svg(bars(score), "budget", "Price of every imperfection", caption), caption)
        blocks.append(Charts((chart,)))
    blocks.append(_table(score))
    if budget["not_priced"]:
        named = "; ".join(f"{NAMES[entry['name']]}: {entry['reason']}" for entry in budget["not_priced"])
        blocks.append(Paragraph(f"Not priced: {named}."))
    blocks.append(Paragraph(f"Ensemble: {budget['ensemble']}; method {budget['method']}."))
    return [Section("What limits the camera", tuple(blocks))]


def spectrum_charts(score: Score) -> tuple[Chart, ...]:
    """The information over spatial frequency, for the section that shows where the bits are."""
    figure = spectrum(score)
    if figure is None:
        return ()
    caption = (
        "Where the bits are over spatial frequency: 1/2 log2(1 + signal/noise), averaged over directions, as measured "
        "and with the noise of the light alone; between the lines lies what the read-out loses. Beyond 0.5 cycles per "
        "pixel lie the corners of the Nyquist square."
    )
    return (Chart(_svg(figure, "spectrum", "Information over spatial frequency", caption), caption),)


def bars(score: Score) -> Figure:
    """Prices as bars with their standard errors, the dearest on top."""
    parts = sorted(score["budget"]["parts"], key=lambda part: part["bits_per_pixel"]["value"])
    values = np.array([part["bits_per_pixel"]["value"] for part in parts])
    stds = np.array([part["bits_per_pixel"]["std"] for part in parts])
    with style.figure_style():
        figure = style.new_figure(max(150, 64 + 30 * len(parts)))
        axes = figure.subplots()
        place = np.arange(len(parts))
        colours = [style.BLUE if value >= 0 else style.AMBER for value in values]
        axes.barh(
            place, values, height=0.62, color=colours, xerr=stds, error_kw={"ecolor": style.INK, "elinewidth": 1.2}
        )
        low, high = min(0.0, float(np.min(values - stds))), max(float(np.max(values + stds)), 1e-3)
        span = high - low
        for y, value, std in zip(place, values, stds, strict=True):
            style.reading_label(
                axes, max(value + std, 0.0) + 0.02 * span, float(y), f"{value:.4f}", va="center", color=style.INK
            )
        axes.axvline(0, color=style.MUTED, linewidth=0.9)
        axes.set_xlim(low - (0.04 * span if low < 0 else 0.0), high + 0.24 * span)
        axes.set_yticks(place, [NAMES[part["name"]] for part in parts])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("gain when switched off (bit/px)")
    return figure


def spectrum(score: Score) -> Figure | None:
    """Density of information over spatial frequency: as fitted, and with the noise of the light alone."""
    found = (score.get("budget") or {}).get("spectrum")
    if found is None:
        return None
    frequency = np.array(found["frequency_cycles_per_px"])
    bits = np.array(found["bits_per_pixel"])
    noiseless = np.array(found["noiseless_bits_per_pixel"])
    with style.figure_style():
        figure = style.new_figure(320)
        axes = figure.subplots()
        if noiseless.size:
            axes.fill_between(
                frequency, bits, noiseless, color=style.AMBER, alpha=0.35, linewidth=0, label="lost in the read-out"
            )
            axes.plot(frequency, noiseless, color=style.ORANGE, linewidth=1.4, label="noise of the light alone")
        axes.plot(frequency, bits, "o-", color=style.BLUE, markersize=3.5, linewidth=1.4, label="this camera")
        axes.axvline(0.5, color=style.MUTED, linewidth=0.9, linestyle=(0, (5, 3)))
        axes.set_xlim(0, float(frequency.max()) * 1.02)
        axes.set_ylim(0, 1.12 * max(float(np.max(bits)), float(np.max(noiseless, initial=0.0)), 1e-3))
        axes.set_xlabel("spatial frequency (cycles per pixel)")
        axes.set_ylabel("information (bit per mode)")
        axes.legend(loc="upper right")
    return figure


def _sentence(score: Score) -> str:
    """What the budget says, in words."""
    budget, efficiency = score["budget"], score.get("efficiency")
    parts = sorted(budget["parts"], key=lambda part: -part["bits_per_pixel"]["value"])
    dear = [part for part in parts if part["bits_per_pixel"]["value"] > _SMALL_BITS]
    if not dear:
        text = f"No imperfection that the noise model knows costs more than {_SMALL_BITS:g} bit/px on this light."
    else:
        first = dear[0]
        text = (
            f"The dearest imperfection is {NAMES[first['name']]}: without it the same light would bring "
            f"{first['bits_per_pixel']['value']:.3f} bit/px more."
        )
    if efficiency is not None:
        low, high = efficiency["ci95"]
        text += (
            f" The read-out keeps {100 * efficiency['value']:.1f} % of what the photons behind these frames know "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %); beyond that only more light or other optics help."
        )
    elif budget["noiseless_readout_limit"]["bits_per_pixel"] is None:
        text += " Without shot noise there is no limit to compare with."
    return text


def _table(score: Score) -> Table:
    budget = score["budget"]
    columns = (Column("Camera"), Column("Information (bit/px)", "number"), Column("Std. error", "number"))
    rows = [("as fitted", *_numbers(budget["as_fitted"]))]
    for part in budget["parts"]:
        gain = part["bits_per_pixel"]
        rows.append((f"gain without {NAMES[part['name']]}", f"{gain['value']:+.4f}", f"{gain['std']:.4f}"))
    for key, words in (
        ("interaction", "all of them together gain beyond the sum"),
        ("all_off", "all switched off"),
        ("noiseless_readout_limit", "noiseless read-out (photon counts)"),
    ):
        if budget[key]["bits_per_pixel"] is not None:
            rows.append((words, *_numbers(budget[key])))
    return Table("Budget by the surrogate of the scenes", columns, tuple(rows))


def _numbers(entry: Mapping[str, Any]) -> tuple[str, str]:
    bits = entry["bits_per_pixel"]
    return f"{bits['value']:.4f}", f"{bits['std']:.4f}"


def _svg(figure: Figure, name: str, title: str, caption: str) -> str:
    return figure_to_svg(figure, name=name, title=title, description=caption)
