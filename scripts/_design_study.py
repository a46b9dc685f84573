"""What the four worked studies share: designs under several light levels, their audits, and a folder that keeps them.

A study names its problem at every level of light. `collect_designs` makes the designs: the conventional one, random
ones, ones whose ascent was stopped early, and optimised ones, each with a seed. `audited` measures them all with the
same new objects. Every design and every audit is written when it is ready, and read back by the next run of the same
study with the same settings, so that a study can be run in pieces.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from calibrate.plumbing.atomic import write_bytes_atomically
from mi_eval.design import DesignProblem, audit_design, enumerated_information, optimise
from mi_eval.design.audit import Audit, AuditSettings
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.optimise import OptimiserSettings, run_digest
from mi_eval.systems import SystemDesign

Kind = Literal["conventional", "random", "stopped early", "designed", "other"]


@dataclass(frozen=True)
class Plan:
    """Which designs a level of light gets.

    Parameters
    ----------
    seeds : int
        Designed and random designs each, with seeds from ``first`` on.
    stopped : tuple of int
        Steps after which further ascents are stopped, with seeds from 100 + ``first`` on.
    first : int
    """

    seeds: int = 10
    stopped: tuple[int, ...] = (2, 6, 15)
    first: int = 0


@dataclass(frozen=True)
class Study:
    """One worked study.

    Parameters
    ----------
    name, title : str
    problem : callable
        Light level (a number in the unit of ``light_unit``) to `DesignProblem`.
    lights : tuple of float
        The first is the main one; it and the next ``thorough - 1`` get all designs, the others ``fewer``.
    others : callable, optional
        Problem to designs by name that are neither of these: rules of thumb from the field.
    seen : callable, optional
        Light level to the problem that audits and decoders see, where it is finer than the one that is optimised: the
        same parameters and frames, other objects.
    exact : bool
        Measure by `enumerated_information` instead of an audit by density models, with the audit's frames and seed.
    thorough : int
        How many levels get all designs.
    """

    name: str
    title: str
    problem: Callable[[float], DesignProblem]
    lights: tuple[float, ...]
    light_unit: str
    optimiser: OptimiserSettings
    audit: AuditSettings
    plan: Plan = field(default_factory=Plan)
    fewer: Plan = field(default_factory=lambda: Plan(seeds=3, stopped=(6,)))
    others: Callable[[DesignProblem], dict[str, SystemDesign]] | None = None
    seen: Callable[[float], DesignProblem] | None = None
    exact: bool = False
    thorough: int = 1

    def seen_at(self, light: float) -> DesignProblem:
        """The problem that audits and decoders see."""
        return (self.seen or self.problem)(light)

    def plan_at(self, light: float) -> Plan:
        """The plan of a light level."""
        return self.plan if light in self.lights[: self.thorough] else self.fewer


@dataclass(frozen=True)
class StudiedDesign:
    """A design of a study, with where it came from.

    ``surrogate_bits_per_pixel`` is None for designs that no optimiser touched; ``cpu_seconds`` is the optimiser's.
    """

    kind: Kind
    seed: int
    design: SystemDesign
    surrogate_bits_per_pixel: float | None
    cpu_seconds: float
    name: str = ""

    @property
    def label(self) -> str:
        """Unique within a light level."""
        if self.kind == "other":
            return self.name
        return self.kind if self.kind == "conventional" else f"{self.kind} {self.seed}"


def collect_designs(study: Study, light: float, folder: Path) -> list[StudiedDesign]:
    """The designs of one light level, made where the folder does not hold them."""
    problem, plan = study.problem(light), study.plan_at(light)
    system, seeds = problem.system, range(plan.first, plan.first + plan.seeds)
    with deterministic_torch():
        out = [
            StudiedDesign("conventional", 0, _start(system, "conventional", 0), None, 0.0),
            *(StudiedDesign("random", s, _start(system, "random", s), None, 0.0) for s in seeds),
        ]
    rules = {} if study.others is None else study.others(problem)
    out += [StudiedDesign("other", i, rule, None, 0.0, name) for i, (name, rule) in enumerate(rules.items())]
    wanted: list[tuple[Kind, int, OptimiserSettings]] = [
        ("stopped early", seed, replace(study.optimiser, steps=steps, seed=seed, restarts=1))
        for seed, steps in enumerate(plan.stopped, 100 + plan.first)
    ]
    wanted += [("designed", s, replace(study.optimiser, seed=s)) for s in seeds]
    for kind, seed, settings in wanted:
        # An ascent that is stopped early begins at random: from the conventional design it would hardly leave it.
        start = _start(system, "random", seed) if kind == "stopped early" else None
        out.append(_designed(kind, seed, problem, settings, start, folder))
    seen = study.seen_at(light).system
    return [replace(item, design=SystemDesign(seen, item.design.parameters)) for item in out]


def audited(study: Study, light: float, designs: Sequence[StudiedDesign], folder: Path) -> list[dict[str, Any]]:
    """The audit of every design, `Audit.to_dict` with label, kind and seed; the same new objects for all."""
    problem = study.seen_at(light)
    out = []
    for item in designs:
        exact = ["exact"] if study.exact else []
        key = digest(run_digest(problem, OptimiserSettings(), item.design), asdict(study.audit), *exact)

        def measure(item: StudiedDesign = item) -> dict[str, Any]:
            return _exact(item.design, problem, study.audit) if study.exact else _by_density(item, problem, study.audit)

        entry = kept(folder / f"audit_{key}.json", measure)
        entry.update(label=item.label, kind=item.kind, seed=item.seed, light=light)
        print(f"{light:>8g}  {item.label:<18}{entry['value']:>9.4f} +- {entry['std']:.4f} bit/px", flush=True)
        out.append(entry)
    return out


def _by_density(item: StudiedDesign, problem: DesignProblem, settings: AuditSettings) -> dict[str, Any]:
    audit: Audit = audit_design(item.design, problem, settings)
    return audit.to_dict()


def _exact(design: SystemDesign, problem: DesignProblem, settings: AuditSettings) -> dict[str, Any]:
    """What `Audit.to_dict` and the exact information have in common, and the bits of a frame."""
    began = time.process_time()
    found = enumerated_information(design, problem, frames=settings.frames, seed=settings.seed)
    value, std = found.bits_per_pixel
    return {
        **asdict(found),
        "value": value,
        "std": std,
        "undecided_bits_per_pixel": [0.0, 0.0],
        "cpu_seconds": time.process_time() - began,
    }


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the file holds, or what ``make`` gives, written before it is returned."""
    if path.exists():
        held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return held
    path.parent.mkdir(parents=True, exist_ok=True)
    made = json.loads(json.dumps(make()))
    write_bytes_atomically(path, (json.dumps(made, indent=1, sort_keys=True) + "\n").encode(), overwrite=True)
    return dict(made)


