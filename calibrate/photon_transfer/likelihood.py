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
Candidates may have the shot noise S(x) of a brighter-fatter sensor (`brighter_fatter`) in place of K x, read noise
after the response, v_i = f'(x_i)^2 K x_i + w + 1/12, or a response of two slopes (`knee`), whose mean and variance near
the knee are integrals over the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.brighter_fatter import Quadrant, shot_variance_e2, third_cumulant_e3
from calibrate.photon_transfer.clipping import code_moments, is_near
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.knee import Knee, by_mean, cumulants_at, inverted, own_signal, piecewise
from calibrate.photon_transfer.rounding import NEGLIGIBLE_VARIANCE_DN2, rounded_moments
from calibrate.response import Response

FloatArray = NDArray[np.float64]
ROUNDING_VARIANCE_DN2 = 1.0 / 12.0
#: DN per electron above which single electrons of dark charge show between coarse codes.
_COARSE_GAIN = 0.02


@dataclass(frozen=True)
class Nuisance:
    """Scatter that is fitted beside the camera: light (relative), offset (DN), and excess of the variances."""

    light: float = 0.0
    offset_dn: float = 0.0
    variance_excess: float = 1.0


@dataclass(frozen=True)
class Layout:
    """Which parameters a candidate model has, in the order of its vector theta; the response's stand last.

    ``neighbours`` are the shifts of a brighter-fatter model, held fixed beside its own ``a00`` and ``b``;
    ``light_pattern``, the light's relative variance over a frame, counts near a knee. Bright levels above the code
    ``hand_over_dn`` have ``step`` more read variance.
    """

    names: tuple[str, ...]
    degree: int
    scale_dn: float
    rounding_dn2: float
    noise_after_response: bool = False
    neighbours: Quadrant = ()
    form: Literal["polynomial", "two-slope"] = "polynomial"
    light_pattern: float = 0.0
    hand_over_dn: float = np.inf

    def index(self, name: str) -> int | None:
        """Position in theta; None where the model does not have it."""
        return self.names.index(name) if name in self.names else None

    def get(self, theta: FloatArray, name: str) -> float:
        """Value of a parameter; 0 where the model does not have it."""
        position = self.index(name)
        return 0.0 if position is None else float(theta[position])

    def coefficients(self, theta: FloatArray) -> FloatArray:
        """Response coefficients c_1 .. c_degree; knee over scale and slope of a two-slope one."""
        return theta[len(self.names) - self.degree :]

    def knee(self, theta: FloatArray) -> Knee | None:
        """The knee of a two-slope candidate, and the noise that passes through it."""
        if self.form != "two-slope":
            return None
        place, slope = self.coefficients(theta)
        w = max(self.get(theta, "dark_variance"), 0.0)
        late = w if self.noise_after_response else 0.0
        gain = self.get(theta, "gain")
        return Knee(float(place) * self.scale_dn, float(slope), gain, w - late, late, self.light_pattern)

    def response(self, theta: FloatArray) -> Response:
        """The fitted response curve."""
        if self.degree == 0:
            return Response()
        return Response(self.form, tuple(float(c) for c in self.coefficients(theta)), self.scale_dn)


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
    if coefficients.size == 0:
        return u, np.ones_like(u), np.zeros_like(u)
    x = np.maximum(u, 0.0) / scale
    value, slope, bend = (np.zeros_like(x) for _ in range(3))
    for power in range(coefficients.size, 0, -1):  # Horner's scheme: powers are slow
        coefficient = float(coefficients[power - 1])
        value = (value + coefficient) * x
        slope = (slope + (power + 1) * coefficient) * x
        bend = bend * x + (power + 1) * power * coefficient
    return u * (1.0 + value), 1.0 + slope, np.where(u > 0, bend / scale, 0.0)


def invert(coefficients: FloatArray, scale: float, v: FloatArray) -> FloatArray:
    """u with f(u) = v by Newton's method from u = v."""
    u = v.copy()
    if coefficients.size == 0:
        return u
    for _ in range(12):
        value, slope, _ = polynomial(coefficients, scale, u)
        step = (value - v) / np.maximum(slope, 0.05)
        u = u - step
        if np.max(np.abs(step)) < 1e-12 * scale:
            break
    return u


