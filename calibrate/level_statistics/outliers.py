"""Single-frame outliers (cosmic rays, sparks): taken out of the pair sums, and the cut corrected for.

A pixel that stands out in one frame adds the square of its height to the variance: 1 in 10 000 pixels can raise the
gain by percents. A pixel that is noisy in every frame is another matter: its noise belongs to the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import ndtr, ndtri

from calibrate.level_statistics.levels import LevelStatistics
from calibrate.level_statistics.pairs import Candidates, PairSums
from calibrate.level_statistics.sums import CANDIDATE_SIGMAS, LEAST_SIGMA_CODES

#: Where the differences are cut, in standard deviations: 6e-5 of normal ones lie beyond.
CUT_SIGMAS = 4.0
#: Outliers at the highest code: as many as are no chance, how far their height scatters with the other frame's noise,
#: and the narrowest range of heights below them, in standard deviations of the difference, to count others in.
_FEWEST_PILED = 5
_NOISE_OF_A_PILE = 1.0
_NARROWEST = 0.5
#: Counts that hold the slope of the law of heights to none, and its steepest change over half the cut.
_EVEN_COUNTS = 4.0
_STEEPEST = 4.0
#: Share of pixels at the lowest code from which a difference is no normal one.
_CLIPPED_SHARE = 1e-5
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
    leaves of a law with the shot noise's kurtosis (Gram-Charlier). Outliers below the cut cannot be seen: as many are
    taken off as the law of heights between once and twice the cut, continued as an exponential, has there.
    Pairs in which the noise itself has such tails (few electrons) are left alone; so are the darks of a sensor whose
    large differences come back in the same pixels from pair to pair.
    """
    if not any(pair.candidates is not None for level in levels for pair in level.pairs):
        return levels
    top = max(level.maximum_code for level in levels)
    first = [_with_pairs(level, tuple(_cut(pair, 0.0, level, top) for pair in level.pairs)) for level in levels]
    cut = _rough_camera(tuple(first))
    plain = _rough_camera(levels)
    persistent = _large_differences_come_back(levels)
    out = []
    for level in levels:
        pairs = []
        for pair in level.pairs:
            shot, variance = cut.shot_and_variance(_cut(pair, 0.0, level, top), level.kind == "dark")
            excess = cut.gain**2 * shot / (2 * variance**2)
            # The cut itself would make a few electrons' law look narrow: their tails show in the plain sums.
            plain_shot, plain_variance = plain.shot_and_variance(pair, level.kind == "dark")
            plain_excess = plain.gain**2 * plain_shot / (2 * plain_variance**2)
            own_tails = max(excess, plain_excess) > _LARGEST_EXCESS or (persistent and shot < _SHOT_SHARE * variance)
            pairs.append(replace(pair, candidates=None) if own_tails else _cut(pair, excess, level, top))
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
            gone = (found.sigmas > CUT_SIGMAS) | _piled(found, level.maximum_code - before.shift_dn)
            at_top += int(np.count_nonzero(found.a[gone] + before.shift_dn == level.maximum_code))
            at_top += int(np.count_nonzero(found.b[gone] + before.shift_dn == level.maximum_code))
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
        shot = self.gain * max((pair.mean_a_dn + pair.mean_b_dn) / 2 - self.offset, 0.0)
        variance = max(pair.difference_variance_dn2 / 2, 1e-12 * max(shot, self.dark_variance), 1e-150)
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