@dataclass(frozen=True)
class Wins:
    """How often the design of a seed carries more audited information than the other design does.

    ``significant`` counts gains above 2 standard errors of the difference, the two audits taken as independent: they
    share their objects, so that errors of the difference are smaller.
    """

    over: str
    seeds: int
    wins: int
    significant: int
    mean_gain_bits_per_pixel: float


def wins(audits: Sequence[dict[str, Any]]) -> list[Wins]:
    """Designed against random (seed by seed) and against conventional."""
    by_kind: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in audits:
        by_kind.setdefault(entry["kind"], {})[entry["seed"]] = entry
    out = []
    for over in ("random", "conventional"):
        gains, errors = [], []
        for seed, ours in sorted(by_kind["designed"].items()):
            theirs = by_kind[over][seed if over == "random" else 0]
            gains.append(ours["value"] - theirs["value"])
            errors.append(float(np.hypot(ours["std"], theirs["std"])))
        gain, error = np.array(gains), np.array(errors)
        out.append(Wins(over, len(gains), int((gain > 0).sum()), int((gain > 2 * error).sum()), float(np.mean(gain))))
    return out


def _start(system: Any, how: Literal["conventional", "random"], seed: int) -> SystemDesign:
    return SystemDesign.of(system, system.project(system.start(how, np.random.default_rng([seed, 77]))))


def _designed(
    kind: Kind,
    seed: int,
    problem: DesignProblem,
    settings: OptimiserSettings,
    start: SystemDesign | None,
    folder: Path,
) -> StudiedDesign:
    path = folder / f"design_{run_digest(problem, settings, start)}.npz"
    notes = path.with_suffix(".json")
    if not (path.exists() and notes.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        began = time.process_time()
        result = optimise(problem, settings, start=start)
        result.after.save(path)
        seconds = time.process_time() - began
        kept(notes, lambda: {"surrogate": result.surrogate_after, "cpu_seconds": seconds})
    held = json.loads(notes.read_text(encoding="utf-8"))
    return StudiedDesign(kind, seed, SystemDesign.load(path), held["surrogate"], held["cpu_seconds"])


def digest(*parts: object) -> str:
    """Short name for what decides a result."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
