"""The report of decoders on designs: information against result, and whether both order the designs alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from calibrate import __version__
from calibrate.plumbing import figures as style
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
from mi_eval.downstream.ranking import Ranking
from mi_eval.downstream.result import Evaluation
from mi_eval.downstream.side_by_side import SideBySide
from mi_eval.report.end_to_end_section import end_to_end_section

_MOST_NAMED = 16


def render_downstream_report(
    rankings: Sequence[Ranking],
    evaluations: Sequence[Evaluation],
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    timed: bool = True,
    end_to_end: SideBySide | None = None,
) -> str:
    """Rankings and evaluations as one self-contained HTML page.

    Parameters
    ----------
    rankings : sequence of Ranking
        The first is the headline.
    evaluations : sequence of Evaluation
    title : str
    facts : sequence of (str, str)
        What was designed for: objects, light, sensor.
    timed : bool
        Say what training cost; without it the same results give the same bytes.
    end_to_end : SideBySide, optional
        The designs beside optics trained together with their decoder.
    """
    first = rankings[0]
    share, (low, high) = first.significant, first.spearman_ci95
    main = "no pair differs" if share.share is None else f"{share.alike} of {share.pairs} pairs alike"
    detail = (
        f"pairs of designs whose audited information differs significantly, ordered alike by {first.metric.name} of "
        f"{first.title}; rank correlation {first.spearman:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    )
    sections = [ranking_section(ranking, number) for number, ranking in enumerate(rankings)]
    sections += [] if end_to_end is None else [end_to_end_section(end_to_end, timed=timed)]
    sections += [_training(evaluation, timed) for evaluation in evaluations]
    if facts:
        sections.append(Section("What the designs are for", (Facts(tuple(facts)),)))
    return render_page(
        title,
        sections,
        eyebrow="Information against result",
        lead=(Headline(main, detail), _notices(rankings)),
        footer=f"photonbits {__version__}.",
    )


def _notices(rankings: Sequence[Ranking]) -> Notices:
    found = []
    for ranking in rankings:
        name = f"{ranking.title}, {ranking.metric.name}"
        if ranking.spearman_ci95[0] <= 0:
            text = f"{name}: the interval of the rank correlation holds 0; more designs, or designs further apart."
            found.append(Notice("caution", text, "no_correlation"))
        share = ranking.significant.share
        if share is not None and share < 0.9:
            text = f"{name}: of the pairs that differ in information, {share:.0%} are ordered alike by the result."
            found.append(Notice("caution", text, "ordered_otherwise"))
    return Notices(tuple(found) or (Notice("good", "Information and results order the designs alike."),))


def ranking_section(ranking: Ranking, number: int = 0) -> Section:
    """One ranking as a section: figure, shares of pairs, and the designs in order of information."""
    low, high = ranking.spearman_ci95
    text = (
        f"Spearman's rank correlation is {ranking.spearman:.2f}, 95 % interval {low:.2f} to {high:.2f} over "
        f"{len(ranking.names)} designs, with the errors of both axes in it. Each pair of designs is a test of whether "
        "more information means a better result; pairs whose information does not differ significantly test nothing."
    )
    rows = [
        (label, f"{share.pairs}", f"{share.alike}", "" if share.share is None else f"{100 * share.share:.0f} %")
        for label, share in (
            ("information differs by 1.96 standard errors", ranking.significant),
            ("and by more than the audits leave undecided", ranking.decided),
            ("information and result differ by 1.96 standard errors", ranking.significant_in_both),
        )
    ]
    columns = (
        Column("Pairs whose", wide=True),
        Column("Pairs", "number"),
        Column("Alike", "number"),
        Column("Share", "number"),
    )
    order = sorted(range(len(ranking.names)), key=lambda i: -ranking.information[i].value)
    designs = tuple(
        (
            ranking.names[i],
            f"{ranking.information[i].value:.4f}",
            f"{ranking.information[i].std:.4f}",
            f"{ranking.results[i].value:.4g}",
            f"{ranking.results[i].std:.2g}",
        )
        for i in order
    )
    unit = "" if ranking.metric.unit == "1" else f" ({ranking.metric.unit})"
    heads = (
        Column("Design"),
        Column("Information (bit/px)", "number"),
        Column("±", "number"),
        Column(f"{ranking.metric.name}{unit}", "number"),
        Column("±", "number"),
    )
    caption = "Audited information against result; bars are 95 % intervals of sampling error, one point a design."
    name = f"ranking-{number}"
    svg = style.figure_to_svg(ranking_figure(ranking), name=name, title="Information against result")
    return Section(
        f"{ranking.title}: {ranking.metric.name}",
        (
            Paragraph(text),
            Charts((Chart(svg, caption),)),
            Table("Pairs", columns, tuple(rows)),
            Table("Designs by information", heads, designs),
            Paragraph(f"{ranking.metric.name}: {ranking.metric.meaning}.", small=True),
        ),
    )


def ranking_figure(ranking: Ranking) -> Figure:
    """Information against result with 95 % error bars."""
    x = np.array([i.value for i in ranking.information])
    y = np.array([r.value for r in ranking.results])
    x_reach = 1.96 * np.array([i.std for i in ranking.information])
    y_reach = 1.96 * np.array([r.std for r in ranking.results])
    with style.figure_style():
        figure = style.new_figure(340)
        axes = figure.subplots()
        axes.errorbar(x, y, y_reach, x_reach, fmt="o", color=style.BLUE, markersize=6, elinewidth=1.1, alpha=0.9)
        if len(x) <= _MOST_NAMED:
            for name, at_x, at_y in zip(ranking.names, x, y, strict=True):
                label = style.safe_label(name, 18)
                axes.annotate(label, (at_x, at_y), (5, 5), textcoords="offset points", fontsize=7, color=style.MUTED)
        unit = "" if ranking.metric.unit == "1" else f" ({ranking.metric.unit})"
        better = "" if ranking.metric.larger_is_better else ", smaller is better"
        axes.set_xlabel("audited information (bit/px)")
        axes.set_ylabel(f"{ranking.metric.name}{unit}{better}")
    return figure


def _training(evaluation: Evaluation, timed: bool) -> Section:
    facts = [(f"Decoder: {key}", f"{value}") for key, value in evaluation.decoder.items()]
    facts += [(key.replace("_", " ").capitalize(), f"{value}") for key, value in evaluation.settings.items()]
    facts.append(("Range that errors are relative to", f"{evaluation.target_range:.4g}"))
    if timed:
        seconds = [seed.cpu_seconds for design in evaluation.designs for seed in design.seeds]
        facts.append(("Training and decoding", f"{np.mean(seconds):.1f} CPU seconds a design and seed"))
    text = "Every design had the same decoder, settings, objects and seeds; objects of training, validation and test "
    text += "are drawn apart from each other and from the audit's."
    return Section(f"{evaluation.title}: how it was trained", (Paragraph(text), Facts(tuple(facts))))
