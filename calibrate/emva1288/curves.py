"""The standard's curves as small tables of numbers, thinned for drawing and rounded for the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.emva1288.defects import accumulated_histogram, logarithmic_histogram
from calibrate.emva1288.highpass import high_pass
from calibrate.emva1288.nonuniformity import profiles, spectrogram
from calibrate.emva1288.sensitivity import Sensitivity
from calibrate.emva1288.stacks import Stack
from calibrate.emva1288.statistics import Levels
from calibrate.schema import EmvaCurveEntry

FloatArray = NDArray[np.float64]

PROFILE_POINTS = 120
SPECTRUM_POINTS = 160
_DIGITS = 5


def level_curves(levels: Levels, found: Sensitivity) -> dict[str, EmvaCurveEntry]:
    """Photon transfer, linearity and darks of the levels."""
    bright, dark = levels.bright, levels.dark
    light_unit = {"photons": "photons", "s": "s"}.get(levels.light_unit, "")
    columns = {
        "signal_dn": found.signal_dn,
        "variance_dn2": bright.variance_dn2,
        "excess_variance_dn2": found.excess_dn2,
        "fitted": found.used.astype(np.float64),
    }
    units = {"signal_dn": "DN", "variance_dn2": "DN^2", "excess_variance_dn2": "DN^2", "fitted": "1"}
    if light_unit:
        columns["light"], units["light"] = bright.light, light_unit
    curves = {"levels": _table(columns, units)}
    line = found.linearity
    if line is not None and light_unit:
        known = np.isfinite(line.deviation_percent)
        curves["linearity"] = _table(
            {
                "light": bright.light[known],
                "signal_dn": found.signal_dn[known],
                "deviation_percent": line.deviation_percent[known],
                "judged": line.used[known].astype(np.float64),
            },
            {"light": light_unit, "signal_dn": "DN", "deviation_percent": "%", "judged": "1"},
        )
        ends = np.array([0.0, float(np.max(bright.light))])
        curves["linearity_line"] = _table(
            {"light": ends, "signal_dn": line.offset_dn + line.slope * ends}, {"light": light_unit, "signal_dn": "DN"}
        )
    if np.all(np.isfinite(dark.light)) and np.ptp(dark.light) > 0:
        curves["dark"] = _table(
            {"exposure_s": dark.light, "mean_dn": dark.mean_dn, "variance_dn2": dark.variance_dn2},
            {"exposure_s": "s", "mean_dn": "DN", "variance_dn2": "DN^2"},
        )
    return curves


def image_curves(dark: Stack, bright: Stack | None) -> dict[str, EmvaCurveEntry]:
    """Spectrograms, profiles and histograms of the dark stack, and of the bright stack less the dark one."""
    curves = _of_image(dark.mean_image_dn, dark.n_frames, "dsnu", 1.0, "DN")
    if bright is not None and bright.mean_dn > dark.mean_dn:
        difference = bright.mean_image_dn - dark.mean_image_dn
        percent = 100.0 / (bright.mean_dn - dark.mean_dn)
        curves |= _of_image(difference, min(bright.n_frames, dark.n_frames), "prnu", percent, "%")
    return curves


def _of_image(image: FloatArray, n_frames: int, name: str, factor: float, unit: str) -> dict[str, EmvaCurveEntry]:
    filtered = high_pass(image)
    curves = {}
    for axis, direction in ((1, "horizontal"), (0, "vertical")):
        frequency, root = spectrogram(filtered, axis)
        groups = _groups(frequency.size - 1, SPECTRUM_POINTS) + 1  # the mean is no pattern
        curves[f"spectrogram_{name}_{direction}"] = _table(
            # The largest of a group, so that a peak keeps its height.
            {
                "cycles_per_pixel": _thinned(frequency, groups, "mean"),
                "root_power": factor * _thinned(root, groups, "max"),
            },
            {"cycles_per_pixel": "1/pixel", "root_power": unit},
        )
        lines = profiles(image, axis)
        groups = _groups(image.shape[axis], PROFILE_POINTS)
        how = {"middle": "mean", "mean": "mean", "minimum": "min", "maximum": "max"}
        curves[f"profile_{name}_{direction}"] = _table(
            {"pixel": _thinned(np.arange(image.shape[axis], dtype=np.float64), groups, "mean")}
            | {key: _thinned(line, groups, how[key]) for key, line in lines.items()},
            {"pixel": "pixel"} | dict.fromkeys(lines, "DN"),
        )
    histogram = logarithmic_histogram(filtered, n_frames, factor)
    curves[f"histogram_{name}"] = _table(
        {"deviation": histogram.centre, "pixels": histogram.count.astype(np.float64), "normal": histogram.normal},
        {"deviation": unit, "pixels": "1", "normal": "1"},
    )
    deviation, percent = accumulated_histogram(filtered, factor)
    curves[f"accumulated_{name}"] = _table(
        {"deviation": deviation, "percent_of_pixels": percent}, {"deviation": unit, "percent_of_pixels": "%"}
    )
    return curves


def _groups(size: int, limit: int) -> NDArray[np.int64]:
    """Starts of at most ``limit`` groups of equal length that cover ``size`` values."""
    return np.arange(0, size, max(1, -(-size // limit)))


def _thinned(values: FloatArray, starts: NDArray[np.int64], how: str) -> FloatArray:
    if how == "mean":
        ends = np.append(starts[1:], values.size)
        return np.asarray(np.add.reduceat(values, starts) / (ends - starts))
    return np.asarray((np.maximum if how == "max" else np.minimum).reduceat(values, starts))


def _table(columns: dict[str, FloatArray], units: dict[str, str]) -> EmvaCurveEntry:
    rounded = {
        name: tuple(float(f"{value:.{_DIGITS}g}") for value in np.asarray(column, dtype=np.float64))
        for name, column in columns.items()
    }
    return EmvaCurveEntry(columns=rounded, units=units)
