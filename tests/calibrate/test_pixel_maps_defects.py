"""Pixels made hot, cold, stuck, noisy or telegraphic are found, each by name; sparks and good pixels are not."""

from __future__ import annotations

import numpy as np
import pytest
from pixel_frames import PixelSensor, measured, pulls

from calibrate.noise_model.defect_kinds import DEFECT_KINDS, defect_names, unusable_pixels
from calibrate.pixel_maps.telegraph import FEWEST_DARKS, two_level_scatter, two_levels

SETTINGS = {"light_e": (1000.0, 3000.0, 5000.0), "frames": 4, "dark_exposures_s": (0.0, 4.0), "darks": 40}
SHAPE = (64, 60)


def places(found, name):
    return {tuple(int(v) for v in place) for place in np.argwhere(found.defects.mask & DEFECT_KINDS[name].bit)}


def test_the_registry_gives_each_kind_a_bit_of_its_own():
    bits = [kind.bit for kind in DEFECT_KINDS.values()]
    assert all(bit & (bit - 1) == 0 and 0 < bit < 256 for bit in bits)
    assert len(set(bits)) == len(bits)
    assert [DEFECT_KINDS[name].bit for name in defect_names(9)] == [1, 8]
    mask = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(unusable_pixels(mask), (mask & 6) != 0)


def test_each_kind_of_defect_is_found_by_name_and_nothing_else(tmp_path):
    sensor = PixelSensor(SHAPE, seed=20, read_spread=0.1)
    sensor.maps["dark_current_e_per_s"][5, 6] = 60.0
    sensor.maps["prnu"][10, 11] = -0.7
    sensor.maps["prnu"][20, 21] = -1.0
    sensor.maps["read_noise_e"][30, 31] = 20.0
    sensor.maps["offset_dn"][50, 51] += 40
    rng = np.random.default_rng(1)

    def change(frame, kind, k):
        frame[40, 41] = 77
        frame[45, 46] += np.uint16(12 * (rng.random() < 0.4))
        return frame

    found = measured(sensor, tmp_path, change=change, **SETTINGS)
    assert places(found, "hot") == {(5, 6), (50, 51)}
    assert places(found, "cold") == {(10, 11), (20, 21), (40, 41)}
    assert places(found, "stuck") == {(40, 41)}
    assert places(found, "noisy") == {(30, 31), (45, 46)}
    assert places(found, "telegraph") == {(45, 46)}
    counts = {name: entry.count for name, entry in found.defects.counts.items()}
    assert counts == {"hot": 2, "cold": 3, "stuck": 1, "noisy": 2, "telegraph": 1}
    for entry in found.defects.counts.values():
        assert 0 <= entry.expected_false_alarms <= 0.02
    # Its own maps describe a hot and a noisy pixel as well as any other.
    for name, place, truth in (("dark_current_e_per_s", (5, 6), 60.0), ("read_noise_e", (30, 31), 20.0)):
        assert abs(found.maps[name][place] - truth) < 4 * found.maps[name + "_std"][place]
        assert found.maps[name + "_std"][place] > 3 * np.median(found.maps[name + "_std"])


@pytest.mark.parametrize("seed", range(4))
def test_good_sensors_have_no_defects(tmp_path, seed):
    """0.02 false alarms are expected in each of the four."""
    few = {**SETTINGS, "darks": [40, 3, 4, 16][seed], "dark_exposures_s": [(0.0, 4.0), (0.0,)][seed % 2]}
    found = measured(PixelSensor((96, 100), seed=seed, read_spread=0.3), tmp_path, **few)
    assert np.count_nonzero(found.defects.mask) == 0
    assert ("telegraph" in found.defects.counts) == (few["darks"] * len(few["dark_exposures_s"]) >= FEWEST_DARKS)


