"""Per-pixel maps: the truth lies within each pixel's own stated error."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model, simulate_captures

SHAPE = (48, 56)
NAMES = ("offset_dn", "read_noise_e", "dark_current_e_per_s", "prnu")


@pytest.fixture(scope="module")
def sensor() -> NoiseModel:
    rng = np.random.default_rng(17)
    prnu = 0.01 * rng.standard_normal(SHAPE)
    maps = {
        "offset_dn": 200.0 + 3.0 * rng.standard_normal(SHAPE),
        "read_noise_e": 4.0 * np.exp(0.25 * rng.standard_normal(SHAPE)),
        "dark_current_e_per_s": rng.gamma(3.0, 1.0, SHAPE),
        "prnu": prnu - prnu.mean(),
    }
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=1.5, read_noise_e=4.0, offset_dn=200.0, bit_depth=14, maps=maps
    )


@pytest.fixture(scope="module")
def folder(sensor, tmp_path_factory):
    return simulate_captures(
        sensor, tmp_path_factory.mktemp("maps") / "c", levels=8, dark_levels=4, darks_per_level=16,
        exposure_max_s=4.0, seed=5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(folder):
    return fit_noise_model(folder, maps=True)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("offset_dn", 0.85, 1.15),
        ("dark_current_e_per_s", 0.85, 1.15),
        ("prnu", 0.85, 1.15),
        ("read_noise_e", 0.8, 1.25),
    ],
)
def test_every_pixel_within_its_error(sensor, fitted, name, low, high):
    pulls = (fitted.maps[name] - sensor.maps[name]) / fitted.maps[name + "_std"]
    assert low < np.std(pulls) < high
    assert abs(np.mean(pulls)) < 0.25
    assert np.corrcoef(fitted.maps[name].ravel(), sensor.maps[name].ravel())[0, 1] > 0.8


def test_maps_average_to_the_scalars(sensor, fitted):
    assert abs(np.mean(fitted.maps["prnu"])) < 1e-12
    for name in ("offset_dn", "dark_current_e_per_s"):
        entry = fitted.parameter(name)
        assert abs(np.mean(fitted.maps[name]) - entry.value) < 5 * entry.std + 0.01
    root = np.sqrt(np.mean(fitted.maps["read_noise_e"] ** 2))
    assert root == pytest.approx(np.sqrt(np.mean(sensor.maps["read_noise_e"] ** 2)), rel=0.03)


def test_spread_is_that_of_the_pixels_and_not_of_the_noise(sensor, fitted):
    for name, true in (
        ("dsnu_e", np.std(sensor.maps["offset_dn"]) / 1.5),
        ("prnu_percent", 100 * np.std(sensor.maps["prnu"])),
    ):
        entry = fitted.parameter(name)
        assert abs(entry.value - true) < 4 * entry.std + 0.01 * true, name


def test_maps_go_through_the_file(fitted, tmp_path):
    fitted.save(tmp_path / "s.yaml")
    again = NoiseModel.load(tmp_path / "s.yaml")
    assert again.map_shape == SHAPE
    assert set(again.document.maps.names) == {*NAMES, *(name + "_std" for name in NAMES)}
    with pytest.raises(PhotonbitsError, match=r"\(5, 5\).*\(48, 56\)"):
        again.mean_dn(np.zeros((5, 5)))


def test_few_frames_are_doubted(fitted, folder):
    flags = {entry.code: entry.message for entry in fitted.document.fit.flags}
    assert "64" in flags["few_frames_for_maps"]
    assert "few_frames_for_maps" not in {entry.code for entry in fit_noise_model(folder).document.fit.flags}


def test_darks_at_one_exposure_give_no_dark_current_map(tmp_path, sensor):
    folder = simulate_captures(sensor, tmp_path / "c", levels=6, dark_levels=1, darks_per_level=16, seed=1)
    maps = fit_noise_model(folder, maps=True).maps
    assert "dark_current_e_per_s" not in maps
    pulls = (maps["offset_dn"] - sensor.maps["offset_dn"]) / maps["offset_dn_std"]
    assert 0.85 < np.std(pulls) < 1.15


def test_too_few_darks_for_maps(tmp_path):
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    folder = simulate_captures(plain, tmp_path / "c", shape=(32, 32), levels=8, dark_levels=1, darks_per_level=2)
    assert fit_noise_model(folder).maps is None
    with pytest.raises(PhotonbitsError, match=r"2 dark frames at 1 exposures.*three darks or more.*--no-maps"):
        fit_noise_model(folder, maps=True)


def test_a_table_has_no_pixels(tmp_path):
    (tmp_path / "t.txt").write_text("".join(f"{0.5 * y} {0.25 * (y + 9)}\n" for y in range(100, 3000, 200)))
    with pytest.raises(PhotonbitsError, match=r"no pixels.*--no-maps"):
        fit_noise_model(tmp_path / "t.txt", maps=True)
