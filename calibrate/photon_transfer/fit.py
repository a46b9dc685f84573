"""The joint fit: iteratively reweighted Gauss-Newton, nuisance scatter by restricted likelihood, choice by BIC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics import NeighbourCovariances
from calibrate.photon_transfer.brighter_fatter import ShiftMatrix, fit_shift_matrix
from calibrate.photon_transfer.clipping import unclipped_start
from calibrate.photon_transfer.coarse import COARSE_NOISE_DN, with_profiled_dark_noise
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import (
    FEWEST_LEVELS_FOR_SCATTER,
    Candidate,
    difference_steps,
    fit_candidate,
    jacobian_of,
    solve,
    stacked_residuals,
    whiten_columns,
    widened_for_scatter,
)
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
from calibrate.photon_transfer.third_moments import ThirdMoments, read_third_moments
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]

#: Response candidates: name and number of coefficients beyond the gain.
CANDIDATES = (("linear", 0), ("quadratic_response", 1), ("cubic_response", 2))
#: The simplest candidate within this of the smallest criterion is chosen: less is no strong evidence (Kass and Raftery
#: 1995). Of 900 straight cameras under a 1 % lamp the bare criterion bent 1 in 20, by 3 to 6 standard errors of K.
STRONG_EVIDENCE = 6.0
#: Brighter-fatter candidates, and their parameters beyond the straight camera's. Where b can be fitted it stays in: at
#: -1.5e-6 per electron, left out for want of evidence, it put K of 18 levels of 256 x 256 pixels off by two standard
#: errors.
BRIGHTER_FATTER = (
    ("brighter_fatter_constant", ("a00",)),
    ("brighter_fatter", ("a00", "b")),
    ("brighter_fatter_quadratic_response", ("a00", "b", "c1")),
)
#: Standard errors of the near neighbours' shifts below which no brighter-fatter candidate is tried.
SIGNIFICANT_SHIFTS = 3.0
#: Levels from which on covariances in proportion to the light and to its square can be told apart.
_FEWEST_COVARIANCES = 4
#: Share of dark pixels at the lowest code from which the start values count it in.
_CLIPPED_DARKS = 0.02
#: A gain that varies over pixels is corrected for when it is this many standard errors away from none.
SIGNIFICANT_PATTERN = 4.0
_COARSE_STARTS_DN = (0.12, 0.25, 0.4)


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and all that were tried.

    ``data`` holds the level shifts that the fit found, ``third`` what the third moments say, ``shifts`` what the
    covariances of neighbours say where the chosen candidate is a brighter-fatter one.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    shape_factor: FloatArray
    data: PhotonTransferData
    third: ThirdMoments
    shifts: ShiftMatrix | None = None


def fit_photon_transfer(
    data: PhotonTransferData, rounding_dn2: float, covariances: Sequence[NeighbourCovariances] = ()
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

    Raises
    ------
    PhotonbitsError
        If the variances do not rise with the means.
    """
    tried, data, shape, shifts = _fit_all(data, rounding_dn2, covariances)
    third = read_third_moments(tried[-1].theta, tried[-1].layout, data)
    if third.gain_pattern > SIGNIFICANT_PATTERN * third.gain_pattern_std:
        known = replace(data, gain_pattern=third.gain_pattern)
        tried, data, shape, shifts = _fit_all(known, rounding_dn2, covariances)
    richest = fit_candidate(tried[-1].name, tried[-1].layout, data, tried[-1].theta, shape, Nuisance())
    nuisance = replace(richest.nuisance, variance_excess=_variance_excess(richest, data, shape))
    tried += _with_late_noise(tried, data, shape)
    compared = [_compare(candidate, richest, data, shape, nuisance) for candidate in tried]
    if shifts is not None:
        compared = [c if _has_shifts(c) else replace(c, bic=c.bic + shifts.credit) for c in compared]
    evolving = any(candidate.layout.index("b") is not None for candidate in compared)
    open_to_choice = [c for c in compared if not (evolving and _has_shifts(c) and c.layout.index("b") is None)]
    least = min(candidate.bic for candidate in open_to_choice)
    by_size = sorted(open_to_choice, key=lambda candidate: candidate.theta.size)  # those of one size stay in order
    best = next(candidate for candidate in by_size if candidate.bic <= least + STRONG_EVIDENCE)
    if not data.known_errors and not data.has_light_axis:
        compared += [_compare(c, richest, data, shape, nuisance) for c in _unproven(tried, data, shape)]
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
    if rounding_dn2 > 0:
        final = with_profiled_dark_noise(final, data, shape)
    if data.known_errors and misfit > 1.0 + 4.0 * np.sqrt(2.0 / max(final.dof, 1)):
        final = replace(final, covariance=final.covariance * misfit)
    if data.gain_pattern > 0:
        # K carries the error of the gain's pattern, and the read noise in electrons with it through K.
        covariance = final.covariance.copy()
        covariance[0, 0] += (final.theta[0] * third.gain_pattern_std) ** 2
        final = replace(final, covariance=covariance)
    final = replace(final, bic=best.bic, deviance=float(white @ white))
    third = read_third_moments(final.theta, final.layout, replace(data, gain_pattern=0.0))
    shifts = _shifts_of(final, covariances) if _has_shifts(final) else None
    return Choice(final, tuple(final if c is best else c for c in compared), shape, data, third, shifts)


