"""A small U-Net that reconstructs objects, alone or on top of the linear estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.downstream.interface import Examples, FloatArray, Setting, Trained
from mi_eval.downstream.reconstruction import Reconstruction
from mi_eval.downstream.stabilise import Stabiliser
from mi_eval.downstream.wiener import Wiener
from mi_eval.torch_extra import Tensor, torch

_CHUNK = 64


@dataclass(frozen=True)
class UNet(Reconstruction):
    """A convolutional network of two resolutions with a skip between them (Ronneberger et al. 2015, arXiv:1505.04597).

    It is given the frame in units of even noise, one channel for each place in the period of a mosaic, and with
    ``linear_start`` the linear estimate of `Wiener`, which it then only corrects: a convolution of 3 x 3 pixels cannot
    undo a wide point-spread function by itself. Squared error, Adam, a step size that falls as a cosine; the weights
    are the best on validation frames.

    Parameters
    ----------
    channels : int
        At full resolution; twice as many at half.
    epochs, patience : int
        Most passes through the training frames, and passes without a better validation error before it stops.
    batch : int
    learning_rate : float
    linear_start : bool
    radius_px : int
        Of the linear estimate's window, where it needs one.
    """

    name: ClassVar[str] = "unet"
    title: ClassVar[str] = "Small U-Net"

    channels: int = 16
    epochs: int = 15
    patience: int = 5
    batch: int = 16
    learning_rate: float = 5e-3
    linear_start: bool = True
    radius_px: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_training(self)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Fit the linear estimate, then the network on what it leaves."""
        linear = None
        if self.linear_start:
            wiener = Wiener(planes=self.planes, ssim=False, radius_px=self.radius_px)
            linear = wiener.train(training, validation, setting, seed)
        target = training.targets
        scaled = ScaledInputs(
            Stabiliser.fitted(setting.problem, training.frames),
            setting.design.system.period_px,
            float(target.mean()),
            max(float(target.std()), 1e-12),
            linear,
        )
        parts = [(*scaled.inputs(e.frames), scaled.wanted(e.targets)) for e in (training, validation)]
        (x, base, y), (x_new, base_new, y_new) = parts
        network = make_network(x.shape[1], y.shape[1], self.channels, seed)
        history = fit(
            network,
            lambda rows: torch.mean((base[rows] + network(x[rows]) - y[rows]) ** 2),
            lambda: _mean_square(network, x_new, base_new, y_new),
            len(x),
            epochs=self.epochs,
            patience=self.patience,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=seed,
        )
        start = float(torch.mean((base_new - y_new) ** 2)) if linear is not None else None
        return TrainedUNet(network, scaled, history, start)


@dataclass(frozen=True)
class ScaledInputs:
    """Frames and targets in the network's units."""

    stabiliser: Stabiliser
    period: int
    mean_target: float
    spread_target: float
    linear: Trained | None

    def inputs(self, frames: FloatArray) -> tuple[Tensor, Tensor]:
        """Channels (n, channels, h, w), and what the network's output is added to."""
        channels = [place_channels(self.stabiliser(torch.from_numpy(frames)), self.period)]
        base = torch.zeros((len(frames), 1, 1, 1), dtype=torch.float32)
        if self.linear is not None:
            base = self.wanted(self.linear.decode(frames))
            channels.append(base)
        return torch.cat([c.to(torch.float32) for c in channels], dim=1), base

    def wanted(self, targets: FloatArray) -> Tensor:
        """Targets with mean 0 and variance 1, float32."""
        return torch.from_numpy(((targets - self.mean_target) / self.spread_target).astype(np.float32))

    def back(self, values: Tensor) -> FloatArray:
        """The network's units as targets."""
        return np.asarray(values.numpy(), dtype=np.float64) * self.spread_target + self.mean_target


@dataclass(frozen=True)
class TrainedUNet(Trained):
    """A network with its units, the validation error of every epoch, and that of the linear start where it has one."""

    network: Any
    scaled: ScaledInputs
    history: tuple[float, ...]
    start: float | None

    def decode(self, frames: FloatArray) -> FloatArray:
        """Objects in units of the prior."""
        x, base = self.scaled.inputs(frames)
        with torch.no_grad():
            parts = [self.network(x[k : k + _CHUNK]) for k in range(0, len(x), _CHUNK)]
        return self.scaled.back(base + torch.cat(parts))

    @property
    def details(self) -> dict[str, Any]:
        """Size, epochs and validation errors."""
        best = int(np.argmin(self.history))
        return {
            "weights": sum(p.numel() for p in self.network.parameters()),
            "epochs": len(self.history),
            "best_epoch": best + 1,
            "validation_error": self.history[best],
            "validation_error_of_linear": self.start,
        }


