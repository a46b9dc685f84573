"""The law of a difference and its transform, against sums over all codes, and the tests of uniformity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kstest, norm

from calibrate import NoiseModel
from calibrate.validation.laws import LatticeLaw, lattice_law, real_valued_transform, smooth_transform
from calibrate.validation.observed import BINS
from calibrate.validation.prediction import Point, closed_form, is_smooth, settle
from calibrate.validation.transform import LARGEST_LOSS_BITS, examine_transform


def camera(**changes: object) -> NoiseModel:
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.3, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, **changes})


def difference_law(model: NoiseModel, charge: float) -> dict[int, float]:
    """P(a - b = d) by adding up all pairs of codes."""
    codes = np.arange(0, 2 ** (model.bit_depth or 0))
    pmf = np.exp(model.log_pmf(codes, charge))
    seen = np.flatnonzero(pmf > 1e-18)
    out: dict[int, float] = {}
    for i in seen:
        for j in seen:
            out[int(i - j)] = out.get(int(i - j), 0.0) + pmf[i] * pmf[j]
    return out


def exact_transform(law: dict[int, float], differences: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    low = np.array([sum(p for d, p in law.items() if d < x) for x in differences])
    return low + uniform * np.array([law.get(int(x), 0.0) for x in differences])


@pytest.mark.parametrize("charge", [0.0, 40.0, 400.0])
def test_smooth_law_is_the_exact_one(charge):
    """Normal with a fourth cumulant and rounded twice, against the convolution of the codes' own distributions."""
    model = camera(read_noise_e=4.0)
    first = closed_form(model.camera, model.mean_dn(np.array([charge])), np.array([charge]))
    assert is_smooth(model.camera, first, model.mean_dn(np.array([charge])))[0]
    sigma = float(np.sqrt(2 * first.variance_dn2[0]))
    differences = np.arange(-int(4 * sigma), int(4 * sigma) + 1).astype(float)
    uniform = np.linspace(0, 1, differences.size)
    kappa4 = float(model.camera.system_gain_dn_per_e) ** 4 * charge
    found = smooth_transform(differences, uniform, first.variance_dn2, np.array(kappa4), 1.0)
    np.testing.assert_allclose(found, exact_transform(difference_law(model, charge), differences, uniform), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "charge"),
    [
        ({"system_gain_dn_per_e": 0.1}, 3.0),  # 0.3 DN of noise
        ({"system_gain_dn_per_e": 8.0, "read_noise_e": 0.2}, 2.0),  # single electrons
        ({"read_noise_e": 0.0, "kind": "poisson", "system_gain_dn_per_e": 0.7}, 12.0),
        ({"offset_dn": 2.0, "read_noise_e": 5.0}, 1.0),  # clipped at black
        ({"offset_dn": 4090.0}, 4.0),  # clipped at white
    ],
)
def test_lattice_law_is_the_exact_one(changes, charge):
    model = camera(**changes)
    mean = float(model.mean_dn(np.array([charge]))[0])
    law = lattice_law(settle(model, Point(mean)))
    exact = difference_law(model, charge)
    differences = np.array(sorted(d for d, p in exact.items() if p > 1e-12), dtype=float)
    uniform = np.full(differences.size, 0.3)
    np.testing.assert_allclose(
        law.transform(differences, uniform), exact_transform(exact, differences, uniform), atol=2e-3
    )


def test_lattice_law_at_a_dark_of_known_charge():
    """Of a dark the charge is known and the offset follows from the mean, rounding in."""
    model = camera(system_gain_dn_per_e=0.1)
    moved = camera(system_gain_dn_per_e=0.1, offset_dn=100.44)
    mixture = settle(model, Point(float(moved.mean_dn(np.array([3.0]))[0]), 3.0))
    assert mixture.moments()[1] == pytest.approx(float(moved.variance_dn2(np.array([3.0]))[0]), rel=2e-3)


def test_a_shift_moves_the_law():
    law = LatticeLaw(np.array([0.1, 0.3, 0.7, 0.9, 1.0]), 2, 1.0)
    uniform = np.array([0.25, 0.5])
    whole = law.transform(np.array([1.0, 0.0]), uniform, 1.0)
    np.testing.assert_allclose(whole, law.transform(np.array([0.0, -1.0]), uniform))
    half = law.transform(np.array([0.0]), np.array([0.0]), 0.5)
    assert half[0] == pytest.approx((0.1 + 0.3) / 2)


