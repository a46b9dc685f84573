"""A Gaussian prediction whose scale follows the causal past: textures, edges, heavy tails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from mi_eval.density.causal_context import LARGEST_ENERGY, log_energies
from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.gaussian import LEAST_SD, OUTLIER_WEIGHTS
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture

# Standard deviations of the mixture, relative to the predicted one.
_SCALES = 2.0 ** (0.5 * np.arange(-5, 6))
_TUNING_PIXELS = 1 << 17
_N_CONTEXTS = 12
# Each context starts from the pooled weights, worth this many pixels.
_PRIOR_PIXELS = 50.0
_EM_STEPS = 60
_EM_TOLERANCE = 2e-4
# The log of the predicted variance factor stays within this.
_LARGEST_LOG_VARIANCE = 8.0
_N_FEATURES = 7


@dataclass(frozen=True)
class RecalibratedGaussian:
    r"""Context-weighted mixture of scales around the conditional mean of the scale mixture.

    .. math:: q(z_i|z_{<i}) = \epsilon\,h(z_i)
              + (1-\epsilon)\sum_k \pi_k(c_i)\,\mathcal N(\mu_i,\ s_k^2\,v_i\,\sigma_i^2)[\mathrm{cell}_i],
              \qquad \log v_i = \beta^T \phi(z_{<i})

    mu and sigma are the mean and sd that `ScaleMixture` predicts (those of the stationary Gaussian where
    all patches have one contrast). The features are the log energies of past innovations (near, ring, wide,
    all), and the conditional mean and its square (noise grows with light). The context :math:`c_i` is the
    quantile bin of v; the weights pi come from EM on training pixels. Every part sees only the past, so
    this stays a proper code.

    Held-out codes choose between constant scale, adaptive scale, and adaptive scale with contexts.
    """

    name: str = "recalibrated_gaussian"

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, base: FittedScaleMixture | None = None
    ) -> FittedRecalibrated:
        """Fit to `train`, choosing on `validation`; `base`, if fitted already to the same, is not refitted."""
        if base is None:
            base = ScaleMixture().fit(train, validation, seed)
        spread = float(np.std(flat_values(train.thinned(_TUNING_PIXELS))))
        start = FittedRecalibrated(
            name=self.name,
            patch_size=train.patch_size,
            base=base,
            mean_dn=float(base.experts[0].mean_dn[0]),
            spread_dn=max(spread, float(base.experts[0].sd_dn.max())),
            coefficients=np.zeros(_N_FEATURES),
            edges=np.empty(0),
            weights=np.eye(_SCALES.size)[np.flatnonzero(_SCALES == 1.0)],
            outlier_weight=base.outlier_weight,
        )
        training, tuning = train.thinned(_TUNING_PIXELS), validation.thinned(_TUNING_PIXELS)
        adaptive = replace(start, coefficients=_fit_log_variance(start, training))
        drafts = [start, *_with_contexts(adaptive, training)]
        return min((_with_outlier_weight(draft, tuning) for draft in drafts), key=lambda pair: pair[0])[1]


@dataclass(frozen=True)
class FittedRecalibrated(FittedDensity):
    """See `RecalibratedGaussian`; ``weights`` is (n_contexts, n_scales), ``edges`` (n_contexts - 1,)."""

    name: str
    patch_size: int
    base: FittedScaleMixture
    mean_dn: float
    spread_dn: float
    coefficients: FloatArray
    edges: FloatArray
    weights: FloatArray
    outlier_weight: float

    def features(self, patches: PatchSet) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Conditional means and sds of codes [DN], (n, D) each, and features (n_features, n, D)."""
        mean, sd = self.base.predict(patches)
        e = (flat_values(patches) - mean) / sd
        level = np.clip((mean - self.mean_dn) / self.spread_dn, -4, 4)
        logs = log_energies(e, self.patch_size)
        return mean, sd, np.concatenate([np.ones((1, *e.shape)), logs, level[None], level[None] ** 2])

    def predict(self, patches: PatchSet) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Conditional mean and base sd of codes [DN], and log variance factor, (n, D) each."""
        mean, sd, features = self.features(patches)
        log_variance = np.tensordot(self.coefficients, features, axes=1)
        limit = _LARGEST_LOG_VARIANCE
        return mean, sd, np.clip(log_variance, -limit, limit)

    def _light_sd(self, patches: PatchSet, code_sd: FloatArray) -> FloatArray:
        # The scale acts on what is seen, rounding included; the cell adds the rounding variance back.
        if patches.lattice_dn is None:
            return code_sd
        variance = code_sd**2 - patches.rounding_variance_dn2
        return np.sqrt(np.maximum(variance, (LEAST_SD * patches.lattice_dn) ** 2))

    def scale_masses(
        self,
        patches: PatchSet,
        prediction: tuple[FloatArray, FloatArray, FloatArray],
        used: NDArray[np.bool_],
    ) -> Iterator[tuple[int, FloatArray]]:
        """Index and cell mass (or density), (n, D), of each scale in `used`."""
        mean, sd, log_variance = prediction
        code_sd = sd * np.exp(0.5 * log_variance)
        values = flat_values(patches)
        edges = flat_edges(patches) if patches.discrete else None
        for k in map(int, np.flatnonzero(used)):
            if edges is None:
                yield k, np.exp(log_normal_density(values, mean, _SCALES[k] * code_sd))
            else:
                yield k, normal_cell_mass(*edges, mean, self._light_sd(patches, _SCALES[k] * code_sd))

    def mixture_mass(self, patches: PatchSet) -> FloatArray:
        """Mass (or density) of the scale mixture at each pixel, (n, D); may underflow to 0."""
        prediction = self.predict(patches)
        context = np.searchsorted(self.edges, prediction[2])
        mass = np.zeros(context.shape)
        for k, scale_mass in self.scale_masses(patches, prediction, self.weights.max(axis=0) > 0):
            scale_mass *= self.weights[:, k][context]
            mass += scale_mass
        return mass

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        epsilon = self.outlier_weight
        mass = (1 - epsilon) * self.mixture_mass(patches) + epsilon * self.base.histogram.weigh(patches)
        bits = -np.log2(mass)
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        mean, sd, log_variance = self.predict(patches)
        context = np.searchsorted(self.edges, log_variance)
        code_sd = sd * np.exp(0.5 * log_variance)

        def cdf(v: FloatArray) -> FloatArray:
            mixture = np.zeros(v.shape)
            for k in np.flatnonzero(self.weights.max(axis=0) > 0):
                scale_sd = self._light_sd(patches, _SCALES[k] * code_sd)
                mixture += self.weights[:, k][context] * ndtr((v - mean) / scale_sd)
            mixture += self.outlier_weight * (self.base.histogram.cdf(v) - mixture)
            return np.clip(mixture, 0.0, 1.0)

        if not patches.discrete:
            u = cdf(flat_values(patches))
            return u, u
        lower, upper = flat_edges(patches)
        return cdf(lower), cdf(upper)


def _with_contexts(adaptive: FittedRecalibrated, training: PatchSet) -> list[FittedRecalibrated]:
    """`adaptive` with scale weights fitted by EM, pooled and in bins of predicted variance."""
    tables, logs = [], []
    for chunk in training.chunks():
        prediction = adaptive.predict(chunk)
        masses = adaptive.scale_masses(chunk, prediction, np.ones(_SCALES.size, dtype=bool))
        tables.append(np.stack([mass.ravel() for _, mass in masses], axis=1))
        logs.append(prediction[2].ravel())
    table, log_variance = np.concatenate(tables), np.concatenate(logs)
    # A pixel that no scale explains belongs to the broad component and says nothing about the scales.
    explained = table.max(axis=1) > 1e-200
    table, log_variance = table[explained], log_variance[explained]
    start = np.full(_SCALES.size, 0.3 / _SCALES.size)
    start[_SCALES == 1.0] += 0.7
    pooled = _run_em(table, start, start, 1.0)
    drafts = [replace(adaptive, weights=pooled[None])]
    if len(table) > _N_CONTEXTS:
        edges = np.unique(np.quantile(log_variance, np.arange(1, _N_CONTEXTS) / _N_CONTEXTS))
        context = np.searchsorted(edges, log_variance)
        weights = [_run_em(table[context == c], pooled, pooled, _PRIOR_PIXELS) for c in range(edges.size + 1)]
        drafts.append(replace(adaptive, edges=edges, weights=np.stack(weights)))
    return drafts


def _with_outlier_weight(draft: FittedRecalibrated, tuning: PatchSet) -> tuple[float, FittedRecalibrated]:
    """Bits on `tuning`, and `draft` with the weight of the broad component that needs fewest."""
    parts = [(draft.mixture_mass(chunk), draft.base.histogram.weigh(chunk)) for chunk in tuning.chunks()]
    bits = [
        -sum(float(np.log2((1 - w) * mixture + w * broad).sum()) for mixture, broad in parts) for w in OUTLIER_WEIGHTS
    ]
    best = int(np.argmin(bits))
    return bits[best], replace(draft, outlier_weight=float(OUTLIER_WEIGHTS[best]))


def _fit_log_variance(start: FittedRecalibrated, training: PatchSet) -> FloatArray:
    r"""Coefficients that minimise mean[log v + e^2/v], log v linear in the features (Newton steps).

    The quasi-likelihood of a variance: consistent whatever the shape of the law.
    """
    energies, parts = [], []
    for chunk in training.chunks():
        mean, sd, columns = start.features(chunk)
        energies.append(np.minimum(((flat_values(chunk) - mean) / sd).ravel() ** 2, LARGEST_ENERGY))
        parts.append(columns.reshape(_N_FEATURES, -1))
    energy, features = np.concatenate(energies), np.concatenate(parts, axis=1)
    ridge = 20.0 * np.eye(_N_FEATURES)
    beta = np.zeros(_N_FEATURES)

    def loss(candidate: FloatArray) -> float:
        logs = np.clip(candidate @ features, -_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        return float(np.sum(logs + energy * np.exp(-logs)) + candidate @ ridge @ candidate)

    current = loss(beta)
    for _ in range(25):
        logs = np.clip(beta @ features, -_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        ratio = energy * np.exp(-logs)
        gradient = features @ (1 - ratio) + 2 * ridge @ beta
        # The expected Hessian is bounded below, so the step stays sane where ratios vanish.
        hessian = (features * np.maximum(ratio, 0.5)) @ features.T + 2 * ridge
        step = np.linalg.solve(hessian, gradient)
        for halving in range(10):
            candidate = beta - step * 0.5**halving
            value = loss(candidate)
            if value < current:
                break
        else:
            break
        gain, beta, current = current - value, candidate, value
        if gain < 1e-7 * energy.size:
            break
    return beta


def _run_em(table: FloatArray, start: FloatArray, prior: FloatArray, prior_pixels: float) -> FloatArray:
    weights = start
    for _ in range(_EM_STEPS):
        share = weights * ((1 / (table @ weights)) @ table) if len(table) else np.zeros_like(weights)
        updated = (share + prior_pixels * prior) / (len(table) + prior_pixels)
        converged = np.abs(updated - weights).max() < _EM_TOLERANCE
        weights = updated
        if converged:
            break
    return weights