def _fit_all(
    data: PhotonTransferData, rounding_dn2: float, covariances: Sequence[NeighbourCovariances]
) -> tuple[list[Candidate], PhotonTransferData, FloatArray, ShiftMatrix | None]:
    """Every candidate that the levels allow, each started from the one before; the data with the richest's shifts."""
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
        shifted = with_level_shifts(start, layout, data)
        fitted = min(
            (fit_candidate(name, layout, shifted, at, shape, Nuisance()) for at in _starts(start, layout, degree)),
            key=lambda candidate: candidate.deviance + candidate.log_determinant,
        )
        if degree and not _monotone(fitted):
            break
        tried.append(fitted)
        data, start = with_level_shifts(fitted.theta, layout, shifted), fitted.theta
    shifts = None
    if len(covariances) >= _FEWEST_COVARIANCES and n_bright >= 5:
        found = _shifts_of(tried[-1], covariances)
        # With the light known, means and variances have their say too; without it only covariances have one.
        near, error = found.near_sum_per_e
        likely = found.over_linear > -STRONG_EVIDENCE if data.has_light_axis else found.credit > STRONG_EVIDENCE
        if likely and near > SIGNIFICANT_SHIFTS * error:
            shifts = found
            tried += _brighter_fatter(tried, data, shape, covariances, found)
            data = with_level_shifts(tried[-1].theta, tried[-1].layout, data)
    return tried, data, _shape_factor(tried[-1].theta, tried[-1].layout, data), shifts


def _has_shifts(candidate: Candidate) -> bool:
    return candidate.layout.index("a00") is not None


def _shifts_of(fit: Candidate, covariances: Sequence[NeighbourCovariances]) -> ShiftMatrix:
    """The covariances' shifts under the offset, gain and own shift of a fit."""
    layout, theta = fit.layout, fit.theta
    own = layout.get(theta, "a00") if _has_shifts(fit) else None
    offset, gain = layout.get(theta, "offset"), layout.get(theta, "gain")
    return fit_shift_matrix(covariances, offset, gain, own, layout.get(theta, "b"))


def _brighter_fatter(
    tried: list[Candidate],
    data: PhotonTransferData,
    shape: FloatArray,
    covariances: Sequence[NeighbourCovariances],
    shifts: ShiftMatrix,
) -> list[Candidate]:
    """Constant shifts, shifts that change with the charge, and a response beside where a light axis shows it."""
    n_bright = int(np.sum(data.used_bright & np.isfinite(data.variance_dn2)))
    plain = tried[0].layout
    out: list[Candidate] = []
    start = {**dict(zip(plain.names, tried[0].theta, strict=True)), "gain": tried[-1].theta[0]}
    start["a00"] = -shifts.near_sum_per_e[0]
    for name, extra in BRIGHTER_FATTER:
        degree = int("c1" in extra)
        if n_bright < len(extra) + 4 or (degree and not data.has_light_axis):
            continue
        own = shifts
        layout = replace(plain, names=(*plain.names, *extra), degree=degree)
        theta = np.array([start.get(name, 0.0) for name in layout.names])
        for _ in range(2):  # the neighbours' shifts depend on a_00 a little
            layout = replace(layout, neighbours=own.significant)
            shifted = with_level_shifts(theta, layout, data)
            fitted = fit_candidate(name, layout, shifted, theta, shape, Nuisance())
            theta, own = fitted.theta, _shifts_of(fitted, covariances)
        if degree == 0 or _monotone(fitted):
            out.append(fitted)
            start.update(zip(layout.names, theta, strict=True))
    return out


