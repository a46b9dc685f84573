"""How often a comparison of cameras whose information is known decides, and how often it decides wrongly.

    python scripts/study_compare.py [--seeds 100] [--first 0] [--scenes 300] [--side 8] [--patch-size 4] [--lines]

Every seed shoots the same scenes three times: with a camera a, with a second camera just like it (twin), and with a
noisier one that gives 0.05 bit per pixel less, exactly (quadrature, or closed form). Even seeds have independent pixels
with gamma light (shot noise and read noise, integer codes), odd ones correlated Gaussian fields (real values). Each
camera is scored through a calibration with errors drawn from its covariance; in seeds 2 and 3 of every four, a and its
twin share one calibration, whose error then cancels. It prints how often a and the noisier camera were called
different, and how often a and its twin were, with the standard errors that were stated and the scatter that was seen.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from calibrate import NoiseModel
from calibrate.plumbing.progress import set_quiet
from mi_eval import compare_information
from mi_eval.truth.fields import Correlation
from mi_eval.truth.gaussian_field import GaussianField
from mi_eval.truth.independent import IndependentPixels
from mi_eval.truth.laws import GammaLight

DIFFERENCE_BITS = 0.05
LARGEST_STD_BITS = 0.0117
RELATIVE_STD = {"system_gain_dn_per_e": 0.002, "read_noise_e": 0.002}
OFFSET_STD_DN = 0.01

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Bench:
    """A law of scenes, a camera, and the noisier one."""

    source: IndependentPixels | GaussianField
    noisier: NoiseModel

    def light_e(self, count: int, side: int, rng: np.random.Generator) -> FloatArray:
        """Scenes, electrons."""
        if isinstance(self.source, IndependentPixels):
            return self.source.light.quantile(rng.random((count, side, side)))
        return self.source.mean_e + self.source.sd_e * self.source.correlation.draw(count, side, rng)


def bench(kind: str, patch_size: int) -> Bench:
    """The sources of the study; the noisier camera's read noise is found so that it gives 0.05 bit less."""
    source: IndependentPixels | GaussianField
    if kind == "pixels":
        camera = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100.0, bit_depth=12)
        source = IndependentPixels("study", "", camera, GammaLight(4.0, 20.0))
    else:
        camera = NoiseModel.from_parameters(
            kind="gaussian", system_gain_dn_per_e=0.5, read_noise_e=20.0, offset_dn=200.0
        )
        source = GaussianField("study", "", camera, Correlation(4.0), mean_e=500.0, sd_e=60.0)
    wanted = source.information_bits(patch_size).value - DIFFERENCE_BITS

    def noisier(read_noise_e: float) -> NoiseModel:
        return camera.with_parameters(read_noise_e=read_noise_e)

    def gap(read_noise_e: float) -> float:
        return replace(source, noise_model=noisier(read_noise_e)).information_bits(patch_size).value - wanted

    read = float(camera.camera.read_noise_e)
    return Bench(source, noisier(float(brentq(gap, read, 2 * read, xtol=1e-7))))


def calibrated(camera: NoiseModel, rng: np.random.Generator) -> NoiseModel:
    """What a calibration makes of a camera: parameters with errors, and the covariance that says how large."""
    truth = {
        name: float(getattr(camera.camera, name)) for name in ("system_gain_dn_per_e", "read_noise_e", "offset_dn")
    }
    stds = {name: relative * truth[name] for name, relative in RELATIVE_STD.items()} | {"offset_dn": OFFSET_STD_DN}
    found = camera.with_parameters(**{name: truth[name] + stds[name] * rng.standard_normal() for name in truth})
    plain = found.document.to_plain()
    matrix = np.diag([stds[name] ** 2 for name in truth]).tolist()
    plain["covariance"] = {"names": list(truth), "matrix": matrix}
    return NoiseModel(found.camera, type(found.document).model_validate(plain), found.maps)


