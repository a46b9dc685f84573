"""Rows p(z | y) of every class of pixels, on a grid of charges and groups of codes as fine as the camera's blur."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import entr

from calibrate import NoiseModel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEAST_VARIANCE_E2 = 0.01
_MOST_TERMS = 4_000_000
_MOST_ROWS = 128


def charge_grid(seen_e: FloatArray, variance_e2: float, *, poisson: bool, step: float = 0.25) -> FloatArray:
    """Charges near the observed ones, a constant fraction of the camera's blur apart.

    Parameters
    ----------
    seen_e : ndarray (n_codes,)
        Charge that each occupied code stands for, electrons, in any order.
    variance_e2 : float
        Square of the read noise, electrons^2; 0 for a pure Poisson camera. Rounding is left out on purpose:
        with few codes per electron h(y) still moves on the scale of the shot noise.
    poisson : bool
        Whether there is shot noise; charges are then 0 or more.
    step : float
        Distance of neighbours over the standard deviation of the blur.

    Returns
    -------
    ndarray (n_grid,)
        Increasing. Uniform in v = 2 sqrt(y + variance), where the blur has unit variance (Anscombe 1948),
        hence uniform in sqrt(y) under shot noise and in y under read noise. Stretches more than 6.5 blurs
        from every occupied code are left out.
    """
    reach = 6.5
    seen = np.unique(seen_e)
    if not poisson:
        scale = np.sqrt(variance_e2)
        v = seen / scale
    else:
        floor = max(variance_e2, _LEAST_VARIANCE_E2)
        v = 2 * np.sqrt(np.maximum(seen, 0.0) + floor)
    least = -np.inf if not poisson else 2 * np.sqrt(floor)
    breaks = np.flatnonzero(np.diff(v) > 2 * reach)
    starts, stops = np.append(0, breaks + 1), np.append(breaks, v.size - 1)
    pieces = []
    for a, b in zip(v[starts] - reach, v[stops] + reach, strict=True):
        a = max(a, least)
        pieces.append(np.linspace(a, b, int(np.ceil((b - a) / step)) + 1))
    grid = np.concatenate(pieces)
    if not poisson:
        return np.asarray(grid * scale, dtype=np.float64)
    return np.asarray(np.maximum(grid**2 / 4 - floor, 0.0), dtype=np.float64)


def group_codes(charge_e: FloatArray, variance_e2: float, *, poisson: bool, width: float = 1 / 3) -> IntArray:
    """Group number of every code, adjacent codes together while their span stays below ``width`` blurs.

    Parameters
    ----------
    charge_e : ndarray (n_codes,)
        Charge at each code, electrons, increasing; -inf and inf stand for open outer codes, kept apart.
    variance_e2, poisson
        As for `charge_grid`.
    width : float
        Largest width in standard deviations of the blur. At 1/3 the grouped codes know less of the charge by
        under 1 % of a code's worth: width^2/12.
    """
    finite = np.isfinite(charge_e)
    y = np.where(finite, charge_e, 0.0)
    if poisson:
        floor = max(variance_e2, _LEAST_VARIANCE_E2)
        v = np.where(y > 0, 2 * np.sqrt(np.maximum(y, 0) + floor), 2 * np.sqrt(floor) + y / np.sqrt(floor))
    else:
        v = y / np.sqrt(variance_e2)
    cell = np.floor(v / width)
    fresh = np.ones(charge_e.size, dtype=bool)
    fresh[1:] = (np.diff(cell) != 0) | ~finite[1:] | ~finite[:-1]
    return np.cumsum(fresh) - 1


def class_rows(
    model: NoiseModel,
    y_e: FloatArray,
    first_code: int,
    group: IntArray,
    *,
    step_dn: float | None = None,
    response_error: float = 0.0,
) -> tuple[sparse.csr_array, FloatArray]:
    """p(group of codes | y) and h(y) of one class of pixels; see `class_tables`.

    Returns
    -------
    csr_array (n_grid, n_groups), ndarray (n_grid,)
    """
    tables, entropies = class_tables(
        [model], [0], [1.0], y_e, first_code, group, step_dn=step_dn, response_error=response_error
    )
    return tables[0], entropies[0]


def class_tables(
    models: Sequence[NoiseModel],
    member_of: ArrayLike,
    weights: ArrayLike,
    y_e: FloatArray,
    first_code: int,
    group: IntArray,
    *,
    step_dn: float | None = None,
    response_error: float = 0.0,
) -> tuple[list[sparse.csr_array], FloatArray]:
    r"""p(group of codes | y), summed over classes of pixels with weights, and h(y) of each class.

    Parameters
    ----------
    models : sequence of NoiseModel
        Cameras with codes and without maps, all of one kind.
    member_of : array (n_classes,)
        Table that each class is added to, numbered from 0.
    weights : array (n_classes,)
        Weight of each class in its table.
    y_e : ndarray (n_grid,)
        Charges, electrons, increasing.
    first_code : int
        Code of the first entry of ``group``.
    group : ndarray (n_codes,)
        Group of each code, increasing from 0 by steps of 0 or 1.
    step_dn : float or None
        Width of a code in DN where codes stand for real values; h is then differential,

        .. math:: h = H_\mathrm{codes} + \log_2 d - \frac{d^2}{24 \ln 2} J,

        J the Fisher information of location: binning with width d adds a uniform error of variance d^2/12.
    response_error : float
        Relative standard error of a pixel's photo-response; rows are averaged over it (three-point
        Gauss-Hermite), because what is not known about a pixel is noise.

    Returns
    -------
    list of csr_array (n_grid, n_groups), ndarray (n_classes, n_grid)

    Notes
    -----
    A row is the shot noise, the same for all classes and tabulated once, times the class's own P(code | n).
    """
    member, share = np.asarray(member_of, dtype=np.int64), np.asarray(weights, dtype=np.float64)
    n_tables = int(member.max()) + 1
    parts: list[list[sparse.csr_array]] = [[] for _ in range(n_tables)]
    entropies = np.empty((len(models), y_e.size))
    shared = all(m.camera.kind == "poisson-gaussian" and float(m.camera.read_noise_e) > 0 for m in models)
    for rows in _long_runs(y_e) if shared else [slice(0, y_e.size)]:
        y = y_e[rows]
        shot = _Shot.of(y, response_error) if shared else None
        sums: list[sparse.csr_array | None] = [None] * n_tables
        for c, model in enumerate(models):
            blocks = _blocks(_averaged(model, y, response_error)) if shot is None else shot.through(model)
            table, entropies[c, rows] = _grouped(blocks, model.camera.black_clip_dn - first_code, group, step_dn)
            table, before = table * share[c], sums[member[c]]
            sums[member[c]] = table if before is None else sparse.csr_array(before + table)
        for part, total in zip(parts, sums, strict=True):
            part.append(sparse.csr_array((y.size, int(group[-1]) + 1)) if total is None else total)
    return [sparse.csr_array(sparse.vstack(part, format="csr")) for part in parts], entropies


@dataclass(frozen=True)
class _Block:
    """Neighbouring rows of a table, dense: ``values[i, j]`` is column ``low + i`` of row ``rows.start + j``."""

    rows: slice
    low: int
    values: FloatArray


@dataclass(frozen=True)
class _Shot:
    """P(n | y) of the shot noise, averaged over the error of the photo-response."""

    blocks: tuple[_Block, ...]
    low: int
    high: int

    @classmethod
    def of(cls, y_e: FloatArray, response_error: float) -> _Shot:
        top = int(_shot_reach(np.array([2 * y_e[-1]]))[1][0])
        counter = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=32, white_clip_dn=top)
        blocks = tuple(_blocks(_averaged(counter, y_e, response_error)))
        return cls(blocks, min(b.low for b in blocks), max(b.low + b.values.shape[0] for b in blocks))

    def through(self, model: NoiseModel) -> Iterator[_Block]:
        """Rows of a camera with read noise: sum over n of P(n | y) P(code | n)."""
        camera = model.camera
        reader = NoiseModel.from_parameters(
            kind="gaussian",
            system_gain_dn_per_e=float(camera.system_gain_dn_per_e),
            read_noise_e=float(camera.read_noise_e),
            offset_dn=float(camera.offset_dn),
            bit_depth=camera.bit_depth,
            black_clip_dn=camera.black_clip_dn,
            white_clip_dn=camera.white_clip_dn,
            response=camera.response,
        )
        read = reader.code_table(np.arange(self.low, self.high, dtype=np.float64)).pmf
        for block in self.blocks:
            first = block.low - self.low
            window, low = _window(read, slice(first, first + block.values.shape[0]))
            yield _Block(block.rows, low, np.asarray(window.T @ block.values))


def _averaged(model: NoiseModel, y_e: FloatArray, response_error: float) -> sparse.csr_array:
    pmf = model.code_table(y_e).pmf
    if response_error > 0:
        spread = np.sqrt(3.0) * min(response_error, 0.5)
        low, high = (model.code_table(y_e * (1 + sign * spread)).pmf for sign in (-1, 1))
        pmf = pmf * (2 / 3) + (low + high) * (1 / 6)
    return sparse.csr_array(pmf)


def _shot_reach(y_e: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Electrons beyond which the shot noise is below 1e-17, on both sides."""
    reach = 9.5 * np.sqrt(y_e)
    return np.maximum(np.floor(y_e - reach - 2), 0.0), np.ceil(y_e + reach + 45)


