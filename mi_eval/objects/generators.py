"""Objects drawn by rule: stars, black holes, beads, cells and phantoms. They wrap around the edges of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

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
class BlackHoles(ObjectPrior):
    r"""Bright rings with one side brighter, as gas around a black hole shows: one in the middle of each frame.

    Brightness at the radius r and the angle a is a Gaussian in r times a cosine in a,

    .. math:: \exp\left(-\frac{(r - R)^2}{2 w^2}\right) (1 + A \cos(a - a_0))

    scaled to the total flux F, which does not depend on the rest. Radius R, width w, asymmetry A, orientation
    :math:`a_0`, flux F and place are drawn for each frame; with A near 1 the ring is a crescent.

    Parameters
    ----------
    radius_px : float
        Mean radius; single ones differ by up to 30 %.
    width : float
        Mean of w/R; single ones differ by up to 40 %.
    asymmetry : float
        Largest A, at most 1; drawn evenly from 0 up to it.
    flux_range : float
        Largest over smallest flux; drawn evenly between.
    wander_px : float
        Farthest that the centre lies from the middle of the frame, in either direction.
    """

    kind: ClassVar[str] = "black_hole"

    radius_px: float = 5.0
    width: float = 0.3
    asymmetry: float = 0.9
    flux_range: float = 2.0
    wander_px: float = 1.0

    def __post_init__(self) -> None:
        ok = self.radius_px >= 1 and 0.42 * self.radius_px * self.width >= 0.5 and self.width <= 0.7
        legal = "radius 1 or more, width at most 0.7 and at least 1.2/radius_px (thinner rings fall between pixels)"
        require(self.kind, legal, ok, radius_px=self.radius_px, width=self.width)
        ok = 0 <= self.asymmetry <= 1 and self.flux_range >= 1 and self.wander_px >= 0
        legal = "asymmetry 0 to 1, flux_range 1 or more, wander 0 or more"
        require(self.kind, legal, ok, asymmetry=self.asymmetry, flux_range=self.flux_range, wander_px=self.wander_px)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Rings, each in a plane drawn at random; the brightest flux in the smallest, thinnest crescent is below 1."""
        height, width = shape[1:]
        out = np.zeros((n, height, width))
        brightest = 0.9 * _ring_sum(0.7 * self.radius_px, 0.42 * self.width * self.radius_px) / (1 + self.asymmetry)
        for field in out:
            radius = self.radius_px * rng.uniform(0.7, 1.3)
            thickness = radius * self.width * rng.uniform(0.6, 1.4)
            lean, turn = self.asymmetry * rng.random(), rng.uniform(0, 2 * np.pi)
            flux = brightest * rng.uniform(1 / self.flux_range, 1.0)
            middle = (side // 2 + rng.uniform(-self.wander_px, self.wander_px) for side in (height, width))
            down, right = _offsets(shape, *middle)
            ring = np.exp(-0.5 * ((np.hypot(down, right) - radius) / thickness) ** 2)
            ring = ring * (1 + lean * np.cos(np.arctan2(down, right) - turn))
            field += flux * ring / ring.sum()
        return in_random_planes(np.clip(out, 0.0, 1.0), shape[0], rng)

    def describe(self) -> str:
        """Say what the rings are."""
        return (
            f"Black-hole-like sources: one ring of mean radius {self.radius_px:g} px in the middle of each frame, "
            f"width {self.width:g} of the radius, one side brighter by up to {self.asymmetry:g} of the mean in any "
            f"direction, flux within a factor {self.flux_range:g}."
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
    largest : float
        Longest semi-axis of an inner ellipse, relative to the shorter one of the head; the shortest is 0.05.
    """

    kind: ClassVar[str] = "phantoms"

    ellipses: int = 6
    largest: float = 0.3

    def __post_init__(self) -> None:
        require(self.kind, "1 or more", self.ellipses >= 1, ellipses=self.ellipses)
        require(self.kind, "above 0.05, up to 1", 0.05 < self.largest <= 1, largest=self.largest)

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
                a, b = (float(rng.uniform(0.05, self.largest) * short) for _ in range(2))
                inner = _ellipse(shape, row, column, a, b, float(rng.uniform(0, np.pi)))
                field += float(rng.uniform(-0.2, 0.4)) * brain * inner
        return in_random_planes(np.clip(out, 0.0, 1.0), shape[0], rng)

    def describe(self) -> str:
        """Say what the phantoms are."""
        return (
            f"Phantoms: a head-like ellipse with a bright rim and {self.ellipses} random ellipses inside, with "
            f"semi-axes up to {self.largest:g} of the head's shorter one, in the middle of the frame."
        )


def _ring_sum(radius: float, thickness: float) -> float:
    """Integral over the plane of exp(-(r - R)^2/(2 w^2))."""
    ratio = radius / thickness
    inner = np.exp(-0.5 * ratio**2) + ratio * np.sqrt(2 * np.pi) * ndtr(ratio)
    return float(2 * np.pi * thickness**2 * inner)


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
