"""Per-pixel maps: classes of pixels, and a map's own error counted as noise."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.conditional_entropy import conditional_entropy
from mi_eval.histograms import FrameHistograms, frame_histograms
from mi_eval.pixel_classes import PixelClasses, classify_pixels

SHAPE = (128, 128)


def _camera(gain: float, read: float, seed: int, **extra: np.ndarray) -> NoiseModel:
    """Log-normal read noise with 5 % of hot pixels up to ten times noisier; offsets of 3 DN."""
    rng = np.random.default_rng(seed)
    hot = np.where(rng.random(SHAPE) < 0.05, rng.uniform(1, 10, SHAPE), 1.0)
    maps = {
        "read_noise_e": read * np.exp(np.abs(0.1 * rng.standard_normal(SHAPE))) * hot,
        "offset_dn": 100 + 3 * rng.standard_normal(SHAPE),
        **extra,
    }
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=100.0, bit_depth=12, maps=maps
    )


def _count(classes: PixelClasses, z: np.ndarray) -> FrameHistograms:
    return frame_histograms(
        z,
        np.arange(z.shape[0]),
        classes,
        class_index=np.broadcast_to(classes.index, z.shape),
        shift_dn=np.broadcast_to(classes.shift_dn, z.shape),
    )


@pytest.mark.parametrize(
    ("gain", "read", "mean"), [(0.5, 1.5, 2.0), (0.5, 1.5, 40.0), (0.7, 1.1, 3.0), (2.0, 3.0, 20.0)]
)
def test_heavy_tailed_read_noise(gain: float, read: float, mean: float) -> None:
    model = _camera(gain, read, 41)
    rng = np.random.default_rng(42)
    y = rng.gamma(4, mean / 4, (12, *SHAPE))
    classes = classify_pixels(model)
    histograms = _count(classes, model.sample(y, rng))
    result = conditional_entropy(histograms, classes)
    assert result.identifiable
    assert result.law is not None and 0 < result.law.deviance < 1.5 * result.law.n_occupied
    truth = float(model.conditional_entropy_bits(y).mean())
    assert abs(result.value_bits - truth) < 0.002
    assert result.frame_influence(histograms).mean() == pytest.approx(result.value_bits, abs=1e-9)


def test_phases_only_where_noise_is_coarse() -> None:
    fine = classify_pixels(_camera(0.4, 1.5, 43))
    coarse = classify_pixels(_camera(2.0, 3.0, 43))
    phases = {int(8 * (float(m.camera.offset_dn) % 1)) for m in fine.models}
    assert len(phases) >= 4
    assert 5 * len(coarse.models) < 2 * len(fine.models)
    assert np.all(coarse.index >= 0)
    assert np.max(np.abs(np.asarray(coarse.shift_dn) - np.round(coarse.shift_dn))) == 0


def test_a_maps_own_error_is_noise() -> None:
    exact = classify_pixels(_camera(1.0, 2.0, 44))
    rough = classify_pixels(_camera(1.0, 2.0, 44, offset_dn_std=np.full(SHAPE, 1.5)))
    a = np.array([float(m.camera.read_noise_e) for m in exact.models]).min()
    b = np.array([float(m.camera.read_noise_e) for m in rough.models]).min()
    assert b == pytest.approx(np.hypot(a, 1.5), rel=0.05)
    assert classify_pixels(_camera(1.0, 2.0, 44, prnu_std=np.full(SHAPE, 0.01))).response_error == pytest.approx(0.01)


def test_response_error_enters_the_entropy() -> None:
    error, level = 0.02, 300.0
    model = _camera(1.0, 2.0, 45, prnu_std=np.full(SHAPE, error))
    rng = np.random.default_rng(46)
    y = np.full((6, *SHAPE), level)
    classes = classify_pixels(model)
    z = model.sample(y * (1 + error * rng.standard_normal(y.shape)), rng)
    value = conditional_entropy(_count(classes, z), classes).value_bits
    r2 = np.square(model.maps["read_noise_e"])  # type: ignore[index]
    gain_in_bits = 0.5 * np.log2(1 + (error * level) ** 2 / (level + r2 + 1 / 12)).mean()
    assert value - model.conditional_entropy_bits(y[0]).mean() == pytest.approx(gain_in_bits, abs=0.003)


def test_pixels_without_finite_maps_are_left_out() -> None:
    offset = np.full(SHAPE, 100.0)
    offset[0, 0] = np.nan
    model = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    object.__setattr__(model, "maps", {"offset_dn": offset})
    classes = classify_pixels(model)
    assert classes.index is not None and classes.index[0, 0] == -1
    z = np.full((1, *SHAPE), 110)
    assert _count(classes, z).counts.sum() == z.size - 1
    with pytest.raises(PhotonbitsError, match="per-pixel maps"):
        frame_histograms(z, [0], classes)


def test_real_values_with_maps() -> None:
    rng = np.random.default_rng(47)
    offset = 20 + 5 * rng.standard_normal(SHAPE)
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=20.0, maps={"offset_dn": offset}
    )
    y = rng.gamma(4, 5, (6, *SHAPE))
    classes = classify_pixels(model)
    result = conditional_entropy(_count(classes, model.sample(y, rng)), classes)
    flat = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0)
    grid = np.linspace(0, 120, 300)
    truth = np.interp(y, grid, flat.conditional_entropy_bits(grid)).mean()
    assert abs(result.value_bits - truth) < 0.002
