"""Row noise and neighbours: what they take off H(Z|Y), and scores that are right all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval import estimate_information
from mi_eval.correlated_noise import NoiseCovariances, correlation_bits, noise_covariances
from mi_eval.truth.fields import Correlation


def with_covariances(model: NoiseModel, std_dn2: float = 1e-4, **dn2: float) -> NoiseModel:
    """The model with these covariances of its darks; those not named are 0."""
    names = ("row_noise_dn2", "column_noise_dn2", "horizontal_neighbour_dn2", "vertical_neighbour_dn2")
    block = {name: {"value": dn2.get(name, 0.0), "std": std_dn2, "unit": "DN^2"} for name in names}
    plain = {**model.document.to_plain(), "noise_correlation": block}
    return replace(model, document=type(model.document).model_validate(plain))


def test_row_noise_has_its_closed_form() -> None:
    """16 pixels with a common correlation of 0.1: (1 - r)^15 (1 + 15 r)."""
    expected = 0.5 * np.log2(0.9**15 * 2.5) / 16
    rows = NoiseCovariances(0.4, 0.0, 0.0, 0.0)
    assert correlation_bits(rows, 1 / 4.0, 16) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(-0.0299, abs=1e-4)
    assert correlation_bits(NoiseCovariances(0.0, 0.4, 0.0, 0.0), 1 / 4.0, 16) == pytest.approx(expected, rel=1e-12)


def test_large_patches_go_through_the_spectrum() -> None:
    found = NoiseCovariances(0.1, 0.05, 0.02, -0.01)
    exact, torus = (correlation_bits(found, 1.0, size) for size in (32, 33))
    assert torus == pytest.approx(exact, rel=0.03)


def test_what_is_within_its_error_counts_as_none() -> None:
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=4.0, bit_depth=12)
    assert noise_covariances(model) is None
    assert noise_covariances(with_covariances(model, 0.1, row_noise_dn2=0.2)) is None
    found = noise_covariances(with_covariances(model, 0.1, row_noise_dn2=0.4, column_noise_dn2=0.2))
    assert found is not None
    assert (found[0].row_dn2, found[0].column_dn2) == (0.4, 0.0)


def frames_with_row_noise(
    rng: np.random.Generator, n: int, size: int, bits: int | None
) -> tuple[Any, NoiseModel, float]:
    """A Gaussian field, noise of 5 electrons of which a tenth of the variance is common to rows; I in closed form."""
    gain, read, share = 0.8, 5.0, 0.1
    variance = (gain * read) ** 2 + (0.0 if bits is None else 1 / 12)
    row_dn2 = share * (gain * read) ** 2
    field = Correlation(4.0, 1.0)
    light = gain * (200 + 60 * field.draw(n, size, rng))
    noise = np.sqrt((gain * read) ** 2 - row_dn2) * rng.standard_normal(light.shape)
    noise += np.sqrt(row_dn2) * rng.standard_normal((n, size, 1))
    values = 1000 + light + noise
    frames = values if bits is None else np.floor(values + 0.5).astype(np.uint16)
    row, column = np.divmod(np.arange(size**2), size)
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    signal = (gain * 60) ** 2 * np.exp(-distance / 4.0)
    covariance = (variance - row_dn2) * np.eye(size**2) + row_dn2 * (row[:, None] == row)
    logs = [np.linalg.slogdet(matrix)[1] for matrix in (signal + covariance, covariance)]
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=1000.0, bit_depth=bits
    )
    return frames, with_covariances(model, row_noise_dn2=row_dn2), (logs[0] - logs[1]) / (2 * np.log(2) * size**2)


@pytest.mark.parametrize("bits", [None, 12])
def test_row_noise_of_a_tenth_is_scored_right(bits: int | None) -> None:
    frames, model, truth = frames_with_row_noise(np.random.default_rng(3), 1000, 16, bits)
    found = estimate_information(frames, model)
    value, std = found.mutual_information_bits_per_pixel.value, found.mutual_information_bits_per_pixel.std
    assert abs(value - truth) < 0.01
    assert abs(value - truth) < 4 * std + 0.003
    taken = found.error_budget_bits_per_pixel["correlated_noise"]
    assert taken == pytest.approx(0.0299, abs=3e-4)
    assert "correlated_noise_corrected" in {entry.code for entry in found.warnings}
    # Taken as independent, the same frames score too low.
    assert value - taken < truth - 0.02
