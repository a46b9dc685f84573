"""One contract for all density families, and their distance from sources of known information."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, ndtr

from calibrate import NoiseModel
from mi_eval.density.camera_cells import CameraCells
from mi_eval.density.covariance import floor_spectrum, lag_average
from mi_eval.density.families import closed_form_families, fit_closed_form
from mi_eval.density.gaussian import FittedGaussian, Innovations, StationaryGaussian
from mi_eval.density.histogram import CodeHistogram, fit_light_histogram
from mi_eval.density.interface import DensityFamily, FittedDensity
from mi_eval.density.network.causal import CausalNetwork
from mi_eval.density.network.gated_pixelcnn import GatedPixelCNN
from mi_eval.density.network.training import Schedule
from mi_eval.density.patches import PatchSet
from mi_eval.density.recalibrated import RecalibratedGaussian
from mi_eval.density.scale_mixture import ScaleMixture
from mi_eval.pixel_classes import classify_pixels

# As short as a training gets: the contract does not ask for a good fit.
SHORT = Schedule(pixel_visits=1.0)
NETWORKS = {
    "causal_network": CausalNetwork(schedule=SHORT),
    "causal_network-gaussians": CausalNetwork(schedule=SHORT, noise_aware=False),
    "gated_pixelcnn": GatedPixelCNN(schedule=SHORT),
}
FAMILIES = [
    *(pytest.param(family, id=family.name) for family in closed_form_families()),
    *(pytest.param(family, id=name) for name, family in NETWORKS.items()),
]
SIZE = 6


def covariance_of(signal: float, noise: float, size: int = SIZE) -> NDArray[Any]:
    """Separable first-order autocorrelation 0.9 plus white noise."""
    one = 0.9 ** np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    return signal * np.kron(one, one) + noise * np.eye(size**2)


def draw(covariance: NDArray[Any], n: int, rng: np.random.Generator, contrast: Any = 1.0) -> NDArray[Any]:
    side = round(len(covariance) ** 0.5)
    x = rng.standard_normal((n, len(covariance))) @ np.linalg.cholesky(covariance).T
    return np.asarray((x * contrast).reshape(n, side, side))


def coded(light: NDArray[Any], **options: Any) -> PatchSet:
    """Codes of a 12-bit camera, four patches a frame."""
    settings: dict[str, Any] = {"black_clip_dn": 0, "white_clip_dn": 4095, "noise_variance_dn2": 4.0, **options}
    codes = np.clip(np.floor(light + 0.5), settings["black_clip_dn"], settings["white_clip_dn"])
    if settings["noise_variance_dn2"] > 0 and "cells" not in settings:
        settings["cells"] = camera_cells(settings)
    return PatchSet(codes.astype(np.int32), np.arange(len(light)) // 4, **settings)


def camera_cells(settings: dict[str, Any]) -> CameraCells:
    """A camera with so much noise that few intensities span the light, as at low counts."""
    model = NoiseModel.from_parameters(
        kind="gaussian",
        system_gain_dn_per_e=1.0,
        read_noise_e=16.0,
        offset_dn=settings.get("offset_dn", 0.0),
        bit_depth=14,
        black_clip_dn=settings["black_clip_dn"],
        white_clip_dn=settings["white_clip_dn"],
    )
    return CameraCells.of(model, classify_pixels(model))


def rounding(family: DensityFamily) -> float:
    """What a mass may be off: networks run in float32, whose sums depend on the place in a batch."""
    return 1e-5 if family in NETWORKS.values() else 1e-12


def real_valued(light: NDArray[Any], noise_variance_dn2: float = 4.0) -> PatchSet:
    return PatchSet(light, np.arange(len(light)) // 4, noise_variance_dn2, lattice_dn=None)


def entropy_bits(covariance: NDArray[Any]) -> float:
    """Differential entropy per pixel."""
    return float(np.linalg.slogdet(2 * np.pi * np.e * covariance)[1] / np.log(2) / len(covariance) / 2)


def textured(n: int, seed: int) -> NDArray[Any]:
    """Patches of two contrasts around 500 DN, so that no family is exact."""
    rng = np.random.default_rng(seed)
    contrast = np.where(rng.random((n, 1)) < 0.3, 4.0, 0.5)
    return 500 + draw(covariance_of(100, 0.5), n, rng, contrast) + 2 * rng.standard_normal((n, SIZE, SIZE))


TRAIN, VALIDATION, TEST = (textured(n, seed) for n, seed in ((400, 1), (120, 2), (40, 3)))


@cache
def fit(family: DensityFamily, **options: Any) -> FittedDensity:
    return family.fit(coded(TRAIN, **options), coded(VALIDATION, **options), 0)


@pytest.mark.parametrize("family", FAMILIES)
class TestContract:
    def test_shapes_and_agreement(self, family: DensityFamily) -> None:
        fitted, test = fit(family), coded(TEST)
        bits = fitted.pixel_code_length_bits(test)
        assert bits.shape == (40, SIZE**2)
        np.testing.assert_allclose(fitted.code_length_bits(test), bits.sum(axis=1))
        low, high = fitted.conditional_cdf(test)
        assert low.shape == high.shape == bits.shape
        np.testing.assert_allclose(high - low, 2.0**-bits, rtol=1e-5, atol=1e-9)

    @pytest.mark.parametrize("pixel", [0, 14, SIZE**2 - 1])
    @pytest.mark.parametrize("clips", [(470, 540), (495, 505)])
    def test_every_pixel_is_coded_with_a_proper_pmf(
        self, family: DensityFamily, pixel: int, clips: tuple[int, int]
    ) -> None:
        options = {"black_clip_dn": clips[0], "white_clip_dn": clips[1]}
        fitted = fit(family, **options)
        for row in range(3):
            one = coded(TEST[row : row + 1], **options).codes
            codes = np.repeat(one, clips[1] - clips[0] + 1, axis=0)
            codes.reshape(len(codes), -1)[:, pixel] = np.arange(clips[0], clips[1] + 1)
            every = coded(codes, **options)
            mass = 2.0 ** -fitted.pixel_code_length_bits(every)[:, pixel]
            assert mass.sum() == pytest.approx(1, abs=max(1e-7, rounding(family)))
            low, high = (u[:, pixel] for u in fitted.conditional_cdf(every))
            assert low[0] == 0
            assert high[-1] == pytest.approx(1, abs=1e-12)
            np.testing.assert_allclose(high[:-1], low[1:], atol=rounding(family))

    def test_no_pixel_looks_ahead(self, family: DensityFamily) -> None:
        fitted, light = fit(family), TEST.copy()
        before = fitted.pixel_code_length_bits(coded(light))
        light.reshape(40, -1)[:, 20:] += 37
        after = fitted.pixel_code_length_bits(coded(light))
        np.testing.assert_allclose(after[:, :20], before[:, :20], rtol=1e-9)

    def test_unseen_codes_are_finite_and_bounded(self, family: DensityFamily) -> None:
        codes = np.full((3, SIZE, SIZE), 500)
        codes[0, 2, 2], codes[1, 2, 2], codes[2] = 4095, 0, 3000
        bits = fit(family).pixel_code_length_bits(coded(codes))
        assert np.all(np.isfinite(bits))
        assert bits.max() < 70

    def test_integer_offset_moves_nothing(self, family: DensityFamily) -> None:
        moved = {"offset_dn": 64.0, "black_clip_dn": 64, "white_clip_dn": 4159}
        shifted = family.fit(coded(TRAIN + 64, **moved), coded(VALIDATION + 64, **moved), 0)
        np.testing.assert_allclose(
            shifted.code_length_bits(coded(TEST + 64, **moved)),
            fit(family).code_length_bits(coded(TEST)),
            rtol=1e-8,
        )

    def test_order_of_patches_does_not_matter(self, family: DensityFamily) -> None:
        train, validation, order = coded(TRAIN), coded(VALIDATION), np.random.default_rng(0).permutation(400)
        shuffled = family.fit(train.take(order), validation.take(order[order < 120]), 0)
        np.testing.assert_allclose(
            shuffled.code_length_bits(coded(TEST)), fit(family).code_length_bits(coded(TEST)), rtol=1e-7
        )

    def test_units_of_real_values_cost_log2_scale(self, family: DensityFamily) -> None:
        def bits(scale: float) -> NDArray[Any]:
            sets = [real_valued(scale * x, 4 * scale**2) for x in (TRAIN, VALIDATION, TEST)]
            return family.fit(sets[0], sets[1], 0).pixel_code_length_bits(sets[2])

        np.testing.assert_allclose(bits(8.0), bits(1.0) + 3, rtol=1e-7)

    def test_real_values_have_a_cdf_whose_slope_is_the_density(self, family: DensityFamily) -> None:
        fitted = family.fit(real_valued(TRAIN), real_valued(VALIDATION), 0)
        step, last, up, down = 1e-4, SIZE**2 - 1, TEST.copy(), TEST.copy()
        up.reshape(40, -1)[:, last] += step
        down.reshape(40, -1)[:, last] -= step
        rise = fitted.conditional_cdf(real_valued(up))[0] - fitted.conditional_cdf(real_valued(down))[0]
        density = 2.0 ** -fitted.pixel_code_length_bits(real_valued(TEST))[:, last]
        np.testing.assert_allclose(rise[:, last] / (2 * step), density, rtol=2e-3)

    def test_seed_decides_everything(self, family: DensityFamily) -> None:
        test = coded(TEST)
        again = family.fit(coded(TRAIN), coded(VALIDATION), 0)
        np.testing.assert_array_equal(again.code_length_bits(test), fit(family).code_length_bits(test))

    @pytest.mark.parametrize("code", [0, 7, 4095])
    def test_one_code_costs_nothing(self, family: DensityFamily, code: int) -> None:
        same = coded(np.full((60, SIZE, SIZE), code), noise_variance_dn2=0.0)
        assert family.fit(same, same, 0).code_length_bits(same).max() / SIZE**2 < 1e-4

    @pytest.mark.parametrize("make", [coded, real_valued])
    def test_five_patches_are_enough_to_run(self, family: DensityFamily, make: Any) -> None:
        fitted = family.fit(make(TRAIN[:5]), make(VALIDATION[:2]), 0)
        assert np.all(np.isfinite(fitted.code_length_bits(make(TEST))))

    def test_maps_change_cells_not_information(self, family: DensityFamily) -> None:
        """Offsets and responses that differ by pixel leave the bits of the light."""
        rng = np.random.default_rng(5)

        def through_maps(light: NDArray[Any]) -> PatchSet:
            offset = 60 + rng.normal(0, 5, light.shape)
            response = rng.normal(1, 0.01, light.shape)
            return coded(light * response + offset, offset_dn=offset, relative_response=response, cells=None)

        mapped = family.fit(through_maps(TRAIN), through_maps(VALIDATION), 0)
        with_maps = mapped.code_length_bits(through_maps(TEST)).mean() / SIZE**2
        without = fit(family, cells=None).code_length_bits(coded(TEST)).mean() / SIZE**2
        assert with_maps == pytest.approx(without, abs=0.02)

    def test_other_patch_sizes_are_refused(self, family: DensityFamily) -> None:
        with pytest.raises(ValueError, match="asked for 4"):
            fit(family).code_length_bits(coded(TEST[:, :4, :4]))


def true_code(covariance: NDArray[Any], train: PatchSet) -> FittedGaussian:
    """The sequential code of the true Gaussian: what is left is cell integration alone."""
    innovations = Innovations.of(np.full(len(covariance), 1000.0), covariance + np.eye(len(covariance)) / 12)
    histogram = fit_light_histogram(train, train)
    return FittedGaussian("truth", train.patch_size, innovations, histogram, 1.0, 1e-12)


@pytest.fixture(scope="module")
def gaussian_field() -> tuple[NDArray[Any], PatchSet, PatchSet, PatchSet]:
    rng, covariance = np.random.default_rng(11), covariance_of(400, 16, 12)
    sets = [coded(1000 + draw(covariance, n, rng), noise_variance_dn2=16 + 1 / 12) for n in (3000, 600, 2000)]
    return covariance, sets[0], sets[1], sets[2]


class TestGaussianField:
    """Entropy in closed form; the true code removes the scatter that the sample has in common."""

    def test_true_code_reaches_the_closed_form(self, gaussian_field: Any) -> None:
        covariance, train, _, test = gaussian_field
        bits = true_code(covariance, train).code_length_bits(test) / 144
        # Codes have the entropy of light plus a uniform rounding error, here as good as Gaussian.
        closed_form = entropy_bits(covariance + np.eye(144) / 12)
        assert abs(bits.mean() - closed_form) < 4 * bits.std() / np.sqrt(len(bits))

    def test_gaussian_families_reach_the_truth(self, gaussian_field: Any) -> None:
        covariance, train, validation, test = gaussian_field
        truth = true_code(covariance, train).code_length_bits(test).mean() / 144
        bits = {f.name: f.code_length_bits(test).mean() / 144 for f in fit_closed_form(train, validation, 0)}
        stationary = bits["stationary_gaussian"]
        assert -0.0002 < stationary - truth < 0.001
        assert bits["full_gaussian"] < stationary + 0.0003
        assert bits["scale_mixture"] < stationary + 0.0005
        assert bits["recalibrated_gaussian"] < stationary + 0.0005
        assert bits["code_histogram"] > stationary + 0.5  # a model that sees no neighbours

    def test_outlier_guard_costs_little(self, gaussian_field: Any) -> None:
        _, train, validation, test = gaussian_field
        guarded = StationaryGaussian().fit(train, validation, 0)
        assert isinstance(guarded, FittedGaussian)
        bare = replace(guarded, outlier_weight=1e-12)
        assert (guarded.code_length_bits(test) - bare.code_length_bits(test)).mean() / 144 < 0.0005

    def test_an_outlier_costs_bounded_bits(self, gaussian_field: Any) -> None:
        _, train, validation, test = gaussian_field
        codes = test.codes[:1].copy()
        codes[0, 11, 11] = 4000
        hit = replace(test.take(slice(0, 1)), codes=codes)
        assert StationaryGaussian().fit(train, validation, 0).pixel_code_length_bits(hit)[0, -1] < 60

    def test_few_patches(self, gaussian_field: Any) -> None:
        covariance, train, validation, test = gaussian_field
        truth = true_code(covariance, train).code_length_bits(test).mean() / 144
        few = StationaryGaussian().fit(train.take(slice(0, 250)), validation.take(slice(0, 60)), 0)
        assert few.code_length_bits(test).mean() / 144 - truth < 0.006


def test_scale_mixture_reaches_a_scale_mixture() -> None:
    """Patches of random contrast: the truth by quadrature over the contrast."""
    rng, p, noise = np.random.default_rng(4), 10, 4.0
    shape = covariance_of(100, 0, p)
    contrast_grid = np.linspace(-3, 3, 81)

    def source(n: int) -> PatchSet:
        contrast = np.exp(0.7 * rng.standard_normal((n, 1)))
        light = draw(shape + 1e-9 * np.eye(p * p), n, rng, contrast) + 2 * rng.standard_normal((n, p, p))
        return coded(1000 + light, noise_variance_dn2=noise + 1 / 12)

    train, validation, test = source(3000), source(800), source(1500)
    values, vectors = np.linalg.eigh(shape)
    rotated = ((test.codes.reshape(-1, p * p) - 1000) @ vectors) ** 2
    logs = []
    for c in contrast_grid:
        variance = np.exp(1.4 * c) * values + noise + 1 / 12
        logs.append(-0.5 * (rotated / variance + np.log(2 * np.pi * variance)).sum(axis=1) - c**2 / 2)
    prior = logsumexp(-(contrast_grid**2) / 2)
    truth = -(logsumexp(logs, axis=0) - prior).mean() / np.log(2) / p**2
    stationary = StationaryGaussian().fit(train, validation, 0).code_length_bits(test).mean() / p**2
    base = ScaleMixture().fit(train, validation, 0)
    mixture = base.code_length_bits(test).mean() / p**2
    adapted = RecalibratedGaussian().fit(train, validation, 0, base=base).code_length_bits(test).mean() / p**2
    assert stationary - truth > 0.2
    assert -0.001 < mixture - truth < 0.006
    assert adapted - truth < 0.012


def test_recalibration_follows_local_contrast() -> None:
    """Two contrasts inside each patch: only the causal context can know."""
    rng = np.random.default_rng(8)

    def source(n: int) -> PatchSet:
        light = draw(covariance_of(50, 50, 12), n, rng)
        light[:, :, :6] *= np.where(rng.random((n, 1, 1)) < 0.5, 4.0, 0.5)
        return coded(1000 + light, noise_variance_dn2=1.0)

    train, validation, test = source(1200), source(300), source(600)
    stationary, mixture, adapted = (
        family.fit(train, validation, 0).code_length_bits(test).mean() / 144
        for family in (StationaryGaussian(), ScaleMixture(), RecalibratedGaussian())
    )
    assert adapted < mixture - 0.01
    assert adapted < stationary - 0.2


def test_independent_gamma_poisson_pixels() -> None:
    """Negative binomial codes: entropy by summation."""
    rng, shape, scale = np.random.default_rng(2), 3.0, 6.0

    def source(n: int) -> PatchSet:
        return coded(rng.poisson(rng.gamma(shape, scale, (n, 8, 8))), noise_variance_dn2=18.0)

    k = np.arange(4096)
    log_p = gammaln(k + shape) - gammaln(shape) - gammaln(k + 1)
    log_p += k * np.log(scale / (1 + scale)) - shape * np.log(1 + scale)
    fitted = CodeHistogram().fit(source(3000), source(500), 0)
    q = fitted.histogram.mass(*cells(k))
    p = np.exp(log_p)
    excess = float(np.sum(p * (log_p - np.log(q)))) / np.log(2)
    # A raw histogram of 80 codes from 192,000 pixels would cost 0.0003; EM cut off at 500 steps left 0.0008 more.
    assert 0 <= excess < 0.0004
    test = source(2000)
    bits = float(fitted.code_length_bits(test).mean()) / 64
    assert bits == pytest.approx(-float(p @ log_p) / np.log(2), abs=0.01)


def cells(k: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    lower, upper = k - 0.5, k + 0.5
    lower[0], upper[-1] = -np.inf, np.inf
    return lower, upper


def test_lag_average_is_the_slow_autocovariance() -> None:
    rng, p = np.random.default_rng(0), 4
    x = rng.standard_normal((7, p, p))
    flat = x.reshape(7, -1)
    fast = lag_average(flat.T @ flat / 7, p)
    for i, j in [(0, 0), (0, 15), (5, 2), (9, 14)]:
        dy, dx = j // p - i // p, j % p - i % p
        pairs = [
            x[:, a, b] * x[:, a + dy, b + dx] for a in range(p) for b in range(p) if 0 <= a + dy < p and 0 <= b + dx < p
        ]
        assert fast[i, j] == pytest.approx(np.mean(pairs))


def test_floor_of_the_spectrum_keeps_what_is_above_and_lifts_what_is_below() -> None:
    """Against the eigenvalues, for a covariance with no symmetry but x to -x."""
    rng, p = np.random.default_rng(1), 7
    patches = coded(500 + 3 * rng.standard_normal((50, p, p)), noise_variance_dn2=9.0)
    row, column = np.divmod(np.arange(p * p), p)
    dy, dx = row[:, None] - row, column[:, None] - column
    gentle = 20.0 * np.exp(-np.abs(dy) / 2.0 - np.abs(dx + 0.5 * dy) / 1.5) + 9.0 * (dy == 0) * (dx == 0)
    gentle = 0.5 * (gentle + gentle.T)
    np.testing.assert_array_equal(floor_spectrum(gentle, patches), gentle)
    low = gentle - 8.5 * np.eye(p * p)
    lifted = floor_spectrum(low, patches)
    assert np.linalg.eigvalsh(low)[0] < 0.8 * 9.0 <= np.linalg.eigvalsh(lifted)[0] + 1e-9
    np.testing.assert_allclose(lifted, lifted.T, atol=1e-9)
    np.testing.assert_allclose(lag_average(lifted, p), lifted, atol=1e-9)


@pytest.mark.slow
def test_large_patches_are_coded() -> None:
    """44 x 44 pixels from 24 patches: no eigenvectors, and no worse than the noise allows."""
    rng, p = np.random.default_rng(2), 44
    one = 0.9 ** np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
    factor = np.linalg.cholesky(one)
    light = 1000 + 20 * factor @ rng.standard_normal((40, p, p)) @ factor.T + 4 * rng.standard_normal((40, p, p))
    train, validation, test = (
        coded(light[part], noise_variance_dn2=16 + 1 / 12) for part in (slice(0, 24), slice(24, 30), slice(30, 40))
    )
    bits = {f.name: f.code_length_bits(test).mean() / p**2 for f in fit_closed_form(train, validation, 0)}
    values = np.linalg.eigvalsh(one)
    spectrum = 400 * np.outer(values, values) + 16 + 1 / 12
    truth = 0.5 * float(np.log2(2 * np.pi * np.e * spectrum).mean())
    assert -0.03 < bits["stationary_gaussian"] - truth < 0.05  # 10 patches: 0.01 of chance
    assert min(bits.values()) < truth + 0.05


@pytest.mark.parametrize("noise_sd", [0.2, 0.35])
def test_noise_below_the_lattice(noise_sd: float) -> None:
    """Rounding variance cannot be taken off in full there: the share is chosen on held-out codes."""
    rng = np.random.default_rng(3)

    def source(n: int) -> PatchSet:
        return coded(100.2 + noise_sd * rng.standard_normal((n, 8, 8)), noise_variance_dn2=noise_sd**2, black_clip_dn=0)

    k = np.arange(95, 106)
    p = ndtr((k + 0.5 - 100.2) / noise_sd) - ndtr((k - 0.5 - 100.2) / noise_sd)
    entropy = -float(np.sum(p * np.log2(np.maximum(p, 1e-300))))
    train, validation, test = source(800), source(200), source(2000)
    for family, allowed in ((CodeHistogram(), 0.012), (StationaryGaussian(), 0.25)):
        bits = family.fit(train, validation, 0).code_length_bits(test).mean() / 64
        assert entropy - 0.012 < bits < entropy + allowed