def curve_at(theta: FloatArray, layout: Layout, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """f(u), f'(u), f''(u) of a candidate's response."""
    if layout.form == "two-slope":
        place, slope = layout.coefficients(theta)
        return piecewise(place * layout.scale_dn, slope, u)
    return polynomial(theta[len(layout.names) - layout.degree :], layout.scale_dn, u)


def inverse_at(theta: FloatArray, layout: Layout, v: FloatArray) -> FloatArray:
    """u with f(u) = v under a candidate's response."""
    if layout.form == "two-slope":
        place, slope = layout.coefficients(theta)
        return inverted(place * layout.scale_dn, slope, v)
    return invert(theta[len(layout.names) - layout.degree :], layout.scale_dn, v)


def shot_noise(theta: FloatArray, layout: Layout, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shot variance S(x), DN^2, before the response, and its first two derivatives by the signal x, DN."""
    gain = layout.get(theta, "gain")
    if layout.index("a00") is None:
        return gain * x, np.full_like(x, gain), np.zeros_like(x)
    own, evolution = layout.get(theta, "a00"), layout.get(theta, "b")
    value, slope, bend = shot_variance_e2(x / gain, own, evolution, layout.neighbours)
    return gain**2 * value, gain * slope, bend


def residuals(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> Residuals:
    """Measured minus predicted, for every level that the fit uses."""
    offset = layout.get(theta, "offset")
    gain, w = layout.get(theta, "gain"), layout.get(theta, "dark_variance")
    light = np.where(np.isfinite(data.light), data.light, 0.0)
    x = layout.get(theta, "responsivity") * light + dark_signal_of(theta, layout, data)
    fitted_mean = offset + curve_at(theta, layout, x)[0] + data.mean_shift_dn
    # Brights: the light at the level's own mean; darks: the model's own dark signal.
    own = inverse_at(theta, layout, data.mean_dn - offset - data.mean_shift_dn)
    seen = np.where(data.bright, own, x)
    slope = curve_at(theta, layout, seen)[1]
    shot, _, bent = shot_noise(theta, layout, seen)
    if layout.index("a00") is not None:
        # Uneven light samples the curve of S over its bend; `level_shifts` has that of the response.
        light_variance = np.maximum(data.spatial_variance_dn2 - data.offset_variance_dn2, 0.0)
        shot = shot + 0.5 * bent * light_variance / np.maximum(slope, 0.05) ** 2
    shot = shot * np.where(data.bright, 1 + data.gain_pattern, 1.0)
    read = w if layout.noise_after_response else slope**2 * w
    fitted_variance = slope**2 * shot + read + layout.rounding_dn2 + data.variance_shift_dn2
    if layout.hand_over_dn < np.inf:
        fitted_variance = fitted_variance + _stepped(theta, layout, data)
    knee = layout.knee(theta)
    if knee is not None:
        near = np.flatnonzero(data.bright & knee.is_near(x))
        fitted_mean[near] = offset + cumulants_at(knee, x[near])[0] + data.mean_shift_dn[near]
        near, _, at_knee = _near_knee(knee, seen, data, offset)
        fitted_variance[near] = at_knee[1] + layout.rounding_dn2 + data.variance_shift_dn2[near]
    dark = np.flatnonzero(data.dark)
    charge, hot = _hot_charge(x[dark], data.hot_dn[dark])
    if layout.rounding_dn2 > 0 and dark.size:
        pattern = np.full(dark.size, data.offset_variance_dn2)
        rounded = rounded_moments(fitted_mean[dark] - data.hot_dn[dark], gain * charge + w, pattern)
        fitted_mean[dark], fitted_variance[dark] = rounded[0] + data.hot_dn[dark], rounded[1] + gain * hot
        summed = dark[needs_code_sums(theta, layout, data)[dark]]
        if summed.size:
            fitted_mean[summed], fitted_variance[summed] = dark_moments(theta, layout, data, summed, x[summed])[:2]
    fitted_variance[dark] -= np.where(data.ordinary_noise[dark], gain * hot, 0.0)
    used = data.used_bright | data.dark
    has_mean = used & (data.still | (data.bright & (layout.index("responsivity") is not None)))
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


def _stepped(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> FloatArray:
    """Read variance that the levels above the hand-over have more, DN^2."""
    above = data.bright & (data.mean_dn > layout.hand_over_dn)
    return np.where(above, max(layout.get(theta, "step"), 0.0), 0.0)


def _near_knee(
    knee: Knee, seen: FloatArray, data: PhotonTransferData, offset: float
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Bright levels with pixels on both sides of the knee, their signals at their own means, and their cumulants."""
    near = np.flatnonzero(data.bright & knee.is_near(seen))
    own = own_signal(knee, data.mean_dn[near] - offset - data.mean_shift_dn[near])
    return near, own, cumulants_at(knee, own)


def _hot_charge(dark_signal: FloatArray, hot: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Dark charge of ordinary pixels, DN, and what hot ones add to the mean of all; together the dark signal.

    Hot pixels add no more charge than there is: at exposure 0 their excess is one of the offset.
    """
    charge = np.maximum(dark_signal, 0.0)
    hot_charge = np.clip(hot, 0.0, charge)
    return charge - hot_charge, hot_charge


def needs_code_sums(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> NDArray[np.bool_]:
    """Darks with pixels at the lowest code, and those whose few electrons are coarser than the noise."""
    gain, w = layout.get(theta, "gain"), max(layout.get(theta, "dark_variance"), 0.0)
    charge, _ = _hot_charge(dark_signal_of(theta, layout, data), data.hot_dn)
    mean = layout.get(theta, "offset") + charge
    near = is_near(mean, w + gain * charge, np.full(mean.size, data.offset_variance_dn2), data.black_clip_dn)
    # Over a pattern of a code or more every phase of the rounding is there, and its mean is 1/12.
    even = data.offset_variance_dn2 > 1.0
    few = (w < NEGLIGIBLE_VARIANCE_DN2) & (gain > _COARSE_GAIN) & (gain * charge > 1e-4) & (not even)
    return np.asarray(data.dark & ((near & (data.black_fraction > 0)) | few))


def dark_signal_of(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> FloatArray:
    """Mean dark signal of every level, DN: from its exposure, or of a dark from its own mean where that tells it."""
    signal = layout.get(theta, "dark_rate") * np.where(np.isfinite(data.exposure_s), data.exposure_s, 0.0)
    rows = np.flatnonzero(data.charged)
    if rows.size:
        signal[rows] = inverse_at(theta, layout, data.mean_dn[rows] - layout.get(theta, "offset"))
    return signal


def ordinary_darks(
    theta: FloatArray, layout: Layout, data: PhotonTransferData, rows: NDArray[np.intp], dark_signal: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, float, FloatArray, float | None]:
    """What `code_moments` is asked for the ordinary pixels of the darks ``rows``."""
    gain, w = layout.get(theta, "gain"), max(layout.get(theta, "dark_variance"), 0.0)
    same = np.ones(dark_signal.size)
    offset = layout.get(theta, "offset")
    charge, hot = _hot_charge(dark_signal, data.hot_dn[rows])
    low = data.black_clip_dn if data.black_clip_dn is not None and offset - 8 * np.sqrt(w) < 40 else None
    return (
        offset * same + np.minimum(dark_signal, 0.0) - (data.hot_dn[rows] - hot),
        w * same,
        charge / max(gain, 1e-9),
        gain,
        data.offset_variance_dn2 * same,
        low,
    )


def dark_moments(
    theta: FloatArray, layout: Layout, data: PhotonTransferData, rows: NDArray[np.intp], dark_signal: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean and cumulants of the darks ``rows`` by sums over codes; ``dark_signal`` in DN, one a row.

    The sums are those of ordinary pixels. Hot ones are few and far from the lowest code, and as wide as their charge:
    they add to the mean and, K^n-fold, to its cumulants what they hold beyond the others.
    """
    gain = layout.get(theta, "gain")
    hot = _hot_charge(dark_signal, data.hot_dn[rows])[1]
    mean, variance, third, fourth = code_moments(*ordinary_darks(theta, layout, data, rows, dark_signal))
    return mean + data.hot_dn[rows], variance + gain * hot, third + gain**2 * hot, fourth + gain**3 * hot


@dataclass(frozen=True)
class Cumulants:
    """Temporal cumulants 2 to 4 of one pixel of every level under the model, and dV/dm.

    ``variance_of_mean`` over the number of pixels is that of a frame's mean: where neighbours correlate (brighter-
    fatter) it is not a pixel's own.
    """

    variance: FloatArray
    third: FloatArray
    fourth: FloatArray
    variance_by_mean: FloatArray
    slope: FloatArray
    variance_of_mean: FloatArray


def cumulants(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> Cumulants:
    """What the errors of means and variances follow from; never from the observed variance."""
    gain, w = layout.get(theta, "gain"), max(layout.get(theta, "dark_variance"), 0.0)
    offset = layout.get(theta, "offset")
    dark_signal = dark_signal_of(theta, layout, data)
    own = inverse_at(theta, layout, data.mean_dn - offset - data.mean_shift_dn)
    seen = np.where(data.bright, own, dark_signal)
    shot_signal = np.maximum(seen, 0.0)
    _, slope, bend = curve_at(theta, layout, seen)
    shot, shot_slope, _ = shot_noise(theta, layout, shot_signal)
    read = w if layout.noise_after_response else slope**2 * w
    noise = shot + (0.0 if layout.noise_after_response else w)  # what passes through the response
    variance = slope**2 * shot + read + layout.rounding_dn2
    if layout.hand_over_dn < np.inf:
        variance = variance + _stepped(theta, layout, data)
    skewness = gain**2 * shot_signal
    if layout.index("a00") is not None:
        skewness = gain**3 * third_cumulant_e3(shot_signal / gain, layout.get(theta, "a00"))
    third = slope**3 * skewness + 3 * slope**2 * bend * noise**2
    fourth = slope**4 * gain**3 * shot_signal
    dark = np.flatnonzero(data.dark)
    if layout.rounding_dn2 > 0 and dark.size:
        summed = dark[needs_code_sums(theta, layout, data)[dark]]
        if summed.size:
            exact = dark_moments(theta, layout, data, summed, dark_signal[summed])
            variance[summed], third[summed], fourth[summed] = exact[1:]
    # Of darks whose variance is that of the ordinary pixels, hot ones are in the mean alone.
    hot = np.where(data.ordinary_noise, _hot_charge(dark_signal, data.hot_dn)[1], 0.0)
    variance, third, fourth = variance - gain * hot, third - gain**2 * hot, fourth - gain**3 * hot
    variance = np.maximum(variance, 1e-9 * np.max(variance))  # a noiseless level has no infinite weight
    # dV/dm through dV/du, for brights; a dark's prediction does not use its own mean, unless that tells its charge.
    with_mean = (2 * slope * bend * noise + slope**2 * shot_slope) / np.maximum(slope, 0.05)
    with_mean = np.where(data.bright | data.charged, with_mean, 0.0)
    knee = layout.knee(theta)
    if knee is not None:
        near, at, at_knee = _near_knee(knee, seen, data, offset)
        variance[near], third[near], fourth[near] = at_knee[1] + layout.rounding_dn2, at_knee[2], at_knee[3]
        slope[near], with_mean[near] = at_knee[4], by_mean(knee, at)
    # Covariances of neighbours restore the Poisson variance in the sum over pixels.
    of_mean = variance + slope**2 * (gain * shot_signal - shot) + gain * hot
    return Cumulants(variance, third, fourth, with_mean, slope, of_mean)


def error_covariance(
    theta: FloatArray, layout: Layout, data: PhotonTransferData, nuisance: Nuisance, shape_factor: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """var(r_m), cov(r_m, r_v), var(r_v) of every level under the model (never from the observed variance).

    ``shape_factor`` (n_levels,) is the measured kurtosis of the differences over that of the model: pixels
    with different noise make a variance less certain.
    """
    return covariance_of(cumulants(theta, layout, data), theta, layout, data, nuisance, shape_factor)


def covariance_of(
    model: Cumulants,
    theta: FloatArray,
    layout: Layout,
    data: PhotonTransferData,
    nuisance: Nuisance,
    shape_factor: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`error_covariance` from the cumulants at ``theta``, which many scatters can share."""
    by_mean = model.variance_by_mean
    mean_variance = model.variance_of_mean / data.mean_samples
    mean_cross = model.third / data.mean_samples
    spread = (2 * model.variance**2 * shape_factor + model.fourth / 2) / data.variance_samples
    spread = np.maximum(spread, 1e-3 * model.variance**2 / data.variance_samples) * nuisance.variance_excess
    own = mean_variance + nuisance.offset_dn**2
    light = np.where(np.isfinite(data.light), data.light, 0.0)
    scatter = nuisance.light * model.slope * layout.get(theta, "responsivity") * light
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
