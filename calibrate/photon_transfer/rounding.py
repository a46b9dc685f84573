"""What rounding does to the mean and the variance of a dark: exact where the noise is below half a code.

Above 0.5 DN of noise rounding adds 1/12 DN^2 and nothing else (Sheppard). Below it, both moments depend on where
between two codes the offset lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_HARMONICS = 8
NEGLIGIBLE_VARIANCE_DN2 = 1.3  # exp(-2 pi^2 1.3) = 7e-12: Sheppard's 1/12 is exact to the last digit that matters


def rounded_moments(
    mean_dn: FloatArray, variance_dn2: FloatArray, offset_variance_dn2: FloatArray
) -> tuple[FloatArray, FloatArray]:
    r"""Mean code and mean temporal variance of pixels that round a normal signal.

    Pixel i rounds W ~ Normal(b_i, s^2), with b_i ~ Normal(b, d^2) over pixels.

    Parameters
    ----------
    mean_dn, variance_dn2 : ndarray (n,)
        b and s^2, before rounding.
    offset_variance_dn2 : ndarray (n,)
        d^2, fixed pattern of the offset over pixels.

    Returns
    -------
    mean_dn, variance_dn2 : ndarray (n,)
        After rounding; the variance is the temporal one, averaged over pixels.

    Notes
    -----
    The rounding error is the sawtooth e(w) = sum_k (-1)^k sin(2 pi k w) / (pi k). With E_k = exp(-2 pi^2 k^2 s^2),

    .. math::
        E[e] &= \sum_k (-1)^k E_k \sin(2\pi k b) / (\pi k) \\
        E[e^2] &= 1/12 + \sum_k (-1)^k E_k \cos(2\pi k b) / (\pi k)^2 \\
        Cov(W, e) &= s^2 E[e'] = 2 s^2 \sum_k (-1)^k E_k \cos(2\pi k b)

    and Var = s^2 + 2 Cov(W, e) + E[e^2] - E[e]^2 (Widrow and Kollar 2008, chapter 4). Averaging over pixels
    multiplies every harmonic k by exp(-2 pi^2 k^2 d^2).
    """
    out = mean_dn.copy(), variance_dn2 + 1.0 / 12.0
    coarse = np.flatnonzero(variance_dn2 < NEGLIGIBLE_VARIANCE_DN2)
    if coarse.size:
        out[0][coarse], out[1][coarse] = _coarse(mean_dn[coarse], variance_dn2[coarse], offset_variance_dn2[coarse])
    return out


def _coarse(
    mean_dn: FloatArray, variance_dn2: FloatArray, offset_variance_dn2: FloatArray
) -> tuple[FloatArray, FloatArray]:
    s2 = np.clip(variance_dn2, 1e-6, None)
    k = np.arange(1, _HARMONICS + 1, dtype=np.float64)
    sign = (-1.0) ** k
    decay = sign * np.exp(-2 * np.pi**2 * k**2 * s2[:, None])

    def average(order: FloatArray, wave: FloatArray) -> FloatArray:
        return np.asarray(wave * np.exp(-2 * np.pi**2 * order**2 * offset_variance_dn2[:, None]))

    phase = 2 * np.pi * mean_dn[:, None]
    cosine, sine = average(k, np.cos(k * phase)), average(k, np.sin(k * phase))
    shift = np.sum(decay * sine / (np.pi * k), axis=1)
    square = 1.0 / 12.0 + np.sum(decay * cosine / (np.pi * k) ** 2, axis=1)
    covariance = 2 * s2 * np.sum(decay * cosine, axis=1)
    # E[e]^2 averaged over pixels: products of sines as differences of cosines.
    row, column = (index.ravel() for index in np.meshgrid(k, k, indexing="ij"))
    weight = (decay[:, :, None] * decay[:, None, :]).reshape(s2.size, -1) / (np.pi**2 * row * column)
    product = average(row - column, np.cos((row - column) * phase)) - average(
        row + column, np.cos((row + column) * phase)
    )
    mean_square = 0.5 * np.sum(weight * product, axis=1)
    exact = s2 + 2 * covariance + square - mean_square
    return mean_dn + shift, exact + (variance_dn2 - s2)
