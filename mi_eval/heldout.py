"""Code lengths of frames that the density models have not seen, in folds of whole frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.code_lengths import CodedRows, Density, HeldOut
from mi_eval.density import (
    FittedDensity,
    NetworkFamily,
    PatchSet,
    RecoverableBits,
    combine_code_lengths,
    estimate_recoverable_bits,
    estimate_unexplained_bits,
    fit_closed_form,
    fit_mixture_weights,
    network_families,
    randomised_pit,
)
from mi_eval.density.network.device import asked_device
from mi_eval.folds import Fold, Job, make_folds, make_jobs
from mi_eval.network_folds import NetworkCodes, NetworkTask, network_tasks, run_task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Families that all together save less than this many bits per pixel of validation patches code a share of many patches.
_LEAST_SAVED = 2e-5
_PIT_PATCHES = 3000
_THREADS = 2
# Bits per pixel that the best closed-form family must leave before a network is tried, and that the first network must
# save on validation frames before the others are fitted.
_LEAST_SLACK = 1e-3
_LEAST_GAIN = 1e-3


@dataclass(frozen=True)
class _Coded:
    """Bits of test and validation patches under each family, (n, n_families), and what came with them.

    Families that were not `kept` have no weight, and NaN for test patches that they did not code.
    """

    lengths: FloatArray
    kept: NDArray[np.bool_]
    on_validation: FloatArray
    weights: FloatArray
    seconds: FloatArray
    names: tuple[str, ...]
    slack_bits: float
    slack_std_bits: float
    pit: FloatArray
    pit_rows: IntArray
    chance_bits: tuple[float, ...] = ()


def heldout_code_lengths(patches: PatchSet, seed: int, density: Density = "auto") -> HeldOut:
    """Code every group of patches with models fitted to the other groups.

    Folds are of whole groups (frames): two where patches are many, else four. In each, a fifth of the training
    groups chooses smoothing and weights. Every fold is fitted a second time to half of its training groups, for
    the finite-sample excess. Folds run on two threads; linear algebra on one each, which is faster for matrices
    of a patch. Where patches are many, a share of them measures the excess and what families without weight need.
    Two folds share a network, which sees neither of them nor the groups that choose its weight.

    Raises
    ------
    PhotonbitsError
        For an unknown ``density``, or one that needs torch where it is missing; for an unknown device in the
        environment.
    """
    if density not in get_args(Density):
        raise PhotonbitsError(f"density {density!r}", legal=", ".join(get_args(Density)))
    if density != "closed-form":
        asked_device()  # a wrong word is told before anything is fitted
    folds = make_folds(patches, seed)
    jobs = make_jobs(patches, folds, seed)
    with threadpool_limits(limits=1), ThreadPoolExecutor(_THREADS) as pool:
        results = pool.map(lambda job: _code(patches, job), jobs)
        coded = list(track(results, "Fitting density models", total=len(jobs)))
        no_torch, n_closed = False, len(coded[0].names)
        shared = list(range(len(folds)))
        unexplained: RecoverableBits | None = None
        if density == "closed-form" or not _may_help(coded[::2], sigmas=0.0):
            unexplained = _unexplained(patches, coded[::2], seed)
        if density != "closed-form" and (density != "auto" or unexplained is None or _worth(unexplained, sigmas=0.0)):
            families = network_families(reference=density == "reference")
            # With torch the first fit decides; without it only a clear sign is worth a warning.
            if not families:
                unexplained = unexplained or _unexplained(patches, coded[::2], seed)
                no_torch = _may_help(coded[::2], sigmas=2.0) or _worth(unexplained, sigmas=2.0)
            if not families and density != "auto":
                raise PhotonbitsError(
                    f"density {density!r} needs torch, which is not installed",
                    legal="closed-form, or auto",
                    remedy='Install it with pip install "photonbits[torch]"',
                )
            for family in families:
                coded = _with_network(patches, folds, jobs, coded, family, pool, stop_early=density == "auto")
            if len(coded[0].names) > n_closed:
                shared = [number for number, task in enumerate(_tasks(patches, folds)) for _ in task.folds]
        if unexplained is None or len(coded[0].names) > n_closed:
            unexplained = _unexplained(patches, coded[::2], seed)
    n = patches.n_patches
    full, grown, ratio = np.empty(n), np.full(n, np.nan), np.full(n, np.nan)
    family_bits = np.empty((n, coded[0].lengths.shape[1]))
    for job, result in zip(jobs, coded, strict=True):
        combined = combine_code_lengths(result.lengths[:, result.kept], result.weights[result.kept])
        if job.half:
            grown[job.test] = combined / job.growth
            ratio[job.test] = 1.0 / job.growth
        else:
            full[job.test] = combined
            family_bits[job.test] = result.lengths
    whole = [result for job, result in zip(jobs, coded, strict=True) if not job.half]
    excess = _filled(grown - ratio * full, patches.frame_index)
    weights = np.mean([result.weights for result in whole], axis=0)
    slack = float(np.mean([result.slack_bits for result in whole]))
    # What a network has not learnt falls more slowly than 1/n, and halves see little of it: as much again as was taken
    # off may be left, or what the share of its parameters that chance has taught costs.
    taken = float(np.mean(excess)) / patches.n_pixels
    unlearnt = sum(
        float(weight) * max(taken, *(result.chance_bits[number] for result in whole))
        for number, weight in enumerate(weights[n_closed:])
    )
    return HeldOut(
        full_bits=full,
        excess_bits=excess,
        family_bits=family_bits,
        names=whole[0].names,
        weights=weights,
        seconds=np.sum([result.seconds for result in coded], axis=0),
        slack_bits=max(slack, unexplained.bits_per_pixel, unlearnt, 0.0),
        pit=np.concatenate([result.pit.ravel() for result in whole]),
        no_torch=no_torch,
        folds=_coded_rows(jobs, coded, full, grown - ratio * full, shared, patches.frame_index),
        half_training_excess_bits=float(np.mean(excess)),
    )


def _coded_rows(
    jobs: Sequence[Job],
    coded: Sequence[_Coded],
    full: FloatArray,
    excess: FloatArray,
    fit: Sequence[int],
    group: IntArray,
) -> tuple[CodedRows, ...]:
    rows: list[CodedRows] = []
    for number in range(0, len(jobs), 2):
        job = jobs[number]
        whole, half = (
            combine_code_lengths(part.on_validation[:, part.kept], part.weights[part.kept])
            for part in coded[number : number + 2]
        )
        rows.append(
            CodedRows(
                fit=fit[number // 2],
                test=job.test,
                test_bits=full[job.test],
                test_excess_bits=excess[job.test],
                validation=job.validation,
                validation_bits=whole,
                validation_excess_bits=(half - whole) / jobs[number + 1].growth,
                validation_group=group[job.validation],
            )
        )
    return tuple(rows)


def _filled(values: FloatArray, group: IntArray) -> FloatArray:
    """Values with their group's mean where there is none."""
    known = np.isfinite(values)
    if known.all():
        return values
    number = np.unique(group, return_inverse=True)[1].ravel()
    mean = np.bincount(number[known], weights=values[known]) / np.bincount(number[known])
    return np.where(known, values, mean[number])


