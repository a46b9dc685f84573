"""Darks of several lengths that the names do not tell: their variance follows from their own mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model

GAIN, READ_E, OFFSET = 0.4, 3.0, 64.0
LEVELS = 8


def fit_of(folder: Path, unit: str, dark_e: np.ndarray, drift_dn: float = 0.0, seed: int = 0) -> NoiseModel:
    """Flats and darks named exp1, exp2, ... with or without a unit; ``dark_e`` of dark charge at each."""
    rng = np.random.default_rng(seed)
    offsets = OFFSET + drift_dn * rng.standard_normal(LEVELS)
    folder.mkdir()
    for i, dark in enumerate(dark_e):
        for name, mean_e, offset in (("flat", 1000.0 * (i + 1) + dark, OFFSET), ("dark", dark, offsets[i])):
            charge = rng.poisson(mean_e, (2, 96, 96)) + READ_E * rng.standard_normal((2, 96, 96))
            np.save(folder / f"{name}_exp{i + 1}{unit}.npy", np.floor(offset + GAIN * charge + 0.5).astype(np.uint16))
    return fit_noise_model(folder)


@pytest.mark.parametrize("rate_e", [20.0, 2000.0])
def test_darks_without_a_unit_leave_the_gain_as_sure(tmp_path, rate_e):
    """Predicted at one charge, their variances gave a deviance of 170 and errors of the gain 15 times too wide."""
    dark_e = rate_e * np.arange(1, LEVELS + 1) / LEVELS
    named, bare = (fit_of(tmp_path / f"c{unit}", unit, dark_e) for unit in ("ms", ""))
    # The charge of the least dark cannot be told from the offset, nor its shot noise from the read noise.
    truth = {
        "system_gain_dn_per_e": GAIN,
        "offset_dn": OFFSET + GAIN * dark_e[0],
        "read_noise_e": float(np.sqrt(READ_E**2 + dark_e[0])),
    }
    for name, true in truth.items():
        entry = bare.parameter(name)
        assert abs(entry.value - true) < 4 * entry.std, name
    gain = bare.parameter("system_gain_dn_per_e")
    assert gain.std < 1.2 * named.parameter("system_gain_dn_per_e").std
    assert bare.parameter("read_noise_e").std < 0.02 * truth["read_noise_e"]
    assert bare.document.fit.deviance_per_dof < 2
    message = {flag.code: flag.message for flag in bare.document.fit.flags}["dark_exposures_unknown"]
    assert "unit" in message and "read noise" in message
    assert "dark_exposures_unknown" not in {flag.code for flag in named.document.fit.flags}
    fitted = [entry for entry in bare.document.measurements if entry.kind == "dark"]
    for entry in fitted:
        assert abs(entry.variance_dn2 - entry.fitted_variance_dn2) < 4.5 * entry.variance_std_dn2


def test_an_offset_that_drifts_is_no_dark_charge(tmp_path):
    model = fit_of(tmp_path / "c", "", np.full(LEVELS, 5.0), drift_dn=1.0)
    assert "dark_exposures_unknown" not in {flag.code for flag in model.document.fit.flags}
    entry = model.parameter("read_noise_e")
    assert abs(entry.value - np.sqrt(READ_E**2 + 5.0)) < 4 * entry.std
    assert model.parameter("offset_dn").std > 0.1


def test_darks_of_one_length_are_all_the_offset(tmp_path):
    model = fit_of(tmp_path / "c", "", np.full(LEVELS, 5.0))
    assert "dark_exposures_unknown" not in {flag.code for flag in model.document.fit.flags}
    assert model.parameter("offset_dn").std < 0.01
