"""Pictures of a series: a quantity against the gain setting, and dark current against temperature."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from calibrate.captures import Setting
from calibrate.plumbing import figures as style
from calibrate.series.dark_current import Law
from calibrate.series.fit import Series
from calibrate.series.text import shown

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.PINK, style.AMBER, style.SKY, style.INK)
_MARKERS = "osD^vPX"
_HEIGHT_PX = 300
_MOST_TICKS = 8
_LEAST_LOG_RATIO = 2.5  # below it a logarithmic axis has hardly a number on it


@dataclass(frozen=True)
class Axis:
    """What lies along x: a number of each fitted setting, or its place in a list of names.

    Parameters
    ----------
    label : str
    values : tuple of float
        One a fitted setting.
    names : tuple of str
        Tick labels where the values are places; empty for numbers.
    logarithmic : bool
    dimension : {"gain_setting", "temperature_c", ""}
    """

    label: str
    values: tuple[float, ...]
    names: tuple[str, ...] = ()
    logarithmic: bool = False
    dimension: str = ""


def axis_of(series: Series) -> Axis:
    """The gain setting where it varies as a number, else the temperature, else the settings side by side."""
    settings = [entry.setting for entry in series.fitted]
    gains = [setting.gain_number for setting in settings]
    numbers = [gain for gain in gains if gain is not None]
    if len(numbers) == len(settings) and len(set(numbers)) > 1:
        iso = settings[0].gain_scale == "iso"
        label = "ISO setting" if iso else "gain setting"
        return Axis(label, tuple(numbers), logarithmic=iso and min(numbers) > 0, dimension="gain_setting")
    temperatures = [setting.temperature_c for setting in settings if setting.temperature_c is not None]
    if len(temperatures) == len(settings) and len(set(temperatures)) > 1:
        return Axis("sensor temperature (°C)", tuple(temperatures), dimension="temperature_c")
    names = tuple(style.safe_label(setting.words, 14) for setting in settings)
    return Axis("setting", tuple(float(i) for i in range(len(settings))), names)


def _lines(series: Series, axis: Axis) -> list[tuple[str, list[int]]]:
    """Settings that differ in the axis alone, as one line each; by name."""
    groups: dict[Setting, list[int]] = {}
    for place, entry in enumerate(series.fitted):
        key = entry.setting
        if axis.dimension == "gain_setting":
            key = replace(key, gain_setting=None)
        elif axis.dimension == "temperature_c":
            key = replace(key, temperature_c=None)
        else:
            key = Setting()
        groups.setdefault(key, []).append(place)
    return [(key.words if len(groups) > 1 else "", places) for key, places in groups.items()]


def against_setting(
    series: Series, name: str, label: str, *, logarithmic: bool = False, unity: bool = False
) -> Figure | None:
    """One quantity against the setting, with two standard errors; None where fewer than two settings have it."""
    axis = axis_of(series)
    if sum(name in entry.quantities for entry in series.fitted) < 2:
        return None
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        for number, (title, places) in enumerate(_lines(series, axis)):
            known = [place for place in places if name in series.fitted[place].quantities]
            if not known:
                continue
            known.sort(key=lambda place: axis.values[place])
            found = [series.fitted[place].quantities[name] for place in known]
            colour = _COLOURS[number % len(_COLOURS)]
            axes.errorbar(
                [axis.values[place] for place in known],
                [quantity.value for quantity in found],
                yerr=[2 * (quantity.std or 0.0) for quantity in found],
                color=colour,
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle="none" if axis.names else "-",
                linewidth=1.3,
                elinewidth=1,
                capsize=2.5,
                label=title or None,
                zorder=3,
            )
        values = [entry.quantities[name].value for entry in series.fitted if name in entry.quantities]
        if logarithmic and min(values) > 0 and max(values) > _LEAST_LOG_RATIO * min(values):
            axes.set_yscale("log")
            _widen_log(axes)
            style.plain_log_axis(axes.yaxis)
        else:
            axes.margins(y=0.18)
        if unity:
            _mark_unity(series, axes)
        _x_axis(axes, axis)
        axes.set_ylabel(label)
        if len(_lines(series, axis)) > 1:
            axes.legend(loc="best")
    return figure


def _widen_log(axes: Axes) -> None:
    low, high = axes.get_ylim()
    spread = max((high / low) ** 0.12, 1.25)
    axes.set_ylim(low / spread, high * spread)


def _mark_unity(series: Series, axes: Axes) -> None:
    """K = 1 DN/e- and the settings that have it, where the axis shows it."""
    low, high = axes.get_ylim()
    if not low < 1 < high:
        return
    axes.axhline(1.0, color=style.MUTED, linewidth=1, linestyle=(0, (5, 3)))
    found = [group.unity.setting for group in series.unity if group.unity.setting is not None]
    for setting in found:
        axes.axvline(setting.value, color=style.MUTED, linewidth=1, linestyle=(0, (5, 3)))
    if len(series.unity) == 1:
        words = "one electron is one code" + "".join(f"\nat {shown(setting)}" for setting in found)
        style.reading_label(axes, 0.98, 0.04, words, transform=axes.transAxes, va="bottom", ha="right")


def _x_axis(axes: Axes, axis: Axis) -> None:
    distinct = np.unique(axis.values)
    if axis.logarithmic:
        axes.set_xscale("log")
    x = axes.xaxis
    if axis.names:
        x.set_major_locator(FixedLocator(list(axis.values)))
        x.set_major_formatter(
            FuncFormatter(lambda value, _: axis.names[round(value)] if _is_place(value, axis) else "")
        )
        for tick in axes.get_xticklabels():
            tick.set_rotation(20)
        axes.set_xlim(-0.5, len(axis.names) - 0.5)
    elif axis.logarithmic or distinct.size <= _MOST_TICKS:
        step = -(-distinct.size // _MOST_TICKS)
        x.set_major_locator(FixedLocator(distinct[::step].tolist()))
        x.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        x.set_minor_locator(NullLocator())
        x.set_minor_formatter(NullFormatter())
    axes.set_xlabel(axis.label)


def _is_place(value: float, axis: Axis) -> bool:
    return abs(value - round(value)) < 1e-6 and 0 <= round(value) < len(axis.names)


def _law_words(law: Law, title: str, n_groups: int) -> str:
    words = f"doubles every {law.quantity.value:.3g} °C"
    return words if n_groups == 1 else f"{title}: {law.quantity.value:.3g} °C"


def dark_current(series: Series) -> Figure | None:
    """Dark current against temperature, logarithmic, with the doubling laws; None where none could be measured."""
    groups = [group for group in series.dark_current if len(set(group.temperatures_c)) > 1]
    positive = [q.value for group in groups for q in group.currents if q.value > 0]
    if not positive:
        return None
    with style.figure_style():
        figure = style.new_figure(_HEIGHT_PX)
        axes = figure.subplots()
        axes.set_yscale("log")
        floor = min(positive) / 4
        for number, group in enumerate(groups):
            colour = _COLOURS[number % len(_COLOURS)]
            title = "" if group.setting.words == "one setting" else group.setting.words
            t = np.array(group.temperatures_c)
            value = np.array([quantity.value for quantity in group.currents])
            error = np.array([2 * (quantity.std or 0.0) for quantity in group.currents])
            shown = value > 0
            below = np.minimum(error, np.maximum(value - floor, 0.0))
            axes.errorbar(
                t[shown],
                value[shown],
                yerr=np.stack([below[shown], error[shown]]),
                fmt=_MARKERS[number % len(_MARKERS)],
                color=colour,
                elinewidth=1,
                capsize=2.5,
                label="dark current" if len(groups) == 1 else title if group.law.doubling is None else None,
                zorder=4,
            )
            span = np.linspace(t.min(), t.max(), 100)
            law, second = group.law.doubling, group.law.activation
            if law is not None:
                axes.plot(span, law.at(span), color=colour, linewidth=1.3, label=_law_words(law, title, len(groups)))
            if second is not None and len(groups) == 1:
                words = f"activation energy {second.quantity.value:.3g} eV"
                axes.plot(span, second.at(span), color=colour, linewidth=1.3, linestyle=(0, (5, 3)), label=words)
        _widen_log(axes)
        style.plain_log_axis(axes.yaxis)
        axes.set_xlabel("sensor temperature (°C)")
        axes.set_ylabel("dark current (e⁻/s)")
        axes.legend(loc="upper left", title=None if len(groups) == 1 else "doubles every")
    return figure
