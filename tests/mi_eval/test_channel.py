"""The torch twin against the numpy noise model: one contract over many cameras, and its gradients."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.channel import Channel

KNEE = {"coefficients": (0.6, 0.3), "scale_dn": 500.0}
CURVE = {"coefficients": (-0.04, -0.02), "scale_dn": 900.0}
MAPS = {
    "system_gain_dn_per_e": 0.5 * (1 + 0.1 * np.sin(np.arange(12.0))).reshape(3, 4),
    "read_noise_e": np.linspace(1.2, 6.0, 12).reshape(3, 4),
    "offset_dn": 50 + np.linspace(-3.2, 4.1, 12).reshape(3, 4),
    "prnu": np.linspace(-0.02, 0.02, 12).reshape(3, 4),
    "dark_current_e_per_s": np.linspace(0.1, 2.0, 12).reshape(3, 4),
}
CAMERAS = {
    "plain": {"system_gain_dn_per_e": 0.5, "read_noise_e": 2.3, "offset_dn": 100.3, "bit_depth": 12},
    "coarse": {"system_gain_dn_per_e": 0.07, "read_noise_e": 1.5, "offset_dn": 10.4, "bit_depth": 8},
    "steep": {"system_gain_dn_per_e": 8.0, "read_noise_e": 0.3, "offset_dn": 20.0, "bit_depth": 16},
    "clipped": {
        "system_gain_dn_per_e": 0.3,
        "read_noise_e": 3.0,
        "offset_dn": 1.2,
        "bit_depth": 10,
        "black_clip_dn": 1,
        "white_clip_dn": 200,
    },
    "curved": {
        "system_gain_dn_per_e": 0.9,
        "read_noise_e": 2.0,
        "offset_dn": 30.0,
        "bit_depth": 12,
        "response": CURVE,
    },
    "two slopes": {
        "system_gain_dn_per_e": 0.9,
        "read_noise_e": 2.0,
        "offset_dn": 30.0,
        "bit_depth": 12,
        "response": {"form": "two-slope", **KNEE},
    },
    "real two slopes": {
        "system_gain_dn_per_e": 0.8,
        "read_noise_e": 1.5,
        "offset_dn": 4.0,
        "response": {"form": "two-slope", **KNEE},
    },
    "full well": {
        "system_gain_dn_per_e": 0.9,
        "read_noise_e": 2.0,
        "offset_dn": 30.0,
        "bit_depth": 12,
        "full_well_e": 700.0,
    },
    "noiseless read": {"system_gain_dn_per_e": 0.4, "read_noise_e": 0.0, "offset_dn": 5.0, "bit_depth": 10},
    "poisson codes": {"kind": "poisson", "system_gain_dn_per_e": 1.7, "offset_dn": 3.0, "bit_depth": 12},
    "poisson lattice": {"kind": "poisson", "system_gain_dn_per_e": 1.7, "offset_dn": 3.0},
    "gaussian codes": {
        "kind": "gaussian",
        "system_gain_dn_per_e": 0.6,
        "read_noise_e": 4.0,
        "offset_dn": 200.0,
        "bit_depth": 10,
    },
    "gaussian real": {"kind": "gaussian", "system_gain_dn_per_e": 2.0, "read_noise_e": 1.5, "offset_dn": -3.0},
    "real": {"system_gain_dn_per_e": 2.0, "read_noise_e": 1.5, "offset_dn": -3.0},
    "real curved": {"system_gain_dn_per_e": 0.8, "read_noise_e": 1.5, "offset_dn": 4.0, "response": CURVE},
    "gaussian curved": {
        "kind": "gaussian",
        "system_gain_dn_per_e": 0.8,
        "read_noise_e": 9.0,
        "offset_dn": 4.0,
        "response": CURVE,
    },
    "maps": {
        "system_gain_dn_per_e": 0.5,
        "read_noise_e": 2.3,
        "offset_dn": 50.0,
        "bit_depth": 12,
        "maps": MAPS,
        "dark_current_e_per_s": 1.0,
    },
}


def charges(model: NoiseModel) -> np.ndarray:
    grid = np.array([0.0, 0.2, 3.0, 17.5, 60.0, 150.0, 333.3, 480.0, 641.0, 702.0, 800.0, 1100.0])
    if model.camera.kind == "gaussian":
        grid = grid - 120.0
    return grid.reshape(3, 4)


def codes(model: NoiseModel, y: np.ndarray) -> np.ndarray:
    """Likely codes, unlikely ones 12 standard deviations away, the clips, and impossible ones."""
    sample = model.sample(y, np.random.default_rng(5)).astype(float)
    away = np.round(sample + 12 * np.sqrt(model.variance_dn2(y) + 1e-3))
    if model.camera.kind == "poisson" and model.bit_depth is None:
        away = sample + 1.7 * 40
    edges = [model.camera.black_clip_dn, model.camera.white_clip_dn, model.camera.white_clip_dn + 1.0, 10.5]
    return np.stack([sample, away, *(np.full(y.shape, float(edge)) for edge in edges)])


@pytest.mark.parametrize("name", CAMERAS)
def test_twin_agrees_with_the_noise_model(name: str):
    model = NoiseModel.from_parameters(**CAMERAS[name])
    channel = Channel(model)
    y = charges(model)
    t = torch.tensor(y)
    np.testing.assert_allclose(channel.mean_dn(t).numpy(), model.mean_dn(y), rtol=1e-9)
    np.testing.assert_allclose(channel.variance_dn2(t).numpy(), model.variance_dn2(y), rtol=1e-6, atol=1e-10)
    z = codes(model, y)
    mine, theirs = channel.log_pmf(torch.tensor(z), t).numpy(), model.log_pmf(z, y)
    assert np.array_equal(np.isneginf(mine), np.isneginf(theirs))
    assert np.isfinite(theirs[0]).all()
    some = np.isfinite(theirs)
    np.testing.assert_allclose(mine[some], theirs[some], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", CAMERAS)
def test_gradients_are_those_of_the_noise_model(name: str):
    """Autograd of the twin against central differences of the numpy model."""
    model = NoiseModel.from_parameters(**CAMERAS[name])
    channel = Channel(model)
    y = charges(model)
    y = np.where(y == 0, 0.4, y)
    step = 1e-4 * np.maximum(1.0, np.abs(y))
    z = model.sample(y, np.random.default_rng(6)).astype(float)
    for mine, theirs in (
        (channel.mean_dn, model.mean_dn),
        (channel.variance_dn2, model.variance_dn2),
        (lambda t: channel.log_pmf(torch.tensor(z), t), lambda q: model.log_pmf(z, q)),
    ):
        t = torch.tensor(y, requires_grad=True)
        (mine(t) + 0.0 * t).sum().backward()
        difference = (theirs(y + step) - theirs(y - step)) / (2 * step)
        # Where shot noise meets a clip or a well the third derivative of the moments makes the difference worse.
        scale = np.maximum(np.abs(difference), 1e-3 * np.max(np.abs(difference)) + 1e-8)
        assert np.max(np.abs(t.grad.numpy() - difference) / scale) < 2e-4


def test_density_has_a_gradient_in_the_measurement():
    model = NoiseModel.from_parameters(**CAMERAS["real curved"])
    channel, y = Channel(model), charges(model) + 1.0
    z = model.sample(y, np.random.default_rng(1))
    t = torch.tensor(z, requires_grad=True)
    channel.log_pmf(t, torch.tensor(y)).sum().backward()
    difference = (model.log_pmf(z + 1e-3, y) - model.log_pmf(z - 1e-3, y)) / 2e-3
    np.testing.assert_allclose(t.grad.numpy(), difference, rtol=1e-3, atol=1e-6)


def test_analytic_noise_is_the_exact_variance_away_from_the_clips():
    for name in ("plain", "steep", "gaussian codes", "real", "gaussian real"):
        model = NoiseModel.from_parameters(**CAMERAS[name])
        y = np.array([60.0, 150.0, 300.0])
        gain = model.camera.system_gain_dn_per_e
        found = Channel(model).noise_variance_e2(torch.tensor(y)).numpy()
        np.testing.assert_allclose(found, model.variance_dn2(y) / gain**2, rtol=2e-3 if name == "plain" else 1e-3)
    t = torch.tensor([100.0], dtype=torch.float64, requires_grad=True)
    Channel(NoiseModel.from_parameters(**CAMERAS["plain"])).noise_variance_e2(t).backward()
    assert t.grad.item() == pytest.approx(1.0)


@pytest.mark.parametrize("shot_noise", ["poisson", "normal"])
def test_samples_have_the_moments_and_their_gradients(shot_noise: str):
    """Mean and second moment of samples, and pathwise gradients of both, within 4.5 standard errors of the exact."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.8, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    channel, level, n = Channel(model), 120.0, 200_000
    generator = torch.Generator().manual_seed(3)
    y = torch.full((n,), level, dtype=torch.float64, requires_grad=True)
    z = channel.sample(y, generator, shot_noise=shot_noise)
    assert torch.equal(z.detach(), torch.round(z.detach()))
    exact = torch.tensor([level], dtype=torch.float64, requires_grad=True)
    mean, variance = channel.mean_dn(exact), channel.variance_dn2(exact)
    for values, truth in ((z, mean), ((z - mean.item()) ** 2, variance + (mean - mean.item()) ** 2)):
        (slope,) = torch.autograd.grad(values.sum(), y, retain_graph=True)
        (true_slope,) = torch.autograd.grad(truth.sum(), exact, retain_graph=True)
        for found, expected in ((values.detach(), truth.item()), (slope, true_slope.item())):
            error = found.std().item() / np.sqrt(n) + 1e-12
            assert abs(found.mean().item() - expected) < 4.5 * error


