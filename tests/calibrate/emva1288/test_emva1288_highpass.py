"""The high-pass filter of release 4 against the filter written out, and its transfer of variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve2d

from calibrate.emva1288.highpass import REACH, high_pass, smooth, transfer


def written_out(image):
    """One after the other, each on an image mirrored at its borders: slow and plain."""
    binomial = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for kernel in (np.full((7, 7), 1 / 49), np.full((11, 11), 1 / 121), binomial):
        edge = kernel.shape[0] // 2
        padded = np.pad(image, edge, mode="symmetric")
        image = convolve2d(padded, kernel, mode="valid")
    return image


def test_it_is_the_three_filters_one_after_the_other():
    image = np.random.default_rng(0).normal(100, 3, (40, 57))
    np.testing.assert_allclose(high_pass(image), image - written_out(image), rtol=0, atol=1e-10)


def test_a_slope_of_the_light_goes_and_pixels_stay():
    y, x = np.mgrid[0:80, 0:100]
    ramp = 500 + 2.0 * x + 1.3 * y
    assert np.abs(high_pass(ramp)[REACH:-REACH, REACH:-REACH]).max() < 1e-9
    np.testing.assert_allclose(high_pass(np.full((12, 5), 7.0)), 0, atol=1e-12)
    pixels = np.random.default_rng(1).standard_normal((80, 100))
    kept = high_pass(ramp + pixels)[REACH:-REACH, REACH:-REACH]
    assert np.corrcoef(kept.ravel(), pixels[REACH:-REACH, REACH:-REACH].ravel())[0, 1] > 0.99


def test_light_that_changes_over_a_fifth_of_the_frame_is_suppressed():
    x = np.arange(400)
    waves = np.tile(np.sin(2 * np.pi * x / 80), (60, 1))
    assert high_pass(waves).std() < 0.13 * waves.std()


@pytest.mark.parametrize("shape", [(24, 31), (3, 50), (19, 7)])
def test_transfer_of_variance_is_exact_borders_included(shape):
    """Against the filter's whole matrix: the variance of pixel i of filtered white noise is sum_j H_ij^2."""
    n = shape[0] * shape[1]
    images = high_pass_of_each(np.eye(n).reshape(n, *shape))
    kept = transfer(*shape)
    assert kept.pixels == pytest.approx(np.sum(images**2) / n, rel=1e-12)
    columns = np.stack([np.tile(line, (shape[0], 1)) for line in np.eye(shape[1])])
    assert kept.columns == pytest.approx(np.sum(high_pass_of_each(columns) ** 2) / n, rel=1e-12)
    rows = np.stack([np.tile(line[:, None], (1, shape[1])) for line in np.eye(shape[0])])
    assert kept.rows == pytest.approx(np.sum(high_pass_of_each(rows) ** 2) / n, rel=1e-12)


def high_pass_of_each(images):
    return np.array([high_pass(image) for image in images])


def test_long_frames_take_the_transfer_of_their_middle():
    line = np.zeros(301)
    line[150] = 1.0
    kernel = line - smooth(line[:, None], axes=(0,))[:, 0]
    assert transfer(10_000, 10_000).rows == pytest.approx(float(kernel @ kernel), rel=2e-4)


def test_the_filter_is_symmetric():
    """What the scatter of a stack rests on: <H a, b> = <a, H b>."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, 23, 40))
    assert np.vdot(high_pass(a), b) == pytest.approx(np.vdot(a, high_pass(b)), rel=1e-12)
