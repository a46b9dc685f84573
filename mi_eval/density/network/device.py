"""Where networks run: on the GPU where there is one, unless the environment says otherwise. Needs torch when asked."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, TypeVar

from calibrate import PhotonbitsError

#: auto (also when unset), cpu, cuda or cuda:N.
VARIABLE = "PHOTONBITS_DEVICE"

T = TypeVar("T")


def asked_device() -> str:
    """What `VARIABLE` asks for; looks for no GPU.

    Raises
    ------
    PhotonbitsError
        For anything but its legal values.
    """
    name = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if re.fullmatch(r"auto|cpu|cuda(:\d+)?", name) is None:
        raise PhotonbitsError(
            f"{VARIABLE} is {name!r}", where="the environment", legal="auto (or unset), cpu, cuda, or cuda:N"
        )
    return name


def best_device() -> Any:
    """The torch.device that networks run on: the one asked for, or by default a GPU that works, else the CPU.

    Raises
    ------
    PhotonbitsError
        Where a GPU is asked for and there is none that works.
    """
    return _device(asked_device())


@cache
def _device(name: str) -> Any:
    from mi_eval.torch_extra import torch

    if name == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda" if name == "auto" else name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old driver; said below where a GPU was asked for
        there = torch.cuda.is_available()
        fault = _fault(device) if there else "torch finds no GPU"
    if fault is None:
        # Read when torch first multiplies matrices on the GPU; without it a strict caller is refused.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        return device
    if name != "auto":
        raise PhotonbitsError(
            f"{VARIABLE} is {name!r}, and that GPU cannot be used: {fault}",
            remedy=f"Unset it, or set {VARIABLE}=cpu",
        )
    if there:
        _say(f"The GPU cannot be used ({fault})")
    return torch.device("cpu")


def _fault(device: Any) -> str | None:
    """Why a GPU does not do the simplest sum: built for other cards, taken by another program, not there."""
    from mi_eval.torch_extra import torch

    try:
        torch.ones(4, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:
        return str(error).strip().splitlines()[0]
    return None


def on_best_device(work: Callable[[Any], T], what: str) -> T:
    """``work(device)`` on the best device; where a GPU's memory is short, a RuntimeWarning and once more on the CPU."""
    from mi_eval.torch_extra import torch

    device = best_device()
    if device.type == "cpu":
        return work(device)
    try:
        with repeatable():
            return work(device)
    except torch.OutOfMemoryError:
        pass
    # Outside of the handler, whose exception holds on to the tensors.
    torch.cuda.empty_cache()
    _say(f"The GPU's memory is short for {what}")
    return work(torch.device("cpu"))


def _say(what: str) -> None:
    warnings.warn(f"{what}: the CPU does it. {VARIABLE}=cpu spares the attempt.", RuntimeWarning, stacklevel=3)


_lock = threading.Lock()
_users = 0
_settings = ExitStack()


@contextmanager
def repeatable() -> Iterator[None]:
    """Convolutions on the GPU in full float32 and the same every time; from the first of all threads to the last.

    By default torch multiplies 10-bit mantissas there (TF32), and may sum gradients in any order.
    """
    from mi_eval.torch_extra import torch

    global _users
    with _lock:
        if _users == 0:
            settings = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            _settings.enter_context(settings)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _settings.close()
