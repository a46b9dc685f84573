r"""The square root of a noisy variance, without its bias, and best guesses to state errors with.

A sample variance of nu degrees of freedom is :math:`\sigma^2 \chi^2_\nu/\nu`, and the mean of its root is
:math:`c_4 \sigma`, below :math:`\sigma`. Rounding and dark shot noise, a known share q of it, come off before the
root is taken, and where that leaves nothing the root is 0. The mean of what is left, over the true root, is

.. math:: C(\nu, q) = E\sqrt{\max(\chi^2_\nu/\nu - q, 0)} / \sqrt{1 - q},

:math:`c_4(\nu)` for q = 0. Dividing by it makes the root unbiased wherever q is known. Where read noise is a small
part of the variance q comes from many pixels: a pixel's own would bias its root again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

FloatArray = NDArray[np.float64]

_QUANTILES = (np.arange(2048) + 0.5) / 2048
#: Shares of the variance that is not read noise, denser towards 1, where all of it is something else.
_SHARES = 1 - np.geomspace(1e-4, 1.0, 129)[::-1]


def unbiased_root(
    read: NDArray[np.floating], error: NDArray[np.floating], guess: NDArray[np.floating], dof: float
) -> tuple[FloatArray, FloatArray]:
    """Root of a read variance with mean the true root, and its standard error.

    Parameters
    ----------
    read : ndarray
        Unbiased estimates of the read variance, of either sign.
    error : ndarray
        Their standard errors: those of the whole variance, sigma^2 sqrt(2/nu), with which sigma^2 is meant here.
    guess : ndarray
        Best guess of each read variance; the correction and the error depend on it, and on nothing of the pixel's
        own noise where it is the mean of many pixels.
    dof : float
        Degrees of freedom of a typical pixel's whole variance.

    Returns
    -------
    root, std : ndarray
        0 where ``read`` is not positive, with the error of a pixel whose read variance is the guess.
    """
    ratio, spread = root_table(dof)
    whole = error * np.sqrt(dof / 2)
    share = np.clip(1 - guess / whole, 0.0, _SHARES[-1])
    factor = np.interp(share, _SHARES, ratio)
    root = np.sqrt(np.maximum(read, 0.0)) / factor
    return root, np.sqrt(whole) * np.interp(share, _SHARES, spread) / factor


def root_table(dof: float) -> tuple[FloatArray, FloatArray]:
    """C(nu, q) and the standard deviation of the root over sigma, at the tabled shares q."""
    draws = 2.0 * gammaincinv(0.5 * dof, _QUANTILES) / dof
    draws *= 1 / np.mean(draws)  # the midpoint rule loses a little of the upper tail
    roots = np.sqrt(np.maximum(draws[:, None] - _SHARES, 0.0))
    mean = np.mean(roots, axis=0)
    spread = np.sqrt(np.maximum(np.mean(roots**2, axis=0) - mean**2, 0.0))
    return mean / np.sqrt(1 - _SHARES), spread


def shrink(values: FloatArray, noise_variance: FloatArray, by_square: float = 0.0) -> tuple[float, float]:
    r"""Mean of unbiased values, and the weight (0 to 1) of a pixel's own against it in the best linear guess.

    Parameters
    ----------
    values : ndarray
        One a pixel, of typical pixels.
    noise_variance : ndarray
        Error variance of each.
    by_square : float
        What the error variance grows by with the square of a value's distance from the mean: 2/nu for variances,
        whose errors go with themselves.

    Notes
    -----
    Buehlmann's credibility: with :math:`\tau^2` the variance of the true values, that of the measured ones is
    :math:`\tau^2 (1 + c) + \overline{e^2}`, and the weight is :math:`\tau^2` over it. It keeps the mean.
    """
    if values.size < 2:
        return float(np.mean(values, dtype=np.float64)) if values.size else 0.0, 1.0
    mean, total = float(np.mean(values, dtype=np.float64)), float(np.var(values, dtype=np.float64))
    true = (total - float(np.mean(noise_variance, dtype=np.float64))) / (1 + by_square)
    return mean, min(max(true, 0.0) / total, 1.0) if total > 0 else 0.0
