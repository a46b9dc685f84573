"""H(Z|Y) against truth over the whole range of cameras: gain, read noise, light, bit depth and clipping at random.

    python scripts/study_conditional_entropy.py [--trials 400] [--first 0] [--pixels 65536] [--lines] [--json FILE]

Each trial draws a camera (K 0.1 to 2 DN/e-, read noise 0.3 to 5 e-, offset with any phase, 8 to 16 bit, none or up to
5 % of the pixels clipped), a law of the light (gamma, skewed gamma, two levels, uniform, log-normal, or constant) with
a mean of 0.5 to 4000 e-, and one frame. The truth is the mean of h(y) over the very pixels, from the camera's exact
table. A trial holds where the estimate is within 0.002 bit/px, or where the reported interval contains the truth: what
the codes cannot tell, and 1.96 standard errors on either side. Beside it stand the sizes of errors in standard errors,
and the widths. Seeds are fixed: trial i is seed i.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from calibrate import NoiseModel
from mi_eval.conditional_entropy import conditional_entropy
from mi_eval.histograms import frame_histograms
from mi_eval.pixel_classes import classify_pixels

TARGET_BITS = 0.002
LAWS = ("gamma", "skewed gamma", "two levels", "uniform", "log-normal", "constant")


@dataclass(frozen=True)
class Trial:
    """One camera, one law of the light, one frame."""

    seed: int
    law: str
    gain: float
    read_noise_e: float
    mean_e: float
    bit_depth: int
    clipped_fraction: float
    identifiable: bool
    truth_bits: float
    error_bits: float
    std_bits: float
    interval_bits: tuple[float, float]
    cpu_seconds: float

    @property
    def width_bits(self) -> float:
        """Width of the interval of what the codes cannot tell."""
        return self.interval_bits[1] - self.interval_bits[0]

    @property
    def contained(self) -> bool:
        """Whether that interval, with 1.96 standard errors on either side, contains the truth."""
        low, high = self.interval_bits
        return low - 1.96 * self.std_bits <= self.truth_bits <= high + 1.96 * self.std_bits

    @property
    def holds(self) -> bool:
        """Within the target, or inside the interval."""
        return abs(self.error_bits) <= TARGET_BITS or self.contained


def charges(law: str, mean_e: float, pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Expected electrons of independent pixels."""
    draws = {
        "gamma": lambda: rng.gamma(4, mean_e / 4, pixels),
        "skewed gamma": lambda: rng.gamma(0.5, 2 * mean_e, pixels),
        "two levels": lambda: np.where(rng.random(pixels) < 0.3, 0.3 * mean_e, 1.3 * mean_e),
        "uniform": lambda: rng.uniform(0, 2 * mean_e, pixels),
        "log-normal": lambda: mean_e * np.exp(0.6 * rng.standard_normal(pixels) - 0.18),
        "constant": lambda: np.full(pixels, mean_e),
    }
    return np.asarray(draws[law](), dtype=np.float64)


def run(seed: int, pixels: int) -> Trial:
    """Draw until a camera clips at most 5 % of its pixels, and estimate."""
    rng = np.random.default_rng([seed, 404])
    while True:
        law = LAWS[rng.integers(len(LAWS))]
        gain, read, mean = (float(np.exp(rng.uniform(*np.log(span)))) for span in ((0.1, 2), (0.3, 5), (0.5, 4000)))
        bits = int(rng.choice([8, 10, 12, 14, 16]))
        offset = float(rng.uniform(10, 11))
        y = charges(law, mean, pixels, rng)
        top = 2**bits - 1
        if law != "constant" and rng.random() < 0.5:  # the clip where up to 5 % of the light lies
            top = min(top, int(offset + gain * np.quantile(y, 1 - rng.uniform(0, 0.05))))
        clipped = float(np.mean(offset + gain * y > top))
        if clipped <= 0.05 and top > offset + 3:
            break
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=offset, bit_depth=bits, white_clip_dn=top
    )
    began = time.process_time()
    classes = classify_pixels(model)
    frames = model.sample(y, rng)[None]
    result = conditional_entropy(frame_histograms(frames, [0], classes), classes)
    seconds = time.process_time() - began
    truth = float(model.conditional_entropy_bits(y).mean())
    return Trial(
        seed,
        law,
        gain,
        read,
        mean,
        bits,
        clipped,
        result.identifiable,
        truth,
        result.value_bits - truth,
        result.sampling_std_bits,
        result.interval_bits,
        seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--pixels", type=int, default=65_536)
    parser.add_argument("--lines", action="store_true", help="a line for every trial")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    trials = []
    print(
        f"{'seed':>5} {'law':<13}{'K':>6}{'read':>6}{'mean e-':>9}{'bit':>4}{'clip':>6}"
        f"{'truth':>8}{'error':>9}{'std':>8}   interval"
    )
    for seed in range(options.first, options.first + options.trials):
        t = run(seed, options.pixels)
        trials.append(t)
        if options.lines or not t.holds:
            print(
                f"{t.seed:>5} {t.law:<13}{t.gain:>6.2f}{t.read_noise_e:>6.2f}{t.mean_e:>9.1f}{t.bit_depth:>4}"
                f"{t.clipped_fraction:>6.1%}{t.truth_bits:>8.4f}{t.error_bits:>+9.4f}{t.std_bits:>8.4f}"
                f"   {t.interval_bits[0]:.4f} to {t.interval_bits[1]:.4f}"
                f"{'' if t.identifiable else ' (codes do not tell)'}{'' if t.holds else ' MISSES'}",
                flush=True,
            )
    told = [t for t in trials if t.identifiable and t.clipped_fraction == 0]
    clipped = [t for t in trials if t.identifiable and t.clipped_fraction > 0]
    other = [t for t in trials if not t.identifiable]
    print(f"\n{len(trials)} trials of {options.pixels} pixels: {sum(t.holds for t in trials)} hold")
    for name, group in (
        ("codes tell, none clipped", told),
        ("codes tell, some clipped", clipped),
        ("codes do not tell", other),
    ):
        if group:
            errors = np.array([t.error_bits for t in group])
            print(
                f"{name}: {len(group)}; |error| within {TARGET_BITS}: {int((abs(errors) <= TARGET_BITS).sum())}; "
                f"rms error {np.sqrt(np.mean(errors**2)):.5f}, largest {abs(errors).max():.5f}; "
                f"mean error {errors.mean():+.5f}; interval contains the truth: {sum(t.contained for t in group)}, "
                f"median width of what cannot be told {np.median([t.width_bits for t in group]):.4f}, "
                f"largest {max(t.width_bits for t in group):.4f}; "
                f"rms error in standard errors {np.sqrt(np.mean((errors / [t.std_bits for t in group]) ** 2)):.2f}; "
                f"CPU s, mean {np.mean([t.cpu_seconds for t in group]):.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps([asdict(t) for t in trials], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
