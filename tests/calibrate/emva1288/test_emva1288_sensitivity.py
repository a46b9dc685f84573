"""The formulas of both releases on levels of an exact linear camera, against plain numpy and at their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from calibrate.emva1288.linearity import fit_linearity
from calibrate.emva1288.sensitivity import measure_sensitivity, sensitivity_values
from calibrate.emva1288.statistics import Levels, Series, dark_weights

GAIN, EFFICIENCY, DARK_DN2, OFFSET, TOP = 0.4, 0.55, 2.5, 60.0, 4095.0
RATE_DN, RATE_DN2 = 12.0, 12.0 * GAIN


def series(light, mean, variance, share=None, spread=None):
    zero = np.zeros(light.shape)
    return Series(
        light=light,
        mean_dn=mean,
        variance_dn2=variance,
        spread_dn=np.sqrt(variance) if spread is None else spread,
        top_share=zero if share is None else share,
        mean_std_dn=zero,
        variance_std_dn2=zero,
        n_pixels=300_000,
    )


def exact_levels(n=40, top=1.15, **changes):
    """Means and variances of a linear camera with Gaussian noise that clips at TOP, dark current included."""
    exposure = np.linspace(0.01, 0.4, n)
    full = (TOP - OFFSET) / (GAIN * EFFICIENCY)
    photons = np.linspace(top * full / n, top * full, n)
    mean = OFFSET + RATE_DN * exposure + GAIN * EFFICIENCY * photons
    variance = DARK_DN2 + RATE_DN2 * exposure + GAIN**2 * EFFICIENCY * photons
    spread = np.sqrt(variance + (0.004 * (mean - OFFSET)) ** 2)
    share = norm.sf((TOP - 0.5 - mean) / spread)
    clip = share > 1e-6
    levels = Levels(
        bright=series(
            photons,
            np.where(clip, np.minimum(mean, TOP), mean),
            np.where(clip, variance * (1 - share) ** 2, variance),
            share,
            spread,
        ),
        dark=series(exposure, OFFSET + RATE_DN * exposure, DARK_DN2 + RATE_DN2 * exposure),
        light_unit="photons",
        dark_weights=dark_weights(exposure, exposure),
        top_code=TOP,
        rounding_dn2=1 / 12,
    )
    return replace(levels, **changes)


@pytest.mark.parametrize("release", ["4.0", "3.1"])
def test_an_exact_camera_is_found_exactly(release):
    found = sensitivity_values(measure_sensitivity(exact_levels(), release))
    dark = np.sqrt(DARK_DN2)
    expected = {
        "system_gain_dn_per_e": GAIN,
        "inverse_system_gain_e_per_dn": 1 / GAIN,
        "responsivity_dn_per_photon": GAIN * EFFICIENCY,
        "quantum_efficiency_percent": 100 * EFFICIENCY,
        "temporal_dark_noise_dn": dark,
        "temporal_dark_noise_e": np.sqrt(DARK_DN2 - 1 / 12) / GAIN,
        "dark_current_from_mean_dn_per_s": RATE_DN,
        "dark_current_from_mean_e_per_s": RATE_DN / GAIN,
        "dark_current_from_variance_e_per_s": RATE_DN2 / GAIN**2,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    charge = found["saturation_capacity_e"]
    assert found["saturation_capacity_photons"] == pytest.approx(charge / EFFICIENCY, rel=1e-9)
    assert found["snr_max"] == pytest.approx(np.sqrt(charge)) and found["snr_max_db"] == pytest.approx(
        10 * np.log10(charge)
    )
    assert found["snr_max_bit"] == pytest.approx(np.log2(charge) / 2)
    assert found["inverse_snr_max_percent"] == pytest.approx(100 / np.sqrt(charge))
    ratio = found["saturation_capacity_photons"] / found["sensitivity_threshold_photons"]
    assert found["dynamic_range"] == pytest.approx(ratio)
    assert found["dynamic_range_bit"] == pytest.approx(np.log2(ratio))
    if release == "4.0":
        assert found["linearity_error_percent"] == pytest.approx(0, abs=1e-9)
    else:
        assert found["linearity_error_min_percent"] == pytest.approx(0, abs=1e-9)


def test_at_the_threshold_of_release_4_signal_equals_noise():
    found = sensitivity_values(measure_sensitivity(exact_levels(), "4.0"))
    charge = found["sensitivity_threshold_e"]
    assert charge / np.sqrt(DARK_DN2 / GAIN**2 + charge) == pytest.approx(1, rel=1e-12)
    older = sensitivity_values(measure_sensitivity(exact_levels(), "3.1"))["sensitivity_threshold_e"]
    assert older == pytest.approx(np.sqrt(DARK_DN2) / GAIN + 0.5, rel=1e-12)
    assert charge > older


def test_release_3_saturates_at_the_variance_maximum_and_release_4_where_pixels_clip():
    levels = exact_levels(n=200)
    old = measure_sensitivity(levels, "3.1").saturation
    assert old.definition == "variance maximum"
    assert old.light == levels.bright.light[np.argmax(levels.bright.variance_dn2)]
    new = measure_sensitivity(levels, "4.0").saturation
    light = np.linspace(0.8, 1.0, 20_001) * (TOP - OFFSET) / (GAIN * EFFICIENCY)
    exposure = np.interp(light, levels.bright.light, levels.dark.light)
    mean = OFFSET + RATE_DN * exposure + GAIN * EFFICIENCY * light
    variance = DARK_DN2 + RATE_DN2 * exposure + GAIN**2 * EFFICIENCY * light + (0.004 * (mean - OFFSET)) ** 2
    exact = light[np.argmin(np.abs(norm.sf((TOP - 0.5 - mean) / np.sqrt(variance)) - 0.0015))]
    assert new.definition == "clipped share" and new.light == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("n", [12, 25, 60])
def test_the_clipped_share_is_interpolated_on_coarse_grids(n):
    """Levels far apart: one unclipped, the next wholly clipped. The place between them comes from mean and spread."""
    fine = measure_sensitivity(exact_levels(n=400), "4.0").saturation.light
    assert measure_sensitivity(exact_levels(n=n), "4.0").saturation.light == pytest.approx(fine, rel=0.003)


def test_stuck_pixels_at_the_highest_code_do_not_saturate_a_sensor():
    levels = exact_levels(n=60)
    stuck = replace(levels.bright, top_share=np.minimum(levels.bright.top_share + 0.01, 1.0))
    with_stuck = measure_sensitivity(replace(levels, bright=stuck), "4.0").saturation.light
    assert with_stuck == pytest.approx(measure_sensitivity(levels, "4.0").saturation.light, rel=0.002)


def test_without_saturation_nothing_that_needs_it_is_given():
    levels = exact_levels(top=0.8)
    for release in ("4.0", "3.1"):
        found = measure_sensitivity(levels, release)
        assert found.saturation is None and found.linearity is None
        values = sensitivity_values(found)
        assert values["system_gain_dn_per_e"] == pytest.approx(GAIN)
        assert not any(key.startswith(("saturation", "snr", "dynamic", "linearity")) for key in values)


def test_a_full_well_below_the_highest_code_is_taken_at_the_variance_maximum():
    levels = exact_levels(n=60)
    roll_off = replace(levels, bright=replace(levels.bright, top_share=np.zeros(60)), top_code=TOP + 500)
    found = measure_sensitivity(roll_off, "4.0")
    assert found.saturation.definition == "variance maximum"


def test_lines_are_unweighted_through_the_origin_up_to_70_percent():
    rng = np.random.default_rng(0)
    levels = exact_levels()
    noisy = replace(levels.bright, variance_dn2=levels.bright.variance_dn2 * (1 + 0.02 * rng.standard_normal(40)))
    found = measure_sensitivity(replace(levels, bright=noisy), "4.0")
    signal = noisy.mean_dn - levels.dark.mean_dn
    rows = signal <= 0.7 * found.saturation.signal_dn
    np.testing.assert_array_equal(rows, found.used)
    slope = np.linalg.lstsq(signal[rows, None], (noisy.variance_dn2 - levels.dark.variance_dn2)[rows], rcond=None)[0]
    assert found.gain_dn_per_e == pytest.approx(slope[0], rel=1e-12)
    offset_of_line = np.polyfit(signal[rows], (noisy.variance_dn2 - levels.dark.variance_dn2)[rows], 1)[0]
    assert found.gain_dn_per_e != pytest.approx(offset_of_line, rel=1e-6)


def test_rounding_hides_a_small_dark_noise():
    levels = exact_levels()
    quiet = replace(levels.dark, variance_dn2=0.1 + 0 * levels.dark.variance_dn2)
    bright = replace(levels.bright, variance_dn2=levels.bright.variance_dn2 - DARK_DN2 + 0.1)
    new = measure_sensitivity(replace(levels, dark=quiet, bright=bright), "4.0")
    assert new.dark_noise_hidden and "temporal_dark_noise_e" not in sensitivity_values(new)
    assert sensitivity_values(new)["temporal_dark_noise_dn"] == pytest.approx(np.sqrt(0.1))
    assert new.threshold_e == pytest.approx(np.sqrt(0.24 / new.gain_dn_per_e**2 + 0.25) + 0.5)
    old = sensitivity_values(measure_sensitivity(replace(levels, dark=quiet, bright=bright), "3.1"))
    assert old["temporal_dark_noise_dn"] == pytest.approx(np.sqrt(0.24))
    assert old["temporal_dark_noise_e"] == pytest.approx(np.sqrt(0.24 - 1 / 12) / new.gain_dn_per_e)
    real = measure_sensitivity(replace(levels, dark=quiet, bright=bright, rounding_dn2=0.0), "4.0")
    assert not real.dark_noise_hidden


def test_seconds_in_place_of_photons_give_electrons_and_no_efficiency():
    levels = exact_levels()
    seconds = replace(levels, bright=replace(levels.bright, light=levels.bright.light / 1e4), light_unit="s")
    by_photons, by_seconds = (sensitivity_values(measure_sensitivity(x, "4.0")) for x in (levels, seconds))
    assert by_seconds["responsivity_dn_per_s"] == pytest.approx(1e4 * by_photons["responsivity_dn_per_photon"])
    assert by_seconds["saturation_capacity_e"] == pytest.approx(by_photons["saturation_capacity_e"])
    assert not any("photon" in key or "efficiency" in key for key in by_seconds)
    none = replace(levels, bright=replace(levels.bright, light=np.full(40, np.nan)), light_unit="")
    without = sensitivity_values(measure_sensitivity(none, "4.0"))
    assert without["saturation_capacity_e"] == pytest.approx(by_photons["saturation_capacity_e"], rel=0.01)
    assert "linearity_error_percent" not in without


def test_codes_times_four_scale_dn_and_leave_electrons():
    levels = exact_levels()

    def scaled(x):
        return replace(x, mean_dn=4 * x.mean_dn, variance_dn2=16 * x.variance_dn2, spread_dn=4 * x.spread_dn)

    four = replace(
        levels,
        bright=scaled(levels.bright),
        dark=scaled(levels.dark),
        top_code=4 * (TOP - 0.5) + 0.5,
        rounding_dn2=16 / 12,
    )
    one, other = (sensitivity_values(measure_sensitivity(x, "4.0")) for x in (levels, four))
    for name, value in one.items():
        power = {"dn": 1, "_per_dn": -1}.get("_per_dn" if name.endswith("_per_dn") else name.split("_")[-1], 0)
        if name.startswith(("system_gain_dn", "responsivity_dn")) or name == "dark_current_from_mean_dn_per_s":
            power = 1
        assert other[name] == pytest.approx(4.0**power * value, rel=1e-9), name


def test_a_variance_that_does_not_rise_is_refused():
    levels = exact_levels()
    flat = replace(levels.bright, variance_dn2=np.full(40, DARK_DN2) - 1.0)
    assert measure_sensitivity(replace(levels, bright=flat), "4.0") is None


def test_linearity_is_the_weighted_line_of_numpy():
    rng = np.random.default_rng(1)
    light = np.linspace(10, 1000, 30)
    signal = 3 + 0.9 * light + 1e-5 * light**2 + rng.normal(0, 0.5, 30)
    found = fit_linearity(light, signal, 950.0)
    rows = found.used
    assert signal[rows].min() >= 0.05 * 950 and signal[rows].max() <= 0.95 * 950
    slope, offset = np.polyfit(light[rows], signal[rows], 1, w=1 / signal[rows])
    assert (found.slope, found.offset_dn) == (pytest.approx(slope, rel=1e-10), pytest.approx(offset, rel=1e-8))
    line = offset + slope * light[rows]
    deviation = 100 * (signal[rows] - line) / line
    assert found.error_percent == pytest.approx(np.mean(np.abs(deviation)), rel=1e-9)
    assert (found.least_percent, found.largest_percent) == (
        pytest.approx(deviation.min()),
        pytest.approx(deviation.max()),
    )


def test_linearity_needs_three_levels():
    assert fit_linearity(np.array([1.0, 2.0]), np.array([50.0, 90.0]), 100.0) is None
    assert fit_linearity(np.ones(5), np.full(5, 50.0), 100.0) is None


def test_dark_weights():
    exposures = np.array([0.0, 1.0, 2.0, 3.0])
    values = 5 + 2 * exposures
    weights = dark_weights(np.array([2.0, 1.5, 10.0]), exposures)
    np.testing.assert_allclose(weights @ values, [9.0, 8.0, 25.0])
    np.testing.assert_allclose(weights[0], [0, 0, 1, 0])
    np.testing.assert_allclose(dark_weights(np.array([np.nan, 1.0]), np.array([np.nan, 2.0])), 0.5)
    np.testing.assert_allclose(dark_weights(np.array([4.0]), np.array([2.0, 2.0])), 0.5)
