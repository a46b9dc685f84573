"""Whether values measured apart agree: weighted mean and chi-square test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc


@dataclass(frozen=True)
class Agreement:
    """Weighted mean of several measurements of one quantity, and the test that they are one.

    Parameters
    ----------
    mean, std : float
        Mean with weights 1/std^2, and its standard error if the quantity is the same everywhere.
    chi2 : float
        Sum of squared deviations from the mean over their variances.
    dof : int
        Measurements less one.
    p_value : float
        Probability of a larger ``chi2`` if they agree.
    """

    mean: float
    std: float
    chi2: float
    dof: int
    p_value: float


def agreement_of(values: Sequence[float], stds: Sequence[float]) -> Agreement | None:
    """Agreement of independent measurements with normal errors; None for fewer than two with errors.

    Parameters
    ----------
    values, stds : sequences of float
        Measurements without a positive standard error are left out.

    Notes
    -----
    Errors that all measurements share (one lamp, one offset that drifts) cancel in the differences: with them in
    ``stds`` the test is too mild, never too sharp.

    Examples
    --------
    >>> round(agreement_of([1.0, 1.2], [0.1, 0.1]).p_value, 3)
    0.157
    """
    pairs = [(value, std) for value, std in zip(values, stds, strict=True) if std > 0]
    if len(pairs) < 2:
        return None
    value, std = (np.array(column) for column in zip(*pairs, strict=True))
    # Scaled by the smallest error, so that no weight overflows.
    weight = (std.min() / std) ** 2
    mean = float(weight @ value / weight.sum())
    statistic = float(np.sum(((value - mean) / std) ** 2))
    error = float(std.min() / np.sqrt(weight.sum()))
    return Agreement(mean, error, statistic, len(pairs) - 1, float(chdtrc(len(pairs) - 1, statistic)))
