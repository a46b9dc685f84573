"""The score as a function of the number of scenes, and what a score says about its scenes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval import estimate_information
from mi_eval.report import render_score_report
from mi_eval.truth.independent import IndependentPixels
from mi_eval.truth.laws import GammaLight

CAMERA = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100.0, bit_depth=12)


def test_points_agree_with_the_truth_at_every_number() -> None:
    source = IndependentPixels("gamma", "", CAMERA, GammaLight(4.0, 20.0))
    frames = source.sample(32, 16, np.random.default_rng(0)).frames
    found = estimate_information(
        frames, CAMERA, patch_size=4, seed=1, with_learning_curve=True, density="closed-form", deterministic=True
    )
    assert [(point.frames, point.patches) for point in found.learning_curve] == [(8, 128), (16, 256), (32, 512)]
    truth = source.information_bits(4).value
    for point in found.learning_curve:
        assert abs(point.value - truth) < 4 * point.std
        assert point.std == pytest.approx(found.mutual_information_bits_per_pixel.std, rel=0.4)
    assert found.learning_curve[-1].value == found.mutual_information_bits_per_pixel.value
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["learning_curve"][0].keys() == {"frames", "patches", "value", "std"}
    assert "Learning curve" in render_score_report(content, found.details)
    plain = estimate_information(frames, CAMERA, patch_size=4, seed=1, density="closed-form", deterministic=True)
    assert "learning_curve" not in plain.to_dict()
    assert {**content, "learning_curve": None} == {**json.loads(json.dumps(plain.to_dict())), "learning_curve": None}


def test_points_without_enough_frames_are_left_out() -> None:
    frames = CAMERA.sample(np.random.default_rng(1).gamma(4.0, 5.0, (9, 16, 16)), np.random.default_rng(2))
    found = estimate_information(
        frames, CAMERA, patch_size=4, with_learning_curve=True, density="closed-form", deterministic=True
    )
    assert [point.frames for point in found.learning_curve] == [4, 9]  # 9 // 2, rounded to even


@pytest.mark.parametrize(
    ("kinds", "times", "codes"),
    [(3, 8, {"few_scenes"}), (10, 3, {"scenes_alike"}), (24, 1, set()), (1, 6, set())],
)
def test_repeated_scenes_are_warned_of(kinds: int, times: int, codes: set[str]) -> None:
    rng = np.random.default_rng(kinds)
    light = np.tile(rng.gamma(4.0, 20.0, (kinds, 16, 16)), (times, 1, 1))
    found = estimate_information(
        CAMERA.sample(light, rng), CAMERA, patch_size=8, density="closed-form", deterministic=True
    )
    assert found.effective_scenes == pytest.approx(kinds, rel=0.15)
    assert {doubt.code for doubt in found.warnings} & {"few_scenes", "scenes_alike"} == codes
    assert found.to_dict()["effective_scenes"] == found.effective_scenes
