"""Scores with a noise model of several channels: patches in phase, a law of light for each channel, exact H(Z|Y)."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from calibrate.sections import tap_layout
from mi_eval import estimate_information
from mi_eval.conditional_entropy import conditional_entropy
from mi_eval.histograms import frame_histograms
from mi_eval.measurements import cut_patches, frames_from_array
from mi_eval.pixel_classes import classify_pixels

SHAPE = (50, 70)
GAINS = {"R": 0.3, "Gr": 0.5, "Gb": 0.52, "B": 0.9}
OFFSETS = {"R": 90.0, "Gr": 100.4, "Gb": 104.0, "B": 130.0}
LIGHT = {"R": 200.0, "Gr": 900.0, "Gb": 900.0, "B": 100.0}


def bayer() -> NoiseModel:
    models = {
        name: NoiseModel.from_parameters(
            system_gain_dn_per_e=GAINS[name], offset_dn=OFFSETS[name], read_noise_e=3.0, bit_depth=12
        )
        for name in GAINS
    }
    return NoiseModel.from_channels(models, "GRBG", shape=SHAPE)


def plane(model: NoiseModel, values: dict[str, float]) -> np.ndarray:
    out = np.zeros(SHAPE)
    for name, section in model.channel_layout.sections.items():
        out[section.index] = values[name]
    return out


@pytest.fixture(scope="module")
def scenes() -> tuple[NoiseModel, np.ndarray, np.ndarray]:
    """Colours of a smooth random scene: charges and codes of 12 frames."""
    model, rng = bayer(), np.random.default_rng(0)
    waves = [np.cumsum(np.cumsum(rng.standard_normal(SHAPE), axis=0), axis=1) for _ in range(12)]
    shade = np.stack([(w - w.mean()) / w.std() for w in waves])
    charge = plane(model, LIGHT) * np.exp(0.4 * shade)
    return model, charge, model.sample(charge, rng)


@pytest.mark.parametrize(("size", "stride"), [(8, 8), (7, 8), (16, 16)])
def test_patches_begin_at_the_same_colour(scenes, size, stride):
    model, _, codes = scenes
    data = cut_patches(frames_from_array(codes), model, patch_size=size, seed=0, max_patches=10_000)
    rows, columns = data.positions[:, 1], data.positions[:, 2]
    assert np.all(rows % 2 == 0) and np.all(columns % 2 == 0)
    assert rows.max() + size <= SHAPE[0] and columns.max() + size <= SHAPE[1]
    per_frame = ((SHAPE[0] - size) // stride + 1) * ((SHAPE[1] - size) // stride + 1)
    assert data.patches.n_patches == 12 * per_frame
    assert len({tuple(row) for row in data.positions}) == data.patches.n_patches
    # Every patch has the same cameras at the same places: what densities need to see light in codes.
    offset, response = data.patches.offset_dn, data.patches.relative_response
    np.testing.assert_array_equal(offset, np.broadcast_to(offset[0], offset.shape))
    expected = plane(model, OFFSETS)[rows[0] : rows[0] + size, columns[0] : columns[0] + size]
    np.testing.assert_array_equal(offset[0], expected)
    gains = plane(model, GAINS)[rows[0] : rows[0] + size, columns[0] : columns[0] + size]
    np.testing.assert_allclose(response[0], gains / np.mean(list(GAINS.values())), rtol=1e-12)


def test_a_plain_model_cuts_as_before(scenes):
    _, _, codes = scenes
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    data = cut_patches(frames_from_array(codes), plain, patch_size=16, seed=0, max_patches=10_000)
    assert np.unique(data.positions[:, 1]).tolist() == [1, 17, 33] and np.unique(data.positions[:, 2])[0] == 3


def entropy_of(model: NoiseModel, codes: np.ndarray):
    classes = classify_pixels(model, codes.shape[1:])
    index = np.broadcast_to(classes.index, codes.shape)
    shift = np.broadcast_to(classes.shift_dn, codes.shape)
    histograms = frame_histograms(codes, np.arange(len(codes)), classes, class_index=index, shift_dn=shift)
    return conditional_entropy(histograms, classes), histograms


def test_conditional_entropy_is_that_of_the_true_charges(scenes):
    """Colours see light of different laws; one law for all would have to explain both."""
    model, charge, codes = scenes
    found, histograms = entropy_of(model, codes)
    truth = float(model.conditional_entropy_bits(charge).mean())
    assert found.identifiable and found.interval_bits[0] <= found.value_bits <= found.interval_bits[1]
    assert found.value_bits == pytest.approx(truth, abs=4 * found.sampling_std_bits + 1e-3)
    assert [law for law, _, _ in found.parts] == [0, 1, 2, 3]
    for (_, share, part), (name, section) in zip(found.parts, model.channel_layout.sections.items(), strict=True):
        assert share == pytest.approx(0.25)
        own = float(model.channel(name).conditional_entropy_bits(charge[(..., *section.index)]).mean())
        assert part.value_bits == pytest.approx(own, abs=4 * part.sampling_std_bits + 2e-3)
    # The influence of all frames averages to the value, and the law to the mean charge.
    assert np.mean(found.frame_influence(histograms)) == pytest.approx(found.value_bits, abs=1e-9)
    assert found.law.weights.sum() == pytest.approx(1.0)
    assert found.law.mean_e == pytest.approx(charge.mean(), rel=0.01)


def test_taps_of_one_camera_score_like_the_camera():
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    layout = tap_layout(1, 2, SHAPE)
    model = NoiseModel.from_channels({name: plain for name in layout.names}, layout)
    rng = np.random.default_rng(1)
    codes = plain.sample(rng.uniform(100, 2000, (8, *SHAPE)), rng)
    found, _ = entropy_of(model, codes)
    histograms = frame_histograms(codes, np.arange(8), classify_pixels(plain))
    one = conditional_entropy(histograms, plain)
    assert found.value_bits == pytest.approx(one.value_bits, abs=3 * one.sampling_std_bits + 1e-3)
    for name, slope in one.parameter_sensitivity_bits.items():
        assert found.parameter_sensitivity_bits[name] == pytest.approx(slope, rel=0.05, abs=1e-3)
    with pytest.raises(PhotonbitsError, match="taps"):
        cut_patches(frames_from_array(codes[:, :40]), model, patch_size=16, seed=0, max_patches=1000)


def test_a_score_of_a_mosaic(scenes):
    model, charge, codes = scenes
    found = estimate_information(codes, model, patch_size=8)
    truth = float(model.conditional_entropy_bits(charge).mean())
    conditional = found.conditional_entropy_bits_per_pixel
    assert conditional.value == pytest.approx(truth, abs=0.01)
    assert found.mutual_information_bits_per_pixel.value > 0
    assert found.marginal_entropy_bits_per_pixel < found.models[0].heldout_bits_per_pixel
    assert found.error_budget_bits_per_pixel["calibration"] == 0.0  # given values have no errors
    assert "noise_model_contradicted" not in {entry.code for entry in found.warnings}
