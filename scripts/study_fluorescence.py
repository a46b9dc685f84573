"""A mask in the pupil of a fluorescence microscope, for emitters in depth: information and localisation.

    python scripts/study_fluorescence.py [--quick] [--folder DIR] [--json FILE] [--figures DIR] [--density]

One emitter in each frame of 10 x 10 pixels, anywhere in a depth of 1.6 um and within half a pixel of the middle (frames
are cut round the brightest one). A clear pupil shows an emitter above focus as it shows one below. Designs are Zernike
masks. Light is the number of photons that the emitter sends to the sensor.

Information is exact: the population is finite, and `enumerated_information` needs no density model. The optimiser sees
9 depths, audits and the decoder 21. The decoder is the posterior mean, the same for every design. `--density` adds what
an audit by density models would have said.

Seeds are fixed: designed and random 0 to 9 at 300 and 1000 photons (0 to 2 at 100), stopped early 100 to 102 (100),
audit 1.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from _design_results import Downstream, Level, main
from _design_study import Plan, StudiedDesign, Study
from _localise import PosteriorMean, cramer_rao_nm
from calibrate import NoiseModel
from calibrate.plumbing import figures as style
from mi_eval.design import DesignProblem, audit_design, enumerated_information
from mi_eval.design.audit import AuditSettings
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.downstream import EvaluationSettings
from mi_eval.objects import make_prior
from mi_eval.systems import PhaseMask, SystemDesign
from mi_eval.torch_extra import torch

PHOTONS = (300.0, 1000.0, 100.0)
DEPTH_UM = 0.8  # above and below focus
BACKGROUND = 0.005  # of the emitter's light, in every pixel
SIDE, MARGIN = 18, 4
SHOWN_UM = (-0.8, -0.4, 0.0, 0.4, 0.8)


def problem_of(depths: int, steps_per_px: int = 8) -> Callable[[float], DesignProblem]:
    """The microscope with this many depths, by photons of an emitter."""
    system = PhaseMask(
        (SIDE, SIDE),
        pixel_um=0.16,
        wavelength_um=0.6,
        numerical_aperture=1.2,
        largest_phase_waves=0.5,
        modes=12,
        depths_um=tuple(np.linspace(-DEPTH_UM, DEPTH_UM, depths).round(6).tolist()),
        margin_px=MARGIN,
    )
    emitter = make_prior("emitter", {"wander_px": 0.5, "steps_per_px": steps_per_px, "background": BACKGROUND})
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=2.0, read_noise_e=1.4, offset_dn=100.0, bit_depth=16)

    def problem(photons: float) -> DesignProblem:
        light = photons * (1 / SIDE**2 + BACKGROUND)
        return DesignProblem(system, emitter, sensor, mean_light_e=light, full_well_e=30_000.0)

    return problem


def masks_in_use(problem: DesignProblem) -> dict[str, SystemDesign]:
    """What microscopes have: cylindrical lenses of three strengths, coma, focus moved to a side."""
    system = problem.system
    assert isinstance(system, PhaseMask)
    wanted = {
        "cylindrical lens, 0.05 waves": {6: 0.05},
        "cylindrical lens, 0.1 waves": {6: 0.1},
        "cylindrical lens, 0.2 waves": {6: 0.2},
        "coma, 0.15 waves": {8: 0.15},
        "focus moved, 0.15 waves": {4: 0.15},
    }
    out = {}
    for name, modes in wanted.items():
        waves = torch.zeros(system.modes, dtype=torch.float64)
        for noll, value in modes.items():
            waves[noll - 4] = value
        out[name] = SystemDesign.of(system, {"zernike_waves": waves})
    return out


def full() -> tuple[Study, Sequence[Downstream]]:
    """The study as reported."""
    study = Study(
        name="fluorescence",
        title="Fluorescence microscopy: a mask for emitters in depth",
        problem=problem_of(9),
        seen=problem_of(21),
        exact=True,
        thorough=2,
        lights=PHOTONS,
        light_unit="photons",
        optimiser=OptimiserSettings(objective="full", patch_size=10, objects=1000, steps=60, restarts=1),
        audit=AuditSettings(frames=1701, seed=1),
        others=masks_in_use,
    )
    return study, (Downstream(PosteriorMean(), EvaluationSettings(8, 8, 1701), ("error_nm", "lateral_error_nm")),)


def quick() -> tuple[Study, Sequence[Downstream]]:
    """One level, one seed, few depths and frames."""
    study, _ = full()
    small = replace(
        study,
        problem=problem_of(5, 2),
        seen=problem_of(5, 2),
        lights=PHOTONS[:1],
        optimiser=replace(study.optimiser, steps=10),
        audit=AuditSettings(frames=400, seed=1),
        plan=Plan(seeds=1, stopped=()),
    )
    return small, (Downstream(PosteriorMean(), EvaluationSettings(8, 8, 400), ("error_nm",)),)


def spreads_figure(designs: Sequence[StudiedDesign]) -> Figure:
    """Point-spread functions in depth of the clear pupil, a cylindrical lens and a designed mask."""
    chosen = shown_designs(designs)[:3]
    with style.figure_style():
        figure = style.new_figure(330, 640)
        axes = figure.subplots(len(chosen), len(SHOWN_UM))
        for row, item in zip(axes, chosen, strict=True):
            system = item.design.system
            assert isinstance(system, PhaseMask)
            with torch.no_grad():
                spreads = replace(system, depths_um=SHOWN_UM).psf(item.design.tensors()).numpy()
            for place, spread, depth in zip(row, spreads, SHOWN_UM, strict=True):
                middle = np.roll(spread, (SIDE // 2, SIDE // 2), axis=(0, 1))[MARGIN:-MARGIN, MARGIN:-MARGIN]
                place.imshow(middle, cmap="gray")
                place.set_xticks([])
                place.set_yticks([])
                if item is chosen[0]:
                    place.set_title(f"{1000 * depth:g} nm", fontsize=9)
            row[0].set_ylabel(item.label.split(",")[0], fontsize=9)
    return figure


def shown_designs(designs: Sequence[StudiedDesign]) -> list[StudiedDesign]:
    """Clear pupil, cylindrical lens, and the first designed and random masks."""
    names = ("conventional", "cylindrical lens, 0.1 waves", "designed 0", "random 0")
    return [item for name in names for item in designs if item.label == name]


def bounds_table(level: Level, problem: DesignProblem) -> list[str]:
    """Information, errors and Cramer-Rao bound side by side, as Markdown."""
    bits = {entry["label"]: entry for entry in level.audits}
    found = level.evaluations[0]
    out = [
        "| design | bits a frame | error, nm | in depth | across | bound in depth, nm: median, worst | across |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in shown_designs(level.designs):
        bound = cramer_rao_nm(item.design, problem)
        errors = [found.outcomes(m.name)[item.label].value for m in found.metrics]
        across = float(np.median(np.hypot(bound[:, 1], bound[:, 2])))
        entry = bits[item.label]
        out.append(
            f"| {item.label} | {entry['bits_per_frame']:.2f} | "
            + " | ".join(f"{error:.0f}" for error in errors)
            + f" | {np.median(bound[:, 0]):.0f}, {bound[:, 0].max():.0f} | {across:.0f} |"
        )
    return out


def carried_lines(levels: Sequence[Level], study: Study) -> list[str]:
    """Masks designed at the first level, measured at the others."""
    out = []
    for level in levels[1:]:
        problem = study.seen_at(level.light)
        for item in [item for item in levels[0].designs if item.kind == "designed"][:2]:
            settings = study.audit
            found = enumerated_information(item.design, problem, frames=settings.frames, seed=settings.seed)
            out.append(
                f"{item.label} of {levels[0].light:g} photons at {level.light:g}: {found.bits_per_frame:.2f} +- "
                f"{found.std:.2f} bits a frame"
            )
    return out


def density_lines(level: Level, study: Study) -> list[str]:
    """What an audit by density models reads where the exact information is known."""
    exact = {entry["label"]: entry["bits_per_frame"] for entry in level.audits}
    out = []
    for item in shown_designs(level.designs):
        audit = audit_design(item.design, study.seen_at(level.light), AuditSettings(1500, 10, 1))
        low, high = (100 * end for end in audit.ci95)
        out.append(
            f"{item.label}: {exact[item.label]:.2f} bits a frame exactly, {100 * audit.value:.2f} ({low:.2f} to "
            f"{high:.2f}) by density models"
        )
    return out


def run(arguments: Sequence[str]) -> list[Level]:
    """The common command line, and what only this study shows."""
    rest = [argument for argument in arguments if argument != "--density"]
    levels = main(full, quick, __doc__.splitlines()[0], rest)
    study = (quick if "--quick" in rest else full)()[0]
    for level in levels:
        print("\n".join(["", f"{level.light:g} photons", "", *bounds_table(level, study.seen_at(level.light))]))
    print("\n".join(["", *carried_lines(levels, study)]))
    if "--density" in arguments:
        print("\n".join(["", *density_lines(levels[0], study)]))
    if "--figures" in rest:
        folder = Path(rest[rest.index("--figures") + 1])
        style.save_png(spreads_figure(levels[0].designs), folder / "fluorescence_spreads.png")
    return levels


if __name__ == "__main__":
    run(sys.argv[1:])
