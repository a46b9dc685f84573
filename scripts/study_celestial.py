"""Where to put six radio telescopes: information about black-hole-like rings and about star clusters.

    python scripts/study_celestial.py --objects rings [--quick] [--folder DIR] [--json FILE] [--figures DIR]
    python scripts/study_celestial.py --objects stars

A snapshot of visibilities at 0.87 mm by six telescopes whose places, seen from the source, lie on a disc as wide as the
Earth. Conventional is a Y of three arms. Two populations: rings with one side brighter, and clusters of eight point
sources on average. Light is the total flux of the mean source.

A frame holds all visibilities over their noise, and is one patch of the audit. The decoder is the linear estimate of
the sky from the whole frame, the same for every design.

Seeds are fixed: designed and random 0 to 9 (0 and 1 at the other levels), stopped early 100 to 102, audit 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from _design_results import Downstream, Level, main
from _design_study import Plan, StudiedDesign, Study
from calibrate import NoiseModel
from calibrate.plumbing import figures as style
from mi_eval.design import DesignProblem
from mi_eval.design.audit import AuditSettings
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.downstream import EvaluationSettings, Setting, WholeFrame
from mi_eval.downstream.evaluate import examples
from mi_eval.objects import make_prior
from mi_eval.objects.prior import ObjectPrior
from mi_eval.systems import Interferometer, SystemDesign
from mi_eval.torch_extra import torch

FLUXES_JY = {"rings": (1.2, 0.3, 4.8), "stars": (0.3, 0.1, 1.0)}
SIDES = {"rings": 24, "stars": 12}
ANTENNAS = 6
EARTH_M = 1.2e7
CELL_ARCSEC = 4e-6


def sky(objects: str) -> ObjectPrior:
    """Rings about 40 micro-arcseconds across in a field of 96, or clusters of 48."""
    if objects == "rings":
        return make_prior("black_hole", {"radius_px": 5.0, "width": 0.3, "wander_px": 4.0})
    return make_prior("stars", {"per_frame": 8.0})


def problem_of(objects: str, antennas: int = ANTENNAS) -> Callable[[float], DesignProblem]:
    """The array, by total flux."""
    system = Interferometer(
        shape=(SIDES[objects],) * 2,
        cell_arcsec=CELL_ARCSEC,
        wavelength_m=0.87e-3,
        antennas=antennas,
        largest_baseline_m=EARTH_M,
        closest_spacing_m=3e5,
        system_temperature_k=150.0,
        effective_area_m2=75.0,
        bandwidth_hz=2e9,
        integration_s=10.0,
        efficiency=0.88,
    )
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)

    def problem(flux_jy: float) -> DesignProblem:
        return DesignProblem(system, sky(objects), noise, mean_flux_jy=flux_jy)

    return problem


def plans_in_use(problem: DesignProblem) -> dict[str, SystemDesign]:
    """A circle, a grid, and a Y of half the size."""
    system = problem.system
    assert isinstance(system, Interferometer)
    reach = system.largest_baseline_m / 2
    angle = 2 * np.pi * np.arange(system.antennas) / system.antennas
    circle = reach * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    side = int(np.ceil(np.sqrt(system.antennas)))
    axis = np.linspace(-0.7, 0.7, side) * reach
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)[: system.antennas]
    arms = system.start("conventional", np.random.default_rng(0))["positions"].numpy()
    plans = {"circle": circle, "grid": grid, "half of a Y": arms / 2}
    return {
        name: SystemDesign.of(system, system.project({"positions": torch.from_numpy(np.ascontiguousarray(place))}))
        for name, place in plans.items()
    }


def full(objects: str) -> tuple[Study, Sequence[Downstream]]:
    """The study as reported."""
    study = Study(
        name=f"celestial_{objects}",
        title=f"Celestial imaging: an array for {objects}",
        problem=problem_of(objects),
        lights=FLUXES_JY[objects],
        light_unit="flux (Jy)",
        optimiser=OptimiserSettings(objective="full", objects=1000, steps=80, restarts=4),
        audit=AuditSettings(frames=1500, seed=1),
        fewer=Plan(seeds=2, stopped=()),
        others=plans_in_use,
    )
    return study, (Downstream(WholeFrame(), EvaluationSettings(2000, 500, 1000), ("psnr_db", "ssim")),)


def quick(objects: str) -> tuple[Study, Sequence[Downstream]]:
    """Four antennas, one level, one seed, few frames."""
    study, _ = full(objects)
    small = replace(
        study,
        problem=problem_of(objects, 4),
        lights=study.lights[:1],
        optimiser=replace(study.optimiser, objects=400, steps=20, restarts=1),
        audit=AuditSettings(frames=200, seed=1),
        plan=Plan(seeds=1, stopped=()),
    )
    return small, (Downstream(WholeFrame(ssim=False), EvaluationSettings(300, 60, 100), ("psnr_db",)),)


def plans_figure(designs: Sequence[StudiedDesign]) -> Figure:
    """Telescopes on the disc, and the baselines that they make, both ways round."""
    chosen = _shown(designs)
    with style.figure_style():
        figure = style.new_figure(360, 640)
        axes = figure.subplots(2, len(chosen), sharex="row", sharey="row")
        for (ground, baselines), item in zip(axes.T, chosen, strict=True):
            system = item.design.system
            assert isinstance(system, Interferometer)
            place = item.design.tensors()["positions"]
            uv = system.uv_of(place).reshape(-1, 2).numpy() / 1e9
            ground.plot(*(place.numpy().T / 1e6), "o", color=style.BLUE, markersize=5)
            baselines.plot(*np.concatenate([uv, -uv]).T, ".", color=style.ORANGE, markersize=4)
            ground.set_title(item.label, fontsize=9)
            for panel in (ground, baselines):
                panel.set_aspect("equal")
        axes[0, 0].set_ylabel("place (1000 km)", fontsize=9)
        axes[1, 0].set_ylabel("v (10⁹ wavelengths)", fontsize=9)
    return figure


def skies_figure(level: Level, problem: DesignProblem) -> Figure:
    """Five skies, and what the decoder makes of them through each array."""
    chosen = _shown(level.designs)[:3]
    rows: list[tuple[str, Any]] = []
    for item in chosen:
        setting = Setting(item.design, problem)
        training, validation, test = examples(item.design, problem, WholeFrame(ssim=False), EvaluationSettings(), 1)
        found = WholeFrame(ssim=False).train(training, validation, setting, 1).decode(test.frames[:5])
        if not rows:
            rows.append(("sky", test.targets[:5, 0]))
        rows.append((item.label, found[:, 0]))
    with style.figure_style():
        figure = style.new_figure(480, 640)
        axes = figure.subplots(len(rows), 5)
        for places, (label, skies) in zip(axes, rows, strict=True):
            for place, sky_map, true in zip(places, skies, rows[0][1], strict=True):
                place.imshow(sky_map, cmap="magma", vmin=0, vmax=float(true.max()))
                place.set_xticks([])
                place.set_yticks([])
            places[0].set_ylabel(label, fontsize=9)
    return figure


def _shown(designs: Sequence[StudiedDesign]) -> list[StudiedDesign]:
    names = ("conventional", "random 0", "designed 0", "designed 1")
    return [item for name in names for item in designs if item.label == name]


def run(arguments: Sequence[str]) -> list[Level]:
    """Command line: ``--objects`` chooses the population, `_design_results.main` takes the rest."""
    rest, objects = list(arguments), "rings"
    if "--objects" in rest:
        at = rest.index("--objects")
        objects = rest[at + 1]
        del rest[at : at + 2]
    levels = main(partial(full, objects), partial(quick, objects), __doc__.splitlines()[0], rest)
    if "--figures" in rest:
        folder, study = Path(rest[rest.index("--figures") + 1]), (quick if "--quick" in rest else full)(objects)[0]
        style.save_png(plans_figure(levels[0].designs), folder / f"{study.name}_plans.png")
        style.save_png(skies_figure(levels[0], study.problem(levels[0].light)), folder / f"{study.name}_skies.png")
    return levels


if __name__ == "__main__":
    run(sys.argv[1:])
