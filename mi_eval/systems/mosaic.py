"""A colour-filter mosaic whose filters' spectra are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.protocol import (
    FloatArray,
    ImagingSystem,
    Limit,
    Parameters,
    ParameterSpec,
    Start,
    require_shape,
)
from mi_eval.torch_extra import Tensor, torch


@dataclass(frozen=True)
class ColourMosaic(ImagingSystem):
    """A tile of 2 x 2 colour filters in front of the pixels; each filter passes a share of every spectral band.

    Objects have one plane for each band: the light of that band on a pixel without a filter.

    Parameters
    ----------
    shape : (height, width)
        Of the objects, pixels; even.
    bands : int
        Number of spectral bands.
    largest_transmission : float
        Of a filter in any band, up to 1.
    """

    name: ClassVar[str] = "colour_mosaic"
    title: ClassVar[str] = "Colour-filter mosaic"
    period_px: ClassVar[int] = 2
    conventional: ClassVar[str] = "RGGB: bands split into thirds, each filter passes its own"

    shape: tuple[int, int]
    bands: int
    largest_transmission: float

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape)
        if self.shape[0] % 2 or self.shape[1] % 2:
            raise PhotonbitsError(f"shape {self.shape}", where=self.name, legal="even numbers of pixels")
        if self.bands < 3:
            raise PhotonbitsError(f"bands {self.bands}", where=self.name, legal="3 or more")
        if not 0 < self.largest_transmission <= 1:
            raise PhotonbitsError(
                f"largest_transmission {self.largest_transmission}", where=self.name, legal="above 0, up to 1"
            )

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(bands, height, width)."""
        return (self.bands, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """That of the objects."""
        return self.shape

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Transmission of the four filters in every band."""
        meaning = "share of a band that a filter passes; filters at rows 0, 0, 1, 1 and columns 0, 1, 0, 1"
        return (ParameterSpec("filters", "1", (4, self.bands), 0.0, self.largest_transmission, 0.1, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Transmission of a filter."""
        return (Limit("transmission", self.largest_transmission, "1", "largest transmission of a filter"),)

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Largest transmission."""
        return {"transmission": float(parameters["filters"].max())}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Red, green, green and blue, or filters drawn uniformly."""
        filters = np.zeros((4, self.bands))
        for number, third in zip((0, 1, 3), np.array_split(np.arange(self.bands), 3), strict=True):
            filters[number, third] = self.largest_transmission
        filters[2] = filters[1]
        if how == "random":
            filters = rng.uniform(0, self.largest_transmission, filters.shape)
        return {"filters": torch.from_numpy(filters)}

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Light behind each pixel's own filter."""
        filters = parameters["filters"].reshape(2, 2, self.bands)
        tiled = filters.permute(2, 0, 1).repeat(1, self.shape[0] // 2, self.shape[1] // 2)
        return (objects * tiled).sum(dim=1)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Transmission of filter (row) by band (column)."""
        return {"transmission of filter by band": np.asarray(parameters["filters"].detach().numpy())}
