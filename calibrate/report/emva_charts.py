"""The standard's pictures: each function draws one figure from the block of EMVA 1288, or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.plumbing import figures as style
from calibrate.schema import EmvaCurveEntry, EmvaEntry

FloatArray = NDArray[np.float64]

TALL_PX = 440
_DASH = (0, (5, 3))
_DOTS = (0, (1.2, 1.4))


@dataclass(frozen=True)
class EmvaData:
    """Numbers and curves of one sensor or channel."""

    entries: dict[str, EmvaEntry]
    curves: dict[str, EmvaCurveEntry]

    def number(self, name: str) -> float | None:
        """Value of an entry; None where it is absent."""
        entry = self.entries.get(name)
        return None if entry is None else entry.value

    def column(self, curve: str, name: str) -> FloatArray:
        """One column of a curve."""
        return np.array(self.curves[curve].columns[name], dtype=np.float64)


def photon_transfer(data: EmvaData) -> Figure | None:
    """Temporal variance above the dark's against the signal, with the line through the origin."""
    gain = data.number("system_gain_dn_per_e")
    if "levels" not in data.curves or gain is None:
        return None
    signal, excess = data.column("levels", "signal_dn"), data.column("levels", "excess_variance_dn2")
    fitted = data.column("levels", "fitted") > 0
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        axes = figure.subplots()
        end = float(np.max(signal[fitted]))
        top = 1.05 * float(np.max(signal))
        axes.axvspan(0, end, color=style.BAND, linewidth=0, zorder=0)
        axes.plot([0, end], [0, gain * end], color=style.BLUE, label="straight line through 0")
        axes.plot([end, top], [gain * end, gain * top], color=style.BLUE, linestyle=_DASH, linewidth=1.1)
        _points(axes, signal, excess, fitted, "level, fitted", "level, not fitted")
        axes.set_xlim(0, top)
        axes.set_ylim(0, 1.15 * float(max(np.max(excess), gain * end)))
        axes.set_xlabel("mean above dark (DN)")
        axes.set_ylabel("variance above dark (DN²)")
        axes.legend(loc="upper left")
    return figure


def _points(axes: Axes, x: FloatArray, y: FloatArray, chosen: NDArray[np.bool_], yes: str, no: str) -> None:
    for rows, label, face in ((chosen, yes, style.INK), (~chosen, no, "white")):
        if np.any(rows):
            axes.plot(x[rows], y[rows], "o", color=style.INK, markerfacecolor=face, label=label, zorder=4)


def linearity(data: EmvaData) -> Figure | None:
    """Signal against light with the line of least relative deviation, and the deviation beneath."""
    if "linearity" not in data.curves:
        return None
    curve = data.curves["linearity"]
    light, signal = data.column("linearity", "light"), data.column("linearity", "signal_dn")
    deviation, judged = data.column("linearity", "deviation_percent"), data.column("linearity", "judged") > 0
    limit = 1.5 * max(float(np.max(np.abs(deviation[judged]))), 0.05)
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1))
        for panel in (axes, below):
            panel.axvspan(light[judged][0], light[judged][-1], color=style.BAND, linewidth=0, zorder=0)
        axes.plot(
            data.column("linearity_line", "light"),
            data.column("linearity_line", "signal_dn"),
            color=style.BLUE,
            label="line",
        )
        _points(axes, light, signal, judged, "level, 5 % to 95 %", "level outside")
        inside = np.abs(deviation) <= limit
        _points(below, light[inside], deviation[inside], judged[inside], "", "")
        for sign, marker in ((1, "^"), (-1, "v")):
            beyond = sign * deviation > limit
            below.plot(
                light[beyond],
                np.full(int(np.count_nonzero(beyond)), sign * 0.9 * limit),
                marker,
                color=style.INK,
                markerfacecolor="white",
            )
        below.axhline(0, color=style.BLUE, linewidth=1.3, zorder=1)
        axes.set_ylim(0, 1.15 * float(np.max(signal)))
        below.set(ylim=(-limit, limit), xlim=(0, 1.03 * float(np.max(light))))
        axes.set_ylabel("mean above dark (DN)")
        below.set_ylabel("deviation (%)")
        below.set_xlabel(_light_label(curve.units["light"]))
        axes.legend(loc="lower right")
        figure.align_ylabels()
    return figure


def _light_label(unit: str) -> str:
    return "photons per pixel" if unit == "photons" else "exposure (s)"


