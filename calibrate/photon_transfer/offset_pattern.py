"""The offset's fixed pattern where a clip or coarse codes hide part of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import brentq

from calibrate.photon_transfer.clipping import pattern_of_means
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.likelihood import (
    FloatArray,
    Layout,
    dark_signal_of,
    needs_code_sums,
    ordinary_darks,
)

#: Darks that stand for all of them, from the dimmest to the brightest.
_MOST_DARKS = 3
#: The pattern is between so many times that of the mean codes.
_LEAST, _LARGEST = 0.05, 30.0


def with_offset_pattern(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> PhotonTransferData:
    """The data with the ``offset_variance_dn2`` that makes the darks' mean codes differ over pixels as they do.

    Notes
    -----
    The covariance over pixels of a pair's two frames is the variance of the pixels' mean codes. Where part of a pixel's
    noise lies below the lowest code that mean no longer follows its offset one to one, and pixels far below have no
    noise at all; between codes coarser than the noise it follows in steps. The sums over codes (`clipping`) tell the
    variance of means for any pattern d^2, and the one that is seen gives d^2, for the camera as fitted so far.
    """
    if layout.rounding_dn2 <= 0 or data.offset_variance_dn2 <= 0 or data.offset_is_zero:
        return data
    rows = np.flatnonzero(needs_code_sums(theta, layout, data) & np.isfinite(data.variance_dn2))
    if not rows.size:
        return data
    rows = rows[np.unique(np.linspace(0, rows.size - 1, _MOST_DARKS).astype(int))]
    target = float(np.mean(data.ordinary_variance_dn2[rows]))
    if target <= 0:
        return data
    ordinary = ordinary_darks(theta, layout, data, rows, dark_signal_of(theta, layout, data)[rows])

    def surplus(pattern: float) -> float:
        offset, read, charge, gain, _, clip = ordinary
        return float(np.mean(pattern_of_means(offset, read, charge, gain, np.full(rows.size, pattern), clip))) - target

    low, high = _LEAST * target, _LARGEST * target
    if surplus(low) >= 0 or surplus(high) <= 0:
        return data
    return replace(data, offset_variance_dn2=float(brentq(surplus, low, high, rtol=1e-4)))