@dataclass(frozen=True)
class Outcome:
    """One comparison: difference, its standard error, interval and p-value."""

    value: float
    std: float
    low: float
    high: float
    p_value: float
    slack: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval excludes 0, else 0: the verdict on two entries."""
        return int(self.low > 0) - int(self.high < 0)


def run_seed(seed: int, *, scenes: int, side: int, patch_size: int) -> tuple[Outcome, Outcome]:
    """A against the noisier camera, and a against its twin."""
    rng = np.random.default_rng([seed, 20261127])
    stand = bench("pixels" if seed % 2 == 0 else "fields", patch_size)
    light = stand.light_e(scenes, side, rng)
    camera = stand.source.noise_model
    own = calibrated(camera, rng)
    twin = own if seed % 4 >= 2 else calibrated(camera, rng)
    entries = {
        "a": (camera.sample(light, rng), own),
        "twin": (camera.sample(light, rng), twin),
        "noisier": (stand.noisier.sample(light, rng), calibrated(stand.noisier, rng)),
    }
    pairs = compare_information(entries, paired=True, patch_size=patch_size, seed=seed).pairs
    equal, different = pairs[0], pairs[1]

    def outcome(pair: object) -> Outcome:
        d = pair.difference_bits_per_pixel  # type: ignore[attr-defined]
        slack = pair.slack  # type: ignore[attr-defined]
        return Outcome(d.value, d.std, *d.ci95, pair.p_value, slack[1] - slack[0])  # type: ignore[attr-defined]

    return outcome(different), outcome(equal)


def main() -> None:
    """Run the seeds and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--side", type=int, default=8, help="side of a frame, pixels")
    parser.add_argument("--patch-size", type=int, default=4)
    parser.add_argument("--lines", action="store_true", help="a line for every seed")
    options = parser.parse_args()
    set_quiet(True)
    results: list[tuple[Outcome, Outcome]] = []
    start = time.process_time()
    for seed in range(options.first, options.first + options.seeds):
        found = run_seed(seed, scenes=options.scenes, side=options.side, patch_size=options.patch_size)
        results.append(found)
        if options.lines:
            words = "  ".join(
                f"{name} {o.value:+.4f}({o.std:.4f}) [{o.low:+.4f}, {o.high:+.4f}] p {o.p_value:.1e}"
                for name, o in zip(("noisier", "twin"), found, strict=True)
            )
            print(f"seed {seed:3d}  {words}  {time.process_time() - start:.0f} CPU s", flush=True)
    report(results)


def report(results: list[tuple[Outcome, Outcome]]) -> None:
    """Counts, errors and scatter."""
    count = len(results)
    different, equal = ([pair[i] for pair in results] for i in (0, 1))
    print(f"{count} seeds, true difference {DIFFERENCE_BITS} bit/px")
    right, wrong = (sum(o.sign == sign for o in different) for sign in (1, -1))
    print(f"  significant with the right sign {right}, wrong {wrong}")
    print(f"  largest standard error {max(o.std for o in different):.4f} (wanted: at most {LARGEST_STD_BITS})")
    for name, outcomes, truth in (("different", different, DIFFERENCE_BITS), ("equal", equal, 0.0)):
        errors = np.array([o.value - truth for o in outcomes])
        stated = float(np.sqrt(np.mean([o.std**2 for o in outcomes])))
        inside = sum(o.low <= truth <= o.high for o in outcomes)
        print(
            f"  {name}: mean error {errors.mean():+.4f}, rms error {np.sqrt(np.mean(errors**2)):.4f}, rms stated "
            f"standard error {stated:.4f}, mean slack of both {np.mean([o.slack for o in outcomes]):.4f}, interval "
            f"holds the truth in {inside}"
        )
    least = min(o.p_value for o in equal)
    print(f"  equal cameras called equal {sum(o.sign == 0 for o in equal)}, least p-value {least:.2g}")


if __name__ == "__main__":
    main()
