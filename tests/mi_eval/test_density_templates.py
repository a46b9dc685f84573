"""Templates: found, counted, and coded as well as their number of looks allows; the camera's table behind them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval.density.camera import camera_table
from mi_eval.density.full_gaussian import FullGaussian
from mi_eval.density.patches import PatchSet
from mi_eval.density.template_clusters import canonical_order, find_clusters
from mi_eval.density.template_mixture import FittedTemplateMixture, TemplateMixture
from mi_eval.measurements import cut_patches, frames_from_array
from mi_eval.truth.fields import Correlation
from mi_eval.truth.templates import Templates

SIZE = 10


def camera(**changes: Any) -> NoiseModel:
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 20.0, "bit_depth": 8}
    return NoiseModel.from_parameters(**{**given, **changes})


def source(mean_e: float = 50.0, number: int = 12, model: NoiseModel | None = None) -> Templates:
    return Templates("t", "", model or camera(), mean_e, Correlation(2.0, 2.0), n_templates=number)


def drawn(of: Templates, n: int, seed: int) -> PatchSet:
    frames = of.sample(n, SIZE, np.random.default_rng(seed)).frames
    return cut_patches(frames_from_array(frames), of.noise_model, patch_size=SIZE, seed=0, max_patches=100_000).patches


@cache
def bright() -> tuple[FittedTemplateMixture, PatchSet]:
    of = source()
    return TemplateMixture().fit(drawn(of, 360, 1), drawn(of, 90, 2), 0), drawn(of, 150, 3)


def gap_bits(fitted: Any, of: Templates, test: PatchSet) -> float:
    """Bits per pixel above the exact law on the same patches."""
    return float((fitted.code_length_bits(test) - of.surprise_bits(test.codes)).mean() / SIZE**2)


def test_every_template_is_found_and_costs_what_thirty_looks_must() -> None:
    fitted, test = bright()
    assert fitted.n_templates == 12
    # Means of 30 looks cost 0.5 log2(1 + 1/30) where they are not shrunk; the full Gaussian is 0.3 off.
    assert 0 < gap_bits(fitted, source(), test) < 0.0236
    assert gap_bits(fitted.base, source(), test) > 0.2


def test_true_templates_leave_no_gap() -> None:
    """The averaged table is the camera's own law where templates have no error."""
    fitted, test = bright()
    of = source()
    light = 0.5 * of.patterns_e(SIZE).reshape(12, -1)
    exact = replace(
        fitted, templates_dn=light, error_dn2=np.zeros_like(light), weights=np.full(13, 1 / 13), extra_variance=0.0
    )
    assert abs(gap_bits(exact, of, test)) < 0.002  # log2(13/12)/100 + what interpolation blurs


def test_templates_beat_the_gaussian_where_noise_hides_them() -> None:
    of = source(0.7, number=4)
    train, validation, test = (drawn(of, n, seed) for n, seed in ((1200, 4), (300, 5), (600, 6)))
    fitted = TemplateMixture().fit(train, validation, 0)
    assert fitted.n_templates > 1
    gained = gap_bits(fitted.base, of, test) - gap_bits(fitted, of, test)
    assert gained > 0.0005
    assert gap_bits(fitted, of, test) < 0.004


def test_maps_give_every_pixel_its_own_cells() -> None:
    """With maps the pixels are Gaussian, which costs a little at 50 electrons and nothing else."""
    rng = np.random.default_rng(8)
    maps = {"offset_dn": 20 + 2 * rng.standard_normal((SIZE, SIZE)), "prnu": 0.02 * rng.standard_normal((SIZE, SIZE))}
    model, of = camera(maps=maps), source()

    def through_maps(n: int, seed: int) -> PatchSet:
        draw = np.random.default_rng(seed)
        light = of.patterns_e(SIZE)[draw.integers(12, size=n)]
        frames = model.sample(light * (1 + maps["prnu"]), draw)
        return cut_patches(frames_from_array(frames), model, patch_size=SIZE, seed=0, max_patches=9999).patches

    train, validation, test = (through_maps(n, seed) for n, seed in ((360, 1), (90, 2), (150, 3)))
    fitted = TemplateMixture().fit(train, validation, 0)
    assert fitted.n_templates == 12
    mapped = fitted.code_length_bits(test).mean() / SIZE**2
    assert mapped == pytest.approx(bright()[0].code_length_bits(bright()[1]).mean() / SIZE**2, abs=0.02)


@pytest.mark.parametrize("pixel", [0, 37, SIZE**2 - 1])
def test_every_pixel_is_coded_with_a_proper_pmf(pixel: int) -> None:
    fitted, test = bright()
    one = np.repeat(test.codes[:1], 256, axis=0)
    one.reshape(256, -1)[:, pixel] = np.arange(256)
    every = replace(test.take(np.zeros(256, dtype=np.int64)), codes=one)
    mass = 2.0 ** -fitted.pixel_code_length_bits(every)[:, pixel]
    assert mass.sum() == pytest.approx(1, abs=1e-9)
    low, high = (u[:, pixel] for u in fitted.conditional_cdf(every))
    assert low[0] == pytest.approx(0, abs=1e-12)
    assert high[-1] == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(high - low, mass, atol=1e-9)
    np.testing.assert_allclose(high[:-1], low[1:], atol=1e-9)


