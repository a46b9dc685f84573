"""The `calibrate` command: a thin layer over the library, imports inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrate import __version__
from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json

if TYPE_CHECKING:
    from calibrate.noise_model import NoiseModel


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, "--version", message="photonbits %(version)s")
def main() -> None:
    """Camera noise models from dark and flat frames.

    A typical session: inspect a folder of captures, fit it, look at the report.
    """


@main.command(context_settings=SETTINGS)
@click.argument("captures", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option(
    "--write-manifest", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found as a YAML manifest."
)
@click.option("--force", is_flag=True, help="Replace an existing manifest.")
@command_options
def inspect(captures: Path, as_json: bool, write_manifest: Path | None, force: bool) -> None:
    """Show what CAPTURES hold: levels, frames, bit depth, and what was ignored and why.

    CAPTURES is a folder, a manifest (YAML or CSV), an EMVA 1288 descriptor, or a table of means and variances.
    """
    from calibrate.captures import load_captures
    from calibrate.captures import write_manifest as write
    from calibrate.inspect import describe_captures, format_inspection

    found = load_captures(captures)
    content = describe_captures(found)
    if write_manifest is not None:
        write(found, write_manifest, overwrite=force)
        note(f"Wrote {write_manifest}")
    if as_json:
        print_json(content)
    else:
        click.echo(format_inspection(content))


@main.command(context_settings=SETTINGS)
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
    from calibrate.photon_transfer import fit_noise_model

    check_outputs((output, report), overwrite=force)
    model = fit_noise_model(captures, maps=maps, seed=seed)
    _save(model, output, report, force)
    if as_json:
        print_json(_reload(output).document.to_plain())
    else:
        _print_summary(model)
    for path in (output, report):
        if path is not None:
            note(f"Wrote {path}")


@main.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The file's content as one JSON object on stdout.")
@command_options
def show(sensor: Path, as_json: bool) -> None:
    """Show the numbers and the doubts of a noise model SENSOR (YAML)."""
    model = _reload(sensor)
    if as_json:
        print_json(model.document.to_plain())
    else:
        _print_summary(model)


@main.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="HTML page to write.")
@click.option("--force", is_flag=True, help="Replace an existing page.")
@command_options
def report(sensor: Path, output: Path, force: bool) -> None:
    """Write the HTML report of a noise model SENSOR (YAML)."""
    from calibrate.plumbing.atomic import check_output_path, write_text_atomically
    from calibrate.report import render_report

    check_output_path(output, overwrite=force)
    write_text_atomically(output, render_report(_reload(sensor)), overwrite=force)
    note(f"Wrote {output}")


@main.command(context_settings=SETTINGS)
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
    from calibrate.simulate import simulate_captures

    folder = simulate_captures(
        _reload(sensor),
        output,
        levels=levels,
        frames_per_level=frames_per_level,
        shape=_parse_shape(shape),
        exposure_max_s=exposure_max_s,
        dark_levels=dark_levels,
        darks_per_level=darks_per_level,
        light_scatter_percent=light_scatter_percent,
        seed=seed,
        overwrite=force,
    )
    note(f"Wrote {folder}; fit it with: calibrate fit {folder} -o sensor.yaml")


@main.command("from-values", context_settings=SETTINGS)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Noise model to write (YAML).")
@click.option("--gain-dn-per-e", type=float, required=True, help="System gain K, DN per electron.")
@click.option("--read-noise-e", type=float, required=True, help="Read noise, electrons.")
@click.option("--offset-dn", type=float, required=True, help="Mean code of a dark, DN.")
@click.option("--bit-depth", type=int, required=True, help="Bits per code.")
@click.option("--full-well-e", type=float, help="Full well, electrons, where it lies below the highest code.")
@click.option("--dark-current-e-per-s", type=float, help="Dark current, electrons per second.")
@click.option("--white-clip-dn", type=int, help="Highest code. Default: 2^bits - 1.")
@click.option("--force", is_flag=True, help="Replace an existing file.")
@command_options
def from_values(
    output: Path,
    gain_dn_per_e: float,
    read_noise_e: float,
    offset_dn: float,
    bit_depth: int,
    full_well_e: float | None,
    dark_current_e_per_s: float | None,
    white_clip_dn: int | None,
    force: bool,
) -> None:
    """Write a noise model of given values (a data sheet's, say), flagged not_measured."""
    from calibrate.noise_model import NoiseModel

    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain_dn_per_e,
        read_noise_e=read_noise_e,
        offset_dn=offset_dn,
        bit_depth=bit_depth,
        full_well_e=full_well_e,
        dark_current_e_per_s=dark_current_e_per_s,
        white_clip_dn=white_clip_dn,
    )
    model.save(output, overwrite=force)
    note(f"Wrote {output}")


def _save(model: NoiseModel, output: Path, report_path: Path | None, force: bool) -> None:
    also = {}
    if report_path is not None:
        from calibrate.report import render_report

        also[report_path] = render_report(model).encode("utf-8")
    model.save(output, overwrite=force, also=also)


def _reload(path: Path) -> NoiseModel:
    from calibrate.noise_model import NoiseModel

    return NoiseModel.load(path)


def _parse_shape(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise click.BadParameter(f"{text!r} is not HEIGHTxWIDTH, as 128x128", param_hint="--shape")
    return int(parts[0]), int(parts[1])


def _print_summary(model: NoiseModel) -> None:
    from calibrate.plumbing.tables import format_table, format_value_std
    from calibrate.schema import PARAMETERS, ParameterEntry

    rows = []
    for name, entry in model.document.parameters.items():
        if isinstance(entry, ParameterEntry):
            rows.append([name, format_value_std(entry.value, entry.std), entry.unit, PARAMETERS[name][1]])
        else:
            for power, (value, std) in enumerate(zip(entry.coefficients, entry.std, strict=True), start=1):
                rows.append([f"nonlinearity c{power}", format_value_std(value, std), "1", PARAMETERS[name][1]])
    click.echo(format_table(["parameter", "value", "unit", "meaning"], rows, align="lrll"))
    fitted = model.document.fit
    quality = (
        "" if fitted.deviance_per_dof is None else f", deviance {fitted.deviance_per_dof:.2f} per degree of freedom"
    )
    click.echo(f"\nModel: {fitted.model.replace('_', ' ')}{quality}")
    if fitted.flags:
        click.echo("\nDoubts:")
        for doubt in fitted.flags:
            click.echo(f"  {doubt.code}: {doubt.message}")
    else:
        click.echo("\nNo doubts were raised.")


if __name__ == "__main__":
    main()
