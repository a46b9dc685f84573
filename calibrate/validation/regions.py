"""Noise and its distribution over the regions of the frame: where the misfit sits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.validation.grid import Grid
from calibrate.validation.observed import BINS, Regions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


class RegionSums:
    """Running sums over the regions of the map."""

    def __init__(self) -> None:
        self._shape = (0, 0)
        self._sums = np.zeros((3, 0))
        self._histogram = np.zeros((0, BINS), dtype=np.int64)
        self._planes: dict[tuple[object, ...], FloatArray] = {}

    def add(self, grid: Grid, n: FloatArray, ratio: FloatArray, square: FloatArray) -> None:
        """Add tiles: pixels, sum of q = d^2/2V over them, and of q^2, with q in units of the frame's mean."""
        self._open(grid)
        region = grid.region.ravel()
        pixels = np.bincount(region, grid.counts.ravel(), minlength=self._sums.shape[1])
        self._planes[grid.section.rows, grid.section.columns] = np.asarray(pixels, dtype=np.float64)
        for row, values in enumerate((n, ratio, square)):
            self._sums[row] += np.bincount(region, values.ravel(), minlength=self._sums.shape[1])

    def add_transform(self, grid: Grid, tile: IntArray, bins: IntArray) -> None:
        """Add bins of the transform of sampled pixels, which lie in the tiles given."""
        self._open(grid)
        flat = np.bincount(grid.region.ravel()[tile] * BINS + bins, minlength=self._histogram.size)
        self._histogram += flat.reshape(self._histogram.shape)

    def _open(self, grid: Grid) -> None:
        if self._sums.shape[1]:
            return
        count, columns = int(grid.region.max()) + 1, int(np.max(grid.region[0])) + 1
        self._shape = (count // columns, columns)
        self._sums = np.zeros((3, count))
        self._histogram = np.zeros((count, BINS), dtype=np.int64)

    def finish(self) -> Regions | None:
        """Mean of q in each region; None where a region has no pixels.

        Notes
        -----
        E[q^2] = 3 (1 + CV^2) for normal noise whose variance has the coefficient of variation CV over pixels. Such
        pixels differ in all frames alike: a region of so many pixels keeps CV^2 over their number, however many
        pairs there are.
        """
        n, total, square = self._sums
        if n.size == 0 or not np.all(n > 1):
            return None
        ratio = total / n
        between = max(float(np.sum(square) / np.sum(n)) / 3 - 1, 0.0) / np.sum(list(self._planes.values()), axis=0)
        std = np.sqrt(np.maximum(square / n - ratio**2, 0.0) / n + between)
        return Regions(ratio.reshape(self._shape), std.reshape(self._shape), self._histogram)
