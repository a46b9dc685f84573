"""A camera evaluated on arrays of charges: exact rows, splines between them, and per-pixel parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from calibrate.noise_model import tables
from calibrate.noise_model.camera import Camera, Kind
from calibrate.noise_model.cells import log_cell_probability, log_normal_interval, log_poisson, log_poisson_interval

FloatArray = NDArray[np.float64]

EXACT_ROWS = 4096
_PHASES = 32  # classes of the offset's fractional part


def pixel_moments(camera: Camera, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Moments by adding up codes around each pixel's mean; rows of pixels at a time."""
    gain, r, offset = (
        np.broadcast_to(np.asarray(p, dtype=np.float64), y.shape).reshape(-1)
        for p in (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn)
    )
    charge = y.reshape(-1)
    u = gain * charge
    centre = np.floor(offset + camera.response.evaluate(u))
    shot = 0.0 if camera.kind == "gaussian" else 1.0
    reach = np.ceil(9 * gain * np.sqrt(shot * charge + r**2) + 2 + 20 * gain * shot)
    mean, variance = np.empty(charge.shape), np.empty(charge.shape)
    order = np.argsort(reach, kind="stable")
    position = 0
    while position < order.size:
        count = max(1, int(100_000 // (2 * reach[order[position]] + 1)))
        index = order[position : position + count]
        position += index.size
        span = np.arange(-np.max(reach[index]), np.max(reach[index]) + 1)
        codes = np.clip(centre[index, None] + span, camera.black_clip_dn, camera.white_clip_dn)
        fresh = np.concatenate([np.ones((index.size, 1), bool), np.diff(codes, axis=1) > 0], axis=1)
        local = replace(
            camera,
            system_gain_dn_per_e=gain[index, None],
            read_noise_e=r[index, None],
            offset_dn=offset[index, None],
        )
        args = (local.thresholds_e(codes), local.thresholds_e(codes + 1), charge[index, None], r[index, None])
        flat = [np.broadcast_to(a, codes.shape).ravel() for a in args]
        weight = np.where(fresh, np.exp(log_cells(camera.kind, *flat)).reshape(codes.shape), 0.0)
        weight /= weight.sum(axis=1, keepdims=True)
        mean[index] = np.sum(weight * (codes - centre[index, None]), axis=1) + centre[index]
        variance[index] = np.sum(weight * (codes - mean[index, None]) ** 2, axis=1)
    return mean.reshape(y.shape), variance.reshape(y.shape)


def entropies_by_pixel_class(camera: Camera, y: FloatArray) -> FloatArray:
    """Entropies with maps: pixels grouped by offset phase and gain, interpolated in read noise."""
    gain, r, offset = (
        np.broadcast_to(np.asarray(p, dtype=np.float64), y.shape)
        for p in (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn)
    )
    discrete = camera.bit_depth is not None
    fine = discrete and float(np.min(gain * r)) < 0.7
    whole = np.floor(offset) if discrete else np.zeros(y.shape)
    log_r = np.log(np.maximum(r, 1e-3))
    step = 0.04
    r_class = np.floor(log_r / step)
    gain_class = np.round(np.log(gain) / 0.02) if np.ndim(camera.system_gain_dn_per_e) else np.zeros(y.shape)
    # Where a clip is within reach the whole part of the offset matters too.
    highest = gain * (y + 9 * np.sqrt(np.maximum(y, 0.0) + r**2))
    near = discrete & (
        (offset + np.minimum(gain * y, 0.0) - 9 * gain * r < camera.black_clip_dn)
        | (offset + highest > camera.white_clip_dn)
        | (highest > (camera.response.full_well_dn or np.inf))
    )
    shift = np.where(near, whole, np.round(np.mean(whole)))
    # The part of the offset below one code matters where rounding is coarse or cut short.
    phase = np.where(near | fine, np.floor((offset - whole) * _PHASES), -1.0)
    keys = np.stack([phase, r_class, gain_class, shift]).reshape(4, -1)
    classes, member = np.unique(keys, axis=1, return_inverse=True)
    out = np.empty(y.size)
    charge = y.reshape(-1)
    for index in range(classes.shape[1]):
        chosen = np.flatnonzero(member.reshape(-1) == index)
        base = replace(
            camera,
            system_gain_dn_per_e=float(np.mean(gain.reshape(-1)[chosen])),
            offset_dn=float(classes[3, index] + np.mean((offset - whole).reshape(-1)[chosen])),
        )
        ends = [float(np.exp((classes[1, index] + k) * step)) for k in (0, 1)]
        if camera.kind == "poisson":
            ends = [0.0, 0.0]
        share = log_r.reshape(-1)[chosen] / step - classes[1, index]
        value = np.zeros(chosen.size)
        for end, weight in zip(ends, (1 - share, share), strict=True):
            local = replace(base, read_noise_e=end)
            values = over_charges(
                charge[chosen],
                partial(_entropy_row, local),
                limit=row_limit(local, charge[chosen], least=256),
            )
            value += weight * values[0]
        # Within a class of gains the noise in DN, and where rounding is fine its entropy, goes with the gain.
        scale = np.log2(gain.reshape(-1)[chosen] / base.system_gain_dn_per_e)
        out[chosen] = value + np.where(np.reshape(near | fine, -1)[chosen], 0.0, scale)
    return out.reshape(y.shape)


def _entropy_row(camera: Camera, y: FloatArray) -> FloatArray:
    return tables.entropies_bits(camera, y)[None]


def log_cells(kind: Kind, lower: FloatArray, upper: FloatArray, y: FloatArray, r: FloatArray) -> FloatArray:
    """Natural log of P(lower <= n + r g < upper) for the kind of camera; one-dimensional, electrons."""
    if kind == "gaussian":
        return log_normal_interval((lower - y) / r, (upper - y) / r)
    if kind == "poisson" or not np.any(r):
        return log_poisson_interval(lower, upper, y)
    if np.all(r > 0):
        return log_cell_probability(lower, upper, y, r)
    out = np.empty(y.shape)
    quiet = r == 0
    out[quiet] = log_poisson_interval(lower[quiet], upper[quiet], y[quiet])
    out[~quiet] = log_cell_probability(lower[~quiet], upper[~quiet], y[~quiet], r[~quiet])
    return out


def log_density(camera: Camera, z: FloatArray, y: FloatArray) -> FloatArray:
    """Log density per DN of real-valued measurements; log probability on the lattice for kind ``poisson``."""
    gain, r, offset = (
        np.broadcast_to(np.asarray(p, dtype=np.float64), z.shape)
        for p in (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn)
    )
    u = camera.response.inverse(z - offset)
    w = u / gain
    if camera.kind == "poisson" or (camera.kind == "poisson-gaussian" and not np.any(r)):
        n = np.round(w)
        on_lattice = (np.abs(w - n) < 1e-6 * np.maximum(1.0, np.abs(n))) & (n >= 0)
        return np.where(on_lattice, log_poisson(np.maximum(n, 0.0), y), -np.inf)
    with np.errstate(divide="ignore"):
        jacobian = -np.log(gain * camera.response.derivative(np.where(np.isfinite(u), u, 0.0)))
    if camera.kind == "gaussian":
        value = -0.5 * ((w - y) / r) ** 2 - np.log(r * np.sqrt(2 * np.pi))
    else:
        # A cell narrow against the read noise, midpoint rule: relative error width^2 / (24 r^2) = 4e-10.
        half = 0.5e-4 * r
        flat = [a.ravel() for a in (w - half, w + half, y, r)]
        value = log_cell_probability(*flat).reshape(z.shape) - np.log(2 * half)
    return np.where(np.isfinite(u), value + jacobian, -np.inf)


def continuous_moments(camera: Camera, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (DN) and variance (DN^2) of real-valued measurements."""
    gain, r = camera.system_gain_dn_per_e, np.asarray(camera.read_noise_e)
    shot = 0.0 if camera.kind == "gaussian" else y
    if camera.response.is_linear:
        return camera.offset_dn + gain * y, np.broadcast_to(np.asarray(gain) ** 2 * (shot + r**2), y.shape).copy()
    spread = np.sqrt(shot + r**2)
    if camera.response.form == "two-slope":
        mean, variance = _piecewise_moments(camera, y, spread)
        return camera.offset_dn + mean, variance
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    values = camera.response.evaluate(gain * (y[..., None] + np.asarray(spread)[..., None] * nodes))
    weights = weights / weights.sum()
    mean = values @ weights
    return camera.offset_dn + mean, (values - mean[..., None]) ** 2 @ weights


def _piecewise_moments(camera: Camera, y: FloatArray, spread_e: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance of f(U) for normal U = K (y + spread g) and f of straight pieces, exact, DN and DN^2.

    f(U) = U - sum_j d_j max(U - u_j, 0) with d_j the fall of the slope at knot j. With T standard normal, a_j = (E[U] -
    u_j)/sigma and a_j <= a_i: E[max(T + a, 0)] = phi(a) + a Phi(a), Cov(T, max(T + a, 0)) = Phi(a), and
    E[max(T + a_i, 0) max(T + a_j, 0)] = (1 + a_i a_j) Phi(a_j) + a_i phi(a_j).
    """
    pieces = camera.response.pieces()
    if pieces is None:  # pragma: no cover - the caller has checked
        raise RuntimeError("a polynomial has no straight pieces")
    knots, slopes = pieces
    falls = -np.diff(slopes, prepend=1.0)
    gain = np.asarray(camera.system_gain_dn_per_e)
    centre, sigma = np.broadcast_arrays(gain * y, np.maximum(gain * spread_e, 1e-12))
    scaled = [(centre - knot) / sigma for knot in knots]
    above = [ndtr(a) for a in scaled]
    density = [np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi) for a in scaled]
    first = [d + a * p for a, p, d in zip(scaled, above, density, strict=True)]
    mean, variance = centre.astype(np.float64), sigma**2
    for i, fall in enumerate(falls):
        mean = mean - fall * sigma * first[i]
        variance = variance - 2 * fall * sigma**2 * above[i]
        for j in range(i, falls.size):  # both terms are above 0 beyond the later knot
            product = (1 + scaled[i] * scaled[j]) * above[j] + scaled[i] * density[j]
            weight = fall * falls[j] * (1.0 if j == i else 2.0)
            variance = variance + weight * sigma**2 * (product - first[i] * first[j])
    return mean, np.maximum(variance, 0.0)


def row_limit(camera: Camera, y: FloatArray, *, least: int = EXACT_ROWS) -> int:
    """Rows above which a spline over the charges may stand in for exact ones.

    Without shot noise nothing smooths the steps of the rounding: knots must lie a tenth of the noise apart. Over a knee
    they lie a quarter of the shot noise apart, which is 1/2 in sqrt(y).
    """
    if camera.response.form == "two-slope" and camera.kind != "gaussian" and y.size:
        least = max(least, int(np.ceil(8 * float(np.ptp(np.sqrt(np.maximum(y, 0.0)))))) + 1)
    if camera.kind != "gaussian" or camera.bit_depth is None or y.size == 0:
        return least
    return max(least, int(np.ceil(10 * float(np.ptp(y)) / float(camera.read_noise_e))) + 1)


def over_charges(y: FloatArray, exact: Callable[[FloatArray], FloatArray], *, limit: int = EXACT_ROWS) -> FloatArray:
    """``exact`` (n,) -> (k, n) at every charge: row by row where few differ, else splined in sqrt(y)."""
    values, member = np.unique(y, return_inverse=True)
    if values.size <= limit:
        rows = exact(values)
        return np.asarray(rows[:, member.reshape(-1)].reshape((rows.shape[0], *y.shape)))
    from scipy.interpolate import CubicSpline  # takes as long to load as a fit takes, which needs none

    if values[0] < 0:
        knots = np.linspace(values[0], values[-1], limit)
        return np.asarray(CubicSpline(knots, exact(knots), axis=1)(y))
    root = np.linspace(np.sqrt(values[0]), np.sqrt(values[-1]), limit)
    knots = np.clip(root**2, values[0], values[-1])
    rows = exact(knots)
    return np.asarray(CubicSpline(np.sqrt(knots), rows, axis=1)(np.sqrt(y)))
