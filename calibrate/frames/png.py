"""Gray PNG, 8 or 16 bit.

The chunks are walked here, by lengths alone, so that a description decodes no pixel, a file cut short is
noticed at once, and ``sBIT`` is known, which Pillow does not hand out. PNG specification, second edition
(ISO/IEC 15948:2004), clauses 5 and 11.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibrate.frames.base import Frame, FrameInfo, UnsupportedFrameError, check_stack_shape, damaged

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {2: "colour (RGB)", 3: "palette", 4: "gray with transparency", 6: "colour (RGBA)"}


def _describe(path: Path) -> FrameInfo:
    significant: int | None = None
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(8) != _SIGNATURE:
            raise damaged(path, "PNG", "the first bytes are not a PNG signature")
        position = 8
        header: tuple[int, ...] | None = None
        while True:
            start = file.read(8)
            if len(start) < 8:
                raise damaged(path, "PNG", f"cut short after {size} bytes")
            length, name = struct.unpack(">I4s", start)
            if position + 12 + length > size:
                raise damaged(path, "PNG", f"cut short after {size} bytes")
            if name in (b"IHDR", b"sBIT"):
                data = file.read(length)
                if name == b"IHDR":
                    header = struct.unpack(">IIBBBBB", data)
                elif data:
                    significant = data[0]
            elif name == b"acTL":
                raise UnsupportedFrameError(
                    "animated PNG",
                    where=path,
                    legal="one gray frame",
                    remedy="Export the frames as a TIFF stack",
                )
            elif name == b"IEND":
                break
            position += 12 + length
            file.seek(position)
    if header is None:
        raise damaged(path, "PNG", "no image header")
    width, height, bits, colour_type = header[:4]
    if colour_type != 0:
        raise UnsupportedFrameError(
            f"{_COLOUR_TYPES.get(colour_type, 'colour')} PNG is processed, not raw",
            where=path,
            legal="gray PNG of 8 or 16 bit",
            remedy="Export the raw codes of the sensor, a Bayer mosaic as one gray frame",
        )
    if bits not in (8, 16):
        raise UnsupportedFrameError(
            f"gray PNG of {bits} bit",
            where=path,
            legal="gray PNG of 8 or 16 bit",
            remedy="Export the raw codes with 8 or 16 bit",
        )
    _, height, width = check_stack_shape((height, width), path, "the PNG")
    # Deflate reaches 1032 to 1 and no more: a larger image is a damaged header, not a reason to allocate it.
    if height * width * bits // 8 > 1032 * size:
        raise damaged(path, "PNG", f"{height} x {width} pixels in {size} bytes")
    hint = 8 if bits == 8 else None
    if significant is not None and 1 <= significant < bits:
        hint = significant
    return FrameInfo(path, 1, (height, width), f"uint{bits}", hint)


class PngFrames:
    """One gray PNG file."""

    def __init__(self, reference: FrameReference) -> None:
        self._path = reference.path
        self.info = _describe(reference.path)

    def read(self, index: int) -> Frame:
        """Codes of the one frame."""
        from PIL.PngImagePlugin import PngImageFile

        # Not Image.open: that refuses, or warns about, sensors above 89 Mpx.
        with self._path.open("rb") as file:
            image = PngImageFile(file)
            image.load()
            return np.array(image, dtype=self.info.dtype)

    def close(self) -> None:
        """Nothing is held open."""


def open_frames(reference: FrameReference) -> PngFrames:
    """Open a gray PNG."""
    return PngFrames(reference)
