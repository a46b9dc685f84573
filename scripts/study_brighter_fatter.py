"""Gain, shifts and their errors on simulated brighter-fatter sensors with known truth.

    python scripts/study_brighter_fatter.py [--seeds 40] [--sensor NAME ...]

Frames are drawn with the covariance spectrum of Astier et al. 2019 (arXiv 1905.08677, equation 20, integrated step by
step here and solved in closed form in the package), written, and fitted through the public function. Prints per sensor
what was chosen, the error of the gain, how many 95 % intervals hold the truth, and the error of the richest response
without brighter-fatter.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate import fit_noise_model
from calibrate.plumbing.progress import set_quiet

GAIN, READ_NOISE_E, OFFSET, TOP_E = 0.6, 5.0, 500.0, 1e5
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sensor:
    """Shifts per electron, the response's loss at 50 000 DN, the lamp's scatter, whether exposures are known."""

    own_per_e: float = -2.7e-6
    b_per_e: float = 0.0
    loss: float = 0.0
    scatter: float = 0.0
    exposures: bool = True
    side: int = 256


SENSORS = {
    "b = 0": Sensor(),
    "b = 0, no light axis": Sensor(exposures=False),
    "b = -1.5e-6": Sensor(b_per_e=-1.5e-6),
    "2 % compression beside": Sensor(loss=0.02),
    "lamp scatters by 1 %": Sensor(scatter=0.01),
    "no brighter-fatter": Sensor(own_per_e=0.0),
    "96 x 96": Sensor(side=96),
}


def shift_spectrum(own_per_e: float, side: int, lags: int = 8) -> FloatArray:
    """Transform of a matrix of shifts that falls with distance and conserves charge."""
    i, j = np.indices((2 * lags + 1, 2 * lags + 1)) - lags
    distance = np.hypot(i, 1.15 * j)
    distance[lags, lags] = 1.0
    shifts = distance**-3.2
    shifts[lags, lags] = 0.0
    shifts *= -own_per_e / shifts.sum()
    shifts[lags, lags] = own_per_e
    field = np.zeros((side, side))
    for (row, column), value in zip(np.stack([i.ravel(), j.ravel()], axis=1), shifts.ravel(), strict=True):
        field[row, column] = value
    return np.fft.fft2(field).real


def noise_spectrum(mean_e: float, shifts: FloatArray, b_per_e: float, steps: int = 400) -> FloatArray:
    """Spectrum of the charge by Simpson's rule along its collection."""
    collected = np.linspace(0.0, mean_e, steps + 1)
    weight = np.full(steps + 1, 2.0)
    weight[1::2] = 4.0
    weight[[0, -1]] = 1.0
    weight *= mean_e / steps / 3
    out = np.zeros_like(shifts)
    for at, share in zip(collected, weight, strict=True):
        out += share * np.exp(2 * shifts * ((mean_e - at) + b_per_e * (mean_e**2 - at**2) / 2))
    return out


def shoot(folder: Path, sensor: Sensor, seed: int, levels: int = 18) -> None:
    """18 levels of two flats, and a dark pair at every fourth exposure."""
    rng = np.random.default_rng(seed)
    shifts = shift_spectrum(sensor.own_per_e, sensor.side)
    shape = (sensor.side, sensor.side)
    rows = ["path,kind,exposure_s,level" if not sensor.exposures else "path,kind,exposure_s"]

    def write(name: str, kind: str, level: int, signal: FloatArray) -> None:
        np.save(folder / name, np.floor(OFFSET + signal + 0.5).astype(np.uint32))
        rows.append(f"{name},{kind},{level / levels}" if sensor.exposures else f"{name},{kind},,{level}")

    for level in range(1, levels + 1):
        mean = TOP_E * level / levels * (1 + sensor.scatter * rng.standard_normal())
        amplitude = np.sqrt(noise_spectrum(mean, shifts, sensor.b_per_e))
        for frame in range(2):
            charge = mean + np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * amplitude).real
            signal = GAIN * (charge + READ_NOISE_E * rng.standard_normal(shape))
            write(f"flat_{level}_{frame}.npy", "bright", level, signal * (1 - sensor.loss * signal / 5e4))
        if level % 4 == 1:
            for frame in range(2):
                write(f"dark_{level}_{frame}.npy", "dark", level, GAIN * READ_NOISE_E * rng.standard_normal(shape))
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def study(name: str, seeds: int) -> None:
    """Fit one sensor ``seeds`` times and print its lines."""
    sensor = SENSORS[name]
    chosen: Counter[str] = Counter()
    error, pull, without, own, conserved = [], [], [], [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            shoot(Path(place), sensor, seed)
            model = fit_noise_model(Path(place) / "manifest.csv")
        document = model.document
        chosen[document.fit.model] += 1
        gain = model.parameter("system_gain_dn_per_e")
        error.append(100 * (gain.value / GAIN - 1))
        pull.append((gain.value - GAIN) / gain.std)
        responses = [c.system_gain_dn_per_e for c in document.fit.candidates if "brighter" not in c.name]
        without.append(100 * (responses[-1] / GAIN - 1))
        found = model.parameter("brighter_fatter_a00_per_e")
        if found is not None and document.brighter_fatter is not None:
            own.append(((found.value / sensor.own_per_e - 1) * 100, (found.value - sensor.own_per_e) / found.std))
            sum_, std = (getattr(document.brighter_fatter, f"a00_from_neighbours{end}_per_e") for end in ("", "_std"))
            conserved.append((sum_ - sensor.own_per_e) / std)

    def rms(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    inside = int(np.sum(np.abs(pull) < 1.96))
    print(f"{name}: " + ", ".join(f"{key} {count}" for key, count in chosen.most_common()))
    print(
        f"  K: bias {np.mean(error):+.3f} %, rms {rms(error):.3f} %, pull rms {rms(pull):.2f}, "
        f"95 % intervals {inside} of {seeds}; richest response without: bias {np.mean(without):+.2f} %"
    )
    if own:
        bias, pulls = np.array(own).T
        print(
            f"  a00: bias {bias.mean():+.1f} %, rms {rms(list(bias)):.1f} %, pull rms {rms(list(pulls)):.2f}; "
            f"from the neighbours: pull rms {rms(conserved):.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=40, help="fits of every sensor (default 40)")
    parser.add_argument("--sensor", action="append", choices=list(SENSORS), help="one sensor; default all")
    arguments = parser.parse_args()
    set_quiet(True)
    for name in arguments.sensor or SENSORS:
        study(name, arguments.seeds)


if __name__ == "__main__":
    main()
