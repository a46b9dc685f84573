"""Per-pixel maps: the truth lies within each pixel's own stated error."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model, simulate_captures

SHAPE = (48, 56)
NAMES = ("offset_dn", "read_noise_e", "dark_current_e_per_s", "prnu", "system_gain_dn_per_e")


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
        ("read_noise_e", 0.85, 1.15),
        ("system_gain_dn_per_e", 0.85, 1.15),
    ],
)
def test_every_pixel_within_its_error(sensor, fitted, name, low, high):
    truth = sensor.maps.get(name, np.full(SHAPE, 1.5))
    pulls = (fitted.maps[name] - truth) / fitted.maps[name + "_std"]
    assert low < np.std(pulls) < high
    assert abs(np.mean(pulls)) < 0.25
    assert np.mean(np.abs(pulls) < 1.96) == pytest.approx(0.95, abs=0.02)
    if name in sensor.maps:
        assert np.corrcoef(fitted.maps[name].ravel(), sensor.maps[name].ravel())[0, 1] > 0.8


def test_maps_average_to_the_scalars(sensor, fitted):
    good = fitted.defects == 0
    assert abs(np.mean(fitted.maps["prnu"][good], dtype=float)) < 1e-8
    gain = fitted.parameter("system_gain_dn_per_e").value
    assert np.mean(fitted.maps["system_gain_dn_per_e"][good], dtype=float) == pytest.approx(gain, rel=1e-6)
    for name in ("offset_dn", "dark_current_e_per_s"):
        entry = fitted.parameter(name)
        assert abs(np.mean(fitted.maps[name][good]) - entry.value) < 5 * entry.std + 0.01
    read, error = fitted.maps["read_noise_e"][good], fitted.maps["read_noise_e_std"][good]
    scalar = fitted.parameter("read_noise_e").value
    assert np.sqrt(np.mean(read**2 - error**2)) == pytest.approx(scalar, rel=0.01)
    assert scalar == pytest.approx(np.sqrt(np.mean(sensor.maps["read_noise_e"][good] ** 2)), rel=0.03)
    assert np.mean(read) == pytest.approx(np.mean(sensor.maps["read_noise_e"][good]), rel=0.01)


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
    assert set(again.document.maps.names) == {*NAMES, *(name + "_std" for name in NAMES), "defects"}
    np.testing.assert_array_equal(again.defects, fitted.defects)
    assert again.defects.dtype == np.uint8
    assert again.document.defects == fitted.document.defects is not None
    assert again.document.repeatability == fitted.document.repeatability is not None
    for name, values in fitted.maps.items():
        np.testing.assert_array_equal(again.maps[name], values)
    for name, values in fitted.readout_maps.items():
        np.testing.assert_array_equal(again.readout_maps[name], values)
    with pytest.raises(PhotonbitsError, match=r"\(5, 5\).*\(48, 56\)"):
        again.mean_dn(np.zeros((5, 5)))


def test_the_camera_uses_what_the_maps_know_and_no_more(sensor, fitted):
    """Gains are known to 60 % here: every pixel gets the scalar. Read noise is drawn towards the mean."""
    assert set(fitted.readout_maps) == {"offset_dn", "read_noise_e"}
    np.testing.assert_array_equal(fitted.readout_maps["offset_dn"], fitted.maps["offset_dn"])
    truth = sensor.maps["read_noise_e"]
    assert np.std(fitted.readout_maps["read_noise_e"] - truth) < np.std(fitted.maps["read_noise_e"] - truth)
    again = NoiseModel.from_parameters(system_gain_dn_per_e=1.5, read_noise_e=4.0, bit_depth=14, maps=fitted.maps)
    assert set(again.readout_maps) == {"offset_dn", "read_noise_e"}
    assert np.array_equal(again.defects, fitted.defects)


def test_scalars_are_those_of_the_good_pixels(sensor, folder, fitted, tmp_path):
    """Hot and noisy pixels move the averages over all pixels, and are in none of the maps' scalars."""
    import tifffile

    (tmp_path / "c").mkdir()
    rng = np.random.default_rng(8)
    for path in folder.iterdir():
        if path.suffix != ".tif":
            (tmp_path / "c" / path.name).write_bytes(path.read_bytes())
            continue
        stack = tifffile.imread(path).astype(float)
        stack[:, 3, ::8] += 200
        stack[:, 7, ::8] += 45 * rng.standard_normal((stack.shape[0], 7))
        stack[:, 9, 9] = 500
        codes = np.clip(np.round(stack), 0, 16383).astype(np.uint16)
        tifffile.imwrite(tmp_path / "c" / path.name, codes, photometric="minisblack")
    broken = fit_noise_model(tmp_path / "c", maps=True)
    kinds = broken.document.defects.kinds
    assert (kinds["hot"].count, kinds["noisy"].count, kinds["stuck"].count) == (7 + 1, 7, 1)
    assert broken.document.defects.n_pixels == np.count_nonzero(broken.defects) == 15
    assert np.flatnonzero(broken.unusable_pixels).tolist() == [9 * SHAPE[1] + 9]
    for name in ("offset_dn", "read_noise_e", "dark_noise_dn", "dsnu_e", "prnu_percent"):
        entry, plain = broken.parameter(name), fitted.parameter(name)
        assert abs(entry.value - plain.value) < 3 * plain.std + 0.02 * plain.value, name
    noise = broken.parameter("dark_noise_dn").value
    gain, read = (broken.parameter(name).value for name in ("system_gain_dn_per_e", "read_noise_e"))
    assert noise**2 == pytest.approx((gain * read) ** 2 + 1 / 12)


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
