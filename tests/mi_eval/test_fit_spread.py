"""What the chance of fits does to a score: closed cases, and against scores with many seeds."""

from __future__ import annotations

import numpy as np
import pytest

from mi_eval.code_lengths import CodedRows
from mi_eval.estimate import estimate_information
from mi_eval.fit_spread import spread_of_fits
from mi_eval.heldout import heldout_code_lengths
from mi_eval.score_parts import ScoreParts
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample

PIXELS = 64


def coded(errors: np.ndarray, scatter: float, optimism: float, rng: np.random.Generator, per_fold: int = 200) -> list:
    """Folds whose fits code everything longer by their own error, with chance of its own at every patch."""
    n = errors.size * per_fold
    order = rng.permutation(n)
    common = rng.normal(100.0, 30.0, n)
    nothing = np.zeros(n)
    folds = []
    for number, (error, test) in enumerate(zip(errors, np.array_split(order, errors.size), strict=True)):
        validation = rng.permutation(np.setdiff1d(order, test))[: per_fold // 2]
        bits = common + error + rng.normal(0.0, scatter, n)
        folds.append(
            CodedRows(
                fit=number,
                test=test,
                test_bits=bits[test],
                test_excess_bits=nothing[test],
                validation=validation,
                validation_bits=bits[validation] - optimism,
                validation_excess_bits=nothing[validation],
                validation_group=validation,
            )
        )
    return folds


def test_spread_is_that_of_the_fits_errors_over_their_number() -> None:
    """Chance of the patches and what choosing saves are taken off; K fits of error s leave s / sqrt(K)."""
    rng = np.random.default_rng(0)
    found = [spread_of_fits(coded(rng.normal(0.0, 0.6, 4), 1.0, 0.5, rng), PIXELS) for _ in range(200)]
    variance = np.mean([spread.std_bits**2 for spread in found])
    assert variance == pytest.approx((0.6 / 2 / PIXELS) ** 2, rel=0.2)
    assert {spread.dof for spread in found} == {3}


def test_equal_fits_have_no_spread_beyond_chance() -> None:
    rng = np.random.default_rng(1)
    found = [spread_of_fits(coded(np.zeros(4), 1.0, 0.5, rng), PIXELS).std_bits for _ in range(100)]
    # Alone, the chance of 100 patches that two fits code would look like an error of 0.1 bit a fit.
    assert np.sqrt(np.mean(np.square(found))) < 0.05 / PIXELS
    assert spread_of_fits(coded(np.zeros(4), 0.0, 0.5, rng), PIXELS).std_bits == pytest.approx(0.0, abs=1e-9)


def test_one_shared_fit_says_nothing() -> None:
    rng = np.random.default_rng(2)
    first, second = coded(np.array([0.3, -0.3]), 1.0, 0.0, rng)
    alone = spread_of_fits([first], PIXELS)
    assert (alone.std_bits, alone.dof) == (0.0, 0)
    shared = spread_of_fits([first, CodedRows(**{**second.__dict__, "fit": 0})], PIXELS)
    assert (shared.std_bits, shared.dof) == (0.0, 0)


def test_other_seeds_move_the_mean_as_stated() -> None:
    """The same frames dealt into other folds: codes less excess move by what their fits differ by."""
    source = make_source("gaussian-field-codes")
    frames, _ = draw_sample(source, patches=300, patch_size=8, seed=0)
    kept: list[ScoreParts] = []
    estimate_information(frames, source.noise_model, patch_size=8, density="closed-form", keep=kept.append)
    patches = kept[0].data.patches
    values, variances = [], []
    for seed in range(10):
        coded = heldout_code_lengths(patches, seed, "closed-form")
        values.append(float(np.mean(coded.full_bits - coded.excess_bits)) / PIXELS)
        variances.append(spread_of_fits(coded.corrected_folds, PIXELS).std_bits ** 2)
    # 9 and some 30 degrees of freedom.
    assert 0.4 < np.sqrt(np.mean(variances)) / np.std(values, ddof=1) < 2.5
