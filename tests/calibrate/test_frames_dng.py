"""DNG: the raw image behind thumbnails, with what its directories say; makers' own raw formats are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from calibrate import load_captures
from calibrate.captures import FrameReference
from calibrate.frames import UnsupportedFrameError, describe_file, read_frame, stem_of
from calibrate.plumbing.errors import PhotonbitsError

RAW = np.arange(12 * 10, dtype="uint16").reshape(12, 10) * 30
FIRST = [
    (50706, "B", 4, (1, 4, 0, 0), True),
    (271, "s", 0, "Acme", True),
    (272, "s", 0, "A1", True),
    (33434, "2I", 1, (1, 50), True),
    (50735, "s", 0, "SN7", True),
]
OF_RAW = [
    (33421, "H", 2, (2, 2), True),
    (33422, "B", 4, bytes([0, 1, 1, 2]), True),
    (50829, "I", 4, (1, 0, 12, 10), True),
    (50714, "2I", 4, (64, 1, 65, 1, 65, 1, 66, 1), True),
    (50717, "H", 1, 4095, True),
]


def write_dng(path: Path, raw: np.ndarray[Any, Any] = RAW, more: tuple[Any, ...] = (), **options: Any) -> Path:
    """A thumbnail, the raw image and a gray preview in SubIFDs, as converters write them."""
    options = {"photometric": "cfa", "subfiletype": 0, "extratags": [*OF_RAW, *more], "metadata": None} | options
    with tifffile.TiffWriter(path) as writer:
        thumbnail = np.zeros((4, 5, 3), "uint8")
        writer.write(thumbnail, photometric="rgb", subfiletype=1, subifds=2, extratags=FIRST, metadata=None)
        writer.write(raw, **options)
        writer.write(np.zeros((20, 24), "uint8"), photometric="minisblack", subfiletype=1, metadata=None)
    return path


def overwrite(path: Path, tag: int, value: int) -> None:
    """Another value of a tag of the raw image."""
    with tifffile.TiffFile(path) as tiff:
        pages: Any = tiff.pages[0].pages  # type: ignore[union-attr]
        place = pages[0].tags[tag].valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["a.dng", "a.DNG", "a.tif"])
def test_the_raw_image_is_chosen(tmp_path: Path, name: str) -> None:
    path = write_dng(tmp_path / name)
    info = describe_file(path)
    assert (info.shape, info.n_frames, info.dtype) == ((12, 10), 1, "uint16")
    assert info.header == {
        "make": "Acme",
        "model": "A1",
        "exposure_s": 0.02,
        "serial": "SN7",
        "cfa": "GBRG",  # RGGB from row 1 on, where the active area begins
        "exposed": (1, 12, 0, 10),
        "black_level_dn": (64.0, 65.0, 65.0, 66.0),
        "white_level_dn": (4095.0,),
    }
    # Codes as they are stored: no black level subtracted.
    np.testing.assert_array_equal(read_frame(FrameReference(path)), RAW)
    assert stem_of(path) == "a"


def test_a_monochrome_camera_and_a_raw_image_without_subifds(tmp_path: Path) -> None:
    linear = write_dng(tmp_path / "linear.dng")
    overwrite(linear, 262, 34892)  # linear raw of one sample, which tifffile does not write
    np.testing.assert_array_equal(read_frame(FrameReference(linear)), RAW)
    tifffile.imwrite(tmp_path / "plain.dng", RAW, photometric="cfa", extratags=[*FIRST, *OF_RAW], metadata=None)
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "plain.dng")), RAW)


def test_a_folder_of_dng_files(tmp_path: Path) -> None:
    for name in ("flat_1", "flat_2", "dark_1", "dark_2"):
        write_dng(tmp_path / f"{name}.dng", more=((50712, "H", 3, (0, 10, 30), True),))
    captures = load_captures(tmp_path)
    assert [(level.kind, level.exposure_s, level.n_frames) for level in captures.levels] == [
        ("bright", 0.02, 2),
        ("dark", 0.02, 2),
    ]
    assert captures.sensor == {"make": "Acme", "model": "A1", "cfa": "GBRG"}
    assert any("companded (LinearizationTable)" in note and "4 file(s)" in note for note in captures.notes)


def test_dng_without_a_raw_image_or_demosaiced(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.dng", np.zeros((4, 5), "uint8"), photometric="minisblack", extratags=FIRST)
    with pytest.raises(UnsupportedFrameError, match="holds no raw image among its 1 images"):
        describe_file(tmp_path / "a.dng")
    colour = write_dng(tmp_path / "b.dng", np.zeros((6, 5, 3), "uint16"), photometric=34892, planarconfig="contig")
    with pytest.raises(UnsupportedFrameError, match="3 samples a pixel"):
        describe_file(colour)


def test_compressed_dng_names_the_extra(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng")
    overwrite(path, 259, 7)  # lossless JPEG, as most converters use
    with pytest.raises(PhotonbitsError, match=r"compressed or packed \(JPEG, 16 bits\).*photonbits\[imagecodecs\]"):
        read_frame(FrameReference(path))


@pytest.mark.parametrize("suffix", [".CR2", ".nef", ".arw"])
def test_makers_raw_formats_say_what_to_do(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"flat_1{suffix}"
    path.write_bytes(b"II*\0" + bytes(100))
    for call in (lambda: describe_file(path), lambda: load_captures(path), lambda: load_captures(tmp_path)):
        with pytest.raises(PhotonbitsError, match=rf"{suffix} is a camera maker's own raw format.*uncompressed DNG"):
            call()


def test_folders_without_images_list_the_formats(tmp_path: Path) -> None:
    (tmp_path / "flat_1.jpg").write_bytes(b"x")
    with pytest.raises(PhotonbitsError, match=r"not an image format.*\.tif, \.tiff, \.dng, \.fits.*\.npz"):
        load_captures(tmp_path)
