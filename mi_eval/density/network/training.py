"""One training loop for all networks: Adam, cosine decay, averaged weights, early stopping on validation patches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from mi_eval.density.network.captured import CapturedSteps, own_stream
from mi_eval.torch_extra import Tensor, torch

#: Mass (n, pixels) of the codes of a batch of patches, given weights and the patches' tensors.
Masses = Callable[[Sequence[Tensor], tuple[Tensor, ...]], Tensor]

_AVERAGE_OVER = 0.05  # of the steps so far
_WARM_UP = 20
_PIXELS_OF_A_PATCH = 256  # that batches are meant for
_BETAS = (0.9, 0.99)
_LARGEST_NORM = 5.0
_CHECKS = 4


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a network learns.

    Parameters
    ----------
    pixel_visits : float
        Pixels times epochs: the budget.
    most_epochs : float
    batch_patches : int
        Patches of a batch, fewer where they are large: see `batch`.
    learning_rate : float
        At the start of the cosine.
    weight_decay : float
        Every step takes this times the learning rate off all matrices and kernels, relative to them (AdamW, Loshchilov
        and Hutter 2019).
    """

    pixel_visits: float = 2.2e6
    most_epochs: float = 10.0
    batch_patches: int = 16
    learning_rate: float = 0.014
    weight_decay: float = 0.0

    def steps(self, n_patches: int, n_pixels: int) -> int:
        """Batches in all, at least 40."""
        epochs = min(self.most_epochs, self.pixel_visits / (n_patches * n_pixels))
        return max(40, round(epochs * n_patches / min(self.batch(n_pixels), n_patches)))

    def batch(self, n_pixels: int) -> int:
        """Patches of a batch: as many pixels as `batch_patches` of 16 x 16 have, since pixels teach, not patches."""
        return min(self.batch_patches, max(1, round(self.batch_patches * _PIXELS_OF_A_PATCH / n_pixels)))


def train(
    weights: list[Tensor],
    masses: Masses,
    tensors: tuple[Tensor, ...],
    validation: tuple[Tensor, ...],
    steps: int,
    schedule: Schedule,
    seed: Sequence[int],
) -> list[Tensor]:
    """Averaged weights that code ``validation`` best among `_CHECKS` moments of the training.

    Parameters
    ----------
    weights : list of Tensor
        Changed in place.
    masses : callable
    tensors, validation : tuple of Tensor
        First axis the patches.
    """
    device = tensors[0].device
    averaged = [w.detach().clone() for w in weights]
    moments = [[torch.zeros_like(w) for w in weights] for _ in range(2)]
    batches = _batches(len(tensors[0]), schedule.batch_patches, np.random.default_rng(seed))
    order = torch.from_numpy(np.stack([next(batches) for _ in range(steps)])).to(device)

    def loss(index: Tensor) -> Tensor:
        return -torch.log(masses(weights, tuple(t[index] for t in tensors))).mean()

    def on_cpu(step: int) -> None:
        gradients = list(torch.autograd.grad(loss(order[step]), weights))
        _step(weights, gradients, moments, averaged, step, steps, schedule)

    def on_device(gradients: list[Tensor], now: Tensor) -> None:
        _device_step(weights, gradients, moments, averaged, now)

    best: tuple[float, list[Tensor]] | None = None
    with own_stream(device):
        advance = on_cpu
        if device.type != "cpu":
            advance = CapturedSteps(loss, on_device, weights, order, step_numbers(steps, schedule))
        for step in range(steps):
            advance(step)
            if (step + 1) * _CHECKS // steps > step * _CHECKS // steps:
                nats = mean_nats(averaged, masses, validation)
                if best is None or nats < best[0]:
                    best = (nats, [mean.clone() for mean in averaged])
    if best is None or not np.isfinite(best[0]):
        raise FloatingPointError("training of the network diverged")
    return best[1]


