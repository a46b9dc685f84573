"""What-if frames against the law of the camera they imitate, where the charge is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.sweep.degrade import degrade_frames
from mi_eval.sweep.imagined import imagined_camera
from mi_eval.sweep.light import measure_light

SHAPE = (80, 250)


def camera(**changes) -> NoiseModel:
    given = {"system_gain_dn_per_e": 1.0, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12}
    return NoiseModel.from_parameters(**(given | changes))


def frames_of(model: NoiseModel, charge_e: float, repeats: int = 1, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    return model.sample(np.full((repeats, *shape), float(charge_e)), np.random.default_rng(0))


def assert_law(codes: np.ndarray, model: NoiseModel, charge_e: float) -> None:
    """Mean, variance and chi-square of the codes agree with the model's law at 4.5 standard errors."""
    z = codes.astype(np.float64).ravel()
    mean, variance = (float(f(np.array([charge_e]))[0]) for f in (model.mean_dn, model.variance_dn2))
    fourth = np.mean((z - z.mean()) ** 4)
    assert abs(z.mean() - mean) < 4.5 * np.sqrt(variance / z.size)
    assert abs(z.var() - variance) < 4.5 * np.sqrt((fourth - variance**2) / z.size)
    table = model.code_table(np.array([charge_e]))
    expected = table.pmf.toarray()[0] * z.size
    observed = np.bincount(codes.ravel().astype(np.int64) - table.first_code, minlength=expected.size)[: expected.size]
    many = expected >= 20
    chi2 = float(np.sum((observed[many] - expected[many]) ** 2 / expected[many]))
    assert abs(chi2 - many.sum()) < 6 * np.sqrt(2 * many.sum()) + 6


CASES = {
    "half the light": ({}, {"exposure_factor": 0.5}, 1),
    "tenth of the light": ({}, {"light_factor": 0.1}, 1),
    "more read noise": ({"system_gain_dn_per_e": 0.35, "read_noise_e": 4.2}, {"read_noise_e": 6.0}, 1),
    "coarser converter": ({"system_gain_dn_per_e": 2.0, "read_noise_e": 3.0}, {"bit_depth": 10}, 1),
    "higher gain": ({}, {"system_gain_dn_per_e": 3.0, "exposure_factor": 0.5}, 1),
    "single photons": ({"system_gain_dn_per_e": 8.0, "read_noise_e": 0.1}, {"exposure_factor": 0.3}, 1),
    "better, of four frames": ({}, {"read_noise_e": 1.7}, 4),
    "more light, of four frames": ({}, {"exposure_factor": 2.5, "read_noise_e": 3.0}, 4),
    "lower full well": ({}, {"exposure_factor": 0.5, "full_well_e": 30.0}, 1),
}


@pytest.mark.parametrize("charge_e", [3.0, 60.0])
@pytest.mark.parametrize("name", CASES)
def test_imitated_frames_follow_the_law_of_the_imagined_camera(name, charge_e):
    source, changes, repeats = CASES[name]
    model = camera(**source)
    made = degrade_frames(frames_of(model, charge_e, repeats), model, changes, repeats=repeats, seed=3)
    assert made.frames.shape == (1, *SHAPE) and made.frames.dtype == np.uint16
    assert made.charge_factor == pytest.approx(changes.get("exposure_factor", 1) * changes.get("light_factor", 1))
    assert made.error_bits_per_pixel < 0.004
    assert_law(made.frames, made.noise_model, made.charge_factor * charge_e)


def test_without_light_variance_is_right_although_charges_below_zero_cannot_be_thinned():
    made = degrade_frames(frames_of(camera(), 0.0), camera(), {"exposure_factor": 0.5}, seed=1)
    assert_law(made.frames, made.noise_model, 0.0)


def test_read_noise_that_rounding_raises_is_said_and_used():
    model = camera(system_gain_dn_per_e=0.35, read_noise_e=4.2)
    made = degrade_frames(frames_of(model, 50.0), model, {"system_gain_dn_per_e": 0.7}, seed=1)
    least = np.sqrt(4.2**2 + 0.25 / 0.35**2)  # read noise, rounding, and the triangular dither of two codes
    assert float(made.noise_model.camera.read_noise_e) == pytest.approx(least)
    assert len(made.notes) == 1 and "rounded once" in made.notes[0]
    assert_law(made.frames, made.noise_model, 50.0)


