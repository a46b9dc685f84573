"""How often the truth of a pixel lies within its stated error, and whether the maps are right in the mean.

    python scripts/study_pixel_maps.py [--side 256] [--case NAME ...] [--list]

Every case shoots frames of a sensor whose pixels are known and measures the maps under the sensor's own scalars. For
each map: the error of the mean in percent of the true mean (of the gain before it is tied to the scalar), mean and rms
of the pulls (measured - true)/std, the share of pixels within 1.96 of their std (95 % where errors are honest), and
the variance ratio of the two halves of the frames. The baseline is what plain arrays give: variance of a pixel's
frames less rounding, root with negative ones set to 0; slope of variance over mean with weights 1/variance^2 observed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from pixel_frames import NAMES, PixelSensor, shoot_captures, true_map

from calibrate.frames import iterate_frames
from calibrate.pixel_maps import measure_maps
from calibrate.plumbing.progress import set_quiet
from calibrate.response import Response

LIGHT = tuple(float(y) for y in np.linspace(500, 7000, 14))
PAIRS = {"light_e": LIGHT, "frames": 2, "dark_exposures_s": tuple(np.linspace(0, 4, 14)), "darks": 2}
MANY = {"light_e": LIGHT[::2], "frames": 16, "dark_exposures_s": (0.0, 4.0), "darks": 64}


def fall_off(side: int) -> np.ndarray:
    """Light that falls by 30 % towards the corners, mean 1."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    pattern = 1 - 0.15 * (x * x + y * y)
    return pattern / pattern.mean()


#: Name: (sensor, captures).
CASES: dict[str, tuple[dict, dict]] = {
    "pairs": ({}, PAIRS),
    "many frames": ({}, MANY),
    "one dark exposure, 3 darks": ({}, {"light_e": LIGHT, "dark_exposures_s": (0.0,), "darks": 3}),
    "wide spread of read noise": ({"read_spread": 0.7}, MANY),
    "dark charge 40 times the read noise's": ({"dark_e_per_s": 100.0}, PAIRS),
    "no dark current": ({"dark_e_per_s": 0.0}, PAIRS),
    "bent response": ({"response": Response("polynomial", (-0.04,), 3500.0)}, PAIRS),
    "bent response, fall-off 30 %": ({"response": Response("polynomial", (-0.04,), 3500.0)}, {**PAIRS, "fall": True}),
    "lamp 2 %, fall-off 30 %": ({}, {**PAIRS, "fall": True, "flicker": 0.02}),
    "gain differs by 10 %, 200 frames": ({"gain_percent": 10.0}, {**MANY, "frames": 200}),
    "few electrons": ({"gain": 2.0, "read_noise_e": 1.0}, {**PAIRS, "light_e": tuple(np.linspace(2, 30, 14))}),
    "noise 0.5 DN": ({"gain": 0.1, "read_noise_e": 5.0, "read_spread": 0.0}, MANY),
    "noise 0.3 DN": ({"gain": 0.1, "read_noise_e": 3.0, "read_spread": 0.0}, MANY),
    "no noise but light's": ({"read_noise_e": 0.0, "dark_e_per_s": 0.0, "rounds": False}, PAIRS),
    "outliers 1e-3": ({}, {**PAIRS, "hits": 1e-3}),
}


def study(name: str, side: int) -> None:
    """Measure one case and print its lines."""
    changes, settings = CASES[name]
    settings = dict(settings)
    sensor = PixelSensor((side, side), seed=4, **changes)
    rng = np.random.default_rng(8)
    if settings.pop("fall", False):
        settings["light_pattern"] = fall_off(side)
    flicker, hits = settings.pop("flicker", 0.0), settings.pop("hits", 0.0)
    if flicker:
        settings["lamp"] = lambda k: 1 + flicker * rng.standard_normal()
    if hits:

        def strike(frame: np.ndarray, kind: str, k: int) -> np.ndarray:
            height = (rng.random(frame.shape) < hits) * rng.exponential(400, frame.shape)
            return np.minimum(frame + height, 65535).astype(frame.dtype)

        settings["change"] = strike
    with tempfile.TemporaryDirectory() as place:
        captures = shoot_captures(sensor, Path(place) / "c", **settings)
        found = measure_maps(captures, sensor.scalar_fit())
        plain_read, plain_gain = plain_maps(captures, sensor)
    print(f"\n{name}: {side} x {side}, {sum(x.n_frames for x in captures.levels)} frames")
    print(f"  {'map':<22}{'mean %':>9}{'pull':>8}{'rms':>7}{'95 %':>8}{'halves':>9}{'plain %':>10}")
    pattern = settings.get("light_pattern", 1.0)
    for entry in NAMES:
        if entry not in found.maps:
            continue
        truth = true_map(found, sensor, entry, pattern)
        good = found.defects.mask == 0
        pull = ((found.maps[entry] - truth) / found.maps[entry + "_std"])[good]
        mean = float(np.mean(truth[good]))
        bias = float(np.mean(found.maps[entry][good])) / mean - 1 if mean > 1e-6 else 0.0
        if entry == "system_gain_dn_per_e":
            bias = found.gain_ratio - 1
        plain = {"read_noise_e": plain_read, "system_gain_dn_per_e": plain_gain}.get(entry)
        halves = found.repeatability.get(entry)
        print(
            f"  {entry:<22}{100 * bias:>+9.2f}{pull.mean():>+8.3f}{np.sqrt(np.mean(pull**2)):>7.3f}"
            f"{100 * np.mean(np.abs(pull) < 1.96):>8.2f}"
            + (f"{halves.variance_ratio:>9.3f}" if halves else f"{'':>9}")
            + (f"{100 * plain:>+10.2f}" if plain is not None else "")
        )
    print("  defects: " + ", ".join(f"{key} {entry.count}" for key, entry in found.defects.counts.items()))


def plain_maps(captures, sensor: PixelSensor) -> tuple[float, float]:
    """Relative error of the means of read noise and gain from plain arrays."""
    darks, points = [], []
    for level in captures.levels:
        stack = np.stack(list(iterate_frames(level.frames))).astype(np.float64)
        mean, variance = stack.mean(axis=0), stack.var(axis=0, ddof=1)
        (darks if level.kind == "dark" else points).append((mean, variance))
    gain = sensor.scalar_fit().system_gain_dn_per_e
    still = np.mean([v for _, v in darks], axis=0) - (1 / 12 if sensor.rounds else 0.0)
    read = np.sqrt(np.maximum(still, 0)) / gain
    signal = np.array([m - sensor.scalar_fit().offset_dn for m, _ in points])
    variance = np.array([v for _, v in points])
    weight = 1 / np.maximum(variance, 1e-3) ** 2
    slope = np.sum(weight * signal * (variance - still), axis=0) / np.sum(weight * signal**2, axis=0)
    truth = sensor.maps
    true_read = max(float(np.mean(truth["read_noise_e"])), 1e-9)
    return float(np.mean(read)) / true_read - 1, float(np.mean(slope)) / gain - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--side", type=int, default=256, help="pixels on a side (default 256)")
    parser.add_argument("--case", choices=list(CASES), action="append", help="one case; default all")
    parser.add_argument("--list", action="store_true", help="names of the cases, and nothing else")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return
    set_quiet(True)
    for name in arguments.case or CASES:
        study(name, arguments.side)


if __name__ == "__main__":
    main()
