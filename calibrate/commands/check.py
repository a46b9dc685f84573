"""calibrate check: a noise model against captures, best ones that it has not seen."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, print_json


@click.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.argument("captures", type=click.Path(path_type=Path))
@click.option("--unseen", is_flag=True, help="Compare only frames in files that were not part of the fit.")
@click.option(
    "--shift-bits",
    type=click.IntRange(0, 16),
    metavar="N",
    help="Empty low bits of left-aligned codes. Default: the manifest's, else 0.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on stdout.")
@command_options
def check(sensor: Path, captures: Path, unseen: bool, shift_bits: int | None, as_json: bool) -> None:
    """Compare the noise in CAPTURES with what the noise model SENSOR (YAML) predicts.

    Exits with 0 where they agree, and with 1 and a diagnosis where they do not. CAPTURES are as for fit: flats, darks
    or both; a table of means and variances. Frames that were part of the fit are recognised.
    """
    from calibrate.captures import load_captures
    from calibrate.noise_model import NoiseModel
    from calibrate.validation import check_captures, format_result

    found = load_captures(captures, shift_bits=shift_bits)
    result = check_captures(NoiseModel.load(sensor), found, unseen=unseen)
    if as_json:
        print_json(result.to_dict())
    else:
        click.echo(format_result(result))
    if not result.agrees:
        sys.exit(1)
