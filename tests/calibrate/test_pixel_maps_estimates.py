"""Maps against the truth of every pixel: unbiased in the mean, honest in their errors, the same as a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from pixel_frames import NAMES, PixelSensor, measured, pulls, shoot_captures, true_map

from calibrate.frames import iterate_frames
from calibrate.pixel_maps import measure_maps
from calibrate.pixel_maps.plan import measure_frame_means, plan_levels
from calibrate.response import Response

LIGHT = tuple(float(y) for y in np.linspace(500, 7000, 10))
PAIRS = {"light_e": LIGHT, "frames": 2, "dark_exposures_s": tuple(np.linspace(0, 4, 10)), "darks": 2}
MANY = {"light_e": LIGHT[::3], "frames": 12, "dark_exposures_s": (0.0, 4.0), "darks": 20}
BENT = Response("polynomial", (-0.04,), 3500.0)
FALL_OFF = 1 - 0.3 * np.add.outer(np.linspace(-1, 1, 64) ** 2, np.linspace(-1, 1, 64) ** 2) / 2

CASES = {
    "pairs": ({}, PAIRS),
    "many frames": ({}, MANY),
    "three frames a level, darks of five": ({}, {**PAIRS, "frames": 3, "dark_exposures_s": (0.0, 3.0), "darks": 5}),
    "dark charge far above read noise": ({"dark_e_per_s": 100.0, "read_spread": 0.0}, PAIRS),
    "bent response": ({"response": BENT, "prnu_percent": 5.0}, PAIRS),
    "few electrons": ({"gain": 2.0, "read_noise_e": 1.0}, {**PAIRS, "light_e": tuple(np.linspace(2, 30, 10))}),
    "real values": ({"rounds": False}, PAIRS),
    "gains differ by 20 %": ({"gain_percent": 20.0}, {**MANY, "frames": 80}),
    "noise of 0.3 DN": ({"gain": 0.1, "read_noise_e": 3.0, "read_spread": 0.0}, MANY),
}


@pytest.mark.parametrize("name", CASES)
def test_the_truth_lies_within_the_errors_as_often_as_they_say(tmp_path, name):
    changes, settings = CASES[name]
    sensor = PixelSensor((64, 64), seed=3, **changes)
    found = measured(sensor, tmp_path, **settings)
    for entry in NAMES:
        pull = pulls(found, sensor, entry)
        # 4096 pixels: 95 % +- 0.34 %. Variances of few frames are not normal, and roots of them less so; where
        # many a root is 0 because read noise is a small part of the variance, only the mean square holds.
        inside = np.mean(np.abs(pull) < 1.96)
        low, high = (0.93, 0.985) if entry == "read_noise_e" else (0.935, 0.967)
        many_zeros = entry == "read_noise_e" and np.mean(found.maps[entry] == 0) > 0.05
        assert (0.88 if many_zeros else low) < inside < high, entry
        spread = (0.88, 1.12) if entry == "read_noise_e" else (0.95, 1.05)
        assert spread[0] < np.sqrt(np.mean(pull**2)) < spread[1], entry
        # A common shift of all pixels is an error of the scalars: here it is the mean of 4096 errors.
        error = found.maps[entry][found.defects.mask == 0] - true_map(found, sensor, entry)[found.defects.mask == 0]
        typical = np.sqrt(np.mean(found.maps[entry + "_std"] ** 2))
        bound = 5 / np.sqrt(error.size) * typical
        bound += 0.015 * sensor.scalar_fit().read_noise_e if entry == "read_noise_e" else 0.0
        assert abs(np.mean(error)) < bound, entry


@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_two_frames_a_level_have_no_bias_above_one_percent_in_the_mean(tmp_path, gain):
    """The scalars are known here and the gain map not yet tied to them: `gain_ratio` is its own mean."""
    sensor = PixelSensor((160, 160), seed=6, gain=gain, offset_dn=400.0)
    found = measured(sensor, tmp_path, **PAIRS)
    assert found.gain_ratio_std < 0.005
    assert abs(found.gain_ratio - 1) < 0.01
    assert np.mean(found.maps["system_gain_dn_per_e"]) == pytest.approx(gain, rel=0.01)
    assert np.mean(found.maps["read_noise_e"]) == pytest.approx(np.mean(sensor.maps["read_noise_e"]), rel=0.01)
    root = np.sqrt(np.mean(np.square(found.maps["read_noise_e"]) - np.square(found.maps["read_noise_e_std"])))
    assert root == pytest.approx(np.sqrt(np.mean(sensor.maps["read_noise_e"] ** 2)), rel=0.01)
    assert np.mean(found.maps["dark_current_e_per_s"]) == pytest.approx(
        np.mean(sensor.maps["dark_current_e_per_s"]), rel=0.01
    )
    # What weights from a pixel's own variances do instead.
    stacks = [np.stack(list(iterate_frames(x.frames))).astype(float) for x in _brights(sensor, tmp_path)]
    signal = np.array([stack.mean(axis=0) for stack in stacks]) - sensor.maps["offset_dn"]
    variance = np.maximum([stack.var(axis=0, ddof=1) for stack in stacks], 0.5)
    naive = np.sum(signal / variance, axis=0) / np.sum(signal**2 / variance**2, axis=0)
    assert np.mean(naive) < 0.6 * gain


def _brights(sensor, folder):
    from calibrate import load_captures

    return load_captures(folder).bright_levels()


def test_error_maps_say_how_much_each_pixel_errs_and_not_only_all_together(tmp_path):
    """Noisy and quiet pixels, bright and dim ones, have errors of their own."""
    read = np.where(np.arange(64) % 2, 3.0, 5.0) * np.ones((64, 1))
    response = np.where(np.arange(64)[:, None] < 32, 0.3, -0.3) * np.ones(64)
    sensor = PixelSensor((64, 64), seed=9)
    sensor.maps.update(read_noise_e=read, prnu=response)
    found = measured(sensor, tmp_path, **{**MANY, "darks": 40})
    for entry, groups in (
        ("offset_dn", read > 4), ("read_noise_e", read > 4), ("dark_current_e_per_s", read > 4),
        ("prnu", response > 0), ("system_gain_dn_per_e", response > 0),
    ):  # fmt: skip
        error = found.maps[entry] - true_map(found, sensor, entry)
        error -= error.mean()
        for group in (groups, ~groups):
            stated = np.sqrt(np.mean(found.maps[entry + "_std"][group] ** 2))
            assert np.std(error[group]) == pytest.approx(stated, rel=0.12), entry


def test_the_same_as_a_slow_pixel_by_pixel_solution(tmp_path):
    """Levels of 2, 3 and 4 frames, a lamp that flickers: explicit least squares for single pixels."""
    sensor = PixelSensor((24, 20), seed=12)
    rng = np.random.default_rng(5)
    lamp = 1 + 0.02 * rng.standard_normal(100)
    settings = {"light_e": LIGHT[::2], "frames": 3, "dark_exposures_s": (0.0, 0.5, 2.0), "darks": 4}
    captures = shoot_captures(sensor, tmp_path, lamp=lambda k: lamp[k], **settings)
    fit = sensor.scalar_fit()
    found = measure_maps(captures, fit)
    ratio = found.gain_ratio
    levels = [
        (plan, (np.stack(list(iterate_frames(level.frames))) - np.array(plan.shifts_dn)[:, None, None])
         * np.array(plan.scales)[:, None, None])
        for level, plan in plan_levels(captures, fit, measure_frame_means(captures))
    ]  # fmt: skip
    for row, column in ((0, 0), (11, 7), (23, 19)):
        dark = [(plan, stack[:, row, column]) for plan, stack in levels if not plan.bright]
        t = np.array([plan.exposure_s for plan, _ in dark])
        w = np.array([codes.size / plan.variance_dn2 for plan, codes in dark])
        matrix = np.stack([np.ones_like(t), t], axis=1)
        means = np.array([codes.mean() for _, codes in dark])
        offset, rate = np.linalg.solve(matrix.T @ (w[:, None] * matrix), matrix.T @ (w * means))
        assert found.maps["offset_dn"][row, column] == pytest.approx(fit.offset_dn + offset, abs=1e-4)
        assert found.maps["dark_current_e_per_s"][row, column] == pytest.approx(
            rate / fit.system_gain_dn_per_e, abs=1e-4
        )
        bright = [(plan, stack[:, row, column]) for plan, stack in levels if plan.bright]
        top = bottom = 0.0
        for plan, codes in bright:
            weight = codes.size * plan.light_dn / plan.variance_dn2
            dark_excess = (rate - fit.dark_rate_dn_per_s) * plan.exposure_s
            top += weight * (codes.mean() - offset - dark_excess)
            bottom += weight * plan.light_dn
        response = top / bottom
        points, variances, weights = [], [], []
        for plan, codes in dark + bright:
            n, v = codes.size, plan.variance_dn2
            shot = fit.system_gain_dn_per_e * plan.signal_dn
            spread = 2 * v**2 / (n - 1) + (shot * fit.system_gain_dn_per_e**2) / n
            own = codes.var(ddof=1) * plan.factor - 1 / 12
            if plan.bright:
                signal = plan.signal_dn + response * plan.light_dn
                signal += (rate - fit.dark_rate_dn_per_s) * plan.exposure_s
                # The weights' own row is the level's, as it is for all pixels.
                points.append(((plan.signal_dn, 1.0), (signal, 1.0)))
            else:
                own -= fit.system_gain_dn_per_e * rate * plan.exposure_s
                points.append(((0.0, 1.0), (0.0, 1.0)))
            variances.append(own)
            weights.append(1 / spread)
        left = np.array([a for a, _ in points]) * np.array(weights)[:, None]
        gain, _ = np.linalg.solve(left.T @ np.array([b for _, b in points]), left.T @ np.array(variances))
        assert found.maps["system_gain_dn_per_e"][row, column] * ratio == pytest.approx(gain, rel=2e-4, abs=2e-5)
        still = [codes.var(ddof=1) * plan.factor for plan, codes in dark]
        dark_weights = np.array(weights[: len(dark)])
        read = np.sum(dark_weights * (np.array(still) - 1 / 12 - fit.system_gain_dn_per_e * rate * t))
        read /= np.sum(dark_weights)
        measured_root = found.maps["read_noise_e"][row, column] * fit.system_gain_dn_per_e
        if read > 0:  # c4 and its kin lie between 0.8 and 1.4 here
            assert 0.7 < measured_root / np.sqrt(read) < 1.3
        else:
            assert measured_root == 0


def test_maps_follow_the_units(tmp_path):
    """All DN times 4 (no rounding): offsets and gains times 4, electrons the same."""
    settings = {"light_e": LIGHT[::3], "dark_exposures_s": (0.0, 2.0), "darks": 6}
    one = PixelSensor((32, 32), seed=2, rounds=False)
    four = PixelSensor((32, 32), seed=2, rounds=False, gain=2.0, offset_dn=400.0, offset_spread=8.0)
    a, b = measured(one, tmp_path / "a", **settings), measured(four, tmp_path / "b", **settings)
    for name, factor in (("offset_dn", 4), ("system_gain_dn_per_e", 4), ("read_noise_e", 1), ("prnu", 1)):
        for entry in (name, name + "_std"):
            np.testing.assert_allclose(b.maps[entry], factor * a.maps[entry], rtol=2e-3, atol=2e-4 * factor)


def test_the_order_of_the_frames_and_the_way_up_do_not_matter(tmp_path):
    sensor = PixelSensor((30, 34), seed=8)
    captures = shoot_captures(sensor, tmp_path / "a", **PAIRS)
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").glob("*.npy"):
        np.save(tmp_path / "b" / path.name, np.load(path)[::-1, ::-1, ::-1])
    (tmp_path / "b" / "manifest.csv").write_text((tmp_path / "a" / "manifest.csv").read_text())
    from calibrate import load_captures

    a = measure_maps(captures, sensor.scalar_fit())
    b = measure_maps(load_captures(tmp_path / "b"), sensor.scalar_fit())
    for name in a.maps:
        np.testing.assert_allclose(b.maps[name][::-1, ::-1], a.maps[name], rtol=1e-4, atol=1e-5)


def test_one_pass_with_given_means_is_the_same_as_two(tmp_path):
    sensor = PixelSensor((20, 20), seed=1)
    captures = shoot_captures(sensor, tmp_path, **PAIRS)
    given = measure_maps(captures, sensor.scalar_fit(), measure_frame_means(captures))
    found = measure_maps(captures, sensor.scalar_fit())
    for name in found.maps:
        np.testing.assert_array_equal(given.maps[name], found.maps[name])


def test_lamp_drift_under_fall_off_makes_no_noise(tmp_path):
    """1 % within pairs: without scaling, shading times drift would triple the variance of bright levels."""
    sensor = PixelSensor((64, 64), seed=5, prnu_percent=0.5)
    found = measured(
        sensor, tmp_path, **{**PAIRS, "frames": 4}, light_pattern=FALL_OFF, lamp=lambda k: 1.02 if k % 2 else 1.0
    )
    assert abs(found.gain_ratio - 1) < 4 * found.gain_ratio_std
    assert found.gain_ratio_std < 0.01
    truth = true_map(found, sensor, "prnu", FALL_OFF)
    assert 0.95 < np.std((found.maps["prnu"] - truth) / found.maps["prnu_std"]) < 1.05


def test_terms_of_the_model_that_act_on_all_pixels_alike_do_not_change_the_gain(tmp_path):
    """Variances 10 % low at full signal, as with the brighter-fatter effect, and said so by the scalar fit."""
    from dataclasses import replace

    sensor = PixelSensor((64, 64), seed=5, prnu_percent=10.0)
    captures = shoot_captures(sensor, tmp_path, light_e=LIGHT, frames=16, dark_exposures_s=(0.0,), darks=32)
    plain = sensor.scalar_fit()
    means = [float(np.mean(x)) for x, level in zip(measure_frame_means(captures), captures.levels, strict=True)
             if level.kind == "bright"]  # fmt: skip
    low = replace(plain, variance_ratio=tuple((mean, 0.8) for mean in means))
    assert measure_maps(captures, plain).gain_ratio == pytest.approx(1, abs=0.01)
    assert measure_maps(captures, low).gain_ratio == pytest.approx(1 / 0.8, abs=0.02)


# ---- limits ----------------------------------------------------------------------------------------------


def test_three_darks_and_single_brights(tmp_path):
    """The least that maps can be made from: no gain, no dark current; read noise from two differences."""
    sensor = PixelSensor((40, 40), seed=7, dark_e_per_s=0.0)
    found = measured(sensor, tmp_path, light_e=(2000.0, 4000.0), frames=1, dark_exposures_s=(0.0,), darks=3)
    assert {"system_gain_dn_per_e", "dark_current_e_per_s"}.isdisjoint(found.maps)
    for entry in ("offset_dn", "prnu", "read_noise_e"):
        assert np.mean(np.abs(pulls(found, sensor, entry)) < 1.96) > 0.92, entry
    assert np.mean(found.maps["read_noise_e"]) == pytest.approx(np.mean(sensor.maps["read_noise_e"]), rel=0.05)


@pytest.mark.parametrize("shape", [(1, 7), (2, 1), (1, 1)])
def test_tiny_frames(tmp_path, shape):
    sensor = PixelSensor(shape, seed=3, gain_percent=0.0)
    found = measured(sensor, tmp_path, **MANY)
    for entry in NAMES:
        assert found.maps[entry].shape == shape
        assert np.all(np.isfinite(found.maps[entry])) and np.all(np.isfinite(found.maps[entry + "_std"]))
    assert np.all(np.abs(found.maps["offset_dn"] - sensor.maps["offset_dn"]) < 6 * found.maps["offset_dn_std"])


def test_no_read_noise_is_zero_within_its_error(tmp_path):
    sensor = PixelSensor((48, 48), seed=3, dark_e_per_s=0.0, offset_spread=0.2, read_noise_e=1.0, read_spread=0.0)
    sensor.maps["read_noise_e"] = np.full((48, 48), 1e-6)
    found = measured(sensor, tmp_path, **PAIRS)
    assert np.mean(np.abs(pulls(found, sensor, "read_noise_e")) < 1.96) > 0.95
    assert np.mean(found.maps["read_noise_e"]) < 0.3


def test_darks_without_exposures_give_no_dark_current(tmp_path):
    sensor = PixelSensor((40, 40), seed=4, dark_e_per_s=0.0)
    found = measured(sensor, tmp_path, light_e=LIGHT[::3], dark_exposures_s=(None,), darks=12)
    assert "dark_current_e_per_s" not in found.maps
    assert 0.9 < np.std(pulls(found, sensor, "offset_dn")) < 1.1


def test_darks_at_one_exposure_take_the_scalar_dark_charge_off(tmp_path):
    sensor = PixelSensor((64, 64), seed=4, dark_e_per_s=1.5)
    sensor.maps["dark_current_e_per_s"] = np.full((64, 64), 1.5)
    found = measured(sensor, tmp_path, light_e=LIGHT[::3], dark_exposures_s=(2.0,), darks=16)
    assert abs(np.mean(pulls(found, sensor, "offset_dn"))) < 0.1
    assert np.mean(found.maps["read_noise_e"]) == pytest.approx(np.mean(sensor.maps["read_noise_e"]), rel=0.01)
