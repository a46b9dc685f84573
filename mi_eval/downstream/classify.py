"""Classification of frames: the class of the object, by a small network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.design.audit import Simulation
from mi_eval.downstream.interface import Decoder, Examples, FloatArray, Metric, Setting, Trained
from mi_eval.downstream.stabilise import Stabiliser
from mi_eval.downstream.unet import check_training, fit, place_channels
from mi_eval.downstream.wiener import Wiener
from mi_eval.torch_extra import Tensor, torch

ACCURACY = Metric("accuracy", "1", "share of test frames whose most probable class is right", True, "share")
LOG_LOSS = Metric("log_loss_bits", "bit", "mean of -log2 of the probability given to the right class", False)

_CHUNK = 128


@dataclass(frozen=True)
class Classifier(Decoder):
    """Names the class of the object in a frame; what is decoded are the probabilities of the classes.

    A network of two strided convolutions, dropout and one linear layer sees the frame in units of even noise and the
    linear estimate of the object (`Wiener`), which has the point-spread function out of the way already. Cross-entropy,
    Adam; the weights are the best on validation frames.

    Parameters
    ----------
    channels, epochs, patience, batch, learning_rate
        As in `UNet`.
    radius_px : int
        Of the linear estimate's window, where it needs one.
    """

    name: ClassVar[str] = "classifier"
    title: ClassVar[str] = "Classifier"

    channels: int = 16
    epochs: int = 30
    patience: int = 8
    batch: int = 32
    learning_rate: float = 2e-3
    radius_px: int = 5

    def __post_init__(self) -> None:
        check_training(self)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy and log loss."""
        return (ACCURACY, LOG_LOSS)

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Numbers of the classes, (n,).

        Raises
        ------
        PhotonbitsError
            If the objects have no classes.
        """
        if seen.labels is None:
            raise PhotonbitsError(
                f"objects {setting.problem.objects.kind} without classes",
                where=self.name,
                legal="images digits or faces_or_not, or a prior with sample_labelled",
            )
        return np.asarray(seen.labels, dtype=np.float64)

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Fit the linear estimate, then the network on it."""
        wiener = Wiener(ssim=False, radius_px=self.radius_px)
        pairs = [_with_objects(e, wiener, setting) for e in (training, validation)]
        linear = wiener.train(pairs[0], pairs[1], setting, seed)
        shown = linear.decode(training.frames)
        features = _Features(
            linear,
            Stabiliser.fitted(setting.problem, training.frames),
            setting.design.system.period_px,
            float(shown.mean()),
            max(float(shown.std()), 1e-12),
        )
        classes = len(setting.problem.objects.classes)
        x, x_new = (features.channels(e.frames) for e in (training, validation))
        y, y_new = (torch.from_numpy(e.targets.astype(np.int64)) for e in (training, validation))
        network = _make_network(x, classes, self.channels, seed)
        loss = torch.nn.functional.cross_entropy
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # of the dropout
            history = fit(
                network,
                lambda rows: loss(network(x[rows]), y[rows]),
                lambda: float(loss(network(x_new), y_new)),
                len(x),
                epochs=self.epochs,
                patience=self.patience,
                batch=self.batch,
                learning_rate=self.learning_rate,
                seed=seed,
            )
        return _TrainedNetwork(network, features, history)

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Right or wrong, and bits of surprise at the truth."""
        truth = examples.targets.astype(np.int64)
        right = np.argmax(decoded, axis=1) == truth
        given = np.maximum(decoded[np.arange(truth.size), truth], 1e-12)
        return {ACCURACY.name: right.astype(np.float64), LOG_LOSS.name: -np.log2(given)}


def _with_objects(examples: Examples, wiener: Wiener, setting: Setting) -> Examples:
    targets = wiener.targets(examples.simulation, setting)
    return Examples(examples.frames, targets, 1.0, examples.simulation)


@dataclass(frozen=True)
class _Features:
    """What the network sees: the linear estimate, standardised, and the frame."""

    linear: Trained
    stabiliser: Stabiliser
    period: int
    mean: float
    spread: float

    def channels(self, frames: FloatArray) -> Tensor:
        """Channels of each frame, float32."""
        shown = torch.from_numpy((self.linear.decode(frames) - self.mean) / self.spread)
        raw = place_channels(self.stabiliser(torch.from_numpy(frames)), self.period)
        return torch.cat([shown, raw], dim=1).to(torch.float32)


@dataclass(frozen=True)
class _TrainedNetwork(Trained):
    network: Any
    features: _Features
    history: tuple[float, ...]

    def decode(self, frames: FloatArray) -> FloatArray:
        x = self.features.channels(frames)
        with torch.no_grad():
            logits = torch.cat([self.network(x[k : k + _CHUNK]) for k in range(0, len(x), _CHUNK)])
        return np.asarray(torch.softmax(logits.double(), dim=1).numpy())

    @property
    def details(self) -> dict[str, Any]:
        best = int(np.argmin(self.history))
        return {
            "weights": sum(p.numel() for p in self.network.parameters()),
            "epochs": len(self.history),
            "best_epoch": best + 1,
            "validation_log_loss_bits": self.history[best] / float(np.log(2)),
        }


def _make_network(x: Tensor, classes: int, channels: int, seed: int) -> Any:
    nn, (inputs, height, width) = torch.nn, x.shape[1:]
    cells = -(-height // 4) * -(-width // 4)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(inputs, channels, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(2 * channels * cells, classes),
        ).to(torch.float32)
