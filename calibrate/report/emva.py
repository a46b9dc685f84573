"""The report's section on EMVA 1288: the table of both releases, and the standard's pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from calibrate.emva1288.names import QUANTITIES, RELEASE_31, base_name
from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import Block, Cell, Chart, Charts, Column, Details, Paragraph, Section, Table
from calibrate.plumbing.tables import format_value_std
from calibrate.report import emva_charts as charts
from calibrate.report.emva_charts import EmvaData
from calibrate.report.words import unit_words
from calibrate.schema import NoiseModelDocument

_GREEK = (("sigma2", "σ²"), ("sigma", "σ"), ("mu", "μ"), ("eta", "η"), ("s2", "s²"))

#: Key of the figure's file, title, what draws it, and the sentence beneath.
_FIGURES: tuple[tuple[str, str, Callable[[EmvaData], Figure | None], str], ...] = (
    (
        "transfer",
        "Photon transfer",
        charts.photon_transfer,
        "Photon transfer: the slope of the line through 0 is the system gain; the shaded levels, up to 70 % of "
        "saturation, determine it.",
    ),
    (
        "linearity",
        "Linearity",
        charts.linearity,
        "Linearity: the line of least relative deviation between 5 % and 95 % of saturation, and how far each level "
        "departs from it; triangles lie farther out.",
    ),
    (
        "snr",
        "Signal-to-noise ratio",
        charts.signal_to_noise,
        "Signal-to-noise ratio up to saturation: the levels should follow the linear model, and no sensor lies above "
        "the ideal one.",
    ),
    (
        "dark",
        "Dark current",
        charts.dark_current,
        "Dark mean and dark variance against exposure: both slopes give the dark current, the variance's with far "
        "less certainty.",
    ),
    (
        "spectrum-dsnu",
        "Spectrogram of the dark signal",
        lambda data: charts.spectrogram(data, "dsnu"),
        "Spectrogram of the dark average after the high-pass filter: a peak is a periodic pattern, a level line is "
        "white.",
    ),
    (
        "spectrum-prnu",
        "Spectrogram of the photo-response",
        lambda data: charts.spectrogram(data, "prnu"),
        "Spectrogram of the bright average less the dark one after the high-pass filter, in percent of the signal.",
    ),
    (
        "profile-dsnu",
        "Profiles of the dark signal",
        lambda data: charts.profile(data, "dsnu"),
        "Profiles of the dark average as it is, across columns above and across rows below.",
    ),
    (
        "profile-prnu",
        "Profiles of the photo-response",
        lambda data: charts.profile(data, "prnu"),
        "Profiles of the bright average less the dark one: uneven light shows here, and the high-pass filter takes it "
        "out of PRNU.",
    ),
    (
        "defects-dsnu",
        "Defect histograms of the dark signal",
        lambda data: charts.histogram(data, "dsnu"),
        "How many pixels depart from the dark mean by how much, filtered; what stands outside the normal law is a "
        "candidate for a defect. Below, the share of pixels beyond a limit of your choice.",
    ),
    (
        "defects-prnu",
        "Defect histograms of the photo-response",
        lambda data: charts.histogram(data, "prnu"),
        "The same for the photo-response.",
    ),
)


def emva_section(document: NoiseModelDocument) -> tuple[Section, ...]:
    """The section, or none where the document has no block ``emva1288``."""
    if not document.emva1288:
        return ()
    blocks: list[Block] = [
        Paragraph(
            "The standard's own estimators: straight lines by release 4.0 linear, with release 3.1 where it defines "
            "the quantity too. They are not those of the noise model above, which fits everything at once and lets "
            "the response bend."
        )
    ]
    channels = _channels(document)
    for channel, data in channels.items():
        bases = dict.fromkeys(base_name(name) for name in data.entries)
        names = [name for name in QUANTITIES if name in bases]
        others = [name for name in bases if name not in QUANTITIES]
        main = [name for name in names if not _is_behind(name)]
        inside: list[Block] = [emva_table(data, "EMVA 1288 quantities", [*main, *others])]
        if len(main) < len(names):
            behind = emva_table(data, "EMVA 1288 variances", [name for name in names if _is_behind(name)])
            inside.append(Details("The variances behind DSNU and PRNU", (behind,)))
        drawn = _charts(data, channel)
        if drawn:
            inside.append(Charts(tuple(drawn)))
        blocks += inside if not channel else [Details(f"Channel {channel}", tuple(inside))]
    return (Section("EMVA 1288", tuple(blocks)),)


def emva_figures(document: NoiseModelDocument) -> dict[str, Figure]:
    """Figures by file name, for `calibrate.report.write_figures`."""
    figures = {}
    for channel, data in _channels(document).items():
        for name, _, draw, _ in _FIGURES:
            figure = draw(data)
            if figure is not None:
                figures["_".join(part for part in ("emva1288", channel, name.replace("-", "_")) if part)] = figure
    return figures


def _channels(document: NoiseModelDocument) -> dict[str, EmvaData]:
    """Entries and curves by channel; ``""`` for a sensor without."""
    entries, curves = document.emva1288 or {}, document.emva1288_curves or {}
    names = dict.fromkeys(name.rpartition(".")[0] for name in entries)
    return {
        channel: EmvaData(
            {name.rpartition(".")[2]: entry for name, entry in entries.items() if name.rpartition(".")[0] == channel},
            {name.rpartition(".")[2]: curve for name, curve in curves.items() if name.rpartition(".")[0] == channel},
        )
        for channel in names
    }


def _is_behind(name: str) -> bool:
    """Whether a quantity is a step on the way to others."""
    return name.startswith(("spatial_", "temporal_variance_"))


def emva_table(data: EmvaData, label: str, names: Sequence[str]) -> Table:
    """Meaning, symbol and unit, and the value with its standard error by release, of those names that are there."""
    rows: list[tuple[str | Cell, ...]] = []
    for name in names:
        new, old = data.entries.get(name), data.entries.get(name + RELEASE_31)
        either = new or old
        if either is None:
            continue
        meaning = QUANTITIES[name][2] if name in QUANTITIES else name
        note = " in ".join(part for part in (symbol_words(either.symbol), unit_words(either.unit)) if part)
        values = [Cell("" if entry is None else format_value_std(entry.value, entry.std)) for entry in (new, old)]
        rows.append((Cell(meaning[:1].upper() + meaning[1:], note=note), *values))
    columns = (Column("EMVA 1288"), Column("Release 4.0", "number"), Column("Release 3.1", "number"))
    return Table(label, columns, tuple(rows))


def symbol_words(symbol: str) -> str:
    """A symbol as it is printed.

    Examples
    --------
    >>> symbol_words("sigma_y.dark"), symbol_words("mu_p.min"), symbol_words("K")
    ('σ_y.dark', 'μ_p.min', 'K')
    """
    for name, letter in _GREEK:
        if symbol == name or symbol.startswith(name + "_"):
            return letter + symbol[len(name) :]
    return symbol


def _charts(data: EmvaData, channel: str) -> list[Chart]:
    out = []
    prefix = "emva" + (f"-{channel.lower()}" if channel else "")
    for name, title, draw, caption in _FIGURES:
        figure = draw(data)
        if figure is not None:
            svg = figure_to_svg(figure, name=f"{prefix}-{name}", title=title, description=caption)
            out.append(Chart(svg, caption))
    return out
