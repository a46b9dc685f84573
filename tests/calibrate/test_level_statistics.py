"""Level statistics: exact against plain numpy, and not fooled by drift, offsets or odd numbers of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibrate import NoiseModel, PhotonbitsError, load_captures
from calibrate.level_statistics import LevelStatistics, measure_levels, pair_sums
from calibrate.validation import check_captures


def measured(folder: Path, *frames: np.ndarray, name: str = "flat_10ms") -> LevelStatistics:
    """One bright level through the real path."""
    np.save(folder / f"{name}.npy", np.stack(frames))
    return measure_levels(load_captures(folder))[0]


@given(
    hnp.arrays(np.uint16, (2, 5, 7), elements=st.integers(0, 65535)),
)
def test_sums_are_those_of_exact_integers(frames):
    a, b = (frame.astype(object) for frame in frames)
    sums = pair_sums(*frames)
    assert (sums.sum_a, sums.sum_b) == (a.sum(), b.sum())
    assert (sums.sum_aa, sums.sum_bb, sums.sum_ab) == ((a * a).sum(), (b * b).sum(), (a * b).sum())
    d = frames[0].astype(float) - frames[1]
    assert sums.difference_variance_dn2 == pytest.approx(np.var(d, ddof=1), rel=1e-12)
    d -= d.mean()
    # What only weighs and warns is held in float32: 24 bits.
    slack = 1e-6 * float(np.sum(d * d)) + 1e-9
    assert sums.sum_d2 == pytest.approx(np.sum(d * d), rel=1e-12, abs=1e-9)
    assert sums.sum_d4 == pytest.approx(np.sum(d**4), rel=1e-6)
    assert sums.neighbour_horizontal == pytest.approx(np.sum(d[:, 1:] * d[:, :-1]), abs=slack)
    assert sums.neighbour_vertical == pytest.approx(np.sum(d[1:] * d[:-1]), abs=slack)
    signal = (frames[0].astype(float) + frames[1]) / 2
    spread = float(np.sum(d * d * np.abs(signal - signal.mean())) + np.sum(np.abs(d) ** 3))
    assert sums.sum_d2_signal - sums.sum_d2 * signal.mean() == pytest.approx(
        np.sum(d * d * (signal - signal.mean())), abs=1e-6 * spread + 1e-11 * sums.sum_d2_signal + 1e-9
    )
    assert sums.spatial_covariance_dn2 == pytest.approx(np.cov(*(f.ravel() for f in frames), bias=True)[0, 1], abs=1e-4)


@pytest.mark.parametrize("shape", [(1, 2), (3, 1), (700, 401)])
def test_tiles_do_not_show(shape):
    """The last shape has more pixels than a tile, and the tile does not divide it."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4096, shape).astype(np.uint16) for _ in range(2))
    sums = pair_sums(a, b)
    d = a.astype(float) - b
    assert sums.difference_variance_dn2 == pytest.approx(np.var(d, ddof=1), rel=1e-13)
    d -= d.mean()
    # Within a tile the difference is about the tile's own mean: a change of 1 part in the number of pixels.
    assert sums.neighbour_vertical == pytest.approx(np.sum(d[1:] * d[:-1]), abs=4e-5 * np.sum(d * d) + 1e-6)
    assert sums.kurtosis == pytest.approx(np.mean(d**4) / np.var(d, ddof=1) ** 2, rel=1e-4)


def test_a_large_offset_costs_no_digit():
    """Naive sums of squares in float32, or in float64 over 1e9 pixels, would lose the variance."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 5, (2, 300, 500)).astype(np.uint16)
    near, far = pair_sums(*small), pair_sums(*(small + np.uint16(65_500)))
    assert far.difference_variance_dn2 == near.difference_variance_dn2
    assert far.spatial_covariance_dn2 == near.spatial_covariance_dn2
    assert (far.kurtosis, far.neighbour_vertical) == (near.kurtosis, near.neighbour_vertical)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_valued_frames(offset, dtype):
    rng = np.random.default_rng(2)
    frames = (offset + rng.standard_normal((2, 120, 130))).astype(dtype)
    a, b = frames.astype(np.float64)
    sums = pair_sums(*frames)
    assert (sums.mean_a_dn, sums.mean_b_dn) == pytest.approx((a.mean(), b.mean()), rel=1e-12, abs=1e-12)
    assert sums.difference_variance_dn2 == pytest.approx(np.var(a - b, ddof=1), rel=1e-9)


@pytest.mark.parametrize("ratio", [1.01, 1.03, 0.98, 1.5])
def test_drifting_lamp_does_not_turn_shading_into_noise(ratio):
    """Shading of 30 % with a lamp that changes between the frames: EMVA's formula counts it, ours does not."""
    rng = np.random.default_rng(3)
    shape, offset, read_dn = (400, 500), 100.0, 2.0
    shading = 1 + 0.3 * np.linspace(-1, 1, shape[1])[None, :] * np.ones(shape)
    light = 40_000.0 * shading
    a, b = (
        np.rint(0.5 * rng.poisson(light * r) + offset + read_dn * rng.standard_normal(shape)).astype(np.uint16)
        for r in (1.0, ratio)
    )
    true = 0.25 * 40_000 * (1 + ratio) / 2 + read_dn**2 + 1 / 12  # at the pair's mean light
    sums = pair_sums(a, b)
    error = true * np.sqrt(2.4 / a.size)
    assert sums.temporal_variance_dn2(offset) == pytest.approx(true, abs=4 * error)
    assert sums.r4_variance_dn2 > true + 20 * error * ((ratio - 1) / 0.01) ** 2 * 0.2
    assert sums.spatial_covariance_dn2 == pytest.approx(np.var(20_000 * shading) * ratio, rel=0.01)


