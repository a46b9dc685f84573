"""Predicted variances and their errors: exactness, limits, covariance, the joint test, the causes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrate import NoiseModel
from calibrate.schema import CovarianceEntry, NoiseModelDocument, ValidityEntry
from calibrate.validation.causes import explain, moved
from calibrate.validation.diagnoses import DIAGNOSES, finding
from calibrate.validation.observed import BINS, Cell, Observed
from calibrate.validation.prediction import (
    PixelClasses,
    Point,
    closed_form,
    dark_rate_e_per_s,
    is_smooth,
    perturbed,
    predict_dark_mean,
    predict_variances,
    settle,
)
from calibrate.validation.ranges import VARIANCE_LEVEL, Comparison, SignalRange, compare
from calibrate.validation.transform import examine_transform


def camera(**changes: object) -> NoiseModel:
    given_values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.3, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given_values, **changes})


def with_covariance(model: NoiseModel, names: tuple[str, ...], matrix: np.ndarray) -> NoiseModel:
    entry = CovarianceEntry(names=names, matrix=tuple(tuple(float(x) for x in row) for row in matrix))
    document: NoiseModelDocument = model.document.model_copy(update={"covariance": entry})
    return NoiseModel.from_document(document)


# ---- prediction ----------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    gain=st.floats(0.05, 20),
    read=st.floats(0.8, 20),
    charge=st.floats(0, 2000),
    bend=st.sampled_from([0.0, -0.03, 0.02]),
)
def test_prediction_at_the_mean_is_the_variance_at_the_charge(gain, read, charge, bend):
    """Whatever the regime: the model's own mean code leads back to its own variance."""
    response = {"coefficients": (bend,), "scale_dn": 60000.0} if bend else None
    model = camera(system_gain_dn_per_e=gain, read_noise_e=read, bit_depth=16, offset_dn=500.0, response=response)
    y = np.array([charge])
    mean, variance = float(model.mean_dn(y)[0]), float(model.variance_dn2(y)[0])
    found = predict_variances(model, [Point(mean)])[0]
    # Below half a DN the mean fixes the charge only as far as the search goes, a thousandth of the noise.
    assert found == pytest.approx(variance, rel=1e-4 if gain * read > 0.7 else 5e-3)


@pytest.mark.parametrize("charge", [0.0, 2.0, 30.0])
def test_prediction_of_darks_knows_their_charge(charge):
    model = camera(system_gain_dn_per_e=0.2)
    y = np.array([charge])
    found = predict_variances(model, [Point(float(model.mean_dn(y)[0]), charge)])[0]
    assert found == pytest.approx(float(model.variance_dn2(y)[0]), rel=1e-3)
    assert predict_dark_mean(model, Point(0.0, charge)) == pytest.approx(float(model.mean_dn(y)[0]), abs=1e-6)


def test_spread_offsets_average_the_rounding():
    """Pixels whose offsets differ by 0.3 DN: mean variance against a sum over two thousand of them."""
    rng = np.random.default_rng(0)
    model = camera(system_gain_dn_per_e=0.1)
    offsets = 100.3 + 0.3 * rng.standard_normal(2000)
    pixels = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.1, read_noise_e=3.0, offset_dn=100.3, bit_depth=12, maps={"offset_dn": offsets[None]}
    )
    y = np.full((1, 2000), 4.0)
    mean, variance = float(pixels.mean_dn(y).mean()), float(pixels.variance_dn2(y).mean())
    spread = float(np.var(offsets))
    # Rounding moves the pixels' means by up to 0.1 DN: the spread that captures show is not quite the offsets'.
    assert predict_variances(model, [Point(mean, 4.0, spread)])[0] == pytest.approx(variance, rel=0.01)
    away = offsets - offsets.mean()
    one = np.ones(2000)
    classes = PixelClasses(away, 0.3 * one, one, one / 2000, one)
    exact = predict_variances(model, [Point(mean, 4.0, classes=classes)])[0]
    assert exact == pytest.approx(variance, rel=1e-3)
    assert settle(model, Point(mean, 4.0, classes=classes)).moments()[0] == pytest.approx(mean, abs=1e-3)


