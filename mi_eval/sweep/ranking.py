"""The best of several settings, and those that the scores cannot tell from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Standing:
    """A setting's information with what it takes to compare it. Bits per pixel.

    Parameters
    ----------
    scenes : str or None
        Settings with one name show the same scenes, frame by frame.
    score_std, calibration_std : float
        Standard error of a score, and the calibration's part in it.
    seed_values : tuple of float
        The score at each seed.
    set_below, set_above : float
        How far the truth may lie below or above beside all chance: misfit of the densities, H(Z|Y) not determined.
    per_frame_bits : ndarray (n_frames,) or None
        Information of each frame, mean over seeds.
    """

    name: str
    scenes: str | None
    model_sha256: str | None
    seed_values: tuple[float, ...]
    score_std: float
    calibration_std: float
    n_frames: int
    set_below: float
    set_above: float
    per_frame_bits: FloatArray | None

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.seed_values))

    @property
    def seed_std(self) -> float | None:
        """Standard deviation over seeds; None for one seed."""
        return float(np.std(self.seed_values, ddof=1)) if len(self.seed_values) > 1 else None

    @property
    def seed_error(self) -> float:
        """Standard error of the mean over seeds; 0 where one seed cannot show it."""
        return 0.0 if self.seed_std is None else self.seed_std / float(np.sqrt(len(self.seed_values)))

    @property
    def std(self) -> float:
        """Standard error of ``value``."""
        return float(np.hypot(self.score_std, self.seed_error))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        reach = float(stats.t.ppf(0.975, max(self.n_frames - 1, 1))) * self.std
        return self.value - reach - self.set_below, self.value + reach + self.set_above


def ranked(standings: Sequence[Standing]) -> dict[str, Any]:
    r"""The setting of the largest value, its interval, and how each other one compares with it.

    A setting is told from the best where its difference D, in standard errors s, satisfies
    :math:`D - q\,s > m`, with m the sum of what may systematically raise the one or lower the other, and q the
    point :math:`1 - 0.05/(k-1)` of Student's t for k settings. By Bonferroni's inequality the truly best setting is
    then among those not told apart in at least 95 of 100 sweeps (subset selection: Gupta 1965, Technometrics 7, 225).
    """
    best = max(standings, key=lambda standing: standing.value)
    others = sorted((s for s in standings if s is not best), key=lambda standing: -standing.value)
    comparisons = []
    for other in others:
        std, paired = difference_std(best, other)
        dof = max(min(best.n_frames, other.n_frames) - 1, 1)
        quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / len(others), dof))
        difference = best.value - other.value
        margin = best.set_below + other.set_above
        comparisons.append(
            {
                "name": other.name,
                "difference_bits_per_pixel": difference,
                "std_bits_per_pixel": std,
                "paired": paired,
                "told_apart": bool(difference - quantile * std - margin > 0),
            }
        )
    same = [str(entry["name"]) for entry in comparisons if not entry["told_apart"]]
    return {
        "best": {
            "name": best.name,
            "value_bits_per_pixel": best.value,
            "ci95_bits_per_pixel": list(best.interval),
        },
        "not_told_apart": same,
        "comparisons": comparisons,
        "sentence": _sentence(best, same, len(others)),
    }


def difference_std(a: Standing, b: Standing) -> tuple[float, bool]:
    """Standard error of the difference of two settings, and whether it is that of paired frames.

    Paired: of the differences frame by frame. The errors of one calibration move both scores alike, those of two add
    up.
    """
    seeds = float(np.hypot(a.seed_error, b.seed_error))
    rows = (a.per_frame_bits, b.per_frame_bits)
    if a.scenes is None or a.scenes != b.scenes or rows[0] is None or rows[1] is None or rows[0].size != rows[1].size:
        return float(np.sqrt(a.score_std**2 + b.score_std**2 + seeds**2)), False
    frames = float(np.std(rows[0] - rows[1], ddof=1)) / float(np.sqrt(rows[0].size))
    one_model = a.model_sha256 is not None and a.model_sha256 == b.model_sha256
    calibration = (
        abs(a.calibration_std - b.calibration_std)
        if one_model
        else float(np.hypot(a.calibration_std, b.calibration_std))
    )
    return float(np.sqrt(frames**2 + calibration**2 + seeds**2)), True


def _sentence(best: Standing, same: Sequence[str], others: int) -> str:
    low, high = best.interval
    text = f"{best.name} gives the most information: {best.value:.3f} bit/px (95 % interval {low:.3f} to {high:.3f})"
    if others == 0:
        return f"{best.name}: {best.value:.3f} bit/px (95 % interval {low:.3f} to {high:.3f})."
    if not same:
        return text + f"; {'the other setting gives' if others == 1 else 'all others give'} less."
    if len(same) == others:
        return text + "; no other setting can be told from it."
    named = same[0] if len(same) == 1 else ", ".join(same[:-1]) + " and " + same[-1]
    return text + f"; {named} cannot be told from it."
