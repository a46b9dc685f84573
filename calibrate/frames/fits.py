"""FITS: the primary image or the first image extension; a cube is a stack of planes.

FITS standard 4.0 (2018), section 5.2.5: BZERO = 32768 with BITPIX = 16 is how unsigned codes are stored, and
they come out as uint16.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from calibrate.frames.base import (
    Frame,
    FrameInfo,
    UnsupportedFrameError,
    check_dtype,
    check_stack_shape,
    damaged,
)
from calibrate.frames.fits_header import fits_metadata, stated_bit_depth

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference

# Warning filters belong to the whole process; two threads that change them at once would leave them changed.
_FILTERS = threading.RLock()


@contextmanager
def _no_warnings() -> Iterator[None]:
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _plane_dtype(header: Any) -> np.dtype[Any]:
    """Type that astropy returns for these header values."""
    bits = int(header["BITPIX"])
    if bits < 0:
        return np.dtype(f"f{-bits // 8}")
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    if scale == 1 and zero == 0:
        return np.dtype("u1") if bits == 8 else np.dtype(f"i{bits // 8}")
    if scale == 1 and bits == 8 and zero == -128:
        return np.dtype("i1")
    if scale == 1 and bits > 8 and zero == 2 ** (bits - 1):
        return np.dtype(f"u{bits // 8}")
    return np.dtype("f4") if bits <= 16 else np.dtype("f8")


class FitsFrames:
    """One FITS file, held open."""

    def __init__(self, reference: FrameReference) -> None:
        from astropy.io import fits

        self._path = reference.path
        self._file = self._path.open("rb")
        try:
            with _no_warnings():
                # No memory map: it would keep the file locked on Windows as long as any frame lives.
                self._hdus = fits.open(self._file, memmap=False)
                images = [hdu for hdu in self._hdus if hdu.is_image and hdu.header.get("NAXIS", 0) > 0]
                self.info = self._describe(images)
        except BaseException:
            self._file.close()
            raise

    def _describe(self, images: list[Any]) -> FrameInfo:
        if not images:
            raise UnsupportedFrameError(
                "the FITS file holds no image",
                where=self._path,
                legal="an image in the primary HDU or in an extension",
                remedy="Export the raw frame as a FITS image",
            )
        self._image = images[0]
        header = self._image.header
        if len(self._image.shape) == 0:
            raise damaged(self._path, "FITS", "the image has no size")
        n_frames, height, width = check_stack_shape(tuple(self._image.shape), self._path, "the FITS image")
        self._check_size(n_frames * height * width * abs(int(header["BITPIX"])) // 8)
        metadata = fits_metadata(self._hdus[0].header)
        if self._image is not self._hdus[0]:
            metadata |= fits_metadata(header)
        if len(images) > 1:
            metadata["other_images"] = len(images) - 1
        dtype = _plane_dtype(header)
        hint = stated_bit_depth(self._hdus[0].header) or (8 if dtype == np.uint8 else None)
        return FrameInfo(self._path, n_frames, (height, width), check_dtype(dtype, self._path), hint, metadata)

    def _check_size(self, data_bytes: int) -> None:
        """Refuse a file cut short inside the data; a missing last padding block does no harm."""
        place = self._image.fileinfo()
        compressed = self._path.suffix.lower() == ".gz" or type(self._image).__name__ == "CompImageHDU"
        if compressed or place is None:
            return  # compressed data break by themselves when they end too early
        expected, found = place["datLoc"] + data_bytes, self._path.stat().st_size
        if found < expected:
            raise damaged(self._path, "FITS", f"cut short: {expected} bytes expected, {found} found")

    def read(self, index: int) -> Frame:
        """Plane `index`, unsigned codes as unsigned."""
        with _no_warnings():
            section = self._image.section
            plane: Frame = section[:, :] if len(self._image.shape) == 2 else section[index]
        wanted = np.dtype(self.info.dtype)
        if wanted.kind != "f" and plane.dtype.kind == "f":
            # A BLANK card makes astropy return real numbers, NaN at blank pixels; without any, codes stand.
            return plane.astype(wanted) if np.isfinite(plane).all() else plane
        return plane

    def close(self) -> None:
        """Close the file."""
        with _no_warnings():
            self._hdus.close()
        self._file.close()


def open_frames(reference: FrameReference) -> FitsFrames:
    """Open a FITS file."""
    return FitsFrames(reference)
