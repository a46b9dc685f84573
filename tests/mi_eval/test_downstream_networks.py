"""Networks as decoders: what they are given, what they promise, and that they beat the linear estimate."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem
from mi_eval.downstream import Classifier, EvaluationSettings, UNet, Wiener, evaluate_designs
from mi_eval.downstream.reconstruction import PSNR
from mi_eval.downstream.stabilise import Stabiliser
from mi_eval.downstream.unet import fit, make_network, place_channels
from mi_eval.objects import make_prior
from mi_eval.systems import CodedAperture, ColourMosaic, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
FEW = EvaluationSettings(training_frames=200, validation_frames=40, test_frames=100, seeds=(0,))
SHORT = UNet(epochs=6, ssim=False)


def problem_and_designs(system):
    problem = DesignProblem(system, make_prior("cells", {"radius_px": 3.0}), SENSOR, mean_light_e=300.0)
    return problem, {"mask": SystemDesign.of(system, system.start("random", np.random.default_rng(1)))}


@pytest.mark.parametrize("system", [CodedAperture((16, 16), (3, 3)), ColourMosaic((16, 16), 3, 1.0)])
def test_the_network_beats_the_linear_estimate_on_objects_that_are_not_gaussian(system):
    problem, designs = problem_and_designs(system)
    linear, network = (evaluate_designs(designs, problem, d, FEW) for d in (Wiener(ssim=False), SHORT))
    rows = [e.designs[0].seeds[0].per_frame["psnr_db"] for e in (network, linear)]
    gain = PSNR.value(rows[0]) - PSNR.value(rows[1])
    apart = PSNR.influence(rows[0]) - PSNR.influence(rows[1])  # the same test frames
    details = network.designs[0].seeds[0].details
    assert gain > 4 * apart.std() / np.sqrt(apart.size)
    assert details["validation_error"] < details["validation_error_of_linear"]


def test_training_repeats_and_leaves_the_global_generator_alone():
    problem, designs = problem_and_designs(CodedAperture((13, 15), (3, 3)))  # odd sides
    few = EvaluationSettings(training_frames=40, validation_frames=10, test_frames=10, seeds=(0, 1))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    decoder = UNet(epochs=2, ssim=False, linear_start=False)
    first, second = (evaluate_designs(designs, problem, decoder, few) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert first.to_dict(timed=False) == second.to_dict(timed=False)
    values = first.outcomes()["mask"].seed_values
    assert values[0] != values[1]


def test_training_stops_and_keeps_the_best_weights():
    network = make_network(1, 1, 2, 0)
    start = [p.clone() for p in network.parameters()]
    errors = iter([1.0, 3.0, 2.0, 2.0, 2.0, 0.1])
    history = fit(
        network,
        lambda rows: (network(torch.ones(len(rows), 1, 4, 4)) - 1).square().mean(),
        lambda: next(errors),
        20,
        epochs=6,
        patience=4,
        batch=4,
        learning_rate=1e-2,
        seed=0,
    )
    assert history == (1.0, 3.0, 2.0, 2.0, 2.0)
    again = make_network(1, 1, 2, 0)
    once = fit(
        again,
        lambda rows: (again(torch.ones(len(rows), 1, 4, 4)) - 1).square().mean(),
        lambda: 1.0,
        20,
        epochs=6,
        patience=1,
        batch=4,
        learning_rate=1e-2,
        seed=0,
    )
    assert once == (1.0, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(make_network(1, 1, 2, 0).parameters(), start, strict=True))
    with pytest.raises(PhotonbitsError, match="not finite"):
        fit(network, lambda rows: (network(torch.ones(1, 1, 4, 4)) ** 2).sum(), lambda: np.nan, 4, epochs=1,
            patience=1, batch=4, learning_rate=1e-2, seed=0)  # fmt: skip


def test_stabilised_frames_have_even_noise_and_keep_their_dark_pixels():
    problem, _ = problem_and_designs(CodedAperture((16, 16), (3, 3)))
    stabiliser = Stabiliser(problem)
    rng = np.random.default_rng(0)
    for charge in (3.0, 30.0, 1000.0):
        frames = problem.noise_model.sample(np.full(40_000, charge), rng).astype(float)
        # Rounding at K = 0.5 adds 1/12 DN^2 = 1/3 e-^2.
        assert float(stabiliser(torch.from_numpy(frames)).std()) == pytest.approx(1.0, abs=0.06)
    codes = torch.arange(60.0, 3000.0, dtype=torch.float64)
    assert bool((torch.diff(stabiliser(codes)) > 0).all())
    z = torch.tensor([90.0, 99.0, 101.0, 500.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(stabiliser, (z,))


def test_places_in_a_period_have_their_own_channels():
    frame = torch.arange(1.0, 17.0).reshape(1, 4, 4)
    channels = place_channels(frame, 2)
    assert channels.shape == (1, 4, 4, 4)
    assert torch.equal(channels.sum(dim=1), frame)
    assert torch.equal(channels[0, 1, ::2, 1::2], frame[0, ::2, 1::2]) and float(channels[0, 1, 1::2].sum()) == 0


# ---- classes --------------------------------------------------------------------------------------------------


def digits(light_e):
    system = CodedAperture((24, 24), (3, 3))
    prior = make_prior("images", {"name": "digits", "upright": True})
    problem = DesignProblem(system, prior, SENSOR, mean_light_e=light_e)
    return problem, {"pinhole": SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))}


def test_classes_are_told_in_much_light_and_not_in_none():
    """Ten digits of other writers than those learned from; chance is 0.1 and log2(10) bits."""
    few = EvaluationSettings(training_frames=400, validation_frames=100, test_frames=200, seeds=(0,))
    decoder = Classifier(epochs=10, channels=8)
    bright, dark = (evaluate_designs(digits(light)[1], digits(light)[0], decoder, few) for light in (3000.0, 0.01))
    accuracy = [e.outcomes()["pinhole"] for e in (bright, dark)]
    assert accuracy[0].value > 0.75
    assert abs(accuracy[1].value - 0.1) < 4 * accuracy[1].std
    loss = [e.outcomes("log_loss_bits")["pinhole"].value for e in (bright, dark)]
    assert loss[0] < 1.5 and loss[1] == pytest.approx(np.log2(10), abs=0.15)
    small = EvaluationSettings(training_frames=40, validation_frames=20, test_frames=20, seeds=(0,))
    problem, designs = digits(3000.0)
    first, second = (evaluate_designs(designs, problem, Classifier(epochs=2), small) for _ in range(2))
    assert first.to_dict(timed=False) == second.to_dict(timed=False)


def test_objects_without_classes_are_refused():
    problem, designs = problem_and_designs(CodedAperture((16, 16), (3, 3)))
    with pytest.raises(PhotonbitsError, match="without classes"):
        evaluate_designs(designs, problem, Classifier(), FEW)