@pytest.mark.parametrize(
    ("changes", "charge"),
    [
        ({}, 2.0),
        ({}, 900.0),
        ({"system_gain_dn_per_e": 0.08}, 10.0),
        ({"system_gain_dn_per_e": 30.0, "read_noise_e": 0.9, "bit_depth": 16}, 3.0),
        ({"bit_depth": None, "read_noise_e": 0.25, "system_gain_dn_per_e": 4.0}, 2.0),
        ({"bit_depth": None, "read_noise_e": 0.0, "kind": "poisson"}, 5.0),
        ({"bit_depth": None}, 500.0),
    ],
)
def test_transforms_of_samples_are_uniform(changes, charge):
    model = camera(**changes)
    rng = np.random.default_rng(1)
    n = 40_000
    a, b = (model.sample(np.full(n, charge), rng).astype(float) for _ in range(2))
    mean = np.array([float(model.mean_dn(np.array([charge]))[0])])
    first = closed_form(model.camera, mean)
    uniform = rng.random(n)
    if is_smooth(model.camera, first, mean)[0]:
        kappa4 = float(model.camera.system_gain_dn_per_e) ** 4 * charge
        step = 0.0 if model.bit_depth is None else 1.0
        found = smooth_transform(a - b, uniform, first.variance_dn2, np.array(kappa4), step)
    elif model.bit_depth is None:
        found = real_valued_transform(model.camera, a - b, uniform, charge, 0.0)
    else:
        found = lattice_law(settle(model, Point(float(mean[0])))).transform(a - b, uniform)
    assert kstest(found, "uniform").pvalue > 1e-3
    test = examine_transform(np.bincount(np.minimum((found * BINS).astype(int), BINS - 1), minlength=BINS))
    assert test.p_value > 1e-3 and abs(test.loss_bits) < LARGEST_LOSS_BITS and not test.disagrees


def test_loss_is_the_divergence():
    """Normal noise of a variance wrong by e loses e^2/(4 ln 2) bit to second order, all of it in the variance."""
    rng = np.random.default_rng(2)
    n = 4_000_000
    x = rng.standard_normal(n)
    for wrong in (0.8, 1.2):
        u = norm.cdf(x / np.sqrt(wrong))
        test = examine_transform(np.bincount((u * BINS).astype(int), minlength=BINS))
        exact = (1 / wrong - 1 + np.log(wrong)) / (2 * np.log(2))
        # Thirty-two bins see less than the whole of it, most of all in the tails.
        assert 0.8 * exact < test.loss_bits < exact
        assert test.shape_loss_bits < 0.1 * test.loss_bits
        assert test.disagrees and not test.shape_disagrees
        assert test.distance == pytest.approx(0.242 * abs(np.log(wrong)) / 2, rel=0.2)


def test_shape_is_told_from_variance():
    """Student noise of the right variance: the loss is in the shape."""
    rng = np.random.default_rng(3)
    x = rng.standard_t(5, 1_000_000) / np.sqrt(5 / 3)
    test = examine_transform(np.bincount(np.minimum((norm.cdf(x) * BINS).astype(int), BINS - 1), minlength=BINS))
    assert test.shape_disagrees and test.shape_loss_bits > 0.5 * test.loss_bits


def test_p_values_of_uniform_histograms_are_uniform():
    rng = np.random.default_rng(4)
    tests = [examine_transform(rng.multinomial(5000, np.full(BINS, 1 / BINS))) for _ in range(2000)]
    assert kstest([test.p_value for test in tests], "uniform").pvalue > 1e-3
    losses = np.array([test.loss_bits for test in tests])
    assert abs(losses.mean()) < 4 * losses.std() / np.sqrt(losses.size)
    shapes = np.array([test.shape_loss_bits for test in tests])
    assert abs(shapes.mean()) < 4 * shapes.std() / np.sqrt(shapes.size)
    assert not any(test.disagrees for test in tests)


def test_empty_and_small_histograms_say_nothing():
    assert examine_transform(np.zeros(BINS, dtype=np.int64)).p_value == 1.0
    few = np.zeros(BINS, dtype=np.int64)
    few[0] = 500
    test = examine_transform(few)
    assert not test.disagrees
    assert replace(test, n=5000).disagrees
