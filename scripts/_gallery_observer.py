"""The ideal observer of a gallery: Bayes' rule over all views, with the sensor's exact probabilities of codes.

No decoder names the image more often. It stands beside a trained network, which knows nothing of the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mi_eval.design.audit import Simulation
from mi_eval.design.enumerated import PopulationLikelihood
from mi_eval.downstream.classify import ACCURACY, LOG_LOSS
from mi_eval.downstream.interface import Decoder, Examples, Metric, Setting, Trained
from mi_eval.objects.gallery import Gallery

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class IdealObserver(Decoder):
    """Probabilities of the images given a frame, (n, classes), by Bayes' rule over all views."""

    name: ClassVar[str] = "ideal_observer"
    title: ClassVar[str] = "Ideal observer, knows the gallery"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy and log loss."""
        return (ACCURACY, LOG_LOSS)

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Numbers of the images, (n,)."""
        assert seen.labels is not None
        return np.asarray(seen.labels, dtype=np.float64)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Light of every view; nothing is learned from frames."""
        objects = setting.problem.objects
        assert isinstance(objects, Gallery)
        likelihood = PopulationLikelihood(setting.design, setting.problem)
        return _Observer(likelihood, objects.labels(setting.design.system.object_shape), len(objects.classes))

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Right or wrong, and bits of surprise at the truth."""
        truth = examples.targets.astype(np.int64)
        given = np.maximum(decoded[np.arange(truth.size), truth], 1e-12)
        return {
            ACCURACY.name: (decoded.argmax(axis=1) == truth).astype(np.float64),
            LOG_LOSS.name: -np.log2(given),
        }


@dataclass(frozen=True)
class _Observer(Trained):
    likelihood: PopulationLikelihood
    labels: NDArray[np.int64]
    classes: int

    def decode(self, frames: FloatArray) -> FloatArray:
        logs = self.likelihood.log_likelihood(frames)
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        by_image = np.zeros((self.classes, len(frames)))
        np.add.at(by_image, self.labels, weights.T)
        return np.asarray((by_image / by_image.sum(axis=0)).T)
