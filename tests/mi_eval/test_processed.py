"""Frames whose noise is not the model's: honest ones pass, processed ones are refused, wrong models draw warnings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy import ndimage

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.cli import main
from mi_eval.frame_source import frames_from_array
from mi_eval.processed import check_noise, noise_check


def camera(**changes):
    values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12} | changes
    return NoiseModel.from_parameters(**values)


def steps(rng, mean_e, shape=(8, 192, 192)):
    """Rectangles of even light."""
    light = np.full(shape, mean_e)
    for frame in light:
        for _ in range(12):
            top, left = rng.integers(0, shape[1] - 20, 2)
            frame[top : top + 60, left : left + 60] = mean_e * rng.uniform(0.3, 2.0)
    return light


def codes_of(found):
    return [doubt.code for doubt in found.doubts()]


HONEST = {
    "usual": (camera(), 100.0),
    "dim": (camera(system_gain_dn_per_e=1.0), 2.0),
    "very dim": (camera(system_gain_dn_per_e=1.0, read_noise_e=0.3), 0.5),
    "counting": (camera(kind="poisson", system_gain_dn_per_e=1.0, read_noise_e=0.0, offset_dn=0.0), 3.0),
    "coarse": (camera(system_gain_dn_per_e=0.1), 100.0),
    "bent": (camera(response={"coefficients": [-0.1], "scale_dn": 200.0}), 150.0),
    "clipping": (camera(bit_depth=8), 250.0),
    "thermal": (camera(kind="gaussian", read_noise_e=10.0), 100.0),
}


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("scene", ["steps", "flat", "white"])
def test_honest_frames_raise_no_doubt(name, scene):
    model, mean_e = HONEST[name]
    rng = np.random.default_rng(11)
    light = {
        "steps": lambda: steps(rng, mean_e),
        "flat": lambda: np.full((8, 192, 192), mean_e),
        "white": lambda: rng.gamma(4.0, mean_e / 4, (8, 192, 192)),
    }[scene]()
    assert codes_of(noise_check(frames_from_array(model.sample(light, rng)), model)) == []


def test_maps_and_mosaics_are_honest_too():
    rng = np.random.default_rng(12)
    shape = (192, 192)
    maps = {
        "offset_dn": 100.0 + 4.0 * rng.standard_normal(shape),
        "read_noise_e": 2.0 * np.exp(0.5 * rng.standard_normal(shape)),
    }
    mapped = camera(maps=maps)
    assert codes_of(noise_check(frames_from_array(mapped.sample(steps(rng, 40.0), rng)), mapped)) == []
    gains = {"R": 0.3, "Gr": 0.5, "Gb": 0.5, "B": 0.8}
    mosaic = NoiseModel.from_channels(
        {name: camera(system_gain_dn_per_e=gain) for name, gain in gains.items()}, "RGGB", shape=shape
    )
    filters = np.tile([[0.4, 1.0], [1.0, 0.3]], (96, 96))
    codes = mosaic.sample(steps(rng, 60.0) * filters, rng)
    assert codes_of(noise_check(frames_from_array(codes), mosaic)) == []
    # A model without channels does not make a mosaic look demosaiced.
    assert "demosaiced" not in codes_of(noise_check(frames_from_array(codes), camera()))


@pytest.mark.parametrize(
    ("changes", "mean_e", "expected"),
    [
        ({"system_gain_dn_per_e": 0.56}, 100.0, ["quieter_than_model"]),
        ({"read_noise_e": 4.0}, 10.0, ["quieter_than_model"]),
        ({"system_gain_dn_per_e": 1.5}, 100.0, ["processed"]),
        ({"kind": "gaussian", "read_noise_e": 30.0}, 100.0, ["processed"]),
    ],
)
def test_models_of_more_noise_are_contradicted(changes, mean_e, expected):
    rng = np.random.default_rng(13)
    codes = camera().sample(steps(rng, mean_e), rng)
    assert codes_of(noise_check(frames_from_array(codes), camera(**changes))) == expected


def test_flat_parts_tell_of_more_noise_than_the_model_has():
    rng = np.random.default_rng(14)
    flat = camera(read_noise_e=4.0).sample(np.full((8, 192, 192), 10.0), rng)
    found = noise_check(frames_from_array(flat), camera())
    assert codes_of(found) == ["noisier_than_model"]
    assert found.flat_ratio == pytest.approx((10 + 16 + 1 / 3) / (10 + 4 + 1 / 3), rel=0.08)


def smoothed(z):
    return np.round(ndimage.gaussian_filter(z.astype(float), (0, 0.7, 0.7)))


def median(z):
    return ndimage.median_filter(z, (1, 3, 3))


def demosaiced(z):
    place = np.indices(z.shape[1:]).sum(axis=0) % 2 == 0
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    return np.where(place, z, np.round(np.stack([ndimage.convolve(f * place.astype(float), ring) for f in z])))


@pytest.mark.parametrize("process", [smoothed, median, demosaiced])
def test_processed_frames_are_refused_unless_accepted(process):
    rng = np.random.default_rng(15)
    frames = frames_from_array(process(camera().sample(steps(rng, 100.0), rng)).astype(np.uint16))
    with pytest.raises(PhotonbitsError, match="demosaiced" if process is demosaiced else "denoised"):
        check_noise(frames, camera(), accept_processed=False)
    said = [doubt.code for doubt in check_noise(frames, camera(), accept_processed=True)]
    assert "processed" in said
    assert ("demosaiced" in said) == (process is demosaiced)


def test_row_noise_does_not_hide_in_the_detail():
    """Row noise beside a model without it: diagonal differences are blind to it."""
    rng = np.random.default_rng(16)
    light = steps(rng, 100.0)
    noisy = camera().sample(light + 5.0 * np.abs(rng.standard_normal((8, 192, 1))), rng)
    assert noise_check(frames_from_array(noisy), camera()).quiet_ratio == pytest.approx(1.0, abs=0.1)


def test_the_command_refuses_and_accepts(tmp_path):
    camera().save(tmp_path / "sensor.yaml")
    rng = np.random.default_rng(17)
    for number, frame in enumerate(smoothed(camera().sample(steps(rng, 100.0, (6, 64, 64)), rng)).astype(np.uint16)):
        tifffile.imwrite(tmp_path / f"{number}.tif", frame)
    files = [str(path) for path in sorted(tmp_path.glob("*.tif"))]
    words = ["score", *files, "--noise-model", str(tmp_path / "sensor.yaml"), "--patch-size", "8", "--json"]
    words += ["--density", "closed-form"]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1 and refused.stdout == ""
    assert "--accept-processed" in refused.stderr
    accepted = CliRunner().invoke(main, [*words, "--accept-processed"])
    assert accepted.exit_code == 0, accepted.stderr
    assert "processed" in {entry["code"] for entry in json.loads(accepted.stdout)["warnings"]}
