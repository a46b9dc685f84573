"""What the third moments tell that means and variances cannot: gain that varies over pixels, and excess noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.likelihood import Layout, cumulants, curve_at, inverse_at
from calibrate.photon_transfer.rounding import FloatArray


@dataclass(frozen=True)
class ThirdMoments:
    """Relative variance of the gain over pixels, and skewness of the noise over that of shot noise, with errors.

    ``skewness_ratio`` is 1 for a sensor whose noise is that of its electrons, and 1.5 behind an electron-multiplying
    register (excess factor F^2 = 2). An error is infinite where the frames cannot tell.
    """

    gain_pattern: float
    gain_pattern_std: float
    skewness_ratio: float
    skewness_ratio_std: float


def read_third_moments(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> ThirdMoments:
    r"""Gain pattern G and skewness ratio R by weighted least squares over the bright levels.

    Notes
    -----
    The covariance over pixels of d^2/2 with (a + b)/2 is

    .. math:: R \kappa_3 / 2 + V' P + G s v,

    with kappa_3 the third cumulant of shot noise through the response, P the spatial variance, V' = dV/dm along the
    photon-transfer curve, s the signal and v its shot variance. Pixels that differ in light only have G = 0: their
    variance goes with their signal. Where the gain differs, variance goes with its square, and the pooled variance over
    the pooled mean is K (1 + G). An amplifier with single-electron response g has R = E[g^3] E[g] / E[g^2]^2 when K
    is taken from the variances.
    """
    rows = np.flatnonzero(data.used_bright & np.isfinite(data.variance_dn2))
    unknown = ThirdMoments(0.0, np.inf, 1.0, np.inf)
    if not rows.size or data.offset_is_zero:
        return unknown
    gain = layout.get(theta, "gain")
    x = inverse_at(theta, layout, data.mean_dn[rows] - layout.get(theta, "offset"))
    slope = curve_at(theta, layout, x)[1]
    model = cumulants(theta, layout, data)
    noise, by_mean = model.variance[rows], model.variance_by_mean[rows]
    shot = slope**2 * gain * np.maximum(x, 0.0)
    pattern = np.maximum(data.spatial_variance_dn2[rows] - data.offset_variance_dn2, 0.0)
    lever = np.stack([shot * slope * x, 0.5 * model.third[rows]], axis=1)
    error = np.sqrt(2.0 * (pattern + noise / 2) / data.variance_samples[rows]) * noise
    lit = (shot > 0.5 * noise) & (error > 0)
    knee = layout.knee(theta)
    if knee is not None:  # with long tails of its own, a level at the knee has other errors
        lit &= ~knee.is_near(x)
    if not np.any(lit):
        return unknown
    design = lever[lit] / error[lit, None]
    seen = (data.noise_signal_dn3[rows] - by_mean * pattern)[lit] / error[lit]
    # A frame without pattern has no gain pattern to see: the light's and the gain's add up to what there is.
    if not np.any(pattern[lit] > 3 * noise[lit] / np.sqrt(data.variance_samples[rows][lit])):
        weight = float(design[:, 1] @ design[:, 1])
        ratio = float(design[:, 1] @ seen) / weight
        return ThirdMoments(0.0, np.inf, ratio, float(1 / np.sqrt(weight)))
    scale = np.linalg.norm(design, axis=0)
    covariance = np.linalg.pinv((design / scale).T @ (design / scale)) / np.outer(scale, scale)
    value = covariance @ design.T @ seen
    std = np.sqrt(np.diag(covariance))
    return ThirdMoments(float(value[0]), float(std[0]), float(value[1]), float(std[1]))
