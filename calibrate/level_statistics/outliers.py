"""Single-frame outliers (cosmic rays, sparks): taken out of the pair sums, and the cut corrected for.

A pixel that stands out in one frame adds the square of its height to the variance: 1 in 10 000 pixels can raise the
gain by percents. A pixel that is noisy in every frame is another matter: its noise belongs to the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from calibrate.level_statistics.levels import LevelStatistics
from calibrate.level_statistics.pairs import Candidates, PairSums

#: Where the differences are cut, in standard deviations: 6e-5 of normal ones lie beyond.
CUT_SIGMAS = 4.0
#: Excess kurtosis of a difference from which the tails of its own law are taken for it: a few electrons and less.
_LARGEST_EXCESS = 0.5
#: Share of candidates seen again in the next pair, beyond chance, from which they are noisy pixels and no events.
_PERSISTENT_SHARE = 0.02
#: Brights over heavy-tailed darks are cut only where light makes up this much of their variance.
_SHOT_SHARE = 0.8


def reject_outliers(levels: tuple[LevelStatistics, ...]) -> tuple[LevelStatistics, ...]:
    """The levels with single-frame outliers taken out of the pairs that hold any; the others as they are.

    Notes
    -----
    Differences beyond ``CUT_SIGMAS`` of the local noise are removed, and the variance is divided by what the cut
    leaves of a law with the shot noise's kurtosis (Gram-Charlier). Outliers below the cut cannot be seen: as many per
    unit of height are taken off as there are between once and twice the cut, which is exact for a flat law of heights.
    Pairs in which the noise itself has such tails (few electrons) are left alone; so are the darks of a sensor whose
    large differences come back in the same pixels from pair to pair.
    """
    if not any(pair.candidates is not None for level in levels for pair in level.pairs):
        return levels
    cut = _rough_camera(tuple(_with_pairs(level, tuple(_cut(p, 0.0) for p in level.pairs)) for level in levels))
    plain = _rough_camera(levels)
    persistent = _large_differences_come_back(levels)
    out = []
    for level in levels:
        pairs = []
        for pair in level.pairs:
            shot, variance = cut.shot_and_variance(_cut(pair, 0.0), level.kind == "dark")
            excess = cut.gain**2 * shot / (2 * variance**2)
            # The cut itself would make a few electrons' law look narrow: their tails show in the plain sums.
            plain_shot, plain_variance = plain.shot_and_variance(pair, level.kind == "dark")
            plain_excess = plain.gain**2 * plain_shot / (2 * plain_variance**2)
            own_tails = max(excess, plain_excess) > _LARGEST_EXCESS or (persistent and shot < _SHOT_SHARE * variance)
            pairs.append(replace(pair, candidates=None) if own_tails else _cut(pair, excess))
        out.append(_with_pairs(level, tuple(pairs)))
    return tuple(out)


def _with_pairs(level: LevelStatistics, pairs: tuple[PairSums, ...]) -> LevelStatistics:
    if not any(pair.rejected for pair in pairs):
        return replace(level, pairs=pairs)
    means = [mean for pair in pairs for mean in (pair.mean_a_dn, pair.mean_b_dn)]
    # Sparks that hit the highest code are no saturation.
    at_top = 0
    for before, after in zip(level.pairs, pairs, strict=True):
        found = before.candidates
        if found is not None and after.rejected:
            gone = np.argsort(found.sigmas)[-after.rejected :]
            at_top += int(np.count_nonzero(found.a[gone] == level.maximum_code))
            at_top += int(np.count_nonzero(found.b[gone] == level.maximum_code))
    share = max(level.maximum_fraction - at_top / (level.n_pixels * level.n_frames), 0.0)
    return replace(
        level,
        pairs=pairs,
        frame_means_dn=(*means, *level.frame_means_dn[len(means) :]),
        maximum_fraction=share,
    )


@dataclass(frozen=True)
class _RoughCamera:
    """Offset, dark variance and gain: good enough to know a tail when it is seen."""

    offset: float
    dark_variance: float
    gain: float

    def shot_and_variance(self, pair: PairSums, is_dark: bool) -> tuple[float, float]:
        """Shot variance and variance of one frame of the pair, DN^2."""
        variance = max(pair.difference_variance_dn2 / 2, 1e-12)
        shot = self.gain * max((pair.mean_a_dn + pair.mean_b_dn) / 2 - self.offset, 0.0)
        return (min(shot, max(variance - self.dark_variance, 0.0)) if is_dark else shot), variance


def _rough_camera(levels: tuple[LevelStatistics, ...]) -> _RoughCamera:
    darks = [level for level in levels if level.kind == "dark" and level.pairs]
    offset = float(np.median([level.mean_dn for level in darks])) if darks else 0.0
    dark_variance = float(np.median([level.temporal_variance_dn2(None) for level in darks])) if darks else 0.0
    slopes = []
    for level in levels:
        variance = level.temporal_variance_dn2(None) if level.kind == "bright" else None
        if variance is not None and level.mean_dn > offset and variance > dark_variance:
            slopes.append((variance - dark_variance) / (level.mean_dn - offset))
    return _RoughCamera(offset, dark_variance, float(np.median(slopes)) if slopes else 0.0)


def _large_differences_come_back(levels: tuple[LevelStatistics, ...]) -> bool:
    """Whether the darks' candidates recur from one dark pair to the next more often than chance allows."""
    pairs = [pair for level in levels if level.kind == "dark" for pair in level.pairs if pair.candidates is not None]
    again, chance, possible = 0, 0.0, 0
    for one, other in pairwise(pairs):
        first, second = _beyond(one.candidates, CUT_SIGMAS), _beyond(other.candidates, CUT_SIGMAS)
        again += int(np.intersect1d(first, second, assume_unique=True).size)
        chance += first.size * second.size / one.n_pixels
        possible += min(first.size, second.size)
    return again > chance + 5 * np.sqrt(chance) + 3 and again - chance > _PERSISTENT_SHARE * possible


