"""A piecewise-linear cdf of light, evaluated on cells: what the code histogram fits and others lean on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mi_eval.density.patches import FloatArray, PatchSet

# Stands for infinity where arctan2 of edge differences is taken; its square must not overflow.
_FAR = 1e150


@dataclass(frozen=True)
class LightHistogram:
    r"""A law of single-pixel light: point masses at both ends, bins, and a Cauchy tail.

    .. math:: F(v) = (1 - \tau)\,[P_- + (1 - P_- - P_+)\,F_\mathrm{bins}(v)]
              + \tau\,[1/2 + \arctan((v - c)/s)/\pi]

    :math:`F_\mathrm{bins}` is linear between knots. The tail keeps every cell on the real line above 0.

    Parameters
    ----------
    origin_dn, step_dn : float
        First knot and distance of knots [DN of light].
    bins : (n_bins,)
        Mass of each bin, sum 1.
    below, above : float
        Mass of the open cells' codes, seen nowhere else: P_- and P_+.
    tail_weight, tail_centre_dn, tail_scale_dn : float
        tau, c and s.
    """

    origin_dn: float
    step_dn: float
    bins: FloatArray
    below: float
    above: float
    tail_weight: float
    tail_centre_dn: float
    tail_scale_dn: float

    @cached_property
    def _knots_cdf(self) -> FloatArray:
        return np.append(0.0, np.minimum(np.cumsum(self.bins), 1.0))

    def cdf(self, v: FloatArray) -> FloatArray:
        """F at `v` [DN of light], infinities allowed."""
        tail = 0.5 + np.arctan((v - self.tail_centre_dn) / self.tail_scale_dn) / np.pi
        body = self.below + (1 - self.below - self.above) * self._bins_cdf(v)
        body = np.where(np.isinf(v), v > 0, body)
        return np.asarray((1 - self.tail_weight) * body + self.tail_weight * tail)

    def mass(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """F(upper) - F(lower), with the tail's share free of cancellation."""
        low = np.where(np.isneginf(lower), -self.below, (1 - self.below - self.above) * self._bins_cdf(lower))
        high = np.where(np.isposinf(upper), 1 - self.below, (1 - self.below - self.above) * self._bins_cdf(upper))
        a = (np.clip(lower, -_FAR, _FAR) - self.tail_centre_dn) / self.tail_scale_dn
        b = (np.clip(upper, -_FAR, _FAR) - self.tail_centre_dn) / self.tail_scale_dn
        tail = np.arctan2(b - a, 1 + a * b) / np.pi
        return np.asarray((1 - self.tail_weight) * np.maximum(high - low, 0.0) + self.tail_weight * tail)

    def density(self, v: FloatArray) -> FloatArray:
        """dF/dv [1/DN] at finite `v`, for real-valued measurements."""
        position = (v - self.origin_dn) / self.step_dn
        inside = (position >= 0) & (position < self.bins.size)
        index = np.where(inside, position, 0.0).astype(np.int64)
        body = np.where(inside, self.bins[index], 0.0) * (1 - self.below - self.above) / self.step_dn
        t = (v - self.tail_centre_dn) / self.tail_scale_dn
        tail = 1 / (np.pi * self.tail_scale_dn * (1 + t * t))
        return np.asarray((1 - self.tail_weight) * body + self.tail_weight * tail)

    def weigh(self, patches: PatchSet) -> FloatArray:
        """Cell mass, or density for real-valued measurements, of each pixel, (n_patches, p*p)."""
        shape = (patches.n_patches, -1)
        codes = patches.codes
        same_cells = np.ndim(patches.offset_dn) == 0 and np.ndim(patches.relative_response) == 0
        if patches.discrete and same_cells and codes.dtype.kind in "iu":
            # All pixels of one code have one cell: as many masses as codes.
            low, high = int(codes.min()), int(codes.max())
            if high - low < codes.size // 4:
                every = np.arange(low, high + 1, dtype=np.int64).reshape(-1, 1, 1)
                first = replace(
                    patches, codes=every, frame_index=np.zeros(len(every), dtype=np.int64), place_class=None, cells=None
                )
                table = self.mass(first.lower_dn, first.upper_dn).ravel()
                return table[codes.reshape(shape).astype(np.int64) - low]
        if patches.discrete:
            return self.mass(patches.lower_dn, patches.upper_dn).reshape(shape)
        return self.density(patches.value_dn).reshape(shape)

    def _bins_cdf(self, v: FloatArray) -> FloatArray:
        position = np.clip((v - self.origin_dn) / self.step_dn, 0, self.bins.size)
        index = np.minimum(position.astype(np.int64), self.bins.size - 1)
        return np.asarray(self._knots_cdf[index] + (position - index) * self.bins[index])
