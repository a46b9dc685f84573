"""Do the maps repeat? Those from one half of the frames against those from the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.estimate import PixelEstimates, estimate_pixels
from calibrate.pixel_maps.stream import Tile

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]

_FEWEST_PIXELS = 4
#: Names in DN that are compared, and the maps they stand for.
_COMPARED = {
    "offset_dn": "offset_dn",
    "read_variance_dn2": "read_noise_e",
    "rate_dn_per_s": "dark_current_e_per_s",
    "response": "prnu",
    "gain_dn_per_e": "system_gain_dn_per_e",
}


@dataclass(frozen=True)
class Repeatability:
    """How well one map repeats.

    Parameters
    ----------
    variance_ratio : float
        Mean over good pixels of difference^2 over that of std_a^2 + std_b^2: 1 where the stated errors are right. (A
        mean of ratios would not be: where few frames make a variance come out high, its stated error does too.)
    correlation : float
        Of the two halves over good pixels: share of their spread that is the pixels' own.
    n_pixels : int
        Good pixels compared.
    """

    variance_ratio: float
    correlation: float
    n_pixels: int


def compare_halves(tiles: Sequence[Tile], design: Design, good: BoolArray) -> dict[str, Repeatability]:
    """Repeatability of each map that both halves of the frames can give.

    Differences are about their mean: a lamp or an offset that moved between the halves moves all pixels alike. Read
    noise is compared as a variance, which needs no root of negative numbers.
    """
    compared = [tile for tile in tiles if tile.halves is not None]
    halves: list[tuple[PixelEstimates, Design]] = []
    for h in (0, 1):
        sums = [tile.halves[h] for tile in compared if tile.halves is not None]
        if not sums:
            return {}
        own = replace(design, seen=tuple(sums[0].seen))
        if not (own.dark_moments[0] > 0 and own.dark_weight > 0):
            return {}
        halves.append((estimate_pixels(sums, own), own))
    chosen = np.concatenate([good[tile.whole.start : tile.whole.stop] for tile in compared])
    if np.count_nonzero(chosen) < _FEWEST_PIXELS:
        return {}
    out = {}
    for name, map_name in _COMPARED.items():
        first, second = (getattr(half, name) for half, _ in halves)
        if first is None or second is None:
            continue
        a, b = first[chosen].astype(np.float64), second[chosen].astype(np.float64)
        errors = _errors_of_variance(halves) if name == "read_variance_dn2" else _errors(name, halves)
        difference = a - b
        difference -= np.mean(difference)
        n = difference.size
        spread = float(np.std(a) * np.std(b))
        covariance = float(np.mean((a - np.mean(a)) * (b - np.mean(b))))
        out[map_name] = Repeatability(
            variance_ratio=float(np.mean(difference**2) / np.mean(errors[chosen])) * n / (n - 1),
            correlation=covariance / spread if spread > 0 else 0.0,
            n_pixels=n,
        )
    return out


def _errors(name: str, halves: Sequence[tuple[PixelEstimates, Design]]) -> FloatArray:
    """Error variance of the difference of the halves."""
    first, second = (np.square(half.std[name], dtype=np.float64) for half, _ in halves)
    return np.asarray(first + second)


def _errors_of_variance(halves: Sequence[tuple[PixelEstimates, Design]]) -> FloatArray:
    """The same for the read variance, its square taken as the product of the halves' own.

    That product is unbiased whatever the spread of the pixels' noise; a few frames' best guess squared is not.
    """
    still = [half.read_variance_dn2.astype(np.float64) + design.dark_rounding_dn2 for half, design in halves]
    square, mean = still[0] * still[1], (still[0] + still[1]) / 2
    out = np.zeros_like(mean)
    for half, design in halves:
        gain = design.fit.system_gain_dn_per_e
        shot_rate: FloatArray | float = gain * design.fit.dark_rate_dn_per_s if design.has_exposures else 0.0
        if half.rate_dn_per_s is not None:
            shot_rate = gain * half.rate_dn_per_s.astype(np.float64)
            out += (gain * design.noise_exposure_s) ** 2 * np.square(half.std["rate_dn_per_s"], dtype=np.float64)
        a2, ab, b2, b = design.dark_spread()
        out += a2 * square + shot_rate * (ab * mean + b2 * shot_rate + b)
    return out
