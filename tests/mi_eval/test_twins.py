"""Digital twins: a proper law of codes, a truth that closed forms confirm, scores that find it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import toeplitz

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.density.camera import camera_table
from mi_eval.density.gaussian import Innovations
from mi_eval.score_parts import ScoreParts
from mi_eval.twin_source import TwinSource
from mi_eval.twins import score_twins


def gaussian_twin(
    model: NoiseModel, sides: tuple[float, float], size: int, signal_dn2: float, mean: float
) -> TwinSource:
    """Twin of one Gaussian field with exponential correlations."""
    lag = toeplitz(np.exp(-np.arange(size) / 1.5))
    noise = float(model.variance_dn2(np.array([mean]))[0])
    covariance = signal_dn2 * np.kron(lag, lag) + noise * np.eye(size**2)
    table = camera_table(model, *sides, own_cells=False)
    mean_dn = np.full(size**2, mean * float(model.camera.system_gain_dn_per_e))
    none = np.empty((0, size**2), dtype=np.int64)
    return TwinSource(
        "full_gaussian", model, table, np.ones(1), (Innovations.of(mean_dn, covariance),), none, None, size
    )


def test_probabilities_of_all_patches_add_up() -> None:
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, bit_depth=3, offset_dn=1.0)
    twin = gaussian_twin(model, (0.0, 7.0), 2, 1.5, 5.0)
    every = np.array(list(itertools.product(range(8), repeat=4))).reshape(-1, 2, 2)
    probability = 2.0 ** -twin.surprise_bits(every)
    assert probability.sum() == pytest.approx(1, abs=1e-6)
    drawn, _ = twin.draw(20_000, np.random.default_rng(0))
    # Means and neighbours' covariance of drawn patches are those of the law.
    expected = np.einsum("n,ni->i", probability, every.reshape(-1, 4))
    np.testing.assert_allclose(drawn.reshape(-1, 4).mean(axis=0), expected, atol=0.06)
    product = float(probability @ (every[:, 0, 0] * every[:, 0, 1]))
    assert float(np.mean(drawn[:, 0, 0].astype(float) * drawn[:, 0, 1])) == pytest.approx(product, rel=0.02)


def test_the_truth_of_a_bright_field_is_the_closed_form() -> None:
    """Signal-independent noise: I = log2 det(covariance)/det(noise) / (2 D)."""
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=4.0, bit_depth=12, offset_dn=500.0
    )
    twin = gaussian_twin(model, (200.0, 2000.0), 4, 400.0, 600.0)
    codes, rows = twin.draw(6000, np.random.default_rng(1))
    found = (twin.surprise_bits(codes) + twin.log2_noise(codes, rows)) / 16
    noise = float(model.variance_dn2(np.array([600.0]))[0])
    truth = float(np.log2(np.diag(twin.gaussians[0].cholesky_dn)).sum()) / 16 - 0.5 * np.log2(noise)
    assert found.mean() == pytest.approx(truth, abs=4 * found.std() / np.sqrt(found.size))
    assert found.std() / np.sqrt(found.size) < 0.005


def test_scores_of_twins_find_their_truth() -> None:
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, bit_depth=12, offset_dn=100.0)
    rng = np.random.default_rng(3)
    light = rng.gamma(4.0, 5.0, (40, 16, 16))
    kept: list[ScoreParts] = []
    estimate_information(model.sample(light, rng), model, patch_size=4, density="closed-form", keep=kept.append)
    report = score_twins(kept[0], 3)
    assert report.family == "code_histogram"
    assert abs(report.bias) < 4 * report.bias_std + 0.01
    assert report.inside.sum() >= 2
    assert -0.01 < report.measured_excess < 0.05
    # The deconvolved law of this light gives back the information of the light itself.
    assert report.true == pytest.approx(1.178, abs=0.03)
    assert report.to_dict()["twins"] == 3
    with pytest.raises(PhotonbitsError, match="2 or more"):
        score_twins(kept[0], 1)
