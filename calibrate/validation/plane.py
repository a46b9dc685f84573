"""Sums over the pairs of one level on one colour plane: cells of like signal, rows, columns and neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import Level
from calibrate.noise_model import NoiseModel
from calibrate.validation.counting import LawCache, TransformCount
from calibrate.validation.grid import Grid, pixel_classes
from calibrate.validation.observed import Cell, Structure
from calibrate.validation.prediction import (
    WHITE_SIGMAS,
    ClosedForm,
    closed_form,
    highest_mean_dn,
    is_clear_of_clips,
    is_smooth,
    one_code_dn,
)
from calibrate.validation.regions import RegionSums

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

#: A level is cut into cells where its tiles' means spread by more than this many of their own standard errors, ...
_SPLIT_SIGMAS = 10.0
#: ... in steps of this share of the variance, at most so many.
_CELL_STEP = 0.06
_MOST_CELLS = 16
#: Differences beyond so many standard deviations (and 20 electrons) are events and no noise.
_OUTLIER_SIGMAS = 9.0
#: Light rules the noise of a cell, and outliers are left out, where shot noise is so many times the rest.
_LIT = 4.0
_NAMES = ("n", "m", "mm", "d", "q", "qq", "qm", "clipped", "outliers", "black")


@dataclass(frozen=True)
class Shared:
    """What all levels add to and draw on."""

    regions: RegionSums
    laws: LawCache


class PlaneSums:
    """Running sums of one level on one plane."""

    def __init__(self, model: NoiseModel, grid: Grid, level: Level, charge_e: float | None, shared: Shared) -> None:
        self._model, self._grid, self._level, self._regions = model.with_parameters(), grid, level, shared.regions
        self._dark, self._charge = level.kind == "dark", charge_e
        self._cell_of_tile: IntArray | None = None
        self._reference = 0.0
        self._sums: dict[str, FloatArray] = {}
        self._within = np.zeros(0)
        self._transforms = TransformCount(self._model, grid, self._charge, shared.laws)

    # ---- one pair ------------------------------------------------------------------------------------------

    def add(
        self, first: NDArray[np.generic], second: NDArray[np.generic], rng: np.random.Generator
    ) -> Structure | None:
        """Take in one pair of whole frames; returns its rows, columns and neighbours."""
        grid, camera = self._grid, self._model.camera
        a, b = (np.ascontiguousarray(frame[grid.section.index]) for frame in (first, second))
        sum_a, sum_b = self._tile_sums(a), self._tile_sums(b)
        n_pixels = float(np.sum(grid.counts))
        mean_a, mean_b = float(np.sum(sum_a)) / n_pixels, float(np.sum(sum_b)) / n_pixels
        tile_mean = (sum_a + sum_b) / (2 * np.maximum(grid.counts, 1))
        tile_mean = np.where(grid.counts > 0, tile_mean, (mean_a + mean_b) / 2)
        if self._cell_of_tile is None:
            self._reference = (mean_a + mean_b) / 2
            self._split(tile_mean)
        cells = self._cell_of_tile
        if cells is None:
            raise RuntimeError("the level was not cut into cells")
        count = int(cells.max()) + 1
        cell_n = np.asarray(np.bincount(cells.ravel(), grid.counts.ravel(), minlength=count), dtype=np.float64)
        cell_mean = np.bincount(cells.ravel(), (sum_a + sum_b).ravel() / 2, minlength=count)
        cell_mean = np.where(cell_n > 0, cell_mean / np.maximum(cell_n, 1), self._reference)
        away = self._away(cells, cell_n)
        expected = self._expect(cell_mean - away)
        weight_a, weight_b, middle = self._scale(mean_a, mean_b, a, b)
        variance = expected.variance_dn2
        ratio = self._robust_ratio(a, b, weight_a, weight_b, middle, np.maximum(variance, 1e-24)[cells.ravel()])
        lit = expected.slope**2 * expected.shot_dn2 > _LIT * (variance - expected.slope**2 * expected.shot_dn2)
        bound = _OUTLIER_SIGMAS * ratio * np.sqrt(2 * variance) + 20 * float(camera.system_gain_dn_per_e) + 2
        bound = np.where(lit, bound, np.inf)
        tiles = self._tile_statistics(a, b, weight_a, weight_b, middle, (bound**2)[cells])
        by_cell = {name: np.bincount(cells.ravel(), values.ravel(), minlength=count) for name, values in tiles.items()}
        for name, values in by_cell.items():
            self._sums[name] = self._sums.get(name, np.zeros(count)) + values
        used = np.maximum(by_cell["n"], 1.0)
        within = np.maximum(by_cell["q"] - by_cell["d"] ** 2 / used, 0.0)
        self._within = within + (self._within if self._within.size else np.zeros(count))
        self._add_regions(tiles, cells, expected)
        spread = np.array([self._spread(index) for index in range(count)])
        counted = self._transforms.add(a, b, cells, cell_mean - away, spread, expected, (mean_a, mean_b), rng)
        self._regions.add_transform(grid, *counted)
        window = grid.window
        return _structure(weight_a * a[window].astype(np.float64) - weight_b * b[window].astype(np.float64) - middle)

    def _tile_sums(self, values: NDArray[np.generic]) -> FloatArray:
        """Sums over the usable pixels of each tile."""
        unusable = self._grid.unusable
        return self._grid.tile_sums(values if unusable is None else np.where(unusable, 0, values))

    def _expect(self, mean_dn: FloatArray) -> ClosedForm:
        """First-order moments at mean codes, the offset map's deviation taken off."""
        charge = None if self._charge is None else np.full(mean_dn.shape, self._charge)
        return closed_form(self._model.camera, mean_dn, charge)

    def _away(self, cells: IntArray, cell_n: FloatArray) -> FloatArray:
        maps = self._grid.maps
        if maps is None:
            return np.zeros(cell_n.size)
        total = (maps.tile_offset_away_dn * self._grid.counts).ravel()
        return np.asarray(np.bincount(cells.ravel(), total, minlength=cell_n.size) / np.maximum(cell_n, 1.0))

    def _split(self, tile_mean: FloatArray) -> None:
        """Cells by the tiles' means, where these differ by more than their noise."""
        cells = np.zeros(tile_mean.shape, dtype=np.intp)
        self._cell_of_tile = cells
        if self._dark or tile_mean.size < 4:
            return
        maps = self._grid.maps
        mean = tile_mean if maps is None else tile_mean - maps.tile_offset_away_dn
        variance = self._expect(mean.ravel()).variance_dn2.reshape(tile_mean.shape)
        noise = float(np.median(np.sqrt(variance / (2 * np.maximum(self._grid.counts, 1)))))
        log_variance = np.log(np.maximum(variance, 1e-24))
        low, high = (float(value) for value in np.quantile(log_variance, (0.0, 1.0)))
        if float(np.ptp(mean)) < _SPLIT_SIGMAS * noise or high - low < _CELL_STEP:
            return
        steps = int(np.clip(np.ceil((high - low) / _CELL_STEP), 1, _MOST_CELLS))
        steps = min(steps, max(1, int(float(np.ptp(mean)) / (_SPLIT_SIGMAS / 2 * noise))))
        place = np.minimum(((log_variance - low) / (high - low) * steps).astype(np.intp), steps - 1)
        self._cell_of_tile = np.unique(place, return_inverse=True)[1].reshape(place.shape)

    def _scale(
        self, mean_a: float, mean_b: float, a: NDArray[np.generic], b: NDArray[np.generic]
    ) -> tuple[float, float, float]:
        """Factors of a and b, and the constant, that bring the pair to its mean light at the noise of two frames."""
        offset = float(self._model.camera.offset_dn)
        light_a, light_b = mean_a - offset, mean_b - offset
        sample = self._grid.sample[:4096]
        difference = a.ravel()[sample].astype(np.float64) - b.ravel()[sample].astype(np.float64)
        noise = float(np.sqrt(np.var(difference) / 2))
        if self._dark or min(light_a, light_b) <= max(noise, one_code_dn(self._model.camera)):
            return 1.0, 1.0, mean_a - mean_b
        light = (light_a + light_b) / 2
        alpha, beta = light / light_a, light / light_b
        unit = float(np.sqrt(2 / (alpha + beta)))
        return alpha * unit, beta * unit, (alpha - beta) * unit * offset

    def _robust_ratio(
        self,
        a: NDArray[np.generic],
        b: NDArray[np.generic],
        weight_a: float,
        weight_b: float,
        middle: float,
        variance: FloatArray,
    ) -> float:
        """Median size of the differences over the expected one, 1 or more: a wrong model makes no outliers."""
        step = max(1, self._grid.sample.size // 8192)
        sample, tile = self._grid.sample[::step], self._grid.sample_tile[::step]
        x, y = a.ravel()[sample].astype(np.float64), b.ravel()[sample].astype(np.float64)
        size = np.abs(weight_a * x - weight_b * y - middle) / np.sqrt(2 * variance[tile])
        return max(1.0, float(np.median(size)) / 0.6745)

    def _tile_statistics(
        self,
        a: NDArray[np.generic],
        b: NDArray[np.generic],
        weight_a: float,
        weight_b: float,
        middle: float,
        bound: FloatArray,
    ) -> dict[str, FloatArray]:
        """Sums over every tile, one row of tiles at a time."""
        grid, camera = self._grid, self._model.camera
        white = np.inf if camera.bit_depth is None else camera.white_clip_dn
        black = -np.inf if camera.bit_depth is None else camera.black_clip_dn
        out = {name: np.zeros(grid.counts.shape) for name in _NAMES}
        edges = grid.column_edges[:-1]
        finite = np.isfinite(bound)
        for row in range(grid.counts.shape[0]):
            rows = slice(int(grid.row_edges[row]), int(grid.row_edges[row + 1]))
            x, y = a[rows].astype(np.float64), b[rows].astype(np.float64)
            d = weight_a * x - weight_b * y - middle
            m = (x + y) / 2 - self._reference
            q = d * d
            parts: dict[str, FloatArray] = {}
            if np.isfinite(white):
                parts["clipped"] = np.asarray((x >= white) | (y >= white), dtype=np.float64)
                parts["black"] = (x <= black).astype(np.float64) + (y <= black)
            out["n"][row] = grid.counts[row]
            if grid.unusable is not None:
                dead = grid.unusable[rows]
                d[dead] = m[dead] = q[dead] = 0.0
            if np.any(finite[row]):
                far = q > np.repeat(bound[row], np.diff(grid.column_edges))
                if np.any(far):
                    d[far] = m[far] = q[far] = 0.0
                    parts["outliers"] = far.astype(np.float64)
            parts.update({"m": m, "mm": m * m, "d": d, "q": q, "qq": q * q, "qm": q * m})
            for name, values in parts.items():
                out[name][row] = np.add.reduceat(values.sum(axis=0), edges)
            out["n"][row] -= out["outliers"][row]
        return out

    def _add_regions(self, tiles: dict[str, FloatArray], cells: IntArray, expected: ClosedForm) -> None:
        """Noise of every tile over the predicted one, as a share of the whole frame's, below saturation."""
        maps = self._grid.maps
        variance = expected.variance_dn2[cells]
        if maps is not None:
            shot = expected.shot_dn2[cells] * maps.tile_gain_square_ratio
            shot = shot * maps.tile_dark_ratio if self._dark else shot
            variance = expected.slope[cells] ** 2 * (shot + maps.tile_read_variance_dn2) + expected.rounding_dn2
        unit = 2 * np.maximum(variance, 1e-24)
        mean = tiles["m"] / np.maximum(tiles["n"], 1) + self._reference
        usable = (tiles["clipped"] == 0) & (mean < highest_mean_dn(self._model.camera) - WHITE_SIGMAS * np.sqrt(unit))
        n = np.where(usable, tiles["n"], 0.0)
        ratio = np.where(usable, tiles["q"] / unit, 0.0)
        whole = float(np.sum(ratio)) / max(float(np.sum(n)), 1.0)
        if whole > 0:
            square = np.where(usable, tiles["qq"] / unit**2, 0.0) / whole**2
            self._regions.add(self._grid, n, ratio / whole, square)

    # ---- the end -------------------------------------------------------------------------------------------

    def _spread(self, index: int) -> float:
        """Variance over a cell's pixels of their mean codes so far, DN^2; 0 below three of its standard errors."""
        sums = self._sums
        n = max(float(sums["n"][index]), 2.0)
        variance = float(self._within[index]) / (2 * n)
        total = float(sums["mm"][index]) / n - (float(sums["m"][index]) / n) ** 2
        spread = total - variance / 2
        return spread if spread > 3 * np.sqrt(2 / n) * total else 0.0

    def cells(self, level: int) -> list[Cell]:
        """The level's cells on this plane."""
        if self._cell_of_tile is None:
            return []
        grid, sums = self._grid, self._sums
        n_pairs = self._pairs()
        out = []
        for index in range(sums["n"].size):
            n = float(sums["n"][index])
            dof = n - n_pairs
            if dof < 1:
                continue
            mean = float(sums["m"][index]) / n
            cell = Cell(
                level=level,
                kind=self._level.kind,
                exposure_s=self._level.exposure_s,
                dark_charge_e=self._charge,
                n_pairs=int(n),
                mean_dn=self._reference + mean,
                variance_dn2=float(self._within[index]) / (2 * dof),
                fourth_dn4=float(sums["qq"][index]) / n / 4,
                third_dn3=float(sums["qm"][index]) / n - mean * float(sums["q"][index]) / n,
                spread_dn2=self._spread(index),
                n_clipped=int(sums["clipped"][index]),
                n_outliers=int(sums["outliers"][index]),
                at_black=int(sums["black"][index]),
                histogram=self._transforms.histogram[index],
            )
            out.append(cell if grid.maps is None else self._with_maps(cell, index))
        return out

    def _pairs(self) -> float:
        total = float(np.sum(self._sums["n"]) + np.sum(self._sums["outliers"]))
        return total / float(np.sum(self._grid.counts))

    def _with_maps(self, cell: Cell, index: int) -> Cell:
        grid, maps = self._grid, self._grid.maps
        if maps is None or self._cell_of_tile is None:
            return cell
        weight = np.where(self._cell_of_tile == index, grid.counts, 0.0)
        weight /= np.sum(weight)
        away = float(np.sum(weight * maps.tile_offset_away_dn))
        camera = self._model.camera
        mean = np.array([cell.mean_dn - away])
        classes = None
        if camera.bit_depth is not None and not is_smooth(camera, self._expect(mean), mean, cell.spread_dn2)[0]:
            inside = grid.on_pixels(self._cell_of_tile == index)
            inside = inside if grid.unusable is None else inside & ~grid.unusable
            clear = is_clear_of_clips(camera, mean[0], float(np.sqrt(cell.variance_dn2 + cell.spread_dn2)))
            classes = pixel_classes(grid, inside, fold=clear)[0]
        return replace(
            cell,
            offset_away_dn=away,
            gain_square_ratio=float(np.sum(weight * maps.tile_gain_square_ratio)),
            read_variance_dn2=float(np.sum(weight * maps.tile_read_variance_dn2)),
            classes=classes,
        )


def _structure(d: FloatArray) -> Structure | None:
    """Mean squares between rows, between columns and within, and neighbour products of what is within."""
    rows, columns = d.shape
    if min(rows, columns) < 3:
        return None
    d = d - d.mean()
    row, column = d.mean(axis=1), d.mean(axis=0)
    rest = d - row[:, None] - column[None, :]
    dof = (rows - 1) * (columns - 1)
    within = float(np.sum(rest * rest)) / dof
    # Subtracting the means leaves independent neighbours in a row with -(1 - 1/rows)/columns of the variance.
    horizontal = float(np.sum(rest[:, :-1] * rest[:, 1:])) / (rows * (columns - 1))
    vertical = float(np.sum(rest[:-1] * rest[1:])) / ((rows - 1) * columns)
    horizontal += within * (1 - 1 / rows) / columns
    vertical += within * (1 - 1 / columns) / rows
    return Structure(
        rows, columns, 1,
        columns * float(np.sum(row * row)) / (rows - 1),
        rows * float(np.sum(column * column)) / (columns - 1),
        within, horizontal, vertical,
    )  # fmt: skip
