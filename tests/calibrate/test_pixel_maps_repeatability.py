"""The two halves of the frames agree as well as the stated errors say, and no better than drift allows."""

from __future__ import annotations

import numpy as np
import pytest
from pixel_frames import NAMES, PixelSensor, measured

PAIRS = {"light_e": tuple(np.linspace(500, 7000, 12)), "dark_exposures_s": tuple(np.linspace(0, 4, 12)), "darks": 2}
MANY = {"light_e": (1000.0, 3000.0, 5000.0), "frames": 9, "dark_exposures_s": (0.0, 4.0), "darks": 20}


@pytest.mark.parametrize("settings", [PAIRS, MANY], ids=["pairs", "many frames"])
@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_halves_differ_as_much_as_their_errors_say(tmp_path, settings, spread):
    sensor = PixelSensor((96, 96), seed=11, read_spread=spread, dark_e_per_s=20.0)
    found = measured(sensor, tmp_path, **settings)
    assert set(found.repeatability) == set(NAMES)
    for name, entry in found.repeatability.items():
        assert entry.variance_ratio == pytest.approx(1, abs=0.1), name
        assert entry.n_pixels == 96 * 96
        true, own = np.var(found.maps[name]), np.mean(np.square(found.maps[name + "_std"]))
        if name != "read_noise_e":  # compared as a variance
            # A half has twice the error variance of the whole.
            expected = (true - own) / (true + own)
            assert entry.correlation == pytest.approx(expected, abs=0.06), name


def test_a_pattern_that_moves_between_the_frames_shows(tmp_path):
    """Half of the frames have another fixed pattern: offsets differ by more than the noise."""
    sensor = PixelSensor((64, 64), seed=2)
    pattern = np.random.default_rng(1).integers(0, 4, (64, 64)).astype(np.uint16)

    def move(frame, kind, k):
        return frame + pattern * np.uint16(kind == "dark" and k % 4 < 2)

    moved = measured(sensor, tmp_path, change=move, **MANY)
    assert moved.repeatability["offset_dn"].variance_ratio > 3
    assert moved.repeatability["prnu"].variance_ratio == pytest.approx(1, abs=0.1)


def test_no_halves_no_figure(tmp_path):
    """Two darks and one more: one half has no pair. Two dark exposures of a pair each: a half has no dark current."""
    three = measured(PixelSensor((20, 20)), tmp_path / "a", dark_exposures_s=(0.0,), darks=3)
    assert three.repeatability == {}
    two = measured(PixelSensor((20, 20)), tmp_path / "b", dark_exposures_s=(0.0, 1.0), darks=2)
    assert "dark_current_e_per_s" in two.maps
    assert "dark_current_e_per_s" not in two.repeatability
    assert "offset_dn" in two.repeatability


def test_a_large_frame_is_compared_in_part(tmp_path):
    shape = (300, 1100)
    found = measured(
        PixelSensor(shape, seed=3), tmp_path, light_e=(1000.0, 4000.0), dark_exposures_s=(0.0, 2.0), darks=4
    )
    assert 32768 <= found.repeatability["offset_dn"].n_pixels <= 262144 < shape[0] * shape[1]
    assert found.repeatability["offset_dn"].variance_ratio == pytest.approx(1, abs=0.03)
