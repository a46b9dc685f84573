"""Codes at the lowest code and codes coarser than the noise: moments against brute force, and the fit against truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm, poisson

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.photon_transfer.clipping import code_moments, pattern_of_means, unclipped_start


def brute_force(
    offset: float, read_dn: float, charge_e: float, gain: float, pattern_dn: float, clip: float | None
) -> tuple[float, ...]:
    """Cumulants pixel by pixel, from the code probabilities themselves, and the variance of the pixels' means."""
    nodes = np.linspace(-6, 6, 241) if pattern_dn else np.zeros(1)
    shares = np.exp(-0.5 * nodes**2)
    low = np.floor(offset - 6 * pattern_dn - 12 * read_dn) if clip is None else clip
    codes = np.arange(low, np.ceil(offset + gain * 90 + 6 * pattern_dn + 12 * read_dn))
    total = np.zeros(5)
    for node, share in zip(nodes, shares / shares.sum(), strict=True):
        pmf = np.zeros(codes.size)
        for electrons in range(90):
            centre = offset + pattern_dn * node + gain * electrons
            edges = norm.cdf((np.append(codes, codes[-1] + 1) - 0.5 - centre) / read_dn)
            if clip is not None:
                edges[0] = 0.0
            pmf += poisson.pmf(electrons, charge_e) * np.diff(edges)
        mean = pmf @ codes
        central = [pmf @ (codes - mean) ** p for p in (2, 3, 4)]
        total += share * np.array([mean, central[0], central[1], central[2] - 3 * central[0] ** 2, mean**2])
    total[4] -= total[0] ** 2
    return tuple(total)


@pytest.mark.parametrize(
    ("offset", "read_dn", "charge_e", "gain", "pattern_dn", "clip"),
    [
        (0.0, 1.5, 0.0, 0.5, 0.0, 0.0),
        (0.0, 1.5, 3.0, 0.5, 0.0, 0.0),
        (2.3, 0.4, 1.2, 0.3, 0.1, 0.0),
        (-4.0, 6.0, 0.5, 0.5, 1.0, 0.0),
        (100.3, 0.3, 5.0, 0.1, 0.0, None),
        (100.3, 0.3, 0.7, 0.5, 0.15, None),
        (64.5, 0.2, 0.0, 0.5, 0.6, None),
        (10.0, 40.0, 0.0, 0.5, 0.0, 0.0),
    ],
)
def test_moments_against_code_probabilities(offset, read_dn, charge_e, gain, pattern_dn, clip):
    arguments = (
        np.array([offset]),
        np.array([read_dn**2]),
        np.array([charge_e]),
        gain,
        np.array([pattern_dn**2]),
        clip,
    )
    found = [float(values[0]) for values in code_moments(*arguments)]
    expected = brute_force(offset, read_dn, charge_e, gain, pattern_dn, clip)
    scale = max(expected[1], 1e-3)
    assert found[0] == pytest.approx(expected[0], abs=2e-4 * np.sqrt(scale))
    assert found[1] == pytest.approx(expected[1], abs=2e-4 * scale)
    assert found[2] == pytest.approx(expected[2], abs=2e-3 * scale**1.5)
    assert found[3] == pytest.approx(expected[3], abs=1e-2 * scale**2)
    assert float(pattern_of_means(*arguments)[0]) == pytest.approx(expected[4], rel=1e-3, abs=2e-4 * scale)


def test_far_from_any_clip_nothing_but_rounding_is_added():
    found = code_moments(np.array([500.0]), np.array([9.0]), np.array([10.0]), 0.5, np.zeros(1), None)
    assert [float(v[0]) for v in found[:3]] == pytest.approx([505.0, 9.0 + 2.5 + 1 / 12, 0.5**3 * 10], rel=1e-5)


@pytest.mark.parametrize(("offset", "noise"), [(0.0, 1.5), (-3.0, 4.0), (5.0, 10.0)])
def test_start_values_undo_the_clip(offset, noise):
    rng = np.random.default_rng(0)
    codes = np.maximum(np.floor(offset + noise * rng.standard_normal(200_000) + 0.5), 0)
    found = unclipped_start(float(codes.mean()), float(np.mean(codes == 0)), 0.0)
    assert found[0] == pytest.approx(offset, abs=0.1 * noise)
    assert np.sqrt(found[1]) == pytest.approx(noise, rel=0.05)


@pytest.mark.parametrize(("offset_dn", "read_noise_e"), [(0.0, 3.0), (0.0, 20.0), (3.0, 6.0)])
def test_a_clipped_black_level_is_counted_in(tmp_path: Path, offset_dn: float, read_noise_e: float):
    """Half of all dark pixels at code 0: without the clip in the likelihood the read noise was 42 % too small."""
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=read_noise_e, offset_dn=offset_dn, bit_depth=12, dark_current_e_per_s=5.0
    )
    pulls = []
    for seed in range(3):
        folder = simulate_captures(
            sensor,
            tmp_path / str(seed),
            shape=(100, 100),
            levels=12,
            light_scatter_percent=0.1,
            seed=seed,
        )
        fit = fit_noise_model(folder)
        assert "black_clipped" in {flag.code for flag in fit.document.fit.flags}
        for name, true in (("system_gain_dn_per_e", 0.5), ("read_noise_e", read_noise_e), ("offset_dn", offset_dn)):
            entry = fit.parameter(name)
            pulls.append((entry.value - true) / entry.std)
            assert abs(pulls[-1]) < 4
            assert name == "offset_dn" or entry.std < 0.02 * true
    assert np.sqrt(np.mean(np.square(pulls))) < 2


def test_a_pattern_of_the_offset_below_the_lowest_code(tmp_path: Path):
    """Half of a fixed pattern of 2 DN hides at code 0: taken as seen, the read noise was 6 % too small."""
    rng = np.random.default_rng(4)
    pattern = 2.0 * rng.standard_normal((150, 150))
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5,
        read_noise_e=3.0,
        offset_dn=0.0,
        bit_depth=12,
        dark_current_e_per_s=5.0,
        maps={"offset_dn": pattern - pattern.mean()},
    )
    folder = simulate_captures(sensor, tmp_path / "captures", levels=8, light_scatter_percent=0.1, seed=0)
    fit = fit_noise_model(folder)
    assert "over_dispersed" not in {flag.code for flag in fit.document.fit.flags}
    for name, true in (("system_gain_dn_per_e", 0.5), ("read_noise_e", 3.0)):
        entry = fit.parameter(name)
        assert entry.std < 0.01 * true
        assert abs(entry.value - true) < 3 * entry.std
