"""Finished designs beside optics that were trained together with their decoder: result, seconds and peak memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import set_quiet, track
from mi_eval.design.memory import peak_memory_mb
from mi_eval.design.problem import DesignProblem
from mi_eval.downstream.end_to_end import EndToEndSettings, train_end_to_end
from mi_eval.downstream.evaluate import EvaluationSettings, check_fits, examples_to_test
from mi_eval.downstream.interface import FloatArray, Setting
from mi_eval.downstream.result import DesignOutcome, Difference, Evaluation, MetricOutcome, SeedOutcome
from mi_eval.systems import SystemDesign

#: Name of the optics that are trained with their decoder, among those of the given designs.
TOGETHER = "trained together"


@dataclass(frozen=True)
class Cost:
    """CPU seconds, and the most memory that the process held, MiB; for trainings also what it held before."""

    cpu_seconds: float
    peak_memory_mb: float
    before_mb: float | None = None


@dataclass(frozen=True)
class _Task:
    """One training: of a decoder for a given design, or of optics and decoder; travels to its process whole."""

    problem: DesignProblem
    settings: EndToEndSettings
    evaluation: EvaluationSettings
    given: SystemDesign | None


@dataclass(frozen=True)
class _Done:
    design: SystemDesign
    per_frame: dict[str, FloatArray]
    details: dict[str, Any]
    cost: Cost


#: Runs trainings and gives their results in order.
Runner = Callable[[Callable[[_Task], _Done], list[_Task]], Iterable[_Done]]


def in_processes(function: Callable[[_Task], _Done], tasks: list[_Task]) -> Iterable[_Done]:
    """Each training in a new process of its own, one after the other, so that its peak memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        yield from pool.map(function, tasks)


@dataclass(frozen=True)
class Standing:
    """A design beside the joint training, by the main metric.

    Parameters
    ----------
    name : str
    result : MetricOutcome
    less_together : Difference or None
        Result less that of the joint training, of paired test objects; None for the joint training itself.
    design : Cost or None
        Of the ascent on information, where it is known.
    training : Cost
        Of the decoder, or of optics and decoder: mean seconds and largest memory over seeds.
    epochs : float
        Mean over seeds.
    """

    name: str
    result: MetricOutcome
    less_together: Difference | None
    design: Cost | None
    training: Cost
    epochs: float

    @property
    def whole(self) -> Cost | None:
        """Seconds of design and training, and the larger of their peaks; None where the design's are not known."""
        if self.name == TOGETHER:
            return self.training
        if self.design is None:
            return None
        seconds = self.design.cpu_seconds + self.training.cpu_seconds
        return Cost(seconds, max(self.design.peak_memory_mb, self.training.peak_memory_mb))


@dataclass(frozen=True)
class SideBySide:
    """The comparison.

    Parameters
    ----------
    evaluation : Evaluation
        Of the joint training, and then of all given designs; one decoder, trained in one way, on the same objects.
    costs : dict of str to tuple of Cost
        Of the trainings, by seed.
    design_costs : dict of str to Cost
        Of the given designs, as far as known.
    together : dict of int to SystemDesign
        The optics of the joint training, by seed.
    settings : dict
        Of the training.
    """

    evaluation: Evaluation
    costs: dict[str, tuple[Cost, ...]]
    design_costs: dict[str, Cost]
    together: dict[int, SystemDesign]
    settings: dict[str, Any]

    def standings(self) -> tuple[Standing, ...]:
        """All designs, the joint training first."""
        found = []
        for design in self.evaluation.designs:
            name, costs = design.name, self.costs[design.name]
            training = Cost(
                float(np.mean([cost.cpu_seconds for cost in costs])),
                max(cost.peak_memory_mb for cost in costs),
                max(cost.before_mb or 0.0 for cost in costs),
            )
            apart = None if name == TOGETHER else self.evaluation.difference(name, TOGETHER)
            epochs = float(np.mean([seed.details["epochs"] for seed in design.seeds]))
            result = design.outcome(self.evaluation.metric())
            found.append(Standing(name, result, apart, self.design_costs.get(name), training, epochs))
        return tuple(found)

    def to_dict(self, *, timed: bool = True) -> dict[str, Any]:
        """Plain values for JSON."""
        standings = self.standings()
        base = standings[0].training
        content = self.evaluation.to_dict(timed=False)
        entries = {entry["name"]: entry for entry in content.pop("designs")}
        listed = []
        for one in standings:
            entry = entries[one.name]
            apart, whole = one.less_together, one.whole
            entry["less_together"] = None if apart is None else {"value": apart.value, "std": apart.std}
            if timed:
                entry["cost"] = {
                    "design": None if one.design is None else _plain(one.design),
                    "training": [_plain(cost) for cost in self.costs[one.name]],
                    "whole": None if whole is None else _plain(whole),
                    "seconds_over_together": None if whole is None else whole.cpu_seconds / base.cpu_seconds,
                    "memory_over_together": None if whole is None else whole.peak_memory_mb / base.peak_memory_mb,
                }
            listed.append(entry)
        return {**content, "joint_training": dict(self.settings), "designs": listed}