def test_without_drift_the_variance_is_the_plain_one():
    rng = np.random.default_rng(4)
    a = rng.integers(500, 600, (60, 60)).astype(np.uint16)
    b = rng.permutation(a.ravel()).reshape(a.shape)  # the very same mean
    sums = pair_sums(a, b)
    assert sums.temporal_variance_dn2(100.0) == pytest.approx(sums.r4_variance_dn2, rel=1e-12)
    assert sums.temporal_variance_dn2(None) == sums.r4_variance_dn2
    # No light above the offset: nothing to scale by.
    assert sums.temporal_variance_dn2(sums.sum_a / sums.n_pixels) == sums.r4_variance_dn2


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 7])
def test_frames_are_paired_and_all_count_in_the_mean(tmp_path, n_frames):
    rng = np.random.default_rng(5)
    frames = rng.integers(100, 300, (n_frames, 20, 30)).astype(np.uint16)
    level = measured(tmp_path, *frames)
    assert level.n_frames == n_frames and level.n_pixels == 600
    assert level.mean_dn == pytest.approx(frames.mean(), rel=1e-14)
    np.testing.assert_allclose(level.frame_means_dn, frames.mean(axis=(1, 2)), rtol=1e-14)
    assert len(level.pairs) == n_frames // 2
    pairs = [np.var(frames[i].astype(float) - frames[i + 1], ddof=1) / 2 for i in range(0, n_frames - 1, 2)]
    if pairs:
        assert level.temporal_variance_dn2(None) == pytest.approx(np.mean(pairs), rel=1e-12)
    else:
        assert level.temporal_variance_dn2(None) is None
        assert level.neighbour_correlation == (0.0, 0.0) and level.kurtosis == 3.0


def test_extremes_and_bits_of_all_frames(tmp_path):
    frames = np.full((3, 4, 5), 48, dtype=np.uint16)
    frames[0, 0, 0] = 16
    frames[2, 1, :2] = 16
    frames[1, 2, 2] = 96
    level = measured(tmp_path, *frames)
    assert (level.minimum_code, level.maximum_code) == (16, 96)
    assert level.minimum_fraction == pytest.approx(3 / 60)
    assert level.maximum_fraction == pytest.approx(1 / 60)
    assert level.code_bits == 16 | 48 | 96


def test_neighbour_correlation_by_direction(tmp_path):
    """A moving average over two pixels of a row correlates neighbours by one half, in that direction only."""
    rng = np.random.default_rng(6)
    noise = rng.standard_normal((2, 200, 251))
    frames = np.rint(500 + 10 * (noise[:, :, 1:] + noise[:, :, :-1])).astype(np.uint16)
    horizontal, vertical = measured(tmp_path, *frames).neighbour_correlation
    assert horizontal == pytest.approx(0.5, abs=0.02)
    assert vertical == pytest.approx(0.0, abs=0.02)


def test_kurtosis_tells_unequal_pixels(tmp_path):
    rng = np.random.default_rng(7)
    sigma = np.where(rng.random((200, 200)) < 0.1, 40.0, 8.0)
    frames = np.rint(1000 + sigma * rng.standard_normal((2, 200, 200))).astype(np.uint16)
    share = np.array([0.1, 0.9]), np.array([40.0, 8.0])
    expected = 3 * (share[0] @ share[1] ** 4) / (share[0] @ share[1] ** 2) ** 2
    assert measured(tmp_path, *frames).kurtosis == pytest.approx(expected, rel=0.1)


def test_frames_of_more_bits_than_stated_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 3, 3), 5000, dtype=np.uint16))
    (tmp_path / "manifest.csv").write_text("# bit_depth: 12\npath,kind,exposure_s\na.npy,bright,1\n")
    with pytest.raises(PhotonbitsError, match=r"code 5000 in a 12-bit.*a\.npy.*0 to 4095.*manifest"):
        measure_levels(load_captures(tmp_path))


def test_copies_of_a_flat_are_named(tmp_path):
    """Two flats that agree in every pixel are one; darks without noise and saturated flats may agree."""
    rng = np.random.default_rng(4)
    flat, dark = (rng.poisson(mean, (20, 30)).astype(np.uint16) for mean in (500, 20))
    for name, codes in (("flat_1", flat), ("flat_2", flat), ("dark_1", dark), ("dark_2", dark)):
        np.save(tmp_path / f"{name}.npy", codes)
    with pytest.raises(PhotonbitsError, match=r"identical in every pixel: flat_1\.npy and flat_2\.npy"):
        measure_levels(load_captures(tmp_path))
    model = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0, bit_depth=12)
    with pytest.raises(PhotonbitsError, match="identical in every pixel"):
        check_captures(model, tmp_path)
    full = np.full((20, 30), 4095, dtype=np.uint16)
    full[3:5] = flat[3:5]  # dead rows
    for name in ("flat_1", "flat_2"):
        np.save(tmp_path / f"{name}.npy", full)
    assert len(measure_levels(load_captures(tmp_path))) == 2
    for number in range(3, 7):  # a saturated pair among others of its level
        np.save(tmp_path / f"flat_{number}.npy", rng.poisson(500, (20, 30)).astype(np.uint16))
    (tmp_path / "manifest.csv").write_text("path,kind,level\nflat_*.npy,flat,a\ndark_*.npy,dark,\n")
    assert measure_levels(load_captures(tmp_path))[0].n_frames == 6
