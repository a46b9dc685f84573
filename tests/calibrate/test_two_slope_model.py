"""A response of two slopes in the noise model: the curve, p(z|y) through the knee, files and plans."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.special import gammaln, ndtr

from calibrate import NoiseModel, PhotonbitsError
from calibrate.cli import main
from calibrate.noise_model.channel_average import average_parameters
from calibrate.photon_transfer.fisher import CameraPoint, code_cumulants
from calibrate.photon_transfer.knee import Knee, _mean_and_slope, cumulants_at, own_signal
from calibrate.response import Response
from calibrate.schema import NonlinearityEntry

GAIN, READ_E, OFFSET = 0.9, 4.0, 30.0
CURVE = Response.two_slope(300.0, 0.3)
AT_THE_KNEE = np.array([50.0, 290.0, 315.0, 333.0, 350.0, 420.0, 900.0])


def model_of(**changes: object) -> NoiseModel:
    given = {"system_gain_dn_per_e": GAIN, "read_noise_e": READ_E, "offset_dn": OFFSET, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, "response": CURVE, **changes})


# --- the curve


def test_the_curve_its_slope_and_its_inverse():
    u = np.array([-5.0, 0.0, 299.0, 301.0, 800.0])
    np.testing.assert_allclose(CURVE.evaluate(u), [-5.0, 0.0, 299.0, 300.3, 450.0])
    np.testing.assert_allclose(CURVE.derivative(u), [1.0, 1.0, 1.0, 0.3, 0.3])
    np.testing.assert_allclose(CURVE.inverse(CURVE.evaluate(u)), u)
    well = Response.two_slope(300.0, 0.3, full_well_dn=700.0)
    assert well.evaluate(np.array(1e4)) == pytest.approx(420.0)
    assert np.isinf(well.inverse(np.array(420.1))) and well.inverse(np.array(420.0)) == pytest.approx(700.0)
    np.testing.assert_allclose(Response("two-slope", (0.5, 0.3), 600.0).evaluate(u), CURVE.evaluate(u))
    assert CURVE.knee_dn == 300.0 and Response().knee_dn is None


@pytest.mark.parametrize("coefficients", [(), (1.0,), (1.0, 0.0), (1.0, 1.0), (-1.0, 0.5), (1.0, 0.5, 0.1)])
def test_curves_that_are_none(coefficients):
    with pytest.raises(PhotonbitsError, match="two-slope"):
        Response("two-slope", coefficients, 100.0)


# --- p(z | y) through the knee


def slow_pmf(codes: np.ndarray, y: float) -> np.ndarray:
    """Sum over electrons of the read noise's share of each code, edges taken back through the knee by hand."""
    n = np.arange(0, 2000.0)
    weight = np.exp(n * np.log(y) - y - gammaln(n + 1))

    def below(edge: float) -> float:  # P(code's signal < edge)
        v = edge - OFFSET
        u = v if v <= 300.0 else 300.0 + (v - 300.0) / 0.3
        return float(weight @ ndtr((u / GAIN - n) / READ_E))

    return np.array([below(code + 0.5) - below(code - 0.5) for code in codes])


def test_codes_entropy_and_moments_through_the_knee():
    model = model_of()
    codes = np.arange(1, 900)
    for y in AT_THE_KNEE:
        pmf = slow_pmf(codes, y)
        found = np.exp(model.log_pmf(codes.astype(float), np.full(codes.size, y)))
        np.testing.assert_allclose(found, pmf, atol=1e-10)
        some = pmf[pmf > 1e-300]
        at = np.array([y])
        assert model.conditional_entropy_bits(at)[0] == pytest.approx(-np.sum(some * np.log2(some)), abs=1e-6)
        mean = pmf @ codes
        assert model.mean_dn(at)[0] == pytest.approx(mean, abs=1e-6)
        assert model.variance_dn2(at)[0] == pytest.approx(pmf @ (codes - mean) ** 2, rel=1e-6)