def _beyond(found: Candidates | None, sigmas: float) -> np.ndarray:
    return np.empty(0, dtype=np.int64) if found is None else found.index[found.sigmas > sigmas]


def _cut(pair: PairSums, excess: float) -> PairSums:
    """The pair without its differences beyond the cut, for noise of this excess kurtosis."""
    found = pair.candidates
    if found is None:
        return pair
    cut = CUT_SIGMAS + excess * (CUT_SIGMAS**3 - 3 * CUT_SIGMAS) / 24
    kept = found.sigmas <= cut
    if isinstance(pair.sum_a, int):
        # Whole codes: the cut lies half-way between the last that stays and the first that goes.
        sigma = float(np.median(np.abs(found.a - found.b - (pair.sum_a - pair.sum_b) / pair.n_pixels) / found.sigmas))
        if sigma < 20:
            cut = (np.floor(cut * sigma) + 0.5) / sigma
            kept = found.sigmas <= cut
    left, beyond = _normal_within(cut, excess)
    further = int(np.count_nonzero((found.sigmas > cut) & (found.sigmas <= 2 * cut)))
    unseen = max(further - beyond * pair.n_pixels, 0.0) / pair.n_pixels
    return pair.without(kept, left * (1 + unseen * cut**2 / 3))


def _normal_within(cut: float, excess: float) -> tuple[float, float]:
    """Variance of a unit law cut at +-``cut``, and the share of it that lies beyond (Gram-Charlier series)."""
    phi = float(np.exp(-0.5 * cut**2) / np.sqrt(2 * np.pi))
    inside = float(2 * ndtr(cut) - 1)
    # Integrals of x^2 phi He_k and phi He_k over (-cut, cut): by parts, with He_4 = x^4 - 6 x^2 + 3.
    mass = inside - excess / 24 * 2 * phi * (cut**3 - 3 * cut)
    second = inside - 2 * cut * phi - excess / 24 * 2 * phi * (cut**5 - cut**3)
    return second / mass, 1 - mass
