"""The gain setting at which one electron is one code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.series.quantity import Quantity

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class UnityGain:
    """Where K is 1 DN/e-, or the reason why that is not known.

    Parameters
    ----------
    setting : Quantity or None
        In the camera's own scale.
    reason : str
        Empty where there is a setting.
    axis : str
        ``linear`` or ``logarithmic``: the scale of the setting along which log K was taken as straight.
    """

    setting: Quantity | None
    reason: str = ""
    axis: str = ""


def find_unity_gain(settings: Sequence[float], gains: Sequence[Quantity], *, scale: str = "gain") -> UnityGain:
    r"""Setting at which K is 1 DN/e-, by interpolation of log K between the settings on both sides.

    Parameters
    ----------
    settings : sequence of float
        In the camera's own scale, any order.
    gains : sequence of Quantity
        System gain K of each, DN/e-.
    scale : {"gain", "iso"}
        With ``iso`` K is proportional to the setting by definition, so log K is straight in its logarithm.

    Notes
    -----
    Cameras count their gain in decibels (log K straight in the setting) or as a factor (straight in its logarithm).
    Three settings and more say which: the one whose straight line leaves the smaller residuals. The error is that of
    the two neighbouring K, plus how far interior settings lie from the line between their neighbours beyond their
    errors, over 4, because the error of interpolation goes with the square of the distance. Two settings of unknown
    scale leave the choice open: the value is then midway between both and half their distance is added.
    """
    x, y, error = _sorted(settings, gains)
    if x.size < 2:
        return UnityGain(None, f"{x.size} gain setting(s) given as numbers; two are needed")
    crossings = np.flatnonzero((y[:-1] < 0) != (y[1:] < 0))
    if crossings.size != 1:
        if crossings.size:
            return UnityGain(None, f"K passes 1 DN/e- {crossings.size} times")
        side = "above" if y[0] >= 0 else "below"
        low, high = np.exp(np.min(y)), np.exp(np.max(y))
        return UnityGain(None, f"K is {side} 1 DN/e- at every setting ({low:.3g} to {high:.3g} DN/e-)")
    i = int(crossings[0])
    unit = "ISO" if scale == "iso" else "gain setting"
    if scale == "iso" or np.min(x) <= 0 or x.size > 2:
        logarithmic = scale == "iso" or bool(np.min(x) > 0 and _residual(np.log(x), y) < _residual(x, y))
        value, std = _interpolate(x, y, error, i, logarithmic)
        return UnityGain(Quantity(value, std, unit), axis="logarithmic" if logarithmic else "linear")
    both = [_interpolate(x, y, error, i, logarithmic) for logarithmic in (False, True)]
    value = (both[0][0] + both[1][0]) / 2
    std = float(np.hypot(max(std for _, std in both), abs(both[0][0] - both[1][0]) / 2))
    return UnityGain(Quantity(value, std, unit), axis="linear or logarithmic")


def _sorted(settings: Sequence[float], gains: Sequence[Quantity]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Settings in rising order, log K and its error."""
    order = np.argsort(np.asarray(settings, dtype=np.float64), kind="stable")
    x = np.asarray(settings, dtype=np.float64)[order]
    value = np.array([gains[k].value for k in order])
    std = np.array([gains[k].std or 0.0 for k in order])
    return x, np.log(value), std / value


def _residual(x: FloatArray, y: FloatArray) -> float:
    """Root mean square of y about its straight line in x."""
    line = np.polynomial.Polynomial.fit(x, y, 1)
    return float(np.sqrt(np.mean((y - line(x)) ** 2)))


def _interpolate(x: FloatArray, y: FloatArray, error: FloatArray, i: int, logarithmic: bool) -> tuple[float, float]:
    a = np.log(x) if logarithmic else x
    step, rise = a[i + 1] - a[i], y[i + 1] - y[i]
    share = -y[i] / rise
    place = a[i] + share * step
    noise = np.hypot((1 - share) * error[i], share * error[i + 1])
    std = abs(step / rise) * float(np.hypot(noise, _curvature(a, y, error)))
    return (float(np.exp(place)), float(np.exp(place)) * std) if logarithmic else (float(place), std)


def _curvature(a: FloatArray, y: FloatArray, error: FloatArray) -> float:
    """Error of interpolation in log K: that over two steps, beyond the noise, over 4."""
    if a.size < 3:
        return 0.0
    share = (a[1:-1] - a[:-2]) / (a[2:] - a[:-2])
    miss = y[1:-1] - (1 - share) * y[:-2] - share * y[2:]
    noise = error[1:-1] ** 2 + ((1 - share) * error[:-2]) ** 2 + (share * error[2:]) ** 2
    return float(np.sqrt(np.mean(np.maximum(miss**2 - noise, 0.0)))) / 4
