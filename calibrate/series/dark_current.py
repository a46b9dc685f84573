"""Dark current against temperature: by how many degrees it doubles, and the activation energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.constants import physical_constants, zero_Celsius
from scipy.optimize import least_squares

from calibrate.series.quantity import Quantity

FloatArray = NDArray[np.float64]
_BOLTZMANN_EV = physical_constants["Boltzmann constant in eV/K"][0]
#: Standard errors above 0 that make a dark current significant, and a rise with temperature.
SIGNIFICANT = 3.0


@dataclass(frozen=True)
class Law:
    """A law of dark current that was fitted: its parameter, the current at the reference, and how well it fits."""

    quantity: Quantity
    current_e_per_s: Quantity
    reference_c: float
    chi2: float
    dof: int

    def at(self, temperature_c: FloatArray) -> FloatArray:
        """Dark current, e-/s."""
        steps = _steps(temperature_c, self.reference_c, self.quantity.unit)
        slope = np.log(2) / self.quantity.value if self.quantity.unit != "eV" else self.quantity.value
        return np.asarray(self.current_e_per_s.value * np.exp(slope * steps))

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {
            **self.quantity.to_dict(),
            "reference_temperature_c": self.reference_c,
            "dark_current_e_per_s": self.current_e_per_s.to_dict(),
            "chi2": self.chi2,
            "dof": self.dof,
        }


@dataclass(frozen=True)
class DarkCurrentLaw:
    """Doubling temperature and activation energy, or the reason why they are not known."""

    doubling: Law | None
    activation: Law | None
    reason: str = ""


def fit_dark_current(temperatures_c: Sequence[float], currents: Sequence[Quantity]) -> DarkCurrentLaw:
    r"""Laws of dark current against temperature, by weighted least squares with the logarithm as parameter.

    .. math:: D = D_0\, 2^{(T - T_0)/T_d}, \qquad D = D_0 \exp\Big(-\frac{E}{k}\Big(\frac1T - \frac1{T_0}\Big)\Big)

    Parameters
    ----------
    temperatures_c : sequence of float
    currents : sequence of Quantity
        e-/s, each with its standard error; those without are left out.

    Returns
    -------
    DarkCurrentLaw
        ``doubling`` T_d in degrees from two temperatures on, ``activation`` E in eV from three on. None, with a
        reason, where fewer than two currents are significantly above 0 or they do not rise significantly.

    Notes
    -----
    The first law is the one of EMVA 1288 R4 (doubling temperature), the second that of Arrhenius without a power of
    T before the exponential. The sum of (D_i - D(T_i))^2 / std_i^2 is made smallest over log D_0 and the slope: this
    is the weighted straight line through log D where errors are small, and unlike it takes in currents near or below
    0 with their own weight. Errors are widened by sqrt(chi2/dof) where that is above 1: neither law is exact.
    """
    pairs = [(t, q) for t, q in zip(temperatures_c, currents, strict=True) if q.std is not None and q.std > 0]
    t = np.array([pair[0] for pair in pairs], dtype=np.float64)
    value = np.array([pair[1].value for pair in pairs])
    std = np.array([pair[1].std for pair in pairs], dtype=np.float64)
    if np.unique(t).size < 2:
        return DarkCurrentLaw(None, None, "dark current is known at fewer than two temperatures")
    clear = value > SIGNIFICANT * std
    if np.unique(t[clear]).size < 2:
        return DarkCurrentLaw(
            None,
            None,
            f"dark current is significantly above 0 at {np.unique(t[clear]).size} of {np.unique(t).size} temperatures; "
            "use longer dark exposures",
        )
    doubling = _fit(t, value, std, clear, "°C")
    if doubling is None:
        return DarkCurrentLaw(None, None, "dark current does not rise significantly with temperature")
    activation = _fit(t, value, std, clear, "eV") if np.unique(t).size >= 3 else None
    return DarkCurrentLaw(doubling, activation)


def _steps(temperature_c: FloatArray, reference_c: float, unit: str) -> FloatArray:
    """What log D is straight in: degrees, or 1/eV."""
    if unit != "eV":
        return np.asarray(temperature_c - reference_c)
    kelvin, reference = temperature_c + zero_Celsius, reference_c + zero_Celsius
    return np.asarray((1 / reference - 1 / kelvin) / _BOLTZMANN_EV)


def _fit(t: FloatArray, value: FloatArray, std: FloatArray, clear: NDArray[np.bool_], unit: str) -> Law | None:
    # The reference is where the data are, so that current and slope hardly correlate.
    relative = (value[clear] / std[clear]) ** 2
    reference = round(float(relative @ t[clear] / relative.sum()))
    x = _steps(t, reference, unit)
    start = np.polynomial.Polynomial.fit(x[clear], np.log(value[clear]), 1, w=value[clear] / std[clear]).convert()
    scale = max(float(np.max(np.abs(x))), 1e-12)

    def residuals(theta: FloatArray) -> FloatArray:
        return np.asarray((np.exp(np.minimum(theta[0] + theta[1] * x / scale, 600.0)) - value) / std)

    found = least_squares(residuals, [start.coef[0], start.coef[1] * scale], x_scale="jac", max_nfev=400)
    covariance = np.asarray(np.linalg.pinv(found.jac.T @ found.jac))
    dof = int(t.size - 2)
    chi2 = float(2 * found.cost)
    widen = max(1.0, np.sqrt(chi2 / dof)) if dof > 0 else 1.0
    slope, slope_std = float(found.x[1]) / scale, widen * float(np.sqrt(covariance[1, 1])) / scale
    if not slope > SIGNIFICANT * slope_std:
        return None
    if unit == "eV":
        quantity = Quantity(slope, slope_std, "eV")
    else:
        quantity = Quantity(float(np.log(2)) / slope, float(np.log(2)) / slope**2 * slope_std, unit)
    current = float(np.exp(found.x[0]))
    current_std = widen * current * float(np.sqrt(covariance[0, 0]))
    return Law(quantity, Quantity(current, current_std, "e-/s"), float(reference), chi2, dof)
