"""Brighter-fatter against its differential equation, slow sums, and sensors of known shifts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import convolve2d

from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures
from calibrate.level_statistics import correlations_rise, measure_levels
from calibrate.level_statistics.covariances import NeighbourCovariances, neighbour_covariances
from calibrate.photon_transfer import fit as fit_module
from calibrate.photon_transfer.brighter_fatter import (
    covariances_e2,
    fit_shift_matrix,
    multiplicity,
    shot_variance_e2,
    third_cumulant_e3,
)

A00 = -2.7e-6  # the size of a deep-depleted CCD's
GAIN, READ_E, OFFSET = 0.6, 5.0, 500.0


def shifts(a00: float = A00, lags: int = 8) -> np.ndarray:
    """A quadrant that falls off like a field, keeps charge, and differs between rows and columns."""
    i, j = np.indices((lags + 1, lags + 1))
    distance = np.hypot(i, 1.15 * j)
    distance[0, 0] = 1.0
    a = distance**-3.2
    a[0, 0] = 0.0
    a *= -a00 / np.sum(multiplicity(lags) * a)
    a[0, 0] = a00
    return a


def unfolded(quadrant: np.ndarray, size: int) -> np.ndarray:
    """All lags (size, size), lag 0 in the middle."""
    lags, middle = quadrant.shape[0] - 1, size // 2
    out = np.zeros((size, size))
    reach = np.abs(np.arange(-lags, lags + 1))
    out[middle - lags : middle + lags + 1, middle - lags : middle + lags + 1] = quadrant[np.ix_(reach, reach)]
    return out


def waves_of(a: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    lags = a.shape[0] - 1
    kernel = np.zeros(shape)
    for i in range(-lags, lags + 1):
        for j in range(-lags, lags + 1):
            kernel[i, j] += a[abs(i), abs(j)]
    return np.fft.fft2(kernel).real


def noise_of(mean_e: float, waves: np.ndarray, b: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise whose covariances follow dC/dmu = delta + 2 (1 + b mu) a (x) C, integrated by Simpson's rule."""
    s = np.linspace(0.0, mean_e, 101)
    weight = np.where(np.arange(101) % 2, 4.0, 2.0) * s[1] / 3
    weight[[0, -1]] = s[1] / 3
    steps = (
        w * np.exp(2 * waves * (mean_e - at) * (1 + b * (mean_e + at) / 2)) for at, w in zip(s, weight, strict=True)
    )
    power = np.sum(list(steps), axis=0) if b else np.expm1(2 * waves * mean_e) / (2 * waves)
    white = np.fft.fft2(rng.standard_normal(waves.shape))
    return np.fft.ifft2(white * np.sqrt(power)).real


def grown(mean_e: float, waves: np.ndarray, rng: np.random.Generator, steps: int = 100) -> np.ndarray:
    """Charge collected electron by electron: in every step the charge so far bends the rates."""
    charge = np.zeros(waves.shape)
    for _ in range(steps):
        rate = 1.0 + np.fft.ifft2(np.fft.fft2(charge) * waves).real
        charge += rng.poisson(np.maximum(mean_e / steps * rate, 0.0))
    return charge


