"""What could make the observed variances differ from the predicted ones: one-parameter changes of the camera.

Each cause changes the first-order variance slope^2 (shot + read) + rounding in a way of its own:

    gain          shot -> g shot, read -> g^2 read      (the frames have g times the model's system gain; the charge
                                                         of a dark is known, and its shot noise goes with g^2)
    excess        shot -> F^2 shot                      (noise of amplification)
    read noise    read -> read + w
    bend          everything times 1 + c u/u_top        (a response that the model does not have)

The one that leaves the least chi-square is named, together with those that leave hardly more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from calibrate.validation.ranges import Comparison, SignalRange

FloatArray = NDArray[np.float64]

#: Causes within this chi-square of the best cannot be told from it, and one that gains less is none (three standard
#: errors).
_UNDECIDED = 9.0
#: Variances differ for more reasons than one where this much chi-square per range is left ...
_LEFT_PER_RANGE = 4.0
#: ... and the rest is larger than this share of the variance.
_LEFT_SHARE = 0.02


@dataclass(frozen=True)
class Cause:
    """One change that would explain the variances.

    Parameters
    ----------
    code : str
        Of the diagnosis.
    value, std : float
        gain: factor g; excess: F^2; read noise: new over old (K r)^2; bend: c, the relative change of the variance at
        the highest signal.
    chi_square : float
        Of what is left of the variances, and of the third cumulants: what the causes are compared by.
    chi_square_left : float
        Of the variances alone.
    difference_dn2 : ndarray (n_ranges,)
        Observed variances less those that the cause predicts.
    """

    code: str
    value: float
    std: float
    chi_square: float
    chi_square_left: float
    difference_dn2: FloatArray


@dataclass(frozen=True)
class Explanation:
    """The causes that explain the variances about equally well, best first, and whether they are enough."""

    causes: tuple[Cause, ...]
    is_enough: bool


def explain(comparison: Comparison, shift_dn: float = 0.0, rate_dn_per_s: float = 0.0) -> Explanation:
    """The simplest change of the camera that would make the variances agree.

    Parameters
    ----------
    shift_dn : float
        By how much the darks show the offset to lie above the model's; the brights' signals are that much smaller.
    rate_dn_per_s : float
        By how much they show them to rise faster; their charge is that much larger.
    """
    parts = _Parts(comparison, shift_dn, rate_dn_per_s)
    tried: list[Cause] = []
    if np.any(parts.bright):
        # Another gain makes the darks rise faster without more charge.
        plain = _Parts(comparison, shift_dn, 0.0)
        tried.append(_fit(plain, "wrong_gain_setting", _gain, np.log(0.02), np.log(50.0)))
        tried.append(_fit(parts, "excess_noise", _excess, 0.0, np.log(8.0)))
        if int(np.sum(parts.bright & comparison.judged)) > 1:
            tried.append(_fit(parts, "nonlinearity", _bend, -0.95, 3.0))
    tried.append(_fit(parts, "read_noise_changed", _read, -1.0, 400.0))
    before = _chi_square(parts, np.zeros(parts.shot.shape), np.ones(parts.shot.shape))
    tried = sorted((c for c in tried if c.chi_square < before - _UNDECIDED), key=lambda cause: cause.chi_square)
    if not tried:
        return Explanation((), False)
    best = tried[0]
    close = tuple(cause for cause in tried if cause.chi_square < best.chi_square + _UNDECIDED)
    count = int(np.sum(comparison.judged))
    enough = best.chi_square_left < _LEFT_PER_RANGE * count + 10
    return Explanation(close, enough or comparison.largest_misfit(best.difference_dn2) < _LEFT_SHARE)


def moved(comparison: Comparison, shift_dn: float, rate_dn_per_s: float) -> FloatArray:
    """Observed variances less those predicted with the offset and dark current that the darks show; see `explain`."""
    parts = _Parts(comparison, shift_dn, rate_dn_per_s)
    return parts.observed - parts.predicted


class _Parts:
    """The ranges as arrays."""

    def __init__(self, comparison: Comparison, shift_dn: float, rate_dn_per_s: float) -> None:
        self.comparison = comparison
        ranges = comparison.ranges

        def values(get: Callable[[SignalRange], float]) -> FloatArray:
            return np.array([get(entry) for entry in ranges], dtype=np.float64)

        self.bright = np.array([entry.kind == "bright" for entry in ranges], dtype=bool)
        self.observed = values(lambda entry: entry.observed_variance_dn2)
        self.predicted = values(lambda entry: entry.predicted_variance_dn2)
        self.slope = values(lambda entry: entry.slope**2)
        self.gain = values(lambda entry: entry.slope)
        self.shot = values(lambda entry: entry.shot_dn2)
        self.read = values(lambda entry: entry.read_dn2)
        self.third = values(lambda entry: entry.third_dn3)
        self.third_std = values(lambda entry: entry.third_std_dn3)
        self.system_gain = values(lambda entry: entry.system_gain_dn_per_e)
        exposure = values(lambda entry: entry.exposure_s or 0.0)
        more = np.where(self.bright, -shift_dn, rate_dn_per_s * exposure)
        raised = np.maximum(self.shot + self.system_gain * more, 0.0)
        self.predicted = self.predicted + self.slope * (raised - self.shot)
        self.shot = raised
        top = float(np.max(self.shot, initial=0.0))
        self.height = np.where(self.bright, self.shot / top if top > 0 else 0.0, 0.0)
        scale = float(np.median(self.read)) if self.read.size else 0.0
        self.read_scale = max(scale, 1e-3 * float(np.median(self.predicted)) if self.predicted.size else 1.0)


def _gain(parts: _Parts, x: float) -> tuple[FloatArray, FloatArray]:
    g = np.exp(x)
    shot = np.where(parts.bright, g - 1, g * g - 1) * parts.shot
    return parts.slope * (shot + (g * g - 1) * parts.read), np.full(parts.shot.shape, g * g)


def _excess(parts: _Parts, x: float) -> tuple[FloatArray, FloatArray]:
    # Amplification that multiplies each electron by a gamma variate of relative variance c: F^2 = 1 + c, and the
    # third moment is (1 + c)(1 + 2 c). c = 1 is an electron-multiplying register.
    factor = np.exp(x)
    return parts.slope * (factor - 1) * parts.shot, np.full(parts.shot.shape, factor * (2 * factor - 1))


def _read(parts: _Parts, x: float) -> tuple[FloatArray, FloatArray]:
    return parts.slope * np.maximum(x * parts.read_scale, -parts.read), np.ones(parts.shot.shape)


def _bend(parts: _Parts, x: float) -> tuple[FloatArray, FloatArray]:
    return parts.predicted * x * parts.height, np.ones(parts.shot.shape)


def _chi_square(parts: _Parts, more: FloatArray, third: FloatArray) -> float:
    """Of the variances with ``more`` predicted, and of the brights' third cumulants at ``third`` times shot noise's."""
    rows = parts.comparison.judged
    r = (parts.observed - parts.predicted - more)[rows]
    value = float(r @ np.linalg.solve(parts.comparison.covariance_dn4[np.ix_(rows, rows)], r))
    speaks = rows & parts.bright & (parts.third_std > 0)
    expected = third * parts.system_gain * parts.shot * parts.gain**3
    # Near the ceiling and for bent responses the third cumulant is not that of shot noise alone: 10 %.
    std = np.hypot(parts.third_std, 0.1 * expected)
    return value + float(np.sum(((parts.third - expected) / np.where(std > 0, std, 1.0))[speaks] ** 2))


def _fit(
    parts: _Parts,
    code: str,
    change: Callable[[_Parts, float], tuple[FloatArray, FloatArray]],
    low: float,
    high: float,
) -> Cause:
    """The least chi-square over the change's parameter, by a grid and a search between its points."""

    def left(x: float) -> float:
        return _chi_square(parts, *change(parts, x))

    grid = np.linspace(low, high, 121)
    if high > 50:  # read noise: fine where it is small
        grid = np.concatenate([np.linspace(low, 3.0, 81), np.geomspace(3.1, high, 40)])
    values = [left(float(x)) for x in grid]
    place = int(np.argmin(values))
    bracket = (float(grid[max(place - 1, 0)]), float(grid[min(place + 1, grid.size - 1)]))
    found = minimize_scalar(left, bounds=bracket, method="bounded", options={"xatol": 1e-7})
    x = float(found.x) if float(found.fun) < values[place] else float(grid[place])
    best = min(float(found.fun), values[place])
    step = 1e-3 * max(abs(x), 0.1)
    curvature = (left(x + step) - 2 * left(x) + left(x - step)) / step**2
    std = float(np.sqrt(2 / curvature)) if curvature > 0 else float("inf")
    more, _ = change(parts, x)
    rest = parts.observed - parts.predicted - more
    cause = Cause(code, x, std, best, parts.comparison.chi_square(rest)[0], rest)
    if code in ("wrong_gain_setting", "excess_noise"):
        return replace(cause, value=float(np.exp(x)), std=float(np.exp(x)) * std)
    if code == "read_noise_changed":
        unit = parts.read_scale / max(float(np.median(parts.read)), 1e-300) if np.any(parts.read > 0) else 1.0
        return replace(cause, value=1 + x * unit, std=std * unit)
    return cause
