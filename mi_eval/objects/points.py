"""One isolated point-like source in each frame: the case that localisation is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape, require


@dataclass(frozen=True)
class PointSource(ObjectPrior):
    r"""A Gaussian spot at any place between the pixels, on an even background.

    The object is :math:`b + q \exp(-d^2 / 2\sigma^2)` with d the distance on the torus from the source to a pixel's
    middle. A width of 0.7 px or more is sampled without aliasing: the spot moves smoothly between pixels.

    Parameters
    ----------
    width_px : float
        Standard deviation of the spot.
    faintest : float
        Peaks q are uniform between this and 1 - ``background``.
    background : float
        Even light b, relative.
    border_px : float
        Sources keep this distance from the edges of the object, at least.
    """

    kind: ClassVar[str] = "point"

    width_px: float = 0.7
    faintest: float = 0.5
    background: float = 0.0
    border_px: float = 6.0

    def __post_init__(self) -> None:
        ok = self.width_px >= 0.6 and 0 < self.faintest <= 1 - self.background and self.background >= 0
        legal = "width_px 0.6 or more, faintest above 0, faintest + background up to 1, border_px 0 or more"
        require(
            self.kind,
            legal,
            ok and self.border_px >= 0,
            width_px=self.width_px,
            faintest=self.faintest,
            background=self.background,
            border_px=self.border_px,
        )

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Frames with one source each, in a plane drawn at random; the background is shared by all planes."""
        require(self.kind, "less than half of the smaller side", 2 * self.border_px < min(shape[1:]), shape=shape)
        row, column = (self.border_px + rng.random(n) * (side - 2 * self.border_px) for side in shape[1:])
        plane = rng.integers(shape[0], size=n)
        peak = rng.uniform(self.faintest, 1 - self.background, size=n)
        down, right = (
            (np.arange(side) - place[:, None] + side / 2) % side - side / 2
            for side, place in zip(shape[1:], (row, column), strict=True)
        )
        spot = np.exp(-0.5 * (down[:, :, None] ** 2 + right[:, None, :] ** 2) / self.width_px**2)
        out = np.full((n, *shape), self.background / shape[0])
        out[np.arange(n), plane] += peak[:, None, None] * spot
        return out

    def describe(self) -> str:
        """Say what the source is."""
        return (
            f"One source a frame: a Gaussian spot of {self.width_px:g} px standard deviation at a random place between "
            f"pixels, {self.border_px:g} px or more from the edges, peaks of {self.faintest:g} to "
            f"{1 - self.background:g} on a background of {self.background:g}."
        )

    def locate(self, objects: FloatArray) -> FloatArray:
        """Row, column, plane and peak (n, 4) of objects (n, planes, height, width) that `sample` drew.

        The logarithm of a Gaussian is a parabola: three pixels along an axis give its middle exactly.
        """
        n, planes, height, width = objects.shape
        spots = objects - self.background / planes
        flat = np.argmax(spots.reshape(n, -1), axis=1)
        plane, row, column = np.unravel_index(flat, (planes, height, width))
        number = np.arange(n)

        def at(down: int, right: int) -> FloatArray:
            return np.asarray(np.log(spots[number, plane, (row + down) % height, (column + right) % width]))

        middle = at(0, 0)
        shifts, lift = [], np.zeros(n)
        for step in ((1, 0), (0, 1)):
            shift = (at(*step) - at(-step[0], -step[1])) / 2 * self.width_px**2
            shifts.append(shift)
            lift += 0.5 * shift**2 / self.width_px**2
        place = ((row + shifts[0]) % height, (column + shifts[1]) % width)
        return np.stack([*place, plane.astype(np.float64), np.exp(middle + lift)], axis=1)
