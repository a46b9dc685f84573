"""Sources of known information against slow independent computations, and at their limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth import CASES, KnownInformation, Source, make_source
from mi_eval.truth.constant import ConstantLight
from mi_eval.truth.fields import Correlation
from mi_eval.truth.gaussian_field import GaussianField
from mi_eval.truth.independent import IndependentPixels, ShuffledScene
from mi_eval.truth.lamp import DriftingLamp
from mi_eval.truth.laws import GammaLight, LevelsLight, SparseLight
from mi_eval.truth.scale_mixture import ScaleMixtureField
from mi_eval.truth.source import monte_carlo_mean
from mi_eval.truth.templates import Templates

TEXT = ("test", "a source")


def camera(**changes: Any) -> NoiseModel:
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.0, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, **changes})


def few_codes(bits: int = 1) -> NoiseModel:
    """A camera of so few codes that all images of a small patch can be written down."""
    return camera(bit_depth=bits, system_gain_dn_per_e=0.25, offset_dn=0.0)


def all_images(size: int, n_codes: int) -> NDArray[np.int64]:
    """Every image of codes, (n_codes^(size^2), size, size)."""
    return np.array(list(product(range(n_codes), repeat=size**2))).reshape(-1, size, size)


def entropy_bits(p: NDArray[Any]) -> float:
    p = p[p > 0]
    return float(-(p @ np.log2(p)))


def agrees(found: KnownInformation, exact: float) -> bool:
    return found.std < 0.02 and abs(found.value - exact) < 4 * found.std + 1e-9


# ---- all of them -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(CASES))
def test_every_case_keeps_the_contract(name: str) -> None:
    """Frames, light and surprise fit together: the mean of -log2 p(z) less the noise entropy is the information."""
    source = make_source(name)
    assert (source.name, source.description) == (name, CASES[name].description)
    size = 4
    if name.startswith(("ising", "templates", "drifting")):
        source = replace(source, monte_carlo_patches=400)
    frames, light = source.sample(600, size, np.random.default_rng(1))
    again = source.sample(600, size, np.random.default_rng(1))
    assert np.array_equal(frames, again.frames)
    assert frames.shape == light.shape
    model = source.noise_model
    assert np.issubdtype(frames.dtype, np.integer) == (model.bit_depth is not None)
    known = source.information_bits(size)
    assert known.std < 0.02
    pixels = frames[0].size
    density = source.surprise_bits(frames) / pixels - np.asarray(model.conditional_entropy_bits(light)).mean(
        axis=(1, 2)
    )
    # Shuffled frames and flats are not independent draws of a scene, but their pixels are.
    std = float(np.std(density, ddof=1)) / np.sqrt(len(density))
    assert abs(float(density.mean()) - known.value) < 4.5 * np.hypot(std, known.std) + 1e-4
    assert source.surprise_bits(frames[:3]) == pytest.approx(source.surprise_bits(frames)[:3], rel=1e-9)


@pytest.mark.parametrize("name", ["ising", "gaussian-field", "templates-64", "gamma-20e", "flats-with-maps"])
def test_sizes_out_of_range_are_refused(name: str) -> None:
    for size in (1, 300):
        with pytest.raises(PhotonbitsError, match="patch size"):
            make_source(name).sample(16, size, np.random.default_rng(0))


def test_unknown_names_are_answered_with_the_legal_ones() -> None:
    with pytest.raises(PhotonbitsError, match=r"gaussian-field, .*pure-noise.*Did you mean ising\?"):
        make_source("isling")


def test_control_variates_sharpen_and_stay_honest() -> None:
    """Pulls of 300 means with two control variates, one useless, have root mean square 1."""
    rng = np.random.default_rng(0)
    pulls, gains = [], []
    for _ in range(300):
        control, other, rest = rng.standard_normal((3, 60))
        values = 2.0 + 3.0 * control + 0.5 * rest
        sharp, plain = monte_carlo_mean(values, (control, other)), monte_carlo_mean(values)
        assert plain == pytest.approx((values.mean(), values.std(ddof=1) / np.sqrt(60)))
        pulls.append((sharp.value - 2.0) / sharp.std)
        gains.append(plain.std / sharp.std)
    assert np.sqrt(np.mean(np.square(pulls))) == pytest.approx(1.0, abs=0.12)
    assert np.mean(gains) > 5


# ---- Gaussian fields --------------------------------------------------------------------------------------


def gaussian(model: NoiseModel, correlation: Correlation, sd_e: float = 8.0) -> GaussianField:
    return GaussianField(*TEXT, model, correlation, mean_e=100.0, sd_e=sd_e)


def test_gaussian_information_from_entropies_of_explicit_covariances() -> None:
    field = gaussian(camera(kind="gaussian", bit_depth=None, read_noise_e=3.0), Correlation(2.0, 1.5))
    size = 3
    covariance = np.empty((9, 9))
    for i, j in product(range(9), repeat=2):
        distance = np.hypot(i // 3 - j // 3, i % 3 - j % 3)
        covariance[i, j] = 0.25 * 64.0 * np.exp(-((distance / 2.0) ** 1.5))
    noise = 0.25 * 9.0 * np.eye(9)
    entropies = [stats.multivariate_normal(cov=c).entropy() / np.log(2) for c in (covariance + noise, noise)]
    assert field.information_bits(size).value == pytest.approx((entropies[0] - entropies[1]) / 9, abs=1e-12)
    values = field.sample(20, size, np.random.default_rng(0)).frames
    law = stats.multivariate_normal(np.full(9, 150.0), covariance + noise)
    assert field.surprise_bits(values) == pytest.approx(-law.logpdf(values.reshape(20, 9)) / np.log(2))


@pytest.mark.parametrize(("read_noise_dn", "within"), [(1.0, 5e-6), (4.0, 1e-8)])
def test_rounding_acts_as_a_twelfth_of_variance(read_noise_dn: float, within: float) -> None:
    """One pixel, codes by differences of the normal cdf, light by a fine grid over all phases of the lattice."""
    model = camera(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=read_noise_dn)
    field = gaussian(model, Correlation(1.0), sd_e=6.0)
    codes = np.arange(300)
    spread = np.hypot(6.0, read_noise_dn)
    marginal = np.diff(stats.norm(200.0, spread).cdf(np.append(codes, 300) - 0.5))
    phases = 200 + (np.arange(64) + 0.5) / 64
    given = np.mean(
        [entropy_bits(np.diff(stats.norm(y, read_noise_dn).cdf(np.append(codes, 300) - 0.5))) for y in phases]
    )
    exact = entropy_bits(marginal) - float(given)
    assert field.information_bits(1).value == pytest.approx(exact, abs=within)


def test_gaussian_draws_have_the_stated_covariance() -> None:
    for correlation in (Correlation(4.0), Correlation(3.0, 2.0)):
        draws = correlation.draw(20_000, 4, np.random.default_rng(2)).reshape(-1, 16)
        # Four standard errors of a covariance, sqrt((1 + rho^2)/n).
        assert np.abs(np.cov(draws.T) - correlation.matrix(4)).max() < 4.5 * np.sqrt(2 / 20_000)


def test_draws_do_not_depend_on_the_signs_of_eigenvectors(monkeypatch) -> None:
    """Linear-algebra libraries choose these signs by processor: a seed must give one field everywhere."""
    eigh = np.linalg.eigh

    def turned(matrix: NDArray[np.float64]) -> Any:
        values, vectors = eigh(matrix)
        return values, vectors * np.where(np.arange(values.size) % 3, 1.0, -1.0)

    first = Correlation(2.0, 2.0).draw(3, 6, np.random.default_rng(4))
    monkeypatch.setattr(np.linalg, "eigh", turned)
    assert np.allclose(Correlation(2.0, 2.0).draw(3, 6, np.random.default_rng(4)), first, atol=1e-12)


def test_gaussian_limits() -> None:
    model = camera(kind="gaussian", bit_depth=None, read_noise_e=1e6)
    assert gaussian(model, Correlation(2.0)).information_bits(8).value == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(PhotonbitsError, match="kind gaussian"):
        gaussian(camera(), Correlation(2.0))
    with pytest.raises(PhotonbitsError, match="1 DN or more"):
        gaussian(camera(kind="gaussian", read_noise_e=0.5), Correlation(2.0))
    with pytest.raises(PhotonbitsError, match="exponent"):
        Correlation(2.0, 2.5)


# ---- independent pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [GammaLight(4.0, 30.0), GammaLight(1.0, 50.0), SparseLight(0.8, 50.0)], ids=str)
def test_quadrature_against_equally_likely_charges(law: Any) -> None:
    """Information by the quadrature rule and by 40,000 quantiles of the same law."""
    pixels = IndependentPixels(*TEXT, camera(), law)
    charge = law.quantile((np.arange(40_000) + 0.5) / 40_000)
    table = pixels.noise_model.code_table(charge)
    slow = entropy_bits(np.asarray(table.pmf.mean(axis=0)).ravel()) - float(table.entropies_bits().mean())
    assert pixels.information_bits(8).value == pytest.approx(slow, abs=2e-4)
    nodes, weights = law.quadrature()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert weights @ nodes == pytest.approx(charge.mean(), rel=1e-3)


def test_counted_gamma_light_is_negative_binomial() -> None:
    pixels = make_source("photons-10")
    assert isinstance(pixels, IndependentPixels)
    codes = np.arange(200)
    exact = stats.nbinom(4, 4 / 14).pmf(codes)
    assert pixels.code_masses()[:200] == pytest.approx(exact, abs=1e-12)

    def noise_entropy(y: float) -> float:
        return float(stats.poisson(y).entropy()) / np.log(2) * stats.gamma(4, scale=2.5).pdf(y)

    given, _ = integrate.quad(noise_entropy, 0, 80, limit=200, epsabs=1e-9)
    assert pixels.information_bits(4).value == pytest.approx(entropy_bits(exact) - given, abs=1e-6)


def test_clipped_share_and_levels() -> None:
    clipped = make_source("gamma-clipped")
    assert isinstance(clipped, IndependentPixels)
    assert clipped.code_masses()[-1] == pytest.approx(0.05, abs=0.002)
    assert clipped.information_bits(4).value < make_source("gamma-200e").information_bits(4).value
    wide = LevelsLight((0.0, 200.0, 1000.0), (0.5, 0.25, 0.25))
    assert IndependentPixels(*TEXT, camera(), wide).information_bits(4).value == pytest.approx(1.5, abs=1e-6)
    # Read noise of 100 times the levels' distance leaves about snr/(2 ln 2) = 2e-5 bit.
    dim = LevelsLight((0.0, 20.0), (0.5, 0.5))
    drowned = IndependentPixels(*TEXT, camera(read_noise_e=2000.0, bit_depth=15, offset_dn=16384.0), dim)
    assert drowned.information_bits(4).value == pytest.approx(0.01**2 / 4 / (2 * np.log(2)), rel=0.02)
    shares = np.bincount(wide.quantile(np.random.default_rng(0).random(100_000)).astype(int))[[0, 200, 1000]] / 1e5
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.006)


def test_images_of_few_codes_have_total_probability_one() -> None:
    """Two codes a pixel, 2 x 2 pixels: all 16 images written down, their entropy less the noise's is the truth."""
    level = GammaLight(9.0, 2.0)
    images = all_images(2, 2)
    noise = few_codes()
    sources: list[Source] = [
        IndependentPixels(*TEXT, noise, level),
        DriftingLamp(*TEXT, noise, level, monte_carlo_patches=3000),
        Templates(*TEXT, noise, 2.0, Correlation(1.0), contrast=1.0, n_templates=5, monte_carlo_patches=3000),
    ]
    for source in sources:
        mass = 2.0 ** -source.surprise_bits(images)
        assert mass.sum() == pytest.approx(1.0, abs=1e-9)
        if isinstance(source, Templates):
            charge, weight = source.patterns_e(2).ravel(), np.full(20, 1 / 20)
        else:
            charge, weight = level.quadrature()
        given = float(weight @ noise.conditional_entropy_bits(charge))
        assert agrees(source.information_bits(2), entropy_bits(mass) / 4 - given)


