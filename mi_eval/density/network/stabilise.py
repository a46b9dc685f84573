"""Light on a scale on which its noise has standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mi_eval.density.gaussian import LEAST_SD
from mi_eval.density.patches import FloatArray, PatchSet


@dataclass(frozen=True)
class Stabiliser:
    r"""A strictly increasing map t of light, :math:`t'(v) = 1/\sigma(v)` with the noise's standard deviation sigma.

    .. math:: t(v) = \tfrac{2}{K}\big(\sqrt{Kv + c} - \sqrt c\big)\ (v \ge 0),\qquad v/\sqrt c\ (v < 0),
              \qquad c = R^2 + \tfrac38 K^2

    for shot noise of gain K and read noise R in units of light (Anscombe 1948, doi:10.1093/biomet/35.3-4.246); v/R
    without shot noise. Below zero light it goes on as a straight line: no two codes ever fall together.

    Parameters
    ----------
    gain_dn : float
        K; 0 without shot noise.
    floor_dn2 : float
        c, above 0.
    """

    gain_dn: float
    floor_dn2: float

    @classmethod
    def of(cls, patches: PatchSet) -> Stabiliser:
        """The map of the patches' camera; one scale for all light where the camera is unknown."""
        lattice = patches.lattice_dn or 0.0
        least = (LEAST_SD * lattice) ** 2
        camera = patches.cells
        if camera is None:
            variance = patches.noise_variance_dn2 - patches.rounding_variance_dn2
            return cls(0.0, max(variance, least) or _spread2(patches))
        gain = camera.gain_dn_per_e if camera.shot else 0.0
        floor = camera.read_noise_dn**2 + 0.375 * gain**2
        return cls(gain, max(floor, least) or _spread2(patches))

    def __call__(self, v: FloatArray) -> FloatArray:
        """t(v); infinities stay what they are."""
        root = np.sqrt(self.floor_dn2)
        if self.gain_dn == 0:
            return np.asarray(v / root)
        bright = np.maximum(v, 0.0)
        # 2/K (sqrt(Kv + c) - sqrt(c)) without its cancellation; inf/inf is inf.
        with np.errstate(invalid="ignore"):
            curved = 2 * bright / (np.sqrt(self.gain_dn * bright + self.floor_dn2) + root)
        curved = np.where(np.isposinf(v), np.inf, curved)
        return np.where(v < 0, v / root, curved)

    def slope(self, v: FloatArray) -> FloatArray:
        """t'(v), above 0."""
        return np.asarray(1 / np.sqrt(self.gain_dn * np.maximum(v, 0.0) + self.floor_dn2))


def _spread2(patches: PatchSet) -> float:
    """Without noise and lattice: a millionth of the values' variance."""
    return max(1e-6 * float(np.var(patches.value_dn)), 1e-300)
