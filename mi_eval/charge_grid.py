"""Rows p(z | y) of every class of pixels, on a grid of charges and groups of codes as fine as the camera's blur."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calibrate import NoiseModel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEAST_VARIANCE_E2 = 0.01


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
    r"""p(group of codes | y) and h(y) of one class of pixels.

    Parameters
    ----------
    model : NoiseModel
        A camera with codes and without maps.
    y_e : ndarray (n_grid,)
        Charges, electrons, increasing.
    first_code : int
        Code of the first entry of ``group``.
    group : ndarray (n_codes,)
        Group of each code.
    step_dn : float or None
        Width of a code in DN where codes stand for real values; h is then differential,

        .. math:: h = H_\mathrm{codes} + \log_2 d - \frac{d^2}{24 \ln 2} J,

        J the Fisher information of location: binning with width d adds a uniform error of variance d^2/12.
    response_error : float
        Relative standard error of a pixel's photo-response; rows are averaged over it (three-point
        Gauss-Hermite), because what is not known about a pixel is noise.

    Returns
    -------
    csr_array (n_grid, n_groups), ndarray (n_grid,)
    """
    table = model.code_table(y_e)
    if response_error > 0:
        spread = np.sqrt(3.0) * min(response_error, 0.5)
        low, high = (model.code_table(y_e * (1 + sign * spread)).pmf for sign in (-1, 1))
        table = replace(table, pmf=sparse.csr_array(table.pmf * (2 / 3) + (low + high) * (1 / 6)))
    entropy = table.entropies_bits()
    if step_dn is not None:
        lagged = sparse.hstack([sparse.csr_array((y_e.size, 1)), table.pmf], format="csr")
        ahead = sparse.hstack([table.pmf, sparse.csr_array((y_e.size, 1))], format="csr")
        rise, total = (ahead - lagged).power(2), ahead + lagged
        total.data = 2.0 / np.maximum(total.data, 1e-300)
        information = np.asarray(rise.multiply(total).sum(axis=1)).ravel()
        entropy = entropy + np.log2(step_dn) - information / (24 * np.log(2))
    start = first_code - table.first_code
    columns = sparse.csr_array(table.pmf[:, start : start + group.size])
    gather = sparse.csr_array((np.ones(group.size), (np.arange(group.size), group)))
    return sparse.csr_array(columns @ gather), entropy