def test_shuffling_leaves_single_pixels() -> None:
    scene = make_source("shuffled-scene")
    assert isinstance(scene, ShuffledScene)
    frames, light = scene.sample(400, 8, np.random.default_rng(3))
    flat = light.reshape(-1, 8)
    assert abs(np.corrcoef(flat[:, :-1].ravel(), flat[:, 1:].ravel())[0, 1]) < 0.03
    assert np.corrcoef(frames.ravel(), light.ravel())[0, 1] > 0.9
    ordered = scene.correlation.draw(400, 8, np.random.default_rng(3)).reshape(-1, 8)
    assert np.corrcoef(ordered[:, :-1].ravel(), ordered[:, 1:].ravel())[0, 1] > 0.5
    # By ranks the pool has the law itself, though these are few independent fields.
    assert light.mean() == pytest.approx(40.0, rel=1e-4)
    assert np.median(light) == pytest.approx(stats.gamma(4, scale=10).median(), rel=1e-3)


# ---- mixtures ---------------------------------------------------------------------------------------------


def test_scale_mixture_of_one_pixel_by_direct_integration() -> None:
    model = camera(kind="gaussian", bit_depth=None, read_noise_e=2.0, system_gain_dn_per_e=1.0, offset_dn=0.0)
    mixture = ScaleMixtureField(*TEXT, model, Correlation(2.0), mean_e=0.0, sd_e=6.0, log_sd=1.0)
    log_scale = np.linspace(-8.5, 7.5, 401)
    weight = stats.norm(-0.5, 1.0).pdf(log_scale)
    weight /= weight.sum()
    sd = np.sqrt(4.0 + 36.0 * np.exp(log_scale))
    z = np.linspace(-400, 400, 16_001)
    density = np.exp(-0.5 * (z / sd[:, None]) ** 2).T @ (weight / (sd * np.sqrt(2 * np.pi)))
    exact = -np.sum(density[density > 0] * np.log2(density[density > 0])) * (z[1] - z[0])
    exact -= 0.5 * np.log2(2 * np.pi * np.e * 4.0)
    assert agrees(mixture.information_bits(1), float(exact))
    values = np.array([-30.0, 0.0, 4.0]).reshape(3, 1, 1)
    assert mixture.surprise_bits(values) == pytest.approx(-np.log2(np.interp(values.ravel(), z, density)), abs=1e-3)


