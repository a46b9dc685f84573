"""Sums over charges and codes behind `mi_eval.channel`, differentiable in the mean charge.

Cell edges, read noise and codes are constants: only the mean charge carries a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

_TAIL_NATS = 40.0
_REACH_SIGMAS = 9.5
_BLOCK_TERMS = 2_000_000
#: Added to the charge, so that log y and its gradient are finite where there is none.
TINY_E = 1e-30
_FAR_E = 1e12  # stands for an open edge, so that no infinity enters a gradient


def log_normal_interval(lower: FloatArray, upper: FloatArray, y: Tensor, read: FloatArray) -> Tensor:
    """log P(lower <= y + read g < upper), one-dimensional, electrons; accurate in both tails."""
    r = _constant(read)
    return _log_interval((_edge(lower) - y) / r, (_edge(upper) - y) / r)


def _log_interval(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)) for finite low < high."""
    flip = low > 0
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    top = torch.special.log_ndtr(b)
    gap = torch.special.log_ndtr(a) - top
    return top + torch.log(-torch.expm1(torch.clamp(gap, max=-1e-300)))


def log_shot_interval(lower: FloatArray, upper: FloatArray, y: Tensor, read: FloatArray) -> Tensor:
    """log P(lower <= N + read g < upper) for N ~ Poisson(y), y >= TINY_E; one-dimensional, electrons."""
    charge = y.detach().numpy()
    nearest = np.clip(charge, lower, np.maximum(upper, lower))
    nearest = np.where(np.isfinite(nearest), nearest, charge)
    start, stop = _charges(np.minimum(charge, nearest), np.maximum(charge, nearest), read)
    out = torch.full_like(y, -torch.inf)
    first, last = _whole_at_or_above(lower), _whole_at_or_above(upper)
    for index in _blocks(stop - start):
        n = _window(start[index], stop[index])
        quiet = read[index] == 0
        inside = np.where((n >= first[index, None]) & (n < last[index, None]), 0.0, -np.inf)
        cell = torch.from_numpy(inside)
        if not quiet.all():
            r = _constant(np.where(quiet, 1.0, read[index]))[:, None]
            centre = torch.from_numpy(n)
            low, high = ((_edge(e[index])[:, None] - centre) / r for e in (lower, upper))
            spread = _log_interval(torch.minimum(low, high - 1e-12), high)
            cell = torch.where(torch.from_numpy(quiet)[:, None], cell, spread)
        out = out.index_put((torch.from_numpy(index),), _log_sum(cell, n, y[torch.from_numpy(index)]))
    dark = np.flatnonzero(charge <= TINY_E)
    if not dark.size:
        return out
    edges = lower[dark], upper[dark]
    loud = log_normal_interval(*edges, torch.zeros(dark.size, dtype=torch.float64), np.maximum(read[dark], 1e-300))
    silent = torch.from_numpy(np.where((first[dark] <= 0) & (last[dark] > 0), 0.0, -np.inf))
    return _without_shot(out, dark, torch.where(torch.from_numpy(read[dark] == 0), silent, loud))


def _without_shot(out: Tensor, dark: IntArray, value: Tensor) -> Tensor:
    """Values of no charge at all, where N = 0 for certain; the gradient is the one that N = 1 brings in."""
    at = torch.from_numpy(dark)
    return out.index_put((at,), value.detach() + torch.where(torch.isfinite(out[at]), out[at] - out[at].detach(), 0.0))


def log_shot_density(w: Tensor, y: Tensor, read: Tensor) -> Tensor:
    """Log density at the charge w of N + read g, N ~ Poisson(y), per electron; one-dimensional."""
    centre, charge, r = w.detach().numpy(), y.detach().numpy(), read.numpy()
    start, stop = _charges(np.minimum(charge, centre), np.maximum(charge, centre), r)
    out = torch.full_like(y, -torch.inf)
    for index in _blocks(stop - start):
        at = torch.from_numpy(index)
        n = _window(start[index], stop[index])
        scaled = (w[at][:, None] - torch.from_numpy(n)) / read[at][:, None]
        cell = -0.5 * scaled**2 - torch.log(read[at])[:, None] - 0.5 * np.log(2 * np.pi)
        out = out.index_put((at,), _log_sum(cell, n, y[at]))
    dark = np.flatnonzero(charge <= TINY_E)
    if not dark.size:
        return out
    at = torch.from_numpy(dark)
    value = -0.5 * (w[at] / read[at]) ** 2 - torch.log(read[at]) - 0.5 * np.log(2 * np.pi)
    return _without_shot(out, dark, value)


