"""Write docs/cli.md, the reference of both commands, from the commands themselves.

    .venv/bin/python scripts/make_cli_reference.py [--check]

With --check nothing is written and the exit status is 1 if the file is out of date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
COMMANDS = (("calibrate", "calibrate.cli"), ("mi-eval", "mi_eval.cli"))
HEAD = """\
# Command line

Written by `scripts/make_cli_reference.py` from the commands' own help.

Results go to stdout, everything else to stderr. Exit status: 0 done; 1 something about the data, the model or
a path; 2 a wrong command line.
"""


def reference() -> str:
    """Text of docs/cli.md."""
    parts = [HEAD]
    for name, module in COMMANDS:
        parts += sections(find_command(module), (name,))
    return "\n".join(parts)


def find_command(module: str) -> click.Command:
    """The click command behind a console script: ``main`` itself, or the group that its module holds."""
    namespace = vars(import_module(module))
    candidates = [namespace.get("main"), namespace.get("cli"), *namespace.values()]
    groups = [value for value in candidates if isinstance(value, click.Group)]
    commands = [value for value in candidates if isinstance(value, click.Command)]
    if not commands:
        raise SystemExit(f"{module} holds no click command")
    return commands[0] if commands[0] is namespace.get("main") or not groups else groups[0]


def sections(command: click.Command, path: tuple[str, ...], parent: click.Context | None = None) -> Iterator[str]:
    """A section for a command, and one for each of its subcommands in alphabetical order."""
    context = click.Context(command, parent, info_name=path[-1], **command.context_settings)
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    yield f"{'#' * (len(path) + 1)} {' '.join(path)}\n"
    if command.help:
        yield paragraphs(command.help) + "\n"
    yield f"```\n{usage}\n```\n"
    rows = [
        (record[0], " ".join(record[1].split()))
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None and record[1]
    ]
    if rows:
        yield "| option | meaning |\n|---|---|"
        for option, meaning in rows:
            yield f"| `{cell(option)}` | {cell(meaning)} |"
        yield ""
    if command.epilog:
        yield paragraphs(command.epilog) + "\n"
    if isinstance(command, click.Group):
        for name in sorted(command.list_commands(context)):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from sections(child, (*path, name), context)


def paragraphs(text: str) -> str:
    """Help text as Markdown: blocks that click is told not to rewrap (a line with backspace) as code."""
    text = inspect.cleandoc(text).split("\f")[0]
    blocks = []
    for block in text.split("\n\n"):
        if block.startswith("\b"):
            blocks.append("```\n" + block.lstrip("\b\n") + "\n```")
        else:
            blocks.append(" ".join(block.split()))
    return "\n\n".join(blocks)


def cell(text: str) -> str:
    """Text that can stand in a table cell."""
    return text.replace("|", "\\|")


def main() -> int:
    text = reference()
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else None
    if sys.argv[1:] == ["--check"]:
        if text != current:
            print(f"docs/{TARGET.name} is out of date: run scripts/make_cli_reference.py", file=sys.stderr)
        return int(text != current)
    TARGET.write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
