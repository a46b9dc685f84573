"""p(z | y), its moments, its entropy and its samples against brute force that shares no code with them."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError

BASE = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.3, "bit_depth": 12}
COMPRESSION = {"coefficients": (-0.15,), "scale_dn": 400.0}


def compress(u: np.ndarray) -> np.ndarray:
    """The curve of COMPRESSION, written out."""
    inside = np.clip(u, 0, 400.0)
    return np.where(u < 0, u, inside * (1 - 0.15 * inside / 400.0) + 0.7 * np.maximum(u - 400.0, 0))


def expand(v: np.ndarray) -> np.ndarray:
    """Its inverse by the formula for quadratics."""
    root = (1 - np.sqrt(np.maximum(1 - 4 * 0.15 * np.clip(v, 0, 340.0) / 400.0, 0))) / (2 * 0.15 / 400.0)
    return np.where(v < 0, v, root + np.maximum(v - 340.0, 0) / 0.7)


def brute_force(y: float, *, gain, read, offset, bits, black=0, white=None, full_well=np.inf, bent=False) -> np.ndarray:
    """P(code) for every code: the sum over n of Poisson times differences of normal distribution functions."""
    white = 2**bits - 1 if white is None else white
    n = np.arange(int(y + 12 * math.sqrt(y) + 60))
    weight = stats.poisson.pmf(n, y)
    edges = np.arange(black + 1, white + 1) - 0.5 - offset  # signal f(u) that starts each code above the lowest
    top = float(compress(np.array(full_well * gain))) if bent and np.isfinite(full_well) else full_well * gain
    u = np.where(edges > top, np.inf, (expand(edges) if bent else edges))
    below = stats.norm.cdf((u[None, :] / gain - n[:, None]) / read)
    cumulative = np.concatenate([[0.0], weight @ below, [1.0]])
    pmf = np.zeros(white + 1)
    pmf[black:] = np.diff(cumulative)
    return pmf


CAMERAS = {
    "plain": dict(gain=0.5, read=3.0, offset=20.3, bits=8),
    "high gain": dict(gain=4.0, read=0.4, offset=30.0, bits=8),
    "low gain": dict(gain=0.05, read=2.0, offset=5.5, bits=6),
    "dark clips": dict(gain=0.5, read=3.0, offset=0.2, bits=8),
    "clips inside": dict(gain=0.5, read=3.0, offset=20.0, bits=8, black=12, white=70),
    "full well": dict(gain=0.5, read=3.0, offset=20.3, bits=8, full_well=150.0),
    "bent": dict(gain=1.0, read=2.5, offset=10.7, bits=9, bent=True),
    "bent full well": dict(gain=1.0, read=2.5, offset=10.7, bits=9, bent=True, full_well=200.0),
}


def model_of(gain, read, offset, bits, black=None, white=None, full_well=None, bent=False) -> NoiseModel:
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=gain,
        read_noise_e=read,
        offset_dn=offset,
        bit_depth=bits,
        black_clip_dn=black,
        white_clip_dn=white,
        full_well_e=full_well,
        response=COMPRESSION if bent else None,
    )


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("y", [0.0, 0.3, 7.0, 60.0, 145.0, 400.0])
def test_probabilities_moments_and_entropy_against_the_full_sum(name, y):
    camera = CAMERAS[name]
    model = model_of(**camera)
    expected = brute_force(y, **camera)
    codes = np.arange(expected.size)
    found = np.exp(model.log_pmf(codes, y))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=2e-12)
    assert found.sum() == pytest.approx(1.0, abs=1e-10)
    table = model.code_table([y])
    assert np.array_equal(table.codes, codes[table.first_code :])
    np.testing.assert_allclose(table.pmf.toarray()[0], expected[table.first_code :], atol=1e-12)
    mean = expected @ codes
    assert model.mean_dn(y) == pytest.approx(mean, abs=1e-9)
    assert model.variance_dn2(y) == pytest.approx(expected @ (codes - mean) ** 2, rel=1e-8, abs=3e-7)
    positive = expected[expected > 1e-18]
    entropy = -np.sum(positive * np.log2(positive))
    assert model.conditional_entropy_bits(y) == pytest.approx(entropy, abs=1e-9)


def test_impossible_codes_have_no_probability_and_possible_ones_always_some():
    model = NoiseModel.from_parameters(**BASE, white_clip_dn=4000, black_clip_dn=64, full_well_e=7000.0)
    top = math.floor(100.3 + 3500 + 0.5)  # the highest code that the full well lets through
    impossible = np.array([99.5, 63, 0, -1, 4001, 4096, top + 1, top + 300, np.nan, np.inf, -np.inf])
    for y in (0.0, 5.0, 6990.0):
        assert np.all(np.isneginf(model.log_pmf(impossible, y)))
        possible = model.log_pmf(np.array([64, 100, 1000, top - 1, top]), y)
        assert np.all(np.isfinite(possible)) and np.all(possible < 0)
    assert model.log_pmf(top, 9000.0) == pytest.approx(0.0, abs=1e-10)
    assert model.log_pmf(top, 9000.0) <= 0
    open_end = NoiseModel.from_parameters(**BASE)
    assert -1e6 < open_end.log_pmf(4095, 5.0) < -1e4
    assert np.isneginf(open_end.log_pmf(4096, 5.0))


def lattice(y: float, gain: Fraction, offset: Fraction, top: int) -> dict[int, float]:
    """Codes of the camera without read noise by enumeration of floor() in exact fractions."""
    out: dict[int, float] = {}
    for n in range(int(y + 14 * math.sqrt(y) + 60)):
        code = min(max(math.floor(offset + gain * n + Fraction(1, 2)), 0), top)
        out[code] = out.get(code, 0.0) + float(stats.poisson.pmf(n, y))
    return out


@pytest.mark.parametrize("kind", ["poisson", "poisson-gaussian"])
@pytest.mark.parametrize(
    ("gain", "offset"),
    [((1, 2), (10, 1)), ((1, 3), (5, 1)), ((3, 10), (5, 10)), ((1, 1), (7, 2)), ((7, 5), (0, 1)), ((5, 2), (-3, 1))],
)
def test_camera_without_read_noise_sits_on_its_lattice(kind, gain, offset):
    gain, offset = Fraction(*gain), Fraction(*offset)
    model = NoiseModel.from_parameters(
        kind=kind, system_gain_dn_per_e=float(gain), offset_dn=float(offset), bit_depth=8
    )
    for y in (0.0, 2.5, 40.0, 300.0):
        expected = lattice(y, gain, offset, 255)
        dense = np.array([expected.get(code, 0.0) for code in range(256)])
        np.testing.assert_allclose(np.exp(model.log_pmf(np.arange(256), y)), dense, atol=1e-11)
        np.testing.assert_allclose(model.code_table([y]).pmf.toarray()[0], dense, atol=1e-11)
        codes, counts = np.unique(model.sample(np.full(2000, y), np.random.default_rng(1)), return_counts=True)
        assert set(codes.tolist()) <= set(expected), "a sampled code that floor() never gives"
        assert counts.max() / 2000 == pytest.approx(max(expected.values()), abs=0.06)


@pytest.mark.parametrize("read", [0.1, 0.4, 3.0])
def test_gaussian_kind_takes_negative_charge(read):
    model = NoiseModel.from_parameters(
        kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=read, offset_dn=50.25, bit_depth=8
    )
    codes = np.arange(256)
    for y in (-40.0, -3.3, 0.0, 20.0, 110.0):
        edges = np.concatenate([[-np.inf], codes[1:] - 0.5, [np.inf]])
        expected = np.diff(stats.norm.cdf(edges, loc=50.25 + 2 * y, scale=2 * read))
        np.testing.assert_allclose(np.exp(model.log_pmf(codes, y)), expected, atol=1e-13)
        mean = expected @ codes
        assert model.mean_dn(y) == pytest.approx(mean, abs=1e-10)
        assert model.variance_dn2(y) == pytest.approx(expected @ (codes - mean) ** 2, abs=1e-9)
        positive = expected[expected > 0]
        assert model.conditional_entropy_bits(y) == pytest.approx(-positive @ np.log2(positive), abs=1e-10)


@pytest.mark.parametrize(
    ("model", "charges"),
    [
        (NoiseModel.from_parameters(**BASE), (0.0, 8500.0)),
        (NoiseModel.from_parameters(**{**BASE, "read_noise_e": 0.0, "offset_dn": 100.0}), (0.0, 8500.0)),
        (NoiseModel.from_parameters(**BASE, full_well_e=5000.0), (4000.0, 6000.0)),
        (NoiseModel.from_parameters(**{**BASE, "read_noise_e": 0.6}, kind="gaussian"), (-300.0, 8500.0)),
        (NoiseModel.from_parameters(**{**BASE, "read_noise_e": 8.0}, kind="gaussian"), (0.0, 8500.0)),
    ],
    ids=["plain", "no read noise", "full well", "gaussian, coarse", "gaussian, fine"],
)
def test_many_charges_agree_with_few(model, charges):
    """Above 4096 different charges rows may be interpolated; below they are exact."""
    y = np.linspace(*charges, 7001)
    some = slice(3, None, 50)
    entropy, mean, variance = model.conditional_entropy_bits(y), model.mean_dn(y), model.variance_dn2(y)
    assert np.max(np.abs(entropy[some] - model.conditional_entropy_bits(y[some]))) < 1e-5
    assert np.max(np.abs(mean[some] - model.mean_dn(y[some]))) < 1e-5
    np.testing.assert_allclose(variance[some], model.variance_dn2(y[some]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("response", [None, COMPRESSION], ids=["linear", "bent"])
@pytest.mark.parametrize("kind", ["poisson-gaussian", "gaussian"])
@pytest.mark.parametrize("y", [0.0, 2.0, 120.0])
def test_real_values_have_a_density(kind, response, y):
    model = NoiseModel.from_parameters(
        kind=kind, system_gain_dn_per_e=2.0, read_noise_e=0.8, offset_dn=-5.0, response=response
    )
    spread = math.sqrt(0.64 + (y if kind != "gaussian" else 0))
    z = np.linspace(-5 - 30, -5 + 2 * (y + 14 * spread + 12), 60_001)
    log_density = model.log_pmf(z, y)
    density = np.exp(log_density)
    step = z[1] - z[0]
    assert density.sum() * step == pytest.approx(1.0, abs=2e-6)
    entropy = -np.sum(density * np.where(density > 0, log_density, 0.0)) * step / math.log(2)
    assert model.conditional_entropy_bits(y) == pytest.approx(entropy, abs=1e-5)
    if response is None:
        mean = np.sum(density * z) * step
        assert model.mean_dn(y) == pytest.approx(mean, abs=1e-5)
        assert model.variance_dn2(y) == pytest.approx(np.sum(density * (z - mean) ** 2) * step, rel=1e-5)
    if kind == "gaussian" and response is None:
        np.testing.assert_allclose(log_density, stats.norm.logpdf(z, -5 + 2 * y, 1.6), rtol=1e-10)


def test_real_values_of_the_poisson_kind_stay_on_their_lattice():
    model = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=0.3, offset_dn=1.0)
    n = np.arange(60)
    np.testing.assert_allclose(model.log_pmf(1 + 0.3 * n, 8.0), stats.poisson.logpmf(n, 8.0), rtol=1e-10)
    assert np.all(np.isneginf(model.log_pmf([0.7, 1.15, 1.299], 8.0)))
    assert model.conditional_entropy_bits(8.0) == pytest.approx(stats.poisson.entropy(8.0) / math.log(2), abs=1e-8)


@pytest.mark.parametrize("name", [*CAMERAS, "poisson", "gaussian"])
def test_samples_follow_the_probabilities(name):
    if name in CAMERAS:
        model = model_of(**CAMERAS[name])
    else:
        read = 1.5 if name == "gaussian" else 0.0
        model = NoiseModel.from_parameters(
            kind=name, system_gain_dn_per_e=0.7, read_noise_e=read, offset_dn=10.2, bit_depth=8
        )
    rng = np.random.default_rng(7)
    n_samples = 40_000
    for y in (0.0, 6.0, 130.0):
        expected = n_samples * np.exp(model.log_pmf(np.arange(model.camera.white_clip_dn + 1), y))
        counts = np.bincount(model.sample(np.full(n_samples, y), rng), minlength=expected.size)
        common = expected >= 10
        observed = np.append(counts[common], counts[~common].sum())
        predicted = np.append(expected[common], expected[~common].sum())
        chi2 = float(np.sum((observed - predicted)[predicted > 0] ** 2 / predicted[predicted > 0]))
        if predicted[-1] < 5:  # few expected: only a gross excess would count
            chi2 -= float((observed[-1] - predicted[-1]) ** 2 / max(predicted[-1], 1e-12))
            assert observed[-1] <= predicted[-1] + 6 * math.sqrt(predicted[-1]) + 6
        dof = max(1, int(common.sum()) - 1)
        assert chi2 < stats.chi2.ppf(1 - 1e-4, dof)


def test_samples_have_the_type_of_the_recording():
    rng = np.random.default_rng(0)
    y = np.full((2, 3), 5.0)
    for bits, dtype in ((8, np.uint16), (16, np.uint16), (17, np.uint32), (None, np.float64)):
        codes = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=1.0, bit_depth=bits).sample(y, rng)
        assert codes.dtype == dtype and codes.shape == y.shape
    assert NoiseModel.from_parameters(**BASE).sample(3.0, rng).shape == ()
    one, two = (NoiseModel.from_parameters(**BASE).sample(y, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, two)


@given(st.integers(1, 500), st.floats(0, 900), st.floats(-0.5, 0.5))
@settings(max_examples=40)
def test_an_offset_of_whole_codes_shifts_the_codes(shift, y, part):
    one = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=300 + part, bit_depth=12)
    other = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=300 + part + shift, bit_depth=12
    )
    codes = np.arange(200, 900)
    np.testing.assert_allclose(other.log_pmf(codes + shift, y), one.log_pmf(codes, y), rtol=1e-7, atol=1e-7)
    assert other.mean_dn(y) == pytest.approx(one.mean_dn(y) + shift, abs=1e-7)
    assert other.variance_dn2(y) == pytest.approx(float(one.variance_dn2(y)), rel=1e-7)
    assert other.conditional_entropy_bits(y) == pytest.approx(float(one.conditional_entropy_bits(y)), abs=1e-7)


def test_moments_are_those_of_the_physics_where_rounding_is_fine():
    model = NoiseModel.from_parameters(**{**BASE, "system_gain_dn_per_e": 2.0, "bit_depth": 16})
    y = np.array([0.0, 10.0, 1000.0, 20000.0])
    np.testing.assert_allclose(model.mean_dn(y), 100.3 + 2 * y, atol=1e-8)
    np.testing.assert_allclose(model.variance_dn2(y), 4 * (y + 9) + 1 / 12, rtol=1e-9)


def test_sixteen_bit_table_is_small_and_exact():
    """4000 rows of 65536 codes would be 2 GiB when stored in full."""
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=2.0, read_noise_e=1.5, offset_dn=100.0, bit_depth=16, black_clip_dn=3
    )
    y = np.linspace(0, 33_000, 4000)
    tracemalloc.start()
    table = model.code_table(y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600e6
    np.testing.assert_allclose(table.pmf.sum(axis=1), 1.0, atol=1e-12)
    mean, variance = table.moments()
    np.testing.assert_allclose(mean[:3800], 100 + 2 * y[:3800], atol=1e-6)
    np.testing.assert_allclose(variance[:3800], 4 * (y[:3800] + 2.25) + 1 / 12, rtol=1e-7)
    assert table.first_code == 3 and table.codes[-1] == 65535
    row = table.pmf[[1234]].toarray()[0]
    busy = np.flatnonzero(row > 1e-12)
    np.testing.assert_allclose(row[busy], np.exp(model.log_pmf(busy + 3, y[1234])), rtol=1e-6)


def test_arrays_broadcast_and_empty_ones_stay_empty():
    model = NoiseModel.from_parameters(**BASE)
    assert model.log_pmf(np.arange(5), np.zeros((3, 1))).shape == (3, 5)
    assert model.mean_dn(np.zeros((2, 3, 4))).shape == (2, 3, 4)
    assert model.conditional_entropy_bits(7.0).shape == ()
    for empty in (model.mean_dn([]), model.log_pmf([], []), model.conditional_entropy_bits(np.zeros((0, 3)))):
        assert empty.size == 0


@pytest.mark.parametrize("bits", [None, 12])
@pytest.mark.parametrize(
    ("y", "said"), [(np.nan, ("1 values", "finite")), (np.inf, ("finite",)), (-0.5, ("-0.5", "0 or more electrons"))]
)
def test_illegal_charge_is_named(bits, y, said):
    model = NoiseModel.from_parameters(**{**BASE, "bit_depth": bits})
    calls = (
        lambda: model.sample([5.0, y], np.random.default_rng(0)),
        lambda: model.log_pmf(100, [5.0, y]),
        lambda: model.mean_dn([5.0, y]),
        lambda: model.variance_dn2([5.0, y]),
        lambda: model.conditional_entropy_bits([5.0, y]),
    )
    for call in calls:
        with pytest.raises(PhotonbitsError) as error:
            call()
        assert all(word in str(error.value) for word in said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "binomial"}, ("'binomial'", "poisson-gaussian, poisson, gaussian")),
        ({"system_gain_dn_per_e": 0.0}, ("system_gain_dn_per_e is 0", "above 0")),
        ({"system_gain_dn_per_e": np.nan}, ("system_gain_dn_per_e is nan", "above 0")),
        ({"system_gain_dn_per_e": -1.0, "full_well_e": 100}, ("system_gain_dn_per_e is -1", "above 0")),
        ({"read_noise_e": -2.0}, ("read_noise_e is -2", "0 or more")),
        ({"read_noise_e": np.inf}, ("read_noise_e is inf", "0 or more")),
        ({"offset_dn": np.nan}, ("offset_dn nan", "finite")),
        ({"bit_depth": 0}, ("bit_depth 0", "1 to 32")),
        ({"bit_depth": -3}, ("bit_depth -3", "1 to 32")),
        ({"bit_depth": 33}, ("bit_depth 33", "1 to 32")),
        ({"bit_depth": 12.5}, ("bit_depth is 12.5", "1 to 32")),
        ({"bit_depth": "12"}, ("bit_depth is '12'", "1 to 32")),
        ({"white_clip_dn": 5000}, ("white_clip_dn 5000", "<= 4095")),
        ({"white_clip_dn": 99.5}, ("white_clip_dn is 99.5", "whole")),
        ({"black_clip_dn": -1}, ("black_clip_dn -1", "0 <=")),
        ({"black_clip_dn": 50, "white_clip_dn": 50}, ("black_clip_dn 50", "black < white")),
        ({"black_clip_dn": np.nan}, ("black_clip_dn is nan", "whole")),
        ({"white_clip_dn": 99, "bit_depth": None}, ("white_clip_dn is 99", "bit_depth")),
        ({"full_well_e": 0.0}, ("full_well_e is 0", "positive")),
        ({"full_well_e": np.inf}, ("full_well_e is inf", "positive")),
        ({"dark_current_e_per_s": -4.0}, ("dark_current_e_per_s is -4", "0 or more")),
        ({"dark_current_e_per_s": np.nan}, ("dark_current_e_per_s is nan", "0 or more")),
        ({"kind": "poisson"}, ("read_noise_e 3", "poisson-gaussian")),
        ({"kind": "gaussian", "read_noise_e": 0.0}, ("read_noise_e 0", "positive")),
        ({"response": {"coefficients": (0.1,)}}, ("scale_dn", "mapping")),
        ({"response": {"coefficients": (-0.9,), "scale_dn": 10.0}}, ("falls", "non-decreasing")),
        ({"kind": "poisson", "read_noise_e": 0.0, "bit_depth": None, "response": COMPRESSION}, ("linear response",)),
    ],
)
def test_illegal_parameters_are_named_with_what_is_legal(change, said):
    with pytest.raises(PhotonbitsError) as error:
        NoiseModel.from_parameters(**{**BASE, **change})
    assert all(word in str(error.value) for word in said), str(error.value)


def test_given_values_are_marked_as_such():
    model = NoiseModel.from_parameters(**BASE, full_well_e=7000.0, dark_current_e_per_s=2.0)
    assert [entry.code for entry in model.document.fit.flags] == ["not_measured"]
    assert all(entry.std is None for entry in model.document.parameters.values())
    assert model.parameter("dark_current_e_per_s").value == 2.0
    assert model.parameter("prnu_percent") is None
