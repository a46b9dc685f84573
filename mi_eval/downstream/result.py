"""What a decoder achieved with each design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.downstream.interface import FloatArray, Metric


@dataclass(frozen=True)
class SeedOutcome:
    """One training and test of one design.

    Parameters
    ----------
    seed : int
    per_frame : dict of ndarray (n_test,)
        By metric.
    cpu_seconds : float
        Of training and decoding; the simulation is left out.
    details : dict
        Of the trained decoder.
    """

    seed: int
    per_frame: dict[str, FloatArray]
    cpu_seconds: float
    details: dict[str, Any]


@dataclass(frozen=True)
class MetricOutcome:
    """One metric of one design.

    Parameters
    ----------
    value, std : float
        Mean over seeds, and its standard error: test frames and, from two seeds on, what training adds.
    seed_values, seed_stds : tuple of float
        Of each seed, with the standard error over its test frames.
    """

    value: float
    std: float
    seed_values: tuple[float, ...]
    seed_stds: tuple[float, ...]


@dataclass(frozen=True)
class DesignOutcome:
    """All seeds of one design."""

    name: str
    seeds: tuple[SeedOutcome, ...]

    def outcome(self, metric: Metric) -> MetricOutcome:
        r"""A metric over seeds.

        With S seeds of standard error :math:`s_k` over frames, :math:`\sigma^2 = \max(\overline{s^2}, v)/S`, v the
        variance between seeds: every seed draws its own test objects, so v has the error of the frames in it.
        """
        values = [metric.value(seed.per_frame[metric.name]) for seed in self.seeds]
        stds = [metric.std(seed.per_frame[metric.name]) for seed in self.seeds]
        square = float(np.mean(np.square(stds)))
        if len(values) > 1:
            square = max(square, float(np.var(values, ddof=1)))
        std = float(np.sqrt(square / len(values)))
        return MetricOutcome(float(np.mean(values)), std, tuple(values), tuple(stds))


@dataclass(frozen=True)
class Difference:
    """How much better (in the metric's own direction of counting) one design is than another."""

    value: float
    std: float


@dataclass(frozen=True)
class Evaluation:
    """The same decoder on every design, on the same objects.

    Parameters
    ----------
    decoder : dict
        Name and settings.
    title : str
    metrics : tuple of Metric
    designs : tuple of DesignOutcome
        In the order given.
    settings : dict
        Frames of each part, and seeds.
    target_range : float
        That PSNR and SSIM are relative to.
    """

    decoder: dict[str, Any]
    title: str
    metrics: tuple[Metric, ...]
    designs: tuple[DesignOutcome, ...]
    settings: dict[str, Any]
    target_range: float

    @property
    def names(self) -> tuple[str, ...]:
        """Of the designs."""
        return tuple(design.name for design in self.designs)

    def metric(self, name: str | None = None) -> Metric:
        """A metric by name; the main one without."""
        if name is None:
            return self.metrics[0]
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise PhotonbitsError(f"metric {name!r}", legal=", ".join(m.name for m in self.metrics))

    def outcomes(self, name: str | None = None) -> dict[str, MetricOutcome]:
        """A metric of every design."""
        return {design.name: design.outcome(self.metric(name)) for design in self.designs}

    def difference(self, a: str, b: str, name: str | None = None) -> Difference:
        """Metric of design ``a`` less that of ``b``, with the standard error of *paired* test objects.

        Both were tested on the same objects, so most of the scatter between objects cancels.
        """
        metric = self.metric(name)
        chosen = {design.name: design for design in self.designs}
        values, squares = [], []
        for one, other in zip(chosen[a].seeds, chosen[b].seeds, strict=True):
            rows = [seed.per_frame[metric.name] for seed in (one, other)]
            values.append(metric.value(rows[0]) - metric.value(rows[1]))
            apart = metric.influence(rows[0]) - metric.influence(rows[1])
            squares.append(float(np.var(apart, ddof=1)) / apart.size)
        square = float(np.mean(squares))
        if len(values) > 1:
            square = max(square, float(np.var(values, ddof=1)))
        return Difference(float(np.mean(values)), float(np.sqrt(square / len(values))))

    def to_dict(self, *, timed: bool = True) -> dict[str, Any]:
        """Plain values for JSON."""
        designs = []
        for design in self.designs:
            entry: dict[str, Any] = {"name": design.name, "metrics": {}}
            for metric in self.metrics:
                found = design.outcome(metric)
                entry["metrics"][metric.name] = {
                    "value": found.value,
                    "std": found.std,
                    "seeds": [
                        {"seed": seed.seed, "value": value, "std": std}
                        for seed, value, std in zip(design.seeds, found.seed_values, found.seed_stds, strict=True)
                    ],
                }
            entry["training"] = [{"seed": seed.seed, **seed.details} for seed in design.seeds]
            if timed:
                entry["cpu_seconds"] = [seed.cpu_seconds for seed in design.seeds]
            designs.append(entry)
        return {
            "decoder": dict(self.decoder),
            "settings": dict(self.settings),
            "target_range": self.target_range,
            "metrics": [
                {
                    "name": m.name,
                    "unit": m.unit,
                    "larger_is_better": m.larger_is_better,
                    "meaning": m.meaning,
                }
                for m in self.metrics
            ],
            "designs": designs,
        }
