"""What the report's pictures show, against known values."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from calibrate.noise_model import NoiseModel
from calibrate.report import maps, words
from calibrate.report import numbers as n
from calibrate.schema import PARAMETERS, CandidateEntry, CovarianceEntry, NoiseModelDocument


def level(kind="bright", **changes):
    entry = dict(
        kind=kind,
        exposure_s=None,
        photons_per_pixel=None,
        n_frames=2,
        n_pixels=1000,
        mean_dn=100.0,
        mean_std_dn=0.01,
        variance_dn2=10.0,
        variance_std_dn2=0.5,
        clipped_fraction=0.0,
        used=True,
        fitted_mean_dn=None,
        fitted_variance_dn2=None,
    )
    return {**entry, **changes}


def model_with(levels=None, *, response=None, extra=None, kind="poisson-gaussian", bit_depth=12, read_noise_e=2.0):
    base = NoiseModel.from_parameters(
        kind=kind,
        system_gain_dn_per_e=0.5,
        read_noise_e=read_noise_e,
        offset_dn=64.0,
        bit_depth=bit_depth,
        response=response,
    )
    plain = base.document.to_plain()
    plain["measurements"] = levels
    for name, value in (extra or {}).items():
        plain["parameters"][name] = {"value": value, "std": None, "unit": PARAMETERS[name][0]}
    return NoiseModel.from_document(NoiseModelDocument.model_validate(plain))


def test_residuals_are_in_standard_errors_and_nan_where_nothing_was_fitted():
    model = model_with([level(fitted_variance_dn2=9.0), level(), level(fitted_variance_dn2=9.0, variance_std_dn2=0.0)])
    residuals = n.variance_residuals(n.levels_of(model.document, "bright"))
    assert residuals[0] == 2.0
    assert np.isnan(residuals[1:]).all()


def test_levels_are_split_by_kind_and_empty_without_measurements():
    model = model_with([level(), level("dark"), level("dark", used=False)])
    assert n.levels_of(model.document, "bright").size == 1
    assert n.levels_of(model.document, "dark").used.tolist() == [True, False]
    assert n.levels_of(model_with().document, "bright").size == 0


def test_signal_in_electrons_undoes_offset_gain_and_response():
    assert n.signal_e(model_with(), 164.0) == pytest.approx(200.0)
    bent = model_with(response={"coefficients": (-0.05,), "scale_dn": 1000.0})
    mean = 64.0 + bent.camera.response.evaluate(np.array(0.5 * 1500.0))
    assert n.signal_e(bent, mean) == pytest.approx(1500.0)


@pytest.mark.parametrize("axis", ["exposure_s", "photons_per_pixel"])
def test_a_straight_camera_has_no_deviation_and_the_right_slope(axis):
    light = np.array([4.0, 1.0, 2.0, 8.0])
    data = n.linearity(model_with([level(**{axis: x}, mean_dn=64.0 + 100.0 * x) for x in light]))
    assert data.axis == ("photons" if axis == "photons_per_pixel" else "exposure")
    assert data.light.tolist() == [1.0, 2.0, 4.0, 8.0]
    assert data.slope_dn == pytest.approx(100.0)
    assert_allclose(data.deviation_percent, 0, atol=1e-9)
    assert_allclose(data.curve_deviation_percent, 0, atol=1e-9)


def test_dark_charge_is_no_nonlinearity():
    levels = [level(exposure_s=x, mean_dn=64.0 + 100.0 * x + 0.5 * 40.0 * x) for x in (1.0, 2.0, 4.0)]
    data = n.linearity(model_with(levels, extra={"dark_current_e_per_s": 40.0}))
    assert data.slope_dn == pytest.approx(100.0)
    assert_allclose(data.signal_dn, [100, 200, 400])


def test_a_bent_camera_deviates_as_its_response_does():
    bent = model_with(response={"coefficients": (-0.1,), "scale_dn": 2000.0})
    light = np.linspace(0.2, 2.0, 10)
    means = 64.0 + bent.camera.response.evaluate(1000.0 * light)
    levels = [level(exposure_s=float(x), mean_dn=float(m)) for x, m in zip(light, means, strict=True)]
    data = n.linearity(model_with(levels, response={"coefficients": (-0.1,), "scale_dn": 2000.0}))
    on_curve = np.interp(data.light, data.curve_light, data.curve_deviation_percent)
    assert_allclose(data.deviation_percent, on_curve, atol=1e-3)
    assert data.deviation_percent[0] > 3 and data.deviation_percent[-1] < -3


def test_an_unused_level_does_not_move_the_line():
    levels = [level(exposure_s=x, mean_dn=64.0 + 100.0 * x) for x in (1.0, 2.0, 4.0)]
    data = n.linearity(model_with([*levels, level(exposure_s=8.0, mean_dn=500.0, used=False)]))
    assert data.slope_dn == pytest.approx(100.0)
    assert data.deviation_percent[-1] == pytest.approx(100 * (436 / 800 - 1))


@pytest.mark.parametrize(
    ("levels", "words_"),
    [
        (None, "no measured bright levels"),
        ([level(), level()], "neither exposure times nor photons"),
        ([level(exposure_s=1.0), level(exposure_s=1.0)], "1 different values of known light"),
        ([level(exposure_s=float(x), used=False) for x in range(1, 5)], "0 different values of known light"),
    ],
)
def test_linearity_says_why_it_cannot_be_shown(levels, words_):
    assert words_ in n.linearity(model_with(levels))


def test_noise_parts_add_in_quadrature_to_the_exact_variance():
    model = model_with()
    charge = np.array([0.0, 10.0, 1000.0])
    parts = n.noise_parts_e(model.camera, charge)
    assert_allclose(parts.shot, np.sqrt(charge))
    assert_allclose(parts.read, 2.0)
    assert_allclose(parts.rounding, 1 / (math.sqrt(12) * 0.5))
    assert_allclose(parts.total, np.sqrt(charge + 4 + 1 / 3))
    assert_allclose(parts.total, np.sqrt(model.variance_dn2(charge)) / 0.5, rtol=2e-3)


def test_noise_parts_know_the_kinds():
    real = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=3.0)
    parts = n.noise_parts_e(real.camera, np.array([0.0, 50.0]))
    assert_allclose(parts.total, 3.0)
    assert_allclose(parts.rounding, 0.0)


def test_user_numbers():
    numbers = n.user_numbers(model_with(extra={"saturation_e": 8000.0}))
    dark2 = 4 + 1 / 3
    assert numbers.electrons_per_dn == 2.0
    assert numbers.shot_limited_above_e == pytest.approx(dark2)
    assert numbers.threshold_e == pytest.approx(0.5 + math.sqrt(0.25 + dark2))
    assert numbers.snr_max == pytest.approx(8000 / math.sqrt(8000 + dark2))
    assert numbers.dynamic_range_db == pytest.approx(20 * math.log10(8000 / numbers.threshold_e))
    parts = n.noise_parts_e(model_with().camera, numbers.threshold_e)
    assert float(parts.total) == pytest.approx(numbers.threshold_e), "signal equals noise there"


def test_unsaturated_cameras_have_no_dynamic_range():
    numbers = n.user_numbers(model_with())
    assert numbers.snr_max is None and numbers.dynamic_range_db is None
    assert "At saturation" not in words.meaning(model_with())


def test_candidates_are_ranked_by_bic():
    entries = tuple(
        CandidateEntry(name=name, bic=bic, system_gain_dn_per_e=0.5, deviance_per_dof=1.0)
        for name, bic in (("cubic", 120.0), ("linear", 100.0), ("quadratic", 104.5))
    )
    assert [(entry.name, difference) for entry, difference in n.ranked_candidates(entries)] == [
        ("linear", 0.0),
        ("quadratic", 4.5),
        ("cubic", 20.0),
    ]
    assert n.ranked_candidates(()) == []


def test_correlation_of_a_known_covariance():
    covariance = CovarianceEntry(names=("a", "b", "c"), matrix=((4.0, -3.0, 0.0), (-3.0, 9.0, 0.0), (0.0, 0.0, 0.0)))
    std, rho = n.correlation(covariance)
    assert_allclose(std, [2, 3, 0])
    assert rho[0, 1] == rho[1, 0] == -0.5 and rho[0, 0] == 1
    assert np.isnan(rho[2]).all()


def test_severities_are_for_flags_that_exist_or_are_foreseen():
    from calibrate.flags import FLAGS

    assert set(words.SEVERITIES) - set(FLAGS) <= {"excess_noise_suspected"}
    assert words.severity("a_flag_of_tomorrow") == "caution"
    assert words.severity_rank("no_darks") < words.severity_rank("drift") < words.severity_rank("not_saturated")


def test_histogram_range_is_robust_on_a_linear_scale_and_full_on_a_logarithmic_one():
    values = np.append(np.random.default_rng(0).normal(10, 1, 10_000), 1e4)
    low, high = maps.histogram_range(values, logarithmic=False)
    assert low == values.min() and 20 < high < 24
    assert maps.histogram_range(values, logarithmic=True)[1] == 1e4
    low, high = maps.histogram_range(np.zeros(5), logarithmic=False)
    assert low < 0 < high


def test_map_names_put_the_usual_first_and_leave_errors_out():
    arrays = dict.fromkeys(("prnu", "dark_current_e_per_s", "offset_dn_std", "offset_dn", "read_noise_e"), np.ones(1))
    assert maps.map_names(arrays) == ["offset_dn", "read_noise_e", "prnu", "dark_current_e_per_s"]
    assert maps.map_names(None) == []


@pytest.mark.parametrize("full_well_e", [None, 60_000.0])
def test_the_model_curve_is_the_exact_one(full_well_e):
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.7, read_noise_e=1.5, offset_dn=100.0, bit_depth=16, full_well_e=full_well_e
    )
    mean, variance = n.variance_curve(model, 0.5)
    end = n.ceiling_e(model)
    assert end == pytest.approx(full_well_e or (65535 - 100) / 0.7)
    charge = (mean / 0.7)[mean < 0.7 * (end - 10 * math.sqrt(end))]
    assert charge.size > 90
    assert_allclose(variance[: charge.size], model.variance_dn2(charge), rtol=2e-3, atol=2e-3)
    assert variance[-1] < 1e-3 * variance.max(), "it falls to nothing where it is clipped"