def signal_to_noise(data: EmvaData) -> Figure | None:
    """Signal-to-noise ratio: levels, linear model, the same with the fixed pattern, and an ideal sensor's."""
    gain = data.number("system_gain_dn_per_e")
    dark_dn = data.number("temporal_dark_noise_dn")
    if "levels" not in data.curves or gain is None or dark_dn is None:
        return None
    photons = data.curves["levels"].units.get("light") == "photons"
    efficiency = (data.number("quantum_efficiency_percent") or 100.0) / 100.0 if photons else 1.0
    signal, variance = data.column("levels", "signal_dn"), data.column("levels", "variance_dn2")
    shown = (signal > 0) & (variance > 0)
    light = data.column("levels", "light") if photons else signal / gain
    end = (data.number("saturation_capacity_e") or float(np.max(signal)) / gain) / efficiency
    shown &= light <= 1.001 * end
    threshold = (data.number("sensitivity_threshold_e") or 1.0) / efficiency
    grid = np.geomspace(threshold / 3, end, 200)
    charge = efficiency * grid
    dark2 = (dark_dn / gain) ** 2
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log")
        axes.plot(grid, np.sqrt(grid), color=style.ORANGE, linestyle=_DOTS, linewidth=1.4, label="ideal sensor")
        axes.plot(
            grid, charge / np.sqrt(dark2 + charge), color=style.BLUE, linewidth=2.2, label="linear model", zorder=3
        )
        pattern2 = _pattern2(data, charge)
        if pattern2 is not None:
            axes.plot(
                grid,
                charge / np.sqrt(dark2 + charge + pattern2),
                color=style.GREEN,
                linestyle=_DASH,
                label="with DSNU and PRNU",
            )
        axes.plot(light[shown], signal[shown] / np.sqrt(variance[shown]), "o", color=style.INK, label="level", zorder=4)
        axes.axhline(1, color=style.MUTED, linewidth=0.9)
        axes.axvline(threshold, color=style.MUTED, linewidth=0.9, linestyle=_DASH)
        axes.axvline(end, color=style.MUTED, linewidth=0.9, linestyle=_DASH)
        axes.set_xlim(grid[0], end * 1.6)
        axes.set_ylim(0.3, float(np.sqrt(end)) * 1.8)
        style.reading_label(axes, threshold * 1.15, 0.42, f"signal = noise at {threshold:.4g}")
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log_axis(axis)
        axes.set_xlabel("photons per pixel" if photons else "electrons")
        axes.set_ylabel("signal-to-noise ratio")
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.0), facecolor="white", frameon=True, edgecolor="none")
    return figure


def _pattern2(data: EmvaData, charge_e: FloatArray) -> FloatArray | None:
    """Variance of the fixed pattern in electrons (equation 68); negative estimates count as they are, down to 0."""
    dsnu, prnu = data.number("dsnu1288_e"), data.number("prnu1288_percent")
    if dsnu is None or prnu is None:
        return None
    pattern: FloatArray = np.maximum(np.sign(dsnu) * dsnu**2 + np.sign(prnu) * (prnu / 100 * charge_e) ** 2, 0.0)
    return pattern


def dark_current(data: EmvaData) -> Figure | None:
    """Dark mean and dark variance against exposure with their straight lines."""
    if "dark" not in data.curves:
        return None
    exposure = data.column("dark", "exposure_s")
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        panels = figure.subplots(2, 1, sharex=True)
        for axes, name, label in (
            (panels[0], "mean_dn", "dark mean (DN)"),
            (panels[1], "variance_dn2", "dark variance (DN²)"),
        ):
            values = data.column("dark", name)
            slope, offset = np.polyfit(exposure, values, 1)
            ends = np.array([0.0, float(np.max(exposure))])
            axes.plot(ends, offset + slope * ends, color=style.BLUE, label="straight line")
            axes.plot(exposure, values, "D", color=style.GREEN, label="dark level", zorder=4)
            axes.set_ylabel(label)
            axes.margins(y=0.15)
        panels[0].legend(loc="best")
        panels[1].set_xlabel("exposure (s)")
        figure.align_ylabels()
    return figure


def spectrogram(data: EmvaData, kind: str) -> Figure | None:
    """Spectrograms along rows and columns of the dark (``dsnu``) or the photo-response image (``prnu``)."""
    names = [f"spectrogram_{kind}_{direction}" for direction in ("horizontal", "vertical")]
    if names[0] not in data.curves:
        return None
    unit = data.curves[names[0]].units["root_power"]
    references = _references(data, kind)
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        panels = figure.subplots(2, 1, sharex=True, sharey=True)
        for axes, name, title in zip(panels, names, ("along rows", "along columns"), strict=True):
            root = data.column(name, "root_power")
            axes.plot(data.column(name, "cycles_per_pixel"), root, color=style.INK, linewidth=1.1)
            for value, colour, dash, label in references:
                axes.axhline(value, color=colour, linestyle=dash, linewidth=1.3, label=label)
            axes.set_yscale("log")
            axes.set_ylabel(f"{title} ({unit})")
        low, high = panels[0].get_ylim()
        panels[0].set(xlim=(0, 0.5), ylim=(low, high * (high / low) ** 0.45))  # room for the legend
        for axes in panels:
            style.plain_log_axis(axes.yaxis)
        panels[1].set_xlabel("cycles per pixel")
        panels[0].legend(loc="upper right")
        figure.align_ylabels()
    return figure


