"""A mask in the pupil of a fluorescence microscope, for emitters in depth: information and localisation.

    python scripts/study_fluorescence.py [--quick] [--folder DIR] [--json FILE] [--figures DIR] [--density]
    python scripts/study_fluorescence.py --first-seed 10 --seeds 10 [--root-step 0.005] [--accuracy-figure FILE] [...]

One emitter in each frame of 10 x 10 pixels, anywhere in a depth of 1.6 um and within half a pixel of the middle (frames
are cut round the brightest one). A clear pupil shows an emitter above focus as it shows one below. Designs are Zernike
masks. Light is the number of photons that the emitter sends to the sensor.

Information is exact: the population is finite, and `enumerated_information` needs no density model. The optimiser sees
9 depths, audits and the decoders 21. Decoders have the exact posterior, the same for every design: its mean, judged by
squared error, and the likeliest place, judged by how often it is the right one. `--density` adds what an audit by
density models would have said.

Seeds are fixed: designed and random 0 to 9 at 300 and 1000 photons (0 to 2 at 100), stopped early 100 to 102 (100),
audit 1, decoders 0. `--first-seed` takes others, those of audits and decoders too; `--seeds` gives every level as
many. `--root-step` rounds the decoders' charges otherwise (`PopulationLikelihood`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from _design_figures import MARKS
from _design_results import Downstream, Level, main
from _design_study import Plan, StudiedDesign, Study
from _localise import ACCURACY, ERROR, NAMED, LikeliestPlace, PosteriorMean, accuracy_bounds, cramer_rao_nm
from calibrate import NoiseModel
from calibrate.plumbing import figures as style
from mi_eval.design import DesignProblem, audit_design, enumerated_information
from mi_eval.design.audit import AuditSettings
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.downstream import EvaluationSettings, rank_designs
from mi_eval.downstream.evaluate import examples
from mi_eval.objects import make_prior
from mi_eval.systems import PhaseMask, SystemDesign
from mi_eval.torch_extra import torch

PHOTONS = (300.0, 1000.0, 100.0)
DEPTH_UM = 0.8  # above and below focus
BACKGROUND = 0.005  # of the emitter's light, in every pixel
SIDE, MARGIN = 18, 4
NEAR_NM = (270.0, 550.0)  # about thirds of the depths
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


Made = tuple[Study, Sequence[Downstream]]


def full(first_seed: int = 0, seeds: int | None = None, root_step: float = 0.02) -> Made:
    """The study as reported; from another first seed with other designs and frames, as many at every level if given."""
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
        audit=AuditSettings(frames=1701, seed=1 + first_seed),
        others=masks_in_use,
    )
    plan, fewer = (replace(some, first=first_seed) for some in (study.plan, study.fewer))
    study = replace(study, plan=plan, fewer=fewer)
    if seeds is not None:
        study = replace(study, plan=replace(plan, seeds=seeds), thorough=len(PHOTONS))
    return study, decoders(1701, first_seed, root_step)


def decoders(frames: int, seed: int, root_step: float) -> tuple[Downstream, Downstream]:
    """What decodes the frames of every design, and what it is judged by."""
    settings = EvaluationSettings(8, 8, frames, (seed,))
    mean = Downstream(PosteriorMean(root_step), settings, ("error_nm", "lateral_error_nm"))
    return mean, Downstream(LikeliestPlace(root_step), settings, ("accuracy",))


def quick(first_seed: int = 0, seeds: int | None = None, root_step: float = 0.02) -> Made:
    """One level, one seed if not told otherwise, few depths and frames."""
    study, _ = full(first_seed, seeds)
    small = replace(
        study,
        problem=problem_of(5, 2),
        seen=problem_of(5, 2),
        lights=PHOTONS[:1],
        optimiser=replace(study.optimiser, steps=10),
        audit=replace(study.audit, frames=400),
        plan=Plan(seeds=seeds or 1, stopped=(), first=first_seed),
    )
    return small, decoders(400, first_seed, root_step)


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
    chosen = [item for item in designs if item.label in ("conventional", "cylindrical lens, 0.1 waves")]
    return chosen + [next(item for item in designs if item.kind == kind) for kind in ("designed", "random")]


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


def parted_lines(level: Level) -> list[str]:
    """By what kind of design the pairs are that information and result order differently."""
    kinds = {entry["label"]: entry["kind"] for entry in level.audits}

    def name(label: str) -> str:
        return kinds[label] if kinds[label] in ("random", "designed", "stopped early") else label

    out = []
    for ranking in level.rankings:
        parted = [pair for pair in ranking.pairs if pair.significant and not pair.alike]
        found = Counter(f"{name(pair.more)} over {name(pair.less)}" for pair in parted)
        counts = "; ".join(f"{what} {n}" for what, n in found.most_common())
        out.append(f"{level.light:g} photons, {ranking.metric.name}, {len(parted)} parted: {counts}")
    return out


def named_lines(levels: Sequence[Level]) -> list[str]:
    """Whether places are named rightly as often as their posterior says, and the ranking by the share that is right."""
    out = []
    for level in levels:
        found = level.evaluations[1]
        runs = [design.seeds[0].per_frame for design in found.designs]
        claimed, right = (np.mean([run[m.name] for run in runs], axis=0) for m in (ACCURACY, NAMED))
        # Designs share objects and seeds, frames do not.
        error = float(np.std(right - claimed, ddof=1) / np.sqrt(claimed.size))
        by_share = rank_designs(dict(zip(found.names, level.rankings[0].information, strict=True)), found, NAMED.name)
        out.append(
            f"{level.light:g} photons, all designs: accuracy {claimed.mean():.5f}, named rightly {right.mean():.5f}, "
            f"difference {right.mean() - claimed.mean():+.5f} +- {error:.5f}; by the share named rightly "
            f"{by_share.significant.alike} of {by_share.significant.pairs} pairs alike, "
            f"{by_share.significant_in_both.alike} of {by_share.significant_in_both.pairs} where both differ"
        )
    return out


def depth_lines(level: Level, problem: DesignProblem) -> list[str]:
    """Accuracy of every design near focus, further off, and far from it: the test frames' depths are known."""
    found = level.evaluations[1]
    decoder, seed = LikeliestPlace(), found.designs[0].seeds[0].seed
    settings = EvaluationSettings(**{**found.settings, "seeds": (seed,)})
    depth = np.abs(examples(level.designs[0].design, problem, decoder, settings, seed)[2].targets[:, 0])
    out = [f"{level.light:g} photons, accuracy in percent within {NEAR_NM[0]:g} nm of focus, {NEAR_NM[1]:g} nm, beyond"]
    for design in found.designs:
        values = design.seeds[0].per_frame[ACCURACY.name]
        parts = (depth <= NEAR_NM[0], (depth > NEAR_NM[0]) & (depth <= NEAR_NM[1]), depth > NEAR_NM[1])
        out.append(f"{design.name}: " + ", ".join(f"{100 * values[part].mean():.1f}" for part in parts))
    return out


