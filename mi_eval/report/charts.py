"""Pictures of a score: each function draws one figure, or none where its data are missing."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.plumbing import figures as style
from mi_eval.report import numbers as n
from mi_eval.score_details import ScoreDetails

FloatArray = NDArray[np.float64]

_HEIGHT_PX = 320
_LOW_PX = 220
_IMAGE_PIXELS = 512
_DASHES = (0, (5, 3))
_MOST_NAMED_FRAMES = 16


def balance(score: n.Score) -> Figure:
    """H(Z), H(Z|Y) and their difference, the information, as bars."""
    value = float(score["mutual_information_bits_per_pixel"]["value"])
    h_noise = float(score["conditional_entropy_bits_per_pixel"]["value"])
    h_all = float(score["marginal_entropy_bits_per_pixel"])
    rows = (
        (2, 0.0, h_all, "#9AA5B1", "H(Z): everything"),
        (1, 0.0, h_noise, style.SKY, "H(Z|Y): noise"),
        (0, h_noise, value, style.BLUE, "I: scene"),
    )
    ends = [0.0, *(start for _, start, *_ in rows), *(start + length for _, start, length, *_ in rows)]
    span = max(max(ends) - min(ends), 1e-6)
    with style.figure_style():
        figure = style.new_figure(_LOW_PX)
        axes = figure.subplots()
        for y, start, length, colour, _ in rows:
            axes.barh(y, length, left=start, height=0.62, color=colour)
            end = max(start, start + length) + 0.015 * span
            style.reading_label(axes, end, y, f"{length:.3f}", va="center", color=style.INK)
        axes.plot([h_noise, h_noise], [-0.31, 1.31], color=style.MUTED, linewidth=0.9, linestyle=_DASHES)
        axes.set_xlim(min(ends) - (0.03 * span if min(ends) < 0 else 0), max(ends) + 0.24 * span)
        axes.set_yticks([row[0] for row in rows], [row[4] for row in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("bits per pixel")
    return figure


def interval(score: n.Score) -> Figure:
    """The information with its interval and bounds, enlarged; a lower bound far away is left out."""
    information = score["mutual_information_bits_per_pixel"]
    value, (low, high) = float(information["value"]), information["ci95"]
    upper, lower = float(score["upper_bound_bits_per_pixel"]), score.get("lower_bound_bits_per_pixel")
    points = [low, high, value, upper]
    near = max(points) - min(points)
    with style.figure_style():
        figure = style.new_figure(_LOW_PX)
        axes = figure.subplots()
        axes.plot([low, high], [0, 0], color="#8FBFDF", linewidth=7, solid_capstyle="butt", label="95 % interval")
        axes.plot(value, 0, "o", color=style.BLUE, markersize=9, label="estimate")
        axes.plot([upper, upper], [-0.4, 0.4], color=style.ORANGE, linewidth=2.2, label="upper bound")
        if lower is not None and n.lower_bound_is_near(score):
            axes.plot([lower, lower], [-0.4, 0.4], color=style.GREEN, linewidth=2.2, label="lower bound")
            points.append(float(lower))
        if low <= 3 * near:
            points.append(0.0)
            axes.axvline(0, color=style.MUTED, linewidth=1)
        pad = max(0.12 * (max(points) - min(points)), 1e-4)
        axes.set(xlim=(min(points) - pad, max(points) + pad), ylim=(-0.9, 1.6), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("information (bit/px)")
        axes.legend(loc="upper left", ncols=2, columnspacing=1.4)
    return figure


def example_frame(details: ScoreDetails) -> Figure | None:
    """The example frame in grey, brightness stretched to its central 99 %."""
    if details.example_frame is None:
        return None
    small, _ = style.downsample(details.example_frame, _IMAGE_PIXELS)
    return _image(small, Normalize(*style.robust_limits(small)), "gray", "code (DN)")


def information_map(details: ScoreDetails, patch_size: int) -> Figure | None:
    """Local information over the example frame, from its patches."""
    found = n.local_information(details, patch_size)
    if found is None:
        return None
    small, _ = style.downsample(found[0], _IMAGE_PIXELS)
    low, high = style.robust_limits(small, 1.0)
    return _image(small, Normalize(min(low, 0.0), high), "cividis", "local information (bit/px)")


def _image(values: FloatArray, norm: Normalize, colours: str, label: str) -> Figure:
    side = 0.95  # the image's share of the width, the same in every figure, so that two side by side line up
    tall = float(np.clip(side * style.FIGURE_WIDTH_PX * values.shape[0] / values.shape[1], 100, 560))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 62)
        figure.set_layout_engine("none")
        height = tall + 62
        axes = figure.add_axes((0.025, 1 - (tall + 2) / height, side, tall / height))
        strip = figure.add_axes((0.025, 40 / height, side, 11 / height))
        # Pixels that no patch covers stay grey.
        cmap = matplotlib.colormaps[colours].resampled(64).with_extremes(bad="#D5DAE0")
        drawn = axes.imshow(np.ma.masked_invalid(values), norm=norm, cmap=cmap, interpolation="none")
        axes.set_axis_off()
        bar = figure.colorbar(drawn, cax=strip, orientation="horizontal")
        bar.set_label(label)
        strip.spines[:].set_visible(False)
    return figure


def frames(details: ScoreDetails, score: n.Score) -> Figure | None:
    """Information of every frame, with the mean and its interval; frames far from the rest are named."""
    if details.per_frame_bits is None or len(details.per_frame_bits) == 0:
        return None
    bits = np.asarray(details.per_frame_bits, dtype=np.float64)
    names = [style.safe_label(name) for name in details.frame_names] or [f"frame {i + 1}" for i in range(bits.size)]
    low, high = score["mutual_information_bits_per_pixel"]["ci95"]
    value = score["mutual_information_bits_per_pixel"]["value"]
    outlier = n.frame_outliers(bits)
    few = bits.size <= _MOST_NAMED_FRAMES
    with style.figure_style():
        figure = style.new_figure(max(180, 70 + 19 * bits.size) if few else _HEIGHT_PX)
        axes = figure.subplots()
        position = np.arange(bits.size)
        if few:
            axes.axvspan(low, high, color="#D6E8F4", label="95 % interval of the score")
            axes.axvline(value, color=style.BLUE, linewidth=1.4, label="score")
            axes.plot(bits[~outlier], position[~outlier], "o", color=style.INK)
            axes.plot(bits[outlier], position[outlier], "s", color=style.ORANGE, markersize=6)
            axes.set_yticks(position, names)
            axes.set_ylim(bits.size - 0.4, -0.6)
            axes.set_xlabel("information (bit/px)")
        else:
            axes.axhspan(low, high, color="#D6E8F4", label="95 % interval of the score")
            axes.axhline(value, color=style.BLUE, linewidth=1.4, label="score")
            size = 4 if bits.size < 300 else 2
            axes.plot(
                position[~outlier] + 1,
                bits[~outlier],
                "o",
                color=style.INK,
                markersize=size,
                rasterized=bits.size > 3000,
            )
            axes.plot(position[outlier] + 1, bits[outlier], "s", color=style.ORANGE, markersize=6)
            far = sorted(np.flatnonzero(outlier), key=lambda i: -abs(bits[i] - np.median(bits)))[:4]
            for i in far:
                right = i < bits.size / 2
                axes.annotate(
                    names[i],
                    (i + 1, bits[i]),
                    xytext=(8 if right else -8, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=10,
                    color=style.ORANGE,
                )
            axes.set_xlabel("frame")
            axes.set_ylabel("information (bit/px)")
            axes.margins(y=0.2)
            axes.legend(loc="upper right", ncols=2)
    return figure


def intensity_law(details: ScoreDetails) -> Figure | None:
    """How often the scene gives which charge: shares in bins, and the cumulative share."""
    if details.intensity_grid_e is None or details.intensity_weights is None:
        return None
    edges, shares = n.intensity_density(details.intensity_grid_e, details.intensity_weights)
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        axes.stairs(100 * shares, edges, fill=True, color=style.SKY)
        axes.stairs(100 * shares, edges, color=style.BLUE, linewidth=0.9)
        if edges[0] >= 0:
            axes.set_xscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), lambda v: v**2))
            axes.set_xticks(_root_ticks(float(edges[0]), float(edges[-1])))
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        axes.set_ylim(0, 112 * float(shares.max()))
        axes.set_xlabel("collected charge (e⁻, square-root scale)" if edges[0] >= 0 else "collected charge (e⁻)")
        axes.set_ylabel("share of the pixels (%)")
    return figure


def _root_ticks(low: float, high: float) -> list[float]:
    """About six round numbers, evenly spread in the square root."""
    ticks: list[float] = []
    for root in np.linspace(np.sqrt(low), np.sqrt(high), 7):
        value = root**2
        power = 10.0 ** np.floor(np.log10(max(value, 1e-9)))
        rounded = float(min((m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10)), key=lambda v: abs(v - value)))
        rounded = 0.0 if value < 1e-3 * high else rounded
        if low <= rounded <= high and rounded not in ticks:
            ticks.append(rounded)
    return ticks


def code_histogram(details: ScoreDetails) -> Figure | None:
    """Observed codes against the noise model's prediction, and the difference in standard errors."""
    if details.histogram_codes is None or details.histogram_observed is None or details.histogram_predicted is None:
        return None
    data = n.compare_codes(details.histogram_codes, details.histogram_observed, details.histogram_predicted)
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX + 60)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        axes.stairs(data.observed, data.edges, fill=True, color="#CBD5DF", label="observed")
        axes.stairs(data.predicted, data.edges, color=style.BLUE, linewidth=1.5, label="predicted by the noise model")
        axes.set_ylim(0, 1.28 * float(max(data.observed.max(), data.predicted.max())))
        width = data.edges[1] - data.edges[0]
        axes.set_ylabel("pixels" if width == 1 else f"pixels per {width:.0f} codes")
        axes.legend(loc="upper right")
        shown = np.isfinite(data.residuals)
        limit = max(3.5, 1.15 * float(np.max(np.abs(data.residuals[shown]), initial=0.0)))
        below.axhspan(-2, 2, color=style.BAND)
        below.axhline(0, color=style.BLUE, linewidth=1.2)
        centres = (data.edges[1:] + data.edges[:-1]) / 2
        below.plot(centres[shown], data.residuals[shown], "o", color=style.INK, markersize=2.6)
        below.set_ylim(-limit, limit)
        below.set_ylabel("difference\n(std. errors)")
        below.set_xlabel("code (DN)")
        below.set_xlim(data.edges[0], data.edges[-1])
        figure.align_ylabels()
    return figure


