"""Per-pixel parameters: every pixel behaves like a camera of its own."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError

SHAPE = (5, 7)


def maps_of(rng: np.random.Generator, *, read: float | None, offset: float, gain: float | None = None) -> dict:
    maps = {"offset_dn": offset + 2 * rng.standard_normal(SHAPE)}
    if read is not None:
        maps["read_noise_e"] = read * np.exp(0.3 * rng.standard_normal(SHAPE))
    if gain is not None:
        maps["system_gain_dn_per_e"] = gain * (1 + 0.02 * rng.standard_normal(SHAPE))
    return maps


def camera_of(maps: dict | None, *, gain, read, offset, bits=12, **more) -> NoiseModel:
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=offset, bit_depth=bits, maps=maps, **more
    )


def pixel_by_pixel(maps: dict, call, *, gain, read, offset, **more) -> np.ndarray:
    """``call(model of that pixel alone, i, j)`` for every pixel."""
    out = np.empty(SHAPE)
    for i, j in np.ndindex(SHAPE):
        one = camera_of(
            None,
            gain=maps["system_gain_dn_per_e"][i, j] if "system_gain_dn_per_e" in maps else gain,
            read=maps["read_noise_e"][i, j] if "read_noise_e" in maps else read,
            offset=maps["offset_dn"][i, j],
            **more,
        )
        out[i, j] = call(one, i, j)
    return out


CASES = {
    "dim": (dict(gain=0.5, read=3.0, offset=100.0), (0, 50)),
    "bright": (dict(gain=0.5, read=3.0, offset=100.0), (0, 5000)),
    "gain maps": (dict(gain=0.5, read=3.0, offset=100.0), (0, 5000)),
    "at the white clip": (dict(gain=0.5, read=3.0, offset=100.0), (7000, 9000)),
    "at the black clip": (dict(gain=0.5, read=3.0, offset=1.0), (0, 50)),
    "at the full well": (dict(gain=0.5, read=3.0, offset=100.0, full_well_e=3000.0), (2000, 4000)),
    "bent": (dict(gain=0.5, read=3.0, offset=100.0, response={"coefficients": (-0.1,), "scale_dn": 2500.0}), (0, 5000)),
    "no shot noise": (dict(gain=0.5, read=3.0, offset=200.0, kind="gaussian"), (-100, 3000)),
    "no read noise": (dict(gain=1.0, read=0.0, offset=50.0, kind="poisson"), (0, 500)),
    "real values": (dict(gain=0.5, read=3.0, offset=100.0, bits=None), (0, 500)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_pixel_is_a_camera_of_its_own(name):
    camera, light = CASES[name]
    rng = np.random.default_rng(5)
    gain = camera["gain"] if name == "gain maps" else None
    maps = maps_of(rng, read=camera["read"] or None, offset=camera["offset"], gain=gain)
    model = camera_of(maps, **camera)
    y = rng.uniform(*light, SHAPE)
    z = model.sample(y, rng)
    entropy = pixel_by_pixel(maps, lambda m, i, j: m.conditional_entropy_bits(y[i, j]), **camera)
    mean = pixel_by_pixel(maps, lambda m, i, j: m.mean_dn(y[i, j]), **camera)
    variance = pixel_by_pixel(maps, lambda m, i, j: m.variance_dn2(y[i, j]), **camera)
    log_p = pixel_by_pixel(maps, lambda m, i, j: m.log_pmf(z[i, j], y[i, j]), **camera)
    assert np.max(np.abs(model.conditional_entropy_bits(y) - entropy)) < 2e-4
    np.testing.assert_allclose(model.mean_dn(y), mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.variance_dn2(y), variance, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.log_pmf(z, y), log_p, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("gain", "read"), [(0.2, 1.5), (0.5, 0.3), (1.0, 0.2), (0.5, 1.0)])
def test_entropy_where_rounding_is_coarse(gain, read):
    """Offsets are grouped to 1/32 DN: a pixel may be off by the slope over half of that, the mean is not."""
    rng = np.random.default_rng(6)
    camera = dict(gain=gain, read=read, offset=100.0)
    maps = maps_of(rng, read=read, offset=100.0)
    y = rng.uniform(0, 50, SHAPE)
    entropy = pixel_by_pixel(maps, lambda m, i, j: m.conditional_entropy_bits(y[i, j]), **camera)
    error = camera_of(maps, **camera).conditional_entropy_bits(y) - entropy
    assert np.max(np.abs(error)) < 0.03
    assert abs(np.mean(error)) < 2e-4


def test_pixels_without_read_noise_stand_beside_others():
    rng = np.random.default_rng(8)
    camera = dict(gain=1.0, read=1.0, offset=20.0)
    maps = {"offset_dn": np.full(SHAPE, 20.0), "read_noise_e": np.where(rng.random(SHAPE) < 0.4, 0.0, 1.2)}
    model = camera_of(maps, **camera)
    y = rng.uniform(0, 40, SHAPE)
    z = model.sample(y, rng)
    log_p = pixel_by_pixel(maps, lambda m, i, j: m.log_pmf(z[i, j], y[i, j]), **camera)
    entropy = pixel_by_pixel(maps, lambda m, i, j: m.conditional_entropy_bits(y[i, j]), **camera)
    assert np.all(np.isfinite(log_p))
    np.testing.assert_allclose(model.log_pmf(z, y), log_p, rtol=1e-10)
    np.testing.assert_allclose(model.conditional_entropy_bits(y), entropy, atol=2e-4)


def test_saturated_pixels_have_no_entropy_whatever_their_gain():
    maps = maps_of(np.random.default_rng(1), read=3.0, offset=100.0, gain=0.5)
    entropy = camera_of(maps, gain=0.5, read=3.0, offset=100.0).conditional_entropy_bits(np.full(SHAPE, 12_000.0))
    np.testing.assert_allclose(entropy, 0.0, atol=1e-9)


def test_stacks_of_frames_use_the_last_two_axes():
    rng = np.random.default_rng(2)
    maps = maps_of(rng, read=3.0, offset=100.0)
    model = camera_of(maps, gain=0.5, read=3.0, offset=100.0)
    y = rng.uniform(0, 300, (2, 3, *SHAPE))
    for call in (model.mean_dn, model.variance_dn2):
        np.testing.assert_allclose(call(y)[1, 2], call(y[1, 2]), rtol=1e-10)
    assert model.log_pmf(101.0, y).shape == y.shape
    assert model.sample(y, rng).shape == y.shape
    assert model.map_shape == SHAPE


def test_data_of_another_shape_are_refused():
    model = camera_of(maps_of(np.random.default_rng(0), read=3.0, offset=100.0), gain=0.5, read=3.0, offset=100.0)
    for call in (model.mean_dn, model.variance_dn2, model.conditional_entropy_bits, lambda y: model.log_pmf(5, y)):
        with pytest.raises(PhotonbitsError, match=r"\(7, 5\).*\(5, 7\)"):
            call(np.zeros((7, 5)))
    with pytest.raises(PhotonbitsError, match=r"\(5, 7\)"):
        model.sample(np.zeros(5), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ({"offset_dn": np.ones((3, 4)), "read_noise_e": np.ones((4, 3))}, ("(3, 4)", "(4, 3)", "one (height, width)")),
        ({"offset_dn": np.ones(3)}, ("(3,)", "height, width")),
        ({"ofset_dn": np.ones((3, 4))}, ("'ofset_dn'", "offset_dn")),
        ({"read_noise_e": np.full((3, 4), np.nan)}, ("read_noise_e", "12 values", "finite")),
        ({"read_noise_e": np.full((3, 4), -1.0)}, ("read_noise_e is -1", "0 or more")),
        ({"system_gain_dn_per_e": np.zeros((3, 4))}, ("system_gain_dn_per_e is 0", "above 0")),
    ],
)
def test_illegal_maps_are_named(maps, said):
    with pytest.raises(PhotonbitsError) as error:
        camera_of(maps, gain=0.5, read=3.0, offset=100.0)
    assert all(word in str(error.value) for word in said)
