"""How a frame is cut up: colour planes, tiles of even light, regions for the map, and a sample of the pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.sections import MOSAICS, Section, cfa_layout
from calibrate.validation.prediction import PixelClasses

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_TILE_PIXELS_A_SIDE = 32
_TILES_A_SIDE = 8
REGIONS_A_SIDE = 8
#: Pixels of a frame whose whole distribution is looked at: a bin of 1/32 is then known to 2 % from one pair.
_SAMPLE = 1 << 16
#: Window for row, column and neighbour statistics.
_WINDOW = 1024
_READ_STEP = 0.1  # classes of read noise and dark current, natural logarithm
_GAIN_STEP = 0.04
_PHASE_STEP = 1 / 12
_MOST_CLASSES = 400


@dataclass(frozen=True)
class PixelMaps:
    """The model's maps on one plane, arrays (height, width), and their means over each tile (name ``tile_...``).

    Parameters
    ----------
    offset_away_dn : ndarray
        Offset less its scalar.
    read_variance_dn2 : ndarray
        (gain x read noise)^2.
    gain_square_ratio : ndarray
        Gain over its scalar, squared.
    dark_ratio : ndarray
        Dark current over the mean, none below 0; 1 without a map.
    """

    offset_away_dn: FloatArray
    read_variance_dn2: FloatArray
    gain_square_ratio: FloatArray
    dark_ratio: FloatArray
    tile_offset_away_dn: FloatArray
    tile_read_variance_dn2: FloatArray
    tile_gain_square_ratio: FloatArray
    tile_dark_ratio: FloatArray


@dataclass(frozen=True)
class Grid:
    """One colour plane of a frame, cut into tiles.

    Parameters
    ----------
    section : Section
        The plane's pixels.
    shape : (height, width)
        Of the plane.
    row_edges, column_edges : ndarray of int
        First row (column) of every tile, and the end.
    counts : ndarray (tile rows, tile columns)
        Usable pixels of each tile.
    region : ndarray of int (tile rows, tile columns)
        Which region of the map, row by row.
    sample : ndarray of int
        Pixels (flat index) whose distribution is looked at, rising.
    sample_tile : ndarray of int
        Tile (flat) of each of them.
    unusable : ndarray of bool (height, width) or None
        Cold and stuck pixels of the model's defect map.
    maps : PixelMaps or None
    """

    section: Section
    shape: tuple[int, int]
    row_edges: IntArray
    column_edges: IntArray
    counts: FloatArray
    region: IntArray
    sample: IntArray
    sample_tile: IntArray
    unusable: NDArray[np.bool_] | None = None
    maps: PixelMaps | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        """The middle of the plane, where rows, columns and neighbours are compared."""
        parts = []
        for size in self.shape:
            first = max(0, (size - _WINDOW) // 2)
            parts.append(slice(first, first + min(size, _WINDOW)))
        return parts[0], parts[1]

    def tile_sums(self, values: NDArray[np.generic]) -> FloatArray:
        """Sums over each tile of an array of the plane's shape; shape (tile rows, tile columns)."""
        by_row = np.add.reduceat(values, self.row_edges[:-1], axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(by_row, self.column_edges[:-1], axis=1))

    def on_pixels(self, by_tile: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A value of every tile spread over its pixels; the plane's shape."""
        tall = np.repeat(by_tile, np.diff(self.row_edges), axis=0)
        return np.asarray(np.repeat(tall, np.diff(self.column_edges), axis=1))


def make_grids(model: NoiseModel, shape: tuple[int, int], cfa: object, seed: int) -> tuple[Grid, ...]:
    """The frame's planes: four for a Bayer mosaic, one otherwise."""
    pattern = str(cfa).upper() if cfa is not None else ""
    even = min(shape) >= 4
    sections = list(cfa_layout(pattern).sections.values()) if pattern in MOSAICS and even else [Section()]
    rng = np.random.default_rng(seed)
    return tuple(_make_grid(model, shape, section, rng) for section in sections)


def _make_grid(model: NoiseModel, frame: tuple[int, int], section: Section, rng: np.random.Generator) -> Grid:
    shape = section.shape_in(frame)
    edges, regions = [], []
    for size in shape:
        side = int(np.clip(size // _TILES_A_SIDE, 1, _TILE_PIXELS_A_SIDE))
        n_tiles = max(1, size // max(side, 4))
        edges.append(np.linspace(0, size, n_tiles + 1).astype(np.intp))
        regions.append(np.arange(n_tiles) * min(REGIONS_A_SIDE, n_tiles) // n_tiles)
    counts = np.outer(np.diff(edges[0]), np.diff(edges[1])).astype(np.float64)
    n_pixels = shape[0] * shape[1]
    sample = np.arange(n_pixels)
    if n_pixels > _SAMPLE:
        # One pixel from each of equally long stretches of the frame.
        sample = np.floor((np.arange(_SAMPLE) + rng.random(_SAMPLE)) * (n_pixels / _SAMPLE)).astype(np.intp)
    unusable = None if model.unusable_pixels is None else model.unusable_pixels[section.index]
    if unusable is not None:
        sample = sample[~unusable.ravel()[sample]]
    rows_of, columns_of = np.divmod(sample, shape[1])
    tile = np.searchsorted(edges[0], rows_of, side="right") - 1
    tile = tile * (edges[1].size - 1) + np.searchsorted(edges[1], columns_of, side="right") - 1
    region = regions[0][:, None] * (int(regions[1][-1]) + 1) + regions[1][None, :]
    grid = Grid(section, shape, edges[0], edges[1], counts, region, sample, tile, unusable)
    if unusable is not None and np.any(unusable):
        grid = replace(grid, counts=counts - grid.tile_sums(unusable))
    return replace(grid, maps=_pixel_maps(grid, model)) if model.maps else grid


def _pixel_maps(grid: Grid, model: NoiseModel) -> PixelMaps:
    camera, readout = model.camera, model.readout_maps
    scalar_gain, scalar_read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)

    def pixels(name: str, scalar: float) -> FloatArray:
        whole = readout.get(name)
        if whole is None:
            return np.full(grid.shape, scalar)
        return np.asarray(whole[grid.section.index], dtype=np.float64)

    gain = pixels("system_gain_dn_per_e", scalar_gain)
    read = (gain * pixels("read_noise_e", scalar_read)) ** 2
    away = pixels("offset_dn", float(camera.offset_dn)) - float(camera.offset_dn)
    dark = np.ones(grid.shape)
    if model.maps and "dark_current_e_per_s" in model.maps:
        own = np.maximum(np.asarray(model.maps["dark_current_e_per_s"][grid.section.index], dtype=np.float64), 0.0)
        mean = np.mean(own if grid.unusable is None else own[~grid.unusable])
        dark = own / mean if mean > 0 else dark
    parts = (away, read, (gain / scalar_gain) ** 2, dark)
    usable = np.ones(grid.shape) if grid.unusable is None else (~grid.unusable).astype(np.float64)
    tiles = [grid.tile_sums(part * usable) / np.maximum(grid.counts, 1.0) for part in parts]
    return PixelMaps(*parts, *tiles)


def pixel_classes(grid: Grid, mask: NDArray[np.bool_], *, fold: bool) -> tuple[PixelClasses, IntArray]:
    """The masked pixels' maps in classes of offset, read noise, gain and dark current.

    Returns the classes, and the class of each masked pixel in the order of the rows. ``fold``: whole codes of the
    offset are taken off, which no clip in reach makes immaterial. Steps are 1/12 DN of offset (unfolded 1/8 of its
    spread, if that is more), 10 % of read noise and of dark current and 4 % of gain, coarser where that is too many.
    """
    maps = grid.maps
    if maps is None:
        raise RuntimeError("pixel classes need maps")
    away, gain = maps.offset_away_dn[mask], np.sqrt(maps.gain_square_ratio[mask])
    read, dark = np.sqrt(maps.read_variance_dn2[mask]) / gain, maps.dark_ratio[mask]
    away = away - np.mean(away)
    whole = np.round(away) if fold else np.zeros(away.shape)
    phase = (away - whole) / (_PHASE_STEP if fold else max(_PHASE_STEP, float(np.std(away)) / 8))
    scale = float(np.sqrt(np.mean(read**2)))
    rest = np.stack(
        [
            np.log(np.maximum(read, 1e-2 * scale if scale > 0 else 1.0)) / _READ_STEP,
            np.log(gain) / _GAIN_STEP,
            np.log(np.maximum(dark, 0.1)) / _READ_STEP,
        ]
    )
    coarser = 1.0
    while True:
        keys = np.round([phase, *(rest / coarser)]).astype(np.int64)
        _, member, count = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
        if count.size <= _MOST_CLASSES or coarser > 100:
            break
        coarser *= 1.4
    member = member.reshape(-1)

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(member, values) / count)

    root = np.sqrt(mean(gain**2))
    classes = PixelClasses(
        away_dn=mean(away - whole),
        read_noise_dn=np.sqrt(mean((gain * read) ** 2)) / root,
        gain_ratio=root,
        weights=count / away.size,
        dark_ratio=mean(dark),
        whole_dn=float(np.mean(whole)),
    )
    return classes, member
