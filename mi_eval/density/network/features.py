"""What the causal network is told about a pixel: stabilised neighbours, Gaussian innovations, prediction, energies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mi_eval.density.causal_context import log_energies
from mi_eval.density.interface import flat_values
from mi_eval.density.network.stabilise import Stabiliser
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.scale_mixture import FittedScaleMixture

SingleArray = NDArray[np.float32]

RADIUS = 4
#: (row, column) offsets of the 40 nearest earlier pixels in raster order.
NEIGHBOURS = tuple(
    (dy, dx) for dy in range(-RADIUS, 1) for dx in range(-RADIUS, RADIUS + 1) if dy < 0 or (dy == 0 and dx < 0)
)
# Innovations and differences beyond this many standard deviations are compressed.
_LINEAR_SD = 3.0
# The least predicted standard deviation, in those of the noise.
_LEAST_SD = 0.3


@dataclass(frozen=True)
class Features:
    """Per-pixel inputs of a set of patches, float32, (n, p*p) each.

    Parameters
    ----------
    stabilised : pixels in units of their noise
    innovation : compressed Gaussian innovations
    mean, sd : what the Gaussian predicts, in units of the noise
    context : (n, p*p, 6)
        Predicted level, log of its sd, four log energies of past innovations.
    """

    stabilised: SingleArray
    innovation: SingleArray
    mean: SingleArray
    sd: SingleArray
    context: SingleArray


@dataclass(frozen=True)
class FeatureMap:
    """How `Features` are computed: the fitted Gaussian, the stabiliser, and the scale of the light."""

    base: FittedScaleMixture
    stabiliser: Stabiliser
    centre: float
    spread: float

    @classmethod
    def of(cls, base: FittedScaleMixture, train: PatchSet) -> FeatureMap:
        """Centre and spread of the stabilised light from training patches."""
        stabiliser = Stabiliser.of(train)
        x = stabiliser(flat_values(train.thinned(1 << 18)))
        low, centre, high = np.quantile(x, [0.1, 0.5, 0.9])
        return cls(base, stabiliser, float(centre), max(float(high - low) / 2.563, 1.0))

    def __call__(self, patches: PatchSet) -> Features:
        """Features of `patches`, in chunks."""
        parts = [self._of_chunk(chunk) for chunk in patches.chunks()]
        return Features(*(np.concatenate([part[i] for part in parts]) for i in range(5)))

    def _of_chunk(self, patches: PatchSet) -> tuple[SingleArray, ...]:
        mean_dn, sd_dn = self.base.predict(patches)
        values = flat_values(patches)
        innovation = (values - mean_dn) / sd_dn
        # In units of the noise far from 0 float32 would lose the differences: centred first.
        x = self.stabiliser(values) - self.centre
        mean = self.stabiliser(mean_dn) - self.centre
        sd = np.maximum(sd_dn * self.stabiliser.slope(mean_dn), _LEAST_SD)
        energies = log_energies(innovation, patches.patch_size)
        level, log_sd = compress(mean / self.spread), np.log(sd) - np.log(self.spread)
        context = np.stack([level, 0.5 * log_sd, *energies], axis=2)
        return tuple(a.astype(np.float32) for a in (x, compress(innovation), mean, sd, context))


def compress(x: FloatArray) -> FloatArray:
    """x near 0, logarithmic beyond `_LINEAR_SD`."""
    return np.asarray(_LINEAR_SD * np.arcsinh(x / _LINEAR_SD))


def border(patch_size: int) -> SingleArray:
    """1 where a neighbour lies inside the patch, (p*p, 40)."""
    rows, columns = np.divmod(np.arange(patch_size**2), patch_size)
    inside = [(rows + dy >= 0) & (columns + dx >= 0) & (columns + dx < patch_size) for dy, dx in NEIGHBOURS]
    return np.stack(inside, axis=1).astype(np.float32)
