"""Picture of the photon-transfer curve: variance against mean signal, the model, and what is left over."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.plumbing import figures as style
from calibrate.report import numbers as n
from calibrate.report.charts import LOW_PX, TALL_PX

FloatArray = NDArray[np.float64]


def photon_transfer(model: NoiseModel) -> Figure:
    """Temporal variance against mean signal, log-log, with the model; residuals beneath where levels were fitted."""
    bright, dark = n.levels_of(model.document, "bright"), n.levels_of(model.document, "dark")
    residuals = n.variance_residuals(bright)
    above = bright.mean_dn > float(model.camera.offset_dn)
    with_residuals = bool(np.any(np.isfinite(residuals) & above))
    with style.figure_style():
        figure = style.new_figure(TALL_PX if with_residuals else LOW_PX + 40)
        if with_residuals:
            axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.1, 1))
        else:
            axes = below = figure.subplots()
        offset = float(model.camera.offset_dn)
        signal = bright.mean_dn - offset
        positive = (signal > 0) & (bright.variance_dn2 > 0)
        top = _top_signal_dn(model)
        lowest = float(np.min(signal[positive & bright.used], initial=top * 1e-4))
        floor = n.dark_variance_dn2(model)
        crossing = floor / float(model.camera.system_gain_dn_per_e)
        left = max(min(lowest, crossing if crossing > 0 else lowest) / 4, top * 1e-6)
        axes.set(xscale="log", yscale="log", xlim=(left, top * 1.8))
        _variance_curve(axes, model, left, top, floor)
        _variance_points(axes, bright, signal, positive)
        _dark_points(axes, dark, left)
        axes.set_ylim(*_variance_limits(axes, floor, bright.variance_dn2[positive & bright.used]))
        _saturation_line(axes, model, offset)
        style.plain_log_axis(axes.yaxis)
        axes.set_ylabel("temporal variance (DN²)")
        axes.legend(loc="upper left")
        if with_residuals:
            _residual_panel(below, signal, residuals, bright.used)
        style.plain_log_axis(below.xaxis)
        below.set_xlabel("mean signal above the offset (DN)")
        figure.align_ylabels()
    return figure


def _variance_curve(axes: Axes, model: NoiseModel, left: float, top: float, floor: float) -> None:
    gain = float(model.camera.system_gain_dn_per_e)
    mean, variance = n.variance_curve(model, left / gain)
    shown = (mean > 0) & (variance > 0)
    axes.plot(mean[shown], variance[shown], color=style.BLUE, zorder=3, label="noise model")
    quiet: dict[str, Any] = {"linewidth": 1.1, "zorder": 2}
    crossing = floor / gain
    if floor > 0:
        axes.axhline(floor, color=style.GREEN, linestyle=(0, (5, 3)), **quiet)
        style.reading_label(
            axes,
            0.8,
            floor,
            f"without light: {n.significant(floor)} DN²",
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            color=style.GREEN,
        )
    if model.camera.kind == "gaussian":
        return
    line = np.array([left, top * 1.8])
    axes.plot(line, gain * line, color=style.ORANGE, linestyle=(0, (1.2, 1.6)), **quiet)
    # Below the line, in the upper decades, turned so that it runs along it on the logarithmic axes.
    where, below = top * (top / max(left, crossing)) ** -0.3, 0.62
    axes.text(
        where,
        below * gain * where,
        f"shot noise: slope K = {n.significant(gain)} DN/e⁻",
        color=style.ORANGE,
        fontsize=10,
        rotation=math.degrees(math.atan(below * gain)),
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="center",
        va="top",
    )


def _variance_limits(axes: Axes, floor: float, measured: FloatArray) -> tuple[float, float]:
    """Limits that show the floor, the used levels and the model's highest point."""
    curve = np.asarray(axes.lines[0].get_ydata(orig=False), dtype=np.float64)
    low = [v for v in (floor, float(np.min(measured, initial=np.inf))) if 0 < v < np.inf]
    if not low:
        low = [float(curve.min())]
    return min(low) / 2.5, max(float(np.max(measured, initial=0.0)), float(curve.max()), floor) * 2.5


