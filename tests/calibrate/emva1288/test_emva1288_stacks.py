"""Averages of stacks against the frames held all at once, and the variances that come of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from calibrate.captures.capture_set import FrameReference, Level
from calibrate.emva1288.highpass import transfer
from calibrate.emva1288.nonuniformity import (
    measure_spatial,
    nonuniformity_values,
    profiles,
    signed_root,
    spectrogram,
)
from calibrate.emva1288.stacks import read_stack
from calibrate.plumbing.errors import PhotonbitsError


def level_of(folder, frames, kind="dark"):
    np.save(folder / f"{kind}.npy", frames)
    references = tuple(FrameReference(folder / f"{kind}.npy", index) for index in range(len(frames)))
    return Level(kind, 0.1, None, references)


def stack_of(folder, frames, kind="dark"):
    return read_stack(level_of(folder, frames, kind))


@pytest.mark.parametrize("dtype", ["uint16", "float64"])
def test_stack_equals_numpy_on_all_frames(tmp_path, dtype):
    rng = np.random.default_rng(0)
    frames = (50_000 + rng.normal(0, 9, (7, 30, 40)) + rng.normal(0, 5, (1, 30, 40))).astype(dtype)
    frames[3] += 4
    stack, held = stack_of(tmp_path, frames), frames.astype(np.float64)
    np.testing.assert_allclose(stack.mean_image_dn, held.mean(axis=0), rtol=1e-14)
    assert stack.temporal_variance_dn2 == pytest.approx(held.var(axis=0, ddof=1).mean(), rel=1e-9)
    assert stack.common_variance_dn2 == pytest.approx(held.mean(axis=(1, 2)).var(ddof=1), rel=1e-6)
    about = held - held.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(stack.row_means_dn, about.mean(axis=2), atol=1e-8)
    np.testing.assert_allclose(stack.column_means_dn, about.mean(axis=1), atol=1e-8)
    rest = about - about.mean(axis=2, keepdims=True) - about.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(stack.covariance_dn2, np.einsum("aij,bij->ab", rest, rest) / 1200, rtol=1e-8, atol=1e-9)


def test_a_long_stack_keeps_a_sample_of_every_frame(tmp_path, monkeypatch):
    monkeypatch.setattr("calibrate.emva1288.stacks._SAMPLED_VALUES", 6 * 500)
    frames = np.random.default_rng(9).normal(0, 2, (6, 50, 60)) + np.random.default_rng(10).normal(0, 1, (50, 60))
    stack = stack_of(tmp_path, frames)
    assert stack.sampled_pixels == 500
    pairs = stack.covariance_dn2[np.triu_indices(6, 1)]
    assert np.mean(pairs) == pytest.approx(1.0, abs=0.3) and np.mean(np.diag(stack.covariance_dn2)) == pytest.approx(
        5, abs=0.5
    )


def test_one_frame_and_frames_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(PhotonbitsError, match="1 dark frame"):
        stack_of(tmp_path, np.zeros((1, 4, 4), dtype=np.uint16))
    level = level_of(tmp_path, np.zeros((2, 4, 4), dtype=np.uint16))
    np.save(tmp_path / "other.npy", np.zeros((4, 5), dtype=np.uint16))
    frames = (*level.frames, FrameReference(tmp_path / "other.npy"))
    with pytest.raises(PhotonbitsError, match="shape"):
        read_stack(Level("dark", 0.1, None, frames))


def test_spatial_variance_is_the_mean_covariance_of_two_frames(tmp_path):
    """Equation 36 and the slow way to the same number: no noise of one frame is in another."""
    rng = np.random.default_rng(1)
    frames = np.round(200 + rng.normal(0, 3, (6, 25, 30)) + rng.normal(0, 2, (25, 30))).astype(np.uint16)
    measured = measure_spatial(stack_of(tmp_path, frames), filtered=False)
    held = frames - frames.mean(axis=(1, 2), keepdims=True)
    pairs = [(held[i] * held[j]).mean() for i in range(6) for j in range(6) if i != j]
    n = 25 * 30
    # Unbiased over pixels; what all pixels share is still in release 3.1's temporal variance.
    shared = frames.mean(axis=(1, 2)).var(ddof=1) / 6
    expected = np.mean(pairs) + measured.measured / n - shared
    assert measured.variances()["total"] == pytest.approx(expected, rel=1e-9)


def test_rows_columns_and_pixels_are_those_of_equation_42(tmp_path):
    """Without temporal noise the parts solve the standard's three equations."""
    rng = np.random.default_rng(2)
    image = (
        100 + 1.5 * rng.standard_normal((20, 1)) + 0.7 * rng.standard_normal((1, 33)) + rng.standard_normal((20, 33))
    )
    measured = measure_spatial(stack_of(tmp_path, np.stack([image, image])), filtered=False)
    mean = image.mean()
    sides = [((image.mean(axis=0) - mean) ** 2).mean(), ((image.mean(axis=1) - mean) ** 2).mean(), image.var(ddof=1)]
    column, row, pixel = np.linalg.solve([[1, 0, 1 / 20], [0, 1, 1 / 33], [1, 1, 1]], sides)
    found = measured.variances()
    for name, value in (("column", column), ("row", row), ("pixel", pixel), ("total", image.var(ddof=1))):
        assert found[name] == pytest.approx(value, rel=1e-10), name


