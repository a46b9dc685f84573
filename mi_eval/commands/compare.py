"""mi-eval compare: which of two or more cameras or settings gives more information."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json, write_texts

if TYPE_CHECKING:
    from mi_eval.comparison import Comparison

_FRAMES = click.Path(path_type=Path)


class _EntryType(click.ParamType):  # type: ignore[type-arg]
    """NAME=FRAMES,MODEL; a comma in FRAMES is kept, as the model comes after the last one."""

    name = "entry"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path, Path]:
        name, equals, rest = str(value).partition("=")
        frames, comma, model = rest.rpartition(",")
        if not (equals and comma and name and frames and model):
            self.fail(f"{value!r} is not NAME=FRAMES,MODEL", param, ctx)
        return name, Path(frames), Path(model)


class _BitsType(click.ParamType):  # type: ignore[type-arg]
    """N, or NAME=N for one entry."""

    name = "bits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str | None, int]:
        name, equals, number = str(value).rpartition("=")
        if not number.isdecimal() or (equals and not name):
            self.fail(f"{value!r} is neither N nor NAME=N", param, ctx)
        return name or None, int(number)


@click.command(context_settings=SETTINGS)
@click.option("--a", "a", type=_FRAMES, multiple=True, help="Raw frames of a: file or folder; may be repeated.")
@click.option("--model-a", type=_FRAMES, help="Noise model of a (YAML).")
@click.option("--b", "b", type=_FRAMES, multiple=True, help="Raw frames of b: file or folder; may be repeated.")
@click.option("--model-b", type=_FRAMES, help="Noise model of b (YAML).")
@click.option(
    "--entry",
    "more",
    type=_EntryType(),
    multiple=True,
    metavar="NAME=FRAMES,MODEL",
    help="A named entry instead of a or b, or besides them; with the same NAME and MODEL again, more of its frames.",
)
@click.option(
    "--paired/--unpaired",
    default=None,
    help="Frame i shows the same scene in every entry, or scenes of the same kind. Default: as the frames show.",
)
@click.option("--patch-size", type=int, default=16, show_default=True, help="Side of the patches, pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of patch choice and folds.")
@click.option("--max-patches", type=int, default=20_000, show_default=True, help="Most patches used of an entry.")
@click.option(
    "--shift-bits",
    type=_BitsType(),
    multiple=True,
    metavar="[NAME=]N",
    help="Empty low bits of left-aligned codes, of all entries or of one; may be repeated.",
)
@click.option("--roi", is_flag=True, help="Frames of half the calibrated size are a region of interest, not binned.")
@click.option(
    "--density",
    type=click.Choice(["closed-form", "network", "reference"]),
    default="closed-form",
    show_default=True,
    help="Density models of all entries: closed-form, with a network too (needs torch), or with a slow one as well.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the comparison as JSON.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report.")
@click.option("--json", "as_json", is_flag=True, help="The comparison as one JSON object on stdout.")
@click.option("--deterministic", is_flag=True, help="Leave out timings: the same bytes every time.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@command_options
def compare(
    a: tuple[Path, ...],
    model_a: Path | None,
    b: tuple[Path, ...],
    model_b: Path | None,
    more: tuple[tuple[str, Path, Path], ...],
    paired: bool | None,
    patch_size: int,
    seed: int,
    max_patches: int,
    shift_bits: tuple[tuple[str | None, int], ...],
    roi: bool,
    density: Literal["closed-form", "network", "reference"],
    output: Path | None,
    report: Path | None,
    as_json: bool,
    deterministic: bool,
    force: bool,
) -> None:
    """Compare cameras, gain settings, exposures or lenses: bits per pixel that one carries more than the other.

    Each entry has raw frames and the noise model of its camera and setting. What cannot be told apart is not ranked.
    """
    entries = _entries({"a": (a, model_a), "b": (b, model_b)}, more)

    import json

    from mi_eval.compare import compare_information

    check_outputs((output, report), overwrite=force)
    comparison = compare_information(
        entries,
        paired=paired,
        patch_size=patch_size,
        seed=seed,
        max_patches=max_patches,
        shift_bits=_bits_of(shift_bits, entries),
        roi=roi,
        density=density,
        deterministic=deterministic,
    )
    content = comparison.to_dict()
    outputs: dict[Path, str] = {}
    if report is not None:
        from mi_eval.report.comparison import render_comparison_report

        outputs[report] = render_comparison_report(comparison)
    if output is not None:
        outputs[output] = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_texts(outputs, overwrite=force)
    if as_json:
        print_json(content)
    else:
        click.echo(_summary(comparison))
    for path in outputs:
        note(f"Wrote {path}")


def _entries(
    lettered: dict[str, tuple[tuple[Path, ...], Path | None]], more: tuple[tuple[str, Path, Path], ...]
) -> dict[str, tuple[list[Path], Path]]:
    """All entries by name; a command line that names half of one is wrong."""
    entries: dict[str, tuple[list[Path], Path]] = {}
    for name, (frames, model) in lettered.items():
        if frames and model is not None:
            entries[name] = (list(frames), model)
        elif frames or model is not None:
            missing = f"--model-{name}" if frames else f"--{name}"
            raise click.UsageError(f"{missing} is missing: an entry has frames and a noise model.")
    for name, path, model in more:
        frames_so_far, known = entries.setdefault(name, ([], model))
        if known != model:
            raise click.UsageError(f"entry {name} has two noise models, {known} and {model}.")
        frames_so_far.append(path)
    if len(entries) < 2:
        raise click.UsageError("Two entries or more: --a and --model-a, --b and --model-b, or --entry.")
    return entries


def _bits_of(given: tuple[tuple[str | None, int], ...], entries: dict[str, Any]) -> dict[str, int]:
    """Empty low bits by entry: those of its name, else those of all."""
    of_all = [bits for name, bits in given if name is None]
    of_one = {name: bits for name, bits in given if name is not None}
    if len(of_all) > 1 or len(of_all) + len(of_one) < len(given):
        raise click.UsageError("--shift-bits is given twice for one entry, or twice for all.")
    return {**(dict.fromkeys(entries, of_all[0]) if of_all else {}), **of_one}


def _summary(comparison: Comparison) -> str:
    """The comparison in words, for people."""
    from calibrate.plumbing.tables import format_table
    from mi_eval.comparison import digits_of

    sentence = comparison.sentence
    parts = [sentence[0].upper() + sentence[1:] if sentence.startswith("no ") else sentence, ""]
    rows = []
    for name, score in comparison.entries:
        information = score.mutual_information_bits_per_pixel
        d = digits_of(information.std)
        low, high = information.ci95
        rows.append(
            [
                name,
                f"{information.value:.{d}f}",
                f"{low:.{d}f} to {high:.{d}f}",
                f"{score.marginal_entropy_bits_per_pixel:.{d}f}",
                f"{score.conditional_entropy_bits_per_pixel.value:.{d}f}",
                f"{score.mean_signal_e:.4g}",
                str(score.frames),
            ]
        )
    titles = ["entry", "bit/px", "95 % interval", "H(Z)", "H(Z|Y)", "mean e-", "frames"]
    parts += [format_table(titles, rows), ""]
    lines = []
    for pair in comparison.pairs:
        difference = pair.difference_bits_per_pixel
        d = digits_of(difference.std)
        low, high = difference.ci95
        lines.append(
            [
                f"{pair.first} - {pair.second}",
                f"{difference.value:+.{d}f}",
                f"{low:+.{d}f} to {high:+.{d}f}",
                f"{difference.std:.{d}f}",
                f"{pair.p_value_holm:.2g}",
                pair.verdict,
            ]
        )
    titles = ["difference", "bit/px", "95 % interval", "std", "p", "more in"]
    parts.append(format_table(titles, lines))
    parts.append(f"\nFrames are {'paired' if comparison.paired else 'not paired'}; patches {comparison.patch_size} px.")
    raised: dict[tuple[str, str], list[str]] = {(doubt.code, doubt.message): [] for doubt in comparison.warnings}
    for name, score in comparison.entries:
        for doubt in score.warnings:
            raised.setdefault((doubt.code, doubt.message), []).append(name)
    if raised:
        parts += ["", "Doubts:"]
        parts += [f"  {', '.join(who)}{': ' if who else ''}{code}: {text}" for (code, text), who in raised.items()]
    return "\n".join(parts)
