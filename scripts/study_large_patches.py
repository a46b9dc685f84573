"""Time and memory of scores of large patches: a Gaussian field of known information, and two-level images.

    python scripts/study_large_patches.py [gaussian-field-codes] [two-level-images] [--patches 5000] [--patch-size 32]

`gaussian-field-codes` is the source of known information of that name. `two-level-images` are 2 or 14 electrons where a
smooth random field is below or above 0, through the camera of the source `ising`, whose exact law ends at 16 x 16
pixels: closed forms miss it, so that networks run. Memory is the peak of this process, frames included; give one case
for each run. Target: 4 GB for 5000 patches of 32 x 32.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.ndimage import gaussian_filter

from calibrate.plumbing.progress import set_quiet
from mi_eval import estimate_information
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample

CASES = ("gaussian-field-codes", "two-level-images")


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES, default=CASES[0])
    parser.add_argument("--patches", type=int, default=5000)
    parser.add_argument("--patch-size", type=int, default=32)
    given = parser.parse_args()
    set_quiet(True)
    size = given.patch_size
    known = None
    if given.case == "two-level-images":
        model, rng = make_source("ising").noise_model, np.random.default_rng(0)
        frames = np.empty((given.patches, size, size), dtype=np.uint16)
        for number in range(given.patches):
            field = gaussian_filter(rng.standard_normal((size, size)), 1.5, mode="wrap")
            frames[number] = model.sample(np.where(field > 0, 14.0, 2.0), rng)
    else:
        source = make_source(given.case)
        model = source.noise_model
        frames = draw_sample(source, patches=given.patches, patch_size=size, seed=0).frames
        known = source.information_bits(size).value
    start = time.process_time()
    score = estimate_information(frames, model, patch_size=size)
    found = score.mutual_information_bits_per_pixel
    error = "" if known is None else f" (error {found.value - known:+.4f})"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best = min(score.models, key=lambda model: model.heldout_bits_per_pixel).name
    seconds = time.process_time() - start
    print(
        f"{given.case}: {given.patches} patches of {size} x {size}: {found.value:.4f} +- {found.std:.4f} bit/px"
        f"{error}, slack {score.slack_bits_per_pixel:.4f}, {seconds:.0f} CPU s, {peak_mb:.0f} MB; {best} is best"
    )


if __name__ == "__main__":
    main()
