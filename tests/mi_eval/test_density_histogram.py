"""The code histogram: smoothing that costs little and cells that keep their mass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.histogram import CodeHistogram, FittedHistogram
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import PatchSet

CODES = np.arange(4096)
LOWER = np.concatenate([[-np.inf], CODES[1:] - 0.5])
UPPER = np.concatenate([CODES[:-1] + 0.5, [np.inf]])


def patches_of(codes: NDArray[Any], **options: Any) -> PatchSet:
    n = codes.size // 64
    cut = codes[: n * 64].reshape(n, 8, 8)
    settings: dict[str, Any] = {"black_clip_dn": 0, "white_clip_dn": 4095, "noise_variance_dn2": 100.0}
    return PatchSet(cut, np.arange(n), **(settings | options))


def excess_bits(p: NDArray[Any], n_train: int = 250_000, **options: Any) -> float:
    """Kullback-Leibler distance of the fitted law from the law that the codes were drawn from."""
    rng = np.random.default_rng(0)
    train, validation = (patches_of(rng.choice(4096, n, p=p), **options) for n in (n_train, n_train // 5))
    q = CodeHistogram().fit(train, validation, 0).histogram.mass(LOWER, UPPER)
    assert q.sum() == pytest.approx(1, abs=1e-12)
    assert q.min() > 0
    seen = p > 0
    return float(np.sum(p[seen] * np.log2(p[seen] / q[seen])))


def normal_law(mean: float, sd: float) -> NDArray[Any]:
    return np.asarray(ndtr((UPPER - mean) / sd) - ndtr((LOWER - mean) / sd))


@pytest.mark.parametrize("noise_variance_dn2", [1.0, 100.0, 2500.0])
def test_sparse_codes_of_a_smooth_law(noise_variance_dn2: float) -> None:
    assert 0 <= excess_bits(normal_law(2000, 800), noise_variance_dn2=noise_variance_dn2) < 0.001


def test_a_flat_law_with_cut_ends() -> None:
    p = np.where((CODES > 300) & (CODES < 3900), 1.0, 0.0)
    assert excess_bits(p / p.sum()) < 0.003


def test_saturated_and_stuck_codes_stay_sharp() -> None:
    p = 0.8 * normal_law(2000, 600)
    p[4095] += 0.1
    p[0] += 0.05
    p[1234] += 0.05
    assert excess_bits(p) < 0.003


def test_a_comb_of_missing_codes() -> None:
    p = normal_law(1000, 100) * (CODES % 2)
    assert excess_bits(p / p.sum()) < 0.003


def test_few_codes_are_exact() -> None:
    p = np.zeros(4096)
    p[[700, 701]] = 0.3, 0.7
    assert excess_bits(p) < 1e-4


def test_few_pixels() -> None:
    assert excess_bits(normal_law(2000, 100), n_train=640) < 0.15


def test_fractional_offset_keeps_bins_on_cells() -> None:
    codes = np.random.default_rng(0).choice([700, 701], 64_000)
    patches = patches_of(codes, offset_dn=64.37)
    bits = CodeHistogram().fit(patches, patches, 0).code_length_bits(patches) / 64
    assert bits.mean() == pytest.approx(1, abs=1e-3)


def test_wide_range_is_coarsened() -> None:
    rng = np.random.default_rng(0)
    train, validation, test = (patches_of(rng.integers(0, 1 << 31, 64_000), white_clip_dn=None) for _ in range(3))
    fitted = CodeHistogram().fit(train, validation, 0)
    assert fitted.histogram.bins.size < 1 << 19
    assert fitted.code_length_bits(test).mean() / 64 == pytest.approx(31, abs=0.02)


def test_wild_real_value_does_not_stretch_the_bins() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=6400)
    values[17] = 1e9
    patches = PatchSet(values.reshape(100, 8, 8), np.arange(100), 0.0, lattice_dn=None)
    test = PatchSet(rng.normal(size=(100, 8, 8)), np.arange(100), 0.0, lattice_dn=None)
    fitted = CodeHistogram().fit(patches, test, 0)
    truth = 0.5 * np.log2(2 * np.pi * np.e)
    assert fitted.code_length_bits(test).mean() / 64 == pytest.approx(truth, abs=0.03)


def test_real_values_that_are_one_value_are_refused() -> None:
    patches = PatchSet(np.full((5, 8, 8), 3.0), np.arange(5), 0.0, lattice_dn=None)
    with pytest.raises(PhotonbitsError, match="80 % are one value"):
        CodeHistogram().fit(patches, patches, 0)


def test_mass_is_the_difference_of_the_cdf() -> None:
    histogram = LightHistogram(
        origin_dn=-2.0,
        step_dn=0.5,
        bins=np.array([0.2, 0.5, 0.3]),
        below=0.1,
        above=0.2,
        tail_weight=1e-3,
        tail_centre_dn=0.0,
        tail_scale_dn=2.0,
    )
    edges = np.array([-np.inf, -7.0, -1.9, -1.2, -0.6, 3.0, np.inf])
    cdf = histogram.cdf(edges)
    assert cdf[0] == 0 and cdf[-1] == 1
    np.testing.assert_allclose(histogram.mass(edges[:-1], edges[1:]), np.diff(cdf), rtol=1e-12)
    fine = np.linspace(-1.99, -0.51, 2001)
    integral = np.trapezoid(histogram.density(fine), fine)
    assert integral == pytest.approx(float(np.diff(histogram.cdf(fine[[0, -1]]))[0]), abs=1e-3)


def test_fitted_type() -> None:
    patches = patches_of(np.random.default_rng(0).integers(0, 50, 640))
    assert isinstance(CodeHistogram().fit(patches, patches, 0), FittedHistogram)
