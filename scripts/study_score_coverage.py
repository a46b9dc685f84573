"""How often the score's 95 % interval holds the truth, the calibration shot anew in every seed, and null tests.

    python scripts/study_score_coverage.py [--case NAME ...] [--first 0] [--seeds 100] [--patches 400] [--patch-size 8]
        [--side 64] [--known-camera] [--workers 1] [--json FILE]

Every seed shoots captures of the case's camera (16 light levels of two flats and two darks each, lamp scatter 0.1 %),
fits a noise model to them, draws frames of the case, and scores them with that model. Cases whose camera has no shot
noise, and maps, are scored with the camera as it is, as everything is with --known-camera.

Printed for every case: how many intervals hold the truth (with the two-sided 95 % range of an honest interval), how
many lie below and above it, the mean error and its standard error, the spread of the estimates, the stated standard
error, and the mean half-width in units of 1.96 spreads. The half-width is that of the upper side: the low end is
extended by the slack. For sources without information also: the largest upper end, and how many seeds keep it below
0.01.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.plumbing.progress import set_quiet
from mi_eval import estimate_information
from mi_eval.truth.measure import draw_sample
from mi_eval.truth.registry import CASES, make_source
from mi_eval.truth.source import KnownInformation, Source

QUICK = ("gaussian-field-codes", "gamma-20e", "gamma-200e", "two-level", "pure-noise")
UPPER_END_TARGET_BITS = 0.01
#: Seeds of the captures start here, so that none is a seed of the frames.
FIRST_CAPTURE_SEED = 1_000_000


@dataclass(frozen=True)
class Outcome:
    """One seed: estimate, error, interval, and whether H(Z|Y) was a point, in bits per pixel."""

    value: float
    std: float
    low: float
    high: float
    slack: float
    identifiable: bool
    gain_error: float
    cpu_s: float


def calibrated(source: Source, seed: int, side: int) -> NoiseModel:
    """What a calibration of the source's camera gives; the camera itself where its captures cannot be fitted."""
    camera = source.noise_model
    if camera.camera.kind != "poisson-gaussian" or camera.bit_depth is None or camera.maps:
        return camera
    with tempfile.TemporaryDirectory() as place:
        folder = simulate_captures(
            camera,
            Path(place) / "captures",
            shape=(side, side),
            light_scatter_percent=0.1,
            seed=FIRST_CAPTURE_SEED + seed,
        )
        return fit_noise_model(folder)


def run_seed(seed: int, name: str, patches: int, patch_size: int, side: int, known_camera: bool) -> Outcome:
    """Calibrate, draw, score."""
    set_quiet(True)
    source = make_source(name)
    model = source.noise_model if known_camera else calibrated(source, seed, side)
    sample = draw_sample(source, patches=patches, patch_size=patch_size, seed=seed)
    started = time.process_time()
    found = estimate_information(sample.frames, model, patch_size=patch_size, seed=seed, max_patches=patches)
    information = found.mutual_information_bits_per_pixel
    gain, true_gain = (float(m.camera.system_gain_dn_per_e) for m in (model, source.noise_model))
    return Outcome(
        value=information.value,
        std=information.std,
        low=information.ci95[0],
        high=information.ci95[1],
        slack=found.slack_bits_per_pixel,
        identifiable=found.conditional_entropy_bits_per_pixel.identifiable,
        gain_error=gain / true_gain - 1.0,
        cpu_s=time.process_time() - started,
    )


def report(name: str, truth: KnownInformation, outcomes: list[Outcome]) -> dict[str, float]:
    """Print one case; its figures."""
    n = len(outcomes)
    value, std, low, high = (np.array([getattr(o, key) for o in outcomes]) for key in ("value", "std", "low", "high"))
    held = int(np.sum((low <= truth.value) & (truth.value <= high)))
    honest = stats.binom.interval(0.95, n, 0.95)
    spread = float(np.std(value, ddof=1))
    error = float(np.mean(value)) - truth.value
    width = float(np.mean(high - value)) / (1.96 * spread)
    print(
        f"\n{name}: truth {truth.value:.5f} bit/px, {n} seeds, {np.mean([o.cpu_s for o in outcomes]):.1f} CPU s a score"
    )
    print(
        f"  holds the truth {held} of {n} (honest: {honest[0]:.0f} to {honest[1]:.0f}); truth below the interval "
        f"{int(np.sum(truth.value < low))}, above {int(np.sum(truth.value > high))}"
    )
    print(
        f"  mean error {error:+.5f}({spread / np.sqrt(n):.5f}), spread {spread:.5f}, stated {np.mean(std):.5f}, "
        f"upper half-width {width:.2f} x 1.96 spreads, mean slack {np.mean([o.slack for o in outcomes]):.5f}, "
        f"H(Z|Y) a point in {sum(o.identifiable for o in outcomes)}"
    )
    if truth.value == 0.0:
        small = int(np.sum(high <= UPPER_END_TARGET_BITS))
        print(
            f"  no information: upper end at most {UPPER_END_TARGET_BITS} in {small} of {n}, largest {high.max():.4f}"
        )
    return {"held": held, "n": n, "error": error, "spread": spread, "stated": float(np.mean(std)), "width_ratio": width}


def study(
    name: str, seeds: Iterable[int], workers: int, **settings: int | bool
) -> tuple[KnownInformation, list[Outcome]]:
    """All seeds of one case."""
    truth = make_source(name).information_bits(int(settings["patch_size"]))
    job = partial(run_seed, name=name, **settings)  # type: ignore[arg-type]
    if workers == 1:
        return truth, [job(seed) for seed in seeds]
    with ProcessPoolExecutor(workers) as pool:
        return truth, list(pool.map(job, seeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--case", choices=list(CASES), action="append", help=f"one case; default {', '.join(QUICK)}")
    parser.add_argument("--first", type=int, default=0, help="first seed (default 0): pieces can be run apart")
    parser.add_argument("--seeds", type=int, default=100, help="of every case (default 100)")
    parser.add_argument("--patches", type=int, default=400)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--side", type=int, default=64, help="pixels on a side of the captures (default 64)")
    parser.add_argument("--known-camera", action="store_true", help="score with the camera itself")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--json", type=Path, help="write every seed's figures here")
    arguments = parser.parse_args()
    everything = {}
    for name in arguments.case or QUICK:
        truth, outcomes = study(
            name,
            range(arguments.first, arguments.first + arguments.seeds),
            arguments.workers,
            patches=arguments.patches,
            patch_size=arguments.patch_size,
            side=arguments.side,
            known_camera=arguments.known_camera,
        )
        everything[name] = {**report(name, truth, outcomes), "seeds": [asdict(o) for o in outcomes]}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
