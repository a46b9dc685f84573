"""calibrate fit: captures in, noise model out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json

if TYPE_CHECKING:
    from calibrate.captures import CaptureSet
    from calibrate.noise_model import NoiseModel
    from calibrate.schema import NoiseModelDocument


def _channels_option(context: click.Context, option: click.Parameter, text: str) -> str:
    """The option as it is, refused here where it is none: a wrong command line."""
    from calibrate.sections import CHANNELS_LEGAL, is_channels_option

    if not is_channels_option(text):
        raise click.BadParameter(f"{text!r} is none of {CHANNELS_LEGAL}", context, option)
    return text


@click.command(context_settings=SETTINGS)
@click.argument("captures", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Noise model to write (YAML); a folder for captures at several settings.",
)
@click.option("--maps/--no-maps", default=False, help="Measure per-pixel maps as well. Default: no maps.")
@click.option("--emva", is_flag=True, help="Add the quantities of EMVA 1288, releases 4.0 and 3.1.")
@click.option(
    "--channels",
    default="auto",
    show_default=True,
    metavar="NAME",
    callback=_channels_option,
    help="Fit every channel on its own pixels: auto (the colour filters that the captures state), mono, RGGB, BGGR, "
    "GRBG, GBRG, taps:RxC (regions, rows x columns), interleaved:RxC.",
)
@click.option(
    "--from-scenes",
    is_flag=True,
    help="Fit repeated frames of still scenes instead of flats: weaker, and flagged so.",
)
@click.option("--offset-dn", type=float, help="Offset of a camera without darks, for --from-scenes.")
@click.option(
    "--shift-bits",
    type=click.IntRange(0, 16),
    metavar="N",
    help="Empty low bits of left-aligned codes. Default: the manifest's, else 0.",
)
@click.option(
    "--excess-noise-factor",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    metavar="F2",
    help="F squared of the amplifier, 2 for electron multiplication: adds the numbers in input electrons.",
)
@click.option(
    "--hold-out",
    type=click.IntRange(min=2),
    metavar="N",
    help="Leave every Nth level of flats and of darks out of the fit, for calibrate check --unseen.",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report as well.")
@click.option("--json", "as_json", is_flag=True, help="The noise model as one JSON object on stdout.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of anything random.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@command_options
def fit(
    captures: Path,
    output: Path,
    maps: bool,
    emva: bool,
    channels: str,
    from_scenes: bool,
    offset_dn: float | None,
    shift_bits: int | None,
    excess_noise_factor: float,
    hold_out: int | None,
    report: Path | None,
    as_json: bool,
    seed: int,
    force: bool,
) -> None:
    """Fit a noise model to the dark and flat frames in CAPTURES.

    Captures at several gain settings, temperatures or read-out modes give a folder with one noise model each,
    summary.json and summary.html.
    """
    from calibrate.captures import load_bursts, load_captures, split_by_setting
    from calibrate.channels import choose_layout, fit_channels
    from calibrate.commands.channel_summary import print_channels
    from calibrate.commands.summary import print_summary
    from calibrate.excess_noise import with_excess_noise

    if not output.is_dir():  # whether it may be a folder, the captures decide; that it can be made, nobody else
        check_outputs((output,), overwrite=True)
    if from_scenes and (maps or emva):
        raise click.UsageError("--maps and --emva need flats: leave them out with --from-scenes")
    if offset_dn is not None and not from_scenes:
        raise click.UsageError("--offset-dn is for --from-scenes; flats need darks")
    found = (load_bursts if from_scenes else load_captures)(captures, shift_bits=shift_bits)
    for text in found.notes:
        note(f"Note: {text}.")
    if hold_out is not None:
        from calibrate.captures.hold_out import without_every

        if from_scenes or found.points:
            raise click.UsageError("--hold-out is for frames of flats and darks")
        found, n_held = without_every(found, hold_out)
        note(f"Held out {n_held} frames. Compare them with: calibrate check {output} {captures} --unseen")
    several = len(split_by_setting(found).parts) > 1

    def fit_one(part: CaptureSet) -> NoiseModel:
        if from_scenes:
            from calibrate.from_scenes import fit_from_scenes

            model = fit_channels(part, channels=channels, fit=partial(fit_from_scenes, offset_dn=offset_dn))
            return with_excess_noise(model, excess_noise_factor)
        model = fit_channels(part, channels=channels, maps=maps, seed=seed)
        if emva:
            from calibrate.emva1288 import add_emva1288

            model = add_emva1288(model, part, seed=seed)
        return with_excess_noise(model, excess_noise_factor)

    channels_note = f"Channels: {choose_layout(found, channels)[1]}."
    if several:
        from calibrate.commands.series import fit_several

        note(channels_note)
        fit_several(found, output, fit_one, report=report, as_json=as_json, overwrite=force)
        return
    check_outputs((output, report), overwrite=force)
    note(channels_note)
    model = fit_one(found)
    written = _save(model, output, report, force)
    if as_json:
        print_json(written.to_plain())
    else:
        print_summary(model)
        print_channels(model)
    for path in (output, report):
        if path is not None:
            note(f"Wrote {path}")


def _save(model: NoiseModel, output: Path, report_path: Path | None, force: bool) -> NoiseModelDocument:
    also = {}
    if report_path is not None:
        from calibrate.report import render_report

        also[report_path] = render_report(model).encode("utf-8")
    return model.save(output, overwrite=force, also=also)