def test_no_pattern_gives_either_sign_with_an_honest_error(tmp_path):
    """Truth 0: the mean of many estimates is 0, their pulls have unit scatter, half of them are negative."""
    rng = np.random.default_rng(3)
    totals, pulls = [], []
    for _ in range(120):
        frames = np.round(50 + 4 * rng.standard_normal((5, 24, 24))).astype(np.uint16)
        measured = measure_spatial(stack_of(tmp_path, frames), filtered=False)
        drawn = [measured.drawn(rng).variances() for _ in range(100)]
        for part in ("total", "row", "column", "pixel"):
            std = np.std([one[part] for one in drawn])
            assert std > 0 and np.isfinite(measured.variances()[part])
            pulls.append(measured.variances()[part] / std)
        totals.append(measured.variances()["total"])
    assert abs(np.mean(totals)) < 3 * np.std(totals) / np.sqrt(len(totals))
    assert 35 < sum(total < 0 for total in totals) < 85
    assert 0.85 < np.sqrt(np.mean(np.square(pulls))) < 1.15


def test_row_noise_of_the_readout_is_no_row_pattern(tmp_path):
    """Rows that jump from frame to frame: the standard's white residual would leave 1/8 of their variance."""
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(40):
        frames = 100 + rng.standard_normal((8, 60, 40)) + 1.0 * rng.standard_normal((8, 60, 1))
        measured = measure_spatial(stack_of(tmp_path, frames), filtered=False)
        assert measured.of_rows > 0.06  # 1/8 of 1 DN^2 is in the average image
        rows = [measured.drawn(rng).variances()["row"] for _ in range(60)]
        pulls.append(measured.variances()["row"] / np.std(rows))
    assert abs(np.mean(pulls)) < 0.5 and np.std(pulls) < 1.4