def test_samples_follow_the_probabilities():
    model, n = model_of(), 200_000
    codes = model.sample(np.full(n, 340.0), np.random.default_rng(1)).astype(int)
    lowest, highest = 300, 350
    seen = np.bincount(np.clip(codes, lowest, highest) - lowest, minlength=highest - lowest + 1)
    pmf = slow_pmf(np.arange(1, 900), 340.0)
    expected = np.zeros(seen.size)
    np.add.at(expected, np.clip(np.arange(1, 900), lowest, highest) - lowest, n * pmf)
    assert expected.min() > 10
    chi2 = float(np.sum((seen - expected) ** 2 / expected))
    assert abs(chi2 - seen.size) < 5 * np.sqrt(2 * seen.size)


def test_many_charges_are_splined_over_the_knee_without_a_wiggle():
    model = model_of(maps={"offset_dn": np.full((1, 40000), OFFSET)})
    y = np.linspace(1.0, 1200.0, 40000)[None]
    found = model.conditional_entropy_bits(y)[0]
    few = slice(9000, 14000, 500)
    exact = model_of().conditional_entropy_bits(y[0, few])
    np.testing.assert_allclose(found[few], exact, atol=2e-4)


def test_real_values_through_the_knee():
    """Mean, variance and differential entropy of a normal law by brute force; shot noise counts as normal there."""
    model = model_of(kind="gaussian", bit_depth=None, full_well_e=800.0)
    plain = model_of(kind="gaussian", bit_depth=None)
    for y in (300.0, 330.0, 336.0, 798.0):
        w = y + READ_E * np.linspace(-9, 9, 2_000_001)
        density = np.exp(-0.5 * ((w - y) / READ_E) ** 2)
        density /= density.sum()
        value = OFFSET + model.camera.response.evaluate(GAIN * w)
        mean = density @ value
        assert model.mean_dn(np.array([y]))[0] == pytest.approx(mean, abs=1e-6)
        assert model.variance_dn2(np.array([y]))[0] == pytest.approx(density @ (value - mean) ** 2, rel=1e-5, abs=1e-7)
        slope = np.where(GAIN * w > 300.0, 0.3, 1.0) * GAIN
        entropy = 0.5 * np.log2(2 * np.pi * np.e * READ_E**2) + density @ np.log2(slope)
        assert plain.conditional_entropy_bits(np.array([y]))[0] == pytest.approx(entropy, abs=1e-5)


# --- what the fit predicts there


@pytest.mark.parametrize("pattern", [0.0, 0.03**2])
def test_moments_of_levels_at_the_knee(pattern):
    """Against sums over codes, fine ones so that rounding does not show, and over pixels of uneven light."""
    gain, knee_e = 8.0, 1000.0
    curve = Response.two_slope(gain * knee_e, 0.4)
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=5.0, offset_dn=400.0, bit_depth=16, response=curve
    )
    knee = Knee(gain * knee_e, 0.4, gain, (gain * 5.0) ** 2, 0.0, pattern)
    charges = np.array([800.0, 930.0, 980.0, 1000.0, 1020.0, 1090.0])
    t = np.linspace(-5, 5, 81) if pattern else np.zeros(1)
    share = np.exp(-0.5 * t**2) / np.sum(np.exp(-0.5 * t**2))
    pixels = charges[:, None] * (1 + np.sqrt(pattern) * t)
    mean = model.mean_dn(pixels.ravel()).reshape(pixels.shape) @ share - 400.0
    variance = model.variance_dn2(pixels.ravel()).reshape(pixels.shape) @ share - 1 / 12
    found = cumulants_at(knee, gain * charges)
    np.testing.assert_allclose(found[0], mean, atol=2e-3 * gain)
    np.testing.assert_allclose(found[1], variance, rtol=2e-3)
    np.testing.assert_allclose(own_signal(knee, found[0]), gain * charges, rtol=1e-8)
    for row, lean in zip((0, 4), _mean_and_slope(knee, gain * charges), strict=True):
        np.testing.assert_allclose(lean, found[row], rtol=1e-9)
    step = 1e-3 * gain * charges
    by_signal = (cumulants_at(knee, gain * charges + step)[0] - cumulants_at(knee, gain * charges - step)[0]) / step / 2
    np.testing.assert_allclose(found[4], by_signal, atol=0.02)


