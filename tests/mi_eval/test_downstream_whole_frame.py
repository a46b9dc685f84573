"""Linear reconstruction from whole frames: against its closed form, and its targets."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval.design import DesignProblem
from mi_eval.objects import make_prior

torch = pytest.importorskip("torch")

from mi_eval.downstream import EvaluationSettings, WholeFrame, evaluate_designs  # noqa: E402
from mi_eval.systems import Interferometer, SystemDesign  # noqa: E402


def test_error_is_that_of_the_closed_form():
    """Gaussian skies through visibilities: C - C A^T (A C A^T + 1)^-1 A C, with the forward model as a matrix A."""
    system = Interferometer(
        shape=(8, 8),
        cell_arcsec=4e-6,
        wavelength_m=0.87e-3,
        antennas=4,
        largest_baseline_m=1.2e7,
        closest_spacing_m=3e5,
        system_temperature_k=150.0,
        effective_area_m2=75.0,
        bandwidth_hz=2e9,
        integration_s=10.0,
    )
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)
    problem = DesignProblem(system, make_prior("gaussian_texture", {"corner": 0.1}), noise, rms_jy=0.03)
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    decoder = WholeFrame(ssim=False)
    found = evaluate_designs({"y": design}, problem, decoder, EvaluationSettings(4000, 500, 1500))
    cells = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    matrix = system.forward(cells, design.tensors()).numpy().reshape(64, -1).T
    power = problem.known_spectrum()
    covariance = np.fft.ifft2(np.fft.fft2(np.eye(64).reshape(64, 8, 8)) * power).real.reshape(64, 64)
    gain = covariance @ matrix.T @ np.linalg.inv(matrix @ covariance @ matrix.T + np.eye(len(matrix)))
    left = np.trace(covariance - gain @ matrix @ covariance) / 64
    before = np.trace(covariance) / 64
    assert left < 0.7 * before
    best = -10 * np.log10(left / problem.scale**2 / found.target_range**2)
    outcome = found.outcomes("psnr_db")["y"]
    assert outcome.value == pytest.approx(best, abs=0.1)
    assert outcome.value < best + 4 * outcome.std