def shoot(
    folder: Path,
    a: np.ndarray,
    *,
    b: float = 0.0,
    seed: int = 0,
    shape: tuple[int, int] = (192, 192),
    levels: int = 14,
    top_e: float = 1e5,
    curve=lambda u: u,
    late_noise_dn: float = 0.0,
    timed: bool = True,
    charge=None,
) -> Path:
    """Two frames a level with darks; light in proportion to the exposure."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    waves = waves_of(a, shape)
    waves[0, 0] = waves[0, 0] or 1e-18
    charge = charge or (lambda y: y + noise_of(y, waves, b, rng))
    lines = ["path,kind,level" + (",exposure_s" if timed else "")]
    for k, y in enumerate([0.0] * 4 + list(np.linspace(top_e / levels, top_e, levels))):
        frames = []
        for _ in range(2):
            u = GAIN * ((charge(y) if y else 0.0) + READ_E * rng.standard_normal(shape))
            z = OFFSET + curve(u) + late_noise_dn * rng.standard_normal(shape)
            frames.append(np.floor(z + 0.5).astype(np.uint16))
        np.save(folder / f"{k:02d}.npy", np.stack(frames))
        exposure = f",{y / 1e5 if y else 0.01 * (k + 1):.6f}" if timed else ""
        lines.append(f"{k:02d}.npy,{'bright' if y else 'dark'},{k}{exposure}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def pull(model: NoiseModel, name: str, true: float) -> float:
    entry = model.parameter(name)
    return (entry.value - true) / entry.std


# --- the model


def test_own_shift_alone_is_equation_16():
    mean = np.array([0.0, 1.0, 1e3, 1e5])
    for a00 in (A00, -A00):
        value, slope, bend = shot_variance_e2(mean, a00)
        np.testing.assert_allclose(value, np.expm1(2 * a00 * mean) / (2 * a00), rtol=1e-12)
        np.testing.assert_allclose(slope, np.exp(2 * a00 * mean), rtol=1e-12)
        np.testing.assert_allclose(bend, 2 * a00 * slope, rtol=1e-12)
    np.testing.assert_allclose(shot_variance_e2(mean, 0.0)[0], mean, rtol=1e-14)


def test_covariances_follow_the_series_of_equation_20():
    """Written out as in the paper, by convolutions over lags; the first order left out is the fifth."""
    a, b = shifts(), -2e-6
    full = unfolded(a, 49)

    def with_a(other):
        return convolve2d(other, full, mode="same")

    ab, aa = b * full, with_a(full)
    for mean in (1e3, 1e4):
        series = full * mean + 2 / 3 * (aa + ab) * mean**2 + (2 * with_a(aa) + 5 * with_a(ab)) / 6 * mean**3
        series[24, 24] += 1.0
        expected = mean * series[24:33, 24:33]
        error = np.abs(covariances_e2(np.array([mean]), a, b)[0] - expected)
        assert np.max(error) < 3 * mean * abs(A00 * mean) ** 4


def test_covariances_solve_their_differential_equation():
    a, b, steps = shifts(), -2e-6, 200
    full, size = unfolded(a, 33), 33
    source = np.zeros((size, size))
    source[16, 16] = 1.0
    c, mean, h = np.zeros((size, size)), 0.0, 1e5 / steps

    def slope(at, now):
        return source + 2 * (1 + b * at) * convolve2d(now, full, mode="same", boundary="wrap")

    for _ in range(steps):  # the midpoint rule
        c = c + h * slope(mean + h / 2, c + h / 2 * slope(mean, c))
        mean += h
    np.testing.assert_allclose(covariances_e2(np.array([mean]), a, b)[0], c[16:25, 16:25], atol=0.2)


@pytest.mark.parametrize("b", [0.0, -2e-6])
def test_variance_with_neighbours_is_lag_zero_and_its_slopes_are_its_own(b):
    a = shifts()
    neighbours = tuple(map(tuple, a))
    mean = np.linspace(500, 1.2e5, 9)
    value, slope, bend = shot_variance_e2(mean, A00, b, neighbours)
    np.testing.assert_allclose(value, covariances_e2(mean, a, b)[:, 0, 0], rtol=1e-12)
    up, down = (shot_variance_e2(mean + step, A00, b, neighbours) for step in (10.0, -10.0))
    np.testing.assert_allclose(slope, (up[0] - down[0]) / 20, rtol=1e-8)
    np.testing.assert_allclose(bend, (up[1] - down[1]) / 20, rtol=1e-6)


def test_charge_is_kept():
    """Covariances of all lags add up to the Poisson variance, at every level."""
    a = np.zeros((9, 9))
    a[0, 1], a[1, 0], a[1, 1] = 3e-7, 5e-7, 1e-7
    a[0, 0] = -np.sum(multiplicity(8) * a)
    mean = np.array([1e3, 5e4, 1.5e5])
    total = np.sum(multiplicity(8) * covariances_e2(mean, a, -2e-6), axis=(1, 2))
    np.testing.assert_allclose(total, mean, rtol=1e-6)


def test_third_cumulant_is_that_of_charge_that_holds_itself_back():
    mean, a = 1e5, -4e-6
    second = third = 0.0
    h = mean / 20_000
    for _ in range(20_000):
        second, third = second + h * (1 + 2 * a * second), third + h * (1 + 3 * a * (second + third))
    assert third_cumulant_e3(np.array([mean]), a)[0] == pytest.approx(third, rel=1e-3)
    z = 50 * a  # the series' second term is 4 z^2
    assert third_cumulant_e3(np.array([50.0]), a)[0] == pytest.approx(50 * (1 + 3 * z), rel=5 * z**2)
    # Both branches meet.
    edge = third_cumulant_e3(np.array([0.999e-3, 1.001e-3]) / -a, a) / (np.array([0.999e-3, 1.001e-3]) / -a)
    assert edge[0] == pytest.approx(edge[1], abs=1e-5)


# --- covariances of frames


def slow_covariances(d: np.ndarray, lags: int) -> np.ndarray:
    """Mean products at lags (i, j) and (i, -j), pixel by pixel."""
    height, width = d.shape
    out = np.zeros((lags + 1, lags + 1))
    for i in range(lags + 1):
        for j in range(lags + 1):
            products = []
            for y in range(height):
                for x in range(width):
                    for step in {j, -j}:
                        if (i or step >= 0) and y + i < height and 0 <= x + step < width:
                            products.append(d[y, x] * d[y + i, x + step])
            out[i, j] = np.mean(products)
    return out


def test_covariances_are_those_of_slow_loops():
    rng = np.random.default_rng(0)
    a, b = (1000 + 5 * rng.standard_normal((13, 11)) for _ in range(2))
    b += np.roll(a, 1, axis=0) - 1000
    found = neighbour_covariances(a, b, 0.0, lags=3)
    light = 0.5 * (a.mean() + b.mean())
    alpha, beta = light / a.mean(), light / b.mean()
    d = alpha * a - beta * b
    d -= d.mean()
    slow = slow_covariances(d, 3)
    np.testing.assert_allclose(found.covariance_dn2, (slow + slow[0, 0] / d.size) / (alpha + beta), rtol=1e-9)
    assert found.samples[0, 0] == 143 and found.samples[0, 1] == 130 and found.samples[2, 1] == 2 * 110
    assert found.mean_dn == pytest.approx(light)


def test_their_errors_cover():
    rng = np.random.default_rng(1)
    z = []
    for _ in range(60):
        found = neighbour_covariances(*(100 + 3 * rng.standard_normal((2, 64, 64))), 0.0)
        z.append((found.covariance_dn2 - 9.0 * (np.indices((9, 9)).sum(axis=0) == 0)) / found.std_dn2)
    z = np.array(z)
    assert np.abs(z.mean()) < 4 / np.sqrt(z.size)
    np.testing.assert_allclose(np.std(z[:, 1:, 1:]), 1.0, atol=0.05)
    np.testing.assert_allclose(np.std(z[:, 0, 0]), 1.0, atol=0.4)


def test_drift_under_shading_and_sparks_leave_no_covariance():
    rng = np.random.default_rng(2)
    shading = 20_000 * (1 - 0.3 * np.hypot(*np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128))))
    a, b = (OFFSET + lamp * shading + 100 * rng.standard_normal((128, 128)) for lamp in (1.0, 1.02))
    a[40:44, 60] += 5000
    found = neighbour_covariances(a, b, OFFSET)
    z = (found.covariance_dn2 - 1e4 * (np.indices((9, 9)).sum(axis=0) == 0)) / found.std_dn2
    assert np.max(np.abs(z)) < 4.5
    # Without the scaling the shading's drift is in every lag.
    plain = (a - b - np.mean(a - b))[44:]
    assert np.mean(plain[1:, 1:] * plain[:-1, :-1]) / 2 > 10 * found.std_dn2[1, 1]


@pytest.mark.parametrize("shape", [(1, 2), (3, 5), (2, 40)])
def test_tiny_frames_have_covariances_of_infinite_doubt_but_no_error(shape):
    rng = np.random.default_rng(3)
    found = neighbour_covariances(*rng.normal(100, 2, (2, *shape)), 0.0)
    assert np.all(np.isfinite(found.covariance_dn2)) and np.all(found.std_dn2 > 0)


# --- the shifts from covariances


def measured_covariances(a, b, rng, *, gain=GAIN, samples=2.6e5, levels=12, noise=True):
    means = np.linspace(8e3, 1e5, levels)
    exact = gain**2 * covariances_e2(means, a, b)
    exact[:, 0, 0] += 9.0
    out = []
    for mean, covariance in zip(means, exact, strict=True):
        level = NeighbourCovariances(OFFSET + gain * mean, covariance, np.full((9, 9), samples))
        error = level.std_dn2 * rng.standard_normal((9, 9)) if noise else 0.0
        out.append(NeighbourCovariances(level.mean_dn, covariance + error, level.samples))
    return out


@pytest.mark.parametrize("b", [0.0, -2e-6])
def test_exact_covariances_give_back_the_shifts(b):
    a = shifts()
    found = fit_shift_matrix(measured_covariances(a, b, np.random.default_rng(0), noise=False), OFFSET, GAIN, A00, b)
    np.testing.assert_allclose(found.a_per_e, a, rtol=1e-3, atol=1e-10)
    assert found.evidence > 100 and found.over_linear > 100 and found.credit > 100
    assert 0.6 * -A00 < found.near_sum_per_e[0] < -A00


def test_errors_of_the_shifts_cover_and_charge_is_found_kept():
    a, rng = shifts(), np.random.default_rng(4)
    z, own = [], []
    for _ in range(40):
        found = fit_shift_matrix(measured_covariances(a, 0.0, rng), OFFSET, GAIN, A00)
        pulls = (found.a_per_e - a) / found.a_std_per_e
        z.append(pulls.ravel()[1:])
        own.append(pulls[0, 0])
    assert np.std(z) == pytest.approx(1.0, abs=0.06)
    assert abs(np.mean(own)) < 4 / np.sqrt(len(own))
    assert 0.65 < np.std(own) < 1.4


def test_coupled_pixels_are_no_brighter_fatter():
    """Covariances in proportion to the light: pixels mixed at read-out, whatever the charge."""
    rng = np.random.default_rng(5)
    levels = []
    for mean in np.linspace(5e3, 6e4, 12):
        covariance = np.zeros((9, 9))
        covariance[0, 0], covariance[0, 1], covariance[1, 0] = GAIN * mean, 0.01 * GAIN * mean, 0.01 * GAIN * mean
        level = NeighbourCovariances(OFFSET + mean, covariance, np.full((9, 9), 2.6e5))
        noisy = covariance + level.std_dn2 * rng.standard_normal((9, 9))
        levels.append(NeighbourCovariances(level.mean_dn, noisy, level.samples))
    found = fit_shift_matrix(levels, OFFSET, GAIN)
    assert found.evidence > 6 and found.over_linear < -6 and found.credit == found.over_linear


# --- the fit


@pytest.fixture(scope="module")
def swollen(tmp_path_factory):
    return shoot(tmp_path_factory.mktemp("bf") / "c", shifts())


@pytest.fixture(scope="module")
def fitted(swollen):
    return fit_noise_model(swollen)


def test_gain_and_shift_of_a_brighter_fatter_sensor(fitted):
    document = fitted.document
    assert document.fit.model == "brighter_fatter" and document.fit.deviance_per_dof < 1.7
    assert abs(pull(fitted, "system_gain_dn_per_e", GAIN)) < 3.5
    assert abs(pull(fitted, "brighter_fatter_a00_per_e", A00)) < 3.5
    assert fitted.parameter("system_gain_dn_per_e").std / GAIN < 0.008
    for entry in document.fit.candidates:
        if not entry.name.startswith("brighter"):
            assert entry.bic > 200 + min(c.bic for c in document.fit.candidates)
            assert entry.system_gain_dn_per_e < 0.95 * GAIN  # with the light known, a response cannot bend
    names = document.covariance.names
    assert "brighter_fatter_a00_per_e" in names


def test_the_shifts_are_in_the_file(fitted, tmp_path):
    fitted.save(tmp_path / "sensor.yaml")
    entry = NoiseModel.load(tmp_path / "sensor.yaml").document.brighter_fatter
    a, std = np.array(entry.a_per_e), np.array(entry.a_std_per_e)
    assert a.shape == (9, 9)
    z = ((a - shifts()) / std).ravel()[1:]
    assert np.std(z) == pytest.approx(1.0, abs=0.35) and np.max(np.abs(z)) < 4.5
    assert a[0, 0] == fitted.parameter("brighter_fatter_a00_per_e").value
    assert abs(entry.a00_from_neighbours_per_e - A00) < 3.5 * entry.a00_from_neighbours_std_per_e


def test_the_flag_says_what_the_noise_model_leaves_out(fitted):
    flags = {flag.code: flag.message for flag in fitted.document.fit.flags}
    assert "denoised" not in flags
    deficit = 100 * (1e5 / covariances_e2(np.array([1e5]), shifts())[0, 0, 0] - 1)
    told = float(flags["brighter_fatter"].split("variance is ")[1].split(" %")[0])
    assert told == pytest.approx(deficit, abs=2.0)
    assert fitted.variance_dn2(1e5) / (GAIN**2 * covariances_e2(np.array([1e5]), shifts())[0, 0, 0]) == pytest.approx(
        1 + told / 100, abs=0.02
    )


def test_without_a_light_axis_covariances_decide(tmp_path):
    model = fit_noise_model(shoot(tmp_path / "c", shifts(), timed=False, seed=3))
    assert model.document.fit.model == "brighter_fatter"
    assert abs(pull(model, "system_gain_dn_per_e", GAIN)) < 3.5
    assert not any("brighter_fatter_quadratic" in entry.name for entry in model.document.fit.candidates)


def test_with_a_light_axis_a_bent_response_stands_beside(tmp_path):
    def curve(u):
        return u * (1 - 0.02 * u / 6e4)

    model = fit_noise_model(shoot(tmp_path / "c", shifts(), curve=curve, seed=4))
    assert model.document.fit.model == "brighter_fatter_quadratic_response"
    assert abs(pull(model, "system_gain_dn_per_e", GAIN)) < 3.5
    assert abs(pull(model, "brighter_fatter_a00_per_e", A00)) < 3.5
    u = np.linspace(1e3, 5.5e4, 5)
    np.testing.assert_allclose(model.camera.response.evaluate(u), curve(u), rtol=1e-3)


def test_charge_collected_electron_by_electron(tmp_path):
    """Truth from the rates themselves, no normal law and no series: skewness does not mislead the fit either."""
    rng = np.random.default_rng(6)
    shape, a = (128, 128), shifts()
    waves = waves_of(a, shape)
    model = fit_noise_model(
        shoot(tmp_path / "c", a, shape=shape, levels=12, charge=lambda y: grown(y, waves, rng), seed=7)
    )
    assert model.document.fit.model == "brighter_fatter"
    assert abs(pull(model, "system_gain_dn_per_e", GAIN)) < 3.5
    assert abs(pull(model, "brighter_fatter_a00_per_e", A00)) < 3.5
    assert not {"excess_noise_suspected", "gain_pattern"} & {flag.code for flag in model.document.fit.flags}


@pytest.mark.parametrize("b", [0.0, -1.5e-6])
def test_the_gain_is_unbiased_and_its_error_covers(tmp_path, b):
    """Whether or not the shifts change with the charge."""
    pulls, gains, changes = [], [], []
    for seed in range(10):
        model = fit_noise_model(shoot(tmp_path / "c", shifts(), b=b, shape=(128, 128), seed=100 + seed))
        assert model.document.fit.model == "brighter_fatter"
        pulls.append(pull(model, "system_gain_dn_per_e", GAIN))
        gains.append(model.parameter("system_gain_dn_per_e").value)
        entry = model.document.brighter_fatter
        changes.append((entry.b_per_e - b) / entry.b_std_per_e)
    assert abs(np.mean(changes)) < 4 / np.sqrt(len(changes)) and np.max(np.abs(changes)) < 4
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls))
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8
    assert np.std(gains) < 0.02 * GAIN
    assert np.mean(gains) == pytest.approx(GAIN, rel=0.012)


def test_independent_pixels_are_read_once(tmp_path, monkeypatch):
    """An ordinary sensor costs no second pass and gets no brighter-fatter candidate."""
    import calibrate.photon_transfer as package

    def refuse(*arguments, **settings):
        raise AssertionError("a second pass")

    monkeypatch.setattr(package, "measure_covariances", refuse)
    rng = np.random.default_rng(9)
    folder = shoot(tmp_path / "c", np.zeros((9, 9)), charge=lambda y: rng.poisson(y, (192, 192)), seed=9)
    model = fit_noise_model(folder)
    assert model.document.brighter_fatter is None
    assert "brighter_fatter" not in {flag.code for flag in model.document.fit.flags}


def test_correlations_rise_on_a_swollen_sensor_alone(swollen, tmp_path):
    assert correlations_rise(measure_levels(load_captures(swollen)), OFFSET, 6e4)
    rng = np.random.default_rng(10)
    plain = shoot(tmp_path / "c", np.zeros((9, 9)), charge=lambda y: rng.poisson(y, (192, 192)))
    levels = measure_levels(load_captures(plain))
    assert not correlations_rise(levels, OFFSET, 6e4)
    assert not correlations_rise(levels[:6], OFFSET, 6e4)  # two bright levels are no rise


def test_a_weak_effect_in_small_frames_stays_unclaimed(tmp_path):
    """Shifts a hundred times smaller: nothing to see, nothing said."""
    model = fit_noise_model(shoot(tmp_path / "c", shifts(A00 / 100), shape=(96, 96), seed=11))
    assert model.document.fit.model == "linear"
    assert abs(pull(model, "system_gain_dn_per_e", GAIN)) < 4


# --- read noise after the response


def compressed(u):
    return u * (1 - 0.25 * np.maximum(u, 0.0) / 3000.0)


@pytest.mark.parametrize("late", [True, False])
def test_read_noise_is_put_where_it_arises(tmp_path, monkeypatch, late):
    """20 DN of read noise under a response that falls to half its slope: 400 DN^2 or 100 at the top."""
    monkeypatch.setitem(globals(), "READ_E", 0.5 if late else 20 / GAIN)
    rng = np.random.default_rng(12)
    folder = shoot(
        tmp_path / "c",
        np.zeros((9, 9)),
        charge=lambda y: rng.poisson(y, (192, 192)),
        top_e=3000 / GAIN,
        curve=compressed,
        late_noise_dn=20.0 if late else 0.0,
        seed=13,
    )
    model = fit_noise_model(folder)
    assert model.document.fit.model == "quadratic_response" + ("_noise_after" if late else "")
    assert abs(pull(model, "system_gain_dn_per_e", GAIN)) < 3.5
    assert model.parameter("dark_noise_dn").value == pytest.approx(20.0, rel=0.02)
    other = next(
        entry
        for entry in model.document.fit.candidates
        if entry.name == "quadratic_response" + ("" if late else "_noise_after")
    )
    assert other.bic > min(entry.bic for entry in model.document.fit.candidates) + fit_module.STRONG_EVIDENCE


# --- tables


def test_a_table_tells_both_accounts(realdata):
    """43 points of a real CCD: no covariances, so the response stands, and the other account's gain is told."""
    model = fit_noise_model(realdata / "lsst_eotest_ptc" / "PTC_mean_var_values.txt")
    assert model.document.fit.model.endswith("response")
    flags = {flag.code: flag.message for flag in model.document.fit.flags}
    assert "brighter_fatter_undecided" in flags and "light_unknown" in flags
    gains = {entry.name: entry.system_gain_dn_per_e for entry in model.document.fit.candidates}
    own = model.parameter("system_gain_dn_per_e")
    # The public fit of equation 16 gives 0.77132744 e-/DN without an error; its other weighting 0.7698(30).
    error = np.hypot(0.0030, own.std / own.value**2)
    assert abs(1 / own.value - 0.77132744) < 2 * error
    assert abs(1 / gains["brighter_fatter_constant"] - 0.77132744) < 2 * error + 0.004
    shift = float(flags["brighter_fatter_undecided"].split("would be ")[1].split(" %")[0])
    assert shift == pytest.approx(100 * (gains["brighter_fatter_constant"] / own.value - 1), abs=0.01)


def test_a_table_of_equation_16_gives_its_gain_under_that_account(tmp_path):
    mean = np.linspace(500, 1e5, 25)
    variance = shot_variance_e2(mean, A00)[0] + 25.0
    (tmp_path / "t.txt").write_text(
        "\n".join(f"{0.8 * m:.8g} {0.64 * v:.8g}" for m, v in zip(mean, variance, strict=True))
    )
    found = {
        entry.name: entry.system_gain_dn_per_e for entry in fit_noise_model(tmp_path / "t.txt").document.fit.candidates
    }
    assert found["brighter_fatter_constant"] == pytest.approx(0.8, rel=1e-5)
    assert found["linear"] < 0.75


def test_chance_correlations_do_not_stop_a_fit(tmp_path):
    """Neighbours of this draw correlate by chance, a_00 is all but 0, and b with it is anything: the candidate goes."""
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=5.0
    )
    folder = simulate_captures(sensor, tmp_path / "c", levels=50, shape=(64, 64), light_scatter_percent=1.0, seed=371)
    model = fit_noise_model(folder)
    assert model.document.fit.model == "linear"
    assert abs(pull(model, "system_gain_dn_per_e", 0.5)) < 3
