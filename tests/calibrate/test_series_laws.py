"""What settings say together: unity gain, doubling temperature, shared quantities, dynamic range; with coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrate import NoiseModel
from calibrate.captures import Setting
from calibrate.level_statistics import LevelStatistics
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import NoiseModelDocument
from calibrate.series.dark_current import fit_dark_current
from calibrate.series.fit import dark_rate_dn_per_s
from calibrate.series.quantity import Quantity, quantities_of
from calibrate.series.shared import shared_quantities
from calibrate.series.unity_gain import find_unity_gain


def of(values, relative=0.01, unit="DN/e-") -> list[Quantity]:
    return [Quantity(float(value), abs(float(value)) * relative, unit) for value in values]


# ---- unity gain ------------------------------------------------------------------------------------------


def test_decibels_and_factors_are_told_apart_by_three_settings():
    steps = np.array([0, 60, 120, 300])
    found = find_unity_gain(steps, of(0.25 * 10 ** (steps / 200), 1e-4))
    assert found.axis == "linear"
    assert found.setting.value == pytest.approx(200 * np.log10(4), abs=1e-6)
    factors = np.array([1.0, 2.0, 4.0, 16.0])
    found = find_unity_gain(factors, of(0.3 * factors, 1e-4))
    assert found.axis == "logarithmic" and found.setting.value == pytest.approx(1 / 0.3, rel=1e-9)


def test_iso_is_a_factor_even_with_two_settings():
    found = find_unity_gain([800, 100], of([3.2, 0.4]), scale="iso")
    assert found.setting.value == pytest.approx(250, rel=1e-9) and found.setting.unit == "ISO"
    # d ln(setting) = d ln K at the crossing, interpolated between the two.
    share = np.log(2.5) / np.log(8)
    assert found.setting.std == pytest.approx(250 * 0.01 * np.hypot(share, 1 - share), rel=1e-6)


def test_two_settings_of_unknown_scale_leave_the_choice_open():
    found = find_unity_gain([100, 200], of([0.7, 1.4], 1e-6))
    share = np.log(1 / 0.7) / np.log(2)
    linear, logarithmic = 100 + 100 * share, 100 * 2**share
    assert found.setting.value == pytest.approx((linear + logarithmic) / 2, rel=1e-6)
    assert found.setting.std == pytest.approx(abs(linear - logarithmic) / 2, rel=1e-3)


def test_unity_is_not_guessed_outside_the_settings():
    low = find_unity_gain([0, 100], of([0.2, 0.8]))
    assert low.setting is None and "below 1 DN/e- at every setting" in low.reason
    high = find_unity_gain([0, 100], of([2.0, 4.0]))
    assert high.setting is None and "above" in high.reason
    twice = find_unity_gain([0, 50, 100, 150], of([0.8, 1.6, 0.7, 1.4]))
    assert twice.setting is None and "3 times" in twice.reason
    alone = find_unity_gain([100], of([1.0]))
    assert alone.setting is None and "two are needed" in alone.reason


def test_a_setting_at_unity_is_found():
    found = find_unity_gain([0, 100, 200], of([0.5, 1.0, 2.0]))
    assert found.setting.value == pytest.approx(100)
    assert found.setting.std == pytest.approx(0.01 * 100 / np.log(2), rel=1e-6)


def test_a_bend_between_settings_widens_the_error():
    x = np.array([0, 100, 200, 300])
    straight = find_unity_gain(x, of(np.exp((x - 150) / 100), 1e-4))
    bent = find_unity_gain(x, of(np.exp((x - 150) / 100 - 0.1 * ((x - 150) / 100) ** 2), 1e-4))
    assert bent.setting.std > 10 * straight.setting.std


@pytest.mark.parametrize("step_db", [30, 100])
def test_unity_gain_covers_the_truth(step_db):
    rng = np.random.default_rng(1)
    steps = np.arange(0, 301, step_db)
    true = 0.21 * 10 ** (steps / 200)
    pulls = []
    for _ in range(400):
        noisy = [
            Quantity(k * (1 + 0.01 * g), 0.01 * k, "")
            for k, g in zip(true, rng.standard_normal(true.size), strict=True)
        ]
        found = find_unity_gain(steps, noisy).setting
        pulls.append((found.value - 200 * np.log10(1 / 0.21)) / found.std)
    inside = np.mean(np.abs(pulls) < 1.96)
    assert 0.92 < inside <= 1.0  # the curvature term may only widen
    assert abs(np.mean(pulls)) < 4 / np.sqrt(400)


# ---- dark current ----------------------------------------------------------------------------------------


def test_doubling_of_exact_currents():
    t = np.array([-20, -10, 0, 10, 20.0])
    found = fit_dark_current(t, of(3.0 * 2 ** (t / 6), 0.01, "e-/s"))
    assert found.doubling.quantity.value == pytest.approx(6.0, rel=1e-6)
    assert found.doubling.chi2 < 1e-6 and found.doubling.dof == 3
    np.testing.assert_allclose(found.doubling.at(t), 3.0 * 2 ** (t / 6), rtol=1e-5)
    # Weighted straight line through log D by hand: the same error.
    slope_std = 0.01 / np.sqrt(np.sum((t - t.mean()) ** 2))
    assert found.doubling.quantity.std == pytest.approx(36 / np.log(2) * slope_std, rel=1e-4)
    # An exact doubling law is no exact Arrhenius law.
    assert found.activation.chi2 > 10 and found.activation.quantity.unit == "eV"


def test_activation_energy_of_exact_currents():
    t = np.array([-20, 0, 20, 40.0])
    kelvin, k = t + 273.15, 8.617333262e-5
    found = fit_dark_current(t, of(5e11 * np.exp(-0.65 / (k * kelvin)), 0.01, "e-/s"))
    assert found.activation.quantity.value == pytest.approx(0.65, rel=1e-6)
    assert found.activation.chi2 < 1e-6 < found.doubling.chi2
    np.testing.assert_allclose(found.activation.at(t), 5e11 * np.exp(-0.65 / (k * kelvin)), rtol=1e-4)
    assert fit_dark_current(t[:2], of([1, 2], 0.01, "e-/s")).activation is None


def test_doubling_is_refused_where_nothing_is_seen():
    t = [-10.0, 0.0, 10.0]
    noise = [Quantity(0.02, 0.02, "e-/s"), Quantity(-0.01, 0.02, "e-/s"), Quantity(0.5, 0.02, "e-/s")]
    found = fit_dark_current(t, noise)
    assert found.doubling is None and "significantly above 0 at 1 of 3" in found.reason
    flat = fit_dark_current(t, of([1.0, 1.01, 0.99], 0.02, "e-/s"))
    assert flat.doubling is None and "does not rise" in flat.reason
    falling = fit_dark_current(t, of([4.0, 2.0, 1.0], 0.02, "e-/s"))
    assert falling.doubling is None
    one = fit_dark_current([5.0, 5.0], of([1.0, 1.1], 0.02, "e-/s"))
    assert one.doubling is None and "fewer than two temperatures" in one.reason
    unknown = fit_dark_current(t, [Quantity(1.0, None, "e-/s")] * 3)
    assert unknown.doubling is None


@pytest.mark.parametrize("noise_e_per_s", [0.02, 0.3])
def test_doubling_covers_the_truth(noise_e_per_s):
    """Also where the coldest currents are lost in noise, and may come out negative."""
    rng = np.random.default_rng(2)
    t = np.array([-20, -10, 0, 10, 20.0])
    true = 1.0 * 2 ** (t / 6.3)
    pulls = []
    for _ in range(300):
        std = np.hypot(noise_e_per_s, 0.01 * true)
        noisy = [Quantity(v, s, "e-/s") for v, s in zip(true + std * rng.standard_normal(5), std, strict=True)]
        found = fit_dark_current(t, noisy).doubling.quantity
        pulls.append((found.value - 6.3) / found.std)
    # Errors are widened by sqrt(chi2/dof) where that is above 1, so 95 % is the least to expect.
    assert 0.93 < np.mean(np.abs(pulls) < 1.96) <= 0.995
    assert abs(np.mean(pulls)) < 0.25


@given(st.floats(0.01, 100))
def test_doubling_does_not_depend_on_the_unit(scale):
    t = np.array([-10, 0, 10.0])
    values = np.array([1.0, 3.3, 9.7])
    one = fit_dark_current(t, of(values, 0.05)).doubling.quantity
    other = fit_dark_current(t, of(scale * values, 0.05)).doubling.quantity
    assert (other.value, other.std) == (pytest.approx(one.value, rel=1e-4), pytest.approx(one.std, rel=1e-3))


# ---- darks alone -----------------------------------------------------------------------------------------


def dark_level(exposure: float | None, means: list[float], variance: float = 4.0, n_pixels: int = 1000):
    class Pair:
        def temporal_variance_dn2(self, offset):
            return variance

    pairs = (Pair(),) if len(means) > 1 else ()
    return LevelStatistics("dark", exposure, None, len(means), n_pixels, tuple(means), pairs, 0, 0, 0, 0, 0)


def test_slope_of_darks_and_its_error():
    levels = [dark_level(0.0, [100.0, 100.0]), dark_level(10.0, [105.0, 105.0])]
    slope, std = dark_rate_dn_per_s(levels, "x")
    assert slope == pytest.approx(0.5)
    assert std == pytest.approx(np.sqrt(2 * 4 / (1000 * 2)) / 10)
    moving = [dark_level(t, [100 + 0.5 * t + shift] * 2) for t, shift in ((0, 0.0), (5, 1.0), (10, 0.0))]
    assert dark_rate_dn_per_s(moving, "x")[1] > 5 * std
    single = [dark_level(0.0, [100.0]), dark_level(10.0, [105.0, 105.0])]
    assert dark_rate_dn_per_s(single, "x")[0] == pytest.approx(0.5)
    for useless in ([dark_level(1.0, [1.0, 1.0])], [dark_level(0.0, [1.0]), dark_level(1.0, [2.0])], []):
        with pytest.raises(PhotonbitsError, match="darks"):
            dark_rate_dn_per_s(useless, "x")


# ---- shared quantities -----------------------------------------------------------------------------------


def point(gain: str, temperature: float, **values: float):
    quantities = {name: Quantity(value, 0.02 * value, "u") for name, value in values.items()}
    return Setting(gain, temperature), f"g{gain}_{temperature:g}", quantities


def test_what_settings_share_is_tested_and_never_pooled():
    points = [
        point("0", 0.0, dark_current_e_per_s=2.0, full_well_e=9000, system_gain_dn_per_e=0.5),
        point("100", 0.0, dark_current_e_per_s=2.02, full_well_e=7000, system_gain_dn_per_e=1.0),
        point("0", 10.0, dark_current_e_per_s=6.0, system_gain_dn_per_e=0.51),
    ]
    found = {(entry.quantity, entry.across, entry.at): entry for entry in shared_quantities(points)}
    at_zero, gain_zero = Setting(None, 0.0), Setting("0", None)
    assert set(found) == {
        ("dark_current_e_per_s", "gain settings", at_zero),
        ("full_well_e", "gain settings", at_zero),
        ("system_gain_dn_per_e", "temperatures", gain_zero),
    }
    assert found["dark_current_e_per_s", "gain settings", at_zero].agree
    wells = found["full_well_e", "gain settings", at_zero]
    assert not wells.agree and wells.names == ("g0_0", "g100_0") and wells.dof == 1
    assert wells.p_value < 1e-10
    assert found["system_gain_dn_per_e", "temperatures", gain_zero].mean.value == pytest.approx(0.505, abs=1e-3)


# ---- derived numbers -------------------------------------------------------------------------------------


def fitted_like(gain: float, read: float, std_gain: float, std_dark_noise: float, saturation_dn: float) -> NoiseModel:
    """A model with covariance, as a fit writes it."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=100.0, bit_depth=12)
    plain = model.document.to_plain()
    dark_noise = float(np.sqrt((gain * read) ** 2 + 1 / 12))
    charge = (saturation_dn - 100) / gain

    def entry(value, std, unit):
        return {"value": value, "std": std, "unit": unit}

    plain["parameters"] |= {
        "system_gain_dn_per_e": entry(gain, std_gain, "DN/e-"),
        "dark_noise_dn": entry(dark_noise, std_dark_noise, "DN"),
        "saturation_dn": entry(saturation_dn, 0.0, "DN"),
        "saturation_e": entry(charge, charge * std_gain / gain, "e-"),
    }
    matrix = [[std_gain**2, 0.0], [0.0, std_dark_noise**2]]
    plain["covariance"] = {"names": ["system_gain_dn_per_e", "dark_noise_dn"], "matrix": matrix}
    return NoiseModel.from_document(NoiseModelDocument.model_validate(plain))


