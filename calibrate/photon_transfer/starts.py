"""Where a fit starts: the parameters that the data allow, and moment estimates of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.clipping import unclipped_start
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import FEWEST_LEVELS_FOR_SCATTER
from calibrate.photon_transfer.likelihood import Layout
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]

#: Share of dark pixels at the lowest code from which the start values count it in.
_CLIPPED_DARKS = 0.02


def dark_mean(data: PhotonTransferData) -> float:
    """Mean code of the darks, DN."""
    return 0.0 if data.offset_is_zero else float(np.mean(data.mean_dn[data.still]))


def plain_layout(data: PhotonTransferData, degree: int, scale: float, rounding: float) -> Layout:
    """Parameters of a candidate with so many response coefficients, as far as the data allow them."""
    names = ["gain"]
    if not data.offset_is_zero:
        names.append("offset")
    names.append("dark_variance")
    # With fewer levels the lamp's scatter cannot be seen, and light taken as exact would rule the fit.
    if data.has_light_axis and int(np.sum(data.used_bright)) >= FEWEST_LEVELS_FOR_SCATTER:
        names.append("responsivity")
    if data.has_dark_exposures or _darks_hold_unseen_charge(data):
        names.append("dark_rate")
    names += [f"c{k}" for k in range(1, degree + 1)]
    return Layout(tuple(names), degree, scale, rounding)


def _darks_hold_unseen_charge(data: PhotonTransferData) -> bool:
    """Darks at one exposure, not zero, under brights at others: the brights tell offset and dark charge apart.

    Leaving the dark current out there puts its charge into the offset, and the gain off by percents.
    """
    darks, brights = data.exposure_s[data.dark], data.exposure_s[data.used_bright]
    if not data.has_light_axis or not darks.size or not np.all(np.isfinite(np.append(darks, brights))):
        return False
    return bool(np.all(darks > 0) and np.ptp(brights) > 0 and int(np.sum(data.used_bright)) >= 4)


def initial_theta(data: PhotonTransferData, layout: Layout) -> FloatArray:
    """Moment estimates, good to a few percent."""
    offset = dark_mean(data)
    used = data.used_bright & np.isfinite(data.variance_dn2)
    signal, variance = data.mean_dn[used] - offset, data.variance_dn2[used]
    darks = data.still & np.isfinite(data.variance_dn2)
    if np.any(darks):
        floor = float(np.median(data.variance_dn2[darks]))
        clipped = float(np.median(data.black_fraction[darks]))
        if data.black_clip_dn is not None and clipped > _CLIPPED_DARKS:
            offset, before = unclipped_start(float(np.median(data.mean_dn[darks])), clipped, data.black_clip_dn)
            signal, floor = data.mean_dn[used] - offset, before + layout.rounding_dn2
    else:
        low = np.argsort(signal)[: max(3, signal.size // 2)]
        intercept = np.polyfit(signal[low], variance[low], 1)[1]
        floor = float(np.clip(intercept, 0.0, variance.min()))
    positive = signal > 0
    if not np.any(positive):
        raise PhotonbitsError(
            f"no bright level lies above the darks (offset {offset * data.dn_per_unit:.5g} DN)",
            legal="flats brighter than the darks",
            remedy="Check that darks and flats have not been swapped",
        )
    gain = float(np.sum(variance[positive] - floor) / np.sum(signal[positive]))
    if gain <= 0:
        raise PhotonbitsError(
            f"the noise does not rise with the light (slope {gain * data.dn_per_unit:.3g} DN)",
            legal="variance that grows with the mean",
            remedy="Check that the frames are raw, and that a level's frames are repeats of one scene and no copies",
        )
    theta = {
        "gain": gain,
        "offset": offset,
        "dark_variance": max(floor - layout.rounding_dn2, 0.05 if layout.rounding_dn2 > 0 else 1e-3),
    }
    if layout.index("responsivity") is not None:
        light = data.light[data.used_bright]
        theta["responsivity"] = float(np.sum((data.mean_dn[data.used_bright] - offset) * light) / np.sum(light * light))
    if layout.index("dark_rate") is not None and data.has_dark_exposures:
        theta["dark_rate"] = float(np.polyfit(data.exposure_s[data.dark], data.mean_dn[data.dark], 1)[0])
    return np.array([theta.get(name, 0.0) for name in layout.names])
