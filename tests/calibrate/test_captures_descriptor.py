"""EMVA 1288 descriptors and text tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from calibrate.captures import CaptureSet, TablePoint, load_captures
from calibrate.plumbing.errors import PhotonbitsError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(6):
        frame = np.full((4, 6), 100, dtype="uint16")
        Image.fromarray(frame).save(tmp_path / "images" / f"i {number}.png")
    return tmp_path


def load(folder: Path, text: str, name: str = "d.txt") -> CaptureSet:
    (folder / name).write_bytes(text.encode())
    return load_captures(folder / name)


def refused(folder: Path, text: str, *words: str) -> None:
    with pytest.raises(PhotonbitsError) as caught:
        load(folder, text)
    assert caught.value.where and caught.value.legal and caught.value.remedy
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_descriptor_as_windows_programs_write_it(images: Path) -> None:
    text = (
        "# comment\r\n\r\nv 3.0\r\nn 12 6 4\r\n"
        "b 40000,0 120,5\r\ni images\\i 0.png\r\ni images\\i 1.png\r\n"
        "b 20000 60\r\ni images\\i 2.png\r\n"
        "d\t40000.0 # dark\r\n  i images\\i 3.png\r\n"
        "d 40000.0\r\ni images\\i 4.png\r\n"
    )
    captures = load(images, text)
    assert [(x.kind, x.exposure_s, x.photons_per_pixel, x.n_frames) for x in captures.levels] == [
        ("bright", 2e-5, 60.0, 1),
        ("bright", 4e-5, 120.5, 2),
        ("dark", 4e-5, None, 1),
        ("dark", 4e-5, None, 1),
    ]
    assert (captures.source, captures.bit_depth, captures.shape) == ("emva1288", 12, (4, 6))
    assert captures.bit_depth_source == "descriptor"
    assert captures.input_files == (images / "d.txt",) and captures.root == images
    assert captures.levels[1].frames[0].path == images / "images" / "i 0.png"


HEAD = "v 3.0\nn 12 6 4\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "i images/i 0.png\n", ("line 3", "before the first b or d")),
        (HEAD + "b ten 5\ni images/i 0.png\n", ("line 3", "'ten' is no number")),
        (HEAD + "b 10 -5\ni images/i 0.png\n", ("line 3", "-5")),
        (HEAD + "d 10 5\ni images/i 0.png\n", ("line 3", "not understood")),
        (HEAD + "q 10\nb 1 1\ni images/i 0.png\n", ("line 3", "'q 10'")),
        ("n 12.5 6 4\nb 1 1\ni images/i 0.png\n", ("line 1", "whole numbers")),
        (HEAD + "b 1 1\n", ("lists no image",)),
        (HEAD + "b 1 1\ni images/i 9.png\ni images/i 0.png\n", ("1 of 2 listed", "line 4")),
        (HEAD + "b 1 1\ni images/i 0.png\nd 1\ni images/i 0.png\n", ("listed twice", "line 4", "line 6")),
        ("n 12 4 6\nb 1 1\ni images/i 0.png\n", ("shapes are mixed", "4 x 6", "6 x 4")),
        ("n 24 6 4\nb 1 1\ni images/i 0.png\n", ("bit_depth 24", "uint16")),
    ],
)
def test_descriptor_errors(images: Path, text: str, words: tuple[str, ...]) -> None:
    refused(images, text, *words)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("# c\n1 2\n3.5 4e2 # x\n", [TablePoint(1, 2), TablePoint(3.5, 400)]),
        ("1, 2, 0.1\n3,4,0.2\n", [TablePoint(1, 2, 0.1), TablePoint(3, 4, 0.2)]),
        ("mean_dn variance_dn2\r\n1\t2\r\n", [TablePoint(1, 2)]),
        ("variance_dn2,mean_dn,exposure_s\n2,1,0.5\n", [TablePoint(1, 2, 0.5)]),
        ("exposure_s,x,mean,var\n0.5,9,1,2\n", [TablePoint(1, 2, 0.5)]),
        ("signal noise\n1 2\n", [TablePoint(1, 2)]),
        ("mean,variance,exposure_s\n1,2,\n", [TablePoint(1, 2)]),
    ],
)
@pytest.mark.parametrize("name", ["t.txt", "t.csv", "t.dat"])
def test_tables(tmp_path: Path, text: str, points: list[TablePoint], name: str) -> None:
    captures = load(tmp_path, text, name)
    assert captures.source == "table" and captures.points == tuple(points)
    assert captures.levels == () and captures.shape is None
    assert captures.input_files == (tmp_path / name,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no points",)),
        ("# only\nmean variance\n", ("no points",)),
        ("1 2\n3\n", ("line 2", "1 column")),
        ("1 2\n3 x\n", ("line 2", "'x'")),
        ("1 nan\n", ("line 1", "nan")),
        ("1 -2\n", ("variance_dn2 is -2",)),
        ("1 2 -3\n", ("exposure_s is -3",)),
        ("1 2 3 4\n", ("4 columns",)),
        ("just some words of prose\n", ("no points",)),
    ],
)
def test_table_errors(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    refused(tmp_path, text, *words)


def test_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "x.dat").write_bytes(bytes(100))
    with pytest.raises(PhotonbitsError, match="binary"):
        load_captures(tmp_path / "x.dat")


def test_reference_set_001_loads_as_delivered(realdata: Path) -> None:
    folder = realdata / "emva1288_set001_ccd12"
    captures = load_captures(folder / "EMVA1288_Data.txt")
    for levels in (captures.bright_levels(), captures.dark_levels()):
        assert sorted(level.n_frames for level in levels) == [2] * 50 + [16]
        assert list(levels) == sorted(levels, key=lambda level: level.exposure_s or 0.0)
    assert (captures.bit_depth, captures.shape) == (12, (480, 640))
    first = captures.levels[0]
    assert (first.exposure_s, first.photons_per_pixel) == (4e-5, 120.0)
    assert load_captures(folder).levels == captures.levels


def test_reference_table_loads_as_delivered(realdata: Path) -> None:
    captures = load_captures(realdata / "lsst_eotest_ptc" / "PTC_mean_var_values.txt")
    assert len(captures.points) == 43
    assert captures.points[0] == TablePoint(99.6577, 191.377)
    assert captures.points[-1] == TablePoint(207430.0, 408278.0)
