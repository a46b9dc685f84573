"""Pictures of linearity, noise and darks: each function draws one figure of a noise model, or none."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.plumbing import figures as style
from calibrate.report import numbers as n

FloatArray = NDArray[np.float64]

TALL_PX = 440
LOW_PX = 320


def linearity(model: NoiseModel) -> Figure | None:
    """Mean signal against light, and its deviation from the straight line; None where there is no light axis."""
    data = n.linearity(model)
    if isinstance(data, str):
        return None
    with style.figure_style():
        figure = style.new_figure(TALL_PX)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
        line = np.array([0.0, float(data.light.max()) * 1.03])
        axes.plot(line, data.slope_dn * line, color=style.BLUE, linewidth=1.3, label="straight line", zorder=2)
        span = float(np.max(np.abs(data.deviation_percent[data.used]), initial=0.0))
        span = max(span, float(np.max(np.abs(data.curve_deviation_percent), initial=0.0)), 0.05)
        limit = 1.45 * span
        for chosen, label, face in ((data.used, "level, used", style.INK), (~data.used, "level, not used", "white")):
            if not np.any(chosen):
                continue
            axes.plot(
                data.light[chosen], data.signal_dn[chosen], "o", color=style.INK, markerfacecolor=face, label=label
            )
            inside = chosen & (np.abs(data.deviation_percent) <= limit)
            below.errorbar(
                data.light[inside],
                data.deviation_percent[inside],
                yerr=2 * data.deviation_std_percent[inside],
                fmt="o",
                color=style.INK,
                markerfacecolor=face,
                elinewidth=1,
                markersize=4,
            )
            for sign, marker in ((1, "^"), (-1, "v")):
                beyond = chosen & (sign * data.deviation_percent > limit)
                below.plot(
                    data.light[beyond],
                    np.full(int(beyond.sum()), sign * 0.9 * limit),
                    marker,
                    color=style.INK,
                    markerfacecolor=face,
                    markersize=5,
                )
        saturation = model.parameter("saturation_dn")
        if saturation is not None:
            level = saturation.value - float(model.camera.offset_dn)
            axes.axhline(level, color=style.MUTED, linewidth=1, linestyle=(0, (5, 3)))
            style.reading_label(axes, 0.012, level, "saturation", transform=axes.get_yaxis_transform(), va="center")
        axes.set_ylim(0, 1.12 * float(np.max(data.signal_dn)))
        axes.set_ylabel("mean signal (DN)")
        axes.legend(loc="lower right")
        below.axhline(0, color=style.BLUE, linewidth=1.3, zorder=1)
        below.set_ylim(-limit, limit)
        below.set_xlim(0, line[1])
        below.set_ylabel("deviation (%)")
        below.set_xlabel("photons per pixel" if data.axis == "photons" else "exposure (s)")
        if not model.camera.response.is_linear:
            below.plot(data.curve_light, data.curve_deviation_percent, color=style.ORANGE, label="fitted response")
            below.legend(loc="lower left")
        figure.align_ylabels()
    return figure


def _charge_grid(model: NoiseModel) -> FloatArray:
    top = 0.9999 * n.top_signal_e(model)  # just below a full well, where the response has no slope
    return np.geomspace(min(0.3, top / 100), top, 240)


def noise_parts(model: NoiseModel) -> Figure:
    """Predicted temporal noise in electrons against signal, with its parts."""
    charge = _charge_grid(model)
    parts = n.noise_parts_e(model.camera, charge)
    with style.figure_style():
        figure = style.new_figure(LOW_PX)
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlim=(charge[0], charge[-1] * 1.05))
        total = parts.total
        axes.plot(charge, total, color=style.BLUE, linewidth=2.6, label="total", zorder=4)
        for values, colour, label, dash in (
            (parts.shot, style.ORANGE, "shot", (0, (1.2, 1.4))),
            (parts.read, style.GREEN, "read", (0, (6, 2.5))),
            (parts.rounding, style.PINK, "rounding", (0, (6, 2, 1.2, 2))),
        ):
            shown = np.isfinite(values) & (values > 0)
            if np.any(shown):
                axes.plot(charge[shown], values[shown], color=colour, linestyle=dash, linewidth=1.5, label=label)
        prnu = model.parameter("prnu_percent")
        if prnu is not None and prnu.value > 0:
            axes.plot(
                charge,
                prnu.value / 100 * charge,
                color=style.MUTED,
                linewidth=1.1,
                label=f"PRNU {n.significant(prnu.value, 2)} % (fixed, not in total)",
            )
        quiet = [v for v in (*parts.read[:1], *parts.rounding[:1], float(np.nanmin(total))) if v > 0]
        finite = total[np.isfinite(total)]
        axes.set_ylim(min(quiet) / 2, float(finite.max()) * 2.2)
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log_axis(axis)
        axes.set_xlabel("signal (e⁻)")
        axes.set_ylabel("temporal noise (e⁻)")
        axes.legend(loc="upper left")
    return figure


def signal_to_noise(model: NoiseModel) -> Figure:
    """Signal-to-noise ratio against signal: model, measured levels, and the limit of shot noise."""
    charge = _charge_grid(model)
    ratio = charge / n.noise_parts_e(model.camera, charge).total
    bright = n.levels_of(model.document, "bright")
    measured = n.signal_e(model, bright.mean_dn)
    gain = float(model.camera.system_gain_dn_per_e)
    slope = model.camera.response.derivative(gain * np.where(np.isfinite(measured), measured, 0.0))
    shown = bright.used & np.isfinite(measured) & (measured > 0) & (bright.variance_dn2 > 0) & (slope > 0)
    with style.figure_style():
        figure = style.new_figure(LOW_PX)
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlim=(charge[0], charge[-1] * 1.05))
        axes.plot(charge, ratio, color=style.BLUE, linewidth=2.2, label="noise model", zorder=3)
        if model.camera.kind != "gaussian":
            axes.plot(
                charge,
                np.sqrt(charge),
                color=style.ORANGE,
                linestyle=(0, (1.2, 1.4)),
                linewidth=1.3,
                label="shot noise alone",
            )
        if np.any(shown):
            noise = np.sqrt(bright.variance_dn2[shown]) / (gain * slope[shown])
            axes.plot(
                measured[shown],
                measured[shown] / noise,
                "o",
                color=style.INK,
                markersize=4,
                label="level, used",
                zorder=4,
            )
        threshold = n.sensitivity_threshold_e(model)
        if charge[0] < threshold < charge[-1]:
            axes.plot(
                [threshold, threshold], [axes.get_ylim()[0], 1], color=style.MUTED, linewidth=1, linestyle=(0, (5, 3))
            )
            axes.plot([charge[0], threshold], [1, 1], color=style.MUTED, linewidth=1, linestyle=(0, (5, 3)))
            axes.text(
                threshold * 1.12,
                0.92,
                f"signal = noise\nat {n.significant(threshold)} e⁻",
                fontsize=10,
                color=style.MUTED,
                va="top",
            )
        axes.set_ylim(max(float(ratio.min()) * 0.8, 0.08), float(ratio.max()) * 1.8)
        for axis in (axes.xaxis, axes.yaxis):
            style.plain_log_axis(axis)
        axes.set_xlabel("signal (e⁻)")
        axes.set_ylabel("signal-to-noise ratio")
        axes.legend(loc="upper left")
    return figure


def dark_signal(model: NoiseModel) -> Figure | None:
    """Dark signal against exposure, with the fit; None below two different dark exposures."""
    dark = n.levels_of(model.document, "dark")
    offset = float(model.camera.offset_dn)
    rate = _dark_rate_e(model)
    gain = float(model.camera.system_gain_dn_per_e)
    lines = None if rate is None else (0.0, gain * rate, f"fit: {n.significant(rate)} e⁻/s")
    return _against_exposure(
        dark.exposure_s, dark.mean_dn - offset, dark.mean_std_dn, lines, "dark signal above the offset (DN)"
    )


def dark_variance(model: NoiseModel) -> Figure | None:
    """Dark variance against exposure, with the model's; None below two different dark exposures."""
    dark = n.levels_of(model.document, "dark")
    rate = 0.0 if model.camera.kind == "gaussian" else _dark_rate_e(model)
    gain = float(model.camera.system_gain_dn_per_e)
    lines = None if rate is None else (n.dark_variance_dn2(model), gain**2 * rate, "dark noise and its shot noise")
    return _against_exposure(
        dark.exposure_s, dark.variance_dn2, dark.variance_std_dn2, lines, "temporal variance (DN²)"
    )


def _dark_rate_e(model: NoiseModel) -> float | None:
    entry = model.parameter("dark_current_e_per_s")
    return None if entry is None else entry.value


def _against_exposure(
    exposure_s: FloatArray,
    values: FloatArray,
    errors: FloatArray,
    line: tuple[float, float, str] | None,
    label: str,
) -> Figure | None:
    known = np.isfinite(exposure_s)
    if np.unique(exposure_s[known]).size < 2:
        return None
    with style.figure_style():
        figure = style.new_figure(LOW_PX)
        axes = figure.subplots()
        end = 1.05 * float(exposure_s[known].max())
        axes.errorbar(
            exposure_s[known],
            values[known],
            yerr=errors[known],
            fmt="D",
            color=style.GREEN,
            elinewidth=1,
            label="dark level",
            zorder=4,
        )
        if line is not None:
            start, slope, meaning = line
            axes.plot([0.0, end], [start, start + slope * end], color=style.BLUE, label=meaning)
        axes.set_xlim(-0.02 * end, end)
        axes.margins(y=0.15)
        axes.set_xlabel("exposure (s)")
        axes.set_ylabel(label)
        axes.legend(loc="upper left")
    return figure