def pit(details: ScoreDetails) -> Figure | None:
    """Histogram of the probability integral transform of the codes given their past."""
    if details.pit_edges is None or details.pit_densities is None:
        return None
    density = np.asarray(details.pit_densities, dtype=np.float64)
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        axes.stairs(density, details.pit_edges, fill=True, color=style.SKY)
        axes.stairs(density, details.pit_edges, color=style.BLUE, linewidth=0.9)
        axes.axhline(1, color=style.INK, linewidth=1.2, linestyle=_DASHES, label="a density model without fault")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.5, 1.25 * float(density.max())))
        axes.set_xlabel("predicted cumulative probability of the code")
        axes.set_ylabel("density")
        axes.legend(loc="upper right")
    return figure


def learning_curve(details: ScoreDetails, score: n.Score) -> Figure | None:
    """Score of parts of the frames against the number of patches, with the score of all and its interval."""
    if details.learning_patches is None or details.learning_bits is None:
        return None
    low, high = score["mutual_information_bits_per_pixel"]["ci95"]
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        axes.axhspan(low, high, color="#D6E8F4", label="95 % interval of the score")
        axes.errorbar(
            details.learning_patches,
            details.learning_bits,
            yerr=details.learning_std_bits,
            fmt="o-",
            color=style.INK,
            linewidth=1,
            elinewidth=1,
            label="a part of the frames",
        )
        axes.set_xscale("log")
        style.plain_log_axis(axes.xaxis)
        axes.margins(y=0.25)
        axes.set_xlabel("patches")
        axes.set_ylabel("information (bit/px)")
        axes.legend(loc="upper right")
    return figure