def _code(patches: PatchSet, job: Job) -> _Coded:
    train, validation, test = (patches.take(rows) for rows in (job.train, job.validation, job.test))
    on_validation: list[FloatArray] = []
    seconds: list[float] = []
    models: list[FittedDensity] = []
    clock = time.thread_time()
    for fitted in fit_closed_form(train, validation, job.seed):
        on_validation.append(fitted.code_length_bits(validation))
        seconds.append(time.thread_time() - clock)
        clock = time.thread_time()
        models.append(fitted)
    chosen_on = np.stack(on_validation, axis=1)
    weights = fit_mixture_weights(chosen_on)
    kept = np.ones(len(models), dtype=bool)
    if job.sampled is not None:
        kept = _needed(chosen_on, weights, _LEAST_SAVED * patches.n_pixels)
        weights = _of_kept(chosen_on, kept)
    sampled = slice(None) if job.sampled is None else np.flatnonzero(np.isin(job.test, job.sampled))
    some = test if job.sampled is None else test.take(sampled)
    lengths = np.full((test.n_patches, len(models)), np.nan)
    for column, fitted in enumerate(models):
        clock = time.thread_time()
        if kept[column]:
            lengths[:, column] = fitted.code_length_bits(test)
        else:
            lengths[sampled, column] = fitted.code_length_bits(some)
        seconds[column] += time.thread_time() - clock
    coded = _Coded(
        lengths=lengths,
        kept=kept,
        on_validation=chosen_on,
        weights=weights,
        seconds=np.array(seconds),
        names=tuple(model.name for model in models),
        slack_bits=0.0,
        slack_std_bits=0.0,
        pit=np.empty((0, test.n_pixels)),
        pit_rows=np.empty(0, dtype=np.int64),
    )
    best = models[int(np.argmin(np.nanmean(lengths, axis=0)))]
    return coded if job.half else _with_misfit(coded, best, patches, job)


