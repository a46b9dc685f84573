"""The report of a score: what is in it, in which order, and the sentence under each picture."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from matplotlib.figure import Figure

from calibrate.plumbing.figures import figure_to_svg, save_png
from calibrate.plumbing.html import (
    Block,
    Cell,
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
from mi_eval.report import charts
from mi_eval.report import numbers as n
from mi_eval.report.budget import bars, budget_sections, spectrum, spectrum_charts
from mi_eval.score_details import ScoreDetails

NO_WARNINGS = "No warnings were raised."


def render_score_report(score: n.Score, details: ScoreDetails | None = None) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    score : mapping
        The content of score.json.
    details : ScoreDetails or None
        Arrays for the pictures; what is missing is left out.

    Returns
    -------
    str
        HTML without scripts, external references or time stamps; the same bytes for the same input.
    """
    details = details or ScoreDetails()
    head = n.headline(score)
    sections = [
        Section("How it comes about", _balance(score)),
        Section("Warnings", (_warnings(score),)),
        *budget_sections(score),
        *_where(score, details),
        *_light(details),
        Section("Density models", _models(score, details)),
        Section("Every number", (Facts(tuple(number_facts(score))),)),
    ]
    return render_page(
        "Information in the raw frames",
        sections,
        eyebrow="Mutual information score",
        lead=(Headline(head.main, head.detail), Paragraph(n.meaning(score))),
        footer=f"photonbits {score['version']}, seed {score['seed']}.",
    )


def write_score_figures(score: n.Score, details: ScoreDetails | None, folder: str | Path) -> list[Path]:
    """Write every figure of the report as PNG into `folder` (made where it does not exist); returns the files."""
    details = details or ScoreDetails()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure | None] = {
        "balance": charts.balance(score),
        "interval": charts.interval(score),
        "example_frame": charts.example_frame(details),
        "information_map": charts.information_map(details, int(score["patch_size"])),
        "frames": charts.frames(details, score),
        "intensity_law": charts.intensity_law(details),
        "code_histogram": charts.code_histogram(details),
        "pit": charts.pit(details),
        "learning_curve": charts.learning_curve(details, score),
        "budget": bars(score) if (score.get("budget") or {}).get("parts") else None,
        "spectrum": spectrum(score),
    }
    written = []
    for name, figure in figures.items():
        if figure is not None:
            written.append(folder / f"{name}.png")
            save_png(figure, written[-1])
    return written


def _chart(figure: Figure | None, name: str, title: str, caption: str) -> tuple[Chart, ...]:
    if figure is None:
        return ()
    return (Chart(figure_to_svg(figure, name=name, title=title, description=caption), caption),)


def _section(title: str, shown: tuple[Chart, ...]) -> list[Section]:
    return [Section(title, (Charts(shown),))] if shown else []


# ---- sections --------------------------------------------------------------------------------------------


def _balance(score: n.Score) -> tuple[Block, ...]:
    conditional = score["conditional_entropy_bits_per_pixel"]
    low, high = conditional["interval"]
    text = (
        "The frames vary by H(Z) bits per pixel, as measured by the shortest code found for frames held out of the "
        "fit. The camera's noise alone, known from its calibration, accounts for H(Z|Y) of them. What is left is "
        "what the frames tell about the scene."
    )
    if not conditional["identifiable"]:
        text += (
            f" These codes do not fix H(Z|Y): every value from {low:.3f} to {high:.3f} bit/px agrees with them, and "
            "the interval of the score holds all of these."
        )
    shown = _chart(
        charts.balance(score),
        "balance",
        "Information as a difference",
        "What remains of all variation in the codes when the camera's noise is taken away is the information.",
    )
    caption = (
        f"The estimate between its bounds: the length of the held-out code allows at most "
        f"{score['upper_bound_bits_per_pixel']:.3f} bit/px, up to sampling error"
    )
    lower = score.get("lower_bound_bits_per_pixel")
    if lower is not None and not n.lower_bound_is_near(score):
        caption += f" (the lower bound, {lower:.3f}, lies far to the left)"
    shown += _chart(charts.interval(score), "interval", "Estimate, interval and bounds", caption + ".")
    return (Paragraph(text), Charts(shown))


def _warnings(score: n.Score) -> Notices:
    warnings = score.get("warnings") or []
    if not warnings:
        return Notices((Notice("good", NO_WARNINGS),))
    return Notices(tuple(Notice("caution", entry["message"], entry["code"]) for entry in warnings))


def _where(score: n.Score, details: ScoreDetails) -> list[Section]:
    patch = int(score["patch_size"])
    shown: tuple[Chart, ...] = ()
    names = details.frame_names
    name = names[details.example_frame_index] if details.example_frame_index < len(names) else ""
    caption = "An example frame" + (f", {name}" if name else "") + "."
    shown += _chart(charts.example_frame(details), "example-frame", "Example frame", caption)
    found = n.local_information(details, patch)
    if found is not None:
        caption = (
            f"Where its bits are: information in each of its {found[1]} scored patches of {patch} × {patch} pixels; "
            "single patches scatter, so look for regions (grey: not scored)."
        )
        shown += _chart(charts.information_map(details, patch), "information-map", "Map of local information", caption)
    shown += spectrum_charts(score)
    if details.per_frame_bits is not None and len(details.per_frame_bits):
        bits = np.asarray(details.per_frame_bits, dtype=np.float64)
        far = int(n.frame_outliers(bits).sum())
        stand = {0: "none stands out", 1: "one stands out (orange)"}.get(far, f"{far} stand out (orange)")
        caption = (
            f"Frame by frame: from {bits.min():.3f} to {bits.max():.3f} bit/px with a mean of {bits.mean():.3f} (line: "
            f"the score, band: its 95 % interval); {stand}."
        )
        shown += _chart(charts.frames(details, score), "frames", "Information of every frame", caption)
    return _section("Where the bits are", shown)


