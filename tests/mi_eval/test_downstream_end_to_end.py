"""Optics and decoder trained together: limits kept, repeatable, better than where they began."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem
from mi_eval.downstream import EvaluationSettings, Setting, UNet
from mi_eval.downstream.end_to_end import EndToEndSettings, train_end_to_end
from mi_eval.downstream.evaluate import examples
from mi_eval.objects import make_prior
from mi_eval.systems import CircularKernel, CodedAperture, LedArray, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
SMALL = UNet(linear_start=False, ssim=False, channels=6)
QUICK = EndToEndSettings(SMALL, training_objects=64, validation_objects=32, most_epochs=4, start=1)


def mask_problem():
    coins = make_prior("images", {"name": "coins", "shrink": 2})
    return DesignProblem(CodedAperture((12, 12), (3, 3)), coins, SENSOR, mean_light_e=200.0)


def test_training_improves_on_its_start_and_is_tested_on_raw_frames():
    problem = mask_problem()
    found = train_end_to_end(
        problem, EndToEndSettings(SMALL, training_objects=200, validation_objects=64, most_epochs=8, start=1)
    )
    assert min(found.history) < 0.8 * found.history[0]
    settings = EvaluationSettings(training_frames=8, validation_frames=8, test_frames=100, seeds=(0,))
    test = examples(found.design, problem, SMALL, settings, 0)[2]
    decoded = found.trained.decode(test.frames)
    score = SMALL.score(decoded, test, Setting(found.design, problem))["psnr_db"]
    # The squared error of new objects, in variances of the targets, is about that of validation.
    relative = np.mean(score) * test.target_range**2 / test.targets.var()
    assert relative == pytest.approx(min(found.history), rel=0.35)
    start = problem.system.start("conventional", np.random.default_rng(0))["transmission"].numpy()
    assert np.abs(found.design.parameters["transmission"] - start).max() > 0.05


def test_limits_are_kept_and_runs_repeat():
    led = LedArray((20, 20), 0.2, 0.5, 0.4, 0.6, 300.0, 1.0, diodes=5)
    problem = DesignProblem(led, make_prior("images", {"name": "coins", "shrink": 2}), SENSOR)
    before = torch.random.get_rng_state()
    first, second = (train_end_to_end(problem, QUICK) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    power = first.design.parameters["diode_power"]
    assert np.array_equal(power, second.design.parameters["diode_power"]) and first.history == second.history
    assert power.min() >= 0 and power.sum() <= 1 + 1e-9
    signed = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=2.0)
    kernel = DesignProblem(CircularKernel((12, 12), 1.0), make_prior("gaussian_texture", {}), signed, rms_e=4.0)
    found = train_end_to_end(kernel, QUICK)
    assert np.sum(found.design.parameters["kernel"] ** 2) == pytest.approx(1.0)


def test_held_optics_stay_and_the_decoder_learns():
    problem = mask_problem()
    held = SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(3)))
    asked = EndToEndSettings(SMALL, training_objects=100, validation_objects=32, most_epochs=5, design_rate=0.0)
    found = train_end_to_end(problem, asked, start=held)
    assert np.array_equal(found.design.parameters["transmission"], held.parameters["transmission"])
    assert min(found.history) < 0.9 * found.history[0]
    other = CodedAperture((10, 10), (3, 3))
    with pytest.raises(PhotonbitsError, match="another system"):
        train_end_to_end(problem, asked, start=SystemDesign.of(other, other.start("random", np.random.default_rng(3))))


def test_training_stops_when_validation_does_not_improve():
    """With steps that throw everything about, the best epoch is kept and the rest given up."""
    wild = EndToEndSettings(
        UNet(linear_start=False, ssim=False, channels=4, learning_rate=0.3),
        training_objects=32,
        validation_objects=16,
        most_epochs=60,
        patience=2,
    )
    found = train_end_to_end(mask_problem(), wild)
    best = int(np.argmin(found.history))
    assert found.stopped and len(found.history) == best + 1 + 2
    with pytest.raises(PhotonbitsError, match="linear_start=False"):
        EndToEndSettings(UNet())


def test_the_gradient_reaches_the_optics():
    """Against differences of the mean error over many draws of the noise, at a fixed network."""
    from mi_eval.downstream.end_to_end import _Joint

    problem = mask_problem()
    joint = _Joint.start(problem, QUICK)
    generator = torch.Generator().manual_seed(3)
    weights = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 12)))
    objects = joint.objects["training"][:1].expand(4000, -1, -1, -1)

    def mean_square():
        frames = joint.frames(objects, generator.manual_seed(3))
        return ((weights * (frames - 100.0)).sum(dim=(-2, -1)) ** 2).mean()

    joint.parameters = {"transmission": torch.full((3, 3), 0.4, dtype=torch.float64, requires_grad=True)}
    slope = torch.autograd.grad(mean_square(), joint.parameters["transmission"])[0]
    direction = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 3)))
    values = []
    for sign in (1, -1):
        joint.parameters = {"transmission": torch.full((3, 3), 0.4, dtype=torch.float64) + sign * 0.1 * direction}
        with torch.no_grad():
            values.append(float(mean_square()))
    assert float((slope * direction).sum()) == pytest.approx((values[0] - values[1]) / 0.2, rel=0.1)
