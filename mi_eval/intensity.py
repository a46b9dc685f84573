"""The law of collected charge behind a histogram of noisy codes: deconvolution with a certificate.

The charge of a pixel is never seen, only its code. The histogram of codes is a mixture of the camera's known
rows p(z | y), and its mixing distribution, found here by non-parametric maximum likelihood, is the law of y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Table: TypeAlias = sparse.csr_array | FloatArray

#: Entries below this share of their column's largest cannot move a fit of up to 1e9 pixels.
_NEGLIGIBLE = 1e-9
_EM_STEPS = 25


@dataclass(frozen=True)
class IntensityLaw:
    """A distribution of collected charge on a grid.

    Parameters
    ----------
    y_e : ndarray (n_grid,)
        Charges, electrons.
    weights : ndarray (n_grid,)
        Probability of each, sum 1.
    certified_gap_nats : float
        N (max_j sum_z f_z p(z|y_j)/p(z) - 1), f = counts / N: no law on this grid has a total log-likelihood
        larger by more than this.
    iterations : int
        Newton steps taken.
    deviance : float
        2 sum_z n_z log(f_z / p(z)), f within each class: large against the number of occupied codes where
        no law explains the histogram, which means that the noise model is wrong.
    n_occupied : int
        Codes (or groups of codes) with counts.
    """

    y_e: FloatArray
    weights: FloatArray
    certified_gap_nats: float
    iterations: int
    deviance: float
    n_occupied: int

    @property
    def mean_e(self) -> float:
        """Mean charge, electrons."""
        return float(self.weights @ self.y_e)


def fit_intensity_law(
    histograms: Sequence[NDArray[np.generic]],
    tables: Sequence[Table],
    y_e: FloatArray,
    *,
    gap_nats: float = 0.01,
    max_iterations: int = 200,
    column_codes: IntArray | None = None,
) -> IntensityLaw:
    r"""Non-parametric maximum-likelihood law of the charge, one for all classes of pixels.

    .. math:: \max_{w \ge 0} \sum_{c,z} n_{cz} \log \sum_j w_j p_c(z | y_j) - N \sum_j w_j

    whose solution has :math:`\sum_j w_j = 1` of itself.

    Parameters
    ----------
    histograms : sequence of ndarray (n_codes,)
        Counts of each class of pixels.
    tables : sequence of csr_array or ndarray (n_grid, n_codes)
        p(z | y_j) of each class.
    y_e : ndarray (n_grid,)
        The grid, electrons.
    gap_nats : float
        Certificate to reach, at most 0.5: nats of total log-likelihood below the best law on the grid.
    max_iterations : int
        Newton steps allowed.
    column_codes : ndarray (n_codes,), optional
        Code of each column, for messages.

    Raises
    ------
    PhotonbitsError
        If there are no counts, a code was seen that no charge of the grid can produce, or the gap is not
        reached.

    Notes
    -----
    Primal-dual interior-point method as in Koenker and Mizera (2014), JASA 109, 674
    (doi:10.1080/01621459.2013.869224), on the primal. With g = P (f/p) - 1 the optimality conditions are
    g + s = 0, w, s >= 0, w_j s_j = 0; Newton on w_j s_j = mu solves (A + diag(s/w)) dw = g + mu/w with
    A = P diag(f/p^2) P^T, banded because distant charges share no code; a line search on the barrier
    function makes it converge from anywhere. The gap bound is that of Lindsay (1983), Ann. Statist. 11, 86. An
    active set with non-negative least squares (Wang 2007, JRSS B 69, 185) reaches the same optimum.
    """
    problem = _Problem.of(histograms, tables, column_codes)
    total, n_grid = problem.total, problem.matrix.shape[0]
    w = np.full(n_grid, 1.0 / n_grid)
    for _ in range(_EM_STEPS):
        w = np.maximum(w * (1 + problem.gradient(w)), 1e-12 / n_grid)
    mu_last = gap_nats / (2 * n_grid * total)
    mu = 0.1 / n_grid
    s = mu / w
    for iteration in range(1, max_iterations + 1):
        target = max(mu, mu_last)
        w, s = problem.newton(w, s, target)
        unit = w / w.sum()
        gap = total * float(np.max(problem.gradient(unit)))
        if gap <= gap_nats:
            return IntensityLaw(
                np.asarray(y_e, dtype=np.float64),
                unit,
                max(gap, 0.0),
                iteration,
                problem.deviance(unit),
                problem.frequency.size,
            )
        mu = min(0.2 * target, 0.2 * float(w @ s) / n_grid + 0.05 * target)
    raise PhotonbitsError(
        f"the intensity law is still {gap:.3g} nats from its optimum after {max_iterations} steps",
        legal=f"at most {gap_nats:g}",
        remedy="Report this histogram: the method should converge for every input",
    )


@dataclass(frozen=True)
class _Problem:
    """Occupied codes only, columns scaled to a largest entry of 1 (the likelihood does not notice)."""

    matrix: sparse.csr_array
    transposed: sparse.csr_array
    frequency: FloatArray
    total: float
    log_scale: FloatArray
    log_share: FloatArray

    @classmethod
    def of(
        cls, histograms: Sequence[NDArray[np.generic]], tables: Sequence[Table], column_codes: IntArray | None
    ) -> _Problem:
        columns, counts, scales, sizes = [], [], [], []
        for histogram, table in zip(histograms, tables, strict=True):
            n = np.asarray(histogram, dtype=np.float64)
            occupied = np.flatnonzero(n > 0)
            kept = sparse.csc_array(sparse.csc_array(table)[:, occupied])
            largest = kept.max(axis=0).toarray().ravel() if occupied.size else np.empty(0)
            if np.any(largest <= 0):
                column = int(occupied[np.argmin(largest)])
                code = column if column_codes is None else int(column_codes[column])
                raise PhotonbitsError(
                    f"code {code} was measured {int(n[column])} times and no charge produces it",
                    legal="codes that the noise model gives some probability",
                    remedy="Check offset, clip codes and kind of the noise model against these frames",
                )
            kept.data /= np.repeat(largest, np.diff(kept.indptr))
            kept.data[kept.data < _NEGLIGIBLE] = 0.0
            kept.eliminate_zeros()
            columns.append(kept)
            counts.append(n[occupied])
            scales.append(np.log(largest))
            sizes.append(np.full(occupied.size, n.sum()))
        joined = np.concatenate(counts) if counts else np.empty(0)
        total = float(joined.sum())
        if not total > 0:
            raise PhotonbitsError("a histogram without counts", legal="at least one pixel")
        transposed = sparse.csr_array(sparse.hstack(columns, format="csc").T)
        matrix = sparse.csr_array(transposed.T.tocsr())
        return cls(
            matrix, transposed, joined / total, total, np.concatenate(scales), np.log(np.concatenate(sizes) / total)
        )

    def mixture(self, w: FloatArray) -> FloatArray:
        return np.asarray(self.transposed @ w)

    def gradient(self, w: FloatArray) -> FloatArray:
        return np.asarray(self.matrix @ (self.frequency / self.mixture(w))) - 1.0

    def deviance(self, w: FloatArray) -> float:
        log_ratio = np.log(self.frequency) - np.log(self.mixture(w)) - self.log_scale - self.log_share
        return 2 * self.total * float(self.frequency @ log_ratio)

    def curvature(self, w: FloatArray, diagonal: FloatArray) -> sparse.csc_array:
        """P diag(f/p^2) P^T + diag(diagonal)."""
        root = np.sqrt(self.frequency) / self.mixture(w)
        scaled = self.transposed.copy()
        scaled.data *= np.repeat(root, np.diff(scaled.indptr))
        return sparse.csc_array(scaled.T @ scaled + sparse.diags_array(diagonal))

    def newton(self, w: FloatArray, s: FloatArray, mu: float) -> tuple[FloatArray, FloatArray]:
        """One guarded Newton step towards w s = mu."""
        gradient = self.gradient(w)
        dw = solve_banded_symmetric(self.curvature(w, s / w), gradient + mu / w)
        ds = mu / w - s - s / w * dw
        alpha = _longest_step(w, dw)
        start = self._barrier(w, mu)
        slope = float((gradient + mu / w) @ dw)
        while alpha > 1e-10 and self._barrier(w + alpha * dw, mu) < start + 1e-4 * alpha * slope - 1e-15:
            alpha *= 0.5
        return w + alpha * dw, s + _longest_step(s, ds) * ds

    def _barrier(self, w: FloatArray, mu: float) -> float:
        fit = float(self.frequency @ np.log(self.mixture(w))) - float(w.sum())
        return fit + mu * float(np.log(w).sum())


def solve_banded_symmetric(matrix: sparse.csc_array, right: FloatArray) -> FloatArray:
    """Solution of a banded, positive definite system, without reordering.

    SuperLU and not LAPACK's banded Cholesky: as fast here, and no threaded BLAS, which on a busy machine
    takes a thousand times longer for matrices as small as these.
    """
    factor = splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return np.asarray(factor.solve(right), dtype=np.float64)


def _longest_step(value: FloatArray, step: FloatArray) -> float:
    shrinking = step < 0
    if not np.any(shrinking):
        return 1.0
    return min(1.0, 0.99 * float(np.min(-value[shrinking] / step[shrinking])))


def influence_functions(
    tables: Sequence[sparse.csr_array],
    shares: FloatArray,
    law: IntensityLaw,
    entropies_bits: FloatArray,
    n_pixels: float,
    *,
    ridges: Sequence[float] = (1.0,),
) -> list[list[FloatArray]]:
    r"""phi(z) of each class, its mean over the mixture h . w: how each pixel moves the estimate of E[h].

    .. math:: \phi(z) = h \cdot w + (h - h \cdot w)^T (I + \rho)^{-1} S(z),\quad S_j(z) = p(z|y_j)/p(z),\quad
              I = E_z[S S^T]

    the influence function of a functional of a mixing distribution (van der Vaart 1998, section 25.5). The
    ridge, rho = ridge / (N w_j), holds back directions of w that N pixels do not determine; I w = 1 makes the
    mean exact all the same.

    Parameters
    ----------
    tables : sequence of csr_array (n_grid, n_codes)
    shares : ndarray (n_classes,)
        Share of pixels in each class, sum 1.
    law : IntensityLaw
    entropies_bits : ndarray (n_grid,)
    n_pixels : float
    ridges : sequence of float

    Returns
    -------
    list of list of ndarray (n_codes,), bits
        By ridge and class.
    """
    weights = np.maximum(law.weights, 1e-12)
    weights = weights / weights.sum()
    scores: list[sparse.csr_array] = []
    information = sparse.csc_array((weights.size, weights.size))
    for table, share in zip(tables, shares, strict=True):
        p = np.asarray(table.T @ weights)
        score = sparse.csr_array(table @ sparse.diags_array(1 / np.maximum(p, 1e-300)))
        scores.append(score)
        information = information + share * (score @ sparse.diags_array(p) @ score.T)
    mean = float(entropies_bits @ weights)
    functions = []
    for ridge in ridges:
        held = sparse.csc_array(information + sparse.diags_array(ridge / (n_pixels * weights)))
        direction = solve_banded_symmetric(held, entropies_bits - mean)
        functions.append([np.asarray(score.T @ direction) + mean for score in scores])
    return functions
