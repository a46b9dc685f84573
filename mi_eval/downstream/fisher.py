"""Fisher information of a code about the charge behind it: what no estimate of a source can beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate import NoiseModel
from mi_eval.downstream.interface import FloatArray

_POINTS = 96
_REACH = 9.0  # standard deviations of a code on either side
_REAL_CELLS = 400  # of the integral over real values


@dataclass(frozen=True)
class FisherTable:
    r"""j(y) = E[(d ln p(Z|y) / dy)^2], per electron squared, of the exact noise model: rounding and clipping in.

    Held as j(y) (y + N), near 1, on a grid even in the root of y; N is read noise and rounding squared. Information is
    at least the squared slope of the mean over the variance, so Gaussian noise of the same variance has less.
    """

    root_charge: FloatArray
    relative: FloatArray
    noise_e2: float
    shot: bool

    def __call__(self, charge_e: FloatArray) -> FloatArray:
        """Information at charges (any shape), 1/e-^2."""
        y = np.maximum(charge_e, 0.0) if self.shot else charge_e
        root = np.sqrt(y) if self.shot else y
        scale = y + self.noise_e2 if self.shot else self.noise_e2
        return np.asarray(np.interp(root, self.root_charge, self.relative) / np.maximum(scale, 1e-12))


def even_noise_e2(noise_model: NoiseModel) -> float:
    """Read noise and rounding, electrons squared: the part of the noise that is the same at every charge."""
    camera = noise_model.camera
    rounding = 0.0 if camera.bit_depth is None else 1 / 12 / float(camera.system_gain_dn_per_e) ** 2
    return float(camera.read_noise_e) ** 2 + rounding


def fisher_table(noise_model: NoiseModel, lowest_e: float, highest_e: float) -> FisherTable:
    """Information between two charges, by differences of the exact probabilities.

    Parameters
    ----------
    noise_model : NoiseModel
        Without maps.
    lowest_e, highest_e : float
        Electrons; below 1e-3 the lowest is 1e-3 where there is shot noise.
    """
    noise, shot = even_noise_e2(noise_model), noise_model.camera.kind != "gaussian"
    if shot:
        low = max(lowest_e, 1e-3)
        root = np.linspace(np.sqrt(low), np.sqrt(max(highest_e, low * 1.01)), _POINTS)
        charges = root**2
    else:
        root = charges = np.linspace(lowest_e, max(highest_e, lowest_e + 1.0), _POINTS)
    found = np.array([_information(noise_model, float(y), shot) for y in charges])
    return FisherTable(root, found * (charges * shot + noise), noise, shot)


def _information(noise_model: NoiseModel, y: float, shot: bool) -> float:
    camera = noise_model.camera
    step = 1e-3 * np.sqrt(y + 0.1) if shot else 1e-3 * max(float(camera.read_noise_e), 1e-3)
    step = min(step, 0.5 * y) if shot else step
    mean, spread = float(noise_model.mean_dn(np.array(y))), float(np.sqrt(noise_model.variance_dn2(np.array(y))))
    low, high = mean - _REACH * spread - 3, mean + _REACH * spread + 3
    if camera.bit_depth is not None:
        low, high = max(low, float(camera.black_clip_dn)), min(high, float(camera.white_clip_dn))
        z, cell = np.arange(np.floor(low), np.floor(high) + 1), 1.0
    elif camera.kind == "poisson" or float(camera.read_noise_e) == 0:
        # Real values on the lattice of whole electrons.
        gain, offset = float(camera.system_gain_dn_per_e), float(camera.offset_dn)
        n = np.arange(max(np.floor((low - offset) / gain), 0.0), np.ceil((high - offset) / gain) + 1)
        z, cell = offset + gain * n, 1.0
    else:
        z = np.linspace(mean - _REACH * spread, mean + _REACH * spread, _REAL_CELLS)
        cell = float(z[1] - z[0])
    down, middle, up = (np.exp(noise_model.log_pmf(z, np.full_like(z, y + shift))) for shift in (-step, 0.0, step))
    slope = (up - down) / (2 * step)
    return float(cell * np.sum(np.where(middle > 0, slope**2 / np.maximum(middle, 1e-300), 0.0)))
