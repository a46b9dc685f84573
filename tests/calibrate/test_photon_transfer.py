"""The photon-transfer fit on cameras of known truth: choice of model, invariances, public reference sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures

TRUTH = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12}
SCALARS = ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_noise_dn", "dark_current_e_per_s")


def sensor_of(**changes: object) -> NoiseModel:
    return NoiseModel.from_parameters(**{**TRUTH, "dark_current_e_per_s": 5.0, **changes})


def pull(model: NoiseModel, name: str, true: float) -> float:
    entry = model.parameter(name)
    return (entry.value - true) / entry.std


def values_of(model: NoiseModel) -> np.ndarray:
    return np.array([(model.parameter(name).value, model.parameter(name).std) for name in SCALARS])


def rewritten(source, target, change, kinds=("flat", "dark")):
    """The captures of a folder as npy stacks with their codes changed."""
    import tifffile

    target.mkdir()
    lines = []
    for line in (source / "manifest.csv").read_text().splitlines():
        name = line.split(",")[0]
        if name.endswith(".tif"):
            codes = tifffile.imread(source / name)
            np.save(target / name.replace(".tif", ".npy"), change(codes, name) if name.startswith(kinds) else codes)
            line = line.replace(".tif", ".npy")
        lines.append(line)
    (target / "manifest.csv").write_text("\n".join(line for line in lines if not line.startswith("# bit_depth")) + "\n")
    return target


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "captures"
    return simulate_captures(sensor_of(), folder, shape=(64, 64), light_scatter_percent=0.1, seed=1)


@pytest.fixture(scope="module")
def fitted(captures):
    return fit_noise_model(captures)


def test_two_percent_compression_is_seen_and_taken_out(tmp_path):
    sensor = sensor_of(response={"coefficients": (-0.02,), "scale_dn": 3900.0})
    folder = simulate_captures(sensor, tmp_path / "c", shape=(200, 200), levels=20, light_scatter_percent=0.05, seed=3)
    model = fit_noise_model(folder)
    assert model.document.fit.model in ("quadratic_response", "cubic_response")
    assert abs(pull(model, "system_gain_dn_per_e", 0.5)) < 4
    assert model.parameter("system_gain_dn_per_e").value == pytest.approx(0.5, rel=0.01)
    flag = next(flag for flag in model.document.fit.flags if flag.code == "photon_transfer_nonlinear")
    assert "%" in flag.message and "response" in flag.message
    u = np.linspace(100, 3800, 5)
    np.testing.assert_allclose(model.camera.response.evaluate(u), sensor.camera.response.evaluate(u), rtol=3e-3)
    straight = next(entry for entry in model.document.fit.candidates if entry.name == "linear")
    assert straight.bic > min(entry.bic for entry in model.document.fit.candidates) + 10
    assert straight.system_gain_dn_per_e < 0.49  # the gain that a straight line would have reported


def test_a_flickering_lamp_bends_nothing(tmp_path):
    chosen, scatter = [], []
    for seed in range(12):
        folder = simulate_captures(
            sensor_of(), tmp_path / "c", shape=(48, 48), light_scatter_percent=1.0, seed=seed, overwrite=True
        )
        model = fit_noise_model(folder)
        chosen.append(model.document.fit.model)
        scatter.append(model.parameter("light_scatter_percent").value)
        assert abs(pull(model, "system_gain_dn_per_e", 0.5)) < 4
    assert chosen.count("linear") >= 10, chosen
    assert np.mean(scatter) == pytest.approx(1.0, abs=0.25)


def test_dark_current_and_record(captures, fitted):
    assert abs(pull(fitted, "dark_current_e_per_s", 5.0)) < 4
    document = fitted.document
    assert document.fit.model == "linear" and document.fit.deviance_per_dof < 2
    assert document.sensor.bit_depth == 12 and document.sensor.shape == (64, 64)
    assert {entry.path for entry in document.provenance.files} == {
        path.name for path in captures.iterdir() if path.suffix in (".tif", ".csv")
    }
    assert sum(entry.kind == "dark" for entry in document.measurements) == 16
    assert document.validity.exposure_s == (pytest.approx(1 / 16), pytest.approx(1.0, abs=0.13))
    names = document.covariance.names
    std = np.sqrt(np.diag(document.covariance.matrix))
    for name in SCALARS:
        assert std[names.index(name)] == pytest.approx(fitted.parameter(name).std, rel=1e-9)
    noise = fitted.parameter("dark_noise_dn").value
    expected = (fitted.parameter("system_gain_dn_per_e").value * fitted.parameter("read_noise_e").value) ** 2 + 1 / 12
    assert noise**2 == pytest.approx(expected, rel=1e-9)


def test_the_fit_repeats_itself_and_seed_changes_nothing(captures, fitted):
    assert fit_noise_model(captures, seed=5).document == fitted.document


def test_order_of_levels_and_frames_does_not_matter(captures, fitted):
    found = load_captures(captures)
    levels = [replace(level, frames=level.frames[::-1]) for level in found.levels]
    shuffled = replace(found, levels=tuple(levels[i] for i in np.random.default_rng(0).permutation(len(levels))))
    np.testing.assert_allclose(values_of(fit_noise_model(shuffled)), values_of(fitted), rtol=1e-7)


def test_codes_times_four_scale_the_gain_and_leave_electrons(captures, fitted, tmp_path):
    scaled = fit_noise_model(rewritten(captures, tmp_path / "s", lambda codes, name: codes * np.uint16(4)))
    one, four = (model.parameter for model in (fitted, scaled))
    for name in ("system_gain_dn_per_e", "offset_dn"):
        assert four(name).value == pytest.approx(4 * one(name).value, rel=2e-4)
        assert four(name).std == pytest.approx(4 * one(name).std, rel=0.02)
    # Rounding was done before the codes were multiplied: the variance of 16/12 DN^2 stays in the read noise.
    read = np.sqrt(one("read_noise_e").value ** 2 + (15 / 16) / 12 / one("system_gain_dn_per_e").value ** 2)
    assert four("read_noise_e").value == pytest.approx(read, rel=1e-3)
    for name in ("dark_current_e_per_s", "saturation_e"):
        assert four(name).value == pytest.approx(one(name).value, rel=1e-3)
    assert "left_aligned" in {flag.code for flag in scaled.document.fit.flags}


def test_an_offset_of_a_thousand_codes_shifts_the_offset_alone(captures, fitted, tmp_path):
    def shifted(codes, name):
        return codes + np.uint16(1000)

    moved = fit_noise_model(rewritten(captures, tmp_path / "s", shifted))
    found, before = values_of(moved), values_of(fitted)
    before[SCALARS.index("offset_dn"), 0] += 1000
    np.testing.assert_allclose(found, before, rtol=2e-5)
    assert moved.parameter("saturation_dn").value == 5095


def test_more_levels_and_pixels_make_it_surer(captures, fitted, tmp_path):
    """Four times the pixels halve every error that is noise of pixels."""
    larger = fit_noise_model(simulate_captures(sensor_of(), tmp_path / "c", shape=(128, 128), seed=2))
    for name in ("system_gain_dn_per_e", "read_noise_e"):
        assert fitted.parameter(name).std / larger.parameter(name).std == pytest.approx(2.0, rel=0.1)


def test_real_values_have_no_rounding(tmp_path):
    rng = np.random.default_rng(4)
    folder = tmp_path / "c"
    folder.mkdir()
    for i, y in enumerate(np.linspace(100, 4000, 10)):
        light = rng.poisson(y, (2, 80, 80)) + 0.2 * rng.standard_normal((2, 80, 80))
        np.save(folder / f"flat_{i + 1}ms.npy", -50 + 0.05 * light)
        np.save(folder / f"dark_{i + 1}ms.npy", -50 + 0.05 * 0.2 * rng.standard_normal((2, 80, 80)))
    model = fit_noise_model(folder)
    assert model.bit_depth is None and model.parameter("white_clip_dn") is None
    for name, true in (("system_gain_dn_per_e", 0.05), ("read_noise_e", 0.2), ("offset_dn", -50.0)):
        assert abs(pull(model, name, true)) < 4, name


def test_table_of_exact_points(tmp_path):
    y = np.linspace(100, 40_000, 15)
    lines = [f"{0.7 * e:.6f} {0.49 * (e + 64):.6f}" for e in np.random.default_rng(0).permutation(y)]
    (tmp_path / "t.txt").write_text("\n".join(lines))
    model = fit_noise_model(tmp_path / "t.txt")
    assert model.parameter("system_gain_dn_per_e").value == pytest.approx(0.7, rel=1e-6)
    assert model.parameter("read_noise_e").value == pytest.approx(8.0, rel=1e-3)
    assert {"no_darks", "light_unknown"} <= {flag.code for flag in model.document.fit.flags}


@pytest.mark.slow
def test_emva_reference_set_001(realdata):
    """A straight line gives 0.2801 here; every curved model 0.288 to 0.2935 (the module's own yardsticks)."""
    model = fit_noise_model(realdata / "emva1288_set001_ccd12" / "EMVA1288_Data.txt")
    gain, noise = model.parameter("system_gain_dn_per_e"), model.parameter("dark_noise_dn")
    assert 0.279 <= gain.value <= 0.296
    assert 3.05 <= noise.value <= 3.09
    assert gain.std > 0 and noise.std > 0
    flags = {flag.code for flag in model.document.fit.flags}
    assert "photon_transfer_nonlinear" in flags and "denoised" not in flags
    straight = next(entry for entry in model.document.fit.candidates if entry.name == "linear")
    assert straight.system_gain_dn_per_e == pytest.approx(0.280, abs=0.006)
    files = model.document.provenance.files
    frames = {p for p in (realdata / "emva1288_set001_ccd12" / "images").rglob("*") if p.is_file()}
    assert {entry.path.split("/")[-1] for entry in files} >= {"EMVA1288_Data.txt"}
    assert 201 <= len(files) <= len(frames) + 1
    assert all(len(entry.sha256) == 64 for entry in files)
    assert 40 < model.parameter("quantum_efficiency_percent").value < 50


def test_ccd_reference_table(realdata):
    """1/K against the public fit's 0.77132744 e-/DN, within 2 sqrt(own variance + reference variance).

    The reference states no error: 0.001 is taken for it, less than its two public weightings differ by.
    """
    model = fit_noise_model(realdata / "lsst_eotest_ptc" / "PTC_mean_var_values.txt")
    gain = model.parameter("system_gain_dn_per_e")
    own = gain.std / gain.value**2
    assert 0 < own < 0.01
    assert abs(1 / gain.value - 0.77132744) < 2 * np.sqrt(own**2 + 0.001**2)
    assert "no_darks" in {flag.code for flag in model.document.fit.flags}
    assert sum(not entry.used for entry in model.document.measurements) >= 3  # dead and saturated exposures


@pytest.mark.parametrize("seed", range(4))
def test_three_levels_under_a_bad_lamp_leave_the_light_out(tmp_path, seed):
    """Taken as exact, light that scatters by 1 % misfits three levels 300 times, and widens every error tenfold."""
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=5.0
    )
    folder = simulate_captures(
        sensor, tmp_path / "captures", shape=(64, 64), levels=4, light_scatter_percent=1.0, seed=seed
    )
    model = fit_noise_model(folder)
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - 0.5) < 4 * gain.std < 4 * 0.01
    flags = {flag.code for flag in model.document.fit.flags}
    assert "too_few_levels" in flags and "over_dispersed" not in flags
