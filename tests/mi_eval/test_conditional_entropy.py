"""H(Z|Y) against known truth, its error bars against simulation, its slopes against complete fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError
from calibrate.response import Response
from mi_eval.conditional_entropy import ConditionalEntropy, conditional_entropy
from mi_eval.histograms import FrameHistograms, frame_histograms
from mi_eval.pixel_classes import classify_pixels


def _camera(gain: float = 0.5, read: float = 1.5, offset: float = 100.0, bits: int | None = 12) -> NoiseModel:
    return NoiseModel.from_parameters(system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=offset, bit_depth=bits)


def _count(model: NoiseModel, z: np.ndarray, frames: int = 1) -> FrameHistograms:
    return frame_histograms(z.reshape(frames, -1), np.arange(frames), classify_pixels(model))


def _fit(model: NoiseModel, y: np.ndarray, seed: int) -> ConditionalEntropy:
    return conditional_entropy(_count(model, model.sample(y, np.random.default_rng(seed))), model)


def _expected(model: NoiseModel, law: stats.rv_continuous) -> float:
    """E[h(Y)] by the midpoint rule over 8000 quantiles."""
    return float(np.mean(model.conditional_entropy_bits(law.ppf((np.arange(8000) + 0.5) / 8000))))


@pytest.mark.parametrize("mean", [2.0, 20.0, 200.0])
def test_gamma_law(mean: float) -> None:
    model, n = _camera(), 1_000_000
    truth = _expected(model, stats.gamma(4, scale=mean / 4))
    result = _fit(model, np.random.default_rng(1).gamma(4, mean / 4, n), 2)
    assert result.identifiable
    assert abs(result.value_bits - truth) < min(4 * result.sampling_std_bits, 0.002)
    assert result.sampling_std_bits < 5e-4
    lo, hi = result.interval_bits
    assert lo <= result.value_bits <= hi < lo + 5e-4
    assert result.law is not None and result.law.certified_gap_nats <= 0.5


@pytest.mark.parametrize("slope", [0.3, 0.7])
def test_a_law_through_a_knee(slope: float) -> None:
    """Light on both sides of a knee at 400 e-, an eighth of it within the noise of it."""
    response = {"form": "two-slope", "coefficients": (1.0, slope), "scale_dn": 400.0}
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=1.0, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, response=response
    )
    truth = _expected(model, stats.gamma(4, scale=100))
    assert truth < _expected(model.with_parameters(response=Response()), stats.gamma(4, scale=100)) - 0.05
    result = _fit(model, np.random.default_rng(1).gamma(4, 100, 400_000), 2)
    assert result.identifiable
    assert abs(result.value_bits - truth) < min(4 * result.sampling_std_bits, 0.003)


def test_codes_coarser_than_the_noise_beyond_a_knee_leave_a_range() -> None:
    """0.6 DN of read noise in the dark; 0.4 DN of all noise beyond a knee at 400 e-, where a fifth of the light is."""
    response = {"form": "two-slope", "coefficients": (1.0, 0.1), "scale_dn": 80.0}
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.2, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, response=response
    )
    y = np.random.default_rng(1).gamma(4, 75, 60_000)
    result = _fit(model, y, 2)
    lo, hi = result.interval_bits
    assert not result.identifiable and lo <= model.conditional_entropy_bits(y).mean() <= hi
    assert _fit(model, np.minimum(y, 250.0), 2).identifiable


def test_sparse_two_level_law() -> None:
    model = _camera()
    y = np.where(np.random.default_rng(3).random(400_000) < 0.95, 0.0, 60.0)
    result = _fit(model, y, 4)
    assert abs(result.value_bits - model.conditional_entropy_bits(y).mean()) < 0.002


@pytest.mark.parametrize("bits", [8, 12])
def test_clipping_at_white(bits: int) -> None:
    white = 2**bits - 1
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=10, bit_depth=bits, black_clip_dn=2
    )
    y = np.random.default_rng(5).gamma(4, 0.5 * white / 2, 600_000)
    z = model.sample(y, np.random.default_rng(6))
    assert 0.003 < np.mean(z == white) < 0.2
    result = conditional_entropy(_count(model, z), model)
    assert abs(result.value_bits - model.conditional_entropy_bits(y).mean()) < 0.002


def test_sixteen_bits_and_bright() -> None:
    model = _camera(1.0, 3.0, 500.0, 16)
    y = np.random.default_rng(7).gamma(4, 1000, 200_000)
    assert abs(_fit(model, y, 8).value_bits - model.conditional_entropy_bits(y).mean()) < 0.002


def test_one_code_only() -> None:
    model = _camera(gain=0.5)
    z = np.full(300, 104, dtype=np.uint16)
    result = conditional_entropy(_count(model, z), model)
    assert np.isfinite(result.value_bits) and 0 <= result.value_bits < 3
    dark = _camera(gain=0.02)
    lo, hi = conditional_entropy(_count(dark, np.full(300, 100, dtype=np.uint16)), dark).interval_bits
    assert lo <= float(dark.conditional_entropy_bits(0.0)) <= hi


def test_whole_offset_shift_changes_nothing() -> None:
    model, moved = _camera(offset=100.3), _camera(offset=137.3)
    z = model.sample(np.random.default_rng(9).gamma(4, 5, 50_000), np.random.default_rng(10))
    a = conditional_entropy(_count(model, z), model)
    b = conditional_entropy(_count(moved, z + 37), moved)
    assert b.value_bits == pytest.approx(a.value_bits, abs=1e-9)
    np.testing.assert_allclose(b.influence_bits, a.influence_bits, atol=1e-6)


def test_order_of_frames_changes_nothing_and_influence_reproduces_the_value() -> None:
    model = _camera()
    z = model.sample(np.random.default_rng(11).gamma(4, 5, (30, 1000)), np.random.default_rng(12))
    a = _count(model, z, 30)
    b = _count(model, z[::-1], 30)
    result = conditional_entropy(a, model)
    assert conditional_entropy(b, model).value_bits == result.value_bits
    frames = result.frame_influence(a)
    np.testing.assert_allclose(result.frame_influence(b), frames[::-1])
    assert frames.shape == (30,)
    assert frames.mean() == pytest.approx(result.value_bits, abs=1e-9)


@pytest.mark.parametrize("mean", [2.0, 20.0])
def test_influence_predicts_the_sampling_scatter(mean: float) -> None:
    model, n, values, predicted = _camera(), 30_000, [], []
    rng = np.random.default_rng(13)
    for _ in range(120):
        result = conditional_entropy(_count(model, model.sample(rng.gamma(4, mean / 4, n), rng)), model)
        values.append(result.value_bits)
        predicted.append(result.sampling_std_bits)
    # 120 draws know a standard deviation to 6.5 %.
    assert np.sqrt(np.mean(np.square(predicted))) == pytest.approx(np.std(values, ddof=1), rel=0.2)


@pytest.mark.parametrize("mean", [2.0, 200.0])
def test_slopes_match_complete_fits(mean: float) -> None:
    model = _camera()
    z = model.sample(np.random.default_rng(14).gamma(4, mean / 4, 300_000), np.random.default_rng(15))
    histograms = _count(model, z)
    slopes = conditional_entropy(histograms, model).parameter_sensitivity_bits
    for name, step in (("system_gain_dn_per_e", 0.01 * 0.5), ("read_noise_e", 0.05 * 1.5), ("offset_dn", 0.1)):
        at = float(getattr(model.camera, name))
        ends = [
            conditional_entropy(histograms, model.with_parameters(**{name: at + s * step})).value_bits for s in (-1, 1)
        ]
        assert slopes[name] * step == pytest.approx((ends[1] - ends[0]) / 2, rel=0.1, abs=2e-4), name
    # The published magnitudes: +1 % of K costs 0.007 bit where shot noise rules.
    if mean == 200.0:
        assert slopes["system_gain_dn_per_e"] * 0.005 == pytest.approx(0.0072, abs=0.0005)
    else:
        assert slopes["read_noise_e"] * 0.075 == pytest.approx(0.040, abs=0.006)
        assert slopes["offset_dn"] * 0.1 == pytest.approx(-0.037, abs=0.005)


def test_real_valued_measurements() -> None:
    real = _camera(offset=3.3, bits=None)
    y = np.random.default_rng(16).gamma(4, 5, 200_000)
    result = _fit(real, y, 17)
    assert result.differential and result.identifiable
    grid = np.linspace(0, 120, 400)
    truth = np.mean(np.interp(y, grid, real.conditional_entropy_bits(grid)))
    assert abs(result.value_bits - truth) < 0.002


def test_gaussian_kind_is_constant() -> None:
    model = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=1.5)
    z = np.random.default_rng(18).normal(5, 9, (4, 1000))
    result = conditional_entropy(_count(model, z, 4), model)
    assert result.value_bits == pytest.approx(0.5 * np.log2(2 * np.pi * np.e * 9), abs=1e-12)
    assert result.identifiable and result.interval_bits == (result.value_bits, result.value_bits)
    assert result.parameter_sensitivity_bits["read_noise_e"] == pytest.approx(1 / (1.5 * np.log(2)))


def test_gaussian_codes_may_be_negative_charge() -> None:
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100.2, bit_depth=12
    )
    y = np.random.default_rng(19).normal(-20, 8, 100_000)
    assert abs(_fit(model, y, 20).value_bits - model.conditional_entropy_bits(y).mean()) < 0.001


def test_poisson_lattice() -> None:
    model = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=2.0, offset_dn=0.5)
    y = np.random.default_rng(21).gamma(4, 5, 100_000)
    z = model.sample(y, np.random.default_rng(22))
    result = conditional_entropy(_count(model, z), model)
    truth = float(np.mean(model.conditional_entropy_bits(y[:4000])))
    assert not result.identifiable
    assert result.interval_bits[0] - 0.01 <= truth <= result.interval_bits[1] + 0.01
    with pytest.raises(PhotonbitsError, match="off the lattice"):
        _count(model, z + 0.7)


def test_outliers_beyond_the_tails_do_no_harm() -> None:
    model = _camera(bits=16)
    y = np.random.default_rng(23).gamma(4, 5, 200_000)
    z = model.sample(y, np.random.default_rng(24))
    z[:4] = (2, 60_000, 3_000, 80)
    assert (
        abs(conditional_entropy(_count(model, z), model).value_bits - model.conditional_entropy_bits(y).mean()) < 0.003
    )


def test_bad_input_is_explained() -> None:
    model = _camera()
    classes = classify_pixels(model)
    with pytest.raises(PhotonbitsError, match="fractional"):
        frame_histograms(np.array([[100.5]]), [0], classes)
    with pytest.raises(PhotonbitsError, match=r"code 5000.*0 to 4095"):
        frame_histograms(np.array([[5000]]), [0], classes)
    with pytest.raises(PhotonbitsError, match="NaN"):
        frame_histograms(np.array([[np.nan]]), [0], classify_pixels(_camera(bits=None)))
    result = conditional_entropy(_count(model, np.full((1, 50), 104)), model)
    with pytest.raises(PhotonbitsError, match="codes from"):
        result.frame_influence(_count(model, np.full((1, 50), 105)))
    parity = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=2.0, bit_depth=8)
    with pytest.raises(PhotonbitsError, match=r"code 5 was measured 50 times"):
        conditional_entropy(_count(parity, np.full((1, 50), 5)), parity)
