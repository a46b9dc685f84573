"""Figures in one style: inline SVG for pages, PNG for slides, the same bytes for the same data."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# Okabe and Ito's palette: told apart with every common kind of colour blindness and in grey print.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#007F5F"
SKY = "#56B4E9"
AMBER = "#E69F00"
PINK = "#B8578C"
INK = "#1F2933"
MUTED = "#5F6B7A"
GRID = "#E3E7EC"
BAND = "#EEF2F6"

#: Width of a figure in pixels of the page at full size: half a desktop page, and still readable on a phone.
FIGURE_WIDTH_PX = 440
_PX_PER_INCH = 72  # matplotlib's SVG unit is the point, so a 440-point figure is drawn 1:1 in 440 pixels
_PNG_DPI = 144

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "legend.fontsize": 10,
    "text.color": INK,
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9AA5B1",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.use_mathtext": False,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": "#9AA5B1",
    "ytick.color": "#9AA5B1",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.5,
    "ytick.major.size": 3.5,
    "xtick.minor.size": 2,
    "ytick.minor.size": 2,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.3,
    "legend.labelspacing": 0.3,
    "figure.facecolor": "white",
    "image.interpolation": "none",
    "svg.fonttype": "none",
}


@contextmanager
def figure_style(salt: str = "photonbits") -> Iterator[None]:
    """House style, whatever the user's matplotlibrc says; drawing and saving both happen inside."""
    with matplotlib.style.context(["default", {**_STYLE, "svg.hashsalt": salt}]):
        yield


def new_figure(height_px: int = 320, width_px: int = FIGURE_WIDTH_PX) -> Figure:
    """Empty figure of a size in page pixels; call inside `figure_style`."""
    return Figure(figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH), layout="constrained")


def figure_to_svg(figure: Figure, *, name: str, title: str, description: str = "") -> str:
    """SVG element for inlining in a page.

    Parameters
    ----------
    figure : Figure
    name : str
        Unique in the page, letters, digits and hyphens: prefix of every id, so that figures do not clash.
    title, description : str
        What a screen reader says.

    Returns
    -------
    str
        ``<svg>`` without prolog, metadata, style sheet or reference to anything outside it. Text stays text
        and takes the page's font. The same figure gives the same string.

    Raises
    ------
    ValueError
        If `name` holds other characters.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        raise ValueError(f"name is {name!r}; expected lower-case letters, digits and hyphens")
    stream = io.BytesIO()
    with figure_style(name):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(stream, format="svg", metadata=nothing)
    return _cleaned(stream.getvalue().decode("utf-8"), name, title, description)


def save_png(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG at twice the page's resolution, the same bytes for the same data."""
    with figure_style():
        figure.savefig(path, format="png", dpi=_PNG_DPI, metadata={"Software": None})


def _cleaned(svg: str, name: str, title: str, description: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # A style sheet inside an inline SVG would reach the whole page.
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r"(font-family: )[^;\"]*(; ?)?", "", svg)
    svg = re.sub(r"font: ([^;\"]*?) [^;\" ]*px [^;\"]*", r"font-style: \1", svg)
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg).strip()
    opening = svg[: svg.index(">") + 1]
    box = re.search(r'viewBox="([^"]+)"', opening)
    view = box[1] if box else f"0 0 {FIGURE_WIDTH_PX} 320"
    ids = f"{name}-title {name}-desc" if description else f"{name}-title"
    head = (
        f'<svg viewBox="{view}" role="img" aria-labelledby="{ids}" '
        'style="stroke-linejoin: round; stroke-linecap: butt">\n'
        f'<title id="{name}-title">{html.escape(title)}</title>\n'
    )
    if description:
        head += f'<desc id="{name}-desc">{html.escape(description)}</desc>\n'
    return head + svg[len(opening) :].lstrip("\n")


# ---- helpers for axes ------------------------------------------------------------------------------------

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def plain_number(value: float) -> str:
    """A tick label: plain digits from 0.001 to 99999, a power of ten beyond.

    Examples
    --------
    >>> [plain_number(v) for v in (0.01, 1.0, 20000.0, 1e6, 2e-5)]
    ['0.01', '1', '20000', '10⁶', '2×10⁻⁵']
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    short = f"{float(mantissa):g}"
    return power if short == "1" else f"{short}×{power}"


def plain_log_axis(axis: Axis) -> None:
    """Number the decades of a logarithmic axis in plain digits; 2 and 5 as well where it spans few decades."""
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low) if low > 0 else 8.0
    marks = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=marks, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_locator(LogLocator(base=10, subs=tuple(range(2, 10)), numticks=120))
    axis.set_minor_formatter(NullFormatter())


def safe_label(text: str, limit: int = 28) -> str:
    """Text for a figure: characters the font lacks become ``?``, long names lose their middle.

    Examples
    --------
    >>> safe_label("flat_0001.tif"), safe_label("a" * 40, 9)
    ('flat_0001.tif', 'aaaa…aaaa')
    """
    clean = "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text)
    if len(clean) <= limit:
        return clean
    keep = limit - 1
    return clean[: keep - keep // 2] + "…" + clean[len(clean) - keep // 2 :]


def reading_label(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Small text on the data, on a white ground so that lines do not cross it."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.85}
    axes.text(x, y, text, **{"fontsize": 10, "color": MUTED, "bbox": ground, **options})


def robust_limits(values: ArrayLike, percent: float = 0.5) -> tuple[float, float]:
    """Colour limits that a few outliers do not move: the percentiles `percent` and 100 - `percent`.

    Equal percentiles are spread a little, so that the limits are always increasing.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(finite, [percent, 100 - percent]))
    if not high > low:
        pad = max(abs(low) * 1e-3, 1e-9)
        return low - pad, high + pad
    return low, high


def downsample(image: ArrayLike, limit: int) -> tuple[FloatArray, int]:
    """Mean of square blocks, so that neither side exceeds `limit` pixels.

    Returns
    -------
    ndarray, int
        The smaller image and the block's side. NaN is left out of a mean; a block of NaN stays NaN.

    Examples
    --------
    >>> downsample([[0.0, 2.0, 5.0], [4.0, 6.0, 7.0]], 2)
    (array([[3., 6.]]), 2)
    """
    array = np.asarray(image, dtype=np.float64)
    height, width = array.shape
    side = max(1, -(-max(height, width) // limit))
    if side == 1:
        return array, 1
    padded = np.full((-(-height // side) * side, -(-width // side) * side), np.nan)
    padded[:height, :width] = array
    blocks = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0.0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), side
