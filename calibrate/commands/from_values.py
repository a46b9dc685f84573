"""calibrate from-values: a noise model of given numbers."""

from __future__ import annotations

from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note


@click.command("from-values", context_settings=SETTINGS)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Noise model to write (YAML).")
@click.option("--gain-dn-per-e", type=float, required=True, help="System gain K, DN per electron.")
@click.option("--read-noise-e", type=float, required=True, help="Read noise, electrons.")
@click.option("--offset-dn", type=float, required=True, help="Mean code of a dark, DN.")
@click.option("--bit-depth", type=int, required=True, help="Bits per code.")
@click.option("--full-well-e", type=float, help="Full well, electrons, where it lies below the highest code.")
@click.option("--knee-dn", type=float, help="Signal above the offset, DN, where the response bends (dual slope).")
@click.option("--slope-beyond-knee", type=float, help="Slope of the response beyond the knee, between 0 and 1.")
@click.option("--dark-current-e-per-s", type=float, help="Dark current, electrons per second.")
@click.option(
    "--excess-noise-factor",
    type=click.FloatRange(min=1),
    default=1.0,
    show_default=True,
    metavar="F2",
    help="F squared of the amplifier, 2 for electron multiplication; electrons are then those at its input.",
)
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
    knee_dn: float | None,
    slope_beyond_knee: float | None,
    dark_current_e_per_s: float | None,
    excess_noise_factor: float,
    white_clip_dn: int | None,
    force: bool,
) -> None:
    """Write a noise model of given values (a data sheet's, say), flagged not_measured.

    With an excess noise factor, electrons are those at the amplifier's input.
    """
    from calibrate.excess_noise import with_excess_noise
    from calibrate.noise_model import NoiseModel
    from calibrate.plumbing.errors import PhotonbitsError
    from calibrate.response import Response

    if (knee_dn is None) != (slope_beyond_knee is None):
        raise PhotonbitsError("a knee without a slope, or a slope without a knee", legal="both or neither")
    response = None
    if knee_dn is not None and slope_beyond_knee is not None:
        response = Response.two_slope(knee_dn, slope_beyond_knee)
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain_dn_per_e * excess_noise_factor,
        read_noise_e=read_noise_e / excess_noise_factor,
        offset_dn=offset_dn,
        bit_depth=bit_depth,
        full_well_e=None if full_well_e is None else full_well_e / excess_noise_factor,
        response=response,
        dark_current_e_per_s=None if dark_current_e_per_s is None else dark_current_e_per_s / excess_noise_factor,
        white_clip_dn=white_clip_dn,
    )
    model = with_excess_noise(model, excess_noise_factor)
    model.save(output, overwrite=force)
    note(f"Wrote {output}")
