"""Output files that are either complete or absent, and never overwritten by accident."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from calibrate.plumbing.errors import PhotonbitsError

# What the disk or the quota says when it is full, and what a file system says to a file too large for it.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})


def check_output_path(path: str | os.PathLike[str], overwrite: bool) -> Path:
    """Target of an output file, checked before the work that fills it.

    Parameters
    ----------
    path : str or path-like
        File to be written.
    overwrite : bool
        Whether an existing file may be replaced (``--force``).

    Returns
    -------
    Path
        The file that will be written: `path`, with symbolic links followed.

    Raises
    ------
    PhotonbitsError
        The output exists and `overwrite` is false, is something other than a file, or its folder does
        not exist or cannot be written to.
    """
    try:
        target = Path(path).resolve()
        exists = target.exists()
        is_folder = target.is_dir()
        is_file = target.is_file()
        folder_exists = target.parent.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long, a NUL character
        raise PhotonbitsError(
            f"Cannot use {os.fspath(path)!r} as an output: {getattr(error, 'strerror', None) or error}",
            remedy="Choose another name",
        ) from error
    if is_folder:
        raise PhotonbitsError(f"The output {path} is a folder", legal="the name of a file")
    if exists and not is_file:
        raise PhotonbitsError(f"The output {path} is a device or a pipe", legal="the name of a file")
    if exists and not overwrite:
        raise PhotonbitsError(
            f"The output {path} exists already",
            remedy="Pass --force to replace it, or choose another name",
        )
    if not folder_exists:
        raise PhotonbitsError(
            f"The folder {Path(path).parent} does not exist",
            where=f"output {path}",
            remedy="Create it, or choose another name",
        )
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PhotonbitsError(
            f"The folder {Path(path).parent} cannot be written to",
            where=f"output {path}",
            remedy="Change its permissions, or choose another folder",
        )
    return target


@contextmanager
def atomic_outputs(
    paths: Sequence[str | os.PathLike[str]], *, overwrite: bool
) -> Generator[tuple[Path, ...], None, None]:
    """Temporary files that take the names `paths` together once the block has ended without an error.

    Parameters
    ----------
    paths : sequence of str or path-like
        Files to be written, in the order in which they appear: put last the one that refers to the others.
    overwrite : bool
        Whether existing files may be replaced (``--force``).

    Yields
    ------
    tuple of Path
        One path for each output, in the same folder and with the same suffix, for the block to write.

    Raises
    ------
    PhotonbitsError
        As `check_output_path`; two outputs are the same file; a file cannot be written for lack of room
        or of permission.
    RuntimeError
        The block ended without having written one of the files.

    Notes
    -----
    Nothing is replaced before every file is written. The replacements then follow one after the other,
    each atomic by itself.
    """
    targets = [check_output_path(path, overwrite) for path in paths]
    for position, target in enumerate(targets):
        if target in targets[:position]:
            raise PhotonbitsError(
                f"Two outputs have the same name, {paths[position]}", remedy="Give each a name of its own"
            )
    temporaries = tuple(
        target.with_name(f".{target.stem[:100]}.{secrets.token_hex(6)}.partial{target.suffix}") for target in targets
    )
    try:
        yield temporaries
        for temporary, path in zip(temporaries, paths, strict=True):
            if not temporary.is_file():
                raise RuntimeError(f"nothing was written for the output {path}")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        for path in paths:  # the work may have taken an hour
            check_output_path(path, overwrite)
        for temporary, target in zip(temporaries, targets, strict=True):
            temporary.replace(target)
    except OSError as error:
        about_output = any(str(temporary) in (error.filename, error.filename2) for temporary in temporaries)
        if about_output or error.errno in _NO_ROOM:
            names = ", ".join(str(path) for path in paths)
            raise PhotonbitsError(
                f"Cannot write {names}: {error.strerror or error}",
                remedy="Make room, change the permissions, or choose another folder",
            ) from error
        raise
    finally:
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def atomic_output(path: str | os.PathLike[str], *, overwrite: bool) -> Generator[Path, None, None]:
    """Temporary file that takes the name `path` once the block has ended without an error.

    Parameters
    ----------
    path : str or path-like
        File to be written.
    overwrite : bool
        Whether an existing file may be replaced (``--force``).

    Yields
    ------
    Path
        A path in the same folder and with the same suffix, for the block to write.

    Raises
    ------
    PhotonbitsError, RuntimeError
        As `atomic_outputs`.
    """
    with atomic_outputs([path], overwrite=overwrite) as (temporary,):
        yield temporary


def write_bytes_atomically(path: str | os.PathLike[str], data: bytes, *, overwrite: bool) -> None:
    """Write `data` to the file `path`, completely or not at all.

    Raises
    ------
    PhotonbitsError
        As `atomic_outputs`.
    """
    with atomic_output(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


def write_text_atomically(path: str | os.PathLike[str], text: str, *, overwrite: bool) -> None:
    """Write `text` to the file `path` as UTF-8 with line feeds, completely or not at all.

    Raises
    ------
    PhotonbitsError
        As `atomic_outputs`.
    """
    write_bytes_atomically(path, text.encode("utf-8"), overwrite=overwrite)
