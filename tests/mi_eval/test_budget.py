"""The budget against one-pixel quadrature, closed forms of Gaussian fields, and its own limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval.budget import information_budget
from mi_eval.budget.copula import Lags, codes_from_light, light_from_codes
from mi_eval.budget.light import normal_means
from mi_eval.efficiency import counter, pixel_efficiency, pixel_information_bits
from mi_eval.truth.fields import Correlation
from mi_eval.truth.gaussian_field import GaussianField
from mi_eval.truth.independent import IndependentPixels
from mi_eval.truth.laws import GammaLight


def camera(**changes):
    values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.3, "bit_depth": 12} | changes
    return NoiseModel.from_parameters(**values)


def frames_of(model, law, n=1000, seed=1):
    return IndependentPixels("x", "x", model, law).sample(n, 16, np.random.default_rng(seed)).frames


def parts_of(budget):
    return {part.name: part.bits_per_pixel for part in budget.parts}


@pytest.mark.parametrize(("mean_e", "room"), [(2.0, 0.012), (20.0, 0.005), (200.0, 0.005)])
def test_independent_pixels_against_quadrature(mean_e, room):
    law, model = GammaLight(4.0, mean_e), camera()
    budget = information_budget(frames_of(model, law), model)
    true = pixel_information_bits(model, law)
    limit = pixel_information_bits(counter(60 * mean_e), law)
    quiet = pixel_information_bits(camera(read_noise_e=0.0), law)
    fine = pixel_information_bits(camera(system_gain_dn_per_e=16.0, bit_depth=20), law)
    parts = parts_of(budget)
    for found, expected in (
        (budget.as_fitted, true),
        (budget.noiseless_readout_limit, limit),
        (budget.all_off, limit),
        (parts["read_noise"], quiet - true),
        (parts["rounding"], fine - true),
    ):
        assert abs(found.value - expected) <= 3 * found.std + 0.0005
        assert abs(found.value - expected) <= room
    assert abs(parts["clipping"].value) < 1e-6
    efficiency = budget.efficiency
    assert efficiency.method == "gaussian_copula"
    assert efficiency.ci95[0] - 0.002 <= pixel_efficiency(model, law).value <= efficiency.ci95[1] + 0.002


def test_all_parts_off_are_the_noiseless_readout():
    """Everything at once: maps, dark current, a bent response, clipping; against counts of the light alone."""
    rng = np.random.default_rng(3)
    shape = (64, 64)
    maps = {
        "offset_dn": 40.0 + 2.0 * rng.standard_normal(shape),
        "offset_dn_std": np.full(shape, 0.3),
        "prnu": 0.03 * rng.standard_normal(shape),
        "prnu_std": np.full(shape, 0.02),
        "read_noise_e": 2.0 * np.exp(0.2 * rng.standard_normal(shape)),
    }
    model = camera(
        offset_dn=40.0,
        read_noise_e=2.0,
        maps=maps,
        white_clip_dn=110,
        response={"coefficients": [-0.08], "scale_dn": 80.0},
        dark_current_e_per_s=6.0,
    )
    light = GammaLight(4.0, 60.0).quantile(rng.random((60, *shape)))
    codes = model.sample(light * (1 + maps["prnu"]) + 3.0, rng)
    budget = information_budget(codes, model, exposure_s=0.5, row_noise_e=1.0, drift_e=0.5)
    names = ("read_noise", "rounding", "row_noise", "prnu", "dsnu", "nonlinearity", "clipping", "dark_current", "drift")
    assert tuple(part.name for part in budget.parts) == names
    off, limit = budget.all_off, budget.noiseless_readout_limit
    assert abs(off.value - limit.value) <= 0.1 * limit.std + 0.0005
    assert limit.value == pytest.approx(pixel_information_bits(counter(3000.0), GammaLight(4.0, 60.0)), abs=0.02)
    total = sum(part.bits_per_pixel.value for part in budget.parts)
    assert budget.as_fitted.value + total + budget.interaction.value == pytest.approx(off.value, abs=1e-9)
    # A straight response would drive more pixels into the clip: the bent one even gains.
    assert all(part.bits_per_pixel.value > 0 for part in budget.parts if part.name != "nonlinearity")
    assert not budget.not_priced


def test_gaussian_fields_have_their_closed_form():
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=0.8, read_noise_e=5.0, offset_dn=1000.0, bit_depth=12
    )
    source = GaussianField("x", "x", model, Correlation(4.0), mean_e=200.0, sd_e=60.0)
    budget = information_budget(source.sample(2000, 16, np.random.default_rng(2)).frames, model)
    assert budget.as_fitted.value == pytest.approx(source.information_bits(16).value, abs=0.006)
    real = replace(source, noise_model=model.with_parameters(bit_depth=None))
    rounding = real.information_bits(16).value - source.information_bits(16).value
    assert parts_of(budget)["rounding"].value == pytest.approx(rounding, abs=3e-4)  # codes of a sixteenth cost that
    assert budget.all_off is None and budget.efficiency is None
    assert "shot noise" in budget.not_priced["read_noise"]
    spectrum = budget.spectrum
    mean = np.dot(spectrum.share_of_square, spectrum.bits_per_pixel)
    assert mean == pytest.approx(source.information_bits(16).value, abs=0.03)


def test_correlated_light_counts_once():
    """A field under much shot noise: price of the read noise from the Gaussian closed form on both sides."""
    rng = np.random.default_rng(4)
    model = camera(system_gain_dn_per_e=1.0, read_noise_e=30.0, bit_depth=14)
    field = Correlation(3.0).draw(1500, 16, rng)
    light = np.maximum(3000.0 + 150.0 * field, 0.0)
    budget = information_budget(model.sample(light, rng), model)
    modes = Correlation(3.0).eigenvalues(16)

    def closed(noise_e2):
        return 0.5 * np.mean(np.log2(1 + 150.0**2 / noise_e2 * modes))

    with_read, without = closed(3000.0 + 900.0 + 1 / 12), closed(3000.0)
    assert budget.as_fitted.value == pytest.approx(with_read, abs=0.006)
    assert budget.noiseless_readout_limit.value == pytest.approx(without, abs=0.006)
    assert parts_of(budget)["read_noise"].value == pytest.approx(closed(3000.0 + 1 / 12) - with_read, abs=0.002)


def test_row_noise_is_priced_with_its_correlation():
    """Gaussian noise of which rows share a part: closed form with the noise covariance in it."""
    rng = np.random.default_rng(5)
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=5.0, offset_dn=2000.0, bit_depth=14
    )
    row_e = 3.0
    light = 100.0 + 20.0 * Correlation(2.0).draw(2000, 16, rng)
    codes = model.sample(light + row_e * rng.standard_normal((2000, 16, 1)), rng)
    budget = information_budget(codes, model, row_noise_e=row_e)
    signal = 400.0 * Correlation(2.0).matrix(16)
    white = 25.0 * np.eye(256)
    rows = np.kron(np.eye(16), np.full((16, 16), row_e**2))

    def bits(noise):
        return 0.5 * (np.linalg.slogdet(signal + noise)[1] - np.linalg.slogdet(noise)[1]) / np.log(2) / 256

    assert budget.as_fitted.value == pytest.approx(bits(white + rows), abs=0.01)
    assert parts_of(budget)["row_noise"].value == pytest.approx(bits(white) - bits(white + rows), abs=0.003)
    # The same from a calibration, whose read noise has the rows' share in it.
    measured = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=float(np.sqrt(34.0)), offset_dn=2000.0, bit_depth=14
    )
    names = ("row_noise_dn2", "column_noise_dn2", "horizontal_neighbour_dn2", "vertical_neighbour_dn2")
    block = {name: {"value": 36.0 * (name == names[0]), "std": 0.5, "unit": "DN^2"} for name in names}
    plain = {**measured.document.to_plain(), "noise_correlation": block}
    known = replace(measured, document=type(measured.document).model_validate(plain))
    found = parts_of(information_budget(codes, known))["row_noise"].value
    assert found == pytest.approx(parts_of(budget)["row_noise"].value, abs=1e-4)


def test_colours_have_laws_of_their_own():
    models = {
        name: camera(system_gain_dn_per_e=gain) for name, gain in (("R", 0.4), ("Gr", 0.5), ("Gb", 0.5), ("B", 0.7))
    }
    model = NoiseModel.from_channels(models, "RGGB", shape=(64, 64))
    rng = np.random.default_rng(6)
    means = np.tile([[10.0, 40.0], [40.0, 20.0]], (32, 32))
    light = GammaLight(4.0, 1.0).quantile(rng.random((80, 64, 64))) * means
    budget = information_budget(model.sample(light, rng), model)
    each = [
        pixel_information_bits(models[name], GammaLight(4.0, mean_e))
        for name, mean_e in (("R", 10.0), ("Gr", 40.0), ("Gb", 40.0), ("B", 20.0))
    ]
    assert budget.as_fitted.value == pytest.approx(np.mean(each), abs=0.008)
    assert budget.spectrum is None


def test_calibration_error_widens_the_prices():
    model, law = camera(), GammaLight(4.0, 10.0)
    codes = frames_of(model, law, n=200)
    covariance = {"names": ("system_gain_dn_per_e", "read_noise_e"), "matrix": ((1e-4, 0.0), (0.0, 0.01))}
    entry = type(NoiseModelCovariance.of(model))(**covariance)
    document = model.document.model_copy(update={"covariance": entry})
    wide = information_budget(codes, replace(model, document=document))
    narrow = information_budget(codes, model)
    assert parts_of(wide)["read_noise"].std > 1.5 * parts_of(narrow)["read_noise"].std
    assert parts_of(wide)["read_noise"].value == parts_of(narrow)["read_noise"].value


class NoiseModelCovariance:
    """The schema's own entry type, reached through a document."""

    @staticmethod
    def of(model):
        annotation = type(model.document).model_fields["covariance"].annotation
        return next(t for t in annotation.__args__ if t is not type(None))(names=("offset_dn",), matrix=((1.0,),))


