"""NoiseModel of a sensor with channels: every pixel through its own camera, averages of the whole, files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibrate import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import NoiseModelDocument
from calibrate.sections import cfa_layout, tap_layout

GIVEN = {"read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12, "dark_current_e_per_s": 5.0}
GAINS = {"R": 0.3, "Gr": 0.5, "Gb": 0.52, "B": 0.9}
SHAPE = (6, 8)


def scalar(**changes) -> NoiseModel:
    return NoiseModel.from_parameters(**{"system_gain_dn_per_e": 0.5, **GIVEN, **changes})


def bayer(**extra) -> NoiseModel:
    """Four different cameras: gain, offset, read noise, response and clip."""
    models = {
        "R": scalar(system_gain_dn_per_e=0.3, offset_dn=90.3),
        "Gr": scalar(system_gain_dn_per_e=0.5, read_noise_e=2.0),
        "Gb": scalar(system_gain_dn_per_e=0.52, response={"coefficients": (-0.05,), "scale_dn": 3000.0}),
        "B": scalar(system_gain_dn_per_e=0.9, read_noise_e=4.0, white_clip_dn=3000),
    }
    return NoiseModel.from_channels(models, "RGGB", shape=SHAPE, **extra)


@pytest.fixture(scope="module")
def model() -> NoiseModel:
    return bayer()


def test_every_pixel_goes_through_its_own_camera(model):
    rng = np.random.default_rng(3)
    y = rng.uniform(0, 4000, (3, *SHAPE))
    z = model.sample(y, rng)
    assert z.shape == y.shape and z.dtype == np.uint16
    for name, section in model.channel_layout.sections.items():
        own, index = model.channel(name), (..., *section.index)
        np.testing.assert_array_equal(model.mean_dn(y)[index], own.mean_dn(y[index]))
        np.testing.assert_array_equal(model.variance_dn2(y)[index], own.variance_dn2(y[index]))
        np.testing.assert_array_equal(model.log_pmf(z, y)[index], own.log_pmf(z[index], y[index]))
        np.testing.assert_array_equal(model.conditional_entropy_bits(y)[index], own.conditional_entropy_bits(y[index]))
    assert np.all(z[..., 1::2, 1::2] <= 3000)


def test_samples_have_the_predicted_moments(model):
    y = np.full((4000, *SHAPE), 700.0)
    z = model.sample(y, np.random.default_rng(4)).astype(float)
    mean, variance = model.mean_dn(y[0]), model.variance_dn2(y[0])
    assert np.max(np.abs(z.mean(axis=0) - mean) / np.sqrt(variance / 4000)) < 4.5
    assert np.max(np.abs(z.var(axis=0, ddof=1) / variance - 1)) < 4.5 * np.sqrt(2 / 4000)


def test_probabilities_add_up_and_broadcast(model):
    y = np.full((2, 2), 20.0)
    codes = np.arange(50, 200, dtype=float)[:, None, None]
    log_p = model.log_pmf(codes, y)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=0), 1.0, atol=1e-9)
    entropy = -(np.exp(log_p) * log_p).sum(axis=0) / np.log(2)
    np.testing.assert_allclose(entropy, model.conditional_entropy_bits(y), atol=1e-6)


def test_one_channel_for_all_is_the_plain_model():
    plain = scalar()
    model = NoiseModel.from_channels({name: plain for name in GAINS}, "GBRG", shape=SHAPE)
    y = np.random.default_rng(0).uniform(0, 3000, SHAPE)
    np.testing.assert_array_equal(model.mean_dn(y), plain.mean_dn(y))
    for name in ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s", "white_clip_dn"):
        assert model.parameter(name).value == pytest.approx(plain.parameter(name).value, rel=1e-14)
    assert model.document.sensor.cfa == "GBRG"


def test_averages_are_those_of_the_pixels(model):
    assert model.parameter("system_gain_dn_per_e").value == pytest.approx((0.3 + 0.5 + 0.52 + 0.9) / 4)
    assert model.parameter("offset_dn").value == pytest.approx(100 - 9.7 / 4)
    assert model.parameter("read_noise_e").value == pytest.approx(np.sqrt((9 + 4 + 9 + 16) / 4))
    assert model.parameter("white_clip_dn").value == 4095
    assert model.camera.response.coefficients == (pytest.approx(-0.05 / 4),)
    assert model.with_parameters().channel_layout is None
    taps = tap_layout(1, 3, (4, 10))  # 3, 4 and 3 columns
    uneven = NoiseModel.from_channels(
        {name: scalar(system_gain_dn_per_e=g) for name, g in zip(taps.names, (0.3, 0.6, 0.9), strict=True)}, taps
    )
    assert uneven.parameter("system_gain_dn_per_e").value == pytest.approx((3 * 0.3 + 4 * 0.6 + 3 * 0.9) / 10)


def with_errors(model: NoiseModel, std: dict[str, float], codes=()) -> NoiseModel:
    """The model with standard errors, an uncorrelated covariance, and flags."""
    plain = model.document.to_plain()
    for name, value in std.items():
        plain["parameters"][name]["std"] = value
    plain["covariance"] = {"names": list(std), "matrix": np.diag([v**2 for v in std.values()]).tolist()}
    plain["fit"]["flags"] = [{"code": code, "message": "x"} for code in codes]
    return NoiseModel.from_document(NoiseModelDocument.model_validate(plain))


def test_errors_of_the_averages():
    std = {"system_gain_dn_per_e": 0.01, "offset_dn": 0.2, "read_noise_e": 0.1}
    sizes = {"R": 1.0, "Gr": 2.0, "Gb": 0.5, "B": 1.5}
    models = {
        name: with_errors(scalar(read_noise_e=2.0 + k), {key: s * value for key, value in std.items()})
        for k, (name, s) in enumerate(sizes.items())
    }
    model = NoiseModel.from_channels(models, "RGGB", shape=SHAPE)
    quadrature = np.sqrt(sum(s**2 for s in sizes.values())) / 4
    assert model.parameter("system_gain_dn_per_e").std == pytest.approx(0.01 * quadrature)
    assert model.parameter("offset_dn").std == pytest.approx(0.2 * quadrature)
    read = np.array([2.0, 3.0, 4.0, 5.0])
    slopes = read / 4 / np.sqrt(np.mean(read**2))
    expected = 0.1 * np.sqrt(np.sum((slopes * np.array(list(sizes.values()))) ** 2))
    assert model.parameter("read_noise_e").std == pytest.approx(expected)
    covariance = model.document.covariance
    assert covariance.names == ("system_gain_dn_per_e", "offset_dn", "read_noise_e")
    for name, variance in zip(covariance.names, np.diag(covariance.matrix), strict=True):
        assert np.sqrt(variance) == pytest.approx(model.parameter(name).std)
    # What misses the model misses it everywhere alike, as far as anybody knows: errors add up as they are.
    doubted = dict(models, R=with_errors(scalar(read_noise_e=2.0), std, codes=["over_dispersed"]))
    widened = NoiseModel.from_channels(doubted, "RGGB", shape=SHAPE)
    assert widened.parameter("offset_dn").std == pytest.approx(0.2 * sum(sizes.values()) / 4)
    assert np.sqrt(widened.document.covariance.matrix[1][1]) == pytest.approx(widened.parameter("offset_dn").std)


def test_round_trip_with_maps(tmp_path):
    rng = np.random.default_rng(1)
    layout = cfa_layout("GRBG")
    models, offsets = {}, np.zeros(SHAPE)
    for name, section in layout.sections.items():
        shape = section.shape_in(SHAPE)
        maps = {
            "offset_dn": (100 + rng.standard_normal(shape)).astype(np.float32),
            "prnu": (0.02 * rng.standard_normal(shape)).astype(np.float32),
        }
        models[name] = scalar(system_gain_dn_per_e=GAINS[name], maps=maps)
        offsets[section.index] = maps["offset_dn"]
    model = NoiseModel.from_channels(models, layout, shape=SHAPE)
    model.save(tmp_path / "m.yaml")
    loaded = NoiseModel.load(tmp_path / "m.yaml")
    assert loaded.document.channels == model.document.channels
    assert loaded.document.channel_layout == model.document.channel_layout
    assert loaded.channel_layout == model.channel_layout
    np.testing.assert_array_equal(loaded.maps["offset_dn"], offsets)
    y = rng.uniform(0, 2000, (2, *SHAPE))
    np.testing.assert_allclose(loaded.mean_dn(y), model.mean_dn(y), rtol=1e-12)
    np.testing.assert_allclose(model.mean_dn(y)[:, 0, 1], offsets[0, 1] + 0.3 * y[:, 0, 1], atol=0.01)
    assert model.channel("R").maps is None
    np.testing.assert_array_equal(model.channel("R", maps=True).maps["offset_dn"], offsets[0::2, 1::2])
    with pytest.raises(PhotonbitsError, match="maps"):
        model.mean_dn(np.zeros((4, 4)))


def test_frames_of_other_sizes(model):
    larger = model.mean_dn(np.full((2, 10, 12), 100.0))
    np.testing.assert_array_equal(larger[1, :6, :8], model.mean_dn(np.full(SHAPE, 100.0)))
    odd = model.mean_dn(np.full((1, 3), 100.0))
    np.testing.assert_array_equal(odd[0], larger[0, 0, :3])
    for wrong in (5.0, np.zeros(7)):
        with pytest.raises(PhotonbitsError, match="channels"):
            model.mean_dn(wrong)
    taps = NoiseModel.from_channels({n: scalar() for n in tap_layout(1, 2, SHAPE).names}, tap_layout(1, 2, SHAPE))
    with pytest.raises(PhotonbitsError, match=r"\(6, 8\)"):
        taps.sample(np.zeros((8, 6)), np.random.default_rng(0))
    with pytest.raises(PhotonbitsError, match="minimum -1"):
        model.mean_dn(np.full(SHAPE, -1.0))


def test_wrong_channels_are_refused(model, tmp_path):
    with pytest.raises(PhotonbitsError, match="channel 'G'") as caught:
        model.channel("G")
    assert "Gr" in caught.value.legal
    with pytest.raises(PhotonbitsError, match="no channels"):
        scalar().channel("R")
    with pytest.raises(PhotonbitsError, match="models of channels"):
        NoiseModel.from_channels({"R": scalar()}, "RGGB")
    mixed = {**{name: scalar() for name in GAINS}, "B": scalar(bit_depth=14)}
    with pytest.raises(PhotonbitsError, match="bit_depth 12, 14"):
        NoiseModel.from_channels(mixed, "RGGB", shape=SHAPE)
    plain = model.document.to_plain()
    plain["channel_layout"]["sections"]["B"]["rows"] = [0, None, 2]
    with pytest.raises(PhotonbitsError, match="channels"):
        NoiseModel.from_document(NoiseModelDocument.model_validate(plain))
    del plain["channel_layout"]["sections"]["B"]
    with pytest.raises(ValueError, match="sections"):
        NoiseModelDocument.model_validate(plain)
    plain = model.document.to_plain()
    del plain["channels"]["R"]["offset_dn"]
    with pytest.raises(ValueError, match=r"channels\.R\.offset_dn is missing"):
        NoiseModelDocument.model_validate(plain)


def test_report_of_a_sensor_with_channels(model):
    from calibrate.report import render_report

    page = render_report(model)
    assert "RGGB" in page and all(name in page for name in GAINS)


def test_a_record_replaced_keeps_the_channels(model, tmp_path):
    moved = replace(model, path=tmp_path / "x.yaml")
    assert moved.channel_layout == model.channel_layout
    assert moved.channel("B").camera == model.channel("B").camera
