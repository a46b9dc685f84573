"""Efficiency of a read-out against known values and exact one-pixel quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.efficiency import pixel_efficiency, pixel_information_bits, simulated_efficiency
from mi_eval.truth.independent import IndependentPixels
from mi_eval.truth.laws import GammaLight, LevelsLight


def camera(**changes):
    values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.0, "bit_depth": 12} | changes
    return NoiseModel.from_parameters(**values)


@pytest.mark.parametrize(("mean_e", "expected"), [(2.0, 0.495), (20.0, 0.931), (200.0, 0.996)])
def test_known_values_of_one_pixel(mean_e, expected):
    found = pixel_efficiency(camera(), GammaLight(4.0, mean_e))
    assert found.value == pytest.approx(expected, abs=0.005)
    assert found.method == "exact_one_pixel"


def test_information_is_that_of_the_full_code_table():
    law = GammaLight(4.0, 20.0)
    source = IndependentPixels("x", "x", camera(), law)
    assert pixel_information_bits(camera(), law) == pytest.approx(source.information_bits(16).value, abs=1e-6)


def test_a_counter_of_photons_loses_nothing():
    perfect = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=14)
    assert pixel_efficiency(perfect, GammaLight(2.0, 30.0)).value == pytest.approx(1.0, abs=1e-9)
    coarse = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=0.25, bit_depth=14)
    assert pixel_efficiency(coarse, GammaLight(2.0, 30.0)).value < 0.99


def test_two_levels_far_apart_are_one_bit_for_everybody():
    assert pixel_efficiency(camera(), LevelsLight((10.0, 400.0), (0.5, 0.5))).value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("mean_e", [0.5, 5.0, 50.0, 2000.0])
@pytest.mark.parametrize("read_noise_e", [0.3, 3.0])
def test_never_above_one_and_falls_with_read_noise(mean_e, read_noise_e):
    law = GammaLight(3.0, mean_e)
    one = pixel_efficiency(camera(read_noise_e=read_noise_e), law).value
    worse = pixel_efficiency(camera(read_noise_e=2 * read_noise_e), law).value
    assert 0 < worse < one < 1 + 1e-6


def test_real_values_approach_unrounded_codes():
    real = pixel_efficiency(camera(bit_depth=None), GammaLight(4.0, 20.0)).value
    fine = camera(system_gain_dn_per_e=20.0, bit_depth=16)
    assert real == pytest.approx(pixel_efficiency(fine, GammaLight(4.0, 20.0)).value, abs=5e-4)


def test_charges_and_weights_in_place_of_a_law():
    charge, weight = GammaLight(4.0, 20.0).quadrature()
    order = np.random.default_rng(0).permutation(charge.size)
    assert pixel_efficiency(camera(), (charge[order], weight[order])).value == pytest.approx(0.931, abs=0.005)
    with pytest.raises(PhotonbitsError, match="sum"):
        pixel_efficiency(camera(), (charge, 2 * weight))


def test_without_shot_noise_there_is_no_efficiency():
    thermal = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=3.0, bit_depth=12)
    with pytest.raises(PhotonbitsError, match="gaussian"):
        pixel_efficiency(thermal, GammaLight(4.0, 20.0))


@pytest.mark.slow
def test_simulated_light_agrees_with_quadrature():
    light = GammaLight(4.0, 20.0).quantile(np.random.default_rng(5).random((200, 16, 16)))
    found = simulated_efficiency(light, camera(), patch_size=8)
    truth = pixel_efficiency(camera(), GammaLight(4.0, 20.0)).value
    assert found.ci95[0] - 0.004 <= truth <= found.ci95[1] + 0.004
    assert found.std < 0.004
