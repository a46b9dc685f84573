"""p(z | y) for a whole grid of charges at once: banded, exact, and small enough for 16-bit sensors.

Row j of a table is the distribution of codes at charge y_j. It is the product of two banded matrices,
Poisson(n; y_j) and P(code | n), so its cost is the number of codes that matter and not 2^bit_depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import ndtr

from calibrate.noise_model.camera import Camera
from calibrate.noise_model.cells import log_poisson

FloatArray = NDArray[np.float64]

_REACH_SIGMAS = 9.0
_BLOCK_TERMS = 4_000_000
_READ_TERMS = 2e7  # entries of P(code | n) held at once
_SAMPLES_PER_SIGMA = 4  # the trapezoid rule is then exact to 1e-30 for anything as smooth as the read noise


@dataclass(frozen=True)
class CodeTable:
    """Distributions of codes at given charges.

    Parameters
    ----------
    y_e : ndarray (n_charges,)
        Collected charge, electrons.
    first_code : int
        Code of column 0.
    pmf : scipy.sparse.csr_array (n_charges, n_codes)
        P(z = first_code + column | y); terms below 1e-17 are absent.
    """

    y_e: FloatArray
    first_code: int
    pmf: sparse.csr_array

    @property
    def codes(self) -> NDArray[np.int64]:
        """Codes of the columns."""
        return self.first_code + np.arange(self.pmf.shape[1], dtype=np.int64)

    def entropies_bits(self) -> FloatArray:
        """H(Z | Y = y) of every row, in bits; shape (n_charges,)."""
        return row_entropies_bits(self.pmf)

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean (DN) and variance (DN^2) of every row, rounding and clipping in."""
        codes = np.arange(self.pmf.shape[1], dtype=np.float64)
        total = np.asarray(self.pmf.sum(axis=1)).ravel()
        centre = np.asarray(self.pmf @ codes).ravel() / total
        row = np.repeat(np.arange(self.pmf.shape[0]), np.diff(self.pmf.indptr))
        squares = self.pmf.data * (self.pmf.indices - centre[row]) ** 2
        variance = np.bincount(row, weights=squares, minlength=self.pmf.shape[0]) / total
        return self.first_code + centre, variance


def row_entropies_bits(pmf: sparse.csr_array) -> FloatArray:
    """Entropy of every row of a sparse matrix of probabilities, in bits."""
    data = pmf.data
    terms = np.where(data > 0, -data * np.log2(np.maximum(data, 1e-300)), 0.0)
    row = np.repeat(np.arange(pmf.shape[0]), np.diff(pmf.indptr))
    return np.asarray(np.bincount(row, weights=terms, minlength=pmf.shape[0]), dtype=np.float64)


def code_table(camera: Camera, y_e: FloatArray) -> CodeTable:
    """Tabulate p(z | y) of a camera without maps at the charges ``y_e`` (one-dimensional, electrons)."""
    blocks = [pmf for _, pmf in _blocks_of_rows(camera, y_e)]
    stacked = sparse.csr_array(sparse.vstack(blocks, format="csr")) if blocks else sparse.csr_array((0, 1))
    return CodeTable(np.asarray(y_e, dtype=np.float64), camera.black_clip_dn, stacked)


def entropies_bits(camera: Camera, y_e: FloatArray) -> FloatArray:
    """H(Z | Y = y) in bits at each of ``y_e`` (one-dimensional); differential for real-valued measurements."""
    out = np.empty(y_e.shape)
    if camera.bit_depth is None:
        return _differential_entropies(camera, y_e)
    for rows, pmf in _blocks_of_rows(camera, y_e):
        out[rows] = row_entropies_bits(pmf)
    return out


