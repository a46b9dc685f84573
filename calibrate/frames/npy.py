"""NPY arrays: one frame (h, w) or a stack (n, h, w), read one plane at a time."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from calibrate.frames.base import (
    Frame,
    FrameInfo,
    UnsupportedFrameError,
    check_dtype,
    check_stack_shape,
    damaged,
)

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference


def read_array_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return (shape, is_fortran_order, dtype) of the NPY stream that `file` stands at the start of."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file)
    else:  # 3.0 exists for the sake of field names, and frames have none
        raise UnsupportedFrameError(
            f"NPY version {version[0]}.{version[1]} (structured array)",
            where=path,
            legal="a plain array of integers or real numbers",
            remedy="Save the plain array with numpy.save",
        )
    shape, fortran, dtype = header
    return tuple(shape), bool(fortran), dtype


def info_of_array(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> FrameInfo:
    """Describe a (h, w) or (n, h, w) array."""
    name = check_dtype(dtype, path)
    n_frames, height, width = check_stack_shape(shape, path, "the array")
    return FrameInfo(path, n_frames, (height, width), name, 8 if name == "uint8" else None)


class NpyFrames:
    """One NPY file. No memory map is kept: on Windows a mapped file can be neither moved nor deleted."""

    def __init__(self, reference: FrameReference) -> None:
        self._path = reference.path
        with self._path.open("rb") as file:
            self._shape, self._fortran, self._dtype = read_array_header(file, self._path)
            self._start = file.tell()
        self.info = info_of_array(self._shape, self._dtype, self._path)
        expected = self._start + int(np.prod(self._shape, dtype=np.int64)) * self._dtype.itemsize
        found = self._path.stat().st_size
        if found < expected:
            raise damaged(self._path, "NPY", f"cut short: {expected} bytes expected, {found} found")

    def read(self, index: int) -> Frame:
        """Plane `index`."""
        height, width = self.info.shape
        with self._path.open("rb") as file:
            file.seek(self._start)
            if self._fortran:  # planes are interleaved: there is no way round reading all of them
                flat = np.fromfile(file, dtype=self._dtype, count=int(np.prod(self._shape)))
                stack = flat.reshape(self._shape, order="F")
                return stack[index].copy() if len(self._shape) == 3 else stack
            file.seek(index * height * width * self._dtype.itemsize, 1)
            return np.fromfile(file, dtype=self._dtype, count=height * width).reshape(height, width)

    def close(self) -> None:
        """Nothing is held open."""


def open_frames(reference: FrameReference) -> NpyFrames:
    """Open an NPY file."""
    return NpyFrames(reference)
