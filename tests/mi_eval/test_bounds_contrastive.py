"""InfoNCE below and leave-one-out above, with the known channel, on sources of known information."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bounds import known_channel_bracket, log_likelihood_matrix
from mi_eval.bounds.scores import donsker_varadhan, infonce, leave_one_out, nwj
from mi_eval.truth.registry import make_source


def pairs(source, n, size, seed):
    sample = source.sample(n, size, np.random.default_rng([11, seed]))
    return sample.frames[:n], sample.light_e[:n]


def test_scores_by_hand():
    scores = np.log(np.array([[4.0, 1.0], [2.0, 2.0]]))
    assert infonce(scores).value == pytest.approx(np.mean([np.log(4 / 2.5), np.log(2 / 2)]))
    assert leave_one_out(scores).value == pytest.approx(np.mean([np.log(4 / 1), np.log(2 / 2)]))
    assert nwj(scores, np.zeros(2)).value == pytest.approx(1 + np.mean([np.log(4), np.log(2)]) - np.mean([1.0, 2.0]))
    assert donsker_varadhan(scores).value == pytest.approx(np.mean([np.log(4), np.log(2)]) - np.log(1.5))
    # No scores are better than the best: log N, reached where each pair is certain of itself.
    assert infonce(1e3 * np.eye(50)).value == pytest.approx(np.log(50))
    assert np.isinf(leave_one_out(np.where(np.eye(5) > 0, 0.0, -np.inf)).value)


@pytest.mark.parametrize(
    "model",
    [
        NoiseModel.from_parameters(system_gain_dn_per_e=0.7, read_noise_e=2.0, offset_dn=20, bit_depth=8),
        NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=0.7, read_noise_e=4.0, offset_dn=20),
        NoiseModel.from_parameters(system_gain_dn_per_e=0.7, read_noise_e=2.0, offset_dn=20),
    ],
    ids=["codes", "gaussian", "real"],
)
def test_log_likelihoods_are_sums_of_the_camera_s(model):
    rng = np.random.default_rng(0)
    light = rng.gamma(3.0, 20.0, (7, 6))
    z = model.sample(light, rng)
    expected = np.array([[model.log_pmf(a, b).sum() for b in light] for a in z])
    np.testing.assert_allclose(log_likelihood_matrix(model, z, light), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("case", "size", "n", "seeds"),
    [("photons-2", 2, 400, 4), ("templates-64", 8, 600, 1), ("templates-64-dim", 4, 400, 4)],
)
def test_bracket_holds_the_truth_and_is_worth_reporting(case, size, n, seeds):
    source = make_source(case)
    true = source.information_bits(size)
    found = [known_channel_bracket(source.noise_model, *pairs(source, n, size, seed)) for seed in range(seeds)]

    def mean(name):
        values = [getattr(one, f"{name}_bits_per_pixel") for one in found]
        errors = [getattr(one, f"{name}_std_bits_per_pixel") for one in found]
        return np.mean(values), np.hypot(np.linalg.norm(errors) / seeds, true.std)

    (lower, lower_std), (upper, upper_std) = mean("lower"), mean("upper")
    assert lower < true.value + 3.5 * lower_std
    assert upper > true.value - 3.5 * upper_std
    assert upper - lower < max(0.1 * upper, 0.01)
    for one in found:
        assert one.worth_reporting, one.reason
        assert one.nwj_bits_per_pixel < true.value + 4 * one.nwj_std_bits_per_pixel + 3 * true.std


def test_bounds_hold_in_expectation_and_their_errors_are_honest():
    source = make_source("photons-10")
    true = source.information_bits(2).value
    found = [known_channel_bracket(source.noise_model, *pairs(source, 60, 2, seed)) for seed in range(60)]
    lower = np.array([(f.lower_bits_per_pixel, f.lower_std_bits_per_pixel) for f in found])
    upper = np.array([(f.upper_bits_per_pixel, f.upper_std_bits_per_pixel) for f in found])
    for values in (lower, upper):
        # The scatter of 60 seeds is known to 9 %; influences are a first-order account.
        assert 0.65 < values[:, 1].mean() / values[:, 0].std(ddof=1) < 1.4
    assert lower[:, 0].mean() + 4 * lower[:, 0].std() / np.sqrt(60) < true
    assert upper[:, 0].mean() - 4 * upper[:, 0].std() / np.sqrt(60) > true
    assert np.all(lower[:, 0] <= found[0].cap_bits_per_pixel)


@pytest.mark.parametrize("size", [2, 6])
def test_rich_scenes_meet_the_cap_and_are_not_reported(size):
    source = make_source("gaussian-field")
    found = known_channel_bracket(source.noise_model, *pairs(source, 200, size, 0))
    assert not found.worth_reporting
    assert "number of pairs" in found.reason
    assert found.cap_bits_per_pixel == pytest.approx(np.log2(200) / size**2)
    assert found.lower_bits_per_pixel <= found.cap_bits_per_pixel + 1e-12
    assert found.cap_bits_per_pixel < source.information_bits(size).value


def test_wide_bracket_is_not_reported():
    source = make_source("photons-10")
    found = known_channel_bracket(source.noise_model, *pairs(source, 500, 3, 0))
    assert not found.worth_reporting
    assert "apart, more than" in found.reason


def test_no_information_gives_zero_on_both_sides():
    source = make_source("pure-noise")
    found = known_channel_bracket(source.noise_model, *pairs(source, 100, 4, 0))
    assert found.lower_bits_per_pixel == pytest.approx(0.0, abs=1e-12)
    assert found.upper_bits_per_pixel == pytest.approx(0.0, abs=1e-12)


def test_what_is_refused():
    model = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0, offset_dn=20, bit_depth=8)
    light = np.full((20, 2, 2), 5.0)
    z = np.full(light.shape, 25)
    for arguments, words in (
        ((model, z[:, :1], light), "the same"),
        ((model, z[:5], light[:5]), "16 to 4096"),
        (
            (model.from_parameters(system_gain_dn_per_e=1.0, bit_depth=8, maps={"prnu": np.zeros((2, 2))}), z, light),
            "maps",
        ),
    ):
        with pytest.raises(PhotonbitsError, match=words):
            known_channel_bracket(*arguments)