def _references(data: EmvaData, kind: str) -> list[tuple[float, str, object, str]]:
    """Levels to compare a spectrogram with: the pattern, and the temporal noise of the average and of one frame."""
    frames = data.number("spatial_frames") or 1.0
    dark = data.number("temporal_variance_stack_dark_dn2") or 0.0
    if kind == "dsnu":
        pattern, one, average, factor = data.number("dsnu1288_dn"), dark, dark / frames, 1.0
    else:
        pattern, one = data.number("prnu1288_percent"), data.number("temporal_variance_stack_dn2") or 0.0
        average = (one + dark) / frames
        difference = (data.number("spatial_variance_50_dn2") or 0.0) - (data.number("spatial_variance_dark_dn2") or 0.0)
        # PRNU = 100 sqrt(s2_50 - s2_dark)/signal gives the signal back.
        factor = abs(pattern) / float(np.sqrt(abs(difference))) if pattern and difference else 0.0
    lines: list[tuple[float, str, object, str]] = [
        (factor * float(np.sqrt(max(one, 0.0))), style.ORANGE, _DASH, "temporal noise of one frame"),
        (factor * float(np.sqrt(max(average, 0.0))), style.GREEN, _DOTS, "of it in the average"),
        (pattern or 0.0, style.BLUE, "-", "DSNU 1288" if kind == "dsnu" else "PRNU 1288"),
    ]
    return [line for line in lines if line[0] > 0]


def profile(data: EmvaData, kind: str) -> Figure | None:
    """Horizontal and vertical profiles of the dark (``dsnu``) or the photo-response image (``prnu``)."""
    names = [f"profile_{kind}_{direction}" for direction in ("horizontal", "vertical")]
    if names[0] not in data.curves:
        return None
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        panels = figure.subplots(2, 1)
        for axes, name, label in zip(panels, names, ("column", "row"), strict=True):
            pixel = data.column(name, "pixel")
            low, high = data.column(name, "minimum"), data.column(name, "maximum")
            axes.fill_between(pixel, low, high, color=style.SKY, alpha=0.35, linewidth=0, label="minimum to maximum")
            axes.plot(
                pixel, data.column(name, "middle"), color=style.MUTED, linewidth=0.9, label=f"middle {_other(label)}"
            )
            axes.plot(pixel, data.column(name, "mean"), color=style.BLUE, linewidth=1.6, label="mean")
            middle = data.column(name, "mean")
            # One hot pixel must not flatten the rest: bounds that most of the minima and maxima keep.
            bottom, top = float(np.percentile(low, 5)), float(np.percentile(high, 95))
            room = max(top - bottom, 1e-9)
            axes.set_ylim(min(bottom, float(middle.min())) - 0.15 * room, max(top, float(middle.max())) + 0.45 * room)
            axes.set_xlim(pixel[0], pixel[-1])
            axes.set_xlabel(label)
            axes.set_ylabel("grey value (DN)")
        panels[0].legend(loc="upper right", ncols=3, fontsize=9, columnspacing=1.0)
        figure.align_ylabels()
    return figure


def _other(label: str) -> str:
    return "row" if label == "column" else "column"


def histogram(data: EmvaData, kind: str) -> Figure | None:
    """Logarithmic and accumulated histogram of the high-pass filtered average image."""
    name = f"histogram_{kind}"
    if name not in data.curves:
        return None
    unit = data.curves[name].units["deviation"]
    centre, pixels = data.column(name, "deviation"), data.column(name, "pixels")
    normal = data.column(name, "normal")
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        axes, below = figure.subplots(2, 1)
        width = float(centre[1] - centre[0]) if centre.size > 1 else 1.0
        edges = np.append(centre - width / 2, centre[-1] + width / 2)
        axes.stairs(pixels, edges, fill=True, baseline=0.5, color=style.SKY)
        axes.stairs(pixels, edges, baseline=0.5, color=style.BLUE, linewidth=0.8, label="pixels")
        shown = normal > 0.5
        axes.plot(centre[shown], normal[shown], color=style.ORANGE, linestyle=_DASH, label="normal law")
        axes.set(yscale="log", xlim=(edges[0], edges[-1]))
        axes.set_ylim(0.5, float(np.max(pixels)) * 5)
        axes.set_ylabel(f"pixels in {width:.2g} {unit}")
        axes.set_xlabel(f"deviation from the mean ({unit})")
        axes.legend(loc="upper right")
        deviation = data.column(f"accumulated_{kind}", "deviation")
        percent = data.column(f"accumulated_{kind}", "percent_of_pixels")
        below.step(deviation, percent, where="post", color=style.BLUE)
        below.set(yscale="log", xlim=(0, 1.02 * float(np.max(deviation)) or 1.0))
        below.set_ylim(float(np.min(percent)) / 2, 200)
        below.set_ylabel("pixels as far or farther (%)")
        below.set_xlabel(f"absolute deviation ({unit})")
        for panel in (axes, below):
            style.plain_log_axis(panel.yaxis)
        figure.align_ylabels()
    return figure
