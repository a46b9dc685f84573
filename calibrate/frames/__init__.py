"""Frames from files: one reader per format behind one registry.

A frame comes out as the file stores it: a (height, width) array of integer codes in native byte order (or
of finite real numbers), never scaled, gamma-corrected or converted. Whatever is wrong with a file comes out
as one `PhotonbitsError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from calibrate.frames.base import Frame, FrameInfo, UnsupportedFrameError, shift_right
from calibrate.frames.registry import READERS, camera_raw_error, opened, reader_by_suffix, stem_of
from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference

__all__ = [
    "FrameInfo",
    "UnsupportedFrameError",
    "camera_raw_error",
    "describe_file",
    "iterate_frames",
    "list_readers",
    "read_frame",
    "reader_by_suffix",
    "shift_right",
    "stem_of",
]


def describe_file(
    path: str | Path,
    *,
    dtype: str | None = None,
    shape: tuple[int, int] | None = None,
    byte_order: Literal["little", "big"] | None = None,
    offset_bytes: int = 0,
    key: str | None = None,
) -> FrameInfo:
    """Return what a file holds, from its headers alone: no pixel is decoded.

    Parameters
    ----------
    path : str or Path
    dtype, shape, byte_order, offset_bytes
        Layout of a headerless binary file; `byte_order` is little-endian unless said otherwise here or in
        `dtype` (``">u2"``).
    key : str, optional
        Array in an ``.npz`` file; needed when there are several.

    Raises
    ------
    PhotonbitsError
        The file is missing, empty, damaged, cut short, or no raw frame (`UnsupportedFrameError`).
    """
    from calibrate.captures.capture_set import FrameReference

    reference = FrameReference(
        path=Path(path),
        dtype=dtype,
        shape=shape,
        byte_order=byte_order,
        offset_bytes=offset_bytes,
        key=key,
    )
    with opened(reference) as frames:
        return frames.info


def read_frame(reference: FrameReference) -> Frame:
    """Return one frame, or its section, shape (height, width), codes in DN (shifted as meant), native byte order.

    Raises
    ------
    PhotonbitsError
        As `describe_file`; also an index outside the stack, NaN or infinite pixels, and low bits that are not empty.
    """
    with opened(reference) as frames:
        return _as_meant(frames.read(reference.index), reference)


def iterate_frames(references: Iterable[FrameReference]) -> Iterator[Frame]:
    """Yield the frames (of references with a section, that section) in order, one in memory at a time.

    References to one file that follow each other share one open file: a stack of n pages is walked once,
    not n times.
    """
    from dataclasses import replace
    from itertools import groupby

    for source, group in groupby(references, key=lambda reference: replace(reference, index=0)):
        with opened(source) as frames:
            for reference in group:
                yield _as_meant(frames.read(reference.index), reference)


def _as_meant(frame: Frame, reference: FrameReference) -> Frame:
    part = _section_of(frame, reference)
    return shift_right(part, reference.shift_bits, reference.path) if reference.shift_bits else part


def _section_of(frame: Frame, reference: FrameReference) -> Frame:
    """The rows and columns that are meant, in an array of their own: sums run over neighbours in memory."""
    if reference.section is None:
        return frame
    import numpy as np

    part = frame[reference.section.index]
    if part.size == 0:
        raise PhotonbitsError(
            f"the section of rows {reference.section.rows} and columns {reference.section.columns} has no pixel",
            where=reference.path,
            legal=f"rows and columns of a frame of {frame.shape[0]} x {frame.shape[1]}",
            remedy="Correct the channels",
        )
    return np.ascontiguousarray(part)


def list_readers() -> dict[str, tuple[str, ...]]:
    """Return the formats that can be read: name to file suffixes.

    Examples
    --------
    >>> list_readers()["TIFF"]
    ('.tif', '.tiff', '.dng')
    """
    return {reader.name: reader.suffixes for reader in READERS}
