"""A progress bar for people who wait, and for nobody else."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Sized
from typing import TypeVar

T = TypeVar("T")

# A bar that flashes up for less than this tells nobody anything.
_PATIENCE_S = 1.0

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch all progress bars of this process off (``-q``) or on again."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether progress bars are switched off."""
    return _quiet


def track(iterable: Iterable[T], description: str, total: int | None = None) -> Generator[T, None, None]:
    """Items of `iterable`, with a progress bar on stderr once they take more than a second.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    description : str
        What is being done, beside the bar.
    total : int, optional
        Number of items; by default ``len(iterable)`` where it has one.

    Yields
    ------
    object
        The items, unchanged and in order.

    Notes
    -----
    Silent where stderr is no terminal, and after ``set_quiet(True)``.
    """
    if _quiet or not sys.stderr.isatty():
        yield from iterable
        return
    yield from _with_bar(iterable, description, total)


def _with_bar(iterable: Iterable[T], description: str, total: int | None) -> Generator[T, None, None]:
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    start_s = time.monotonic()
    iterator = iter(iterable)
    done = 0
    for item in iterator:
        yield item
        done += 1
        if time.monotonic() - start_s > _PATIENCE_S:
            break
    else:
        return

    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in iterator:
            yield item
            progress.advance(task)
