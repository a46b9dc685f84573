"""Discovery in folders: what is found, how it is grouped, what is left out and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from calibrate import load_captures
from calibrate.captures import CaptureSet, split_by_gain_setting
from calibrate.plumbing.errors import PhotonbitsError

FRAME = np.full((4, 6), 100, dtype="uint16")


def put(path: Path, array: np.ndarray[Any, Any] = FRAME, **header: object) -> Path:
    """Write a frame in the format of its suffix, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(array).save(path)
    elif path.suffix == ".fits":
        hdu = fits.PrimaryHDU(array)
        hdu.header.update({name.replace("_", "-"): value for name, value in header.items()})
        hdu.writeto(path)
    else:
        tifffile.imwrite(path, array, photometric="minisblack")
    return path


def summary(captures: CaptureSet) -> list[tuple[str, float | None, int]]:
    return [(level.kind, level.exposure_s, level.n_frames) for level in captures.levels]


def refused(path: Path, *words: str) -> PhotonbitsError:
    with pytest.raises(PhotonbitsError) as caught:
        load_captures(path)
    error = caught.value
    assert error.where and error.legal and error.remedy, str(error)
    for word in words:
        assert word in str(error), str(error)
    return error


def test_names_make_levels_in_rising_order(tmp_path: Path) -> None:
    for exposure in ("100ms", "20ms", "3ms"):
        for number in range(2):
            put(tmp_path / "flats" / f"{exposure}_{number}.png")
            put(tmp_path / f"dark_{exposure}_{number}.png")
    put(tmp_path / "bias_0.png")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "README.md").write_text("notes")
    put(tmp_path / "light_001.png")
    captures = load_captures(str(tmp_path))
    assert captures.source == "folder" and captures.root == tmp_path
    assert captures.shape == (4, 6) and captures.bit_depth is None
    assert summary(captures) == [
        ("bright", 0.003, 2),
        ("bright", 0.02, 2),
        ("bright", 0.1, 2),
        ("dark", 0.0, 1),
        ("dark", 0.003, 2),
        ("dark", 0.02, 2),
        ("dark", 0.1, 2),
    ]
    assert {item.path: item.reason for item in captures.ignored} == {
        "README.md": "not an image format",
        "light_001.png": "neither dark nor flat by name or header; name it so, or write a manifest",
    }


def test_frames_of_a_level_stay_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9, 1, 2):
        put(tmp_path / f"flat_5ms_{number}.png")
    (level,) = load_captures(tmp_path).levels
    assert [frame.path.stem for frame in level.frames] == [f"flat_5ms_{n}" for n in (1, 2, 9, 10)]


def test_fits_headers_speak_where_names_are_silent(tmp_path: Path) -> None:
    put(tmp_path / "a1.fits", IMAGETYP="Flat Field", EXPTIME=0.5, CCD_TEMP=-5.0, GAIN=120, INSTRUME="Cam")
    put(tmp_path / "a2.fits", IMAGETYP="DARK", EXPTIME=0.5, CCD_TEMP=-5.0, GAIN=120, INSTRUME="Cam")
    put(tmp_path / "a3.fits", IMAGETYP="zero", CCD_TEMP=-5.0, GAIN=120, INSTRUME="Cam")
    put(tmp_path / "a4.fits", IMAGETYP="Light Frame", EXPTIME=1.0)
    captures = load_captures(tmp_path)
    assert summary(captures) == [("bright", 0.5, 1), ("dark", 0.0, 1), ("dark", 0.5, 1)]
    assert captures.sensor == {"temperature_c": -5.0, "gain_setting": 120, "model": "Cam"}
    assert [item.path for item in captures.ignored] == ["a4.fits"]


def test_plain_name_beats_header_kind(tmp_path: Path) -> None:
    put(tmp_path / "flats" / "001.fits", IMAGETYP="Light Frame", EXPTIME=1.0)
    put(tmp_path / "dark_002.fits", IMAGETYP="object", EXPTIME=1.0)
    put(tmp_path / "dark_003.fits", IMAGETYP="FLAT", EXPTIME=1.0)
    captures = load_captures(tmp_path)
    assert summary(captures) == [("bright", 1.0, 1), ("dark", 1.0, 2)]
    (note,) = captures.notes
    assert "dark_003.fits" in note and "contradict" in note