def _needed(on_validation: FloatArray, weights: FloatArray, tolerance_bits: float) -> NDArray[np.bool_]:
    """Families whose absence makes codes longer by more than the tolerance, bits per patch; least weights go first."""
    kept = np.ones(weights.size, dtype=bool)
    best = float(combine_code_lengths(on_validation, weights).mean())
    for column in np.argsort(weights)[:-1]:
        trial = kept.copy()
        trial[column] = False
        bits = float(combine_code_lengths(on_validation[:, trial], _of_kept(on_validation, trial)[trial]).mean())
        if bits < best + tolerance_bits:
            kept = trial
    return kept


def _of_kept(on_validation: FloatArray, kept: NDArray[np.bool_]) -> FloatArray:
    """Weights of the kept families, 0 for the others."""
    weights = np.zeros(kept.size)
    weights[kept] = fit_mixture_weights(on_validation[:, kept])
    return weights


def _with_misfit(coded: _Coded, best: FittedDensity, patches: PatchSet, job: Job) -> _Coded:
    """`coded` with the recoverable bits per pixel of the best family, and its PIT."""
    count = min(_PIT_PATCHES, job.test.size)
    rows = job.test[np.linspace(0, job.test.size - 1, count).round().astype(np.int64)]
    sample = patches.take(rows)
    u = randomised_pit(*best.conditional_cdf(sample), np.random.default_rng([job.seed, 2]))
    found = estimate_recoverable_bits(u, sample.frame_index)
    return replace(coded, slack_bits=found.bits_per_pixel, slack_std_bits=found.std, pit=u, pit_rows=rows)


def _unexplained(patches: PatchSet, whole: Sequence[_Coded], seed: int) -> RecoverableBits:
    """What a regression on the causal past saves the best families of all folds."""
    rows = np.concatenate([result.pit_rows for result in whole])
    order = np.argsort(rows, kind="stable")
    u = np.concatenate([result.pit for result in whole])
    return estimate_unexplained_bits(u[order], patches.take(rows[order]), seed)


def _worth(found: RecoverableBits, *, sigmas: float) -> bool:
    """Whether the regression saved something worth a network, clear of chance."""
    return found.heldout_bits_per_pixel > max(_LEAST_SLACK, sigmas * found.std)


def _may_help(whole: Sequence[_Coded], *, sigmas: float) -> bool:
    """Whether the best closed-form families leave something that the causal past explains, clear of chance."""
    slack = float(np.mean([result.slack_bits for result in whole]))
    std = float(np.sqrt(np.sum([result.slack_std_bits**2 for result in whole]))) / len(whole)
    return slack > max(_LEAST_SLACK, sigmas * std)


