"""Covariances of patches: moments, the stationary part, eigenvalues that noise allows, and how far to trust lags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.density.interface import flat_values
from mi_eval.density.patches import FloatArray, PatchSet

Symmetry = Literal["none", "mirror", "transpose", "rotation"]

# Sampling pushes small eigenvalues down; 0.8 of the noise variance costs least (measured, DESIGN section 4).
_EIGENVALUE_FLOOR = 0.8
# Widths of the taper of the autocovariance [pixels], down to white noise.
_TAPERS = (24.0, 12.0, 6.0, 3.0, 1.5, 0.75, 0.05)
#: Patches of more pixels are too large for eigenvectors of their covariance (40 x 40: a few seconds each).
MOST_DENSE_PIXELS = 1600
# Pixels that judge a covariance.
_JUDGING_PIXELS = 1 << 18
# A squared innovation counts at most this much there: one outlier must not choose the covariance.
_LARGEST_ENERGY = 60.0


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


def noise_floor(largest_dn2: float, patches: PatchSet) -> float:
    """Least eigenvalue that noise and rounding leave to a covariance of codes [DN^2].

    Raises
    ------
    PhotonbitsError
        Real-valued measurements without any variance and without a noise variance.
    """
    floor = max(
        _EIGENVALUE_FLOOR * patches.noise_variance_dn2,
        # Without noise: the rounding error, and what keeps the Cholesky factor accurate.
        patches.rounding_variance_dn2 if patches.noise_variance_dn2 == 0 else 0.0,
        1e-10 * largest_dn2,
    )
    if floor <= 0:
        raise PhotonbitsError(
            "measurements without any variance",
            where="codes",
            legal="real values that differ, or a noise variance above 0",
        )
    return floor


def floor_eigenvalues(covariance_dn2: FloatArray, patches: PatchSet) -> FloatArray:
    """`covariance_dn2` (of codes) with no eigenvalue below `noise_floor`."""
    largest = float(np.abs(covariance_dn2).sum(axis=1).max())  # no eigenvalue is larger
    floor = noise_floor(largest, patches)
    shifted = covariance_dn2.copy()
    shifted.flat[:: len(shifted) + 1] -= floor
    try:
        cholesky(shifted, lower=True, check_finite=False)  # a tenth of the work of the eigenvalues
    except LinAlgError:
        values, vectors = eigh(covariance_dn2)
        floored = (vectors * np.maximum(values, floor)) @ vectors.T
        return np.asarray(0.5 * (floored + floored.T))
    return covariance_dn2


def floor_spectrum(stationary_dn2: FloatArray, patches: PatchSet) -> FloatArray:
    """A stationary covariance whose spectrum on a torus of twice the patch's size is nowhere below `noise_floor`.

    Its eigenvalues are then not below either, because patches are parts of the torus. Stricter than
    `floor_eigenvalues`, and no work for large patches.
    """
    size, n_pixels = patches.patch_size, patches.n_pixels
    floor = noise_floor(float(np.abs(stationary_dn2[0]).sum()), patches)
    # The first row holds lags to the right and down; to the left and down follow from the pixel at the row's end.
    lags = np.zeros((2 * size, 2 * size))
    right = stationary_dn2[0].reshape(size, size)
    left = stationary_dn2[size - 1].reshape(size, size)
    lags[:size, :size] = right
    lags[:size, size + 1 :] = left[:, :-1]
    down = np.arange(1, size)
    lags[2 * size - down, 1:size] = left[down, :-1][:, ::-1]
    lags[2 * size - down, 0] = right[down, 0]
    lags[2 * size - down, size + 1 :] = right[down, 1:][:, ::-1]
    spectrum = np.fft.fft2(lags).real
    if spectrum.min() >= floor:
        return stationary_dn2
    floored = np.fft.ifft2(np.maximum(spectrum, floor)).real
    row, column = np.divmod(np.arange(n_pixels), size)
    return np.asarray(floored[row[None, :] - row[:, None], column[None, :] - column[:, None]])


@dataclass(frozen=True)
class CovarianceJudge:
    """Held-out patches that say which of several covariances is best."""

    values_dn: FloatArray

    @classmethod
    def of(cls, validation: PatchSet) -> CovarianceJudge:
        """Judge by a share of `validation`."""
        return cls(flat_values(validation.thinned(_JUDGING_PIXELS)))

    def nats(self, mean_dn: FloatArray, covariance_dn2: FloatArray) -> float:
        r"""Nats per patch of the Gaussian, :math:`\sum_i \log L_{ii} + e_i^2/2`, rounding left to the covariance."""
        factor = cholesky(covariance_dn2, lower=True, check_finite=False)
        e = solve_triangular(factor, (self.values_dn - mean_dn).T, lower=True, check_finite=False)
        np.square(e, out=e)
        return float(np.log(np.diag(factor)).sum() + 0.5 * np.minimum(e, _LARGEST_ENERGY).sum() / len(self.values_dn))


@dataclass(frozen=True)
class StationaryChoice:
    """Symmetry and taper [pixels; infinite: none] that make a stationary covariance of second moments."""

    symmetry: Symmetry
    taper_px: float = np.inf

    def covariance(self, scatter_dn2: FloatArray, patches: PatchSet) -> FloatArray:
        """Stationary covariance nearest to `scatter_dn2`, tapered, eigenvalues floored."""
        stationary = lag_average(scatter_dn2, patches.patch_size, self.symmetry)
        if np.isfinite(self.taper_px):
            stationary = stationary * np.exp(-0.5 * squared_distance(patches.patch_size) / self.taper_px**2)
        if patches.n_pixels > MOST_DENSE_PIXELS:
            return floor_spectrum(stationary, patches)
        return floor_eigenvalues(stationary, patches)


def choose_stationary(
    mean_dn: FloatArray, scatter_dn2: FloatArray, train: PatchSet, judge: CovarianceJudge
) -> tuple[StationaryChoice, FloatArray]:
    """Return the stationary covariance nearest to `scatter_dn2`, regularised as held-out patches prefer.

    Distant lags of few patches are mostly noise: symmetries and a Gaussian taper (which keeps a covariance
    positive definite) are used where held-out patches get likelier by it.
    """

    def judged(choice: StationaryChoice) -> tuple[float, StationaryChoice, FloatArray]:
        covariance = choice.covariance(scatter_dn2, train)
        return judge.nats(mean_dn, covariance), choice, covariance

    large = train.n_pixels > MOST_DENSE_PIXELS
    symmetries: tuple[Symmetry, ...] = ("none",) if large else get_args(Symmetry)
    best = min((judged(StationaryChoice(symmetry)) for symmetry in symmetries), key=lambda entry: entry[0])
    for width in _TAPERS[1::2] if large else _TAPERS:
        tapered = judged(StationaryChoice(best[1].symmetry, width))
        if tapered[0] >= best[0]:  # narrower tapers only cut more
            break
        best = tapered
    return best[1], best[2]


def squared_distance(patch_size: int) -> FloatArray:
    """Squared distance of every pair of pixels of a patch, (p*p, p*p) [pixels^2]."""
    rows, columns = np.divmod(np.arange(patch_size**2), patch_size)
    return np.asarray((rows[:, None] - rows) ** 2.0 + (columns[:, None] - columns) ** 2.0)