def test_frames_in_any_order_and_seed():
    model, law = camera(), GammaLight(4.0, 20.0)
    codes = frames_of(model, law, n=60)
    one = information_budget(codes, model)
    assert information_budget(codes, model) == one
    other = information_budget(codes[::-1], model)
    # Other halves choose the smoothness of the law.
    assert other.as_fitted.value == pytest.approx(one.as_fitted.value, abs=1e-4)


def test_correlations_of_light_and_codes_invert_each_other():
    coefficients = np.array([[0.6], [0.1], [0.05], [0.0], [0.0]])
    for r in (-0.7, 0.0, 0.3, 0.99):
        codes = codes_from_light(coefficients, np.array([r]))
        assert light_from_codes(coefficients, codes) == pytest.approx(r, abs=1e-6)


def test_hermite_means_add_up():
    mass = np.random.default_rng(0).dirichlet(np.ones(200))
    means = normal_means(mass, 5)
    assert np.allclose(means @ mass, 0.0, atol=1e-12)
    # Fine cells lose little of the variance of each polynomial.
    even = normal_means(np.full(20000, 1 / 20000), 3)
    assert np.allclose(np.mean(even**2, axis=1), 1.0, atol=3e-3)


def test_pairs_of_pixels_know_the_mosaic():
    place = np.tile([[0, 1], [2, 3]], (2, 2))
    lags = Lags.of(4, place, (2, 2))
    assert lags.counts.sum() == 16 * 16
    assert np.array_equal(lags.label, lags.label.T)
    assert set(lags.first[lags.self_pair]) == {0, 1, 2, 3}
    assert lags.self_pair.sum() == 4
