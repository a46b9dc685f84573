"""Exact moments of codes near the lowest one, or coarser than the noise: sums over the codes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, ndtri

FloatArray = NDArray[np.float64]

#: Distance of a level's mean from the lowest code, in standard deviations over pixels and time, from which on the clip
#: does not show: 1e-9 of the pixels are below.
CLEAR_SIGMAS = 6.0
_NORMAL_CHARGE_E = 50.0
_LEVELS_AT_ONCE = 8
#: Patterns below this many DN are averaged over Gauss-Hermite nodes, wider ones over an even grid.
_NARROW_PATTERN_DN = 0.25
_NARROW = np.polynomial.hermite_e.hermegauss(7)
_WIDE_NODES = np.linspace(-4.8, 4.8, 33)
_WIDE = (_WIDE_NODES, np.exp(-0.5 * _WIDE_NODES**2))


def is_near(
    mean_dn: FloatArray, variance_dn2: FloatArray, pattern_dn2: FloatArray, clip_dn: float | None
) -> NDArray[np.bool_]:
    """Levels whose moments a clip at ``clip_dn`` from below changes."""
    if clip_dn is None:
        return np.zeros(mean_dn.shape, dtype=bool)
    distance = mean_dn - 0.5 - clip_dn
    return np.asarray(distance < CLEAR_SIGMAS * np.sqrt(np.maximum(variance_dn2 + pattern_dn2, 0.0)))


def code_moments(
    offset_dn: FloatArray,
    read_variance_dn2: FloatArray,
    charge_e: FloatArray,
    gain_dn_per_e: float,
    pattern_dn2: FloatArray,
    clip_dn: float | None,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    r"""Mean code and temporal cumulants 2 to 4 of pixels that round and clip read noise and Poisson charge.

    Pixel i has z = max(round(b_i + K n + W), clip), W ~ Normal(0, s^2), n ~ Poisson(q), with b_i ~ Normal(b, d^2) over
    pixels; the cumulants are those of one pixel, averaged over pixels.

    Parameters
    ----------
    offset_dn, read_variance_dn2, charge_e, pattern_dn2 : ndarray (n,)
        b, s^2, q and d^2. Charge above 50 e- counts as normal.
    gain_dn_per_e : float
    clip_dn : float or None
        Lowest code; None for none within reach.

    Returns
    -------
    mean_dn, variance_dn2, third_dn3, fourth_dn4 : ndarray (n,)

    Notes
    -----
    With a code c far below or at the clip and n_k = P(z - c >= k), E[(z - c)^p] = sum_k (k^p - (k-1)^p) n_k.
    """
    out = _moments(offset_dn, read_variance_dn2, charge_e, gain_dn_per_e, pattern_dn2, clip_dn)
    return out[0], out[1], out[2], out[3]


def pattern_of_means(
    offset_dn: FloatArray,
    read_variance_dn2: FloatArray,
    charge_e: FloatArray,
    gain_dn_per_e: float,
    pattern_dn2: FloatArray,
    clip_dn: float | None,
) -> FloatArray:
    """Variance over pixels of the pixels' mean codes, DN^2, for the arguments of `code_moments`.

    A clip hides part of the pattern ``pattern_dn2`` of the offsets, and codes coarser than the noise change it.
    """
    return np.asarray(_moments(offset_dn, read_variance_dn2, charge_e, gain_dn_per_e, pattern_dn2, clip_dn)[4])


def _moments(
    offset_dn: FloatArray,
    read_variance_dn2: FloatArray,
    charge_e: FloatArray,
    gain_dn_per_e: float,
    pattern_dn2: FloatArray,
    clip_dn: float | None,
) -> FloatArray:
    charge = np.maximum(charge_e, 0.0)
    normal = charge > _NORMAL_CHARGE_E
    centre = offset_dn + np.where(normal, gain_dn_per_e * charge, 0.0)
    variance = np.maximum(read_variance_dn2, 1e-6) + np.where(normal, gain_dn_per_e**2 * charge, 0.0)
    charge = np.where(normal, 0.0, charge)
    out = np.empty((5, offset_dn.size))
    # Levels of like width share one array of codes.
    for rows in np.array_split(np.argsort(variance), max(1, offset_dn.size // _LEVELS_AT_ONCE)):
        if rows.size:
            spread = np.sqrt(np.maximum(pattern_dn2[rows], 0.0))
            arrays = (centre[rows], np.sqrt(variance[rows]), charge[rows], spread)
            out[:, rows] = _remembered(*(values.tobytes() for values in arrays), gain_dn_per_e, clip_dn)
    return out


@lru_cache(maxsize=32)
def _remembered(
    centre: bytes, noise: bytes, charge: bytes, spread: bytes, gain: float, clip: float | None
) -> FloatArray:
    """`_sums`, kept: half of a fit's steps change what the darks do not depend on."""
    places, widths, charges, spreads = (np.frombuffer(values) for values in (centre, noise, charge, spread))
    return _sums(places, widths, charges, spreads, gain, clip)


