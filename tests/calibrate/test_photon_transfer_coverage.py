"""The promise of every fit: the truth lies within the stated errors, over a hundred cameras' worth of noise."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model, simulate_captures

TRUTH = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0}
SEEDS = range(100)  # fixed before the first run


@pytest.mark.slow
def test_truth_lies_within_the_stated_errors(tmp_path):
    """16 bright and 16 dark levels of two 64 x 64 frames, a lamp that scatters by 0.1 %."""
    sensor = NoiseModel.from_parameters(**TRUTH, bit_depth=12, dark_current_e_per_s=5.0)
    pulls = {name: [] for name in (*TRUTH, "dark_current_e_per_s")}
    for seed in SEEDS:
        folder = simulate_captures(
            sensor, tmp_path / "captures", shape=(64, 64), light_scatter_percent=0.1, seed=seed, overwrite=True
        )
        fitted = fit_noise_model(folder)
        for name, values in pulls.items():
            entry, true = fitted.parameter(name), sensor.parameter(name).value
            values.append((entry.value - true) / entry.std)
    for name, values in pulls.items():
        rms = float(np.sqrt(np.mean(np.square(values))))
        inside = int(np.sum(np.abs(values) <= 3))
        assert inside >= 97, f"{name}: {inside} of {len(values)} within 3 standard deviations"
        assert 0.85 <= rms <= 1.15, f"{name}: rms of the pulls {rms:.3f}"
        assert abs(np.mean(values)) < 0.35, f"{name}: mean pull {np.mean(values):+.2f}"
