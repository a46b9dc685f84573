"""Candidates beside the straight and the bent response: brighter-fatter, read noise after the response, two slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.level_statistics import NeighbourCovariances
from calibrate.photon_transfer.brighter_fatter import ShiftMatrix, fit_shift_matrix
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.gauss_newton import Candidate, fit_candidate
from calibrate.photon_transfer.knee_search import Break
from calibrate.photon_transfer.level_shifts import with_level_shifts
from calibrate.photon_transfer.likelihood import Nuisance, error_covariance, residuals
from calibrate.photon_transfer.read_noise_step import Step
from calibrate.photon_transfer.starts import initial_theta

FloatArray = NDArray[np.float64]

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


def has_shifts(candidate: Candidate) -> bool:
    """Whether it is a brighter-fatter candidate."""
    return candidate.layout.index("a00") is not None


def shifts_of(fit: Candidate, covariances: Sequence[NeighbourCovariances]) -> ShiftMatrix:
    """The covariances' shifts under the offset, gain and own shift of a fit."""
    layout, theta = fit.layout, fit.theta
    own = layout.get(theta, "a00") if has_shifts(fit) else None
    offset, gain = layout.get(theta, "offset"), layout.get(theta, "gain")
    return fit_shift_matrix(covariances, offset, gain, own, layout.get(theta, "b"))


def brighter_fatter(
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
        fitted: Candidate | None = None
        for _ in range(2):  # the neighbours' shifts depend on a_00 a little
            layout = replace(layout, neighbours=own.significant)
            shifted = with_level_shifts(theta, layout, data)
            try:
                fitted = fit_candidate(name, layout, shifted, theta, shape, Nuisance())
            except np.linalg.LinAlgError:
                fitted = None
            if fitted is None or not _is_physical(fitted, tried[0], data):
                fitted = None
                break
            theta, own = fitted.theta, shifts_of(fitted, covariances)
        if fitted is not None and (degree == 0 or is_monotone(fitted)):
            out.append(fitted)
            start.update(zip(layout.names, theta, strict=True))
    return out


def _is_physical(candidate: Candidate, straight: Candidate, data: PhotonTransferData) -> bool:
    """Whether the shifts neither vanish nor double over the range, and describe the levels no worse than none do.

    Where chance alone asks for shifts, a_00 is all but 0 and b, which multiplies it, is anything.
    """
    theta, layout = candidate.theta, candidate.layout
    top_e = (float(np.max(data.mean_dn[data.used_bright])) - layout.get(theta, "offset")) / layout.get(theta, "gain")
    likelihoods = (candidate.deviance + candidate.log_determinant, straight.deviance + straight.log_determinant)
    return bool(
        np.all(np.isfinite([*theta, *likelihoods]))
        and abs(layout.get(theta, "b")) * top_e < 1.0
        and likelihoods[0] < likelihoods[1] + STRONG_EVIDENCE
    )


def with_late_noise(tried: list[Candidate], data: PhotonTransferData, shape: FloatArray) -> list[Candidate]:
    """Bent candidates once more with the read noise after the response, where the levels can tell it from before."""
    out = []
    for candidate in tried:
        if candidate.layout.degree == 0 or has_shifts(candidate):
            continue
        late = replace(candidate.layout, noise_after_response=True)
        change = residuals(candidate.theta, late, data).fitted_variance - candidate.residuals.fitted_variance
        error = error_covariance(candidate.theta, candidate.layout, data, Nuisance(), shape)[2]
        seen = candidate.residuals.has_variance & data.bright
        if float(np.sum(change[seen] ** 2 / error[seen])) > STRONG_EVIDENCE:
            out.append(replace(candidate, name=candidate.name + "_noise_after", layout=late))
    return out


def unproven(tried: list[Candidate], data: PhotonTransferData, shape: FloatArray) -> list[Candidate]:
    """What brighter-fatter would make of a table, which has no covariances to speak for it: told, never chosen."""
    if len(tried) < 2:
        return []
    layout = replace(tried[0].layout, names=(*tried[0].layout.names, "a00"))
    theta = np.append(tried[0].theta, 0.0)
    theta[0] = tried[1].theta[0]
    return [fit_candidate("brighter_fatter_constant", layout, data, theta, shape, Nuisance())]


def two_slope(straight: Candidate, data: PhotonTransferData, shape: FloatArray, found: Break) -> Candidate:
    """Two slopes, from every place where the knee may lie; the likeliest of the fits."""
    layout = replace(
        straight.layout,
        names=(*straight.layout.names, "knee", "slope"),
        degree=2,
        form="two-slope",
        light_pattern=found.light_pattern,
    )
    fits = []
    for start in found.starts:
        theta = np.append(
            initial_theta(start.below(data), straight.layout), [start.knee_dn / layout.scale_dn, start.slope]
        )
        theta[0] = start.gain
        shifted = with_level_shifts(theta, layout, data)
        fits.append(fit_candidate("two_slope", layout, shifted, theta, shape, Nuisance()))
    return min(fits, key=lambda candidate: candidate.deviance + candidate.log_determinant)


def read_noise_step(straight: Candidate, data: PhotonTransferData, shape: FloatArray, found: Step) -> Candidate:
    """A straight response with more read noise from a hand-over on: two gains merged on one scale."""
    layout = replace(straight.layout, names=(*straight.layout.names, "step"), hand_over_dn=found.code_dn)
    theta = np.append(straight.theta, found.step_dn2)
    theta[0] = found.gain
    shifted = with_level_shifts(theta, layout, data)
    return fit_candidate("read_noise_step", layout, shifted, theta, shape, Nuisance())


def is_monotone(candidate: Candidate) -> bool:
    """Whether a bent response rises clearly over the whole range."""
    x = np.linspace(0.0, 1.0, 257)
    slope = np.ones_like(x)
    for power, coefficient in enumerate(candidate.layout.coefficients(candidate.theta), start=1):
        slope += (power + 1) * coefficient * x**power
    return bool(np.min(slope) > 0.05)
