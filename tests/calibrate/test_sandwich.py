"""The fit against a direct gamma likelihood, and standard errors against the jackknife over levels."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.optimize import minimize
from script_files import load_script

from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures
from calibrate.level_statistics import measure_levels
from calibrate.photon_transfer import converged_fit, fit, white_clip
from calibrate.photon_transfer.data import PhotonTransferData, from_levels
from calibrate.photon_transfer.gauss_newton import fit_candidate
from calibrate.photon_transfer.sandwich import at_least_as_wide, sandwich_covariance


def test_the_fit_is_the_one_of_the_gamma_likelihood(tmp_path):
    """12 x 12 pixels: a normal likelihood with its determinant would be off by 2/143 of the variances."""
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=0.05, read_noise_e=40.0, offset_dn=300.0, bit_depth=16)
    folder = simulate_captures(sensor, tmp_path / "c", shape=(12, 12), levels=14, seed=5)
    lines = (folder / "manifest.csv").read_text().splitlines()
    kept = [line for line in lines if line.startswith("#") or line.startswith(("path", "flat", "dark"))]
    header = next(line for line in kept if line.startswith("path")).split(",")
    columns = [header.index(name) for name in ("path", "kind")]
    levels_of: dict[str, int] = {}
    rows = ["# bit_depth: 16", "path,kind,level"]
    for line in kept:
        if line.startswith(("#", "path")):
            continue
        fields = line.split(",")
        level = levels_of.setdefault(",".join(fields[i] for i in range(len(fields)) if i != columns[0]), len(levels_of))
        rows.append(f"{fields[columns[0]]},{fields[columns[1]]},{level}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    captures = load_captures(folder)
    model = fit_noise_model(captures)
    assert model.document.fit.model == "linear"
    levels = measure_levels(captures)
    dark = np.array([level.kind == "dark" for level in levels])
    used = np.array([level.maximum_code < 65_535 for level in levels]) | dark
    mean = np.array([level.mean_dn for level in levels])
    variance = np.array([level.temporal_variance_dn2(None) for level in levels])

    def minus_two_log_likelihood(theta: np.ndarray) -> float:
        gain, offset, noise = theta * (0.05, 300.0, 4.0)
        expected = noise + 1 / 12 + np.where(dark, 0.0, gain * (mean - offset))
        if np.any(expected <= 0):
            return np.inf
        gamma = np.sum(143 * (variance / expected + np.log(expected))[used])
        # Means with weights that do not move: their variance tells less than the pairs' does.
        return float(gamma + np.sum(((mean - offset)[dark]) ** 2) * 288 / np.mean(variance[dark]))

    found = minimize(minus_two_log_likelihood, np.ones(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-9})
    gain, _, noise = found.x * (0.05, 300.0, 4.0)
    for name, direct in (("system_gain_dn_per_e", gain), ("read_noise_e", np.sqrt(noise) / gain)):
        entry = model.parameter(name)
        assert entry.value == pytest.approx(direct, abs=0.05 * entry.std)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Levels whose noise scatters by 5 %, by the study of coverage."""
    study = load_script("study_calibration_coverage")
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=5.0
    )
    folder = simulate_captures(sensor, tmp_path_factory.mktemp("uneven") / "c", shape=(64, 64), seed=2)
    study.scatter_noise(folder, 5.0, 2)
    captures = load_captures(folder)
    levels = measure_levels(captures)
    return captures, from_levels(captures, levels, white_clip(levels, 12), few=True)


def without_level(data: PhotonTransferData, level: int) -> PhotonTransferData:
    columns = {field.name: getattr(data, field.name) for field in fields(data)}
    rows = {k: np.delete(v, level) for k, v in columns.items() if np.shape(v) == data.mean_dn.shape}
    return replace(data, **rows)


def test_the_sandwich_is_the_jackknife_over_levels(uneven):
    captures, data = uneven
    chosen = converged_fit(data, 1 / 12, captures.root, ()).candidates[0]
    shape = np.ones(data.mean_dn.shape)
    start = fit_candidate("linear", chosen.layout, data, chosen.theta, shape, chosen.nuisance)
    found = sandwich_covariance(start, data, shape)
    moved = []
    for level in np.flatnonzero(start.residuals.has_mean | start.residuals.has_variance):
        left = fit_candidate("linear", start.layout, without_level(data, level), start.theta, shape[1:], start.nuisance)
        moved.append(left.theta - start.theta)
    jackknife = np.array(moved).T @ np.array(moved)
    assert np.sqrt(np.diag(found)) == pytest.approx(np.sqrt(np.diag(jackknife)), rel=0.25)


def test_levels_that_scatter_widen_the_gain_beyond_one_common_factor(uneven, monkeypatch):
    captures, _ = uneven
    with_own = fit_noise_model(captures)
    monkeypatch.setattr(fit, "at_least_as_wide", lambda covariance, _: covariance)
    common = fit_noise_model(captures)
    name = "system_gain_dn_per_e"
    assert with_own.parameter(name).std > 1.1 * common.parameter(name).std
    assert with_own.parameter(name).value == common.parameter(name).value


def test_plain_captures_keep_their_errors(tmp_path, monkeypatch):
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    folder = simulate_captures(sensor, tmp_path / "c", shape=(48, 48), seed=0)

    def never(*_: object) -> None:
        raise AssertionError("captures without excess scatter need no sandwich")

    monkeypatch.setattr(fit, "sandwich_covariance", never)
    assert fit_noise_model(folder).parameter("system_gain_dn_per_e").std > 0


def test_widening_never_narrows():
    ours, theirs = np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 9.0]])
    np.testing.assert_allclose(at_least_as_wide(ours, theirs), [[4.0, 3.0], [3.0, 9.0]])
