"""The joint fit: iteratively reweighted Gauss-Newton, nuisance scatter by restricted likelihood, choice by BIC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.likelihood import (
    Layout,
    Nuisance,
    Residuals,
    Weights,
    error_covariance,
    residuals,
    weights,
    whiten,
)
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]

#: Response candidates: name and number of coefficients beyond the gain.
CANDIDATES = (("linear", 0), ("quadratic_response", 1), ("cubic_response", 2))
#: The simplest candidate within this of the smallest criterion is chosen: less is no positive evidence (Kass and
#: Raftery 1995), and with 28 statistics the bare criterion takes a chance bend for real in 7 % of straight cameras.
POSITIVE_EVIDENCE = 2.0
FEWEST_LEVELS_FOR_SCATTER = 4
_ITERATIONS = 40
_LIGHT_SCATTER_RANGE = (-6.0, -0.3)  # log10 of the relative scatter that is searched


@dataclass(frozen=True)
class Candidate:
    """One model fitted to the data.

    Parameters
    ----------
    name : str
    layout : Layout
    theta, covariance : ndarray
    nuisance : Nuisance
    deviance, dof : float, int
        Sum of squared whitened residuals without any widening of the variances' errors.
    bic : float
    residuals : Residuals
    """

    name: str
    layout: Layout
    theta: FloatArray
    covariance: FloatArray
    nuisance: Nuisance
    deviance: float
    dof: int
    bic: float
    residuals: Residuals

    @property
    def deviance_per_dof(self) -> float:
        """1 where the noise model describes the data."""
        return self.deviance / max(self.dof, 1)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and all that were tried."""

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    shape_factor: FloatArray


def fit_photon_transfer(data: PhotonTransferData, rounding_dn2: float) -> Choice:
    """Fit every candidate the number of levels allows, and choose by the Bayesian information criterion.

    The errors under which candidates are compared (light scatter, offset scatter, widening) are those of the
    richest one: with its own scatter every poor model would look good. ``n`` in the criterion is the number of
    level statistics.

    Parameters
    ----------
    data : PhotonTransferData
    rounding_dn2 : float
        Variance of rounding: 1/12 for integer codes, 0 for real values.

    Raises
    ------
    PhotonbitsError
        If the variances do not rise with the means.
    """
    n_bright = int(np.sum(data.used_bright & np.isfinite(data.variance_dn2)))
    scale = float(np.max(data.mean_dn[data.used_bright]) - _dark_mean(data))
    shape = np.ones(data.mean_dn.shape)
    tried: list[Candidate] = []
    start: FloatArray | None = None
    for name, degree in CANDIDATES:
        if degree and n_bright < degree + 4:
            break
        layout = _layout(data, degree, scale, rounding_dn2)
        if start is None:
            start = _initial(data, layout)
            shape = _shape_factor(start, layout, data)
        else:
            start = np.append(start, 0.0)
        fitted = _fit(name, layout, data, start, shape, Nuisance())
        if degree and not _monotone(fitted):
            break
        tried.append(fitted)
        start = fitted.theta
    shape = _shape_factor(tried[-1].theta, tried[-1].layout, data)
    richest = _fit(tried[-1].name, tried[-1].layout, data, tried[-1].theta, shape, Nuisance())
    nuisance = replace(richest.nuisance, variance_excess=_variance_excess(richest, data, shape))
    compared = [_compare(candidate, richest, data, shape, nuisance) for candidate in tried]
    least = min(candidate.bic for candidate in compared)
    best = next(candidate for candidate in compared if candidate.bic <= least + POSITIVE_EVIDENCE)
    final = _fit(best.name, best.layout, data, best.theta, shape, nuisance)
    excess = _variance_excess(final, data, shape)
    final = _fit(best.name, best.layout, data, final.theta, shape, replace(final.nuisance, variance_excess=excess))
    plain = error_covariance(final.theta, final.layout, data, replace(final.nuisance, variance_excess=1.0), shape)
    white = whiten(final.residuals, weights(final.residuals, *plain))
    # What the light scatter and the widened variances do not take up widens everything.
    misfit = final.deviance / max(final.dof, 1)
    if data.known_errors and misfit > 1.0 + 4.0 * np.sqrt(2.0 / max(final.dof, 1)):
        final = replace(final, covariance=final.covariance * misfit)
    final = replace(final, bic=best.bic, deviance=float(white @ white))
    return Choice(final, tuple(final if c is best else c for c in compared), shape)


