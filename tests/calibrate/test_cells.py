"""P(lower <= N + r G < upper) against slow sums and quadrature that share no code with it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from calibrate.noise_model.cells import (
    log_cell_probability,
    log_normal_interval,
    log_poisson,
    log_poisson_interval,
)


def slow_log_normal(a: float, b: float) -> float:
    """log of the normal probability of (a, b) by quadrature, scaled by the density at the end nearest to 0."""
    nearest = 0.0 if a < 0 < b else min(abs(a), abs(b))
    low, high = max(a, -nearest - 40.0), min(b, nearest + 40.0)
    area = quad(lambda x: math.exp((nearest - x) * (nearest + x) / 2), low, high, epsabs=0, epsrel=1e-12, limit=400)[0]
    return math.log(area) - nearest**2 / 2 - math.log(2 * math.pi) / 2


def slow_log_sum(logs: list[float]) -> float:
    top = max(logs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logs))


def slow_log_poisson(n: int, y: float) -> float:
    return n * math.log(y) - y - math.lgamma(n + 1)


def slow_cell(lower: float, upper: float, y: float, r: float) -> float:
    """The sum over every n that can matter."""
    if y == 0:
        return slow_log_normal(lower / r, upper / r)
    top = int(max(y, lower if np.isfinite(lower) else y) + 40 * np.sqrt(y) + 20 * r + 80)
    return slow_log_sum(
        [slow_log_poisson(n, y) + slow_log_normal((lower - n) / r, (upper - n) / r) for n in range(top)]
    )


@pytest.mark.parametrize(
    ("lower", "upper", "y", "r"),
    [
        (4.5, 5.5, 5.0, 1.0),
        (0.0, 0.4, 3.0, 0.2),
        (-8.0, -7.0, 2.0, 1.5),  # below zero charge: read noise alone
        (60.0, 62.0, 5.0, 2.0),  # far above: which n it comes from is a compromise
        (140.0, 141.0, 100.0, 0.3),
        (20.0, 21.0, 100.0, 3.0),
        (300.0, 301.0, 10.0, 4.0),  # about exp(-500)
        (-60.0, -59.0, 4.0, 1.0),  # about exp(-1800)
        (-np.inf, 2.0, 10.0, 2.0),
        (30.0, np.inf, 10.0, 2.0),
        (3.0, 4.0, 0.0, 1.0),
        (6.0, 6.001, 6.0, 5.0),
        (1e-3, 0.5, 1e-6, 0.1),
    ],
)
def test_cell_agrees_with_the_whole_sum(lower, upper, y, r):
    found = log_cell_probability(*(np.array([x]) for x in (lower, upper, y, r)))[0]
    assert found == pytest.approx(slow_cell(lower, upper, y, r), rel=1e-10, abs=1e-9)


@given(st.floats(0.0, 400.0), st.floats(0.05, 20.0), st.floats(-50.0, 500.0), st.floats(0.01, 30.0))
def test_cell_agrees_with_a_plain_sum_where_that_has_digits(y, r, lower, width):
    n = np.arange(1500)
    gaps = stats.norm.cdf((lower + width - n) / r) - stats.norm.cdf((lower - n) / r)
    plain = float(np.sum(stats.poisson.pmf(n, y) * gaps))
    found = float(np.exp(log_cell_probability(*(np.array([x]) for x in (lower, lower + width, y, r)))[0]))
    assert found == pytest.approx(plain, rel=1e-7, abs=1e-13)


def test_cells_that_are_empty_have_no_probability():
    """Codes above a full well have both edges at +inf."""
    edges = np.array([np.inf, 5.0, -np.inf])
    upper = np.array([np.inf, 5.0, -np.inf])
    for y in (0.0, 3.0):
        assert np.all(np.isneginf(log_cell_probability(edges, upper, np.full(3, y), np.ones(3))))
    assert np.all(np.isneginf(log_normal_interval(edges, upper)))


def test_a_partition_adds_up_to_one():
    edges = np.concatenate([[-np.inf], np.linspace(-10, 160, 341), [np.inf]])
    for y, r in ((0.0, 2.0), (3.0, 0.1), (80.0, 5.0)):
        size = edges.size - 1
        log_p = log_cell_probability(edges[:-1], edges[1:], np.full(size, y), np.full(size, r))
        assert np.sum(np.exp(log_p)) == pytest.approx(1.0, abs=1e-11)


@pytest.mark.parametrize(
    ("a", "b"),
    [(-1.0, 2.0), (8.0, 8.5), (-40.0, -39.0), (40.0, 41.0), (0.0, np.inf), (-np.inf, -30.0), (3.0, 3 + 1e-9)],
)
def test_normal_interval_in_both_tails(a, b):
    found = log_normal_interval(np.array([a]), np.array([b]))[0]
    assert found == pytest.approx(slow_log_normal(a, b), rel=1e-9, abs=1e-6 if b - a < 1e-6 else 1e-10)


@pytest.mark.parametrize(
    ("lower", "upper", "y"),
    [
        (2.0, 5.0, 3.0),
        (2.0 + 1e-12, 5.0, 3.0),  # rounding error must not lose n = 2
        (1.5, 2.5, 0.7),
        (-3.0, 0.5, 2.0),
        (0.0, np.inf, 4.0),
        (30.0, np.inf, 4.0),
        (-np.inf, 3.0, 40.0),
        (900.0, np.inf, 4.0),
        (0.0, 5000.0, 5000.0),
        (0.0, 4500.0, 40000.0),  # below the range of distribution functions
        (60000.0, 70000.0, 40000.0),
    ],
)
def test_poisson_interval_counts_the_integers_inside(lower, upper, y):
    first = max(0, int(np.ceil(Fraction(lower).limit_denominator(10**6)))) if np.isfinite(lower) else 0
    stop = int(np.ceil(upper)) if np.isfinite(upper) else int(max(first, y) + 50 * np.sqrt(y) + 400)
    expected = slow_log_sum([slow_log_poisson(n, y) for n in _near(first, stop, y)])
    found = log_poisson_interval(np.array([lower]), np.array([upper]), np.array([y]))[0]
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-9)


def _near(first: int, stop: int, y: float) -> range:
    """The integers of an interval within 3000 of the one that counts most."""
    peak = min(max(int(y), first), stop - 1)
    return range(max(first, peak - 3000), min(stop, peak + 3000))


def test_poisson_without_light():
    np.testing.assert_array_equal(log_poisson(np.array([0.0, 1.0]), np.zeros(2)), [0.0, -np.inf])
    edges = np.array([0.0, 0.5, -1.0])
    found = log_poisson_interval(edges, edges + 0.5, np.zeros(3))
    np.testing.assert_array_equal(found, [0.0, -np.inf, -np.inf])
