"""The report of a measured edge: sharpness first, then noise, then the capacity of the assumed signal."""

from __future__ import annotations

from matplotlib.figure import Figure

from calibrate import __version__
from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import (
    Chart,
    Charts,
    Column,
    Facts,
    Headline,
    Notice,
    Notices,
    Paragraph,
    Section,
    Table,
    render_page,
)
from calibrate.plumbing.tables import format_value_std
from mi_eval.edge.result import ASSUMPTIONS, STATEMENT, EdgeMeasurement, Measured
from mi_eval.report import edge_charts as charts

_SERIOUS = frozenset({"sharpened", "nonlinear_data", "noise_below_model"})
_FORMS = {
    "nyquist_square": "Nyquist square",
    "slanted_edge_1d": "one dimension, as reported with slanted edges",
    "rotational_2d": "disc, as reported with Siemens stars",
}


def render_edge_report(found: EdgeMeasurement) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    found : EdgeMeasurement

    Returns
    -------
    str
        HTML without scripts, external references or time stamps; the same bytes for the same input.
    """
    unit = "cycles per pixel" + ("" if found.plane is None else f" of plane {found.plane}")
    if found.mtf50 is None:
        head = Headline("No MTF50", "the MTF does not fall to one half where it can be measured")
    else:
        head = Headline(f"MTF50 {_shown(found.mtf50)}", f"{unit}; standard error in parentheses")
    return render_page(
        "Slanted edge",
        [
            Section("Warnings", (_warnings(found),)),
            Section("Sharpness", _sharpness(found)),
            Section("Noise", _noise(found)),
            Section("Capacity of an assumed signal", _capacity(found)),
            Section("Every number", (Facts(tuple(_facts(found))),)),
        ],
        eyebrow="Sharpness and noise from a chart",
        lead=(head, Paragraph(_meaning(found))),
        footer=f"photonbits {__version__}, frame {found.source}.",
    )


def _shown(entry: Measured | None) -> str:
    return "none" if entry is None else format_value_std(entry.value, entry.std)


def _meaning(found: EdgeMeasurement) -> str:
    text = (
        f"Across this edge, which leans by {abs(found.angle_degrees.value):.2f} degrees, "
        f"{100 * found.mtf_at_nyquist.value:.0f} % of the contrast is left at the Nyquist frequency, and light rises "
        f"from 10 to 90 % over {found.rise_distance_px.value:.2f} pixels."
    )
    if found.pitch > 1:
        text += f" A pixel of the plane is {found.pitch} sensor pixels wide."
    return text


def _chart(figure: Figure | None, name: str, title: str, caption: str) -> tuple[Chart, ...]:
    return (
        () if figure is None else (Chart(figure_to_svg(figure, name=name, title=title, description=caption), caption),)
    )


def _warnings(found: EdgeMeasurement) -> Notices:
    if not found.warnings:
        return Notices((Notice("good", "No warnings were raised."),))
    return Notices(
        tuple(Notice("serious" if w.code in _SERIOUS else "caution", w.message, w.code) for w in found.warnings)
    )


def _sharpness(found: EdgeMeasurement) -> tuple[Charts]:
    shown = _chart(
        charts.mtf(found),
        "mtf",
        "Modulation transfer function",
        "Contrast that is left at each spatial frequency, along the edge's normal. The band is the noise model's "
        "variance carried through.",
    )
    shown += _chart(
        charts.edge_spread(found),
        "spread",
        "Edge and line spread functions",
        "Charge across the edge in quarter-pixel bins (dashed: the sides), and its derivative over the step.",
    )
    shown += _chart(charts.region(found), "region", "Measured region", "The region that was measured.")
    return (Charts(shown),)


def _noise(found: EdgeMeasurement) -> tuple[Paragraph | Charts, ...]:
    if not found.sides:
        return (Paragraph("There are too few flat pixels beside the edge for a noise spectrum."),)
    ratios = ", ".join(
        f"{format_value_std(side.ratio, side.ratio_std)} times the model's on the {name} side"
        for name, side in found.sides.items()
    )
    shown = _chart(
        charts.noise_spectrum(found),
        "noise",
        "Noise spectra",
        "Noise power beside the edge, slow trends taken out (bars: 95 %), against the noise model's, which is white.",
    )
    shown += _chart(
        charts.quanta(found),
        "quanta",
        "Noise-equivalent quanta",
        "Electrons per pixel with which an ideal camera would do as well: signal squared times MTF squared over noise "
        "power.",
    )
    return (Paragraph(f"The measured variance is {ratios}."), Charts(shown))


def _capacity(found: EdgeMeasurement) -> tuple[Notices | Table | Paragraph, ...]:
    rows = tuple(
        (
            _FORMS[entry.form],
            "noise model" if entry.noise == "model" else "measured spectrum",
            _shown(entry.bits_per_pixel),
            f"{entry.prefactor:g}",
            entry.formula,
        )
        for entry in found.capacities
    )
    columns = (
        Column("Form"),
        Column("Noise"),
        Column("Bit per pixel", "number"),
        Column("Prefactor", "number"),
        Column("Formula", wide=True),
    )
    return (
        Notices((Notice("note", STATEMENT),)),
        Table("Capacity of an assumed signal", columns, rows),
        Paragraph("Assumed: " + "; ".join(ASSUMPTIONS) + ".", small=True),
    )


def _facts(found: EdgeMeasurement) -> list[tuple[str, str]]:
    x, y, width, height = found.region
    facts = [
        ("MTF50", f"{_shown(found.mtf50)} cycles/px"),
        ("MTF10", f"{_shown(found.mtf10)} cycles/px"),
        ("MTF at Nyquist", _shown(found.mtf_at_nyquist)),
        ("10–90 % rise", f"{_shown(found.rise_distance_px)} px"),
        ("Angle", f"{_shown(found.angle_degrees)} degrees off the {'columns' if found.upright else 'rows'}"),
        ("Lines", f"{found.n_lines}"),
        ("Curve of the edge", f"order {found.curve_order}, lines scatter by {found.line_scatter_px:.3f} px"),
        ("Region", f"x {x}, y {y}, {width} × {height} px"),
        ("Plane", found.plane or "the whole frame"),
        ("Dark side", f"{_shown(found.dark_e)} e⁻"),
        ("Bright side", f"{_shown(found.bright_e)} e⁻"),
        ("Step", f"{_shown(found.vpp_e)} e⁻, {_shown(found.vpp_dn)} DN"),
        ("Dark charge", f"{found.dark_charge_e:.4g} e⁻"),
        ("Model noise", f"{found.model_noise_e2:.5g} e⁻², mean over the step"),
    ]
    facts.append(("Noise model SHA-256", found.noise_model["sha256"] or "not saved to a file"))
    return facts
