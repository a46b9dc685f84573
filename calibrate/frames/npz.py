"""One array of an NPZ archive, streamed: a compressed stack is never held in memory as a whole."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING
from zipfile import ZipFile

import numpy as np

from calibrate.frames.base import Frame, UnsupportedFrameError, damaged
from calibrate.frames.npy import info_of_array, read_array_header

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference

_CHUNK_BYTES = 1 << 20


def _choose_key(keys: list[str], reference: FrameReference) -> str:
    listing = ", ".join(keys[:20]) + (f" and {len(keys) - 20} more" if len(keys) > 20 else "")
    if reference.key is not None:
        if reference.key not in keys:
            raise UnsupportedFrameError(
                f"no array {reference.key!r}", where=reference.path, legal=listing, remedy="Check the key"
            )
        return reference.key
    if len(keys) != 1:
        raise UnsupportedFrameError(
            f"the archive holds {len(keys)} arrays and no key says which one",
            where=reference.path,
            legal=listing or "an archive with at least one array",
            remedy="Write a manifest whose entry carries key",
        )
    return keys[0]


class NpzFrames:
    """One array of an NPZ file, read forwards; going back reopens the stream."""

    def __init__(self, reference: FrameReference) -> None:
        self._path = reference.path
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._zip = ZipFile(reference.path)
        try:
            keys = [name[:-4] for name in self._zip.namelist() if name.endswith(".npy")]
            self._member = _choose_key(keys, reference) + ".npy"
            with self._zip.open(self._member) as stream:
                shape, self._fortran, self._dtype = read_array_header(stream, self._path)
            self._shape = shape
            self.info = info_of_array(shape, self._dtype, self._path)
        except BaseException:
            self._zip.close()
            raise

    def _take(self, n_bytes: int) -> bytes:
        if self._stream is None:
            raise RuntimeError("the stream is not open")
        parts: list[bytes] = []
        while n_bytes > 0:
            part = self._stream.read(min(n_bytes, _CHUNK_BYTES))
            if not part:
                raise damaged(self._path, "NPZ", f"array {self._member[:-4]!r} is cut short")
            parts.append(part)
            n_bytes -= len(part)
        return b"".join(parts)

    def _rewind(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._stream = self._zip.open(self._member)
        self._next = 0
        read_array_header(self._stream, self._path)

    def read(self, index: int) -> Frame:
        """Plane `index` of the array."""
        height, width = self.info.shape
        n_bytes = height * width * self._dtype.itemsize
        if self._fortran:
            self._rewind()
            flat = np.frombuffer(self._take(n_bytes * self.info.n_frames), dtype=self._dtype)
            stack = flat.reshape(self._shape, order="F")
            return stack[index].copy() if len(self._shape) == 3 else stack
        if self._stream is None or index < self._next:
            self._rewind()
        while self._next < index:
            self._take(n_bytes)
            self._next += 1
        data = self._take(n_bytes)
        self._next += 1
        if self._next == self.info.n_frames and self._stream is not None:
            self._stream.read(1)  # at the end of the member the archive's checksum is compared
        return np.frombuffer(data, dtype=self._dtype).reshape(height, width)

    def close(self) -> None:
        """Close the archive."""
        if self._stream is not None:
            self._stream.close()
        self._zip.close()


def open_frames(reference: FrameReference) -> NpzFrames:
    """Open one array of an NPZ file."""
    return NpzFrames(reference)