def _long_runs(y_e: FloatArray) -> Iterator[slice]:
    """Runs of charges whose shot noise is small in memory."""
    start, stop = _shot_reach(y_e)
    terms = np.cumsum(stop - start)
    position = 0
    while position < y_e.size:
        fits = terms[position:] - terms[position] <= _MOST_TERMS
        fits &= stop[position:] - start[position] <= _MOST_TERMS // 16
        count = max(1, fits.size if np.all(fits) else int(np.argmin(fits)))
        yield slice(position, position + count)
        position += count


def _blocks(pmf: sparse.csr_array) -> Iterator[_Block]:
    """Dense blocks of rows that overlap: products of these are several times faster than of sparse matrices."""
    start, stop = _ends(pmf)
    position = 0
    while position < start.size:
        low, width = start[position], stop[position] - start[position]
        ahead = slice(position, position + _MOST_ROWS)
        fits = (stop[ahead] <= low + 1.5 * width) & (start[ahead] >= low)
        rows = slice(position, position + max(1, fits.size if np.all(fits) else int(np.argmin(fits))))
        window, first = _window(pmf, rows)
        yield _Block(rows, first, np.ascontiguousarray(window.toarray().T))
        position = rows.stop


def _ends(pmf: sparse.csr_array) -> tuple[IntArray, IntArray]:
    """First column of each row, and the one after its last; no row is empty."""
    ends = (np.minimum.reduceat(pmf.indices, pmf.indptr[:-1]), np.maximum.reduceat(pmf.indices, pmf.indptr[:-1]) + 1)
    return ends[0].astype(np.int64), ends[1].astype(np.int64)


