"""How close the fit comes to the least possible error, and how often its intervals hold the truth.

    python scripts/study_cramer_rao.py [--seeds 1000] [--shape 64] [--workers 1] [--camera NAME]

Small frames of simulated cameras go through the whole path, choice of model included. Printed for the gain and the read
noise: the rms error against the truth in units of the Cramer-Rao bound (`calibrate.photon_transfer.fisher`: means and
pair variances of every level, the light a nuisance), how many 95 % intervals of 300 hold the truth, and which model was
chosen how often, with standard errors. Targets: a ratio of at most 1.1, and 275 to 295 of 300.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.photon_transfer.fisher import CameraPoint, FisherInformation, LevelDesign, fisher_information
from calibrate.plumbing.progress import set_quiet
from calibrate.simulate import OVERSHOOT

NAMES = ("system_gain_dn_per_e", "read_noise_e")
#: Half-width of a 95 % interval, standard errors.
WIDTH = 1.959964
RATIO_TARGET = 1.1
COVERAGE_TARGET = (275, 295)


@dataclass(frozen=True)
class Study:
    """A camera, its lamp, and how it is shot: two frames at every level, as many darks as flats."""

    scatter_percent: float
    n_levels: int
    system_gain_dn_per_e: float = 0.5
    read_noise_e: float = 3.0
    offset_dn: float = 100.0
    bit_depth: int = 12
    dark_current_e_per_s: float = 5.0
    coefficients: tuple[float, ...] = ()
    n_dark_levels: int | None = None

    @property
    def range_dn(self) -> float:
        """Signal that reaches the highest code, DN."""
        return 2**self.bit_depth - 1 - self.offset_dn

    def sensor(self) -> NoiseModel:
        """The camera to shoot with."""
        bend = {"coefficients": self.coefficients, "scale_dn": self.range_dn} if self.coefficients else None
        return NoiseModel.from_parameters(
            system_gain_dn_per_e=self.system_gain_dn_per_e,
            read_noise_e=self.read_noise_e,
            offset_dn=self.offset_dn,
            bit_depth=self.bit_depth,
            dark_current_e_per_s=self.dark_current_e_per_s,
            response=bend,
        )

    def information(self, side: int) -> FisherInformation:
        """Fisher information of the captures that `simulate_captures` makes, levels that clip included."""
        response = self.sensor().camera.response
        full_e = float(response.inverse(np.array(self.range_dn))) / self.system_gain_dn_per_e
        point = CameraPoint(
            system_gain_dn_per_e=self.system_gain_dn_per_e,
            read_noise_e=self.read_noise_e,
            offset_dn=self.offset_dn,
            dark_current_e_per_s=self.dark_current_e_per_s,
            responsivity_e_per_light=OVERSHOOT * full_e,
            response_coefficients=self.coefficients,
            response_scale_dn=self.range_dn,
            bit_depth=self.bit_depth,
            light_scatter=self.scatter_percent / 100,
        )
        exposures = np.arange(1, self.n_levels + 1) / self.n_levels
        dark = exposures if self.n_dark_levels is None else np.linspace(0.0, 1.0, self.n_dark_levels)
        levels = [LevelDesign("bright", float(t), float(t), 2, side * side) for t in exposures]
        levels += [LevelDesign("dark", 0.0, float(t), 2, side * side) for t in dark]
        return fisher_information(point, levels)


#: Fixed before the first run; seeds run from 0.
STUDIES: dict[str, Study] = {
    "16 levels, light 0.1 %": Study(0.1, 16),
    "16 levels, light 1 %": Study(1.0, 16),
    "50 levels, light 0.1 %": Study(0.1, 50),
    "50 levels, light 1 %": Study(1.0, 50),
    "50 levels, light 0.1 %, high gain, 16 bit": Study(0.1, 50, 4.0, 1.2, 400.0, 16),
    "50 levels, light 1 %, coarse (0.6 DN)": Study(1.0, 50, 0.1, 6.0, 100.0, 12),
    "50 levels, light 0.1 %, compression 2 %": Study(0.1, 50, coefficients=(-0.02,)),
}


@dataclass
class Outcome:
    """What the seeds of one study gave."""

    value: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NAMES})
    std: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in NAMES})
    model: list[str] = field(default_factory=list)
    linear_gain: list[float] = field(default_factory=list)


def fit_seeds(study: Study, side: int, seeds: range) -> Outcome:
    """Simulate and fit some seeds."""
    set_quiet(True)
    sensor, outcome = study.sensor(), Outcome()
    with tempfile.TemporaryDirectory() as place:
        for seed in seeds:
            folder = simulate_captures(
                sensor,
                Path(place) / "captures",
                levels=study.n_levels,
                shape=(side, side),
                dark_levels=study.n_dark_levels,
                light_scatter_percent=study.scatter_percent,
                seed=seed,
                overwrite=True,
            )
            model = fit_noise_model(folder)
            for name in NAMES:
                entry = model.parameter(name)
                outcome.value[name].append(np.nan if entry is None else entry.value)
                outcome.std[name].append(np.nan if entry is None or entry.std is None else entry.std)
            outcome.model.append(model.document.fit.model)
            outcome.linear_gain += [x.system_gain_dn_per_e for x in model.document.fit.candidates if x.name == "linear"]
    return outcome


def run_study(study: Study, side: int, seeds: int, workers: int) -> Outcome:
    """All seeds, in as many processes as wanted; the same numbers whatever their number."""
    chunks = [range(start, min(start + 25, seeds)) for start in range(0, seeds, 25)]
    whole = Outcome()
    for part in _parts(partial(fit_seeds, study, side), chunks, workers):
        for name in NAMES:
            whole.value[name] += part.value[name]
            whole.std[name] += part.std[name]
        whole.model += part.model
        whole.linear_gain += part.linear_gain
    return whole


def _parts(function: partial[Outcome], chunks: list[range], workers: int) -> Iterator[Outcome]:
    if workers == 1:
        yield from map(function, chunks)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(function, chunks)


def ratio_to_bound(error: np.ndarray, bound: float) -> tuple[float, float]:
    """Rms error over the bound, and the standard error of that ratio."""
    square = (error / bound) ** 2
    ratio = float(np.sqrt(np.mean(square)))
    return ratio, float(np.std(square, ddof=1) / np.sqrt(square.size) / (2 * ratio))


def coverage_of_300(error: np.ndarray, std: np.ndarray) -> tuple[float, float]:
    """95 % intervals that hold the truth, of 300, and the standard error of that number."""
    share = float(np.mean(np.abs(error) <= WIDTH * std))
    return 300 * share, 300 * float(np.sqrt(max(share * (1 - share), 1 / error.size**2) / error.size))


def report(name: str, study: Study, side: int, outcome: Outcome, seconds: float) -> None:
    """Print one study."""
    information = study.information(side)
    n = len(outcome.model)
    print(f"\n{name}: {n} seeds of {side} x {side} pixels, {seconds / n:.2f} s each", flush=True)
    print(f"  {'':<24}{'bound':>9}{'rms error':>11}{'ratio':>16}{'mean':>9}{'stated':>9}{'95 %, of 300':>18}")
    truth = {"system_gain_dn_per_e": study.system_gain_dn_per_e, "read_noise_e": study.read_noise_e}
    for entry in NAMES:
        found, std = np.array(outcome.value[entry]), np.array(outcome.std[entry])
        error, bound = found - truth[entry], information.std(entry)
        ratio, ratio_error = ratio_to_bound(error, bound)
        inside, inside_error = coverage_of_300(error, std)
        percent = 100 / truth[entry]
        late = "" if ratio <= RATIO_TARGET else " above"
        outside = "" if COVERAGE_TARGET[0] <= inside <= COVERAGE_TARGET[1] else " outside"
        print(
            f"  {entry:<24}{bound * percent:>8.3f}%{np.sqrt(np.mean(error**2)) * percent:>10.3f}%"
            f"{ratio:>8.3f} +- {ratio_error:.3f}{np.mean(error) / bound:>+9.2f}"
            f"{np.sqrt(np.mean(std**2)) / bound:>9.3f}{inside:>10.1f} +- {inside_error:<4.1f}{late}{outside}"
        )
    chosen = Counter(outcome.model)
    print("  models: " + ", ".join(f"{key} {100 * count / n:.1f} %" for key, count in chosen.most_common()))
    linear = np.array(outcome.linear_gain)
    if not study.coefficients and linear.size == n:
        ratio, error = ratio_to_bound(linear - study.system_gain_dn_per_e, information.std(NAMES[0]))
        print(f"  gain of the straight line, whatever was chosen: ratio {ratio:.3f} +- {error:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=1000, help="fits of every camera (default 1000)")
    parser.add_argument("--shape", type=int, default=64, metavar="SIDE", help="pixels on a side (default 64)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--camera", choices=list(STUDIES), action="append", help="one camera; default all")
    arguments = parser.parse_args()
    if arguments.seeds < 2 or arguments.shape < 2 or arguments.workers < 1:
        parser.error("--seeds and --shape are 2 or more, --workers 1 or more")
    for name in arguments.camera or STUDIES:
        started = time.monotonic()
        outcome = run_study(STUDIES[name], arguments.shape, arguments.seeds, arguments.workers)
        report(name, STUDIES[name], arguments.shape, outcome, time.monotonic() - started)


if __name__ == "__main__":
    main()
