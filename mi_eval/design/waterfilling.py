"""The exact optimum of parallel Gaussian channels: what a free kernel or a scan can reach at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class WaterFilling:
    """The best power for every mode, and the information it gives.

    Parameters
    ----------
    bits_per_mode : float
        Mean over all modes.
    power : ndarray
        Power of each mode, shape of the spectrum; 0 below the water.
    level : float
        Water level.
    """

    bits_per_mode: float
    power: FloatArray
    level: float


def water_filling(spectrum: FloatArray, noise_variance: float, mean_power: float) -> WaterFilling:
    r"""The best power g of parallel Gaussian channels at a given mean power, and its information.

    .. math:: \max_{g \ge 0} \frac1D \sum_f \frac12 \log_2(1 + g_f S_f / N), \qquad g_f = (\mu - N/S_f)_+

    Exact, by sorting (Cover and Thomas, Elements of Information Theory, sect. 9.4). For a real kernel g is the squared
    magnitude of its transfer function, which has the spectrum's symmetry, and ``mean_power`` its sum of squares.

    Parameters
    ----------
    spectrum : ndarray
        Power of the object in every mode, 0 or more.
    noise_variance, mean_power : float

    Raises
    ------
    PhotonbitsError
        If the noise or the power is not above 0, or the spectrum is negative or 0 throughout.
    """
    spectrum = np.asarray(spectrum, dtype=np.float64)
    if not noise_variance > 0 or not mean_power > 0:
        raise PhotonbitsError(f"noise variance {noise_variance:g}, power {mean_power:g}", legal="both above 0")
    if spectrum.min() < 0 or not spectrum.max() > 0:
        raise PhotonbitsError("a spectrum that is negative or 0 throughout", legal="0 or more, some above 0")
    with np.errstate(divide="ignore"):
        floor = noise_variance / spectrum
    ordered = np.sort(floor, axis=None)
    total = mean_power * floor.size
    finite = ordered[np.isfinite(ordered)]
    # With the n lowest floors under water the level is (total + their sum)/n; the right n is the last consistent one.
    levels = (total + np.cumsum(finite)) / np.arange(1, finite.size + 1)
    level = float(levels[np.flatnonzero(levels > finite)[-1]])
    power = np.maximum(level - floor, 0.0)
    bits = 0.5 * float(np.mean(np.log2(1 + power * spectrum / noise_variance)))
    return WaterFilling(bits, power, level)
