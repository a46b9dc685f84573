"""Deconvolution of the charge's law: certificate, optimality, odd histograms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.charge_grid import charge_grid, class_rows, class_tables, group_codes
from mi_eval.intensity import fit_intensity_law

OFFSET = 100.0


def _camera(gain: float = 0.5, read: float = 1.5) -> NoiseModel:
    return NoiseModel.from_parameters(system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=OFFSET, bit_depth=12)


def _problem(model, codes, group_width=1 / 3):  # type: ignore[no-untyped-def]
    first = int(codes.min())
    counts = np.bincount(codes - first)
    charge = (first + np.arange(counts.size) - OFFSET) / float(model.camera.system_gain_dn_per_e)
    variance = float(model.camera.read_noise_e) ** 2
    group = group_codes(charge, variance, poisson=True, width=group_width)
    y_e = charge_grid(charge[counts > 0], variance, poisson=True)
    table, entropy = class_rows(model, y_e, first, group)
    return np.bincount(group, weights=counts), table, entropy, y_e


def _log_likelihood(counts, table, weights):  # type: ignore[no-untyped-def]
    p = np.asarray(table.T @ weights)
    seen = counts > 0
    return float(counts[seen] @ np.log(p[seen]))


@pytest.mark.parametrize(("mean", "n"), [(0.5, 300), (2, 65_536), (200, 65_536), (40, 4_000_000)])
def test_certified_gap_bounds_every_other_law(mean: float, n: int) -> None:
    rng = np.random.default_rng(11)
    model = _camera()
    codes = model.sample(rng.gamma(4, mean / 4, n), rng).astype(np.int64)
    counts, table, _, y_e = _problem(model, codes)
    law = fit_intensity_law([counts], [table], y_e)
    # The certificate again, in dense arithmetic.
    dense = table.toarray()
    p = law.weights @ dense
    gradient = dense[:, counts > 0] @ (counts[counts > 0] / p[counts > 0]) - n
    assert gradient.max() <= 0.5
    assert gradient.max() == pytest.approx(law.certified_gap_nats, abs=0.005)
    assert law.weights.sum() == pytest.approx(1, abs=1e-12)
    assert law.weights.min() >= 0
    # No law beats it by more than the gap: 2000 steps of expectation-maximisation from elsewhere.
    w = np.full(y_e.size, 1 / y_e.size)
    for _ in range(2000):
        w = w * (dense[:, counts > 0] @ (counts[counts > 0] / (w @ dense)[counts > 0])) / n
    best = _log_likelihood(counts, table, law.weights)
    assert _log_likelihood(counts, table, w) <= best + law.certified_gap_nats + 1e-6 * n**0.5
    if n > 300:  # a charge cannot be negative, a mean of few codes can ask for it
        assert law.mean_e == pytest.approx((codes.mean() - OFFSET) / 0.5, rel=0.02)


def test_one_code_only() -> None:
    counts, table, _, y_e = _problem(_camera(), np.full(500, 110))
    law = fit_intensity_law([counts], [table], y_e)
    assert law.certified_gap_nats <= 0.5
    assert law.mean_e == pytest.approx(20, abs=2)


def test_two_classes_share_one_law() -> None:
    rng = np.random.default_rng(5)
    y = np.where(rng.random(200_000) < 0.3, 3.0, 40.0)
    quiet, loud = _camera(read=1.5), _camera(read=6.0)
    y_e = charge_grid(np.linspace(0, 90, 200), 1.5**2, poisson=True)
    first, group = 60, np.arange(140)
    tables, counts = [], []
    for model, part in ((quiet, y[:60_000]), (loud, y[60_000:])):
        tables.append(class_rows(model, y_e, first, group)[0])
        counts.append(np.bincount(model.sample(part, rng).astype(np.int64) - first, minlength=140))
    law = fit_intensity_law(counts, tables, y_e)
    assert law.weights[y_e < 15].sum() == pytest.approx(0.3, abs=0.005)
    assert 0 < law.deviance < 1.5 * law.n_occupied


def test_wrong_noise_model_shows_in_the_deviance() -> None:
    rng = np.random.default_rng(6)
    codes = _camera(read=1.5).sample(np.full(100_000, 10.0), rng).astype(np.int64)
    counts, table, _, y_e = _problem(_camera(read=4.0), codes)
    law = fit_intensity_law([counts], [table], y_e)
    assert law.deviance > 10 * law.n_occupied


def test_impossible_code_is_named() -> None:
    table = sparse.csr_array(np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]]))
    with pytest.raises(PhotonbitsError, match=r"code 42 was measured 3 times.*offset"):
        fit_intensity_law([np.array([5, 5, 3])], [table], np.array([0.0, 1.0]), column_codes=np.array([40, 41, 42]))


def test_empty_histogram_is_refused() -> None:
    with pytest.raises(PhotonbitsError, match="without counts"):
        fit_intensity_law([np.zeros(2)], [np.eye(2)], np.array([0.0, 1.0]))


def test_grid_follows_the_blur_and_skips_gaps() -> None:
    y = charge_grid(np.array([5.0, 5000.0]), 2.25, poisson=True)
    steps = np.diff(y) / np.sqrt(y[:-1] + 2.25)
    assert np.count_nonzero(steps > 0.3) == 1  # the gap between the two levels
    assert y[0] == 0 and np.all(np.diff(y) > 0)
    shotless = charge_grid(np.array([-20.0, 20.0]), 4.0, poisson=False)
    assert shotless[0] < -30 and np.ptp(np.diff(shotless)[:20]) < 1e-9


def test_groups_are_adjacent_narrow_and_keep_open_codes_apart() -> None:
    charge = np.append(np.arange(0.0, 4000.0, 2.0), [np.inf, np.inf])
    group = group_codes(charge, 2.25, poisson=True)
    assert set(np.diff(group)) <= {0, 1}
    assert group[-1] == group[-2] + 1 == group[-3] + 2
    for g in np.unique(group[:-2]):
        inside = charge[:-2][group[:-2] == g]
        assert np.ptp(inside) <= np.sqrt(inside.mean() + 2.25) / 3 + 1e-9


def test_class_rows_are_the_models_own_probabilities() -> None:
    model = _camera()
    y_e, first = np.array([0.0, 3.0, 50.0]), 95
    group = np.arange(60) // 2
    table, entropy = class_rows(model, y_e, first, group)
    exact = np.exp(model.log_pmf(first + np.arange(60), y_e[:, None])).reshape(3, 30, 2).sum(axis=2)
    np.testing.assert_allclose(table.toarray(), exact, atol=1e-12)
    np.testing.assert_allclose(entropy, model.conditional_entropy_bits(y_e), atol=1e-9)


def test_class_tables_are_weighted_sums_of_class_rows() -> None:
    models = [_camera(), _camera(0.6, 4.0), _camera(0.45, 0.8)]
    y_e, first, group = np.array([0.0, 2.0, 3.0, 50.0, 51.0, 4000.0]), 95, np.arange(2400) // 2
    tables, entropies = class_tables(models, [0, 1, 0], [0.3, 1.0, 0.7], y_e, first, group, response_error=0.01)
    for share, table in zip(([0.3, 0.0, 0.7], [0.0, 1.0, 0.0]), tables, strict=True):
        expected = sum(
            s
            * np.tensordot(
                [1 / 6, 2 / 3, 1 / 6],
                [
                    np.exp(m.log_pmf(first + np.arange(2400), e * y_e[:, None])).reshape(6, 1200, 2).sum(axis=2)
                    for e in (1 - 0.01 * 3**0.5, 1, 1 + 0.01 * 3**0.5)
                ],
                axes=1,
            )
            for s, m in zip(share, models, strict=True)
        )
        np.testing.assert_allclose(table.toarray(), expected, atol=1e-11)
    for model, entropy in zip(models, entropies, strict=True):
        np.testing.assert_allclose(class_rows(model, y_e, first, group, response_error=0.01)[1], entropy, atol=1e-12)


def test_response_error_is_noise() -> None:
    model = _camera()
    _, without = class_rows(model, np.array([400.0]), 0, np.arange(4096))
    _, with_error = class_rows(model, np.array([400.0]), 0, np.arange(4096), response_error=0.02)
    extra = (0.02 * 400) ** 2 / (400 + 1.5**2 + 1 / 3)
    assert with_error[0] - without[0] == pytest.approx(0.5 * np.log2(1 + extra), abs=0.002)


def test_real_values_get_the_differential_entropy() -> None:
    real = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=0.4, offset_dn=0.0)
    step = 0.5 * 0.4 / 4
    coded = real.with_parameters(
        system_gain_dn_per_e=0.5 / step, offset_dn=50.0, bit_depth=32, black_clip_dn=0, white_clip_dn=2000
    )
    y_e = np.array([0.0, 0.3, 2.0, 20.0])
    _, entropy = class_rows(coded, y_e, 0, np.arange(2001), step_dn=step)
    np.testing.assert_allclose(entropy, real.conditional_entropy_bits(y_e), atol=3e-4)