def test_header_exposure_beats_name_and_says_so(tmp_path: Path) -> None:
    put(tmp_path / "flat_20ms_1.fits", EXPTIME=0.03)
    put(tmp_path / "flat_30ms_1.fits", EXPTIME=0.0301)
    captures = load_captures(tmp_path)
    assert [level.exposure_s for level in captures.levels] == [0.03, 0.0301]
    (note,) = captures.notes
    assert "flat_20ms_1.fits: 0.03 s in the header, 0.02 s by name" in note and "(1 file(s)" in note


def test_unknown_exposures_group_by_folder_and_stem(tmp_path: Path) -> None:
    for name in ("flats/a/001", "flats/a/002", "flats/b/001", "flats/low_1", "flats/low_2", "flats/high_1"):
        put(tmp_path / f"{name}.png")
    captures = load_captures(tmp_path)
    assert sorted(level.n_frames for level in captures.levels) == [1, 1, 2, 2]
    assert all(level.exposure_s is None for level in captures.levels)
    assert "exposure unknown" in captures.notes[0]


def test_stacks_expand_and_numbered_stacks_stay_apart(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.tif", np.stack([FRAME] * 3))
    put(tmp_path / "flat_2.tif", np.stack([FRAME] * 3))
    put(tmp_path / "dark_10ms.tif", np.stack([FRAME] * 5))
    captures = load_captures(tmp_path)
    assert summary(captures) == [("bright", None, 3), ("bright", None, 3), ("dark", 0.01, 5)]
    assert [frame.index for frame in captures.levels[2].frames] == [0, 1, 2, 3, 4]


def test_two_times_in_a_name_are_not_guessed(tmp_path: Path) -> None:
    put(tmp_path / "flat_10ms_wait_5ms.png")
    captures = load_captures(tmp_path)
    assert captures.levels[0].exposure_s is None
    assert "several times" in captures.notes[0]


def test_master_frames_and_headerless_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "flat_1s_1.png")
    put(tmp_path / "MasterDark_1s.png")
    (tmp_path / "dark.raw").write_bytes(bytes(48))
    reasons = {item.path: item.reason for item in load_captures(tmp_path).ignored}
    assert "average" in reasons["MasterDark_1s.png"]
    assert "manifest" in reasons["dark.raw"]


def test_gain_settings_never_share_a_level(tmp_path: Path) -> None:
    for gain in (0, 120):
        for kind in ("flat", "dark"):
            put(tmp_path / f"gain{gain}" / f"{kind}_1s_1.fits", GAIN=gain)
            put(tmp_path / f"gain{gain}" / f"{kind}_1s_2.fits", GAIN=gain)
    captures = load_captures(tmp_path)
    assert len(captures.levels) == 4 and "gain_setting" not in captures.sensor
    assert "several gain settings: 0, 120" in captures.notes[0]
    parts = split_by_gain_setting(captures)
    assert list(parts) == ["0", "120"]
    assert [summary(part) for part in parts.values()] == [[("bright", 1.0, 2), ("dark", 1.0, 2)]] * 2
    assert all("gain120" in f.path.parts for level in parts["120"].levels for f in level.frames)
    assert split_by_gain_setting(parts["0"]) == {"0": parts["0"]}


def test_temperatures_that_differ_are_noted(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.fits", EXPTIME=1.0, CCD_TEMP=-10.0)
    put(tmp_path / "flat_2.fits", EXPTIME=1.0, CCD_TEMP=-9.5)
    captures = load_captures(tmp_path)
    assert "temperature_c" not in captures.sensor
    assert "-10 to -9.5" in captures.notes[0]


def test_bit_depth_comes_from_the_files(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.png", FRAME.astype("uint8"))
    captures = load_captures(tmp_path)
    assert (captures.bit_depth, captures.bit_depth_source) == (8, "files")


@pytest.mark.parametrize(("largest", "expected"), [(4095, 12), (4096, None)])
def test_stated_significant_bits_are_checked_on_the_codes(tmp_path: Path, largest: int, expected: int | None) -> None:
    put(tmp_path / "flat_1s_1.fits", np.array([[0, largest]], dtype="uint16"), BITDEPTH=12)
    captures = load_captures(tmp_path)
    assert captures.bit_depth == expected
    assert bool(captures.notes) == (expected is None)


def test_one_manifest_or_one_descriptor_in_a_folder_is_used(tmp_path: Path) -> None:
    put(tmp_path / "x" / "one.png")
    (tmp_path / "list.txt").write_text("n 12 6 4\nb 1000 10\ni x\\one.png\n")
    captures = load_captures(tmp_path)
    assert captures.source == "emva1288" and "list.txt in the folder" in captures.notes[0]
    (tmp_path / "manifest.csv").write_text("path,kind,exposure_s\nx/one.png,dark,1\n")
    captures = load_captures(tmp_path)
    assert captures.source == "manifest" and "manifest.csv in the folder" in captures.notes[0]
    (tmp_path / "manifest.yaml").write_text("frames: []\n")
    refused(tmp_path, "manifest.csv, manifest.yaml")


def test_descriptor_beside_images_is_not_used(tmp_path: Path) -> None:
    put(tmp_path / "flat_1s.png")
    (tmp_path / "list.txt").write_text("n 12 6 4\nb 1000 10\ni flat_1s.png\n")
    assert load_captures(tmp_path).source == "folder"


def test_nothing_to_load(tmp_path: Path) -> None:
    refused(tmp_path / "missing", "no such file or folder", "missing")
    refused(tmp_path, "empty")
    (tmp_path / "README.md").write_text("x")
    refused(tmp_path, "no dark or flat frame among 1 file(s)", "README.md")
    put(tmp_path / "img_1.png")
    refused(tmp_path, "img_1.png: neither dark nor flat")
    refused(tmp_path / "img_1.png", "one image file")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (FRAME[:3], ("shapes are mixed", "3 x 6", "4 x 6")),
        (FRAME.astype("uint8"), ("pixel types are mixed", "uint8", "uint16")),
    ],
)
def test_mixed_frames_are_refused(tmp_path: Path, other: Any, words: Sequence[str]) -> None:
    put(tmp_path / "dark_1.tif")
    put(tmp_path / "flat_1.tif", other)
    refused(tmp_path, "flat_1.tif", *words)


