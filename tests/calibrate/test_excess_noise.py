"""A stated excess noise factor: numbers in input electrons beside a noise model that keeps mean and variance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model
from calibrate.cli import main
from calibrate.excess_noise import with_excess_noise

GAIN, READ_E, OFFSET, DARK_E_PER_S, FACTOR = 1.2, 6.0, 100.0, 20.0, 2.0
INPUTS = ("system_gain_dn_per_e", "read_noise_e", "dark_current_e_per_s")


def amplified(mean_e: float, rng: np.random.Generator) -> np.ndarray:
    """Two frames behind an amplifier whose response to an electron is exponential: F^2 = 2."""
    electrons = rng.poisson(mean_e, (2, 96, 96))
    charge = np.where(electrons > 0, rng.gamma(np.maximum(electrons, 1), 1.0), 0.0)
    u = GAIN * (charge + READ_E * rng.standard_normal(charge.shape))
    return np.floor(OFFSET + u + 0.5).astype(np.uint16)


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("amplified")
    rng = np.random.default_rng(4)
    for t in np.arange(1, 9) / 8:
        np.save(folder / f"flat_{1000 * t:g}ms.npy", amplified((2500.0 + DARK_E_PER_S) * t, rng))
        np.save(folder / f"dark_{1000 * t:g}ms.npy", amplified(DARK_E_PER_S * t, rng))
    return folder


@pytest.fixture(scope="module")
def fitted(captures) -> NoiseModel:
    return fit_noise_model(captures)


def test_input_electrons_are_right_and_the_model_keeps_its_variance(captures, fitted, tmp_path):
    result = CliRunner().invoke(
        main, ["fit", str(captures), "-o", str(tmp_path / "s.yaml"), "--excess-noise-factor", str(FACTOR)]
    )
    assert result.exit_code == 0 and "input electrons" in result.output
    model = NoiseModel.load(tmp_path / "s.yaml")
    entry = model.document.excess_noise
    assert entry.factor == FACTOR
    for name, true in zip(INPUTS, (GAIN, READ_E, DARK_E_PER_S), strict=True):
        found = entry.input_parameters[name]
        assert abs(found.value - true) < 4 * found.std < 0.1 * true, name
    assert model.document.parameters == fitted.document.parameters
    # 1000 input electrons are 500 effective ones: mean K y, variance K^2 (F^2 y + r^2) + 1/12.
    y = 1000.0
    frames = amplified(y, np.random.default_rng(5)).astype(float)
    expected = GAIN**2 * (FACTOR * y + READ_E**2) + 1 / 12
    assert frames.var() == pytest.approx(expected, rel=0.06)
    assert model.variance_dn2(y / FACTOR) == pytest.approx(expected, rel=0.02)
    assert model.mean_dn(y / FACTOR) == pytest.approx(frames.mean(), rel=0.01)
    codes = [flag.code for flag in model.document.fit.flags]
    assert codes[0] == "excess_noise_stated" and "excess_noise_suspected" not in codes
    assert model.document.to_plain()["excess_noise"]["input_parameters"]["read_noise_e"]["unit"] == "e-"


def test_given_values_are_those_at_the_input(tmp_path):
    path = tmp_path / "v.yaml"
    given = ["--gain-dn-per-e", "1.2", "--read-noise-e", "6", "--offset-dn", "100", "--bit-depth", "14"]
    more = ["--full-well-e", "9000", "--dark-current-e-per-s", "20", "--excess-noise-factor", "1.5"]
    result = CliRunner().invoke(main, ["from-values", "-o", str(path), *given, *more])
    assert result.exit_code == 0, result.output
    model = NoiseModel.load(path)
    inputs = model.document.excess_noise.input_parameters
    expected = {"system_gain_dn_per_e": 1.2, "read_noise_e": 6.0, "full_well_e": 9000.0, "dark_current_e_per_s": 20.0}
    for name, true in expected.items():
        assert inputs[name].value == pytest.approx(true, rel=1e-12)
    assert model.variance_dn2(1000 / 1.5) == pytest.approx(1.2**2 * (1.5 * 1000 + 36) + 1 / 12, rel=1e-6)
    assert model.camera.response.full_well_dn == pytest.approx(1.2 * 9000)


def test_a_factor_of_one_changes_nothing_and_others_are_refused(fitted):
    assert with_excess_noise(fitted, 1.0) is fitted
    assert "excess_noise" not in fitted.document.to_plain()
    for factor in (0.5, float("nan"), float("inf")):
        with pytest.raises(PhotonbitsError, match="excess noise factor"):
            with_excess_noise(fitted, factor)
    with pytest.raises(PhotonbitsError, match="already"):
        with_excess_noise(with_excess_noise(fitted, 2.0), 2.0)
