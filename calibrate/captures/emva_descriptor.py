"""EMVA 1288 descriptor files: which image was taken at which exposure.

Lines: ``v version``, ``n bits width height``; ``b exposure_ns photons`` and ``d exposure_ns`` open a bright
or dark level, ``i path`` adds an image to it. Each opened level stays on its own: the 16-frame spatial series
is another measurement, even where it has the exposure of a two-frame temporal one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from calibrate.captures.assemble import Entry, Notes, Stated, assemble
from calibrate.captures.capture_set import CaptureSet, FrameKind, FrameReference
from calibrate.captures.locate import locate, require_files
from calibrate.captures.text import read_text
from calibrate.plumbing.errors import PhotonbitsError

_LEVEL_OR_IMAGE = re.compile(r"^(i\s+\S|[bd]\s+[0-9.,+-])", re.MULTILINE)
_LEGAL = "v VERSION, n BITS WIDTH HEIGHT, b EXPOSURE_NS PHOTONS, d EXPOSURE_NS, i PATH, # comment"


def looks_like_descriptor(text: str) -> bool:
    """Whether a text has the lines of a descriptor."""
    return _LEVEL_OR_IMAGE.search(text.replace("\t", " ")) is not None


def _bad_line(path: Path, number: int, what: str, legal: str = _LEGAL) -> PhotonbitsError:
    return PhotonbitsError(what, where=f"{path}, line {number}", legal=legal, remedy="Correct the descriptor")


def _numbers(words: list[str], path: Path, number: int) -> list[Decimal]:
    values = []
    for word in words:
        try:
            value = Decimal(word.replace(",", "."))  # decimal commas, from some countries' cameras
        except InvalidOperation:
            raise _bad_line(path, number, f"{word!r} is no number") from None
        if not value.is_finite() or value < 0:
            raise _bad_line(path, number, f"{word} is out of range", "numbers of 0 and more")
        values.append(value)
    return values


class _Descriptor:
    """State while the lines are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.stated = Stated()
        self._kind: FrameKind | None = None
        self._exposure_s: float | None = None
        self._photons: float | None = None
        self._n_levels = 0

    def read_line(self, line: str, number: int) -> None:
        """Take in one line that is neither empty nor a comment."""
        letter, _, rest = line.partition(" ")
        rest = rest.strip()
        if letter == "i" and rest:
            self._image(rest, number)
            return
        words = rest.split("#")[0].split()
        if letter == "v":
            return
        if letter == "n" and len(words) == 3:
            self._size(words, number)
        elif (letter == "b" and len(words) in (1, 2)) or (letter == "d" and len(words) == 1):
            values = _numbers(words, self.path, number)
            self._kind = "bright" if letter == "b" else "dark"
            self._exposure_s = float(values[0].scaleb(-9))
            self._photons = float(values[1]) if len(values) == 2 else None
            self._n_levels += 1
        else:
            raise _bad_line(self.path, number, f"line {line!r} is not understood")

    def _size(self, words: list[str], number: int) -> None:
        bits, width, height = _numbers(words, self.path, number)
        if any(value != int(value) or value < 1 for value in (bits, width, height)) or bits > 32:
            legal = "n BITS WIDTH HEIGHT, whole numbers, 1 to 32 bits"
            raise _bad_line(self.path, number, f"n {' '.join(words)} is out of range", legal)
        self.stated = Stated(int(bits), (int(height), int(width)))

    def _image(self, text: str, number: int) -> None:
        if self._kind is None:
            raise _bad_line(self.path, number, "an image before the first b or d line")
        self.entries.append(
            Entry(
                FrameReference(locate(self.path.parent, text)),
                self._kind,
                f"{self.path.name}, line {number}",
                self._exposure_s,
                self._photons,
                level=str(self._n_levels),
            )
        )


def load_descriptor(path: Path, text: str | None = None, *, shift_bits: int = 0) -> CaptureSet:
    """Return the captures that an EMVA 1288 descriptor lists.

    Raises
    ------
    PhotonbitsError
        A line is not understood, an image is missing, or sizes differ from the ``n`` line.
    """
    descriptor = _Descriptor(path)
    for number, line in enumerate((text or read_text(path)).split("\n"), start=1):
        stripped = " ".join(line.split()) if not line.lstrip().startswith("i") else line.strip()
        if stripped and not stripped.startswith("#"):
            descriptor.read_line(stripped.replace("\t", " "), number)
    if not descriptor.entries:
        raise PhotonbitsError(
            "the descriptor lists no image",
            where=path,
            legal=_LEGAL,
            remedy="Add an i line for each image",
        )
    require_files([(entry.reference.path, entry.where) for entry in descriptor.entries], path)
    return assemble(
        descriptor.entries,
        root=path.parent,
        source="emva1288",
        stated=replace(descriptor.stated, shift_bits=shift_bits),
        notes=Notes(),
        input_files=(path,),
    )
