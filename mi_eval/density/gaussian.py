"""The stationary Gaussian: mean and autocovariance, coded by sequential innovations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular
from scipy.special import ndtr

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.cells import log_normal_cell, log_normal_density
from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet

Symmetry = Literal["none", "mirror", "transpose", "rotation"]

# Sampling pushes small eigenvalues down; 0.8 of the noise variance costs least (measured, DESIGN section 4).
_EIGENVALUE_FLOOR = 0.8
# Smallest conditional sd, in lattice steps: a constant signal must not give a sd of 0.
LEAST_SD = 0.05
# Weights of the broad component that are tried; the smallest caps an outlier at 17 bits above the histogram.
OUTLIER_WEIGHTS = 1e-5 * 10.0 ** (0.5 * np.arange(9))
# Shares of the rounding variance that are taken off: all of it is right above about 0.4 steps of noise.
_ROUNDING_SHARES = (1.0, 0.5, 0.0)
# Widths of the taper of the autocovariance [pixels], down to white noise.
_TAPERS = (24.0, 12.0, 6.0, 3.0, 1.5, 0.75, 0.05)
_TAPER_PIXELS = 1 << 18
# Pixels that decide on such scalars.
_TUNING_PIXELS = 1 << 19


@dataclass(frozen=True)
class PatchMoments:
    """First and second moments of patches as vectors of p*p pixels.

    ``scatter`` is the second moment about the global mean, (p*p, p*p) [DN^2], rounding variance in it.
    """

    n_patches: int
    patch_size: int
    global_mean_dn: float
    position_mean_dn: FloatArray
    scatter_dn2: FloatArray


def patch_moments(patches: PatchSet) -> PatchMoments:
    """Moments of `patches` in one pass over chunks."""
    n_pixels = patches.n_pixels
    pilot = float(np.mean(flat_values(patches.take(slice(0, 1)))))
    total, square = np.zeros(n_pixels), np.zeros((n_pixels, n_pixels))
    for chunk in patches.chunks():
        x = flat_values(chunk) - pilot
        total += x.sum(axis=0)
        square += x.T @ x
    mean = total / patches.n_patches
    centre = mean.mean()
    scatter = square / patches.n_patches - centre * (mean[:, None] + mean[None, :]) + centre**2
    return PatchMoments(patches.n_patches, patches.patch_size, pilot + centre, pilot + mean, scatter)


def lag_average(covariance: FloatArray, patch_size: int, symmetry: Symmetry = "none") -> FloatArray:
    r"""Return the block-Toeplitz matrix nearest to a covariance of patches (Frobenius norm).

    Entry (i, j) becomes the mean over all pixel pairs with the lag of (i, j). For a sample covariance
    about the global mean this is exactly the autocovariance estimate that is unbiased by lag counts,

    .. math:: \hat C(\ell) = \frac{1}{n\,(p-|\ell_y|)(p-|\ell_x|)} \sum_{k} \sum_i x_{k,i}\,x_{k,i+\ell}.

    `symmetry` averages over more: ``"mirror"`` lags that differ in signs, ``"transpose"`` also those with
    rows and columns exchanged, ``"rotation"`` all lags of one length.
    """
    lag = _lag_index(patch_size, symmetry)
    counts = np.bincount(lag.ravel())
    sums = np.bincount(lag.ravel(), weights=covariance.ravel())
    average = (sums / np.maximum(counts, 1))[lag]
    return np.asarray(0.5 * (average + average.T))


def _lag_index(patch_size: int, symmetry: Symmetry) -> NDArray[np.int64]:
    rows, columns = np.divmod(np.arange(patch_size**2), patch_size)
    dy, dx = rows[None, :] - rows[:, None], columns[None, :] - columns[:, None]
    if symmetry == "rotation":
        return np.asarray(dy**2 + dx**2, dtype=np.int64)
    if symmetry != "none":
        dy, dx = np.abs(dy), np.abs(dx)
    if symmetry == "transpose":
        dy, dx = np.minimum(dy, dx), np.maximum(dy, dx)
    return np.asarray((dy + patch_size) * (2 * patch_size) + dx + patch_size, dtype=np.int64)


def floor_eigenvalues(covariance_dn2: FloatArray, patches: PatchSet) -> FloatArray:
    """`covariance_dn2` (of codes) with no eigenvalue below what noise and rounding leave.

    Raises
    ------
    PhotonbitsError
        Real-valued measurements without any variance and without a noise variance.
    """
    values, vectors = eigh(covariance_dn2)
    floor = max(
        _EIGENVALUE_FLOOR * patches.noise_variance_dn2,
        # Without noise: the rounding error, and what keeps the Cholesky factor accurate.
        patches.rounding_variance_dn2 if patches.noise_variance_dn2 == 0 else 0.0,
        1e-10 * float(values[-1]),
    )
    if floor <= 0:
        raise PhotonbitsError(
            "measurements without any variance",
            where="codes",
            legal="real values that differ, or a noise variance above 0",
        )
    if values[0] >= floor:
        return covariance_dn2
    floored = (vectors * np.maximum(values, floor)) @ vectors.T
    return np.asarray(0.5 * (floored + floored.T))


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

    def log_parts(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Natural logs of the normal's cell and the histogram's mass (or densities), (n, p*p) each."""
        values = flat_values(patches)
        mean, _ = self.innovations.innovate(values)
        sd = np.broadcast_to(self.innovations.light_sd_dn(patches, self.rounding_share), values.shape)
        if patches.discrete:
            lower, upper = flat_edges(patches)
            normal = log_normal_cell(lower, upper, mean, sd)
        else:
            normal = log_normal_density(values, mean, sd)
        return normal, np.log(self.histogram.weigh(patches))

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        normal, broad = self.log_parts(patches)
        bits = mixed_bits(normal, broad, self.outlier_weight)
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