def test_dynamic_range_and_its_error_against_draws():
    gain, read, s_gain, s_noise = 0.5, 4.0, 0.01, 0.05
    found = quantities_of(fitted_like(gain, read, s_gain, s_noise, 4095.0))
    rng = np.random.default_rng(0)
    k = gain + s_gain * rng.standard_normal(200_000)
    noise_dn = np.sqrt((gain * read) ** 2 + 1 / 12) + s_noise * rng.standard_normal(200_000)
    s = noise_dn / k
    ratio = (3995 / k) / (0.5 + np.sqrt(0.25 + s**2))
    for name, drawn in (
        ("dynamic_range_db", 20 * np.log10(ratio)),
        ("dynamic_range_stops", np.log2(ratio)),
        ("full_well_over_read_noise_stops", np.log2(3995 / np.sqrt(noise_dn**2 - 1 / 12))),
        ("electrons_per_dn", 1 / k),
    ):
        assert found[name].value == pytest.approx(np.mean(drawn), rel=2e-3)
        assert found[name].std == pytest.approx(np.std(drawn), rel=0.02), name


def test_what_is_not_known_is_absent():
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=2.0, read_noise_e=3.0, bit_depth=12)
    found = quantities_of(plain)
    assert found["electrons_per_dn"] == Quantity(0.5, None, "e-/DN")
    assert not {"saturation_e", "dynamic_range_db", "dark_current_e_per_s"} & set(found)
