"""calibrate show and report: a noise model for people."""

from __future__ import annotations

from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note, print_json


@click.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The file's content as one JSON object on stdout.")
@command_options
def show(sensor: Path, as_json: bool) -> None:
    """Show the numbers and the doubts of a noise model SENSOR (YAML)."""
    from calibrate.commands.summary import print_summary
    from calibrate.noise_model import NoiseModel

    model = NoiseModel.load(sensor)
    if as_json:
        print_json(model.document.to_plain())
    else:
        print_summary(model)


@click.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="HTML page to write.")
@click.option("--force", is_flag=True, help="Replace an existing page.")
@command_options
def report(sensor: Path, output: Path, force: bool) -> None:
    """Write the HTML report of a noise model SENSOR (YAML)."""
    from calibrate.noise_model import NoiseModel
    from calibrate.plumbing.atomic import check_output_path, write_text_atomically
    from calibrate.report import render_report

    check_output_path(output, overwrite=force)
    write_text_atomically(output, render_report(NoiseModel.load(sensor)), overwrite=force)
    note(f"Wrote {output}")
