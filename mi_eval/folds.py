"""Which frames are fitted to, choose and are coded: folds of whole groups, each fitted twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mi_eval.density import PatchSet
from mi_eval.network_folds import rows_of

IntArray = NDArray[np.int64]

_MANY_PATCHES = 6000
_MOST_FOLDS = 4
# Of so many patches half-size fits code about this many, and so do families that save nothing: the excess and their
# own code lengths need no more.
_SAMPLED_PATCHES = 4000


@dataclass(frozen=True)
class Fold:
    """Groups that are coded, choose, and are fitted to; half of the latter."""

    test: IntArray
    validation: IntArray
    training: IntArray


@dataclass(frozen=True)
class Job:
    """One fit: training rows (of ``whole`` in all), validation rows, test rows; whether it is the half-size one.

    ``sampled`` are the test rows that families without weight code; None for all of them and a share in any case.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    half: bool
    whole: int
    seed: int
    sampled: IntArray | None

    @property
    def growth(self) -> float:
        """Excess that the smaller training set adds, over the excess of the whole one."""
        return self.whole / self.train.size - 1.0


def make_folds(patches: PatchSet, seed: int) -> list[Fold]:
    """Folds of whole groups: two where patches are many, else four; a fifth of the rest is for validation."""
    rng = np.random.default_rng([seed, 1])
    groups = np.unique(patches.frame_index)
    count = 2 if patches.n_patches >= _MANY_PATCHES else min(_MOST_FOLDS, groups.size)
    folds: list[Fold] = []
    for fold in np.array_split(rng.permutation(groups), count):
        rest = rng.permutation(np.setdiff1d(groups, fold))
        n_validation = max(1, round(0.2 * rest.size))
        folds.append(Fold(fold, rest[:n_validation], rest[n_validation:]))
    return folds


def make_jobs(patches: PatchSet, folds: Sequence[Fold], seed: int) -> list[Job]:
    """Two fits for each fold: to all training groups, and to half of them."""
    jobs: list[Job] = []
    for fold in folds:
        test, validation, training = (
            rows_of(patches.frame_index, part) for part in (fold.test, fold.validation, fold.training)
        )
        # Half of the groups, or of the patches where one group is all there is.
        half = fold.training[: fold.training.size // 2]
        fewer = rows_of(patches.frame_index, half) if half.size else training[::2]
        step = -(-patches.n_patches // _SAMPLED_PATCHES) if patches.n_patches >= _MANY_PATCHES else 1
        sampled = None if step == 1 else _every(step, test, patches.frame_index)
        for train, is_half in ((training, False), (fewer, True)):
            tested = test if sampled is None or not is_half else sampled
            jobs.append(Job(train, validation, tested, is_half, training.size, seed, sampled))
    return jobs


def _every(step: int, rows: IntArray, group: IntArray) -> IntArray:
    """Every ``step``-th of the rows of each group, the first of each at least; ascending."""
    order = rows[np.argsort(group[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    return np.sort(order[rank % step == 0])
