"""What a strong fixed pattern does to a score, with maps from few and many frames and without maps.

    python scripts/study_fixed_pattern.py [--side 128] [--scenes 64] [--frames 16 64 256] [--seed 0]

A sensor whose pixels differ (PRNU 3 %, DSNU 5 e-, dark current by 30 %) is calibrated from N darks and N flats with
`calibrate.fit_noise_model(..., maps=True)` and its frames of smooth scenes are scored. The reference is the same light
on a sensor without any pattern, scored with its true parameters. A third score is the pattern's without maps.
The last line of every scene gives the difference that the maps leave, with the standard error of the paired
difference over scenes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

import calibrate
from calibrate.plumbing.progress import set_quiet
from mi_eval import estimate_information

PRNU, DSNU_E, READ_NOISE_E, GAIN, OFFSET_DN, DARK_E_PER_S = 0.03, 5.0, 3.0, 0.5, 200.0, 4.0
EXPOSURE_S = 1.0
LEVELS = 8


def sensors(side: int, seed: int) -> tuple[calibrate.NoiseModel, calibrate.NoiseModel]:
    """The sensor without and with fixed pattern."""
    rng = np.random.default_rng([seed, 1])
    common = {
        "system_gain_dn_per_e": GAIN,
        "read_noise_e": READ_NOISE_E,
        "offset_dn": OFFSET_DN,
        "bit_depth": 12,
        "dark_current_e_per_s": DARK_E_PER_S,
    }
    maps = {
        "offset_dn": OFFSET_DN + GAIN * DSNU_E * rng.standard_normal((side, side)),
        "prnu": PRNU * rng.standard_normal((side, side)),
        "dark_current_e_per_s": DARK_E_PER_S * np.exp(0.3 * rng.standard_normal((side, side)) - 0.045),
    }
    plain = calibrate.NoiseModel.from_parameters(**common)
    return plain, calibrate.NoiseModel.from_parameters(**common, maps=maps)


def scenes(n: int, side: int, mean_e: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth light, log-normal, (n, side, side) electrons."""
    field = ndimage.gaussian_filter(rng.standard_normal((n, side, side)), (0, 2.5, 2.5), mode="wrap")
    return mean_e * np.exp(0.5 * field / field.std() - 0.125)


def shoot(model: calibrate.NoiseModel, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames of the scenes, dark charge of the exposure included."""
    maps = model.maps or {}
    dark = maps.get("dark_current_e_per_s", DARK_E_PER_S) * EXPOSURE_S
    return model.sample(np.maximum((1.0 + maps.get("prnu", 0.0)) * light + dark, 0.0), rng)


def fitted(model: calibrate.NoiseModel, n_frames: int, seed: int) -> calibrate.NoiseModel:
    """The model with maps from ``n_frames`` darks and as many flats."""
    with tempfile.TemporaryDirectory() as place:
        folder = calibrate.simulate_captures(
            model,
            Path(place) / "captures",
            levels=LEVELS,
            frames_per_level=n_frames // LEVELS,
            dark_levels=2,
            darks_per_level=n_frames // 2,
            exposure_max_s=2 * EXPOSURE_S,
            seed=seed,
        )
        return calibrate.fit_noise_model(folder, maps=True)


def value(frames: np.ndarray, model: calibrate.NoiseModel) -> tuple[float, np.ndarray, set[str]]:
    """Score, per-frame bits and the codes of its warnings."""
    found = estimate_information(frames, model, exposure_s=EXPOSURE_S, density="closed-form")
    bits = found.details.per_frame_bits
    return found.mutual_information_bits_per_pixel.value, bits, {entry.code for entry in found.warnings}


def main() -> None:
    """Run the study and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--light", type=float, nargs="+", default=[100.0, 1000.0])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    set_quiet(True)
    clock = time.process_time()
    plain, patterned = sensors(arguments.side, arguments.seed)
    models = {n: fitted(patterned, n, arguments.seed) for n in arguments.frames}
    for mean_e in arguments.light:
        rng = np.random.default_rng([arguments.seed, 2, int(mean_e)])
        light = scenes(arguments.scenes, arguments.side, mean_e, rng)
        reference, own, _ = value(shoot(plain, light, rng), plain)
        frames = shoot(patterned, light, rng)
        print(f"{mean_e:g} e-: {reference:.4f} bit/px without pattern")
        cases = {"true maps": patterned} | {f"maps of {n} + {n} frames": model for n, model in models.items()}
        for name, model in (cases | {"no maps": plain}).items():
            score, bits, codes = value(frames, model)
            error = float(np.std(bits - own, ddof=1) / np.sqrt(bits.size))
            doubts = ", ".join(sorted(codes & {"no_maps", "fixed_pattern"})) or "no doubt about the pattern"
            print(f"  {name:24s} {score:.4f}  difference {score - reference:+.4f}({error:.4f})  {doubts}", flush=True)
    print(f"{time.process_time() - clock:.0f} CPU s")


if __name__ == "__main__":
    main()
