"""Objects drawn by rule: stars, beads, cells and phantoms. They wrap around the edges of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape, in_random_planes, require


@dataclass(frozen=True)
class Stars(ObjectPrior):
    """Points at random places, with a power law of brightness.

    Parameters
    ----------
    per_frame : float
        Mean number in a frame (Poisson).
    slope : float
        Number of stars brighter than b goes as b^-slope, over a factor 100 below the brightest; 1.5 is a uniform
        distribution in space (Euclidean counts).
    background : float
        Even sky, relative to the brightest star.
    """

    kind: ClassVar[str] = "stars"

    per_frame: float = 10.0
    slope: float = 1.5
    background: float = 0.0

    def __post_init__(self) -> None:
        ok = self.per_frame > 0 and self.slope > 0 and 0 <= self.background < 1
        require(self.kind, "all above 0, background below 1", ok, per_frame=self.per_frame, slope=self.slope)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Stars on whole pixels, each in a plane drawn at random."""
        out = np.zeros((n, *shape))
        for field in out:
            count = rng.poisson(self.per_frame)
            place = tuple(rng.integers(side, size=count) for side in shape)
            faint = 100.0**-self.slope
            brightness = (rng.random(count) * (1 / faint - 1) + 1) ** (-1 / self.slope)
            np.add.at(field, place, brightness)
        return np.minimum(out + self.background / shape[0], 1.0)

    def describe(self) -> str:
        """Say what the stars are."""
        return (
            f"Stars: {self.per_frame:g} a frame on average at random pixels, numbers falling with brightness to the "
            f"power -{self.slope:g} over a factor 100, on a sky of {self.background:g} of the brightest."
        )


@dataclass(frozen=True)
class Beads(ObjectPrior):
    """Round fluorescent beads at random places and depths.

    Parameters
    ----------
    per_frame : float
        Mean number in a frame (Poisson).
    radius_px : float
    """

    kind: ClassVar[str] = "beads"

    per_frame: float = 6.0
    radius_px: float = 1.0

    def __post_init__(self) -> None:
        ok = self.per_frame > 0 and self.radius_px > 0
        require(self.kind, "above 0", ok, per_frame=self.per_frame, radius_px=self.radius_px)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Solid spheres seen from above, each in a plane drawn at random."""
        out = np.zeros((n, *shape))
        for field in out:
            for _ in range(rng.poisson(self.per_frame)):
                row, column = rng.uniform(0, shape[1]), rng.uniform(0, shape[2])
                square = _distance2(shape, row, column)
                thickness = np.sqrt(np.maximum(1 - square / self.radius_px**2, 0.0))
                spot = np.where(square < (self.radius_px + 1) ** 2, np.maximum(thickness, np.exp(-square)), 0.0)
                field[rng.integers(shape[0])] += rng.uniform(0.5, 1.0) * spot
        return np.minimum(out, 1.0)

    def describe(self) -> str:
        """Say what the beads are."""
        return (
            f"Beads of radius {self.radius_px:g} px, {self.per_frame:g} a frame on average at random places and "
            "depths, brightness within a factor 2."
        )


@dataclass(frozen=True)
class Cells(ObjectPrior):
    """Elliptic cells with a bright nucleus and a grainy body.

    Parameters
    ----------
    per_frame : float
        Mean number in a frame (Poisson, at least 1).
    radius_px : float
        Mean radius; single cells differ by up to 30 %.
    """

    kind: ClassVar[str] = "cells"

    per_frame: float = 4.0
    radius_px: float = 6.0

    def __post_init__(self) -> None:
        ok = self.per_frame > 0 and self.radius_px > 0
        require(self.kind, "above 0", ok, per_frame=self.per_frame, radius_px=self.radius_px)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Cells, each in a plane drawn at random."""
        out = np.zeros((n, *shape))
        for field in out:
            grain = 1 + 0.3 * _smooth_noise(shape, rng)
            for _ in range(max(1, rng.poisson(self.per_frame))):
                row, column = rng.uniform(0, shape[1]), rng.uniform(0, shape[2])
                radius = self.radius_px * rng.uniform(0.7, 1.3)
                stretch, turn = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
                body = _ellipse(shape, row, column, radius, radius * stretch, turn)
                core = _ellipse(shape, row, column, 0.4 * radius, 0.4 * radius * stretch, turn)
                field[rng.integers(shape[0])] += (0.3 * body * grain + 0.4 * core) * rng.uniform(0.6, 1.0)
        return np.clip(out, 0.0, 1.0)

    def describe(self) -> str:
        """Say what the cells are."""
        return (
            f"Cells: ellipses of mean radius {self.radius_px:g} px with a bright nucleus and a grainy body, "
            f"{self.per_frame:g} a frame on average at random places and depths."
        )


