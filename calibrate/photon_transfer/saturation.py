"""Where the response ends, and how straight it is until there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import Candidate
from calibrate.photon_transfer.likelihood import inverse_at, invert


@dataclass(frozen=True)
class Saturation:
    """Mean code at which clipping or roll-off begins, and the charge that belongs to it.

    ``is_full_well`` is True where the variance falls below the converter's clip.
    """

    code_dn: float
    code_std_dn: float
    charge_e: float
    charge_std_e: float
    is_full_well: bool


def find_saturation(data: PhotonTransferData, fit: Candidate) -> Saturation | None:
    """Saturation of the fitted sensor; None where no level reaches it.

    Notes
    -----
    A hard clip begins at the clip's own code. A roll-off begins where the temporal variance has fallen to half
    of what the fitted model expects at that mean, interpolated between the levels on both sides; the standard
    error of the code is then that of a place known to lie between them, their distance over sqrt(12).
    """
    if data.saturates == "no":
        return None
    if data.saturates == "clip" and data.white_clip_dn is not None:
        return _with_charge(data.white_clip_dn, 0.0, fit, is_full_well=False)
    rows = np.flatnonzero(data.bright & np.isfinite(data.variance_dn2))
    ratio = data.variance_dn2[rows] / fit.residuals.fitted_variance[rows]
    mean = data.mean_dn[rows]
    good = np.flatnonzero(ratio >= 0.5)
    last = int(good[-1]) if good.size else 0
    if last + 1 >= rows.size:
        return None
    share = (ratio[last] - 0.5) / (ratio[last] - ratio[last + 1])
    gap = mean[last + 1] - mean[last]
    return _with_charge(float(mean[last] + share * gap), float(gap / np.sqrt(12)), fit, is_full_well=data.known_errors)


def _with_charge(code: float, std: float, fit: Candidate, *, is_full_well: bool) -> Saturation:
    theta, layout = fit.theta, fit.layout

    def charge(values: np.ndarray, at: float) -> float:
        signal = at - layout.get(values, "offset")
        if layout.form == "two-slope":
            return float(inverse_at(values, layout, np.array([signal]))[0]) / layout.get(values, "gain")
        curve = layout.coefficients(values)
        # Above the fitted range the curve goes on along its tangent.
        inside = min(signal, _curve_top(curve, layout.scale_dn))
        u = float(invert(curve, layout.scale_dn, np.array([inside]))[0])
        slope = 1.0 + float(sum((k + 1) * c for k, c in enumerate(curve, start=1)))
        return (u + (signal - inside) / max(slope, 0.05)) / layout.get(values, "gain")

    value = charge(theta, code)
    gradient = np.empty(theta.size)
    for k in range(theta.size):
        step = 1e-4 * max(abs(theta[k]), 1e-3)
        up = theta.copy()
        up[k] += step
        gradient[k] = (charge(up, code) - value) / step
    by_code = charge(theta, code + 0.5) - charge(theta, code - 0.5)
    variance = float(gradient @ fit.covariance @ gradient) + (by_code * std) ** 2
    return Saturation(code, std, value, float(np.sqrt(max(variance, 0.0))), is_full_well)


def _curve_top(coefficients: np.ndarray, scale: float) -> float:
    return scale * (1.0 + float(np.sum(coefficients)))


def linearity_error_percent(data: PhotonTransferData, fit: Candidate, top_dn: float) -> float | None:
    """Mean absolute relative deviation of the means from a straight line, EMVA 1288 R4 style, in percent.

    The line minimises relative deviations between 5 % and 95 % of ``top_dn`` (mean code); None without a light
    axis or with fewer than three levels there.
    """
    if not data.has_light_axis:
        return None
    exposure = np.where(np.isfinite(data.exposure_s), data.exposure_s, 0.0)
    dark = fit.layout.get(fit.theta, "offset") + fit.layout.get(fit.theta, "dark_rate") * exposure
    signal = data.mean_dn - dark
    span = top_dn - fit.layout.get(fit.theta, "offset")
    rows = data.bright & (signal > 0.05 * span) & (signal < 0.95 * span) & (data.clipped_fraction < 1e-4)
    if int(np.sum(rows)) < 3:
        return None
    x, y = data.light[rows], signal[rows]
    design = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    line = np.linalg.lstsq(design, np.ones_like(y), rcond=None)[0]
    return float(100 * np.mean(np.abs(1.0 - design @ line)))
