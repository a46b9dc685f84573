"""What the causal past of a pixel says about the size of its surprise."""

from __future__ import annotations

import numpy as np

from mi_eval.density.patches import FloatArray

# (row, column) offsets of earlier pixels in raster order: the four next ones, the rest within two pixels,
# and the rest within four.
NEAR = ((0, -1), (-1, 0), (-1, -1), (-1, 1))
_WITHIN_TWO = tuple((dy, dx) for dy in range(-2, 1) for dx in range(-2, 3) if dy < 0 or dx < 0)
_WITHIN_FOUR = tuple((dy, dx) for dy in range(-4, 1) for dx in range(-4, 5) if dy < 0 or dx < 0)
RING = tuple(offset for offset in _WITHIN_TWO if offset not in NEAR)
WIDE = tuple(offset for offset in _WITHIN_FOUR if offset not in _WITHIN_TWO)

# Larger squared innovations say no more about the scale than this, and one of them must not rule the context.
LARGEST_ENERGY = 60.0


def causal_sum(x: FloatArray, offsets: tuple[tuple[int, int], ...]) -> tuple[FloatArray, FloatArray]:
    """Sum of `x` (n, p, p) over earlier neighbours inside the patch, and how many there are, (p, p)."""
    size = x.shape[1]
    total, count = np.zeros_like(x), np.zeros((size, size))
    for dy, dx in offsets:
        if -dy >= size or abs(dx) >= size:
            continue
        to_columns = slice(max(0, -dx), size + min(0, -dx))
        from_columns = slice(max(0, dx), size + min(0, dx))
        total[:, -dy:, to_columns] += x[:, : size + dy, from_columns]
        count[-dy:, to_columns] += 1
    return total, count


def log_energies(innovations: FloatArray, patch_size: int) -> FloatArray:
    r"""Log mean squared innovation in causal neighbourhoods, (4, n, p*p): near, ring, wide, all the past.

    .. math:: \log\frac{\sum_{j \in N_i} e_j^2 + 1}{|N_i| + 1}

    0 where nothing is known yet, and near 0 for Gaussian data.
    """
    n = innovations.shape[0]
    energy = np.minimum(innovations**2, LARGEST_ENERGY)
    square = energy.reshape(n, patch_size, patch_size)
    logs = np.empty((4, n, patch_size**2))
    for row, offsets in enumerate((NEAR, RING, WIDE)):
        total, count = causal_sum(square, offsets)
        logs[row] = np.log((total + 1) / (count + 1)).reshape(n, -1)
    past = np.cumsum(energy, axis=1) - energy
    logs[3] = np.log((past + 1) / (np.arange(patch_size**2) + 1))
    return logs
