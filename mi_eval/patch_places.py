"""Where patches lie in a frame: side by side, in phase with the colours, clear of defects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class PatchPlaces:
    """Upper left corners of the patches that a frame may give, in raster order, and how many there were in ``all``.

    ``period`` is the mosaic's, rows and columns: every patch begins with it.
    """

    row: IntArray
    column: IntArray
    all: int
    period: tuple[int, int] = (1, 1)

    @property
    def size(self) -> int:
        """Number of places."""
        return int(self.row.size)


def refuse_other_maps(shape: tuple[int, int], model: NoiseModel) -> None:
    """Raise PhotonbitsError where the model has maps of another shape than the frames."""
    if model.map_shape is not None and model.map_shape != shape:
        raise PhotonbitsError(
            f"frames of shape {shape} with maps of shape {model.map_shape}",
            legal="frames of the calibrated size",
            remedy="Use the same read-out window for captures and scenes, or a noise model without maps",
        )


def patch_places(
    shape: tuple[int, int],
    models: Sequence[NoiseModel],
    patch_size: int,
    exposed: tuple[int, int, int, int] | None = None,
) -> PatchPlaces:
    """Where patches lie, side by side and in phase with the colours; none that holds a defect of any of the models.

    They lie within ``exposed``: first row, row after the last, first column, column after the last.

    Raises
    ------
    PhotonbitsError
        If maps or channels have another size than the frames, or the patches do not fit into them.
    """
    height, width = shape
    period = (1, 1)
    for model in models:
        refuse_other_maps(shape, model)
    top, bottom, left, right = exposed or (0, height, 0, width)
    if not 2 <= patch_size <= min(bottom - top, right - left):
        raise PhotonbitsError(
            f"patch size {patch_size} for frames of {bottom - top} x {right - left}",
            legal=f"2 to {min(bottom - top, right - left)}",
        )
    for model in models:
        own = (2, 2) if model.document.sensor.cfa is not None else (1, 1)
        if model.channel_layout is not None:
            model.channel_layout.check_shape(shape)
            own = model.channel_layout.period
        period = (math.lcm(period[0], own[0]), math.lcm(period[1], own[1]))
    # Patches begin at the same colour: a pixel's place in a patch tells its channel.
    rows, columns = (
        _along(top, bottom, patch_size, period[0]),
        _along(left, right, patch_size, period[1]),
    )
    row, column = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    number = np.arange(row.size)
    sound = np.ones(number.size, dtype=bool)
    for model in models:
        sound &= _free_of_defects(model, row, column, patch_size)
    return PatchPlaces(row[sound], column[sound], int(number.size), period)


def _along(start: int, stop: int, patch_size: int, period: int) -> IntArray:
    """First pixels of the patches along one axis: whole periods apart, each at the start of a period."""
    start = -(-start // period) * period
    step = -(-patch_size // period) * period
    count = max((stop - start - patch_size) // step + 1, 0)
    margin = max(stop - start - patch_size - (count - 1) * step, 0) // 2 // period * period
    return np.asarray(start + margin + step * np.arange(count), dtype=np.int64)


def _free_of_defects(model: NoiseModel, row: IntArray, column: IntArray, patch_size: int) -> NDArray[np.bool_]:
    """Which patches with these corners hold no pixel whose codes say nothing about the light."""
    unusable = model.unusable_pixels
    if unusable is None:
        return np.ones(row.size, dtype=bool)
    corner = np.stack([np.zeros_like(row), row, column], axis=1)
    return np.asarray(~np.any(crop_to_patches(unusable, corner, patch_size), axis=(1, 2)))


def crop_to_patches(array: NDArray[Any], positions: IntArray, patch_size: int) -> NDArray[Any]:
    """Values of a map under every patch, (n_patches, p, p)."""
    span = np.arange(patch_size)
    return np.asarray(array[(positions[:, 1, None] + span)[:, :, None], (positions[:, 2, None] + span)[:, None, :]])
