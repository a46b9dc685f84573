"""The response curve: inverse, limits, full well, and curves that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.plumbing.errors import PhotonbitsError
from calibrate.response import Response

SCALE_DN = 3000.0
curves = st.one_of(
    st.just(Response()),
    st.floats(-0.45, 2.0).map(lambda c: Response("polynomial", (c,), SCALE_DN)),
    st.tuples(st.floats(-0.2, 0.5), st.floats(-0.1, 0.5)).map(lambda c: Response("polynomial", c, SCALE_DN)),
)
signals = st.floats(-500.0, 2.5 * SCALE_DN)


def slow_inverse(curve: Response, v: float) -> float:
    """Bisection: the smallest u with f(u) >= v."""
    low, high = -1e5, 1e5
    if float(curve.evaluate(high)) < v:
        return np.inf
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if float(curve.evaluate(middle)) >= v else (middle, high)
    return high


@given(curves, signals)
def test_inverse_undoes_evaluate(curve, u):
    assert float(curve.inverse(curve.evaluate(u))) == pytest.approx(u, abs=1e-6, rel=1e-9)


@given(curves, signals)
def test_inverse_agrees_with_bisection(curve, v):
    assert float(curve.inverse(v)) == pytest.approx(slow_inverse(curve, v), abs=1e-6, rel=1e-8)


@given(curves, st.floats(100.0, SCALE_DN), signals, signals)
def test_generalised_inverse_orders_like_the_curve(curve, full_well, u, v):
    """f(u) >= v exactly where u >= inverse(v), the flat stretch included: P(f(U) >= v) = P(U >= inverse(v))."""
    curve = Response(curve.form, curve.coefficients, curve.scale_dn, full_well)
    edge = float(curve.inverse(v))
    value = float(curve.evaluate(u))
    if abs(value - v) > 1e-6:  # on the edge itself rounding decides
        assert (value >= v) == (u >= edge)


@given(curves, st.lists(signals, min_size=2, max_size=20))
def test_curve_rises(curve, values):
    assert np.all(np.diff(curve.evaluate(np.sort(values))) >= -1e-9)


@given(curves, st.floats(1.0, 2 * SCALE_DN))
def test_derivative_is_the_slope(curve, u):
    step = 1e-3
    slope = (float(curve.evaluate(u + step)) - float(curve.evaluate(u - step))) / (2 * step)
    assert float(curve.derivative(u)) == pytest.approx(slope, abs=1e-5)


@given(curves)
def test_small_signals_pass_unchanged(curve):
    assert float(curve.evaluate(0.0)) == 0.0
    assert float(curve.derivative(0.0)) == 1.0
    u = np.array([-1e4, -3.5, -1e-9])
    np.testing.assert_array_equal(curve.evaluate(u), u)
    np.testing.assert_array_equal(curve.inverse(u), u)


@pytest.mark.parametrize("coefficients", [(), (-0.2,), (0.1, -0.05)])
def test_full_well_is_flat_and_unreachable_above(coefficients):
    form = "polynomial" if coefficients else "linear"
    curve = Response(form, coefficients, SCALE_DN, 2000.0)
    top = float(Response(form, coefficients, SCALE_DN).evaluate(2000.0))
    np.testing.assert_array_equal(curve.evaluate([2000.0, 2500.0, 1e9]), top)
    np.testing.assert_array_equal(curve.derivative([2000.0, 2500.0]), 0.0)
    assert float(curve.inverse(top)) == pytest.approx(2000.0, abs=1e-6)
    assert np.isposinf(curve.inverse(np.nextafter(top, np.inf)))
    assert not curve.is_linear


def test_known_curve():
    """f(u) = u (1 - 0.1 u / 1000): 900 at 1000, and on with slope 0.8."""
    curve = Response("polynomial", (-0.1,), 1000.0)
    np.testing.assert_allclose(curve.evaluate([500.0, 1000.0, 1100.0]), [475.0, 900.0, 980.0])
    np.testing.assert_allclose(curve.inverse([475.0, 900.0, 980.0]), [500.0, 1000.0, 1100.0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("polynomial", (-0.9,), 100.0), ("falls", "100", "non-decreasing")),
        (("polynomial", (-1.4, 0.6), 100.0), ("falls",)),
        (("polynomial", (np.nan,), 100.0), ("nan", "finite")),
        (("polynomial", (0.1,), 0.0), ("scale_dn 0.0", "positive")),
        (("polynomial", (0.1,), np.inf), ("inf", "finite")),
        (("polynomial", ()), ("0 coefficients", "one or more")),
        (("linear", (0.1,)), ("1 coefficients", "none")),
        (("cubic", (0.1,)), ("'cubic'", "linear, polynomial or two-slope")),
        (("linear", (), 1.0, 0.0), ("full_well_dn 0.0", "positive")),
        (("linear", (), 1.0, np.nan), ("full_well_dn nan", "positive")),
    ],
)
def test_illegal_curves_are_refused(arguments, said):
    with pytest.raises(PhotonbitsError) as error:
        Response(*arguments)
    assert all(word in str(error.value) for word in said)
