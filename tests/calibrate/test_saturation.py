"""Where the response ends: the converter's clip, a full well, or not seen at all."""

from __future__ import annotations

import numpy as np
import pytest
from vignetted import fall_off, write_captures

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model, simulate_captures

TRUTH = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0}


def codes_of(model: NoiseModel) -> set[str]:
    return {flag.code for flag in model.document.fit.flags}


def test_a_clip_is_the_saturation(tmp_path):
    sensor = NoiseModel.from_parameters(**TRUTH, bit_depth=12)
    model = fit_noise_model(simulate_captures(sensor, tmp_path / "c", shape=(64, 64), seed=1))
    assert model.parameter("saturation_dn").value == 4095
    assert model.parameter("white_clip_dn").value == 4095
    entry = model.parameter("saturation_e")
    assert abs(entry.value - (4095 - 100) / 0.5) < 4 * entry.std
    assert model.parameter("full_well_e") is None
    assert "white_clipped" in codes_of(model)


@pytest.mark.parametrize("white", [3500, 4000])
def test_a_clip_below_the_converters_last_code(tmp_path, white):
    """A sharp full well looks the same: every pixel ends at one code."""
    sensor = NoiseModel.from_parameters(**TRUTH, bit_depth=12, white_clip_dn=white)
    model = fit_noise_model(
        simulate_captures(sensor, tmp_path / "c", shape=(64, 64), levels=20, exposure_max_s=1.0, seed=1)
    )
    assert model.parameter("saturation_dn").value == white
    assert model.parameter("white_clip_dn").value == white
    assert np.isneginf(model.log_pmf(white + 1, 1e4))


def test_a_full_well_that_differs_from_pixel_to_pixel_rolls_off(tmp_path):
    """The variance falls before any code piles up; the corner lies at the mean full well."""
    rng = np.random.default_rng(2)
    shape, full_well = (80, 80), 6000.0
    well = full_well * (1 + 0.03 * rng.standard_normal(shape))
    for i, y in enumerate(np.linspace(250, 8000, 32)):
        n = np.minimum(rng.poisson(y, (2, *shape)), well)
        for kind, charge in (("flat", n), ("dark", 0.0)):
            codes = np.rint(100 + 0.5 * (charge + 3.0 * rng.standard_normal((2, *shape)))).astype(np.uint16)
            np.save(tmp_path / f"{kind}_{i + 1}ms.npy", codes)
    model = fit_noise_model(tmp_path)
    for name, true in (("full_well_e", full_well), ("saturation_dn", 100 + 0.5 * full_well)):
        assert model.parameter(name).value == pytest.approx(true, rel=0.07)
        assert 0 < model.parameter(name).std < 0.1 * true
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - 0.5) < 4 * gain.std
    assert "white_clipped" not in codes_of(model)
    assert float(model.mean_dn(20_000.0)) < 100 + 0.5 * full_well * 1.1


def test_no_saturation_is_said_and_not_guessed(tmp_path):
    rng = np.random.default_rng(3)
    sensor = NoiseModel.from_parameters(**TRUTH, bit_depth=12)
    for i, y in enumerate(np.linspace(100, 4000, 10)):
        np.save(tmp_path / f"flat_{i + 1}ms.npy", sensor.sample(np.full((2, 40, 40), y), rng))
        np.save(tmp_path / f"dark_{i + 1}ms.npy", sensor.sample(np.zeros((2, 40, 40)), rng))
    model = fit_noise_model(tmp_path)
    for name in ("saturation_dn", "saturation_e", "full_well_e"):
        assert model.parameter(name) is None
    message = next(flag.message for flag in model.document.fit.flags if flag.code == "not_saturated")
    assert "2100" in message or "2099" in message or "2101" in message


def test_all_levels_saturated_is_an_error(tmp_path):
    for i in range(6):
        np.save(tmp_path / f"flat_{i + 1}ms.npy", np.full((2, 20, 20), 4095, np.uint16))
        np.save(tmp_path / f"dark_{i + 1}ms.npy", np.full((2, 20, 20), 100 + i % 2, np.uint16))
    with pytest.raises(PhotonbitsError, match=r"0 of 6 bright levels.*2 levels or more.*just saturated"):
        fit_noise_model(tmp_path)


def test_a_vignetted_level_below_the_clip_is_predicted_without_it(tmp_path):
    """Under 30 % fall-off the bright middle ends short of the highest code, where a normal law would not."""
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    write_captures(tmp_path, sensor, 7700 * fall_off(200), (0.2, 0.4, 0.6, 0.8, 1.0))
    model = fit_noise_model(tmp_path)
    top = max((level for level in model.document.measurements if level.used), key=lambda level: level.mean_dn)
    assert top.exposure_s == 1.0 and top.clipped_fraction < 1e-4
    gain, noise = model.parameter("system_gain_dn_per_e").value, model.parameter("dark_noise_dn").value
    expected = gain * (top.mean_dn - model.parameter("offset_dn").value) + noise**2
    assert top.fitted_variance_dn2 == pytest.approx(expected, rel=1e-3)
