"""Simulated captures: accepted unchanged by the fit, the same bytes for a seed, whole or absent."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model, load_captures, simulate_captures
from calibrate.simulate import OVERSHOOT


def sensor_of(**changes: object) -> NoiseModel:
    given = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=5.0)
    return NoiseModel.from_parameters(**{**given, **changes})


def bytes_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_frames_manifest_and_truth(tmp_path):
    folder = simulate_captures(
        sensor_of(), tmp_path / "c", levels=5, frames_per_level=3, dark_levels=2, shape=(20, 30), exposure_max_s=2.0
    )
    assert folder == tmp_path / "c"
    assert len(list(folder.glob("*.tif"))) == 7
    found = load_captures(folder)
    assert (found.shape, found.bit_depth, found.source) == ((20, 30), 12, "manifest")
    assert [level.n_frames for level in found.levels] == [3] * 7
    np.testing.assert_allclose([level.exposure_s for level in found.bright_levels()], 2.0 * np.arange(1, 6) / 5)
    assert [level.exposure_s for level in found.dark_levels()] == [0.0, 2.0]
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["parameters"]["system_gain_dn_per_e"] == 0.5
    assert truth["parameters"]["dark_current_e_per_s"] == 5.0
    assert truth["seed"] == 0 and truth["maps"] is False
    np.testing.assert_allclose(truth["light_e"], OVERSHOOT * 7990 * np.arange(1, 6) / 5, rtol=1e-3)


def test_levels_have_the_moments_of_the_model(tmp_path):
    sensor = sensor_of()
    folder = simulate_captures(sensor, tmp_path / "c", levels=4, shape=(200, 200), seed=3)
    light = json.loads((folder / "truth.json").read_text())["light_e"]
    for i, exposure in enumerate((0.25, 0.5, 0.75)):
        codes = tifffile.imread(folder / f"flat_{i:03d}.tif").astype(float)
        charge = light[i] + 5.0 * exposure
        variance = float(sensor.variance_dn2(charge))
        assert codes.mean() == pytest.approx(float(sensor.mean_dn(charge)), abs=5 * np.sqrt(variance / codes.size))
        assert codes.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / codes.size))
    darks = tifffile.imread(folder / "dark_007.tif").astype(float)
    assert darks.mean() == pytest.approx(100 + 2.5, abs=5 * np.sqrt(6.0 / darks.size))


def test_the_fit_accepts_it_unchanged(tmp_path):
    folder = simulate_captures(sensor_of(), tmp_path / "c", shape=(64, 64), seed=4)
    model = fit_noise_model(folder)
    for name, true in json.loads((folder / "truth.json").read_text())["parameters"].items():
        entry = model.parameter(name)
        if entry is not None and entry.std:
            assert abs(entry.value - true) < 4.5 * entry.std, name


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, two, other = (
        bytes_of(simulate_captures(sensor_of(), tmp_path / name, shape=(16, 16), levels=3, seed=seed))
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert one == two
    assert all(one[name] != other[name] for name in one if name.startswith("dark") or name == "flat_000.tif")


def test_light_scatter_scatters_the_light(tmp_path):
    folder = simulate_captures(sensor_of(), tmp_path / "c", levels=40, shape=(4, 4), light_scatter_percent=2.0, seed=1)
    light = np.array(json.loads((folder / "truth.json").read_text())["light_e"])
    relative = light / (OVERSHOOT * 7990 * np.arange(1, 41) / 40) - 1
    assert 0.013 < np.std(relative) < 0.028


def test_maps_fix_the_shape_and_lie_beside_the_frames(tmp_path):
    maps = {"offset_dn": np.linspace(90, 110, 48).reshape(6, 8), "prnu": np.zeros((6, 8))}
    folder = simulate_captures(sensor_of(maps=maps), tmp_path / "c", levels=2, frames_per_level=40)
    with np.load(folder / "truth_maps.npz") as archive:
        np.testing.assert_allclose(archive["offset_dn"], maps["offset_dn"], rtol=1e-6)
    dark = tifffile.imread(folder / "dark_002.tif").mean(axis=0)
    np.testing.assert_allclose(dark, maps["offset_dn"] + 1.25, atol=1.5)
    assert json.loads((folder / "truth.json").read_text())["maps"] is True
    with pytest.raises(PhotonbitsError, match=r"\(5, 5\).*\(6, 8\)"):
        simulate_captures(sensor_of(maps=maps), tmp_path / "d", shape=(5, 5))


def test_existing_folders_are_kept(tmp_path):
    folder = tmp_path / "c"
    simulate_captures(sensor_of(), folder, shape=(8, 8), levels=2)
    before = bytes_of(folder)
    with pytest.raises(PhotonbitsError, match=r"c exists and is not empty.*--force"):
        simulate_captures(sensor_of(), folder, shape=(8, 8), levels=2, seed=5)
    assert bytes_of(folder) == before
    simulate_captures(sensor_of(), folder, shape=(8, 8), levels=3, seed=5, overwrite=True)
    assert len(list(folder.glob("*.tif"))) == 6
    (tmp_path / "empty").mkdir()
    simulate_captures(sensor_of(), tmp_path / "empty", shape=(8, 8), levels=2)


def test_force_replaces_simulated_captures_only(tmp_path):
    """Pointed at a folder of something else, --force must not delete it."""
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("ten years")
    with pytest.raises(PhotonbitsError, match=r"truth\.json"):
        simulate_captures(sensor_of(), precious, shape=(8, 8), overwrite=True)
    assert (precious / "thesis.txt").read_text() == "ten years"
    with pytest.raises(PhotonbitsError, match="is a file"):
        simulate_captures(sensor_of(), precious / "thesis.txt", shape=(8, 8), overwrite=True)
    assert (precious / "thesis.txt").read_text() == "ten years"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_simulation_that_failed(tmp_path, monkeypatch, error):
    count = 0
    real = tifffile.imwrite

    def failing(*args: object, **options: object) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise error
        real(*args, **options)

    monkeypatch.setattr(tifffile, "imwrite", failing)
    with pytest.raises(type(error)):
        simulate_captures(sensor_of(), tmp_path / "c", shape=(8, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"levels": 1}, "levels is 1. Expected: 2 or more"),
        ({"frames_per_level": 1}, "frames_per_level is 1. Expected: 2 or more"),
        ({"dark_levels": 0}, "dark_levels is 0. Expected: 1 or more"),
        ({"darks_per_level": 1}, "darks_per_level is 1. Expected: 2 or more"),
        ({"seed": -1}, "seed is -1. Expected: 0 or more"),
        ({"exposure_max_s": 0.0}, "exposure_max_s is 0. Expected: a positive"),
        ({"exposure_max_s": float("nan")}, "exposure_max_s is nan"),
        ({"exposure_max_s": float("inf")}, "exposure_max_s is inf"),
        ({"light_scatter_percent": -1.0}, "light_scatter_percent is -1"),
        ({"light_scatter_percent": float("nan")}, "light_scatter_percent is nan"),
        ({"shape": (1, 5)}, "shape (1, 5). Expected: 2 x 2"),
    ],
)
def test_illegal_arguments_are_named(tmp_path, arguments, said):
    with pytest.raises(PhotonbitsError) as error:
        simulate_captures(sensor_of(), tmp_path / "c", **{"shape": (8, 8), **arguments})
    assert said in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_sensor_without_end_and_a_folder_without_parent(tmp_path):
    with pytest.raises(PhotonbitsError, match=r"bit depth nor a full well"):
        simulate_captures(sensor_of(bit_depth=None), tmp_path / "c", shape=(8, 8))
    with pytest.raises(PhotonbitsError, match=r"absent does not exist"):
        simulate_captures(sensor_of(), tmp_path / "absent" / "c", shape=(8, 8))
    assert list(tmp_path.iterdir()) == []
