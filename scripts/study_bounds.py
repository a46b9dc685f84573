"""Bounds of information on sources where it is known: contrastive, learned, and through estimation error.

    python scripts/study_bounds.py [--part known|learned|estimation] [--seed 0]

Known channel: InfoNCE, its cap, leave-one-out and NWJ, and whether the bracket is worth reporting. Learned: two shots
of templates, and of Gaussian fields, by critic size. Estimation: I-MMSE and its Poisson form, with the best denoiser
and with worse ones. Bits per pixel; standard errors in parentheses.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from calibrate.plumbing.tables import format_value_std
from mi_eval.bounds import (
    example_denoiser,
    gaussian_noise_bound,
    known_channel_bracket,
    learned_bound,
    linear_denoiser,
    photon_count_bound,
    pixel_denoiser,
)
from mi_eval.truth.registry import make_source

KNOWN = (
    ("pure-noise", 8, 500),
    ("photons-2", 2, 2000),
    ("photons-10", 2, 2000),
    ("templates-64-dim", 8, 2000),
    ("templates-64", 8, 1000),
    ("templates-64", 16, 1000),
    ("ising-dim", 2, 2000),
    ("ising-dim", 4, 2000),
    ("gaussian-field", 2, 2000),
    ("gaussian-field", 16, 2000),
)


def shown(value: float, std: float) -> str:
    """A value with its standard error, where it has one worth the name."""
    return f"{value:.4f}" if std < 1e-9 else format_value_std(value, std)


def known(seed: int) -> None:
    print("| source | patch | pairs | truth | InfoNCE | cap | leave-one-out | NWJ | worth reporting |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, size, n in KNOWN:
        source = make_source(name)
        frames, light = source.sample(n, size, np.random.default_rng([seed, 1]))
        found = known_channel_bracket(source.noise_model, frames[:n], light[:n])
        print(f"| {name} | {size} x {size} | {n} | {source.information_bits(size).value:.4f} | "
              f"{shown(found.lower_bits_per_pixel, found.lower_std_bits_per_pixel)} | {found.cap_bits_per_pixel:.4f} | "
              f"{shown(found.upper_bits_per_pixel, found.upper_std_bits_per_pixel)} | "
              f"{shown(found.nwj_bits_per_pixel, found.nwj_std_bits_per_pixel)} | "
              f"{'yes' if found.worth_reporting else 'no: ' + found.reason.split(',')[0]} |", flush=True)  # fmt: skip


def learned(seed: int) -> None:
    print("| source | patch | pairs | truth of one shot | channels | critic's numbers | two shots | cap | NWJ | MINE | "
          "seeds | CPU s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, size, n in (("templates-64", 8, 4000), ("templates-64-dim", 8, 4000), ("gaussian-field", 8, 4000)):
        source = make_source(name)
        rng = np.random.default_rng([seed, 2])
        light = source.sample(n, size, rng).light_e[:n]
        shots = [source.noise_model.sample(light, rng) for _ in range(2)]
        for channels in (8, 16, 32):
            start = time.process_time()
            found = learned_bound(*shots, channels=channels, seeds=(seed, seed + 1))
            print(f"| {name} | {size} x {size} | {n} | {source.information_bits(size).value:.4f} | {channels} | "
                  f"{found.critic_parameters} | {shown(found.lower_bits_per_pixel, found.std_bits_per_pixel)} | "
                  f"{found.cap_bits_per_pixel:.4f} | {found.nwj_bits_per_pixel:.4f} | "
                  f"{found.mine_bits_per_pixel:.4f} | "
                  f"{', '.join(f'{value:.4f}' for value in found.per_seed_bits_per_pixel)} | "
                  f"{time.process_time() - start:.0f} |", flush=True)  # fmt: skip


def estimation(seed: int) -> None:
    print("| source | patch | denoiser | truth | bound |")
    print("|---|---|---|---|---|")
    for size in (4, 8, 16):
        source = make_source("gaussian-field")
        light = source.sample(4000, size, np.random.default_rng([seed, 3])).light_e
        covariance = 3600 * source.correlation.matrix(size)
        for label, denoise in (
            ("linear, true covariance", linear_denoiser(200.0, covariance)),
            ("linear, 10 % more contrast", linear_denoiser(200.0, 1.21 * covariance)),
            ("pixel by pixel", linear_denoiser(200.0, 3600 * np.eye(size**2))),
        ):
            found = gaussian_noise_bound(light, 5.0, denoise, seed=seed)
            print(f"| gaussian-field | {size} x {size} | {label} | {source.information_bits(size).value:.4f} | "
                  f"{shown(found.bits_per_pixel, found.std_bits_per_pixel)} |", flush=True)  # fmt: skip
    for name in ("photons-2", "photons-10", "photons-100"):
        source = make_source(name)
        light = source.sample(4000, 8, np.random.default_rng([seed, 4])).light_e
        for label, denoise in (
            ("posterior mean", pixel_denoiser(*source.light.quadrature(), noise="photons")),
            ("the counts plus 1/2", lambda counts, share: (counts + 0.5) / share),
        ):
            found = photon_count_bound(light, denoise, seed=seed)
            print(f"| {name} | 8 x 8 | {label} | {source.information_bits(8).value:.4f} | "
                  f"{shown(found.bits_per_pixel, found.std_bits_per_pixel)} |", flush=True)  # fmt: skip
    source = make_source("templates-64-dim")
    light = source.sample(4000, 8, np.random.default_rng([seed, 5])).light_e
    found = photon_count_bound(light, example_denoiser(source.patterns_e(8), noise="photons"), seed=seed)
    print(f"| templates-64-dim | 8 x 8 | posterior mean, photons alone | {source.information_bits(8).value:.4f} "
          f"with 1.5 e- of read noise | {shown(found.bits_per_pixel, found.std_bits_per_pixel)} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["known", "learned", "estimation"])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for part in (known, estimation, learned):
        if arguments.part in (None, part.__name__):
            start = time.process_time()
            part(arguments.seed)
            print(f"\n{time.process_time() - start:.0f} CPU seconds\n", flush=True)


if __name__ == "__main__":
    main()