def _log_sum(cell: Tensor, n: FloatArray, y: Tensor) -> Tensor:
    """log sum_n Poisson(n; y) exp(cell)."""
    return torch.logsumexp(cell + _log_poisson(torch.from_numpy(n), y[:, None]), dim=1)


def _log_poisson(n: Tensor, y: Tensor) -> Tensor:
    return torch.xlogy(n, y) - y - torch.lgamma(n + 1.0)


def read_noise_moments(
    camera: Any, y: Tensor, gain: FloatArray, read: FloatArray, offset: FloatArray, response: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the code of a charge y that has read noise only; one-dimensional."""
    mean, variance = torch.empty_like(y), torch.empty_like(y)
    u = _constant(gain) * y.detach()
    centre = np.floor(offset + response(u).numpy() + 0.5)
    centre = np.clip(centre, camera.black_clip_dn, camera.white_clip_dn)
    reach = np.ceil(_REACH_SIGMAS * gain * read * _steepest(camera) + 2)
    for index in _blocks(2 * reach):
        at = torch.from_numpy(index)
        base = centre[index] - float(np.max(reach[index]))
        step = np.arange(1.0, 2 * float(np.max(reach[index])) + 1)
        local = replace(camera, system_gain_dn_per_e=gain[index, None], offset_dn=offset[index, None])
        edges = _edge(local.thresholds_e(base[:, None] + step))
        scaled = (y[at][:, None] - edges) / _constant(np.where(read[index] > 0, read[index], 1e-9))[:, None]
        above = torch.special.ndtr(scaled)  # P(Z >= base + step)
        first = above.sum(dim=1)
        # sum_k (2 k - 1) P(Z >= base + k) is E[(Z - base)^2].
        second = above @ torch.from_numpy(2 * step - 1)
        mean = mean.index_put((at,), torch.from_numpy(base) + first)
        variance = variance.index_put((at,), second - first**2)
    return mean, variance


def shot_noise_moments(
    camera: Any, y: Tensor, gain: FloatArray, read: FloatArray, offset: FloatArray, response: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and variance of the code for N ~ Poisson(y): those at given N, weighted; one-dimensional."""
    charge = y.detach().numpy()
    start, stop = _charges(charge, charge, np.zeros(charge.shape))
    mean, variance = torch.empty_like(y), torch.empty_like(y)
    table = None
    if camera.is_scalar:
        low, high = float(start.min()), float(stop.max())
        table = low, _moments_at(np.arange(low, high), camera, gain[:1], read[:1], offset[:1], response)
    for index in _blocks(stop - start):
        at = torch.from_numpy(index)
        n = _window(start[index], stop[index])
        if table is not None:
            position = np.minimum(n - table[0], table[1][0].size - 1).astype(np.intp)
            given_mean, given_variance = (torch.from_numpy(values[position]) for values in table[1])
        else:
            k, r, b = (np.broadcast_to(v[index, None], n.shape).ravel() for v in (gain, read, offset))
            given = _moments_at(n.ravel(), camera, k, r, b, response)
            given_mean, given_variance = (torch.from_numpy(values.reshape(n.shape)) for values in given)
        weight = torch.exp(_log_poisson(torch.from_numpy(n), y[at][:, None]))
        weight = weight / weight.sum(dim=1, keepdim=True)
        centre = (weight * given_mean).sum(dim=1)
        spread = (weight * (given_variance + (given_mean - centre[:, None]) ** 2)).sum(dim=1)
        mean, variance = mean.index_put((at,), centre), variance.index_put((at,), spread)
    return mean, variance


def _moments_at(
    n: FloatArray,
    camera: Any,
    gain: FloatArray,
    read: FloatArray,
    offset: FloatArray,
    response: Callable[[Tensor], Tensor],
) -> tuple[FloatArray, FloatArray]:
    """Moments of the code at exact charges n."""
    gain, read, offset = (np.broadcast_to(v, n.shape) for v in (gain, read, offset))
    with torch.no_grad():
        if not np.any(read):
            x = offset + response(_constant(gain * n)).numpy()
            code = np.clip(np.floor(x + 0.5 + 1e-9), camera.black_clip_dn, camera.white_clip_dn)
            return code, np.zeros(n.shape)
        mean, variance = read_noise_moments(camera, _constant(n), gain, read, offset, response)
    return np.asarray(mean.numpy()), np.asarray(variance.numpy())


def piecewise_moments(response: Any, centre: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of f(U), U normal, of a response of straight pieces; DN, differentiable in both arguments."""
    knots, slopes = response.pieces()
    falls = -np.diff(slopes, prepend=1.0)
    scaled = [(centre - float(knot)) / sigma for knot in knots]
    above = [torch.special.ndtr(a) for a in scaled]
    density = [torch.exp(-0.5 * a * a) / np.sqrt(2 * np.pi) for a in scaled]
    first = [d + a * p for a, p, d in zip(scaled, above, density, strict=True)]
    mean, variance = centre, sigma**2
    for i, fall in enumerate(falls):
        mean = mean - float(fall) * sigma * first[i]
        variance = variance - 2 * float(fall) * sigma**2 * above[i]
        for j in range(i, falls.size):  # both terms are above 0 beyond the later knot
            product = (1 + scaled[i] * scaled[j]) * above[j] + scaled[i] * density[j]
            weight = float(fall * falls[j]) * (1.0 if j == i else 2.0)
            variance = variance + weight * sigma**2 * (product - first[i] * first[j])
    return mean, torch.clamp(variance, min=0.0)


def _steepest(camera: Any) -> float:
    """Largest slope of the response."""
    curve = camera.response
    return max(1.0, float(np.max(curve.derivative(np.linspace(0.0, curve.scale_dn, 257)))))


def _charges(low: FloatArray, high: FloatArray, read: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and one-past-last n that matter where the largest term lies between ``low`` and ``high``."""
    low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
    reach = _REACH_SIGMAS * read + 2.0
    start = np.maximum(low - np.sqrt(2 * _TAIL_NATS * low) - reach, 0.0)
    stop = high + np.sqrt(2 * _TAIL_NATS * high) + _TAIL_NATS + reach
    return np.floor(start), np.ceil(stop) + 1.0


def _window(start: FloatArray, stop: FloatArray) -> FloatArray:
    return start[:, None] + np.arange(float(np.max(stop - start)))


def _whole_at_or_above(edge: FloatArray) -> FloatArray:
    """Smallest integer at or above the edge, forgiving rounding error where the edge is an integer itself."""
    finite = np.where(np.isfinite(edge), edge, 0.0)
    return np.where(np.isfinite(edge), np.ceil(finite - 1e-9 * np.maximum(1.0, np.abs(finite))), edge)


def _blocks(widths: FloatArray) -> Iterator[IntArray]:
    """Indices in groups of like width, each small enough to hold all its terms."""
    order = np.argsort(widths, kind="stable")
    position = 0
    while position < order.size:
        # Within a block the widest is at most 1.5 times the narrowest.
        widest = 1.5 * max(float(widths[order[position]]), 1.0)
        many = int(np.searchsorted(widths[order[position:]], widest, side="right"))
        count = max(1, min(many, int(_BLOCK_TERMS // widest)))
        yield order[position : position + count]
        position += count


def _edge(edge: FloatArray) -> Tensor:
    return torch.from_numpy(np.clip(edge, -_FAR_E, _FAR_E))


def _constant(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
