"""A smooth law of the light behind a histogram of codes: what a better camera would have seen of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.special import ndtri

from mi_eval.intensity import fit_intensity_law

FloatArray = NDArray[np.float64]

# Distance of nodes in 2 sqrt(s + 1/4), where shot noise has unit variance: cells of h lack h^2/12 of its variance.
_NODE_STEP = (0.15, 0.5)
_NODES = 150
_KNOT_STEP = 1.0  # in standard deviations of the camera's own blur
_MOST_KNOTS = 60
_LOG_FLOOR_E = 0.02
_GAP_NATS = 0.3
_PENALTIES = 10.0 ** np.arange(6.0, -3.0, -1.0)
_STEPS = 60
_HERMITE = 5


@dataclass(frozen=True)
class SmoothLaw:
    """Laws of light on common nodes.

    Column 0 is the smooth law from all frames; those between leave one block of frames out each; the last one is the
    non-parametric law of all frames, a few spikes: the other extreme among the laws that explain the codes.

    Parameters
    ----------
    light_e : ndarray (n_nodes,)
        Electrons, increasing.
    weights : ndarray (n_nodes, n_laws)
        Probabilities, columns of sum 1.
    penalty : float
        Roughness penalty that codes of frames left out preferred.
    """

    light_e: FloatArray
    weights: FloatArray
    penalty: float

    def quantile(self, probability: FloatArray) -> FloatArray:
        """Light below which this share of the pixels lies (law of all frames), electrons."""
        edges = self._edges()
        cumulative = np.append(0.0, np.cumsum(self.weights[:, 0]))
        return np.asarray(np.interp(probability, cumulative / cumulative[-1], edges))

    def _edges(self) -> FloatArray:
        middle = 0.5 * (self.light_e[1:] + self.light_e[:-1])
        return np.concatenate([self.light_e[:1], middle, self.light_e[-1:]])

    def hermite(self, law: int) -> FloatArray:
        r"""Means of the normalised Hermite polynomials of the latent normal score over each node, (5, n_nodes).

        The node between the quantiles a and b of the standard normal has
        :math:`\int_a^b h_k \varphi / w = (h_{k-1}(a)\varphi(a) - h_{k-1}(b)\varphi(b)) / (w \sqrt k)`.
        """
        return normal_means(self.weights[:, law], _HERMITE)


def normal_means(mass: FloatArray, order: int) -> FloatArray:
    """Means of the first Hermite polynomials over consecutive cells of a standard normal, (order, n_cells)."""
    edges = ndtri(np.clip(np.append(0.0, np.cumsum(mass)) / mass.sum(), 0.0, 1.0))
    finite = np.clip(edges, -40, 40)
    density = np.exp(-0.5 * finite**2) / np.sqrt(2 * np.pi)
    density[~np.isfinite(edges)] = 0.0
    share = np.maximum(mass / mass.sum(), 1e-300)
    below, here = np.zeros_like(finite), np.ones_like(finite)
    out = np.empty((order, mass.size))
    for k in range(1, order + 1):
        out[k - 1] = -np.diff(here * density) / (share * np.sqrt(k))
        # h_k = (x h_{k-1} - sqrt(k-1) h_{k-2}) / sqrt(k)
        below, here = here, (finite * here - np.sqrt(k - 1) * below) / np.sqrt(k)
    return np.where(mass > 1e-12, out, 0.0)


def light_nodes(low_e: float, high_e: float, *, shot: bool, read_noise_e: float) -> FloatArray:
    """Nodes close enough for a camera without read noise: at most half a standard deviation of its shot noise apart."""
    if not shot:
        return np.linspace(low_e, high_e, max(16, int(np.ceil((high_e - low_e) / (0.5 * read_noise_e)))))
    a, b = (2 * np.sqrt(max(e, 0.0) + 0.25) for e in (low_e, high_e))
    step = float(np.clip((b - a) / _NODES, *_NODE_STEP))
    v = np.linspace(a, b, max(16, int(np.ceil((b - a) / step)) + 1))
    return np.asarray(np.maximum(v**2 / 4 - 0.25, 0.0))


def fit_smooth_law(
    counts: FloatArray,
    table: sparse.csr_array,
    light_e: FloatArray,
    *,
    shot: bool,
    noise_variance_e2: float,
    penalty: float | None = None,
) -> SmoothLaw:
    r"""The smooth law of light that explains the codes.

    log density = a log s + spline(v), v = 2 sqrt(s + read noise^2), knots one blur apart, maximising

    .. math:: \sum_z n_z \log \sum_j w_j p(z|s_j) - \frac\lambda2 |\Delta^3 \alpha|^2,
        \qquad w_j \propto ds_j\, s_j^a e^{(B\alpha)_j}

    with an extra coefficient for a share of pixels without light; lambda by the codes of frames held out. What the
    penalty leaves free, s^a exp(b sqrt(s + r^2) + c s), holds every gamma law.

    Parameters
    ----------
    counts : ndarray (n_blocks, n_codes)
        Counts of codes by block of frames.
    table : csr_array (n_nodes, n_codes)
        p(z | s).
    light_e : ndarray (n_nodes,)
    shot : bool
    noise_variance_e2 : float
        Variance of the camera's noise in the dark, electrons squared.
    penalty : float, optional
        Default: chosen.

    Notes
    -----
    Efron 2016, Biometrika 103, 1 (doi:10.1093/biomet/asv068), with the penalty of Eilers and Marx 1996. The
    non-parametric law of `mi_eval.intensity` is a few spikes: right for the entropy of this camera's noise, but a
    better camera would tell the spikes apart and report them as information.
    """
    problem = _Problem.of(counts.sum(axis=0), table, light_e, shot, noise_variance_e2)
    occupied = counts.sum(axis=0) > 0
    blocks = counts[:, occupied]
    total = blocks.sum(axis=0)
    even, odd = blocks[::2].sum(axis=0), blocks[1::2].sum(axis=0)
    best, chosen, warm = -np.inf, float(_PENALTIES[0]), np.zeros(problem.basis.shape[1])
    states = [warm, warm]
    if min(even.sum(), odd.sum()) > 0:
        for candidate in _PENALTIES if penalty is None else _PENALTIES[0.999 * penalty <= _PENALTIES]:
            score = 0.0
            for side, (train, test) in enumerate(((even, odd), (odd, even))):
                states[side] = problem.fit(train, candidate, states[side])
                score += float(test @ np.log(problem.mixture(states[side])))
            if score > best:
                best, chosen, warm = score, float(candidate), states[0]
            elif penalty is None and score < best - 5:
                break
    penalty = chosen if penalty is None else penalty
    alpha = problem.fit(total, penalty, warm)
    laws = [problem.law(alpha)]
    for block in blocks if blocks.shape[0] > 1 else ():
        laws.append(problem.law(problem.fit(total - block, penalty, alpha)))
    spikes = fit_intensity_law([counts.sum(axis=0)], [table], light_e, gap_nats=_GAP_NATS)
    laws.append(spikes.weights)
    return SmoothLaw(np.asarray(light_e), np.stack(laws, axis=1), penalty)


@dataclass(frozen=True)
class _Problem:
    """Occupied codes, spline basis and penalty."""

    rows: FloatArray
    base: FloatArray
    basis: FloatArray
    roughness: FloatArray
    ridge: FloatArray

    @classmethod
    def of(
        cls, counts: FloatArray, table: sparse.csr_array, light_e: FloatArray, shot: bool, noise_variance_e2: float
    ) -> _Problem:
        v = 2 * np.sqrt(light_e + noise_variance_e2) if shot else light_e / np.sqrt(noise_variance_e2)
        base = np.log(np.gradient(light_e))
        n_knots = int(np.clip((v[-1] - v[0]) / _KNOT_STEP, 6, _MOST_KNOTS))
        inner = np.linspace(v[0], v[-1], n_knots + 1)
        step = inner[1] - inner[0]
        knots = np.concatenate([v[0] - step * np.arange(3, 0, -1), inner, v[-1] + step * np.arange(1, 4)])
        spline = BSpline.design_matrix(np.clip(v, v[0], v[-1] - 1e-9 * step), knots, 3).toarray()
        third = np.diff(np.eye(spline.shape[1]), 3, axis=0)
        roughness, ridge = third.T @ third, np.full(spline.shape[1], 1e-3)
        if shot:
            extra = [np.log(light_e + _LOG_FLOOR_E)] + ([np.eye(light_e.size)[0]] if light_e[0] == 0 else [])
            spline = np.column_stack([spline, *extra])
            roughness = np.pad(roughness, (0, len(extra)))
            ridge = np.append(ridge, [1e-3, 1.0][: len(extra)])
        occupied = np.flatnonzero(counts > 0)
        rows = np.maximum(table[:, occupied].toarray().T, 1e-300)
        return cls(rows, base, spline, roughness, ridge)

    def law(self, alpha: FloatArray) -> FloatArray:
        log = self.base + self.basis @ alpha
        w = np.exp(log - log.max())
        return np.asarray(w / w.sum())

    def mixture(self, alpha: FloatArray) -> FloatArray:
        return np.maximum(self.rows @ self.law(alpha), 1e-300)

    def fit(self, counts: FloatArray, penalty: float, start: FloatArray) -> FloatArray:
        """Fisher scoring with step halving."""
        alpha, total = start.copy(), counts.sum()
        roughness = penalty * self.roughness + np.diag(self.ridge)

        def objective(a: FloatArray) -> float:
            return float(counts @ np.log(self.mixture(a))) - 0.5 * float(a @ roughness @ a)

        value = objective(alpha)
        for _ in range(_STEPS):
            w = self.law(alpha)
            p = np.maximum(self.rows @ w, 1e-300)
            mean = self.basis.T @ w
            score = (self.rows * w) @ self.basis / p[:, None] - mean
            gradient = counts @ score - roughness @ alpha
            curvature = (score * counts[:, None]).T @ score + roughness
            curvature[np.diag_indices_from(curvature)] += 1e-9 * total + 1e-8 * np.trace(curvature) / alpha.size
            step = np.linalg.solve(curvature, gradient)
            step *= min(1.0, 5.0 / max(float(np.max(np.abs(step))), 1e-300))
            length = 1.0
            while length > 1e-4 and (fresh := objective(alpha + length * step)) < value:
                length /= 2
            if length <= 1e-4:
                break
            alpha = alpha + length * step
            if fresh - value < 1e-4 * max(1.0, 1e-7 * total):
                break
            value = fresh
        return np.asarray(alpha)
