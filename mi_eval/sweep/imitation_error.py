"""How far the law of imitated frames is from that of the camera they imitate, in bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.sweep.thinning import Parts, Source

FloatArray = NDArray[np.float64]

COARSE_NOISE_DN = 0.45  # below this noise, in DN, the rounding of the frames is no noise of its own


def is_coarse(charge: FloatArray, source: Source) -> NDArray[np.bool_]:
    """Where a code is wider than the noise can smear."""
    if source.model.bit_depth is None or source.resolves:
        return np.zeros(charge.shape, dtype=bool)
    shot = 0.0 if source.model.camera.kind == "gaussian" else np.maximum(charge, 0.0)
    return np.asarray(source.gain * np.sqrt(shot + source.read_e**2) < COARSE_NOISE_DN)


def error_bits(
    charge: FloatArray,
    parts: Parts,
    source: Source,
    repeats: int,
    target: NoiseModel,
    lost_dark: FloatArray,
) -> FloatArray:
    """What the law of each pixel misses, in bits: variance, skewness, kurtosis, dark charge."""
    camera, tau = target.camera, parts.tau
    gain = float(camera.system_gain_dn_per_e)
    shoots = camera.kind != "gaussian"
    light = np.maximum(charge, 0.0) if shoots else np.zeros(charge.shape)
    rounding = 0.0 if camera.bit_depth is None else 1.0 / 12.0
    variance = np.maximum(tau * light + parts.read_out_e**2 + rounding / gain**2, 1e-12)
    thinning = tau * (1.0 - tau) if shoots else np.zeros(())
    below = np.maximum(-charge, 0.0)
    excess = np.maximum(thinning * below - parts.spare_e2, 0.0) + np.where(
        below > 0, 0.0, -np.minimum(parts.spare_e2, 0)
    )
    bits = 0.5 * np.log2(1.0 + excess / variance) + 0.5 * np.log2(1.0 + lost_dark**2 / variance)
    if shoots:
        compensated = parts.skewness * np.maximum(parts.spare_e2, 0.0) ** 1.5
        third = np.abs(3.0 * tau * thinning * repeats * source.noise_e2 - compensated)
        third = third + thinning * np.abs(1.0 - 2.0 * tau) * np.minimum(light, parts.kept_e)
        fourth = 3.0 * thinning**2 * repeats * source.noise_e2 + 1.5 * (parts.skewness * parts.spare_e2) ** 2
        bits = bits + third * (2.0 * tau * light + third) / (12.0 * np.log(2.0) * variance**3)
        bits = bits + fourth**2 / (48.0 * np.log(2.0) * variance**4)
    if source.dithers and camera.bit_depth is not None and repeats == 1:
        bits = bits + _lattice_bits(charge, parts, source, gain, variance)
    return np.asarray(bits)


def _lattice_bits(charge: FloatArray, parts: Parts, source: Source, gain: float, variance_e2: FloatArray) -> FloatArray:
    r"""What is left of the lattice of the source's codes, where it beats with that of the new ones.

    Rounding adds 1/12 to a variance as long as the characteristic function vanishes at whole frequencies k (cycles
    per code); else :math:`-(1/\pi k) \, d\varphi/ds` each.
    """
    light = np.maximum(charge, 0.0) if source.model.camera.kind != "gaussian" else np.zeros(charge.shape)
    thinning = parts.tau * (1.0 - parts.tau) if source.model.camera.kind != "gaussian" else 0.0
    spread_dn2 = source.gain**2 * (light + source.noise_e2)
    smear_dn2 = gain**2 * np.maximum(parts.spare_e2 + thinning * charge, 0.0)
    step = gain * parts.tau / source.gain  # a code of the source, in new codes
    bits = np.zeros(charge.shape)
    for harmonic in (1, 2, 3, 4):
        place = np.maximum(harmonic * step, 1e-9)
        beat = np.abs(place - np.round(place))
        shown = np.where(
            place < 0.5, 0.0, np.exp(-2 * np.pi**2 * (beat**2 * spread_dn2 + harmonic**2 * smear_dn2)) / place**2
        )
        slope = step * (2 * beat + 4 * np.pi**2 * beat**3 * spread_dn2) * shown
        slope = slope + 4 * np.pi**2 * harmonic * smear_dn2 * beat**2 * shown
        variance_dn2 = slope / (np.pi**2 * harmonic)
        bits = bits + (0.5 * variance_dn2 / (gain**2 * variance_e2) + (beat**2 * shown) ** 2) / np.log(2.0)
    return np.asarray(bits)
