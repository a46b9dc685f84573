"""Restarts on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from calibrate import PhotonbitsError
from mi_eval.design.ascent import AscentState
from mi_eval.design.restarts import Mapper

_TIMEOUT_S = 20


@contextmanager
def cluster_mapper(address: str) -> Iterator[Mapper]:
    """A map that runs one restart a task on the cluster of a scheduler's address.

    Workers need the same versions of photonbits and torch.

    Raises
    ------
    PhotonbitsError
        If dask is not installed, or the scheduler does not answer.
    """
    try:
        import distributed
    except ImportError as error:
        raise PhotonbitsError(
            "dask is not installed, which --cluster needs",
            remedy='Install it with pip install "photonbits[cluster]"',
        ) from error
    try:
        client_class: Any = distributed.Client
        client = client_class(address, timeout=_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise PhotonbitsError(
            f"no Dask scheduler answers at {address}", legal="an address as tcp://host:8786"
        ) from error

    as_completed: Any = distributed.as_completed

    def run(function: Callable[[int], AscentState], numbers: Sequence[int]) -> Iterator[AscentState]:
        # As they end, not all at the end: what a stopped run has found is in its checkpoint.
        for future in as_completed(client.map(function, list(numbers), pure=False), loop=client.loop):
            yield future.result()

    try:
        yield run
    finally:
        client.close()
