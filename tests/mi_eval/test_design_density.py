"""The density objective: its gradients, its honesty, and what it must not hide."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem, optimise, water_filling
from mi_eval.design.ascent import ascend, begin
from mi_eval.design.audit import Audit, closed_form_bits
from mi_eval.design.config import load_config
from mi_eval.design.context import psf_side_px
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.objectives import make_objective
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.objects import make_prior
from mi_eval.systems import (
    CircularKernel,
    CodedAperture,
    ColourMosaic,
    Interferometer,
    LedArray,
    SystemDesign,
    make_system,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "design"
SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
GAUSSIAN = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=2.0)
CELLS = make_prior("cells", {"radius_px": 3.0})

AUDIT = Audit(
    value=0.0,
    std=0.01,
    ci95=(0.0, 0.0),
    undecided_bits_per_pixel=(0.0, 0.0),
    upper_bound_bits_per_pixel=0.0,
    closed_form_bits_per_pixel=None,
    mean_light_e=10.0,
    high_charge_e=50.0,
    above_full_well_fraction=0.0,
    density_models=(),
    warnings=(),
    frames=100,
    patch_size=8,
    seed=0,
    cpu_seconds=0.0,
)


def kernel_problem(noise=GAUSSIAN):
    return DesignProblem(CircularKernel((8, 8), 1.0), make_prior("gaussian_texture", {}), noise, rms_e=4.0)


def mask_problem():
    return DesignProblem(CodedAperture((16, 16), (3, 3)), CELLS, SENSOR, mean_light_e=200.0)


def random_design(problem, seed=1):
    return SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(seed)))


def density(problem, n_objects=512, patch_size=8, seed=0):
    return make_objective(problem, "density", n_objects=n_objects, seed=seed, patch_size=patch_size)


def test_gradient_at_fixed_density_and_noise():
    """Central differences in every entry of the kernel; the noise of a step is the same at every call."""
    problem = kernel_problem()
    objective = density(problem, 128)
    start = random_design(problem).tensors()["kernel"]
    with pytest.raises(PhotonbitsError, match="not prepared"):
        objective.bits({"kernel": start})
    objective.prepare(0, {"kernel": start})
    leaf = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(objective.bits({"kernel": leaf}), leaf)
    for i in range(0, leaf.numel(), 5):
        ends = []
        for sign in (1, -1):
            moved = start.clone().reshape(-1)
            moved[i] += sign * 1e-5
            ends.append(float(objective.bits({"kernel": moved.reshape(8, 8)})))
        assert float(gradient.reshape(-1)[i]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-7)


def test_gradient_is_that_of_the_information():
    """Gaussian frames: where the density fits, the mean gradient over batches is that of the closed form."""
    problem = kernel_problem()
    objective = density(problem, 4096)
    start = random_design(problem).tensors()["kernel"]
    exact = make_objective(problem, "spectral", n_objects=16, seed=0, patch_size=8)
    gradients = []
    for one, steps in ((objective, range(0, 60, 5)), (exact, range(1))):
        total = torch.zeros((8, 8), dtype=torch.float64)
        for step in steps:
            one.prepare(step, {"kernel": start})
            leaf = start.clone().requires_grad_(True)
            total += torch.autograd.grad(one.bits({"kernel": leaf}), leaf)[0] / len(steps)
        gradients.append(total.flatten())
    cosine = torch.dot(*gradients) / torch.linalg.norm(gradients[0]) / torch.linalg.norm(gradients[1])
    assert float(cosine) > 0.97
    assert float(torch.linalg.norm(gradients[0]) / torch.linalg.norm(gradients[1])) == pytest.approx(1.0, abs=0.1)


def test_design_is_near_the_optimum_and_the_value_is_honest():
    problem = kernel_problem()
    best = water_filling(problem.known_spectrum(), 4.0, 1.0).bits_per_mode
    settings = OptimiserSettings(objective="density", steps=150, restarts=1, objects=1024, learning_rate=0.5)
    result = optimise(problem, settings)
    exact = closed_form_bits(result.after, problem, 8)
    assert exact > 0.98 * best
    for value in (result.surrogate_after, result.fresh_after):
        assert -0.01 < value - exact < 0.01
    assert result.surrogate_before == pytest.approx(closed_form_bits(result.before, problem, 8), abs=0.01)
    assert [code for code, _ in result.flags()] == []


def test_small_patches_are_flagged():
    """Pairs of pixels cannot see what an 8 x 8 kernel does: the value is above the truth, and a flag says so."""
    problem = kernel_problem()
    settings = OptimiserSettings(objective="density", steps=1, restarts=1, objects=128, patch_size=2)
    result = optimise(problem, settings, start=random_design(problem))
    assert result.surrogate_after > closed_form_bits(result.after, problem, 8) + 0.01
    assert "context_too_small" in [code for code, _ in result.flags()]


def test_a_resumed_ascent_ends_alike():
    problem = kernel_problem()
    settings = OptimiserSettings(objective="density", steps=60, objects=128)
    held = {}
    with deterministic_torch():
        first = begin(problem.system, 0, 1)
        whole = ascend(
            problem.system,
            settings.objective_for(problem, 0),
            first,
            steps=60,
            learning_rate=1.0,
            save=lambda state: held.setdefault(state.step, state),
        )
        resumed = ascend(problem.system, settings.objective_for(problem, 0), held[50], steps=60, learning_rate=1.0)
    assert np.array_equal(whole.best["kernel"], resumed.best["kernel"]) and whole.best_value == resumed.best_value
    assert np.array_equal(whole.best["kernel"], whole.parameters["kernel"])
    with pytest.raises(PhotonbitsError, match="divisor of 50"):
        OptimiserSettings(refit_every=3)


def test_camera_codes():
    """Shot noise and codes: hardly any light holds no information; with light, a step is a little above the report."""
    dark = DesignProblem(CodedAperture((16, 16), (3, 3)), CELLS, SENSOR, mean_light_e=0.5)
    # A sky of 0.5 e- against 2 e-: below 0.5 log2(1 + 0.3/4.8) for a contrast of about 1.
    assert -0.005 < density(dark, 256).report(random_design(dark).tensors()) < 0.02
    problem = mask_problem()
    design = random_design(problem)
    objective = density(problem, 1024)
    value = objective.report(design.tensors())
    objective.prepare(0, design.tensors())
    leaf = design.tensors()["transmission"].requires_grad_(True)
    bits = objective.bits({"transmission": leaf})
    # Fewer frames to fit, and a broad normal instead of the histogram, cost some of these cells' 1.5 bit.
    assert -0.03 < float(bits.detach()) - value < 0.15
    (gradient,) = torch.autograd.grad(bits, leaf)
    assert bool(torch.isfinite(gradient).all()) and float(gradient.abs().max()) > 0


def test_a_value_above_the_audit_is_flagged():
    """Cells are no Gaussians, whatever their contrast: what other densities find shows it."""
    problem = mask_problem()
    settings = OptimiserSettings(objective="density", steps=0, restarts=1, objects=64)
    result = optimise(problem, settings, start=random_design(problem))
    audit = replace(AUDIT, value=result.surrogate_after - 0.1, ci95=(0.0, result.surrogate_after - 0.05))
    flagged = replace(result, audit_before=audit, audit_after=audit)
    assert "above_audit" in [code for code, _ in flagged.flags()]
    near = replace(audit, ci95=(0.0, result.surrogate_after))
    assert "above_audit" not in [code for code, _ in replace(flagged, audit_after=near).flags()]


def test_noise_entropy_is_interpolated_with_its_slope():
    objective = density(mask_problem(), 64)
    charge = torch.linspace(0.0, 300.0, 257, dtype=torch.float64, requires_grad=True)
    found = objective._noise_bits(charge)
    expected = float(np.mean(SENSOR.conditional_entropy_bits(charge.detach().numpy())))
    assert float(found.detach()) == pytest.approx(expected, abs=1e-4)
    (slope,) = torch.autograd.grad(found * 257, charge)
    # Far above the read noise h(y) is half log2 of y + 4 + 1/3, plus a constant.
    assert float(slope[128]) == pytest.approx(0.5 / np.log(2) / (float(charge.detach()[128]) + 4.33), rel=0.02)


def test_widths_of_point_spread_functions():
    problem = mask_problem()
    open_mask = SystemDesign.of(problem.system, {"transmission": torch.ones((3, 3), dtype=torch.float64)})
    assert psf_side_px(open_mask) == 3
    pinhole = torch.zeros((3, 3), dtype=torch.float64)
    pinhole[0, 2] = 1.0
    assert psf_side_px(SystemDesign.of(problem.system, {"transmission": pinhole})) == 1
    mosaic = ColourMosaic((8, 8), 3, 1.0)
    assert psf_side_px(SystemDesign.of(mosaic, mosaic.start("random", np.random.default_rng(0)))) == 1
    led = LedArray((16, 16), 0.3, 0.6, 0.4, 0.6, light_e=200.0, power=0.8, diodes=3)
    assert 3 <= psf_side_px(SystemDesign.of(led, led.start("conventional", np.random.default_rng(0)))) < 16
    array = Interferometer(
        shape=(8, 8),
        cell_arcsec=0.02,
        wavelength_m=0.06,
        largest_baseline_m=3e5,
        system_temperature_k=40.0,
        effective_area_m2=300.0,
        bandwidth_hz=1e8,
        antennas=3,
        closest_spacing_m=1e3,
        integration_s=1.0,
    )
    assert psf_side_px(SystemDesign.of(array, array.start("conventional", np.random.default_rng(0)))) is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_see_their_point_spread_function(path):
    """Every example of a full covariance starts with patches that hold what its conventional optics spread."""
    document = load_config(path).document
    system = make_system(document.system.name, document.system.rest())
    side = psf_side_px(SystemDesign.of(system, system.start("conventional", np.random.default_rng(0))))
    if document.optimiser.objective == "spectral":
        assert system.transfer(system.start("conventional", np.random.default_rng(0))) is not None
    elif side is not None:
        assert side <= system.patch_size(document.optimiser.patch_size)


def test_what_a_density_cannot_use_is_refused():
    with pytest.raises(PhotonbitsError, match="64 or more"):
        density(mask_problem(), 32)
    mosaic = DesignProblem(ColourMosaic((12, 12), 3, 1.0), CELLS, SENSOR, mean_light_e=50.0)
    with pytest.raises(PhotonbitsError, match="multiples of 2"):
        density(mosaic, 64, patch_size=5)
    with pytest.raises(PhotonbitsError, match="within the frame"):
        density(mosaic, 64, patch_size=14)
