"""optimise(): from a design problem to an audited design."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.design.ascent import SAVE_EVERY, AscentState, ascend, begin, start_of
from mi_eval.design.audit import Audit, AuditSettings, audit_design, simulated_light
from mi_eval.design.checkpoint import Checkpoint
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.objectives import Objective, make_objective
from mi_eval.design.problem import DesignProblem
from mi_eval.design.result import DesignResult, Restart
from mi_eval.systems import ChosenExposure, SystemDesign

#: Runs one function on every number, in any order; the cluster's map, or the built-in one.
Mapper = Callable[[Callable[[int], AscentState], Sequence[int]], Iterable[AscentState]]

#: A race takes one in so many of the steps. In 48 starts of a mask the ascent that won was first or second after that
#: share in four seeds of four, where the starting points themselves say nothing.
_RACE_SHARE = 8
_SAVE_STARTS = 16  # starts of a race between checkpoints
_SAME_BITS = 1e-6  # of the value: a symmetry of the objective, beyond rounding errors
_LIGHT_FRAMES = 256  # to check light and full well on where there is no audit
_WELL_FRAMES, _WELL_SHARE = 1024, 5e-4  # half of what may saturate: the check is on other objects
_OTHER_OBJECTS = 1_000_003  # added to the seed for objects that the optimiser does not see


@dataclass(frozen=True)
class OptimiserSettings:
    """How a design is looked for.

    Parameters
    ----------
    objective : {"spectral", "full", "density", "infonce"}
    steps, restarts : int
        Steps of each ascent; the first restart begins at the conventional design, the others at random.
    starts : int or None
        Starts, ``restarts`` or more, that ascend for an eighth of the steps; the ``restarts`` best of them go on. For
        objectives whose values do not scatter. None: all starts go on.
    learning_rate : float
        Times the rate of each parameter: the size of the first step.
    objects : int
        Objects that the surrogate is measured on.
    patch_size : int
        Of all objectives but the spectral one.
    refit_every : int
        Steps between two fits of the density objective's density.
    seed : int
    """

    objective: str = "spectral"
    steps: int = 300
    restarts: int = 3
    learning_rate: float = 1.0
    objects: int = 512
    patch_size: int = 8
    refit_every: int = 5
    seed: int = 0
    starts: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1 or not self.learning_rate > 0 or self.seed < 0:
            raise PhotonbitsError(
                f"steps {self.steps}, restarts {self.restarts}, learning_rate {self.learning_rate}, seed {self.seed}",
                legal="steps 0 or more, restarts 1 or more, learning_rate above 0, seed 0 or more",
            )
        if self.starts is not None and self.starts < self.restarts:
            raise PhotonbitsError(
                f"starts {self.starts} with restarts {self.restarts}", legal="as many starts as restarts, or more"
            )
        if self.refit_every < 1 or SAVE_EVERY % self.refit_every:
            raise PhotonbitsError(
                f"refit_every {self.refit_every}", legal=f"a divisor of {SAVE_EVERY}, the steps between checkpoints"
            )

    @property
    def race(self) -> tuple[int, int] | None:
        """Starts that are raced, and the steps that each takes before the best go on; None where all go on."""
        if self.starts is None or self.starts == self.restarts:
            return None
        return self.starts, min(self.steps, max(1, self.steps // _RACE_SHARE))

    def objective_for(self, problem: DesignProblem, seed: int) -> Objective:
        """The surrogate on the objects of a seed."""
        return make_objective(
            problem,
            self.objective,
            n_objects=self.objects,
            seed=seed,
            patch_size=self.patch_size,
            refit_every=self.refit_every,
        )


def optimise(
    problem: DesignProblem,
    settings: OptimiserSettings | None = None,
    *,
    audit: AuditSettings | None = None,
    start: SystemDesign | None = None,
    checkpoint: Path | None = None,
    mapper: Mapper | None = None,
) -> DesignResult:
    """Design a system that carries more information, and audit it beside the conventional one.

    Parameters
    ----------
    problem : DesignProblem
    settings : OptimiserSettings, optional
    audit : AuditSettings or None
        None leaves the audit out.
    start : SystemDesign, optional
        Stands in for the conventional design: with ``steps=0`` it is re-scored as it is.
    checkpoint : Path, optional
        File that a stopped run is resumed from, and that this run leaves.
    mapper : callable, optional
        Runs restarts elsewhere; without checkpoints.

    Notes
    -----
    The same problem, settings and versions give the same bits on one machine: one thread, deterministic
    algorithms, seeded generators of their own. The caller's torch settings come back afterwards.

    Raises
    ------
    PhotonbitsError
        If settings and problem do not fit, or a checkpoint belongs to another run.
    """
    settings = settings or OptimiserSettings()
    system = problem.system
    if start is not None:
        start = problem.adopted(start)
    if start is not None and start.system != system:
        raise PhotonbitsError("a start of another system", legal="the same name and fields")
    if audit is not None:
        audit.patch_of(system)  # before the ascent, not after it
    began = time.process_time()
    with deterministic_torch():
        objective = settings.objective_for(problem, settings.seed)
        before = start or SystemDesign.of(system, system.start("conventional", _no_rng()))
        spent = 0.0
        raced: tuple[float, ...] = ()
        if start is not None and settings.steps == 0:
            states = [_as_it_is(start, objective)]
        else:
            if settings.race is not None and objective.noisy:
                raise PhotonbitsError(
                    f"starts {settings.starts} with objective {objective.name}",
                    legal="objectives spectral and full: values of the others scatter from step to step",
                )
            if mapper is None:
                states, raced, spent = _here(problem, settings, objective, start, checkpoint)
            elif checkpoint is None:
                states, raced = _there(problem, settings, start, mapper)
            else:
                raise PhotonbitsError("checkpoints of restarts that run on a cluster", legal="one or the other")
        best = max(states, key=lambda s: s.best_value)
        after = SystemDesign(system, best.best)
        if best.step > 0:
            after = _within_well(_aimed(after, objective), problem, settings.seed)
        values = [_bits(objective, design) for design in (before, after)]
        if objective.noisy:  # reports are on new objects already
            values += values
        else:
            other = settings.objective_for(problem, settings.seed + _OTHER_OBJECTS)
            values += [_bits(other, design) for design in (before, after)]
        seconds = spent + time.process_time() - began
    audits: list[Audit | None] = [None, None]
    if audit is not None:
        audits = [audit_design(design, problem, audit) for design in track((before, after), "Auditing designs")]
    light = simulated_light(after, problem, _LIGHT_FRAMES, settings.seed) if audits[1] is None else audits[1].light
    return DesignResult(
        problem=problem,
        before=before,
        after=after,
        surrogate_before=values[0],
        surrogate_after=values[1],
        surrogate_cap=objective.cap_bits_per_pixel,
        fresh_before=values[2],
        fresh_after=values[3],
        audit_before=audits[0],
        audit_after=audits[1],
        light=light,
        restarts=tuple(
            Restart(
                s.index, "given" if start is not None and s.index == 0 else start_of(s.index), s.best_value, s.curve
            )
            for s in states
        ),
        raced_bits_per_pixel=raced,
        settings=asdict(settings),
        cpu_seconds=seconds,
        peak_memory_mb=_peak_memory_mb(),
    )


def run_digest(problem: DesignProblem, settings: OptimiserSettings, start: SystemDesign | None) -> str:
    """SHA-256 of everything that decides a run."""
    content: dict[str, Any] = {
        "system": [problem.system.name, problem.system.constants()],
        "objects": problem.objects.to_dict(),
        "light": [problem.mean_light_e, problem.rms_e, problem.full_well_e, problem.exposure_s],
        "sky": [problem.mean_flux_jy, problem.rms_jy],
        "noise": problem.noise_model.document.model_dump(mode="json"),
        "settings": asdict(settings),
        "start": None if start is None else hashlib.sha256(start.to_bytes()).hexdigest(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


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


def _there(
    problem: DesignProblem, settings: OptimiserSettings, start: SystemDesign | None, mapper: Mapper
) -> tuple[list[AscentState], tuple[float, ...]]:
    """Restarts on a cluster, and what a race gave before them."""
    chosen = list(range(settings.restarts))
    raced: tuple[float, ...] = ()
    states: dict[int, AscentState] = {}
    if settings.race is not None:
        number, steps = settings.race
        states = {s.index: s for s in mapper(_RemoteRestart(problem, settings, start, {}, steps), range(number))}
        chosen, raced = _race_won(states, settings), _values(states, steps)
        states = {index: states[index] for index in chosen}
    done = mapper(_RemoteRestart(problem, settings, start, states, None), chosen)
    return sorted(done, key=lambda s: s.index), raced


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


def _here(
    problem: DesignProblem,
    settings: OptimiserSettings,
    objective: Objective,
    start: SystemDesign | None,
    path: Path | None,
) -> tuple[list[AscentState], tuple[float, ...], float]:
    """Restarts one after the other, resumed and saved; what a race gave; and the CPU seconds of earlier runs."""
    began = time.process_time()
    held = Checkpoint(run_digest(problem, settings, start), {})
    if path is not None:
        held = Checkpoint.load(path, held.digest)
    spent = held.cpu_seconds

    def keep(state: AscentState, write: bool = True) -> None:
        nonlocal held
        held = held.with_state(state, spent + time.process_time() - began)
        if path is not None and write:
            held.save(path)

    def climb(index: int, stop: int | None = None) -> AscentState:
        return ascend(
            problem.system,
            objective,
            held.states.get(index) or _first(problem, settings, start, index),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            stop=stop,
            save=keep if stop is None else None,
        )

    chosen = list(range(settings.restarts))
    raced: tuple[float, ...] = ()
    if settings.race is not None:
        number, steps = settings.race
        for index in track(range(number), "Racing starts"):
            if index not in held.states:
                keep(climb(index, steps), write=index % _SAVE_STARTS == _SAVE_STARTS - 1)
        chosen, raced = _race_won(held.states, settings), _values(held.states, steps)
    return [climb(index) for index in track(chosen, "Ascending")], raced, spent


def _first(problem: DesignProblem, settings: OptimiserSettings, start: SystemDesign | None, index: int) -> AscentState:
    state = begin(problem.system, settings.seed, index)
    if start is None or index > 0:
        return state
    return AscentState(0, 0, start.parameters, state.first_moment, state.second_moment, start.parameters, -1e300, ())


def _aimed(design: SystemDesign, objective: Objective) -> SystemDesign:
    """The design in the middle of its field, where the objective cannot tell that place from the one that was found."""
    moved = SystemDesign.of(design.system, design.system.centred(design.tensors()))
    if objective.noisy or moved.to_bytes() == design.to_bytes():
        return design
    found, there = _bits(objective, design), _bits(objective, moved)
    return moved if abs(there - found) <= _SAME_BITS * abs(found) else design


def _within_well(design: SystemDesign, problem: DesignProblem, seed: int) -> SystemDesign:
    """The design with a chosen exposure short enough for the full well; the objective only leans against it.

    Light and dark charge both go with the exposure, so the factor is exact.
    """
    system, well = design.system, problem.full_well_e
    if not isinstance(system, ChosenExposure) or well is None:
        return design
    high = simulated_light(design, problem, _WELL_FRAMES, seed + _OTHER_OBJECTS, above=_WELL_SHARE).high_charge_e
    if high <= well:
        return design
    return SystemDesign.of(system, system.shortened(design.tensors(), well / high))


def _as_it_is(start: SystemDesign, objective: Objective) -> AscentState:
    zeros: dict[str, Any] = {}
    return AscentState(0, 0, start.parameters, zeros, zeros, start.parameters, _bits(objective, start), ())


def _bits(objective: Objective, design: SystemDesign) -> float:
    return objective.report(design.tensors())


def _no_rng() -> Any:
    import numpy as np

    return np.random.default_rng(0)


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)
