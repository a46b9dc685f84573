"""The score as a function of the number of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calibrate.plumbing.progress import track
from mi_eval.code_lengths import Density
from mi_eval.measurements import FEWEST_GROUPS, FEWEST_PATCHES
from mi_eval.result import LearningPoint
from mi_eval.score_parts import ScoreParts, parts_of, spread_std

PARTS = (4, 2)


def learning_curve(parts: ScoreParts, divisions: Sequence[int] = PARTS) -> tuple[LearningPoint, ...]:
    """Scores of a quarter, of half and of all of the frames.

    The frames are dealt at random into four (two) parts, every part is scored by itself, folds, H(Z|Y) and correction
    for the finite sample included, and the mean is given: every point rests on all of the frames, and differences
    between points are those of the number. Points whose parts would have fewer than 4 frames or 16 patches are left
    out. The standard error is that of the mean over all frames and of the calibration; it is common to the points for
    the greatest part.
    """
    curve: list[LearningPoint] = []
    dealt = np.random.default_rng([parts.seed, 4]).permutation(parts.groups)
    for count in divisions:
        subsets = np.array_split(dealt, count)
        rows = [np.flatnonzero(np.isin(parts.data.patches.frame_index, subset)) for subset in subsets]
        if min(s.size for s in subsets) < FEWEST_GROUPS or min(r.size for r in rows) < FEWEST_PATCHES:
            continue
        scored = [_of_rows(parts, own) for own in track(rows, f"Scoring 1/{count} of the frames", total=count)]
        bits = np.concatenate([own.group_bits for own in scored])
        share = np.concatenate([own.share * own.data.patches.n_patches for own in scored])
        curve.append(
            LearningPoint(
                frames=round(float(np.mean([own.groups.size for own in scored]))),
                patches=round(float(np.mean([own.data.patches.n_patches for own in scored]))),
                value=float(np.mean([own.value_bits for own in scored])),
                std=float(np.hypot(spread_std(bits, share / share.sum()), parts.calibration.std_bits)),
            )
        )
    whole = LearningPoint(
        frames=int(parts.groups.size),
        patches=parts.data.patches.n_patches,
        value=parts.value_bits,
        std=float(np.hypot(parts.sampling_std_bits, parts.calibration.std_bits)),
    )
    return (*curve, whole)


def _of_rows(parts: ScoreParts, rows: np.ndarray) -> ScoreParts:
    """The parts of a score of some of the patches."""
    data = parts.data
    patches = data.patches.take(rows)
    some = replace(
        data, patches=patches, positions=data.positions[rows], n_groups=int(np.unique(patches.frame_index).size)
    )
    return parts_of(parts.source, parts.model, some, parts.classes, parts.seed, _density(parts))


def _density(parts: ScoreParts) -> Density:
    """The families of the whole, so that no part has others."""
    if "gated_pixelcnn" in parts.heldout.names:
        return "reference"
    return "network" if "causal_network" in parts.heldout.names else "closed-form"
