"""Pictures of a comparison: each function draws one figure, or none where its data are missing."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.plumbing import figures as style
from mi_eval.comparison import Comparison, PairResult

FloatArray = NDArray[np.float64]

_HEIGHT_PX = 320
_NOISE_GREY = "#9AA5B1"
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.AMBER, style.SKY)
_MARKERS = ("o", "s", "^", "D", "v", "P")


def colour_of(number: int) -> str:
    """Colour of an entry, the same in every picture."""
    return _COLOURS[number % len(_COLOURS)]


def differences(comparison: Comparison) -> Figure:
    """Difference of every pair: estimate, random error (thick) and the whole interval (thin)."""
    pairs = comparison.pairs
    with style.figure_style():
        figure = style.new_figure(120 + 44 * len(pairs))
        axes = figure.subplots()
        axes.axvline(0, color=style.MUTED, linewidth=1.2)
        for y, pair in enumerate(pairs):
            estimate = pair.difference_bits_per_pixel
            low, high = estimate.ci95
            random = (
                low - pair.slack[0] - pair.conditional_entropy[0],
                high - pair.slack[1] - pair.conditional_entropy[1],
            )
            first = y == 0
            axes.plot(
                [low, high], [y, y], color=_NOISE_GREY, linewidth=2.4, label="with what is left open" if first else None
            )
            axes.plot(random, [y, y], color="#8FBFDF", linewidth=8, label="random error" if first else None)
            axes.plot(estimate.value, y, "o", color=style.BLUE, markersize=8)
        names = [f"{style.safe_label(pair.first, 14)} − {style.safe_label(pair.second, 14)}" for pair in pairs]
        axes.set_yticks(range(len(pairs)), names)
        axes.set_ylim(len(pairs) - 0.4, -1.1)
        axes.margins(x=0.12)
        axes.grid(False, axis="y")
        axes.set_xlabel("difference of information (bit/px)")
        axes.legend(loc="upper left", ncols=2, frameon=True, framealpha=1, edgecolor="none")
    return figure


def frame_differences(pair: PairResult) -> Figure | None:
    """Difference of every pair of frames, with its mean and the 95 % interval of the difference."""
    if pair.frame_bits is None:
        return None
    bits = np.asarray(pair.frame_bits)
    low, high = pair.difference_bits_per_pixel.ci95
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes, side = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        for panel in (axes, side):
            panel.axhspan(low, high, color="#D6E8F4")
            panel.axhline(pair.difference_bits_per_pixel.value, color=style.BLUE, linewidth=1.4)
            panel.axhline(0, color=style.INK, linewidth=1)
        size = 4 if bits.size < 300 else 2
        axes.plot(np.arange(bits.size) + 1, bits, "o", color=style.INK, markersize=size, rasterized=bits.size > 3000)
        side.hist(bits, bins=min(max(bits.size // 8, 6), 30), orientation="horizontal", color=style.SKY)
        side.set_xticks([])
        side.set_xlabel("how often")
        side.grid(False)
        axes.set_xlabel("frame")
        axes.set_ylabel(f"{style.safe_label(pair.first, 14)} − {style.safe_label(pair.second, 14)} (bit/px)")
        axes.margins(y=0.1)
    return figure


def frame_values(comparison: Comparison) -> Figure | None:
    """Information of every frame of every entry, where frames are not paired."""
    if not comparison.details:
        return None
    with style.figure_style():
        figure = style.new_figure(max(180, 90 + 60 * len(comparison.entries)))
        axes = figure.subplots()
        for y, (name, score) in enumerate(comparison.entries):
            bits = comparison.details[name].group_bits
            spread = np.random.default_rng(0).uniform(-0.22, 0.22, bits.size)
            axes.plot(bits, y + spread, "o", color=colour_of(y), markersize=2.6, alpha=0.6, rasterized=bits.size > 3000)
            low, high = score.mutual_information_bits_per_pixel.ci95
            axes.plot([low, high], [y + 0.38] * 2, color=style.INK, linewidth=2.4)
        axes.set_yticks(range(len(comparison.entries)), [style.safe_label(name, 16) for name, _ in comparison.entries])
        axes.set_ylim(len(comparison.entries) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlabel("information of a frame (bit/px)")
    return figure


def balances(comparison: Comparison) -> Figure:
    """H(Z), H(Z|Y) and the information of every entry, one below the other."""
    rows: list[tuple[float, float, float, str, str]] = []
    y = 0.0
    for number, (name, score) in enumerate(comparison.entries):
        h_all = score.marginal_entropy_bits_per_pixel
        h_noise = score.conditional_entropy_bits_per_pixel.value
        label = style.safe_label(name, 14)
        rows += [
            (y, 0.0, h_all, _NOISE_GREY, f"{label}  H(Z)"),
            (y + 0.8, 0.0, h_noise, style.SKY, "H(Z|Y)"),
            (y + 1.6, h_noise, h_all - h_noise, colour_of(number), "I"),
        ]
        y += 2.9
    ends = [0.0, *(start + length for _, start, length, *_ in rows)]
    span = max(max(ends) - min(ends), 1e-6)
    with style.figure_style():
        figure = style.new_figure(90 + 78 * len(comparison.entries))
        axes = figure.subplots()
        for at, start, length, colour, _ in rows:
            axes.barh(at, length, left=start, height=0.62, color=colour)
            end = max(start, start + length) + 0.015 * span
            style.reading_label(axes, end, at, f"{length:.3f}", va="center", color=style.INK)
        axes.set_yticks([row[0] for row in rows], [row[4] for row in rows])
        axes.set_ylim(y - 0.7, -0.7)
        axes.set_xlim(min(ends) - (0.03 * span if min(ends) < 0 else 0), max(ends) + 0.22 * span)
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("bits per pixel")
    return figure


def place_map(comparison: Comparison, pair: PairResult, shape: tuple[int, int] | None) -> Figure | None:
    """Mean difference over the frame, patch by patch; none where the entries' patches lie at different places."""
    if not comparison.details or shape is None:
        return None
    a, b = (comparison.details[name].places for name in (pair.first, pair.second))
    if (
        a.row.size < 4
        or a.row.size != b.row.size
        or not (np.array_equal(a.row, b.row) and np.array_equal(a.column, b.column))
    ):
        return None
    size = comparison.patch_size
    factor = max(1, -(-max(shape) // 512))
    image = np.full((-(-shape[0] // factor), -(-shape[1] // factor)), np.nan)
    for row, column, bits in zip(a.row, a.column, a.bits - b.bits, strict=True):
        image[row // factor : -(-(row + size) // factor), column // factor : -(-(column + size) // factor)] = bits
    reach = max(abs(limit) for limit in style.robust_limits(image, 1.0))
    side = 0.95
    tall = float(np.clip(side * style.FIGURE_WIDTH_PX * image.shape[0] / image.shape[1], 100, 560))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 62)
        figure.set_layout_engine("none")
        height = tall + 62
        axes = figure.add_axes((0.025, 1 - (tall + 2) / height, side, tall / height))
        strip = figure.add_axes((0.025, 40 / height, side, 11 / height))
        cmap = matplotlib.colormaps["RdBu"].resampled(64).with_extremes(bad="#D5DAE0")
        drawn = axes.imshow(np.ma.masked_invalid(image), norm=Normalize(-reach, reach), cmap=cmap, interpolation="none")
        axes.set_axis_off()
        bar = figure.colorbar(drawn, cax=strip, orientation="horizontal")
        names = f"{style.safe_label(pair.first, 14)} − {style.safe_label(pair.second, 14)}"
        bar.set_label(f"{names} (bit/px)")
        strip.spines[:].set_visible(False)
    return figure


def frequencies(comparison: Comparison) -> Figure | None:
    """Information by spatial frequency in the Gaussian surrogate, one line an entry."""
    shown = {name: d for name, d in comparison.details.items() if d.frequency_bits.size > 2}
    if len(shown) < 2:
        return None
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        for number, (name, details) in enumerate(shown.items()):
            axes.plot(
                details.frequency_per_px,
                details.frequency_bits,
                marker=_MARKERS[number % len(_MARKERS)],
                color=colour_of(number),
                label=style.safe_label(name, 20),
            )
        axes.set_xlim(0, 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("spatial frequency (cycles per pixel)")
        axes.set_ylabel("information (bit per pixel and mode)")
        axes.legend(loc="upper right")
    return figure
