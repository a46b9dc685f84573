"""Gradient ascent from one start: Adam in physical units, projected onto the limits after every step.

Adam with one scale for each parameter array instead of each entry, so that a step keeps the gradient's direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.design.objectives import Objective
from mi_eval.systems import ImagingSystem
from mi_eval.systems.protocol import Parameters, Start
from mi_eval.torch_extra import torch

FloatArray = NDArray[np.float64]
Arrays = dict[str, FloatArray]

#: Steps between checkpoints.
SAVE_EVERY = 50
_FIRST_DECAY = 0.9
_SECOND_DECAY = 0.99  # runs are hundreds of steps: 0.999 would not have forgotten the start
_JITTER = 0.3  # of a step's size, off the conventional start, which may be a saddle


@dataclass(frozen=True)
class AscentState:
    """Where an ascent stands: enough to go on exactly as if it had not stopped.

    Parameters
    ----------
    index : int
        Number of the restart.
    step : int
        Steps taken.
    parameters, first_moment, second_moment, best : dict of ndarray
    best_value : float
        Bits per pixel less the penalty, of ``best``.
    curve : tuple of float
        Bits per pixel before each step.
    """

    index: int
    step: int
    parameters: Arrays
    first_moment: Arrays
    second_moment: Arrays
    best: Arrays
    best_value: float
    curve: tuple[float, ...] = field(repr=False)


def start_of(index: int) -> Start:
    """Where a restart begins: the first near the conventional design, all others at random."""
    return "conventional" if index == 0 else "random"


def begin(system: ImagingSystem, seed: int, index: int) -> AscentState:
    """The state before the first step of a restart."""
    rng = np.random.default_rng([seed, 21, index])
    parameters = system.start(start_of(index), rng)
    if start_of(index) == "conventional":
        moved = {
            spec.name: parameters[spec.name]
            + torch.from_numpy(np.asarray(_JITTER * spec.rate * _normal(rng, spec.shape)))
            for spec in system.specs()
        }
        parameters = system.project(moved)
    arrays = _arrays(parameters)
    zeros = {name: np.zeros_like(value) for name, value in arrays.items()}
    return AscentState(index, 0, arrays, zeros, zeros, arrays, -np.inf, ())


def ascend(
    system: ImagingSystem,
    objective: Objective,
    state: AscentState,
    *,
    steps: int,
    learning_rate: float,
    stop: int | None = None,
    save_every: int = SAVE_EVERY,
    save: Callable[[AscentState], None] | None = None,
) -> AscentState:
    """Take the steps that are left, or those up to ``stop``; ``save`` is called every ``save_every`` of them.

    The step size falls to 0 as a cosine. The best parameters seen win, the last ones included; of a noisy
    objective the last ones.

    Raises
    ------
    PhotonbitsError
        If a gradient is not finite.
    """
    rates = {spec.name: spec.rate for spec in system.specs()}
    end = steps if stop is None else min(steps, stop)
    while state.step < end:
        objective.prepare(state.step, _tensors(state.parameters))
        value, bits, gradient = _gradient(system, objective, state)
        if value > state.best_value and not objective.noisy:
            state = replace(state, best=state.parameters, best_value=value)
        number = state.step + 1
        size = learning_rate * 0.5 * (1 + np.cos(np.pi * state.step / steps))
        first, second, moved = {}, {}, {}
        for name, slope in gradient.items():
            first[name] = _FIRST_DECAY * state.first_moment[name] + (1 - _FIRST_DECAY) * slope
            second[name] = _SECOND_DECAY * state.second_moment[name] + (1 - _SECOND_DECAY) * slope**2
            mean = first[name] / (1 - _FIRST_DECAY**number)
            spread = np.sqrt(np.mean(second[name]) / (1 - _SECOND_DECAY**number))
            moved[name] = state.parameters[name] + size * rates[name] * mean / (spread + 1e-12)
        parameters = _arrays(system.project(_tensors(moved)))
        state = replace(
            state,
            step=number,
            parameters=parameters,
            first_moment=first,
            second_moment=second,
            curve=(*state.curve, bits),
        )
        if save is not None and (number % save_every == 0 or number == steps):
            save(state)
    with torch.no_grad():
        last = _tensors(state.parameters)
        value = objective.report(last) - float(objective.penalty(last))
    return replace(state, best=state.parameters, best_value=value) if value > state.best_value else state


def _gradient(system: ImagingSystem, objective: Objective, state: AscentState) -> tuple[float, float, Arrays]:
    """Value to maximise, its bits, and its gradient along the limits."""
    leaves = {name: value.requires_grad_(True) for name, value in _tensors(state.parameters).items()}
    bits = objective.bits(leaves)
    value = bits - objective.penalty(leaves)
    slopes = torch.autograd.grad(value, list(leaves.values()))
    with torch.no_grad():
        along = system.tangent(leaves, dict(zip(leaves, slopes, strict=True)))
        gradient = {name: np.array(slope.numpy()) for name, slope in along.items()}
    if not all(np.all(np.isfinite(slope)) for slope in gradient.values()):
        raise PhotonbitsError(
            f"a gradient that is not finite at step {state.step} of restart {state.index}",
            remedy="Lower the learning rate, or start elsewhere with another seed",
        )
    return float(value.detach()), float(bits.detach()), gradient


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return np.asarray(rng.standard_normal(shape), dtype=np.float64)


def _tensors(arrays: Arrays) -> Parameters:
    return {name: torch.from_numpy(np.array(value, dtype=np.float64)) for name, value in arrays.items()}


def _arrays(parameters: Parameters) -> Arrays:
    values: dict[str, Any] = {name: value.detach().numpy() for name, value in parameters.items()}
    return {name: np.array(value, dtype=np.float64) for name, value in values.items()}