@dataclass(frozen=True)
class Phantoms(ObjectPrior):
    """Heads in cross-section: an ellipse with a bright rim and random ellipses inside, in the middle of the frame.

    Parameters
    ----------
    ellipses : int
        Number inside.
    """

    kind: ClassVar[str] = "phantoms"

    ellipses: int = 6

    def __post_init__(self) -> None:
        require(self.kind, "1 or more", self.ellipses >= 1, ellipses=self.ellipses)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Phantoms, each in a plane drawn at random."""
        height, width = shape[1:]
        out = np.zeros((n, height, width))
        for field in out:
            middle = height / 2 + rng.uniform(-1, 1), width / 2 + rng.uniform(-1, 1)
            long, short = rng.uniform(0.36, 0.44) * height, rng.uniform(0.28, 0.38) * width
            turn = rng.uniform(-0.2, 0.2)
            skull = _ellipse(shape, *middle, long, short, turn)
            brain = _ellipse(shape, *middle, 0.9 * long, 0.9 * short, turn)
            field += skull - 0.7 * brain
            for _ in range(self.ellipses):
                row, column = middle[0] + rng.uniform(-0.5, 0.5) * long, middle[1] + rng.uniform(-0.5, 0.5) * short
                a, b = (float(rng.uniform(0.05, 0.3) * short) for _ in range(2))
                inner = _ellipse(shape, row, column, a, b, float(rng.uniform(0, np.pi)))
                field += float(rng.uniform(-0.2, 0.4)) * brain * inner
        return in_random_planes(np.clip(out, 0.0, 1.0), shape[0], rng)

    def describe(self) -> str:
        """Say what the phantoms are."""
        return (
            f"Phantoms: a head-like ellipse with a bright rim and {self.ellipses} random ellipses inside, in the "
            "middle of the frame."
        )


def _distance2(shape: Shape, row: float, column: float) -> FloatArray:
    """Squared distance from a point on the torus, (height, width)."""
    down, right = _offsets(shape, row, column)
    return np.asarray(down**2 + right**2)


def _offsets(shape: Shape, row: float, column: float) -> tuple[FloatArray, FloatArray]:
    height, width = shape[1:]
    down = (np.arange(height) - row + height / 2) % height - height / 2
    right = (np.arange(width) - column + width / 2) % width - width / 2
    return np.asarray(down[:, None]), np.asarray(right[None, :])


def _ellipse(shape: Shape, row: float, column: float, long: float, short: float, turn: float) -> FloatArray:
    """1 inside, 0 outside, with an edge one pixel wide."""
    down, right = _offsets(shape, row, column)
    u = (down * np.cos(turn) + right * np.sin(turn)) / long
    v = (right * np.cos(turn) - down * np.sin(turn)) / short
    return np.asarray(np.clip((1 - np.hypot(u, v)) * min(long, short) + 0.5, 0.0, 1.0))


def _smooth_noise(shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of about unit variance, smooth over two pixels."""
    height, width = shape[1:]
    square = np.add.outer(np.fft.fftfreq(height) ** 2, np.fft.fftfreq(width) ** 2)
    weight = np.exp(-0.5 * square / 0.12**2)
    weight /= np.sqrt(np.mean(weight**2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) * weight).real)
