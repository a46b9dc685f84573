"""Headerless binary: frames of a known type and shape, one after the other, from a known offset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.frames.base import Frame, FrameInfo, check_dtype, check_stack_shape
from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference


def pixel_type(reference: FrameReference) -> np.dtype[Any]:
    """Return the numpy type with its byte order; little-endian where nothing is said."""
    try:
        dtype = np.dtype(reference.dtype)
    except (TypeError, ValueError) as error:
        raise PhotonbitsError(
            f"unknown dtype {reference.dtype!r}",
            where=reference.path,
            legal="uint8, uint16, int16, uint32, float32 ...",
            remedy="Correct dtype in the manifest",
        ) from error
    check_dtype(dtype, reference.path)
    if reference.byte_order is None:
        stated = str(reference.dtype)[:1] in "<>"
        return dtype if stated else dtype.newbyteorder("<")
    if reference.byte_order not in ("little", "big"):
        raise PhotonbitsError(
            f"byte_order is {reference.byte_order!r}",
            where=reference.path,
            legal="little or big",
            remedy="Correct byte_order in the manifest",
        )
    return dtype.newbyteorder("<" if reference.byte_order == "little" else ">")


class HeaderlessFrames:
    """A file of bare pixels."""

    def __init__(self, reference: FrameReference) -> None:
        self._path = reference.path
        if reference.dtype is None or reference.shape is None:
            missing = "dtype" if reference.dtype is None else "shape"
            raise PhotonbitsError(
                f"{missing} of the headerless file is not said",
                where=self._path,
                legal="both dtype and shape [height, width]",
                remedy=f"Add {missing} to the manifest entry",
            )
        self._dtype = pixel_type(reference)
        if len(reference.shape) != 2:
            raise PhotonbitsError(
                f"shape is {list(reference.shape)}",
                where=self._path,
                legal="[height, width]; the number of frames follows from the file's size",
                remedy="Correct shape in the manifest",
            )
        _, height, width = check_stack_shape(reference.shape, self._path, "shape")
        self._start = reference.offset_bytes
        size = self._path.stat().st_size
        frame_bytes = height * width * self._dtype.itemsize
        n_frames, rest = divmod(size - self._start, frame_bytes)
        if self._start < 0 or n_frames < 1 or rest:
            nearest = self._start + max(n_frames, 1) * frame_bytes
            raise PhotonbitsError(
                f"the file has {size} bytes, not a whole number of frames: {self._start} bytes of offset and "
                f"{frame_bytes} bytes a frame ({height} x {width} of {self._dtype.itemsize} bytes) make "
                f"{nearest} bytes for {max(n_frames, 1)} frame(s)",
                where=self._path,
                legal=f"offset_bytes + n x {frame_bytes} bytes",
                remedy="Correct dtype, shape or offset_bytes in the manifest, or copy the file again",
            )
        self._frame_bytes = frame_bytes
        name = check_dtype(self._dtype, self._path)
        hint = 8 if name == "uint8" else None
        self.info = FrameInfo(self._path, n_frames, (height, width), name, hint)

    def read(self, index: int) -> Frame:
        """Frame `index`."""
        height, width = self.info.shape
        with self._path.open("rb") as file:
            file.seek(self._start + index * self._frame_bytes)
            return np.fromfile(file, dtype=self._dtype, count=height * width).reshape(height, width)

    def close(self) -> None:
        """Nothing is held open."""


def open_frames(reference: FrameReference) -> HeaderlessFrames:
    """Open a headerless binary file."""
    return HeaderlessFrames(reference)