def test_a_plan_adds_up_codes_at_the_knee():
    camera = CameraPoint(
        GAIN, READ_E, OFFSET, response_coefficients=(1.0, 0.3), response_scale_dn=300.0, response_form="two-slope",
        bit_depth=12,
    )  # fmt: skip
    found = code_cumulants(camera, AT_THE_KNEE)
    np.testing.assert_allclose(found[0], model_of().mean_dn(AT_THE_KNEE), atol=1e-4)
    np.testing.assert_allclose(found[1], model_of().variance_dn2(AT_THE_KNEE), rtol=1e-4)


# --- files


def test_round_trip_through_the_file(tmp_path):
    model = model_of(full_well_e=800.0)
    model.save(tmp_path / "m.yaml")
    loaded = NoiseModel.load(tmp_path / "m.yaml")
    assert loaded.document == model.document and loaded.camera == model.camera
    assert "form: two-slope" in (tmp_path / "m.yaml").read_text()
    broken = (tmp_path / "m.yaml").read_text().replace("0.3]", "1.3]")
    (tmp_path / "b.yaml").write_text(broken)
    with pytest.raises(PhotonbitsError, match="slope between 0 and 1"):
        NoiseModel.load(tmp_path / "b.yaml")


def test_mean_of_channels_with_knees():
    def block(knee: float, slope: float) -> dict:
        entry = NonlinearityEntry(
            form="two-slope", coefficients=(knee / 100, slope), std=(0.02, 0.01), scale_dn=100.0, unit="1"
        )
        return {**model_of().document.parameters, "nonlinearity": entry}

    weights = np.array([0.25, 0.75])
    found = average_parameters([block(200.0, 0.2), block(400.0, 0.4)], weights, frozenset())["nonlinearity"]
    assert found.form == "two-slope"
    np.testing.assert_allclose(found.coefficients, [3.5, 0.35])
    np.testing.assert_allclose(found.std, np.hypot(0.25, 0.75) * np.array([0.02, 0.01]))
    straight = {k: v for k, v in block(200.0, 0.2).items() if k != "nonlinearity"}
    assert "nonlinearity" not in average_parameters([block(200.0, 0.2), straight], weights, frozenset())


def test_a_knee_from_the_command_line(tmp_path):
    """Values in, a page and a summary that speak of a knee, and captures with their truth."""
    path = str(tmp_path / "m.yaml")
    values = ["--gain-dn-per-e", "0.9", "--read-noise-e", "4", "--offset-dn", "30", "--bit-depth", "10"]
    done = CliRunner().invoke(main, ["from-values", "-o", path, *values, "--knee-dn", "300"])
    assert done.exit_code != 0 and "both or neither" in done.stderr
    done = CliRunner().invoke(
        main, ["from-values", "-o", path, *values, "--knee-dn", "300", "--slope-beyond-knee", "0.3"]
    )
    assert done.exit_code == 0, done.stderr
    assert NoiseModel.load(path).camera.response.evaluate(np.array(400.0)) == pytest.approx(330.0)
    shown = CliRunner().invoke(main, ["show", path]).stdout
    assert "knee" in shown and "slope beyond the knee" in shown
    folder = tmp_path / "c"
    done = CliRunner().invoke(main, ["simulate", path, "-o", str(folder), "--shape", "8x8", "--levels", "3"])
    assert done.exit_code == 0, done.stderr
    truth = json.loads((folder / "truth.json").read_text())
    assert truth["response"] == {"form": "two-slope", "coefficients": [1.0, 0.3], "scale_dn": 300.0}
    assert max(truth["light_e"]) == pytest.approx(1.10 * (300 + (1023 - 30 - 300) / 0.3) / 0.9, rel=1e-6)
