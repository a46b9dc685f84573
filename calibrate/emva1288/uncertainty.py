"""Standard errors by propagating distributions (JCGM 101:2008, GUM Supplement 1).

The numbers behind the formulas are drawn again and again, and the formulas applied to each draw. What is drawn: means
and variances with the sampling errors of their noise, widened where the levels scatter about the standard's own lines
by more than that; the light of every level; the clipped shares; the place of the variance maximum between levels; the
spatial variances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from calibrate.emva1288.sensitivity import SATURATED_SHARE, Sensitivity
from calibrate.emva1288.statistics import Levels

FloatArray = NDArray[np.float64]
DRAWS = 600
#: Chance below which levels are said to scatter by more than their noise.
_SIGNIFICANCE = 0.01
_FEWEST_FOR_SCATTER = 4


@dataclass(frozen=True)
class Scatter:
    """What the levels scatter by beyond their noise.

    Parameters
    ----------
    variance_factor, dark_variance_factor : float
        Birge ratios of bright and dark variances, 1 where the noise explains them.
    light : float
        Relative scatter of the light from level to level.
    offset_dn : float
        Scatter of the offset from level to level.
    """

    variance_factor: float = 1.0
    dark_variance_factor: float = 1.0
    light: float = 0.0
    offset_dn: float = 0.0


@dataclass(frozen=True)
class Draw:
    """One set of numbers that might have been measured."""

    levels: Levels
    share: float
    grid_shift: float
    rng: np.random.Generator


def find_scatter(levels: Levels, found: Sensitivity) -> Scatter:
    """Scatter about the straight lines of photon transfer, linearity and dark current.

    Notes
    -----
    Photon transfer: chi^2 of the variances about the line, per degree of freedom, where it is significant. Light: mean
    squared relative deviation from the linearity line, less what the noise of the means makes. A response that is
    bent looks like scatter here, and widens the errors: the straight line is then the wrong model.
    """
    bright, dark = levels.bright, levels.dark
    rows = found.used
    sigma2 = bright.variance_std_dn2**2 + levels.dark_weights**2 @ dark.variance_std_dn2**2
    about = found.excess_dn2 - found.gain_dn_per_e * found.signal_dn
    factor = _birge(about[rows], sigma2[rows], 1)
    light = 0.0
    line = found.linearity
    if line is not None and int(np.count_nonzero(line.used)) >= _FEWEST_FOR_SCATTER:
        deviation = line.deviation_percent[line.used] / 100.0
        noise = (bright.mean_std_dn / np.maximum(found.signal_dn, 1e-12))[line.used] ** 2
        excess = float(np.sum(deviation**2)) / (deviation.size - 2) - float(np.mean(noise))
        light = float(np.sqrt(max(excess, 0.0)))
    offset, dark_factor = 0.0, 1.0
    t = dark.light
    if dark.size >= _FEWEST_FOR_SCATTER and np.all(np.isfinite(t)) and np.ptp(t) > 0:
        means, variances = _about_line(t, dark.mean_dn), _about_line(t, dark.variance_dn2)
        excess = float(means @ means) / (dark.size - 2) - float(np.mean(dark.mean_std_dn**2))
        offset = float(np.sqrt(max(excess, 0.0)))
        dark_factor = _birge(variances, dark.variance_std_dn2**2, 2)
    return Scatter(factor, dark_factor, light, offset)


def _birge(residuals: FloatArray, sigma2: FloatArray, fitted: int) -> float:
    dof = residuals.size - fitted
    if dof < 1 or not np.all(sigma2 > 0):
        return 1.0
    value = float(np.sum(residuals**2 / sigma2))
    return float(np.sqrt(value / dof)) if chdtrc(dof, value) < _SIGNIFICANCE and value > dof else 1.0


def _about_line(x: FloatArray, y: FloatArray) -> FloatArray:
    centre = x - np.mean(x)
    return y - np.mean(y) - centre * float(centre @ y) / float(centre @ centre)


def draw_levels(levels: Levels, scatter: Scatter, rng: np.random.Generator) -> Draw:
    """Levels as another measurement might have found them."""
    bright, dark = levels.bright, levels.dark
    binomial = np.sqrt(bright.top_share * (1 - bright.top_share) / bright.n_pixels)
    offset = scatter.offset_dn
    lit = replace(
        bright,
        light=bright.light * (1 + scatter.light * rng.standard_normal(bright.size)),
        mean_dn=bright.mean_dn + np.hypot(bright.mean_std_dn, offset) * rng.standard_normal(bright.size),
        variance_dn2=bright.variance_dn2
        + scatter.variance_factor * bright.variance_std_dn2 * rng.standard_normal(bright.size),
        top_share=np.clip(bright.top_share + binomial * rng.standard_normal(bright.size), 0.0, 1.0),
    )
    unlit = replace(
        dark,
        mean_dn=dark.mean_dn + np.hypot(dark.mean_std_dn, offset) * rng.standard_normal(dark.size),
        variance_dn2=dark.variance_dn2
        + scatter.dark_variance_factor * dark.variance_std_dn2 * rng.standard_normal(dark.size),
    )
    share, shift = rng.uniform(*SATURATED_SHARE), rng.uniform(-0.5, 0.5)
    return Draw(replace(levels, bright=lit, dark=unlit), float(share), float(shift), rng)


def standard_errors(
    levels: Levels, scatter: Scatter, values_of: Callable[[Draw], dict[str, float]], seed: int, draws: int = DRAWS
) -> dict[str, float]:
    """Standard deviation of every number over the draws; a name is absent where fewer than half of them give it.

    Parameters
    ----------
    levels : Levels
    scatter : Scatter
    values_of : callable
        From a draw to numbers by name.
    seed : int
    draws : int
        600 know a standard error to 3 %.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(draws):
        for name, value in values_of(draw_levels(levels, scatter, rng)).items():
            drawn.setdefault(name, []).append(value)
    return {
        name: float(np.std(values, ddof=1))
        for name, values in drawn.items()
        if len(values) > draws / 2 and np.all(np.isfinite(values))
    }