def _with_late_noise(tried: list[Candidate], data: PhotonTransferData, shape: FloatArray) -> list[Candidate]:
    """Bent candidates once more with the read noise after the response, where the levels can tell it from before."""
    out = []
    for candidate in tried:
        if candidate.layout.degree == 0 or _has_shifts(candidate):
            continue
        late = replace(candidate.layout, noise_after_response=True)
        change = residuals(candidate.theta, late, data).fitted_variance - candidate.residuals.fitted_variance
        error = error_covariance(candidate.theta, candidate.layout, data, Nuisance(), shape)[2]
        seen = candidate.residuals.has_variance & data.bright
        if float(np.sum(change[seen] ** 2 / error[seen])) > STRONG_EVIDENCE:
            out.append(replace(candidate, name=candidate.name + "_noise_after", layout=late))
    return out


def _unproven(tried: list[Candidate], data: PhotonTransferData, shape: FloatArray) -> list[Candidate]:
    """What brighter-fatter would make of a table, which has no covariances to speak for it: told, never chosen."""
    if len(tried) < 2:
        return []
    layout = replace(tried[0].layout, names=(*tried[0].layout.names, "a00"))
    theta = np.append(tried[0].theta, 0.0)
    theta[0] = tried[1].theta[0]
    return [fit_candidate("brighter_fatter_constant", layout, data, theta, shape, Nuisance())]


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


def _dark_mean(data: PhotonTransferData) -> float:
    return 0.0 if data.offset_is_zero else float(np.mean(data.mean_dn[data.dark]))


def _layout(data: PhotonTransferData, degree: int, scale: float, rounding: float) -> Layout:
    names = ["gain"]
    if not data.offset_is_zero:
        names.append("offset")
    names.append("dark_variance")
    # With fewer levels the lamp's scatter cannot be seen, and light taken as exact would rule the fit.
    if data.has_light_axis and int(np.sum(data.used_bright)) >= FEWEST_LEVELS_FOR_SCATTER:
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
    if not data.has_light_axis or not darks.size or not np.all(np.isfinite(np.append(darks, brights))):
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
        clipped = float(np.median(data.black_fraction[darks]))
        if data.black_clip_dn is not None and clipped > _CLIPPED_DARKS:
            offset, before = unclipped_start(float(np.median(data.mean_dn[darks])), clipped, data.black_clip_dn)
            signal, floor = data.mean_dn[used] - offset, before + layout.rounding_dn2
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
    theta = {
        "gain": gain,
        "offset": offset,
        "dark_variance": max(floor - layout.rounding_dn2, 0.05 if layout.rounding_dn2 > 0 else 1e-3),
    }
    if layout.index("responsivity") is not None:
        light = data.light[data.used_bright]
        theta["responsivity"] = float(np.sum((data.mean_dn[data.used_bright] - offset) * light) / np.sum(light * light))
    if layout.index("dark_rate") is not None and data.has_dark_exposures:
        theta["dark_rate"] = float(np.polyfit(data.exposure_s[data.dark], data.mean_dn[data.dark], 1)[0])
    return np.array([theta.get(name, 0.0) for name in layout.names])


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
    candidate: Candidate, richest: Candidate, data: PhotonTransferData, shape: FloatArray, nuisance: Nuisance
) -> Candidate:
    """Fit again under common, fixed error covariances; BIC and deviance from those."""
    blocks = error_covariance(richest.theta, richest.layout, data, nuisance, shape)
    function = stacked_residuals(candidate.layout, data)
    theta = candidate.theta.copy()
    for _ in range(12):
        r = residuals(theta, candidate.layout, data)
        w = weights(r, *blocks)
        columns = whiten_columns(r, w, jacobian_of(function, theta, difference_steps(theta, candidate.layout)))
        theta = theta - solve(columns, whiten(r, w))
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
