"""The probability integral transform of codes given their past: where and how far a density is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mi_eval.density.causal_context import NEAR, RING, causal_sum
from mi_eval.density.patches import FloatArray

# Bins of u, denser in the tails, where misfit of a scale shows first.
_HALF = np.array([1 / 256, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 3 / 8])
U_EDGES = np.concatenate([[0.0], _HALF, [0.5], 1 - _HALF[::-1], [1.0]])
_N_ENERGY, _N_MEAN = 8, 4
# Pseudo-count of the uniform law in each context, spread over the bins by their width.
_PRIOR = 16.0
_NULL_DRAWS = 100


@dataclass(frozen=True)
class RecoverableBits:
    """Bits per pixel that recalibrating a density by causal context would save.

    Attributes
    ----------
    bits_per_pixel : float
        Held-out gain plus the finite-sample cost of the fitted tables; slightly negative by chance when
        nothing can be gained. An estimate of misfit from below: other contexts may find more.
    std : float
        Standard error, from the scatter between frames (between patches for a single frame).
    heldout_bits_per_pixel : float
        The gain on frames that the tables were not fitted to, uncorrected.
    """

    bits_per_pixel: float
    std: float
    heldout_bits_per_pixel: float


def randomised_pit(u_low: FloatArray, u_high: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw u uniformly between the conditional cdfs at the two edges of each cell.

    Independent and uniform on (0, 1) exactly when the model is true (Brockwell 2007,
    doi:10.1016/j.spl.2007.02.008). Real-valued measurements have ``u_low == u_high``.
    """
    return np.asarray(u_low + rng.random(u_low.shape) * (u_high - u_low))


def estimate_recoverable_bits(u: FloatArray, frame_index: NDArray[np.int64]) -> RecoverableBits:
    r"""Estimate the misfit of a density that shows in its probability integral transform.

    Pixels are sorted into 8 x 4 contexts, by the energy and the mean of the normal scores
    :math:`\Phi^{-1}(u)` of twelve earlier neighbours. With the law p(bin | context) fitted to one half of
    the frames, pixels of the other half save

    .. math:: \log_2 \frac{p(\mathrm{bin}(u)\,|\,c)}{\mathrm{width}(\mathrm{bin}(u))}

    bits each: recalibrating u that way is a valid code, so the mean is a gain that chance cannot fake. The
    halves then change places. The cost of fitting tables from finite counts, about k/(2 N ln 2) for k free
    bins (Miller and Madow 1955), is given back; it is computed by drawing such counts from uniform u,
    because the bins in the tails hold too few pixels for the formula.

    Parameters
    ----------
    u : (n_patches, p*p)
        Randomised transform, raster order; see `randomised_pit`.
    frame_index : (n_patches,)
        Frame of each patch. Frames alternate between the halves; a single frame is split by patches.

    Raises
    ------
    ValueError
        Patches that are not square, fewer than two patches, or lengths that disagree.
    """
    size = round(float(np.sqrt(u.shape[1]))) if u.ndim == 2 else 0
    if u.ndim != 2 or size * size != u.shape[1] or u.shape[0] < 2 or frame_index.shape != u.shape[:1]:
        raise ValueError(f"u has shape {u.shape} and frame_index {frame_index.shape}; see the docstring")
    groups = np.unique(frame_index, return_inverse=True)[1].ravel()
    if groups.max() == 0:
        groups = np.arange(u.shape[0])
    energy, mean = _context_statistics(u, size)
    bins = np.clip(np.searchsorted(U_EDGES, u, side="right") - 1, 0, U_EDGES.size - 2)
    gain = np.empty(u.shape[0])
    cost = 0.0
    for half in (0, 1):
        fitted, scored = groups % 2 != half, groups % 2 == half
        context_of = _Quantiser(energy[fitted], mean[fitted])
        counts = _count(context_of(energy[fitted], mean[fitted]), bins[fitted])
        scored_context = context_of(energy[scored], mean[scored])
        gain[scored] = _log2_density(counts)[scored_context, bins[scored]].mean(axis=1)
        shares = np.bincount(scored_context.ravel(), minlength=counts.shape[0]) / u.size
        cost += float(shares @ _fitting_cost(counts.sum(axis=1)))
    heldout = float(gain.mean())
    counts = np.bincount(groups)
    excess = np.bincount(groups, weights=gain) - counts * heldout
    n_groups = counts.size
    variance = float(np.sum(excess**2)) / counts.sum() ** 2 * n_groups / max(n_groups - 1, 1)
    return RecoverableBits(heldout + cost, float(np.sqrt(variance)), heldout)


def _context_statistics(u: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """Energy and mean of the normal scores of earlier neighbours, (n, p*p) each."""
    tiny = 2.0**-40  # 7 sd
    scores = ndtri(np.clip(u, tiny, 1 - tiny)).reshape(-1, size, size)
    total, count = causal_sum(scores, NEAR + RING)
    square, _ = causal_sum(scores**2, NEAR + RING)
    known = np.maximum(count, 1)
    # No neighbour: what a true model shows on average.
    energy = np.where(count > 0, square / known, 1.0)
    return energy.reshape(u.shape), (total / np.sqrt(known)).reshape(u.shape)


class _Quantiser:
    """Quantile bins of energy, and within all of them of the mean."""

    def __init__(self, energy: FloatArray, mean: FloatArray) -> None:
        self.energy_edges = np.quantile(energy, np.arange(1, _N_ENERGY) / _N_ENERGY)
        self.mean_edges = np.quantile(mean, np.arange(1, _N_MEAN) / _N_MEAN)

    def __call__(self, energy: FloatArray, mean: FloatArray) -> NDArray[np.int64]:
        row = np.searchsorted(self.energy_edges, energy)
        return np.asarray(row * _N_MEAN + np.searchsorted(self.mean_edges, mean), dtype=np.int64)


def _count(context: NDArray[np.int64], bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of each (context, bin)."""
    n_contexts, n_bins = _N_ENERGY * _N_MEAN, U_EDGES.size - 1
    counts = np.bincount((context * n_bins + bins).ravel(), minlength=n_contexts * n_bins)
    return np.asarray(counts.reshape(n_contexts, n_bins), dtype=np.int64)


def _log2_density(counts: NDArray[np.int64]) -> FloatArray:
    """log2 of the density of u in each bin, from counts (..., n_bins)."""
    width = np.diff(U_EDGES)
    law = (counts + _PRIOR * width) / (counts.sum(axis=-1, keepdims=True) + _PRIOR)
    return np.asarray(np.log2(law / width))


def _fitting_cost(totals: NDArray[np.int64]) -> FloatArray:
    """Mean bits per pixel that tables fitted to `totals` uniform u each cost on other uniform u."""
    rng = np.random.default_rng(0)
    width = np.diff(U_EDGES)
    draws = rng.multinomial(totals, width, size=(_NULL_DRAWS, totals.size))
    return np.asarray(-(_log2_density(draws) @ width).mean(axis=0))
