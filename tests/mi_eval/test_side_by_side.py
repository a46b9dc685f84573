"""Finished designs beside optics that are trained with their decoder."""

import json

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem
from mi_eval.downstream import EvaluationSettings, UNet
from mi_eval.downstream.end_to_end import EndToEndSettings
from mi_eval.downstream.side_by_side import TOGETHER, Cost, compare_end_to_end
from mi_eval.objects import make_prior
from mi_eval.systems import CodedAperture, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
FRAMES = EvaluationSettings(training_frames=64, validation_frames=32, test_frames=48, seeds=(0, 3))
JOINT = EndToEndSettings(UNet(linear_start=False, ssim=False, channels=4), most_epochs=3, design_rate=0.3)


def problem():
    coins = make_prior("images", {"name": "coins", "shrink": 2})
    return DesignProblem(CodedAperture((12, 12), (3, 3)), coins, SENSOR, mean_light_e=200.0)


def start(mask_shape=(3, 3), seed=1):
    system = CodedAperture((12, 12), mask_shape)
    return SystemDesign.of(system, system.start("random", np.random.default_rng(seed)))


def here(function, tasks):
    return [function(task) for task in tasks]


def test_results_and_costs_stand_side_by_side():
    designs = {"ours": start(), "of another mask": start((2, 2), 2)}
    asked = {"design_costs": {"ours": Cost(7.0, 1e6)}, "runner": here}
    found = compare_end_to_end(designs, problem(), JOINT, FRAMES, **asked)
    first, ours, other = found.standings()
    assert (first.name, ours.name, other.name) == (TOGETHER, "ours", "of another mask")
    assert first.less_together is None and other.design is None and other.whole is None
    # Pairs of one seed and one object: the means are those of the results.
    assert ours.less_together.value == pytest.approx(ours.result.value - first.result.value)
    assert 0 < ours.less_together.std < np.hypot(ours.result.std, first.result.std)
    assert ours.whole.cpu_seconds == pytest.approx(7.0 + ours.training.cpu_seconds)
    assert ours.whole.peak_memory_mb == 1e6 and first.whole == first.training
    # The joint training moved its optics, by seed; those of the designs are as given.
    conventional = problem().system.start("conventional", np.random.default_rng(0))["transmission"].numpy()
    masks = [found.together[seed].parameters["transmission"] for seed in FRAMES.seeds]
    assert all(np.abs(mask - conventional).max() > 0.05 for mask in masks) and not np.array_equal(*masks)
    content = found.to_dict()
    assert [entry["name"] for entry in content["designs"]] == [TOGETHER, "ours", "of another mask"]
    cost = content["designs"][1]["cost"]
    assert cost["seconds_over_together"] == pytest.approx(ours.whole.cpu_seconds / first.training.cpu_seconds)
    assert cost["memory_over_together"] > 1 and len(cost["training"]) == 2
    assert content["designs"][0]["cost"]["seconds_over_together"] == 1.0
    assert content["designs"][0]["training"][0]["epochs"] == 3
    again = compare_end_to_end(designs, problem(), JOINT, FRAMES, **asked)
    plain = json.dumps(again.to_dict(timed=False))
    assert plain == json.dumps(found.to_dict(timed=False)) and "seconds" not in plain and "_mb" not in plain


def test_each_training_has_a_process_of_its_own():
    """What it finds is what is found here; its peak memory is not that of the process that asks."""
    ballast = np.ones(40_000_000)  # 305 MiB, which a child does not hold
    one = EvaluationSettings(training_frames=32, validation_frames=16, test_frames=16, seeds=(0,))
    quick = EndToEndSettings(JOINT.decoder, most_epochs=1)
    apart = compare_end_to_end({"ours": start()}, problem(), quick, one)
    local = compare_end_to_end({"ours": start()}, problem(), quick, one, runner=here)
    assert ballast[0] == 1
    assert apart.to_dict(timed=False) == local.to_dict(timed=False)
    for name, (cost,) in apart.costs.items():
        assert 50 < cost.before_mb <= cost.peak_memory_mb < local.costs[name][0].peak_memory_mb - 150


def test_designs_that_cannot_be_compared_are_refused():
    for designs in ({}, {TOGETHER: start()}):
        with pytest.raises(PhotonbitsError, match="none named"):
            compare_end_to_end(designs, problem(), JOINT, FRAMES, runner=here)
    larger = CodedAperture((14, 12), (3, 3))
    wrong = SystemDesign.of(larger, larger.start("conventional", np.random.default_rng(0)))
    with pytest.raises(PhotonbitsError, match="1 x 14 x 12"):
        compare_end_to_end({"wrong": wrong}, problem(), JOINT, FRAMES, runner=here)
