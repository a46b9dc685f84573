"""calibrate plan: which frames to shoot for a wanted precision, and what to shoot next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrate.commands.simulate import parse_shape
from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json

if TYPE_CHECKING:
    from calibrate.noise_model import NoiseModel
    from calibrate.plan.targets import Target

_VALUES = ("--gain-dn-per-e", "--read-noise-e", "--bit-depth")


@click.command(context_settings=SETTINGS)
@click.argument("sensor", type=click.Path(path_type=Path), required=False)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME=ERROR",
    help="Wanted standard error, repeatable: gain=0.1%, read_noise=1%, dark_current=5%, responsivity=0.1%, offset=0.01 "
    "(DN), information=0.005 (bit/px), maps or maps=0.01 (bit/px). Default: gain=0.1% and read_noise=1%.",
)
@click.option("--gain-dn-per-e", type=float, help="System gain K, DN per electron, in place of SENSOR.")
@click.option("--read-noise-e", type=float, help="Read noise, electrons.")
@click.option("--bit-depth", type=int, help="Bits per code.")
@click.option("--offset-dn", type=float, help="Mean code of a dark, DN. Default: 0.")
@click.option("--full-well-e", type=float, help="Full well, electrons, where it lies below the highest code.")
@click.option("--dark-current-e-per-s", type=float, help="Dark current, electrons per second.")
@click.option("--shape", metavar="HxW", help="Frame size. Default: the sensor's, else 1080x1920.")
@click.option(
    "--light-scatter-percent", type=float, help="Scatter of the lamp between levels. Default: fitted, else 0.1."
)
@click.option("--exposure-max-s", type=float, help="Exposure that fills the range. Default: as measured, else 1.")
@click.option(
    "--response-terms", type=int, default=1, show_default=True, help="Coefficients of a bent response to allow for."
)
@click.option("--levels", type=int, help="Bright levels, 6 or more. Default: whatever needs the fewest frames.")
@click.option("--signal-e", type=float, help="Signal of the scenes to be scored. Default: 10 % of saturation.")
@click.option("--scene-exposure-s", type=float, help="Exposure of these scenes. Default: the one that fills the range.")
@click.option(
    "--next-frames", type=int, default=16, show_default=True, help="Frames of each suggestion for the next shot."
)
@click.option("--max-frames", type=int, default=2000, show_default=True, help="Frames at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the order of levels.")
@click.option("--json", "as_json", is_flag=True, help="The plan as one JSON object on stdout.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the shooting list (CSV manifest).")
@click.option("--force", is_flag=True, help="Replace an existing shooting list.")
@command_options
def plan(
    sensor: Path | None,
    targets: tuple[str, ...],
    gain_dn_per_e: float | None,
    read_noise_e: float | None,
    bit_depth: int | None,
    offset_dn: float | None,
    full_well_e: float | None,
    dark_current_e_per_s: float | None,
    shape: str | None,
    light_scatter_percent: float | None,
    exposure_max_s: float | None,
    response_terms: int,
    levels: int | None,
    signal_e: float | None,
    scene_exposure_s: float | None,
    next_frames: int,
    max_frames: int,
    seed: int,
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Plan the frames that calibrate a camera as well as wanted.

    SENSOR is a noise model (YAML). One that was fitted says what was shot already, and the plan what to add. Otherwise,
    or with --gain-dn-per-e, --read-noise-e and --bit-depth in its place, the plan starts from nothing.
    """
    given = {
        "--gain-dn-per-e": gain_dn_per_e,
        "--read-noise-e": read_noise_e,
        "--bit-depth": bit_depth,
        "--offset-dn": offset_dn,
        "--full-well-e": full_well_e,
        "--dark-current-e-per-s": dark_current_e_per_s,
    }
    _check_usage(sensor, given)
    frame_shape = parse_shape(shape)
    wanted = _targets(targets)
    check_outputs((output,), overwrite=force)
    from calibrate.noise_model import NoiseModel
    from calibrate.plan import format_plan, make_plan, manifest_csv, plan_sensor, plan_to_plain
    from calibrate.plumbing.atomic import write_text_atomically

    model = NoiseModel.load(sensor) if sensor is not None else _from_values(given)
    planned = make_plan(
        plan_sensor(
            model,
            shape=frame_shape,
            light_scatter_percent=light_scatter_percent,
            exposure_max_s=exposure_max_s,
            response_terms=response_terms,
        ),
        wanted,
        levels=levels,
        signal_e=signal_e,
        scene_exposure_s=scene_exposure_s,
        next_frames=next_frames,
        max_frames=max_frames,
        seed=seed,
    )
    if output is not None:
        write_text_atomically(output, manifest_csv(planned.sensor, planned.order), overwrite=force)
    if as_json:
        print_json(plan_to_plain(planned))
    else:
        click.echo(format_plan(planned))
    if output is not None:
        note(f"Wrote {output}; save the frames under its names, then: calibrate fit {output} -o sensor.yaml")


def _check_usage(sensor: Path | None, given: dict[str, float | int | None]) -> None:
    stated = [name for name, value in given.items() if value is not None]
    if sensor is not None and stated:
        raise click.UsageError(f"Give SENSOR or {stated[0]}, not both.")
    missing = [name for name in _VALUES if given[name] is None]
    if sensor is None and missing:
        raise click.UsageError(f"Give SENSOR, or {', '.join(_VALUES)} in its place (missing: {missing[0]}).")


def _from_values(given: dict[str, float | int | None]) -> NoiseModel:
    from calibrate.noise_model import NoiseModel

    def number(name: str) -> float | None:
        value = given[name]
        return None if value is None else float(value)

    return NoiseModel.from_parameters(
        system_gain_dn_per_e=number("--gain-dn-per-e") or 0.0,
        read_noise_e=number("--read-noise-e") or 0.0,
        offset_dn=number("--offset-dn") or 0.0,
        bit_depth=int(given["--bit-depth"] or 0),
        full_well_e=number("--full-well-e"),
        dark_current_e_per_s=number("--dark-current-e-per-s"),
    )


def _targets(texts: tuple[str, ...]) -> tuple[Target, ...]:
    """Targets; one that is not understood is a wrong command line."""
    from calibrate.plan.targets import parse_targets
    from calibrate.plumbing.errors import PhotonbitsError

    try:
        return parse_targets(texts)
    except PhotonbitsError as error:
        raise click.BadParameter(str(error), param_hint="--target") from error