def test_maps_add_their_squares():
    """Smooth regime: gain and read noise of pixels enter by their mean squares, exactly."""
    rng = np.random.default_rng(1)
    gain = 0.5 * (1 + 0.1 * rng.standard_normal(5000))
    read = 3.0 * np.exp(0.3 * rng.standard_normal(5000))
    model = camera(system_gain_dn_per_e=float(gain.mean()), read_noise_e=4.0)
    y = 800.0
    expected = float(np.mean(gain**2 * (y + read**2))) + 1 / 12
    point = Point(
        100.3 + float(gain.mean()) * y,
        gain_square_ratio=float(np.mean(gain**2)) / float(gain.mean()) ** 2,
        read_variance_dn2=float(np.mean((gain * read) ** 2)),
    )
    assert predict_variances(model, [point])[0] == pytest.approx(expected, rel=1e-6)


def test_where_the_law_is_smooth():
    def smooth(model: NoiseModel, charge: float) -> bool:
        mean = model.mean_dn(np.array([charge]))
        return bool(is_smooth(model.camera, closed_form(model.camera, mean, np.array([charge])), mean)[0])

    assert smooth(camera(), 1000.0)
    assert smooth(camera(), 0.0)
    assert not smooth(camera(system_gain_dn_per_e=0.1), 0.0)  # coarse rounding
    assert not smooth(camera(read_noise_e=0.2), 100.0)  # single electrons
    assert not smooth(camera(offset_dn=3.0), 0.0)  # black clip
    assert not smooth(camera(bit_depth=8), 310.0)  # white clip
    assert not smooth(camera(full_well_e=1000.0), 990.0)
    assert smooth(camera(bit_depth=None, read_noise_e=0.8), 100.0)
    assert not smooth(camera(bit_depth=None, read_noise_e=0.2), 10.0)


def test_perturbed_models():
    model = camera(response={"coefficients": (-0.02, 0.01), "scale_dn": 3900.0}, full_well_e=7000.0)
    up = perturbed(model, "system_gain_dn_per_e", 0.01)
    assert up is not None and up.camera.system_gain_dn_per_e == pytest.approx(0.51)
    bent = perturbed(model, "nonlinearity[1]", 0.005)
    assert bent is not None and bent.camera.response.coefficients == pytest.approx((-0.02, 0.015))
    assert perturbed(model, "read_noise_e", -5.0) is None  # no camera has negative noise
    assert perturbed(model, "quantum_efficiency_percent", 1.0) is None  # not in this model


def test_dark_rate_is_that_of_the_map():
    rates = np.array([[1.0, 3.0], [5.0, 7.0]])
    assert dark_rate_e_per_s(camera(dark_current_e_per_s=2.0)) == 2.0
    assert dark_rate_e_per_s(camera(dark_current_e_per_s=2.0, maps={"dark_current_e_per_s": rates})) == 4.0
    assert dark_rate_e_per_s(camera()) == 0.0


# ---- ranges --------------------------------------------------------------------------------------------------


def cell(model: NoiseModel, charge: float, *, level: int = 0, kind="bright", n=100_000, factor=1.0) -> Cell:
    y = np.array([charge])
    variance = factor * float(model.variance_dn2(y)[0])
    return Cell(
        level=level, kind=kind, exposure_s=1.0, dark_charge_e=charge if kind == "dark" else None, n_pairs=n,
        mean_dn=float(model.mean_dn(y)[0]), variance_dn2=variance, fourth_dn4=3 * variance**2,
        third_dn3=0.0, spread_dn2=0.0, n_clipped=0, n_outliers=0, at_black=0, histogram=np.zeros(BINS, dtype=np.int64),
    )  # fmt: skip


CHARGES = np.linspace(200, 6000, 9)


def observed(model: NoiseModel, factors=None) -> Observed:
    """A dark and nine brights whose variances are the model's times a factor."""
    factors = np.ones(10) if factors is None else factors
    cells = [cell(model, 0.0, kind="dark", factor=factors[0])]
    cells += [cell(model, y, level=i + 1, factor=f) for i, (y, f) in enumerate(zip(CHARGES, factors[1:], strict=True))]
    return Observed((), tuple(cells), None, 1)


