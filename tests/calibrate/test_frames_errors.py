"""Whatever is wrong with a file, one error says what, where, what is legal and what to do."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from calibrate.captures import FrameReference
from calibrate.frames import UnsupportedFrameError, describe_file, read_frame
from calibrate.plumbing.errors import PhotonbitsError

RAMP = np.arange(40 * 50, dtype="uint16").reshape(40, 50)


def write_tiff(path: Path, array: np.ndarray[Any, Any]) -> None:
    tifffile.imwrite(path, array, photometric="minisblack")


WRITERS: dict[str, Callable[[Path, np.ndarray[Any, Any]], object]] = {
    "a.tif": write_tiff,
    "a.fits": lambda path, array: fits.PrimaryHDU(array).writeto(path),
    "a.fits.gz": lambda path, array: fits.PrimaryHDU(array).writeto(path),
    "a.npy": np.save,
    "a.npz": lambda path, array: np.savez_compressed(path, frames=array),
    "a.png": lambda path, array: Image.fromarray(array).save(path),
}


def said(path: Path, *words: str, **options: Any) -> PhotonbitsError:
    """Describe and read; check that the one error names the file, the words and a remedy."""
    with pytest.raises(PhotonbitsError) as caught:
        describe_file(path, **options)
        read_frame(FrameReference(path, **options))
    error = caught.value
    assert path.name in str(error)
    assert error.remedy and error.legal
    assert "\n" not in str(error)
    for word in words:
        assert word in str(error), str(error)
    return error


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("keep", [0.002, 0.05, 0.5, 0.9, 0.98])
def test_truncated_files(tmp_path: Path, name: str, keep: float, capsys: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, size=(40, 50)).astype("uint16")
    path = tmp_path / name
    WRITERS[name](path, noise)
    data = path.read_bytes()
    n_bytes = int(keep * len(data))
    if name == "a.fits" and n_bytes >= 2880 + noise.nbytes:
        n_bytes = 2880 + noise.nbytes - 1  # what follows is padding, and may be missing
    path.write_bytes(data[: max(n_bytes, 1)])
    with pytest.raises(PhotonbitsError, match="damaged"):
        describe_file(path)  # discovery alone must notice, before an hour of other frames is read
    said(path)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("metadata", [{}, None])
def test_truncated_tiff_stack_is_not_a_shorter_stack(tmp_path: Path, metadata: Any, capfd: Any) -> None:
    # Without metadata nothing but the broken page table tells that pages are lost.
    stack = np.stack([RAMP] * 6)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata=metadata)
    data = (tmp_path / "a.tif").read_bytes()
    for n_bytes in range(300, len(data) - 1, 487):
        (tmp_path / "a.tif").write_bytes(data[:n_bytes])
        with pytest.raises(PhotonbitsError, match="damaged"):
            describe_file(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 20, bytes(1000)])
def test_files_that_are_something_else(tmp_path: Path, name: str, content: bytes, capfd: Any) -> None:
    (tmp_path / name).write_bytes(content)
    said(tmp_path / name, "empty" if not content else "damaged")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", WRITERS)
def test_damage_in_the_middle_never_shows_a_library_error(tmp_path: Path, name: str, capfd: Any) -> None:
    WRITERS[name](tmp_path / name, RAMP)
    data = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        hit = bytearray(data)
        for place in rng.integers(0, min(len(data), 3000), size=8):
            hit[place] = int(rng.integers(256))
        (tmp_path / name).write_bytes(hit)
        try:
            read_frame(FrameReference(tmp_path / name))
        except PhotonbitsError as error:
            assert name in str(error)
    assert capfd.readouterr() == ("", "")


def test_missing_file_folder_and_unknown_suffix(tmp_path: Path) -> None:
    said(tmp_path / "no.png", "no such file")
    (tmp_path / "folder.png").mkdir()
    said(tmp_path / "folder.png", "folder")
    (tmp_path / "a.jpg").write_bytes(b"x")
    said(tmp_path / "a.jpg", "no reader for .jpg", ".tif", "manifest")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "1"])
def test_png_that_is_not_gray_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 4)).save(tmp_path / "a.png")
    error = said(tmp_path / "a.png", "PNG")
    assert isinstance(error, UnsupportedFrameError)
    if mode != "1":
        assert "is processed, not raw" in str(error)


def test_tiff_that_is_not_gray_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 5, 3), "uint8"), photometric="rgb")
    said(tmp_path / "a.tif", "colour TIFF")
    tifffile.imwrite(tmp_path / "b.tif", RAMP, photometric="miniswhite")
    said(tmp_path / "b.tif", "white to black")
    palette = np.zeros((3, 256), "uint16")
    options: Any = {"photometric": "palette", "colormap": palette}
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 5), "uint8"), **options)
    said(tmp_path / "c.tif", "colour TIFF")


def test_tiff_pages_of_different_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RAMP, photometric="minisblack")
        writer.write(RAMP[:10], photometric="minisblack")
    with pytest.raises(PhotonbitsError, match=r"shape \(10, 50\).*\(40, 50\)"):
        read_frame(FrameReference(tmp_path / "a.tif", 1))


def test_tiff_compression_without_decoder_names_the_extra(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", RAMP)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    entry = struct.pack("<HHI", 259, 3, 1) + struct.pack("<I", 1)
    place = data.index(entry)
    data[place : place + 12] = struct.pack("<HHI", 259, 3, 1) + struct.pack("<I", 34927)  # WebP
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(PhotonbitsError) as caught:
        read_frame(FrameReference(tmp_path / "a.tif"))
    assert "a.tif" in str(caught.value)
    if not _has_imagecodecs():
        assert "photonbits[imagecodecs]" in str(caught.value)


def _has_imagecodecs() -> bool:
    from importlib.util import find_spec

    return find_spec("imagecodecs") is not None


@pytest.mark.parametrize("name", ["a.tif", "a.fits", "a.npy", "a.npz"])
def test_nan_and_infinity_are_counted_and_placed(tmp_path: Path, name: str) -> None:
    array = RAMP.astype("float32")
    array[7, 31] = np.nan
    array[30, 2] = np.inf
    WRITERS[name](tmp_path / name, array)
    said(tmp_path / name, "2 pixel(s)", "row 7, column 31")


def test_fits_blank_pixels_are_refused(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.array([[1, 2], [-5, 4]], dtype="int16"))
    hdu.header["BLANK"] = -5
    hdu.writeto(tmp_path / "a.fits")
    said(tmp_path / "a.fits", "1 pixel(s)", "row 1, column 0")


def test_fits_without_image_and_with_four_axes(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "a.fits")
    said(tmp_path / "a.fits", "no image")
    fits.PrimaryHDU(np.zeros((2, 2, 3, 4), "int16")).writeto(tmp_path / "b.fits")
    said(tmp_path / "b.fits", "4 dimension(s)")


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (np.zeros(5, "uint16"), "1 dimension"),
        (np.zeros((0, 4, 5), "uint16"), "empty"),
        (np.zeros((4, 5), bool), "type bool"),
        (np.zeros((4, 5), complex), "type complex128"),
        (np.array([["a"]]), "type"),
        (np.array([[None]], dtype=object), "type object"),
    ],
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_arrays_that_are_no_frames(tmp_path: Path, name: str, array: np.ndarray[Any, Any], word: str) -> None:
    WRITERS[name](tmp_path / name, array)
    said(tmp_path / name, word)


def test_npz_needs_a_key_that_exists(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", dark=RAMP, flat=RAMP)
    said(tmp_path / "a.npz", "2 arrays", "dark, flat", "key")
    said(tmp_path / "a.npz", "no array 'bias'", "dark, flat", key="bias")


def test_index_outside_the_stack(tmp_path: Path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name, RAMP)
        for index in (1, -1):
            with pytest.raises(PhotonbitsError, match="0 to 0"):
                read_frame(FrameReference(tmp_path / name, index))


def test_headerless_layout_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    layout: dict[str, Any] = {"dtype": "uint16", "shape": (10, 7)}
    error = said(path, "1000 bytes", "140 bytes a frame", "980 bytes for 7", **layout)
    assert "offset_bytes" in str(error)
    said(path, "1000 bytes", "2000 bytes of offset", **{**layout, "offset_bytes": 2000})
    said(path, "dtype", **{**layout, "dtype": "uint17"})
    said(path, "shape", dtype="uint16")
    said(path, "dtype", shape=(10, 7))
    said(path, "byte_order", **{**layout, "byte_order": "middle"})
    said(path, "empty", **{**layout, "shape": (0, 7)})
