"""Linearity: the straight line of least relative deviation, and what is left about it.

Release 3.1 and release 4 fit the same line and differ in the number they give: the extreme deviations, or the mean
of their absolute values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Shares of the saturation signal between which linearity is judged.
LOWEST_SHARE, HIGHEST_SHARE = 0.05, 0.95
FEWEST_LEVELS = 3


@dataclass(frozen=True)
class Linearity:
    """The line, and the relative deviation of every level from it in percent.

    Parameters
    ----------
    offset_dn, slope : float
        y = offset + slope * light.
    deviation_percent : ndarray
        Of all levels; those outside ``used`` are for the picture only.
    used : ndarray of bool
    """

    offset_dn: float
    slope: float
    deviation_percent: FloatArray
    used: NDArray[np.bool_]

    @property
    def error_percent(self) -> float:
        """LE of release 4: mean absolute deviation (equation 63)."""
        return float(np.mean(np.abs(self.deviation_percent[self.used])))

    @property
    def least_percent(self) -> float:
        """LE_min of release 3.1."""
        return float(np.min(self.deviation_percent[self.used]))

    @property
    def largest_percent(self) -> float:
        """LE_max of release 3.1."""
        return float(np.max(self.deviation_percent[self.used]))


def fit_linearity(light: FloatArray, signal_dn: FloatArray, saturation_signal_dn: float) -> Linearity | None:
    """Line of least squared relative deviation between 5 % and 95 % of saturation (equations 58 to 62).

    Parameters
    ----------
    light, signal_dn : ndarray
        Light (photons or seconds), and mean less dark mean, by rising light.
    saturation_signal_dn : float

    Returns
    -------
    Linearity or None
        None with fewer than three levels in the range, or light that does not vary there.

    Notes
    -----
    Minimises sum ((y - a0 - a1 H)/y)^2; the deviation given is (y - line)/line.
    """
    low, high = LOWEST_SHARE * saturation_signal_dn, HIGHEST_SHARE * saturation_signal_dn
    above, below = np.flatnonzero(signal_dn >= low), np.flatnonzero(signal_dn <= high)
    used = np.zeros(signal_dn.shape, dtype=bool)
    if above.size and below.size:
        used[above[0] : below[-1] + 1] = True
    used &= signal_dn > 0
    if int(np.count_nonzero(used)) < FEWEST_LEVELS or float(np.ptp(light[used])) == 0:
        return None
    y, x = signal_dn[used], light[used]
    design = np.stack([1.0 / y, x / y], axis=1)
    scale = np.linalg.norm(design, axis=0)
    offset, slope = np.linalg.lstsq(design / scale, np.ones_like(y), rcond=None)[0] / scale
    line = offset + slope * light
    deviation = np.full(line.shape, np.nan)
    np.divide(signal_dn - line, line, out=deviation, where=line != 0)
    return Linearity(float(offset), float(slope), 100.0 * deviation, used)
