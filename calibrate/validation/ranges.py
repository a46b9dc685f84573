"""Predicted against observed variance per signal range, with the covariance of all their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from calibrate.captures.capture_set import FrameKind
from calibrate.noise_model import NoiseModel
from calibrate.validation.observed import Cell, Observed, ObservedLevel
from calibrate.validation.prediction import (
    WHITE_SIGMAS,
    ClosedForm,
    Point,
    closed_form,
    highest_mean_dn,
    perturbed,
    predict_variances,
)
from calibrate.validation.transform import TransformTest, examine_transform

FloatArray = NDArray[np.float64]

#: Chance at which the variances of a camera that the model describes are called a misfit.
VARIANCE_LEVEL = 2e-3
#: Share of a variance below which a misfit, however significant, is of no consequence: 1e-5 bit per pixel.
SMALLEST_MISFIT = 0.005
#: A variance below this, and below this share of the mean's square, is none: what sums of equal numbers leave.
_NO_NOISE_DN2 = 1e-21
_NO_NOISE_SHARE = 1e-15
#: Cells whose predicted variances differ by less are one range.
_SAME_VARIANCE = 0.02
_MOST_BRIGHT_RANGES = 16
_MOST_DARK_RANGES = 4
#: Signals up to this much above the fitted ones are still judged: levels shot anew do not fall on the same place.
_BEYOND_VALIDITY = 1.05
#: Share of clipped pixel pairs from which a cell's variance is no longer its own.
_CLIPPED_SHARE = 1e-4
#: Pixel pairs from which on their own fourth moment says how sure their variance is.
_ENOUGH_FOR_KURTOSIS = 300


def _no_noise_dn2(mean_dn: float) -> float:
    return _NO_NOISE_DN2 + _NO_NOISE_SHARE * mean_dn**2


@dataclass(frozen=True)
class SignalRange:
    """Pixels of like signal: what was seen and what the model says.

    Parameters
    ----------
    kind, n_levels, n_pairs
        Levels that take part, and pixels times pairs of frames.
    mean_dn : float
    observed_variance_dn2, observed_std_dn2 : float
        Temporal variance of one frame, and its standard error from the fourth moment.
    predicted_variance_dn2, predicted_std_dn2 : float
        The model's, and its standard error from the model's covariance.
    within_validity : bool
        Whether the model was fitted at such signals; other ranges are shown and not judged.
    transform : TransformTest
        Of the probability integral transform.
    third_dn3, third_std_dn3 : float
        Third cumulant of a code, and its standard error.
    system_gain_dn_per_e, slope, shot_dn2, read_dn2 : float
        First-order parts of the prediction; see `ClosedForm`. The gain is 0 without shot noise.
    exposure_s : float or None
        Mean of the pixels' exposures, where all are known.
    structure_share : float
        What rows and columns have in common, as a share of the rest of the variance.
    """

    kind: FrameKind
    n_levels: int
    n_pairs: int
    mean_dn: float
    observed_variance_dn2: float
    observed_std_dn2: float
    predicted_variance_dn2: float
    predicted_std_dn2: float
    within_validity: bool
    transform: TransformTest
    third_dn3: float
    third_std_dn3: float
    system_gain_dn_per_e: float
    slope: float
    shot_dn2: float
    read_dn2: float
    exposure_s: float | None = None
    structure_share: float = 0.0

    @property
    def difference_dn2(self) -> float:
        """Observed minus predicted."""
        return self.observed_variance_dn2 - self.predicted_variance_dn2

    @property
    def z(self) -> float:
        """The difference over its standard error, calibration included."""
        return self.difference_dn2 / float(np.hypot(self.observed_std_dn2, self.predicted_std_dn2))

    @property
    def ratio(self) -> float:
        """Observed over predicted; 1 where there is no noise on either side."""
        if max(self.observed_variance_dn2, self.predicted_variance_dn2) < _no_noise_dn2(self.mean_dn):
            return 1.0
        return self.observed_variance_dn2 / self.predicted_variance_dn2


@dataclass(frozen=True)
class Comparison:
    """All ranges, and the joint test of those that are judged.

    ``sensitivity`` (n_ranges, n_parameters) is the change of the predicted variances by one standard error of each
    of the model's parameters, ``correlation`` that of the parameters. ``left_out``: pixel pairs left out because they
    reach the ceiling, and all. ``levels`` are those of which something is compared. ``n_outliers``: pixel pairs left
    out because they stand out in one frame.
    """

    ranges: tuple[SignalRange, ...]
    sensitivity: FloatArray
    correlation: FloatArray
    left_out: tuple[int, int]
    levels: frozenset[int] = frozenset()
    n_outliers: int = 0

    @cached_property
    def judged(self) -> NDArray[np.bool_]:
        """Ranges that take part in the verdict."""
        return np.array([entry.within_validity for entry in self.ranges], dtype=bool)

    @cached_property
    def covariance_dn4(self) -> FloatArray:
        """Of observed minus predicted over all ranges: independent noise, and the calibration's errors shared."""
        noise = np.array([entry.observed_std_dn2**2 for entry in self.ranges])
        return np.diag(noise) + self.sensitivity @ self.correlation @ self.sensitivity.T

    def chi_square(self, difference_dn2: FloatArray | None = None) -> tuple[float, int, float]:
        """Chi-square of the judged differences under the full covariance, their number, and its p-value."""
        rows = self.judged
        if difference_dn2 is None:
            difference_dn2 = np.array([entry.difference_dn2 for entry in self.ranges])
        r = difference_dn2[rows]
        value = float(r @ np.linalg.solve(self.covariance_dn4[np.ix_(rows, rows)], r)) if r.size else 0.0
        return value, int(r.size), float(chdtrc(max(r.size, 1), value))

    def largest_misfit(self, difference_dn2: FloatArray | None = None) -> float:
        """Relative size of the misfit that neither noise nor the calibration's errors account for; 0 without one.

        Notes
        -----
        The largest of three. The calibration is moved to where data and its own errors would have it, and a range
        counts where the rest is beyond three standard errors of the noise; or where the whole difference is beyond
        three of all errors. Besides, what all ranges together show: the root of (chi-square - n) / sum(v^2/sigma^2),
        the rms relative misfit that makes so much chi-square, which no single range need show.
        """
        rows = self.judged
        if difference_dn2 is None:
            difference_dn2 = np.array([entry.difference_dn2 for entry in self.ranges])
        if not np.any(rows):
            return 0.0
        r, j = difference_dn2[rows], self.sensitivity[rows]
        covariance = self.covariance_dn4[np.ix_(rows, rows)]
        solved = np.linalg.solve(covariance, r)
        rest = r - j @ (self.correlation @ (j.T @ solved))
        kept = [entry for entry, use in zip(self.ranges, rows, strict=True) if use]
        predicted = np.array([entry.predicted_variance_dn2 for entry in kept])
        noise = np.array([entry.observed_std_dn2 for entry in kept])
        shares = [
            np.where(np.abs(rest) > 3 * noise, np.abs(rest) / predicted, 0.0),
            np.where(np.abs(r) > 3 * np.sqrt(np.diag(covariance)), np.abs(r) / predicted, 0.0),
        ]
        together = np.sqrt(max(float(r @ solved) - r.size, 0.0) / float(np.sum((predicted / noise) ** 2)))
        return max(float(np.max(shares)), float(together))

    def disagrees(self, difference_dn2: FloatArray | None = None) -> bool:
        """Whether the variances differ by more than chance and calibration allow, and by an amount that matters."""
        significant = self.chi_square(difference_dn2)[2] < VARIANCE_LEVEL
        return significant and self.largest_misfit(difference_dn2) > SMALLEST_MISFIT


