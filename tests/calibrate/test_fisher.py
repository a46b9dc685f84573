"""The Fisher information against closed forms, simulated pixels, an exact likelihood, and every pixel's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.noise_model import Camera
from calibrate.noise_model.tables import code_table
from calibrate.photon_transfer.fisher import (
    CameraPoint,
    LevelDesign,
    code_cumulants,
    fisher_information,
    level_informations,
    parameter_names,
)
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.simulate import OVERSHOOT

CAMERA = CameraPoint(
    system_gain_dn_per_e=0.5,
    read_noise_e=3.0,
    offset_dn=100.0,
    dark_current_e_per_s=5.0,
    responsivity_e_per_light=7000.0,
    bit_depth=12,
    light_scatter=1e-3,
)


def design(n_levels: int, n_pixels: float = 4096.0, n_frames: int = 2) -> list[LevelDesign]:
    exposures = np.arange(1, n_levels + 1) / n_levels
    brights = [LevelDesign("bright", t, t, n_frames, n_pixels) for t in exposures]
    return brights + [LevelDesign("dark", 0.0, t, n_frames, n_pixels) for t in exposures]


def camera_of(point: CameraPoint) -> Camera:
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=point.system_gain_dn_per_e,
        read_noise_e=point.read_noise_e,
        offset_dn=point.offset_dn,
        bit_depth=point.bit_depth,
    ).camera


# ---- the moments ---------------------------------------------------------------------------------------------


def test_smooth_cumulants_are_those_of_the_codes():
    """Above 1.3 DN^2 the formulas agree with the sum over codes; what is left is Sheppard's and the curve's bend."""
    charge = np.array([20.0, 300.0, 6000.0])
    point = replace(CAMERA, read_noise_e=4.0)
    table = code_table(camera_of(point), charge)
    codes, pmf = table.codes, table.pmf.toarray()
    mean = pmf @ codes
    central = [np.sum(pmf * (codes - mean[:, None]) ** k, axis=1) for k in (2, 3, 4)]
    expected = np.stack([mean, central[0], central[1], central[2] - 3 * central[0] ** 2])
    found = code_cumulants(point, charge)
    np.testing.assert_allclose(found[:2], expected[:2], rtol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-6)
    np.testing.assert_allclose(found[3], expected[3], atol=1.0 / 120 + 1e-5)  # rounding's own: -1/120


@pytest.mark.parametrize("phase", [0.0, 0.27, 0.5])
def test_coarse_and_clipped_cumulants_are_those_of_simulated_codes(phase: float):
    """0.2 DN of dark noise, and a level at the highest code."""
    point = replace(CAMERA, system_gain_dn_per_e=0.05, read_noise_e=4.0, offset_dn=10.0 + phase, bit_depth=8)
    charge = np.array([0.0, 8.0, 4890.0])
    rng = np.random.default_rng(3)
    n = 400_000
    for k, y in enumerate(charge):
        codes = camera_of(point).sample(np.full(n, y), rng).astype(np.float64)
        from_mean = codes - codes.mean()
        second, third, fourth = (float(np.mean(from_mean**p)) for p in (2, 3, 4))
        found = code_cumulants(point, charge)[:, k]
        sixth, eighth = (float(np.mean(from_mean**p)) for p in (6, 8))
        assert found[0] == pytest.approx(codes.mean(), abs=4 * np.sqrt(second / n))
        assert found[1] == pytest.approx(second, abs=4 * np.sqrt((fourth - second**2) / n) + 1e-9)
        assert found[2] == pytest.approx(third, abs=4 * np.sqrt(sixth / n) + 4 * 3 * second * np.sqrt(second / n))
        error = np.sqrt(eighth / n) + 6 * second * np.sqrt(fourth / n)
        assert found[3] == pytest.approx(fourth - 3 * second**2, abs=4 * error)


# ---- closed forms ----------------------------------------------------------------------------------------------


def test_one_level_of_darks_gives_the_textbook_errors():
    """Offset: noise over the root of the samples; read noise: 1/sqrt(2 nu)."""
    point = replace(CAMERA, dark_current_e_per_s=0.0, bit_depth=None)
    information = fisher_information(point, [LevelDesign("dark", 0.0, 0.0, 5, 1000.0)])
    known_gain = information.without("system_gain_dn_per_e", "dark_current_e_per_s", "responsivity_e_per_light")
    assert known_gain.std("offset_dn") == pytest.approx(1.5 / np.sqrt(5000), rel=1e-6)
    assert known_gain.std("read_noise_e") == pytest.approx(3.0 / np.sqrt(2 * 999 * 4), rel=1e-6)


def test_gain_from_shot_noise_alone():
    """Without read noise and with the offset known, K = v/m: relative errors of v and m, less their covariance."""
    point = CameraPoint(2.0, 0.0, 0.0, responsivity_e_per_light=1.0, light_scatter=np.inf)
    y, n = 50.0, 10_000.0
    information = fisher_information(point, [LevelDesign("bright", y, 0.0, 2, n)])
    gain = information.without("offset_dn", "read_noise_e", "dark_current_e_per_s")
    variance = 2 / (n - 1) + 1 / (2 * n * y) + 1 / (2 * n * y) - 2 / (2 * n * y)
    assert gain.std("system_gain_dn_per_e") / 2.0 == pytest.approx(np.sqrt(variance), rel=1e-6)


def test_unknown_parameters_are_infinite_and_do_not_spoil_the_others():
    brights = [LevelDesign("bright", light, 0.5, 2, 4096.0) for light in (0.2, 0.5, 0.9)]
    darks = [LevelDesign("dark", 0.0, 0.5, 2, 4096.0)]
    one = fisher_information(CAMERA, brights + darks)
    assert np.isinf(one.std("dark_current_e_per_s")) and np.isinf(one.std("offset_dn"))
    assert np.isfinite(one.std("responsivity_e_per_light"))
    known = one.without("dark_current_e_per_s")
    assert np.isfinite(known.std("offset_dn"))
    assert np.isinf(fisher_information(CAMERA, darks).std("system_gain_dn_per_e"))
    two = fisher_information(CAMERA, [*brights, *darks, LevelDesign("dark", 0.0, 0.1, 2, 4096.0)])
    assert np.all(np.isfinite(two.covariance()))


def test_single_frames_have_a_mean_and_no_variance():
    matrices, _ = level_informations(CAMERA, [LevelDesign("dark", 0.0, 1.0, 1, 4096.0)])
    assert np.linalg.matrix_rank(matrices[0]) == 1
    expected = 4096 / (0.25 * (5 + 9) + 1 / 12)
    assert matrices[0][
        parameter_names(CAMERA).index("offset_dn"), parameter_names(CAMERA).index("offset_dn")
    ] == pytest.approx(expected, rel=1e-6)


# ---- invariances -------------------------------------------------------------------------------------------------


def test_scaling_all_codes_scales_the_errors():
    """Real values: four times the DN per electron leaves relative errors of K, r and charge as they are."""
    real = replace(CAMERA, bit_depth=None)
    finer = replace(real, system_gain_dn_per_e=2.0, offset_dn=400.0)
    one, four = fisher_information(real, design(8)), fisher_information(finer, design(8))
    assert four.std("system_gain_dn_per_e") == pytest.approx(4 * one.std("system_gain_dn_per_e"), rel=1e-5)
    assert four.std("offset_dn") == pytest.approx(4 * one.std("offset_dn"), rel=1e-5)
    for name in ("read_noise_e", "dark_current_e_per_s", "responsivity_e_per_light"):
        assert four.std(name) == pytest.approx(one.std(name), rel=1e-5)


def test_more_of_anything_is_never_less_information():
    base = fisher_information(CAMERA, design(8))
    more_frames = fisher_information(CAMERA, design(8, n_frames=4))
    one_more = fisher_information(CAMERA, [*design(8), LevelDesign("bright", 0.05, 0.05, 2, 4096.0)])
    steadier = fisher_information(replace(CAMERA, light_scatter=0.0), design(8))
    for better in (more_frames, one_more, steadier):
        assert np.min(np.linalg.eigvalsh(_scaled(better.matrix - base.matrix, base.matrix))) > -1e-9


def _scaled(matrix: np.ndarray, by: np.ndarray) -> np.ndarray:
    scale = np.sqrt(np.diag(by))
    return matrix / np.outer(scale, scale)


def test_unknown_light_is_the_limit_of_large_scatter():
    wide = fisher_information(replace(CAMERA, light_scatter=100.0), design(8))
    unknown = fisher_information(replace(CAMERA, light_scatter=np.inf), design(8))
    for name in unknown.names:
        assert wide.std(name) == pytest.approx(unknown.std(name), rel=1e-4)


def test_information_adds_up():
    levels = design(6)
    both = fisher_information(CAMERA, levels[:5]) + fisher_information(CAMERA, levels[5:])
    np.testing.assert_allclose(both.matrix, fisher_information(CAMERA, levels).matrix)


# ---- brute force ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(replace(CAMERA, responsivity_e_per_light=40.0), id="few electrons"),
        pytest.param(
            replace(CAMERA, system_gain_dn_per_e=0.06, offset_dn=50.3, responsivity_e_per_light=200.0), id="0.2 DN"
        ),
    ],
)
@pytest.mark.parametrize("n_frames", [2, 3])
def test_scores_of_simulated_pixels_scatter_by_the_information(point: CameraPoint, n_frames: int):
    """Outer products of the scores J^T C^-1 (statistic - expected), frames simulated, average to F.

    That holds only if the covariance of mean and variance (their kappa_3 and kappa_4) is right.
    """
    n_pixels, repeats = 150, 6000
    rng = np.random.default_rng(11)
    point = replace(point, light_scatter=0.0)
    levels = [LevelDesign("bright", light, 1.0, n_frames, n_pixels) for light in (0.1, 1.0)]
    matrices, _ = level_informations(point, levels)
    camera = camera_of(point)
    for k, level in enumerate(levels):
        charge = point.responsivity_e_per_light * level.light + point.dark_current_e_per_s
        frames = camera.sample(np.full((repeats, n_frames, n_pixels), charge), rng).astype(np.float64)
        frames_free = frames - frames.mean(axis=2, keepdims=True)
        within = np.sum((frames_free - frames_free.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))
        statistics = np.stack([frames.mean(axis=(1, 2)), within / ((n_frames - 1) * (n_pixels - 1))])
        covariance = np.cov(statistics)
        kappa = code_cumulants(point, np.array([charge]))[:, 0]
        np.testing.assert_allclose(statistics.mean(axis=1), kappa[:2], atol=4 * np.sqrt(covariance[1, 1] / repeats))
        # J from differences of its own, so that only C is shared with the code under test.
        steps = {"system_gain_dn_per_e": 1e-3, "read_noise_e": 1e-2, "offset_dn": 1e-3}
        jacobian = np.stack(
            [(_moments(point, charge, n, h) - _moments(point, charge, n, -h)) / (2 * h) for n, h in steps.items()],
            axis=1,
        )
        index = [parameter_names(CAMERA).index(n) for n in steps]
        found = matrices[k][np.ix_(index, index)]
        simulated = jacobian.T @ np.linalg.inv(covariance) @ jacobian
        scale = np.sqrt(np.diag(found))
        # Sampling error of a covariance of 6000 repeats: 1.8 % of each entry.
        np.testing.assert_allclose(simulated / np.outer(scale, scale), found / np.outer(scale, scale), atol=0.08)


def _moments(point: CameraPoint, charge: float, name: str, change: float) -> np.ndarray:
    changed = replace(point, **{name: getattr(point, name) + change})
    return np.array([float(m[0]) for m in code_table(camera_of(changed), np.array([charge])).moments()])


def test_hessian_of_the_exact_likelihood_of_the_statistics():
    """Normal pixels, so that m is normal and v a gamma variate; the light's error is integrated out numerically.

    The mean of the numerical Hessian over simulated statistics is the information, scatter 1 % included.
    """
    point = CameraPoint(0.8, 60.0, 500.0, 0.0, 3000.0, light_scatter=0.01)
    n_pixels = 400.0
    lights = np.array([0.0, 0.0, 0.1, 0.3, 0.6, 1.0])
    levels = [LevelDesign("bright" if x else "dark", x, 0.0, 2, n_pixels) for x in lights]
    information = fisher_information(point, levels).without("dark_current_e_per_s")
    theta = information.values
    rng = np.random.default_rng(5)
    repeats = 200
    shape = (n_pixels - 1) / 2
    scattered = lights * (1 + point.light_scatter * rng.standard_normal((repeats, lights.size)))
    charge = theta[3] * scattered
    v_true = theta[0] ** 2 * (charge + theta[2] ** 2)
    means = theta[1] + theta[0] * charge + np.sqrt(v_true / (2 * n_pixels)) * rng.standard_normal(v_true.shape)
    variances = v_true / shape * rng.standard_gamma(shape, v_true.shape)
    nodes = np.linspace(-5.0, 5.0, 401)  # 2.5e-4 of light apart, where a mean tells it to 1e-3
    weights = np.exp(-(nodes**2) / 2)

    def log_likelihood(parameters: np.ndarray) -> float:
        gain, offset, read, responsivity = parameters
        y = responsivity * lights[:, None] * (1 + point.light_scatter * nodes)
        v = gain**2 * (y + read**2)
        m = offset + gain * y
        # The determinant of the mean's own noise carries 1/N of the information: frozen, as in the module.
        own = theta[0] ** 2 * (theta[3] * lights[:, None] + theta[2] ** 2) / (2 * n_pixels)
        log_m = -((means[..., None] - m) ** 2) / (2 * own)
        log_v = -shape * (np.log(v) + variances[..., None] / v) + (shape - 1) * np.log(variances[..., None] * shape)
        return float(np.sum(logsumexp(log_m + log_v - gammaln(shape) + np.log(weights), axis=2))) / repeats

    step = 2e-2 * np.sqrt(1 / np.diag(information.matrix))
    hessian = np.empty((4, 4))
    for a in range(4):
        for b in range(4):
            da, db = np.eye(4)[a] * step, np.eye(4)[b] * step
            terms = [
                sign * log_likelihood(theta + i * da + j * db)
                for i, j, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            ]
            hessian[a, b] = sum(terms) / (4 * step[a] * step[b])
    np.testing.assert_allclose(
        _scaled(-hessian, information.matrix), _scaled(information.matrix, information.matrix), atol=0.03
    )


@pytest.mark.parametrize(
    ("charge", "point"),
    [
        (3.0, CAMERA),
        (400.0, CAMERA),
        (2.0, replace(CAMERA, system_gain_dn_per_e=0.08, offset_dn=20.4)),
        (0.0, replace(CAMERA, system_gain_dn_per_e=0.05, offset_dn=20.5)),
    ],
)
def test_statistics_hold_no_more_than_the_pixels(charge: float, point: CameraPoint):
    """Data processing: F of (mean, variance) is at most that of all codes; nearly all where the noise is normal."""
    n, frames = 10_000.0, 50
    point = replace(point, light_scatter=0.0, responsivity_e_per_light=1.0, dark_current_e_per_s=0.0)
    matrices, _ = level_informations(point, [LevelDesign("bright", charge, 0.0, frames, n)])
    chosen = ["system_gain_dn_per_e", "offset_dn", "read_noise_e"]
    index = [parameter_names(CAMERA).index(name) for name in chosen]
    found = matrices[0][np.ix_(index, index)]

    def pmf(changed: CameraPoint) -> np.ndarray:
        return code_table(camera_of(changed), np.array([charge])).pmf.toarray()[0]

    p = pmf(point)
    slopes = []
    for name in chosen:
        step = 1e-4 * max(abs(getattr(point, name)), 1.0)
        ends = [pmf(replace(point, **{name: getattr(point, name) + sign * step})) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    seen = p > 1e-12
    score = np.stack(slopes)[:, seen] / p[seen]
    whole = n * frames * (score * p[seen]) @ score.T
    scale = np.sqrt(np.diag(whole))
    missing = np.linalg.eigvalsh((whole - found) / np.outer(scale, scale))
    assert np.min(missing) > -1e-4
    if charge == 400.0:
        assert np.max(np.abs((whole - found) / np.outer(scale, scale))) < 0.03  # (frames - 1)/frames, and skewness


def test_bound_of_the_light_scatter():
    """With exact means, n levels know the scatter to 1/sqrt(2 n)."""
    point = replace(CAMERA, light_scatter=0.05)
    levels = design(10, n_pixels=1e6)
    information = fisher_information(point, levels).light_scatter_information
    assert 1 / np.sqrt(information) / (2 * 0.05**2) == pytest.approx(1 / np.sqrt(2 * 10), rel=0.01)


# ---- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([], "no levels"),
        ([LevelDesign("flat", 1.0, 1.0, 2, 10.0)], "kind is 'flat'"),
        ([LevelDesign("bright", -1.0, 1.0, 2, 10.0)], "light is -1"),
        ([LevelDesign("dark", 0.0, np.nan, 2, 10.0)], "exposure_s is nan"),
        ([LevelDesign("dark", 0.0, 1.0, 0, 10.0)], "n_frames is 0"),
    ],
)
def test_unusable_levels_are_refused(levels: list[LevelDesign], words: str):
    with pytest.raises(PhotonbitsError, match=words):
        fisher_information(CAMERA, levels)


def test_other_parameters_do_not_add_up():
    linear = fisher_information(CAMERA, design(4))
    bent = fisher_information(replace(CAMERA, response_coefficients=(0.0,), response_scale_dn=3000.0), design(4))
    with pytest.raises(ValueError, match="information about"):
        linear + bent


# ---- the fit itself --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_fit_reaches_the_bound_and_does_not_beat_it(tmp_path):
    """60 seeds, 12 + 12 levels of two 48 x 48 frames: rms error over bound, known to 0.09, within 3 sigma of 1.03.

    `scripts/study_cramer_rao.py` does the same for more cameras and seeds.
    """
    n_levels, side, scatter = 12, 48, 0.001
    point = replace(CAMERA, responsivity_e_per_light=OVERSHOOT * (4095 - 100) / 0.5, light_scatter=scatter)
    information = fisher_information(point, design(n_levels, side * side))
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=5.0
    )
    errors = {"system_gain_dn_per_e": [], "read_noise_e": [], "offset_dn": []}
    for seed in range(60):  # fixed before the first run
        folder = simulate_captures(
            sensor,
            tmp_path / "captures",
            levels=n_levels,
            shape=(side, side),
            light_scatter_percent=100 * scatter,
            seed=seed,
            overwrite=True,
        )
        model = fit_noise_model(folder)
        for name, found in errors.items():
            found.append((model.parameter(name).value - getattr(point, name)) / information.std(name))
    for name, found in errors.items():
        ratio = float(np.sqrt(np.mean(np.square(found))))
        assert 0.76 < ratio < 1.3, f"{name}: rms error {ratio:.2f} times the bound"
