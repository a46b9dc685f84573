"""Where in k-space to spend the time of a scan: information and reconstruction of head-like slices.

    python scripts/study_mri.py [--quick] [--folder DIR] [--json FILE] [--figures DIR] [--lights 1 0.33 3]
    python scripts/study_mri.py --by-errors [--folder DIR]
    python scripts/study_mri.py --more-frames [--folder DIR]

Slices of 12 x 12 voxels of a scan with two phase-encoded directions, in the time that reads every location once.
Designs spread this time over k-space. The level is the contrast-to-noise ratio of a voxel: rms of the slices about
their mean, over the noise of the evenly read scan. Audits take a whole slice as one patch, since noise and aliases of
undersampled scans reach across it. `--more-frames` audits three scans at the highest level with four times the
slices; `--by-errors` measures by another estimator, which bounds the information by the errors of denoisers.

Seeds are fixed: designed and random 0 to 9 (0 to 2 at the other levels), stopped early 100 to 102, audit 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from _design_results import Downstream, evaluated, main
from _design_study import Plan, StudiedDesign, Study, audited, collect_designs, digest, kept
from calibrate import NoiseModel
from mi_eval.design import DesignProblem
from mi_eval.design.audit import AuditSettings, simulate
from mi_eval.design.optimise import OptimiserSettings, run_digest
from mi_eval.design.second_opinion import second_opinion
from mi_eval.downstream import EvaluationSettings, UNet, Wiener, rank_designs
from mi_eval.downstream.ranking import GivenInformation
from mi_eval.objects import make_prior
from mi_eval.systems import KSpaceSampling, SystemDesign
from mi_eval.torch_extra import torch

RATIOS = (1.0, 0.33, 3.0)
LONGEST_TIME = 8.0


def problem_of(side: int) -> Callable[[float], DesignProblem]:
    """The scan of slices of ``side`` voxels, by contrast-to-noise ratio."""
    evenly = KSpaceSampling((side, side), 1.0, LONGEST_TIME).independent_locations
    system = KSpaceSampling((side, side), float(evenly), LONGEST_TIME)
    slices = make_prior("phantoms", {"ellipses": 6, "largest": 0.8})
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)

    def problem(ratio: float) -> DesignProblem:
        return DesignProblem(system, slices, noise, rms_e=ratio)

    return problem


def rules_of_thumb(problem: DesignProblem) -> dict[str, SystemDesign]:
    """What scanners offer: low resolution read more often, half of the locations, smooth density."""
    system = problem.system
    assert isinstance(system, KSpaceSampling)
    rows, columns = (np.fft.fftfreq(side) for side in system.shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    line = np.arange(system.shape[0])[:, None] % 2 == 0
    scattered = np.random.default_rng(5).random(system.shape)
    scattered = scattered + np.roll(np.flip(scattered), (1, 1), (0, 1))
    wanted = {
        "lowest half": radius < np.quantile(radius, 0.5),
        "lowest quarter": radius < np.quantile(radius, 0.25),
        "every other line": np.broadcast_to(line, system.shape),
        "half at random": scattered <= np.median(scattered),
        "denser in the middle": 1 / (1 + (radius / 0.2) ** 2),
    }
    out = {}
    for name, shape in wanted.items():
        share = np.asarray(shape, dtype=np.float64)
        time = share * (system.scan_time / float((share * system._counts()).sum()))
        out[name] = SystemDesign.of(system, system.project({"time": torch.from_numpy(time)}))
    return out


def full() -> tuple[Study, Sequence[Downstream]]:
    study = Study(
        name="mri",
        title="MRI: where in k-space to spend the time",
        problem=problem_of(12),
        lights=RATIOS,
        light_unit="contrast-to-noise ratio",
        optimiser=OptimiserSettings(objective="full", patch_size=12, objects=1600, steps=80, restarts=1),
        audit=AuditSettings(frames=2000, patch_size=12, seed=1),
        others=rules_of_thumb,
    )
    return study, (
        Downstream(Wiener(), EvaluationSettings(2000, 200, 1000, seeds=(0, 1)), ("psnr_db", "ssim")),
        Downstream(UNet(ssim=False, epochs=12), EvaluationSettings(1000, 200, 1000), ("psnr_db",)),
    )


def quick() -> tuple[Study, Sequence[Downstream]]:
    study = Study(
        name="mri",
        title="MRI: where in k-space to spend the time",
        problem=problem_of(6),
        lights=RATIOS[:1],
        light_unit="contrast-to-noise ratio",
        optimiser=OptimiserSettings(objective="full", patch_size=6, objects=400, steps=30, restarts=1),
        audit=AuditSettings(frames=100, patch_size=6, seed=1),
        plan=Plan(seeds=1, stopped=(2,)),
        others=lambda problem: dict(list(rules_of_thumb(problem).items())[:1]),
    )
    return study, (Downstream(Wiener(ssim=False), EvaluationSettings(200, 50, 100), ("psnr_db",)),)


def more_frames(folder: Path) -> list[dict[str, Any]]:
    """Audits at the highest level, where density models miss most, with four times the slices."""
    study, _ = full()
    light = max(study.lights)
    wanted = ("conventional", "random 1", "designed 0")
    designs = [item for item in collect_designs(study, light, folder) if item.label in wanted]
    more = replace(study.audit, frames=4 * study.audit.frames)
    return audited(replace(study, audit=more), light, designs, folder)


def by_errors(folder: Path, make: Callable[[], tuple[Study, Sequence[Downstream]]] = full) -> None:
    """Rank all scans by the bound from estimation errors instead of the audit by density models."""
    study, downstream = make()
    for light in study.lights:
        designs = collect_designs(study, light, folder)
        known = {item.label: _bound(study, light, item, folder) for item in designs}
        for kind in ("conventional", "random", "designed"):
            values = [known[item.label].value for item in designs if item.kind == kind]
            print(f"{light:>8g}  {kind:<14}{np.mean(values):>9.4f} ({min(values):.4f} to {max(values):.4f}) bit/px")
        for over in ("random", "conventional"):
            pairs = [(f"designed {s}", over if over == "conventional" else f"random {s}") for s in _seeds(designs)]
            better = sum(known[ours].value > known[theirs].value for ours, theirs in pairs)
            print(f"{light:>8g}  designed above {over}: {better} of {len(pairs)}")
        for check in downstream:
            found = rank_designs(known, evaluated(study, light, designs, check, folder))
            share, (low, high) = found.significant, found.spearman_ci95
            print(
                f"{light:>8g}  {found.title}: {share.alike} of {share.pairs} pairs alike; Spearman "
                f"{found.spearman:.2f} ({low:.2f} to {high:.2f})",
                flush=True,
            )


def _seeds(designs: Sequence[StudiedDesign]) -> list[int]:
    return [item.seed for item in designs if item.kind == "designed"]


def _bound(study: Study, light: float, item: StudiedDesign, folder: Path) -> GivenInformation:
    """Upper bound of one scan from estimation errors, on the audit's slices."""
    problem, settings = study.problem(light), study.audit

    def measure() -> dict[str, Any]:
        seen = simulate(item.design, problem, settings.frames, settings.seed)
        return asdict(second_opinion(problem.noise_model, seen.charge_e, settings.patch_size, settings.seed))

    key = digest(run_digest(problem, OptimiserSettings(), item.design), asdict(settings), "errors")
    held = kept(folder / f"bound_{key}.json", measure)
    return GivenInformation(held["upper_bound_bits_per_pixel"], held["std_bits_per_pixel"])


if __name__ == "__main__":
    checks = {"more-frames": more_frames, "by-errors": by_errors}
    main(full, quick, "Where in k-space to spend the time of a scan", apart=checks)
