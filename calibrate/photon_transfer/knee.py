"""A response of two straight pieces: mean and noise of levels whose pixels lie on both sides of the knee."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

#: Distance from the knee, in standard deviations over pixels and time, from which on a level lies on one side of it.
CLEAR_SIGMAS = 7.0
_REACH = 9.0  # of the noise, standard deviations
_PIXELS = np.linspace(-4.8, 4.8, 33)
_PIXEL_SHARE = np.exp(-0.5 * _PIXELS**2) / np.sum(np.exp(-0.5 * _PIXELS**2))
_NEWTON = 30


@dataclass(frozen=True)
class Knee:
    """f(u) = u up to ``knee_dn``, of slope ``slope`` beyond.

    ``light_pattern`` is the relative variance of the light over a frame, ``gain`` K, ``early_dn2`` the read noise's
    variance before the response and ``late_dn2`` that after it.
    """

    knee_dn: float
    slope: float
    gain: float
    early_dn2: float
    late_dn2: float
    light_pattern: float

    def noise_dn2(self, u: FloatArray) -> FloatArray:
        """Variance before the response, DN^2."""
        return np.asarray(np.maximum(self.gain * np.maximum(u, 0.0) + self.early_dn2, 1e-9))

    def is_near(self, u: FloatArray) -> NDArray[np.bool_]:
        """Levels with pixels on both sides."""
        reach = CLEAR_SIGMAS * np.sqrt(self.noise_dn2(u) + self.light_pattern * u**2)
        return np.asarray(np.abs(u - self.knee_dn) < reach)


def piecewise(knee_dn: float, slope: float, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """f(u), f'(u), f''(u) away from the knee."""
    beyond = u > knee_dn
    value = np.where(beyond, knee_dn + slope * (u - knee_dn), u)
    return value, np.where(beyond, slope, 1.0), np.zeros_like(u)


def inverted(knee_dn: float, slope: float, v: FloatArray) -> FloatArray:
    """u with f(u) = v."""
    return np.asarray(np.where(v > knee_dn, knee_dn + (v - knee_dn) / slope, v))


def cumulants_at(knee: Knee, u: FloatArray) -> FloatArray:
    r"""Mean signal, temporal cumulants 2 to 4 and mean slope of levels at the mean signals u, shape (5, n).

    Notes
    -----
    A pixel's signal before the response, :math:`\mu + \sigma t`, is normal but for the skewness
    :math:`g = K^2 u/\sigma^3` of its shot noise (Edgeworth): t has density :math:`\varphi(t) (1 + g (t^3 - 3 t)/6)`.
    With the knee at :math:`t = a`, :math:`f = \mu + \sigma h`, h = t below and s t + (1 - s) a beyond, so that

    .. math:: E[h^p] = E[t^p] + \int_a^\infty \big((s t + (1 - s) a)^p - t^p\big) \ldots dt,

    sums of partial moments, which follow from :math:`A_k = a^{k-1} \varphi(a) + (k - 1) A_{k-2}` for the normal law.
    Pixels differ by the light's pattern, normal too.
    """
    if not u.size:
        return np.zeros((5, 0))
    pixels, shares = (_PIXELS, _PIXEL_SHARE) if knee.light_pattern > 0 else (np.zeros(1), np.ones(1))
    centre = u[:, None] * (1.0 + np.sqrt(knee.light_pattern) * pixels)
    sigma = np.sqrt(knee.noise_dn2(centre))
    skew = knee.gain**2 * np.maximum(centre, 0.0) / sigma**3
    edge = np.clip((knee.knee_dn - centre) / sigma, -_REACH, _REACH)
    partial = _partial_moments(edge, skew)
    full = (1.0, 0.0, 1.0, skew, 3.0)
    s, rest = knee.slope, (1.0 - knee.slope) * edge
    raw = [np.zeros_like(edge)]
    for power in range(1, 5):
        value = full[power] - partial[power]
        for k in range(power + 1):
            value = value + comb(power, k) * s**k * rest ** (power - k) * partial[k]
        raw.append(value)
    _, first, second, third, fourth = raw
    variance = second - first**2
    skewness = third - 3 * first * second + 2 * first**3
    kurtosis = fourth - 4 * first * third - 3 * second**2 + 12 * first**2 * second - 6 * first**4
    # Beyond the reach of the noise the edge is no longer the knee: the mean is that of the piece.
    clipped = np.abs(knee.knee_dn - centre) > _REACH * sigma
    mean = np.where(clipped, piecewise(knee.knee_dn, s, centre)[0], centre + sigma * first)
    stacked = np.stack(
        [
            mean,
            sigma**2 * variance + knee.late_dn2,
            sigma**3 * skewness,
            sigma**4 * kurtosis,
            1.0 - (1.0 - s) * partial[0],
        ]
    )
    return np.asarray(stacked @ shares)


def _partial_moments(edge: FloatArray, skew: FloatArray) -> list[FloatArray]:
    """Integrals of t^k from ``edge`` on, k = 0 to 4, of a normal law with skewness to first order."""
    density = np.exp(-0.5 * edge * edge) / np.sqrt(2 * np.pi)
    normal = [ndtr(-edge), density]
    for k in range(2, 8):
        normal.append(edge ** (k - 1) * density + (k - 1) * normal[k - 2])
    return [normal[k] + skew / 6 * (normal[k + 3] - 3 * normal[k + 1]) for k in range(5)]


def _mean_and_slope(knee: Knee, u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and last row of `cumulants_at`, which Newton's method asks for often."""
    pixels, shares = (_PIXELS, _PIXEL_SHARE) if knee.light_pattern > 0 else (np.zeros(1), np.ones(1))
    centre = u[:, None] * (1.0 + np.sqrt(knee.light_pattern) * pixels)
    sigma = np.sqrt(knee.noise_dn2(centre))
    edge = (knee.knee_dn - centre) / sigma
    skew = knee.gain**2 * np.maximum(centre, 0.0) / sigma**3 / 6
    density = np.exp(-0.5 * edge * edge) / np.sqrt(2 * np.pi)
    beyond = ndtr(-edge) + skew * (edge * edge - 1.0) * density
    excess = density * (1.0 + skew * edge**3) - edge * beyond  # E[max(t - edge, 0)]
    fall = 1.0 - knee.slope
    return (centre - fall * sigma * excess) @ shares, 1.0 - fall * (beyond @ shares)


def own_signal(knee: Knee, mean_signal: FloatArray) -> FloatArray:
    """u at which a level's mean signal is ``mean_signal``, pixels on both sides of the knee counted in."""
    u = inverted(knee.knee_dn, knee.slope, mean_signal)
    near = np.flatnonzero(knee.is_near(u))
    if near.size:
        at = u[near]
        for _ in range(_NEWTON):
            mean, slope = _mean_and_slope(knee, at)
            step = (mean - mean_signal[near]) / np.maximum(slope, 0.5 * knee.slope)
            at = at - step
            if np.max(np.abs(step)) < 1e-10 * max(knee.knee_dn, 1.0):
                break
        u[near] = at
    return u


def by_mean(knee: Knee, u: FloatArray) -> FloatArray:
    """dV/dM of levels near the knee: how the variance changes with the mean along the light."""
    step = 0.02 * np.sqrt(knee.noise_dn2(u))
    up, down = cumulants_at(knee, u + step), cumulants_at(knee, u - step)
    return np.asarray((up[1] - down[1]) / np.maximum(up[0] - down[0], 1e-12))