def test_dark_charge_that_does_not_shrink_with_the_light_is_added():
    model = camera(dark_current_e_per_s=40.0)
    frames = frames_of(model, 60.0 + 20.0)  # light, and dark of half a second
    made = degrade_frames(frames, model, {"light_factor": 0.5}, exposure_s=0.5, seed=1)
    assert_law(made.frames, made.noise_model, 0.5 * 60.0 + 20.0)
    both = degrade_frames(frames, model, {"exposure_factor": 0.5}, exposure_s=0.5, seed=1)
    assert_law(both.frames, both.noise_model, 0.5 * 80.0)
    warmer = degrade_frames(frames, model, {"dark_current_e_per_s": 100.0}, exposure_s=0.5, seed=1)
    assert_law(warmer.frames, warmer.noise_model, 60.0 + 50.0)
    with pytest.raises(PhotonbitsError, match="exposure_s"):
        degrade_frames(frames, model, {"light_factor": 0.5})
    with pytest.raises(PhotonbitsError, match="cannot be made"):
        degrade_frames(frames, model, {"dark_current_e_per_s": 0.0, "exposure_factor": 0.5}, exposure_s=0.5)


def pulls(made, charge: np.ndarray) -> np.ndarray:
    """Codes less their means, over their standard deviations."""
    z = made.frames.astype(np.float64)
    return (z - made.noise_model.mean_dn(charge)) / np.sqrt(made.noise_model.variance_dn2(charge))


def test_a_pattern_of_response_is_in_the_frames_and_in_the_maps():
    model, shape = camera(), (30, 40)
    changes = {"light_factor": 0.5, "prnu_percent": 5.0}
    made = degrade_frames(frames_of(model, 400.0, 16, shape), model, changes, seed=1)
    pattern = made.noise_model.maps["prnu"]
    assert np.std(pattern) == pytest.approx(0.05) and abs(np.mean(pattern)) < 1e-12
    pull = pulls(made, 200.0 * (1 + pattern))
    assert abs(pull.mean()) < 4.5 / np.sqrt(pull.size) and pull.var() == pytest.approx(1, abs=0.05)
    assert abs(np.mean(pull * pattern)) < 4.5 * 0.05 / np.sqrt(pull.size)


def test_maps_are_undone_and_put_back():
    rng, shape = np.random.default_rng(5), (12, 20)
    maps = {
        "offset_dn": 100 + 5 * rng.standard_normal(shape),
        "read_noise_e": 2.0 * np.exp(0.1 * rng.standard_normal(shape)),
        "system_gain_dn_per_e": 1 + 0.02 * rng.standard_normal(shape),
        "offset_dn_std": np.full(shape, 0.2),
    }
    model = camera(maps=maps)
    changes = {"exposure_factor": 0.5, "system_gain_dn_per_e": 2.0}
    made = degrade_frames(frames_of(model, 50.0, 80, shape), model, changes, seed=1)
    pull = pulls(made, np.full(shape, 25.0))
    # 19200 codes: the variance of pulls is known to 0.010.
    assert abs(pull.mean()) < 4.5 / np.sqrt(pull.size) and pull.var() == pytest.approx(1, abs=0.05)
    assert made.noise_model.maps["offset_dn_std"] == pytest.approx(0.2 * 2.0 * 0.5)
    spread = np.std(made.noise_model.maps["read_noise_e"]) / np.std(maps["read_noise_e"])
    assert spread == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("source", "changes", "charge_e", "words"),
    [
        ({}, {"exposure_factor": 1.5}, 50.0, "cannot be made up"),
        ({}, {"read_noise_e": 1.0}, 50.0, "cannot be made"),
        ({}, {"exposure_factor": 0.1, "read_noise_e": 0.3}, 50.0, "single electrons"),
        ({"system_gain_dn_per_e": 0.05}, {"exposure_factor": 0.5}, 5.0, "rounding hides"),
        ({"bit_depth": 8, "offset_dn": 20.0}, {"exposure_factor": 0.5}, 300.0, "clipped"),
        ({"offset_dn": 0.0}, {"exposure_factor": 0.5}, 1.0, "clipped"),
        ({"kind": "poisson", "read_noise_e": 0.0}, {"read_noise_e": 1.0}, 5.0, "kind poisson"),
    ],
)
def test_what_the_frames_do_not_hold_is_refused(source, changes, charge_e, words):
    model = camera(**source)
    with pytest.raises(PhotonbitsError, match=words):
        degrade_frames(frames_of(model, charge_e), model, changes)


def test_frames_clipped_where_the_imagined_camera_clips_as_well_are_no_loss():
    model = camera(bit_depth=8, offset_dn=20.0)
    made = degrade_frames(frames_of(model, 1000.0), model, {"exposure_factor": 0.5, "system_gain_dn_per_e": 8.0})
    assert np.all(made.frames == 255)


def test_groups_of_repeats_must_come_out_even():
    with pytest.raises(PhotonbitsError, match="groups of 2"):
        degrade_frames(frames_of(camera(), 5.0, 3), camera(), {"exposure_factor": 0.5}, repeats=2)


