"""Where a single emitter is, from one frame: estimates from the exact posterior, and the Cramer-Rao bound."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
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

ACCURACY = Metric("accuracy", "1", "probability that the place named is the right one", True)
NAMED = Metric("named_rightly", "1", "share of places named rightly", True, "share", ranked=False)


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
class _ByPosterior(Decoder):
    """Has the posterior of every place under the known optics and sensor: there is nothing to train.

    Parameters
    ----------
    root_step : float
        Of `PopulationLikelihood`.
    """

    root_step: float = 0.02

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Depth, row and column, nanometres."""
        return _places_nm(seen.objects, setting.problem)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Charges of every object of the population."""
        problem = setting.problem
        population = problem.objects.population(problem.system.object_shape)
        assert population is not None
        likelihood = PopulationLikelihood(setting.design, problem, root_step=self.root_step)
        return _Posterior(likelihood, _places_nm(population, problem), self.estimate)

    @abstractmethod
    def estimate(self, posterior: FloatArray, places_nm: FloatArray) -> FloatArray:
        """Rows for frames, of the posterior (frames, places) and the places (places, 3)."""


@dataclass(frozen=True)
class PosteriorMean(_ByPosterior):
    """The estimate of least mean squared error: the mean place under the posterior.

    No estimate of any kind has a smaller mean squared error: it is what a trained network could reach at the best, for
    every design alike.
    """

    name: ClassVar[str] = "posterior_mean"
    title: ClassVar[str] = "Localisation (posterior mean)"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Errors in space, along the axis and across it."""
        return (ERROR, DEPTH, ACROSS)

    def estimate(self, posterior: FloatArray, places_nm: FloatArray) -> FloatArray:
        """Mean depth, row and column, nanometres."""
        return np.asarray(posterior @ places_nm)

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Squared errors of each frame, nm^2."""
        square = (decoded - examples.targets) ** 2
        return {
            ERROR.name: square.sum(axis=1),
            DEPTH.name: square[:, 0],
            ACROSS.name: square[:, 1] + square[:, 2],
        }


@dataclass(frozen=True)
class LikeliestPlace(_ByPosterior):
    """The decision of least 0-1 loss: the likeliest place, right as often as its probability says.

    The mean of that probability is the accuracy, with less scatter than the share of places named rightly, which is
    counted beside it against the truth.
    """

    name: ClassVar[str] = "likeliest_place"
    title: ClassVar[str] = "Naming the place (likeliest)"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy, and the share that checks it."""
        return (ACCURACY, NAMED)

    def estimate(self, posterior: FloatArray, places_nm: FloatArray) -> FloatArray:
        """Depth, row and column of the likeliest place, nanometres, and its probability."""
        named = np.argmax(posterior, axis=1)
        return np.column_stack([places_nm[named], posterior[np.arange(len(named)), named]])

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Probability of the place named, and whether it is the right one."""
        # Places lie 20 nm apart and more; sums of floats differ by some 1e-10 nm.
        right = np.all(np.abs(decoded[:, :3] - examples.targets) < 1e-3, axis=1)
        return {ACCURACY.name: decoded[:, 3], NAMED.name: right.astype(np.float64)}


def accuracy_bounds(bits_per_frame: FloatArray, places: int) -> tuple[FloatArray, FloatArray]:
    r"""Least and largest accuracy that information of a frame about equally likely places leaves.

    :math:`2^I / K \le A` and Fano's inequality :math:`h(A) + (1 - A) \log_2 (K - 1) \ge \log_2 K - I` (Feder and Merhav
    1994, doi:10.1109/18.272494).
    """
    missing = np.log2(places) - np.asarray(bits_per_frame, dtype=np.float64)
    grid = np.linspace(1 / places, 1, 100_001)[1:-1]
    most = (1 - grid) * np.log2(places - 1) - grid * np.log2(grid) - (1 - grid) * np.log2(1 - grid)
    # The entropy falls from log2 K at A = 1/K to 0 at A = 1.
    return 2.0**-missing, np.interp(missing, most[::-1], grid[::-1])


@dataclass(frozen=True)
class _Posterior(Trained):
    likelihood: PopulationLikelihood
    places_nm: FloatArray
    estimate: Callable[[FloatArray, FloatArray], FloatArray]

    def decode(self, frames: FloatArray) -> FloatArray:
        log = self.likelihood.log_likelihood(frames)
        weight = np.exp(log - logsumexp(log, axis=1, keepdims=True))
        return self.estimate(weight, self.places_nm)


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
