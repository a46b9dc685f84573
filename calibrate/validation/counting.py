"""The probability integral transform of the pixels of one level: which law each pixel has, and the count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.validation.grid import Grid, pixel_classes
from calibrate.validation.laws import LatticeLaw, lattice_law, lattice_laws, real_valued_transform, smooth_transform
from calibrate.validation.observed import BINS
from calibrate.validation.prediction import (
    WHITE_SIGMAS,
    ClosedForm,
    Point,
    closed_form,
    highest_mean_dn,
    is_clear_of_clips,
    is_smooth,
    one_code_dn,
    settle,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

#: Pixels from which on a pair's mean difference is known well enough to be taken out.
_ENOUGH_PIXELS = 400

LawCache = dict[tuple[int, ...], LatticeLaw]


class TransformCount:
    """Histograms of the transform of d = a - b, one a cell, on one plane of one level.

    ``charge_e`` is that of a dark; None in light. ``laws`` is shared by all levels.
    """

    def __init__(self, model: NoiseModel, grid: Grid, charge_e: float | None, laws: LawCache) -> None:
        self._model, self._grid, self._charge, self._laws = model, grid, charge_e, laws
        self._own_laws: dict[tuple[int, int], list[LatticeLaw]] = {}
        self.histogram = np.zeros((0, BINS), dtype=np.int64)

    def add(
        self,
        a: NDArray[np.generic],
        b: NDArray[np.generic],
        cells: IntArray,
        cell_mean: FloatArray,
        spread_dn2: FloatArray,
        expected: ClosedForm,
        frame_means: tuple[float, float],
        rng: np.random.Generator,
    ) -> tuple[IntArray, IntArray]:
        """Count the sampled pixels' differences below saturation; returns the tile and the bin of each.

        Parameters
        ----------
        a, b : ndarray (height, width)
        cells : ndarray of int (tile rows, tile columns)
            Cell of each tile.
        cell_mean, spread_dn2 : ndarray (n_cells,)
            Mean code of this pair, less the offset map's deviation; variance of the pixels' means.
        expected : ClosedForm
            Of the cells.
        """
        grid, camera = self._grid, self._model.camera
        cell = cells.ravel()[grid.sample_tile]
        difference = a.ravel()[grid.sample].astype(np.float64) - b.ravel()[grid.sample].astype(np.float64)
        uniform = rng.random(difference.size)
        shift = self._shift(cell_mean, *frame_means)
        smooth = is_smooth(camera, expected, cell_mean, spread_dn2)
        ceiling = cell_mean + WHITE_SIGMAS * np.sqrt(expected.variance_dn2) >= highest_mean_dn(camera)
        out = np.empty(difference.size)
        even = smooth[cell]
        if np.any(even):
            kappa4 = expected.slope**4 * float(camera.system_gain_dn_per_e) ** 2 * expected.shot_dn2
            out[even] = smooth_transform(
                (difference - shift[cell])[even],
                uniform[even],
                self._pixel_variance(expected, cell, even),
                kappa4[cell][even],
                0.0 if camera.bit_depth is None else 1.0,
            )
        for index in np.flatnonzero(~smooth & ~ceiling):
            own = cell == index
            # A shift within chance is none: between the atoms of a law it would tear gaps.
            chance = 4 * np.sqrt(2 * expected.variance_dn2[index] / float(np.sum(grid.counts)))
            drift = shift[index] if abs(shift[index]) > chance else 0.0
            numbers = (cell_mean[index], np.sqrt(expected.variance_dn2[index]), spread_dn2[index], drift)
            out[own] = self._rough(difference[own], uniform[own], own, *(float(number) for number in numbers))
        counted = ~ceiling[cell]
        cell = cell[counted]
        bins = np.minimum((out[counted] * BINS).astype(np.intp), BINS - 1)
        count = cell_mean.size
        if self.histogram.shape[0] != count:
            self.histogram = np.zeros((count, BINS), dtype=np.int64)
        self.histogram += np.bincount(cell * BINS + bins, minlength=count * BINS).reshape(count, BINS)
        return grid.sample_tile[counted], bins

    def _shift(self, cell_mean: FloatArray, mean_a: float, mean_b: float) -> FloatArray:
        """Difference of the two frames' means that lamp or offset drift makes in each cell."""
        if self._grid.shape[0] * self._grid.shape[1] < _ENOUGH_PIXELS:
            return np.zeros(cell_mean.shape)
        offset = float(self._model.camera.offset_dn)
        light = (mean_a + mean_b) / 2 - offset
        if self._charge is not None or light <= max(abs(mean_a - mean_b), one_code_dn(self._model.camera)):
            return np.full(cell_mean.shape, mean_a - mean_b)
        return np.asarray((cell_mean - offset) / light * (mean_a - mean_b))

    def _pixel_variance(self, expected: ClosedForm, cell: IntArray, chosen: NDArray[np.bool_]) -> FloatArray:
        """Variance of the chosen sampled pixels, the model's maps in it."""
        grid = self._grid
        cell = cell[chosen]
        variance = expected.variance_dn2[cell]
        maps = grid.maps
        if maps is None:
            return variance
        pixels = grid.sample[chosen]
        shot = expected.shot_dn2[cell] * maps.gain_square_ratio.ravel()[pixels]
        if self._charge is not None:
            shot = shot * maps.dark_ratio.ravel()[pixels]
        read = maps.read_variance_dn2.ravel()[pixels]
        return np.asarray(expected.slope[cell] ** 2 * (shot + read) + expected.rounding_dn2 + 1e-24)

    def _rough(
        self,
        difference: FloatArray,
        uniform: FloatArray,
        own: NDArray[np.bool_],
        mean: float,
        sigma_dn: float,
        spread_dn2: float,
        shift: float,
    ) -> FloatArray:
        """The transform of one cell's pixels where steps of codes or of electrons, or a clip, show."""
        grid, camera = self._grid, self._model.camera
        if camera.bit_depth is None:
            charge = self._charge
            if charge is None:
                charge = float(closed_form(camera, np.array([mean])).charge_e[0])
            return real_valued_transform(camera, difference, uniform, charge, shift)
        if grid.maps is None:
            return self._shared_law(mean, sigma_dn, spread_dn2).transform(difference, uniform, shift)
        mask = np.zeros(grid.shape[0] * grid.shape[1], dtype=bool)
        mask[grid.sample[own]] = True
        clear = is_clear_of_clips(camera, mean, float(np.hypot(sigma_dn, np.sqrt(spread_dn2))))
        classes, member = pixel_classes(grid, mask.reshape(grid.shape), fold=clear)
        key = (round(64 * mean), int(np.flatnonzero(own)[0]))
        if key not in self._own_laws:
            self._own_laws[key] = lattice_laws(settle(self._model, Point(mean, self._charge, classes=classes)))
        out = np.empty(difference.shape)
        for position, law in enumerate(self._own_laws[key]):
            here = member == position
            out[here] = law.transform(difference[here], uniform[here], shift)
        return out

    def _shared_law(self, mean: float, sigma_dn: float, spread_dn2: float) -> LatticeLaw:
        """Law without maps: means within 1/64 DN or 1 % of the noise, and spreads within 1/32 DN, share one."""
        power = max(-6, int(np.floor(np.log2(max(0.01 * sigma_dn, 1e-9)))))
        read = float(self._model.camera.read_noise_e)
        charge = -1 if self._charge is None else round(100 * float(np.log(self._charge + read**2 + 1e-3))) + 1000
        key = (charge, power, round(mean / 2.0**power), round(32 * float(np.sqrt(spread_dn2))))
        if key not in self._laws:
            point = Point(key[2] * 2.0**power, self._charge, (key[3] / 32) ** 2)
            self._laws[key] = lattice_law(settle(self._model, point))
        return self._laws[key]
