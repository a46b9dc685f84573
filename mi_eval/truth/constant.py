"""Light that never changes: whatever the codes do, they say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.truth.source import Family, FloatArray, KnownInformation, Sample, check_patch_size, pixel_sampler


@dataclass(frozen=True)
class ConstantLight:
    """The same even light in every frame: 0 bits.

    With a camera of per-pixel maps the collected charge differs from pixel to pixel, but always in the same way:
    0 bits given the maps. Frames have the maps' size then, else that of a patch.
    """

    family: ClassVar[Family] = "null"

    name: str
    description: str
    noise_model: NoiseModel
    light_e: float

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each, or of the maps' size."""
        height, width = self.noise_model.map_shape or (patch_size, patch_size)
        check_patch_size(patch_size, min(height, width), self.name)
        per_frame = (height // patch_size) * (width // patch_size)
        charge = self.charge_e((height, width))
        return pixel_sampler(
            self.noise_model, np.broadcast_to(charge, (-(-n_patches // per_frame), height, width)), rng
        )

    def information_bits(self, patch_size: int) -> KnownInformation:
        """0: nothing to know."""
        return KnownInformation(0.0, 0.0)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z | y); with maps, of whole frames only."""
        nats = self.noise_model.log_pmf(patches, self.charge_e(patches.shape[1:]))
        return np.asarray(-nats.sum(axis=(1, 2)) / np.log(2))

    def charge_e(self, shape: tuple[int, ...]) -> FloatArray:
        """Collected charge of every pixel: light times photo-response."""
        response = 0.0 if self.noise_model.maps is None else self.noise_model.maps.get("prnu", 0.0)
        return np.broadcast_to(self.light_e * (1.0 + np.asarray(response, dtype=np.float64)), shape)
