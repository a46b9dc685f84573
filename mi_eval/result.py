"""What a score says: the keys of score.json as frozen dataclasses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mi_eval.score_details import ScoreDetails
from mi_eval.warnings import ScoreWarning, threshold

#: Keys that a channel shares with the whole.
_OF_THE_WHOLE = ("frames", "noise_model", "seed", "version")


class _Keyed:
    """Entries that can be read as attributes and, like their JSON, by key."""

    def __getitem__(self, key: str) -> Any:
        if key not in self.__dict__:
            raise KeyError(key)
        return self.__dict__[key]


@dataclass(frozen=True)
class IntervalEstimate(_Keyed):
    """A value with its standard error and 95 % interval; signed, never clipped at 0."""

    value: float
    std: float
    ci95: tuple[float, float]


@dataclass(frozen=True)
class ConditionalEstimate(_Keyed):
    """H(Z|Y), the set of values that the codes cannot tell apart, and whether it is a point."""

    value: float
    interval: tuple[float, float]
    identifiable: bool


@dataclass(frozen=True)
class ModelRecord(_Keyed):
    """One density family: its held-out code length, its mean weight in the combination, its cost."""

    name: str
    heldout_bits_per_pixel: float
    weight: float
    seconds: float | None


@dataclass(frozen=True)
class LearningPoint(_Keyed):
    """The score of a part of the frames: how many, and how many patches; bits per pixel."""

    frames: int
    patches: int
    value: float
    std: float


def undecided_bits(noise: ConditionalEstimate, slack_bits: float, excess_bits: float) -> tuple[float, float]:
    """Parts of the interval that do not average out, (down, up); see `InformationEstimate`."""
    doubted = excess_bits if excess_bits > threshold("excess_large") else 0.0  # so large, it may be all wrong
    return slack_bits + noise.interval[1] - noise.value, noise.value - noise.interval[0] + doubted


@dataclass(frozen=True)
class InformationEstimate:
    """I(X;Z) in bits per pixel; the attributes are the keys of score.json.

    ``details`` holds the arrays that a report draws, and is not part of the JSON. ``channels`` holds the score of every
    colour filter or tap alone where it was asked for, ``bursts`` what repeated frames say where there are any.
    ``bulk_rate_bits_per_pixel`` is there where it was asked for (`mi_eval.bulk_rate`).
    ``twins`` is there where they were asked for (`mi_eval.twins`).
    ``budget`` and ``efficiency`` are there where a budget was asked for (`mi_eval.budget.estimate_with_budget`).
    """

    mutual_information_bits_per_pixel: IntervalEstimate
    upper_bound_bits_per_pixel: float
    lower_bound_bits_per_pixel: float | None
    slack_bits_per_pixel: float
    marginal_entropy_bits_per_pixel: float
    conditional_entropy_bits_per_pixel: ConditionalEstimate
    entropy_kind: str
    bits_per_electron: float | None
    mean_signal_e: float
    frames: int
    patches_used: int
    patch_size: int
    saturated_fraction: float
    models: tuple[ModelRecord, ...]
    warnings: tuple[ScoreWarning, ...]
    noise_model: dict[str, str | None]
    seed: int
    version: str
    error_budget_bits_per_pixel: dict[str, float]
    effective_scenes: float | None = None
    excess_method: str = "half-training"
    bursts: dict[str, Any] | None = None
    learning_curve: tuple[LearningPoint, ...] = ()
    channels: dict[str, InformationEstimate] = field(default_factory=dict)
    budget: dict[str, Any] | None = None
    efficiency: dict[str, Any] | None = None
    bulk_rate_bits_per_pixel: dict[str, Any] | None = None
    two_shots: dict[str, Any] | None = None
    twins: dict[str, Any] | None = None
    details: ScoreDetails = field(repr=False, compare=False, default_factory=ScoreDetails)

    @property
    def undecided_bits_per_pixel(self) -> tuple[float, float]:
        """How far the interval reaches (down, up) beyond errors that average out over frames.

        Down for the slack and the upper end of H(Z|Y), up for its lower end and for a finite-sample correction so large
        that it may be all wrong.
        """
        return undecided_bits(
            self.conditional_entropy_bits_per_pixel,
            self.slack_bits_per_pixel,
            self.error_budget_bits_per_pixel["finite_sample_excess"],
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of score.json: plain numbers, lists and strings."""
        information = self.mutual_information_bits_per_pixel
        conditional = self.conditional_entropy_bits_per_pixel
        out: dict[str, Any] = {
            "mutual_information_bits_per_pixel": {
                "value": information.value,
                "std": information.std,
                "ci95": list(information.ci95),
            },
            "upper_bound_bits_per_pixel": self.upper_bound_bits_per_pixel,
            "lower_bound_bits_per_pixel": self.lower_bound_bits_per_pixel,
            "slack_bits_per_pixel": self.slack_bits_per_pixel,
            "marginal_entropy_bits_per_pixel": self.marginal_entropy_bits_per_pixel,
            "conditional_entropy_bits_per_pixel": {
                "value": conditional.value,
                "interval": list(conditional.interval),
                "identifiable": conditional.identifiable,
            },
            "entropy_kind": self.entropy_kind,
            "bits_per_electron": self.bits_per_electron,
            "mean_signal_e": self.mean_signal_e,
            "frames": self.frames,
            "effective_scenes": self.effective_scenes,
            **({"learning_curve": [asdict(point) for point in self.learning_curve]} if self.learning_curve else {}),
            "patches_used": self.patches_used,
            "patch_size": self.patch_size,
            "saturated_fraction": self.saturated_fraction,
            "models": [
                {
                    "name": model.name,
                    "heldout_bits_per_pixel": model.heldout_bits_per_pixel,
                    "weight": model.weight,
                    **({} if model.seconds is None else {"seconds": model.seconds}),
                }
                for model in self.models
            ],
            "warnings": [{"code": doubt.code, "message": doubt.message} for doubt in self.warnings],
            "error_budget_bits_per_pixel": dict(self.error_budget_bits_per_pixel),
            "finite_sample_excess_method": self.excess_method,
            **({} if self.budget is None else {"budget": self.budget, "efficiency": self.efficiency}),
            **(
                {}
                if self.bulk_rate_bits_per_pixel is None
                else {"bulk_rate_bits_per_pixel": self.bulk_rate_bits_per_pixel}
            ),
            "noise_model": dict(self.noise_model),
            "seed": self.seed,
            "version": self.version,
        }
        if self.bursts is not None:
            out["bursts"] = self.bursts
        if self.two_shots is not None:
            out["two_shots"] = self.two_shots
        if self.twins is not None:
            out["twins"] = self.twins
        if self.channels:
            out["channels"] = {
                name: {key: value for key, value in channel.to_dict().items() if key not in _OF_THE_WHOLE}
                for name, channel in self.channels.items()
            }
        return out
