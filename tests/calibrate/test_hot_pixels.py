"""Hot pixels in the darks: no pattern of the others, neither near the lowest code nor under coarse rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibrate import fit_noise_model
from calibrate.level_statistics import pair_sums
from calibrate.level_statistics.bulk import bulk_of
from calibrate.photon_transfer import clipping

SHAPE = (128, 128)


def hot_captures(folder: Path, gain: float, offset_dn: float, seed: int, shot_noise: bool = True) -> float:
    """Flats and darks of 8 exposures, 0.2 % of the pixels hot; returns the mean dark current in e-/s.

    Without ``shot_noise`` what hot pixels add is the same in every frame, as at saturation.
    """
    rng = np.random.default_rng(seed)
    hot = (rng.random(SHAPE) < 2e-3) * rng.exponential(1000.0, SHAPE)
    dark, fixed = (5.0 + hot, 0.0) if shot_noise else (np.full(SHAPE, 5.0), hot)
    folder.mkdir()
    for t in np.arange(1, 9) / 8:
        for name, light in (("flat", 3000.0 / gain), ("dark", 0.0)):
            charge = rng.poisson((light + dark) * t, (2, *SHAPE)) + 3.0 * rng.standard_normal((2, *SHAPE)) + fixed * t
            codes = np.clip(np.floor(offset_dn + gain * charge + 0.5), 0, 4095).astype(np.uint16)
            np.save(folder / f"{name}_{1000 * t:g}ms.npy", codes)
    return float(5.0 + hot.mean())


@pytest.mark.parametrize(
    ("gain", "offset_dn", "most_sums", "read_std_e"),
    [(0.4, 64.0, 0, 0.02), (0.4, 0.0, 1200, 0.025), (0.1, 20.3, 5000, 0.05)],
)
def test_hot_pixels_are_no_pattern_of_the_others(tmp_path, monkeypatch, gain, offset_dn, most_sums, read_std_e):
    """Taken for a normal pattern, 37 hot pixels of 16384 sent every dark through sums over codes: minutes."""
    calls = 0
    plain = clipping._sums

    def counted(*arguments):
        nonlocal calls
        calls += 1
        if calls > most_sums:
            raise AssertionError(f"more than {most_sums} sums over codes")
        return plain(*arguments)

    monkeypatch.setattr(clipping, "_sums", counted)
    clipping._remembered.cache_clear()
    rate = hot_captures(tmp_path / "c", gain, offset_dn, seed=0)
    model = fit_noise_model(tmp_path / "c")
    truth = {
        "system_gain_dn_per_e": gain,
        "read_noise_e": 3.0,
        "offset_dn": offset_dn,
        "dark_current_e_per_s": rate,
    }
    for name, true in truth.items():
        entry = model.parameter(name)
        assert abs(entry.value - true) < 4 * entry.std, name
    assert model.parameter("system_gain_dn_per_e").std < 0.006 * gain
    assert model.parameter("read_noise_e").std < read_std_e
    assert 0.4 < model.document.fit.deviance_per_dof < 2


@pytest.mark.parametrize("seed", range(3))
def test_hot_pixels_without_shot_noise_take_nothing_off_the_read_noise(tmp_path, seed):
    """Their charge asked for a variance that they do not have: the read noise was up to 3 % low, by 6 errors."""
    hot_captures(tmp_path / "c", 0.4, 64.0, seed, shot_noise=False)
    model = fit_noise_model(tmp_path / "c")
    entry = model.parameter("read_noise_e")
    assert abs(entry.value - 3.0) < 3 * entry.std < 0.06
    assert model.document.fit.deviance_per_dof < 2


def test_the_bulk_is_what_hot_and_cold_pixels_leave():
    rng = np.random.default_rng(1)
    pattern = 80.0 + 2.0 * rng.standard_normal((200, 300))
    hot = rng.random(pattern.shape) < 5e-3
    cold = rng.random(pattern.shape) < 1e-3
    mean = np.where(cold, 0.0, pattern + hot * rng.uniform(100.0, 3000.0, pattern.shape))
    frames = np.floor(mean + 1.5 * rng.standard_normal((2, *pattern.shape)) + 0.5).clip(0).astype(np.uint16)
    sums = pair_sums(*frames)
    bulk = bulk_of(*frames, sums)
    ordinary = ~(hot | cold)
    assert bulk is not None and bulk.n_pixels == int(np.sum(ordinary))
    assert bulk.mean_dn == pytest.approx(float(frames[:, ordinary].mean()), rel=1e-12)
    expected = np.cov(frames[:, ordinary].astype(float), bias=True)[0, 1]
    assert bulk.spatial_covariance_dn2 == pytest.approx(expected, rel=1e-9)
    difference = frames[0, ordinary].astype(float) - frames[1, ordinary]
    assert bulk.temporal_variance_dn2 == pytest.approx(np.var(difference, ddof=1) / 2, rel=1e-9)
    assert bulk.kurtosis == pytest.approx(3.0, abs=0.1)
    assert expected == pytest.approx(4.0, rel=0.03) and sums.spatial_covariance_dn2 > 1000
    even = np.floor(pattern + 1.5 * rng.standard_normal((2, *pattern.shape)) + 0.5).astype(np.uint16)
    assert bulk_of(*even, pair_sums(*even)) is None
