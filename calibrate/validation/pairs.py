"""The pass over the captures: temporal pairs, two frames in memory at a time.

Frames 0 and 1, 2 and 3, ... of a level are pairs. Both are scaled to the pair's mean light before they are
subtracted, as in `calibrate.level_statistics`. A level under uneven light is cut into cells of like signal by the
means of tiles, so that shading is neither noise nor bend.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, Level
from calibrate.frames import iterate_frames
from calibrate.level_statistics.levels import FEWEST_FOR_COPIES, MOST_AT_ONE_CODE, copies_error
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track
from calibrate.validation.grid import Grid, make_grids
from calibrate.validation.observed import Cell, Observed, ObservedLevel, Structure
from calibrate.validation.plane import PlaneSums, Shared
from calibrate.validation.prediction import dark_rate_e_per_s
from calibrate.validation.regions import RegionSums

FloatArray = NDArray[np.float64]
Frame = NDArray[np.generic]


def observe(model: NoiseModel, captures: CaptureSet, *, seed: int = 0) -> Observed:
    """Statistics of every level of the captures, arranged for the comparison with ``model``.

    Raises
    ------
    PhotonbitsError
        If a frame cannot be read, does not fit the model's maps or bit depth, or no level has two frames.
    """
    shape = captures.shape or (0, 0)
    if model.map_shape is not None and model.map_shape != shape:
        raise PhotonbitsError(
            f"frames of {shape[0]} x {shape[1]} pixels for a model with maps of {model.map_shape[0]} x "
            f"{model.map_shape[1]}",
            where=captures.root,
            legal="frames of the maps' shape (height x width)",
            remedy="Shoot the whole frame that was calibrated, or fit without maps",
        )
    if not any(level.n_frames > 1 for level in captures.levels):
        raise PhotonbitsError(
            "no level with two frames",
            where=captures.root,
            legal="two frames or more under the same light",
            remedy="Noise is measured from the difference of two frames; shoot each level twice",
        )
    cfa = captures.sensor.get("cfa") or model.document.sensor.cfa
    grids = make_grids(model, shape, cfa, seed)
    total = sum(level.n_frames for level in captures.levels)
    frames = track(_frames(captures, model), "Reading frames", total=total)
    shared = Shared(RegionSums(), {})
    levels: list[ObservedLevel] = []
    cells: list[Cell] = []
    code_bits = 0
    whole = True
    for index, level in enumerate(captures.levels):
        rng = np.random.default_rng([seed, index])
        found, own, bits, integer = _observe_level(index, level, frames, model, grids, shared, rng)
        levels.append(found)
        cells.extend(own)
        code_bits |= bits
        whole &= integer
    return Observed(tuple(levels), tuple(cells), shared.regions.finish(), code_bits & -code_bits if whole else 0)


def _frames(captures: CaptureSet, model: NoiseModel) -> Iterator[Frame]:
    """The frames, each checked against the shape and the codes that the model knows."""
    for level in captures.levels:
        for reference, frame in zip(level.frames, iterate_frames(level.frames), strict=True):
            if captures.shape is not None and frame.shape != captures.shape:
                raise PhotonbitsError(
                    f"frame of shape {frame.shape}", where=reference.path, legal=f"{captures.shape} like the others"
                )
            integer = np.issubdtype(frame.dtype, np.integer)
            if integer == (model.bit_depth is None):
                raise PhotonbitsError(
                    f"{'whole codes' if integer else 'real values'} for a model of "
                    f"{'real values' if integer else f'{model.bit_depth}-bit codes'}",
                    where=reference.path,
                    legal="frames as they were when the model was fitted",
                    remedy="Use the raw codes of the camera, unscaled, or a model of this kind of data",
                )
            if model.bit_depth is not None:
                _check_codes(frame, model.bit_depth, reference.path)
            yield frame


def _check_codes(frame: Frame, bit_depth: int, where: object) -> None:
    low, high = int(frame.min()), int(frame.max())
    if low >= 0 and high < 2**bit_depth:
        return
    bits = int(np.bitwise_or.reduce(frame, axis=None))
    if low >= 0 and (bits & -bits) >= 2:
        return  # left-aligned, which has a diagnosis of its own
    raise PhotonbitsError(
        f"code {high if low >= 0 else low} for a model of {bit_depth} bit",
        where=where,
        legal=f"0 to {2**bit_depth - 1}",
        remedy="Check the camera's pixel format, or use the model of this bit depth",
    )


def _are_copies(one: Frame, other: Frame) -> bool:
    """Whether two frames agree in every pixel, and most of these are not at one end of the range."""
    if one.size < FEWEST_FOR_COPIES or not np.array_equal(one[0], other[0]) or not np.array_equal(one, other):
        return False
    return all(np.count_nonzero(one == code) <= MOST_AT_ONE_CODE * one.size for code in (one.min(), one.max()))


def _observe_level(
    index: int,
    level: Level,
    frames: Iterator[Frame],
    model: NoiseModel,
    grids: tuple[Grid, ...],
    shared: Shared,
    rng: np.random.Generator,
) -> tuple[ObservedLevel, list[Cell], int, bool]:
    charge = None
    if level.kind == "dark":
        charge = dark_rate_e_per_s(model) * (level.exposure_s or 0.0)
    planes = [PlaneSums(model, grid, level, charge, shared) for grid in grids]
    codes = _Codes(model)
    structure = _StructureSums()
    previous: Frame | None = None
    for position in range(level.n_frames):
        frame = next(frames)
        codes.add(frame)
        if previous is None:
            previous = None if position == level.n_frames - 1 else frame
            continue
        if level.kind == "bright" and _are_copies(previous, frame):
            raise copies_error(level.frames[position - 1 : position + 1])
        for plane in planes:
            structure.add(plane.add(previous, frame, rng))
        previous = None
    away = 0.0
    if model.maps and "offset_dn" in model.maps:
        away = float(np.mean(model.maps["offset_dn"], dtype=np.float64)) - float(model.camera.offset_dn)
    n_pixels = codes.n_pixels
    found = ObservedLevel(
        kind=level.kind,
        exposure_s=level.exposure_s,
        dark_charge_e=charge,
        n_frames=level.n_frames,
        n_pixels=n_pixels,
        frame_means_dn=tuple(codes.means),
        mean_offset_away_dn=away,
        structure=structure.finish(),
        minimum_code=codes.lowest,
        maximum_code=codes.highest,
        minimum_fraction=codes.at_lowest / (n_pixels * level.n_frames),
        maximum_fraction=codes.at_highest / (n_pixels * level.n_frames),
        black_fraction=codes.at_black / (n_pixels * level.n_frames),
    )
    return found, [cell for plane in planes for cell in plane.cells(index)], codes.bits, codes.integer


class _Codes:
    """Means, extremes and bits of a level's frames."""

    def __init__(self, model: NoiseModel) -> None:
        self._black = float(model.camera.black_clip_dn) if model.bit_depth is not None else -np.inf
        self.means: list[float] = []
        self.lowest, self.highest = np.inf, -np.inf
        self.at_lowest = self.at_highest = self.at_black = self.bits = self.n_pixels = 0
        self.integer = True

    def add(self, frame: Frame) -> None:
        """Take in one frame."""
        self.n_pixels = frame.size
        self.means.append(float(np.sum(frame, dtype=np.float64)) / frame.size)
        low, high = float(frame.min()), float(frame.max())
        if low <= self.lowest:
            here = int(np.count_nonzero(frame == low))
            self.at_lowest = here + (self.at_lowest if low == self.lowest else 0)
            self.lowest = low
        if high >= self.highest:
            here = int(np.count_nonzero(frame == high))
            self.at_highest = here + (self.at_highest if high == self.highest else 0)
            self.highest = high
        if low <= self._black:
            self.at_black += int(np.count_nonzero(np.less_equal(frame, self._black)))
        self.integer = bool(np.issubdtype(frame.dtype, np.integer))
        if self.integer:
            self.bits |= int(np.bitwise_or.reduce(frame, axis=None))


class _StructureSums:
    def __init__(self) -> None:
        self._parts: list[Structure] = []

    def add(self, part: Structure | None) -> None:
        if part is None:
            return
        if self._parts:
            part = _added(self._parts[0], part)
        self._parts = [part]

    def finish(self) -> Structure | None:
        return self._parts[0] if self._parts else None


def _added(one: Structure, other: Structure) -> Structure:
    return Structure(
        one.rows, one.columns, one.n_pairs + other.n_pairs,
        one.between_rows_dn2 + other.between_rows_dn2,
        one.between_columns_dn2 + other.between_columns_dn2,
        one.within_dn2 + other.within_dn2,
        one.horizontal_dn2 + other.horizontal_dn2,
        one.vertical_dn2 + other.vertical_dn2,
    )  # fmt: skip