def _variance_points(axes: Axes, bright: n.Levels, signal: FloatArray, positive: NDArray[np.bool_]) -> None:
    for chosen, label, face in (
        (positive & bright.used, "level, used", style.INK),
        (positive & ~bright.used, "level, not used", "white"),
    ):
        if np.any(chosen):
            # An error bar through zero cannot be drawn on a logarithmic axis.
            error = bright.variance_std_dn2[chosen]
            down = np.minimum(error, 0.9 * bright.variance_dn2[chosen])
            axes.errorbar(
                signal[chosen],
                bright.variance_dn2[chosen],
                yerr=np.stack([down, error]),
                fmt="o",
                color=style.INK,
                elinewidth=1,
                markeredgewidth=1,
                zorder=4,
                label=label,
                markerfacecolor=face,
            )


def _dark_points(axes: Axes, dark: n.Levels, left: float) -> None:
    shown = dark.variance_dn2 > 0
    if np.any(shown):
        axes.plot(
            np.full(int(shown.sum()), left * 1.12),
            dark.variance_dn2[shown],
            "D",
            color=style.GREEN,
            markersize=4.5,
            zorder=5,
            label="dark level (at the left edge)",
        )


def _saturation_line(axes: Axes, model: NoiseModel, offset: float) -> None:
    saturation = model.parameter("saturation_dn")
    if saturation is not None:
        where, label = saturation.value - offset, "saturation"
    elif model.camera.bit_depth is not None:
        where, label = model.camera.white_clip_dn - offset, "highest code"
    else:
        return
    axes.axvline(where, color=style.MUTED, linewidth=1, linestyle=(0, (5, 3)), zorder=1)
    axes.text(
        where,
        0.3,
        f" {label}",
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha="left",
        va="bottom",
        fontsize=10,
        color=style.MUTED,
    )


def _residual_panel(axes: Axes, x: FloatArray, residuals: FloatArray, used: NDArray[np.bool_]) -> None:
    finite = np.isfinite(residuals) & (x > 0)
    largest = float(np.max(np.abs(residuals[finite & used]), initial=0.0))
    limit = max(3.5, 1.2 * largest)
    axes.axhspan(-2, 2, color=style.BAND, zorder=0)
    axes.axhline(0, color=style.BLUE, linewidth=1.2)
    for chosen, face in ((finite & used, style.INK), (finite & ~used, "white")):
        inside = chosen & (np.abs(residuals) <= limit)
        axes.plot(x[inside], residuals[inside], "o", color=style.INK, markerfacecolor=face, markersize=4)
        for sign, marker in ((1, "^"), (-1, "v")):
            beyond = chosen & (sign * residuals > limit)
            axes.plot(
                x[beyond],
                np.full(int(beyond.sum()), sign * 0.88 * limit),
                marker,
                color=style.INK,
                markerfacecolor=face,
                markersize=5,
            )
    axes.set_ylim(-limit, limit)
    axes.set_ylabel("residual\n(std. errors)")


def _top_signal_dn(model: NoiseModel) -> float:
    """Right end of the signal axis in DN above the offset."""
    offset = float(model.camera.offset_dn)
    bright = n.levels_of(model.document, "bright")
    ends = [float(np.max(bright.mean_dn[bright.used], initial=offset)) - offset]
    saturation = model.parameter("saturation_dn")
    if saturation is not None:
        ends.append(saturation.value - offset)
    elif model.camera.bit_depth is not None:
        ends.append(model.camera.white_clip_dn - offset)
    elif ends[0] <= 0:
        ends.append(float(model.camera.system_gain_dn_per_e) * n.top_signal_e(model))
    return max(max(ends), 1e-9)