def _window(matrix: sparse.csr_array, rows: slice) -> tuple[sparse.csr_array, int]:
    """Rows of a matrix without the empty columns on both sides, and the first column kept."""
    begin, end = matrix.indptr[rows.start], matrix.indptr[rows.stop]
    columns = matrix.indices[begin:end]
    low, high = int(columns.min()), int(columns.max()) + 1
    shape = (rows.stop - rows.start, high - low)
    indptr = matrix.indptr[rows.start : rows.stop + 1] - begin
    return sparse.csr_array((matrix.data[begin:end], columns - low, indptr), shape=shape), low


def _grouped(
    blocks: Iterable[_Block], shift: int, group: IntArray, step_dn: float | None
) -> tuple[sparse.csr_array, FloatArray]:
    """The table of groups, column ``i`` of a block being entry ``i + shift`` of ``group``; and the entropies."""
    sizes, columns, values, entropies = [], [], [], []
    for block in blocks:
        p = block.values
        entropy = np.sum(entr(p), axis=0) / np.log(2)
        if step_dn is not None:
            rise = np.diff(p, axis=0, prepend=0.0, append=0.0)
            both = p[1:] + p[:-1]
            total = np.concatenate([p[:1], both, p[-1:]])
            information = np.sum(2 * rise**2 / np.maximum(total, 1e-300), axis=0)
            entropy = entropy + np.log2(step_dn) - information / (24 * np.log(2))
        entropies.append(entropy)
        low = block.low + shift
        a, b = max(low, 0), min(low + p.shape[0], group.size)
        if a >= b:
            sizes.append(np.zeros(p.shape[1], dtype=np.int64))
            continue
        labels = group[a:b]
        grouped = np.add.reduceat(p[a - low : b - low], np.flatnonzero(np.diff(labels, prepend=-1)), axis=0).T
        occupied = grouped > 0
        sizes.append(np.count_nonzero(occupied, axis=1))
        columns.append(np.nonzero(occupied)[1] + labels[0])
        values.append(grouped[occupied])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    flat = (np.concatenate([np.empty(0), *values]), np.concatenate([np.empty(0, dtype=np.int64), *columns]))
    shape = (indptr.size - 1, int(group[-1]) + 1)
    return sparse.csr_array((*flat, indptr), shape=shape), np.concatenate(entropies)
