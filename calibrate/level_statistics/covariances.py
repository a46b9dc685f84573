"""Covariances of the temporal noise of neighbouring pixels, from a central tile of the bright frames.

The first pass has the next neighbours' correlations of whole frames for nothing. Only where those rise with the signal
are frames read again, and then a tile is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from calibrate.captures.capture_set import CaptureSet
from calibrate.frames import iterate_frames
from calibrate.level_statistics.levels import LevelStatistics

FloatArray = NDArray[np.float64]

LAGS = 8
TILE_PIXELS = 512
_MOST_PAIRS = 8
#: Standard errors from which on a rise of the correlation with the signal is worth a second look: chance alone asks for
#: one in some 300 ordinary fits.
RISING_SIGMAS = 3.0
#: Differences beyond this many robust standard deviations are left out: 6e-7 of normal ones.
_CUT_SIGMAS = 5.0


@dataclass(frozen=True, eq=False)
class NeighbourCovariances:
    """Covariances of one frame's noise at a level, DN^2.

    Parameters
    ----------
    mean_dn : float
        Of the tile.
    covariance_dn2 : ndarray (lags + 1, lags + 1)
        Over vertical and horizontal lags; [0, 0] is the variance. Lags (i, j) and (i, -j) are averaged.
    samples : ndarray (lags + 1, lags + 1)
        Products that went into each.
    """

    mean_dn: float
    covariance_dn2: FloatArray
    samples: FloatArray

    @property
    def std_dn2(self) -> FloatArray:
        """Standard errors for nearly independent normal pixels, Var C_ij = C_00^2 (1 + delta_ij) / samples."""
        factor = np.ones(self.samples.shape)
        factor[0, 0] = 2.0
        return np.asarray(max(float(self.covariance_dn2[0, 0]), 1e-150) * np.sqrt(factor / self.samples))


def correlations_rise(levels: Sequence[LevelStatistics], offset_dn: float, highest_dn: float) -> bool:
    """Whether the noise of next neighbours correlates the more the brighter the level.

    A weighted straight line of the correlation over the signal, for rows, for columns and for both together; True from
    ``RISING_SIGMAS`` of its slope on. Levels above ``highest_dn`` (saturation) do not count.
    """
    signal, correlation, pixels = [], [], []
    for level in levels:
        n = sum(pair.n_pixels for pair in level.pairs if not pair.rejected)
        if level.kind == "bright" and level.mean_dn <= highest_dn and n > 1:
            signal.append(level.mean_dn - offset_dn)
            correlation.append(level.neighbour_correlation)
            pixels.append(float(n))
    if len(signal) < 3:
        return False
    x, weight = np.array(signal), np.array(pixels)
    x = x - np.average(x, weights=weight)
    lever = float(weight @ x**2)
    if lever <= 0:
        return False
    along, across = (weight * x) @ np.array(correlation) / np.sqrt(lever)
    return bool(max(along, across, (along + across) / np.sqrt(2)) > RISING_SIGMAS)


def measure_covariances(
    captures: CaptureSet, offset_dn: float, highest_dn: float, *, tile: int = TILE_PIXELS
) -> tuple[NeighbourCovariances, ...]:
    """Covariances of every bright level of two frames or more, by rising mean; up to eight pairs a level.

    Parameters
    ----------
    captures : CaptureSet
    offset_dn : float
        Mean of the darks.
    highest_dn : float
        Levels of a higher tile mean are left out: saturation.
    tile : int
        Rows and columns in the middle of the frame that are looked at.

    Raises
    ------
    PhotonbitsError
        If a frame cannot be read.
    """
    out = []
    for level in captures.bright_levels():
        n_pairs = min(level.n_frames // 2, _MOST_PAIRS)
        frames = iterate_frames(level.frames[: 2 * n_pairs])
        parts = []
        for a, b in zip(frames, frames, strict=True):
            parts.append(neighbour_covariances(_middle(a, tile), _middle(b, tile), offset_dn))
        if parts:
            mean = float(np.mean([part.mean_dn for part in parts]))
            samples = np.sum([part.samples for part in parts], axis=0)
            total = np.sum([part.covariance_dn2 * part.samples for part in parts], axis=0)
            if mean <= highest_dn:
                out.append(NeighbourCovariances(mean, total / np.maximum(samples, 1.0), np.maximum(samples, 1.0)))
    return tuple(sorted(out, key=lambda entry: entry.mean_dn))


def _middle(frame: NDArray[np.generic], tile: int) -> NDArray[np.generic]:
    height, width = frame.shape
    top, left = max((height - tile) // 2, 0), max((width - tile) // 2, 0)
    return frame[top : top + tile, left : left + tile]


def neighbour_covariances(
    a: NDArray[np.generic], b: NDArray[np.generic], offset_dn: float, *, lags: int = LAGS
) -> NeighbourCovariances:
    """Covariances of the noise of two frames (height, width) of one level.

    Notes
    -----
    With the offset taken off, both frames are scaled to the pair's mean, alpha = M/m_a and beta = M/m_b, so that a lamp
    that drifts leaves no shading in alpha a - beta b, whose covariance is that of one frame times alpha + beta.
    Differences beyond 5 robust standard deviations are left out with all products they are part of. About their own
    mean, n values have every covariance low by the variance over n, which is put back.
    """
    one_code = 1.0 if np.issubdtype(a.dtype, np.integer) else 0.0
    x, y = a.astype(np.float64), b.astype(np.float64)
    light_a, light_b = float(x.mean()) - offset_dn, float(y.mean()) - offset_dn
    mean = 0.5 * (light_a + light_b)
    noise = float(np.std(x - y))
    scaled = min(light_a, light_b) > max(noise, one_code)
    alpha, beta = (mean / light_a, mean / light_b) if scaled else (1.0, 1.0)
    d = alpha * (x - offset_dn) - beta * (y - offset_dn)
    d -= np.median(d)
    sigma = float(1.4826 * np.median(np.abs(d))) or noise
    kept = np.abs(d) <= _CUT_SIGMAS * sigma
    count = max(int(np.count_nonzero(kept)), 2)
    d = np.where(kept, d - float(np.sum(d[kept])) / count, 0.0)
    height, width = d.shape
    shape = (fft.next_fast_len(height + lags, real=True), fft.next_fast_len(width + lags, real=True))

    def sums(values: FloatArray) -> FloatArray:
        """Sums of products over all pixels at lags (i, j) and (i, -j), each lag of the quadrant once."""
        power = np.abs(fft.rfft2(values, shape)) ** 2
        both = fft.irfft2(power, shape)
        right, left = both[: lags + 1, : lags + 1], both[: lags + 1, -np.arange(lags + 1)]
        out = right + left
        out[0], out[:, 0] = right[0], right[:, 0]
        return np.asarray(out)

    samples = np.maximum(np.round(sums(kept.astype(np.float64))), 1.0)
    covariance = sums(d) / samples
    covariance = (covariance + covariance[0, 0] / count) / (alpha + beta)
    return NeighbourCovariances(mean + offset_dn, covariance, samples)
