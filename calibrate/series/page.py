"""The series as one HTML page: the table of settings, the curves against them, and what they say together."""

from __future__ import annotations

import re

from matplotlib.figure import Figure

from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import (
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Notice,
    Notices,
    Paragraph,
    Section,
    Table,
    render_page,
)
from calibrate.series import charts
from calibrate.series.fit import Series
from calibrate.series.shared import DISAGREE
from calibrate.series.text import (
    LEGEND,
    dark_sentence,
    doubts_by_code,
    setting_rows,
    shared_sentence,
    shown,
    unity_sentence,
)


def render_series(series: Series) -> str:
    """The series as one self-contained page: HTML without scripts or external references, the same bytes every time."""
    sensor = series.sensor
    title = " ".join(str(sensor[key]) for key in ("make", "model") if sensor.get(key)) or "Unnamed sensor"
    count = len(series.fitted)
    lead = f"{count} setting{'' if count == 1 else 's'} of one sensor, each fitted on its own captures."
    sections = [
        Section("Settings", _table(series)),
        Section("Against the setting", _curves(series)),
        *_dark(series),
        *_shared(series),
        *_doubts(series),
    ]
    return render_page(
        title,
        sections,
        eyebrow="Camera settings compared",
        lead=(Paragraph(lead),),
        footer="Each setting's numbers, errors and doubts stand in its own YAML, all of this in summary.json.",
    )


def _words(text: str) -> str:
    """Electrons as they are printed."""
    return re.sub(r"(?<![A-Za-z])e-(?![A-Za-z])", "e⁻", text)


def _table(series: Series) -> tuple[Block, ...]:
    headings, rows = setting_rows(series)
    columns = (Column("Setting"), *(Column(_words(heading), "number") for heading in headings[1:]))
    body: list[tuple[str | Cell, ...]] = []
    for name, cells in rows:
        label = ", ".join(part.replace(" ", "\u00a0") for part in cells[0].split(", "))
        body.append((Cell(label, note=name), *(cell if cell != "-" else "–" for cell in cells[1:])))
    blocks: list[Block] = [
        Table("Settings", columns, tuple(body)),
        Paragraph(
            f"{LEGEND} The digits in parentheses are the standard error in the last digits of the value; a dash means "
            "that the captures do not show it.",
            small=True,
        ),
    ]
    blocks += _unity(series)
    return tuple(blocks)


def _unity(series: Series) -> list[Block]:
    if len(series.unity) < 2:
        return [Paragraph(_words(unity_sentence(group))) for group in series.unity]
    rows = tuple(
        (
            group.setting.words,
            "–" if group.unity.setting is None else shown(group.unity.setting),
            _words(group.unity.reason) or f"log K straight on a {group.unity.axis} scale of the setting",
        )
        for group in series.unity
    )
    columns = (Column("Unity gain (K = 1 DN/e⁻)"), Column("Gain setting", "number"), Column("Interpolation", wide=True))
    return [Table("Unity gain", columns, rows)]


_CURVES = (
    ("system_gain_dn_per_e", "system gain K (DN/e⁻)", "System gain", True),
    ("read_noise_e", "read noise (e⁻)", "Read noise", False),
    ("saturation_e", "saturation (e⁻)", "Saturation", True),
    ("dynamic_range_stops", "dynamic range (stops)", "Dynamic range", False),
)
_CAPTIONS = {
    "system_gain_dn_per_e": "System gain: codes for each electron.",
    "read_noise_e": "Read noise before rounding.",
    "saturation_e": "Charge at saturation.",
    "dynamic_range_stops": "Dynamic range: saturation over the charge that equals its own noise.",
}
_CAPTIONS_AGAINST_GAIN = {
    "system_gain_dn_per_e": "System gain: codes for each electron. Dashed: one electron is one code.",
    "read_noise_e": "Read noise before rounding: it usually falls as the gain rises, because what the converter adds "
    "counts for fewer electrons.",
    "saturation_e": "Charge at saturation: where the converter clips it falls as the gain rises; where it levels off, "
    "the pixel's full well limits it.",
    "dynamic_range_stops": "Dynamic range: what a higher gain saves in read noise it costs in saturation.",
}


