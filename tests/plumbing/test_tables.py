"""Numbers in matching digits, and aligned tables."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.plumbing.tables import format_table, format_value_std


@pytest.mark.parametrize(
    ("value", "std", "text"),
    [
        (0.50123, 0.0013, "0.5012(13)"),
        (0.50123, 0.00996, "0.501(10)"),
        (-0.0004, 0.003, "-0.0004(30)"),
        (0.0, 0.25, "0.00(25)"),
        (100.0, 1.0, "100.0(10)"),
        (2345.6, 12.0, "2346(12)"),
        (2345.6, 99.6, "2.35(10)e+03"),
        (1234567.0, 1200.0, "1.2346(12)e+06"),
        (9.99996e9, 1200000.0, "1.00000(12)e+10"),
        (3.2109e-9, 4.2e-11, "3.211(42)e-09"),
        (1.0, 500.0, "0.0(50)e+02"),
        (4095, None, "4095"),
        (1.5, 0.0, "1.5"),
        (1.5, math.inf, "1.5"),
        (math.nan, 1.0, "nan"),
        (1e300, 1e290, "1.00000000000(10)e+300"),
        (1e-310, 1e-312, "1.000(10)e-310"),
    ],
)
def test_value_and_standard_error(value, std, text):
    assert format_value_std(value, std) == text


@given(
    st.floats(1e-12, 1e12) | st.floats(-1e12, -1e-12),
    st.floats(1e-12, 1e12),
)
def test_text_gives_back_value_and_standard_error(value: float, std: float):
    """Read back, the standard error is right to its two digits and the value to half a last digit."""
    parts = re.fullmatch(r"(-?\d+)(?:\.(\d+))?\((\d\d)\)(?:e([+-]\d+))?", format_value_std(value, std))
    assert parts is not None
    decimals = parts[2] or ""
    unit = 10.0 ** (int(parts[4] or 0) - len(decimals))
    assert int(parts[3]) * unit == pytest.approx(std, rel=0.0501)
    assert abs(int(parts[1] + decimals) * unit - value) <= 0.5001 * unit + 1e-12 * abs(value)


def test_table_is_aligned():
    text = format_table(["name", "n", "note"], [["a", 1, None], ["long", 200, "x"]], align="lrl")
    assert text.splitlines() == [
        "name    n  note",
        "----  ---  ----",
        "a       1",
        "long  200  x",
    ]


def test_table_without_rows():
    assert format_table(["a", "b"], []) == "a  b\n-  -"


@pytest.mark.parametrize("align", ["l", "lx", "lrr"])
def test_wrong_alignment_is_refused(align: str):
    with pytest.raises(ValueError, match="expected 2 letters"):
        format_table(["a", "b"], [], align=align)


def test_short_row_is_refused():
    with pytest.raises(ValueError, match="row 1 has 1 cells; expected 2"):
        format_table(["a", "b"], [[1, 2], [3]])
