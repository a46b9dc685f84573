"""Finished designs beside optics that were trained together with their decoder, as a section of a report."""

from __future__ import annotations

from calibrate.plumbing.html import Block, Column, Paragraph, Section, Table
from mi_eval.downstream.side_by_side import Cost, SideBySide


def end_to_end_section(found: SideBySide, *, timed: bool = True) -> Section:
    """Result, seconds and peak memory of every design and of the joint training.

    Parameters
    ----------
    found : SideBySide
    timed : bool
        Say what each took; without it the same results give the same bytes.
    """
    standings, metric = found.standings(), found.evaluation.metric()
    unit = "" if metric.unit == "1" else f" ({metric.unit})"
    text = (
        "Optics and decoder were trained together, by the decoder's own error, from near the conventional design; the "
        "same decoder was trained by the same rule on each finished design, with the optics held, and all were tested "
        "on the same new objects. Differences are of paired test objects."
    )
    rows = tuple(
        (
            one.name,
            f"{one.result.value:.4g}",
            f"{one.result.std:.2g}",
            *(("", "") if one.less_together is None else _signed(one.less_together.value, one.less_together.std)),
            f"{one.epochs:.0f}",
        )
        for one in standings
    )
    heads = (
        Column("Design"),
        Column(f"{metric.name}{unit}", "number"),
        Column("±", "number"),
        Column("Less together", "number"),
        Column("±", "number"),
        Column("Epochs", "number"),
    )
    blocks: list[Block] = [Paragraph(text), Table("Result", heads, rows)]
    if timed:
        blocks += _costs(found)
    return Section("Against optics trained together with the decoder", tuple(blocks))


def _signed(value: float, std: float) -> tuple[str, str]:
    return f"{value:+.3f}", f"{std:.3f}"


def _costs(found: SideBySide) -> list[Block]:
    standings = found.standings()
    base = standings[0].training
    rows = []
    for one in standings:
        whole = one.whole
        shares = ("", "") if whole is None else _shares(whole, base)
        rows.append((one.name, *_numbers(one.design), *_numbers(one.training), *shares))
    heads = (
        Column("Design"),
        Column("Design (CPU s)", "number"),
        Column("Design (MiB)", "number"),
        Column("Training (CPU s)", "number"),
        Column("Training (MiB)", "number"),
        Column("Seconds over together", "number"),
        Column("Memory over together", "number"),
    )
    text = (
        "Seconds are the mean over seeds, memory the largest peak of a training in a process of its own, which held "
        f"{base.before_mb or 0.0:.0f} MiB before it began. What a design itself took is known where its design.json "
        "lies beside it; its training comes on top, and the larger of the peaks counts."
    )
    return [Table("Seconds and peak memory", heads, tuple(rows)), Paragraph(text, small=True)]


def _numbers(cost: Cost | None) -> tuple[str, str]:
    return ("", "") if cost is None else (f"{cost.cpu_seconds:.1f}", f"{cost.peak_memory_mb:.0f}")


def _shares(whole: Cost, base: Cost) -> tuple[str, str]:
    return f"{whole.cpu_seconds / base.cpu_seconds:.2f}", f"{whole.peak_memory_mb / base.peak_memory_mb:.2f}"
