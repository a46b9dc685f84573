"""Slanted edges whose MTF is known in closed form, drawn pixel by pixel; and a slow reader of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import j1


@dataclass(frozen=True)
class Optics:
    """A rotationally symmetric blur: a Gaussian of ``blur_px`` (sd) times a defocus disc of ``disc_px`` (radius)."""

    blur_px: float = 0.5
    disc_px: float = 0.0

    def mtf(self, f, angle_degrees):
        """The optics times the square pixel, along the normal of an edge at this angle."""
        theta = np.radians(angle_degrees)
        f = np.asarray(f, dtype=float)
        out = np.exp(-2 * (np.pi * self.blur_px * f) ** 2) * np.sinc(f * np.cos(theta)) * np.sinc(f * np.sin(theta))
        if self.disc_px:
            v = 2 * np.pi * self.disc_px * f
            out = out * np.where(v > 1e-9, 2 * j1(np.maximum(v, 1e-9)) / np.maximum(v, 1e-9), 1.0)
        return out

    def edge_spread(self, distance_px, angle_degrees):
        """The integral of the line spread function, from 0 to 1."""
        return np.interp(distance_px, *_spread_table(self, angle_degrees))


@cache
def _spread_table(optics, angle_degrees):
    """ESF(d) = 1/2 + int_0^inf MTF(f) sin(2 pi f d) / (pi f) df, every hundredth of a pixel up to 30."""
    near = np.arange(1, 3001) * 0.01
    f = (np.arange(3000) + 0.5) * (6.0 / 3000)
    weight = optics.mtf(f, angle_degrees) / (np.pi * f) * (6.0 / 3000)
    upper = 0.5 + np.concatenate([np.sin(2 * np.pi * np.outer(part, f)) @ weight for part in np.split(near, 10)])
    return np.concatenate([-near[::-1], [0.0], near]), np.concatenate([1 - upper[::-1], [0.5], upper])


def edge_image(optics, angle_degrees, shape, dark_e, bright_e, *, bend_px=0.0, centre=None):
    """Mean electrons of every pixel; bright to the right of an edge leaning by the angle from the columns."""
    height, width = shape
    theta = np.radians(angle_degrees)
    middle = ((height - 1) / 2, (width - 1) / 2) if centre is None else centre
    row, column = np.mgrid[:height, :width].astype(float)
    row, column = row - middle[0], column - middle[1]
    column = column - bend_px * (2 * row / height) ** 2
    distance = column * np.cos(theta) - row * np.sin(theta)
    return dark_e + (bright_e - dark_e) * optics.edge_spread(distance, angle_degrees)


def slow_mtf(image_e, angle_degrees, intercept_px, f, half_px=12.0):
    """MTF of an edge of known place, without bins: a smooth curve through all samples, differentiated, summed.

    Every sample is used at its own distance; the spread function is a piecewise-linear least-squares fit with knots
    a fifth of a pixel apart, and its derivative is Fourier transformed exactly, piece by piece.
    """
    theta = np.radians(angle_degrees)
    row, column = np.mgrid[: image_e.shape[0], : image_e.shape[1]].astype(float)
    distance = ((column - intercept_px) * np.cos(theta) - row * np.sin(theta)).ravel()
    values = image_e.ravel()[np.abs(distance) < half_px]
    distance = distance[np.abs(distance) < half_px]
    knots = np.arange(-half_px, half_px + 0.1, 0.2)
    left = np.clip(((distance + half_px) / 0.2).astype(int), 0, knots.size - 2)
    share = (distance - knots[left]) / 0.2
    normal, right = np.zeros((knots.size, knots.size)), np.zeros(knots.size)
    for i, s, v in zip(left, share, values, strict=True):
        normal[i, i] += (1 - s) ** 2
        normal[i, i + 1] += s * (1 - s)
        normal[i + 1, i] += s * (1 - s)
        normal[i + 1, i + 1] += s**2
        right[i] += (1 - s) * v
        right[i + 1] += s * v
    heights = np.linalg.solve(normal, right)
    out = []
    for frequency in np.asarray(f, dtype=float):
        total = 0.0 + 0.0j
        for j in range(knots.size - 1):
            middle = (knots[j] + knots[j + 1]) / 2
            step = heights[j + 1] - heights[j]
            total += step * np.sinc(0.2 * frequency) * np.exp(-2j * np.pi * frequency * middle)
        # The hat functions of the fit blur nothing: they interpolate; their own curve is what is transformed.
        out.append(abs(total) / abs(heights[-1] - heights[0]))
    return np.array(out)


def _first_fall(f, mtf, level):
    i = int(np.argmax(mtf < level))
    return float(f[i - 1] + (mtf[i - 1] - level) / (mtf[i - 1] - mtf[i]) * (f[i] - f[i - 1]))


def true_values(optics, angle_degrees, model, dark_e, bright_e):
    """What `mi-eval edge` should find, from the closed form of the MTF and the noise model's variance."""
    f = np.arange(0, 1.2, 0.0005)
    mtf = optics.mtf(f, angle_degrees)
    place = np.arange(-12, 12, 0.002)
    esf = optics.edge_spread(place, angle_degrees)
    y = np.linspace(dark_e, bright_e, 1001)
    noise = float(np.mean(model.variance_dn2(y))) / model.camera.system_gain_dn_per_e**2
    signal = (bright_e - dark_e) ** 2 / 12
    fx = (np.arange(200) + 0.5) / 400
    ratio = signal * optics.mtf(np.hypot(fx[:, None], fx[None, :]), angle_degrees) ** 2 / noise
    line = (np.arange(2000) + 0.5) / 4000
    return {
        "mtf50": _first_fall(f, mtf, 0.5),
        "mtf10": _first_fall(f, mtf, 0.1),
        "mtf_at_nyquist": float(optics.mtf(0.5, angle_degrees)),
        "rise_distance_px": float(np.interp(0.9, esf, place) - np.interp(0.1, esf, place)),
        "angle_degrees": float(angle_degrees),
        "vpp_e": float(bright_e - dark_e),
        "nyquist_square": float(np.mean(0.5 * np.log2(1 + ratio))),
        "nyquist_square, measured noise": float(np.mean(0.5 * np.log2(1 + ratio))),
        "slanted_edge_1d": float(0.5 * np.mean(np.log2(1 + signal * optics.mtf(line, angle_degrees) ** 2 / noise))),
    }
