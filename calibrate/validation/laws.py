"""The law of the difference of two frames, and its randomised probability integral transform.

d = a - b of one pixel, both codes drawn at the same charge, has the law p(d) = sum_z p(z + d) p(z). For U uniform on
(0, 1) the randomised transform F(d - 1) + U p(d) is uniform where the model is right (Czado, Gneiting and Held 2009,
doi 10.1111/j.1541-0420.2009.01191.x), whatever the steps of the codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.special import ndtr

from calibrate.noise_model import Camera
from calibrate.noise_model.cells import log_poisson
from calibrate.validation.prediction import Mixture

FloatArray = NDArray[np.float64]
_BLOCK = 1 << 20


def smooth_transform(
    difference_dn: FloatArray,
    uniform: FloatArray,
    variance_dn2: FloatArray,
    kappa4_dn4: FloatArray,
    step_dn: float,
) -> FloatArray:
    """Transform of differences (mean 0) where noise blurs the steps; all arrays broadcast.

    Parameters
    ----------
    variance_dn2 : ndarray
        Temporal variance of one frame, rounding included.
    kappa4_dn4 : ndarray
        Fourth cumulant of one frame, K^4 y for shot noise.
    step_dn : float
        1 for whole codes, 0 for real values.

    Notes
    -----
    With D the difference before rounding, P(d) = F(d + 1/2) - F(d - 1/2), where F is the law of D plus one uniform
    rounding error (the two roundings make a triangle, which is a uniform law under the integral over the cell).
    F is normal with its fourth cumulant: the first term of Edgeworth's series, the odd ones being zero.
    """
    variance = 2 * variance_dn2 - step_dn**2 / 12
    sigma = np.sqrt(np.maximum(variance, 1e-300))
    excess = (2 * kappa4_dn4 - step_dn**4 / 120) / np.maximum(variance, 1e-300) ** 2
    if step_dn == 0:
        return _edgeworth(difference_dn / sigma, excess)
    low = _edgeworth((difference_dn - step_dn / 2) / sigma, excess)
    high = _edgeworth((difference_dn + step_dn / 2) / sigma, excess)
    return np.asarray(low + uniform * (high - low))


def _edgeworth(x: FloatArray, excess: FloatArray) -> FloatArray:
    density = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return np.asarray(np.clip(ndtr(x) - density * excess / 24 * x * (x * x - 3), 0.0, 1.0))


@dataclass(frozen=True)
class LatticeLaw:
    """Law of a difference on the lattice of ``step_dn``: P(d <= (column - half) step), column 0 .. 2 half."""

    cumulative: FloatArray
    half: int
    step_dn: float

    def transform(self, difference_dn: FloatArray, uniform: FloatArray, shift_dn: float = 0.0) -> FloatArray:
        """Transform of differences whose mean is ``shift_dn``; a fraction of a step is interpolated."""
        place = (difference_dn - shift_dn) / self.step_dn
        high = self._at(place)
        low = self._at(place - 1)
        return np.asarray(low + uniform * (high - low))

    def _at(self, place: FloatArray) -> FloatArray:
        columns = np.arange(self.cumulative.size) - self.half
        return np.asarray(np.interp(place, columns, self.cumulative, left=0.0, right=1.0))


def lattice_laws(mixture: Mixture) -> list[LatticeLaw]:
    """Law of the difference of two frames for the pixels at each node of the mixture."""
    out = []
    for pmf in mixture.pmf:
        probability = np.maximum(fftconvolve(pmf, pmf[::-1]), 0.0)
        out.append(LatticeLaw(np.cumsum(probability) / probability.sum(), pmf.size - 1, 1.0))
    return out


def lattice_law(mixture: Mixture) -> LatticeLaw:
    """Law of the difference of two frames of any of the mixture's pixels."""
    laws = lattice_laws(mixture)
    cumulative = mixture.weights @ np.stack([law.cumulative for law in laws])
    return LatticeLaw(cumulative, laws[0].half, 1.0)


def real_valued_transform(
    camera: Camera, difference_dn: FloatArray, uniform: FloatArray, charge_e: float, shift_dn: float
) -> FloatArray:
    """Transform of real-valued differences of few electrons: two Poisson counts, and read noise where there is any.

    Without read noise the values lie on the lattice of the gain. The response is taken as its slope at the charge.
    """
    gain = float(camera.system_gain_dn_per_e)
    slope = float(camera.response.derivative(np.array(gain * charge_e)))
    first = max(np.floor(charge_e - 9.5 * np.sqrt(charge_e) - 2), 0.0)
    n = np.arange(first, np.ceil(charge_e + 9.5 * np.sqrt(charge_e) + 45))
    count = np.exp(log_poisson(n, np.full(n.shape, charge_e)))
    probability = np.maximum(fftconvolve(count, count[::-1]), 0.0)
    probability /= probability.sum()
    read = float(camera.read_noise_e)
    if read == 0:
        law = LatticeLaw(np.cumsum(probability), n.size - 1, gain * slope)
        return law.transform(difference_dn, uniform, shift_dn)
    sigma = np.sqrt(2.0) * gain * slope * read
    kept = np.flatnonzero(probability > 1e-12)
    steps = (kept - (n.size - 1)) * gain * slope
    out = np.empty(difference_dn.shape)
    block = max(1, _BLOCK // kept.size)
    for start in range(0, out.size, block):
        part = difference_dn[start : start + block, None] - shift_dn
        out[start : start + block] = ndtr((part - steps) / sigma) @ probability[kept]
    return out