def test_mixed_bit_depths_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "dark_1.fits", BITDEPTH=12)
    put(tmp_path / "flat_1.fits", BITDEPTH=14)
    refused(tmp_path, "bit depths are mixed", "12 in dark_1.fits", "14 in flat_1.fits")


def test_damaged_image_is_an_error_even_without_a_telling_name(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.png")
    (tmp_path / "x.png").write_bytes(b"not a png")
    refused(tmp_path, "x.png", "damaged")


def test_colour_is_an_error_for_a_flat_and_ignored_otherwise(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "setup.png")
    (item,) = load_captures(tmp_path).ignored
    assert item.path == "setup.png" and "processed, not raw" in item.reason
    Image.new("RGB", (6, 4)).save(tmp_path / "flat_2.png")
    refused(tmp_path, "flat_2.png", "processed, not raw")


def test_the_same_file_under_two_names_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "flat_1.png")
    try:
        (tmp_path / "flat_2.png").symlink_to(tmp_path / "flat_1.png")
    except OSError:
        pytest.skip("no symbolic links here")
    refused(tmp_path, "listed twice", "flat_2.png")


def test_folders_that_link_back_end(tmp_path: Path) -> None:
    put(tmp_path / "flats" / "1s_1.png")
    try:
        (tmp_path / "flats" / "again").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    assert summary(load_captures(tmp_path)) == [("bright", 1.0, 1)]


def test_order_on_disk_does_not_matter(tmp_path: Path) -> None:
    names = [f"{kind}_{exposure}ms_{n}.png" for kind in ("flat", "dark") for exposure in (1, 2) for n in (1, 2)]
    for name in names:
        put(tmp_path / "a" / name)
    for name in reversed(names):
        put(tmp_path / "b" / name)
    assert summary(load_captures(tmp_path / "a")) == summary(load_captures(tmp_path / "b"))


@pytest.mark.parametrize(("name", "kind"), [("darks", "dark"), ("Flats_2024", "bright"), ("bias", "dark")])
def test_the_root_folder_names_the_frames_where_nothing_else_does(tmp_path: Path, name: str, kind: str) -> None:
    for number in range(2):
        put(tmp_path / name / f"5ms_{number}.png")
    captures = load_captures(tmp_path / name)
    assert summary(captures) == [(kind, 0.005, 2)]
    assert "by the name of the folder itself" in captures.notes[0]
    # Once a file says what it is, the others are ignored as anywhere.
    put(tmp_path / name / "dark_5ms_9.png")
    assert summary(load_captures(tmp_path / name)) == [("dark", 0.005, 1)]


def test_the_root_folder_tells_the_exposure_and_never_two_kinds(tmp_path: Path) -> None:
    put(tmp_path / "darks_20ms" / "a_1.png")
    assert summary(load_captures(tmp_path / "darks_20ms")) == [("dark", 0.02, 1)]
    put(tmp_path / "darks_and_flats" / "a_1.png")
    refused(tmp_path / "darks_and_flats", "neither dark nor flat")
