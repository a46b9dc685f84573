"""Figures: deterministic, self-contained SVG and PNG, and the small functions under them."""

import re

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from calibrate.plumbing import figures as style


def drawing():
    with style.figure_style():
        figure = style.new_figure()
        axes = figure.subplots()
        axes.plot([1, 10, 1000], [1, 2, 3], "o-", label="a < b & $c$")
        axes.imshow(np.arange(6.0).reshape(2, 3), extent=(1, 2, 1, 2), interpolation="none")
        axes.set_xscale("log")
        axes.set_xlim(1, 1000)
        style.plain_log_axis(axes.xaxis)
        axes.legend()
    return figure


def test_svg_is_the_same_twice_whatever_the_users_settings():
    first = style.figure_to_svg(drawing(), name="one", title="T", description="D")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        second = style.figure_to_svg(drawing(), name="one", title="T", description="D")
    assert first == second


def test_svg_refers_to_nothing_outside_and_has_no_date_or_prolog():
    svg = style.figure_to_svg(drawing(), name="one", title="T")
    assert svg.startswith("<svg ") and svg.endswith("</svg>")
    assert "http" not in svg and "<?xml" not in svg and "<style" not in svg and "<metadata" not in svg
    for reference in re.findall(r'href="([^"]*)"', svg):
        assert reference.startswith(("#one-", "data:image/png;base64,"))


def test_ids_carry_the_name_and_every_reference_has_its_target():
    svg = style.figure_to_svg(drawing(), name="one", title="T", description="D")
    ids = re.findall(r' id="([^"]*)"', svg)
    assert len(ids) == len(set(ids)) and all(name.startswith("one-") for name in ids)
    targets = re.findall(r'href="#([^"]*)"', svg) + re.findall(r"url\(#([^)]*)\)", svg)
    assert targets and set(targets) <= set(ids)
    other = style.figure_to_svg(drawing(), name="two", title="T", description="D")
    assert not set(ids) & set(re.findall(r' id="([^"]*)"', other))


def test_svg_is_named_for_screen_readers_and_escapes_text():
    svg = style.figure_to_svg(drawing(), name="one", title="a < b", description='"d" & e')
    assert 'role="img"' in svg and 'aria-labelledby="one-title one-desc"' in svg
    assert '<title id="one-title">a &lt; b</title>' in svg and "&quot;d&quot; &amp; e</desc>" in svg
    assert "a &lt; b &amp; $c$" in svg, "text stays text, and dollars are no mathematics"


def test_a_name_that_is_no_id_is_refused():
    with pytest.raises(ValueError, match="expected lower-case letters"):
        style.figure_to_svg(drawing(), name="a b", title="T")


def test_png_is_the_same_twice(tmp_path):
    for name in ("a.png", "b.png"):
        style.save_png(drawing(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_downsample_is_the_mean_of_blocks_and_leaves_nan_out():
    image = np.array([[1.0, 3.0, 5.0], [np.nan, 2.0, 7.0], [np.nan, np.nan, np.nan]])
    small, side = style.downsample(image, 2)
    assert side == 2
    assert_array_equal(small, [[2.0, 6.0], [np.nan, np.nan]])
    same, side = style.downsample(image, 3)
    assert side == 1
    assert_array_equal(same, image)
    assert style.downsample(np.ones((1000, 300)), 512)[0].shape == (500, 150)


def test_downsample_keeps_the_mean_of_a_map_that_divides_evenly():
    image = np.random.default_rng(0).normal(size=(510, 768))
    assert style.downsample(image, 256)[0].mean() == pytest.approx(image.mean(), abs=1e-12)


def test_robust_limits_increase_and_ignore_outliers():
    values = np.arange(1001.0)
    values[-1] = 1e9
    assert style.robust_limits(values, 0.5) == pytest.approx((5, 995))
    for constant in (np.zeros(4), np.full(4, -3.0), np.full(3, np.nan)):
        low, high = style.robust_limits(constant)
        assert low < high
