"""calibrate fit: captures in, noise model out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json

if TYPE_CHECKING:
    from calibrate.noise_model import NoiseModel


@click.command(context_settings=SETTINGS)
@click.argument("captures", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Noise model to write (YAML).")
@click.option("--maps/--no-maps", default=False, help="Measure per-pixel maps as well. Default: no maps.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report as well.")
@click.option("--json", "as_json", is_flag=True, help="The noise model as one JSON object on stdout.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of anything random.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@command_options
def fit(captures: Path, output: Path, maps: bool, report: Path | None, as_json: bool, seed: int, force: bool) -> None:
    """Fit a noise model to the dark and flat frames in CAPTURES."""
    from calibrate.commands.summary import print_summary
    from calibrate.noise_model import NoiseModel
    from calibrate.photon_transfer import fit_noise_model

    check_outputs((output, report), overwrite=force)
    model = fit_noise_model(captures, maps=maps, seed=seed)
    _save(model, output, report, force)
    if as_json:
        print_json(NoiseModel.load(output).document.to_plain())
    else:
        print_summary(model)
    for path in (output, report):
        if path is not None:
            note(f"Wrote {path}")


def _save(model: NoiseModel, output: Path, report_path: Path | None, force: bool) -> None:
    also = {}
    if report_path is not None:
        from calibrate.report import render_report

        also[report_path] = render_report(model).encode("utf-8")
    model.save(output, overwrite=force, also=also)