def _light(details: ScoreDetails) -> list[Section]:
    shown: tuple[Chart, ...] = ()
    if details.histogram_codes is not None:
        caption = (
            "Codes of all scored pixels against what the intensity law and the noise model predict: points outside "
            "the grey band, in runs, say that the noise model does not belong to these frames."
        )
        shown += _chart(charts.code_histogram(details), "codes", "Observed and predicted codes", caption)
    caption = (
        "The light behind the noise: the distribution of collected charge that explains the codes best; only shares "
        "over ranges mean something, single peaks do not."
    )
    shown += _chart(charts.intensity_law(details), "intensity", "Intensity law", caption)
    return _section("Light and codes", shown)


def _models(score: n.Score, details: ScoreDetails) -> tuple[Block, ...]:
    models = score.get("models") or []
    blocks: list[Block] = []
    if models:
        timed = all(model.get("seconds") is not None for model in models)
        best = sorted(models, key=lambda model: (model["heldout_bits_per_pixel"], model["name"]))
        rows: list[tuple[str | Cell, ...]] = []
        for model in best:
            share = min(max(float(model["weight"]), 0.0), 1.0)
            row: tuple[str | Cell, ...] = (
                model["name"],
                f"{model['heldout_bits_per_pixel']:.4f}",
                Cell(f"{model['weight']:.3f}", share=share),
            )
            rows.append((*row, f"{model['seconds']:.1f}") if timed else row)
        columns = [Column("Model"), Column("Held-out code length (bit/px)", "number"), Column("Weight", "number")]
        if timed:
            columns.append(Column("Time (s)", "number"))
        blocks += [
            Paragraph("Models of the frames, shortest code first; the mixture with these weights codes the frames."),
            Table("Density models", tuple(columns), tuple(rows)),
        ]
    caption = (
        "A density model without fault gives a flat histogram at 1: a hump says that its predictions are too wide, "
        "a bowl that they are too narrow."
    )
    shown = _chart(charts.pit(details), "pit", "Probability integral transform", caption)
    caption = (
        "The score of a quarter, half and all of the frames, each corrected for its number: where the curve still "
        "moves at the right end, more scenes would change the score."
    )
    shown += _chart(charts.learning_curve(details, score), "learning", "Learning curve", caption)
    if shown:
        blocks.append(Charts(shown))
    return tuple(blocks) or (Paragraph("No density models are listed."),)


def _scene_facts(score: n.Score) -> list[tuple[str, str]]:
    scenes = score.get("effective_scenes")
    return [] if scenes is None else [("Different scenes", f"about {scenes:.0f}")]


def number_facts(score: n.Score) -> list[tuple[str, str]]:
    """Every number of the score with its name in words."""
    information = score["mutual_information_bits_per_pixel"]
    conditional = score["conditional_entropy_bits_per_pixel"]
    kind = "" if score["entropy_kind"] == "discrete" else " (differential, per DN)"
    low, high = information["ci95"]
    facts = [
        ("Information", f"{information['value']:.5f} bit/px"),
        ("Standard error", "not known" if information["std"] is None else f"{information['std']:.2g} bit/px"),
        ("95 % interval", f"{low:.5f} to {high:.5f} bit/px"),
        ("Upper bound", f"{score['upper_bound_bits_per_pixel']:.5f} bit/px"),
    ]
    bound = score.get("lower_bound_bits_per_pixel")
    facts.append(("Lower bound", "none computed" if bound is None else f"{bound:.5f} bit/px"))
    facts += [
        ("Slack of the density models", f"{score['slack_bits_per_pixel']:.5f} bit/px, extends the interval downwards"),
        ("H(Z)", f"{score['marginal_entropy_bits_per_pixel']:.5f} bit/px{kind}"),
        ("H(Z|Y)", f"{conditional['value']:.5f} bit/px{kind}"),
    ]
    lowest, highest = conditional["interval"]
    fixed = "" if conditional["identifiable"] else "; not fixed by these codes"
    facts.append(("Interval of H(Z|Y)", f"{lowest:.5f} to {highest:.5f} bit/px{fixed}"))
    if score.get("bits_per_electron") is not None:
        facts.append(("Bits per electron", f"{score['bits_per_electron']:.5g}"))
    if score.get("mean_signal_e") is not None:
        facts.append(("Mean signal", f"{score['mean_signal_e']:.5g} electrons of light"))
    efficiency = score.get("efficiency")
    if efficiency is not None:
        facts.append(("Efficiency", f"{efficiency['value']:.4f} of the photons' information ({efficiency['method']})"))
    size = score["patch_size"]
    facts += [
        ("Frames", f"{score['frames']}"),
        *_scene_facts(score),
        ("Patches", f"{score['patches_used']} of {size} × {size} pixels"),
        ("Saturated pixels", f"{100 * score['saturated_fraction']:.3g} %"),
    ]
    model = score["noise_model"]
    if model.get("path"):
        facts.append(("Noise model", _file_name(str(model["path"]))))
    facts += [
        ("Its SHA-256", model.get("sha256") or "not saved to a file"),
        ("Seed", f"{score['seed']}"),
        ("Version", f"{score['version']}"),
    ]
    return facts


def _file_name(path: str) -> str:
    """The last part of a path of either kind: a report is passed on, and folders of one machine mean nothing there."""
    return PurePosixPath(PureWindowsPath(path).as_posix()).name
