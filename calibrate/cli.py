"""The `calibrate` command: its subcommands, which stand in `calibrate.commands`."""

from __future__ import annotations

import click

from calibrate import __version__
from calibrate.commands.check import check
from calibrate.commands.fit import fit
from calibrate.commands.from_values import from_values
from calibrate.commands.inspect import inspect
from calibrate.commands.plan import plan
from calibrate.commands.show import report, show
from calibrate.commands.simulate import simulate
from calibrate.plumbing.command_line import SETTINGS


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, "--version", message="photonbits %(version)s")
def main() -> None:
    """Camera noise models from dark and flat frames.

    A typical session: inspect a folder of captures, fit it, look at the report.
    """


for _command in (inspect, fit, check, show, report, simulate, from_values, plan):
    main.add_command(_command)


if __name__ == "__main__":
    main()
