r"""Information about a finite population of objects, without any density model.

Objects :math:`x_1 \ldots x_K`, all equally likely, give the charges :math:`y_k`, and frames the codes z:

.. math:: I(X; Z) = E\left[\log_2 \frac{p(z \mid y_k)}{\frac{1}{K} \sum_j p(z \mid y_j)}\right]

with the sensor's exact p(z | y), the product over pixels. The mean over simulated frames has only the error of Monte
Carlo. Density models need many frames to learn what few sharp parameters make of a frame; nothing is learned here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from calibrate import PhotonbitsError
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.problem import DesignProblem
from mi_eval.systems import SystemDesign
from mi_eval.torch_extra import torch

FloatArray = NDArray[np.float64]

#: Charges are rounded in steps of the root, by 2 % of the shot noise at the most: for simulated frames and likelihood
#: alike.
_ROOT_STEP = 0.02
_CHUNK = 256


@dataclass(frozen=True)
class EnumeratedInformation:
    """Exact information up to the error of Monte Carlo.

    Parameters
    ----------
    bits_per_frame, std : float
        Information of a frame, and its standard error over frames.
    entropy_bits : float
        Of the population: no design carries more.
    pixels : int
        Of a frame.
    frames : int
    """

    bits_per_frame: float
    std: float
    entropy_bits: float
    pixels: int
    frames: int

    @property
    def bits_per_pixel(self) -> tuple[float, float]:
        """Value and standard error."""
        return self.bits_per_frame / self.pixels, self.std / self.pixels


class PopulationLikelihood:
    """log p(frame | object) for every object of a finite population through one design.

    Parameters
    ----------
    design : SystemDesign
    problem : DesignProblem
        With objects that list their population, and a sensor that gives integer codes.
    root_step : float
        Charges are rounded in steps of this of their roots. Frames of charges that are not rounded make the posterior
        surer than it should be, in proportion to its square.

    Raises
    ------
    PhotonbitsError
        If the objects are not finite in number, or the sensor gives real values.
    """

    def __init__(self, design: SystemDesign, problem: DesignProblem, *, root_step: float = _ROOT_STEP) -> None:
        listed = problem.objects.population(design.system.object_shape)
        if listed is None:
            raise PhotonbitsError(
                f"objects {problem.objects.kind}, whose population is not listed", legal="a finite population"
            )
        if problem.noise_model.camera.bit_depth is None:
            raise PhotonbitsError("a sensor without bit depth", legal="integer codes")
        self._model = problem.noise_model
        parts = []
        with deterministic_torch(), torch.no_grad():
            parameters = design.tensors()
            for first in range(0, len(listed), _CHUNK):
                objects = torch.from_numpy(np.ascontiguousarray(problem.scale * listed[first : first + _CHUNK]))
                light = design.system.forward(objects, parameters)
                parts.append(problem.charge_e(light, parameters).numpy())
        charge = np.concatenate(parts).reshape(len(listed), -1)
        # (pixels, objects): the numbers of the nodes that the charges are rounded to.
        steps = np.rint(np.sqrt(charge.T) / root_step).astype(np.int64)
        self._lowest = int(steps.min())
        self._nodes_e = (root_step * np.arange(self._lowest, int(steps.max()) + 1)) ** 2
        self._steps = np.ascontiguousarray(steps - self._lowest)

    @property
    def size(self) -> int:
        """Number of objects."""
        return int(self._steps.shape[1])

    @property
    def pixels(self) -> int:
        """Of a frame."""
        return int(self._steps.shape[0])

    def charge_e(self, index: NDArray[np.int64]) -> FloatArray:
        """Rounded charges of objects by number, (n, pixels)."""
        return np.asarray(self._nodes_e[self._steps[:, index].T])

    def log_likelihood(self, frames: NDArray[np.generic]) -> FloatArray:
        """Nats, (n, objects), of codes (n, pixels) or (n, height, width)."""
        flat = frames.reshape(len(frames), -1).astype(np.int64)
        codes, position = np.unique(flat, return_inverse=True)
        table = self._model.log_pmf(codes[:, None].astype(np.float64), self._nodes_e[None, :])
        position = position.reshape(flat.shape)
        out = np.zeros((len(flat), self.size))
        for row, own in zip(out, position, strict=True):
            for pixel, code in enumerate(own):
                row += table[code].take(self._steps[pixel])
        return out


def enumerated_information(
    design: SystemDesign, problem: DesignProblem, *, frames: int = 2000, seed: int = 1
) -> EnumeratedInformation:
    """Information of a frame about a finite population of objects, by the exact posterior.

    Parameters
    ----------
    design : SystemDesign
    problem : DesignProblem
    frames : int
        Simulated. Objects take turns, so that none is drawn much more often than another; the standard error is that of
        independent draws, which is a little too large.
    seed : int
        The same seed takes the same objects for every design.
    """
    likelihood = PopulationLikelihood(design, problem)
    rng = np.random.default_rng([seed, 61])
    turns = [rng.permutation(likelihood.size) for _ in range(-(-frames // likelihood.size))]
    chosen = np.concatenate(turns)[:frames]
    codes = problem.noise_model.sample(likelihood.charge_e(chosen), rng)
    log = likelihood.log_likelihood(codes)
    own = log[np.arange(frames), chosen]
    bits = (own - logsumexp(log, axis=1) + np.log(likelihood.size)) / np.log(2)
    return EnumeratedInformation(
        bits_per_frame=float(np.mean(bits)),
        std=float(np.std(bits, ddof=1) / np.sqrt(frames)),
        entropy_bits=float(np.log2(likelihood.size)),
        pixels=likelihood.pixels,
        frames=frames,
    )
