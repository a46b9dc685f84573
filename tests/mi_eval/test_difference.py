"""The statistics of a difference of two scores: against textbook formulas, limits, and brute force."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mi_eval.calibration_error import CalibrationErrors
from mi_eval.conditional_entropy import ConditionalEntropy
from mi_eval.difference import (
    Difference,
    calibration_std_of_difference,
    difference_of,
    holm,
    law_distance,
)
from mi_eval.fit_spread import FitSpread, effective_dof
from mi_eval.intensity import IntensityLaw
from mi_eval.score_parts import spread_std

COVARIANCE = np.array([[4.0, 1.0], [1.0, 9.0]]) * 1e-6


def errors(*gradient: float, misfit: float = 0.0, covariance: Any = COVARIANCE) -> CalibrationErrors:
    return CalibrationErrors(("",), (1.0,), (np.array(gradient),), (covariance,), (misfit,), False)


def law(charges: list[float], weights: list[float]) -> IntensityLaw:
    return IntensityLaw(np.array(charges), np.array(weights), 0.0, 0, 0.0, 0)


def parts(
    group_bits: np.ndarray,
    calibration: CalibrationErrors,
    *,
    slack: float = 0.0,
    entropy: tuple[float, float, float] = (2.0, 2.0, 2.0),
    sha256: str = "",
) -> Any:
    """As much of ScoreParts as a difference reads; entropy is (low, value, high)."""
    n = group_bits.size
    share = np.full(n, 1 / n)
    low, value, high = entropy
    noise = ConditionalEntropy(value, (low, high), True, law([10.0], [1.0]), np.zeros((1, 1)), 0, {}, 0.0)
    return SimpleNamespace(
        group_bits=group_bits,
        share=share,
        groups=np.arange(n),
        value_bits=float(group_bits.mean()),
        sampling_std_bits=spread_std(group_bits, share),
        calibration=calibration,
        noise=noise,
        heldout=SimpleNamespace(slack_bits=slack, corrected_folds=(), excess_std_bits=0.0),
        fit_spread=FitSpread(),
        patch_size=16,
        model=SimpleNamespace(sha256=sha256 or None),
    )


NONE = errors(0.0, 0.0)


def test_paired_is_students_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 0.3, (2, 25))
    found = difference_of(parts(a, NONE), parts(b, NONE), paired=True)
    reference = stats.ttest_rel(a, b)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    interval = reference.confidence_interval(0.95)
    assert found.ci95 == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.frame_bits == pytest.approx(a - b)


def test_unpaired_is_welchs_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1.0, 0.3, 25), rng.normal(1.1, 0.7, 9)
    found = difference_of(parts(a, NONE), parts(b, NONE), paired=False)
    reference = stats.ttest_ind(a, b, equal_var=False)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    interval = reference.confidence_interval(0.95)
    assert found.ci95 == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.frame_bits is None


def test_common_scenes_cancel() -> None:
    rng = np.random.default_rng(2)
    scenes = rng.normal(1.0, 0.5, 60)
    a, b = scenes + rng.normal(0.05, 0.02, 60), scenes + rng.normal(0.0, 0.02, 60)
    together = difference_of(parts(a, NONE), parts(b, NONE), paired=True)
    apart = difference_of(parts(a, NONE), parts(b, NONE), paired=False)
    assert together.p_value < 1e-6 < 0.1 < apart.p_value
    assert together.value_bits == pytest.approx(apart.value_bits)


def test_swapping_changes_the_sign_only() -> None:
    rng = np.random.default_rng(3)
    a = parts(rng.normal(1.0, 0.3, 20), errors(0.3, 0.1), slack=0.02, entropy=(1.9, 2.0, 2.05))
    b = parts(rng.normal(1.2, 0.3, 20), errors(0.1, 0.4), slack=0.01, entropy=(1.97, 2.0, 2.01))
    for paired in (True, False):
        here, there = difference_of(a, b, paired=paired), difference_of(b, a, paired=paired)
        assert there.value_bits == pytest.approx(-here.value_bits)
        assert there.ci95 == pytest.approx((-here.ci95[1], -here.ci95[0]))
        assert there.p_value == pytest.approx(here.p_value)


def test_sets_are_those_of_the_two_scores() -> None:
    """All values that the two scores' own sets allow, over a grid of both."""
    rng = np.random.default_rng(4)
    bits = rng.normal(1.0, 0.1, 20)
    a = parts(bits, NONE, slack=0.03, entropy=(1.9, 2.0, 2.05))
    b = parts(bits - 0.2, NONE, slack=0.01, entropy=(1.97, 2.0, 2.01))
    found = difference_of(a, b, paired=True)

    def values(part: Any) -> np.ndarray:
        low, high = part.noise.interval_bits
        entropies = part.noise.value_bits - np.linspace(low, high, 11)
        misfits = np.linspace(0, part.heldout.slack_bits, 11)
        return (part.value_bits + entropies[:, None] - misfits).ravel()

    all_of_them = values(a)[:, None] - values(b)
    widened = np.subtract(found.ci95, found.random_ci95)
    assert widened[0] == pytest.approx(all_of_them.min() - found.value_bits)
    assert widened[1] == pytest.approx(all_of_them.max() - found.value_bits)


