"""Digests of files, for provenance."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from calibrate.plumbing.errors import PhotonbitsError

_PIECE_BYTES = 1 << 20  # large enough that a thread which hashes hardly ever asks for the interpreter


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
        digest, piece = hashlib.sha256(), bytearray(_PIECE_BYTES)
        with Path(path).open("rb", buffering=0) as file:
            while n_bytes := file.readinto(piece):
                digest.update(memoryview(piece)[:n_bytes])
        return digest.hexdigest()
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


@contextmanager
def sha256_meanwhile(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Callable[[], list[str]]]:
    """Hash files in one thread beside the block; what it yields gives the digests, in the order given, when called.

    The thread runs ahead of a block that reads the same files in the same order, and so fetches them for it. Leaving
    the block early stops it after the file at work.

    Raises
    ------
    PhotonbitsError
        When the digests are asked for and a file could not be read.
    """
    stop = Event()
    wanted = list(paths)

    def digests() -> list[str]:
        return [sha256_of_file(path) for path in wanted if not stop.is_set()]

    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(digests)
        try:
            yield found.result
        finally:
            stop.set()
