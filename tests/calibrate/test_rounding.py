"""Dark noise below one code: exact moments, and an error that says when rounding hides the noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from calibrate import NoiseModel, fit_noise_model, simulate_captures
from calibrate.photon_transfer.rounding import rounded_moments


@pytest.mark.parametrize("noise_dn", [0.05, 0.15, 0.3, 0.6, 1.2, 3.0])
@pytest.mark.parametrize("offset_dn", [100.0, 100.2, 100.5, 99.71])
def test_moments_of_one_pixel(noise_dn: float, offset_dn: float) -> None:
    """Against the sum over codes of normal cells."""
    codes = np.arange(60, 141)
    weight = np.diff(norm.cdf((np.append(codes, 141) - 0.5 - offset_dn) / noise_dn))
    mean = float(weight @ codes)
    variance = float(weight @ (codes - mean) ** 2)
    found = rounded_moments(np.array([offset_dn]), np.array([noise_dn**2]), np.zeros(1))
    assert found[0][0] == pytest.approx(mean, abs=2e-3 if noise_dn < 0.1 else 1e-6)
    assert found[1][0] == pytest.approx(variance, abs=4e-3 if noise_dn < 0.1 else 1e-6)


def test_moments_over_pixels_with_fixed_pattern() -> None:
    """Gauss-Hermite average of single pixels over a normal law of offsets."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    offsets = 100.3 + 0.2 * nodes
    single = rounded_moments(offsets, np.full(60, 0.3**2), np.zeros(60))
    pooled = rounded_moments(np.array([100.3]), np.array([0.3**2]), np.array([0.2**2]))
    assert pooled[0][0] == pytest.approx(float(weights @ single[0]), abs=1e-8)
    assert pooled[1][0] == pytest.approx(float(weights @ single[1]), abs=1e-8)


@pytest.mark.parametrize(
    ("read_noise_e", "offset_dn", "largest_error"), [(3.0, 100.0, 0.01), (4.5, 100.5, 0.01), (3.0, 100.5, 0.05)]
)
def test_read_noise_below_half_a_code(
    tmp_path: Path, read_noise_e: float, offset_dn: float, largest_error: float
) -> None:
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.1, read_noise_e=read_noise_e, offset_dn=offset_dn, bit_depth=12
    )
    folder = simulate_captures(model, tmp_path / "captures", shape=(128, 128), light_scatter_percent=0.1, seed=3)
    fit = fit_noise_model(folder)
    entry = fit.parameter("read_noise_e")
    assert entry is not None
    assert entry.std is not None
    assert abs(entry.value - read_noise_e) < 3.5 * entry.std
    assert entry.std < largest_error * read_noise_e
    assert "coarse_quantisation" in {flag.code for flag in fit.document.fit.flags}


def test_two_codes_cannot_tell_and_say_so(tmp_path: Path) -> None:
    """At 0.2 DN of noise and an offset of 100.3 the mean fixes the variance: the read noise has a wide error."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.1, read_noise_e=2.0, offset_dn=100.3, bit_depth=12)
    folder = simulate_captures(model, tmp_path / "captures", shape=(128, 128), light_scatter_percent=0.1, seed=0)
    entry = fit_noise_model(folder).parameter("read_noise_e")
    assert entry is not None
    assert entry.std is not None
    assert entry.std > 0.2
    assert abs(entry.value - 2.0) < 3 * entry.std


def test_darks_at_one_exposure_do_not_bend_the_gain(tmp_path: Path) -> None:
    """Dark charge under the brights but not in the one dark level: K stays, offset and dark current are told apart."""
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, dark_current_e_per_s=20.0
    )
    folder = simulate_captures(model, tmp_path / "captures", shape=(128, 128), light_scatter_percent=0.1, seed=0)
    manifest = folder / "manifest.csv"
    lines = manifest.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if ",dark," not in line or ",0.5," in line]
    manifest.write_text("\n".join(kept) + "\n", encoding="utf-8")
    fit = fit_noise_model(folder)
    assert fit.document.fit.model == "linear"
    for name, truth in (("system_gain_dn_per_e", 0.5), ("offset_dn", 100.0), ("dark_current_e_per_s", 20.0)):
        entry = fit.parameter(name)
        assert entry is not None
        assert entry.std is not None
        assert abs(entry.value - truth) < 3.5 * entry.std
    assert "one_dark_level" in {flag.code for flag in fit.document.fit.flags}
