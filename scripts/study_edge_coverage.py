"""How often the stated errors of `mi-eval edge` hold the truth: rendered edges of known MTF, many noise seeds.

    python scripts/study_edge_coverage.py [--seeds 200]

Every case is an edge with a square pixel, a Gaussian blur and a defocus disc, whose MTF is known in closed form,
measured by a camera of known noise. For each quantity: mean error in standard errors of that mean, mean stated error
over the scatter of the values, and how many 95 % intervals hold the truth (of 200, 184 to 196 are to be expected).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "helpers"))

from edge_render import Optics, edge_image, true_values

from calibrate import NoiseModel
from mi_eval.edge import measure_edge

CASES = {
    # name: optics, angle, (height, width), dark e-, bright e-
    "sharp, bright": (Optics(0.4), 5.0, (120, 100), 400.0, 4000.0),
    "soft, bright": (Optics(0.9), -8.0, (120, 100), 400.0, 4000.0),
    "defocus": (Optics(0.4, 1.2), 6.0, (120, 100), 200.0, 2000.0),
    "steep": (Optics(0.5), 33.0, (120, 180), 400.0, 4000.0),
    "dim": (Optics(0.5), 5.0, (160, 100), 20.0, 200.0),
    "very dim": (Optics(0.7), 10.0, (200, 100), 4.0, 60.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    seeds = parser.parse_args().seeds
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100, bit_depth=12)
    start = time.process_time()
    print(f"{seeds} seeds of each case\n")
    print("| case | quantity | truth | mean error / its standard error | stated / scatter | within 1.96 |")
    print("|---|---|---|---|---|---|")
    for name, (optics, angle, shape, dark, bright) in CASES.items():
        image = edge_image(optics, angle, shape, dark, bright)
        truth = true_values(optics, angle, model, dark, bright)
        found: dict[str, list[tuple[float, float]]] = {key: [] for key in truth}
        for seed in range(seeds):
            result = measure_edge(model.sample(image, np.random.default_rng([19, seed])), model)
            values = {
                "mtf50": result.mtf50,
                "mtf10": result.mtf10,
                "mtf_at_nyquist": result.mtf_at_nyquist,
                "rise_distance_px": result.rise_distance_px,
                "angle_degrees": result.angle_degrees,
                "vpp_e": result.vpp_e,
                "nyquist_square": result.capacity(),
                "nyquist_square, measured noise": result.capacity(noise="measured"),
                "slanted_edge_1d": result.capacity("slanted_edge_1d"),
            }
            for key, value in values.items():
                if value is not None:
                    found[key].append((value.value, value.std))
        for key, pairs in found.items():
            if len(pairs) < 2:
                print(f"| {name} | {key} | {truth[key]:.4f} | | | given in {len(pairs)} |", flush=True)
                continue
            value, std = np.array(pairs).T
            scatter = value.std(ddof=1)
            error = value - truth[key]
            bias = error.mean() / (scatter / np.sqrt(value.size))
            inside = int(np.sum(np.abs(error) <= 1.96 * std))
            print(f"| {name} | {key} | {truth[key]:.4f} | {bias:+.1f} | {std.mean() / scatter:.2f} | "
                  f"{inside} of {value.size} |", flush=True)  # fmt: skip
    print(f"\n{time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    main()
