"""The difference of two scores: its value, its random error, and what neither frames nor calibration decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr

from mi_eval.calibration_error import CalibrationErrors
from mi_eval.fit_spread import effective_dof, spread_in_score
from mi_eval.intensity import IntensityLaw
from mi_eval.score_parts import ScoreParts, spread_std

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """I of the first less I of the second, bits per pixel.

    Parameters
    ----------
    value_bits : float
    sampling_std_bits, calibration_std_bits : float
        Standard errors from the spread between frames and the chance of the fits, and from the noise models.
    dof : float
        Degrees of freedom of both together (Welch and Satterthwaite).
    slack_bits, conditional_bits : tuple of float
        Sets that the true difference may be off by, (low, high) with low <= 0 <= high: unseen misfit of the densities,
        and what the codes leave open about H(Z|Y).
    shared_calibration : bool
        Whether one noise model serves both, so that its errors move both scores together.
    frame_bits : ndarray (n_frames,) or None
        Differences frame by frame where frames are paired.
    """

    value_bits: float
    sampling_std_bits: float
    calibration_std_bits: float
    dof: float
    slack_bits: tuple[float, float]
    conditional_bits: tuple[float, float]
    shared_calibration: bool
    frame_bits: FloatArray | None

    @property
    def std_bits(self) -> float:
        """Random error, sampling and calibration in quadrature."""
        return float(np.hypot(self.sampling_std_bits, self.calibration_std_bits))

    @property
    def random_ci95(self) -> tuple[float, float]:
        """95 % interval of the random error alone."""
        reach = float(stats.t.ppf(0.975, self.dof)) * self.std_bits
        return self.value_bits - reach, self.value_bits + reach

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval, widened by both sets."""
        low, high = self.random_ci95
        return low + self.slack_bits[0] + self.conditional_bits[0], high + self.slack_bits[1] + self.conditional_bits[1]

    @property
    def p_value(self) -> float:
        """Two-sided p-value of a difference of 0 under the random error alone."""
        return self._p_value(abs(self.value_bits))

    @property
    def p_value_with_sets(self) -> float:
        """The largest p-value of all differences that the sets allow; below 0.05 where `ci95` excludes 0."""
        side = 0 if self.value_bits > 0 else 1
        reach = abs(self.slack_bits[side] + self.conditional_bits[side])
        return self._p_value(max(abs(self.value_bits) - reach, 0.0))

    def _p_value(self, distance: float) -> float:
        if self.std_bits == 0:
            return 0.0 if distance > 0 else 1.0
        return float(2 * stats.t.sf(distance / self.std_bits, self.dof))


def difference_of(first: ScoreParts, second: ScoreParts, *, paired: bool) -> Difference:
    r"""Difference of two scores made with the same families, folds and patches.

    Notes
    -----
    Paired: Student's t of the per-frame differences :math:`d_g = d^A_g - d^B_g`, which hold code length, excess and
    influence on H(Z|Y) of one scene under both cameras. Unpaired: Welch's t of the per-frame values. The chance of the
    fits is added in quadrature. With
    :math:`m_A \in [0, s_A]` the misfit that A's densities may still have (s its slack), and the same for B, the
    difference lies between its value less :math:`s_A` and its value plus :math:`s_B`.
    """
    if paired:
        values = first.group_bits - second.group_bits
        variances, dofs = [spread_std(values, first.share) ** 2], [values.size - 1]
        fits = [spread_in_score(first.heldout, first.patch_size**2, second.heldout)]
    else:
        values = None
        variances = [parts.sampling_std_bits**2 for parts in (first, second)]
        dofs = [parts.groups.size - 1 for parts in (first, second)]
        fits = [parts.fit_spread for parts in (first, second)]
    variances += [fit.std_bits**2 for fit in fits]
    dofs += [fit.dof for fit in fits]
    shared = _one_model(first, second)
    calibration = calibration_std_of_difference(
        first.calibration, second.calibration, law_distance(first.noise.law, second.noise.law) if shared else None
    )
    open_a, open_b = first.noise, second.noise
    return Difference(
        value_bits=first.value_bits - second.value_bits,
        sampling_std_bits=float(np.sqrt(sum(variances))),
        calibration_std_bits=calibration,
        dof=effective_dof([*variances, calibration**2], [*dofs, None]),
        slack_bits=(-first.heldout.slack_bits, second.heldout.slack_bits),
        conditional_bits=(
            -(open_a.interval_bits[1] - open_a.value_bits) - (open_b.value_bits - open_b.interval_bits[0]),
            (open_a.value_bits - open_a.interval_bits[0]) + (open_b.interval_bits[1] - open_b.value_bits),
        ),
        shared_calibration=shared,
        frame_bits=values,
    )


