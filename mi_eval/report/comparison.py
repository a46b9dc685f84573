"""The report of a comparison: the difference and its interval first, then where it comes from."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from calibrate.plumbing.figures import figure_to_svg
from calibrate.plumbing.html import (
    Block,
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
from mi_eval.comparison import UNDECIDED, Comparison, PairResult, digits_of
from mi_eval.report import comparison_charts as charts

NO_WARNINGS = "No warnings were raised."


def render_comparison_report(comparison: Comparison) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    comparison : Comparison
        From `compare_information`.

    Returns
    -------
    str
        HTML without scripts, external references or time stamps; the same bytes for the same input.
    """
    lead = comparison.leading
    names = " against ".join(name for name, _ in comparison.entries)
    sections = [
        Section("The difference", _difference(comparison, lead)),
        Section("Warnings", (_warnings(comparison),)),
        Section("How it comes about", _balances(comparison)),
        *_where(comparison, lead),
        Section("Every number", _tables(comparison)),
    ]
    return render_page(
        names,
        sections,
        eyebrow="Comparison of information",
        lead=(comparison_headline(comparison), Paragraph(comparison_meaning(comparison))),
        footer=f"photonbits {comparison.version}, seed {comparison.seed}.",
    )


def comparison_headline(comparison: Comparison) -> Headline:
    """``a carries 0.051 bit/px more than b`` with its interval, or ``no difference detected`` with the largest left."""
    pair = comparison.leading
    estimate = pair.difference_bits_per_pixel
    low, high = estimate.ci95
    d = digits_of(estimate.std)
    if comparison.verdict == UNDECIDED:
        most = math.ceil(max(abs(low), abs(high)) * 10**d - 1e-9) / 10**d
        detail = f"at most {most:.{d}f} bit/px between {pair.first} and {pair.second} "
        detail += f"(estimate {estimate.value:+.{d}f}, 95 % interval {low:+.{d}f} to {high:+.{d}f})"
        several = len(comparison.entries) > 2
        return Headline("no entry stands out" if several else "no difference detected", detail)
    better = comparison.verdict
    sign = 1 if better == pair.first else -1
    ends = sorted((sign * low, sign * high))
    other = pair.second if better == pair.first else pair.first
    return Headline(
        f"{better} carries {sign * estimate.value:.{d}f} bit/px more",
        f"than {other}; 95 % interval {ends[0]:.{d}f} to {ends[1]:.{d}f}, p = {comparison.p_value:.2g}",
    )


def comparison_meaning(comparison: Comparison) -> str:
    """What the result means, and what stands in the way of a sharper one."""
    pair = comparison.leading
    estimate = pair.difference_bits_per_pixel
    limits = {
        "the number of frames": 2 * pair.sampling_std,
        "the errors of the calibration": 2 * pair.calibration_std,
        "what the density models may miss": pair.slack[1] - pair.slack[0],
        "what the codes leave open about H(Z|Y)": pair.conditional_entropy[1] - pair.conditional_entropy[0],
    }
    limit = max(limits, key=lambda name: limits[name])
    if comparison.verdict == UNDECIDED:
        return (
            f"The frames do not tell {pair.first} and {pair.second} apart: choose by something else, or sharpen the "
            f"comparison. What limits it most is {limit}."
        )
    worse = dict(comparison.entries)[pair.second if comparison.verdict == pair.first else pair.first]
    value = worse.mutual_information_bits_per_pixel.value
    share = f", {100 * abs(estimate.value) / value:.2g} % of what the other gives" if value > 0 else ""
    return (
        f"A pixel tells {abs(estimate.value):.{digits_of(estimate.std)}f} bit more about the scene with "
        f"{comparison.verdict}{share}. What limits the interval most is {limit}."
    )


def _chart(figure: Figure | None, name: str, title: str, caption: str) -> tuple[Chart, ...]:
    if figure is None:
        return ()
    return (Chart(figure_to_svg(figure, name=name, title=title, description=caption), caption),)


def _difference(comparison: Comparison, lead: PairResult) -> tuple[Block, ...]:
    shown = _chart(
        charts.differences(comparison),
        "differences",
        "Difference of information",
        "Estimate, random error of frames and calibration (wide bar), and the whole interval with what density models "
        "and codes leave open (thin line); different where it stays off the line at 0.",
    )
    if comparison.paired:
        shown += _chart(
            charts.frame_differences(lead),
            "frame-differences",
            "Difference of every frame",
            f"The same scene under {lead.first} and {lead.second}, frame by frame (line: the mean, band: its 95 % "
            "interval).",
        )
    else:
        shown += _chart(
            charts.frame_values(comparison),
            "frame-values",
            "Information of every frame",
            "Frames of each entry (dots) and the 95 % interval of its score (bar below); the scenes are not the same "
            "ones, so their differences are part of the error.",
        )
    how = "frame by frame, the same scenes in every entry" if comparison.paired else "scenes of the same kind, unpaired"
    return (Paragraph(f"Compared {how}, with the same density models, folds and patch size."), Charts(shown))


