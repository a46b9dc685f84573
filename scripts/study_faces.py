"""Which mask in front of a bare sensor tells faces apart: information and recognition in dim light.

    python scripts/study_faces.py [--quick] [--folder DIR] [--json FILE] [--figures DIR] [--lights 30 10 100]
    python scripts/study_faces.py --density [--folder DIR]
    python scripts/study_faces.py --better-taught [--folder DIR]

A gallery of 100 photographs of faces (scikit-image), shifted by up to 2 pixels and mirrored, through a mask of 9 x 9
cells onto 12 x 12 pixels. The level is the light of the mean face through the open mask, electrons per pixel. Two
decoders name the face: a small network, trained on frames, and the ideal observer, who knows gallery and sensor.

The population is finite, so that the audit is exact: it goes through all 5000 views with the sensor's probabilities.
`--density` audits some of the designs by density models as well, which know nothing of the gallery;
`--better-taught` teaches the network with four times the frames.

Seeds are fixed: designed and random 0 to 9 (0 to 2 at the other levels), stopped early 100 to 102, audit 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from _design_results import Downstream, evaluated, main
from _design_study import Plan, Study, audited, collect_designs
from _gallery_observer import IdealObserver
from calibrate import NoiseModel
from mi_eval.design import DesignProblem
from mi_eval.design.audit import AuditSettings
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.downstream import Classifier, EvaluationSettings
from mi_eval.objects import make_prior
from mi_eval.systems import CodedAperture, SystemDesign
from mi_eval.torch_extra import torch

LIGHTS_E = (30.0, 10.0, 100.0)


def problem_at(light_e: float) -> DesignProblem:
    """Faces through a mask of 9 x 9 cells onto a sensor of 1.5 e- read noise."""
    noise = NoiseModel.from_parameters(
        system_gain_dn_per_e=1.0, read_noise_e=1.5, offset_dn=50.0, bit_depth=12, full_well_e=3900.0
    )
    faces = make_prior("gallery", {"name": "faces", "count": 100, "shift_px": 2})
    return DesignProblem(CodedAperture((20, 20), (9, 9), margin_px=4), faces, noise, mean_light_e=light_e)


def small_problem_at(light_e: float) -> DesignProblem:
    """Ten faces through a mask of 3 x 3 cells."""
    faces = make_prior("gallery", {"name": "faces", "count": 10, "shrink": 2})
    return DesignProblem(
        CodedAperture((10, 10), (3, 3), margin_px=1), faces, problem_at(light_e).noise_model, mean_light_e=light_e
    )


def rules_of_thumb(problem: DesignProblem) -> dict[str, SystemDesign]:
    """The open mask, larger pinholes, and cells open at random."""
    system = problem.system
    assert isinstance(system, CodedAperture)
    rows, columns = system.mask_shape
    off = np.maximum(np.abs(np.arange(rows) - rows // 2)[:, None], np.abs(np.arange(columns) - columns // 2)[None, :])
    drawn = np.random.default_rng(5).random(system.mask_shape)
    wanted = {
        "open": np.ones(system.mask_shape, dtype=bool),
        "hole of 3 x 3": off <= 1,
        "hole of 5 x 5": off <= 2,
        "half at random": drawn < 0.5,
        "quarter at random": drawn < 0.25,
    }
    return {
        name: SystemDesign.of(system, {"transmission": torch.from_numpy(mask.astype(np.float64))})
        for name, mask in wanted.items()
    }


def full() -> tuple[Study, Sequence[Downstream]]:
    study = Study(
        name="faces",
        title="Faces through a mask",
        problem=problem_at,
        lights=LIGHTS_E,
        light_unit="light through the open mask (e-/px)",
        optimiser=OptimiserSettings(objective="full", patch_size=12, objects=1600, steps=60, restarts=2),
        audit=AuditSettings(frames=2000, patch_size=12, seed=1),
        others=rules_of_thumb,
        exact=True,
    )
    network = Classifier(epochs=15, batch=64, learning_rate=4e-3, radius_px=4)
    return study, (
        Downstream(network, EvaluationSettings(4000, 500, 2000), ("accuracy",)),
        Downstream(IdealObserver(), EvaluationSettings(8, 8, 1000), ("accuracy",)),
    )


def quick() -> tuple[Study, Sequence[Downstream]]:
    study = Study(
        name="faces",
        title="Faces through a mask",
        problem=small_problem_at,
        lights=LIGHTS_E[:1],
        light_unit="light through the open mask (e-/px)",
        optimiser=OptimiserSettings(objective="full", patch_size=6, objects=400, steps=20, restarts=1),
        audit=AuditSettings(frames=100, patch_size=8, seed=1),
        plan=Plan(seeds=1, stopped=(2,)),
        exact=True,
        others=lambda problem: {"open": rules_of_thumb(problem)["open"]},
    )
    network = Classifier(channels=8, epochs=3, batch=64, radius_px=2)
    return study, (
        Downstream(network, EvaluationSettings(300, 100, 200), ("accuracy",)),
        Downstream(IdealObserver(), EvaluationSettings(8, 8, 200), ("accuracy",)),
    )


def by_density(folder: Path) -> list[dict[str, Any]]:
    """Audits by density models of every other rule of thumb, random and designed mask at the main level."""
    study, _ = full()
    light = study.lights[0]
    designs = [item for item in collect_designs(study, light, folder) if item.seed % 2 == 0 and item.seed < 6]
    return audited(replace(study, exact=False), light, designs, folder)


def better_taught(folder: Path) -> None:
    """The network behind the open mask and two designed ones, taught with four times the frames."""
    study, downstream = full()
    light = study.lights[0]
    wanted = ("open", "designed 0", "designed 2")
    designs = [item for item in collect_designs(study, light, folder) if item.label in wanted]
    settings = replace(downstream[0].settings, training_frames=4 * downstream[0].settings.training_frames)
    found = evaluated(study, light, designs, replace(downstream[0], settings=settings), folder)
    for name, outcome in found.outcomes("accuracy").items():
        print(f"{light:>8g}  {name:<18}{outcome.value:>9.3f} +- {outcome.std:.3f}", flush=True)


if __name__ == "__main__":
    checks = {"density": by_density, "better-taught": better_taught}
    main(full, quick, "Which mask in front of a bare sensor tells faces apart", apart=checks)
