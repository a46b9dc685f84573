"""How often the truth lies within the stated errors, over cameras and seeds, frames through the whole path.

    python scripts/study_calibration_coverage.py [--seeds 100] [--shape 64] [--camera NAME]

Prints for every camera and parameter the mean and rms of the pulls (fitted - true)/std, how many lie within 3, which
model was chosen how often, and which flags were raised. An honest fit has rms 1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tifffile

from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures
from calibrate.plumbing.progress import set_quiet

NAMES = ("system_gain_dn_per_e", "read_noise_e", "offset_dn", "dark_current_e_per_s", "saturation_e")
BEND = {"coefficients": (-0.02,), "scale_dn": 3900.0}

#: Name: (parameters of the sensor, settings of the simulation).
CAMERAS: dict[str, tuple[dict, dict]] = {
    "plain 12 bit": ({}, {"light_scatter_percent": 0.1}),
    "steady lamp": ({}, {}),
    "flickering lamp 1 %": ({}, {"light_scatter_percent": 1.0}),
    "compression 2 %": ({"response": BEND}, {"light_scatter_percent": 0.1}),
    "low gain, coarse": ({"system_gain_dn_per_e": 0.1, "read_noise_e": 6.0}, {"light_scatter_percent": 0.1}),
    "high gain, 16 bit": (
        {"system_gain_dn_per_e": 4.0, "read_noise_e": 1.2, "bit_depth": 16, "offset_dn": 400.0},
        {"light_scatter_percent": 0.1},
    ),
    "8 bit": ({"system_gain_dn_per_e": 0.03, "read_noise_e": 20.0, "bit_depth": 8, "offset_dn": 10.0}, {}),
    "few levels": ({}, {"levels": 5, "light_scatter_percent": 0.1}),
    "three levels, bad lamp": ({}, {"levels": 4, "light_scatter_percent": 1.0}),
    "one dark level": ({}, {"dark_levels": 1, "darks_per_level": 16, "light_scatter_percent": 0.1}),
    "many frames": ({}, {"frames_per_level": 8, "light_scatter_percent": 0.1}),
    "noise scatters 5 %": ({}, {"noise_scatter_percent": 5.0}),
}


def scatter_noise(folder: Path, percent: float, seed: int) -> None:
    """Stretch the noise of each flat level about the level's mean by a random factor, which no noise model explains."""
    rng = np.random.default_rng((seed, 1))
    for level in load_captures(folder).bright_levels():
        factor = float(np.exp(percent / 100 * rng.standard_normal()))
        frames = [tifffile.imread(reference.path).astype(np.float64) for reference in level.frames]
        mean = float(np.mean(frames))
        for reference, frame in zip(level.frames, frames, strict=True):
            codes = np.clip(np.rint(mean + factor * (frame - mean)), 0, 2**12 - 1).astype(np.uint16)
            tifffile.imwrite(reference.path, codes, photometric="minisblack")


def study(name: str, seeds: int, side: int) -> None:
    """Fit one camera ``seeds`` times and print its line for every parameter."""
    changes, settings = CAMERAS[name][0], dict(CAMERAS[name][1])
    noise_scatter_percent = settings.pop("noise_scatter_percent", 0.0)
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12}
    sensor = NoiseModel.from_parameters(**{**given, "dark_current_e_per_s": 5.0, **changes})
    true = {entry: sensor.parameter(entry).value for entry in NAMES if sensor.parameter(entry) is not None}
    camera = sensor.camera
    top = float(camera.response.inverse(np.array(camera.white_clip_dn - float(camera.offset_dn))))
    true["saturation_e"] = top / float(camera.system_gain_dn_per_e)
    pulls: dict[str, list[float]] = {entry: [] for entry in true}
    chosen: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        for seed in range(seeds):
            folder = simulate_captures(
                sensor, Path(place) / "captures", shape=(side, side), seed=seed, overwrite=True, **settings
            )
            if noise_scatter_percent:
                scatter_noise(folder, noise_scatter_percent, seed)
            model = fit_noise_model(folder)
            chosen[model.document.fit.model] += 1
            flags.update(entry.code for entry in model.document.fit.flags)
            for entry, values in pulls.items():
                found = model.parameter(entry)
                if found is not None and found.std:
                    values.append((found.value - true[entry]) / found.std)
    print(f"\n{name}: {seeds} seeds of {side} x {side} pixels, {(time.monotonic() - started) / seeds:.2f} s each")
    print(f"  {'parameter':<24}{'fits':>6}{'mean':>8}{'rms':>8}{'within 3':>10}{'largest':>10}")
    for entry, values in pulls.items():
        if not values:
            print(f"  {entry:<24}{0:>6}")
            continue
        pull = np.array(values)
        rms, inside = np.sqrt(np.mean(pull**2)), int(np.sum(np.abs(pull) <= 3))
        print(f"  {entry:<24}{pull.size:>6}{pull.mean():>+8.2f}{rms:>8.3f}{inside:>10}{np.max(np.abs(pull)):>10.2f}")
    print("  models: " + ", ".join(f"{key} {count}" for key, count in chosen.most_common()))
    print("  flags:  " + (", ".join(f"{key} {count}" for key, count in flags.most_common()) or "none"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=100, help="fits of every camera (default 100)")
    parser.add_argument("--shape", type=int, default=64, metavar="SIDE", help="pixels on a side (default 64)")
    parser.add_argument("--camera", choices=list(CAMERAS), action="append", help="one camera; default all")
    arguments = parser.parse_args()
    set_quiet(True)
    for name in arguments.camera or CAMERAS:
        study(name, arguments.seeds, arguments.shape)


if __name__ == "__main__":
    main()