def test_sensitivity_is_the_derivative():
    """Linear camera: dV/dK, dV/d(offset) and dV/d(read noise) at a fixed mean, times one standard error each."""
    names = ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_noise_dn")
    std = np.array([0.001, 0.02, 0.05, 0.03])
    model = with_covariance(camera(), names, np.diag(std**2))
    result = compare(model, observed(model))
    signal = 0.5 * CHARGES
    found = result.sensitivity[1:]
    np.testing.assert_allclose(found[:, 0], std[0] * (signal + 2 * 0.5 * 9), rtol=1e-4)
    np.testing.assert_allclose(found[:, 1], -std[1] * 0.5, rtol=1e-4)
    np.testing.assert_allclose(found[:, 2], std[2] * 0.25 * 6, rtol=1e-4)
    assert result.sensitivity.shape == (10, 3)  # the dark noise is derived, and moves nothing by itself
    dark = result.sensitivity[0]
    assert dark[1] == pytest.approx(0.0, abs=1e-9)  # the offset of a dark follows from its own mean


def test_error_of_a_variance():
    """Gaussian and shot noise: the scatter of simulated variances about the prediction at their own mean."""
    rng = np.random.default_rng(0)
    model = camera(system_gain_dn_per_e=2.0, read_noise_e=0.8, offset_dn=100.0)
    n, charge = 400, 4.0
    found = []
    for _ in range(3000):
        a, b = (model.sample(np.full(n, charge), rng).astype(float) for _ in range(2))
        mean = (a.mean() + b.mean()) / 2
        found.append(np.var(a - b, ddof=1) / 2 - (4 * ((mean - 100) / 2 + 0.64) + 1 / 12))
    one = cell(model, charge, n=n)
    # The fourth moment of the law, as a sample would show it.
    a, b = (model.sample(np.full(400_000, charge), rng).astype(float) for _ in range(2))
    one = replace(one, fourth_dn4=float(np.mean((a - b - np.mean(a - b)) ** 4)) / 4)
    stated = compare(model, Observed((), (one,), None, 1)).ranges[0].observed_std_dn2
    assert np.mean(found) == pytest.approx(0.0, abs=4 * np.std(found) / np.sqrt(3000))
    assert stated == pytest.approx(np.std(found), rel=0.06)


def test_the_joint_test_rejects_as_often_as_it_says():
    """Variances drawn with noise and a shared calibration error: chi-square of the full covariance, not of each z."""
    rng = np.random.default_rng(5)
    names = ("system_gain_dn_per_e", "read_noise_e")
    calibration = np.array([[1e-4, -2e-4], [-2e-4, 1e-2]])  # 2 % of gain: four times the noise of a range
    model = with_covariance(camera(), names, calibration)
    plain = compare(model, observed(model))
    predicted = np.array([entry.predicted_variance_dn2 for entry in plain.ranges])
    noise = np.array([entry.observed_std_dn2 for entry in plain.ranges])
    root = np.linalg.cholesky(plain.correlation)
    draws = 4000
    p_values, judged_alone = [], []
    for _ in range(draws):
        shared = plain.sensitivity @ (root @ rng.standard_normal(2))
        difference = noise * rng.standard_normal(noise.size) + shared
        p_values.append(plain.chi_square(difference)[2])
        judged_alone.append(np.max(np.abs(difference) / noise) > 3.5)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / draws))
    assert np.mean(np.array(p_values) < VARIANCE_LEVEL) < 0.005
    assert np.mean(judged_alone) > 0.3  # what leaving the calibration out would do
    assert np.max(predicted * 0.02) > 3 * np.max(noise)


