"""Layouts of channels: whose pixel is whose, on any frame; agreement of measurements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibrate.agreement import agreement_of
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.sections import MOSAICS, ChannelLayout, Section, cfa_layout, parse_layout, tap_layout


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("RGGB", ("R Gr R", "Gb B Gb", "R Gr R")),
        ("BGGR", ("B Gb B", "Gr R Gr", "B Gb B")),
        ("GRBG", ("Gr R Gr", "B Gb B", "Gr R Gr")),
        ("GBRG", ("Gb B Gb", "R Gr R", "Gb B Gb")),
    ],
)
def test_greens_are_named_after_their_rows(pattern: str, rows: tuple[str, ...]) -> None:
    names = np.empty((3, 3), dtype=object)
    layout = cfa_layout(pattern.lower())
    for name, section in layout.sections.items():
        names[section.index] = name
    assert [" ".join(row) for row in names] == list(rows)
    assert layout.names == ("R", "Gr", "Gb", "B") and layout.pattern == pattern
    assert layout.period == (2, 2) and layout.shape is None


@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    height=st.integers(5, 23),
    width=st.integers(5, 23),
    word=st.sampled_from(["taps", "interleaved"]),
)
def test_every_pixel_lies_in_one_part(rows: int, columns: int, height: int, width: int, word: str) -> None:
    if rows * columns < 2:
        return
    layout = parse_layout(f"{word}:{rows}x{columns}", (height, width))
    assert layout is not None and len(layout.names) == rows * columns
    layout.check_cover()
    count = np.zeros((height, width), dtype=int)
    for section in layout.sections.values():
        count[section.index] += 1
        assert count[section.index].shape == section.shape_in((height, width))
    assert np.all(count == 1)
    sizes = [np.prod(section.shape_in((height, width))) for section in layout.sections.values()]
    if word == "taps":
        assert layout.period == (1, 1) and layout.shape == (height, width)
        heights = {section.shape_in((height, width))[0] for section in layout.sections.values()}
        assert max(heights) - min(heights) <= 1
    else:
        assert layout.period == (rows, columns) and sum(sizes) == height * width


def test_options() -> None:
    assert parse_layout("mono", (4, 4)) is None
    assert [parse_layout(pattern, (4, 4)).pattern for pattern in MOSAICS] == list(MOSAICS)
    assert parse_layout("taps:2x1", (5, 3)).sections["tap_1_0"] == Section((2, 5, 1), (0, 3, 1))


@pytest.mark.parametrize(
    "text", ["RGBG", "taps", "taps:0x2", "taps:1x1", "taps:9x1", "taps:1x99", "interleaved:20x20", "2x2", "auto", ""]
)
def test_wrong_options_say_what_is_legal(text: str) -> None:
    with pytest.raises(PhotonbitsError) as caught:
        parse_layout(text, (8, 12))
    assert caught.value.legal


def test_a_layout_with_gaps_or_overlaps_is_refused() -> None:
    taps = tap_layout(1, 2, (4, 10)).sections
    gap = ChannelLayout("taps", {"a": taps["tap_0_0"], "b": Section((0, 4, 1), (6, 10, 1))}, (4, 10))
    with pytest.raises(PhotonbitsError, match="row 0, column 5 lies in 0 channels"):
        gap.check_cover()
    overlap = ChannelLayout("taps", {"a": Section((0, 4, 1), (0, 7, 1)), "b": taps["tap_0_1"]}, (4, 10))
    with pytest.raises(PhotonbitsError, match="column 5 lies in 2 channels"):
        overlap.check_cover()
    for rows in ((-1, None, 1), (3, 3, 1), (0, None, 0)):
        with pytest.raises(PhotonbitsError, match="section"):
            Section(rows, (0, None, 1))


# ---- agreement -------------------------------------------------------------------------------------------


def test_agreement_of_two_is_the_two_sided_normal_test() -> None:
    found = agreement_of([3.0, 4.0], [0.3, 0.4])
    assert found is not None
    z = 1.0 / np.hypot(0.3, 0.4)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(z), rel=1e-12)
    assert found.mean == pytest.approx((3 / 0.09 + 4 / 0.16) / (1 / 0.09 + 1 / 0.16), rel=1e-12)
    assert found.std == pytest.approx((1 / 0.09 + 1 / 0.16) ** -0.5, rel=1e-12)
    assert agreement_of([1.0], [0.1]) is None
    assert agreement_of([1.0, 2.0], [0.1, 0.0]) is None


def test_agreement_is_uniform_when_all_is_equal_and_small_when_not() -> None:
    rng = np.random.default_rng(5)
    std = np.array([0.1, 0.2, 0.05, 0.4])
    p = [agreement_of(7 + std * rng.standard_normal(4), std).p_value for _ in range(2000)]
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    means = [agreement_of(7 + std * rng.standard_normal(4), std) for _ in range(2000)]
    pulls = np.array([(found.mean - 7) / found.std for found in means])
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * 2000))
    assert agreement_of(7 + 6 * std * np.array([1, -1, 0, 0]), std).p_value < 1e-9


@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_agreement_scales_and_shifts(scale: float, shift: float) -> None:
    values, stds = np.array([1.0, 1.3, 0.9]), np.array([0.1, 0.2, 0.15])
    one, other = agreement_of(values, stds), agreement_of(scale * (values + shift), scale * stds)
    assert other.chi2 == pytest.approx(one.chi2, rel=1e-6)
    assert other.std == pytest.approx(scale * one.std, rel=1e-9)
