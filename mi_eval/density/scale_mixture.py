"""A Gaussian whose contrast differs from patch to patch: the scale mixture with one shape of covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logsumexp, ndtr

from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.combine import fit_mixture_weights
from mi_eval.density.gaussian import (
    OUTLIER_WEIGHTS,
    Innovations,
    floor_eigenvalues,
    patch_moments,
    tapered_covariance,
)
from mi_eval.density.histogram import fit_light_histogram
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet

# Variances of the signal relative to the mean one that are tried first. 1 is among them.
_COARSE_VARIANCES = 4.0 ** np.arange(-8.0, 5.0)
# log2 of the step in variance where patches do differ: 16 x 16 pixels tell steps of 10 % apart.
_FINE_STEP = 0.4
_TUNING_PIXELS = 1 << 18
# Bits per pixel that several contrasts must save over one.
_LEAST_GAIN = 2e-4
# Scales that hold less than this share of patches are dropped.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class ScaleMixture:
    r"""Patches that share a stationary covariance up to the contrast of their light.

    .. math:: q(z) = \sum_k w_k\,\mathcal N(m,\ a_k (\Sigma - \sigma^2 I) + \sigma^2 I)[\mathrm{cells}]

    with sigma^2 the noise variance, which does not scale with contrast. Weights by EM on training patches.
    A mixture over whole patches, so as a sequential code it learns the contrast while it reads the patch.

    Notes
    -----
    Wainwright and Simoncelli, Scale mixtures of Gaussians and the statistics of natural images, NIPS 1999.
    """

    name: str = "scale_mixture"

    def fit(self, train: PatchSet, validation: PatchSet, seed: int) -> FittedScaleMixture:
        """Fit to `train`, choosing on `validation`; see `DensityFamily.fit`."""
        moments = patch_moments(train)
        mean = np.full(train.n_pixels, moments.global_mean_dn)
        histogram = fit_light_histogram(train, validation)
        training, tuning = train.thinned(_TUNING_PIXELS), validation.thinned(_TUNING_PIXELS)
        shape = tapered_covariance(mean, moments.scatter_dn2, histogram, train, validation)
        outlier_weight = float(OUTLIER_WEIGHTS[2])

        def draft(shape_dn2: FloatArray, variances: FloatArray) -> FittedScaleMixture:
            experts = _experts(mean, shape_dn2, variances, train)
            weights = np.full(variances.size, 1 / variances.size)
            fitted = FittedScaleMixture(
                self.name, train.patch_size, variances, experts, weights, histogram, outlier_weight
            )
            return _with_weights(fitted, training)

        coarse = draft(shape, _COARSE_VARIANCES)
        drafts = [draft(shape, np.ones(1))]
        if len(coarse.experts) > 1:
            scatter = _even_scatter(coarse, training, moments.global_mean_dn, shape)
            even = tapered_covariance(mean, scatter, histogram, train, validation)
            low, high = np.log2(coarse.variances[0]) - 1.5, np.log2(coarse.variances[-1]) + 1.5
            fine = 2.0 ** np.arange(low, high + _FINE_STEP / 2, _FINE_STEP)
            drafts = [draft(shape, fine), draft(even, fine)]
        candidates = [replace(d, outlier_weight=float(w)) for d in drafts for w in OUTLIER_WEIGHTS[::2]]
        bits = [float(candidate.code_length_bits(tuning).sum()) for candidate in candidates]
        best, single = int(np.argmin(bits)), int(np.argmin(bits[: len(OUTLIER_WEIGHTS[::2])]))
        # One contrast unless several are worth their time: white noise fits all of them equally well.
        worth = _LEAST_GAIN * tuning.codes.size
        return candidates[single if bits[single] < bits[best] + worth else best]


def _experts(
    mean_dn: FloatArray, shape_dn2: FloatArray, variances: FloatArray, train: PatchSet
) -> tuple[Innovations, ...]:
    shape = floor_eigenvalues(shape_dn2, train)
    noise = _noise_variance(shape, train) * np.eye(train.n_pixels)
    return tuple(Innovations.of(mean_dn, a * (shape - noise) + noise) for a in variances)


def _noise_variance(shape_dn2: FloatArray, train: PatchSet) -> float:
    """Variance that does not scale: the noise, as far as the covariance has room for it."""
    return min(train.noise_variance_dn2, 0.999 * float(np.linalg.eigvalsh(shape_dn2)[0]))


def _with_weights(draft: FittedScaleMixture, training: PatchSet) -> FittedScaleMixture:
    """`draft` with weights fitted by EM, and without the experts that nobody needs."""
    lengths = [-draft.log_masses(chunk).sum(axis=2).T / np.log(2) for chunk in training.chunks()]
    weights = fit_mixture_weights(np.concatenate(lengths), floor=0.0)
    kept = np.flatnonzero(weights > min(_LEAST_SHARE, float(weights.max()) / 2))
    return replace(
        draft,
        variances=draft.variances[kept],
        experts=tuple(draft.experts[k] for k in kept),
        weights=weights[kept] / weights[kept].sum(),
    )


def _even_scatter(draft: FittedScaleMixture, training: PatchSet, mean_dn: float, shape_dn2: FloatArray) -> FloatArray:
    r"""Second moments in which patches of high contrast do not drown the others.

    With weights :math:`w_n = 1/(\hat a_n + \sigma^2/s)`, s the signal's mean variance, from
    :math:`E \sum w_n x_n x_n^T = \sum w_n (a_n S + \sigma^2 I)`.
    """
    total, weight_sum, contrast_sum = np.zeros_like(shape_dn2), 0.0, 0.0
    noise = _noise_variance(floor_eigenvalues(shape_dn2, training), training)
    signal = max(float(np.trace(shape_dn2)) / len(shape_dn2) - noise, 1e-3 * noise + 1e-300)
    log_weights = np.log(draft.weights)[:, None]
    for chunk in training.chunks():
        logs = draft.log_masses(chunk).sum(axis=2) + log_weights
        contrast = np.exp(np.log(draft.variances) @ np.exp(logs - logsumexp(logs, axis=0)))
        weight = 1 / (contrast + noise / signal)
        x = flat_values(chunk) - mean_dn
        total += (x.T * weight) @ x
        weight_sum += float(weight.sum())
        contrast_sum += float(weight @ contrast)
    identity = np.eye(len(shape_dn2))
    return np.asarray((total - weight_sum * noise * identity) / contrast_sum + noise * identity)


@dataclass(frozen=True)
class FittedScaleMixture(FittedDensity):
    """See `ScaleMixture`; every expert holds ``outlier_weight`` of the histogram at each pixel."""

    name: str
    patch_size: int
    variances: FloatArray
    experts: tuple[Innovations, ...]
    weights: FloatArray
    histogram: LightHistogram
    outlier_weight: float

    def _log_masses(self, patches: PatchSet, means: list[FloatArray]) -> FloatArray:
        values = flat_values(patches)
        broad = self.outlier_weight * self.histogram.weigh(patches)
        edges = flat_edges(patches) if patches.discrete else None
        logs = np.empty((len(self.experts), *values.shape))
        for log, mean, expert in zip(logs, means, self.experts, strict=True):
            sd = np.broadcast_to(expert.light_sd_dn(patches, 1.0), values.shape)
            mass = _mass(values, edges, mean, sd)
            np.log((1 - self.outlier_weight) * mass + broad, out=log)
        return logs

    def _means(self, patches: PatchSet) -> list[FloatArray]:
        values = flat_values(patches)
        return [expert.innovate(values)[0] for expert in self.experts]

    def log_masses(self, patches: PatchSet) -> FloatArray:
        """Natural log of each expert's mass (or density) of each pixel given the past, (n_experts, n, D)."""
        return self._log_masses(patches, self._means(patches))

    def _posterior(self, patches: PatchSet, means: list[FloatArray]) -> FloatArray:
        """Weight of each expert before each pixel is read, (n_experts, n, D)."""
        if len(self.experts) == 1:
            return np.ones((1, patches.n_patches, patches.n_pixels))
        logs = self._log_masses(patches, means)
        logs = np.cumsum(logs, axis=2) - logs + np.log(self.weights)[:, None, None]
        return np.asarray(np.exp(logs - logsumexp(logs, axis=0)))

    def predict(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Mean and sd [DN] of each code given the past, (n, D) each, rounding in the sd."""
        means = self._means(patches)
        mean, square = np.zeros(means[0].shape), np.zeros(means[0].shape)
        pilot = means[0]  # differences keep the variance accurate far from 0
        for weight, expert_mean, expert in zip(self._posterior(patches, means), means, self.experts, strict=True):
            shift = expert_mean - pilot
            mean += weight * shift
            square += weight * (shift**2 + expert.sd_dn**2)
        return pilot + mean, np.sqrt(np.maximum(square - mean**2, 1e-12 * square))

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        logs = self.log_masses(patches)
        # Bits of the first i pixels, whose differences are the sequential code.
        total = logsumexp(np.cumsum(logs, axis=2) + np.log(self.weights)[:, None, None], axis=0)
        bits = np.asarray(-np.diff(total, axis=1, prepend=0.0) / np.log(2))
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        means = self._means(patches)
        posterior = self._posterior(patches, means)

        def cdf(v: FloatArray) -> FloatArray:
            mixture = np.zeros(v.shape)
            for weight, mean, expert in zip(posterior, means, self.experts, strict=True):
                mixture += weight * ndtr((v - mean) / expert.light_sd_dn(patches, 1.0))
            mixture += self.outlier_weight * (self.histogram.cdf(v) - mixture)
            return np.clip(mixture, 0.0, 1.0)

        if not patches.discrete:
            u = cdf(flat_values(patches))
            return u, u
        lower, upper = flat_edges(patches)
        return cdf(lower), cdf(upper)


def _mass(
    values: FloatArray, edges: tuple[FloatArray, FloatArray] | None, mean: FloatArray, sd: FloatArray
) -> FloatArray:
    """Mass of the cells, or density of real values."""
    if edges is None:
        return np.exp(log_normal_density(values, mean, sd))
    return normal_cell_mass(*edges, mean, sd)
