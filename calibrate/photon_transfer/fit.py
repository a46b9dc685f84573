"""The joint fit: iteratively reweighted Gauss-Newton, nuisance scatter by restricted likelihood, choice by BIC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics import NeighbourCovariances
from calibrate.photon_transfer.alternatives import (
    SIGNIFICANT_SHIFTS,
    STRONG_EVIDENCE,
    brighter_fatter,
    has_shifts,
    is_monotone,
    read_noise_step,
    shifts_of,
    two_slope,
    unproven,
    with_late_noise,
)
from calibrate.photon_transfer.brighter_fatter import ShiftMatrix
from calibrate.photon_transfer.coarse import COARSE_NOISE_DN, with_profiled_dark_noise
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import (
    Candidate,
    descend,
    difference_steps,
    fit_candidate,
    jacobian_of,
    solve,
    stacked_residuals,
    whiten_columns,
    widened_for_scatter,
)
from calibrate.photon_transfer.knee_profile import with_profiled_knee
from calibrate.photon_transfer.knee_search import Break, KneeDoubt
from calibrate.photon_transfer.level_shifts import with_level_shifts
from calibrate.photon_transfer.likelihood import (
    Layout,
    Nuisance,
    cumulants,
    error_covariance,
    residuals,
    weights,
    whiten,
)
from calibrate.photon_transfer.read_noise_step import Step
from calibrate.photon_transfer.sandwich import at_least_as_wide, sandwich_covariance
from calibrate.photon_transfer.starts import dark_mean, initial_theta, plain_layout
from calibrate.photon_transfer.third_moments import ThirdMoments, read_third_moments

FloatArray = NDArray[np.float64]

#: Response candidates: name and number of coefficients beyond the gain.
CANDIDATES = (("linear", 0), ("quadratic_response", 1), ("cubic_response", 2))
#: Levels from which on covariances in proportion to the light and to its square can be told apart.
_FEWEST_COVARIANCES = 4
#: A gain that varies over pixels is corrected for when it is this many standard errors away from none.
SIGNIFICANT_PATTERN = 4.0
_COARSE_STARTS_DN = (0.12, 0.25, 0.4)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and all that were tried.

    ``data`` holds the level shifts that the fit found, ``third`` what the third moments say, ``shifts`` what the
    covariances of neighbours say where the chosen candidate is a brighter-fatter one, ``knee`` a knee that shows and
    is not in the chosen candidate.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    shape_factor: FloatArray
    data: PhotonTransferData
    third: ThirdMoments
    shifts: ShiftMatrix | None = None
    knee: KneeDoubt | None = None


def fit_photon_transfer(
    data: PhotonTransferData,
    rounding_dn2: float,
    covariances: Sequence[NeighbourCovariances] = (),
    found: Break | Step | None = None,
) -> Choice:
    """Fit every candidate the number of levels allows, and choose by the Bayesian information criterion.

    The errors under which candidates are compared (light scatter, offset scatter, widening) are those of the
    richest one: with its own scatter every poor model would look good. ``n`` in the criterion is the number of
    level statistics. Covariances of neighbours that grow with the square of the light bring in brighter-fatter
    candidates, and count against all others: a response leaves pixels independent, and pixels coupled at read-out
    have covariances in proportion to the light.

    Parameters
    ----------
    data : PhotonTransferData
    rounding_dn2 : float
        Variance of rounding: 1/12 for integer codes, 0 for real values.
    covariances : sequence of NeighbourCovariances
        Of levels below saturation, where they have been measured.
    found : Break or Step, optional
        Where a knee may lie, or a step of the read noise: it is then a candidate too. ``data`` should be a break's own.

    Raises
    ------
    PhotonbitsError
        If the variances do not rise with the means.
    """
    tried, data, shape, shifts = _fit_all(data, rounding_dn2, covariances, found)
    third = read_third_moments(tried[-1].theta, tried[-1].layout, data)
    if third.gain_pattern > SIGNIFICANT_PATTERN * third.gain_pattern_std:
        known = replace(data, gain_pattern=third.gain_pattern)
        tried, data, shape, shifts = _fit_all(known, rounding_dn2, covariances, found)
    richest = fit_candidate(tried[-1].name, tried[-1].layout, data, tried[-1].theta, shape, Nuisance())
    nuisance = replace(richest.nuisance, variance_excess=_variance_excess(richest, data, shape))
    tried += with_late_noise(tried, data, shape)
    guarded = found is not None
    compared = [_compare(candidate, richest, data, shape, nuisance, guarded) for candidate in tried]
    if shifts is not None:
        compared = [c if has_shifts(c) else replace(c, bic=c.bic + shifts.credit) for c in compared]
    evolving = any(candidate.layout.index("b") is not None for candidate in compared)
    open_to_choice = [c for c in compared if not (evolving and has_shifts(c) and c.layout.index("b") is None)]
    least = min(candidate.bic for candidate in open_to_choice)
    by_size = sorted(open_to_choice, key=lambda candidate: candidate.theta.size)  # those of one size stay in order
    best = next(candidate for candidate in by_size if candidate.bic <= least + STRONG_EVIDENCE)
    if not data.known_errors and not data.has_light_axis:
        compared += [_compare(c, richest, data, shape, nuisance) for c in unproven(tried, data, shape)]
    data = with_level_shifts(best.theta, best.layout, data)
    final = fit_candidate(best.name, best.layout, data, best.theta, shape, nuisance)
    excess = _variance_excess(final, data, shape)
    data = with_level_shifts(final.theta, final.layout, data)
    final = fit_candidate(
        best.name, best.layout, data, final.theta, shape, replace(final.nuisance, variance_excess=excess)
    )
    plain = error_covariance(final.theta, final.layout, data, replace(final.nuisance, variance_excess=1.0), shape)
    white = whiten(final.residuals, weights(final.residuals, *plain))
    # What the light scatter and the widened variances do not take up widens everything.
    misfit = final.deviance / max(final.dof, 1)
    final = replace(final, covariance=widened_for_scatter(final, data, shape))
    if final.layout.form == "two-slope":
        final = with_profiled_knee(final, data, shape)
    if rounding_dn2 > 0:
        final = with_profiled_dark_noise(final, data, shape)
    misfits = data.known_errors and misfit > 1.0 + 4.0 * np.sqrt(2.0 / max(final.dof, 1))
    if misfits:
        final = replace(final, covariance=final.covariance * misfit)
    if misfits or (data.known_errors and excess > 1.0):
        own = sandwich_covariance(final, data, shape)
        final = replace(final, covariance=at_least_as_wide(final.covariance, own))
    if data.gain_pattern > 0:
        # K carries the error of the gain's pattern, and the read noise in electrons with it through K.
        covariance = final.covariance.copy()
        covariance[0, 0] += (final.theta[0] * third.gain_pattern_std) ** 2
        final = replace(final, covariance=covariance)
    final = replace(final, bic=best.bic, deviance=float(white @ white))
    third = read_third_moments(final.theta, final.layout, replace(data, gain_pattern=0.0))
    shifts = shifts_of(final, covariances) if has_shifts(final) else None
    return Choice(final, tuple(final if c is best else c for c in compared), shape, data, third, shifts)


def _fit_all(
    data: PhotonTransferData,
    rounding_dn2: float,
    covariances: Sequence[NeighbourCovariances],
    found: Break | Step | None,
) -> tuple[list[Candidate], PhotonTransferData, FloatArray, ShiftMatrix | None]:
    """Every candidate that the levels allow, each started from the one before; the data with the richest's shifts."""
    n_bright = int(np.sum(data.used_bright & np.isfinite(data.variance_dn2)))
    scale = float(np.max(data.mean_dn[data.used_bright]) - dark_mean(data))
    shape = np.ones(data.mean_dn.shape)
    tried: list[Candidate] = []
    start: FloatArray | None = None
    for name, degree in CANDIDATES:
        if degree and n_bright < degree + 4:
            break
        layout = plain_layout(data, degree, scale, rounding_dn2)
        if start is None:
            start = initial_theta(found.below(data) if isinstance(found, Break) else data, layout)
            shape = _shape_factor(start, layout, data)
        else:
            start = np.append(start, 0.0)
        shifted = with_level_shifts(start, layout, data)
        fitted = min(
            (fit_candidate(name, layout, shifted, at, shape, Nuisance()) for at in _starts(start, layout, degree)),
            key=lambda candidate: candidate.deviance + candidate.log_determinant,
        )
        if degree and not is_monotone(fitted):
            break
        tried.append(fitted)
        data, start = with_level_shifts(fitted.theta, layout, shifted), fitted.theta
    shifts = None
    if len(covariances) >= _FEWEST_COVARIANCES and n_bright >= 5:
        seen = shifts_of(tried[-1], covariances)
        # With the light known, means and variances have their say too; without it only covariances have one.
        near, error = seen.near_sum_per_e
        likely = seen.over_linear > -STRONG_EVIDENCE if data.has_light_axis else seen.credit > STRONG_EVIDENCE
        if likely and near > SIGNIFICANT_SHIFTS * error:
            shifts = seen
            tried += brighter_fatter(tried, data, shape, covariances, seen)
            data = with_level_shifts(tried[-1].theta, tried[-1].layout, data)
    if found is not None:
        if isinstance(found, Break):
            tried.append(two_slope(tried[0], data, shape, found))
        else:
            tried.append(read_noise_step(tried[0], data, shape, found))
        data = with_level_shifts(tried[-1].theta, tried[-1].layout, data)
    return tried, data, _shape_factor(tried[-1].theta, tried[-1].layout, data), shifts