def test_no_pixel_looks_ahead() -> None:
    fitted, test = bright()
    codes = test.codes.copy()
    codes.reshape(150, -1)[:, 40:] += 9
    before = fitted.pixel_code_length_bits(test)
    after = fitted.pixel_code_length_bits(replace(test, codes=codes))
    np.testing.assert_allclose(after[:, :40], before[:, :40], rtol=1e-9)


def test_order_of_patches_does_not_matter() -> None:
    fitted, test = bright()
    train, validation = drawn(source(), 360, 1), drawn(source(), 90, 2)
    shuffled = TemplateMixture().fit(train.take(np.random.default_rng(0).permutation(360)), validation, 0)
    np.testing.assert_allclose(shuffled.code_length_bits(test), fitted.code_length_bits(test), rtol=1e-9)


def test_a_patch_of_no_template_costs_hardly_more_than_the_gaussian() -> None:
    fitted, test = bright()
    strange = replace(test, codes=np.flip(test.codes, axis=2).copy())
    worse = fitted.code_length_bits(strange) - fitted.base.code_length_bits(strange)
    assert worse.max() < 20  # bits a patch, the weight of the Gaussian and what one pixel may mislead


def test_noise_without_patterns_is_left_to_the_gaussian() -> None:
    model = camera()
    frames = model.sample(np.full((400, SIZE, SIZE), 30.0), np.random.default_rng(0))
    patches = cut_patches(frames_from_array(frames), model, patch_size=SIZE, seed=0, max_patches=9999).patches
    train, test = patches.take(slice(0, 300)), patches.take(slice(300, 400))
    base = FullGaussian().fit(train, test, 0)
    fitted = TemplateMixture().fit(train, test, 0, base=base)
    assert fitted.n_templates == 0
    np.testing.assert_array_equal(fitted.code_length_bits(test), base.code_length_bits(test))


class TestClusters:
    def test_groups_and_their_number(self) -> None:
        rng = np.random.default_rng(1)
        label = rng.integers(9, size=400)
        centres = 8 * rng.standard_normal((9, 5))
        found = find_clusters(centres[label] + rng.standard_normal((400, 5)), np.full(5, 64.0), 100, rng)
        assert found is not None
        pairs = np.unique(np.stack([label, found]), axis=1)
        assert pairs.shape[1] == 9

    def test_what_does_not_cluster_is_refused(self) -> None:
        rng = np.random.default_rng(2)
        assert find_clusters(20 * rng.standard_normal((300, 10)), np.full(10, 400.0), 60, rng) is None

    def test_canonical_order_forgets_the_order(self) -> None:
        rng = np.random.default_rng(3)
        rows = rng.integers(3, size=(50, 6))
        mixed = rows[rng.permutation(50)]
        np.testing.assert_array_equal(rows[canonical_order(rows)], mixed[canonical_order(mixed)])


class TestCameraTable:
    def test_rows_are_the_noise_models(self) -> None:
        model = camera(white_clip_dn=60)
        table = camera_table(model, 10.0, 60.0, own_cells=False)
        assert table.pmf is not None
        codes = table.first_code_dn + np.arange(table.pmf.shape[1])
        for row in (0, 20, -1):
            expected = np.exp(model.log_pmf(codes, table.charge_e[row]))
            np.testing.assert_allclose(table.pmf[row], expected, atol=1e-12)

    def test_scale_has_even_noise(self) -> None:
        table = camera_table(camera(bit_depth=12), 20.0, 2000.0, own_cells=True)
        assert table.pmf is None
        sd = np.sqrt(table.variance_dn2[1:-1])
        rows = table.row_of(table.light_dn[1:-1] + sd / 2) - table.row_of(table.light_dn[1:-1] - sd / 2)
        np.testing.assert_allclose(rows / 4, 1, atol=0.08)  # rounding is left out of the scale
        np.testing.assert_allclose(table.light_at(table.row_of(sd)), sd, rtol=1e-12)

    def test_counts_on_a_lattice(self) -> None:
        model = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=3.0, offset_dn=5.0)
        table = camera_table(model, 5.0, 65.0, own_cells=False)
        assert table.pmf is not None
        assert (table.first_code_dn, table.lattice_dn) == (5.0, 3.0)
        np.testing.assert_allclose(table.pmf @ np.arange(table.pmf.shape[1]), table.charge_e, rtol=1e-9, atol=1e-9)

    def test_a_wild_value_does_not_make_the_grid_endless(self) -> None:
        model = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)
        table = camera_table(model, -5.0, 1e12, own_cells=False)
        assert table.light_dn.size <= 2**15
        np.testing.assert_allclose(table.light_at(table.row_of(np.array([0.0, 1e9]))), [0.0, 1e9], atol=1e-3)

    @pytest.mark.parametrize("kind", ["poisson-gaussian", "gaussian"])
    @pytest.mark.parametrize("code", [0.0, 20.0, 255.0])
    def test_one_code_has_a_table(self, kind: str, code: float) -> None:
        table = camera_table(camera(kind=kind, full_well_e=300.0), code, code, own_cells=False)
        assert table.light_dn.size >= 2
        assert np.all(np.diff(table.light_dn) > 0)
        assert np.isfinite(table.row_of(np.array([code - 20.0]))).all()