def compare(
    model: NoiseModel, observed: Observed, *, ceiling_dn: float | None = None, merge: bool = True
) -> Comparison:
    """Variances per signal range against the model's, with the covariance of the differences.

    ``ceiling_dn``: highest code of the captures where it lies below the model's. ``merge`` False: every cell is a
    range of its own.
    """
    top = min(highest_mean_dn(model.camera), np.inf if ceiling_dn is None else ceiling_dn)
    entry = model.parameter("saturation_dn")
    if entry is not None:
        top = min(top, entry.value)
    kept, lost, total = [], 0, 0
    for cell in observed.cells:
        total += cell.n_pairs
        reach = cell.mean_dn - cell.offset_away_dn + WHITE_SIGMAS * np.sqrt(max(cell.variance_dn2, 0.0))
        if cell.n_clipped > _CLIPPED_SHARE * cell.n_pairs or (cell.kind == "bright" and reach >= top):
            lost += cell.n_pairs
        else:
            kept.append(cell)
    if not kept:
        return Comparison((), np.zeros((0, 0)), np.zeros((0, 0)), (lost, total))
    points = [cell.point for cell in kept]
    predicted = predict_variances(model, points)
    groups = [
        *_group(kept, predicted, "dark", _MOST_DARK_RANGES),
        *_group(kept, predicted, "bright", _MOST_BRIGHT_RANGES),
    ]
    if not merge:
        groups = [[index] for index in range(len(kept))]
    ranges, middle = [], []
    for group in groups:
        found, point = _range(model, observed, [kept[i] for i in group], [points[i] for i in group], predicted[group])
        ranges.append(found)
        middle.append(point)
    sensitivity, correlation = _sensitivity(model, middle)
    errors = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", sensitivity, correlation, sensitivity), 0.0))
    ranges = [replace(found, predicted_std_dn2=float(e)) for found, e in zip(ranges, errors, strict=True)]
    levels = frozenset(cell.level for cell in kept)
    outliers = sum(cell.n_outliers for cell in kept)
    return Comparison(tuple(ranges), sensitivity, correlation, (lost, total), levels, outliers)


