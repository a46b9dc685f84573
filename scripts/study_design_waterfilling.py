"""Designs against known optima: water-filling for a free kernel, an independent multistart for a passive mask.

    python scripts/study_design_waterfilling.py [--objective spectral|density|infonce] [--quick] [--no-audit]
        [--audit-frames] [--masks-by-objective] [--json FILE]

Kernels: circular convolution with a real kernel of free sign and fixed power, Gaussian objects of known spectrum, white
noise. The optimum is exact (water-filling). Reported for each read noise and seed: share of the optimum reached, CPU
seconds, and the audit (simulated frames, density models) beside the closed form of the same design.

Masks: a coded aperture (transmissions between 0 and 1) has no closed-form optimum. L-BFGS-B from many random starts,
on an objective and a gradient written here in numpy, maximises the same information over the same constraint set.

With the objectives density and infonce, kernels of 8 x 8 pixels alone (infonce in patches of 4 x 4: its cap of
log2 1024 = 10 bits a patch lies below the information of all but the noisiest).

With --audit-frames only this: how far audits of one design of 16 x 16 pixels lie from its closed form, by the number of
frames; audit seeds 100, 101, 102.

With --masks-by-objective only this: masks for these objects, which are far from Gaussian, by three objectives (seed 0),
each design audited by the same frames (seed 5).

Seeds are fixed: 0, 1, 2.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from calibrate import NoiseModel
from mi_eval.design import DesignProblem, audit_design, optimise, water_filling
from mi_eval.design.audit import AuditSettings, closed_form_bits
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.objects import make_prior
from mi_eval.systems import CircularKernel, CodedAperture

SEEDS = (0, 1, 2)
READ_NOISES_E = (0.5, 2.0, 8.0)
LIGHT_LEVELS_E = (30.0, 1000.0)


def kernel_problem(side: int, read_noise_e: float) -> DesignProblem:
    """The benchmark: a texture of 4 e- rms through a kernel of power 1."""
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=read_noise_e)
    return DesignProblem(CircularKernel((side, side), 1.0), make_prior("gaussian_texture", {}), noise, rms_e=4.0)


#: Settings of the objectives; the share of the optimum is that of the design's closed form, whatever was maximised.
KERNEL_SETTINGS: dict[str, dict[str, Any]] = {
    "spectral": {"steps": 300},
    "density": {"steps": 300, "objects": 2048, "learning_rate": 0.3},
    "infonce": {"steps": 300, "objects": 2048, "learning_rate": 0.3, "patch_size": 4},
}


def kernel_case(
    side: int, read_noise_e: float, seed: int, audit: AuditSettings | None, objective: str = "spectral"
) -> dict[str, Any]:
    """One kernel design against its water-filling optimum."""
    problem = kernel_problem(side, read_noise_e)
    best = water_filling(problem.known_spectrum(), read_noise_e**2, problem.system.power)
    result = optimise(
        problem, OptimiserSettings(objective=objective, restarts=1, seed=seed, **KERNEL_SETTINGS[objective])
    )
    exact = closed_form_bits(result.after, problem, side)
    patch = KERNEL_SETTINGS[objective].get("patch_size", side)
    found: dict[str, Any] = {
        "side": side,
        "read_noise_e": read_noise_e,
        "seed": seed,
        "optimum": best.bits_per_mode,
        "share": exact / best.bits_per_mode,
        "reported_error": result.surrogate_after - closed_form_bits(result.after, problem, patch),
        "conventional_share": closed_form_bits(result.before, problem, side) / best.bits_per_mode,
        "dry_modes": float(np.mean(best.power == 0)),
        "cpu_s": result.cpu_seconds,
    }
    if audit is not None:
        audited = audit_design(result.after, problem, audit)
        found["audit"], found["audit_std"], found["audit_ci95"] = audited.value, audited.std, audited.ci95
        found["closed_form"] = audited.closed_form_bits_per_pixel
        found["audit_error"] = audited.value - audited.closed_form_bits_per_pixel
    return found


def audits_by_frames(counts: tuple[int, ...] = (500, 1000, 2000, 4000)) -> None:
    """Audits of a design of 16 x 16 pixels at 2 e-, against the closed form."""
    problem = kernel_problem(16, 2.0)
    design = optimise(problem, OptimiserSettings(steps=300, restarts=1, seed=0)).after
    exact = closed_form_bits(design, problem, 16)
    print("frames  audit - closed form, three seeds  standard error  standard error x root of the pixels  CPU s of one")
    for frames in counts:
        audits = [audit_design(design, problem, AuditSettings(frames, 16, 100 + seed)) for seed in SEEDS]
        std = float(np.mean([audit.std for audit in audits]))
        errors = ", ".join(f"{audit.value - exact:+.4f}" for audit in audits)
        seconds = np.mean([audit.cpu_seconds for audit in audits])
        print(f"{frames:6d}  {errors}  {std:.4f}  {std * np.sqrt(frames * 256):.2f}  {seconds:.1f}", flush=True)


def mask_problem(light_e: float) -> DesignProblem:
    """Cells through a mask of 5 x 5 cells onto a sensor of 2 e- read noise."""
    noise = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    system = CodedAperture((16, 16), (5, 5))
    return DesignProblem(system, make_prior("cells", {"radius_px": 3.0}), noise, mean_light_e=light_e)


def multistart_optimum(problem: DesignProblem, n_objects: int, seed: int, starts: int) -> tuple[float, float]:
    """Best and median over starts of the information of a mask, bits per pixel, by L-BFGS-B within 0 and 1."""
    system, camera = problem.system, problem.noise_model.camera
    height, width = system.shape
    rows, columns = system.mask_shape
    objects = problem.draw(n_objects, np.random.default_rng([seed, 11])).numpy()[:, 0]
    centred = objects - objects.mean(axis=0)
    spectrum = np.sum(np.abs(np.fft.fft2(centred)) ** 2, axis=0) / ((n_objects - 1) * height * width)
    mean = objects.mean()
    fixed = camera.read_noise_e**2 + 1 / (12 * camera.system_gain_dn_per_e**2)
    f = np.stack(np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")).reshape(2, -1)
    cell = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")).reshape(2, -1)
    wave = np.exp(-2j * np.pi * (f.T @ cell)) / cell.shape[1]
    power = spectrum.ravel()

    def loss(t: np.ndarray) -> tuple[float, np.ndarray]:
        response = wave @ t
        noise = fixed + mean * t.mean()
        ratio = np.abs(response) ** 2 * power / noise
        value = 0.5 * np.mean(np.log2(1 + ratio))
        by_ratio = 0.5 / ((1 + ratio) * np.log(2) * ratio.size)
        slope = 2 * (by_ratio * power / noise) @ (response.conj()[:, None] * wave).real
        slope -= np.sum(by_ratio * ratio) / noise * mean / t.size
        return -value, -slope

    rng = np.random.default_rng([seed, 41])
    found = []
    for number in range(starts):
        # From one open cell to all of them: optima of few open cells are not found from dense starts.
        start = rng.random(cell.shape[1])
        start[rng.permutation(start.size)[1 + number * start.size // starts :]] = 0.0
        end = minimize(loss, start, jac=True, bounds=[(0, 1)] * cell.shape[1], method="L-BFGS-B")
        found.append(-end.fun)
    return max(found), float(np.median(found))


def mask_case(light_e: float, seed: int, starts: int, restarts: int, steps: int = 200) -> dict[str, Any]:
    """One mask design against the multistart optimum."""
    problem, n_objects = mask_problem(light_e), 512
    began = time.process_time()
    best, median = multistart_optimum(problem, n_objects, seed, starts)
    reference_s = time.process_time() - began
    settings = OptimiserSettings(steps=steps, restarts=restarts, seed=seed, objects=n_objects)
    result = optimise(problem, settings)
    mask = result.after.parameters["transmission"]
    return {
        "light_e": light_e,
        "seed": seed,
        "multistart": best,
        "multistart_median": median,
        "share": result.surrogate_after / best,
        "conventional_share": result.surrogate_before / best,
        "open_fraction": float(mask.mean()),
        "cpu_s": result.cpu_seconds,
        "multistart_cpu_s": reference_s,
    }


#: Three objectives on masks; all else as in the masks above.
MASK_OBJECTIVES: dict[str, dict[str, Any]] = {
    "full": {"objects": 512, "patch_size": 8},
    "density": {"objects": 1024, "patch_size": 8, "learning_rate": 0.5},
    "infonce": {"objects": 1024, "patch_size": 3},
}


def masks_by_objective(light_levels_e: tuple[float, ...] = (30.0, 200.0)) -> None:
    """Masks of the three objectives, audited alike."""
    print("light_e objective  reported before, after  audit (std), 95 % interval  estimation bound  open  CPU s  flags")
    audit = AuditSettings(frames=400, patch_size=8, seed=5, i_mmse=True)
    for light_e in light_levels_e:
        problem = mask_problem(light_e)
        for objective, options in MASK_OBJECTIVES.items():
            settings = OptimiserSettings(objective=objective, steps=150, restarts=3, seed=0, **options)
            result = optimise(problem, settings)
            found = audit_design(result.after, problem, audit)
            result = replace(result, audit_after=found)
            print(
                f"{light_e:6.0f} {objective:8s}  {result.surrogate_before:.3f}, {result.surrogate_after:.3f}  "
                f"{found.value:.4f} ({found.std:.4f}), {found.ci95[0]:.4f} to {found.ci95[1]:.4f}  "
                f"{found.second_opinion.upper_bound_bits_per_pixel:.3f}  "
                f"{result.after.parameters['transmission'].mean():.2f}  {result.cpu_seconds:.0f}  "
                f"{', '.join(code for code, _ in result.flags())}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, no audit of large frames")
    parser.add_argument("--objective", choices=list(KERNEL_SETTINGS), default="spectral")
    parser.add_argument("--no-audit", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--masks-by-objective", action="store_true", help="masks of three objectives, nothing else")
    parser.add_argument("--audit-frames", action="store_true", help="audits by the number of frames, nothing else")
    options = parser.parse_args()
    if options.masks_by_objective:
        masks_by_objective()
        return
    if options.audit_frames:
        audits_by_frames()
        return
    seeds = SEEDS[:1] if options.quick else SEEDS
    kernels, masks = [], []
    print(
        "kernel: side read_noise_e seed  optimum  share of it  conventional  reported - closed form  CPU s  "
        "audit - closed form (std)"
    )
    spectral = options.objective == "spectral"
    for side in (8, 32) if spectral else (8,):
        for read_noise_e in READ_NOISES_E:
            for seed in seeds:
                audited = side == 8 and not options.no_audit
                audit = AuditSettings(frames=8000, patch_size=8, seed=100 + seed) if audited else None
                case = kernel_case(side, read_noise_e, seed, audit, options.objective)
                kernels.append(case)
                error = f"{case['audit_error']:+.4f} ({case['audit_std']:.4f})" if audit else ""
                print(
                    f"{side:4d} {read_noise_e:5.1f} {seed:3d}  {case['optimum']:.6f}  {100 * case['share']:.5f} %  "
                    f"{100 * case['conventional_share']:.2f} %  {case['reported_error']:+.4f}  {case['cpu_s']:.2f}  "
                    f"{error}",
                    flush=True,
                )
    print("mask: light_e seed  multistart (median)  share of it  conventional  open  CPU s (multistart)")
    for light_e in LIGHT_LEVELS_E if spectral else ():
        for seed in seeds:
            case = mask_case(light_e, seed, starts=40, restarts=10)
            masks.append(case)
            print(
                f"{light_e:6.0f} {seed:3d}  {case['multistart']:.5f} ({case['multistart_median']:.5f})  "
                f"{100 * case['share']:.4f} %  {100 * case['conventional_share']:.2f} %  {case['open_fraction']:.2f}  "
                f"{case['cpu_s']:.2f} ({case['multistart_cpu_s']:.2f})",
                flush=True,
            )
    worst = min(case["share"] for case in kernels)
    print(f"kernels: worst share {100 * worst:.5f} %, slowest {max(c['cpu_s'] for c in kernels):.2f} CPU s")
    errors = [abs(case["audit_error"]) for case in kernels if "audit_error" in case]
    if errors:
        print(f"audits: largest error {max(errors):.4f} bit/px of {len(errors)}")
    if masks:
        print(f"masks: worst share of the multistart optimum {100 * min(case['share'] for case in masks):.4f} %")
    if options.json:
        options.json.write_text(json.dumps({"kernels": kernels, "masks": masks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
