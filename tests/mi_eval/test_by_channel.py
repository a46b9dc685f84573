"""Mosaics: density models that tell channels apart, the score against its truth, and channels on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.density import PatchSet, fit_closed_form, place_classes
from mi_eval.density.by_channel import ChannelScale
from mi_eval.frame_source import frames_from_array
from mi_eval.per_channel import _within

#: Gain DN/e-, offset DN, read noise e-, mean light e-.
CHANNELS = {
    "R": (0.3, 90.0, 3.0, 60.0),
    "Gr": (0.5, 100.4, 2.5, 200.0),
    "Gb": (0.52, 104.0, 2.5, 200.0),
    "B": (0.9, 130.0, 4.0, 30.0),
}


def mosaic(shape: tuple[int, int]) -> NoiseModel:
    models = {
        name: NoiseModel.from_parameters(system_gain_dn_per_e=k, offset_dn=b, read_noise_e=r, bit_depth=12)
        for name, (k, b, r, _) in CHANNELS.items()
    }
    return NoiseModel.from_channels(models, "RGGB", shape=shape)


def shoot(model: NoiseModel, n: int, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Independent pixels, gamma(4) light with the mean of each colour."""
    rng = np.random.default_rng(seed)
    light = np.empty((n, *shape))
    for name, section in model.channel_layout.sections.items():
        part = light[(slice(None), *section.index)]
        part[:] = rng.gamma(4.0, CHANNELS[name][3] / 4, part.shape)
    return model.sample(light, rng)


def pixel_information_bits(model: NoiseModel, mean_e: float) -> float:
    """I(Y;Z) of one pixel by quadrature over 20,000 equally likely charges."""
    share = (np.arange(20_000) + 0.5) / 20_000
    table = model.code_table(stats.gamma(4, scale=mean_e / 4).ppf(share))
    marginal = np.asarray(table.pmf.mean(axis=0)).ravel()
    marginal = marginal[marginal > 0]
    return float(-(marginal @ np.log2(marginal)) - table.entropies_bits().mean())


@pytest.mark.slow
def test_four_channels_of_different_gains_score_the_truth() -> None:
    shape = (64, 64)
    model = mosaic(shape)
    own = {name: pixel_information_bits(model.channel(name), CHANNELS[name][3]) for name in CHANNELS}
    truth = float(np.mean(list(own.values())))
    found = estimate_information(shoot(model, 12, shape, seed=0), model, per_channel=True, density="closed-form")
    information = found.mutual_information_bits_per_pixel
    assert information.value == pytest.approx(truth, abs=0.02)
    assert information.ci95[0] < truth < information.ci95[1]
    channels = found.to_dict()["channels"]
    assert list(channels) == ["R", "Gr", "Gb", "B"]
    for name, entry in channels.items():
        bits = entry["mutual_information_bits_per_pixel"]
        assert bits["value"] == pytest.approx(own[name], abs=4 * bits["std"] + 0.01)
        assert entry["patch_size"] == 8 and entry["patches_used"] == 12 * 16
        assert entry["mean_signal_e"] == pytest.approx(CHANNELS[name][3], rel=0.05)
        assert "seed" not in entry and "channels" not in entry


def patch_set(**changes: Any) -> PatchSet:
    """Colours that share one smooth scene, at different brightness and contrast."""
    rng = np.random.default_rng(1)
    scene = np.cumsum(rng.standard_normal((300, 4, 4)), axis=2) + rng.standard_normal((300, 4, 1))
    places = place_classes(4, (2, 2))
    light = np.array([200.0, 500.0, 400.0, 100.0])[places] + np.array([5.0, 12.0, 9.0, 3.0])[places] * scene
    codes = np.clip(np.round(light + 2 * rng.standard_normal(light.shape)), 0, 1023).astype(np.int64)
    options: dict[str, Any] = {
        "codes": codes,
        "frame_index": np.arange(300),
        "noise_variance_dn2": 4.0,
        "black_clip_dn": 0.0,
        "white_clip_dn": 1023.0,
        "place_class": places,
    }
    return PatchSet(**(options | changes))


