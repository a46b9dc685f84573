"""Do digital twins foretell the error of a score? Sources of known information, their score, and scores of twins.

    python scripts/study_twins.py [CASE ...] [--patches 600] [--patch-size 8] [--twins 4] [--seed 0]

For each case: the truth, the score's error, and what the twins say (bias, intervals that hold the truth, finite-sample
excess by half training and by the twins themselves), closed-form densities alone.
"""

from __future__ import annotations

import argparse
import time

from calibrate.plumbing.progress import set_quiet
from mi_eval.estimate import estimate_information
from mi_eval.score_parts import ScoreParts
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample
from mi_eval.twins import score_twins

CASES = ("gamma-20e", "gaussian-field-codes", "two-level", "templates-64")


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--patches", type=int, default=600)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--twins", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    set_quiet(True)
    print(
        f"{'case':<21}{'truth':>8}{'error':>9}{'std':>8}  {'twins of':<20}{'truth':>8}{'bias':>9}{'+-':>8}{'spread':>8}"
        f"{'hold':>6}{'excess':>9}{'twins':>9}{'+-':>8}{'CPU s':>7}"
    )
    for case in given.cases:
        source = make_source(case)
        frames, _ = draw_sample(source, patches=given.patches, patch_size=given.patch_size, seed=given.seed)
        kept: list[ScoreParts] = []
        score = estimate_information(
            frames,
            source.noise_model,
            patch_size=given.patch_size,
            seed=given.seed,
            density="closed-form",
            keep=kept.append,
        ).mutual_information_bits_per_pixel
        start = time.process_time()
        found = score_twins(kept[0], given.twins)
        seconds = time.process_time() - start
        truth = source.information_bits(given.patch_size).value
        print(
            f"{case:<21}{truth:>8.4f}{score.value - truth:>+9.4f}{score.std:>8.4f}  {found.family:<20}"
            f"{found.true:>8.4f}{found.bias:>+9.4f}{found.bias_std:>8.4f}{found.errors.std(ddof=1):>8.4f}"
            f"{found.inside.sum():>4d}/{given.twins}{found.half_training_excess:>+9.4f}{found.measured_excess:>+9.4f}"
            f"{found.measured_excess_std:>8.4f}{seconds:>7.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
