"""calibrate inspect: what a folder of captures holds."""

from __future__ import annotations

from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note, print_json


@click.command(context_settings=SETTINGS)
@click.argument("captures", type=click.Path(path_type=Path))
@click.option(
    "--shift-bits",
    type=click.IntRange(0, 16),
    metavar="N",
    help="Empty low bits of left-aligned codes. Default: the manifest's, else 0.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option(
    "--write-manifest", type=click.Path(path_type=Path), metavar="FILE", help="Write what was found as a YAML manifest."
)
@click.option("--force", is_flag=True, help="Replace an existing manifest.")
@command_options
def inspect(captures: Path, shift_bits: int | None, as_json: bool, write_manifest: Path | None, force: bool) -> None:
    """Show what CAPTURES hold: levels, frames, bit depth, and what was ignored and why.

    CAPTURES is a folder, a manifest (YAML or CSV), an EMVA 1288 descriptor, or a table of means and variances.
    """
    from calibrate.captures import load_captures
    from calibrate.captures import write_manifest as write
    from calibrate.inspect import describe_captures, format_inspection

    found = load_captures(captures, shift_bits=shift_bits)
    content = describe_captures(found)
    if write_manifest is not None:
        write(found, write_manifest, overwrite=force)
        note(f"Wrote {write_manifest}")
    if as_json:
        print_json(content)
    else:
        click.echo(format_inspection(content))
