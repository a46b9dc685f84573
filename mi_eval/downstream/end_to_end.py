"""The baseline: optics and decoder trained together, by the decoder's own error."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.design.ascent import begin
from mi_eval.design.audit import Simulation
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.memory import peak_memory_mb
from mi_eval.design.problem import DesignProblem
from mi_eval.downstream.evaluate import part_seed
from mi_eval.downstream.interface import FloatArray, Setting, Trained
from mi_eval.downstream.stabilise import Stabiliser
from mi_eval.downstream.unet import ScaledInputs, TrainedUNet, UNet, make_network, place_channels
from mi_eval.objects.prior import Part
from mi_eval.systems import SystemDesign
from mi_eval.systems.protocol import Parameters
from mi_eval.torch_extra import Tensor, torch

__all__ = ["EndToEndResult", "EndToEndSettings", "peak_memory_mb", "train_end_to_end"]

_CHUNK = 64
_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.99  # those of the ascent on information


@dataclass(frozen=True)
class EndToEndSettings:
    """How optics and decoder are trained together.

    Parameters
    ----------
    decoder : UNet
        Its size, batch and step size; without the linear start, which would have to be solved anew at every step.
    training_objects, validation_objects : int
        Imaged with fresh noise in every epoch.
    most_epochs, patience : int
        Training stops when validation has not improved for ``patience`` epochs.
    design_rate : float
        Times the rate of each parameter: the size of a step of the design. 0 holds the optics: the decoder alone is
        trained, in the same way.
    start : int
        As the restarts of `optimise`: 0 near the conventional design, others at random.
    seed : int
    """

    decoder: UNet = field(default_factory=lambda: UNet(linear_start=False))
    training_objects: int = 1000
    validation_objects: int = 200
    most_epochs: int = 300
    patience: int = 5
    design_rate: float = 0.05
    start: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        least = min(self.training_objects, self.validation_objects, self.most_epochs, self.patience)
        if least < 1 or not self.design_rate >= 0 or min(self.start, self.seed) < 0:
            raise PhotonbitsError(
                f"training_objects {self.training_objects}, validation_objects {self.validation_objects}, most_epochs "
                f"{self.most_epochs}, patience {self.patience}, design_rate {self.design_rate}, start {self.start}, "
                f"seed {self.seed}",
                legal="1 or more, design_rate, start and seed 0 or more",
            )
        if self.decoder.linear_start:
            raise PhotonbitsError("a decoder with a linear start", legal="UNet(linear_start=False)")


@dataclass(frozen=True)
class EndToEndResult:
    """Optics and decoder of the epoch with the best validation.

    Parameters
    ----------
    design : SystemDesign
    trained : Trained
        Decodes frames of this design.
    history : tuple of float
        Validation error of every epoch, in variances of the targets.
    settings : dict
    cpu_seconds, peak_memory_mb : float
        The memory is the process's peak.
    """

    design: SystemDesign
    trained: Trained
    history: tuple[float, ...]
    settings: dict[str, Any]
    cpu_seconds: float
    peak_memory_mb: float

    @property
    def stopped(self) -> bool:
        """Whether validation had stopped improving, rather than that the epochs ran out."""
        return len(self.history) < int(self.settings["most_epochs"])


def train_end_to_end(
    problem: DesignProblem, settings: EndToEndSettings | None = None, *, start: SystemDesign | None = None
) -> EndToEndResult:
    """Train optics and a U-Net together.

    Every step images a batch of objects through the current design, draws raw frames with `Channel.sample`, whose
    gradients reach the optics, decodes them, and moves weights (Adam) and optics (Adam, one scale for each parameter
    array, along the limits, then projected onto them: as `optimise` does).

    Parameters
    ----------
    problem : DesignProblem
    settings : EndToEndSettings, optional
    start : SystemDesign, optional
        The optics to begin with, in place of those of ``settings.start``.

    Notes
    -----
    The objects have the seeds of `evaluate_designs`. One thread, deterministic algorithms.

    Raises
    ------
    PhotonbitsError
        If an error is not finite.
    """
    settings = settings or EndToEndSettings()
    began = time.process_time()
    with deterministic_torch():
        joint = _Joint.start(problem, settings)
        if start is not None:
            start = problem.adopted(start)
            if start.system != problem.system:
                raise PhotonbitsError("a start of another system", legal="the same name and fields")
            joint.parameters = start.tensors()
        history: list[float] = []
        best: _Snapshot | None = None
        for epoch in track(range(settings.most_epochs), "Training optics and decoder"):
            joint.epoch(epoch)
            history.append(joint.validation_error())
            if not np.isfinite(history[-1]):
                raise PhotonbitsError(
                    f"a validation error that is not finite in epoch {epoch + 1}",
                    remedy="Lower design_rate or the decoder's learning_rate",
                )
            if best is None or history[-1] < min(history[:-1]):
                best = joint.snapshot()
            if len(history) - 1 - int(np.argmin(history)) >= settings.patience:
                break
        assert best is not None
        joint.network.load_state_dict(best.weights)
        trained = TrainedUNet(joint.network, joint.scaled(best.stabiliser), tuple(history), None)
    plain = asdict(settings)
    return EndToEndResult(
        design=SystemDesign.of(problem.system, best.parameters),
        trained=trained,
        history=tuple(history),
        settings=plain,
        cpu_seconds=time.process_time() - began,
        peak_memory_mb=peak_memory_mb(),
    )


@dataclass(frozen=True)
class _Snapshot:
    parameters: Parameters
    weights: dict[str, Tensor]
    stabiliser: Stabiliser


class _Joint:
    """The state of one training: changes from step to step."""

    def __init__(self, problem: DesignProblem, settings: EndToEndSettings, network: Any, scale: tuple[float, float]):
        self.problem, self.settings, self.network = problem, settings, network
        self.mean_target, self.spread_target = scale
        arrays = begin(problem.system, settings.seed, settings.start).parameters
        self.parameters: Parameters = {name: torch.from_numpy(value.copy()) for name, value in arrays.items()}
        self.first = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.second = {name: 0.0 for name in self.parameters}
        self.steps = 0
        self.optimiser = torch.optim.Adam(network.parameters(), lr=settings.decoder.learning_rate)
        self.stabiliser = Stabiliser(problem)
        self.generator = torch.Generator().manual_seed(settings.seed)

    @classmethod
    def start(cls, problem: DesignProblem, settings: EndToEndSettings) -> _Joint:
        system, decoder = problem.system, settings.decoder
        counts: dict[Part, int] = {
            "training": settings.training_objects,
            "validation": settings.validation_objects,
        }
        objects = {
            part: problem.draw_labelled(n, np.random.default_rng([part_seed(settings.seed, part), 31]), part)[0]
            for part, n in counts.items()
        }
        setting = Setting(SystemDesign.of(system, system.start("conventional", np.random.default_rng(0))), problem)
        targets = {part: _targets(decoder, drawn, setting) for part, drawn in objects.items()}
        mean, spread = float(targets["training"].mean()), max(float(targets["training"].std()), 1e-12)
        planes = targets["training"].shape[1]
        network = make_network(system.period_px**2, planes, decoder.channels, settings.seed)
        joint = cls(problem, settings, network, (mean, spread))
        joint.objects, joint.targets = objects, {part: joint.scaled().wanted(t) for part, t in targets.items()}
        return joint

    objects: dict[Part, Tensor]
    targets: dict[Part, Tensor]

    def scaled(self, stabiliser: Stabiliser | None = None) -> ScaledInputs:
        """Units of frames and targets."""
        period = self.problem.system.period_px
        return ScaledInputs(stabiliser or self.stabiliser, period, self.mean_target, self.spread_target, None)

    def frames(self, objects: Tensor, generator: Any) -> Tensor:
        """Raw frames of objects through the current design, with gradients in its parameters."""
        light = self.problem.system.forward(objects, self.parameters)
        charge = self.problem.charge_e(light, self.parameters)
        if not self.problem.channel.signed:
            charge = torch.clamp(charge, min=0.0)  # transforms leave -1e-14
        return self.problem.channel.sample(charge, generator)

    def error(self, frames: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of the decoder, in variances of the targets."""
        x = place_channels(self.stabiliser(frames), self.problem.system.period_px).to(torch.float32)
        return torch.mean((self.network(x) - targets) ** 2)

    def epoch(self, number: int) -> None:
        """One pass through the objects, with fresh noise; frames are standardised anew as the design has moved."""
        objects, targets = self.objects["training"], self.targets["training"]
        with torch.no_grad():
            some = self.frames(objects[:_CHUNK], torch.Generator().manual_seed(number)).numpy()
        self.stabiliser = Stabiliser.fitted(self.problem, some)
        self.network.train()
        for rows in torch.randperm(len(objects), generator=self.generator).split(self.settings.decoder.batch):
            moving = self.settings.design_rate > 0
            self.parameters = {name: value.detach().requires_grad_(moving) for name, value in self.parameters.items()}
            self.optimiser.zero_grad()
            self.error(self.frames(objects[rows], self.generator), targets[rows]).backward()
            self.optimiser.step()
            if moving:
                self._move_optics()

    def _move_optics(self) -> None:
        """One Adam step of the design against its gradient, along and onto its limits."""
        system, self.steps = self.problem.system, self.steps + 1
        rates = {spec.name: spec.rate for spec in system.specs()}
        with torch.no_grad():
            held = {name: value.detach() for name, value in self.parameters.items()}
            # The tangent is that of an ascent: uphill is less error.
            uphill = {name: -_gradient(value) for name, value in self.parameters.items()}
            slopes = system.tangent(held, uphill)
            moved = {}
            for name, slope in slopes.items():
                self.first[name] = _FIRST_DECAY * self.first[name] + (1 - _FIRST_DECAY) * slope
                square = float((slope**2).mean())
                self.second[name] = _SECOND_DECAY * self.second[name] + (1 - _SECOND_DECAY) * square
                mean = self.first[name] / (1 - _FIRST_DECAY**self.steps)
                spread = (self.second[name] / (1 - _SECOND_DECAY**self.steps)) ** 0.5
                moved[name] = held[name] + self.settings.design_rate * rates[name] * mean / (spread + 1e-12)
            self.parameters = {name: value.detach() for name, value in system.project(moved).items()}

    def validation_error(self) -> float:
        """On validation objects, always with the same noise."""
        objects, targets = self.objects["validation"], self.targets["validation"]
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        self.network.eval()
        total = 0.0
        with torch.no_grad():
            for rows in torch.arange(len(objects)).split(_CHUNK):
                total += float(self.error(self.frames(objects[rows], generator), targets[rows])) * len(rows)
        return total / len(objects)

    def snapshot(self) -> _Snapshot:
        """What is kept of the best epoch."""
        weights = {name: value.clone() for name, value in self.network.state_dict().items()}
        return _Snapshot({n: v.detach().clone() for n, v in self.parameters.items()}, weights, self.stabiliser)


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


def _targets(decoder: UNet, objects: Tensor, setting: Setting) -> FloatArray:
    nothing = np.zeros((0, 0, 0))
    return decoder.targets(Simulation(objects.numpy(), nothing, nothing), setting)
