"""What both commands share: -h, -q and -v everywhere, errors for people, JSON on stdout. Imports click alone."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from calibrate.plumbing.errors import PhotonbitsError

F = TypeVar("F", bound=Callable[..., Any])
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def command_options(function: F) -> F:
    """Add -q and -v to a command, and turn errors about data into one line on stderr and exit status 1."""

    @click.option("-q", "--quiet", is_flag=True, help="No progress, no notes; errors only.")
    @click.option("-v", "--verbose", is_flag=True, help="More notes; a traceback with an error.")
    @functools.wraps(function)
    def wrapper(*args: Any, quiet: bool, verbose: bool, **kwargs: Any) -> Any:
        from calibrate.plumbing.progress import set_quiet

        set_quiet(quiet)
        try:
            return function(*args, **kwargs)
        except PhotonbitsError as error:
            _fail(str(error), error, verbose)
        except BrokenPipeError:
            # The reader of our output has left, as `head` does: nothing to say, and nobody to say it to.
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            _fail(f"{error.strerror or error}{place}. Check the path and its permissions.", error, verbose)
        except MemoryError as error:
            _fail("Not enough memory. Close other programs, or use fewer or smaller frames.", error, verbose)

    return wrapper  # type: ignore[return-value]


def _fail(message: str, error: BaseException, verbose: bool) -> None:
    if verbose:
        import traceback

        traceback.print_exception(error)
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)


def check_outputs(paths: Sequence[Path | None], *, overwrite: bool) -> None:
    """Raise PhotonbitsError unless every output can be written and no two have one name."""
    from calibrate.plumbing.atomic import check_output_path

    wanted = [path for path in paths if path is not None]
    for path in wanted:
        check_output_path(path, overwrite=overwrite)
    if len({path.resolve() for path in wanted}) < len(wanted):
        raise PhotonbitsError(f"two outputs have the same name, {wanted[0]}", remedy="Give each a name of its own")


def check_output_folder(folder: Path, names: Sequence[str], *, overwrite: bool) -> tuple[Path, ...]:
    """Paths of the outputs in a folder that need not exist yet; PhotonbitsError unless they can be written.

    Nothing is made: a command that refuses its input afterwards leaves no empty folder.
    """
    places = tuple(folder / name for name in names)
    if folder.is_dir():
        check_outputs(places, overwrite=overwrite)
        return places
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
    if not nearest.is_dir():
        raise PhotonbitsError(f"{nearest} is no folder", where=f"output {folder}", legal="a folder, or a new name")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PhotonbitsError(
            f"The folder {nearest} cannot be written to",
            where=f"output {folder}",
            remedy="Change its permissions, or choose another folder",
        )
    return places


def note(message: str) -> None:
    """A line for people on stderr; nothing with -q."""
    from calibrate.plumbing.progress import is_quiet

    if not is_quiet():
        click.echo(message, err=True)


def print_json(content: Any) -> None:
    """One JSON object on stdout; NaN is an error and never printed."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))


def write_texts(outputs: Mapping[Path, str], *, overwrite: bool) -> None:
    """Write every text to its file, all of them or none."""
    from calibrate.plumbing.atomic import atomic_outputs

    if not outputs:
        return
    with atomic_outputs(list(outputs), overwrite=overwrite) as temporary:
        for place, text in zip(temporary, outputs.values(), strict=True):
            place.write_text(text, encoding="utf-8")
