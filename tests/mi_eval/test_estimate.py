"""The score against known information, at its limits, and with input that does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.estimate import _excess_doubt, information_estimate
from mi_eval.score_parts import ScoreParts
from mi_eval.truth.fields import Correlation

CAMERA: dict[str, Any] = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.0, "bit_depth": 12}


def camera(**changes: Any) -> NoiseModel:
    return NoiseModel.from_parameters(**(CAMERA | changes))


def with_gain_error(model: NoiseModel, relative: float) -> NoiseModel:
    """The model with a covariance that says how well K is known."""
    gain = float(model.camera.system_gain_dn_per_e)
    plain = model.document.to_plain()
    plain["covariance"] = {"names": ["system_gain_dn_per_e"], "matrix": [[(relative * gain) ** 2]]}
    return NoiseModel(model.camera, type(model.document).model_validate(plain), model.maps)


def pixel_information_bits(model: NoiseModel, mean_e: float) -> float:
    """I(Y;Z) of one pixel under gamma(4) light by quadrature over 20,000 equally likely charges."""
    share = (np.arange(20_000) + 0.5) / 20_000
    table = model.code_table(stats.gamma(4, scale=mean_e / 4).ppf(share))
    marginal = np.asarray(table.pmf.mean(axis=0)).ravel()
    marginal = marginal[marginal > 0]
    return float(-(marginal * np.log2(marginal)).sum() - table.entropies_bits().mean())


@pytest.mark.parametrize(("mean_e", "published"), [(20.0, 1.1781), (200.0, 2.7910)])
def test_independent_pixels(mean_e: float, published: float) -> None:
    model = camera()
    truth = pixel_information_bits(model, mean_e)
    assert truth == pytest.approx(published, abs=2e-4)
    rng = np.random.default_rng(5)
    frames = model.sample(rng.gamma(4.0, mean_e / 4.0, (64, 256, 256)), rng)
    estimate = estimate_information(frames, model)
    information = estimate.mutual_information_bits_per_pixel
    assert information.value == pytest.approx(truth, abs=0.02)
    assert abs(information.value - truth) < 4 * information.std
    assert information.std < 0.002
    assert estimate.upper_bound_bits_per_pixel > truth - 4 * information.std
    assert estimate.mean_signal_e == pytest.approx(mean_e, rel=0.01)


def test_flats_carry_no_information() -> None:
    """Even light, no fixed pattern, K known to 0.3 %: 0 lies inside, in each of three seeds fixed in advance."""
    for seed in range(3):
        rng = np.random.default_rng(100 + seed)
        frames = camera().sample(np.full((24, 64, 64), 200.0), rng)
        calibrated = with_gain_error(camera(system_gain_dn_per_e=0.5 * (1 + 0.003 * rng.standard_normal())), 0.003)
        estimate = estimate_information(frames, calibrated, seed=seed, patch_size=8)
        low, high = estimate.mutual_information_bits_per_pixel.ci95
        assert low < 0 < high
        assert high - low < 0.05


def test_fixed_pattern_counts_only_without_maps() -> None:
    rng = np.random.default_rng(3)
    shape = (64, 64)
    maps = {
        "offset_dn": 100.0 + 6.0 * rng.standard_normal(shape),
        "prnu": 0.03 * rng.standard_normal(shape),
        "read_noise_e": 1.5 * np.exp(0.3 * rng.standard_normal(shape)),
    }
    sensor = camera(maps=maps)
    frames = sensor.sample(np.broadcast_to(200.0 * (1.0 + maps["prnu"]), (24, *shape)), rng)
    aware = estimate_information(frames, with_gain_error(sensor, 0.003), patch_size=8)
    blind = estimate_information(frames, camera(offset_dn=float(maps["offset_dn"].mean())), patch_size=8)
    low, high = aware.mutual_information_bits_per_pixel.ci95
    assert low < 0 < high
    assert aware.mutual_information_bits_per_pixel.value < 0.02
    # Every place of the sensor comes back in all frames: which of the 64 it is makes 6 bits a patch, 0.094 a pixel.
    assert blind.mutual_information_bits_per_pixel.ci95[0] > 0.05
    assert "no_maps" in {doubt.code for doubt in blind.warnings}
    assert "no_maps" not in {doubt.code for doubt in aware.warnings}


def gamma_frames(model: NoiseModel, n_frames: int = 8, size: int = 48, seed: int = 1) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return model.sample(rng.gamma(4.0, 10.0, (n_frames, size, size)), rng)


def test_calibration_error_widens_the_interval() -> None:
    frames = gamma_frames(camera())
    sharp = estimate_information(frames, with_gain_error(camera(), 0.0), patch_size=8)
    vague = estimate_information(frames, with_gain_error(camera(), 0.03), patch_size=8)
    # dI/dlnK is about 0.8 bit for light near 40 electrons: +1 % of K costs 0.008.
    assert vague.error_budget_bits_per_pixel["calibration"] == pytest.approx(0.024, rel=0.2)
    assert sharp.error_budget_bits_per_pixel["calibration"] == 0
    assert vague.mutual_information_bits_per_pixel.std > sharp.mutual_information_bits_per_pixel.std
    assert vague.mutual_information_bits_per_pixel.value == sharp.mutual_information_bits_per_pixel.value


def test_whole_offset_shift_changes_nothing() -> None:
    frames = gamma_frames(camera())
    here = estimate_information(frames, camera(), patch_size=8).mutual_information_bits_per_pixel
    there = estimate_information(frames + 37, camera(offset_dn=137.0), patch_size=8).mutual_information_bits_per_pixel
    assert there.value == pytest.approx(here.value, abs=1e-6)


def test_more_bits_without_new_codes_change_nothing() -> None:
    frames = gamma_frames(camera())
    here = estimate_information(frames, camera(), patch_size=8).mutual_information_bits_per_pixel
    deeper = camera(bit_depth=14)
    there = estimate_information(frames, deeper, patch_size=8).mutual_information_bits_per_pixel
    assert there.value == pytest.approx(here.value, abs=1e-6)


def test_order_of_frames_and_axes_changes_no_more_than_the_seed() -> None:
    rng = np.random.default_rng(5)
    field = Correlation(2.5).draw(150, 16, rng)
    field = field + np.roll(field, 1, axis=2)  # smoother along rows than along columns
    frames = camera().sample(60 * np.exp(0.4 * field / field.std()), rng)

    def bits(z: NDArray[Any], seed: int = 0) -> float:
        score = estimate_information(z, camera(), patch_size=8, seed=seed, density="closed-form")
        return score.mutual_information_bits_per_pixel.value

    seeds = [bits(frames, seed) for seed in range(4)]
    spread = float(np.std(seeds, ddof=1))
    for moved in (frames[rng.permutation(len(frames))], np.ascontiguousarray(frames.swapaxes(1, 2))):
        # Either folds anew, as another seed does: the difference of two draws.
        assert abs(bits(moved) - np.mean(seeds)) < 4 * spread
    assert spread < 0.004


def test_one_code_carries_nothing() -> None:
    """Every pixel far above the white clip: nothing is left to measure."""
    frames = np.full((8, 32, 32), 4095, dtype=np.uint16)
    estimate = estimate_information(frames, camera(), patch_size=8)
    assert estimate.marginal_entropy_bits_per_pixel == pytest.approx(0.0, abs=1e-3)
    low, _ = estimate.mutual_information_bits_per_pixel.ci95
    assert low <= 1e-3
    assert estimate.saturated_fraction == 1.0
    assert "saturated" in {doubt.code for doubt in estimate.warnings}


def test_one_frame_is_split_and_says_so() -> None:
    rng = np.random.default_rng(2)
    frame = camera().sample(rng.gamma(4.0, 10.0, (192, 192)), rng)
    estimate = estimate_information(frame, camera(), patch_size=8)
    truth = pixel_information_bits(camera(), 40.0)
    information = estimate.mutual_information_bits_per_pixel
    assert abs(information.value - truth) < max(4 * information.std, 0.02)
    assert estimate.frames == 1
    assert "frames_split" in {doubt.code for doubt in estimate.warnings}


def test_wrong_noise_model_is_noticed() -> None:
    """Half the variance that the model expects at every level: no law of light gives such codes."""
    rng = np.random.default_rng(4)
    frames = camera(read_noise_e=0.5).sample(np.full((8, 48, 48), 20.0), rng)
    estimate = estimate_information(frames, camera(read_noise_e=6.0), patch_size=8)
    assert "noise_model_contradicted" in {doubt.code for doubt in estimate.warnings}


def test_json_has_the_contract_and_is_reproducible() -> None:
    frames = gamma_frames(camera())
    first = estimate_information(frames, camera(), patch_size=8, deterministic=True).to_dict()
    again = estimate_information(frames, camera(), patch_size=8, deterministic=True).to_dict()
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert set(first) >= {
        "mutual_information_bits_per_pixel",
        "upper_bound_bits_per_pixel",
        "lower_bound_bits_per_pixel",
        "slack_bits_per_pixel",
        "marginal_entropy_bits_per_pixel",
        "conditional_entropy_bits_per_pixel",
        "entropy_kind",
        "bits_per_electron",
        "mean_signal_e",
        "frames",
        "patches_used",
        "patch_size",
        "saturated_fraction",
        "models",
        "warnings",
        "noise_model",
        "seed",
        "version",
    }
    assert set(first["mutual_information_bits_per_pixel"]) == {"value", "std", "ci95"}
    assert set(first["conditional_entropy_bits_per_pixel"]) == {"value", "interval", "identifiable"}
    assert first["patches_used"] == 8 * 36
    assert all(set(model) == {"name", "heldout_bits_per_pixel", "weight"} for model in first["models"])
    assert sum(model["weight"] for model in first["models"]) == pytest.approx(1.0)
    estimate = estimate_information(frames, camera(), patch_size=8)
    assert estimate.mutual_information_bits_per_pixel["value"] == estimate.mutual_information_bits_per_pixel.value
    timed = estimate.to_dict()
    assert all(model["seconds"] >= 0 for model in timed["models"])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full((8, 32, 32), 120.5), "type float64"),
        (np.full((8, 32, 32), np.nan), "NaN"),
        (np.full((8, 32, 32), 5000, dtype=np.uint16), "codes from 5000"),
        (np.full((2, 20, 20), 120, dtype=np.uint16), "2 patches"),
        (np.full((8, 12, 12), 120, dtype=np.uint16), "patch size 16"),
        (np.full((8, 2, 32, 32), 120, dtype=np.uint16), r"shape \(8, 2, 32, 32\)"),
    ],
)
def test_frames_that_do_not_fit(frames: NDArray[Any], message: str) -> None:
    with pytest.raises(PhotonbitsError, match=message):
        estimate_information(frames, camera())


def test_frames_in_a_list_and_sizes_that_are_none() -> None:
    frames = gamma_frames(camera())
    listed = estimate_information(list(frames), camera(), patch_size=8)
    stacked = estimate_information(frames, camera(), patch_size=8)
    assert listed.mutual_information_bits_per_pixel == stacked.mutual_information_bits_per_pixel
    with pytest.raises(PhotonbitsError, match=r"patch_size is 4\.5"):
        estimate_information(frames, camera(), patch_size=4.5)  # type: ignore[arg-type]
    with pytest.raises(PhotonbitsError, match="one shape"):
        estimate_information([frames[0], frames[1][:20]], camera())


def test_frames_must_fit_the_maps() -> None:
    sensor = camera(maps={"offset_dn": np.full((40, 40), 100.0)})
    with pytest.raises(PhotonbitsError, match=r"maps of shape \(40, 40\)"):
        estimate_information(np.full((8, 32, 32), 120, dtype=np.uint16), sensor)
    scenes = camera().sample(np.random.default_rng(4).gamma(4.0, 20.0, (8, 48, 48)), np.random.default_rng(5))
    with pytest.raises(PhotonbitsError, match=r"maps of shape \(40, 40\)"):
        estimate_information(scenes, sensor)


def test_a_negative_correction_is_doubted() -> None:
    """The excess of a code is not below 0 but by chance; small chance is no news."""
    assert _excess_doubt(0.04) == _excess_doubt(-0.009) == ()
    (doubt,) = _excess_doubt(-0.05)
    assert doubt.code == "excess_negative" and "-0.050 bit per pixel" in doubt.message


def test_a_large_correction_is_doubted_and_may_be_all_wrong() -> None:
    rng = np.random.default_rng(6)
    frames = camera().sample(rng.gamma(4.0, 20.0, (8, 32, 32)), rng)
    kept: list[ScoreParts] = []
    small = estimate_information(frames, camera(), patch_size=8, density="closed-form", keep=kept.append)
    parts = kept[0]
    moved = 0.2 - float(parts.share @ parts.excess_bits)
    shifted = replace(parts, excess_bits=parts.excess_bits + moved, group_bits=parts.group_bits - moved)
    large = information_estimate(shifted)
    assert "excess_large" in {doubt.code for doubt in large.warnings}
    assert "excess_large" not in {doubt.code for doubt in small.warnings}
    before, after = small.mutual_information_bits_per_pixel, large.mutual_information_bits_per_pixel
    assert after.value == pytest.approx(before.value - moved)
    # The low end follows the correction, the high end ignores all of it.
    assert after.ci95[0] == pytest.approx(before.ci95[0] - moved)
    assert after.ci95[1] == pytest.approx(before.ci95[1] - moved + 0.2)