def mixed_bits(log_normal: FloatArray, log_broad: FloatArray, weight: float) -> FloatArray:
    """Bits of (1 - weight) exp(log_normal) + weight exp(log_broad)."""
    logs = np.logaddexp(np.log1p(-weight) + log_normal, np.log(weight) + log_broad)
    return np.asarray(logs / -np.log(2))


def fit_sequential_gaussian(
    name: str,
    mean_dn: FloatArray,
    covariance_dn2: FloatArray,
    histogram: LightHistogram,
    train: PatchSet,
    validation: PatchSet,
) -> FittedGaussian:
    """Floor and factor a covariance of codes; choose outlier weight and rounding share on `validation`."""
    innovations = Innovations.of(mean_dn, floor_eigenvalues(covariance_dn2, train))
    tuning = validation.thinned(_TUNING_PIXELS)
    # The share matters only where the lattice is coarse.
    coarse = float(innovations.sd_dn.min()) ** 2 < 6 * train.rounding_variance_dn2
    best: tuple[float, FittedGaussian] | None = None
    for share in _ROUNDING_SHARES if coarse else _ROUNDING_SHARES[:1]:
        draft = FittedGaussian(name, train.patch_size, innovations, histogram, share, OUTLIER_WEIGHTS[0])
        logs = [draft.log_parts(chunk) for chunk in tuning.chunks()]
        for weight in OUTLIER_WEIGHTS:
            bits = sum(float(mixed_bits(normal, broad, weight).sum()) for normal, broad in logs)
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

    The autocovariance is regularised where held-out codes ask for it; see `tapered_covariance`.
    """

    name: str = "stationary_gaussian"

    def fit(self, train: PatchSet, validation: PatchSet, seed: int) -> FittedGaussian:
        """Fit to `train`, choosing on `validation`; see `DensityFamily.fit`."""
        moments = patch_moments(train)
        mean = np.full(train.n_pixels, moments.global_mean_dn)
        histogram = fit_light_histogram(train, validation)
        covariance = tapered_covariance(mean, moments.scatter_dn2, histogram, train, validation)
        return fit_sequential_gaussian(self.name, mean, covariance, histogram, train, validation)


def tapered_covariance(
    mean_dn: FloatArray,
    scatter_dn2: FloatArray,
    histogram: LightHistogram,
    train: PatchSet,
    validation: PatchSet,
) -> FloatArray:
    """Return the stationary covariance nearest to `scatter_dn2`, regularised as `validation` prefers.

    Distant lags of few patches are mostly noise: symmetries and a Gaussian taper (which keeps a covariance
    positive definite) are used where held-out codes get shorter by it.
    """
    tuning = validation.thinned(_TAPER_PIXELS)

    def bits(covariance_dn2: FloatArray) -> float:
        draft = fit_sequential_gaussian("draft", mean_dn, covariance_dn2, histogram, train, tuning)
        return float(draft.code_length_bits(tuning).sum())

    candidates = [lag_average(scatter_dn2, train.patch_size, symmetry) for symmetry in get_args(Symmetry)]
    lengths = [bits(candidate) for candidate in candidates]
    best, shortest = candidates[int(np.argmin(lengths))], min(lengths)
    distance2, stationary = squared_distance(train.patch_size), best
    for width in _TAPERS:
        tapered = stationary * np.exp(-0.5 * distance2 / width**2)
        length = bits(tapered)
        if length >= shortest:  # narrower tapers only cut more
            break
        best, shortest = tapered, length
    return best


def squared_distance(patch_size: int) -> FloatArray:
    """Squared distance of every pair of pixels of a patch, (p*p, p*p) [pixels^2]."""
    rows, columns = np.divmod(np.arange(patch_size**2), patch_size)
    return np.asarray((rows[:, None] - rows) ** 2.0 + (columns[:, None] - columns) ** 2.0)
