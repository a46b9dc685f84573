"""The one interface of density models: a family is a declaration, fitting it gives a sequential code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from mi_eval.density.patches import FloatArray, PatchSet


class FittedDensity(ABC):
    r"""A density that codes patches pixel by pixel in raster order.

    Every pixel costs :math:`-\log_2 q(z_i \mid z_{<i})` bits, where :math:`q(\cdot \mid z_{<i})` is a
    probability mass function over all codes (cells of light, outermost ones open), so the mean over
    held-out patches is an upper bound of H(Z). Real-valued measurements cost minus log2 of a density per
    DN, and may be negative.
    """

    name: str
    patch_size: int

    @abstractmethod
    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        """Bits of each pixel, (n, p*p), of one chunk."""

    @abstractmethod
    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Conditional cdf at the cell edges, twice (n, p*p), of one chunk."""

    def pixel_code_length_bits(self, patches: PatchSet) -> FloatArray:
        """Bits of each pixel given the causal past, (n_patches, p*p), raster order."""
        self._check(patches)
        return np.concatenate([self._pixel_bits(chunk) for chunk in patches.chunks()])

    def code_length_bits(self, patches: PatchSet) -> FloatArray:
        """Bits of each patch, (n_patches,); divide by p*p for bits per pixel."""
        self._check(patches)
        return np.concatenate([self._pixel_bits(chunk).sum(axis=1) for chunk in patches.chunks()])

    def conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Return the conditional cdf, given the causal past, at both edges of each code's cell.

        Returns
        -------
        u_low, u_high : (n_patches, p*p) each
            Raster order. Equal for real-valued measurements.
        """
        self._check(patches)
        shape = (patches.n_patches, patches.n_pixels)
        u_low, u_high = np.empty(shape), np.empty(shape)
        start = 0
        for chunk in patches.chunks():
            part = slice(start, start + chunk.n_patches)
            u_low[part], u_high[part] = self._conditional_cdf(chunk)
            start += chunk.n_patches
        return u_low, u_high

    def _check(self, patches: PatchSet) -> None:
        if patches.patch_size != self.patch_size:
            raise ValueError(f"{self.name}: fitted to patches of {self.patch_size}, asked for {patches.patch_size}")


class DensityFamily(Protocol):
    """A frozen declaration of a family: its options, its name, and how to fit it."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    def fit(self, train: PatchSet, validation: PatchSet, seed: int) -> FittedDensity:
        """Fit to `train`; `validation` chooses smoothing, shrinkage and guards against outliers."""
        ...


class NetworkFamily(DensityFamily, Protocol):
    """A family of networks."""

    @property
    def learnt_by_chance(self) -> float:
        """Share of the cost of all parameters that is left after the finite-sample correction, at most (measured)."""
        ...


def flat_values(patches: PatchSet) -> FloatArray:
    """`value_dn` as (n_patches, p*p)."""
    return patches.value_dn.reshape(patches.n_patches, -1)


def flat_edges(patches: PatchSet) -> tuple[FloatArray, FloatArray]:
    """Cell edges as (n_patches, p*p) each."""
    shape = (patches.n_patches, -1)
    return patches.lower_dn.reshape(shape), patches.upper_dn.reshape(shape)