@pytest.mark.parametrize("kind", ["dark", "bright"])
def test_one_frame_outliers_make_no_pixel_defective(tmp_path, kind):
    """Cosmic rays at 5e-4 of the pixels of every frame: maps and errors as without them."""
    sensor = PixelSensor((96, 96), seed=33)
    rng = np.random.default_rng(2)
    hits = np.zeros((96, 96), dtype=int)

    def strike(frame, this, k):
        if this == kind:
            hit = rng.random(frame.shape) < 5e-4
            hits[...] += hit
            frame = frame + (hit * rng.uniform(300, 3000, frame.shape)).astype(np.uint16)
        return frame

    found = measured(sensor, tmp_path, change=strike, **{**SETTINGS, "frames": 10})
    assert np.count_nonzero(hits) > 100
    assert np.count_nonzero(found.defects.mask) == 0
    for name in ("offset_dn", "prnu", "dark_current_e_per_s", "system_gain_dn_per_e", "read_noise_e"):
        pull = pulls(found, sensor, name).reshape(96, 96)
        assert np.std(pull) < 1.1, name
        assert np.std(pull[hits > 0]) < 1.35, name
    assert np.mean(found.maps["read_noise_e"]) == pytest.approx(np.mean(sensor.maps["read_noise_e"]), rel=0.01)
    assert abs(found.gain_ratio - 1) < 5 * found.gain_ratio_std


def test_noisy_pixels_keep_their_noise(tmp_path):
    """Differences beyond six typical deviations are set aside at first, and given back where they are the rule."""
    sensor = PixelSensor((64, 64), seed=4, read_spread=0.0)
    noisy = np.zeros((64, 64), dtype=bool)
    noisy[::4, ::4] = True
    for factor in (2.0, 4.0, 12.0):
        sensor.maps["read_noise_e"] = np.where(noisy, 3.0 * factor, 3.0)
        found = measured(sensor, tmp_path / str(factor), **{**SETTINGS, "darks": 12})
        root = np.sqrt(np.mean(np.square(found.maps["read_noise_e"][noisy])))
        assert root == pytest.approx(3.0 * factor, rel=0.05)
        pull = (found.maps["offset_dn"] - sensor.maps["offset_dn"]) / found.maps["offset_dn_std"]
        assert abs(np.mean(pull[noisy])) < 0.3


def test_smooth_shading_and_colour_filters_make_no_cold_pixels(tmp_path):
    sensor = PixelSensor(SHAPE, seed=5)
    rows, columns = np.mgrid[:64, :60]
    filters = np.where((rows % 2 == 0) & (columns % 2 == 0), 0.3, 1.0)
    sensor.maps["prnu"] = filters * (1 - 0.6 * (rows / 64) ** 2) / 0.7 - 1
    found = measured(sensor, tmp_path, **SETTINGS)
    assert not places(found, "cold")
    sensor.maps["prnu"][12, 13] = -0.9
    assert places(measured(sensor, tmp_path / "again", **SETTINGS), "cold") == {(12, 13)}


# ---- telegraph noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [32, 64, 200])
def test_normal_noise_has_one_level(n):
    """The scatter within the best two groups: mean 0.363 - 1/n, deviation below 0.339/sqrt(n), no far lower tail."""
    scatter = two_level_scatter(np.random.default_rng(n).standard_normal((20_000, n)))
    assert np.mean(scatter) == pytest.approx(1 - 2 / np.pi - 1 / n, abs=0.004)
    assert np.std(scatter) < 0.339 / np.sqrt(n)
    assert not np.any(two_levels(np.random.default_rng(n + 1).standard_normal((50_000, n))))


@pytest.mark.parametrize(
    ("n", "amplitude", "share"), [(64, 6.0, 0.5), (128, 5.0, 0.3), (400, 4.0, 0.5), (400, 9.0, 0.1)]
)
def test_two_levels_are_seen_from_the_stated_distance(n, amplitude, share):
    rng = np.random.default_rng(7)
    codes = rng.standard_normal((400, n)) + amplitude * (rng.random((400, n)) < share)
    assert np.mean(two_levels(codes)) > 0.8
    assert not np.any(two_levels(codes[:, : FEWEST_DARKS - 1]))


def test_heavy_tails_and_sparks_are_not_two_levels():
    rng = np.random.default_rng(3)
    assert not np.any(two_levels(rng.standard_t(3, (20_000, 100))))
    assert not np.any(two_levels(rng.laplace(size=(20_000, 100))))
    sparks = rng.standard_normal((2000, 100))
    sparks[:, :2] += 50
    assert not np.any(two_levels(sparks))
    assert np.all(two_level_scatter(np.full((3, 40), 5.0)) == 1)
