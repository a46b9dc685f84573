"""Stationary Gaussian fields on a square of pixels: covariance and draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.truth.source import FloatArray


@dataclass(frozen=True)
class Correlation:
    r"""Correlation of two pixels at distance d: :math:`\rho(d) = \exp(-(d/\ell)^\alpha)`.

    The powered exponential is positive definite in the plane for :math:`0 < \alpha \le 2` (Yaglom 1987). Exponent 1
    gives rough fields; 2 gives fields as smooth as a blurred image, most of whose modes lie below any noise.

    Parameters
    ----------
    length_px : float
        :math:`\ell`, pixels.
    exponent : float
        :math:`\alpha`.
    """

    length_px: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if not self.length_px > 0:
            raise PhotonbitsError(f"correlation length {self.length_px}", legal="above 0 pixels")
        if not 0 < self.exponent <= 2:
            raise PhotonbitsError(f"correlation exponent {self.exponent}", legal="above 0, up to 2")

    def matrix(self, patch_size: int) -> FloatArray:
        """Correlation matrix of a patch, (p*p, p*p), pixels in raster order."""
        row, column = np.divmod(np.arange(patch_size**2), patch_size)
        distance = np.hypot(np.subtract.outer(row, row), np.subtract.outer(column, column))
        return np.asarray(np.exp(-((distance / self.length_px) ** self.exponent)))

    def eigenvalues(self, patch_size: int) -> FloatArray:
        """Eigenvalues of the correlation matrix, ascending; rounding errors below 0 are taken as 0."""
        return np.asarray(np.maximum(np.linalg.eigvalsh(self.matrix(patch_size)), 0.0))

    def draw(self, n: int, patch_size: int, rng: np.random.Generator) -> FloatArray:
        """Fields of mean 0 and variance 1, (n, p, p)."""
        values, vectors = np.linalg.eigh(self.matrix(patch_size))
        # The symmetric root: signs and order of the vectors differ between machines, and would give other fields.
        root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
        field = rng.standard_normal((n, patch_size**2)) @ root
        return np.asarray(field.reshape(n, patch_size, patch_size))
