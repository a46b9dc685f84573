"""What neighbouring pixels have in common: correlation of normal scores, of the codes and of the light behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BISECTIONS = 40
_LARGEST = 0.99999


@dataclass(frozen=True)
class Lags:
    """Pairs of pixels of a patch by distance, and by place in the mosaic.

    Parameters
    ----------
    label : ndarray (p*p, p*p)
        Number of each pair's kind; a pair and its mirror image have the same.
    first, second : ndarray (n_labels,)
        Channel of the two pixels.
    row_step : ndarray (n_labels,)
        Rows between them; pairs within a row have 0.
    self_pair : ndarray (n_labels,) of bool
    place : ndarray (p*p,)
        Channel of each pixel.
    """

    label: IntArray
    first: IntArray
    second: IntArray
    row_step: IntArray
    self_pair: NDArray[np.bool_]
    place: IntArray

    @classmethod
    def of(cls, patch_size: int, channel: IntArray, period: tuple[int, int]) -> Lags:
        """Pairs in a patch whose pixels belong to ``channel`` (p, p), repeating with ``period``."""
        row, column = np.divmod(np.arange(patch_size**2), patch_size)
        i, j = np.broadcast_arrays(np.arange(patch_size**2)[:, None], np.arange(patch_size**2)[None, :])
        low, high = np.minimum(i, j), np.maximum(i, j)
        dy, dx = row[high] - row[low], column[high] - column[low]
        phase = (row[low] % period[0]) * period[1] + column[low] % period[1]
        key = ((phase * patch_size + dy) * 2 * patch_size + dx + patch_size).astype(np.int64)
        _, example, label = np.unique(key.ravel(), return_index=True, return_inverse=True)
        a, b = low.ravel()[example], high.ravel()[example]
        flat = channel.ravel()
        return cls(
            label=label.reshape(key.shape).astype(np.int64),
            first=flat[a],
            second=flat[b],
            row_step=(row[b] - row[a]).astype(np.int64),
            self_pair=a == b,
            place=flat,
        )

    def sums(self, products: FloatArray) -> FloatArray:
        """Sum of a (p*p, p*p) matrix over each kind of pair."""
        return np.asarray(np.bincount(self.label.ravel(), weights=products.ravel(), minlength=self.first.size))

    @property
    def counts(self) -> FloatArray:
        """Pairs of each kind."""
        return np.asarray(np.bincount(self.label.ravel(), minlength=self.first.size), dtype=np.float64)

    def matrix(self, by_label: FloatArray) -> FloatArray:
        """The (p*p, p*p) correlation matrix with these values and ones on the diagonal."""
        out = by_label[self.label]
        out[np.diag_indices_from(out)] = 1.0
        return np.asarray(out)


def product_of(lags: Lags, reliability: FloatArray) -> FloatArray:
    """Coefficients a_k(first) a_k(second) of every kind of pair, (order, n_labels); reliability (n_channels, order)."""
    return np.asarray((reliability[lags.first] * reliability[lags.second]).T)


def codes_from_light(coefficients: FloatArray, light: FloatArray) -> FloatArray:
    """Correlation of codes: sum_k c_k r^k (Mehler), r that of the light's normal scores; (n_labels,)."""
    out = np.zeros_like(light)
    for row in coefficients[::-1]:
        out = (out + row) * light
    return out


def light_from_codes(coefficients: FloatArray, codes: FloatArray) -> FloatArray:
    """The light's correlation for which `codes_from_light` gives ``codes``; bisection, within (-1, 1)."""
    low, high = np.full_like(codes, -_LARGEST), np.full_like(codes, _LARGEST)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        above = codes_from_light(coefficients, middle) < codes
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(0.5 * (low + high))


def nearest_correlation(matrix: FloatArray) -> FloatArray:
    """The matrix with no eigenvalue below 0, and ones on the diagonal again."""
    values, vectors = eigh(matrix)
    if values[0] < 0:
        matrix = (vectors * np.maximum(values, 0.0)) @ vectors.T
        scale = 1 / np.sqrt(np.diag(matrix))
        matrix = matrix * scale * scale[:, None]
    return np.asarray(matrix)


def log2_determinant(correlation: FloatArray) -> float:
    """Binary log of the determinant, per pixel; minus twice the bits that the pixels have in common."""
    sign, value = np.linalg.slogdet(correlation)
    if sign <= 0:
        return float(np.mean(np.log2(np.maximum(np.linalg.eigvalsh(correlation), 1e-9))))
    return float(value / np.log(2) / len(correlation))
