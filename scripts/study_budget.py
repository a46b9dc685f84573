"""Prices of imperfections against their truth on sources where it is known: independent pixels, Gaussian fields."""

from __future__ import annotations

import argparse
import time

import numpy as np

from calibrate import NoiseModel
from calibrate.plumbing.tables import format_table
from mi_eval.budget import information_budget
from mi_eval.efficiency import counter, pixel_information_bits
from mi_eval.truth.fields import Correlation
from mi_eval.truth.laws import GammaLight, LevelsLight, SparseLight


def camera(**changes):
    values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.3, "bit_depth": 14} | changes
    return NoiseModel.from_parameters(**values)


LAWS = {
    "gamma(4), 2 e-": GammaLight(4.0, 2.0),
    "gamma(4), 20 e-": GammaLight(4.0, 20.0),
    "gamma(4), 200 e-": GammaLight(4.0, 200.0),
    "gamma(4), 3000 e-": GammaLight(4.0, 3000.0),
    "exponential, 20 e-": GammaLight(1.0, 20.0),
    "half dark, 30 e-": SparseLight(0.5, 30.0),
    "80 % dark, 5 e-": SparseLight(0.8, 5.0),
    "10 or 60 e-": LevelsLight((10.0, 60.0), (0.6, 0.4)),
}
CAMERAS = {"1.5 e-": camera(), "5 e-": camera(read_noise_e=5.0, system_gain_dn_per_e=0.3)}


def independent(seeds, patches):
    rows = []
    for law_name, law in LAWS.items():
        for camera_name, model in CAMERAS.items():
            true = pixel_information_bits(model, law)
            top = float(law.quadrature()[0][-1])
            limit = pixel_information_bits(counter(top), law)
            quiet = pixel_information_bits(camera(**parameters(model) | {"read_noise_e": 0.0}), law)
            wanted = np.array([true, quiet - true, limit, limit, true / limit])
            found, std, seconds = [], [], 0.0
            for seed in seeds:
                rng = np.random.default_rng(seed)
                codes = model.sample(law.quantile(rng.random((patches, 16, 16))), rng)
                start = time.process_time()
                budget = information_budget(codes, model)
                seconds += time.process_time() - start
                read = next(part.bits_per_pixel for part in budget.parts if part.name == "read_noise")
                entries = (budget.as_fitted, read, budget.all_off, budget.noiseless_readout_limit, budget.efficiency)
                found.append([entry.value for entry in entries])
                std.append([entry.std for entry in entries])
            error, spread = np.mean(found, axis=0) - wanted, np.sqrt(np.mean(np.square(std), axis=0))
            cells = [f"{t:.4f} {e:+.4f} ({s:.4f})" for t, e, s in zip(wanted, error, spread, strict=True)]
            rows.append([law_name, camera_name, *cells, f"{seconds / len(seeds):.1f}"])
    return rows


def parameters(model):
    own = model.camera
    return {"system_gain_dn_per_e": own.system_gain_dn_per_e, "offset_dn": own.offset_dn, "bit_depth": own.bit_depth}


def fields(seeds, patches):
    rows = []
    for length_px in (1.0, 3.0, 8.0):
        for read_e in (10.0, 60.0):
            model = camera(system_gain_dn_per_e=1.0, read_noise_e=read_e)
            modes = Correlation(length_px).eigenvalues(16)

            def closed(noise_e2, modes=modes):
                return 0.5 * float(np.mean(np.log2(1 + 200.0**2 / noise_e2 * modes)))

            true, limit = closed(4000 + read_e**2 + 1 / 12), closed(4000.0)
            wanted = np.array([true, closed(4000 + 1 / 12) - true, limit, limit, true / limit])
            found, std = [], []
            for seed in seeds:
                rng = np.random.default_rng(seed)
                light = np.maximum(4000.0 + 200.0 * Correlation(length_px).draw(patches, 16, rng), 0.0)
                budget = information_budget(model.sample(light, rng), model)
                read = next(part.bits_per_pixel for part in budget.parts if part.name == "read_noise")
                entries = (budget.as_fitted, read, budget.all_off, budget.noiseless_readout_limit, budget.efficiency)
                found.append([entry.value for entry in entries])
                std.append([entry.std for entry in entries])
            error, spread = np.mean(found, axis=0) - wanted, np.sqrt(np.mean(np.square(std), axis=0))
            cells = [f"{t:.4f} {e:+.4f} ({s:.4f})" for t, e, s in zip(wanted, error, spread, strict=True)]
            rows.append([f"field, {length_px:g} px", f"{read_e:g} e-", *cells, ""])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patches", type=int, default=1000)
    options = parser.parse_args()
    seeds = range(1, options.seeds + 1)
    header = ["light", "read noise", "as fitted", "price of read noise", "all off", "limit", "efficiency", "CPU s"]
    print("Each cell: truth, mean error over the seeds, (mean stated standard error); bit/px.")
    print(format_table(header, independent(seeds, options.patches) + fields(seeds, options.patches), align="llrrrrrr"))


if __name__ == "__main__":
    main()
