r"""Pixels that jump between two levels: random telegraph noise, told from plain noise by its distribution.

Split a pixel's n dark codes, sorted, into a lower and an upper group so that the scatter within the groups is least
(Otsu's split). For normal noise the least scatter is

.. math:: R = 1 - 2/\pi = 0.363

of the whole on average. Two levels leave less: with an amplitude A between levels visited equally often, 1/(1 + A^2/4
sigma^2). R does not depend on the size of the noise. In 400 000 normal samples of each of n = 32 to 512 its mean was
0.363 - 1/n, its standard deviation at most 0.339/sqrt(n), and its lower tail lighter than a normal one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from calibrate.noise_model.defect_kinds import DEFECT_KINDS, FEWEST_DARKS_FOR_TELEGRAPH

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FEWEST_DARKS = FEWEST_DARKS_FOR_TELEGRAPH
#: Frames on each level, at least, so that cosmic rays make no level; and their share.
_FEWEST_ON_LEVEL = 3
_LEAST_SHARE = 0.04
_NORMAL_SCATTER = 1 - 2 / np.pi
_SCATTER_STD = 0.339
_CHUNK = 1 << 20


def two_levels(codes: NDArray[np.floating]) -> BoolArray:
    """Whether each pixel's codes lie on two levels.

    Parameters
    ----------
    codes : ndarray (n_pixels, n_frames)
        Dark codes, their mean over the pixels or the exposures taken out; `FEWEST_DARKS` frames or more.

    Returns
    -------
    ndarray of bool (n_pixels,)
    """
    n_pixels, n_frames = codes.shape
    if n_frames < FEWEST_DARKS:
        return np.zeros(n_pixels, dtype=bool)
    limit = _NORMAL_SCATTER - 1 / n_frames - DEFECT_KINDS["telegraph"].threshold * _SCATTER_STD / np.sqrt(n_frames)
    rows = max(1, _CHUNK // n_frames)
    parts = [two_level_scatter(codes[k : k + rows]) < limit for k in range(0, n_pixels, rows)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def two_level_scatter(codes: NDArray[np.floating]) -> FloatArray:
    """Least scatter within two groups over the whole scatter, shape (n_pixels,); 1 where all codes are the same."""
    n = codes.shape[1]
    least = max(_FEWEST_ON_LEVEL, int(np.ceil(_LEAST_SHARE * n)))
    x = np.sort(codes.astype(np.float64), axis=1)
    x -= x.mean(axis=1, keepdims=True)
    lower = np.arange(least, n - least + 1)
    sums = np.cumsum(x, axis=1)[:, least - 1 : n - least]
    between = np.max(sums**2 / (lower * (n - lower)), axis=1) * n
    whole = np.sum(x * x, axis=1)
    return np.where(whole > 0, 1 - between / np.where(whole > 0, whole, 1.0), 1.0)


def expected_false_alarms(n_tested: int, n_frames: int) -> float:
    """Pixels of normal noise expected to be taken for telegraph noise among ``n_tested``: a bound."""
    if n_frames < FEWEST_DARKS:
        return 0.0
    return n_tested * float(ndtr(-DEFECT_KINDS["telegraph"].threshold))
