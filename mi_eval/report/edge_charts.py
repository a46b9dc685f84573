"""Pictures of a measured edge: each function draws one figure."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from calibrate.plumbing import figures as style
from mi_eval.edge.result import EdgeMeasurement

_HEIGHT_PX = 320
_DASHES = (0, (5, 3))
_BANDS = "#CFE3F1"


def mtf(found: EdgeMeasurement) -> Figure:
    """MTF with its 95 % band, MTF50 and the Nyquist frequency."""
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        low, high = found.mtf - 1.96 * found.mtf_std, found.mtf + 1.96 * found.mtf_std
        axes.fill_between(found.frequency, low, high, color=_BANDS, linewidth=0, label="95 % band")
        axes.plot(found.frequency, found.mtf, color=style.BLUE, label="MTF")
        axes.axhline(0, color=style.MUTED, linewidth=0.8)
        axes.axvline(0.5, color=style.MUTED, linewidth=1, linestyle=_DASHES)
        axes.set_ylim(-0.08, max(1.12, 1.08 * float(found.mtf.max())))
        style.reading_label(axes, 0.51, 0.88, "Nyquist", transform=axes.get_xaxis_transform())
        if found.mtf50 is not None:
            axes.plot(found.mtf50.value, 0.5, "o", color=style.ORANGE, markersize=7)
            style.reading_label(
                axes, found.mtf50.value + 0.025, 0.53, f"MTF50 {found.mtf50.value:.3f}", color=style.INK
            )
        axes.set_xlim(0, 1)
        axes.set_xlabel("spatial frequency (cycles per pixel)")
        axes.set_ylabel("modulation")
        axes.legend(loc="upper right")
    return figure


def edge_spread(found: EdgeMeasurement) -> Figure:
    """Edge spread function in electrons, and the line spread function below."""
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX + 60)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        x = found.position_px
        above.fill_between(x, found.esf_e - 1.96 * found.esf_std_e, found.esf_e + 1.96 * found.esf_std_e, color=_BANDS)
        above.plot(x, found.esf_e, color=style.BLUE, marker=".", markersize=3.5, linewidth=1.2)
        for level in (found.dark_e.value, found.bright_e.value):
            above.axhline(level, color=style.MUTED, linewidth=0.9, linestyle=_DASHES)
        above.set_ylabel("charge (e⁻)")
        below.axhline(0, color=style.MUTED, linewidth=0.8)
        below.plot(x, found.lsf_per_px, color=style.ORANGE, linewidth=1.4)
        below.set_ylabel("line spread\n(1/px)")
        below.set_xlabel("distance from the edge along its normal (pixels)")
        below.set_xlim(float(x[0]), float(x[-1]))
        figure.align_ylabels()
    return figure


def noise_spectrum(found: EdgeMeasurement) -> Figure | None:
    """Measured noise power of both sides against the noise model's."""
    if not found.sides:
        return None
    colours = {"dark": style.INK, "bright": style.ORANGE}
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        for name, side in found.sides.items():
            colour = colours[name]
            axes.errorbar(
                side.frequency,
                side.spectrum_e2,
                yerr=1.96 * side.spectrum_std_e2,
                fmt="o",
                color=colour,
                elinewidth=1,
                markersize=4,
                label=f"{name} side, measured",
            )
            axes.axhline(side.model_variance_e2, color=colour, linewidth=1.5, label=f"{name} side, noise model")
        axes.set_yscale("log")
        low = min(float(np.min(side.spectrum_e2)) for side in found.sides.values())
        high = max(float(np.max(side.spectrum_e2)) for side in found.sides.values())
        axes.set_ylim(low / 1.6, high * (high / low) ** 0.45 * 1.4)
        style.plain_log_axis(axes.yaxis)
        axes.set_xlim(0, 0.72)
        axes.set_xlabel("radial spatial frequency (cycles per pixel)")
        axes.set_ylabel("noise power (e⁻²)")
        axes.legend(loc="upper left", ncols=2, fontsize=9.5)
    return figure


def quanta(found: EdgeMeasurement) -> Figure | None:
    """Noise-equivalent quanta of both sides."""
    if not found.sides:
        return None
    colours = {"dark": style.INK, "bright": style.ORANGE}
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        for name in found.sides:
            f, by_model, measured = found.noise_equivalent_quanta(name)
            axes.plot(f, by_model, color=colours[name], label=f"{name} side, noise model")
            axes.plot(f, measured, "o", color=colours[name], markersize=4, label=f"{name} side, measured")
        axes.set_xlim(0, 0.5)
        bottom, top = axes.get_ylim()
        axes.set_ylim(min(bottom, 0.0), 1.35 * top)
        axes.set_xlabel("spatial frequency (cycles per pixel)")
        axes.set_ylabel("noise-equivalent quanta")
        axes.legend(loc="upper right", ncols=2, fontsize=9.5)
    return figure


def region(found: EdgeMeasurement) -> Figure:
    """The measured region, in electrons."""
    values, _ = style.downsample(found.picture, 400)
    low, high = style.robust_limits(values)
    tall = float(np.clip(0.9 * style.FIGURE_WIDTH_PX * values.shape[0] / values.shape[1], 120, 420))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 60)
        axes = figure.subplots()
        drawn = axes.imshow(values, norm=Normalize(low, high), cmap=matplotlib.colormaps["cividis"].resampled(64))
        axes.set_axis_off()
        figure.colorbar(drawn, ax=axes, orientation="horizontal", fraction=0.05, pad=0.03, label="charge (e⁻)")
    return figure
