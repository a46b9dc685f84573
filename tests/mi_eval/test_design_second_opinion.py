"""The audit's second opinion: exact where information is known, above it elsewhere, and told in result and page."""

from dataclasses import replace

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval.design import DesignProblem, optimise
from mi_eval.design.audit import AuditSettings, closed_form_bits, simulate
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.design.second_opinion import second_opinion
from mi_eval.objects import make_prior
from mi_eval.report.design_page import render_design_report
from mi_eval.systems import CircularKernel, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=0.5, offset_dn=100.0, bit_depth=12)


def kernel_problem(read_noise_e=2.0):
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=read_noise_e)
    return DesignProblem(CircularKernel((8, 8), 1.0), make_prior("gaussian_texture", {}), noise, rms_e=4.0)


@pytest.mark.parametrize("read_noise_e", [1.0, 8.0])
def test_gaussian_fields_are_exact_but_for_what_a_sample_covariance_costs(read_noise_e):
    problem = kernel_problem(read_noise_e)
    design = SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(1)))
    charge = simulate(design, problem, 3000, 3).charge_e
    found = second_opinion(problem.noise_model, charge, 8, 3)
    exact = closed_form_bits(design, problem, 8)
    assert exact - 3 * found.std_bits_per_pixel < found.upper_bound_bits_per_pixel < exact + 0.015
    assert "linear" in found.denoisers and not found.of_photons_alone and found.patches == 1200


@pytest.mark.parametrize("kind", ["poisson-gaussian", "gaussian"])
def test_four_scenes_hold_two_bits(kind):
    """Well told apart: log2 4 over 16 pixels, whatever the noise."""
    rng = np.random.default_rng(2)
    scenes = rng.uniform(40, 160, (4, 4, 4))
    charge = scenes[rng.integers(4, size=1500)]
    model = replace_kind(kind)
    found = second_opinion(model, charge, 4, 0)
    assert found.std_bits_per_pixel < 0.006
    assert found.upper_bound_bits_per_pixel == pytest.approx(2 / 16, abs=3 * found.std_bits_per_pixel)
    assert "examples" in found.denoisers and found.of_photons_alone == (kind != "gaussian")


def replace_kind(kind):
    if kind == "gaussian":
        return NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=10.0)
    return SENSOR


def test_independent_pixels_of_two_levels():
    """One bit a pixel where the levels are far apart: more examples than scenes could ever be, so pixel by pixel."""
    charge = np.where(np.random.default_rng(4).random((800, 4, 4)) < 0.5, 5.0, 200.0)
    found = second_opinion(SENSOR, charge, 4, 0)
    assert found.upper_bound_bits_per_pixel == pytest.approx(1.0, abs=0.02)
    assert "pixel" in found.denoisers


def test_result_page_and_flag():
    problem = kernel_problem()
    audit = AuditSettings(frames=64, patch_size=4, i_mmse=True)
    result = optimise(problem, OptimiserSettings(steps=5, restarts=1), audit=audit)
    entry = result.to_dict()["audit"]["after"]["second_opinion"]
    assert set(entry) == {
        "upper_bound_bits_per_pixel",
        "std_bits_per_pixel",
        "of_photons_alone",
        "denoisers",
        "patches",
    }
    assert "linear" in entry["denoisers"]
    page = render_design_report(result, timed=False)
    assert "Upper bound by estimation errors" in page
    shown = page[page.index("Upper bound by estimation errors") :].partition("</tr>")[0]
    assert f"{entry['upper_bound_bits_per_pixel']:.4f}".removeprefix("0") in shown
    low = replace(result.audit_after.second_opinion, upper_bound_bits_per_pixel=-1.0)
    doubted = replace(result, audit_after=replace(result.audit_after, second_opinion=low))
    assert "audit_above_bound" in [code for code, _ in doubted.flags()]
    assert "audit_above_bound" not in [code for code, _ in result.flags()]
