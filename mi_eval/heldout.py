"""Code lengths of frames that the density models have not seen, in folds of whole frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from calibrate.plumbing.progress import track
from mi_eval.density import (
    FittedDensity,
    PatchSet,
    combine_code_lengths,
    estimate_recoverable_bits,
    fit_closed_form,
    fit_mixture_weights,
    randomised_pit,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_MANY_PATCHES = 6000
_MOST_FOLDS = 4
_PIT_PATCHES = 3000
_THREADS = 2


@dataclass(frozen=True)
class HeldOut:
    """Code lengths of every patch by models that never saw its group.

    Parameters
    ----------
    full_bits : ndarray (n_patches,)
        Of the combination, bits per patch.
    excess_bits : ndarray (n_patches,)
        Finite-sample excess of ``full_bits``: with c/n of excess after n training patches, the growth when m of
        them are left is (c/n)(n/m - 1).
    family_bits : ndarray (n_patches, n_families)
    names : tuple of str
    weights, seconds : ndarray (n_families,)
        Mean weight in the combination; CPU seconds over all folds.
    slack_bits : float
        Bits per pixel that a recalibration given the causal past would still save; not below 0.
    pit : ndarray
        Randomised probability integral transform of codes given their past under the best family.
    """

    full_bits: FloatArray
    excess_bits: FloatArray
    family_bits: FloatArray
    names: tuple[str, ...]
    weights: FloatArray
    seconds: FloatArray
    slack_bits: float
    pit: FloatArray


@dataclass(frozen=True)
class _Job:
    """One fit: training rows (of ``whole`` in all), validation rows, test rows; whether it is the half-size one."""

    train: IntArray
    validation: IntArray
    test: IntArray
    half: bool
    whole: int
    seed: int


@dataclass(frozen=True)
class _Coded:
    lengths: FloatArray
    weights: FloatArray
    seconds: FloatArray
    names: tuple[str, ...]
    slack_bits: float
    pit: FloatArray


def heldout_code_lengths(patches: PatchSet, seed: int) -> HeldOut:
    """Code every group of patches with models fitted to the other groups.

    Folds are of whole groups (frames): two where patches are many, else four. In each, a fifth of the training
    groups chooses smoothing and weights. Every fold is fitted a second time to half of its training groups, for
    the finite-sample excess. Folds run on two threads; linear algebra on one each, which is faster for matrices
    of a patch.
    """
    jobs = _jobs(patches, seed)
    with threadpool_limits(limits=1), ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda job: _code(patches, job), jobs)
        coded = list(track(results, "Fitting density models", total=len(jobs)))
    n = patches.n_patches
    full, grown = np.empty(n), np.empty(n)
    ratio = np.empty(n)
    family = np.empty((n, coded[0].lengths.shape[1]))
    for job, result in zip(jobs, coded, strict=True):
        combined = combine_code_lengths(result.lengths, result.weights)
        if job.half:
            grown[job.test] = combined / (job.whole / job.train.size - 1.0)
            ratio[job.test] = 1.0 / (job.whole / job.train.size - 1.0)
        else:
            full[job.test] = combined
            family[job.test] = result.lengths
    whole = [result for job, result in zip(jobs, coded, strict=True) if not job.half]
    return HeldOut(
        full_bits=full,
        excess_bits=grown - ratio * full,
        family_bits=family,
        names=whole[0].names,
        weights=np.mean([result.weights for result in whole], axis=0),
        seconds=np.sum([result.seconds for result in coded], axis=0),
        slack_bits=max(float(np.mean([result.slack_bits for result in whole])), 0.0),
        pit=np.concatenate([result.pit for result in whole]),
    )


def _jobs(patches: PatchSet, seed: int) -> list[_Job]:
    rng = np.random.default_rng([seed, 1])
    groups = np.unique(patches.frame_index)
    count = 2 if patches.n_patches >= _MANY_PATCHES else min(_MOST_FOLDS, groups.size)
    jobs: list[_Job] = []
    for fold in np.array_split(rng.permutation(groups), count):
        rest = rng.permutation(np.setdiff1d(groups, fold))
        n_validation = max(1, round(0.2 * rest.size))
        validation, training = rest[:n_validation], rest[n_validation:]
        rows = {name: _rows(patches, part) for name, part in (("v", validation), ("t", training), ("f", fold))}
        # Half of the groups, or of the patches where one group is all there is.
        fewer = _rows(patches, training[: training.size // 2]) if training.size > 1 else rows["t"][::2]
        for train, half in ((rows["t"], False), (fewer, True)):
            jobs.append(_Job(train, rows["v"], rows["f"], half, rows["t"].size, seed))
    return jobs


def _rows(patches: PatchSet, groups: IntArray) -> IntArray:
    return np.flatnonzero(np.isin(patches.frame_index, groups)).astype(np.int64)


def _code(patches: PatchSet, job: _Job) -> _Coded:
    train, validation, test = (patches.take(rows) for rows in (job.train, job.validation, job.test))
    on_validation: list[FloatArray] = []
    on_test: list[FloatArray] = []
    seconds: list[float] = []
    models: list[FittedDensity] = []
    clock = time.thread_time()
    for fitted in fit_closed_form(train, validation, job.seed):
        on_validation.append(fitted.code_length_bits(validation))
        on_test.append(fitted.code_length_bits(test))
        seconds.append(time.thread_time() - clock)
        clock = time.thread_time()
        models.append(fitted)
    lengths = np.stack(on_test, axis=1)
    weights = fit_mixture_weights(np.stack(on_validation, axis=1))
    slack, pit = (0.0, np.empty(0)) if job.half else _misfit(models, lengths, test, job.seed)
    return _Coded(lengths, weights, np.array(seconds), tuple(model.name for model in models), slack, pit)


def _misfit(
    models: Sequence[FittedDensity], lengths: FloatArray, test: PatchSet, seed: int
) -> tuple[float, FloatArray]:
    """Recoverable bits per pixel of the best family, and its PIT."""
    best = models[int(np.argmin(lengths.mean(axis=0)))]
    sample = test.thinned(_PIT_PATCHES * test.n_pixels)
    u = randomised_pit(*best.conditional_cdf(sample), np.random.default_rng([seed, 2]))
    return estimate_recoverable_bits(u, sample.frame_index).bits_per_pixel, u.ravel()