def _starts(start: FloatArray, layout: Layout, degree: int) -> list[FloatArray]:
    """Where to start from: dark noise below half a code has several minima, one of them the right one."""
    position = layout.names.index("dark_variance")
    if degree or layout.rounding_dn2 == 0 or start[position] > COARSE_NOISE_DN**2:
        return [start]
    out = []
    for noise in (float(np.sqrt(start[position])), *_COARSE_STARTS_DN):
        trial = start.copy()
        trial[position] = noise**2
        out.append(trial)
    return out


def _shape_factor(theta: FloatArray, layout: Layout, data: PhotonTransferData) -> FloatArray:
    """Median ratio of measured to expected kurtosis, for brights and darks apart; at least 1."""
    model = cumulants(theta, layout, data)
    expected = np.maximum(3.0 + model.fourth / (2 * model.variance**2), 1.5)
    factor = np.ones(data.mean_dn.shape)
    for group in (data.used_bright, data.dark):
        if np.any(group):
            ratio = float(np.median(data.kurtosis[group] / expected[group]))
            # Sampling error of a kurtosis of n normal differences: sqrt(24 / n).
            noise = 3 * np.sqrt(24.0 / float(np.sum(data.variance_samples[group]))) / 3.0
            factor[group] = ratio if ratio > 1.0 + noise else 1.0
    return factor


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
    candidate: Candidate,
    richest: Candidate,
    data: PhotonTransferData,
    shape: FloatArray,
    nuisance: Nuisance,
    guarded: bool = False,
) -> Candidate:
    """Fit again under common, fixed error covariances; BIC and deviance from those.

    ``guarded`` steps never raise the squares: a bend laid through a knee runs away otherwise.
    """
    blocks = error_covariance(richest.theta, richest.layout, data, nuisance, shape)
    function = stacked_residuals(candidate.layout, data)
    theta = candidate.theta.copy()
    for _ in range(12):
        r = residuals(theta, candidate.layout, data)
        w = weights(r, *blocks)
        columns = whiten_columns(r, w, jacobian_of(function, theta, difference_steps(theta, candidate.layout)))
        step = -solve(columns, whiten(r, w))
        theta = descend(step, theta, candidate.layout, data, w) if guarded else theta + step
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
