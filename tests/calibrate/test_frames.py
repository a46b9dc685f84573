"""Frames come out of every format exactly as they went in."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calibrate.captures import FrameReference
from calibrate.frames import describe_file, iterate_frames, list_readers, read_frame

SHAPE = (5, 7)


def codes(n_frames: int | None = None, dtype: str = "uint16") -> np.ndarray[Any, Any]:
    """Codes that use the whole range of the type, the same each time."""
    shape = SHAPE if n_frames is None else (n_frames, *SHAPE)
    info = np.iinfo(dtype)
    rng = np.random.default_rng(3)
    array = rng.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)
    array.flat[0], array.flat[-1] = info.min, info.max
    return array


def write_png(path: Path, array: np.ndarray[Any, Any]) -> None:
    Image.fromarray(array).save(path)


def write_fits(path: Path, array: np.ndarray[Any, Any], **header: object) -> None:
    hdu = fits.PrimaryHDU(array)
    hdu.header.update(header)
    hdu.writeto(path)


def write_tiff(path: Path, array: np.ndarray[Any, Any], **options: Any) -> None:
    tifffile.imwrite(path, array, photometric="minisblack", **options)


WRITERS = {
    "a.tif": write_tiff,
    "a.TIFF": write_tiff,
    "a.fits": write_fits,
    "a.fit": write_fits,
    "a.fits.gz": write_fits,
    "a.npy": np.save,
    "a.npz": lambda path, array: np.savez_compressed(path, frames=array),
}


@pytest.mark.parametrize("name", [*WRITERS, "a.png"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_one_frame_returns_unchanged(tmp_path: Path, name: str, dtype: str) -> None:
    array = codes(dtype=dtype)
    (WRITERS | {"a.png": write_png})[name](tmp_path / name, array)
    info = describe_file(tmp_path / name)
    frame = read_frame(FrameReference(tmp_path / name))
    np.testing.assert_array_equal(frame, array)
    assert frame.dtype == np.dtype(dtype) and frame.dtype.isnative and frame.flags.c_contiguous
    assert (info.n_frames, info.shape, info.dtype) == (1, SHAPE, dtype)
    assert info.bit_depth_hint == (8 if dtype == "uint8" else None)


@pytest.mark.parametrize("name", WRITERS)
def test_each_frame_of_a_stack_is_found_in_any_order(tmp_path: Path, name: str) -> None:
    stack = codes(4)
    WRITERS[name](tmp_path / name, stack)
    assert describe_file(tmp_path / name).n_frames == 4
    order = [2, 0, 3, 3, 1]
    references = [FrameReference(tmp_path / name, index) for index in order]
    for frame, index in zip(iterate_frames(references), order, strict=True):
        np.testing.assert_array_equal(frame, stack[index])
    np.testing.assert_array_equal(read_frame(references[0]), stack[2])


@pytest.mark.parametrize("dtype", ["int16", "uint32", "int32", "uint8", "int8"])
@pytest.mark.parametrize("name", ["a.tif", "a.fits", "a.npy"])
def test_other_integer_types_keep_type_and_values(tmp_path: Path, name: str, dtype: str) -> None:
    array = codes(dtype=dtype)
    WRITERS[name](tmp_path / name, array)
    frame = read_frame(FrameReference(tmp_path / name))
    np.testing.assert_array_equal(frame, array)
    assert frame.dtype == np.dtype(dtype)
    assert describe_file(tmp_path / name).dtype == dtype


@pytest.mark.parametrize("name", ["a.tif", "a.fits", "a.npy", "a.npz"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_are_allowed_when_finite(tmp_path: Path, name: str, dtype: str) -> None:
    array = np.linspace(-1, 1, 35).reshape(SHAPE).astype(dtype)
    WRITERS[name](tmp_path / name, array)
    frame = read_frame(FrameReference(tmp_path / name))
    np.testing.assert_array_equal(frame, array)
    assert frame.dtype == np.dtype(dtype) and frame.dtype.isnative


def test_big_endian_files_come_out_native(tmp_path: Path) -> None:
    array = codes()
    write_tiff(tmp_path / "a.tif", array, byteorder=">")
    np.save(tmp_path / "a.npy", array.astype(">u2"))
    for name in ("a.tif", "a.npy"):
        frame = read_frame(FrameReference(tmp_path / name))
        np.testing.assert_array_equal(frame, array)
        assert frame.dtype.isnative


@pytest.mark.parametrize("options", [{"compression": "zlib"}, {"imagej": True}, {"rowsperstrip": 2}])
def test_tiff_dialects(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = codes(3)
    write_tiff(tmp_path / "a.tif", stack, **options)
    got = [read_frame(FrameReference(tmp_path / "a.tif", index)) for index in range(3)]
    np.testing.assert_array_equal(got, stack)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_stack_behind_a_single_page(tmp_path: Path, byteorder: Any) -> None:
    # As ImageJ and tifffile write stacks above 4 GB: one directory, then bare planes.
    stack = codes(3)
    options: dict[str, Any] = {"truncate": True, "metadata": {"axes": "QYX"}, "byteorder": byteorder}
    write_tiff(tmp_path / "a.tif", stack, **options)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 1
    assert describe_file(tmp_path / "a.tif").n_frames == 3
    got = [read_frame(FrameReference(tmp_path / "a.tif", index)) for index in range(3)]
    np.testing.assert_array_equal(got, stack)


def test_tiff_metadata_and_exif_exposure(tmp_path: Path) -> None:
    tags = [(271, 2, 0, "Maker", True), (272, 2, 0, "Cam 5", True), (33434, 5, 1, (1, 125), True)]
    write_tiff(tmp_path / "a.tif", codes(), extratags=tags)
    assert describe_file(tmp_path / "a.tif").header == {
        "make": "Maker",
        "model": "Cam 5",
        "exposure_s": 1 / 125,
    }


def test_fits_extension_cube_and_header(tmp_path: Path) -> None:
    cube = codes(3)
    image = fits.ImageHDU(cube)
    image.header["EXPTIME"] = 0.25
    primary = fits.PrimaryHDU()
    primary.header["IMAGETYP"] = "Dark Frame"
    primary.header["CCD-TEMP"] = -10.0
    primary.header["GAIN"] = 120
    primary.header["INSTRUME"] = "Cam"
    primary.header["BAYERPAT"] = "RGGB"
    fits.HDUList([primary, image, fits.ImageHDU(cube[0])]).writeto(tmp_path / "a.fits")
    info = describe_file(tmp_path / "a.fits")
    assert (info.n_frames, info.dtype) == (3, "uint16")
    assert info.header == {
        "kind": "dark",
        "exposure_s": 0.25,
        "temperature_c": -10.0,
        "gain_setting": 120,
        "model": "Cam",
        "cfa": "RGGB",
        "other_images": 1,
    }
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "a.fits", 2)), cube[2])


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"EXPTIME": 2.0, "EXPOSURE": 9.0}, 2.0),
        ({"EXPOSURE": (0.5, "[s] exposure")}, 0.5),
        ({"EXPOSURE": (500.0, "exposure in ms")}, None),
        ({"EXPTIME": "0.125"}, 0.125),
        ({"EXPTIME": "long"}, None),
        ({"EXPTIME": -1.0}, None),
    ],
)
def test_fits_exposure_is_never_guessed(tmp_path: Path, cards: dict[str, object], expected: float | None) -> None:
    write_fits(tmp_path / "a.fits", codes(), **cards)
    assert describe_file(tmp_path / "a.fits").header.get("exposure_s") == expected


def test_fits_gain_in_electrons_per_dn_is_no_camera_setting(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", codes(), GAIN=(1.9, "e-/ADU"))
    assert describe_file(tmp_path / "a.fits").header == {"gain_header_e_per_dn": 1.9}


def test_fits_blank_card_without_blank_pixels_stays_integer(tmp_path: Path) -> None:
    array = np.arange(35, dtype="int16").reshape(SHAPE)
    write_fits(tmp_path / "a.fits", array, BLANK=-32768)
    frame = read_frame(FrameReference(tmp_path / "a.fits"))
    np.testing.assert_array_equal(frame, array)
    assert frame.dtype == np.int16


def test_fits_without_last_padding_is_read(tmp_path: Path) -> None:
    array = codes()
    write_fits(tmp_path / "a.fits", array)
    data = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(data[: 2880 + array.nbytes])
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "b.fits")), array)


def test_fits_nonstandard_header_leaks_no_warning(tmp_path: Path) -> None:
    array = codes()
    write_fits(tmp_path / "a.fits", array, REMARK="x")
    data = bytearray((tmp_path / "a.fits").read_bytes())
    place = data.index(b"REMARK  =")
    data[place : place + 9] = b"rem ark ="
    (tmp_path / "a.fits").write_bytes(data)
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "a.fits")), array)


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_png_significant_bits_are_the_hint(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", codes() >> 4)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:33] + png_chunk(b"sBIT", b"\x0c") + data[33:])
    info = describe_file(tmp_path / "a.png")
    assert (info.dtype, info.bit_depth_hint) == ("uint16", 12)
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "a.png")), codes() >> 4)


@pytest.mark.parametrize("n_frames", [None, 3])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_column_ordered_arrays(tmp_path: Path, name: str, n_frames: int | None) -> None:
    array = np.asfortranarray(codes(n_frames))
    WRITERS[name](tmp_path / name, array)
    last = (n_frames or 1) - 1
    frame = read_frame(FrameReference(tmp_path / name, last))
    np.testing.assert_array_equal(frame, array if n_frames is None else array[last])
    assert frame.flags.c_contiguous


def test_npz_key_chooses_the_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"one": codes(2), "set/two": codes(3)[::-1]})
    info = describe_file(tmp_path / "a.npz", key="set/two")
    assert info.n_frames == 3
    frame = read_frame(FrameReference(tmp_path / "a.npz", 0, key="set/two"))
    np.testing.assert_array_equal(frame, codes(3)[2])


@given(
    byte_order=st.sampled_from(["little", "big", None]),
    offset=st.integers(0, 40),
    n_frames=st.integers(1, 4),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32"]),
)
def test_headerless_layouts(
    tmp_path_factory: pytest.TempPathFactory, byte_order: Any, offset: int, n_frames: int, dtype: str
) -> None:
    path = tmp_path_factory.mktemp("raw") / "a.raw"
    stack = np.arange(n_frames * 35).reshape(n_frames, *SHAPE).astype(dtype)
    stored = stack.astype(stack.dtype.newbyteorder(">" if byte_order == "big" else "<"))
    path.write_bytes(b"\x55" * offset + stored.tobytes())
    layout: Any = {"dtype": dtype, "shape": SHAPE, "byte_order": byte_order, "offset_bytes": offset}
    assert describe_file(path, **layout).n_frames == n_frames
    for index in range(n_frames):
        frame = read_frame(FrameReference(path, index, **layout))
        np.testing.assert_array_equal(frame, stack[index])
        assert frame.dtype.isnative


def test_headerless_byte_order_in_the_type_is_respected(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(codes().astype(">u2").tobytes())
    frame = read_frame(FrameReference(tmp_path / "a.raw", dtype=">u2", shape=SHAPE))
    np.testing.assert_array_equal(frame, codes())


def test_every_reader_is_listed() -> None:
    suffixes = [suffix for group in list_readers().values() for suffix in group]
    assert len(set(suffixes)) == len(suffixes)
    assert {".tif", ".tiff", ".fits", ".fit", ".fts", ".fits.gz", ".png", ".npy", ".npz"} <= set(suffixes)
    assert "headerless" in list_readers()


def test_files_can_be_deleted_after_reading(tmp_path: Path) -> None:
    # On Windows an open handle or a memory map forbids it; here the leak shows as a ResourceWarning.
    for name, write in WRITERS.items():
        write(tmp_path / name, codes(2))
        frame = read_frame(FrameReference(tmp_path / name, 1))
        (tmp_path / name).unlink()
        assert frame.sum() == codes(2)[1].sum()


def test_gzip_fits_is_recognised_by_its_double_suffix(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", codes())
    (tmp_path / "b.FITS.GZ").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    np.testing.assert_array_equal(read_frame(FrameReference(tmp_path / "b.FITS.GZ")), codes())


def test_real_frames(realdata: Path) -> None:
    image = sorted((realdata / "emva1288_set001_ccd12" / "images").glob("b_040*.png"))[0]
    frame = read_frame(FrameReference(image))
    assert frame.shape == (480, 640) and frame.dtype == np.uint16 and frame.max() == 4095
    stack = realdata / "trackpy_stuck_stack" / "stuck.tif"
    assert describe_file(stack).n_frames == 5
    means = [float(frame.mean()) for frame in iterate_frames(FrameReference(stack, i) for i in range(5))]
    assert means[0] == pytest.approx(498.7, abs=0.1) and means[-1] == pytest.approx(502.1, abs=0.1)
    ccd = realdata / "ccd_single_frames" / "saao_ste3_a8280271.fits"
    info = describe_file(ccd)
    assert (info.shape, info.dtype, info.header["exposure_s"]) == ((520, 536), "uint16", 150.04)
    assert info.header["kind"] == "scene" and info.header["gain_header_e_per_dn"] == 1.9
    assert "temperature_c" not in info.header  # 180.2: kelvin, whatever the keyword says
    assert np.median(read_frame(FrameReference(ccd))[:, 4:13]) == pytest.approx(214, abs=1)
    raw = realdata / "nikon_bayer_mushfiqulalam" / "DSC_1339_768x512_rggb.raw"
    mosaic = read_frame(FrameReference(raw, dtype="uint16", shape=(512, 768)))
    assert (mosaic.min(), mosaic.max()) == (616, 16383)
    archive = realdata / "emccd_lanl_fatmac78" / "emccd_all.npz"
    with np.load(archive) as arrays:
        key = next(name for name in arrays.files if arrays[name].ndim == 3)
        expected = arrays[key][4999]
    np.testing.assert_array_equal(read_frame(FrameReference(archive, 4999, key=key)), expected)
