"""optimise(): from a design problem to an audited design."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.design.ascent import AscentState, start_of
from mi_eval.design.audit import Audit, AuditSettings, audit_design, simulated_light
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.memory import peak_memory_mb
from mi_eval.design.objectives import Objective
from mi_eval.design.problem import DesignProblem
from mi_eval.design.restarts import Mapper, run_here, run_there
from mi_eval.design.result import DesignResult, Restart
from mi_eval.design.settings import OptimiserSettings
from mi_eval.systems import ChosenExposure, SystemDesign

__all__ = ["OptimiserSettings", "optimise", "run_digest"]

_SAME_BITS = 1e-6  # of the value: a symmetry of the objective, beyond rounding errors
_LIGHT_FRAMES = 256  # to check light and full well on where there is no audit
_WELL_FRAMES, _WELL_SHARE = 1024, 5e-4  # half of what may saturate: the check is on other objects
_OTHER_OBJECTS = 1_000_003  # added to the seed for objects that the optimiser does not see


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
        Runs restarts elsewhere; each is in the checkpoint once it has ended.

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
            digest = run_digest(problem, settings, start)
            if mapper is None:
                states, raced, spent = run_here(problem, settings, objective, start, checkpoint, digest)
            else:
                states, raced, spent = run_there(problem, settings, start, mapper, checkpoint, digest)
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
        seconds, peak = spent + time.process_time() - began, peak_memory_mb()
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
        peak_memory_mb=peak,
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
