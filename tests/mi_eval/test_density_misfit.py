"""What a regression on the causal past finds in the transform of codes, where the answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from mi_eval.density.misfit import _fit, _gradients, _mixture, _saved_bits, estimate_unexplained_bits
from mi_eval.density.patches import FloatArray, PatchSet


def real_patches(values: FloatArray, frames: int) -> PatchSet:
    """Real-valued patches, dealt to frames in turn."""
    return PatchSet(values, np.arange(len(values)) % frames, 0.01, lattice_dn=None)


def test_a_true_density_leaves_nothing() -> None:
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((300, 8, 8))
        found = estimate_unexplained_bits(ndtr(x).reshape(300, 64), real_patches(x, 20), seed)
        assert -0.002 < found.bits_per_pixel < 0.002


def test_a_turned_sign_that_no_covariance_shows_is_found() -> None:
    """z = left * up * s + sqrt(1 - s^2) e: white to every Gaussian, with a predictable mean; the loss is known."""
    rng = np.random.default_rng(1)
    n, p, share = 1200, 8, 0.8
    x = rng.standard_normal((n, p, p))
    for row in range(1, p):
        for column in range(1, p):
            sign = np.sign(x[:, row, column - 1] * x[:, row - 1, column])
            x[:, row, column] = share * sign + np.sqrt(1 - share**2) * x[:, row, column]
    # Codes are uncorrelated with unit variance, so the stationary Gaussian is N(0, 1) for every pixel.
    loss_where = -0.5 * np.log2(1 - share**2)
    truth = loss_where * (p - 1) ** 2 / p**2
    found = estimate_unexplained_bits(ndtr(x).reshape(n, p * p), real_patches(x, 40), 0)
    assert found.heldout_bits_per_pixel == pytest.approx(truth, rel=0.15)
    assert found.heldout_bits_per_pixel < truth
    # What is added for the cost of learning does not overshoot.
    assert found.heldout_bits_per_pixel <= found.bits_per_pixel < 1.05 * truth


def test_the_saving_is_that_of_a_proper_density() -> None:
    """The law that the regression gives integrates to 1, and its gradient is that of its logarithm."""
    rng = np.random.default_rng(2)
    inputs = rng.standard_normal((10, 16, 5)).astype(np.float32)
    scores = rng.standard_normal((10, 16)).astype(np.float32)
    assert _fit(inputs[:4], scores[:4], rng).share == 1.0  # too few patches to choose by
    model = replace(_fit(inputs, scores, rng), share=0.001)
    grid = np.linspace(-12, 12, 4001, dtype=np.float32)
    saved = _saved_bits(model, np.repeat(inputs[:1, :1], grid.size, axis=0), grid[:, None])
    density = np.exp2(saved) * np.exp(-0.5 * grid.astype(float) ** 2) / np.sqrt(2 * np.pi)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=2e-3)

    weights = [w.astype(np.float64) for w in model.weights]
    x, g = inputs.reshape(-1, 5).astype(np.float64), scores.ravel().astype(np.float64)

    def loss(changed: list[FloatArray]) -> float:
        first = np.tanh(x @ changed[0] + changed[1])
        second = np.tanh(first @ changed[2] + changed[3])
        return -float(_mixture(second @ changed[4] + changed[5], g)[0].mean())

    for layer, gradient in enumerate(_gradients(weights, x, g)):
        index = tuple(rng.integers(size) for size in weights[layer].shape)
        step = 1e-5
        up, down = ([w.copy() for w in weights] for _ in range(2))
        up[layer][index] += step
        down[layer][index] -= step
        assert gradient[index] == pytest.approx((loss(up) - loss(down)) / (2 * step), abs=1e-6)
