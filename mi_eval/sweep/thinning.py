"""What frames say about the charge behind them, and how that charge is thinned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel

FloatArray = NDArray[np.float64]

# Photons are told apart without error where both noises stay within half an electron: 0.12 e- is 4 sigma.
_RESOLVING_NOISE_E = 0.12
_RESOLVING_GAIN_DN_PER_E = 4.0
_HIDES_ELECTRONS_E2 = 0.35  # leaves exp(-2 pi^2 0.35) = 0.1 % of modulation
_MOST_KEPT_E = 30
_MOST_SKEWNESS = 1.0  # a gamma law of 4 degrees of freedom: beyond, its own shape does harm


@dataclass(frozen=True)
class Source:
    """What one frame of the source says about the charge: arrays broadcast against (height, width)."""

    model: NoiseModel
    gain: FloatArray
    offset: FloatArray
    read_e: FloatArray
    resolves: bool

    @property
    def noise_e2(self) -> FloatArray:
        """Variance of an electron number read from a code, without shot noise: read noise, rounding, dither."""
        if self.resolves:
            return np.zeros(())
        return self.read_e**2 + (3.0 / 12.0 if self.dithers else 0.0) / self.gain**2

    @property
    def dithers(self) -> bool:
        """Whether codes are spread by a triangular law two codes wide, which all but hides that they are whole."""
        return self.model.bit_depth is not None and not self.resolves

    def charge_e(self, codes: NDArray[np.generic], rng: np.random.Generator) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Unbiased charge of every pixel, and where it is unknown because of clipping."""
        camera = self.model.camera
        z = np.asarray(codes, dtype=np.float64)
        if camera.bit_depth is None:
            clipped = np.zeros(z.shape, dtype=bool)
        else:
            clipped = (z >= camera.white_clip_dn) | (z <= camera.black_clip_dn)
        signal = z - self.offset
        if self.dithers:
            signal += rng.random(z.shape) - rng.random(z.shape)
        full = camera.response.full_well_dn
        if full is not None:
            top = float(camera.response.evaluate(np.array(full)))
            # Noise is gone where the response is flat; read noise after it leaves codes a little above.
            clipped |= signal >= top - 0.5
            signal = np.minimum(signal, top)
        charge = np.asarray(camera.response.inverse(signal)) / self.gain
        return (np.round(charge) if self.resolves else charge), clipped


def source_of(model: NoiseModel) -> Source:
    """What the frames of a noise model say; per pixel where it has maps."""
    camera, maps = model.camera, model.readout_maps
    gain = np.asarray(maps.get("system_gain_dn_per_e", float(camera.system_gain_dn_per_e)), dtype=np.float64)
    read = np.asarray(maps.get("read_noise_e", float(camera.read_noise_e)), dtype=np.float64)
    offset = np.asarray(maps.get("offset_dn", float(camera.offset_dn)), dtype=np.float64)
    lattice = camera.kind == "poisson" or not np.any(read > 0)
    fine = float(np.max(read)) <= _RESOLVING_NOISE_E and float(np.min(gain)) >= _RESOLVING_GAIN_DN_PER_E
    separate = camera.bit_depth is None or float(np.min(gain)) >= 1.0
    resolves = camera.kind != "gaussian" and (fine or (lattice and separate))
    return Source(model, gain, offset, read, resolves)


@dataclass(frozen=True)
class Parts:
    """How a charge is thinned: tau, the read noise wanted, and the noise to add beside the thinning's own.

    ``skewness`` is that of the added noise, mirrored, ``kept_e`` the charge that is thinned as a real number.
    """

    tau: FloatArray
    read_out_e: FloatArray
    spare_e2: FloatArray
    skewness: FloatArray
    kept_e: float
    resolves: bool


def parts_of(source: Source, target: NoiseModel, tau: FloatArray, repeats: int) -> Parts:
    """How to thin a sum of ``repeats`` frames by tau, for the read noise of ``target``."""
    read_out = np.asarray(target.readout_maps.get("read_noise_e", float(target.camera.read_noise_e)))
    spare = np.asarray(read_out**2 - tau**2 * repeats * source.noise_e2)
    third = 3.0 * tau**2 * (1.0 - tau) * repeats * source.noise_e2
    floor = np.maximum(spare, 1e-12)
    skewness = np.where(spare > 0, np.minimum(third / floor**1.5, _MOST_SKEWNESS), 0.0)
    thinning = max(float(np.mean(tau * (1.0 - tau))), 1e-9)
    kept = float(np.clip(np.ceil((_HIDES_ELECTRONS_E2 - float(np.mean(spare))) / thinning - 0.5), 0, _MOST_KEPT_E))
    return Parts(tau, read_out, spare, skewness, 0.0 if source.resolves else kept, source.resolves)
