"""What the first-order prediction of a bright level leaves out: uneven light, coarse codes, a near clip.

All of it is small where a level is of any use, so that the fit may treat it as known and find it again as it goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrate.photon_transfer.clipping import code_moments, is_near
from calibrate.photon_transfer.data import PhotonTransferData, even_levels
from calibrate.photon_transfer.likelihood import FloatArray, Layout, curve_at, inverse_at
from calibrate.photon_transfer.offset_pattern import with_offset_pattern
from calibrate.photon_transfer.rounding import NEGLIGIBLE_VARIANCE_DN2, rounded_moments


def with_level_shifts(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> PhotonTransferData:
    """The data with ``mean_shift_dn`` and ``variance_shift_dn2`` of its bright levels for these parameters.

    Notes
    -----
    A frame whose signals x spread by S^2 about their mean has the mean f(x) + f'' S^2 / 2 and the mean temporal
    variance V(x) + V'' S^2 / 2, V(x) = f'^2 (K x + w). With codes coarser than the noise, or the lowest code within 6
    standard deviations, the moments of rounded and clipped normal pixels take the place of "+ 1/12"; so they do near
    the highest code where the frame is even, and an uneven one has next to no clipped pixels (`unclipped_levels`).
    """
    data = with_offset_pattern(theta, layout, data)
    offset, w = layout.get(theta, "offset"), max(layout.get(theta, "dark_variance"), 0.0)
    gain = layout.get(theta, "gain") * (1 + data.gain_pattern)
    rows = np.flatnonzero(data.used_bright)
    if not rows.size or data.offset_is_zero:
        return data
    pattern = np.maximum(data.spatial_variance_dn2[rows], 0.0)
    x = inverse_at(theta, layout, data.mean_dn[rows] - offset - data.mean_shift_dn[rows])
    level, slope, bend = curve_at(theta, layout, x)

    def variance_at(signal: FloatArray) -> FloatArray:
        return np.asarray(curve_at(theta, layout, signal)[1] ** 2 * (gain * signal + w))

    spread = np.maximum(pattern - data.offset_variance_dn2, 0.0) / np.maximum(slope, 0.05) ** 2
    step = 0.02 * layout.scale_dn
    second = (variance_at(x + step) - 2 * variance_at(x) + variance_at(np.maximum(x - step, 0.0))) / step**2
    # The curve is a straight line below 0, with a kink in V there: no second derivative across it.
    # Nor does V bend away from the knee of two slopes; near it the pattern is in the moments themselves.
    bends = layout.degree > 0 and layout.form == "polynomial"
    second = np.where((x > 2 * step) & bends, second, 0.0)
    mean_shift = 0.5 * bend * spread
    variance_shift = 0.5 * second * spread
    if layout.rounding_dn2 > 0:
        mean, variance = offset + level, variance_at(x)
        hot, ordinary = data.hot_dn[rows], np.maximum(data.ordinary_variance_dn2[rows], data.offset_variance_dn2)
        near = is_near(mean - hot, variance - gain * hot, ordinary, data.black_clip_dn) & (
            data.black_fraction[rows] > 0
        )
        coarse = ~near & (variance < NEGLIGIBLE_VARIANCE_DN2)
        # The highest code is the lowest of the mirrored level; charge is normal there (`data` sees to it).
        top = None if data.white_clip_dn is None else -data.white_clip_dn
        near_top = ~near & even_levels(data, offset)[rows] & is_near(-mean, variance, pattern, top)
        if np.any(near_top):
            none = np.zeros(int(np.sum(near_top)))
            exact = code_moments(-mean[near_top], variance[near_top], none, gain, pattern[near_top], top)
            mean_shift[near_top] += -exact[0] - mean[near_top]
            variance_shift[near_top] += exact[1] - variance[near_top] - layout.rounding_dn2
        if np.any(near):
            # Ordinary pixels hold what hot ones leave, which are few and far from the lowest code.
            own = np.clip(hot[near], 0.0, np.maximum(x[near], 0.0))
            charge = (np.maximum(x[near], 0.0) - own) / gain
            start = mean[near] - hot[near] - gain * charge
            exact = code_moments(start, w * np.ones(charge.size), charge, gain, ordinary[near], data.black_clip_dn)
            mean_shift[near] += exact[0] + hot[near] - mean[near]
            variance_shift[near] += exact[1] + gain * own - variance[near] - layout.rounding_dn2
        if np.any(coarse):
            rounded = rounded_moments(mean[coarse], variance[coarse], pattern[coarse])
            mean_shift[coarse] += rounded[0] - mean[coarse]
            variance_shift[coarse] += rounded[1] - variance[coarse] - layout.rounding_dn2
    shifts = np.zeros((2, data.mean_dn.size))
    shifts[:, rows] = mean_shift, variance_shift
    return replace(data, mean_shift_dn=shifts[0], variance_shift_dn2=shifts[1])
