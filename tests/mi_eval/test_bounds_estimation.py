"""Information as a sum of estimation errors, against closed forms, quadrature and a sum over templates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import logsumexp

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bounds import (
    example_denoiser,
    gaussian_noise_bound,
    linear_denoiser,
    photon_count_bound,
    pixel_denoiser,
)
from mi_eval.truth.fields import Correlation
from mi_eval.truth.registry import make_source
from mi_eval.truth.templates import Templates


def light_of(source, n, size, seed=0):
    return source.sample(n, size, np.random.default_rng([12, seed])).light_e[:n]


@pytest.mark.parametrize("size", [1, 2, 8])
def test_best_linear_estimate_of_a_gaussian_field_gives_its_information(size):
    source = make_source("gaussian-field")
    light = 200 + 60 * source.correlation.draw(4000, size, np.random.default_rng(1))
    found = gaussian_noise_bound(light, 5.0, linear_denoiser(200.0, 3600 * source.correlation.matrix(size)))
    true = source.information_bits(size).value
    assert abs(found.bits_per_pixel - true) < 3.5 * found.std_bits_per_pixel
    assert found.std_bits_per_pixel < 0.03


def test_quadrature_over_noise_levels_is_no_error():
    source = make_source("gaussian-field")
    light = light_of(source, 500, 4)
    denoise = linear_denoiser(200.0, 3600 * source.correlation.matrix(4))
    # The mean error of the linear estimate in closed form at each level: what is left is the rule's own error.
    found = gaussian_noise_bound(light, 5.0, denoise)
    modes = 3600 * source.correlation.eigenvalues(4)
    exact = np.array([np.mean(modes / (1 + s * modes / 25)) for s in found.level]) / 25
    c = float(np.var(light)) / 25
    place, weight = np.polynomial.legendre.leggauss(16)
    t = np.log1p(c) * (place + 1) / 2
    bits = np.sum(weight * np.log1p(c) / 2 * np.exp(t) / c * exact) / 2 / np.log(2)
    assert bits == pytest.approx(source.information_bits(4).value, abs=3e-5)
    np.testing.assert_allclose(found.error, exact, rtol=0.15)


@pytest.mark.parametrize(
    "denoise",
    [
        lambda noisy, sd: noisy,
        lambda noisy, sd: 200 + (noisy - 200) * 3600 / (3600 + sd**2),
        lambda noisy, sd: ndimage.gaussian_filter(noisy, (0, 0.6, 0.6)),
    ],
    ids=["nothing", "pixel by pixel", "smoothing"],
)
def test_worse_estimates_bound_from_above(denoise):
    source = make_source("gaussian-field")
    found = gaussian_noise_bound(light_of(source, 1000, 6), 5.0, denoise)
    assert found.bits_per_pixel > source.information_bits(6).value + 3 * found.std_bits_per_pixel


@pytest.mark.parametrize("case", ["photons-2", "photons-10", "photons-100"])
def test_pixel_posterior_of_counted_light_gives_its_information(case):
    source = make_source(case)
    denoise = pixel_denoiser(*source.light.quadrature(), noise="photons")
    found = photon_count_bound(light_of(source, 3000, 4), denoise)
    assert abs(found.bits_per_pixel - source.information_bits(4).value) < 3.5 * found.std_bits_per_pixel
    linear = linear_denoiser(
        float(case.split("-")[1]), np.eye(16) * float(case.split("-")[1]) ** 2 / 4, noise="photons"
    )
    # Gamma light is the conjugate law of counts: its posterior mean is linear, and both denoisers are the same.
    other = photon_count_bound(light_of(source, 3000, 4), linear)
    assert other.bits_per_pixel == pytest.approx(found.bits_per_pixel, rel=1e-4)


def test_posterior_over_templates_gives_their_information():
    camera = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=12)
    source = Templates("templates", "", camera, 1.0, Correlation(3.0, 2.0), n_templates=16)
    true = source.information_bits(4)
    found = photon_count_bound(light_of(source, 4000, 4), example_denoiser(source.patterns_e(4), noise="photons"))
    assert abs(found.bits_per_pixel - true.value) < 3.5 * np.hypot(found.std_bits_per_pixel, true.std)
    # Read noise only loses information: the bound holds for a camera with it, far from tight.
    noisy = make_source("templates-64-dim")
    bound = photon_count_bound(light_of(noisy, 1000, 4), example_denoiser(noisy.patterns_e(4), noise="photons"))
    assert bound.bits_per_pixel > noisy.information_bits(4).value


def test_posterior_over_templates_under_gaussian_noise():
    rng = np.random.default_rng(0)
    examples = rng.normal(0, 2.0, (8, 2, 2))
    which = rng.integers(8, size=6000)
    found = gaussian_noise_bound(examples[which], 2.0, example_denoiser(examples, noise="gaussian"))
    noisy = examples[rng.integers(8, size=40000)] + 2.0 * rng.standard_normal((40000, 2, 2))
    squares = -np.sum((noisy[:, None] - examples[None]) ** 2, axis=(2, 3)) / 8
    logs = squares - logsumexp(squares, axis=1, keepdims=True)
    entropy = -np.sum(np.exp(logs) * logs, axis=1) / np.log(2)
    true, std = (3 - entropy.mean()) / 4, entropy.std() / 200 / 4
    assert abs(found.bits_per_pixel - true) < 3.5 * np.hypot(found.std_bits_per_pixel, std)


def test_stated_error_is_the_scatter_over_seeds():
    source = make_source("photons-10")
    denoise = pixel_denoiser(*source.light.quadrature(), noise="photons")
    found = [photon_count_bound(light_of(source, 200, 4, seed), denoise, seed=seed) for seed in range(40)]
    values = np.array([(f.bits_per_pixel, f.std_bits_per_pixel) for f in found])
    assert 0.7 < values[:, 1].mean() / values[:, 0].std(ddof=1) < 1.45


def test_what_is_refused():
    light = np.full((4, 2, 2), 5.0)

    def keep(noisy, strength):
        return noisy

    for call, words in (
        (lambda: gaussian_noise_bound(light[0], 1.0, keep), "n_patches"),
        (lambda: gaussian_noise_bound(light, 0.0, keep), "above 0"),
        (lambda: gaussian_noise_bound(light, 1.0, lambda noisy, s: noisy[:1]), "denoiser gave shape"),
        (lambda: gaussian_noise_bound(light * np.nan, 1.0, keep), "finite"),
        (lambda: photon_count_bound(-light, keep), "0 or more"),
        (lambda: photon_count_bound(light, lambda noisy, s: 0 * noisy), "0 or below"),
        (lambda: photon_count_bound(light, keep, nodes=1), "nodes"),
        (lambda: example_denoiser(light[0], noise="photons"), "examples"),
    ):
        with pytest.raises(PhotonbitsError, match=words):
            call()
