"""Linear reconstruction from all of a frame: for systems whose pixels are no picture, as visibilities are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi_eval.downstream.interface import Examples, FloatArray, Setting, Trained
from mi_eval.downstream.reconstruction import Reconstruction
from mi_eval.downstream.wiener import ridge_weights
from mi_eval.systems import ImagingSystem


@dataclass(frozen=True)
class WholeFrame(Reconstruction):
    """The linear estimate of least mean squared error of every object cell from all pixels of the frame.

    Ridge regression, learned from pairs; the ridge is the best on validation frames. Targets are whole objects: frames
    of an interferometer have no place on the sky. It needs several times as many training frames as a frame has pixels.
    """

    name: ClassVar[str] = "whole_frame"
    title: ClassVar[str] = "Linear reconstruction from the whole frame"

    def shown_shape(self, system: ImagingSystem) -> tuple[int, int]:
        """Of the whole object: pixels of the frame have no place on it."""
        return system.object_shape[1:]

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Regress on training frames, choose the ridge on validation frames."""
        mean_frame, mean_target = training.frames.mean(axis=0), training.targets.mean(axis=0)
        x, x_new = ((e.frames - mean_frame).reshape(len(e.frames), -1) for e in (training, validation))
        t, t_new = ((e.targets - mean_target).reshape(len(e.targets), -1) for e in (training, validation))
        weights, ridge = ridge_weights(x, t, x_new, t_new)
        return _Linear(weights, mean_frame, mean_target, ridge)


@dataclass(frozen=True)
class _Linear(Trained):
    weights: FloatArray  # (pixels, cells)
    mean_frame: FloatArray
    mean_target: FloatArray
    ridge: float

    def decode(self, frames: FloatArray) -> FloatArray:
        found = (frames - self.mean_frame).reshape(len(frames), -1) @ self.weights
        return np.asarray(self.mean_target + found.reshape(len(frames), *self.mean_target.shape))

    @property
    def details(self) -> dict[str, float]:
        return {"relative_ridge": self.ridge}