def _balances(comparison: Comparison) -> tuple[Block, ...]:
    text = (
        "The frames vary by H(Z) bits per pixel; the camera's noise accounts for H(Z|Y) of them, and the rest is what "
        "they tell about the scene. More of it comes from codes that vary more with the scene, or from less noise."
    )
    shown = _chart(
        charts.balances(comparison),
        "balances",
        "Both balances",
        "Everything, noise and information of each entry, in bits per pixel.",
    )
    return (Paragraph(text), Charts(shown))


def _warnings(comparison: Comparison) -> Notices:
    notices = [Notice("caution", doubt.message, doubt.code) for doubt in comparison.warnings]
    raised: dict[tuple[str, str], list[str]] = {}
    for name, score in comparison.entries:
        for doubt in score.warnings:
            raised.setdefault((doubt.code, doubt.message), []).append(name)
    notices += [Notice("note", f"{', '.join(names)}: {text}", code) for (code, text), names in raised.items()]
    return Notices(tuple(notices) or (Notice("good", NO_WARNINGS),))


def _where(comparison: Comparison, lead: PairResult) -> list[Section]:
    frame = dict(comparison.entries)[lead.first].details.example_frame
    shape = None if frame is None else (int(frame.shape[0]), int(frame.shape[1]))
    shown = _chart(
        charts.place_map(comparison, lead, shape),
        "places",
        "Difference over the frame",
        f"Mean difference of the patches at each place: blue where {lead.first} carries more, red where {lead.second} "
        "does; single places scatter, so look for regions.",
    )
    shown += _chart(
        charts.frequencies(comparison),
        "frequencies",
        "Information by spatial frequency",
        "Half the logarithm of the patches' power over the noise's: a Gaussian approximation that shows at which "
        "fineness the entries differ; the areas do not add up to the scores.",
    )
    return [Section("Where the difference is", (Charts(shown),))] if shown else []


def _tables(comparison: Comparison) -> tuple[Block, ...]:
    entries = []
    for name, score in comparison.entries:
        information = score.mutual_information_bits_per_pixel
        low, high = information.ci95
        scenes = "not seen" if score.effective_scenes is None else f"{score.effective_scenes:.0f}"
        entries.append(
            (
                name,
                f"{information.value:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{score.mean_signal_e:.4g}",
                f"{100 * score.saturated_fraction:.2g}",
                f"{score.frames}",
                scenes,
                f"{score.patches_used}",
            )
        )
    columns = (
        Column("Entry"),
        Column("Information (bit/px)", "number"),
        Column("95 % interval"),
        Column("Mean signal (e⁻)", "number"),
        Column("Saturated (%)", "number"),
        Column("Frames", "number"),
        Column("Scenes", "number"),
        Column("Patches", "number"),
    )
    pairs = []
    for pair in comparison.pairs:
        estimate = pair.difference_bits_per_pixel
        low, high = estimate.ci95
        pairs.append(
            (
                f"{pair.first} − {pair.second}",
                f"{estimate.value:+.4f}",
                f"{low:+.4f} to {high:+.4f}",
                f"{pair.sampling_std:.4f}",
                f"{pair.calibration_std:.4f}",
                f"{pair.p_value:.2g}",
                f"{pair.p_value_holm:.2g}",
                pair.verdict,
            )
        )
    pair_columns = (
        Column("Difference"),
        Column("Bit/px", "number"),
        Column("95 % interval"),
        Column("Std, frames", "number"),
        Column("Std, calibration", "number"),
        Column("p", "number"),
        Column("p, Holm", "number"),
        Column("More in"),
    )
    facts = [
        ("Patch size", f"{comparison.patch_size} × {comparison.patch_size} pixels"),
        ("Frames", "paired" if comparison.paired else "not paired"),
        *((f"Noise model of {name}", score.noise_model["sha256"] or "not saved") for name, score in comparison.entries),
        ("Seed", f"{comparison.seed}"),
        ("Version", comparison.version),
    ]
    return (
        Table("Entries", columns, tuple(entries)),
        Table("Pairs", pair_columns, tuple(pairs)),
        Facts(tuple(facts)),
    )
