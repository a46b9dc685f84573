"""Predictions of means and variances, and the covariance of their errors: one likelihood for all levels.

Parameters theta: gain K (DN/e-), offset b (DN), dark temporal variance w = (K read_noise)^2 (DN^2), light
response rho (DN per unit of light), dark rate D (DN/s), response coefficients c_1 .. c_k. With x the signal
before the response curve,

    x_i = rho L_i (1 + e_i) + D t_i,    m_i = b + o_i + f(x_i),    v_i = f'(x_i)^2 (K x_i + w) + 1/12.

The light L is not exact: e_i ~ N(0, s_light^2), nor is the offset: o_i ~ N(0, s_offset^2). So the variance is
predicted from the level's own mean, v_i = V(m_i), and the errors of both residuals follow to first order:

    r_m = m_i - b - f(x_i):  var = S + (s_light f' rho L)^2,     S = sigma_m^2 + s_offset^2
    r_v = v_i - V(m_i):      var = sigma_v^2 - 2 V' c + V'^2 S,  cov(r_m, r_v) = c - V' S,

with V' = dV/dm and c = cov(m_i, v_i) = kappa_3 / samples, which is 1/(2 sqrt(y)) of a correlation for shot noise.
Darks are predicted after rounding (`rounding`): below 0.5 DN of noise it does more than add 1/12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.rounding import rounded_moments

FloatArray = NDArray[np.float64]
ROUNDING_VARIANCE_DN2 = 1.0 / 12.0


@dataclass(frozen=True)
class Nuisance:
    """Scatter that is fitted beside the camera: light (relative), offset (DN), and excess of the variances."""

    light: float = 0.0
    offset_dn: float = 0.0
    variance_excess: float = 1.0


@dataclass(frozen=True)
class Layout:
    """Which parameters a candidate model has, in the order of its vector theta."""

    names: tuple[str, ...]
    degree: int
    scale_dn: float
    rounding_dn2: float

    def index(self, name: str) -> int | None:
        """Position in theta; None where the model does not have it."""
        return self.names.index(name) if name in self.names else None

    def get(self, theta: FloatArray, name: str) -> float:
        """Value of a parameter; 0 where the model does not have it."""
        position = self.index(name)
        return 0.0 if position is None else float(theta[position])

    def coefficients(self, theta: FloatArray) -> FloatArray:
        """Response coefficients c_1 .. c_degree."""
        return theta[len(self.names) - self.degree :]


@dataclass(frozen=True)
class Residuals:
    """Residuals and the 2 x 2 covariance blocks of their errors, one row a level.

    ``has_mean`` and ``has_variance`` say which of the two a level contributes.
    """

    mean: FloatArray
    variance: FloatArray
    has_mean: NDArray[np.bool_]
    has_variance: NDArray[np.bool_]
    fitted_mean: FloatArray
    fitted_variance: FloatArray


@dataclass(frozen=True)
class Weights:
    """Inverse square roots of the covariance blocks: whitened = [a r_m, b r_m + c r_v]."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    log_determinant: float


