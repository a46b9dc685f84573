"""Pictures of per-pixel maps: image above, histogram of all pixels beneath."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.plumbing import figures as style
from calibrate.report.words import LABELS

FloatArray = NDArray[np.float64]

#: Largest side of a map in a page: enough for its printed size, and a page stays under a megabyte.
MAP_PIXELS = 384
_LOG_SCALE = ("read_noise_e", "dark_current_e_per_s")
_WIDTH_PX = 340
_COLOURS = {"prnu": "PuOr_r", "read_noise_e": "viridis"}
_TITLES = {"prnu": "Photo-response"}
_UNITS = {
    "prnu": "%",
    "offset_dn": "DN",
    "read_noise_e": "e⁻",
    "system_gain_dn_per_e": "DN/e⁻",
    "dark_current_e_per_s": "e⁻/s",
}


def map_names(maps: dict[str, FloatArray] | None) -> list[str]:
    """Maps to show, the usual ones first; their standard errors are left out."""
    if not maps:
        return []
    shown = [name for name in maps if not name.endswith("_std")]
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

    The strip under the histogram says which value has which colour.
    """
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
