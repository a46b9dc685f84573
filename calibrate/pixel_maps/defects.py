"""Which pixels are not like the others: limits from robust deviations, and how many false alarms they let through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.special import chdtrc, gammaincc, gammaincinv, ndtr, ndtri

from calibrate.noise_model.credibility import sample
from calibrate.noise_model.defect_kinds import DEFECT_KINDS
from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.estimate import PixelEstimates
from calibrate.pixel_maps.telegraph import FEWEST_DARKS, expected_false_alarms, two_levels

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
MaskArray = NDArray[np.uint8]

#: False alarms that the limit on the noise allows in a frame of normal noise.
_FALSE_ALARMS = 0.01
_NOISY_FROM = 9.0  # times the typical variance: three times the noise
#: Share of the scatter that chance makes below which a spread of the pixels themselves cannot be seen beside it.
_UNKNOWN_SHARE = 0.05
_HOT_NOISES = 3.0
_SURE = 5.0
#: Rounding alone can give a quiet pixel half-way between two codes a variance of 1/4 DN^2.
_ROUNDING_LIMIT_DN2 = 0.5
_NEIGHBOURHOOD = 15  # pixels a side, on each of the four grids of every second row and column
#: Telegraph noise is looked for where the variance is twice the typical one, in the noisiest pixels.
_TELEGRAPH_FROM = 2.0
_MOST_CODES = 1 << 24


@dataclass(frozen=True)
class DefectCount:
    """Pixels of one kind.

    Parameters
    ----------
    count : int
    limit : float or None
        The threshold in ``unit``; None where the kind has none, or could not be looked for.
    unit : str
    expected_false_alarms : float
        Pixels like the median one that noise alone is expected to carry over the limit.
    """

    count: int
    limit: float | None
    unit: str
    expected_false_alarms: float


@dataclass(frozen=True)
class Defects:
    """The mask (height, width), one `DefectKind.bit` a kind, and the counts by kind."""

    mask: MaskArray
    counts: dict[str, DefectCount]


def find_defects(
    pixels: PixelEstimates,
    design: Design,
    constant: BoolArray,
    shape: tuple[int, int],
    dark_codes: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    n_darks: int,
) -> Defects:
    """Hot, cold, stuck, noisy and telegraph pixels.

    Parameters
    ----------
    pixels : PixelEstimates
    design : Design
    constant : ndarray of bool
        Pixels that gave one code only.
    shape : (height, width)
    dark_codes : callable
        Codes of chosen pixels in all darks less each pixel's mean at their exposure, (n_pixels, n_darks).
    n_darks : int
    """
    mask = np.zeros(shape[0] * shape[1], dtype=np.uint8)
    counts: dict[str, DefectCount] = {}

    def mark(name: str, found: BoolArray, limit: float | None, unit: str, alarms: float) -> None:
        mask[found] |= np.uint8(DEFECT_KINDS[name].bit)
        counts[name] = DefectCount(int(np.count_nonzero(found)), limit, unit, alarms)

    hot, limit, alarms = _hot(pixels, design)
    mark("hot", hot, limit, "DN", alarms)
    if pixels.response is not None:
        share = _share_of_neighbours(pixels.response.reshape(shape)).reshape(-1)
        least = DEFECT_KINDS["cold"].threshold
        noise = robust_deviation(pixels.std["response"])[0]
        mark("cold", share < least, least, "1", _tail(mask.size, ndtr(-(1 - least) / max(noise, 1e-9))))
        mark("stuck", constant, None, "1", 0.0)
    ratio, noisy, limit, alarms = _noisy(pixels, design)
    mark("noisy", noisy, limit, "DN2", alarms)
    if n_darks >= FEWEST_DARKS:
        floor = _ROUNDING_LIMIT_DN2 if design.fit.rounding_dn2 > 0 else 0.0
        candidates = np.flatnonzero((ratio > _TELEGRAPH_FROM) & (pixels.dark_variance_dn2 > floor))
        most = _MOST_CODES // n_darks
        if candidates.size > most:
            candidates = np.sort(candidates[np.argsort(-ratio[candidates], kind="stable")[:most]])
        found = np.zeros(mask.size, dtype=bool)
        if candidates.size:
            found[candidates] = two_levels(dark_codes(candidates.astype(np.int64)))
        mark("telegraph", found, None, "1", expected_false_alarms(candidates.size, n_darks))
    return Defects(mask.reshape(shape), counts)


def robust_deviation(values: NDArray[np.floating]) -> tuple[float, float]:
    """Median, and the standard deviation that a normal law with these quartiles has."""
    flat = values.reshape(-1)
    low, middle, high = np.percentile(flat[sample(flat.size)], [25, 50, 75])
    return float(middle), float(high - low) / 1.349


def _hot(pixels: PixelEstimates, design: Design) -> tuple[BoolArray, float, float]:
    """Pixels of high dark signal at the longest exposure, the limit (DN), and the false alarms: a Poisson-like tail.

    A very noisy pixel is not hot because its mean errs: it must stand out by five of its own errors.
    """
    signal, t = pixels.offset_dn, 0.0
    if pixels.rate_dn_per_s is not None:
        t = design.longest_dark_s
        signal = signal + np.float32(t) * pixels.rate_dn_per_s
    median, spread = robust_deviation(signal)
    still, third = pixels.typical_dn2, design.dark_prediction_third(t)
    by_still, by_rate = design.dark_prediction(t)
    shot_rate = design.fit.system_gain_dn_per_e * max(design.fit.dark_rate_dn_per_s, 0.0)
    quiet = max(still - shot_rate * design.noise_exposure_s, 0.0)
    noise = float(np.sqrt(by_still * quiet + by_rate * shot_rate))
    limit = median + max(DEFECT_KINDS["hot"].threshold * max(spread, noise), _HOT_NOISES * float(np.sqrt(still)))
    hot = signal > limit
    found = np.flatnonzero(hot)
    own = np.square(pixels.std["offset_dn"][found])
    if pixels.rate_dn_per_s is not None:
        own = own + np.square(np.float32(t) * pixels.std["rate_dn_per_s"][found])
    hot[found] = np.square(signal[found] - median) > _SURE**2 * own
    if noise <= 0:
        return hot, limit, 0.0
    return hot, limit, _tail(signal.size, _skewed_tail((limit - median) / noise, third / noise**3))


def _noisy(pixels: PixelEstimates, design: Design) -> tuple[NDArray[np.float32], BoolArray, float, float]:
    """Dark variance over what its own dark charge lets expect; the noisy pixels, the limit (DN^2), false alarms."""
    fit, t = design.fit, design.noise_exposure_s
    variance = pixels.dark_variance_dn2
    dof = design.dark_dof
    low, middle, high = 2.0 * gammaincinv(0.5 * dof, [0.25, 0.5, 0.75])
    typical = max(robust_deviation(variance)[0] * dof / middle, fit.smallest_variance_dn2)
    shot_rate = fit.system_gain_dn_per_e * max(fit.dark_rate_dn_per_s, 0.0) if design.has_exposures else 0.0
    still = max(typical - shot_rate * t, 0.0)
    own_rate: NDArray[np.float32] | float = shot_rate
    if pixels.rate_dn_per_s is not None:
        own_rate = np.maximum(np.float32(fit.system_gain_dn_per_e) * pixels.rate_dn_per_s, np.float32(shot_rate))
    a2, ab, b2, b = (np.float32(c) for c in design.dark_spread())
    expected = np.float32(still) + np.float32(t) * own_rate
    spread = np.float32(still) * (a2 * np.float32(still) + ab * own_rate) + own_rate * (b2 * own_rate + b)
    ratio = np.asarray(variance / expected)
    _, scatter = robust_deviation(np.log(np.maximum(variance[sample(variance.size)], np.float32(1e-6 * typical))))
    chance = (np.log(high / low) / 1.349) ** 2
    between = float(np.sqrt(max(scatter**2 - chance, _UNKNOWN_SHARE * chance)))
    far = max(float(np.exp(DEFECT_KINDS["noisy"].threshold * between)), 1.0)
    # Wilson and Hilferty: (chi^2_nu/nu)^(1/3) is nearly normal, with variance 2/(9 nu) = spread/(9 expected^2).
    width = spread / (np.float32(9.0) * expected**2)
    surprise = (np.cbrt(ratio / np.float32(far)) - (1 - width)) / np.sqrt(width)
    beyond = -float(ndtri(_FALSE_ALARMS / variance.size))
    noisy = (ratio > _NOISY_FROM) & (surprise > beyond)
    if fit.rounding_dn2 > 0:
        noisy &= variance > _ROUNDING_LIMIT_DN2
    reach = float((1 - 2 / (9 * dof) + beyond * np.sqrt(2 / (9 * dof))) ** 3)
    limit = typical * max(_NOISY_FROM, far * reach)
    return ratio, noisy, limit, min(_FALSE_ALARMS, _tail(variance.size, chdtrc(dof, dof * limit / typical)))


def _share_of_neighbours(response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Response of each pixel over the mean around it, of pixels two apart: those under the same colour filter."""
    whole = 1 + response
    median, spread = robust_deviation(whole)
    reach = np.float32(max(0.5 * abs(median), 6 * spread))
    tame = np.clip(whole, np.float32(median) - reach, np.float32(median) + reach)
    around = np.empty_like(whole)
    for row in (0, 1):
        for column in (0, 1):
            grid = tame[row::2, column::2]
            if grid.size:
                around[row::2, column::2] = uniform_filter(grid, size=_NEIGHBOURHOOD, mode="nearest")
    return np.asarray(whole / np.maximum(around, np.float32(1e-3)))


def _skewed_tail(z: float, skewness: float) -> float:
    """Upper tail of a Pearson III law of unit variance: a Poisson law smoothed by read noise is close to it."""
    if skewness < 1e-4:
        return float(ndtr(-z))
    shape = 4 / skewness**2
    return float(gammaincc(shape, np.maximum(z * np.sqrt(shape) + shape, 0.0)))


def _tail(n: int, probability: float) -> float:
    return float(n * probability)
