"""Does a sweep over gain settings find the setting of the most information? A camera whose truth is known.

    python scripts/study_sweep.py [--seeds 10] [--frames 16] [--side 48] [--patch-size 8] [--json FILE]

The camera has a pixel with 1.5 e- of noise and a 10-bit converter with 3 DN of its own, so that read noise in electrons
falls as the gain rises, and clips the more of the light the higher the gain. Light is gamma(4) of mean 100 e-, every
pixel for itself: I(X;Z) is exact by quadrature. Seven gains in factors of two. Each seed draws light and noise, writes
frames and noise models, and runs the sweep as its command does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

GAINS_DN_PER_E = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
PIXEL_NOISE_E, CONVERTER_NOISE_DN, OFFSET_DN, BIT_DEPTH = 1.5, 3.0, 60.0, 10
LIGHT_SHAPE, LIGHT_MEAN_E = 4.0, 100.0


def camera(gain_dn_per_e: float):
    """The camera at one gain."""
    from calibrate import NoiseModel

    read_noise_e = (PIXEL_NOISE_E**2 + (CONVERTER_NOISE_DN / gain_dn_per_e) ** 2) ** 0.5
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=gain_dn_per_e, read_noise_e=read_noise_e, offset_dn=OFFSET_DN, bit_depth=BIT_DEPTH
    )


def true_bits(gains: tuple[float, ...] = GAINS_DN_PER_E) -> list[float]:
    """I(X;Z) at each gain, bit/px, by quadrature."""
    from mi_eval.truth.independent import IndependentPixels
    from mi_eval.truth.laws import GammaLight

    light = GammaLight(LIGHT_SHAPE, LIGHT_MEAN_E)
    return [IndependentPixels("sweep", "", camera(gain), light).information_bits(2).value for gain in gains]


def swept(
    folder: Path, seed: int, *, gains: tuple[float, ...] = GAINS_DN_PER_E, frames: int, side: int, patch_size: int
) -> dict:
    """Frames of one seed at every gain, of the same light, and the summary of the sweep over them."""
    import numpy as np

    from mi_eval.sweep import cells_of, run_sweep, summarize
    from mi_eval.sweep.config import parse_config
    from mi_eval.truth.laws import GammaLight

    rng = np.random.default_rng([20, seed])
    light_e = GammaLight(LIGHT_SHAPE, LIGHT_MEAN_E).quantile(rng.random((frames, side, side)))
    for gain in gains:
        model = camera(gain)
        np.save(folder / f"{gain:g}.npy", model.sample(light_e, rng))
        model.save(folder / f"{gain:g}.yaml")
    entry = {
        "gain_setting": list(gains),
        "frames": "{gain_setting}.npy",
        "noise_model": "{gain_setting}.yaml",
        "scenes": "one",
    }
    config = parse_config({"entries": [entry], "patch_size": patch_size, "seed": seed}, folder=folder)
    outcome = run_sweep(cells_of(config), folder / "out")
    if outcome.failures:
        raise SystemExit("; ".join(result.record["error"] for result in outcome.failures))
    return summarize(outcome)


def measured(summary: dict, truth: list[float]) -> dict:
    """Steps between the found and the true best, the errors, and what the ranking kept."""
    values = [entry["mutual_information_bits_per_pixel"]["value"] for entry in summary["settings"]]
    names = [entry["name"] for entry in summary["settings"]]
    peak, found = truth.index(max(truth)), values.index(max(values))
    ranking = summary["rankings"][0]
    kept = [ranking["best"]["name"], *ranking["not_told_apart"]]
    intervals = [entry["mutual_information_bits_per_pixel"]["ci95"] for entry in summary["settings"]]
    inside = [low <= true <= high for (low, high), true in zip(intervals, truth, strict=True)]
    return {
        "steps_off": found - peak,
        "errors_bits_per_pixel": [value - true for value, true in zip(values, truth, strict=True)],
        "inside": sum(inside),
        "true_best_kept": names[peak] in kept,
        "kept": len(kept),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--gains", type=float, nargs="+", default=GAINS_DN_PER_E, help="two or more, DN/e-")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    gains = tuple(arguments.gains)
    truth = true_bits(gains)
    print("gain (DN/e-)   " + " ".join(f"{gain:>8g}" for gain in gains))
    print("true (bit/px)  " + " ".join(f"{value:>8.4f}" for value in truth), flush=True)
    rows = []
    start = time.process_time()
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as place:
            summary = swept(
                Path(place),
                seed,
                gains=gains,
                frames=arguments.frames,
                side=arguments.side,
                patch_size=arguments.patch_size,
            )
        rows.append(measured(summary, truth))
        errors = " ".join(f"{error:>+8.4f}" for error in rows[-1]["errors_bits_per_pixel"])
        print(
            f"seed {seed:<3} error  {errors}   steps off {rows[-1]['steps_off']:+d}, kept {rows[-1]['kept']}"
            f"{'' if rows[-1]['true_best_kept'] else ' WITHOUT THE TRUE BEST'}, "
            f"{rows[-1]['inside']} of {len(gains)} inside",
            flush=True,
        )
    within = sum(abs(row["steps_off"]) <= 1 for row in rows)
    print(
        f"peak within one step in {within} of {len(rows)} seeds, "
        f"exact in {sum(row['steps_off'] == 0 for row in rows)}; "
        f"true best kept in {sum(row['true_best_kept'] for row in rows)}; "
        f"{sum(row['inside'] for row in rows)} of {len(truth) * len(rows)} intervals hold the truth; "
        f"{time.process_time() - start:.0f} CPU s"
    )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