def _plain(cost: Cost) -> dict[str, float]:
    return {name: value for name, value in asdict(cost).items() if value is not None}


def compare_end_to_end(
    designs: Mapping[str, SystemDesign],
    problem: DesignProblem,
    settings: EndToEndSettings | None = None,
    evaluation: EvaluationSettings | None = None,
    *,
    design_costs: Mapping[str, Cost] | None = None,
    runner: Runner | None = None,
) -> SideBySide:
    """Train optics and decoder together, and the same decoder on finished designs, and test all on the same objects.

    The decoder of a given design is trained by the same rule as the joint training, with the optics held: noise is
    drawn anew in every epoch, and it stops when validation has not improved for ``patience`` epochs.

    Parameters
    ----------
    designs : mapping of str to SystemDesign
    problem : DesignProblem
    settings : EndToEndSettings, optional
        Numbers of objects and the seed are those of ``evaluation``.
    evaluation : EvaluationSettings, optional
    design_costs : mapping of str to Cost, optional
        What the designs themselves took.
    runner : callable, optional
        By default a new process for every training. They import the main module: call this from a script under
        ``if __name__ == "__main__"``.

    Raises
    ------
    PhotonbitsError
        If there are no designs, or one does not fit the problem.
    """
    settings, evaluation = settings or EndToEndSettings(), evaluation or EvaluationSettings()
    if not designs or TOGETHER in designs:
        raise PhotonbitsError(f"designs {', '.join(designs) or 'none'}", legal=f"one or more, none named {TOGETHER!r}")
    for name, design in designs.items():
        check_fits(design, problem, f"design {name}")
    settings = replace(
        settings, training_objects=evaluation.training_frames, validation_objects=evaluation.validation_frames
    )
    asked: list[tuple[str, int]] = []
    tasks: list[_Task] = []
    for seed in evaluation.seeds:
        one, own = replace(evaluation, seeds=(seed,)), replace(settings, seed=seed)
        asked.append((TOGETHER, seed))
        tasks.append(_Task(problem, own, one, None))
        for name, design in designs.items():
            given = problem.adopted(design)
            asked.append((name, seed))
            tasks.append(_Task(problem.for_system(given.system), replace(own, design_rate=0.0), one, given))
    done = list(track((runner or in_processes)(_train, tasks), "Training beside the joint training", len(tasks)))
    by_name: dict[str, list[tuple[int, _Done]]] = {}
    for (name, seed), trained in zip(asked, done, strict=True):
        by_name.setdefault(name, []).append((seed, trained))
    outcomes = tuple(
        DesignOutcome(
            name, tuple(SeedOutcome(seed, run.per_frame, run.cost.cpu_seconds, run.details) for seed, run in runs)
        )
        for name, runs in by_name.items()
    )
    decoder = settings.decoder
    return SideBySide(
        evaluation=Evaluation(
            decoder.to_dict(),
            decoder.title,
            decoder.metrics,
            outcomes,
            {**asdict(evaluation), "seeds": list(evaluation.seeds)},
            decoder.target_range(problem),
        ),
        costs={name: tuple(run.cost for _, run in runs) for name, runs in by_name.items()},
        design_costs=dict(design_costs or {}),
        together={seed: run.design for seed, run in by_name[TOGETHER]},
        settings={
            "most_epochs": settings.most_epochs,
            "patience": settings.patience,
            "design_rate": settings.design_rate,
        },
    )


def _train(task: _Task) -> _Done:
    if multiprocessing.parent_process() is not None:
        set_quiet(True)  # the bar is that of the process which waits
    before = peak_memory_mb()
    found = train_end_to_end(task.problem, task.settings, start=task.given)
    decoder, (seed,) = task.settings.decoder, task.evaluation.seeds
    test = examples_to_test(found.design, task.problem, decoder, task.evaluation, seed)
    per_frame = decoder.score(found.trained.decode(test.frames), test, Setting(found.design, task.problem))
    details = {"epochs": len(found.history), "stopped": found.stopped, "validation_error": min(found.history)}
    return _Done(found.design, per_frame, details, Cost(found.cpu_seconds, peak_memory_mb(), before))
