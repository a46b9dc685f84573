"""What every decoder is: settings that train on frames and targets, and give something that decodes frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from mi_eval.design.audit import Simulation
from mi_eval.design.problem import DesignProblem
from mi_eval.systems import SystemDesign

FloatArray = NDArray[np.float64]

_LOG = 10 / np.log(10)


@dataclass(frozen=True)
class Metric:
    r"""A figure of merit, made of one number for each test frame.

    Parameters
    ----------
    name, unit, meaning : str
    larger_is_better : bool
    summary : {"mean", "share", "root_mean", "decibel"}
        How the numbers of frames x make the figure: their mean m; m of zeros and ones; :math:`\sqrt{m}` (x are
        squared errors); :math:`-10 \log_{10} m` (x are squared errors over the squared range).
    ranked : bool
        Whether designs are ranked by it; bounds and checks are not results.
    """

    name: str
    unit: str
    meaning: str
    larger_is_better: bool
    summary: Literal["mean", "share", "root_mean", "decibel"] = "mean"
    ranked: bool = True

    def value(self, per_frame: FloatArray) -> float:
        """The figure of these frames."""
        mean = float(np.mean(per_frame))
        if self.summary == "root_mean":
            return float(np.sqrt(mean))
        if self.summary == "decibel":
            return -float(10 * np.log10(mean))
        return mean

    def influence(self, per_frame: FloatArray) -> FloatArray:
        """First-order change of the figure with the weight of each frame, times their number; mean 0."""
        mean = float(np.mean(per_frame))
        slope = 1.0
        if self.summary == "root_mean":
            slope = 0.5 / np.sqrt(mean)
        elif self.summary == "decibel":
            slope = -_LOG / mean
        return np.asarray(slope * (per_frame - mean))

    def std(self, per_frame: FloatArray) -> float:
        """Standard error over frames (delta method).

        Shares: that of a binomial with two successes and two failures added, which is above 0 for 0 and 1
        (Agresti and Coull 1998, doi:10.1080/00031305.1998.10480550).
        """
        n = per_frame.size
        if self.summary == "share":
            share = (float(np.sum(per_frame)) + 2) / (n + 4)
            return float(np.sqrt(share * (1 - share) / (n + 4)))
        return float(np.std(self.influence(per_frame), ddof=1) / np.sqrt(n))


@dataclass(frozen=True)
class Setting:
    """What a decoder may know: the design that made the frames, and its sensor, light and objects."""

    design: SystemDesign
    problem: DesignProblem


@dataclass(frozen=True)
class Examples:
    """Frames with what should be found in them.

    Parameters
    ----------
    frames : ndarray (n, height, width)
        Raw frames as float64: codes, or real values.
    targets : ndarray (n, ...)
    target_range : float
        What errors are relative to: `Decoder.target_range`.
    simulation : Simulation
        Where frames and targets come from.
    """

    frames: FloatArray
    targets: FloatArray
    target_range: float
    simulation: Simulation


class Trained(ABC):
    """A decoder that has been trained."""

    @abstractmethod
    def decode(self, frames: FloatArray) -> FloatArray:
        """What it finds in raw frames (n, height, width); the shape of the targets."""

    @property
    def details(self) -> dict[str, Any]:
        """How training went, as plain values for JSON."""
        return {}


class Decoder(ABC):
    """A frozen dataclass of settings. The same settings serve every design."""

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What results are measured by; the first is the main one."""

    @abstractmethod
    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """What should be found in the frames, (n, ...). It must not depend on the parameters of the design."""

    def target_range(self, problem: DesignProblem) -> float:
        """Largest less smallest target of the population: the same for every design, seed and part."""
        return 1.0

    @abstractmethod
    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Learn from frames and targets; the same arguments give the same decoder."""

    @abstractmethod
    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """One number for each frame (n,), by the name of each metric."""

    def to_dict(self) -> dict[str, Any]:
        """Name and settings as plain values."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]