def _with_network(
    patches: PatchSet,
    folds: Sequence[Fold],
    jobs: Sequence[Job],
    coded: Sequence[_Coded],
    family: NetworkFamily,
    pool: ThreadPoolExecutor,
    *,
    stop_early: bool,
) -> list[_Coded]:
    """`coded` with one family more; as it was where the first fit saves nothing and ``stop_early``."""
    seed = jobs[0].seed
    tasks = _tasks(patches, folds)
    runs = [(task, half) for task in tasks for half in (False, True)]

    def run(number: int) -> NetworkCodes:
        task, half = runs[number]
        fewer = np.concatenate([jobs[2 * fold + 1].test for fold in task.folds]) if half else None
        return run_task(patches, task, family, seed, half=half, fewer=fewer)

    # Where fits take long, the second thread makes the next one meanwhile.
    ahead = 2 if jobs[0].sampled is not None else 1
    codes = list(pool.map(run, range(ahead)))
    if stop_early and _gain_bits(patches, jobs, coded, tasks[0], codes[0]) < _LEAST_GAIN:
        return list(coded)
    codes += track(pool.map(run, range(ahead, len(runs))), f"Fitting {family.name}", total=len(runs) - ahead)
    out = list(coded)
    for number, task in enumerate(tasks):
        full, half = codes[2 * number], codes[2 * number + 1]
        growth = task.train.size / task.fewer.size - 1.0
        for fold in task.folds:
            job, fewer = jobs[2 * fold], jobs[2 * fold + 1]
            # What a smaller training set costs falls as one over its size, so it scales to the fold's own ratio.
            grown = full.lengths + (half.lengths - full.lengths) * (fewer.growth / growth)
            share = np.array([full.seconds, half.seconds]) / len(task.folds)
            whole = _extended(coded[2 * fold], full.lengths, job, family.name, share[0])
            chance = full.chance_bits(task.train.size * patches.n_pixels)
            whole = replace(whole, chance_bits=(*whole.chance_bits, chance))
            if int(np.argmin(np.nanmean(whole.lengths, axis=0))) == whole.kept.size - 1:
                whole = _with_misfit(whole, full.model, patches, job)
            out[2 * fold] = whole
            out[2 * fold + 1] = _extended(coded[2 * fold + 1], grown, fewer, family.name, share[1])
    return out


def _tasks(patches: PatchSet, folds: Sequence[Fold]) -> list[NetworkTask]:
    return network_tasks(patches.frame_index, [f.test for f in folds], [f.validation for f in folds])


def _extended(coded: _Coded, bits: FloatArray, job: Job, name: str, seconds: float) -> _Coded:
    on_validation = np.column_stack([coded.on_validation, bits[job.validation]])
    kept = np.append(coded.kept, True)
    return replace(
        coded,
        lengths=np.column_stack([coded.lengths, bits[job.test]]),
        kept=kept,
        on_validation=on_validation,
        weights=_of_kept(on_validation, kept),
        seconds=np.append(coded.seconds, seconds),
        names=(*coded.names, name),
    )


def _gain_bits(
    patches: PatchSet, jobs: Sequence[Job], coded: Sequence[_Coded], task: NetworkTask, codes: NetworkCodes
) -> float:
    """Bits per pixel that the network saves the combination on validation frames."""
    gains = []
    for fold in task.folds:
        before, job = coded[2 * fold], jobs[2 * fold]
        after = _extended(before, codes.lengths, job, "network", 0.0)
        gains.append(
            np.mean(combine_code_lengths(before.on_validation, before.weights))
            - np.mean(combine_code_lengths(after.on_validation, after.weights))
        )
    return float(np.mean(gains)) / patches.n_pixels