def _dark_mean(data: PhotonTransferData) -> float:
    return 0.0 if data.offset_is_zero else float(np.mean(data.mean_dn[data.dark]))


def _layout(data: PhotonTransferData, degree: int, scale: float, rounding: float) -> Layout:
    names = ["gain"]
    if not data.offset_is_zero:
        names.append("offset")
    names.append("dark_variance")
    if data.has_light_axis:
        names.append("responsivity")
    if data.has_dark_exposures or _darks_hold_unseen_charge(data):
        names.append("dark_rate")
    names += [f"c{k}" for k in range(1, degree + 1)]
    return Layout(tuple(names), degree, scale, rounding)


def _darks_hold_unseen_charge(data: PhotonTransferData) -> bool:
    """Darks at one exposure, not zero, under brights at others: the brights tell offset and dark charge apart.

    Leaving the dark current out there puts its charge into the offset, and the gain off by percents.
    """
    darks, brights = data.exposure_s[data.dark], data.exposure_s[data.used_bright]
    if data.light_unit != "s" or not darks.size or not np.all(np.isfinite(np.append(darks, brights))):
        return False
    return bool(np.all(darks > 0) and np.ptp(brights) > 0 and int(np.sum(data.used_bright)) >= 4)


def _initial(data: PhotonTransferData, layout: Layout) -> FloatArray:
    """Moment estimates, good to a few percent."""
    offset = _dark_mean(data)
    used = data.used_bright & np.isfinite(data.variance_dn2)
    signal, variance = data.mean_dn[used] - offset, data.variance_dn2[used]
    darks = data.dark & np.isfinite(data.variance_dn2)
    if np.any(darks):
        floor = float(np.median(data.variance_dn2[darks]))
    else:
        low = np.argsort(signal)[: max(3, signal.size // 2)]
        intercept = np.polyfit(signal[low], variance[low], 1)[1]
        floor = float(np.clip(intercept, 0.0, variance.min()))
    positive = signal > 0
    if not np.any(positive):
        raise PhotonbitsError(
            f"no bright level lies above the darks (offset {offset:.1f} DN)",
            legal="flats brighter than the darks",
            remedy="Check that darks and flats have not been swapped",
        )
    gain = float(np.sum(variance[positive] - floor) / np.sum(signal[positive]))
    if gain <= 0:
        raise PhotonbitsError(
            f"the noise does not rise with the light (slope {gain:.3g} DN)",
            legal="variance that grows with the mean",
            remedy="Check that the frames are raw and that a level's frames are repeats of one scene",
        )
    theta = {"gain": gain, "offset": offset, "dark_variance": max(floor - layout.rounding_dn2, 1e-3)}
    if layout.index("responsivity") is not None:
        light = data.light[data.used_bright]
        theta["responsivity"] = float(np.sum((data.mean_dn[data.used_bright] - offset) * light) / np.sum(light * light))
    if layout.index("dark_rate") is not None and data.has_dark_exposures:
        theta["dark_rate"] = float(np.polyfit(data.exposure_s[data.dark], data.mean_dn[data.dark], 1)[0])
    return np.array([theta.get(name, 0.0) for name in layout.names])


def _shape_factor(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> FloatArray:
    """Median ratio of measured to expected kurtosis, for brights and darks apart; at least 1."""
    seen = residuals(theta, layout, data)
    variance = np.maximum(seen.fitted_variance, 1e-9)
    shot = np.maximum(data.mean_dn - layout.get(theta, "offset"), 0.0)
    expected = 3.0 + layout.get(theta, "gain") ** 3 * shot / (2 * variance**2)
    factor = np.ones(theta.shape[:0] + data.mean_dn.shape)
    for group in (data.used_bright, data.dark):
        if np.any(group):
            ratio = float(np.median(data.kurtosis[group] / expected[group]))
            # Sampling error of a kurtosis of n normal differences: sqrt(24 / n).
            noise = 3 * np.sqrt(24.0 / float(np.sum(data.variance_samples[group]))) / 3.0
            factor[group] = ratio if ratio > 1.0 + noise else 1.0
    return factor


def _jacobian(function: Callable[[FloatArray], FloatArray], theta: FloatArray, steps: FloatArray) -> FloatArray:
    columns = []
    for k in range(theta.size):
        up, down = theta.copy(), theta.copy()
        up[k] += steps[k]
        down[k] -= steps[k]
        columns.append((function(up) - function(down)) / (2 * steps[k]))
    return np.stack(columns, axis=1)


def _stacked(layout: Layout, data: PhotonTransferData) -> Callable[[FloatArray], FloatArray]:
    """Mean residuals over variance residuals as one column, for differentiation."""

    def function(theta: FloatArray) -> FloatArray:
        r = residuals(theta, layout, data)
        return np.concatenate([r.mean, r.variance])

    return function


def _steps(theta: FloatArray, layout: Layout) -> FloatArray:
    scale = np.array(
        [1e-4 if name.startswith("c") else 1e-4 * abs(t) for name, t in zip(layout.names, theta, strict=True)]
    )
    floor = {"offset": 1e-3, "dark_variance": 1e-4, "dark_rate": 1e-4}
    return np.asarray(np.maximum(scale, [floor.get(name, 1e-9) for name in layout.names]))


def _whiten_columns(r: Residuals, w: Weights, jacobian: FloatArray) -> FloatArray:
    n = r.mean.size
    mean = w.a[:, None] * jacobian[:n]
    variance = w.b[:, None] * jacobian[:n] + w.c[:, None] * jacobian[n:]
    return np.concatenate([mean[r.has_mean], variance[r.has_variance]])


def _fit(
    name: str,
    layout: Layout,
    data: PhotonTransferData,
    start: FloatArray,
    shape: FloatArray,
    nuisance: Nuisance,
) -> Candidate:
    """Gauss-Newton with weights from the model of the last step, scatter re-estimated on the way."""
    theta = start.copy()
    function = _stacked(layout, data)
    for iteration in range(_ITERATIONS):
        r = residuals(theta, layout, data)
        jacobian = _jacobian(function, theta, _steps(theta, layout))
        if iteration % 3 == 0 and iteration < 13:
            nuisance = _estimate_scatter(theta, layout, data, nuisance, shape, r, jacobian)
        w = weights(r, *error_covariance(theta, layout, data, nuisance, shape))
        white, columns = whiten(r, w), _whiten_columns(r, w, jacobian)
        step = -_solve(columns, white)
        gain = layout.index("gain")
        if gain is not None and abs(step[gain]) > 0.3 * theta[gain]:
            step *= 0.3 * theta[gain] / abs(step[gain])
        theta = theta + step
        if iteration > 13 and float(np.linalg.norm(columns @ step)) < 1e-4:
            break
    r = residuals(theta, layout, data)
    jacobian = _jacobian(function, theta, _steps(theta, layout))
    w = weights(r, *error_covariance(theta, layout, data, nuisance, shape))
    white, columns = whiten(r, w), _whiten_columns(r, w, jacobian)
    norm = np.linalg.norm(columns, axis=0)
    norm[norm == 0] = 1.0
    covariance = np.linalg.pinv((columns / norm).T @ (columns / norm)) / np.outer(norm, norm)
    return Candidate(
        name, layout, theta, covariance, nuisance, float(white @ white), white.size - theta.size, np.inf, r
    )


def _solve(columns: FloatArray, white: FloatArray) -> FloatArray:
    norm = np.linalg.norm(columns, axis=0)
    norm[norm == 0] = 1.0
    return np.asarray(np.linalg.lstsq(columns / norm, white, rcond=1e-12)[0] / norm)


def _estimate_scatter(
    theta: FloatArray,
    layout: Layout,
    data: PhotonTransferData,
    nuisance: Nuisance,
    shape: FloatArray,
    r: Residuals,
    jacobian: FloatArray,
) -> Nuisance:
    """Light and offset scatter that maximise the restricted likelihood, one after the other, 0 allowed."""

    def objective(trial: Nuisance) -> float:
        w = weights(r, *error_covariance(theta, layout, data, trial, shape))
        columns = _whiten_columns(r, w, jacobian)
        norm = np.linalg.norm(columns, axis=0)
        norm[norm == 0] = 1.0
        q, upper = np.linalg.qr(columns / norm)
        white = whiten(r, w)
        rest = white - q @ (q.T @ white)
        diagonal = np.abs(np.diag(upper))
        restricted = 2 * float(np.sum(np.log(np.maximum(diagonal, 1e-12)) + np.log(norm)))
        return float(rest @ rest) + w.log_determinant + restricted

    if layout.index("responsivity") is not None and int(np.sum(data.used_bright)) >= FEWEST_LEVELS_FOR_SCATTER:
        nuisance = _search(objective, nuisance, "light", _LIGHT_SCATTER_RANGE)
    if int(np.sum(data.dark)) >= 4:
        top = float(np.log10(max(np.ptp(data.mean_dn[data.dark]), 1e-3)) + 0.5)
        nuisance = _search(objective, nuisance, "offset_dn", (top - 5.0, top))
    return nuisance


def _search(
    objective: Callable[[Nuisance], float], nuisance: Nuisance, field: str, decades: tuple[float, float]
) -> Nuisance:
    def along(decade: float) -> Nuisance:
        return replace(nuisance, **{field: 10.0**decade})

    found = minimize_scalar(
        lambda decade: objective(along(float(decade))), bounds=decades, method="bounded", options={"xatol": 0.01}
    )
    none = replace(nuisance, **{field: 0.0})
    return along(float(found.x)) if found.fun < objective(none) - 1e-9 else none


def _variance_excess(candidate: Candidate, data: PhotonTransferData, shape: FloatArray) -> float:
    """By how much the variances scatter more than their noise; 1 unless that is significant (4 sigma)."""
    plain = replace(candidate.nuisance, variance_excess=1.0)
    r = candidate.residuals
    w = weights(r, *error_covariance(candidate.theta, candidate.layout, data, plain, shape))
    white = (w.b * r.mean + w.c * r.variance)[r.has_variance]
    dof = max(1, white.size - candidate.theta.size + int(np.sum(r.has_mean) > 0) * 2)
    excess = float(white @ white) / dof
    if not data.known_errors:
        return max(excess, 1e-12)  # a table of computed numbers has no scatter at all
    return excess if excess > 1.0 + 4.0 * np.sqrt(2.0 / dof) else 1.0


def _compare(
    candidate: Candidate, richest: Candidate, data: PhotonTransferData, shape: FloatArray, nuisance: Nuisance
) -> Candidate:
    """Fit again under common, fixed error covariances; BIC and deviance from those."""
    blocks = error_covariance(richest.theta, richest.layout, data, nuisance, shape)
    function = _stacked(candidate.layout, data)
    theta = candidate.theta.copy()
    for _ in range(12):
        r = residuals(theta, candidate.layout, data)
        w = weights(r, *blocks)
        columns = _whiten_columns(r, w, _jacobian(function, theta, _steps(theta, candidate.layout)))
        theta = theta - _solve(columns, whiten(r, w))
    r = residuals(theta, candidate.layout, data)
    white = whiten(r, weights(r, *blocks))
    deviance = float(white @ white)
    plain = error_covariance(richest.theta, richest.layout, data, replace(nuisance, variance_excess=1.0), shape)
    raw = whiten(r, weights(r, *plain))
    return replace(
        candidate,
        theta=theta,
        residuals=r,
        bic=deviance + theta.size * float(np.log(white.size)),
        deviance=float(raw @ raw),
        dof=white.size - theta.size,
    )


def _monotone(candidate: Candidate) -> bool:
    x = np.linspace(0.0, 1.0, 257)
    slope = np.ones_like(x)
    for power, coefficient in enumerate(candidate.layout.coefficients(candidate.theta), start=1):
        slope += (power + 1) * coefficient * x**power
    return bool(np.min(slope) > 0.05)
