"""Repeated frames in a score: recognised, counted once, checked against the noise model; pattern that is no scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from calibrate import NoiseModel
from mi_eval import estimate_information
from mi_eval.bursts import find_repeats, repeat_doubts
from mi_eval.measurements import cut_patches, frames_from_array, frames_from_paths

CAMERA: dict[str, Any] = {"system_gain_dn_per_e": 0.5, "read_noise_e": 4.0, "offset_dn": 100.0, "bit_depth": 12}


def camera(**changes: Any) -> NoiseModel:
    return NoiseModel.from_parameters(**(CAMERA | changes))


def scene(rng: np.random.Generator, side: int = 96, mean_e: float = 400.0, contrast: float = 0.5) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.5, mode="wrap")
    return mean_e * np.exp(contrast * field / field.std())


def codes(repeats: list[int], seed: int, flicker: float = 0.0, **changes: Any) -> np.ndarray:
    """``repeats`` frames of one scene after the other."""
    rng = np.random.default_rng(seed)
    model = camera(**changes)
    out = []
    for n in repeats:
        light = scene(rng)
        out += [model.sample(light * (1 + flicker * rng.standard_normal()), rng) for _ in range(n)]
    return np.stack(out)


def labels(frames: np.ndarray, model: NoiseModel | None = None, **options: Any) -> list[int]:
    return find_repeats(frames_from_array(frames), model or camera(), **options).scene.tolist()


def test_repeats_are_told_from_other_scenes() -> None:
    assert labels(codes([1, 3, 1, 2], 0)) == [0, 1, 1, 1, 2, 3, 3]
    assert labels(codes([3, 3], 1, flicker=0.05)) == [0, 0, 0, 1, 1, 1]
    assert labels(codes([1] * 6, 2)) == list(range(6))
    # Told by the user instead.
    assert labels(codes([1] * 3, 2), burst=True) == [0, 0, 0]
    assert labels(codes([3], 2), burst=False) == [0, 1, 2]
    # Gain or read noise of the model off by 20 %: a difference of repeats is white all the same.
    assert labels(codes([3, 2], 3), camera(system_gain_dn_per_e=0.42)) == [0, 0, 0, 1, 1]
    assert labels(codes([3, 2], 3), camera(system_gain_dn_per_e=0.6)) == [0, 0, 0, 1, 1]


def test_weak_structure_under_noise_is_still_one_scene() -> None:
    rng = np.random.default_rng(4)
    light = scene(rng, 256, mean_e=100.0, contrast=0.03)  # 3 e- of structure under 11 e- of noise
    frames = np.stack([camera().sample(light, rng) for _ in range(4)])
    assert labels(frames) == [0] * 4
    others = np.stack([camera().sample(scene(rng, 256, mean_e=100.0, contrast=0.03), rng) for _ in range(4)])
    assert labels(others) == [0, 1, 2, 3]


def test_shading_that_all_frames_share_is_no_scene() -> None:
    rng = np.random.default_rng(5)
    shade = 1 - 0.5 * ((np.indices((96, 96)) / 48.0 - 1) ** 2).sum(axis=0) / 2
    frames = np.stack([camera().sample(shade * scene(rng), rng) for _ in range(5)])
    assert labels(frames) == list(range(5))
    flats = np.stack([camera().sample(np.full((96, 96), 300.0), rng) for _ in range(5)])
    assert labels(flats) == list(range(5))


def test_repeats_count_once_for_the_interval() -> None:
    frames = codes([2] * 5, 6)
    found = estimate_information(frames, camera(), patch_size=8)
    assert found.frames == 10 and found.details.per_frame_bits is None
    codes_of = {entry.code: entry.message for entry in found.warnings}
    assert "10 frames show 5 scene(s)" in codes_of["repeated_scenes"] and "few_frames" in codes_of
    block = found.to_dict()["bursts"]
    assert (block["scenes"], block["repeated_frames"]) == (5, 5)
    data = cut_patches(
        frames_from_array(frames), camera(), patch_size=8, seed=0, max_patches=10_000, scene=np.repeat(np.arange(5), 2)
    )
    assert data.n_groups == 5 and data.n_scenes == 5
    one = cut_patches(
        frames_from_array(frames[:4]), camera(), patch_size=8, seed=0, max_patches=10_000, scene=np.zeros(4, dtype=int)
    )
    # Nine parts of one scene; all frames' patches at a place belong to one part.
    assert one.n_groups == 9
    groups = one.patches.frame_index.reshape(4, -1)
    assert np.all(groups == groups[0])


def test_noise_of_repeats_against_the_model() -> None:
    frames = codes([4, 4, 4], 7, flicker=0.02)
    good = find_repeats(frames_from_array(frames), camera())
    assert good.n_scenes == 3 and len(good.ranges) > 8
    assert abs(good.variance_ratio - 1) < 4 * good.variance_ratio_std < 0.04
    assert np.sqrt(np.mean([entry.z**2 for entry in good.ranges])) < 1.7
    assert not {entry.code for entry in repeat_doubts(good, camera())} & {
        "burst_noisier_than_model",
        "burst_quieter_than_model",
    }
    low = camera(system_gain_dn_per_e=0.45)
    doubts = {entry.code for entry in repeat_doubts(find_repeats(frames_from_array(frames), low), low)}
    assert "burst_noisier_than_model" in doubts
    high = camera(read_noise_e=12.0)
    doubts = {entry.code for entry in repeat_doubts(find_repeats(frames_from_array(frames), high), high)}
    assert "burst_quieter_than_model" in doubts


def test_pattern_that_different_scenes_share() -> None:
    rng = np.random.default_rng(8)
    shape = (96, 96)
    maps = {
        "offset_dn": 100.0 + 2.5 * rng.standard_normal(shape),
        "prnu": 0.03 * rng.standard_normal(shape),
    }
    sensor = camera(maps=maps)
    frames = np.stack([sensor.sample((1 + maps["prnu"]) * scene(rng), rng) for _ in range(6)])
    blind = find_repeats(frames_from_array(frames), camera())
    assert blind.n_scenes == 6
    # DSNU 5 e- and PRNU 3 % of about 450 e-: sqrt(2.5^2 + (0.03 * 225)^2) = 7.2 DN.
    assert np.sqrt(blind.pattern_dn2) == pytest.approx(7.2, rel=0.2)
    assert [entry.code for entry in repeat_doubts(blind, camera())] == ["fixed_pattern"]
    aware = find_repeats(frames_from_array(frames), sensor)
    assert aware.pattern_dn2 is None and repeat_doubts(aware, sensor) == ()
    stale = camera(maps={"offset_dn": maps["offset_dn"], "prnu": np.zeros(shape)})
    assert [entry.code for entry in repeat_doubts(find_repeats(frames_from_array(frames), stale), stale)] == [
        "pattern_despite_maps"
    ]
    clean = find_repeats(frames_from_array(codes([1] * 6, 9)), camera())
    assert clean.pattern_dn2 is None


@pytest.mark.slow
def test_a_real_stack_of_one_scene(realdata: Path) -> None:
    """Five frames of stuck beads: noise of 23.3 DN^2 whatever the light, an offset that drifts by 3.4 DN."""
    path = realdata / "trackpy_stuck_stack" / "stuck.tif"
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.1, read_noise_e=47.5, offset_dn=490.0, bit_depth=16)
    found = estimate_information([path], model, density="closed-form", max_patches=400, patch_size=8)
    doubts = {entry.code: entry.message for entry in found.warnings}
    assert "5 frames show 1 scene(s)" in doubts["repeated_scenes"]
    assert {"not_measured", "no_maps", "frames_split"} <= set(doubts)
    assert found.bursts["variance_ratio"] == pytest.approx(1.0, abs=0.05)
    # 1 DN^2 of structure under 23 DN^2 of noise: next to nothing.
    assert -0.1 < found.mutual_information_bits_per_pixel.value < 0.15
    noise = [entry["observed_variance_dn2"] for entry in found.bursts["ranges"]]
    assert np.all((np.array(noise) > 20) & (np.array(noise) < 26))


@pytest.mark.slow
def test_a_real_mosaic_without_header(realdata: Path, tmp_path: Path) -> None:
    raw = realdata / "nikon_bayer_mushfiqulalam" / "DSC_1339_768x512_rggb.raw"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(
        f"root: {raw.parent}\nsensor: {{cfa: RGGB}}\nframes:\n"
        f"  - {{path: {raw.name}, dtype: uint16, byte_order: little, shape: [512, 768]}}\n"
    )
    source = frames_from_paths([manifest])
    assert source.shape == (512, 768)
    one = NoiseModel.from_parameters(system_gain_dn_per_e=0.4, read_noise_e=8.0, offset_dn=600.0, bit_depth=14)
    model = NoiseModel.from_channels(dict.fromkeys(("R", "Gr", "Gb", "B"), one), "RGGB")
    found = estimate_information([manifest], model, density="closed-form", max_patches=200, patch_size=8)
    codes_of = {entry.code for entry in found.warnings}
    assert {"not_measured", "no_maps", "frames_split"} <= codes_of
    assert not codes_of & {"mosaic_unknown_to_model", "cfa_without_channels", "repeated_scenes", "borders_cut"}
    assert 0.5 < found.mutual_information_bits_per_pixel.value < 6.0
    assert "mosaic_unknown_to_model" in {
        entry.code
        for entry in estimate_information([manifest], one, density="closed-form", max_patches=60, patch_size=4).warnings
    }
