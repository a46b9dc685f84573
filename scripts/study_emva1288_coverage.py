"""How often the truth lies within the stated errors of the EMVA 1288 quantities, over simulated sensors.

    python scripts/study_emva1288_coverage.py [--seeds 200] [--shape 64x80] [--light-scatter-percent 0.3]

Every seed is another sensor of one kind: its pattern of rows, columns and pixels is drawn anew, and all its frames are
read from files. Prints for every quantity the truth, the mean of the estimates, the mean and the root mean square of
the pulls (estimate - truth)/std, and how many lie within 1.96: an honest error has a root mean square of 1 and 95 %.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from calibrate import NoiseModel
from calibrate.emva1288 import measure_emva1288
from calibrate.emva1288.highpass import transfer
from calibrate.plumbing.progress import set_quiet

GAIN, READ_E, OFFSET, BITS, EFFICIENCY, DARK_E_PER_S = 0.5, 3.0, 100.0, 12, 0.6, 40.0
DSNU_DN = {"row": 0.25, "column": 0.35, "pixel": 0.8}
PRNU = {"row": 0.003, "column": 0.004, "pixel": 0.01}
LEVELS, STACK, LONGEST_S = 16, 16, 0.8
#: Photons that fill the range; the brightest level has 1.1 times as many.
FULL = (2**BITS - 1 - OFFSET) / (GAIN * EFFICIENCY)


def pattern(rng: np.random.Generator, shape: tuple[int, int], sigma: dict[str, float]) -> np.ndarray:
    """Independent rows, columns and pixels."""
    height, width = shape
    rows = sigma["row"] * rng.standard_normal((height, 1))
    columns = sigma["column"] * rng.standard_normal((1, width))
    return rows + columns + sigma["pixel"] * rng.standard_normal(shape)


def shoot(folder: Path, seed: int, shape: tuple[int, int], light_scatter: float) -> None:
    """Frames of one sensor, listed in a manifest with the photons of every level."""
    rng = np.random.default_rng(seed)
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=GAIN,
        read_noise_e=READ_E,
        offset_dn=OFFSET,
        bit_depth=BITS,
        maps={"offset_dn": OFFSET + pattern(rng, shape, DSNU_DN)},
    )
    response = 1 + pattern(rng, shape, PRNU)
    lines = [f"# bit_depth: {BITS}", "path,kind,exposure_s,photons_per_pixel,level"]

    def take(kind: str, photons: float, exposure_s: float, count: int) -> None:
        light = photons * (1 + light_scatter * rng.standard_normal()) if kind == "bright" else 0.0
        charge = EFFICIENCY * light * response + DARK_E_PER_S * exposure_s
        frames = np.stack([sensor.sample(charge, rng) for _ in range(count)])
        name = f"{kind}_{len(lines):03d}.npy"
        np.save(folder / name, frames)
        lines.append(f"{name},{kind},{exposure_s!r},{photons if kind == 'bright' else ''},{len(lines)}")

    for step in np.arange(1, LEVELS + 1) / LEVELS:
        take("bright", float(1.1 * FULL * step), float(LONGEST_S * step), 2)
        take("dark", 0.0, float(LONGEST_S * step), 2)
    take("bright", float(FULL / 2), LONGEST_S / 2.2, STACK)
    take("dark", 0.0, LONGEST_S / 2.2, STACK)
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")


def truth(shape: tuple[int, int]) -> dict[str, float]:
    """What the quantities are, by the camera model and not by the standard's estimators."""
    kept = transfer(*shape)
    dark2 = (GAIN * READ_E) ** 2 + 1 / 12
    values = {
        "system_gain_dn_per_e": GAIN,
        "responsivity_dn_per_photon": GAIN * EFFICIENCY,
        "quantum_efficiency_percent": 100 * EFFICIENCY,
        "temporal_dark_noise_dn": np.sqrt(dark2),
        "temporal_dark_noise_e": READ_E,
        "sensitivity_threshold_photons": (np.sqrt(dark2 / GAIN**2 + 0.25) + 0.5) / EFFICIENCY,
        "sensitivity_threshold_photons_r31": (np.sqrt(dark2) / GAIN + 0.5) / EFFICIENCY,
        "dark_current_from_mean_e_per_s": DARK_E_PER_S,
        "dark_current_from_variance_e_per_s": DARK_E_PER_S,
    }
    saturation = clipped_photons()
    values["saturation_capacity_photons"] = saturation
    values["saturation_capacity_e"] = EFFICIENCY * saturation
    values["snr_max"] = np.sqrt(EFFICIENCY * saturation)
    values["dynamic_range"] = saturation / values["sensitivity_threshold_photons"]
    for name, sigma, unit, factor in (("dsnu1288", DSNU_DN, "e", 1 / GAIN), ("prnu1288", PRNU, "percent", 100.0)):
        power = {part: value**2 for part, value in sigma.items()}
        passed = {"row": kept.rows, "column": kept.columns, "pixel": kept.pixels}
        for part in power:
            values[f"{name}_{part}_{unit}"] = factor * np.sqrt(power[part] * passed[part])
        values[f"{name}_{unit}"] = factor * np.sqrt(sum(power[part] * passed[part] for part in power))
        values[f"{name}_{unit}_r31"] = factor * np.sqrt(sum(power.values()))
    return values


