"""The camera behind a set of patches: what turns light into codes, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.pixel_classes import PixelClasses

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class CameraCells:
    r"""Noise models of the classes of pixels, and the class of every pixel of a set of patches.

    Parameters
    ----------
    models : tuple of NoiseModel
        Scalar model of each class. A code z of a pixel is z - ``shift_dn`` on the axis of its model.
    gain_dn_per_e : float
        Light units per electron: the variance of the noise rises by it with the light, if there is ``shot`` noise.
    read_noise_dn : float
        Read noise in light units.
    shot : bool
        Whether the noise grows with the light.
    class_index : ndarray (n_patches, p, p) or None
        None: one class. Pixels without a class (-1) are given to the first one.
    shift_dn : ndarray (n_patches, p, p) or float
        Whole codes.
    """

    models: tuple[NoiseModel, ...]
    gain_dn_per_e: float
    read_noise_dn: float
    shot: bool
    class_index: IntArray | None = None
    shift_dn: FloatArray | float = 0.0

    @classmethod
    def of(
        cls, model: NoiseModel, classes: PixelClasses, index: IntArray | None = None, shift: FloatArray | float = 0.0
    ) -> CameraCells:
        """Camera of patches, given the classes of its pixels and their maps under each patch."""
        gain = float(model.camera.system_gain_dn_per_e)
        return cls(
            models=classes.models,
            gain_dn_per_e=gain,
            read_noise_dn=gain * float(np.mean(model.camera.read_noise_e)),
            shot=model.camera.kind != "gaussian",
            class_index=None if index is None else np.maximum(index, 0),
            shift_dn=shift,
        )

    def take(self, which: slice | NDArray[np.integer[Any]]) -> CameraCells:
        """The camera of the patches that `which` selects."""
        if self.class_index is None:
            return self
        shift = self.shift_dn[which] if isinstance(self.shift_dn, np.ndarray) else self.shift_dn
        return replace(self, class_index=self.class_index[which], shift_dn=shift)

    @property
    def discrete(self) -> bool:
        """Whether the classes' models give codes."""
        return self.models[0].bit_depth is not None
