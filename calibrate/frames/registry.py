"""Which reader opens which file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from calibrate.frames.base import Frame, OpenFrames, checked_frame, one_error
from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate.captures.capture_set import FrameReference


@dataclass(frozen=True)
class FrameReader:
    """One file format: its name, the suffixes it answers to, and the module that opens it.

    The module is imported at first use, so that a folder of PNG files does not pay for astropy.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str

    def open(self, reference: FrameReference) -> OpenFrames:
        """Open the file of `reference`."""
        return cast(OpenFrames, import_module(self.module).open_frames(reference))


READERS = (
    FrameReader("TIFF", (".tif", ".tiff", ".dng"), "calibrate.frames.tiff"),
    FrameReader("FITS", (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fts.gz"), "calibrate.frames.fits"),
    FrameReader("PNG", (".png",), "calibrate.frames.png"),
    FrameReader("NPY", (".npy",), "calibrate.frames.npy"),
    FrameReader("NPZ", (".npz",), "calibrate.frames.npz"),
    FrameReader("headerless", (), "calibrate.frames.headerless"),
)
_HEADERLESS = READERS[-1]


#: Raw files of camera makers' own formats.
_CAMERA_RAW = frozenset(
    f".{name}"
    for names in (
        "3fr ari arw cr2 cr3 crw dcr erf fff iiq kdc mef mos mrw",
        "nef nrw orf pef raf rw2 rwl sr2 srf srw x3f",
    )
    for name in names.split()
)


def known_suffixes() -> str:
    """Suffixes of all formats that can be read, for messages."""
    return ", ".join(suffix for reader in READERS for suffix in reader.suffixes)


def camera_raw_error(path: Path) -> PhotonbitsError | None:
    """What to say about a raw file of a camera maker's own format; None for any other name."""
    if path.suffix.lower() not in _CAMERA_RAW:
        return None
    return PhotonbitsError(
        f"{path.suffix} is a camera maker's own raw format, which is not read",
        where=path,
        legal=known_suffixes(),
        remedy="Convert it with the mosaic as it is: to an uncompressed DNG, or to a 16-bit TIFF with dcraw -D -4 -T",
    )


def reader_by_suffix(path: Path) -> FrameReader | None:
    """Reader of an image file by its name, or None."""
    name = path.name.lower()
    for reader in READERS:
        if name.endswith(reader.suffixes):
            return reader
    return None


def stem_of(path: Path) -> str:
    """File name without the image suffix (``a.fits.gz`` gives ``a``)."""
    reader = reader_by_suffix(path)
    if reader is not None:
        for suffix in sorted(reader.suffixes, key=len, reverse=True):
            if path.name.lower().endswith(suffix):
                return path.name[: -len(suffix)]
    return path.stem


def _reader_for(reference: FrameReference) -> FrameReader:
    if reference.dtype is not None or reference.shape is not None:
        return _HEADERLESS
    reader = reader_by_suffix(reference.path)
    if reader is None:
        camera_raw = camera_raw_error(reference.path)
        if camera_raw is not None:
            raise camera_raw
        raise PhotonbitsError(
            f"no reader for {reference.path.suffix or 'a file without a suffix'}",
            where=reference.path,
            legal=known_suffixes(),
            remedy="Name dtype and shape in a manifest if the file is headerless binary",
        )
    return reader


def _check_file(path: Path) -> None:
    try:
        if not path.exists():
            raise PhotonbitsError("no such file", where=path, legal="an existing image file", remedy="Check the path")
        if not path.is_file():
            raise PhotonbitsError(
                "this is a folder, not a file",
                where=path,
                legal="an image file",
                remedy="Name a file in it, or load the folder as captures",
            )
        size = path.stat().st_size
    except OSError as error:
        raise PhotonbitsError(
            f"the file cannot be opened: {error.strerror or error}",
            where=path,
            legal="a readable image file",
            remedy="Check the path and the rights",
        ) from error
    if size == 0:
        raise PhotonbitsError(
            "the file is empty (0 bytes)",
            where=path,
            legal="an image file",
            remedy="Record or copy it again, or move it out of the captures",
        )


class CheckedFrames:
    """An open file whose errors are all PhotonbitsError and whose frames are checked."""

    def __init__(self, reader: FrameReader, reference: FrameReference) -> None:
        self._name = reader.name
        self._path = reference.path
        _check_file(reference.path)
        with one_error(self._path, self._name):
            self._frames = reader.open(reference)
        self.info = self._frames.info

    def read(self, index: int) -> Frame:
        """Pixels of frame `index`, shape (height, width), native byte order."""
        if not 0 <= index < self.info.n_frames:
            raise PhotonbitsError(
                f"there is no frame {index}",
                where=self._path,
                legal=f"0 to {self.info.n_frames - 1}",
                remedy="Number frames from 0, or check that the file is complete",
            )
        with one_error(self._path, self._name):
            frame = self._frames.read(index)
        return checked_frame(frame, self.info, index)

    def close(self) -> None:
        """Give the file back."""
        self._frames.close()


@contextmanager
def opened(reference: FrameReference) -> Iterator[CheckedFrames]:
    """Open the file of `reference` and close it afterwards."""
    frames = CheckedFrames(_reader_for(reference), reference)
    try:
        yield frames
    finally:
        frames.close()
