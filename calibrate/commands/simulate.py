"""calibrate simulate: captures of a simulated sensor."""

from __future__ import annotations

from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note


@click.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--levels", type=int, default=16, show_default=True, help="Bright levels.")
@click.option("--frames-per-level", type=int, default=2, show_default=True, help="Frames at each level.")
@click.option("--dark-levels", type=int, help="Dark exposures. Default: as many as bright levels.")
@click.option("--darks-per-level", type=int, help="Darks at each exposure. Default: as many as brights.")
@click.option("--shape", metavar="HxW", help="Frame size, as 128x128. Default: the sensor's.")
@click.option("--exposure-max-s", type=float, default=1.0, show_default=True, help="Longest exposure.")
@click.option(
    "--light-scatter-percent", type=float, default=0.0, show_default=True, help="Scatter of the lamp between levels."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the noise.")
@click.option("--force", is_flag=True, help="Replace an existing folder.")
@command_options
def simulate(
    sensor: Path,
    output: Path,
    levels: int,
    frames_per_level: int,
    dark_levels: int | None,
    darks_per_level: int | None,
    shape: str | None,
    exposure_max_s: float,
    light_scatter_percent: float,
    seed: int,
    force: bool,
) -> None:
    """Shoot flats and darks with the simulated SENSOR (YAML): frames, manifest.csv and truth.json."""
    from calibrate.noise_model import NoiseModel
    from calibrate.simulate import simulate_captures

    folder = simulate_captures(
        NoiseModel.load(sensor),
        output,
        levels=levels,
        frames_per_level=frames_per_level,
        shape=parse_shape(shape),
        exposure_max_s=exposure_max_s,
        dark_levels=dark_levels,
        darks_per_level=darks_per_level,
        light_scatter_percent=light_scatter_percent,
        seed=seed,
        overwrite=force,
    )
    note(f"Wrote {folder}; fit it with: calibrate fit {folder} -o sensor.yaml")


def parse_shape(text: str | None) -> tuple[int, int] | None:
    """(height, width) from HxW; None for None."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is not HEIGHTxWIDTH, as 128x128", param_hint="--shape")
    return int(parts[0]), int(parts[1])