def test_scale_mixture_of_one_contrast_is_the_gaussian_field() -> None:
    model = camera(kind="gaussian", read_noise_e=5.0, system_gain_dn_per_e=0.8, bit_depth=12)
    mixture = ScaleMixtureField(*TEXT, model, Correlation(3.0), mean_e=100.0, sd_e=20.0, log_sd=1e-3)
    field = gaussian(model, Correlation(3.0), sd_e=20.0)
    assert mixture.information_bits(6).value == pytest.approx(field.information_bits(6).value, abs=1e-4)
    frames = field.sample(5, 6, np.random.default_rng(0)).frames
    assert mixture.surprise_bits(frames) == pytest.approx(field.surprise_bits(frames), abs=1e-3)


def test_scale_mixture_finer_quadrature_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source("scale-mixture")
    assert isinstance(source, ScaleMixtureField)
    frames = source.sample(30, 16, np.random.default_rng(5)).frames
    coarse = source.surprise_bits(frames)
    scales, weights = source._quadrature(64)
    monkeypatch.setattr(ScaleMixtureField, "_quadrature", lambda self, size: (scales, weights))
    assert coarse == pytest.approx(source.surprise_bits(frames), abs=1e-6)


def test_templates_limits() -> None:
    bright = make_source("templates-64").information_bits(8)
    assert bright.value == pytest.approx(6 / 64, abs=1e-9)
    dark = Templates(*TEXT, camera(), 1e-4, Correlation(3.0, 2.0), monte_carlo_patches=200).information_bits(8)
    assert abs(dark.value) < 1e-5
    middle = make_source("templates-64-dim").information_bits(16)
    assert 0.2 < middle.value * 256 / 6 < 0.9


