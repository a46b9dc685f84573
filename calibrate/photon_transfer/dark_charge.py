"""Darks of several lengths that nobody knows: what their means differ by is dark charge, whose noise shows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrate.photon_transfer.data import PhotonTransferData

#: Standard errors by which the means of darks must differ to be of several lengths, and by which they are one.
_APART = 5.0
_TOGETHER = 3.0


def with_own_dark_charge(data: PhotonTransferData) -> PhotonTransferData:
    """The data with the darks marked whose charge has to be read off their own means.

    Those are the darks above the least one where no dark's exposure is known, if their variances rise with their means
    as shot noise does, and not as an offset that drifts. The least dark stands for the offset; so do those of its mean.

    Notes
    -----
    A dark of unknown exposure t has mean b + K y and variance w + K^2 y with y = D t electrons, so v = w + K (m - b).
    Where b is the mean of the least dark, w is its variance, and its own charge y_0 is in both: b is K y_0 and w
    K^2 y_0 too high. The flats lie on the same line, on which their gain does not depend. Two accounts of the means are
    compared by the chi-square of the variances, w fitted in both: v = w + K (m - b), and v = w with b drifting; K is
    the slope of the flats.
    """
    rows = np.flatnonzero(data.dark & np.isfinite(data.variance_dn2) & (data.variance_dn2 > 0))
    used = data.used_bright & np.isfinite(data.variance_dn2)
    if data.offset_is_zero or rows.size < 2 or not np.any(used) or np.any(np.isfinite(data.exposure_s[data.dark])):
        return data
    mean, variance = data.mean_dn[rows], data.variance_dn2[rows]
    error = np.sqrt(variance / data.mean_samples[rows])
    order = np.argsort(mean)
    least = order[:1]
    for row in order[1:]:
        weight = 1 / error[least] ** 2
        middle = float(np.sum(weight * mean[least]) / np.sum(weight))
        if mean[row] - middle > _TOGETHER * np.hypot(error[row], 1 / np.sqrt(np.sum(weight))):
            break
        least = np.append(least, row)
    above = np.setdiff1d(np.arange(rows.size), least)
    if not above.size or np.max((mean[above] - mean[least].max()) / error[above]) < _APART:
        return data
    offset, floor = float(np.mean(mean[least])), float(np.mean(variance[least]))
    signal = data.mean_dn[used] - offset
    gain = float(np.sum(data.variance_dn2[used] - floor) / max(float(np.sum(signal)), 1e-300))
    spread = np.sqrt(2.0 * np.maximum(data.kurtosis[rows] / 3.0, 1.0) / data.variance_samples[rows]) * variance

    def misfit(left: np.ndarray) -> float:
        middle = np.sum(left / spread**2) / np.sum(1 / spread**2)
        return float(np.sum(((left - middle) / spread) ** 2))

    if misfit(variance - gain * (mean - offset)) > misfit(variance):
        return data
    charged = np.zeros(data.bright.shape, dtype=bool)
    charged[rows[above]] = True
    return replace(data, charged=charged)
