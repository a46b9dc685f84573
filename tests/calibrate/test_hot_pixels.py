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


def hot_captures(folder: Path, gain: float, offset_dn: float, seed: int) -> float:
    """Flats and darks of 8 exposures, 0.2 % of the pixels hot; returns the mean dark current in e-/s."""
    rng = np.random.default_rng(seed)
    dark = 5.0 + (rng.random(SHAPE) < 2e-3) * rng.exponential(1000.0, SHAPE)
    folder.mkdir()
    for t in np.arange(1, 9) / 8:
        for name, light in (("flat", 3000.0 / gain), ("dark", 0.0)):
            charge = rng.poisson((light + dark) * t, (2, *SHAPE)) + 3.0 * rng.standard_normal((2, *SHAPE))
            codes = np.clip(np.floor(offset_dn + gain * charge + 0.5), 0, 4095).astype(np.uint16)
            np.save(folder / f"{name}_{1000 * t:g}ms.npy", codes)
    return float(dark.mean())


@pytest.mark.parametrize(
    ("gain", "offset_dn", "most_sums", "read_std_e"),
    [(0.4, 64.0, 0, 0.05), (0.4, 0.0, 1200, 0.08), (0.1, 20.3, 5000, 0.08)],
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
    assert expected == pytest.approx(4.0, rel=0.03) and sums.spatial_covariance_dn2 > 1000
    even = np.floor(pattern + 1.5 * rng.standard_normal((2, *pattern.shape)) + 0.5).astype(np.uint16)
    assert bulk_of(*even, pair_sums(*even)) is None