def _curves(series: Series) -> tuple[Block, ...]:
    made: list[Chart] = []
    against_gain = charts.axis_of(series).dimension == "gain_setting"
    captions = _CAPTIONS_AGAINST_GAIN if against_gain else _CAPTIONS
    for name, label, title, logarithmic in _CURVES:
        unity = name == "system_gain_dn_per_e" and against_gain
        figure = charts.against_setting(series, name, label, logarithmic=logarithmic, unity=unity)
        if figure is not None:
            made.append(_chart(figure, name.replace("_", "-"), f"{title} against the setting", captions[name]))
    if not made:
        return (Paragraph("Fewer than two settings were fitted, so there is nothing to compare."),)
    return (Charts(tuple(made)), Paragraph("Bars: two standard errors.", small=True))


def _chart(figure: Figure, name: str, title: str, caption: str) -> Chart:
    return Chart(figure_to_svg(figure, name=name, title=title, description=caption), caption)


def _dark(series: Series) -> list[Section]:
    if not series.dark_current:
        return []
    blocks = _laws(series)
    figure = charts.dark_current(series)
    if figure is not None:
        caption = "Dark current: a straight line here doubles in equal steps of temperature."
        blocks.append(Charts((_chart(figure, "dark-current", "Dark current against temperature", caption),)))
    return [Section("Dark current against temperature", tuple(blocks))]


def _laws(series: Series) -> list[Block]:
    if len(series.dark_current) < 2:
        return [Paragraph(_words(dark_sentence(group))) for group in series.dark_current]
    rows: list[tuple[str | Cell, ...]] = []
    for group in series.dark_current:
        laws = (group.law.doubling, group.law.activation)
        cells = [shown(law.quantity) if law is not None else "–" for law in laws]
        quality = [f"{law.chi2:.3g} / {law.dof}" if law is not None and law.dof else "–" for law in laws]
        label = Cell(group.setting.words, note=_words(group.law.reason))
        rows.append((label, cells[0], quality[0], cells[1], quality[1]))
    columns = (
        Column("Dark current"),
        Column("Doubles every (°C)", "number"),
        Column("Chi-square / dof"),
        Column("Activation energy (eV)", "number"),
        Column("Chi-square / dof"),
    )
    return [Table("Laws of dark current", columns, tuple(rows))]


def _shared(series: Series) -> list[Section]:
    if not series.shared:
        return []
    rows = tuple(
        (
            Cell(entry.quantity, note="" if entry.at.words == "one setting" else entry.at.words),
            f"{entry.dof + 1} {entry.across}",
            shown(entry.mean),
            _words(entry.mean.unit),
            f"{entry.chi2:.3g} / {entry.dof}",
            f"{entry.p_value:.2g}",
            "agree" if entry.agree else "disagree",
        )
        for entry in series.shared
    )
    columns = (
        Column("Quantity"),
        Column("Across"),
        Column("Weighted mean", "number"),
        Column("Unit"),
        Column("Chi-square / dof"),
        Column("p", "number"),
        Column("Verdict"),
    )
    text = (
        "What belongs to the pixels should not depend on the gain setting, and the gain hardly on the temperature. "
        f"Nothing is pooled: the settings are tested, and disagree below p = {DISAGREE:g}."
    )
    blocks: tuple[Block, ...] = (Paragraph(text), Table("Shared quantities", columns, rows))
    apart = [entry for entry in series.shared if not entry.agree]
    if apart:
        blocks += (Notices(tuple(Notice("caution", _words(shared_sentence(entry))) for entry in apart)),)
    return [Section("Do the settings agree?", blocks)]


def _doubts(series: Series) -> list[Section]:
    notices = [
        Notice("serious", f"{entry.setting.words} could not be fitted: {entry.reason}") for entry in series.not_fitted
    ]
    notices += [Notice("caution", note) for note in series.notes]
    notices += [Notice("caution", f"{names}: {message}", code) for code, names, message in doubts_by_code(series)]
    if not notices:
        notices = [Notice("good", "No doubts were raised at any setting.")]
    return [Section("Doubts", (Notices(tuple(notices)),))]
