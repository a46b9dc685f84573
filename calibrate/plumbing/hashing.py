"""Digests of files, for provenance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from calibrate.plumbing.errors import PhotonbitsError


def sha256_of_bytes(data: bytes) -> str:
    """SHA-256 of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal, read in pieces.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    PhotonbitsError
        The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PhotonbitsError(
            f"Cannot read {os.fspath(path)}: {error.strerror or error}",
            remedy="Check the name and the permissions",
        ) from error


def sha256_of_files(paths: Iterable[str | os.PathLike[str]], *, threads: int = 2) -> list[str]:
    """SHA-256 of each file, in the order given.

    Parameters
    ----------
    paths : iterable of str or path-like
        Files to read.
    threads : int
        Files read at the same time; the digest itself runs outside the interpreter's lock.

    Returns
    -------
    list of str
        64 hexadecimal digits for each file.

    Raises
    ------
    PhotonbitsError
        A file cannot be read.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(sha256_of_file, paths))
