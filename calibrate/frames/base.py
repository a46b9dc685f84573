"""What every frame reader shares: its record, its interface, and the last check of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from calibrate.plumbing.errors import PhotonbitsError

Frame = npt.NDArray[Any]


class UnsupportedFrameError(PhotonbitsError):
    """A sound file whose content is no raw frame: colour, several arrays without a key, wrong dimensions."""


@dataclass(frozen=True)
class FrameInfo:
    """What a file says about its frames without decoding their pixels.

    Parameters
    ----------
    path : Path
    n_frames : int
        Frames (pages, planes) in the file.
    shape : (height, width)
        Pixels of one frame.
    dtype : str
        Name of the numpy type that `read_frame` returns, such as ``"uint16"``.
    bit_depth_hint : int or None
        Significant bits where the format says so (8 for uint8, PNG ``sBIT``, FITS ``BITDEPTH``); None for a
        16-bit container that says nothing.
    header : dict
        Normalised metadata; keys absent where the file is silent: ``kind`` (``"bright"``, ``"dark"``,
        ``"bias"`` or ``"scene"``), ``exposure_s``, ``temperature_c``, ``make``, ``model``, ``gain_setting``
        (the camera's own scale), ``gain_scale`` (``"iso"``), ``mode`` (of read-out), ``gain_header_e_per_dn``,
        ``cfa``, ``serial``, ``binning`` (rows, columns), ``exposed`` (first row, row after the last, first column,
        column after the last: without overscan and masked borders), ``other_images``; of a DNG ``black_level_dn``,
        ``white_level_dn`` (tuples, as stated; nothing is subtracted) and ``companded`` (by a LinearizationTable).
    """

    path: Path
    n_frames: int
    shape: tuple[int, int]
    dtype: str
    bit_depth_hint: int | None = None
    header: dict[str, object] = field(default_factory=dict)


class OpenFrames(Protocol):
    """An open file; frames are decoded one at a time."""

    info: FrameInfo

    def read(self, index: int) -> Frame:
        """Pixels of frame `index`, as stored; the caller checks the index and the values."""

    def close(self) -> None:
        """Give the file back."""


@contextmanager
def one_error(path: Path, format_name: str) -> Iterator[None]:
    """Turn whatever a decoding library raises into one PhotonbitsError that names the file.

    Libraries raise anything on damaged files (struct.error, KeyError, ZeroDivisionError, zlib.error ...),
    hence the broad clause.
    """
    try:
        yield
    except PhotonbitsError:
        raise
    except MemoryError as error:
        raise PhotonbitsError(
            f"a frame of this {format_name} file does not fit into memory",
            where=path,
            legal="frames that fit into memory one at a time",
            remedy="Check that the file is not damaged, or use a machine with more memory",
        ) from error
    except PermissionError as error:
        raise PhotonbitsError(
            f"the {format_name} file cannot be opened: permission denied",
            where=path,
            remedy="Give yourself the right to read it, or close the program that holds it",
        ) from error
    except Exception as error:
        raise damaged(path, format_name, _first_line(error)) from error


def damaged(path: Path, format_name: str, detail: str) -> PhotonbitsError:
    """Error for a file with the right suffix and the wrong content."""
    return PhotonbitsError(
        f"the {format_name} file is damaged or no {format_name} file: {detail}",
        where=path,
        legal=f"a complete {format_name} file",
        remedy="Copy or export the file again, or move it out of the captures",
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]


def check_stack_shape(shape: tuple[int, ...], path: Path, what: str) -> tuple[int, int, int]:
    """Return (n_frames, height, width) of a (h, w) or (n, h, w) array, or refuse it."""
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3:
        raise UnsupportedFrameError(
            f"{what} has {len(shape)} dimension(s), shape {shape}",
            where=path,
            legal="(height, width) or (n_frames, height, width)",
            remedy="Save one gray frame, or a stack of them",
        )
    if min(shape) < 1:
        raise PhotonbitsError(
            f"{what} is empty, shape {shape}",
            where=path,
            legal="at least one frame with one pixel",
            remedy="Record the frame again, or move the file out of the captures",
        )
    return shape[0], shape[1], shape[2]


def check_dtype(dtype: np.dtype[Any], path: Path) -> str:
    """Return the native name of an integer or real dtype, or refuse it."""
    if dtype.kind not in "uif":
        raise UnsupportedFrameError(
            f"pixels are of type {dtype}",
            where=path,
            legal="integer codes (int8 to uint64) or real numbers",
            remedy="Save the raw codes of the camera as integers",
        )
    return str(dtype.newbyteorder("="))


def shift_right(frame: Frame, bits: int, where: object) -> Frame:
    """Codes without their ``bits`` empty low bits: z / 2^bits of left-aligned data.

    Raises
    ------
    PhotonbitsError
        The pixels are real numbers, or the low bits are not empty.
    """
    if not np.issubdtype(frame.dtype, np.integer):
        raise PhotonbitsError(
            f"frames of type {frame.dtype} cannot be shifted by {bits} bits",
            where=where,
            legal="integer codes",
            remedy="Leave --shift-bits out",
        )
    if int(np.bitwise_or.reduce(frame, axis=None)) & (2**bits - 1):
        raise PhotonbitsError(
            f"the lowest {bits} bits of the codes are not empty",
            where=where,
            legal=f"codes that are multiples of {2**bits}",
            remedy="Shift by fewer bits, or not at all",
        )
    return frame >> bits


def checked_frame(frame: Frame, info: FrameInfo, index: int) -> Frame:
    """Return `frame` contiguous and in native byte order, or refuse wrong shapes and non-finite pixels."""
    where = f"{info.path}, frame {index}" if info.n_frames > 1 else str(info.path)
    if frame.shape != info.shape:
        raise PhotonbitsError(
            f"the frame has shape {frame.shape}, the file began with {info.shape}",
            where=where,
            legal="frames of one shape in one file",
            remedy="Split the file by frame size",
        )
    check_dtype(frame.dtype, info.path)
    if frame.dtype.kind == "f":
        bad = ~np.isfinite(frame)
        n_bad = int(bad.sum())
        if n_bad:
            row, column = np.unravel_index(int(bad.argmax()), frame.shape)
            raise PhotonbitsError(
                f"{n_bad} pixel(s) are NaN or infinite, the first at row {row}, column {column}",
                where=where,
                legal="finite values",
                remedy="Save the raw codes without masking or dividing",
            )
    return np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("="))
