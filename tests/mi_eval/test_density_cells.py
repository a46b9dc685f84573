"""Cell masses against high-precision arithmetic, and patches against their definition."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, getcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.cells import log_normal_cell, normal_cell_mass
from mi_eval.density.patches import CHUNK_PIXELS, PatchSet

getcontext().prec = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def upper_tail(x: Decimal) -> Decimal:
    """1 - Phi(x) to about 40 digits: Taylor series below 6, continued fraction above."""
    if x < 0:
        return 1 - upper_tail(-x)
    density = (-x * x / 2).exp() / (2 * PI).sqrt()
    if x < 6:
        term, total, k = x, x, 0
        while abs(term) > Decimal(10) ** -55:
            k += 1
            term = term * x * x / (2 * k + 1)
            total += term
        return Decimal("0.5") - density * total
    fraction = x
    for k in range(600, 0, -1):
        fraction = x + k / fraction
    return density / fraction


def log_mass(a: float, b: float) -> float:
    """log(Phi(b) - Phi(a)), exact to double precision."""
    low, high = (Decimal(a), Decimal(b)) if a + b > 0 else (Decimal(-b), Decimal(-a))
    return float((upper_tail(low) - upper_tail(high)).ln())


def call(function: Any, a: float, b: float) -> float:
    edges = np.array([a]), np.array([b])
    return float(function(*edges, np.zeros(1), np.ones(1))[0])


@pytest.mark.parametrize("centre", [-150.0, -38.0, -7.3, -1.0, 0.0, 0.4, 5.0, 12.0, 37.0, 300.0])
@pytest.mark.parametrize("width", [1e-5, 3e-4, 0.01, 0.09, 0.3, 1.0, 8.0])
def test_log_cells_to_nine_digits(centre: float, width: float) -> None:
    a, b = centre - width / 2, centre + width / 2
    # The edges carry rounding errors of their own, which the steep tail multiplies.
    assert call(log_normal_cell, a, b) == pytest.approx(log_mass(a, b), rel=1e-9, abs=3e-11 / width * 1e-2)


@given(st.floats(-6, 6), st.floats(1e-4, 3))
def test_linear_cells_agree_with_high_precision(centre: float, width: float) -> None:
    a, b = centre - width / 2, centre + width / 2
    assert call(normal_cell_mass, a, b) == pytest.approx(np.exp(log_mass(a, b)), rel=1e-5, abs=2e-9 * width)


def test_open_cells() -> None:
    assert call(log_normal_cell, -np.inf, np.inf) == 0
    assert call(log_normal_cell, -np.inf, 0.0) == pytest.approx(np.log(0.5))
    assert call(log_normal_cell, 40.0, np.inf) == pytest.approx(float(upper_tail(Decimal(40)).ln()), rel=1e-12)
    assert call(normal_cell_mass, 0.0, np.inf) == pytest.approx(0.5)


def test_cells_of_mixed_width_tile_the_line() -> None:
    edges = np.concatenate([[-np.inf], np.linspace(-9, -2, 30), np.linspace(-1.9, 8, 400), [np.inf]])
    mass = normal_cell_mass(edges[:-1], edges[1:], np.full(edges.size - 1, 0.3), np.full(edges.size - 1, 1.1))
    assert mass.sum() == pytest.approx(1, abs=1e-12)


def small(**options: Any) -> PatchSet:
    codes = np.arange(32).reshape(2, 4, 4)
    return PatchSet(codes, np.array([0, 1]), 1.0, **{"black_clip_dn": 0, "white_clip_dn": 31, **options})


def test_edges_and_values() -> None:
    offset, response = np.full((2, 4, 4), 3.0), np.full((2, 4, 4), 2.0)
    patches = small(offset_dn=offset, relative_response=response)
    assert patches.lower_dn[0, 0, 0] == -np.inf
    assert patches.upper_dn[1, 3, 3] == np.inf
    assert patches.lower_dn[0, 0, 1] == (1 - 0.5 - 3) / 2
    assert patches.upper_dn[0, 0, 1] == (1 + 0.5 - 3) / 2
    assert patches.value_dn[0, 0, 1] == (1 - 3) / 2
    assert np.all(np.isfinite(patches.value_dn))
    assert patches.is_open().sum() == 2
    np.testing.assert_array_equal(patches.log2_response(), 1)


def test_without_clips_no_cell_is_open() -> None:
    patches = small(black_clip_dn=None, white_clip_dn=None)
    assert np.all(np.isfinite(patches.lower_dn)) and np.all(np.isfinite(patches.upper_dn))


def test_chunks_and_selection_keep_maps_aligned() -> None:
    n = 3 * CHUNK_PIXELS // 16 // 2
    codes = np.arange(n * 16).reshape(n, 4, 4)
    patches = PatchSet(codes, np.arange(n), 1.0, offset_dn=codes.astype(float))
    chunks = list(patches.chunks())
    assert [c.n_patches for c in chunks] == [CHUNK_PIXELS // 16, n - CHUNK_PIXELS // 16]
    np.testing.assert_array_equal(np.concatenate([c.codes for c in chunks]), codes)
    assert all(np.all(c.value_dn == 0) for c in chunks)
    thin = patches.thinned(1600)
    assert thin.n_patches == 100 and np.all(thin.value_dn == 0)
    assert patches.thinned(n * 16) is patches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": np.zeros((2, 4, 3), dtype=int)}, "shape"),
        ({"frame_index": np.zeros(3, dtype=int)}, "frame indices"),
        ({"noise_variance_dn2": -1.0}, "noise variance -1"),
        ({"lattice_dn": 0.0}, "lattice 0"),
        ({"codes": np.full((2, 4, 4), np.nan)}, "finite"),
        ({"white_clip_dn": 30}, "codes from 0 to 31"),
        ({"black_clip_dn": 1}, "codes from 0 to 31"),
        ({"relative_response": 0.0}, "relative response 0"),
        ({"offset_dn": np.zeros((2, 4))}, "shape"),
        ({"offset_dn": np.inf}, "not finite"),
    ],
)
def test_unusable_patches_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PhotonbitsError, match=message):
        replace(small(), **change)


def test_real_values_have_no_cells() -> None:
    patches = PatchSet(np.zeros((1, 2, 2)), np.zeros(1, dtype=int), 1.0, lattice_dn=None)
    with pytest.raises(ValueError, match="no cells"):
        _ = patches.lower_dn
