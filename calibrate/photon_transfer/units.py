"""A fit in units of its own noise: real values may be anything from electrons to fractions of full scale.

Steps, floors and search ranges of the fit are in DN: right for codes, where a DN is what rounding leaves. Real values
have no such scale but that of their noise, so they are fitted in units near the dark noise. The factor is a power of
two, so that nothing is rounded on the way there and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import Candidate
from calibrate.photon_transfer.likelihood import Residuals

T = TypeVar("T")

_SUFFIXES = {"_dn": 1, "_dn2": 2, "_dn3": 3}
#: Powers of DN of what has no suffix.
_START = {"gain": 1}
_RESIDUALS = {"mean": 1, "fitted_mean": 1, "variance": 2, "fitted_variance": 2}
_THETA = {"gain": 1, "offset": 1, "dark_variance": 2, "responsivity": 1, "dark_rate": 1, "step": 2}


def noise_unit_dn(data: PhotonTransferData, rounding_dn2: float) -> float:
    """The power of two nearest the noise of the darks, DN; 1 for codes.

    Without darks, or where these have no noise, the least noise of a level counts.
    """
    if rounding_dn2 > 0:
        return 1.0
    for rows, typical in ((data.dark, np.median), (data.used_bright, np.min), (data.bright, np.min)):
        variance = data.variance_dn2[rows]
        variance = variance[np.isfinite(variance) & (variance > 0)]
        if variance.size:
            least = float(typical(variance))
            return float(2.0 ** np.round(0.5 * np.log2(least)))
    return 1.0


def times(value: T, factor: float) -> T:
    """A dataclass of the fit with every number in DN (DN^2, DN^3) multiplied by ``factor`` (its powers)."""
    if factor == 1.0 or not is_dataclass(value) or isinstance(value, type):
        return value
    if isinstance(value, Candidate):
        return _candidate_times(value, factor)  # type: ignore[return-value]
    powers = _RESIDUALS if isinstance(value, Residuals) else _START
    changed = {field.name: _times(field.name, getattr(value, field.name), factor, powers) for field in fields(value)}
    if isinstance(value, PhotonTransferData):
        changed["dn_per_unit"] = value.dn_per_unit / factor
    return replace(value, **changed)


def _times(name: str, value: Any, factor: float, powers: Mapping[str, int]) -> Any:
    if is_dataclass(value):
        return times(value, factor)
    if isinstance(value, tuple) and any(is_dataclass(entry) for entry in value):
        return tuple(times(entry, factor) for entry in value)
    power = powers.get(name) or next((p for suffix, p in _SUFFIXES.items() if name.endswith(suffix)), 0)
    return value if value is None or not power else value * factor**power


def _candidate_times(fit: Candidate, factor: float) -> Candidate:
    powers = np.array([factor ** _THETA.get(name, 0) for name in fit.layout.names])
    r = fit.residuals
    # Variances of means go with the square of the unit, those of variances with its fourth power.
    shift = 2 * float(np.log(factor)) * (int(np.sum(r.has_mean)) + 2 * int(np.sum(r.has_variance)))
    return replace(
        fit,
        layout=times(fit.layout, factor),
        theta=fit.theta * powers,
        covariance=fit.covariance * np.outer(powers, powers),
        nuisance=times(fit.nuisance, factor),
        residuals=times(r, factor),
        log_determinant=fit.log_determinant + shift,
    )
