"""Which pixels belong to which channel: colour filters in a mosaic, taps of a read-out, interleaved converters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from calibrate.plumbing.errors import PhotonbitsError

#: Bayer mosaics, read from the first pixel of the frame along the first two rows.
MOSAICS = ("RGGB", "BGGR", "GRBG", "GBRG")
_MOST_PARTS = 64
LayoutKind = Literal["cfa", "taps", "interleaved"]


@dataclass(frozen=True)
class Section:
    """Pixels of a frame in rows and columns that follow each other in equal steps.

    Parameters
    ----------
    rows, columns : (start, stop, step)
        As in ``range``; ``stop`` None means to the end of the frame.
    """

    rows: tuple[int, int | None, int] = (0, None, 1)
    columns: tuple[int, int | None, int] = (0, None, 1)

    def __post_init__(self) -> None:
        for name, (start, stop, step) in (("rows", self.rows), ("columns", self.columns)):
            if start < 0 or step < 1 or (stop is not None and stop <= start):
                raise PhotonbitsError(
                    f"{name} of a section are {start}, {stop}, {step}",
                    legal="start 0 or more, stop above start (or none), step 1 or more",
                )

    @property
    def index(self) -> tuple[slice, slice]:
        """Index of the last two axes of an array; use with ``array[..., rows, columns]``."""
        return slice(*self.rows), slice(*self.columns)

    def shape_in(self, shape: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the section of a frame of ``shape``."""
        rows, columns = (len(range(*part.indices(size))) for part, size in zip(self.index, shape, strict=True))
        return rows, columns


@dataclass(frozen=True)
class ChannelLayout:
    """Sections that cover every pixel of a frame once, by the channels' names.

    Parameters
    ----------
    kind : {"cfa", "taps", "interleaved"}
        Colour filters; regions side by side; read-out channels that take turns over rows or columns.
    sections : mapping of str to Section
    shape : (height, width) or None
        The frames that it fits; None where the pattern repeats and any frame will do that begins with the same pixel.
    pattern : str or None
        The mosaic's name, for ``cfa``.
    """

    kind: LayoutKind
    sections: Mapping[str, Section]
    shape: tuple[int, int] | None = None
    pattern: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The channels in order."""
        return tuple(self.sections)

    @property
    def period(self) -> tuple[int, int]:
        """Rows and columns after which the pattern repeats; (1, 1) for regions."""
        rows = math.lcm(*(section.rows[2] for section in self.sections.values()))
        columns = math.lcm(*(section.columns[2] for section in self.sections.values()))
        return rows, columns

    @property
    def words(self) -> str:
        """The layout for people."""
        if self.kind == "cfa":
            return f"colour filters {self.pattern}: {', '.join(self.names)}"
        return f"{len(self.sections)} {'taps' if self.kind == 'taps' else 'interleaved read-out channels'}"

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raise PhotonbitsError unless the last two axes are a frame that the layout fits."""
        if len(shape) < 2:
            raise PhotonbitsError(
                f"data of shape {shape} with a model of {len(self.sections)} channels",
                legal="frames: the last two axes are height and width",
                remedy="Give frames, or take one channel's model with .channel(NAME)",
            )
        if self.shape is not None and tuple(shape[-2:]) != self.shape:
            raise PhotonbitsError(
                f"data of shape {shape} with {self.words} of frames {self.shape}",
                legal=f"last two axes {self.shape}",
                remedy="Use frames of the calibrated size, or take one channel's model with .channel(NAME)",
            )

    def check_cover(self) -> None:
        """Raise PhotonbitsError unless every pixel lies in exactly one section."""
        import numpy as np

        extent = self.shape or self.period
        count = np.zeros(extent, dtype=np.uint8)
        for section in self.sections.values():
            count[section.index] += 1
        if np.any(count != 1):
            row, column = np.argwhere(count != 1)[0]
            raise PhotonbitsError(
                f"the pixel at row {row}, column {column} lies in {count[row, column]} channels",
                legal="every pixel in exactly one channel",
                remedy="Correct the rows and columns of the channels",
            )


