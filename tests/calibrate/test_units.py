"""Real values have no scale but their noise: a fit of x and of x times a power of two are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model
from calibrate.validation import check_captures

GAIN, READ_E, OFFSET = 0.4, 3.0, 64.0


def shoot(folder: Path, scale: float, compression: float = 0.0, seed: int = 5) -> Path:
    """8 flats and 8 darks in float32, ``scale`` times what a 12-bit camera would give without rounding."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for t in np.arange(1, 9) / 8:
        for name, light in (("flat", 8000.0), ("dark", 0.0)):
            u = GAIN * (rng.poisson((light + 20.0) * t, (2, 64, 64)) + READ_E * rng.standard_normal((2, 64, 64)))
            values = np.float32(OFFSET + u * (1 - compression * np.maximum(u, 0.0) / 4000.0)) * np.float32(scale)
            np.save(folder / f"{name}_{1000 * t:g}ms.npy", values)
    return folder


def table_of(folder: Path, scale: float, scatter: float) -> NoiseModel:
    rng = np.random.default_rng(6)
    mean = np.geomspace(20.0, 4000.0, 20)
    variance = (GAIN * mean + (GAIN * READ_E) ** 2) * (1 + scatter * rng.standard_normal(mean.size))
    variance[-2:] *= (0.7, 0.2)  # a roll-off
    folder.mkdir()
    lines = [f"{m!r} {v!r}" for m, v in zip((mean * scale).tolist(), (variance * scale**2).tolist(), strict=True)]
    (folder / "t.txt").write_text("\n".join(lines))
    return fit_noise_model(folder / "t.txt")


def assert_scaled(one: NoiseModel, other: NoiseModel, scale: float) -> None:
    """Every number of the file to rounding, whatever its unit."""
    found, expected = other.document, one.document
    assert found.fit.model == expected.fit.model
    assert [entry.code for entry in found.fit.flags] == [entry.code for entry in expected.fit.flags]
    assert found.fit.deviance_per_dof == pytest.approx(expected.fit.deviance_per_dof, rel=1e-12)
    assert [entry.bic for entry in found.fit.candidates] == pytest.approx([e.bic for e in expected.fit.candidates])
    names = [name for name in expected.parameters if name != "nonlinearity"]
    assert len(names) >= 5
    for name in names:
        before, after = one.parameter(name), other.parameter(name)
        factor = scale if before.unit.startswith("DN") else 1.0
        assert after.value == pytest.approx(factor * before.value, rel=1e-12), name
        if before.std is not None:
            assert after.std == pytest.approx(factor * before.std, rel=1e-12), name


@pytest.mark.parametrize("compression", [0.0, 0.04])
def test_frames_scaled_to_fractions_fit_the_same(tmp_path, compression):
    one = fit_noise_model(shoot(tmp_path / "one", 1.0, compression))
    for name, scale in (("small", 2.0**-28), ("large", 2.0**10)):
        assert_scaled(one, fit_noise_model(shoot(tmp_path / name, scale, compression)), scale)
    for name, true in (("system_gain_dn_per_e", GAIN), ("read_noise_e", READ_E), ("offset_dn", OFFSET)):
        entry = one.parameter(name)
        assert abs(entry.value - true) < 4 * entry.std, name
    assert one.document.fit.deviance_per_dof < 2
    assert not {"coarse_quantisation", "read_noise_not_positive"} & {entry.code for entry in one.document.fit.flags}


def test_a_check_of_fractions_says_what_that_of_codes_says(tmp_path):
    """Noise of 2e-12 of full scale squared was taken for none, and agreed with anything."""
    found = []
    for name, scale in (("one", 1.0), ("small", 2.0**-20)):
        model = fit_noise_model(shoot(tmp_path / f"{name} fit", scale))
        found.append(check_captures(model, shoot(tmp_path / f"{name} check", scale, seed=6)))
    one, small = (result.ranges for result in found)
    assert len(one) == len(small) > 8
    for before, after in zip(one, small, strict=True):
        assert after.ratio == pytest.approx(before.ratio, rel=1e-6)
        assert after.z == pytest.approx(before.z, abs=1e-3)
    assert found[0].agrees and found[1].agrees


@pytest.mark.parametrize("scatter", [0.0, 0.01])
def test_tables_in_any_unit_fit_the_same(tmp_path, scatter):
    one = table_of(tmp_path / "one", 1.0, scatter)
    assert one.parameter("saturation_dn") is not None
    for name, scale in (("small", 2.0**-20), ("large", 2.0**8)):
        assert_scaled(one, table_of(tmp_path / name, scale, scatter), scale)


def test_no_read_noise_in_real_values_is_said_without_rounding(tmp_path):
    rng = np.random.default_rng(7)
    for t in np.arange(1, 7) / 6:
        np.save(tmp_path / f"flat_{1000 * t:g}ms.npy", rng.poisson(4000 * t, (2, 64, 64)) / 65536.0 + 1e-7)
        np.save(tmp_path / f"dark_{1000 * t:g}ms.npy", np.full((2, 64, 64), 1e-7))
    model = fit_noise_model(tmp_path)
    assert model.parameter("system_gain_dn_per_e").value == pytest.approx(1 / 65536, rel=0.02)
    message = next(entry.message for entry in model.document.fit.flags if entry.code == "read_noise_not_positive")
    assert "rounding" not in message