def clipped_photons() -> float:
    """Photons at which 0.15 % of the pixels show the highest code."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()

    def share(photons: float) -> float:
        light = EFFICIENCY * photons
        exposure = LONGEST_S * photons / (1.1 * FULL)
        mean = OFFSET + GAIN * (light + DARK_E_PER_S * exposure)
        spread = np.hypot(
            np.sqrt(sum(s**2 for s in DSNU_DN.values())), GAIN * light * np.sqrt(sum(s**2 for s in PRNU.values()))
        )
        temporal = np.sqrt(GAIN**2 * (light + DARK_E_PER_S * exposure + READ_E**2))
        return float(weights @ norm.sf((2**BITS - 1.5 - mean - spread * nodes) / temporal))

    return float(brentq(lambda photons: share(photons) - 0.0015, 0.7 * FULL, FULL))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=200, help="sensors (default 200)")
    parser.add_argument("--shape", default="64x80", metavar="HxW", help="pixels (default 64x80)")
    parser.add_argument("--light-scatter-percent", type=float, default=0.3, help="from level to level (default 0.3)")
    parser.add_argument("--draws", type=int, default=300, help="draws behind every error (default 300)")
    arguments = parser.parse_args()
    height, width = (int(part) for part in arguments.shape.split("x"))
    set_quiet(True)
    true = truth((height, width))
    pulls: dict[str, list[float]] = {name: [] for name in true}
    found: dict[str, list[float]] = {name: [] for name in true}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as place:
            shoot(Path(place), seed, (height, width), arguments.light_scatter_percent / 100)
            entries = measure_emva1288(place, seed=seed, draws=arguments.draws).entries
        for name, value in true.items():
            entry = entries[name]
            found[name].append(entry.value)
            pulls[name].append((entry.value - value) / entry.std)
    print(f"{arguments.seeds} sensors of {height} x {width} pixels")
    print(f"{'quantity':<38}{'truth':>11}{'mean':>11}{'scatter':>11}{'pull':>7}{'rms':>7}{'within 1.96':>13}")
    for name, values in pulls.items():
        pull, all_found = np.array(values), np.array(found[name])
        inside = f"{100 * np.mean(np.abs(pull) < 1.96):.1f} %"
        print(
            f"{name:<38}{true[name]:>11.5g}{all_found.mean():>11.5g}{all_found.std(ddof=1):>11.2g}"
            f"{pull.mean():>+7.2f}{np.sqrt(np.mean(pull**2)):>7.2f}{inside:>13}"
        )


if __name__ == "__main__":
    main()
