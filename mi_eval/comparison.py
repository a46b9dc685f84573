"""What a comparison says: the keys of its JSON as frozen dataclasses, and its sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mi_eval.result import InformationEstimate, IntervalEstimate
from mi_eval.warnings import ScoreWarning

UNDECIDED = "undecided"


@dataclass(frozen=True)
class PairResult:
    """The first entry against the second.

    Parameters
    ----------
    first, second : str
        Names of the entries.
    difference_bits_per_pixel : IntervalEstimate
        I of the first less I of the second; ``ci95`` holds random error and both sets.
    p_value, p_value_holm : float
        Of a difference of 0 under the random error alone; adjusted for the number of pairs.
    verdict : str
        Name of the entry that carries more, or ``undecided``.
    sampling_std, calibration_std : float
        What the standard error is made of, bits per pixel.
    slack, conditional_entropy : tuple of float
        (low, high) that the interval is widened by.
    shared_noise_model : bool
    frame_bits : ndarray or None
        Difference of every pair of frames, bits per pixel; None where frames are not paired.
    """

    first: str
    second: str
    difference_bits_per_pixel: IntervalEstimate
    p_value: float
    p_value_holm: float
    verdict: str
    sampling_std: float
    calibration_std: float
    slack: tuple[float, float]
    conditional_entropy: tuple[float, float]
    shared_noise_model: bool
    frame_bits: NDArray[np.float64] | None = field(repr=False, compare=False, default=None)

    @property
    def sentence(self) -> str:
        """The result in words; what cannot be told apart is not ranked."""
        value, (low, high) = self.difference_bits_per_pixel.value, self.difference_bits_per_pixel.ci95
        d = digits_of(self.difference_bits_per_pixel.std)
        if self.verdict == UNDECIDED:
            most = max(abs(low), abs(high))
            bound = f"{math.ceil(most * 10**d - 1e-9) / 10**d:.{d}f}"
            names = f" between {self.first} and {self.second}"
            return f"no difference detected{names} (at most {bound} bit/px)"
        if self.verdict == self.second:
            value, low, high = -value, -high, -low
        other = self.second if self.verdict == self.first else self.first
        interval = f"95 % interval {low:.{d}f} to {high:.{d}f}"
        return f"{self.verdict} carries {value:.{d}f} bit/px more than {other} ({interval})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        return {
            "first": self.first,
            "second": self.second,
            "difference_bits_per_pixel": interval_dict(self.difference_bits_per_pixel),
            "p_value": self.p_value,
            "p_value_holm": self.p_value_holm,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "error_budget_bits_per_pixel": {
                "sampling": self.sampling_std,
                "calibration": self.calibration_std,
                "slack": list(self.slack),
                "conditional_entropy": list(self.conditional_entropy),
            },
            "shared_noise_model": self.shared_noise_model,
        }


@dataclass(frozen=True)
class PlaceBits:
    """Mean information of the patches at each place of the frame, for one entry.

    Parameters
    ----------
    row, column : ndarray (n_places,) of int
        Upper left corners.
    bits : ndarray (n_places,)
        Bits per pixel.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    bits: NDArray[np.float64]


@dataclass(frozen=True)
class EntryDetails:
    """Arrays behind one entry that the report draws: bits of every frame, of every place, and by spatial frequency."""

    group_bits: NDArray[np.float64]
    places: PlaceBits
    frequency_per_px: NDArray[np.float64]
    frequency_bits: NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Scores of two or more entries, and every pair of them set against each other.

    ``entries`` are (name, score) in the given order, ``pairs`` all of them in that order. The properties are those of
    the leading pair: the only one of two entries; of more, the entry with the most information and the next.
    """

    entries: tuple[tuple[str, InformationEstimate], ...]
    pairs: tuple[PairResult, ...]
    paired: bool
    patch_size: int
    warnings: tuple[ScoreWarning, ...]
    seed: int
    version: str
    details: dict[str, EntryDetails] = field(repr=False, compare=False, default_factory=dict)

    @property
    def leading(self) -> PairResult:
        """The pair that decides, the entry with more information first where there are more than two entries."""
        if len(self.entries) == 2:
            return self.pairs[0]
        value = {name: score.mutual_information_bits_per_pixel.value for name, score in self.entries}
        best, next_best = sorted(value, key=lambda name: -value[name])[:2]
        return next(pair for pair in self.pairs if {pair.first, pair.second} == {best, next_best})

    @property
    def difference_bits_per_pixel(self) -> IntervalEstimate:
        """Of the leading pair: first less second."""
        return self.leading.difference_bits_per_pixel

    @property
    def p_value(self) -> float:
        """Of the leading pair, adjusted for the number of pairs."""
        return self.leading.p_value_holm

    @property
    def verdict(self) -> str:
        """Name of the entry that carries more than every other one; ``undecided`` where there is none."""
        for name, _ in self.entries:
            own = [pair for pair in self.pairs if name in (pair.first, pair.second)]
            if all(pair.verdict == name for pair in own):
                return name
        return UNDECIDED

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        if len(self.entries) == 2:
            return self.pairs[0].sentence
        if self.verdict == UNDECIDED:
            return f"no entry carries more than every other one: {self.leading.sentence}"
        return f"{self.leading.sentence}, and more than every other entry"

    def to_dict(self) -> dict[str, Any]:
        """The content of the JSON: plain numbers, lists and strings."""
        lead = self.leading
        return {
            "difference_bits_per_pixel": interval_dict(lead.difference_bits_per_pixel),
            "p_value": self.p_value,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "compared": [lead.first, lead.second],
            "paired": self.paired,
            "patch_size": self.patch_size,
            "pairs": [pair.to_dict() for pair in self.pairs],
            "entries": [{"name": name, "score": score.to_dict()} for name, score in self.entries],
            "warnings": [{"code": doubt.code, "message": doubt.message} for doubt in self.warnings],
            "seed": self.seed,
            "version": self.version,
        }


def interval_dict(estimate: IntervalEstimate) -> dict[str, Any]:
    """Value, std and ci95 as in score.json."""
    return {"value": estimate.value, "std": estimate.std, "ci95": list(estimate.ci95)}


def digits_of(std: float) -> int:
    """Decimals that show the first digit of a standard error, between 3 and 5; 4 where it is 0.

    Examples
    --------
    >>> digits_of(0.00064), digits_of(0.3)
    (4, 3)
    """
    return int(min(max(-math.floor(math.log10(std)), 3), 5)) if std > 0 and math.isfinite(std) else 4
