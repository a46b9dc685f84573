"""One candidate fitted: iteratively reweighted Gauss-Newton, nuisance scatter by restricted likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import stdtrit

from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.likelihood import (
    Layout,
    Nuisance,
    Residuals,
    Weights,
    covariance_of,
    cumulants,
    error_covariance,
    residuals,
    weights,
    whiten,
)

FloatArray = NDArray[np.float64]

_ITERATIONS = 40
_LAST_SCATTER = 12  # iteration at which the scatter is estimated for the last time, if it has not come to rest before
_SCATTER_DECADES = 0.01  # how closely a scatter is searched
FEWEST_LEVELS_FOR_SCATTER = 4
#: Read noise of 0.01 DN: less cannot be told from none through any rounding.
LEAST_DARK_VARIANCE_DN2 = 1e-4
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
    log_determinant : float
        Of the error covariance that the deviance was taken under.
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
    log_determinant: float = 0.0

    @property
    def deviance_per_dof(self) -> float:
        """1 where the noise model describes the data."""
        return self.deviance / max(self.dof, 1)


def jacobian_of(function: Callable[[FloatArray], FloatArray], theta: FloatArray, steps: FloatArray) -> FloatArray:
    """Derivatives by central differences, (n_values, n_parameters)."""
    columns = []
    for k in range(theta.size):
        up, down = theta.copy(), theta.copy()
        up[k] += steps[k]
        down[k] -= steps[k]
        columns.append((function(up) - function(down)) / (2 * steps[k]))
    return np.stack(columns, axis=1)


def stacked_residuals(layout: Layout, data: PhotonTransferData) -> Callable[[FloatArray], FloatArray]:
    """Mean residuals over variance residuals as one column, for differentiation."""

    def function(theta: FloatArray) -> FloatArray:
        r = residuals(theta, layout, data)
        return np.concatenate([r.mean, r.variance])

    return function


def difference_steps(theta: FloatArray, layout: Layout) -> FloatArray:
    """Step of each parameter for the central differences."""
    scale = np.array(
        [1e-4 if name.startswith("c") else 1e-4 * abs(t) for name, t in zip(layout.names, theta, strict=True)]
    )
    floor = {"offset": 1e-3, "dark_variance": 1e-4, "dark_rate": 1e-4, "a00": 1e-10, "b": 1e-9, "step": 1e-3}
    return np.asarray(np.maximum(scale, [floor.get(name, 1e-9) for name in layout.names]))


def whiten_columns(r: Residuals, w: Weights, jacobian: FloatArray) -> FloatArray:
    """The Jacobian in units of the errors, rows as in `whiten`."""
    n = r.mean.size
    mean = w.a[:, None] * jacobian[:n]
    variance = w.b[:, None] * jacobian[:n] + w.c[:, None] * jacobian[n:]
    return np.concatenate([mean[r.has_mean], variance[r.has_variance]])


def fit_candidate(
    name: str,
    layout: Layout,
    data: PhotonTransferData,
    start: FloatArray,
    shape: FloatArray,
    nuisance: Nuisance,
    frozen: str | None = None,
) -> Candidate:
    """Gauss-Newton with weights from the model of the last step, scatter re-estimated on the way.

    A ``frozen`` parameter keeps its start value, and the scatter then keeps its own.
    """
    theta = start.copy()
    function = stacked_residuals(layout, data)
    fixed = None if frozen is None else layout.index(frozen)
    settled = fixed is not None
    for iteration in range(_ITERATIONS):
        r = residuals(theta, layout, data)
        jacobian = jacobian_of(function, theta, difference_steps(theta, layout))
        if fixed is not None:
            jacobian[:, fixed] = 0.0
        elif iteration % 3 == 0 and not settled:
            before, nuisance = nuisance, _estimate_scatter(theta, layout, data, nuisance, shape, r, jacobian)
            settled = iteration >= _LAST_SCATTER or (iteration > 0 and _alike(before, nuisance))
        w = weights(r, *error_covariance(theta, layout, data, nuisance, shape))
        white, columns = whiten(r, w), whiten_columns(r, w, jacobian)
        step = -solve(columns, white)
        theta = descend(step, theta, layout, data, w)
        if settled and float(np.linalg.norm(columns @ step)) < 1e-4:
            break
    r = residuals(theta, layout, data)
    jacobian = jacobian_of(function, theta, difference_steps(theta, layout))
    if fixed is not None:
        jacobian[:, fixed] = 0.0
    w = weights(r, *error_covariance(theta, layout, data, nuisance, shape))
    white, columns = whiten(r, w), whiten_columns(r, w, jacobian)
    return Candidate(
        name,
        layout,
        theta,
        solve_normal(columns),
        nuisance,
        float(white @ white),
        white.size - theta.size,
        np.inf,
        r,
        w.log_determinant,
    )


def solve_normal(columns: FloatArray) -> FloatArray:
    """Inverse of X^T X, columns scaled to length 1 first."""
    norm = np.linalg.norm(columns, axis=0)
    norm[norm == 0] = 1.0
    return np.asarray(np.linalg.pinv((columns / norm).T @ (columns / norm)) / np.outer(norm, norm))


def widened_for_scatter(fit: Candidate, data: PhotonTransferData, shape: FloatArray) -> FloatArray:
    """The covariance with every standard error widened so that 1.96 of it hold 95 %, though scatter is estimated.

    Notes
    -----
    Satterthwaite: a variance of which the share d ln Var / d ln s^2 comes from a scatter s^2 known with nu degrees of
    freedom has nu / share^2 of its own; the factor is Student's quantile over the normal one.
    """
    n_bright = int(np.sum(fit.residuals.has_mean & data.bright))
    n_dark = int(np.sum(fit.residuals.has_mean & data.dark))
    freedom = {"light": n_bright - 1 - fit.layout.degree, "offset_dn": n_dark - 1 - int(data.has_dark_exposures)}
    jacobian = jacobian_of(stacked_residuals(fit.layout, data), fit.theta, difference_steps(fit.theta, fit.layout))

    def variances(nuisance: Nuisance) -> FloatArray:
        w = weights(fit.residuals, *error_covariance(fit.theta, fit.layout, data, nuisance, shape))
        return np.diag(solve_normal(whiten_columns(fit.residuals, w, jacobian)))

    loss = np.zeros(fit.theta.size)  # one over the degrees of freedom
    for field, dof in freedom.items():
        scatter = getattr(fit.nuisance, field)
        if scatter > 0 and dof >= 1:
            up, down = (variances(replace(fit.nuisance, **{field: scatter * step})) for step in (1.1, 1 / 1.1))
            share = np.log(np.maximum(up, 1e-300) / np.maximum(down, 1e-300)) / (4 * np.log(1.1))
            loss += np.clip(share, 0.0, 1.0) ** 2 / dof
    factor = stdtrit(1 / np.maximum(loss, 1e-6), 0.975) / stdtrit(1e6, 0.975)
    return np.asarray(fit.covariance * np.outer(factor, factor))


def descend(step: FloatArray, theta: FloatArray, layout: Layout, data: PhotonTransferData, w: Weights) -> FloatArray:
    """The next theta: the step, held to the legal range and halved until the weighted squares fall."""
    gain, dark = layout.get(theta, "gain"), layout.get(theta, "dark_variance")
    limits = {"gain": 0.3 * gain, "dark_variance": max(0.5 * dark, LEAST_DARK_VARIANCE_DN2)}
    slope = layout.get(theta, "slope")
    limits |= {"knee": 0.1 * layout.get(theta, "knee"), "slope": 0.3 * min(slope, 1.0 - slope)}
    for name, limit in limits.items():
        position = layout.index(name)
        if position is not None and abs(step[position]) > limit:
            step = step * limit / abs(step[position])
    before = float(np.sum(whiten(residuals(theta, layout, data), w) ** 2))
    for _ in range(8):
        trial = theta + step
        position = layout.index("dark_variance")
        if position is not None:
            trial[position] = max(trial[position], LEAST_DARK_VARIANCE_DN2)
        if float(np.sum(whiten(residuals(trial, layout, data), w) ** 2)) <= before * (1 + 1e-9):
            return trial
        step = step / 2
    return theta


def solve(columns: FloatArray, white: FloatArray) -> FloatArray:
    """Least-squares solution, columns scaled to length 1 first."""
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
    model = cumulants(theta, layout, data)

    def objective(trial: Nuisance) -> float:
        w = weights(r, *covariance_of(model, theta, layout, data, trial, shape))
        columns = whiten_columns(r, w, jacobian)
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
    if int(np.sum(data.still)) >= 4:
        top = float(np.log10(max(_offset_range(data), 1e-3)))
        nuisance = _search(objective, nuisance, "offset_dn", (top - 5.0, top))
    return nuisance


def _alike(one: Nuisance, other: Nuisance) -> bool:
    """Whether two scatters are the same to the precision of their search."""
    pairs = ((one.light, other.light), (one.offset_dn, other.offset_dn))
    return all(a == b or (a > 0 and b > 0 and abs(np.log10(a / b)) <= 2 * _SCATTER_DECADES) for a, b in pairs)


def _offset_range(data: PhotonTransferData) -> float:
    """Three times what is left of the darks' means about a straight line in exposure: more scatter there cannot be.

    Without such a limit a fit of coarse codes may put the offset one code off and call the difference scatter.
    """
    mean, exposure = data.mean_dn[data.still], data.exposure_s[data.still]
    if data.has_dark_exposures:
        mean = mean - np.polyval(np.polyfit(exposure, mean, 1), exposure)
    return float(3 * np.std(mean))


def _search(
    objective: Callable[[Nuisance], float], nuisance: Nuisance, field: str, decades: tuple[float, float]
) -> Nuisance:
    def along(decade: float) -> Nuisance:
        return replace(nuisance, **{field: 10.0**decade})

    found = minimize_scalar(
        lambda decade: objective(along(float(decade))),
        bounds=decades,
        method="bounded",
        options={"xatol": _SCATTER_DECADES},
    )
    none = replace(nuisance, **{field: 0.0})
    return along(float(found.x)) if found.fun < objective(none) - 1e-9 else none
