"""Restarts of an ascent, here or on a cluster, and the race between starts; what was done is kept in a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from calibrate.plumbing.progress import track
from mi_eval.design.ascent import AscentState, ascend, begin
from mi_eval.design.checkpoint import Checkpoint
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.objectives import Objective
from mi_eval.design.problem import DesignProblem
from mi_eval.design.settings import OptimiserSettings
from mi_eval.systems import SystemDesign

#: Runs one function on every number, and gives the results in any order, each as soon as it is there.
Mapper = Callable[[Callable[[int], AscentState], Sequence[int]], Iterable[AscentState]]

_SAVE_STARTS = 16  # starts of a race between checkpoints


class _Kept:
    """What has been done so far, in memory and in the checkpoint's file."""

    def __init__(self, path: Path | None, digest: str) -> None:
        self._began = time.process_time()
        self._path = path
        self._held = Checkpoint(digest, {}) if path is None else Checkpoint.load(path, digest)
        self.spent = self._held.cpu_seconds

    @property
    def states(self) -> dict[int, AscentState]:
        return self._held.states

    def keep(self, state: AscentState, write: bool = True) -> None:
        self._held = self._held.with_state(state, self.spent + time.process_time() - self._began)
        if self._path is not None and write:
            self._held.save(self._path)

    def keep_start(self, state: AscentState) -> None:
        """Of a race: there may be hundreds, and each is short."""
        self.keep(state, write=len(self.states) % _SAVE_STARTS == _SAVE_STARTS - 1)


@dataclass(frozen=True)
class _RemoteRestart:
    """One restart by its number, from where it stands, up to a step; travels to a worker whole."""

    problem: DesignProblem
    settings: OptimiserSettings
    start: SystemDesign | None
    states: dict[int, AscentState]
    stop: int | None

    def __call__(self, index: int) -> AscentState:
        with deterministic_torch():
            objective = self.settings.objective_for(self.problem, self.settings.seed)
            state = self.states.get(index) or _first(self.problem, self.settings, self.start, index)
            return ascend(
                self.problem.system,
                objective,
                state,
                steps=self.settings.steps,
                learning_rate=self.settings.learning_rate,
                stop=self.stop,
            )


def run_there(
    problem: DesignProblem,
    settings: OptimiserSettings,
    start: SystemDesign | None,
    mapper: Mapper,
    path: Path | None,
    digest: str,
) -> tuple[list[AscentState], tuple[float, ...], float]:
    """Restarts on a cluster; what a race gave before them; and the CPU seconds that earlier runs spent here.

    Each restart is kept when it has ended: those that had ended before a run was stopped take no steps again, and those
    that stood in the middle, as a run without a cluster leaves them, go on from there.
    """
    held = _Kept(path, digest)

    def send(numbers: Sequence[int], stop: int | None) -> Iterable[AscentState]:
        known = {index: held.states[index] for index in numbers if index in held.states}
        return mapper(_RemoteRestart(problem, settings, start, known, stop), numbers)

    chosen = list(range(settings.restarts))
    raced: tuple[float, ...] = ()
    if settings.race is not None:
        number, steps = settings.race
        for state in send([index for index in range(number) if index not in held.states], steps):
            held.keep_start(state)
        chosen, raced = _race_won(held.states, settings), _values(held.states, steps)
    done = []
    for state in send(chosen, None):
        held.keep(state)
        done.append(state)
    return sorted(done, key=lambda s: s.index), raced, held.spent


def run_here(
    problem: DesignProblem,
    settings: OptimiserSettings,
    objective: Objective,
    start: SystemDesign | None,
    path: Path | None,
    digest: str,
) -> tuple[list[AscentState], tuple[float, ...], float]:
    """Restarts one after the other, resumed and saved; what a race gave; and the CPU seconds of earlier runs."""
    held = _Kept(path, digest)

    def climb(index: int, stop: int | None = None) -> AscentState:
        return ascend(
            problem.system,
            objective,
            held.states.get(index) or _first(problem, settings, start, index),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            stop=stop,
            save=held.keep if stop is None else None,
        )

    chosen = list(range(settings.restarts))
    raced: tuple[float, ...] = ()
    if settings.race is not None:
        number, steps = settings.race
        for index in track(range(number), "Racing starts"):
            if index not in held.states:
                held.keep_start(climb(index, steps))
        chosen, raced = _race_won(held.states, settings), _values(held.states, steps)
    return [climb(index) for index in track(chosen, "Ascending")], raced, held.spent


def _race_won(states: dict[int, AscentState], settings: OptimiserSettings) -> list[int]:
    """Numbers of the starts that go on; those that went on before a run was stopped are among them."""
    assert settings.race is not None
    ahead = {index for index, state in states.items() if state.step > settings.race[1]}
    order = sorted(states, key=lambda index: (index not in ahead, -states[index].best_value, index))
    return sorted(order[: settings.restarts])


def _values(states: dict[int, AscentState], steps: int) -> tuple[float, ...]:
    """Bits per pixel at the end of a race, best first; the same when the run was resumed after it."""
    bits = (state.curve[steps - 1] if steps else state.best_value for state in states.values())
    return tuple(sorted(bits, reverse=True))


def _first(problem: DesignProblem, settings: OptimiserSettings, start: SystemDesign | None, index: int) -> AscentState:
    state = begin(problem.system, settings.seed, index)
    if start is None or index > 0:
        return state
    return AscentState(0, 0, start.parameters, state.first_moment, state.second_moment, start.parameters, -1e300, ())