def test_interference_with_another_phase_in_every_frame_widens_the_error(tmp_path):
    """A coherent wave makes frames agree or disagree as wholes: pixel counting alone would be far too sure."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:64, 0:64]
    pulls, white = [], []
    for _ in range(40):
        phase = rng.uniform(0, 2 * np.pi, 8)
        wave = np.sin(0.9 * x + 0.4 * y + phase[:, None, None])
        frames = 100 + wave + 0.5 * rng.standard_normal((8, 64, 64))
        measured = measure_spatial(stack_of(tmp_path, frames), filtered=False)
        pulls.append(measured.variances()["total"] / measured.of_rest_std)
        white.append(measured.variances()["total"] / (measured.of_rest * np.sqrt(2 / 64**2)))
    assert np.sqrt(np.mean(np.square(white))) > 2  # what the test would otherwise miss
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_filtered_variances_of_patterns_are_the_transfer(tmp_path):
    """Averages over sensors: rows and columns keep 89 % of their variance, pixels 99 %."""
    rng = np.random.default_rng(6)
    shape, found = (60, 70), []
    for _ in range(80):
        image = 100 + rng.standard_normal((60, 1)) + rng.standard_normal((1, 70)) + rng.standard_normal(shape)
        found.append(measure_spatial(stack_of(tmp_path, np.stack([image, image])), filtered=True).variances())
    kept = transfer(*shape)
    for part, expected in (("row", kept.rows), ("column", kept.columns), ("pixel", kept.pixels)):
        values = [one[part] for one in found]
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(80)), part


def test_signs_survive_the_root():
    assert signed_root(-4.0) == -2.0 and signed_root(0.0) == 0.0 and signed_root(9.0) == 3.0


def test_dsnu_needs_darks_and_prnu_more_light_than_dark(tmp_path):
    assert nonuniformity_values(None, None, 0.5) == {}
    dark = measure_spatial(stack_of(tmp_path, 5 + np.random.default_rng(0).normal(0, 1, (4, 8, 8))), filtered=False)
    assert not any("prnu" in name for name in nonuniformity_values(dark, dark, 0.5))


def test_frames_of_two_rows_have_no_parts(tmp_path):
    assert measure_spatial(stack_of(tmp_path, np.ones((3, 2, 9))), filtered=True) is None


def test_spectrogram_is_flat_for_pixels_and_peaks_for_a_wave():
    rng = np.random.default_rng(7)
    image = 2.0 * rng.standard_normal((200, 64))
    frequency, root = spectrogram(image, 1)
    assert frequency[0] == 0 and frequency[-1] == 0.5
    assert np.sqrt(np.mean(root[1:] ** 2)) == pytest.approx(2.0, rel=0.05)
    wave = np.tile(np.sin(2 * np.pi * np.arange(64) * 0.25), (200, 1))
    frequency, root = spectrogram(image + wave, 1)
    assert frequency[np.argmax(root)] == 0.25
    # A sine of amplitude 1 over 64 pixels has power 64/4 in its bin.
    assert root.max() ** 2 == pytest.approx(64 / 4 + 4.0, rel=0.1)
    along_columns = spectrogram((image + wave).T, 0)[1]
    np.testing.assert_allclose(along_columns, root, rtol=1e-12)


def test_spectrum_holds_all_of_the_variance():
    image = np.random.default_rng(8).normal(5, 3, (30, 21))
    power = spectrogram(image, 1)[1] ** 2
    both_sides = power[0] + 2 * power[1:].sum()  # 21 is odd: no frequency of its own at 1/2
    assert both_sides / 21 == pytest.approx(image.var(), rel=1e-12)


def test_profiles_of_a_small_image():
    image = np.array([[1.0, 2, 3], [4, 5, 60], [7, 8, 9]])
    across = profiles(image, 1)
    assert across["middle"].tolist() == [4, 5, 60] and across["maximum"].tolist() == [7, 8, 60]
    assert profiles(image, 0)["mean"].tolist() == [2, 23, 8] and profiles(image, 0)["minimum"].tolist() == [1, 4, 7]


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("calibrate.emva1288.stacks._SAMPLED_VALUES", 64 * 200)
    peaks = []
    for count in (8, 64):
        folder = tmp_path / str(count)
        folder.mkdir()
        level = level_of(folder, np.random.default_rng(0).integers(0, 4000, (count, 256, 256), dtype=np.uint16))
        tracemalloc.start()
        read_stack(level)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000  # one frame is 0.5 MB as float64; 56 more would be 29 MB