def accuracy_figure(level: Level, places: int) -> Figure:
    """Error and accuracy over information, designs of one level; bars are 95 %, lines what information leaves."""
    kinds = {entry["label"]: entry["kind"] for entry in level.audits}
    pixels = {entry["pixels"] for entry in level.audits}.pop()
    with style.figure_style():
        figure = style.new_figure(320, 960)
        panels = figure.subplots(1, 2)
        chosen = [r for wanted in (ERROR, ACCURACY) for r in level.rankings if r.metric.name == wanted.name]
        for axes, ranking, label in zip(panels, chosen, ("error (nm)", "accuracy of the place"), strict=True):
            for kind, (colour, mark) in MARKS.items():
                rows = [i for i, name in enumerate(ranking.names) if kinds[name] == kind]
                known, results = ([values[i] for i in rows] for values in (ranking.information, ranking.results))
                axes.errorbar(
                    [pixels * v.value for v in known],
                    [v.value for v in results],
                    [1.96 * v.std for v in results],
                    [1.96 * pixels * v.std for v in known],
                    fmt=mark,
                    color=colour,
                    label=kind,
                    elinewidth=0.9,
                    markersize=5,
                )
            axes.set_xlabel("information (bits a frame)")
            axes.set_ylabel(label)
            axes.set_yscale("log")
            style.plain_log_axis(axes.yaxis)
        bits = np.linspace(*panels[1].get_xlim(), 100)
        for bound in accuracy_bounds(bits, places):
            panels[1].plot(bits, bound, color=style.INK, linewidth=0.8, linestyle=":")
        panels[1].set_xlim(bits[0], bits[-1])
        panels[0].legend(loc="best", fontsize=8)
    return figure


def run(arguments: Sequence[str]) -> list[Level]:
    """The common command line, and what only this study has."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--density", action="store_true")
    own.add_argument("--first-seed", type=int, default=0)
    own.add_argument("--seeds", type=int)
    own.add_argument("--root-step", type=float, default=0.02)
    own.add_argument("--accuracy-figure", type=Path)
    mine, rest = own.parse_known_args(arguments)
    made = [partial(make, mine.first_seed, mine.seeds, mine.root_step) for make in (full, quick)]
    levels = main(made[0], made[1], __doc__.splitlines()[0], rest)
    study = made["--quick" in rest]()[0]
    for level in levels:
        print("\n".join(["", f"{level.light:g} photons", "", *bounds_table(level, study.seen_at(level.light))]))
        print("\n".join(["", *parted_lines(level), "", *depth_lines(level, study.seen_at(level.light))]))
    print("\n".join(["", *named_lines(levels), *carried_lines(levels, study)]))
    if mine.density:
        print("\n".join(["", *density_lines(levels[0], study)]))
    if "--figures" in rest:
        folder = Path(rest[rest.index("--figures") + 1])
        style.save_png(spreads_figure(levels[0].designs), folder / "fluorescence_spreads.png")
    if mine.accuracy_figure:
        places = round(2 ** levels[0].audits[0]["entropy_bits"])
        style.save_png(accuracy_figure(levels[0], places), mine.accuracy_figure)
    return levels


if __name__ == "__main__":
    run(sys.argv[1:])
