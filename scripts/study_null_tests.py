"""Frames without information: whether the signed interval of the score contains 0, and how high it reaches.

    python scripts/study_null_tests.py [CASE ...] [--first 0] [--seeds 100] [--patches 1000] [--patch-size 16]
        [--density closed-form] [--json FILE]

`pure-noise`: constant light, every patch a frame. `shuffled-noise`: the same with all pixels shuffled over all patches.
`flats-with-maps`: flats of a sensor with fixed pattern, given its maps. Targets: 0 inside in 90 of 100 seeds, upper end
at most 0.01 bit/px. Pieces of seeds (`--first`) add up: every seed draws its own frames. With --json the lines of all
seeds are added to the file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from calibrate.plumbing.progress import set_quiet
from mi_eval import estimate_information
from mi_eval.truth.measure import draw_sample
from mi_eval.truth.registry import make_source

CASES = ("pure-noise", "shuffled-noise", "flats-with-maps")
UPPER_END_TARGET_BITS = 0.01


def null_frames(case: str, patches: int, patch_size: int, seed: int) -> tuple[NDArray[Any], NoiseModel]:
    """Frames of a case without information, and the camera."""
    source = make_source("pure-noise" if case == "shuffled-noise" else case)
    frames = draw_sample(source, patches=patches, patch_size=patch_size, seed=seed).frames
    if case == "shuffled-noise":
        frames = np.random.default_rng([seed, 7]).permutation(frames.ravel()).reshape(frames.shape)
    return frames, source.noise_model


def one(
    case: str,
    seed: int,
    *,
    patches: int = 1000,
    patch_size: int = 16,
    density: Literal["auto", "closed-form"] = "closed-form",
) -> dict[str, Any]:
    """Score of one seed, bits per pixel."""
    frames, model = null_frames(case, patches, patch_size, seed)
    start = time.process_time()
    score = estimate_information(
        frames, model, patch_size=patch_size, seed=seed, max_patches=max(patches, 16), density=density
    )
    found = score.mutual_information_bits_per_pixel
    return {
        "case": case,
        "seed": seed,
        "patches": score.patches_used,
        "value": found.value,
        "std": found.std,
        "low": found.ci95[0],
        "high": found.ci95[1],
        "slack": score.slack_bits_per_pixel,
        "cpu_s": time.process_time() - start,
    }


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--patches", type=int, default=1000)
    parser.add_argument("--patch-size", type=int, default=16)
    parser.add_argument("--density", choices=["auto", "closed-form"], default="closed-form")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add one JSON line for each seed")
    given = parser.parse_args()
    set_quiet(True)
    print(
        f"{'case':<17}{'seeds':>6}{'0 inside':>9}{'above':>6}{'below':>6}{'top <= 0.01':>12}{'highest':>9}{'mean':>9}"
        f"{'spread':>8}{'stated':>8}{'slack':>8}{'CPU s':>7}"
    )
    for case in given.cases:
        rows = []
        for seed in range(given.first, given.first + given.seeds):
            rows.append(one(case, seed, patches=given.patches, patch_size=given.patch_size, density=given.density))
            if given.json:
                with given.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
        low, high, value = (np.array([row[name] for row in rows]) for name in ("low", "high", "value"))
        print(
            f"{case:<17}{len(rows):>6}{np.sum((low <= 0) & (high >= 0)):>9}{np.sum(low > 0):>6}{np.sum(high < 0):>6}"
            f"{np.sum(high <= UPPER_END_TARGET_BITS):>12}{high.max():>9.4f}{value.mean():>+9.4f}"
            f"{np.std(value, ddof=min(1, len(rows) - 1)):>8.4f}{np.mean([row['std'] for row in rows]):>8.4f}"
            f"{np.mean([row['slack'] for row in rows]):>8.4f}{np.sum([row['cpu_s'] for row in rows]):>7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
