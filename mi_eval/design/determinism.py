"""The same numbers every time: one thread, deterministic algorithms, and everything put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from mi_eval.torch_extra import torch


@contextmanager
def deterministic_torch() -> Iterator[None]:
    """One thread for torch and linear algebra and deterministic algorithms only; the caller's settings come back.

    No global generator is used or seeded: seeds go into generators of their own.
    """
    threads = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.set_num_threads(threads)
