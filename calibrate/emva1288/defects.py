"""Histograms of average images for the characterisation of defect pixels (release 4, section 8.8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MOST_BINS = 256
_ACCUMULATED_POINTS = 96


@dataclass(frozen=True)
class Histogram:
    """Pixels by their deviation from the mean.

    Parameters
    ----------
    centre : ndarray
        Middles of the bins, in the image's unit, mean 0.
    count : ndarray of int
    normal : ndarray
        Count that a normal law of the image's variance would give.
    """

    centre: FloatArray
    count: NDArray[np.int64]
    normal: FloatArray


def logarithmic_histogram(image: FloatArray, n_frames: int, unit: float = 1.0) -> Histogram:
    """Histogram over the whole range in at most 256 bins, whose width is a multiple of 1/n_frames DN.

    Parameters
    ----------
    image : ndarray
        Average image, or its high-pass part, in DN.
    n_frames : int
        Frames averaged: one step of the sum is 1/n_frames DN.
    unit : float
        What the deviations are multiplied with: 1 for DN, 100 over the mean signal for percent.

    Notes
    -----
    Equations 73 to 75: I = floor(L (max - min)/256) + 1 steps of 1/L make a bin.
    """
    values = np.asarray(image, dtype=np.float64).ravel()
    low, high = float(np.min(values)), float(np.max(values))
    steps = int(np.floor(n_frames * (high - low) / MOST_BINS)) + 1
    width = steps / n_frames
    bins = int(np.floor((high - low) / width)) + 1
    index = np.minimum(((values - low) / width).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    mean, variance = float(np.mean(values)), float(np.var(values))
    centre: FloatArray = low + (np.arange(bins, dtype=np.float64) + 0.5) * width - mean
    normal: FloatArray = np.zeros(bins)
    if variance > 0:
        peak = values.size * width / float(np.sqrt(2 * np.pi * variance))
        normal = peak * np.exp(-(centre**2) / (2 * variance))
    return Histogram(centre * unit, count.astype(np.int64), normal)


def accumulated_histogram(image: FloatArray, unit: float = 1.0) -> tuple[FloatArray, FloatArray]:
    """Deviations from the mean, and the percentage of pixels that deviate by as much or more.

    The points are spread evenly over the logarithm of the percentage, from 100 % down to one pixel, since the last
    few pixels are what the curve is for.
    """
    deviation = np.sort(np.abs(np.asarray(image, dtype=np.float64) - np.mean(image)).ravel())[::-1]
    n = deviation.size
    rank = np.unique(np.round(np.geomspace(1, n, min(_ACCUMULATED_POINTS, n))).astype(np.int64))
    return deviation[rank - 1][::-1] * unit, 100.0 * rank[::-1] / n