def test_a_misfit_within_the_calibration_error_agrees_and_one_beyond_does_not():
    names = ("system_gain_dn_per_e",)
    sure = with_covariance(camera(), names, np.array([[1e-8]]))
    unsure = with_covariance(camera(), names, np.array([[1e-4]]))
    gain = perturbed(sure, "system_gain_dn_per_e", 0.015)
    assert gain is not None
    points = [entry.point for entry in observed(sure).cells]
    off = predict_variances(gain, points) / predict_variances(sure, points)
    assert off[1:] == pytest.approx(1.03, abs=0.003)
    assert compare(sure, observed(sure, off)).disagrees()
    assert not compare(unsure, observed(unsure, off)).disagrees()
    # No range need stand out: what all of them show together counts.
    cells = observed(sure, 1 + (off - 1) / 3).cells[1:]
    little = compare(sure, Observed((), cells, None, 1))
    assert max(abs(entry.z) for entry in little.ranges) < 3 and little.disagrees()
    assert little.largest_misfit() == pytest.approx(0.01, rel=0.2)


def test_ranges_are_few_and_merge_what_is_alike():
    model = camera()
    many = tuple(cell(model, 200 + 60.0 * i, level=i) for i in range(100))
    alike = tuple(cell(model, 1000 + 0.1 * i, level=i, n=100 * (i + 1)) for i in range(5))
    found = compare(model, Observed((), many, None, 1))
    assert 8 <= len(found.ranges) <= 16
    assert sum(entry.n_levels for entry in found.ranges) == 100
    assert [entry.mean_dn for entry in found.ranges] == sorted(entry.mean_dn for entry in found.ranges)
    assert all(entry.ratio == pytest.approx(1.0, abs=1e-6) for entry in found.ranges)
    one = compare(model, Observed((), alike, None, 1)).ranges
    assert len(one) == 1 and one[0].n_pairs == 1500 and one[0].n_levels == 5
    weighted = sum(c.mean_dn * c.n_pairs for c in alike) / 1500
    assert one[0].mean_dn == pytest.approx(weighted)


def test_saturated_cells_are_left_out_and_counted():
    model = camera()
    near = cell(model, 7930.0)  # 4065 DN, within four sigmas of 4095
    clipped = replace(cell(model, 6000.0), n_clipped=50)
    good = cell(model, 5000.0)
    result = compare(model, Observed((), (near, clipped, good), None, 1))
    assert len(result.ranges) == 1 and result.left_out == (200_000, 300_000)
    assert compare(model, Observed((), (near,), None, 1)).ranges == ()


def test_signals_beyond_the_fit_are_shown_and_not_judged():
    plain = camera()
    validity = ValidityEntry(signal_dn=(0.0, 1000.0))
    model = NoiseModel.from_document(plain.document.model_copy(update={"validity": validity}))
    wrong = np.ones(10)
    wrong[5:] = 3.0  # above 1000 DN of signal
    result = compare(model, observed(model, wrong))
    assert [entry.within_validity for entry in result.ranges].count(False) == 6
    assert not result.disagrees()
    assert compare(plain, observed(plain, wrong)).disagrees()


# ---- causes --------------------------------------------------------------------------------------------------


def with_noise(comparison: Comparison, variances: np.ndarray, third: float | None = None) -> Comparison:
    """The comparison with these observed variances; third cumulants at ``third`` of shot noise's, or unknown."""
    ranges = []
    for entry, variance in zip(comparison.ranges, variances, strict=True):
        shot = entry.slope**3 * entry.system_gain_dn_per_e * entry.shot_dn2
        std = 0.02 * shot if third is not None else 1e9
        ranges.append(
            replace(
                entry, observed_variance_dn2=variance, third_dn3=shot * (third or 0.0), third_std_dn3=max(std, 1e-9)
            )
        )
    return replace(comparison, ranges=tuple(ranges))


def parts(comparison: Comparison, name: str) -> np.ndarray:
    return np.array([getattr(entry, name) for entry in comparison.ranges])


@pytest.mark.parametrize("ratio", [0.3, 0.8, 1.25, 4.0])
def test_gain_is_found(ratio):
    model = camera()
    base = compare(model, observed(model))
    shot, read = parts(base, "shot_dn2"), parts(base, "read_dn2")
    found = explain(with_noise(base, ratio * shot + ratio**2 * read + 1 / 12)).causes
    assert found[0].code == "wrong_gain_setting" and len(found) == 1
    assert found[0].value == pytest.approx(ratio, rel=1e-4)
    assert found[0].std < 0.02 * ratio


