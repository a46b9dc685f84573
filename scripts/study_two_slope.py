"""How often the truth lies within the stated errors of a sensor with a knee, frames through the whole path.

    python scripts/study_two_slope.py [--seeds 100] [--shape 64] [--camera NAME]

Prints for every camera which model was chosen how often, and for gain, read noise, offset, knee and slope the mean
error over the truth, its rms, and the pulls (fitted - true)/std: mean, rms, how many 95 % intervals (1.96 std) hold the
truth, and the largest. An honest fit has rms 1 and 95 of 100 inside. Cameras without a knee stand last.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.plumbing.progress import set_quiet
from calibrate.response import Response
from calibrate.schema import NonlinearityEntry

TRUTH = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0}

#: Name: (response of the sensor, full well in electrons, light scatter in percent).
CAMERAS: dict[str, tuple[Response, float | None, float]] = {
    "slope 0.3": (Response.two_slope(2000.0, 0.3), None, 0.1),
    "slope 0.6, lamp 1 %": (Response.two_slope(2000.0, 0.6), None, 1.0),
    "slope 0.15, knee at 2500": (Response.two_slope(2500.0, 0.15), None, 0.1),
    "a level at the knee, lamp 1 %": (Response.two_slope(2500.0, 0.5), None, 1.0),
    "slope 0.8": (Response.two_slope(2000.0, 0.8), None, 0.1),
    "knee and full well": (Response.two_slope(1200.0, 0.4), 9000.0, 0.1),
    "no knee, lamp 1 %": (Response(), None, 1.0),
    "no knee, full well": (Response(), 6000.0, 0.1),
    "no knee, bent by 4 %": (Response("polynomial", (-0.02, -0.02), 3900.0), None, 0.1),
}


def study(name: str, seeds: int, side: int) -> None:
    """Fit one camera ``seeds`` times and print its lines."""
    response, full_well_e, scatter = CAMERAS[name]
    sensor = NoiseModel.from_parameters(
        **TRUTH, bit_depth=12, dark_current_e_per_s=5.0, response=response, full_well_e=full_well_e
    )
    true = dict(TRUTH)
    if response.knee_dn is not None:
        true |= {"knee_dn": response.knee_dn, "slope": response.coefficients[1]}
    found: dict[str, list[tuple[float, float]]] = {entry: [] for entry in true}
    chosen: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    deviance = []
    started = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        for seed in range(seeds):
            folder = simulate_captures(
                sensor,
                Path(place) / "captures",
                shape=(side, side),
                seed=seed,
                light_scatter_percent=scatter,
                overwrite=True,
            )
            model = fit_noise_model(folder)
            chosen[model.document.fit.model] += 1
            flags.update(entry.code for entry in model.document.fit.flags)
            deviance.append(model.document.fit.deviance_per_dof or np.nan)
            for entry in TRUTH:
                parameter = model.parameter(entry)
                if parameter is not None and parameter.std:
                    found[entry].append((parameter.value, parameter.std))
            curve = model.document.parameters.get("nonlinearity")
            if isinstance(curve, NonlinearityEntry) and curve.form == "two-slope" and "slope" in found:
                scale = curve.scale_dn
                found["knee_dn"].append((curve.coefficients[0] * scale, curve.std[0] * scale))
                found["slope"].append((curve.coefficients[1], curve.std[1]))
    spent = (time.process_time() - started) / seeds
    print(f"\n{name}: {seeds} seeds of {side} x {side} pixels, {spent:.2f} CPU s each")
    print(f"  {'parameter':<22}{'fits':>5}{'bias %':>9}{'rms %':>8}{'pull':>8}{'rms':>7}{'in 95 %':>9}{'largest':>9}")
    for entry, values in found.items():
        if not values:
            print(f"  {entry:<22}{0:>5}")
            continue
        value, std = np.array(values).T
        error, pull = 100 * (value / true[entry] - 1), (value - true[entry]) / std
        inside = int(np.sum(np.abs(pull) <= 1.96))
        print(
            f"  {entry:<22}{pull.size:>5}{np.mean(error):>+9.3f}{np.sqrt(np.mean(error**2)):>8.3f}"
            f"{np.mean(pull):>+8.2f}{np.sqrt(np.mean(pull**2)):>7.2f}{inside:>9}{np.max(np.abs(pull)):>9.2f}"
        )
    print(f"  deviance per degree of freedom: mean {np.mean(deviance):.2f}, largest {np.max(deviance):.2f}")
    print("  models: " + ", ".join(f"{key} {count}" for key, count in chosen.most_common()))
    print("  flags:  " + (", ".join(f"{key} {count}" for key, count in flags.most_common()) or "none"), flush=True)


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
