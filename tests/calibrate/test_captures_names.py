"""What names say: kind, exposure, gain, order."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate.captures.names import (
    exposure_from_name,
    exposures_in,
    gain_from_name,
    kind_from_name,
    natural_key,
    stem_without_number,
)
from calibrate.frames.fits_header import kind_from_words


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("dark_001", "dark"),
        ("DARK001", "dark"),
        ("DarkFrame-3", "dark"),
        ("darks/001", "dark"),
        ("bias_1", "bias"),
        ("zero001", "bias"),
        ("offset.004", "bias"),
        ("flat_10ms_1", "bright"),
        ("FlatField001", "bright"),
        ("flats/0.5s/17", "bright"),
        ("bright-07", "bright"),
        ("flats/light_001", "bright"),
        ("flats/dark_001", "dark"),
        ("darks/flat_001", "bright"),
        ("flat_dark_2s", "dark"),
        ("flatdark01", "dark"),
        ("flat_gain100_offset50_1", "bright"),
        ("light_gain100_offset50_1", None),
        ("image_gain100_offset50_1", None),
        ("light_001", None),
        ("scene", None),
        ("darkness_01", None),
        ("flatland", None),
        ("b_000_snap_001", None),
    ],
)
def test_kind(path: str, kind: str | None) -> None:
    assert kind_from_name(PurePath(path)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Dark Frame", "dark"),
        ("DARK", "dark"),
        ("Bias Frame", "bias"),
        ("zero", "bias"),
        ("Flat Field", "bright"),
        ("FLAT", "bright"),
        ("Light Frame", "scene"),
        ("LIGHT", "scene"),
        ("object", "scene"),
        ("Master Dark", "scene"),
        ("", None),
    ],
)
def test_kind_in_headers(text: str, kind: str | None) -> None:
    assert kind_from_words(text) == kind


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("flat_10ms_001", 0.01),
        ("flat10ms", 0.01),
        ("0.5s", 0.5),
        ("dark-250us-3", 0.00025),
        ("dark_250µs", 0.00025),
        ("1e-3s", 0.001),
        ("exp_10ms", 0.01),
        ("exp10ms", 0.01),
        ("flat 10 ms 01", 0.01),
        ("2sec", 2.0),
        ("flat_2SEC", 2.0),
        ("dark_3min", 180.0),
        ("0s", 0.0),
        ("b_000_snap_001", None),
        ("level3_s2", None),
        ("1.2.3s", None),
        ("10mst", None),
        ("10m", None),
        ("flat_001", None),
    ],
)
def test_exposure(name: str, seconds: float | None) -> None:
    assert exposure_from_name(PurePath(name)) == (seconds, False)


def test_exposure_file_before_folder_and_never_a_guess_between_two() -> None:
    assert exposure_from_name(PurePath("20ms/flat_10ms_1")) == (0.01, False)
    assert exposure_from_name(PurePath("20ms/flat_1")) == (0.02, False)
    assert exposure_from_name(PurePath("flat_10ms_delay_5ms")) == (None, True)
    assert exposure_from_name(PurePath("flat_10ms_0.01s")) == (0.01, False)


UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0}
PREFIXES = st.sampled_from(["", "flat_", "dark-", "exp", "exp_", "a/b 7 ", "run03_"])


@given(
    digits=st.integers(0, 99999),
    decimals=st.integers(0, 4),
    unit=st.sampled_from(sorted(UNITS)),
    gap=st.sampled_from(["", " "]),
    prefix=PREFIXES,
    tail=st.sampled_from(["", "_001", "-x", ".0", " (2)"]),
)
def test_any_written_exposure_is_read_back(
    digits: int, decimals: int, unit: str, gap: str, prefix: str, tail: str
) -> None:
    number = f"{digits / 10**decimals:.{decimals}f}"
    (found,) = exposures_in(f"{prefix}{number}{gap}{unit}{tail}")
    assert found == pytest.approx(float(number) * UNITS[unit], rel=1e-12)


@given(st.text(max_size=30))
def test_no_name_breaks_the_parsers(text: str) -> None:
    path = PurePath(text.replace("/", "_"))
    kind_from_name(path)
    exposure, _ = exposure_from_name(path)
    assert exposure is None or exposure >= 0
    gain_from_name(path)
    natural_key(path)
    stem_without_number(text)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_natural_order_is_numeric(one: int, other: int) -> None:
    first, second = PurePath(f"d{one}/flat_x.png"), PurePath(f"d{other}/flat_x.png")
    assert (natural_key(first) < natural_key(second)) == (one < other)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("flat_gain120_1", "120"),
        ("ISO 800/flat", "800"),
        ("gain-1.5", "1.5"),
        ("again3", None),
        ("flat", None),
    ],
)
def test_gain(name: str, gain: str | None) -> None:
    assert gain_from_name(PurePath(name)) == gain


@pytest.mark.parametrize(
    ("stem", "without"),
    [("level_a_012", "level_a"), ("0001", ""), ("flat (3)", "flat"), ("x-1-2", "x-1"), ("flat", "flat")],
)
def test_running_number(stem: str, without: str) -> None:
    assert stem_without_number(stem) == without
