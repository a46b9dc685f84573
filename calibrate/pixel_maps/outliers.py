"""Single-frame outliers, taken out while the frames pass by, are given back to pixels that are noisy in many frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.sums import OUTLIER_SIGMAS, TileSums

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PAIR = 2.0  # frames in a pair


def give_back(tile: TileSums, design: Design) -> None:
    """Add what was set aside to pixels that had many events, or none beyond six deviations of their own noise.

    Notes
    -----
    An event lowered the mean of its pair by h, half the difference, and put the typical variance in the place of the
    pair's own. Undone: the level's mean rises by 2 h/L, its sum of squares by d^2/2 - v within the pair, and between
    the pairs by 2 n h (m - M) + n h^2 - (n sum h)^2/L, with n = 2 frames, m the lowered mean of the pair and M that of
    the level, which the pixel's own means over all levels predict.
    """
    events = tile.events.joined()
    if events.pixel.size == 0:
        return
    noisy = np.zeros(tile.stop - tile.start, dtype=bool)
    noisy[events.pixel[_is_noise(tile, design, events.pixel, events.level, events.size_dn)]] = True
    chosen = noisy[events.pixel]
    if not np.any(chosen):
        return
    pixel, level = events.pixel[chosen], events.level[chosen].astype(np.int64)
    size, mean = events.size_dn[chosen].astype(np.float64), events.mean_dn[chosen].astype(np.float64)
    for k in np.unique(level):
        x, here = tile.seen[k], level == k
        raised = x.mean_weight * size[here] / x.n_frames
        if x.plan.bright:
            np.add.at(tile.light, pixel[here], raised)
        else:
            np.add.at(tile.dark, pixel[here], raised)
            np.add.at(tile.dark_by_time, pixel[here], raised * x.plan.exposure_s)
    squares = _lost_squares(tile, design, pixel, level, size, mean)
    for k in np.unique(level):
        x, here = tile.seen[k], level == k
        variance = squares[here] * x.plan.factor / max(x.n_frames - 1, 1)
        if x.plan.bright:
            by_signal, plain = x.variance_coefficients
            np.add.at(tile.variance_signal, pixel[here], by_signal * variance)
            np.add.at(tile.variance, pixel[here], plain * variance)
        else:
            np.add.at(tile.dark_variance, pixel[here], x.variance_weight * variance)


def _is_noise(
    tile: TileSums, design: Design, pixel: IntArray, level: NDArray[np.int16], size: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Events of pixels with many of them, and those within six deviations of a pixel surely noisier than typical."""
    variance = np.array([x.plan.variance_dn2 for x in tile.seen])
    bright = np.array([x.plan.bright for x in tile.seen])
    own = _surely(tile.dark_variance / (design.dark_weight * design.dark_variance_dn2), design.dark_dof)[pixel]
    lit = [x for x in tile.seen if x.plan.bright]
    expected = sum(x.variance_coefficients[1] * x.plan.variance_dn2 for x in lit)
    if expected > 0:
        own_bright = _surely(tile.variance / expected, sum(x.n_frames - 1 for x in lit))
        own = np.where(bright[level], own_bright[pixel], own)
    within = size.astype(np.float64) ** 2 < 2 * OUTLIER_SIGMAS**2 * variance[level] * own
    return np.asarray(within | (tile.event_count[pixel] >= tile.most_events))


def _surely(ratio: NDArray[np.floating], dof: float) -> FloatArray:
    """What a variance is at least, over the typical one: four of its standard errors lower, 1 or more."""
    return np.asarray(np.maximum(ratio / (1 + 4 * np.sqrt(2 / dof)), 1.0), dtype=np.float64)


def _lost_squares(
    tile: TileSums, design: Design, pixel: IntArray, level: IntArray, size: FloatArray, mean: FloatArray
) -> FloatArray:
    """What each event took from its level's sum of squares; the means have been given back."""
    frames = np.array([float(x.n_frames) for x in tile.seen])[level]
    within = size**2 / 2 - np.array([x.plan.variance_dn2 for x in tile.seen])[level]
    # Signal of the pixel at each event's level, from its means over all levels.
    dark, by_time = tile.dark[pixel].astype(np.float64), tile.dark_by_time[pixel].astype(np.float64)
    offset, rate = design.offset_and_rate(dark, by_time)
    exposure = np.array([x.plan.exposure_s for x in tile.seen])[level]
    expected = offset - design.fit.offset_dn + rate * exposure
    if design.has_light:
        response = design.response(tile.light[pixel].astype(np.float64), offset, rate)
        light = np.array([x.plan.slope * x.plan.light_dn for x in tile.seen])[level]
        excess = (rate - design.fit.dark_rate_dn_per_s) * exposure if design.has_rate else 0.0
        lit = np.array([x.plan.bright for x in tile.seen])[level]
        expected = np.where(lit, offset - design.fit.offset_dn + excess + response * light, expected)
    height = size / 2
    _, group = np.unique(pixel * len(tile.seen) + level, return_inverse=True)
    together = np.bincount(group, weights=height)[group]
    lowered = expected - _PAIR * together / frames
    between = 2 * _PAIR * height * (mean - lowered) + _PAIR * height**2 - _PAIR**2 * height * together / frames
    return np.asarray(within + np.where(frames > _PAIR, between, 0.0))
