"""What `calibrate inspect` says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calibrate.inspect import format_inspection, inspect_captures


def put(path: Path, *codes: int, dtype: str = "uint16") -> None:
    tifffile.imwrite(path, np.array([codes], dtype=dtype), photometric="minisblack")


def test_content_is_the_contract(tmp_path: Path) -> None:
    put(tmp_path / "flat_10ms_1.tif", 7, 900)
    put(tmp_path / "flat_20ms_1.tif", 8, 3001)
    put(tmp_path / "dark_10ms_1.tif", 1, 2)
    (tmp_path / "README.md").write_text("x")
    found = json.loads(json.dumps(inspect_captures(tmp_path), allow_nan=False))
    assert found["frames"] == 3
    assert found["levels"] == [
        {"kind": "bright", "exposure_s": 0.01, "photons_per_pixel": None, "n_frames": 1},
        {"kind": "bright", "exposure_s": 0.02, "photons_per_pixel": None, "n_frames": 1},
        {"kind": "dark", "exposure_s": 0.01, "photons_per_pixel": None, "n_frames": 1},
    ]
    assert found["shape"] == [1, 2]
    assert found["ignored"] == [{"path": "README.md", "reason": "not an image format"}]
    assert (found["bit_depth"], found["bit_depth_source"]) == (12, "largest code seen")
    assert "3001" in found["notes"][0]


@pytest.mark.parametrize(
    ("largest", "depth"), [(255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (65535, 16)]
)
def test_suggested_bit_depth_holds_the_largest_code(tmp_path: Path, largest: int, depth: int) -> None:
    put(tmp_path / "flat_1.tif", 1, largest)
    assert inspect_captures(tmp_path)["bit_depth"] == depth


@pytest.mark.parametrize("shift", [0, 1, 2, 4])
def test_left_aligned_codes_are_detected_from_two_empty_bits(tmp_path: Path, shift: int) -> None:
    codes = [code << shift for code in (1, 2, 3, 4095)]
    put(tmp_path / "flat_1.tif", *codes)
    notes = " ".join(inspect_captures(tmp_path)["notes"])
    assert ("left-aligned" in notes) == (shift >= 2)
    if shift >= 2:
        assert f"multiples of {2**shift}" in notes


def test_all_zero_frames_are_not_left_aligned(tmp_path: Path) -> None:
    put(tmp_path / "dark_1.tif", 0, 0)
    assert "left-aligned" not in " ".join(inspect_captures(tmp_path)["notes"])


def test_stated_depth_below_the_codes_is_noted(tmp_path: Path) -> None:
    put(tmp_path / "flat_1s_1.tif", 1, 5000)
    (tmp_path / "manifest.csv").write_text("# bit_depth: 12\npath,kind\nflat_1s_1.tif,flat\n")
    found = inspect_captures(tmp_path)
    assert (found["bit_depth"], found["bit_depth_source"]) == (12, "manifest")
    assert any("5000" in note and "correct bit_depth" in note for note in found["notes"])


def test_signed_and_real_frames(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.tif", -5, 300, dtype="int16")
    assert any("smallest one read is -5" in note for note in inspect_captures(tmp_path)["notes"])
    put(tmp_path / "flat_1.tif", 1, 2, dtype="float32")
    found = inspect_captures(tmp_path)
    assert found["bit_depth"] is None and any("real numbers" in note for note in found["notes"])


def test_text_for_people(tmp_path: Path) -> None:
    put(tmp_path / "flat_10ms_1.tif", 7, 900)
    put(tmp_path / "dark_1.tif", 1, 2)
    put(tmp_path / "x.tif", 1, 2)
    text = format_inspection(inspect_captures(tmp_path))
    assert "2 x 1 pixels" in text and "10 bit (from: largest code seen)" in text
    assert "0.01 s" in text and "unknown" in text
    assert "x.tif: neither dark nor flat" in text
    assert "exposure unknown" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_table(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("1 2\n3 4\n")
    found = inspect_captures(tmp_path / "t.txt")
    assert (found["frames"], found["levels"], found["points"], found["shape"]) == (0, [], 2, None)
    assert "points     2" in format_inspection(found)


def test_reference_set_001(realdata: Path) -> None:
    found = inspect_captures(realdata / "emva1288_set001_ccd12" / "EMVA1288_Data.txt")
    assert found["frames"] == 232 and len(found["levels"]) == 102
    assert (found["shape"], found["bit_depth"], found["ignored"], found["notes"]) == ([480, 640], 12, [], [])
