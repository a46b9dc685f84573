"""Whether a probability integral transform is uniform: how sure that is, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

FloatArray = NDArray[np.float64]

#: A misfit matters from this loss of information on, bit per pixel: a variance wrong by 7 % costs as much.
LARGEST_LOSS_BITS = 0.002
#: ... and is believed where chance makes it once in a million.
TRANSFORM_LEVEL = 1e-6
#: Differences from which on the chi-square's tail may be trusted.
_ENOUGH = 1000


@dataclass(frozen=True)
class TransformTest:
    """Test of one histogram of transforms for uniformity.

    Parameters
    ----------
    n : int
        Differences counted.
    p_value : float
        Of Pearson's chi-square over the bins.
    distance : float
        Largest distance between the distribution function and the uniform one (Kolmogorov), at the bins' edges.
    loss_bits : float
        Information lost per pixel by taking the model's law for the true one: the divergence of the histogram from
        uniform, less what chance adds, (bins - 1)/(2 n ln 2). Can be slightly negative.
    shape_loss_bits : float
        The same without the part that a wrong variance makes.
    """

    n: int
    p_value: float
    distance: float
    loss_bits: float
    shape_loss_bits: float

    @property
    def disagrees(self) -> bool:
        """Whether the law is wrong beyond chance, and by an amount that matters."""
        return self.n >= _ENOUGH and self.p_value < TRANSFORM_LEVEL and self.loss_bits > LARGEST_LOSS_BITS

    @property
    def shape_disagrees(self) -> bool:
        """Whether it is wrong in more than its variance."""
        return self.disagrees and self.shape_loss_bits > LARGEST_LOSS_BITS


def examine_transform(histogram: NDArray[np.int64]) -> TransformTest:
    """Test a histogram of transforms for uniformity.

    Notes
    -----
    To second order the divergence is sum_b B (p_b - 1/B)^2 / (2 ln 2) bits. A law with a variance wrong by the
    share e has p_b - 1/B = (e/2) g_b, with g_b the integral of x^2 - 1 over bin b of the normal law; that direction
    is taken out for ``shape_loss_bits``.
    """
    count = histogram.astype(np.float64)
    n, bins = float(count.sum()), count.size
    if n == 0:
        return TransformTest(0, 1.0, 0.0, 0.0, 0.0)
    share = count / n
    statistic = float(np.sum((count - n / bins) ** 2) / (n / bins))
    distance = float(np.max(np.abs(np.cumsum(share) - np.arange(1, bins + 1) / bins)))
    chance = float(1.0 / (2 * n * np.log(2)))
    some = share > 0
    loss = float(np.sum(share[some] * np.log2(share[some] * bins))) - (bins - 1) * chance
    edges = ndtri(np.arange(1, bins) / bins)
    # The integral of (x^2 - 1) phi is -x phi.
    inner = -edges * np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi)
    wide = np.diff(np.concatenate([[0.0], inner, [0.0]]))
    wide /= np.sqrt(wide @ wide)
    rest = share - 1 / bins
    rest = rest - (rest @ wide) * wide
    shape = float(bins * (rest @ rest) / (2 * np.log(2))) - (bins - 2) * chance
    return TransformTest(int(n), float(chdtrc(bins - 1, statistic)), distance, loss, shape)
