"""The fit of sensors with a knee, against known truth; and that other sensors see nothing of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vignetted import fall_off, write_captures

import calibrate.photon_transfer as photon_transfer
from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures
from calibrate.flags import FLAGS
from calibrate.level_statistics import measure_levels
from calibrate.photon_transfer.data import PhotonTransferData, from_levels
from calibrate.photon_transfer.knee_search import FEWEST_BEYOND, doubt_a_knee, find_break
from calibrate.photon_transfer.read_noise_step import find_step
from calibrate.response import Response

GAIN, READ_E, OFFSET = 0.5, 3.0, 100.0
KNEE, SLOPE = 2000.0, 0.3


def sensor_of(**changes: object) -> NoiseModel:
    given = {"system_gain_dn_per_e": GAIN, "read_noise_e": READ_E, "offset_dn": OFFSET, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, "dark_current_e_per_s": 5.0, **changes})


def pulls(model: NoiseModel, knee: float, slope: float) -> dict[str, float]:
    """(fitted - true)/std of gain, read noise, offset, knee and slope."""
    curve = model.document.parameters["nonlinearity"]
    assert curve.form == "two-slope"
    true = {"system_gain_dn_per_e": GAIN, "read_noise_e": READ_E, "offset_dn": OFFSET}
    out = {name: (model.parameter(name).value - value) / model.parameter(name).std for name, value in true.items()}
    out["knee"] = (curve.coefficients[0] - knee / curve.scale_dn) / curve.std[0]
    out["slope"] = (curve.coefficients[1] - slope) / curve.std[1]
    return out


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("knee") / "captures"
    sensor = sensor_of(response=Response.two_slope(KNEE, SLOPE))
    return simulate_captures(sensor, folder, shape=(64, 64), light_scatter_percent=0.1, seed=1)


@pytest.fixture(scope="module")
def fitted(captures):
    return fit_noise_model(captures)


def flags_of(model: NoiseModel) -> dict[str, str]:
    return {entry.code: entry.message for entry in model.document.fit.flags}


def test_a_knee_is_found_and_everything_with_it(fitted):
    assert fitted.document.fit.model == "two_slope" and fitted.document.fit.deviance_per_dof < 1.6
    found = pulls(fitted, KNEE, SLOPE)
    assert max(map(abs, found.values())) < 3.5, found
    curve = fitted.document.parameters["nonlinearity"]
    assert curve.std[0] * curve.scale_dn < 5 and curve.std[1] < 0.002
    assert fitted.parameter("system_gain_dn_per_e").std < 0.01 * GAIN
    assert fitted.camera.response.knee_dn == pytest.approx(KNEE, rel=0.005)
    top = (KNEE + (4095 - OFFSET - KNEE) / SLOPE) / GAIN
    saturation = fitted.parameter("saturation_e")
    assert abs(saturation.value - top) < 4 * saturation.std and saturation.std < 0.02 * top
    messages = flags_of(fitted)
    assert "two_slopes" in messages and "photon_transfer_nonlinear" not in messages and "over_dispersed" not in messages
    assert "11 levels" in messages["two_slopes"]


def test_the_table_of_candidates_says_what_others_would_make_of_it(fitted):
    entries = {entry.name: entry for entry in fitted.document.fit.candidates}
    assert {"linear", "quadratic_response", "two_slope"} <= set(entries)
    assert entries["linear"].bic > entries["two_slope"].bic + 1000
    assert entries["linear"].system_gain_dn_per_e < 0.5 * GAIN
    used = [entry for entry in fitted.document.measurements if entry.kind == "bright" and entry.used]
    assert max(entry.mean_dn for entry in used) > 3500
    for entry in used:
        assert abs(entry.variance_dn2 - entry.fitted_variance_dn2) < 4.5 * entry.variance_std_dn2


def test_file_and_covariance(fitted, tmp_path):
    fitted.save(tmp_path / "m.yaml")
    loaded = NoiseModel.load(tmp_path / "m.yaml")
    assert loaded.document == fitted.document and loaded.camera == fitted.camera
    covariance = fitted.document.covariance
    curve = fitted.document.parameters["nonlinearity"]
    at = [covariance.names.index(f"nonlinearity[{k}]") for k in range(2)]
    std = np.sqrt(np.diag(covariance.matrix))[at]
    np.testing.assert_allclose(std, curve.std, rtol=1e-9)


def test_a_level_at_the_knee_leaves_an_honest_error(tmp_path):
    """Its variance places the knee to 4 DN from one side only: the quadratic error there is five times too small."""
    sensor = sensor_of(response=Response.two_slope(2500.0, 0.5))
    folder = simulate_captures(sensor, tmp_path / "c", shape=(48, 48), light_scatter_percent=1.0, seed=3)
    model = fit_noise_model(folder)
    found = pulls(model, 2500.0, 0.5)
    assert max(map(abs, found.values())) < 3.0, found
    curve = model.document.parameters["nonlinearity"]
    assert 7 < curve.std[0] * curve.scale_dn < 20


def test_a_knee_beyond_which_little_was_shot_is_told_and_not_fitted(tmp_path):
    """Light to 1.05 of the range in six steps of 934 DN: three levels beyond, the brightest one clipped."""
    sensor = sensor_of(response=Response.two_slope(3100.0, 0.4))
    folder = simulate_captures(sensor, tmp_path / "c", shape=(64, 64), levels=6, seed=2)
    model = fit_noise_model(folder)
    assert model.document.fit.model == "linear"
    message = flags_of(model)["knee_not_fitted"]
    assert f"{FEWEST_BEYOND} are needed" in message
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - GAIN) < 3.5 * gain.std


def test_pixels_below_the_knee_are_no_outliers_of_a_level_beyond_it(tmp_path):
    """A level two standard deviations beyond a knee of slope 0.15: one pixel in fifty has seven times the noise."""
    sensor = sensor_of(response=Response.two_slope(2500.0, 0.15))
    folder = simulate_captures(sensor, tmp_path / "c", shape=(64, 64), light_scatter_percent=0.1, seed=1)
    model = fit_noise_model(folder)
    found = pulls(model, 2500.0, 0.15)
    assert max(map(abs, found.values())) < 3.0, found
    assert not {"outliers", "heavy_tails"} & set(flags_of(model))


def test_few_levels_below_the_knee_and_maps_through_it(tmp_path):
    """Two levels below; pixels whose light differs by 4 % pass the knee at levels of their own."""
    light = 0.04 * np.random.default_rng(1).standard_normal((48, 48))
    sensor = sensor_of(response=Response.two_slope(1500.0, 0.3), maps={"prnu": light - np.mean(light)})
    folder = simulate_captures(sensor, tmp_path / "c", frames_per_level=4, light_scatter_percent=0.1, seed=1)
    model = fit_noise_model(folder, maps=True)
    found = pulls(model, 1500.0, 0.3)
    assert max(map(abs, found.values())) < 3.5, found
    prnu = (model.maps["prnu"] - light + np.mean(light)) / model.maps["prnu_std"]
    assert abs(np.mean(prnu)) < 0.15 and np.std(prnu) == pytest.approx(1.0, abs=0.12)
    gain = (model.maps["system_gain_dn_per_e"] - model.camera.system_gain_dn_per_e) / model.maps[
        "system_gain_dn_per_e_std"
    ]
    assert np.std(gain) == pytest.approx(1.0, abs=0.12)
    assert "gain_map_disagrees" not in flags_of(model)


# --- sensors without a knee


def plain_data(tmp_path, levels: int) -> PhotonTransferData:
    folder = simulate_captures(sensor_of(), tmp_path / f"p{levels}", shape=(16, 16), levels=levels, seed=1)
    found = load_captures(folder)
    return from_levels(found, measure_levels(found), 4095.0)


class Drawn:
    """Levels of another sensor: exact moments with the noise of so many pixels; ``shift_per_e`` is a_00 < 0."""

    def __init__(self, data: PhotonTransferData, sensor: NoiseModel, shift_per_e: float = 0.0) -> None:
        top = float(sensor.camera.response.inverse(np.array(3900.0)))
        top_e = min(top, 4200.0 if not np.isfinite(top) else top) / GAIN
        self.data, self.light = data, np.where(data.bright, data.light / np.max(data.light) * 1.05 * top_e, 0.0)
        self.charge = np.linspace(0.0, 1.15 * top_e, 800)
        table = sensor.code_table(self.charge)
        self.mean, variance = table.moments()
        self.clipped = table.pmf[:, [4095]].toarray().ravel()
        shot = shift_per_e * GAIN**2 * self.charge**2 * (self.mean < 4080)
        self.variance = np.maximum(variance + shot, 1e-3)

    def __call__(self, scatter: float, pixels: int, rng: np.random.Generator) -> PhotonTransferData:
        y = self.light * (1 + scatter * rng.standard_normal(self.light.size))
        mean, variance = np.interp(y, self.charge, self.mean), np.interp(y, self.charge, self.variance)
        values = {
            "light": self.light,
            "mean_dn": mean + np.sqrt(variance / (2 * pixels)) * rng.standard_normal(y.size),
            "variance_dn2": variance * rng.chisquare(pixels - 1, y.size) / (pixels - 1),
            "clipped_fraction": np.interp(y, self.charge, self.clipped),
        }
        order = np.argsort(np.where(self.data.bright, values["mean_dn"], np.inf), kind="stable")
        return replace(
            self.data,
            **{name: array[order] for name, array in values.items()},
            variance_samples=np.full(y.size, float(pixels)),
            mean_samples=np.full(y.size, 2.0 * pixels),
            kurtosis=np.full(y.size, 3.0),
            spatial_variance_dn2=np.zeros(y.size),
        )


CAMERAS = {
    "plain": {},
    "compressed by 2 %": {"response": {"coefficients": (-0.02,), "scale_dn": 3900.0}},
    "compressed by 8 %": {"response": {"coefficients": (-0.05, -0.03), "scale_dn": 3900.0}},
    "expanded at the top": {"response": {"coefficients": (-0.08, 0.05), "scale_dn": 3900.0}},
    "brighter-fatter": {},
    "full well": {"full_well_e": 6200.0},
}


@pytest.mark.parametrize("name", CAMERAS)
def test_no_knee_is_seen_where_there_is_none(name, tmp_path):
    """90 draws each of 8, 16 and 40 levels, a tenth of 4096 pixels up to 40 times that, lamps of 0.1 and 1 %."""
    sensor, rng = sensor_of(**CAMERAS[name]), np.random.default_rng(7)
    for levels in (8, 16, 40):
        shift = -3e-5 if name == "brighter-fatter" else 0.0  # a quarter less noise at the top
        draw_levels = Drawn(plain_data(tmp_path, levels), sensor, shift)
        for draw in range(90):
            pixels = (400, 4096, 160_000)[draw % 3]
            scatter = (0.001, 0.01)[draw % 2]
            seen = draw_levels(scatter, pixels, rng)
            assert find_break(seen) is None, (levels, draw)
            assert doubt_a_knee(seen) is None, (levels, draw)
            assert find_step(seen) is None, (levels, draw)


@pytest.mark.parametrize("slope", [0.15, 0.5, 0.8])
def test_the_same_draws_with_a_knee_are_seen(slope, tmp_path):
    sensor, rng = sensor_of(response=Response.two_slope(1500.0, slope)), np.random.default_rng(8)
    draw_levels = Drawn(plain_data(tmp_path, 40), sensor)
    for _ in range(20):
        found = find_break(draw_levels(0.01, 4096, rng))
        assert found is not None
        nearest = min(found.starts, key=lambda start: abs(start.knee_dn - 1500.0))
        assert nearest.knee_dn == pytest.approx(1500.0, rel=0.15) and nearest.slope == pytest.approx(slope, abs=0.15)


def test_a_real_camera_shows_neither_knee_nor_step(realdata):
    """Set 001 of the EMVA 1288 reference: a CCD that saturates, whose levels scatter more than their noise."""
    captures = load_captures(realdata / "emva1288_set001_ccd12")
    levels = measure_levels(captures)
    data = from_levels(captures, levels, photon_transfer.white_clip(levels, 12))
    assert find_break(data) is None and find_step(data) is None and doubt_a_knee(data) is None


def test_without_the_search_a_plain_document_is_the_same(tmp_path, monkeypatch):
    folder = simulate_captures(
        sensor_of(full_well_e=6000.0), tmp_path / "c", shape=(48, 48), light_scatter_percent=1.0, levels=12, seed=5
    )
    searched = fit_noise_model(folder).document
    monkeypatch.setattr(photon_transfer, "find_break", lambda data: None)
    monkeypatch.setattr(photon_transfer, "doubt_a_knee", lambda data: None)
    monkeypatch.setattr(photon_transfer, "find_step", lambda data: None)
    assert fit_noise_model(folder).document == searched
    assert any(entry.kind == "bright" and not entry.used for entry in searched.measurements)


# --- where the read noise arises


@pytest.mark.parametrize("late", [True, False])
def test_read_noise_before_and_behind_the_knee(tmp_path, late):
    """15 DN of read noise, and 400 DN^2 of shot noise at the knee that a slope of 0.3 presses to 36."""
    rng, noise_dn, knee, slope, shape = np.random.default_rng(4), 15.0, 800.0, 0.3, (96, 96)
    curve, folder = Response.two_slope(knee, slope), tmp_path / "c"
    folder.mkdir()
    lines = ["# bit_depth: 12", "path,kind,exposure_s,level"]
    for index, light in enumerate([0.0, 0.0, 0.0, 0.0, *np.linspace(150.0, 3000.0, 16)]):
        n = rng.poisson(np.full((2, *shape), light / GAIN)) * GAIN
        read = noise_dn * rng.standard_normal(n.shape)
        signal = curve.evaluate(n) + read if late else curve.evaluate(n + read)
        np.save(folder / f"f{index:02d}.npy", np.clip(np.floor(OFFSET + signal + 0.5), 0, 4095).astype(np.uint16))
        lines.append(f"f{index:02d}.npy,{'bright' if light else 'dark'},{light / 3000:.6f},{index}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    model = fit_noise_model(folder)
    assert model.document.fit.model == "two_slope" + ("_noise_after" if late else "")
    assert model.parameter("dark_noise_dn").value == pytest.approx(noise_dn, rel=0.02)
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - GAIN) < 3.5 * gain.std
    assert model.camera.response.knee_dn == pytest.approx(knee, rel=0.02)
    assert model.camera.response.coefficients[1] == pytest.approx(slope, rel=0.03)
    messages = flags_of(model)
    assert ("read_noise_after_knee" in messages) == late
    if late:  # (0.09 (400 + 225)) of 0.09 * 400 + 225
        short = 100 * (1 - 0.09 * 625 / (36 + 225))
        assert float(messages["read_noise_after_knee"].split("is ")[-1].split(" %")[0]) == pytest.approx(short, rel=0.1)


# --- two gains merged on one scale


def test_a_merged_dual_gain_read_out_is_named_and_leaves_the_gain_alone(tmp_path):
    """1 DN/e- to 3000 e- with 3 e- of read noise; beyond it an eighth of the gain, 30 e- and codes in steps of 8."""
    rng, folder, shape, hand_over = np.random.default_rng(5), tmp_path / "c", (80, 80), 3000.0
    folder.mkdir()
    lines = ["# bit_depth: 14", "path,kind,exposure_s,level"]
    for index, light in enumerate([0.0, 0.0, 0.0, 0.0, *np.linspace(750.0, 12000.0, 16)]):
        n = rng.poisson(np.full((2, *shape), light)) + 0.0
        fine = np.floor(OFFSET + n + 3.0 * rng.standard_normal(n.shape) + 0.5)
        coarse = 8 * np.floor((OFFSET + n + 30.0 * rng.standard_normal(n.shape)) / 8 + 0.5)
        codes = np.where(fine < OFFSET + hand_over, fine, coarse)
        np.save(folder / f"f{index:02d}.npy", np.clip(codes, 0, 16383).astype(np.uint16))
        lines.append(f"f{index:02d}.npy,{'bright' if light else 'dark'},{light / 12000:.6f},{index}")
    # Level 3 of the flats lies at the hand-over itself, half of its pixels on either side.
    (folder / "manifest.csv").write_text("\n".join(lines[:-13] + lines[-12:]) + "\n")
    model = fit_noise_model(folder)
    assert model.document.fit.model == "read_noise_step" and model.document.fit.deviance_per_dof < 1.7
    gain, read = model.parameter("system_gain_dn_per_e"), model.parameter("read_noise_e")
    assert abs(gain.value - 1.0) < 3.5 * gain.std and gain.std < 0.01
    assert abs(read.value - 3.0) < 3.5 * read.std
    message = flags_of(model)["read_noise_step"]
    above = float(message.split("read noise is ")[1].split(" e-")[0])
    assert above == pytest.approx(np.sqrt(900 + 64 / 12), rel=0.1)
    assert 100 + 2250 < float(message.split("mean code of ")[1].split(" ")[0]) < 100 + 3750
    straight = next(entry for entry in model.document.fit.candidates if entry.name == "linear")
    assert straight.bic > min(entry.bic for entry in model.document.fit.candidates) + 100


def test_uneven_light_at_a_knee_is_said(fitted, tmp_path):
    """Pixels of one level lie on both sides of the knee, and how many depends on how the light is spread."""
    vignette = fall_off(96) / fall_off(96).mean()
    sensor = sensor_of(response=Response.two_slope(KNEE, SLOPE), dark_current_e_per_s=0.0)
    write_captures(tmp_path, sensor, 14000 * vignette, np.arange(1, 17) / 16)
    messages = flags_of(fit_noise_model(tmp_path))
    assert "two_slopes" in messages
    stated = float(messages["knee_light_uneven"].split("by ")[1].split(" %")[0])
    assert stated == pytest.approx(100 * vignette.std(), rel=0.1)
    assert "knee_light_uneven" not in flags_of(fitted)


def test_every_flag_of_knee_and_step_has_its_sentence():
    for code in ("two_slopes", "knee_light_uneven", "read_noise_after_knee", "knee_not_fitted", "read_noise_step"):
        assert FLAGS[code].sentence
