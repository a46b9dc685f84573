"""Shannon capacity of an assumed signal: what a Gaussian source with a stated spectrum would get through the channel.

It is a figure of merit of resolution and noise together. No scene enters it, so it is no mutual information between
any scene and its frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mi_eval.edge.spread import Transfer

FloatArray = NDArray[np.float64]

#: Variance of a signal spread evenly over a range V: V^2 / 12.
UNIFORM = 12.0
CORNER = float(np.sqrt(0.5))


@dataclass(frozen=True)
class CapacityForm:
    """One way of adding up log2(1 + S/N) over frequency.

    Parameters
    ----------
    name : str
    prefactor : float
        Before log2(1 + S/N).
    formula : str
        For people and for the JSON.
    upper_cycles_per_px : float
    unit : str
    source : str
    """

    name: str
    prefactor: float
    formula: str
    upper_cycles_per_px: float
    unit: str
    source: str

    def weights(self, edges: FloatArray) -> FloatArray:
        """Prefactor times the measure of every ring between ``edges`` (cycles per pixel, increasing from 0)."""
        if self.name == "nyquist_square":
            measure = square_area(edges)
        else:
            inside = np.minimum(edges, self.upper_cycles_per_px)
            measure = np.pi * inside**2 if self.name == "rotational_2d" else inside
        return np.asarray(self.prefactor * np.diff(measure))


SQUARE = CapacityForm(
    "nyquist_square",
    0.5,
    "integral over |f_x|, |f_y| <= 0.5 of 1/2 log2(1 + S/N) df_x df_y",
    CORNER,
    "bit per pixel",
    "real Gaussian channel, one value per pixel: Shannon, Bell System Technical Journal 27 (1948) 379",
)
SLANTED_EDGE_1D = CapacityForm(
    "slanted_edge_1d",
    1.0,
    "integral over 0 <= f <= 0.5 of log2(1 + S/N) df",
    0.5,
    "bit per pixel",
    "form reported with slanted edges: Koren, Electronic Imaging 2024",
)
ROTATIONAL_2D = CapacityForm(
    "rotational_2d",
    1.0,
    "2 pi times the integral over 0 <= f <= 0.5 of log2(1 + S/N) f df",
    0.5,
    "bit per pixel",
    "form reported with Siemens stars: Koren, Electronic Imaging 2020",
)
FORMS = (SQUARE, SLANTED_EDGE_1D, ROTATIONAL_2D)


def square_area(radius: ArrayLike) -> FloatArray:
    """Area of the square |f_x|, |f_y| <= 0.5 within a circle of this radius; 1 from the corner on.

    Examples
    --------
    >>> [round(float(v), 4) for v in square_area([0.25, 0.5, 0.6, 0.7072])]
    [0.1963, 0.7854, 0.9509, 1.0]
    """
    r = np.minimum(np.asarray(radius, dtype=np.float64), CORNER)
    corner = np.arccos(np.minimum(0.5 / np.maximum(r, 0.5), 1.0))
    return np.asarray(r**2 * (np.pi - 4 * corner) + 2 * np.sqrt(np.maximum(r**2 - 0.25, 0.0)))


def radial_grid(n: int = 200) -> tuple[FloatArray, FloatArray]:
    """Frequencies (n,) in the middle of rings, and the rings' edges (n + 1,), from 0 to the corner; one edge is 0.5."""
    inner = round(n * 0.5 / CORNER)
    edges = np.concatenate([np.linspace(0, 0.5, inner + 1), np.linspace(0.5, CORNER, n - inner + 1)[1:]])
    return (edges[1:] + edges[:-1]) / 2, edges


def capacity(form: CapacityForm, frequency: FloatArray, edges: FloatArray, signal_to_noise: ArrayLike) -> float:
    """Capacity from S/N, a power ratio, at the frequencies of a `radial_grid`.

    Examples
    --------
    >>> grid = radial_grid()
    >>> [round(capacity(form, *grid, 100.0), 3) for form in FORMS]
    [3.329, 3.329, 5.229]
    """
    ratio = np.broadcast_to(np.asarray(signal_to_noise, dtype=np.float64), frequency.shape)
    return float(np.sum(form.weights(edges) * _log2_1p(ratio)))


def _log2_1p(ratio: FloatArray) -> FloatArray:
    # An MTF^2 freed of its noise power can fall below 0 by its own noise, but not to -0.9 where errors are small.
    return np.asarray(np.log1p(np.maximum(ratio, -0.9)) / np.log(2.0))


@dataclass(frozen=True)
class CapacityValue:
    """A capacity with its standard error from the edge alone (bins, step) and from the noise power."""

    value: float
    edge_std: float
    noise_std: float


def edge_capacity(
    form: CapacityForm,
    transfer: Transfer,
    edges: FloatArray,
    vpp_e: float,
    vpp_std_e: float,
    noise_e2: FloatArray,
    noise_std_e2: FloatArray,
    noise_groups: NDArray[np.int64] | None = None,
) -> CapacityValue:
    """Capacity of S = (V_pp MTF)^2 / 12 against noise power N, rotationally symmetric.

    Parameters
    ----------
    form : CapacityForm
    transfer : Transfer
        At the frequencies of a `radial_grid`.
    edges : ndarray (n_frequencies + 1,)
        Of the grid's rings.
    vpp_e, vpp_std_e : float
        Step between the sides and its standard error.
    noise_e2, noise_std_e2 : ndarray (n_frequencies,)
        Noise power and its standard error.
    noise_groups : ndarray (n_frequencies,) of int, optional
        Frequencies whose noise was measured together; None: all of them.
    """
    signal = vpp_e**2 * transfer.power / UNIFORM
    ratio = signal / noise_e2
    weight = form.weights(edges)
    value = float(np.sum(weight * _log2_1p(ratio)))
    slope = weight / ((1 + np.maximum(ratio, -0.9)) * np.log(2.0))  # d C / d (S/N)
    by_bin = (slope * vpp_e**2 / UNIFORM / noise_e2) @ transfer.power_gradient()
    by_step = float(np.sum(slope * ratio)) * 2 * vpp_std_e / vpp_e
    edge = float(np.hypot(np.sqrt(by_bin**2 @ transfer.variance_e2), by_step))
    groups = np.zeros(ratio.size, dtype=np.int64) if noise_groups is None else noise_groups
    per_group = np.bincount(groups, weights=slope * ratio * noise_std_e2 / noise_e2)
    return CapacityValue(value, edge, float(np.sqrt(np.sum(per_group**2))))