def cfa_layout(pattern: str) -> ChannelLayout:
    """Channels R, Gr, Gb and B of a Bayer mosaic; Gr is the green of the red rows, Gb that of the blue rows.

    Parameters
    ----------
    pattern : {"RGGB", "BGGR", "GRBG", "GBRG"}
        Filters of the frame's first two rows, from the first pixel on.

    Raises
    ------
    PhotonbitsError
        For another pattern.

    Examples
    --------
    >>> cfa_layout("GRBG").sections["R"].index
    (slice(0, None, 2), slice(1, None, 2))
    """
    pattern = pattern.upper()
    if pattern not in MOSAICS:
        raise PhotonbitsError(f"colour-filter pattern {pattern!r}", legal=", ".join(MOSAICS))
    sections = {}
    for place, colour in enumerate(pattern):
        row, column = divmod(place, 2)
        neighbour = pattern[2 * row + 1 - column]
        name = colour if colour != "G" else f"G{neighbour.lower()}"
        sections[name] = Section((row, None, 2), (column, None, 2))
    return ChannelLayout("cfa", {name: sections[name] for name in ("R", "Gr", "Gb", "B")}, pattern=pattern)


def tap_layout(rows: int, columns: int, shape: tuple[int, int]) -> ChannelLayout:
    """Regions of equal size in ``rows`` rows and ``columns`` columns, named tap_ROW_COLUMN.

    Raises
    ------
    PhotonbitsError
        If a region would have no pixel.

    Examples
    --------
    >>> tap_layout(1, 2, (4, 10)).sections["tap_0_1"]
    Section(rows=(0, 4, 1), columns=(5, 10, 1))
    """
    _check_parts(rows, columns, shape, "taps")
    tops = [round(shape[0] * i / rows) for i in range(rows + 1)]
    lefts = [round(shape[1] * j / columns) for j in range(columns + 1)]
    sections = {
        f"tap_{i}_{j}": Section((tops[i], tops[i + 1], 1), (lefts[j], lefts[j + 1], 1))
        for i in range(rows)
        for j in range(columns)
    }
    return ChannelLayout("taps", sections, shape=shape)


def interleaved_layout(rows: int, columns: int, shape: tuple[int, int]) -> ChannelLayout:
    """Read-out channels that take turns: every ``rows``-th row and ``columns``-th column, named phase_ROW_COLUMN.

    Raises
    ------
    PhotonbitsError
        If a channel would have no pixel.
    """
    _check_parts(rows, columns, shape, "interleaved")
    sections = {
        f"phase_{i}_{j}": Section((i, None, rows), (j, None, columns)) for i in range(rows) for j in range(columns)
    }
    return ChannelLayout("interleaved", sections)


def _check_parts(rows: int, columns: int, shape: tuple[int, int], word: str) -> None:
    if not 2 <= rows * columns <= _MOST_PARTS or rows > shape[0] or columns > shape[1]:
        raise PhotonbitsError(
            f"{word}:{rows}x{columns} of frames of {shape[0]} x {shape[1]} pixels",
            legal=f"2 to {_MOST_PARTS} parts, each with pixels",
            remedy=f"Give {word}:RxC, rows and columns of parts",
        )


_PARTS = re.compile(r"(?P<word>taps|interleaved):(?P<rows>[0-9]{1,4})x(?P<columns>[0-9]{1,4})", re.IGNORECASE)
CHANNELS_LEGAL = f"auto, mono, {', '.join(MOSAICS)}, taps:RxC or interleaved:RxC (rows x columns)"


def is_channels_option(text: str) -> bool:
    """Whether a text is one that `parse_layout` reads, or ``auto``."""
    return text.lower() in ("auto", "mono") or text.upper() in MOSAICS or _PARTS.fullmatch(text) is not None


def parse_layout(text: str, shape: tuple[int, int]) -> ChannelLayout | None:
    """The layout that an option names, for frames of ``shape``; None for ``mono``.

    Raises
    ------
    PhotonbitsError
        For any other text, or more parts than pixels.

    Examples
    --------
    >>> parse_layout("taps:1x2", (4, 10)).names
    ('tap_0_0', 'tap_0_1')
    """
    if text.lower() == "mono":
        return None
    if text.upper() in MOSAICS:
        return cfa_layout(text)
    match = _PARTS.fullmatch(text)
    if match is None:
        raise PhotonbitsError(f"channels {text!r}", legal=CHANNELS_LEGAL)
    rows, columns = int(match["rows"]), int(match["columns"])
    make = tap_layout if match["word"].lower() == "taps" else interleaved_layout
    return make(rows, columns, shape)


def to_plain(section: Section) -> dict[str, Any]:
    """A section as lists, for files."""
    return {"rows": list(section.rows), "columns": list(section.columns)}
