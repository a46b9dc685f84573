"""The finite-sample excess of few patches: by half training and by parametric bootstrap, against the true one.

    python scripts/study_excess.py [--seeds 4] [--case CASE:PATCHES:SIZE ...]

For each source and number of patches, closed-form densities: the true excess of the held-out codes (their length less
-log2 p(z) of the very same patches, p exact), what half training and the bootstrap take for it (mean over seeds, and
the rms error against the true one), and the score's error and stated error. Bits per pixel.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from calibrate.plumbing.progress import set_quiet
from mi_eval.bootstrap_excess import bootstrap_excess
from mi_eval.estimate import estimate_information
from mi_eval.score_parts import ScoreParts
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample

#: Fixed before the figures in docs/benchmarks.md were made.
CASES = (
    "gamma-200e:60:8",
    "sparse:60:8",
    "gaussian-field-codes:60:8",
    "gaussian-field-codes:400:8",
    "gaussian-smooth:200:16",
    "scale-mixture:60:8",
    "scale-mixture:100:16",
    "drifting-lamp:200:8",
    "templates-64:600:8",
    "templates-64:1500:8",
)


def one(case: str, patches: int, size: int, seed: int) -> tuple[float, float, float, float, float, str]:
    """True excess, by half training, by bootstrap; the score's error and its stated error; the method it used."""
    source = make_source(case)
    frames, _ = draw_sample(source, patches=patches, patch_size=size, seed=seed)
    kept: list[ScoreParts] = []
    score = estimate_information(
        frames, source.noise_model, patch_size=size, seed=seed, density="closed-form", keep=kept.append
    )
    parts = kept[0]
    cut = np.asarray(frames).reshape(-1, size, size)
    true = float(np.mean(parts.heldout.full_bits) - np.mean(source.surprise_bits(cut))) / size**2
    if parts.heldout.excess_method == "bootstrap":
        bootstrap = float(parts.share @ parts.excess_bits)
    else:
        bootstrap = bootstrap_excess(parts.data.patches, parts.heldout, parts.model, parts.noise.law, seed).bits
    found = score.mutual_information_bits_per_pixel
    error = found.value - source.information_bits(size).value
    half = parts.heldout.half_training_excess_bits / size**2
    return true, half, bootstrap, error, found.std, parts.heldout.excess_method


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="CASE:PATCHES:SIZE; default all")
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    set_quiet(True)
    print(
        f"{'case':<22}{'patches':>8}{'true':>9}{'half':>9}{'rms off':>9}{'boot':>9}{'rms off':>9}"
        f"{'error':>9}{'rms':>8}{'std':>8}  {'used':<14}{'CPU s':>6}"
    )
    for text in given.case or CASES:
        case, patches, size = text.split(":")
        start = time.process_time()
        rows = [one(case, int(patches), int(size), seed) for seed in range(given.seeds)]
        true, half, bootstrap, error, std = np.array([row[:5] for row in rows]).T
        print(
            f"{case:<22}{patches:>8}{true.mean():>+9.4f}{half.mean():>+9.4f}{_rms(half - true):>9.4f}"
            f"{bootstrap.mean():>+9.4f}{_rms(bootstrap - true):>9.4f}{error.mean():>+9.4f}{_rms(error):>8.4f}"
            f"{_rms(std):>8.4f}  {rows[0][5]:<14}{(time.process_time() - start) / given.seeds:>6.1f}",
            flush=True,
        )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


if __name__ == "__main__":
    main()
