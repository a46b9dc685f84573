"""How far H(Z|Y) can vary over all laws of the charge that agree with the histogram: a linear programme.

With little read noise, or read noise hidden by coarse codes, the entropy h(y) of a pixel's code cannot be
rebuilt from codes: many laws of y give one histogram and different E[h(y)]. The answer is then an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import beta, norm

from calibrate import NoiseModel, PhotonbitsError

FloatArray = NDArray[np.float64]

#: Where E[h(y)] is determined to 0.001 bit for every law of y (measured over worst-case laws).
LEAST_READ_NOISE_E = 1.0
LEAST_NOISE_DN = 0.45

_LEAST_COUNT = 25.0
_MOST_BINS = 60


def is_identifiable(kind: str, read_noise_e: float, noise_dn: float, *, rounded: bool = True) -> bool:
    """Whether codes determine E[h(y)] to 0.001 bit for every law of y.

    Parameters
    ----------
    kind : {"poisson-gaussian", "poisson", "gaussian"}
    read_noise_e : float
        Smallest read noise of any class of pixels, electrons.
    noise_dn : float
        Smallest noise of any class, DN; see `least_noise_dn`.
    rounded : bool
        False for real-valued measurements, where only the read noise in electrons counts.
    """
    if kind == "poisson":
        return False
    fine = not rounded or noise_dn >= LEAST_NOISE_DN
    return fine and (kind == "gaussian" or read_noise_e >= LEAST_READ_NOISE_E)


def least_noise_dn(model: NoiseModel, highest_code: float) -> float:
    """Least noise that rounding meets in the dark, K r, or just beyond a knee that the codes pass, DN.

    There the slope s leaves s sqrt(K u_0 + (K r)^2) of shot and read noise at the knee u_0.
    """
    camera = model.camera
    gain, knee = float(camera.system_gain_dn_per_e), camera.response.knee_dn
    read = gain * float(camera.read_noise_e)
    if knee is None or highest_code - float(camera.offset_dn) <= knee:
        return read
    shot = 0.0 if camera.kind == "gaussian" else gain * knee
    return min(read, camera.response.coefficients[1] * math.sqrt(shot + read**2))


@dataclass(frozen=True)
class EntropyRange:
    """Least and largest E[h(y)], bits, and how far the bands had to be widened (1 where a law fits)."""

    lo: float
    hi: float
    widening: float


@dataclass(frozen=True)
class _Band:
    """lower <= sum_j w_j rows_j <= upper, in units of the band's half-width."""

    row: FloatArray
    lower: float
    upper: float


