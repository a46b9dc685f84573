"""TIFF: one gray page or a stack of them, decoded page by page; of a DNG its raw image.

DNG 1.7 (Adobe, 2023): the raw image has NewSubfileType 0 and PhotometricInterpretation 32803 (colour filters) or 34892
(linear raw), and often lies in a SubIFD behind a thumbnail.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
from calibrate.frames.tiff_header import tiff_metadata
from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference

_MIN_IS_WHITE = 0
_CFA, _LINEAR_RAW = 32803, 34892
_GRAY = (None, _MIN_IS_WHITE, 1, _CFA, _LINEAR_RAW)  # not said, white or black is zero, CFA, linear raw
_DNG_VERSION = 50706  # by number: a search by name goes through all tags


@contextmanager
def _own_log() -> Iterator[list[str]]:
    """Keep what tifffile logs in this thread to ourselves: it reports lost pages there and nowhere else."""
    logger = logging.getLogger("tifffile")
    thread = threading.get_ident()
    messages: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        messages.append(record.getMessage())
        return False

    logger.addFilter(keep)
    try:
        yield messages
    finally:
        logger.removeFilter(keep)


def _refuse_lost_pages(path: Path, messages: list[str]) -> None:
    for message in messages:
        text = message.lower()
        if "page offset" in text or "first page" in text or "corrupt" in text:
            raise damaged(path, "TIFF", message.splitlines()[0][:200])


def _check_page(page: Any, path: Path) -> None:
    photometric = None if page.photometric is None else int(page.photometric)
    if page.samplesperpixel != 1 or photometric not in _GRAY:
        raise UnsupportedFrameError(
            f"colour TIFF ({page.samplesperpixel} samples a pixel) is processed, not raw",
            where=path,
            legal="gray TIFF, one sample a pixel",
            remedy="Export the raw codes of the sensor, a Bayer mosaic as one gray frame; a stack written by "
            "tifffile.imwrite needs photometric='minisblack'",
        )
    if photometric == _MIN_IS_WHITE:
        raise UnsupportedFrameError(
            "the TIFF counts from white to black (WhiteIsZero)",
            where=path,
            legal="gray TIFF with BlackIsZero",
            remedy="Export the codes as the camera gave them",
        )
    if page.dtype is None or len(page.shape) != 2:
        raise UnsupportedFrameError(
            f"a page has shape {tuple(page.shape)} and {page.bitspersample} bits a sample",
            where=path,
            legal="two-dimensional gray pages of integer or real numbers",
            remedy="Export one gray frame a page",
        )


def _check_complete(page: Any, path: Path, size: int) -> None:
    """Refuse a page whose data lie beyond the end of the file; the decoder would fill it with zeros."""
    ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False))
    last = max(ends, default=0)
    if int(page.compression) == 1 and page.nbytes > 2 * size:  # twice: packed 12-bit codes take 16 in memory
        raise damaged(path, "TIFF", f"a page of {page.nbytes} bytes in a file of {size}")
    if last > size:
        raise damaged(path, "TIFF", f"cut short: {last} bytes expected, {size} found")


def _raw_pages(tiff: Any, path: Path) -> list[Any]:
    """The raw image of a DNG, largest first where several are marked so; empty for any other TIFF."""
    first = tiff.pages[0]
    if path.suffix.lower() != ".dng" and first.tags.get(_DNG_VERSION) is None:
        return []
    every: list[Any] = []
    waiting = list(tiff.pages)
    while waiting:
        page = waiting.pop(0)
        every.append(page)
        waiting = [*(page.pages or ()), *waiting]
    for photometric in (_CFA, _LINEAR_RAW):
        found = [page for page in every if int(page.subfiletype) == 0 and page.photometric == photometric]
        if found:
            return sorted(found, key=lambda page: -page.imagewidth * page.imagelength)[:1]
    raise UnsupportedFrameError(
        f"the DNG holds no raw image among its {len(every)} images",
        where=path,
        legal="an image with NewSubfileType 0 and PhotometricInterpretation 32803 (colour filters) or 34892",
        remedy="Convert the camera's raw file again, with its mosaic",
    )


class TiffFrames:
    """One TIFF file, held open so that a stack's page table is walked once."""

    def __init__(self, reference: FrameReference) -> None:
        import tifffile

        self._path = reference.path
        self._size = self._path.stat().st_size
        self._contiguous_start: int | None = None
        # A handle of our own: tifffile leaves its own open when a damaged header stops it half way.
        self._file = self._path.open("rb")
        try:
            with _own_log() as messages:
                self._tiff = tifffile.TiffFile(self._file)
                self.info = self._describe()
            _refuse_lost_pages(self._path, messages)
        except BaseException:
            self._file.close()
            raise

    def _describe(self) -> FrameInfo:
        if len(self._tiff.pages) == 0:
            raise damaged(self._path, "TIFF", "it holds no page")
        raw = _raw_pages(self._tiff, self._path)
        pages = self._pages = raw or self._tiff.pages
        n_frames = len(pages)
        first: Any = pages[0]
        _check_page(first, self._path)
        for page in (first, pages[n_frames - 1]):
            _check_complete(page, self._path, self._size)
        if not raw and n_frames == 1 and (self._tiff.is_imagej or self._tiff.is_shaped):
            # ImageJ and tifffile write large stacks as one page followed by bare planes.
            series = self._tiff.series[0]
            if series.size > first.size:
                n_frames = self._bare_planes(series, first)
        _, height, width = check_stack_shape(first.shape, self._path, "the page")
        bits = int(first.bitspersample)
        hint = bits if bits < 16 and first.dtype.kind in "ui" else None
        name = check_dtype(np.dtype(first.dtype), self._path)
        return FrameInfo(self._path, n_frames, (height, width), name, hint, tiff_metadata(first, self._tiff.pages[0]))

    def _bare_planes(self, series: Any, first: Any) -> int:
        if series.dataoffset is None or series.size % first.size:
            raise UnsupportedFrameError(
                f"a stack of shape {tuple(series.shape)} behind one page",
                where=self._path,
                legal="an uncompressed stack, or one page a frame",
                remedy="Export one page a frame",
            )
        last = series.dataoffset + series.size * first.dtype.itemsize
        if last > self._size:
            raise damaged(self._path, "TIFF", f"cut short: {last} bytes expected, {self._size} found")
        self._contiguous_start = series.dataoffset
        return int(series.size // first.size)

    def read(self, index: int) -> Frame:
        """Page `index`."""
        if self._contiguous_start is not None:
            height, width = self.info.shape
            dtype = np.dtype(self.info.dtype).newbyteorder(self._tiff.byteorder)
            n_bytes = height * width * dtype.itemsize
            self._file.seek(self._contiguous_start + index * n_bytes)
            return np.frombuffer(self._file.read(n_bytes), dtype=dtype).reshape(height, width)
        try:
            with _own_log() as messages:
                page: Any = self._pages[index]
                _check_page(page, self._path)
                _check_complete(page, self._path, self._size)
                frame: Frame = page.asarray(maxworkers=1)
            _refuse_lost_pages(self._path, messages)
        except (ValueError, KeyError) as error:
            if "imagecodecs" not in str(error):
                raise
            raise PhotonbitsError(
                f"the TIFF is compressed or packed ({getattr(page.compression, 'name', page.compression)}, "
                f"{page.bitspersample} bits) and its decoder is not installed",
                where=self._path,
                legal="uncompressed or deflate-compressed TIFF or DNG of 8, 16 or 32 bit",
                remedy="Install it with: pip install 'photonbits[imagecodecs]'",
            ) from error
        return frame

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()
        self._file.close()


def open_frames(reference: FrameReference) -> TiffFrames:
    """Open a TIFF file."""
    return TiffFrames(reference)