def moments(camera: Camera, y_e: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (DN) and variance (DN^2) at each of ``y_e`` (one-dimensional), rounding and clipping in."""
    mean, variance = np.empty(y_e.shape), np.empty(y_e.shape)
    for rows, pmf in _blocks_of_rows(camera, y_e):
        table = CodeTable(y_e[rows], camera.black_clip_dn, pmf)
        mean[rows], variance[rows] = table.moments()
    return mean, variance


def _blocks_of_rows(camera: Camera, y_e: FloatArray) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Row blocks of the table, each small in memory however wide the sensor's range is."""
    codes = np.arange(camera.black_clip_dn, camera.white_clip_dn + 2, dtype=np.float64)
    thresholds = camera.thresholds_e(codes)
    if camera.kind == "gaussian":
        yield from _gaussian_blocks(camera, y_e, thresholds)
        return
    reach = 9.5 * np.sqrt(y_e)
    start = np.maximum(np.floor(y_e - reach - 2), 0).astype(np.int64)
    stop = np.ceil(y_e + reach + 45).astype(np.int64)
    codes_per_n = 2 * _REACH_SIGMAS * float(camera.read_noise_e) * float(camera.system_gain_dn_per_e) + 3
    widest = min(_BLOCK_TERMS // 16, int(_READ_TERMS / codes_per_n))
    position = 0
    while position < y_e.size:
        width = np.maximum.accumulate(stop[position:]) - np.minimum.accumulate(start[position:])
        terms = np.cumsum(stop[position:] - start[position:])
        fits = (terms <= _BLOCK_TERMS) & (width <= widest)
        count = max(1, int(np.argmin(fits)) if not np.all(fits) else fits.size)
        rows = slice(position, position + count)
        low, high = int(start[rows].min()), int(stop[rows].max())
        shot = _banded(
            start[rows] - low,
            stop[rows] - start[rows],
            high - low,
            partial(_poisson_at, y_e[rows], low),
        )
        read = _code_given_charge(np.arange(low, high, dtype=np.float64), camera, thresholds)
        yield rows, _normalised(sparse.csr_array(shot @ read))
        position += count


def _gaussian_blocks(
    camera: Camera, y_e: FloatArray, thresholds: FloatArray
) -> Iterator[tuple[slice, sparse.csr_array]]:
    for position in range(0, y_e.size, 4096):
        rows = slice(position, position + 4096)
        yield rows, _normalised(_code_given_charge(y_e[rows], camera, thresholds))


def _poisson_at(y_e: FloatArray, first_n: int, row: NDArray[np.int64], column: NDArray[np.int64]) -> FloatArray:
    return np.exp(log_poisson((column + first_n).astype(np.float64), y_e[row]))


def _normalised(pmf: sparse.csr_array) -> sparse.csr_array:
    """Rows that add up to 1: at 1e4 electrons the log-gamma function leaves 1e-11."""
    total = np.asarray(pmf.sum(axis=1)).ravel()
    pmf.data /= np.repeat(total, np.diff(pmf.indptr))
    return pmf


def _code_given_charge(charge_e: FloatArray, camera: Camera, thresholds: FloatArray) -> sparse.csr_array:
    """P(code | n) for the read noise alone; rows are charges, columns codes."""
    r = float(camera.read_noise_e)
    n_codes = thresholds.size - 1
    if r == 0:
        hair = 1e-9 * np.maximum(1.0, np.abs(charge_e))
        column = np.searchsorted(thresholds, charge_e + hair, side="right") - 1
        column = np.clip(column, 0, n_codes - 1)
        return sparse.csr_array(
            (np.ones(charge_e.size), column, np.arange(charge_e.size + 1)), shape=(charge_e.size, n_codes)
        )
    # thresholds[0] is -inf and the last one +inf, so the outer cells are open.
    first = np.searchsorted(thresholds, charge_e - _REACH_SIGMAS * r, side="right") - 1
    last = np.searchsorted(thresholds, charge_e + _REACH_SIGMAS * r, side="left") - 1
    first = np.clip(first, 0, n_codes - 1)
    last = np.clip(last, first, n_codes - 1)

    def cell(row: NDArray[np.int64], column: NDArray[np.int64]) -> FloatArray:
        low = (thresholds[column] - charge_e[row]) / r
        high = (thresholds[column + 1] - charge_e[row]) / r
        flip = low > 0
        return np.asarray(ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low)))

    return _banded(first, last - first + 1, n_codes, cell)


def _banded(
    start: NDArray[np.int64],
    count: NDArray[np.int64],
    n_columns: int,
    fill: Callable[[NDArray[np.int64], NDArray[np.int64]], FloatArray],
) -> sparse.csr_array:
    """Sparse matrix whose row i holds ``fill(row, column)`` at columns start[i] .. start[i] + count[i] - 1."""
    indptr = np.concatenate([[0], np.cumsum(count)])
    row = np.repeat(np.arange(start.size), count)
    column = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - start, count)
    values = fill(row, column)
    return sparse.csr_array((values, column, indptr), shape=(start.size, n_columns))


def _differential_entropies(camera: Camera, y_e: FloatArray) -> FloatArray:
    """Entropy of real-valued measurements: densities by the trapezoid rule, codes where they stay on a lattice."""
    gain, r = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    out = np.empty(y_e.shape)
    for i, y in enumerate(y_e):
        if camera.kind == "gaussian":
            n, weight = np.array([y]), np.array([1.0])
        else:
            n = np.arange(max(0.0, np.floor(y - 9.5 * np.sqrt(y) - 2)), np.ceil(y + 9.5 * np.sqrt(y) + 45))
            weight = np.exp(log_poisson(n, np.full(n.shape, y)))
        if r == 0:
            out[i] = -np.sum(weight[weight > 0] * np.log2(weight[weight > 0]))
            continue
        step = r / _SAMPLES_PER_SIGMA
        w = np.arange(n[0] - _REACH_SIGMAS * r, n[-1] + _REACH_SIGMAS * r + step, step)
        density = np.zeros(w.shape)
        for block in range(0, w.size, 1024):
            z = (w[block : block + 1024, None] - n) / r
            density[block : block + 1024] = np.exp(-0.5 * z * z) @ weight / (r * np.sqrt(2 * np.pi))
        some = density > 0
        entropy_nats = -np.sum(density[some] * np.log(density[some])) * step
        # z = offset + f(K w): the entropy gains the mean log of the slope.
        knee = camera.response.knee_dn
        if knee is not None and camera.response.full_well_dn is None:  # no sum over a step of the slope
            beyond = float(weight @ ndtr((n - knee / gain) / r))
            entropy_nats += np.log(gain) + beyond * np.log(camera.response.coefficients[1])
        else:
            slope = camera.response.derivative(gain * w) * gain
            entropy_nats += np.sum(density[some] * np.log(slope[some])) * step
        out[i] = entropy_nats / np.log(2)
    return out
