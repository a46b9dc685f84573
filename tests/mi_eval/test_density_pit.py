"""Mixing families and reading the probability integral transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from mi_eval.density.combine import combine_code_lengths, fit_mixture_weights
from mi_eval.density.pit import estimate_recoverable_bits, randomised_pit


def test_weights_find_the_shares_of_two_kinds_of_patches() -> None:
    lengths = np.where(np.arange(1000)[:, None] % 4 == 0, [10.0, 60.0, 80.0], [60.0, 10.0, 80.0])
    weights = fit_mixture_weights(lengths)
    np.testing.assert_allclose(weights, [0.25, 0.75, 1e-4], atol=2e-4)
    combined = combine_code_lengths(lengths, weights).mean()
    entropy = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert combined == pytest.approx(10 + entropy, abs=1e-3)


@given(st.integers(0, 10_000))
def test_the_mixture_is_never_much_worse_than_the_best_family(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(1e3, 1e6) + rng.normal(0, 20, (30, 4)) + rng.normal(0, 30, 4)
    weights = fit_mixture_weights(lengths)
    assert weights.sum() == pytest.approx(1) and weights.min() > 9e-5
    combined = combine_code_lengths(lengths, weights)
    assert combined.mean() <= lengths.mean(axis=0).min() + 0.01
    assert np.all(combined >= lengths.min(axis=1) - 1e-6)


def test_zero_weights_and_huge_lengths() -> None:
    lengths = np.array([[5e6, 7e6], [4e6, 9e6]])
    np.testing.assert_allclose(combine_code_lengths(lengths, np.array([1.0, 0.0])), lengths[:, 0])
    with pytest.raises(ValueError, match="finite"):
        fit_mixture_weights(np.array([[1.0, np.inf]]))
    with pytest.raises(ValueError, match="shape"):
        fit_mixture_weights(np.ones(3))


def test_randomised_transform_stays_in_its_cell() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (50, 4))
    u = randomised_pit(low, low + 0.25, rng)
    assert np.all((u >= low) & (u < low + 0.25))
    np.testing.assert_array_equal(randomised_pit(low, low, rng), low)


def test_a_true_model_has_nothing_to_recover() -> None:
    scores = []
    for seed in range(30):
        u = np.random.default_rng(seed).random((400, 64))
        result = estimate_recoverable_bits(u, np.arange(400) // 10)
        assert result.heldout_bits_per_pixel < result.bits_per_pixel
        scores.append(result.bits_per_pixel / result.std)
    assert abs(np.mean(scores)) < 1.0  # the correction centres it, to within its spread
    assert max(np.abs(scores)) < 6


@pytest.mark.parametrize("frames", [1, 40])
def test_misfit_of_scale_is_recovered(frames: int) -> None:
    """Normal scores of sd 1.3 under a model of sd 1: the loss is known in closed form."""
    rng = np.random.default_rng(1)
    u = ndtr(1.3 * rng.standard_normal((2000, 64)))
    loss = ((1.3**2 - 1) / 2 - np.log(1.3)) / np.log(2)
    result = estimate_recoverable_bits(u, np.arange(2000) % frames)
    assert result.bits_per_pixel == pytest.approx(loss, rel=0.12)
    assert 0 < result.std < 0.01


def test_context_that_a_model_misses_is_recovered() -> None:
    """Patches of two contrasts: the marginal law of u alone says less than context does."""
    rng = np.random.default_rng(2)
    sd = np.where(np.arange(1000) % 2, 0.5, 2.0)[:, None]
    u = ndtr(sd * rng.standard_normal((1000, 64)))
    loss = np.mean((sd**2 - 1) / 2 - np.log(sd)) / np.log(2)
    result = estimate_recoverable_bits(u, np.arange(1000) // 10)
    assert 0.7 * loss < result.bits_per_pixel < 1.02 * loss


@pytest.mark.parametrize(("u", "n"), [(np.ones((5, 3)), 5), (np.ones((1, 4)), 1), (np.ones((4, 4)), 3)])
def test_shapes_that_cannot_be_used(u: np.ndarray, n: int) -> None:
    with pytest.raises(ValueError, match="shape"):
        estimate_recoverable_bits(u, np.zeros(n, dtype=np.int64))