def test_a_drifting_lamp_against_its_gaussian_formula() -> None:
    lamp = replace(make_source("drifting-lamp"), monte_carlo_patches=1000)
    for size in (4, 16):
        # 20 % of 200 electrons against shot noise, read noise and rounding; the formula is for small drifts.
        snr = 40.0**2 / (200 + 1.5**2 + 1 / (12 * 0.25))
        formula = np.log2(1 + size**2 * snr) / (2 * size**2)
        assert lamp.information_bits(size).value == pytest.approx(formula, rel=0.03)


# ---- nothing ----------------------------------------------------------------------------------------------


def test_constant_light_carries_nothing_and_follows_the_maps() -> None:
    flats = make_source("flats-with-maps")
    assert isinstance(flats, ConstantLight)
    frames, light = flats.sample(33, 16, np.random.default_rng(0))
    assert frames.shape == (3, 64, 64)
    assert light[0] == pytest.approx(200 * (1 + flats.noise_model.maps["prnu"]))
    assert np.array_equal(light[0], light[2])
    assert flats.information_bits(16) == (0.0, 0.0)
    # All fixed pattern, no more than the temporal noise: residuals of one pixel have the model's variance.
    many = flats.sample(16 * 100, 16, np.random.default_rng(1)).frames
    ratio = many.var(axis=0, ddof=1).mean() / flats.noise_model.variance_dn2(light[0]).mean()
    assert ratio == pytest.approx(1.0, abs=0.01)
