"""Histograms for defect pixels: nothing lost, at most 256 bins, and a hot pixel where it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.emva1288.defects import MOST_BINS, accumulated_histogram, logarithmic_histogram


@given(seed=st.integers(0, 1000), spread=st.floats(1e-3, 1e3), n_frames=st.integers(1, 400), tail=st.floats(0, 1e4))
def test_every_pixel_is_in_one_of_at_most_256_bins(seed, spread, n_frames, tail):
    image = np.random.default_rng(seed).normal(0, spread, (20, 30))
    image[3, 4] += tail
    found = logarithmic_histogram(image, n_frames)
    assert found.count.sum() == image.size
    assert 1 <= found.count.size <= MOST_BINS + 1
    width = found.centre[1] - found.centre[0] if found.centre.size > 1 else 1.0
    if found.centre.size > 1:
        assert width * n_frames == pytest.approx(round(width * n_frames), abs=1e-3)
    assert found.centre[0] - width <= (image - image.mean()).min() <= found.centre[0] + width


def test_the_normal_law_fits_normal_pixels():
    image = np.random.default_rng(0).normal(7, 2, (300, 300))
    found = logarithmic_histogram(image, 50)
    assert found.normal.sum() == pytest.approx(image.size, rel=0.01)
    busy = found.normal > 400
    np.testing.assert_allclose(found.count[busy], found.normal[busy], rtol=0.25)


def test_hot_pixels_are_counted_beyond_a_limit():
    image = np.random.default_rng(1).normal(0, 1, (100, 100))
    image.flat[::1000] += 30.0
    deviation, percent = accumulated_histogram(image)
    assert percent[0] == 100 and percent[-1] == pytest.approx(0.01)
    assert np.all(np.diff(percent) < 0) and np.all(np.diff(deviation) >= 0)
    beyond = percent[np.searchsorted(deviation, 15.0)]
    assert beyond == pytest.approx(0.10, rel=0.01)  # 10 of 10,000
    in_percent = accumulated_histogram(image, 5.0)[0]
    np.testing.assert_allclose(in_percent, 5 * deviation)


def test_an_image_without_contrast_has_one_bin():
    found = logarithmic_histogram(np.full((4, 4), 3.0), 16)
    assert found.count.tolist() == [16] and found.normal.tolist() == [0.0]
    assert accumulated_histogram(np.full((1, 1), 3.0))[1].tolist() == [100.0]