def _group(cells: Sequence[Cell], predicted: FloatArray, kind: FrameKind, most: int) -> list[list[int]]:
    """Cells of one kind by rising mean; neighbours of like variance together, and no more than ``most`` groups."""
    members = sorted((i for i, cell in enumerate(cells) if cell.kind == kind), key=lambda i: cells[i].mean_dn)
    groups = [[i] for i in members]
    while len(groups) > 1:
        level = np.log([float(np.mean(predicted[group])) for group in groups])
        gaps = np.abs(np.diff(level))
        closest = int(np.argmin(gaps))
        if gaps[closest] > _SAME_VARIANCE and len(groups) <= most:
            break
        groups[closest : closest + 2] = [groups[closest] + groups[closest + 1]]
    return groups


def _range(
    model: NoiseModel, observed: Observed, cells: list[Cell], points: list[Point], predicted: FloatArray
) -> tuple[SignalRange, Point]:
    n = np.array([float(cell.n_pairs) for cell in cells])
    share = n / n.sum()
    kind = cells[0].kind
    dark = [np.nan if point.dark_charge_e is None else point.dark_charge_e for point in points]
    first = closed_form(model.camera, np.array([point.mean_dn for point in points]), np.array(dark))
    gain = float(model.camera.system_gain_dn_per_e)
    slope_of_variance = first.slope * gain if kind == "bright" else np.zeros(n.size)
    spread, third, third_error = np.empty(n.size), np.empty(n.size), np.empty(n.size)
    for i, cell in enumerate(cells):
        spread[i] = _variance_error(cell, predicted[i], first, i, gain, float(slope_of_variance[i])) ** 2
        shading = 2 * gain * float(first.slope[i]) * cell.variance_dn2 / predicted[i] * cell.spread_dn2
        third[i] = cell.third_dn3 - shading
        noise = 4 * cell.fourth_dn4 * (cell.variance_dn2 / 2 + cell.spread_dn2) / n[i]
        third_error[i] = noise + (0.1 * shading) ** 2
    mean = float(share @ np.array([cell.mean_dn for cell in cells]))
    point = Point(
        float(share @ np.array([p.mean_dn for p in points])),
        float(share @ np.array(dark)) if kind == "dark" else None,
        float(share @ np.array([p.spread_dn2 for p in points])),
    )
    histogram = np.sum([cell.histogram for cell in cells], axis=0)
    exposures = [cell.exposure_s for cell in cells]
    found = SignalRange(
        kind=kind,
        n_levels=len({cell.level for cell in cells}),
        n_pairs=int(n.sum()),
        mean_dn=mean,
        observed_variance_dn2=float(share @ np.array([cell.variance_dn2 for cell in cells])),
        observed_std_dn2=float(np.sqrt(share**2 @ spread)),
        predicted_variance_dn2=float(share @ predicted),
        predicted_std_dn2=0.0,
        within_validity=bool(share @ [_is_valid(model, observed, cell) for cell in cells] > 0.5),
        transform=examine_transform(histogram),
        third_dn3=float(share @ third),
        third_std_dn3=float(np.sqrt(share**2 @ third_error)),
        system_gain_dn_per_e=0.0 if model.camera.kind == "gaussian" else gain,
        slope=float(share @ first.slope),
        shot_dn2=float(share @ first.shot_dn2),
        read_dn2=float(share @ first.read_dn2),
        exposure_s=None if None in exposures else float(share @ np.array(exposures, dtype=np.float64)),
        structure_share=float(share @ np.array([_structure_share(observed, cell) for cell in cells])),
    )
    return found, point


