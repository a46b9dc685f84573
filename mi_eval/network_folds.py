"""Network densities fitted to frames and coding others: few fits, because each takes seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mi_eval.density import FittedDensity, PatchSet
from mi_eval.density.by_channel import ChannelScale, FittedInScale
from mi_eval.density.interface import DensityFamily, NetworkFamily

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FEWEST_GROUPS = 3


@dataclass(frozen=True)
class NetworkTask:
    """Fits of one network family that serve several folds.

    Parameters
    ----------
    folds : tuple of int
        Numbers of the folds.
    train, fewer : ndarray of int
        Patches to fit to, and about half of them. None of them belongs to any of the folds or their validation.
    stop : ndarray of int
        Patches to stop on: the folds' validation.
    code : ndarray of int
        Patches to code: the folds and their validation.
    chosen_on : ndarray of int
        The folds' validation, those of one fold that another one codes included.
    """

    folds: tuple[int, ...]
    train: IntArray
    fewer: IntArray
    stop: IntArray
    code: IntArray
    chosen_on: IntArray


@dataclass(frozen=True)
class NetworkCodes:
    """Code lengths, bits per patch, NaN where a patch was not coded; the model; CPU seconds; what chance taught it."""

    lengths: FloatArray
    model: FittedDensity
    seconds: float
    n_parameters: int
    learnt_by_chance: float

    def chance_bits(self, training_pixels: int) -> float:
        r"""A share of what fitting all parameters costs on new pixels, :math:`k/(2N\ln 2)` bits per pixel."""
        return self.learnt_by_chance * (self.n_parameters / (2 * training_pixels * float(np.log(2))))


def network_tasks(group: IntArray, folds: Sequence[IntArray], validations: Sequence[IntArray]) -> list[NetworkTask]:
    """Share fits between two folds where enough groups are left, else one for each fold.

    Parameters
    ----------
    group : ndarray (n_patches,)
        Group (frame) of each patch.
    folds, validations : sequence of ndarray
        Groups of each fold, and those that choose its weights.
    """
    pairs = [(i, i + 1) for i in range(0, len(folds) - 1, 2)] if len(folds) > 2 else [(i,) for i in range(len(folds))]
    tasks = [_task(group, folds, validations, pair) for pair in pairs]
    if any(task is None for task in tasks):
        tasks = [_task(group, folds, validations, (i,), fewest=1) for i in range(len(folds))]
    return [task for task in tasks if task is not None]


def _task(
    group: IntArray,
    folds: Sequence[IntArray],
    validations: Sequence[IntArray],
    members: tuple[int, ...],
    fewest: int = _FEWEST_GROUPS,
) -> NetworkTask | None:
    tested = np.concatenate([folds[i] for i in members])
    stop = np.setdiff1d(np.concatenate([validations[i] for i in members]), tested)
    left = np.setdiff1d(np.unique(group), np.concatenate([tested, stop]))
    if left.size < fewest or stop.size == 0:
        return None
    # Sorted groups are frames in time: every second one.
    train = rows_of(group, left)
    fewer = rows_of(group, left[: 2 * (left.size // 2) : 2]) if left.size > 1 else train[::2]
    chosen_on = np.concatenate([validations[i] for i in members])
    wanted = np.concatenate([tested, chosen_on])
    return NetworkTask(members, train, fewer, rows_of(group, stop), rows_of(group, wanted), rows_of(group, chosen_on))


def rows_of(group: IntArray, members: IntArray) -> IntArray:
    """Patches of some groups."""
    return np.flatnonzero(np.isin(group, members)).astype(np.int64)


def run_task(
    patches: PatchSet,
    task: NetworkTask,
    family: NetworkFamily,
    seed: int,
    *,
    half: bool,
    fewer: IntArray | None = None,
) -> NetworkCodes:
    """Fit to all or half of the task's patches and code; of the folds' patches ``fewer`` alone, where given."""
    start = time.thread_time()
    train = patches.take(task.fewer if half else task.train)
    model = _fit(family, train, patches.take(task.stop), seed)
    lengths = np.full(patches.n_patches, np.nan)
    wanted = task.code if fewer is None else np.union1d(fewer, task.chosen_on)
    lengths[wanted] = model.code_length_bits(patches.take(wanted))
    fitted = model.base if isinstance(model, FittedInScale) else model
    n_parameters = sum(int(np.size(w)) for w in getattr(fitted, "weights", ()))
    return NetworkCodes(lengths, model, time.thread_time() - start, n_parameters, family.learnt_by_chance)


def _fit(family: DensityFamily, train: PatchSet, stop: PatchSet, seed: int) -> FittedDensity:
    """Fit; of a mosaic every channel is brought to one scale first, as for the other families that see no places."""
    if train.place_class is None:
        return family.fit(train, stop, seed)
    scale = ChannelScale.of(train)
    # The cells of the camera do not hold on that scale.
    train, stop = (replace(scale.apply(part), cells=None) for part in (train, stop))
    fitted = family.fit(train, stop, seed)
    return FittedInScale(fitted.name, fitted.patch_size, fitted, scale)
