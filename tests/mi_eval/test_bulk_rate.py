"""The rate of a whole frame against the spectral integral."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bulk_rate import bulk_rate


def gaussian_frames(n: int, side: int, seed: int) -> tuple[np.ndarray, NoiseModel, float]:
    """Stationary fields on a torus far larger than the frame, noise of 5; the rate is the mean log of the spectrum."""
    length, torus, variance, noise = 2.0, 256, 400.0, 25.0
    lag = np.fft.fftfreq(torus, 1 / torus)
    covariance = variance * np.exp(-np.hypot(lag[:, None], lag) / length)
    spectrum = np.maximum(np.fft.fft2(covariance).real, 0.0)
    rate = 0.5 * float(np.log2(1 + spectrum / noise).mean())
    rng = np.random.default_rng(seed)
    frames = np.empty((n, side, side))
    for number in range(n):
        white = np.fft.fft2(rng.standard_normal((torus, torus)))
        field = np.fft.ifft2(white * np.sqrt(spectrum)).real
        frames[number] = field[:side, :side] + np.sqrt(noise) * rng.standard_normal((side, side))
    model = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=5.0)
    return frames, model, rate


def test_rate_of_a_gaussian_field_is_the_spectral_integral() -> None:
    frames, model, rate = gaussian_frames(60, 48, 1)
    found = bulk_rate(frames, model, patch_sizes=(4, 6, 8, 12, 16), density="closed-form")
    assert abs(found.value - rate) < 3 * found.std + 0.004
    assert found.std < 0.02
    assert found.per_frame_bits == pytest.approx(found.value * 48**2)
    # Every size alone is farther away.
    assert all(abs(bits - rate) > 2 * abs(found.value - rate) for bits in found.bits_per_pixel)


def test_too_few_sizes_are_refused() -> None:
    frames, model, _ = gaussian_frames(4, 24, 2)
    with pytest.raises(PhotonbitsError, match="patch sizes for frames of 24 x 24"):
        bulk_rate(frames, model)