def _rate(step: int, steps: int, schedule: Schedule) -> float:
    cosine = 0.5 * (1 + float(np.cos(np.pi * step / steps)))
    return schedule.learning_rate * (cosine * min(1.0, (step + 1) / _WARM_UP))


def _share(step: int) -> float:
    """Of the newest weights in the average."""
    return max(1 / (1 + _AVERAGE_OVER * step), 1e-3)


def decaying(weights: Sequence[Tensor]) -> list[Tensor]:
    """Weights that decay: all but biases."""
    return [w for w in weights if w.dim() > 1]


def step_numbers(steps: int, schedule: Schedule) -> np.ndarray:
    """What differs from step to step, (steps, 4): length and scale of Adam, decay, share of the average."""
    number = np.arange(1, steps + 1)
    rate = np.array([_rate(step, steps, schedule) for step in range(steps)])
    share = np.array([_share(step) for step in range(steps)])
    return np.stack(
        [rate / (1 - _BETAS[0] ** number), (1 - _BETAS[1] ** number) ** -0.5, 1 - schedule.weight_decay * rate, share],
        axis=1,
    )


def _step(
    weights: Sequence[Tensor],
    gradients: list[Tensor],
    moments: Sequence[list[Tensor]],
    averaged: list[Tensor],
    step: int,
    steps: int,
    schedule: Schedule,
) -> None:
    """One step of Adam (Kingma and Ba 2015) on a gradient of at most `_LARGEST_NORM`, and of the average, in place.

    The optimiser that comes with torch loads its compiler first, which takes longer than many a fit.
    """
    first, second = moments
    rate, number = _rate(step, steps, schedule), step + 1
    with torch.no_grad():
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
        torch._foreach_mul_(gradients, min(1.0, _LARGEST_NORM / (norm + 1e-6)))
        torch._foreach_lerp_(first, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(second, _BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - _BETAS[1])
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, (1 - _BETAS[1] ** number) ** 0.5)
        torch._foreach_add_(scale, 1e-8)
        torch._foreach_addcdiv_(list(weights), first, scale, -rate / (1 - _BETAS[0] ** number))
        if schedule.weight_decay > 0:
            torch._foreach_mul_(decaying(weights), 1 - schedule.weight_decay * rate)
        torch._foreach_lerp_(averaged, weights, _share(step))


def _device_step(
    weights: Sequence[Tensor],
    gradients: list[Tensor],
    moments: Sequence[list[Tensor]],
    averaged: list[Tensor],
    now: Tensor,
) -> None:
    """`_step` with numbers (`step_numbers`) that are on the device: the host waits for none."""
    first, second = moments
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, torch.clamp(_LARGEST_NORM / (norm + 1e-6), max=1.0))
        torch._foreach_lerp_(first, gradients, 1 - _BETAS[0])
        torch._foreach_mul_(second, _BETAS[1])
        torch._foreach_addcmul_(second, gradients, gradients, 1 - _BETAS[1])
        scale = torch._foreach_sqrt(second)
        torch._foreach_mul_(scale, now[1])
        torch._foreach_add_(scale, 1e-8)
        change = torch._foreach_div(first, scale)
        torch._foreach_mul_(change, now[0])
        torch._foreach_sub_(list(weights), change)
        torch._foreach_mul_(decaying(weights), now[2])
        gap = torch._foreach_sub(list(weights), averaged)
        torch._foreach_mul_(gap, now[3])
        torch._foreach_add_(averaged, gap)


def mean_nats(weights: Sequence[Tensor], masses: Masses, tensors: tuple[Tensor, ...], patches: int = 64) -> float:
    """Mean -ln mass of a pixel."""
    total = 0.0
    n = len(tensors[0])
    with torch.inference_mode():
        for start in range(0, n, patches):
            part = tuple(t[start : start + patches] for t in tensors)
            total += float(-torch.log(masses(weights, part)).mean(dim=1).sum())
    return total / n


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of batches, every patch once an epoch."""
    size = min(size, n)
    while True:
        order = rng.permutation(n)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch, for this thread of Python: the same sums in the same order every time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