def _sums(
    centre: FloatArray, noise: FloatArray, charge: FloatArray, spread: FloatArray, gain: float, clip: float | None
) -> FloatArray:
    """Four moments of levels (n,) and the variance of means over pixels, (5, n); axes inside: level, node, code."""
    most = float(charge.max())
    counts = np.arange(int(most + 7 * np.sqrt(most) + 7) + 1 if most > 1e-9 else 1, dtype=np.float64)
    share = np.exp(counts * np.log(np.maximum(charge, 1e-300))[:, None] - charge[:, None] - gammaln(counts + 1))
    widest = float(spread.max())
    nodes, node_share = _WIDE if widest > _NARROW_PATTERN_DN else _NARROW if widest > 0 else (np.zeros(1), np.ones(1))
    node_share = node_share / np.sum(node_share)
    base = np.floor(centre - 5 * spread - 8 * noise) if clip is None else np.full(centre.size, clip)
    centres = (centre - base)[:, None, None] + spread[:, None, None] * nodes[:, None] + gain * counts
    top = max(2, int(np.ceil(float(np.max(centres + 8 * noise[:, None, None])))))
    # Wide laws are summed on every step-th code: the sum of a smooth function is its integral.
    step = max(1, int(noise.min() // 32))
    code = np.arange(1, top + step, step, dtype=np.float64) + 0.5 * (step - 1)
    above = np.zeros((centre.size, nodes.size, code.size))
    for k in range(counts.size):  # electron by electron: the largest array has no axis of them
        above += share[:, k, None, None] * ndtr((centres[:, :, k, None] - code + 0.5) / noise[:, None, None])
    above *= step
    first = above.sum(axis=2)
    second = above @ (2 * code - 1)
    third = above @ (3 * code * (code - 1) + 1)
    fourth = above @ (code**4 - (code - 1) ** 4)
    kappa3 = third - 3 * first * second + 2 * first**3
    kappa4 = fourth - 4 * first * third - 3 * second**2 + 12 * first**2 * second - 6 * first**4
    stacked = np.stack([first, second - first**2, kappa3, kappa4, first**2]) @ node_share
    stacked[4] -= stacked[0] ** 2
    stacked[0] += base
    return np.asarray(stacked)


def unclipped_start(mean_dn: float, clipped_fraction: float, clip_dn: float) -> tuple[float, float]:
    """Offset and variance of the normal law of which ``clipped_fraction`` lies at the clip and the mean is this."""
    below = float(ndtri(np.clip(clipped_fraction, 1e-6, 1 - 1e-6)))  # (clip + 1/2 - b)/s
    excess = max(mean_dn - clip_dn, 1e-3)
    noise = excess
    for _ in range(100):  # E[max(W - clip, 0)] = s (phi(t) + t Phi(t)) with t = (b - clip)/s
        t = 0.5 / noise - below
        share = float(np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi) + t * ndtr(t))
        noise = 0.5 * (noise + excess / max(share, 1e-6))
    return clip_dn + 0.5 - below * noise, noise**2
