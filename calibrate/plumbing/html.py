"""One self-contained HTML page: blocks of text, tables and figures in, a string out.

No script, no external resource, no time stamp; everything but the figures' SVG is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

Severity = Literal["serious", "caution", "note", "good"]

_SEVERITY_WORDS: dict[Severity, str] = {
    "serious": "Serious",
    "caution": "Caution",
    "note": "Note",
    "good": "Good",
}


@dataclass(frozen=True)
class Paragraph:
    """Running text; ``small`` for remarks."""

    text: str
    small: bool = False
    block: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Headline:
    """The one number of a page, with what qualifies it beneath."""

    main: str
    detail: str = ""
    block: ClassVar[str] = "headline"


@dataclass(frozen=True)
class Notice:
    """A doubt in words, coloured and labelled by how much it matters."""

    severity: Severity
    text: str
    code: str = ""

    @property
    def word(self) -> str:
        """The label: colour alone is not enough."""
        return _SEVERITY_WORDS[self.severity]


@dataclass(frozen=True)
class Notices:
    """Doubts, one below the other."""

    notices: tuple[Notice, ...]
    block: ClassVar[str] = "notices"


@dataclass(frozen=True)
class Chart:
    """A figure: SVG from `figures.figure_to_svg` (trusted) and one sentence saying what to see."""

    svg: str
    caption: str

    @property
    def markup(self) -> Markup:
        """The SVG, unescaped."""
        return Markup(self.svg)  # made by figure_to_svg, which escapes all text in it


@dataclass(frozen=True)
class Charts:
    """Figures side by side where there is room, up to ``columns`` (2 or 3) of them."""

    charts: tuple[Chart, ...]
    columns: int = 2
    block: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Cell:
    """A table cell: text, a smaller second line, a bar (``share`` 0 to 1) or a tint (-1 to 1) behind it."""

    text: str
    note: str = ""
    share: float | None = None
    tint: float | None = None


@dataclass(frozen=True)
class Column:
    """A table column: ``text`` to the left, ``number`` aligned at the decimal point."""

    title: str
    kind: Literal["text", "number"] = "text"
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column holds the row headers. ``label`` names it for screen readers."""

    label: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    block: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {number} has {len(row)} cells; expected {len(self.columns)}")

    @property
    def body(self) -> tuple[tuple[tuple[Column, Cell, Markup], ...], ...]:
        """Rows of (column, cell, the cell's text as HTML)."""
        cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in self.rows]
        columns: list[list[Markup]] = []
        for index, column in enumerate(self.columns):
            texts = [row[index].text for row in cells]
            columns.append(aligned(texts) if column.kind == "number" else [escape(text) for text in texts])
        return tuple(
            tuple((column, row[i], columns[i][number]) for i, column in enumerate(self.columns))
            for number, row in enumerate(cells)
        )


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    facts: tuple[tuple[str, str], ...]
    block: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Details:
    """Blocks that open on a click."""

    summary: str
    blocks: tuple[Block, ...]
    block: ClassVar[str] = "details"


Block = Paragraph | Headline | Notices | Charts | Table | Facts | Details


@dataclass(frozen=True)
class Section:
    """A heading and its blocks."""

    title: str
    blocks: tuple[Block, ...]


def aligned(texts: Sequence[str]) -> list[Markup]:
    """Numbers as HTML, aligned at the decimal point down a column; the text itself is unchanged.

    Examples
    --------
    >>> print(aligned(["0.5012(13)", "64"])[1])
    <span class="int" style="min-width:2ch">64</span><span class="frac" style="min-width:9ch"></span>
    """
    # An uncertainty or exponent without a decimal point, as in 2346(12), hangs to the right of it as well.
    cuts = [next((i for i, character in enumerate(text) if character in ".(e"), len(text)) for text in texts]
    before = max((cut for text, cut in zip(texts, cuts, strict=True) if _is_number(text)), default=0)
    after = max((len(text) - cut for text, cut in zip(texts, cuts, strict=True) if _is_number(text)), default=0)
    cell = Markup(
        '<span class="int" style="min-width:{}ch">{}</span><span class="frac" style="min-width:{}ch">{}</span>'
    )
    return [
        cell.format(before, text[:cut], after, text[cut:]) if _is_number(text) else escape(text)
        for text, cut in zip(texts, cuts, strict=True)
    ]


def render_page(
    title: str,
    sections: Sequence[Section],
    *,
    eyebrow: str = "",
    lead: Sequence[Block] = (),
    footer: str = "",
) -> str:
    """The page as one string of HTML.

    Parameters
    ----------
    title : str
        Heading and window title.
    sections : sequence of Section
    eyebrow : str
        Small line above the heading: what kind of page it is.
    lead : sequence of blocks
        What stands between the heading and the first section.
    footer : str

    Returns
    -------
    str
        Complete HTML5 document without external references, the same for the same input.
    """
    page = _template().render(title=title, eyebrow=eyebrow, lead=lead, sections=sections, footer=footer)
    # A file name with undecodable bytes must not keep the report from being written.
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("calibrate.plumbing", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or (text[:1] in "+-−." and text[1:2].isdigit())
