"""The stationary Gaussian: mean and autocovariance, coded by sequential innovations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr

from mi_eval.density.basis import GaussianBasis, gaussian_basis
from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet

# Smallest conditional sd, in lattice steps: a constant signal must not give a sd of 0.
LEAST_SD = 0.05
# Weights of the broad component that are tried; the smallest caps an outlier at 17 bits above the histogram.
OUTLIER_WEIGHTS = 1e-5 * 10.0 ** (0.5 * np.arange(9))
# Shares of the rounding variance that are taken off: all of it is right above about 0.4 steps of noise.
_ROUNDING_SHARES = (1.0, 0.5, 0.0)
# Pixels that decide on such scalars.
_TUNING_PIXELS = 1 << 17


@dataclass(frozen=True)
class Innovations:
    r"""Conditional means of a Gaussian in raster order.

    With covariance :math:`L L^T` and :math:`e = L^{-1}(x - m)`, the mean of pixel i given earlier pixels is
    :math:`x_i - L_{ii} e_i` and its sd :math:`L_{ii}`.
    """

    mean_dn: FloatArray
    cholesky_dn: FloatArray

    @classmethod
    def of(cls, mean_dn: FloatArray, covariance_dn2: FloatArray) -> Innovations:
        """Factor `covariance_dn2`."""
        return cls(mean_dn, cholesky(covariance_dn2, lower=True))

    @property
    def sd_dn(self) -> FloatArray:
        """Conditional sd of each code (rounding in it), (p*p,)."""
        return np.diag(self.cholesky_dn)

    def innovate(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Conditional means and standardised innovations of `values`, (n, p*p) each."""
        e = solve_triangular(self.cholesky_dn, (values - self.mean_dn).T, lower=True, check_finite=False).T
        return values - self.sd_dn * e, e

    def light_sd_dn(self, patches: PatchSet, rounding_share: float) -> FloatArray:
        r"""Conditional sd of the light in a cell, (p*p,): :math:`\sqrt{L_{ii}^2 - \Delta^2/12}`.

        The past is known in rounded form, so rounding variance belongs into the covariance that
        conditions; integrating over the cell adds the present pixel's own once more (Sheppard 1898).
        """
        if patches.lattice_dn is None:
            return self.sd_dn
        variance = self.sd_dn**2 - rounding_share * patches.rounding_variance_dn2
        return np.sqrt(np.maximum(variance, (LEAST_SD * patches.lattice_dn) ** 2))


@dataclass(frozen=True)
class FittedGaussian(FittedDensity):
    r"""Sequential Gaussian cells with a little of the code histogram mixed in.

    .. math:: q(z_i|z_{<i}) = (1-\epsilon)\,[\Phi(b_i) - \Phi(a_i)] + \epsilon\,h(z_i)

    A proper code for every epsilon, in which no outlier costs more than -log2(epsilon h).
    """

    name: str
    patch_size: int
    innovations: Innovations
    histogram: LightHistogram
    rounding_share: float
    outlier_weight: float

    def parts(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Masses (or densities) of the normal, which may underflow, and of the histogram, (n, p*p) each."""
        values = flat_values(patches)
        mean, _ = self.innovations.innovate(values)
        sd = np.broadcast_to(self.innovations.light_sd_dn(patches, self.rounding_share), values.shape)
        if patches.discrete:
            normal = normal_cell_mass(*flat_edges(patches), mean, sd)
        else:
            normal = np.exp(log_normal_density(values, mean, sd))
        return normal, self.histogram.weigh(patches)

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        bits = mixed_bits(*self.parts(patches), self.outlier_weight)
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        values = flat_values(patches)
        mean, _ = self.innovations.innovate(values)
        sd = self.innovations.light_sd_dn(patches, self.rounding_share)

        def cdf(v: FloatArray) -> FloatArray:
            normal = ndtr((v - mean) / sd)
            return np.asarray(normal + self.outlier_weight * (self.histogram.cdf(v) - normal))

        if not patches.discrete:
            u = cdf(values)
            return u, u
        lower, upper = flat_edges(patches)
        return cdf(lower), cdf(upper)


def mixed_bits(normal: FloatArray, broad: FloatArray, weight: float) -> FloatArray:
    """Bits of (1 - weight) normal + weight broad."""
    mass = (1 - weight) * normal
    mass += weight * broad
    return np.asarray(-np.log2(mass))


def fit_sequential_gaussian(
    name: str,
    mean_dn: FloatArray,
    covariance_dn2: FloatArray,
    histogram: LightHistogram,
    train: PatchSet,
    validation: PatchSet,
) -> FittedGaussian:
    """Factor a floored covariance of codes; choose outlier weight and rounding share on `validation`."""
    innovations = Innovations.of(mean_dn, covariance_dn2)
    tuning = validation.thinned(_TUNING_PIXELS)
    # The share matters only where the lattice is coarse.
    coarse = float(innovations.sd_dn.min()) ** 2 < 6 * train.rounding_variance_dn2
    best: tuple[float, FittedGaussian] | None = None
    for share in _ROUNDING_SHARES if coarse else _ROUNDING_SHARES[:1]:
        draft = FittedGaussian(name, train.patch_size, innovations, histogram, share, OUTLIER_WEIGHTS[0])
        masses = [draft.parts(chunk) for chunk in tuning.chunks()]
        for weight in OUTLIER_WEIGHTS:
            bits = sum(float(mixed_bits(normal, broad, weight).sum()) for normal, broad in masses)
            if best is None or bits < best[0]:
                best = (
                    bits,
                    FittedGaussian(name, train.patch_size, innovations, histogram, share, float(weight)),
                )
    if best is None:
        raise ValueError("no candidate was tried")
    return best[1]


@dataclass(frozen=True)
class StationaryGaussian:
    """A Gaussian field with one mean and an autocovariance, eigenvalues floored at 0.8 of the noise.

    The autocovariance is regularised where held-out patches ask for it; see `choose_stationary`.
    """

    name: str = "stationary_gaussian"

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, basis: GaussianBasis | None = None
    ) -> FittedGaussian:
        """Fit to `train`, choosing on `validation`; `basis`, if learnt already from the same, is not learnt again."""
        basis = gaussian_basis(train, validation) if basis is None else basis
        return fit_sequential_gaussian(
            self.name, basis.mean_dn, basis.stationary_dn2, basis.histogram, train, validation
        )
