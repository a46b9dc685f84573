"""Gaussian fields of known spectrum: objects whose information has a closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape, require


@dataclass(frozen=True)
class GaussianTexture(ObjectPrior):
    r"""Gaussian field on the torus with spectrum :math:`S(f) \propto (1 + (f/f_0)^2)^{-\alpha}`, variance 1.

    Parameters
    ----------
    corner : float
        :math:`f_0`, cycles per pixel.
    exponent : float
        :math:`\alpha`; 1.5 is an exponential correlation in the plane.
    """

    kind: ClassVar[str] = "gaussian_texture"
    signed: ClassVar[bool] = True

    corner: float = 0.05
    exponent: float = 1.5

    def __post_init__(self) -> None:
        ok = self.corner > 0 and self.exponent >= 0
        require(self.kind, "corner above 0, exponent 0 or more", ok, corner=self.corner, exponent=self.exponent)

    def spectrum(self, shape: Shape) -> FloatArray:
        """Power spectrum with mean 1, (height, width), FFT order."""
        rows, columns = np.fft.fftfreq(shape[1]), np.fft.fftfreq(shape[2])
        square = np.add.outer(rows**2, columns**2)
        power = (1 + square / self.corner**2) ** -self.exponent
        return np.asarray(power / power.mean())

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """White noise through the root of the spectrum, planes independent."""
        white = rng.standard_normal((n, *shape))
        return np.asarray(np.fft.ifft2(np.fft.fft2(white) * np.sqrt(self.spectrum(shape))).real)

    def describe(self) -> str:
        """Say what the fields are."""
        return (
            "Gaussian fields on the torus, variance 1, spectrum falling as "
            f"(1 + (f/{self.corner:g})^2)^-{self.exponent:g} with f in cycles per pixel."
        )
