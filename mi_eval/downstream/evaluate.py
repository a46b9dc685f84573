"""The same decoder, the same objects and the same seeds for every design."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.design.audit import simulate
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.problem import DesignProblem
from mi_eval.downstream.interface import Decoder, Examples, Setting
from mi_eval.downstream.result import DesignOutcome, Evaluation, SeedOutcome
from mi_eval.objects.prior import Part
from mi_eval.systems import ImagingSystem, SystemDesign

PARTS: tuple[Part, Part, Part] = ("training", "validation", "test")


@dataclass(frozen=True)
class EvaluationSettings:
    """How many frames decoders are trained and tested with.

    Parameters
    ----------
    training_frames, validation_frames, test_frames : int
    seeds : tuple of int
        One training and test each, with objects, noise and starting weights of its own.
    """

    training_frames: int = 1000
    validation_frames: int = 200
    test_frames: int = 500
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        counts = (self.training_frames, self.validation_frames, self.test_frames)
        if min(counts) < 8:
            raise PhotonbitsError(f"{min(counts)} frames", legal="8 or more to train, validate and test with")
        seeds = tuple(self.seeds)
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise PhotonbitsError(f"seeds {seeds}", legal="one or more, different, 0 or more")
        object.__setattr__(self, "seeds", seeds)

    def frames(self, part: Part) -> int:
        """Of a part."""
        return {"training": self.training_frames, "validation": self.validation_frames, "test": self.test_frames}[part]


def part_seed(seed: int, part: Part) -> int:
    """Seed of the simulation of one part: a hash of 63 bits, which no seed of an audit or optimiser is."""
    state = np.random.SeedSequence([seed, 47, PARTS.index(part)]).generate_state(1, np.uint64)
    return int(state[0] >> 1) | 1 << 62


def examples(
    design: SystemDesign, problem: DesignProblem, decoder: Decoder, settings: EvaluationSettings, seed: int
) -> tuple[Examples, Examples, Examples]:
    """Frames and targets to train, validate and test with.

    The same seed gives the same objects for every design. Sets of images give each part other images.
    """
    setting = Setting(design, problem)
    made = [_examples_of(p, setting, decoder, settings, seed) for p in PARTS]
    return made[0], made[1], made[2]


def examples_to_test(
    design: SystemDesign, problem: DesignProblem, decoder: Decoder, settings: EvaluationSettings, seed: int
) -> Examples:
    """Those to test with alone."""
    return _examples_of("test", Setting(design, problem), decoder, settings, seed)


def _examples_of(part: Part, setting: Setting, decoder: Decoder, settings: EvaluationSettings, seed: int) -> Examples:
    seen = simulate(setting.design, setting.problem, settings.frames(part), part_seed(seed, part), part=part)
    frames = np.asarray(seen.frames, dtype=np.float64)
    return Examples(frames, decoder.targets(seen, setting), decoder.target_range(setting.problem), seen)


def evaluate_designs(
    designs: Mapping[str, SystemDesign],
    problem: DesignProblem,
    decoder: Decoder,
    settings: EvaluationSettings | None = None,
) -> Evaluation:
    """Train and test one decoder on the frames of every design.

    Parameters
    ----------
    designs : mapping of str to SystemDesign
        By name. All take objects, and make frames, of the shapes of the problem's system.
    problem : DesignProblem
        Objects, light and sensor.
    decoder : Decoder
    settings : EvaluationSettings, optional

    Notes
    -----
    Objects to train, validate and test with are drawn with seeds of their own, never those of an audit or an
    optimiser. Decoders are trained for each design anew, from the same objects, on one thread and deterministically.

    Raises
    ------
    PhotonbitsError
        If there are no designs, or one does not fit the problem.
    """
    settings = settings or EvaluationSettings()
    if not designs:
        raise PhotonbitsError("no designs", legal="one or more")
    for name, design in designs.items():
        check_fits(design, problem, f"design {name}")
    outcomes = []
    for name, design in track(list(designs.items()), "Training decoders"):
        runs = []
        for seed in settings.seeds:
            training, validation, test = examples(design, problem, decoder, settings, seed)
            runs.append(_run(Setting(design, problem), decoder, training, validation, test, seed))
        outcomes.append(DesignOutcome(name, tuple(runs)))
    plain = {**asdict(settings), "seeds": list(settings.seeds)}
    return Evaluation(
        decoder.to_dict(), decoder.title, decoder.metrics, tuple(outcomes), plain, decoder.target_range(problem)
    )


def _run(
    setting: Setting, decoder: Decoder, training: Examples, validation: Examples, test: Examples, seed: int
) -> SeedOutcome:
    began = time.process_time()
    with deterministic_torch():
        trained = decoder.train(training, validation, setting, seed)
        decoded = trained.decode(test.frames)
        seconds = time.process_time() - began
        per_frame = decoder.score(decoded, test, setting)
    for name, values in per_frame.items():
        if not np.all(np.isfinite(values)):
            raise PhotonbitsError(f"{name} that is not finite", where=decoder.name)
    return SeedOutcome(seed, per_frame, seconds, trained.details)


def check_fits(design: SystemDesign, problem: DesignProblem, where: str | Path) -> None:
    """Raise PhotonbitsError unless a design takes objects, and makes frames, as the problem's system does."""
    found, wanted = _meeting(design.system), _meeting(problem.system)
    if found != wanted:
        raise PhotonbitsError(
            f"a design of {design.system.name} for {found}",
            where=where,
            legal=f"{wanted}, as the configuration's system {problem.system.name}",
            remedy="Give the configuration that the design was made with, or leave the design out",
        )


def _meeting(system: ImagingSystem) -> str:
    """What designs of one comparison share."""
    planes, height, width = system.object_shape
    rows, columns = system.frame_shape
    return f"{system.objects_are} objects of {planes} x {height} x {width} and frames of {rows} x {columns}"
