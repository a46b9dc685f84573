"""The InfoNCE objective: a lower bound with a cap, its gradients, and what it says near the cap."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bounds import known_channel_bracket
from mi_eval.design import DesignProblem, optimise
from mi_eval.design.audit import closed_form_bits
from mi_eval.design.objectives import make_objective
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.objects import make_prior
from mi_eval.systems import CircularKernel, CodedAperture, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
CELLS = make_prior("cells", {"radius_px": 3.0})


def kernel_problem(read_noise_e):
    noise = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=0.7, read_noise_e=read_noise_e, offset_dn=9.0
    )
    return DesignProblem(CircularKernel((8, 8), 1.0), make_prior("gaussian_texture", {}), noise, rms_e=4.0)


def mask_problem(light_e=30.0):
    return DesignProblem(CodedAperture((16, 16), (3, 3)), CELLS, SENSOR, mean_light_e=light_e)


def random_design(problem, seed=1):
    return SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(seed)))


def infonce(problem, patch_size=4, n_objects=300):
    return make_objective(problem, "infonce", n_objects=n_objects, seed=0, patch_size=patch_size)


def test_gradient_at_fixed_noise():
    problem = kernel_problem(8.0)
    objective = infonce(problem, n_objects=80)
    start = random_design(problem).tensors()["kernel"]
    objective.prepare(3, {"kernel": start})
    leaf = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective.bits({"kernel": leaf}), leaf)
    for i in range(0, leaf.numel(), 5):
        ends = []
        for sign in (1, -1):
            moved = start.clone().reshape(-1)
            moved[i] += sign * 1e-5
            ends.append(float(objective.bits({"kernel": moved.reshape(8, 8)})))
        assert float(gradient.reshape(-1)[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


def test_steps_have_the_exact_channel_of_gaussian_noise():
    """The same scores as the exact matrix, on the same pairs; and a value that is never above the information."""
    problem = kernel_problem(16.0)
    objective = infonce(problem)
    design = random_design(problem)
    objective.prepare(0, design.tensors())
    found = float(objective.bits(design.tensors()))
    charge = objective._charge(objective._objects, design.tensors())
    generator = torch.Generator().manual_seed(objective._noise_seed)
    measured = problem.channel.sample(charge, generator, rounded=False)
    shape = (-1, 4, 4)
    bracket = known_channel_bracket(problem.noise_model, measured.reshape(shape).numpy(), charge.reshape(shape).numpy())
    assert found == pytest.approx(bracket.lower_bits_per_pixel, rel=1e-9)
    exact = closed_form_bits(design, problem, 4)
    value = objective.report(design.tensors())
    # 1024 pairs, under 2 bits a patch: far from the cap of 10, so the bound is tight.
    assert exact - 0.01 < value < exact + 3 * 0.006
    assert objective.cap_bits_per_pixel == pytest.approx(10 / 16)


def test_cameras_with_shot_noise_and_codes():
    """The normal critic of a step comes near the exact probabilities of the report; the gradient reaches the mask."""
    problem = mask_problem()
    objective = infonce(problem, patch_size=3, n_objects=512)
    design = random_design(problem)
    leaf = design.tensors()["transmission"].requires_grad_(True)
    objective.prepare(0, design.tensors())
    bits = objective.bits({"transmission": leaf})
    assert float(bits.detach()) == pytest.approx(objective.report(design.tensors()), abs=0.08)
    (gradient,) = torch.autograd.grad(bits, leaf)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) > 0


def test_poor_frames_are_designed_and_rich_ones_flagged():
    problem = kernel_problem(8.0)
    settings = OptimiserSettings(objective="infonce", steps=60, restarts=1, objects=512, patch_size=4)
    result = optimise(problem, settings)
    exact = [closed_form_bits(design, problem, 4) for design in (result.before, result.after)]
    assert exact[1] > 1.3 * exact[0]
    assert result.surrogate_after <= exact[1] + 0.02
    content = result.to_dict()["surrogate_bits_per_pixel"]
    assert content["cap"] == pytest.approx(10 / 16)
    rich = optimise(kernel_problem(0.5), OptimiserSettings(objective="infonce", steps=1, restarts=1, objects=64))
    assert "near_cap" in [code for code, _ in rich.flags()]
    assert rich.surrogate_after <= rich.surrogate_cap + 1e-12


def test_patches_beyond_the_frame_are_refused():
    with pytest.raises(PhotonbitsError, match="within the frame"):
        infonce(mask_problem(), patch_size=17)