def entropy_range(
    histograms: Sequence[FloatArray],
    tables: Sequence[FloatArray],
    entropies_bits: FloatArray,
    influences: Sequence[Sequence[FloatArray]],
    *,
    effective_fraction: float = 1.0,
    confidence: float = 0.99,
) -> EntropyRange:
    r"""Range of :math:`\sum_j w_j h_j` over all laws w that agree with the histograms.

    Parameters
    ----------
    histograms : sequence of ndarray (n_codes,)
        Counts of each class of pixels.
    tables : sequence of ndarray (n_grid, n_codes)
        p(z | y_j) of each class; what a row lacks to 1 belongs to codes that were never seen.
    entropies_bits : ndarray (n_grid,)
        h(y_j), averaged over classes.
    influences : sequence of sequences of ndarray (n_codes,)
        Bounded functions of the code, one per class each: their means are strong constraints on E[h].
    effective_fraction : float
        Effective over actual number of pixels, at most 1; below 1 where noise is correlated.
    confidence : float
        Probability that the true law fulfils all constraints at once.

    Raises
    ------
    PhotonbitsError
        If the solver fails.

    Notes
    -----
    A third of the error probability each goes to (i) Clopper-Pearson intervals for bins of at least 25
    counts, Bonferroni over bins; (ii) the band of Dvoretzky, Kiefer and Wolfowitz for the distribution
    function of codes, in Bretagnolle's form 2 e exp(-2 n eps^2) for independent pixels of unlike laws;
    (iii) means of the influence functions, Bonferroni, normal. Given the charges, counts of independent
    pixels scatter less than binomially (Hoeffding 1956, Ann. Math. Statist. 27, 713), so plain numbers of
    pixels are honest for the charges that were there; only noise correlated over pixels needs
    ``effective_fraction`` below 1. A law off the grid is shared by its two neighbours; each row carries the
    error of that interpolation, so that the grid costs width and not truth. If no law fits, the bands are
    widened by the least factor at which one does.
    """
    alpha = (1.0 - confidence) / 3.0
    totals = np.array([float(np.sum(h)) for h in histograms])
    share = totals / totals.sum()
    bands: list[_Band] = []
    for histogram, table in zip(histograms, tables, strict=True):
        if np.sum(histogram) > 0:
            fraction = alpha * float(np.sum(histogram)) / float(totals.sum())
            counts, rows = _bins(histogram, table, max(8, _MOST_BINS // len(histograms)))
            bands += _count_bands(counts * effective_fraction, rows, fraction)
            bands += _cumulative_bands(counts * effective_fraction, rows, fraction)
    bands += _influence_bands(histograms, tables, influences, share, effective_fraction, alpha)
    return _solve(bands, entropies_bits)


def _bins(histogram: FloatArray, table: FloatArray, most: int) -> tuple[FloatArray, FloatArray]:
    """Adjacent codes together until each bin has counts enough; the last bin is all that was never seen."""
    least = max(_LEAST_COUNT, float(np.sum(histogram)) / most)
    start, held, starts = 0, 0.0, []
    for column, count in enumerate(histogram):
        held += float(count)
        if held >= least:
            starts.append(start)
            start, held = column + 1, 0.0
    if not starts:
        starts = [0]
    # What is left over at the end joins the last bin.
    counts = np.add.reduceat(np.asarray(histogram, dtype=np.float64), starts)
    rows = np.add.reduceat(table, starts, axis=1)
    return np.append(counts, 0.0), np.column_stack([rows, np.maximum(1 - rows.sum(axis=1), 0.0)])


def _count_bands(counts: FloatArray, rows: FloatArray, alpha: float) -> list[_Band]:
    n, tail = counts.sum(), alpha / (2 * counts.size)
    lower = np.where(counts > 0, beta.ppf(tail, np.maximum(counts, 1e-9), n - counts + 1), 0.0)
    upper = np.where(counts < n, beta.isf(tail, counts + 1, np.maximum(n - counts, 1e-9)), 1.0)
    return [_Band(rows[:, i], float(lower[i]), float(upper[i])) for i in range(counts.size)]


def _cumulative_bands(counts: FloatArray, rows: FloatArray, alpha: float) -> list[_Band]:
    n = counts.sum()
    eps = np.sqrt(np.log(2 * math.e / alpha) / (2 * n))
    heights, sums = np.cumsum(counts)[:-1] / n, np.cumsum(rows, axis=1)[:, :-1]
    return [_Band(sums[:, i], float(v - eps), float(v + eps)) for i, v in enumerate(heights)]


def _influence_bands(
    histograms: Sequence[FloatArray],
    tables: Sequence[FloatArray],
    influences: Sequence[Sequence[FloatArray]],
    share: FloatArray,
    effective_fraction: float,
    alpha: float,
) -> list[_Band]:
    """Means of given functions of the code over all classes; unseen codes get the function's mean."""
    bands = []
    for functions in influences:
        total = sum(float(np.sum(h)) for h in histograms)
        mean = sum(float(h @ f) for h, f in zip(histograms, functions, strict=True)) / total
        square = sum(float(h @ (f - mean) ** 2) for h, f in zip(histograms, functions, strict=True)) / total
        row = sum(c * (t @ (f - mean)) for c, t, f in zip(share, tables, functions, strict=True))
        if square <= 0:
            continue
        half = norm.isf(alpha / (2 * len(influences))) * np.sqrt(square / (total * effective_fraction))
        bands.append(_Band(np.asarray(row), -half, half))
    return bands


def _interpolation_error(row: FloatArray) -> FloatArray:
    """Error of linear interpolation in the cells beside each grid point: second differences over 8."""
    if row.size < 3:
        return np.zeros(row.size)
    second = np.zeros(row.size)
    second[1:-1] = np.abs(row[2:] - 2 * row[1:-1] + row[:-2])
    second[0], second[-1] = second[1], second[-2]
    around = np.maximum(second, np.maximum(np.append(second[1:], 0.0), np.append(0.0, second[:-1])))
    return np.asarray(around / 8.0, dtype=np.float64)


def _solve(bands: Sequence[_Band], entropies_bits: FloatArray) -> EntropyRange:
    rows, limits = [], []
    for band in bands:
        error = _interpolation_error(band.row)
        half = 0.5 * (band.upper - band.lower)
        middle = 0.5 * (band.upper + band.lower)
        rows += [(band.row - error - middle) / half, -(band.row + error - middle) / half]
        limits += [1.0, 1.0]
    matrix, limit = np.array(rows), np.array(limits)
    slack = _interpolation_error(entropies_bits)
    ones = np.ones((1, entropies_bits.size))

    def extreme(objective: FloatArray, widening: float) -> float | None:
        result = linprog(
            objective,
            A_ub=matrix,
            b_ub=widening * limit,
            A_eq=ones,
            b_eq=[1.0],
            bounds=(0, None),
            method="highs",
        )
        return float(result.fun) if result.status == 0 else None

    widening = 1.0
    low = extreme(entropies_bits - slack, widening)
    if low is None:
        widening = _least_widening(matrix, ones)
        low = extreme(entropies_bits - slack, widening)
    high = extreme(-(entropies_bits + slack), widening)
    if low is None or high is None:
        raise PhotonbitsError(
            "the linear programme for the range of H(Z|Y) was not solved",
            remedy="Report this histogram: it should be solvable for every input",
        )
    return EntropyRange(low, -high, widening)


def _least_widening(matrix: FloatArray, ones: FloatArray) -> float:
    """Smallest factor on all bands at which some law agrees, and 5 % more."""
    extended = np.column_stack([matrix, -np.ones(matrix.shape[0])])
    objective = np.append(np.zeros(matrix.shape[1]), 1.0)
    result = linprog(
        objective,
        A_ub=extended,
        b_ub=np.zeros(matrix.shape[0]),
        A_eq=np.column_stack([ones, [[0.0]]]),
        b_eq=[1.0],
        bounds=(0, None),
        method="highs",
    )
    return 1.05 * float(result.fun) if result.status == 0 else 1.0
