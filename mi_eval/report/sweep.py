"""The page of a sweep: the best setting first, then every setting in a table and in pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import (
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Headline,
    Notice,
    Notices,
    Paragraph,
    Section,
    Table,
    render_page,
)
from mi_eval.report import sweep_charts as charts
from mi_eval.report.numbers import decimals

Summary = Mapping[str, Any]
Entry = Mapping[str, Any]

CAPTURED = "captured"
_KINDS = {
    "captured": "Frames as they were taken.",
    "degraded": "Frames of {of} made worse: what another camera, or less light, would have given of the same scenes. "
    "The last column says by how much the imitation itself may be off.",
    "simulated": "Noiseless light through imagined cameras: exact, as far as the light given is the scenes'.",
}


def render_sweep_report(summary: Summary) -> str:
    """The content of summary.json as one self-contained page: no scripts, no references, the same bytes every time."""
    rankings = summary["rankings"]
    groups = list(dict.fromkeys(entry["group"] for entry in summary["settings"]))
    sections = [*_failures(summary)]
    for number, group in enumerate(groups, start=1):
        entries = [entry for entry in summary["settings"] if entry["group"] == group]
        own = [ranking for ranking in rankings if ranking["group"] == group]
        title = "Settings" if group == CAPTURED else f"What if: {group}"
        blocks = _group(entries, own, f"g{number}", _source_of(summary, entries))
        sections.append(Section(title, (*blocks, *(_legend(summary) if number == len(groups) else []))))
    sections += _doubts(summary)
    return render_page(
        "Settings compared by information",
        sections,
        eyebrow="Sweep of scores",
        lead=_lead(summary),
        footer=f"photonbits {summary['version']}. All numbers stand in summary.json, each score in cells/.",
    )


def _lead(summary: Summary) -> tuple[Block, ...]:
    rankings = summary["rankings"]
    if not rankings:
        return (Headline("no score", "every cell failed; see below"),)
    first = rankings[0]
    low, high = first["best"]["ci95_bits_per_pixel"]
    entry = _entry_of(summary["settings"], first["best"]["name"], first["patch_size"])
    d = decimals(entry["mutual_information_bits_per_pixel"]["std"])
    blocks: list[Block] = [
        Headline(
            f"{_printed(first['best']['name'])}: {first['best']['value_bits_per_pixel']:.{d}f} bit/px",
            f"the most of {1 + len(first['comparisons'])} settings; 95 % interval {low:.{d}f} to {high:.{d}f}, "
            f"patches of {first['patch_size']} px"
            if first["comparisons"]
            else f"95 % interval {low:.{d}f} to {high:.{d}f}, patches of {first['patch_size']} px",
        )
    ]
    blocks += [
        Paragraph(ranking["sentence"] + (f" (Patches of {ranking['patch_size']} px.)" if len(rankings) > 1 else ""))
        for ranking in rankings
    ]
    return tuple(blocks)


def _failures(summary: Summary) -> list[Section]:
    if not summary["failed"]:
        return []
    notices = tuple(Notice("serious", entry["error"], entry["cell"]) for entry in summary["failed"])
    text = f"{len(notices)} of {summary['cells']} cells have no score."
    return [Section("Failed", (Paragraph(text), Notices(notices)))]


def _source_of(summary: Summary, entries: Sequence[Entry]) -> Entry | None:
    """The setting that a what-if is made of, where there is one patch size."""
    found = [entry for entry in summary["settings"] if entry["name"] == entries[0]["of"]]
    return found[0] if len(found) == 1 else None


def _group(
    entries: Sequence[Entry], rankings: Sequence[Mapping[str, Any]], slug: str, source: Entry | None
) -> tuple[Block, ...]:
    best = [ranking["best"]["name"] for ranking in rankings]
    kind = entries[0]["kind"]
    blocks: list[Block] = [Paragraph(_KINDS[kind].format(of=entries[0]["of"]))]
    shown: list[Chart] = []
    for abscissa in charts.shown_abscissae(entries):
        figure = charts.against(entries, abscissa, best, source)
        if figure is not None:
            caption = (
                f"Information against {abscissa.title}, with 95 % intervals"
                + ("; small points are seeds" if any(entry["seeds"] > 1 for entry in entries) else "")
                + "; the ring marks the best"
                + ("." if source is None else "; dashed: the frames as they were taken.")
            )
            shown.append(_chart(figure, f"{slug}-{abscissa.key.replace('_', '-')}", abscissa.title, caption))
    if not shown and len(entries) > 1:
        caption = "Every setting with its 95 % interval; the best in orange."
        shown.append(_chart(charts.side_by_side(entries, best), f"{slug}-settings", "settings", caption))
    if shown:
        blocks.append(Charts(tuple(shown)))
    blocks.append(_table(entries, rankings))
    return tuple(blocks)


def _legend(summary: Summary) -> list[Block]:
    """What the columns of comparison mean, said once."""
    if all(not ranking["comparisons"] for ranking in summary["rankings"]):
        return []
    seeds = any(entry["seeds"] > 1 for entry in summary["settings"])
    return [
        Paragraph(
            "Below the best: difference from the best setting of the same patch size, and its standard error; paired "
            "where both show the same scenes frame by frame. “Same” settings cannot be told from the best: in 95 of "
            "100 sweeps the setting that is truly best is the one on top or one of these. "
            + ("The spread of the seeds is in all intervals. " if seeds else "")
            + "Patches of different size are not compared: neighbouring pixels share information.",
            small=True,
        )
    ]


def _chart(figure: Figure, name: str, title: str, caption: str) -> Chart:
    svg = figure_to_svg(figure, name=name, title=f"Information against {title}", description=caption)
    return Chart(svg, caption)


def _table(entries: Sequence[Entry], rankings: Sequence[Mapping[str, Any]]) -> Table:
    imitated = any(entry["kind"] == "degraded" for entry in entries)
    seeds = any(entry["seed_std_bits_per_pixel"] is not None for entry in entries)
    # Numbers of the camera where they tell one what-if from another.
    names = ("system_gain_dn_per_e", "read_noise_e", "saturated_fraction")
    captured = entries[0]["kind"] == "captured"
    shown = {name for name in names if captured or len({entry[name] for entry in entries}) > 1}
    ranked = any(ranking["comparisons"] for ranking in rankings)
    columns = [
        Column("Setting"),
        Column("Information (bit/px)", "number"),
        *([Column("Below the best", "number")] if ranked else []),
        *([Column("Against the frames", "number")] if imitated else []),
        *([Column("Seeds ±", "number")] if seeds else []),
        Column("Signal (e⁻)", "number"),
        *([Column("K (DN/e⁻)", "number")] if "system_gain_dn_per_e" in shown else []),
        *([Column("Read noise (e⁻)", "number")] if "read_noise_e" in shown else []),
        *([Column("Saturated (%)", "number")] if "saturated_fraction" in shown else []),
        *([Column("Imitation error", "number")] if imitated else []),
    ]
    rows = []
    several = len({entry["patch_size"] for entry in entries}) > 1
    for entry in entries:
        information = entry["mutual_information_bits_per_pixel"]
        low, high = information["ci95"]
        d = decimals(information["std"])
        note = f"{entry['patch_size']} px patches" if several else ""
        if entry["what_if"] and entry["what_if"]["notes"]:
            note = "; ".join(([note] if note else []) + list(entry["what_if"]["notes"]))
        spread = entry["seed_std_bits_per_pixel"]
        row: list[str | Cell] = [
            Cell(_printed(str(entry["name"]).removeprefix(f"{entry['group']}: ")), note=_printed(note)),
            Cell(f"{information['value']:.{d}f}", note=f"{low:.{d}f} to {high:.{d}f}"),
            *([_behind(entry, rankings)] if ranked else []),
            *([_against_source(entry)] if imitated else []),
            *(["–" if spread is None else f"{spread:.4f}"] if seeds else []),
            f"{entry['mean_signal_e']:.4g}",
            *([f"{entry['system_gain_dn_per_e']:.4g}"] if "system_gain_dn_per_e" in shown else []),
            *([f"{entry['read_noise_e']:.4g}"] if "read_noise_e" in shown else []),
            *([f"{100 * entry['saturated_fraction']:.2g}"] if "saturated_fraction" in shown else []),
            *([_imitation_error(entry)] if imitated else []),
        ]
        rows.append(tuple(row))
    return Table("Settings", tuple(columns), tuple(rows))


def _behind(entry: Entry, rankings: Sequence[Mapping[str, Any]]) -> Cell:
    ranking = next(r for r in rankings if r["patch_size"] == entry["patch_size"])
    if ranking["best"]["name"] == entry["name"]:
        return Cell("best")
    found = next(c for c in ranking["comparisons"] if c["name"] == entry["name"])
    d = decimals(found["std_bits_per_pixel"])
    text = f"{found['difference_bits_per_pixel']:.{d}f} ± {found['std_bits_per_pixel']:.{d}f}"
    words = ([] if found["told_apart"] else ["same"]) + (["paired"] if found["paired"] else [])
    return Cell(text, note=", ".join(words))


def _against_source(entry: Entry) -> str:
    found = entry["against_source"]
    if found is None:
        return "–"
    d = decimals(found["std_bits_per_pixel"])
    return f"{found['difference_bits_per_pixel']:+.{d}f} ± {found['std_bits_per_pixel']:.{d}f}"


def _imitation_error(entry: Entry) -> str:
    error = float(entry["what_if"]["error_bits_per_pixel"])
    return f"{error:.4f}" if error >= 5e-5 else "< 0.0001"


def _printed(text: str) -> str:
    """Electrons and products as they are printed."""
    text = text.replace("e-/s", "e⁻/s").replace("DN/e-", "DN/e⁻").replace(" e-", "\u00a0e⁻")
    return text.replace(" x ", " × ")


def _entry_of(entries: Sequence[Entry], name: str, patch_size: int) -> Entry:
    return next(entry for entry in entries if entry["name"] == name and entry["patch_size"] == patch_size)


def _doubts(summary: Summary) -> list[Section]:
    """Warnings of the scores, each with the settings that have it."""
    having: dict[str, list[str]] = {}
    for entry in summary["settings"]:
        for code in entry["warnings"]:
            names = having.setdefault(code, [])
            if entry["name"] not in names:
                names.append(entry["name"])
    total = len({entry["name"] for entry in summary["settings"]})
    if not having:
        return []
    notices = tuple(
        Notice("caution", "All settings." if len(names) == total > 1 else _printed(", ".join(names)) + ".", code)
        for code, names in having.items()
    )
    text = "What each warning means stands in the score of the cell, and in the guide."
    return [Section("Warnings of the scores", (Paragraph(text, small=True), Notices(notices)))]
