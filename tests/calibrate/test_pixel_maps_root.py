"""The root of a noisy variance is unbiased; guesses keep the mean and shrink no more than the noise asks for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln

from calibrate.noise_model.credibility import CREDIBLE_SHARE, credible_map, real_share
from calibrate.pixel_maps.root import root_table, shrink, unbiased_root

N = 200_000


@pytest.mark.parametrize("dof", [1, 2, 5, 15, 100, 3000])
def test_without_anything_to_take_off_the_factor_is_c4(dof):
    ratio, spread = root_table(dof)
    c4 = np.sqrt(2 / dof) * np.exp(gammaln((dof + 1) / 2) - gammaln(dof / 2))
    assert ratio[0] == pytest.approx(c4, rel=3e-4)
    assert spread[0] == pytest.approx(np.sqrt(1 - c4**2), rel=1e-3)


@pytest.mark.parametrize("dof", [2, 5, 15, 60])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 0.97])
def test_the_mean_of_the_roots_is_the_root(dof, share):
    """Equal pixels: rounding and dark charge make ``share`` of the variance, the guess is the mean."""
    rng = np.random.default_rng([dof, int(100 * share)])
    read = 7.0 * rng.chisquare(dof, N) / dof - 7.0 * share
    error = np.full(N, 7.0 * np.sqrt(2 / dof))
    root, std = unbiased_root(read, error, np.full(N, np.mean(read)), dof)
    truth = np.sqrt(7.0 * (1 - share))
    scatter = np.std(root) / np.sqrt(N)
    # The mean of the variances is uncertain too, and the root follows it.
    scatter += error[0] / np.sqrt(N) / (2 * truth)
    assert abs(np.mean(root) - truth) < 4 * scatter + 5e-4 * truth
    assert np.std(root) == pytest.approx(std[0], rel=0.02)
    naive = np.mean(np.sqrt(np.maximum(read, 0.0)))
    assert abs(naive - truth) > 5 * abs(np.mean(root) - truth) or abs(naive / truth - 1) < 0.01
    # So the mean square, less that of the errors, is the variance.
    assert abs(np.mean(root**2 - std**2) - truth**2) < 5 * error[0] / np.sqrt(N) + 2e-3 * truth**2


def test_nothing_left_is_zero_with_an_error():
    root, std = unbiased_root(np.array([-1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.1, -0.3]), 10)
    assert np.all(root == 0) and np.all(std > 0) and np.all(np.isfinite(std))


@pytest.mark.parametrize("spread", [0.0, 0.2, 0.6])
def test_guesses_of_variances_are_closer_to_the_truth_than_the_sample_and_keep_its_mean(spread):
    rng = np.random.default_rng(5)
    true = np.exp(2 * spread * rng.standard_normal(N))
    dof = 6
    own = true * rng.chisquare(dof, N) / dof
    mean, weight = shrink(own, np.full(N, np.mean(own) ** 2 * 2 / dof), 2 / dof)
    guess = mean + weight * (own - mean)
    assert np.mean(guess) == pytest.approx(np.mean(own))
    errors = [np.mean((x - true) ** 2) for x in (guess, own, np.full(N, np.mean(own)))]
    assert errors[0] <= 1.02 * min(errors[1:])
    assert weight < 0.02 if spread == 0 else 0.1 < weight < 1


def test_shrinking_a_constant_or_a_single_value_is_harmless():
    assert shrink(np.full(5, 3.0), np.zeros(5)) == (3.0, 0.0)
    assert shrink(np.array([2.0]), np.zeros(1)) == (2.0, 1.0)


# ---- maps as cameras use them ----------------------------------------------------------------------------


def test_a_map_of_errors_says_nothing_and_a_real_one_does():
    rng = np.random.default_rng(4)
    shape = (200, 200)
    std = np.full(shape, 0.2)
    noise = 2.0 + std * rng.standard_normal(shape)
    assert real_share(noise, std) < 0.05
    assert credible_map(noise, std, 2.0) == (None, 0.0)
    for tau in (0.15, 0.4, 2.0):
        true = 20.0 + tau * rng.standard_normal(shape)
        measured = true + std * rng.standard_normal(shape)
        share = tau**2 / (tau**2 + 0.04)
        assert real_share(measured, std) == pytest.approx(share, abs=0.02)
        guess, error = credible_map(measured, std, 20.0)
        assert guess is not None and share > CREDIBLE_SHARE
        assert np.std(guess - true) == pytest.approx(error, rel=0.03)
        assert error < min(0.2, tau)


def test_far_pixels_and_bad_ones_do_not_make_a_map_credible():
    rng = np.random.default_rng(4)
    std = np.full((100, 100), 0.2)
    measured = 2.0 + std * rng.standard_normal((100, 100))
    measured[:3, :3] = 90.0
    good = np.ones((100, 100), dtype=bool)
    good[:3, :3] = False
    assert credible_map(measured, std, 2.0, good)[0] is None
    assert credible_map(measured, std, 2.0, robust=True)[0] is None
    guess, _ = credible_map(measured, std, 2.0)
    assert guess is not None
    real = 2.0 + 0.6 * rng.standard_normal((100, 100))
    real[5, 5] = -3.0
    guess, _ = credible_map(real, std, 2.0)
    assert guess is not None and guess[5, 5] == 2.0 and np.min(guess) > 0
