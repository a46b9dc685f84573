"""Bounds from a square of scores: row i, column j says how well measurement i fits scene j; pairs lie on the diagonal.

All in nats a patch, with standard errors from the influence of each pair as a row and as a column.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

FloatArray = NDArray[np.float64]

_LARGEST_EXPONENT = 300.0


class Bound(NamedTuple):
    """A value and its standard error, nats a patch."""

    value: float
    std: float


def infonce(scores: FloatArray) -> Bound:
    r"""Mean of :math:`s_{ii} - \log \frac1N \sum_j e^{s_{ij}}`: at most log N, and in expectation at most I.

    Any scores will do; with :math:`s_{ij} = \log p(z_i | y_j)` it is the best there is for N pairs (van den Oord, Li,
    Vinyals 2018, arXiv:1807.03748; Poole et al. 2019, arXiv:1905.06922, eq. 10 and 12).
    """
    n = len(scores)
    total = logsumexp(scores, axis=1)
    row = np.diag(scores) - total + np.log(n)
    share = np.exp(scores - total[:, None])
    return _with_influence(row, 1.0 - share.sum(axis=0))


def leave_one_out(log_likelihoods: FloatArray) -> Bound:
    r"""Mean of :math:`s_{ii} - \log \frac1{N-1} \sum_{j \ne i} e^{s_{ij}}` with the exact log p(z_i | y_j).

    In expectation at least I (Poole et al. 2019, eq. 13): the others' mean likelihood estimates p(z) without bias, and
    the logarithm is concave. Infinite where no other scene could have made a measurement.
    """
    n = len(log_likelihoods)
    others = log_likelihoods.copy()
    np.fill_diagonal(others, -np.inf)
    total = logsumexp(others, axis=1)
    row = np.diag(log_likelihoods) - total + np.log(n - 1)
    if not np.all(np.isfinite(row)):
        return Bound(float("inf"), float("inf"))
    share = np.exp(others - total[:, None])
    return _with_influence(row, 1.0 - share.sum(axis=0))


def nwj(scores: FloatArray, log_baseline: FloatArray) -> Bound:
    r"""Mean of :math:`1 + s_{ii} - a_i` less that of :math:`e^{s_{ij} - a_i}` over all other pairs.

    A lower bound in expectation for any scores and any baseline :math:`a_i` that does not depend on the scenes of this
    square (Nguyen, Wainwright, Jordan 2010, doi:10.1109/TIT.2010.2068870). It has no cap, but the mean of exponentials
    scatters like e^I: use it to compare, not to report. Minus infinity where the exponentials are beyond all numbers.
    """
    n = len(scores)
    relative = scores - log_baseline[:, None]
    others = relative.copy()
    np.fill_diagonal(others, -np.inf)
    if float(others.max()) > _LARGEST_EXPONENT:
        return Bound(float("-inf"), float("inf"))
    weight = np.exp(others)
    by_row = weight.sum(axis=1) / (n - 1)
    by_column = weight.sum(axis=0) / (n - 1)
    return _with_influence(1.0 + np.diag(relative) - by_row, -(by_column - by_column.mean()))


def donsker_varadhan(scores: FloatArray) -> Bound:
    r"""Mean of :math:`s_{ii}` less the log of the mean of :math:`e^{s_{ij}}`, the form behind MINE.

    The logarithm of a sample mean is biased downwards, so the value is biased upwards: no bound on finite samples
    (Belghazi et al. 2018, arXiv:1801.04062).
    """
    n = len(scores)
    others = scores.copy()
    np.fill_diagonal(others, -np.inf)
    total = float(logsumexp(others)) - np.log(n * (n - 1))
    weight = np.exp(others - total) / (n - 1)
    row = np.diag(scores) - total
    return _with_influence(row - (weight.sum(axis=1) - 1.0), -(weight.sum(axis=0) - 1.0), mean=float(row.mean()))


def _with_influence(row: FloatArray, column: FloatArray, mean: float | None = None) -> Bound:
    """Mean of ``row``; its standard error from what each pair contributes as a row and as a column."""
    influence = row + column
    std = float(np.std(influence, ddof=1) / np.sqrt(row.size))
    return Bound(float(row.mean()) if mean is None else mean, std)
