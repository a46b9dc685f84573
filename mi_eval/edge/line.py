"""Where the edge crosses every line: centroids of the line spread, a polynomial through them, and its refinement.

The first steps are those of ISO 12233: the derivative of every line, its centroid under a Hamming window, a straight
or curved line through the centroids. A last step moves every line until it fits the common edge best, which is the
least-squares place of the edge and scatters less than a centroid where there is noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Fall of chi-squared that a further power of the edge's curve must bring.
_CURVE_EVIDENCE = 16.0
_HIGHEST_ORDER = 3
_STRAIGHT_ENOUGH_PX = 1.0


@dataclass(frozen=True)
class EdgeLine:
    """The edge's column in every row: a polynomial in the row, t = (row - middle) / half height.

    Parameters
    ----------
    coefficients : ndarray
        Of t^0, t^1, ... , px.
    covariance : ndarray
        Of the coefficients, px^2.
    n_rows : int
    scatter_px : float
        Rms distance of the rows' own places from the curve.
    """

    coefficients: FloatArray
    covariance: FloatArray
    n_rows: int
    scatter_px: float

    @property
    def order(self) -> int:
        """Highest power of the curve."""
        return self.coefficients.size - 1

    def _t(self) -> FloatArray:
        return line_coordinate(self.n_rows)

    @property
    def place_px(self) -> FloatArray:
        """Column of the edge in every row, shape (n_rows,)."""
        return np.asarray(np.polynomial.polynomial.polyval(self._t(), self.coefficients), dtype=np.float64)

    @property
    def slope(self) -> FloatArray:
        """Columns per row, shape (n_rows,)."""
        half = (self.n_rows - 1) / 2
        derivative = np.polynomial.polynomial.polyder(self.coefficients)
        return np.asarray(np.polynomial.polynomial.polyval(self._t(), derivative) / half, dtype=np.float64)

    @property
    def place_variance_px2(self) -> float:
        """Mean variance of the curve over the rows: the blur that its own error adds."""
        powers = np.vander(self._t(), self.order + 1, increasing=True)
        return float(np.mean(np.einsum("ri,ij,rj->r", powers, self.covariance, powers)))

    @property
    def angle_degrees(self) -> float:
        """Mean lean against the columns; positive where the edge moves right going down."""
        return float(np.degrees(np.arctan(np.mean(self.slope))))

    @property
    def angle_std_degrees(self) -> float:
        """Standard error of the mean lean."""
        half = (self.n_rows - 1) / 2
        slope = float(np.mean(self.slope))
        odd = np.array([float(k % 2) for k in range(self.order + 1)])  # (p(1) - p(-1)) / 2 has the odd powers
        return float(np.degrees(np.sqrt(odd @ self.covariance @ odd) / half / (1 + slope**2)))


def line_coordinate(n_rows: int) -> FloatArray:
    """t of every row, from -1 to 1."""
    return np.asarray(np.linspace(-1.0, 1.0, n_rows))


def first_line(charge_e: FloatArray) -> EdgeLine:
    """The edge by its centroids, bright side right (or left: the sign of the step is taken out).

    Raises
    ------
    PhotonbitsError
        If the lines' places lie on no straight or gently curved line.
    """
    n_rows, n_columns = charge_e.shape
    step = float(np.median(charge_e[:, -3:]) - np.median(charge_e[:, :3]))
    gradient = np.diff(charge_e, axis=1) * (1.0 if step >= 0 else -1.0)
    column = np.arange(n_columns - 1) + 0.5
    reach = float(max(n_columns, 8))
    # The steepest places of smoothed lines first; a window then closes on the edge, as its place gets better.
    t = line_coordinate(n_rows)
    profile = _rows_smoothed(gradient, max(1, n_rows // 12))
    place = column[np.argmax(_columns_smoothed(profile, 5), axis=1)]
    place = _robust_polynomial(t, place, 1)
    fit = place
    for half_window in (reach / 4, reach / 8, reach / 8):
        half = max(half_window, 6.0)
        distance = column[None, :] - fit[:, None]
        window = np.where(np.abs(distance) <= half, 0.54 + 0.46 * np.cos(np.pi * distance / half), 0.0)
        mass = np.sum(window * gradient, axis=1)
        good = mass > 0.1 * np.median(mass)
        if np.count_nonzero(good) < max(8, n_rows // 2):
            raise _no_line(float("nan"))
        own = np.where(good, fit + np.sum(window * gradient * distance, axis=1) / np.where(good, mass, 1.0), fit)
        fit = _robust_polynomial(t[good], own[good], 2 if n_rows >= 40 else 1, at=t)
    scatter = float(np.sqrt(np.mean((own[good] - fit[good]) ** 2)))
    order = 2 if n_rows >= 40 else 1
    powers = np.vander(t[good], order + 1, increasing=True)
    coefficients = np.asarray(np.linalg.lstsq(np.vander(t, order + 1, increasing=True), fit, rcond=None)[0], np.float64)
    covariance = scatter**2 * np.linalg.inv(powers.T @ powers)
    error = float(np.sqrt(np.mean(np.einsum("ri,ij,rj->r", powers, covariance, powers))))
    if error > _STRAIGHT_ENOUGH_PX:
        raise _no_line(scatter)
    return EdgeLine(coefficients, covariance, n_rows, scatter)


def _no_line(scatter_px: float) -> PhotonbitsError:
    return PhotonbitsError(
        "the steepest places of the lines lie on no common edge"
        + ("" if np.isnan(scatter_px) else f" (they scatter by {scatter_px:.1f} px)"),
        legal="one straight edge through all lines of the region",
        remedy="Choose the region with --roi X,Y,W,H, or shoot with more light",
    )


def _rows_smoothed(values: FloatArray, count: int) -> FloatArray:
    kernel = np.ones(2 * (count // 2) + 1)
    sums = np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="same"), 0, values)
    return np.asarray(sums)


def _columns_smoothed(values: FloatArray, count: int) -> FloatArray:
    kernel = np.hanning(count + 2)[1:-1]
    return np.asarray(np.apply_along_axis(lambda line: np.convolve(line, kernel, mode="same"), 1, values))


def _robust_polynomial(t: FloatArray, values: FloatArray, order: int, at: FloatArray | None = None) -> FloatArray:
    """A polynomial by iterated weights (Tukey's biweight), at ``at``."""
    weight = np.ones(t.size)
    coefficients: FloatArray = np.zeros(order + 1)
    for _ in range(8):
        coefficients = np.asarray(np.polynomial.polynomial.polyfit(t, values, order, w=np.sqrt(weight)), np.float64)
        off = np.abs(values - np.polynomial.polynomial.polyval(t, coefficients))
        scale = 6.0 * max(float(np.median(off)), 1e-3)
        weight = np.where(off < scale, (1 - np.minimum(off / scale, 1.0) ** 2) ** 2, 0.0) + 1e-9
    return np.asarray(np.polynomial.polynomial.polyval(t if at is None else at, coefficients))


def refined_line(
    charge_e: FloatArray,
    usable: BoolArray,
    variance_e2: FloatArray,
    line: EdgeLine,
    bins: FloatArray,
    spread_e: FloatArray,
    slope_e_per_px: FloatArray,
) -> EdgeLine:
    """The line with every row moved to where it fits the common edge best.

    Parameters
    ----------
    charge_e, usable, variance_e2 : ndarray (n_rows, n_columns)
        Charge, pixels that count, and noise variance.
    line : EdgeLine
        Where ``spread_e`` was taken along.
    bins, spread_e, slope_e_per_px : ndarray (n_bins,)
        Distance from the edge along its normal (px), the edge spread function there, and its derivative.

    Notes
    -----
    A row displaced by d (columns) reads E(x - d cos) = E(x) - d cos(angle) E'(x): a weighted least-squares d with its
    standard error for every row, a polynomial through these, of the lowest order (1 to 3) that the errors ask for.
    """
    n_rows, n_columns = charge_e.shape
    cosine = 1.0 / np.hypot(1.0, line.slope)
    distance = (np.arange(n_columns)[None, :] - line.place_px[:, None]) * cosine[:, None]
    inside = usable & (distance > bins[0]) & (distance < bins[-1])
    expected = np.interp(distance, bins, spread_e)
    sensitivity = -np.interp(distance, bins, slope_e_per_px) * cosine[:, None]
    weight = np.where(inside, 1.0 / variance_e2, 0.0)
    information = np.sum(weight * sensitivity**2, axis=1)
    moved = np.sum(weight * sensitivity * np.where(inside, charge_e - expected, 0.0), axis=1)
    known = information > 0.05 * np.median(information)
    shift = moved[known] / information[known]
    t = line_coordinate(n_rows)
    total = line.place_px[known] + shift
    result: EdgeLine | None = None
    best = np.inf
    for order in range(1, min(_HIGHEST_ORDER, max(1, n_rows // 20)) + 1):
        powers = np.vander(t[known], order + 1, increasing=True)
        normal = powers.T @ (information[known, None] * powers)
        coefficients = np.linalg.solve(normal, powers.T @ (information[known] * total))
        left = total - powers @ coefficients
        chi2 = float(np.sum(information[known] * left**2))
        scale = max(1.0, chi2 / max(int(np.count_nonzero(known)) - order - 1, 1))
        if result is None or best - chi2 > _CURVE_EVIDENCE * scale:
            result = EdgeLine(coefficients, scale * np.linalg.inv(normal), n_rows, float(np.sqrt(np.mean(left**2))))
            best = chi2
    if result is None:
        raise _no_line(float("nan"))
    return result
