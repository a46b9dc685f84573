"""What to shoot next: candidate captures and the precision that each would add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.photon_transfer.fisher import LevelDesign, fisher_information
from calibrate.plan.precision import Prediction, Predictor
from calibrate.plan.targets import Target

#: A gap between levels of this share of the range is worth a level of its own.
_GAP = 0.1
#: Below this share of saturation the highest level leaves curvature near saturation unseen.
_HIGH_ENOUGH = 0.85


@dataclass(frozen=True)
class Candidate:
    """Captures that could be shot next, and what they would do.

    Parameters
    ----------
    name : str
    levels : tuple of LevelDesign
    errors : dict
        Predicted errors afterwards, in the units of the targets.
    gain_percent : dict
        By how much each error falls.
    score : float
        Sum of the logarithms by which the errors of the targets fall.
    """

    name: str
    levels: tuple[LevelDesign, ...]
    errors: dict[str, float]
    gain_percent: dict[str, float]
    score: float

    @property
    def n_frames(self) -> int:
        """Frames in all."""
        return sum(level.n_frames for level in self.levels)


def options(
    predictor: Predictor, present: Sequence[LevelDesign], n_frames: int
) -> list[tuple[str, tuple[LevelDesign, ...]]]:
    """Captures of ``n_frames`` frames (or the next even number that fits) worth a look, with names for people."""
    sensor = predictor.sensor
    brights = sorted((level for level in present if level.kind == "bright"), key=sensor.charge_e)
    darks = sorted({level.exposure_s for level in present if level.kind == "dark"})
    pairs = max(n_frames // 2, 1)
    found: list[tuple[str, tuple[LevelDesign, ...]]] = []
    for seconds in (darks[0], darks[-1]) if len(darks) > 1 else darks:
        found.append((f"darks at {seconds:.4g} s", (sensor.dark(seconds, 2 * pairs),)))
    if sensor.axis.sweep == "exposure":
        longest = max(level.exposure_s for level in present)
        for seconds in (0.0, longest):
            if all(abs(seconds - t) > 0.05 * longest for t in darks):
                name = "darks at the shortest exposure" if seconds == 0 else f"darks at {seconds:.4g} s, a new exposure"
                found.append((name, (sensor.dark(seconds, 2 * pairs),)))
    scene_s = predictor.scene.exposure_s
    if all(abs(scene_s - t) > 1e-6 * max(scene_s, 1e-9) for t in darks):
        found.append((f"darks at {scene_s:.4g} s, the scenes' exposure", (sensor.dark(scene_s, 2 * pairs),)))
    for level in brights:
        name = f"flats at {sensor.fraction(level):.1%} of saturation, as before"
        again = replace(level, n_frames=2 * pairs, n_pixels=sensor.n_pixels)
        found.append((name, (again,)))
    shares = [sensor.fraction(level) for level in brights]
    highest = sensor.highest_fraction
    if not shares or shares[-1] < min(_HIGH_ENOUGH, highest - 0.02):
        found.append((f"flats at {highest:.1%} of saturation, a new level", (sensor.bright(highest, 2 * pairs),)))
    edges = [0.0, *shares]
    widest = int(np.argmax(np.diff(edges))) if len(edges) > 1 else 0
    if len(edges) > 1 and edges[widest + 1] - edges[widest] > _GAP:
        middle = (edges[widest] + edges[widest + 1]) / 2
        found.append((f"flats at {middle:.1%} of saturation, a new level", (sensor.bright(middle, 2 * pairs),)))
    spread = tuple(sensor.bright(float(share), 2) for share in highest * np.arange(1, pairs + 1) / pairs)
    found.append((f"two flats at each of {pairs} levels spread evenly up to {highest:.1%}", spread))
    return found


def next_captures(
    predictor: Predictor, present: Sequence[LevelDesign], targets: Sequence[Target], n_frames: int
) -> tuple[Candidate, ...]:
    """Candidate captures of ``n_frames`` frames each, the one that helps the targets most first.

    Where some targets are not reached yet, only those count. A later capture has a light of its own: more frames at a
    level are one level more, with its own light error.
    """
    point = predictor.sensor.point
    base = fisher_information(point, present)
    now = predictor.from_information(base, present)
    open_targets = [t for t in targets if now.errors.get(t.name, np.inf) > t.wanted] or list(targets)
    candidates = []
    for name, levels in options(predictor, present, n_frames):
        after = predictor.from_information(base + fisher_information(point, levels), [*present, *levels])
        candidates.append(_candidate(name, levels, now, after, open_targets))
    return tuple(sorted(candidates, key=lambda candidate: -candidate.score))


def _candidate(
    name: str, levels: tuple[LevelDesign, ...], now: Prediction, after: Prediction, targets: Sequence[Target]
) -> Candidate:
    score = 0.0
    gain = {}
    for entry, before in now.errors.items():
        error = after.errors[entry]
        if np.isfinite(before):
            gain[entry] = 100 * (1 - error / before)
        elif np.isfinite(error):
            gain[entry] = 100.0  # now it can be told at all
    for target in targets:
        before, error = now.errors.get(target.name, np.inf), after.errors.get(target.name, np.inf)
        if np.isfinite(error):
            score += float(np.log(before / max(error, 1e-300))) if np.isfinite(before) else 10.0
    return Candidate(name, levels, dict(after.errors), gain, score)