def calibration_std_of_difference(first: CalibrationErrors, second: CalibrationErrors, distance: float | None) -> float:
    r"""Standard error that calibrations put into a difference of scores, bits per pixel.

    Parameters
    ----------
    first, second : CalibrationErrors
    distance : float or None
        None for two noise models: their errors are independent. For one noise model that serves both, the distance
        of the laws of light (0: one law): common parameters move both scores together, and what is left of a channel
        is :math:`\sqrt{(g_A - g_B)^T C (g_A - g_B)}`.

    Notes
    -----
    A misfit of one over-dispersed model is an error :math:`\epsilon(y)` of its variance that depends on the light. It
    cancels under one law of light; under two that share no light it is taken as independent. In between, the
    difference of the two means of :math:`\epsilon` is at most in proportion to the distance of the laws.
    """
    if distance is None:
        return float(np.hypot(first.std_bits, second.std_bits))
    errors = []
    for name in dict.fromkeys((*first.channels, *second.channels)):
        (slope_a, covariance, misfit_a), (slope_b, other, misfit_b) = (
            _of(errors_, name) for errors_ in (first, second)
        )
        matrix = covariance if covariance.size else other
        slope = _padded(slope_a, matrix) - _padded(slope_b, matrix)
        common = float(np.sqrt(2)) * distance * max(misfit_a, misfit_b)
        errors.append(float(np.hypot(np.sqrt(max(float(slope @ matrix @ slope), 0.0)), common)))
    return float(np.sum(errors) if first.common_misfit else np.linalg.norm(errors))


def _of(errors: CalibrationErrors, name: str) -> tuple[FloatArray, FloatArray, float]:
    """Slope times share, covariance and misfit times share of one channel; nothing where it was not seen."""
    if name not in errors.channels:
        return np.zeros(0), np.zeros((0, 0)), 0.0
    at = errors.channels.index(name)
    share = errors.shares[at]
    return share * errors.gradients[at], errors.covariances[at], share * errors.misfits_bits[at]


def _padded(slope: FloatArray, matrix: FloatArray) -> FloatArray:
    return slope if slope.size else np.zeros(matrix.shape[0])


def law_distance(first: IntensityLaw | None, second: IntensityLaw | None) -> float:
    """Largest difference of the distribution functions of two laws of light, 0 to 1 (Kolmogorov's distance).

    Estimated laws are a few spikes, and a calibration's levels lie some 10 % of the light apart: spikes are widened by
    that and by the shot noise, so that laws which differ on a finer scale are one.
    """
    if first is None or second is None:
        return 0.0
    below = []
    ends = np.array([first.y_e[0], first.y_e[-1], second.y_e[0], second.y_e[-1]])
    at = ends.min() + (np.linspace(0.0, 1.0, 400) ** 2) * (ends.max() - ends.min())
    for law in (first, second):
        some = law.weights > 1e-6
        y, width = law.y_e[some], 0.1 * np.abs(law.y_e[some]) + np.sqrt(np.abs(law.y_e[some])) + 1.0
        below.append(ndtr((at[:, None] - y) / width) @ law.weights[some])
    return float(np.max(np.abs(below[0] - below[1])))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, in the given order (Holm 1979, Scand. J. Statist. 6, 65).

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(order)
    largest = 0.0
    for rank, position in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * float(p_values[position])))
        adjusted[position] = largest
    return adjusted


def _one_model(first: ScoreParts, second: ScoreParts) -> bool:
    """Whether one calibration stands behind both."""
    a, b = first.model, second.model
    return a is b or (a.sha256 is not None and a.sha256 == b.sha256)
