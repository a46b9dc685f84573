"""Mixing density models patch by patch."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from mi_eval.density.patches import FloatArray

_LN2 = np.log(2)


def fit_mixture_weights(code_lengths_bits: FloatArray, *, floor: float = 1e-4, max_steps: int = 2000) -> FloatArray:
    r"""Weights w that minimise the mean of :math:`-\log_2 \sum_m w_m 2^{-L_m}` over validation patches.

    EM on the simplex in the log domain; the problem is convex. Weights below `floor` are raised to it, so
    that a family which fails on validation frames may still save a held-out patch, at a cost of at most
    (families x floor)/ln 2 bits per patch.

    Parameters
    ----------
    code_lengths_bits : (n_patches, n_families)
        Held-out code length of whole patches. Never of whole frames: that would code patches jointly.
    floor : float
        Smallest weight.

    Returns
    -------
    weights : (n_families,), sum 1.
    """
    lengths = np.asarray(code_lengths_bits, dtype=np.float64)
    if lengths.ndim != 2 or 0 in lengths.shape:
        raise ValueError(f"code lengths have shape {lengths.shape}, expected (n_patches, n_families)")
    if not np.all(np.isfinite(lengths)):
        raise ValueError("code lengths that are not finite")
    # Relative to the best family of each patch: exponentials in [0, 1], at least one of them 1.
    likelihood = np.exp(-_LN2 * (lengths - lengths.min(axis=1, keepdims=True)))
    weights = np.full(lengths.shape[1], 1 / lengths.shape[1])
    for _ in range(max_steps):
        updated = weights * ((1 / (likelihood @ weights)) @ likelihood) / len(likelihood)
        converged = np.max(np.abs(updated - weights)) < 1e-7
        weights = updated
        if converged:
            break
    weights = np.maximum(weights, floor)
    return np.asarray(weights / weights.sum())


def combine_code_lengths(code_lengths_bits: FloatArray, weights: FloatArray) -> FloatArray:
    r""":math:`-\log_2 \sum_m w_m 2^{-L_m}` for each patch, (n_patches,)."""
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.asarray(weights, dtype=np.float64))
    return np.asarray(-logsumexp(-_LN2 * np.asarray(code_lengths_bits) + log_weights, axis=1) / _LN2)
