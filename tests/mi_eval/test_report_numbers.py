"""What the pictures of a score show, against known values."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mi_eval.report import ScoreDetails
from mi_eval.report import numbers as n


def information(value, low, high, std=None):
    return {"mutual_information_bits_per_pixel": {"value": value, "std": std, "ci95": [low, high]}}


def test_headline_has_as_many_decimals_as_its_error_allows():
    assert n.headline(information(1.17777, 1.165, 1.19, 0.0064)).main == "1.178 bit/px"
    assert n.headline(information(1.17777, 1.1765, 1.1791, 0.00064)).main == "1.1778 bit/px"
    assert n.headline(information(1.17777, 1.0, 1.4, 0.1)).main == "1.18 bit/px"


def test_the_bound_near_zero_is_rounded_up():
    head = n.headline(information(0.0, -0.004, 0.0041, 0.002))
    assert not head.detected and head.detail.startswith("at most 0.005 bit/px")
    assert n.headline(information(-0.1, -0.2, -0.05, 0.02)).detail.startswith("at most 0.00 bit/px")
    assert n.headline(information(0.01, 0.0001, 0.02, 0.005)).detected


def test_local_information_averages_overlaps_and_leaves_gaps():
    details = ScoreDetails(
        example_frame=np.zeros((2, 5)),
        example_frame_index=1,
        patch_positions=np.array([[1, 0, 0], [1, 0, 1], [0, 0, 3]]),
        per_patch_code_length_bits=np.array([12.0, 20.0, 99.0]),
        per_patch_conditional_bits=np.array([8.0, 8.0, 8.0]),
    )
    image, count = n.local_information(details, 2)
    assert count == 2
    assert_array_equal(image[0], [1.0, 2.0, 3.0, np.nan, np.nan])
    assert n.local_information(ScoreDetails(example_frame=np.zeros((2, 5))), 2) is None


def test_code_comparison_counts_what_there_is():
    codes = np.arange(10.0)
    observed = np.array([100.0, 121.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 79.0])
    data = n.compare_codes(codes, observed, np.full(10, 0.1))
    assert_allclose(data.residuals, [0, 2.1, 0, 0, 0, 0, 0, 0, 0, -2.1], atol=1e-12)
    binned = n.compare_codes(codes, observed, np.full(10, 0.1), n_bins=3)
    assert binned.observed.tolist() == [421, 400, 179] and binned.edges.tolist() == [-0.5, 3.5, 7.5, 11.5]
    assert binned.observed.sum() == pytest.approx(binned.predicted.sum())
    assert np.isnan(n.compare_codes(codes, observed, np.eye(10)[0]).residuals[1:]).all()


def test_intensity_bins_hold_all_the_weight():
    grid = np.linspace(0, 30, 300) ** 2
    weights = np.exp(-grid / 100)
    edges, shares = n.intensity_density(grid, weights)
    assert edges[0] >= 0 and np.all(np.diff(edges) > 0)
    assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_frame_outliers_need_company():
    bits = np.array([1.0, 1.01, 0.99, 1.005, 0.995, 0.4])
    assert n.frame_outliers(bits).tolist() == [False] * 5 + [True]
    assert not n.frame_outliers(bits[-4:]).any()
    assert not n.frame_outliers(np.ones(9)).any()


def test_filling_in_the_details_needs_no_matplotlib():
    code = "import sys; from mi_eval.score_details import ScoreDetails; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
