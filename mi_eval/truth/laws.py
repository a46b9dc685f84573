"""Laws of one pixel's light: draws, and quadrature rules that integrate any code probability against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import gammainc, gammaincinv
from scipy.stats import gamma

from calibrate import PhotonbitsError
from mi_eval.truth.source import FloatArray

_OUTSIDE = 1e-16  # probability left out on each side of a continuous law
_PANEL_NODES = 16
# Gauss-Legendre panels span this much of 2 sqrt(y), in which shot noise has unit variance wherever it rules:
# 16 nodes on two standard deviations integrate such a blur to rounding error.
_PANEL_WIDTH = 2.0


class LightLaw(Protocol):
    """Law of the collected charge of a pixel, electrons."""

    def quantile(self, probability: FloatArray) -> FloatArray:
        """Charge below which this share of pixels lies, electrons; a draw, given uniform numbers."""

    def quadrature(self) -> tuple[FloatArray, FloatArray]:
        """Charges in ascending order and weights of sum 1: an expectation is the weighted sum."""


@dataclass(frozen=True)
class GammaLight:
    """Gamma law of given shape and mean; shape 1 is the exponential law of speckle."""

    shape: float
    mean_e: float

    def __post_init__(self) -> None:
        if not (self.shape >= 0.5 and self.mean_e > 0):
            raise PhotonbitsError(
                f"gamma law of shape {self.shape}, mean {self.mean_e} e-", legal="shape 0.5 or more, mean above 0"
            )

    def quantile(self, probability: FloatArray) -> FloatArray:
        """Inverse of the regularised incomplete gamma function."""
        return np.asarray(gammaincinv(self.shape, probability) * (self.mean_e / self.shape))

    def distribution(self, charge_e: FloatArray) -> FloatArray:
        """Probability of less charge than this."""
        return np.asarray(gammainc(self.shape, charge_e * (self.shape / self.mean_e)))

    def quadrature(self) -> tuple[FloatArray, FloatArray]:
        """Gauss-Legendre panels in the square root of the charge."""
        law = gamma(self.shape, scale=self.mean_e / self.shape)
        low, high = np.sqrt(law.ppf(_OUTSIDE)), np.sqrt(law.isf(_OUTSIDE))
        root, weight = _panels(float(low), float(high))
        # dF = f(v^2) 2 v dv
        mass = weight * 2 * root * law.pdf(root**2)
        return root**2, mass / mass.sum()


@dataclass(frozen=True)
class SparseLight:
    """Dark with probability ``dark_share``, else exponential light of mean ``bright_mean_e``."""

    dark_share: float
    bright_mean_e: float

    def __post_init__(self) -> None:
        if not (0 < self.dark_share < 1 and self.bright_mean_e > 0):
            raise PhotonbitsError(
                f"dark share {self.dark_share}, mean {self.bright_mean_e} e-", legal="a share in (0, 1), mean above 0"
            )

    def quantile(self, probability: FloatArray) -> FloatArray:
        """0 up to the dark share, then the exponential law."""
        bright = np.maximum(probability - self.dark_share, 0.0) / (1 - self.dark_share)
        return np.asarray(-self.bright_mean_e * np.log1p(-bright))

    def quadrature(self) -> tuple[FloatArray, FloatArray]:
        """The dark charge, then the panels of the exponential law."""
        charge, weight = GammaLight(1.0, self.bright_mean_e).quadrature()
        return np.append(0.0, charge), np.append(self.dark_share, (1 - self.dark_share) * weight)


@dataclass(frozen=True)
class LevelsLight:
    """A few levels of light with given shares."""

    levels_e: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        ascending = all(a < b for a, b in zip(self.levels_e[:-1], self.levels_e[1:], strict=True))
        if len(self.levels_e) != len(self.shares) or not ascending or min(self.levels_e) < 0:
            raise PhotonbitsError(f"levels {self.levels_e} e-", legal="ascending, 0 or more, one share each")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-12:
            raise PhotonbitsError(f"shares {self.shares}", legal="positive numbers of sum 1")

    def quantile(self, probability: FloatArray) -> FloatArray:
        """The level whose share the number falls into."""
        edges = np.cumsum(self.shares)[:-1]
        return np.asarray(self.levels_e)[np.searchsorted(edges, probability, side="right")]

    def quadrature(self) -> tuple[FloatArray, FloatArray]:
        """The levels and their shares."""
        return np.asarray(self.levels_e), np.asarray(self.shares)


def _panels(low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of composite Gauss-Legendre quadrature on [low, high]."""
    count = max(8, int(np.ceil(2 * (high - low) / _PANEL_WIDTH)))
    edges = np.linspace(low, high, count + 1)
    node, weight = np.polynomial.legendre.leggauss(_PANEL_NODES)
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half) + half * node
    return nodes.ravel(), np.broadcast_to(half * weight, nodes.shape).ravel()