def test_read_noise_excess_and_bend_are_found():
    model = camera()
    base = compare(model, observed(model))
    shot, read, predicted = (parts(base, name) for name in ("shot_dn2", "read_dn2", "predicted_variance_dn2"))
    noisy = explain(with_noise(base, shot + 2 * read + 1 / 12)).causes
    assert [cause.code for cause in noisy] == ["read_noise_changed"] and noisy[0].value == pytest.approx(2.0, rel=1e-3)
    excess = explain(with_noise(base, 1.4 * shot + read + 1 / 12)).causes
    assert [cause.code for cause in excess] == ["excess_noise"] and excess[0].value == pytest.approx(1.4, rel=1e-3)
    bent = explain(with_noise(base, predicted * (1 - 0.1 * shot / shot.max()))).causes
    assert [cause.code for cause in bent] == ["nonlinearity"] and bent[0].value == pytest.approx(-0.1, rel=1e-3)


def test_what_cannot_be_told_apart_is_said():
    """Brights alone at high signals: gain and excess noise look the same, unless third cumulants are known."""
    model = camera()
    cells = tuple(cell(model, y, level=i) for i, y in enumerate(CHARGES[4:]))
    base = compare(model, Observed((), cells, None, 1))
    doubled = 2 * parts(base, "shot_dn2") + 4 * parts(base, "read_dn2") + 1 / 12
    assert {cause.code for cause in explain(with_noise(base, doubled)).causes} == {"wrong_gain_setting", "excess_noise"}
    assert [c.code for c in explain(with_noise(base, doubled, 4.0)).causes] == ["wrong_gain_setting"]
    # An electron-multiplying register: F^2 = 2 and a third moment of 6 against 4.
    multiplied = 2 * parts(base, "shot_dn2") + parts(base, "read_dn2") + 1 / 12
    assert [c.code for c in explain(with_noise(base, multiplied, 6.0)).causes] == ["excess_noise"]


def test_no_cause_is_named_for_noise():
    model = camera()
    base = compare(model, observed(model))
    result = explain(with_noise(base, parts(base, "predicted_variance_dn2"), 1.0))
    assert result.causes == () and not result.is_enough


def test_moved_offset_takes_signal_away():
    model = camera()
    base = compare(model, observed(model))
    difference = moved(base, 4.0, 0.0)
    np.testing.assert_allclose(difference[1:], 0.5 * 4.0, rtol=1e-3)
    assert difference[0] == pytest.approx(0.0, abs=1e-6)
    assert moved(base, 0.0, 3.0)[0] == pytest.approx(-0.5 * 3.0, rel=1e-6)  # one second of exposure


def test_largest_misfit_needs_significance():
    entry = SignalRange(
        "bright", 1, 100, 1000.0, 220.0, 20.0, 200.0, 0.0, True,
        examine_transform(np.zeros(BINS, dtype=np.int64)), 0.0, 1.0, 0.5, 1.0, 198.0, 2.0,
    )  # fmt: skip
    alone = Comparison((entry,), np.zeros((1, 0)), np.zeros((0, 0)), (0, 100))
    assert alone.largest_misfit() == 0.0 and not alone.disagrees()
    sharp = replace(alone, ranges=(replace(entry, observed_std_dn2=2.0),))
    assert sharp.largest_misfit() == pytest.approx(0.1) and sharp.disagrees()
    assert sharp.ranges[0].z == pytest.approx(10.0)


def test_registry():
    for code, entry in DIAGNOSES.items():
        assert code == entry.code and entry.sentence.endswith((".", "{rivals}", "{known}")) and entry.remedy
    found = finding("offset_shift", shift_dn=1.5, sigmas=2.0, offset_dn=100.0)
    assert found.message.startswith("The darks lie +1.5 DN") and "{" not in found.message
