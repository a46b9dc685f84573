"""One point-like emitter in the middle of each frame: what single-molecule localisation looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape, require

_SIGMA_PX = 0.6  # sampled at whole pixels, a Gaussian this wide aliases by less than 0.1 %


@dataclass(frozen=True)
class Emitter(ObjectPrior):
    """One small bead near the middle of each frame, in a plane drawn at random, on an even background.

    Places are those of a lattice, all equally likely, so that the population is finite: `population` lists it, and
    the information of any design about it is known without a density model (`mi_eval.design.enumerated_information`).

    Parameters
    ----------
    wander_px : float
        Farthest that the bead lies from the middle of the frame, in either direction.
    steps_per_px : int
        Places of the lattice per pixel.
    background : float
        Light of one pixel of the background, all planes together, over that of the whole bead.
    """

    kind: ClassVar[str] = "emitter"

    wander_px: float = 1.0
    steps_per_px: int = 8
    background: float = 0.002

    def __post_init__(self) -> None:
        ok = self.wander_px >= 0 and 1 <= self.steps_per_px <= 64 and 0 <= self.background < 0.5
        legal = "wander 0 or more, 1 to 64 steps a pixel, background 0 to 0.5"
        values = {name: getattr(self, name) for name in ("wander_px", "steps_per_px", "background")}
        require(self.kind, legal, ok, **values)

    @property
    def offsets_px(self) -> FloatArray:
        """Places of the lattice along one axis, from the middle of the frame."""
        reach = int(np.floor(self.wander_px * self.steps_per_px + 1e-9))
        return np.arange(-reach, reach + 1) / self.steps_per_px

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Beads at random places of the lattice, each in a plane drawn at random."""
        axis = self.offsets_px
        row, column = axis[rng.integers(axis.size, size=n)], axis[rng.integers(axis.size, size=n)]
        return self._at(rng.integers(shape[0], size=n).astype(np.float64), row, column, shape)

    def population(self, shape: Shape) -> FloatArray:
        """Every object: planes, then rows, then columns of the lattice."""
        axis = self.offsets_px
        planes = np.arange(shape[0], dtype=np.float64)
        plane, row, column = (np.asarray(v.ravel()) for v in np.meshgrid(planes, axis, axis, indexing="ij"))
        return self._at(plane, row, column, shape)

    def places(self, objects: FloatArray) -> FloatArray:
        """Plane, and row and column from the middle of the frame in pixels, of objects in any unit: (n, 3)."""
        lit = objects - objects.min(axis=(1, 2, 3), keepdims=True)
        weight = lit.sum(axis=(1, 2, 3))
        found = []
        for axis, middle in ((1, 0), (2, objects.shape[2] // 2), (3, objects.shape[3] // 2)):
            others = tuple(a for a in (1, 2, 3) if a != axis)
            centroid = lit.sum(axis=others) @ np.arange(objects.shape[axis]) / weight - middle
            # Sampled at whole pixels, a spot's centroid lies up to 0.004 px off its place.
            steps = 1 if axis == 1 else self.steps_per_px
            found.append(np.round(centroid * steps) / steps)
        return np.stack(found, axis=1)

    def _at(self, plane: FloatArray, row: FloatArray, column: FloatArray, shape: Shape) -> FloatArray:
        along = [
            np.exp(-0.5 * ((np.arange(side) - side // 2 - place[:, None]) / _SIGMA_PX) ** 2)
            for side, place in zip(shape[1:], (row, column), strict=True)
        ]
        spots = np.einsum("nh,nw->nhw", *(a / a.sum(axis=1, keepdims=True) for a in along))
        out = np.full((plane.size, *shape), self.background / shape[0])
        out[np.arange(plane.size), plane.astype(np.int64)] += spots
        return out

    def describe(self) -> str:
        """Say what the emitters are."""
        return (
            f"Emitters: one bead in each frame, within {self.wander_px:g} px of its middle on a lattice of "
            f"{self.steps_per_px} places a pixel, in a plane drawn at random, on a background of "
            f"{self.background:g} of its light in every pixel."
        )