def polynomial(coefficients: FloatArray, scale: float, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """f(u), f'(u), f''(u) of the response curve, linear below 0, not checked for falling."""
    x = np.maximum(u, 0.0) / scale
    value, slope, bend = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for power, coefficient in enumerate(coefficients, start=1):
        value = value + coefficient * x**power
        slope = slope + (power + 1) * coefficient * x**power
        bend = bend + (power + 1) * power * coefficient * x ** (power - 1) / scale
    return u * value, slope, np.where(u > 0, bend, 0.0)


def invert(coefficients: FloatArray, scale: float, v: FloatArray) -> FloatArray:
    """u with f(u) = v by Newton's method from u = v."""
    u = v.copy()
    if coefficients.size == 0:
        return u
    for _ in range(12):
        value, slope, _ = polynomial(coefficients, scale, u)
        u = u - (value - v) / np.maximum(slope, 0.05)
    return u


def residuals(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> Residuals:
    """Measured minus predicted, for every level that the fit uses."""
    gain, w = layout.get(theta, "gain"), layout.get(theta, "dark_variance")
    offset = layout.get(theta, "offset")
    coefficients = layout.coefficients(theta)
    dark_rate = layout.get(theta, "dark_rate")
    exposure = np.where(np.isfinite(data.exposure_s), data.exposure_s, 0.0)
    light = np.where(np.isfinite(data.light), data.light, 0.0)
    x = layout.get(theta, "responsivity") * light + dark_rate * exposure
    fitted_mean = offset + polynomial(coefficients, layout.scale_dn, x)[0]
    # Brights: the light at the level's own mean; darks: the model's own dark signal.
    seen = np.where(data.bright, invert(coefficients, layout.scale_dn, data.mean_dn - offset), x)
    slope = polynomial(coefficients, layout.scale_dn, seen)[1]
    fitted_variance = slope**2 * (gain * seen + w) + layout.rounding_dn2
    dark = data.dark
    if layout.rounding_dn2 > 0 and np.any(dark):
        pattern = np.full(int(np.sum(dark)), data.offset_variance_dn2)
        rounded = rounded_moments(fitted_mean[dark], gain * x[dark] + w, pattern)
        fitted_mean[dark], fitted_variance[dark] = rounded
    used = data.used_bright | data.dark
    has_mean = used & (data.dark | (layout.index("responsivity") is not None))
    if data.offset_is_zero:
        has_mean = has_mean & data.dark
    return Residuals(
        data.mean_dn - fitted_mean,
        np.where(np.isfinite(data.variance_dn2), data.variance_dn2, 0.0) - fitted_variance,
        has_mean,
        used & np.isfinite(data.variance_dn2),
        fitted_mean,
        fitted_variance,
    )


def error_covariance(
    theta: FloatArray, layout: Layout, data: PhotonTransferData, nuisance: Nuisance, shape_factor: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """var(r_m), cov(r_m, r_v), var(r_v) of every level under the model (never from the observed variance).

    ``shape_factor`` (n_levels,) is the measured kurtosis of the differences over that of the model: pixels
    with different noise make a variance less certain.
    """
    gain, w = layout.get(theta, "gain"), max(layout.get(theta, "dark_variance"), 0.0)
    offset = layout.get(theta, "offset")
    coefficients = layout.coefficients(theta)
    exposure = np.where(np.isfinite(data.exposure_s), data.exposure_s, 0.0)
    dark_signal = layout.get(theta, "dark_rate") * exposure
    seen = np.where(data.bright, invert(coefficients, layout.scale_dn, data.mean_dn - offset), dark_signal)
    shot_signal = np.maximum(seen, 0.0)
    _, slope, bend = polynomial(coefficients, layout.scale_dn, seen)
    variance = slope**2 * (gain * shot_signal + w) + layout.rounding_dn2
    variance = np.maximum(variance, 1e-9 * np.max(variance))  # a noiseless level has no infinite weight
    kappa3 = slope**3 * gain**2 * shot_signal
    kappa4 = slope**4 * gain**3 * shot_signal
    mean_variance = variance / data.mean_samples
    mean_cross = kappa3 / data.mean_samples
    spread = (2 * variance**2 * shape_factor + kappa4 / 2) / data.variance_samples * nuisance.variance_excess
    # dV/dm through dV/du, for brights; a dark's prediction does not use its own mean.
    by_mean = (2 * slope * bend * (gain * seen + w) + slope**2 * gain) / np.maximum(slope, 0.05)
    by_mean = np.where(data.bright, by_mean, 0.0)
    own = mean_variance + nuisance.offset_dn**2
    light = np.where(np.isfinite(data.light), data.light, 0.0)
    scatter = nuisance.light * slope * layout.get(theta, "responsivity") * light
    var_m = own + scatter**2
    cov = mean_cross - by_mean * own
    var_v = spread - 2 * by_mean * mean_cross + by_mean**2 * own
    return var_m, cov, np.maximum(var_v, 1e-12 * spread)


def weights(r: Residuals, var_m: FloatArray, cov: FloatArray, var_v: FloatArray) -> Weights:
    """Whitening of the residual pairs; missing residuals get weight 0."""
    both = r.has_mean & r.has_variance
    cov = np.where(both, cov, 0.0)
    conditional = var_v - cov**2 / var_m  # of r_v given r_m
    conditional = np.maximum(conditional, 1e-9 * var_v)
    a = np.where(r.has_mean, 1.0 / np.sqrt(var_m), 0.0)
    c = np.where(r.has_variance, 1.0 / np.sqrt(conditional), 0.0)
    b = -c * cov / var_m
    log_determinant = float(np.sum(np.log(var_m[r.has_mean])) + np.sum(np.log(conditional[r.has_variance])))
    return Weights(a, np.where(both, b, 0.0), c, log_determinant)


def whiten(r: Residuals, w: Weights) -> FloatArray:
    """All residuals in units of their standard errors, uncorrelated; one vector."""
    mean = (w.a * r.mean)[r.has_mean]
    variance = (w.b * r.mean + w.c * r.variance)[r.has_variance]
    return np.concatenate([mean, variance])