def _variance_error(cell: Cell, predicted: float, first: ClosedForm, index: int, gain: float, by_mean: float) -> float:
    """Standard error of a cell's variance less the one predicted at its own mean.

    Notes
    -----
    For n pixel pairs Var(v) = (2 v^2 + kappa4/2)/n, cov(v, m) = kappa3/(2 n) and Var(m) = v/(2 n). Heavier tails than
    the model's, as hot pixels make them, show in the fourth moment: Var(v) = (E[d^4]/4 - v^2)/n.
    """
    shot, slope = float(first.shot_dn2[index]), float(first.slope[index])
    kappa3, kappa4 = slope**3 * gain * shot, slope**4 * gain**2 * shot
    own = 2 * predicted**2 + kappa4 / 2
    if cell.n_pairs >= _ENOUGH_FOR_KURTOSIS:
        own = max(own, cell.fourth_dn4 - cell.variance_dn2**2)
    own += -by_mean * kappa3 + by_mean**2 * predicted / 2
    return float(np.sqrt(max(own, 1e-3 * predicted**2, _no_noise_dn2(cell.mean_dn) ** 2) / cell.n_pairs))


def _structure_share(observed: Observed, cell: Cell) -> float:
    """Share of the level's variance that rows and columns have in common."""
    found = observed.levels[cell.level].structure if observed.levels else None
    if found is None or found.within_dn2 <= 0:
        return 0.0
    rows = (found.between_rows_dn2 / found.within_dn2 - 1) / found.columns
    columns = (found.between_columns_dn2 / found.within_dn2 - 1) / found.rows
    return float(max(rows, 0.0) + max(columns, 0.0))


def _is_valid(model: NoiseModel, observed: Observed, cell: Cell) -> bool:
    """Whether the cell's level lies within the signals of the fit; those are means of whole frames too."""
    validity = model.document.validity
    if cell.kind == "dark" or validity is None or validity.signal_dn is None:
        return True
    level = observed.levels[cell.level] if observed.levels else cell
    away = level.mean_offset_away_dn if isinstance(level, ObservedLevel) else cell.offset_away_dn
    return level.mean_dn - away - float(model.camera.offset_dn) <= _BEYOND_VALIDITY * validity.signal_dn[1]


def _sensitivity(model: NoiseModel, points: Sequence[Point]) -> tuple[FloatArray, FloatArray]:
    """Change of the predicted variances by one standard error of each parameter, and the errors' correlation."""
    stated = model.document.covariance
    if stated is None:
        return np.zeros((len(points), 0)), np.zeros((0, 0))
    matrix = np.array(stated.matrix, dtype=np.float64)
    std = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    columns, used = [], []
    for position, name in enumerate(stated.names):
        if std[position] <= 0:
            continue
        up = perturbed(model, name, float(std[position]))
        down = perturbed(model, name, -float(std[position]))
        # A read noise within its error of 0, say: one side is all there is.
        ends = [model if changed is None else changed for changed in (up, down)]
        steps = (up is not None) + (down is not None)
        if steps == 0:
            continue
        column = (predict_variances(ends[0], points) - predict_variances(ends[1], points)) / steps
        columns.append(column)
        used.append(position)
    if not used:
        return np.zeros((len(points), 0)), np.zeros((0, 0))
    chosen = matrix[np.ix_(used, used)] / np.outer(std[used], std[used])
    return np.stack(columns, axis=1), chosen
