"""Errors of the calibration on sensors and lamps that are not the textbook's, against known truth.

    python scripts/benchmark_calibration.py [--case NAME ...] [--seeds 20] [--side 256] [--list]

Every seed shoots frames of a simulated camera, fits them through the public function, and prints for system gain and
read noise the mean and rms relative error over the seeds beside the mean of the stated standard errors, the largest
pull, and the same figures of the straight line through (mean, variance) that most tools fit. The ratio is the line's
rms error of the gain over ours.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibrate import NoiseModel, fit_noise_model
from calibrate.plumbing.progress import set_quiet
from calibrate.response import Response


@dataclass(frozen=True)
class Camera:
    """A sensor, its lamp, and how it is shot. Relative numbers are fractions.

    ``knee`` is its signal in DN and the slope beyond it. Outliers have heights even over 70 % of the range, or
    exponential ones of mean ``outlier_mean_dn``.
    """

    gain: float = 0.5
    read_noise_e: float = 3.0
    offset: float = 100.0
    bits: int = 12
    bend: tuple[float, ...] = ()
    knee: tuple[float, float] | None = None
    levels: int = 25
    frames: int = 2
    top: float = 0.9
    scatter: float = 1e-3
    drift: float = 0.0
    fall_off: float = 0.0
    outliers: float = 0.0
    outlier_mean_dn: float | None = None
    light_pattern: float = 0.0
    gain_pattern: float = 0.0
    offset_pattern_e: float = 0.0
    dark_current: float = 5.0
    full_well_e: float | None = None
    well_pattern: float = 0.0

    @property
    def model(self) -> NoiseModel:
        """The camera without its patterns."""
        top = float(2**self.bits - 1 - self.offset)
        response = {"coefficients": self.bend, "scale_dn": top} if self.bend else None
        return NoiseModel.from_parameters(
            system_gain_dn_per_e=self.gain,
            read_noise_e=self.read_noise_e,
            offset_dn=self.offset,
            bit_depth=self.bits,
            response=response if self.knee is None else Response.two_slope(*self.knee),
        )


PLAIN = Camera()
COARSE = replace(PLAIN, gain=0.1, read_noise_e=2.0, offset_pattern_e=30.0)
#: Name: (camera, target of the gain's error in percent, target of the read noise's).
CASES: dict[str, tuple[Camera, str]] = {
    "plain": (PLAIN, ""),
    "cubic 2 %": (replace(PLAIN, bend=(0.0, -0.02)), "K 0.15 % rms, no pull beyond 4"),
    "cubic 4 %": (replace(PLAIN, bend=(0.0, -0.04)), "K 0.15 % rms, no pull beyond 4"),
    "quadratic 2 %": (replace(PLAIN, bend=(-0.02,)), "K 0.15 % rms, no pull beyond 4"),
    "lamp drift 1 %, fall-off 30 %": (replace(PLAIN, drift=0.01, fall_off=0.3), "K 0.1 %"),
    "fall-off 30 %, quadratic 2 %": (replace(PLAIN, fall_off=0.3, bend=(-0.02,)), "K 0.15 %"),
    "outliers 1e-3": (replace(PLAIN, outliers=1e-3), "K 0.3 %"),
    "outliers 1e-4": (replace(PLAIN, outliers=1e-4), "K 0.3 %"),
    "noise 0.2 DN": (replace(PLAIN, gain=0.1, read_noise_e=2.0), "read noise 3 % or says so"),
    "noise 0.3 DN": (replace(PLAIN, gain=0.1, read_noise_e=3.0, offset=100.3), "read noise 3 % or says so"),
    "noise 0.4 DN": (replace(PLAIN, gain=0.1, read_noise_e=4.0, offset=100.5), "read noise 3 % or says so"),
    "noise 0.5 DN": (replace(PLAIN, gain=0.1, read_noise_e=5.0), "read noise 3 % or says so"),
    "black clipped, 1.5 DN": (replace(PLAIN, offset=0.0), "K 0.5 %"),
    "black clipped, 10 DN": (replace(PLAIN, offset=0.0, read_noise_e=20.0), "K 0.5 %"),
    "black clipped, 0.75 DN": (replace(PLAIN, offset=0.0, read_noise_e=1.5), "K 0.5 %"),
    "black at 1 sigma": (replace(PLAIN, offset=3.0, read_noise_e=6.0), "K 0.5 %"),
    "PRNU 3 % in light": (replace(PLAIN, light_pattern=0.03), "K 0.02 % (mean)"),
    "PRNU 3 % in gain": (replace(PLAIN, gain_pattern=0.03), "K 0.02 % (mean)"),
    "knee, slope 0.3": (replace(PLAIN, knee=(2000.0, 0.3)), ""),
    "knee, slope 0.3, fall-off 30 %": (replace(PLAIN, knee=(2000.0, 0.3), fall_off=0.3), ""),
    "scatter 1 %": (replace(PLAIN, scatter=0.01), ""),
    "outliers 1e-3, exponential 300 DN": (replace(PLAIN, outliers=1e-3, outlier_mean_dn=300.0), "K 0.3 %"),
    "outliers 1e-3, drift 1 %, fall-off 30 %": (replace(PLAIN, outliers=1e-3, drift=0.01, fall_off=0.3), "K 0.3 %"),
    "outliers 1e-3, low light": (replace(PLAIN, outliers=1e-3, top=0.004), ""),
    "low light, 32 e-": (replace(PLAIN, top=0.004), ""),
    "low light, 16 e-, 2 DN/e-": (replace(PLAIN, gain=2.0, read_noise_e=1.5, top=0.008), ""),
    "white clipped": (replace(PLAIN, top=1.2), "K 0.1 %"),
    "full well": (replace(PLAIN, full_well_e=6000.0, top=1.2), "K 0.1 %"),
    "full well differs by 3 %": (replace(PLAIN, full_well_e=6000.0, well_pattern=0.03, top=1.2), "K 0.1 %"),
    "full well, fall-off 30 %": (replace(PLAIN, full_well_e=6000.0, fall_off=0.3, top=1.2), "K 0.1 %"),
    "DSNU 2 DN, black clipped, 1.5 DN": (replace(PLAIN, offset=0.0, offset_pattern_e=4.0), "K 0.5 %"),
    "DSNU 5 DN, black clipped, 1.5 DN": (replace(PLAIN, offset=0.0, offset_pattern_e=10.0), "K 0.5 %"),
    "outliers 1e-3, black clipped, 1.5 DN": (replace(PLAIN, offset=0.0, outliers=1e-3), "K 0.5 %"),
    "outliers 1e-3, DSNU 2 DN, black clipped": (
        replace(PLAIN, offset=0.0, offset_pattern_e=4.0, outliers=1e-3),
        "K 0.5 %",
    ),
    "DSNU 3 DN, noise 0.2 DN": (COARSE, "read noise 3 % or says so"),
    "DSNU 3 DN, noise 0.3 DN": (replace(COARSE, read_noise_e=3.0), "read noise 3 % or says so"),
    "DSNU 0.3 DN, noise 0.3 DN": (
        replace(COARSE, read_noise_e=3.0, offset=100.3, offset_pattern_e=3.0),
        "read noise 3 % or says so",
    ),
    "outliers 1e-3, DSNU 3 DN, noise 0.3 DN": (
        replace(COARSE, read_noise_e=3.0, outliers=1e-3),
        "read noise 3 % or says so",
    ),
}


def shoot(camera: Camera, side: int, rng: np.random.Generator, folder: Path) -> None:
    """Frames of one seed as two stacks and a manifest: brights, and a dark pair at every exposure."""
    shape = (side, side)
    sensor = camera.model
    response = sensor.camera.response
    y, x = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    light_map = (1 - camera.fall_off * (x**2 + y**2) / 2) * (1 + camera.light_pattern * rng.standard_normal(shape))
    light_map /= light_map.mean()
    gain_map = camera.gain * (1 + camera.gain_pattern * rng.standard_normal(shape))
    gain_map *= camera.gain / gain_map.mean()
    offset_map = camera.offset + camera.gain * camera.offset_pattern_e * rng.standard_normal(shape)
    white = 2**camera.bits - 1
    full = float(response.inverse(np.array(white - camera.offset))) / camera.gain
    full = min(full, camera.full_well_e or np.inf)
    wells = np.full(shape, camera.full_well_e or np.inf)
    if camera.well_pattern:
        wells *= 1 + camera.well_pattern * rng.standard_normal(shape)
    rows = ["path,kind,exposure_s"]

    def expose(charge: np.ndarray) -> np.ndarray:
        electrons = np.minimum(rng.poisson(np.broadcast_to(charge, shape)), wells)
        electrons = electrons + camera.read_noise_e * rng.standard_normal(shape)
        codes = np.floor(offset_map + response.evaluate(gain_map * electrons) + 0.5)
        return codes

    for level in range(1, camera.levels + 1):
        exposure = level / camera.levels
        lamp = 1 + camera.scatter * rng.standard_normal()
        for kind in ("bright", "dark"):
            for frame in range(camera.frames):
                charge = camera.dark_current * exposure * np.ones(shape)
                if kind == "bright":
                    steady = 1 + camera.drift * rng.standard_normal()
                    charge = charge + camera.top * full * exposure * lamp * steady * light_map
                codes = expose(charge)
                if camera.outliers:
                    hit = rng.random(shape) < camera.outliers
                    codes[hit] += _heights(camera, white, int(hit.sum()), rng)
                name = f"{kind}_{level}_{frame}.npy"
                np.save(folder / name, np.clip(codes, 0, white).astype(np.uint16))
                rows.append(f"{name},{kind},{exposure:.6f}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def _heights(camera: Camera, white: int, count: int, rng: np.random.Generator) -> np.ndarray:
    if camera.outlier_mean_dn is None:
        return rng.uniform(0, 0.7 * white, count)
    return rng.exponential(camera.outlier_mean_dn, count)


def straight_line(model: NoiseModel) -> float:
    """Gain of the unweighted line through the used (mean, variance) points, darks included."""
    points = [m for m in model.document.measurements or () if m.used]
    means, variances = [m.mean_dn for m in points], [m.variance_dn2 for m in points]
    return float(np.polyfit(means, variances, 1)[0])


def run(name: str, seeds: int, side: int, levels: int | None) -> None:
    camera, target = CASES[name]
    if levels:
        camera = replace(camera, levels=levels)
    errors: dict[str, list[tuple[float, float]]] = {"gain": [], "read noise": []}
    line: list[float] = []
    chosen: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    seconds = 0.0
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            shoot(camera, side, np.random.default_rng([seed, 77]), Path(place))
            started = time.process_time()
            model = fit_noise_model(Path(place) / "manifest.csv")
            seconds += time.process_time() - started
        chosen[model.document.fit.model] += 1
        flags.update(flag.code for flag in model.document.fit.flags)
        for key, parameter, true in (
            ("gain", "system_gain_dn_per_e", camera.gain),
            ("read noise", "read_noise_e", camera.read_noise_e),
        ):
            entry = model.parameter(parameter)
            errors[key].append((100 * (entry.value / true - 1), 100 * (entry.std or 0.0) / true))
        line.append(100 * (straight_line(model) / camera.gain - 1))
    print(f"\n{name} ({seeds} seeds of {side} x {side}; {seconds / seeds:.2f} CPU s a fit) {target}")
    for key, pairs in errors.items():
        error, std = np.array(pairs).T
        rms = float(np.sqrt(np.mean(error**2)))
        pulls = error / np.maximum(std, 1e-12)
        mean_error = np.std(error) / np.sqrt(seeds)
        print(
            f"  {key:<11}mean {error.mean():+.4f}({mean_error:.4f}) %  rms {rms:.4f} %  stated {std.mean():.4f} %  "
            f"pulls: rms {np.sqrt(np.mean(pulls**2)):.2f}, largest {np.max(np.abs(pulls)):.2f}"
        )
    line_rms = float(np.sqrt(np.mean(np.square(line))))
    ours = float(np.sqrt(np.mean(np.square([e for e, _ in errors["gain"]]))))
    print(f"  straight line: gain off by {line_rms:.3f} % rms, ratio {line_rms / ours:.1f}")
    print("  models: " + ", ".join(f"{key} {count}" for key, count in chosen.most_common()))
    print("  flags:  " + (", ".join(f"{key} {count}" for key, count in flags.most_common()) or "none"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--case", action="append", choices=list(CASES), help="one case; default all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--levels", type=int, help="bright levels (default 25)")
    parser.add_argument("--list", action="store_true", help="name the cases and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return
    set_quiet(True)
    for name in arguments.case or CASES:
        run(name, arguments.seeds, arguments.side, arguments.levels)


if __name__ == "__main__":
    main()
