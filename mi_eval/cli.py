"""The `mi-eval` command: its subcommands, which stand in `mi_eval.commands`."""

from __future__ import annotations

import click

from calibrate.plumbing.command_line import SETTINGS
from mi_eval import __version__
from mi_eval.commands.compare import compare
from mi_eval.commands.design import design
from mi_eval.commands.downstream import downstream
from mi_eval.commands.edge import edge
from mi_eval.commands.score import score
from mi_eval.commands.sweep import sweep
from mi_eval.commands.truth import truth


@click.group(context_settings=SETTINGS)
@click.version_option(__version__, "--version", message="photonbits %(version)s")
def main() -> None:
    """Information in raw camera frames, in bits per pixel."""


for _command in (compare, design, downstream, edge, score, sweep, truth):
    main.add_command(_command)


if __name__ == "__main__":
    main()