def test_codes_keep_their_cells_and_channels_get_one_scale() -> None:
    patches = patch_set()
    scale = ChannelScale.of(patches)
    scaled = scale.apply(patches)
    value, places = scaled.value_dn, patches.place_class
    means = [value[:, places == channel].mean() for channel in range(4)]
    sds = [value[:, places == channel].std() for channel in range(4)]
    np.testing.assert_allclose(means, patches.value_dn.mean(), rtol=1e-9)
    np.testing.assert_allclose(sds, np.exp(np.mean(np.log(scale.sd_dn))), rtol=1e-9)
    assert scaled.lower_dn[patches.codes == 0].size == 0 and scaled.codes is patches.codes
    # Own offsets and responses of the pixels stay in.
    rng = np.random.default_rng(2)
    offset, response = rng.normal(0, 3, patches.codes.shape), rng.uniform(0.9, 1.1, patches.codes.shape)
    uneven = patch_set(offset_dn=offset, relative_response=response)
    own = ChannelScale.of(uneven)
    expected = (uneven.value_dn - own.mean_dn[places]) / own.sd_dn[places]
    expected = expected * np.exp(np.mean(np.log(own.sd_dn))) + own.mean_dn.mean()
    np.testing.assert_allclose(own.apply(uneven).value_dn, expected, atol=1e-9)


def test_every_family_is_a_code_and_colours_that_share_a_scene_help() -> None:
    patches = patch_set()
    train, validation = patches.take(np.arange(200)), patches.take(np.arange(200, 250))
    test = patches.take(np.arange(250, 300))
    together = {fitted.name: fitted for fitted in fit_closed_form(train, validation, 0)}
    assert next(iter(together)) == "channel_histograms" and len(together) == 7
    # The first pixel over all codes: its probabilities sum to 1.
    every = np.repeat(test.codes[:1], 1024, axis=0)
    every[:, 0, 0] = np.arange(1024)
    whole = patch_set(codes=every, frame_index=np.zeros(1024, dtype=np.int64))
    for name, fitted in together.items():
        bits = fitted.pixel_code_length_bits(whole)[:, 0]
        assert np.sum(2.0**-bits) == pytest.approx(1.0, abs=1e-6), name
        low, high = fitted.conditional_cdf(test)
        assert np.all((low >= 0) & (low < high) & (high <= 1 + 1e-9)), name
        own = fitted.code_length_bits(test)
        np.testing.assert_allclose(fitted.pixel_code_length_bits(test).sum(axis=1), own, rtol=1e-9)
    lengths = {name: float(fitted.code_length_bits(test).mean()) for name, fitted in together.items()}
    assert lengths["stationary_gaussian"] < lengths["channel_histograms"] - 4
    blind = dict(
        (fitted.name, float(fitted.code_length_bits(patch_set(place_class=None).take(np.arange(250, 300))).mean()))
        for fitted in fit_closed_form(
            patch_set(place_class=None).take(np.arange(200)), patch_set(place_class=None).take(np.arange(200, 250)), 0
        )
    )
    assert lengths["stationary_gaussian"] < blind["stationary_gaussian"] - 8
    assert lengths["channel_histograms"] < blind["code_histogram"] - 8


def test_places_of_channels() -> None:
    assert place_classes(8, (1, 1)) is None and place_classes(8, (8, 8)) is None
    assert place_classes(5, (1, 2)).tolist() == [[0, 1, 0, 1, 0]] * 5


def test_channels_of_a_model_that_names_its_filters_alone() -> None:
    shape = (32, 32)
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, offset_dn=100.0, read_noise_e=3.0, bit_depth=12)
    document = plain.document.model_copy(update={"sensor": plain.document.sensor.model_copy(update={"cfa": "GRBG"})})
    model = NoiseModel(plain.camera, document)
    rng = np.random.default_rng(3)
    frames = plain.sample(rng.gamma(4.0, 50.0, (8, *shape)), rng)
    found = estimate_information(frames, model, patch_size=8, per_channel=True, density="closed-form")
    assert set(found.channels) == {"R", "Gr", "Gb", "B"}
    assert "cfa_without_channels" in {entry.code for entry in found.warnings}
    with pytest.raises(PhotonbitsError, match="knows no channels"):
        estimate_information(frames, plain, patch_size=8, per_channel=True, density="closed-form")


def test_a_channel_of_frames_and_its_exposed_part() -> None:
    model = mosaic((10, 12))
    frames = np.arange(2 * 10 * 12).reshape(2, 10, 12)
    section = model.channel_layout.sections["Gb"]
    source = frames_from_array(frames).take(section.index)
    assert source.shape == (5, 6)
    np.testing.assert_array_equal(np.stack(list(source)), frames[:, 1::2, ::2])
    # Rows 3 to 8 and columns 1 to 11 hold rows 3, 5, 7 and columns 2, 4 ... 10 of this colour.
    assert _within((3, 9, 1, 12), section, source.shape) == (1, 4, 1, 6)
