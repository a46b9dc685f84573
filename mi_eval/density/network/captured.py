"""Training steps on a GPU: all numbers stay there, and the launches of one step are recorded and replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mi_eval.torch_extra import Tensor, torch

# Steps before the recording: libraries set themselves up in the first ones.
_BEFORE = 3
# Recording is for one thread at a time, and two trainings at once gain little.
_turn = threading.Lock()


class CapturedSteps:
    """The steps of `training.train`, for a device where every launch costs and every look at a number costs more.

    A batch of 16 patches of 16 x 16 keeps a GPU busy for a tenth of the time that Python needs to ask for its
    hundreds of operations. A CUDA graph asks once for all.

    Parameters
    ----------
    loss : callable
        Of the indices of a batch.
    advance : callable
        Changes the weights, given their gradients and the numbers of a step.
    weights : list of Tensor
    order : (steps, batch) int Tensor
    numbers : ndarray (steps, n)
        What differs from step to step.
    """

    def __init__(
        self,
        loss: Callable[[Tensor], Tensor],
        advance: Callable[[list[Tensor], Tensor], None],
        weights: Sequence[Tensor],
        order: Tensor,
        numbers: np.ndarray,
    ) -> None:
        self._loss, self._advance, self._weights, self._order = loss, advance, weights, order
        self._numbers = torch.from_numpy(numbers.astype(np.float32)).to(order.device)
        self._index, self._now = self._order[0].clone(), self._numbers[0].clone()
        self._graph: Any = None

    def __call__(self, step: int) -> None:
        """Make a step."""
        self._index.copy_(self._order[step])
        self._now.copy_(self._numbers[step])
        if step < _BEFORE or not self._index.is_cuda:
            self._step()
            return
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
                self._step()
        self._graph.replay()

    def _step(self) -> None:
        gradients = list(torch.autograd.grad(self._loss(self._index), list(self._weights)))
        self._advance(gradients, self._now)


@contextmanager
def own_stream(device: Any) -> Iterator[None]:
    """A stream of one's own on a GPU, which recording needs, and one training at a time; nothing on a CPU."""
    if device.type != "cuda":
        yield
        return
    with _turn, torch.cuda.device(device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        stream.synchronize()
