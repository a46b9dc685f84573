"""Where a single emitter is, from one frame: the posterior mean under the exact noise, and the Cramer-Rao bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from mi_eval.design import DesignProblem
from mi_eval.design.audit import Simulation
from mi_eval.design.enumerated import PopulationLikelihood
from mi_eval.downstream import Decoder, Examples, Metric, Setting, Trained
from mi_eval.objects.emitter import Emitter
from mi_eval.systems import PhaseMask, SystemDesign
from mi_eval.torch_extra import torch

FloatArray = NDArray[np.float64]

ERROR = Metric("error_nm", "nm", "root-mean-square distance from the emitter, all three axes", False, "root_mean")
DEPTH = Metric("depth_error_nm", "nm", "root-mean-square error along the axis", False, "root_mean")
ACROSS = Metric("lateral_error_nm", "nm", "root-mean-square distance across the axis", False, "root_mean")


def _scales_nm(problem: DesignProblem) -> tuple[FloatArray, float]:
    """Depth of every plane, and the pixel, in nanometres."""
    system = problem.system
    assert isinstance(system, PhaseMask)
    return 1000 * np.asarray(system.depths_um), 1000 * system.pixel_um


def _places_nm(objects: FloatArray, problem: DesignProblem) -> FloatArray:
    """Depth, row and column of the emitter, nanometres, (n, 3)."""
    emitter = problem.objects
    assert isinstance(emitter, Emitter)
    depths, pixel = _scales_nm(problem)
    place = emitter.places(objects)
    return np.column_stack([depths[place[:, 0].astype(np.int64)], pixel * place[:, 1:]])


@dataclass(frozen=True)
class PosteriorMean(Decoder):
    """The estimate of least mean squared error: the mean place under the posterior of the known optics and sensor.

    No estimate of any kind has a smaller mean squared error. There is nothing to train: what a trained network could
    reach at the best, for every design alike.
    """

    name: ClassVar[str] = "posterior_mean"
    title: ClassVar[str] = "Localisation (posterior mean)"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Errors in space, along the axis and across it."""
        return (ERROR, DEPTH, ACROSS)

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Depth, row and column, nanometres."""
        return _places_nm(seen.objects, setting.problem)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Charges of every object of the population."""
        problem = setting.problem
        population = problem.objects.population(problem.system.object_shape)
        assert population is not None
        return _Posterior(PopulationLikelihood(setting.design, problem), _places_nm(population, problem))

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Squared errors of each frame, nm^2."""
        square = (decoded - examples.targets) ** 2
        return {
            ERROR.name: square.sum(axis=1),
            DEPTH.name: square[:, 0],
            ACROSS.name: square[:, 1] + square[:, 2],
        }


@dataclass(frozen=True)
class _Posterior(Trained):
    likelihood: PopulationLikelihood
    places_nm: FloatArray

    def decode(self, frames: FloatArray) -> FloatArray:
        log = self.likelihood.log_likelihood(frames)
        weight = np.exp(log - logsumexp(log, axis=1, keepdims=True))
        return np.asarray(weight @ self.places_nm)


def cramer_rao_nm(design: SystemDesign, problem: DesignProblem, step_nm: float = 2.0) -> FloatArray:
    r"""Cramer-Rao bound of depth, row and column in every plane, nanometres, (planes, 3).

    Of an emitter in the middle of the frame, from :math:`F_{ij} = \sum_p \partial_i y_p \partial_j y_p / \sigma_p^2`
    with the sensor's noise (Ober, Ram and Ward 2004, doi:10.1016/S0006-3495(04)74193-4). Derivatives are central
    differences: depths of the optics are moved, and the light of the frame is shifted by frequency.
    """
    depths, pixel = _scales_nm(problem)
    system, emitter = design.system, problem.objects
    assert isinstance(system, PhaseMask)
    assert isinstance(emitter, Emitter)
    middle = replace(emitter, wander_px=0.0).population(system.object_shape)
    objects = torch.from_numpy(np.ascontiguousarray(problem.scale * middle))
    whole = replace(system, margin_px=0)
    rows, columns = (np.fft.fftfreq(side) for side in system.shape)

    def light(move_nm: FloatArray) -> FloatArray:
        moved = replace(whole, depths_um=tuple((depths + move_nm[0]) / 1000))
        with torch.no_grad():
            frames = moved.forward(objects, design.tensors()).numpy()
        shift = np.exp(-2j * np.pi * np.add.outer(rows * move_nm[1], columns * move_nm[2]) / pixel)
        frames = np.fft.ifft2(np.fft.fft2(frames) * shift).real
        cut = system.margin_px
        return np.asarray(frames[:, cut : frames.shape[1] - cut, cut : frames.shape[2] - cut])

    axes = step_nm * np.eye(3)
    slopes = np.stack([(light(axis) - light(-axis)) / (2 * step_nm) for axis in axes], axis=1)
    charge = torch.from_numpy(np.maximum(light(np.zeros(3)), 0.0))
    noise = problem.channel.noise_variance_e2(problem.channel.charge_e(charge, problem.exposure_s)).numpy()
    fisher = np.einsum("nihw,njhw->nij", slopes / noise[:, None], slopes)
    return np.sqrt(np.diagonal(np.linalg.pinv(fisher, hermitian=True), axis1=1, axis2=2))
