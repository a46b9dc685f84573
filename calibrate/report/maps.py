"""Pictures of per-pixel maps, image above, histogram of all pixels beneath; where defects lie, and how maps repeat."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.noise_model.defect_kinds import DEFECT_KINDS, not_looked_for
from calibrate.plumbing import figures as style
from calibrate.plumbing.html import Block, Column, Paragraph, Table
from calibrate.report.numbers import significant
from calibrate.report.words import LABELS
from calibrate.schema import DefectsEntry, RepeatabilityEntry
from calibrate.store import DEFECTS

FloatArray = NDArray[np.float64]

#: Largest side of a map in a page: enough for its printed size. Noise hardly compresses: five maps are 1.5 MB.
MAP_PIXELS = 300
_LOG_SCALE = ("read_noise_e", "dark_current_e_per_s")
_WIDTH_PX = 340
_COLOURS = {"prnu": "PuOr_r", "read_noise_e": "viridis"}
_TITLES = {"prnu": "Photo-response", "system_gain_dn_per_e": "Pixel gain", DEFECTS: "Defects"}
#: Colour and shape of each kind of defect: told apart without colour, too.
_MARKS = {
    "hot": (style.ORANGE, "^"),
    "cold": (style.BLUE, "v"),
    "stuck": (style.INK, "s"),
    "noisy": (style.GREEN, "o"),
    "telegraph": (style.PINK, "D"),
}
_MOST_MARKS = 2000
_UNITS = {
    "prnu": "%",
    "offset_dn": "DN",
    "read_noise_e": "e⁻",
    "system_gain_dn_per_e": "DN/e⁻",
    "dark_current_e_per_s": "e⁻/s",
}


def map_names(maps: dict[str, FloatArray] | None) -> list[str]:
    """Maps to show, the usual ones first; standard errors are left out, and defects where there are none."""
    if not maps:
        return []
    shown = [name for name in maps if not name.endswith("_std") and (name != DEFECTS or np.any(maps[name]))]
    order = list(_UNITS)
    usual = ("offset_dn", "read_noise_e", "prnu")
    return sorted(
        shown,
        key=lambda k: (k not in usual, usual.index(k) if k in usual else 0, order.index(k) if k in order else 99, k),
    )


def map_title(name: str) -> str:
    """What a map shows, for a heading."""
    return _TITLES.get(name, LABELS.get(name, name))


def map_unit(name: str) -> str:
    """Unit of a map as it is drawn; PRNU is drawn in percent."""
    return _UNITS.get(name, "")


def draw_map(values: FloatArray, name: str, *, limit: int = MAP_PIXELS) -> Figure:
    """One map as an image, at most `limit` pixels a side, over the histogram of all its pixels.

    The strip under the histogram says which value has which colour. A defect mask is drawn as marks on the frame.
    """
    if name == DEFECTS:
        return _draw_defects(np.asarray(values).astype(np.uint8))
    data = map_values(values, name)
    logarithmic = name in _LOG_SCALE and bool(np.any(data > 0))
    shown = np.where(data > 0, data, np.nan) if logarithmic else data
    small, _ = style.downsample(shown, limit)
    low, high = style.robust_limits(small)
    if name == "prnu":
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    norm: Normalize = LogNorm(low, high) if logarithmic else Normalize(low, high)
    # 64 steps of colour are as many as an eye tells apart, and make the picture a third as large.
    colours = matplotlib.colormaps[_COLOURS.get(name, "cividis")].resampled(64)
    # The image is as wide as the histogram under it: the figure less its tick labels.
    tall = float(np.clip(0.84 * _WIDTH_PX * small.shape[0] / small.shape[1], 90, 480))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 190, _WIDTH_PX)
        image, histogram, strip = figure.subplots(3, 1, height_ratios=(tall, 105, 9))
        image.imshow(small, norm=norm, cmap=colours, interpolation="none")
        image.set_axis_off()
        edges = _histogram(histogram, shown[np.isfinite(shown)], logarithmic)
        histogram.tick_params(axis="x", which="both", bottom=False, labelbottom=False)
        strip.set_xscale("log" if logarithmic else "linear")
        strip.set_xlim(edges[0], edges[-1])
        strip.set_yticks([])
        strip.grid(False)
        strip.spines[:].set_visible(False)
        x = np.geomspace(edges[0], edges[-1], 257) if logarithmic else np.linspace(edges[0], edges[-1], 257)
        middle = np.sqrt(x[1:] * x[:-1]) if logarithmic else (x[1:] + x[:-1]) / 2
        strip.pcolormesh(x, [0, 1], middle[None], norm=norm, cmap=colours, rasterized=True)
        if logarithmic:
            style.plain_log_axis(strip.xaxis)
        unit = map_unit(name)
        strip.set_xlabel(f"{map_title(name).lower()} ({unit})" if unit else map_title(name).lower())
    return figure


def _draw_defects(mask: NDArray[np.uint8]) -> Figure:
    """Where the defective pixels lie, a mark for each kind; at most two thousand of a kind."""
    height, width = mask.shape
    tall = float(np.clip(0.84 * _WIDTH_PX * height / width, 90, 480))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 110, _WIDTH_PX)
        axes = figure.subplots()
        rng = np.random.default_rng(0)
        for kind in DEFECT_KINDS.values():
            places = np.argwhere(mask & kind.bit)
            if not places.size:
                continue
            shown = places
            if places.shape[0] > _MOST_MARKS:
                shown = places[np.sort(rng.permutation(places.shape[0])[:_MOST_MARKS])]
            colour, marker = _MARKS[kind.name]
            axes.scatter(
                shown[:, 1], shown[:, 0], s=12, marker=marker, facecolors="none", edgecolors=colour, linewidths=0.9,
                label=f"{kind.name} {places.shape[0]}", rasterized=shown.shape[0] > 200,
            )  # fmt: skip
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xlabel="column", ylabel="row")
        axes.grid(False)
        axes.spines[:].set_visible(True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)
    return figure


def map_values(values: FloatArray, name: str) -> FloatArray:
    """A map in the unit it is drawn in: PRNU in percent."""
    data = np.asarray(values, dtype=np.float64)
    return 100 * data if name == "prnu" else data


def histogram_range(values: FloatArray, logarithmic: bool) -> tuple[float, float]:
    """All values on a logarithmic scale; on a linear one not farther than 12 robust deviations from the median."""
    low, high = float(values.min()), float(values.max())
    if not logarithmic:
        median = float(np.median(values))
        reach = 12 * 1.4826 * float(np.median(np.abs(values - median)))
        if reach > 0:
            low, high = max(low, median - reach), min(high, median + reach)
    if not high > low:
        pad = max(abs(low) * 1e-2, 1e-9)
        low, high = low - pad, high + pad
    return low, high


def _histogram(axes: Axes, values: FloatArray, logarithmic: bool) -> FloatArray:
    """Histogram of all pixels on a logarithmic count axis; what lies beyond the range is counted in words."""
    low, high = histogram_range(values, logarithmic)
    edges = np.geomspace(low, high, 121) if logarithmic else np.linspace(low, high, 121)
    edges[0], edges[-1] = low, high
    counts, _ = np.histogram(values, edges)
    axes.set(xscale="log" if logarithmic else "linear", yscale="log")
    axes.stairs(counts, edges, fill=True, baseline=0.7, color=style.SKY)
    axes.stairs(counts, edges, baseline=0.7, color=style.BLUE, linewidth=0.8)
    axes.set(xlim=(low, high), ylim=(0.7, max(float(counts.max()), 1.0) * 12))
    median = float(np.median(values))
    axes.axvline(median, color=style.INK, linewidth=1, linestyle=(0, (4, 2)))
    beyond = int(np.sum((values < low) | (values > high)))
    note = f"median {median:.4g}" + (f"\n{beyond} pixels beyond" if beyond else "")
    axes.text(0.99, 0.97, note, transform=axes.transAxes, ha="right", va="top", fontsize=10, color=style.MUTED)
    axes.set_ylabel("pixels")
    style.plain_log_axis(axes.yaxis)
    return edges


def map_caption(values: FloatArray, name: str) -> str:
    """One sentence: the spread of the pixels, and how many stand out."""
    if name == DEFECTS:
        count = int(np.count_nonzero(values))
        return f"{count} of {values.size} pixels are in the defect map ({significant(100 * count / values.size, 2)} %)."
    data = map_values(values, name)
    finite = data[np.isfinite(data)]
    unit = map_unit(name)
    median = float(np.median(finite))
    spread = float(np.median(np.abs(finite - median))) * 1.4826
    far = int(np.sum(np.abs(finite - median) > 6 * spread)) if spread > 0 else 0
    _, side = style.downsample(values, MAP_PIXELS)
    shown = "" if side == 1 else f" (each dot is the mean of {side} × {side} pixels)"
    return (
        f"{map_title(name)} of {finite.size} pixels{shown}: a pixel typically departs from the median by "
        f"{spread:.3g} {unit}".rstrip()
        + f", and {far or 'none'} lie more than six times that away."
    )


def map_findings(model: NoiseModel) -> tuple[Block, ...]:
    """What the maps are worth: defects by kind, and how well two halves of the frames agree."""
    document = model.document
    blocks: list[Block] = []
    if document.defects is not None:
        blocks.extend(_defect_blocks(document.defects))
    if document.repeatability:
        blocks.append(Paragraph(repeatability_sentence(document.repeatability)))
        blocks.append(_repeatability_table(model, document.repeatability))
    return tuple(blocks)


def _defect_blocks(defects: DefectsEntry) -> tuple[Block, ...]:
    rows = []
    for name, entry in defects.kinds.items():
        kind = DEFECT_KINDS.get(name)
        limit = "" if entry.limit is None else f"{significant(entry.limit)} {'' if entry.unit == '1' else entry.unit}"
        rows.append(
            (
                name,
                str(entry.count),
                limit.replace("DN2", "DN²").strip(),
                significant(entry.expected_false_alarms, 1) if entry.expected_false_alarms >= 1e-6 else "below 1e-6",
                "" if kind is None else kind.meaning,
            )
        )
    columns = (
        Column("Defect"), Column("Pixels", "number"), Column("Limit"), Column("False alarms expected"),
        Column("What such a pixel does", wide=True),
    )  # fmt: skip
    note = not_looked_for(defects.kinds)
    missing = (Paragraph(note, small=True),) if note else ()
    if defects.n_pixels == 0:
        return (Paragraph("No pixel is defective: none is " + ", ".join(defects.kinds) + "."), *missing)
    unusable = ", ".join(name for name, kind in DEFECT_KINDS.items() if kind.unusable)
    return (
        Table("Defective pixels", columns, tuple(rows)),
        Paragraph(
            f"Defective pixels are left out of every average. Those that are {unusable} say nothing about the light; "
            "the others are described by their own maps.",
            small=True,
        ),
        *missing,
    )


def repeatability_sentence(entries: dict[str, RepeatabilityEntry]) -> str:
    """One sentence: whether two halves of the frames give maps that agree within their errors."""
    ratios = {name: entry.variance_ratio for name, entry in entries.items()}
    worst = max(ratios, key=lambda name: abs(np.log(max(ratios[name], 1e-9))))
    n_pixels = min(entry.n_pixels for entry in entries.values())
    reach = max(0.1, 5 * np.sqrt(2 / n_pixels))
    furthest = f"{map_title(worst).lower()}, by {significant(ratios[worst])} times the variance expected"
    between = f"Maps from the two halves of the frames, over {n_pixels} pixels, differ"
    if abs(ratios[worst] - 1) < reach:
        return f"{between} as much as their errors say; the one farthest from it is {furthest}."
    if ratios[worst] > 1:
        return (
            f"{between} more than their errors say, most so {furthest}: the pattern moved between the frames, or the "
            "noise is not white in time."
        )
    return (
        f"{between} less than their errors say, most so {furthest}: the errors hold what both halves share, such as "
        "coarse rounding, or are too wide."
    )


def _repeatability_table(model: NoiseModel, entries: dict[str, RepeatabilityEntry]) -> Table:
    rows = []
    maps = model.maps or {}
    for name in map_names({name: np.ones(1) for name in entries}):
        entry, std = entries[name], maps.get(name + "_std")
        error = ""
        if std is not None:
            error = f"{significant(float(np.median(map_values(std, name))), 2)} {map_unit(name)}".rstrip()
        rows.append((map_title(name), error, f"{entry.variance_ratio:.3f}", f"{entry.correlation:+.3f}"))
    columns = (
        Column("Map"), Column("Error of a pixel"), Column("Variance of the difference over its expectation", "number"),
        Column("Correlation of the halves", "number"),
    )  # fmt: skip
    return Table("Repeatability of the maps", columns, tuple(rows))
