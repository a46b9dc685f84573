"""Frames in units in which their noise is about even: what networks are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_eval.design.problem import DesignProblem
from mi_eval.downstream.interface import FloatArray
from mi_eval.torch_extra import Tensor, torch


@dataclass(frozen=True)
class Stabiliser:
    r"""Variance-stabilised electrons, then zero mean and unit variance over training frames.

    With shot noise, for e electrons and read noise r,

    .. math:: t = 2\sqrt{e + c} \;\; (e \ge 0), \qquad t = 2\sqrt{c} + e/\sqrt{c} \;\; (e < 0), \qquad c = r^2 + 3/8

    the generalised Anscombe transform (Murtagh et al. 1995, A&AS 112, 179) with a straight line below 0 in place of a
    clamp, so that no frame loses its dark pixels. Without shot noise t = e / r.

    Parameters
    ----------
    problem : DesignProblem
    mean, spread : float
        Of t over training frames.
    """

    problem: DesignProblem
    mean: float = 0.0
    spread: float = 1.0

    @classmethod
    def fitted(cls, problem: DesignProblem, frames: FloatArray) -> Stabiliser:
        """With the mean and spread of these frames."""
        plain = cls(problem)(torch.from_numpy(frames))
        return cls(problem, float(plain.mean()), max(float(plain.std()), 1e-12))

    def __call__(self, frames: Tensor) -> Tensor:
        """Raw frames as standardised ones, the same shape; differentiable."""
        camera = self.problem.noise_model.camera
        read = float(camera.read_noise_e)
        e = (frames - float(camera.offset_dn)) / float(camera.system_gain_dn_per_e)
        if camera.kind == "gaussian":
            t = e / read if read > 0 else e
        else:
            c = read**2 + 0.375
            root = 2 * torch.sqrt(torch.clamp(e, min=0.0) + c)
            t = torch.where(e >= 0, root, 2 * np.sqrt(c) + e / np.sqrt(c))
        return (t - self.mean) / self.spread