@pytest.mark.parametrize("value", [-0.05, 0.0, 0.02, 0.05])
def test_verdict_and_interval_agree(value: float) -> None:
    difference = Difference(value, 0.008, 0.003, 40.0, (-0.01, 0.02), (-0.001, 0.002), False, None)
    low, high = difference.ci95
    assert (difference.p_value_with_sets < 0.05) == (low > 0 or high < 0)
    assert difference.p_value_with_sets >= difference.p_value


def test_no_spread_at_all() -> None:
    bits = np.full(5, 0.4)
    same = difference_of(parts(bits, NONE), parts(bits, NONE), paired=True)
    assert (same.p_value, same.ci95) == (1.0, (0.0, 0.0))
    other = difference_of(parts(bits, NONE), parts(bits + 0.1, NONE), paired=True)
    assert other.p_value < 1e-6


def test_two_calibrations_add_up_and_one_cancels() -> None:
    a, b = errors(0.3, -0.2), errors(0.3, -0.2)
    alone = a.std_bits
    assert alone == pytest.approx(np.sqrt(a.gradients[0] @ COVARIANCE @ a.gradients[0]))
    assert calibration_std_of_difference(a, b, None) == pytest.approx(np.sqrt(2) * alone)
    assert calibration_std_of_difference(a, b, 0.0) == 0.0


def test_shared_calibration_against_draws() -> None:
    """Move the common parameters as their covariance says, and look at the difference of what both scores do."""
    a, b = errors(0.5, -0.2), errors(0.2, 0.3)
    draws = np.random.default_rng(5).multivariate_normal([0, 0], COVARIANCE, 200_000)
    scatter = np.std(draws @ a.gradients[0] - draws @ b.gradients[0])
    assert calibration_std_of_difference(a, b, 0.0) == pytest.approx(scatter, rel=0.01)


def test_one_file_is_known_as_one_calibration() -> None:
    bits = np.random.default_rng(6).normal(1.0, 0.1, 10)
    same = difference_of(
        parts(bits, errors(0.3, 0.1), sha256="f"), parts(bits, errors(0.3, 0.1), sha256="f"), paired=True
    )
    other = difference_of(
        parts(bits, errors(0.3, 0.1), sha256="f"), parts(bits, errors(0.3, 0.1), sha256="g"), paired=True
    )
    unsaved = difference_of(parts(bits, errors(0.3, 0.1)), parts(bits, errors(0.3, 0.1)), paired=True)
    assert same.shared_calibration
    assert same.calibration_std_bits == 0
    assert not other.shared_calibration
    assert other.calibration_std_bits > 0
    assert not unsaved.shared_calibration


def test_misfit_cancels_as_far_as_the_light_is_the_same() -> None:
    a, b = errors(0.0, 0.0, misfit=0.02), errors(0.0, 0.0, misfit=0.02)
    assert calibration_std_of_difference(a, b, 0.0) == 0.0
    assert calibration_std_of_difference(a, b, 0.5) == pytest.approx(0.01 * np.sqrt(2))
    assert calibration_std_of_difference(a, b, 1.0) == pytest.approx(calibration_std_of_difference(a, b, None))


def test_channels_are_matched_by_name() -> None:
    def two(red: float, blue: float, names: tuple[str, str] = ("R", "B")) -> CalibrationErrors:
        slopes = {"R": np.array([red, 0.0]), "B": np.array([0.0, blue])}
        return CalibrationErrors(
            names, (0.5, 0.5), tuple(slopes[n] for n in names), (COVARIANCE, COVARIANCE), (0.0, 0.0), False
        )

    assert calibration_std_of_difference(two(1.0, 1.0), two(1.0, 1.0, ("B", "R")), 0.0) == 0.0
    red_only = calibration_std_of_difference(two(1.0, 1.0), two(0.0, 1.0), 0.0)
    assert red_only == pytest.approx(0.5 * np.sqrt(COVARIANCE[0, 0]))


def test_distance_of_laws() -> None:
    here = law([100.0, 2000.0], [0.5, 0.5])
    assert law_distance(here, here) == 0
    assert law_distance(here, law([9000.0], [1.0])) == pytest.approx(1, abs=1e-6)
    assert law_distance(here, law([100.0, 2000.0], [0.7, 0.3])) == pytest.approx(0.2, abs=1e-3)
    # The same light by other spikes.
    assert law_distance(here, law([99.0, 101.0, 1990.0, 2010.0], [0.25] * 4)) < 0.01
    assert law_distance(here, None) == 0


def test_degrees_of_freedom() -> None:
    assert effective_dof([0.04], [12]) == pytest.approx(12)
    a, b = 0.3, 0.05
    assert effective_dof([a, b], [9, 4]) == pytest.approx((a + b) ** 2 / (a**2 / 9 + b**2 / 4))
    assert effective_dof([0.0, 0.1], [9, None]) == 1e6


def test_holm_against_its_definition() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        p = rng.random(5) ** 3
        adjusted = holm(p)
        for level in (0.01, 0.05, 0.3):
            # Step down: reject while p_(k) <= level / (m - k).
            rejected: set[int] = set()
            for rank, position in enumerate(np.argsort(p)):
                if p[position] > level / (5 - rank):
                    break
                rejected.add(int(position))
            assert {k for k in range(5) if adjusted[k] <= level} == rejected
