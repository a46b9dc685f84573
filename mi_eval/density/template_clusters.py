"""Groups of patches that show the same pattern, found without knowing how many there are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from mi_eval.density.patches import FloatArray

IntArray = NDArray[np.int64]

_LLOYD_STEPS = 20
_MOST_MERGES = 40
# Seeding ends when patches lie as near to their seed as noise lets two looks at one pattern be, within this share.
_SEEDED = 0.02


def canonical_order(rows: NDArray[np.generic]) -> IntArray:
    """Order of rows (n, d) by their content, so that nothing depends on the order in which patches came."""
    return np.asarray(np.lexsort(rows.T[::-1]), dtype=np.int64)


def squared_distances(x: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared Euclidean distances, (n, n_centres)."""
    square = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", centres, centres)
    return np.asarray(np.maximum(square - 2 * (x @ centres.T), 0.0))


def find_clusters(x: FloatArray, prior_variance: FloatArray, most: int, rng: np.random.Generator) -> IntArray | None:
    """Label of each row of `x` (n, q), coordinates of unit noise whose centres have `prior_variance` (q,).

    Seeds are drawn where rows are farther from every seed than noise explains; None when `most` do not suffice.
    Then Lloyd's iterations, and clusters are merged while one centre explains them better than two.
    """
    seeds = _seeds(x, most, rng)
    if seeds is None:
        return None
    labels = _lloyd(x, seeds)
    for _ in range(_MOST_MERGES):
        merged = _merge_once(x, labels, prior_variance)
        if merged is None:
            break
        labels = merged
    centres = np.stack([x[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    return _lloyd(x, centres)


def scattered_clusters(x: FloatArray, number: int, rng: np.random.Generator) -> IntArray:
    """Labels after Lloyd's iterations from `number` rows drawn at random."""
    return _lloyd(x, x[rng.permutation(len(x))[:number]])


def _seeds(x: FloatArray, most: int, rng: np.random.Generator) -> FloatArray | None:
    """Seeds by k-means++ (Arthur and Vassilvitskii 2007) on the distance that noise does not explain."""
    noise = 2.0 * x.shape[1]
    chosen = [int(rng.integers(len(x)))]
    nearest = squared_distances(x, x[chosen])[:, 0]
    while True:
        unexplained = np.maximum(nearest - noise - 2 * np.sqrt(2 * noise), 0.0)
        total = float(unexplained.sum())
        if total < _SEEDED * noise * len(x):
            return x[chosen]
        if len(chosen) >= most:
            return None
        position = np.searchsorted(np.cumsum(unexplained), rng.random() * total)
        chosen.append(min(int(position), len(x) - 1))
        nearest = np.minimum(nearest, squared_distances(x, x[chosen[-1:]])[:, 0])


def _lloyd(x: FloatArray, centres: FloatArray) -> IntArray:
    """Labels after Lloyd's iterations, numbered from 0 without gaps."""
    labels = np.full(len(x), -1)
    for _ in range(_LLOYD_STEPS):
        updated = np.argmin(squared_distances(x, centres), axis=1)
        if np.array_equal(updated, labels):
            break
        used, labels = np.unique(updated, return_inverse=True)
        labels = labels.ravel()
        counts = np.bincount(labels)
        centres = _sums(x, labels, used.size) / counts[:, None]
    return np.asarray(labels, dtype=np.int64)


def _sums(x: FloatArray, labels: IntArray, n_clusters: int) -> FloatArray:
    member = np.zeros((n_clusters, len(x)))
    member[labels, np.arange(len(x))] = 1.0
    return np.asarray(member @ x)


def _merge_once(x: FloatArray, labels: IntArray, prior_variance: FloatArray) -> IntArray | None:
    r"""Merge pairs of clusters that are each other's best partner; None when no merger gains.

    With n rows of sum s in a cluster, unit noise and prior N(0, v), the evidence of one centre is
    :math:`\sum_j \frac{v s_j^2}{2(1 + n v)} - \frac12\ln(1 + n v)` beyond what does not depend on clusters, and
    :math:`\ln\Gamma(n)` for the labels, without which halves of one cluster would always seem worth a centre each.
    """
    counts = np.bincount(labels).astype(np.float64)
    k = counts.size
    if k < 2:
        return None
    sums = _sums(x, labels, k)

    def evidence(n: FloatArray, square: FloatArray) -> FloatArray:
        nv = 1 + n[..., None] * prior_variance
        return np.asarray(0.5 * np.sum(prior_variance * square / nv - np.log(nv), axis=-1) + gammaln(n))

    own = evidence(counts, sums**2)
    gain = np.empty((k, k))
    for a in range(k):
        together = evidence(counts + counts[a], (sums + sums[a]) ** 2)
        gain[a] = together - own - own[a]
    np.fill_diagonal(gain, -np.inf)
    partner = np.argmax(gain, axis=1)
    target = np.arange(k)
    merged = False
    for a in range(k):
        b = int(partner[a])
        if a < b and partner[b] == a and gain[a, b] > 0:
            target[b] = a
            merged = True
    if not merged:
        return None
    return np.asarray(np.unique(target[labels], return_inverse=True)[1].ravel(), dtype=np.int64)