def check_training(decoder: Any) -> None:
    """Raise PhotonbitsError unless a decoder's network settings can be trained with."""
    least = min(decoder.channels, decoder.epochs, decoder.patience, decoder.batch)
    if least < 1 or not decoder.learning_rate > 0:
        raise PhotonbitsError(
            f"channels {decoder.channels}, epochs {decoder.epochs}, patience {decoder.patience}, "
            f"batch {decoder.batch}, learning_rate {decoder.learning_rate}",
            where=decoder.name,
            legal="1 or more, learning_rate above 0",
        )


def place_channels(frames: Tensor, period: int) -> Tensor:
    """(n, period^2, h, w): the frame at each place in the period, 0 elsewhere; the frame itself for period 1."""
    if period == 1:
        return frames[:, None]
    masks = torch.zeros((period, period, *frames.shape[-2:]), dtype=frames.dtype)
    for row in range(period):
        for column in range(period):
            masks[row, column, row::period, column::period] = 1.0
    return frames[:, None] * masks.reshape(-1, *frames.shape[-2:])


class _Network(torch.nn.Module):
    """Two resolutions; strided convolutions down and up; the last layer starts at 0."""

    def __init__(self, inputs: int, outputs: int, channels: int) -> None:
        super().__init__()
        conv, act = torch.nn.Conv2d, torch.nn.SiLU
        c, d = channels, 2 * channels
        self.first = torch.nn.Sequential(conv(inputs, c, 3, padding=1), act(), conv(c, c, 3, padding=1), act())
        self.down = torch.nn.Sequential(conv(c, d, 2, stride=2), act())
        self.middle = torch.nn.Sequential(conv(d, d, 3, padding=1), act(), conv(d, d, 3, padding=1), act())
        self.up = torch.nn.ConvTranspose2d(d, c, 2, stride=2)
        self.last = torch.nn.Sequential(conv(2 * c, c, 3, padding=1), act(), conv(c, outputs, 3, padding=1))
        torch.nn.init.zeros_(self.last[-1].weight)
        torch.nn.init.zeros_(self.last[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = torch.nn.functional.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        fine = self.first(x)
        half = self.down(fine)
        half = half + self.middle(half)
        out = self.last(torch.cat([fine, self.up(half)], dim=1))
        return out[..., :height, :width]


def make_network(inputs: int, outputs: int, channels: int, seed: int) -> Any:
    """A network with seeded weights, float32; the global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _Network(inputs, outputs, channels).to(torch.float32)


def fit(
    network: Any,
    loss: Callable[[Tensor], Tensor],
    validate: Callable[[], float],
    n: int,
    *,
    epochs: int,
    patience: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> tuple[float, ...]:
    """Train a network; it ends with the weights that were best on validation.

    Parameters
    ----------
    loss : callable
        From row numbers of a batch.
    validate : callable
        The validation error.
    n : int
        Training rows.

    Returns
    -------
    tuple of float
        Validation error after each epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    steps = epochs * -(-n // batch)
    warm = max(1, min(50, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda k: min(1.0, (k + 1) / warm) * 0.5 * (1 + float(np.cos(np.pi * k / steps)))
    )
    history: list[float] = []
    best: dict[str, Tensor] = {}
    for epoch in range(epochs):
        network.train()
        for rows in torch.randperm(n, generator=generator).split(batch):
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            history.append(float(validate()))
        if not np.isfinite(history[-1]):
            raise PhotonbitsError(
                f"a validation error that is not finite in epoch {epoch + 1}", remedy="Lower learning_rate"
            )
        if history[-1] <= min(history):
            best = {name: value.clone() for name, value in network.state_dict().items()}
        if len(history) - 1 - int(np.argmin(history)) >= patience:
            break
    network.load_state_dict(best)
    return tuple(history)


def _mean_square(network: Any, x: Tensor, base: Tensor, y: Tensor) -> float:
    parts = [
        torch.sum((base[k : k + _CHUNK] + network(x[k : k + _CHUNK]) - y[k : k + _CHUNK]) ** 2)
        for k in range(0, len(x), _CHUNK)
    ]
    return float(sum(parts) / y.numel())