def test_noise_of_kind_gaussian_is_topped_up_and_light_scaled():
    model = camera(kind="gaussian", read_noise_e=3.0)
    made = degrade_frames(frames_of(model, 80.0), model, {"light_factor": 0.5, "read_noise_e": 4.0}, seed=1)
    z = made.frames.astype(float)
    assert z.mean() == pytest.approx(140.0, abs=4.5 * 4 / np.sqrt(z.size))
    assert z.var() == pytest.approx(16 + 1 / 12, rel=0.03)


def test_channels_are_taken_one_by_one_and_keep_their_ratios():
    gains = {"R": 0.8, "Gr": 1.0, "Gb": 1.0, "B": 1.2}
    mosaic = NoiseModel.from_channels({n: camera(system_gain_dn_per_e=k) for n, k in gains.items()}, "RGGB")
    frames = frames_of(mosaic, 60.0)
    changes = {"exposure_factor": 0.5, "system_gain_dn_per_e": 2.0 * float(mosaic.camera.system_gain_dn_per_e)}
    made = degrade_frames(frames, mosaic, changes, seed=1)
    assert made.noise_model.channel_layout.pattern == "RGGB"
    for name, section in mosaic.channel_layout.sections.items():
        own = made.noise_model.channel(name)
        assert float(own.camera.system_gain_dn_per_e) == pytest.approx(2.0 * gains[name])
        assert_law(made.frames[(slice(None), *section.index)], own, 30.0)
    light = np.full((1, *SHAPE), 60.0)
    shot, found = measure_light(light, mosaic, {"light_factor": 0.5}, seed=2)
    section = mosaic.channel_layout.sections["B"]
    assert_law(shot[(slice(None), *section.index)], found.channel("B"), 30.0)
    with pytest.raises(PhotonbitsError, match="channel R"):
        degrade_frames(frames, mosaic, {"exposure_factor": 3.0})


# ---- known light, and the imagined camera itself ------------------------------------------------------------


def test_known_light_is_measured_by_the_camera_itself():
    model = camera(dark_current_e_per_s=10.0)
    light = np.random.default_rng(1).gamma(3.0, 30.0, (2, 8, 9))
    changes = {"light_factor": 3.0, "exposure_factor": 2.0, "read_noise_e": 0.4}
    frames, found = measure_light(light, model, changes, exposure_s=0.5, seed=4)
    expected = found.sample(light[1] * 6.0 + 10.0 * 1.0, np.random.default_rng([4, 1, 9_731]))
    assert np.array_equal(frames[1], expected)
    assert float(found.camera.read_noise_e) == 0.4
    for bad, words in ((-light, "finite electrons"), (light[0], "shape")):
        with pytest.raises(PhotonbitsError, match=words):
            measure_light(bad, model, {}, exposure_s=0.5)
    with pytest.raises(PhotonbitsError, match="exposure"):
        measure_light(light, model, {})


def test_bit_depth_alone_keeps_full_scale():
    model = camera(white_clip_dn=4000)
    found = imagined_camera(model, {"bit_depth": 8}, shape=SHAPE).camera
    assert (found.system_gain_dn_per_e, found.offset_dn) == (1 / 16, 100 / 16)
    assert (found.bit_depth, found.white_clip_dn) == (8, 249)
    stated = imagined_camera(model, {"bit_depth": 8, "system_gain_dn_per_e": 1.0}, shape=SHAPE).camera
    assert (stated.offset_dn, stated.white_clip_dn) == (100.0, 255)


def test_response_and_calibration_errors_follow_the_gain():
    root = Path(__file__).resolve().parent.parent.parent
    model = NoiseModel.load(root / "data_samples" / "sweep" / "mono12.yaml")
    found = imagined_camera(model, {"system_gain_dn_per_e": 0.7}, shape=SHAPE, charge_factor=0.5)
    old, new = model.document.covariance, found.document.covariance
    ratio = 0.7 / float(model.camera.system_gain_dn_per_e)
    k, b = (old.names.index(name) for name in ("system_gain_dn_per_e", "offset_dn"))
    assert new.matrix[k][k] == pytest.approx(old.matrix[k][k] * ratio**2)
    assert new.matrix[b][b] == pytest.approx(old.matrix[b][b] * (ratio * 0.5) ** 2)
    assert imagined_camera(model, {}, shape=SHAPE).document.covariance is None
    curved = camera(response={"coefficients": [-0.05], "scale_dn": 1000.0})
    bent = imagined_camera(curved, {"system_gain_dn_per_e": 2.0}, shape=SHAPE)
    charge = np.array([300.0])
    assert bent.mean_dn(charge) - 100 == pytest.approx(2 * (curved.mean_dn(charge) - 100), rel=1e-4)
