"""A number with its standard error and unit, and those that a summary gives of every setting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.schema import PARAMETERS

FloatArray = NDArray[np.float64]

#: Parameters of the noise model that a summary repeats, in its order.
REPEATED = (
    "system_gain_dn_per_e",
    "read_noise_e",
    "dark_noise_dn",
    "offset_dn",
    "saturation_dn",
    "saturation_e",
    "full_well_e",
    "dark_current_e_per_s",
    "prnu_percent",
    "dsnu_e",
    "quantum_efficiency_percent",
)


@dataclass(frozen=True)
class Quantity:
    """A value, its standard error (None where none is known), and the unit of both."""

    value: float
    std: float | None
    unit: str

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return {"value": self.value, "std": self.std, "unit": self.unit}


def quantities_of(model: NoiseModel) -> dict[str, Quantity]:
    """Numbers of one setting: parameters of its model, and what follows from them.

    Returns
    -------
    dict
        The model's own by their names; ``electrons_per_dn`` (1/K); and where saturation is known
        ``dynamic_range_db`` and ``dynamic_range_stops`` (saturation over the charge that equals its own noise) and
        ``full_well_over_read_noise_stops`` (saturation over read noise, the figure that astronomers' capture programs
        call dynamic range). What the model does not hold is absent.

    Notes
    -----
    With U the saturation signal in DN through the inverse response, D the dark noise in DN and s = D/K, the
    dynamic range of EMVA 1288 is (U/K) / (1/2 + sqrt(1/4 + s^2)), and saturation over read noise is
    U / sqrt(D^2 - 1/12): the errors of K, D and U are propagated with their covariance, so that what K does to
    both charges cancels.
    """
    out = {}
    for name in REPEATED:
        entry = model.parameter(name)
        if entry is not None:
            out[name] = Quantity(entry.value, entry.std, PARAMETERS[name][0])
    gain = out["system_gain_dn_per_e"]
    inverse_std = None if gain.std is None else gain.std / gain.value**2
    out["electrons_per_dn"] = Quantity(1 / gain.value, inverse_std, "e-/DN")
    if "saturation_e" in out:
        out |= _dynamic_range(model, out)
    return out


def _dynamic_range(model: NoiseModel, known: dict[str, Quantity]) -> dict[str, Quantity]:
    gain, charge = known["system_gain_dn_per_e"].value, known["saturation_e"].value
    if charge <= 0:
        return {}
    rounding = 0.0 if model.bit_depth is None else 1.0 / 12.0
    read = known["read_noise_e"].value
    noise_dn = math.sqrt((gain * read) ** 2 + rounding)
    s = noise_dn / gain
    shot = 0.25 if model.camera.kind != "gaussian" else 0.0
    threshold = math.sqrt(shot) + math.sqrt(shot + s**2)
    out: dict[str, Quantity] = {}
    if threshold > 0:
        slope = s / math.sqrt(shot + s**2) / threshold  # d ln(threshold) / ds
        by_gain, by_noise = (s * slope - 1) / gain, -slope / gain
        std = _log_error(model, known, by_gain, by_noise)
        natural = math.log(charge / threshold)
        out["dynamic_range_db"] = _scaled(natural, std, 20 / math.log(10), "dB")
        out["dynamic_range_stops"] = _scaled(natural, std, 1 / math.log(2), "stops")
    read_dn = gain * read
    if read_dn > 0:
        std = _log_error(model, known, 0.0, -noise_dn / read_dn**2)
        natural = math.log(charge / read)
        out["full_well_over_read_noise_stops"] = _scaled(natural, std, 1 / math.log(2), "stops")
    return out


def _scaled(value: float, std: float | None, factor: float, unit: str) -> Quantity:
    return Quantity(factor * value, None if std is None else factor * std, unit)


def _log_error(model: NoiseModel, known: dict[str, Quantity], by_gain: float, by_noise_dn: float) -> float | None:
    """Standard error of a logarithm with the given derivatives in K and dark noise, the saturation code's added."""
    covariance = model.document.covariance
    names = ("system_gain_dn_per_e", "dark_noise_dn")
    if covariance is None or any(name not in covariance.names for name in names):
        return None
    index = [covariance.names.index(name) for name in names]
    slopes = np.array([by_gain, by_noise_dn])
    variance = float(slopes @ np.array(covariance.matrix)[np.ix_(index, index)] @ slopes)
    code, offset = known.get("saturation_dn"), known.get("offset_dn")
    if code is not None and code.std and offset is not None and code.value > offset.value:
        variance += (code.std / (code.value - offset.value)) ** 2
    return math.sqrt(max(variance, 0.0))