def test_poisson_samples_are_exact_draws():
    channel = Channel(NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=12))
    y = torch.full((100_000,), 0.7, dtype=torch.float64)
    z = channel.sample(y, torch.Generator().manual_seed(0)).numpy()
    share = np.bincount(z.astype(int), minlength=8)[:4] / z.size
    expected = np.exp(channel.noise_model.log_pmf(np.arange(4.0), 0.7))
    assert np.all(np.abs(share - expected) < 4.5 * np.sqrt(expected / z.size))


def test_charge_and_full_well():
    model = NoiseModel.from_parameters(**CAMERAS["maps"])
    light = torch.full((2, 3, 4), 100.0, dtype=torch.float64)
    expected = 100.0 * (1 + MAPS["prnu"]) + 3.0 * MAPS["dark_current_e_per_s"]
    np.testing.assert_allclose(Channel(model).charge_e(light, 3.0).numpy()[1], expected)
    np.testing.assert_allclose(Channel(model, maps=False).charge_e(light, 3.0).numpy()[1], 103.0)
    assert Channel(NoiseModel.from_parameters(**CAMERAS["full well"])).full_well_e == pytest.approx(700.0)
    assert Channel(NoiseModel.from_parameters(**CAMERAS["clipped"])).full_well_e == pytest.approx((199.5 - 1.2) / 0.3)
    assert Channel(NoiseModel.from_parameters(**CAMERAS["real"])).full_well_e is None


def test_bad_charge_and_channels_are_refused():
    channel = Channel(NoiseModel.from_parameters(**CAMERAS["plain"]))
    for bad in (torch.tensor([-1.0], dtype=torch.float64), torch.tensor([np.nan], dtype=torch.float64)):
        with pytest.raises(PhotonbitsError, match="electrons"):
            channel.mean_dn(bad)
    with pytest.raises(PhotonbitsError, match="float64"):
        channel.mean_dn(torch.tensor([1.0], dtype=torch.float32))
    one = NoiseModel.from_parameters(**CAMERAS["plain"])
    colour = NoiseModel.from_channels(dict.fromkeys(("R", "Gr", "Gb", "B"), one), "RGGB")
    with pytest.raises(PhotonbitsError, match=r"channel\(name\)"):
        Channel(colour)
    assert Channel(colour.channel("R")).full_well_e is not None
