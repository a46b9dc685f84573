"""A mask that light passes or not, in front of a sensor without a lens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.optics import convolve, cropped_shape
from mi_eval.systems.protocol import (
    ImagingSystem,
    Limit,
    Parameters,
    ParameterSpec,
    Start,
    require_shape,
)
from mi_eval.torch_extra import Tensor, torch

_CLOSED = 1e-6  # a transmission that casts no shadow


def _move(light: Tensor) -> int:
    """Cells to move a row or column of light by; only closed cells leave it."""
    number = len(light)
    opened = torch.nonzero(light > _CLOSED).ravel()
    if not len(opened):
        return 0
    middle = float((light * torch.arange(number)).sum() / light.sum())
    room = range(-int(opened[0]), number - int(opened[-1]))
    # Rounded, so that two places equally near are not told apart by rounding errors.
    return min(room, key=lambda move: (round(abs(middle + move - number // 2), 6), move))


@dataclass(frozen=True)
class CodedAperture(ImagingSystem):
    """Lensless camera or coded aperture far from diffraction: a point casts the mask's shadow.

    A mask of m cells with transmissions t between 0 and 1 has the point-spread function t/m: the fully open aperture
    passes all of the light and a pinhole 1/m of it. Objects are the light through the open aperture.

    Parameters
    ----------
    shape : (height, width)
        Of the objects, pixels.
    mask_shape : (rows, columns)
        Of the aperture; one cell shifts the shadow by one pixel.
    margin_px : int
        Cut off the frames all round. 0 keeps the circular wrap of the convolution.
    """

    name: ClassVar[str] = "coded_aperture"
    title: ClassVar[str] = "Lensless camera with a coded aperture"
    conventional: ClassVar[str] = "pinhole: the middle cell open, all others closed"

    shape: tuple[int, int]
    mask_shape: tuple[int, int]
    margin_px: int = 0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape)
        require_shape(self.name, "mask_shape", self.mask_shape, least=1)
        if self.mask_shape[0] > self.shape[0] or self.mask_shape[1] > self.shape[1]:
            raise PhotonbitsError(
                f"mask_shape {self.mask_shape}", where=self.name, legal=f"at most the objects' {self.shape}"
            )
        cropped_shape(self.shape, self.margin_px, self.name)

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(1, height, width)."""
        return (1, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Objects less the margin."""
        return cropped_shape(self.shape, self.margin_px, self.name)

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Transmission of every cell."""
        return (
            ParameterSpec("transmission", "1", self.mask_shape, 0.0, 1.0, 0.1, "share of light that a cell passes"),
        )

    def limits(self) -> tuple[Limit, ...]:
        """Transmission of a cell, and area of the aperture."""
        cells = float(np.prod(self.mask_shape))
        return (
            Limit("transmission", 1.0, "1", "largest transmission of a cell"),
            Limit("aperture", cells, "cells", "open area of the mask"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Largest transmission, and the open area."""
        mask = parameters["transmission"]
        return {"transmission": float(mask.max()), "aperture": float(mask.sum())}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """A pinhole, or cells drawn uniformly with a share of them, from one cell to all, not closed."""
        mask = np.zeros(self.mask_shape)
        mask[self.mask_shape[0] // 2, self.mask_shape[1] // 2] = 1.0
        if how == "random":
            # Optima lie between one open cell and half of them: starts of one density would miss most.
            density = float(np.prod(self.mask_shape)) ** -rng.random()
            mask = rng.random(self.mask_shape) * (rng.random(self.mask_shape) < density)
            mask.flat[rng.integers(mask.size)] = rng.random()
        return {"transmission": torch.from_numpy(mask)}

    def centred(self, parameters: Parameters) -> Parameters:
        """The mask moved by whole cells, the middle of its light nearest to the pinhole; no open cell is cut."""
        mask = parameters["transmission"]
        moves = [_move(mask.sum(dim=1 - axis)) for axis in (0, 1)]
        return {"transmission": torch.roll(mask, moves, dims=(0, 1))}

    def psf(self, parameters: Parameters) -> Tensor:
        """Point-spread function (height, width), the mask's middle at [0, 0]."""
        rows, columns = self.mask_shape
        padded = torch.nn.functional.pad(
            parameters["transmission"] / (rows * columns), (0, self.shape[1] - columns, 0, self.shape[0] - rows)
        )
        return torch.roll(padded, (-(rows // 2), -(columns // 2)), dims=(0, 1))

    def transfer(self, parameters: Parameters) -> Tensor:
        """Fourier transform of the point-spread function."""
        return torch.fft.fft2(self.psf(parameters))[None]

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Shadows of the mask, one for every point, added up; rounding errors below 0 are taken as 0."""
        return torch.clamp(convolve(objects, self.transfer(parameters), self.margin_px), min=0.0)