def _cut(pair: PairSums, excess: float, level: LevelStatistics, top_dn: float) -> PairSums:
    """The pair without its differences beyond the cut, for noise of this excess kurtosis.

    Outliers that end at the highest code ``top_dn`` pile up there: they go whatever their height, and are not taken for
    a share of what lies below the cut.
    """
    found = pair.candidates
    if found is None:
        return pair
    cut = CUT_SIGMAS + excess * (CUT_SIGMAS**3 - 3 * CUT_SIGMAS) / 24
    sigma = float(np.median(np.abs(found.a - found.b - (pair.sum_a - pair.sum_b) / pair.n_pixels) / found.sigmas))
    if isinstance(pair.sum_a, int) and sigma < 20:
        # Whole codes: the cut lies half-way between the last that stays and the first that goes.
        cut = (np.floor(cut * sigma) + 0.5) / sigma
    reach = (top_dn - (pair.mean_a_dn + pair.mean_b_dn) / 2) / sigma
    piled = _piled(found, top_dn - pair.shift_dn) if reach > CANDIDATE_SIGMAS else np.zeros(found.index.shape, bool)
    left, beyond = _normal_within(cut, excess)
    share = level.minimum_fraction if level.minimum_code <= 0 else 0.0
    clear = _beyond_clipped_noise(share) if share > _CLIPPED_SHARE else 0.0
    if isinstance(pair.sum_a, int) and sigma < 1.05 * LEAST_SIGMA_CODES:
        # Coarse noise is narrower than the least that is believed, and has so much less beyond the cut.
        within = found.centred[(found.sigmas <= max(cut, clear)) & ~piled]
        own = max(float(np.sqrt((found.rest_d2 + within @ within) / pair.n_pixels)), 0.1)
        left, beyond = _normal_within(cut * sigma / own, 0.0)
        clear *= own / sigma
    if clear > 0:
        cut, left, beyond = max(cut, clear), 1.0, 0.0
    below = reach - _NOISE_OF_A_PILE if np.any(piled) else np.inf
    unseen = _unseen(found.sigmas[~piled], cut, below, beyond * pair.n_pixels) / pair.n_pixels
    # Over heights from 0 on, such outliers and their noise leave cut of pixels and cut^3/3 of squares within the cut.
    truncation = left + unseen * (cut**2 / 3 - left)
    # A spark of height h lifts the mean of its two frames by h/2: cut^4/4 of cubes, half of them times a half.
    return pair.without((found.sigmas <= cut) & ~piled, truncation, unseen * (cut * sigma) ** 3 / 16)


def _beyond_clipped_noise(share: float) -> float:
    """Cut beyond all noise of pixels of which a share lies at the lowest code, standard deviations of the difference.

    Clipped noise has longer tails for its variance than a normal law. Pixels of one offset b and noise s have, with
    t = (b - clip)/s and Phi(-t) the share, the variance s^2 V(t), V that of max(X, -t) for a standard normal X, and no
    difference beyond (5 + t) s but for one pixel in a million. Where offsets differ instead, and some pixels have no
    noise, s is less than this takes it for.
    """
    t = -float(ndtri(share))
    density, above = float(np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)), float(ndtr(t))
    mean = density + t * above
    variance = (1 + t * t) * above + t * density - mean**2
    return (5 + t) / float(np.sqrt(2 * variance))


def _unseen(sigmas: np.ndarray, cut: float, reach: float, of_the_noise: float) -> float:
    """How many outliers lie below the cut: the law of heights from the cut to twice it, continued as an exponential."""
    widest = min(cut, reach - cut)
    if widest < _NARROWEST:  # of the range below the pile nothing is left to count outliers in
        return 0.0
    middle = cut + widest / 2
    nearer = max(np.count_nonzero((sigmas > cut) & (sigmas <= middle)) - of_the_noise, 0.0)
    farther = float(np.count_nonzero((sigmas > middle) & (sigmas <= cut + widest)))
    if widest < cut:
        return (nearer + farther) * cut / widest
    # Squares below the cut weigh most at 3/4 of it, one of these steps from the middle of the nearer half.
    ratio = (nearer + _EVEN_COUNTS) / (farther + _EVEN_COUNTS)
    return 2 * nearer * float(np.clip(ratio, 1 / _STEEPEST, _STEEPEST))


def _piled(found: Candidates, top: float) -> np.ndarray:
    """Candidates with the highest code in one of the frames; none where that may be chance."""
    piled = (found.a >= top) | (found.b >= top)
    return piled if np.count_nonzero(piled) >= _FEWEST_PILED else np.zeros(piled.shape, dtype=bool)


def _normal_within(cut: float, excess: float) -> tuple[float, float]:
    """Variance of a unit law cut at +-``cut``, and the share of it that lies beyond (Gram-Charlier series)."""
    phi = float(np.exp(-0.5 * cut**2) / np.sqrt(2 * np.pi))
    inside = float(2 * ndtr(cut) - 1)
    # Integrals of x^2 phi He_k and phi He_k over (-cut, cut): by parts, with He_4 = x^4 - 6 x^2 + 3.
    mass = inside - excess / 24 * 2 * phi * (cut**3 - 3 * cut)
    second = inside - 2 * cut * phi - excess / 24 * 2 * phi * (cut**5 - cut**3)
    return second / mass, 1 - mass
