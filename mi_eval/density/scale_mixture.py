"""A Gaussian whose contrast differs from patch to patch: the scale mixture with one shape of covariance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.special import logsumexp, ndtr

from mi_eval.density.basis import GaussianBasis, gaussian_basis
from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.combine import combine_code_lengths, fit_mixture_weights
from mi_eval.density.covariance import MOST_DENSE_PIXELS, choose_stationary
from mi_eval.density.gaussian import OUTLIER_WEIGHTS, Innovations
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.light_histogram import LightHistogram
from mi_eval.density.patches import FloatArray, PatchSet

# Variances of the signal relative to the mean one that are tried first. 1 is among them.
_COARSE_VARIANCES = 4.0 ** np.arange(-8.0, 5.0)
# log2 of the step in variance where patches do differ: 16 x 16 pixels tell steps of 10 % apart.
_FINE_STEP = 0.4
_TRAINING_PIXELS = 1 << 19
_TUNING_PIXELS = 1 << 17
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

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, basis: GaussianBasis | None = None
    ) -> FittedScaleMixture:
        """Fit to `train`, choosing on `validation`; `basis`, if learnt already from the same, is not learnt again."""
        basis = gaussian_basis(train, validation) if basis is None else basis
        training, tuning = train.thinned(_TRAINING_PIXELS), validation.thinned(_TUNING_PIXELS)
        x, held_out = (flat_values(patches) - basis.moments.global_mean_dn for patches in (training, tuning))
        one = np.ones(1)
        single = self._best_outlier_weight(basis, train, tuning, [basis.stationary_dn2], one, one)
        if train.n_pixels > MOST_DENSE_PIXELS:
            return single[1]
        shape = _Shape.of(basis.stationary_dn2, train)
        coarse, weights = shape.weights(x, _COARSE_VARIANCES)
        saved = shape.bits(held_out, one, one) - shape.bits(held_out, coarse, weights)
        # White noise fits all contrasts equally well.
        if coarse.size == 1 or saved < _LEAST_GAIN / 2:
            return single[1]
        low, high = np.log2(coarse[0]) - 1.5, np.log2(coarse[-1]) + 1.5
        fine = 2.0 ** np.arange(low, high + _FINE_STEP / 2, _FINE_STEP)
        scatter = shape.even_scatter(x, coarse, weights)
        _, even_dn2 = choose_stationary(basis.mean_dn, scatter, train, basis.judge)
        drafts = [(draft, *draft.weights(x, fine)) for draft in (shape, _Shape.of(even_dn2, train))]
        chosen = min(drafts, key=lambda draft: draft[0].bits(held_out, draft[1], draft[2]))
        covariances = (chosen[0].covariance(a) for a in chosen[1])
        several = self._best_outlier_weight(basis, train, tuning, covariances, *chosen[1:])
        # One contrast unless several are worth their time.
        return several[1] if several[0] < single[0] - _LEAST_GAIN else single[1]

    def _best_outlier_weight(
        self,
        basis: GaussianBasis,
        train: PatchSet,
        tuning: PatchSet,
        covariances_dn2: Iterable[FloatArray],
        variances: FloatArray,
        weights: FloatArray,
    ) -> tuple[float, FittedScaleMixture]:
        """Bits per pixel on `tuning`, and the mixture with the outlier weight that needs fewest."""
        experts = tuple(Innovations.of(basis.mean_dn, covariance) for covariance in covariances_dn2)
        drafts = [
            FittedScaleMixture(self.name, train.patch_size, variances, experts, weights, basis.histogram, float(w))
            for w in OUTLIER_WEIGHTS[::2]
        ]
        bits = np.zeros(len(drafts))
        for chunk in tuning.chunks():
            masses, broad = drafts[0].expert_masses(chunk)
            for position, draft in enumerate(drafts):
                logs = draft.mixed_logs(masses, broad).sum(axis=2)
                bits[position] -= logsumexp(logs + np.log(weights)[:, None], axis=0).sum() / np.log(2)
        best = int(np.argmin(bits))
        return float(bits[best]) / tuning.codes.size, drafts[best]


@dataclass(frozen=True)
class _Shape:
    """Covariance V diag(a signal + noise) V^T of patches of relative variance a; all in DN^2."""

    vectors: FloatArray
    signal_dn2: FloatArray
    noise_dn2: float

    @classmethod
    def of(cls, covariance_dn2: FloatArray, train: PatchSet) -> _Shape:
        """The noise does not scale, as far as the covariance has room for it."""
        values, vectors = eigh(covariance_dn2)
        noise = min(train.noise_variance_dn2, 0.999 * float(values[0]))
        return cls(vectors, values - noise, noise)

    def covariance(self, variance: float) -> FloatArray:
        """Covariance of patches of one relative variance."""
        matrix = (self.vectors * (variance * self.signal_dn2 + self.noise_dn2)) @ self.vectors.T
        return np.asarray(0.5 * (matrix + matrix.T))

    def code_lengths_bits(self, x: FloatArray, variances: FloatArray) -> FloatArray:
        """Minus log2 of the density of patches (n, D) about the mean, up to a constant; (n, n_variances)."""
        scaled = variances[:, None] * self.signal_dn2 + self.noise_dn2
        energies = (x @ self.vectors) ** 2
        nats = 0.5 * (energies @ (1 / scaled).T + np.log(scaled).sum(axis=1))
        return np.asarray(nats / np.log(2))

    def weights(self, x: FloatArray, variances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Variances that patches need, and their weights by EM."""
        weights = fit_mixture_weights(self.code_lengths_bits(x, variances), floor=0.0)
        kept = weights > min(_LEAST_SHARE, float(weights.max()) / 2)
        return variances[kept], weights[kept] / weights[kept].sum()

    def bits(self, x: FloatArray, variances: FloatArray, weights: FloatArray) -> float:
        """Bits per pixel of the mixture, up to a constant."""
        return float(combine_code_lengths(self.code_lengths_bits(x, variances), weights).mean() / x.shape[1])

    def even_scatter(self, x: FloatArray, variances: FloatArray, weights: FloatArray) -> FloatArray:
        r"""Second moments in which patches of high contrast do not drown the others.

        With weights :math:`w_n = 1/(\hat a_n + \sigma^2/s)`, s the signal's mean variance, from
        :math:`E \sum w_n x_n x_n^T = \sum w_n (a_n S + \sigma^2 I)`.
        """
        logs = -np.log(2) * self.code_lengths_bits(x, variances) + np.log(weights)
        contrast = np.exp(np.exp(logs - logsumexp(logs, axis=1, keepdims=True)) @ np.log(variances))
        signal = max(float(self.signal_dn2.mean()), 1e-3 * self.noise_dn2 + 1e-300)
        weight = 1 / (contrast + self.noise_dn2 / signal)
        identity = np.eye(x.shape[1])
        moved = (x.T * weight) @ x - float(weight.sum()) * self.noise_dn2 * identity
        return np.asarray(moved / float(weight @ contrast) + self.noise_dn2 * identity)


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
        return self.mixed_logs(*self._expert_masses(patches, means))

    def _expert_masses(self, patches: PatchSet, means: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
        values = flat_values(patches)
        edges = flat_edges(patches) if patches.discrete else None
        masses = np.empty((len(self.experts), *values.shape))
        for k, (mean, expert) in enumerate(zip(means, self.experts, strict=True)):
            sd = np.broadcast_to(expert.light_sd_dn(patches, 1.0), values.shape)
            masses[k] = _mass(values, edges, mean, sd)
        return masses, self.histogram.weigh(patches)

    def expert_masses(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """Masses (or densities) of pixels given the past: the experts' (n_experts, n, D), the histogram's (n, D)."""
        return self._expert_masses(patches, self._means(patches))

    def mixed_logs(self, masses: FloatArray, broad: FloatArray) -> FloatArray:
        """Natural logs of `expert_masses` with the outlier component in them, (n_experts, n, D)."""
        mixed = (1 - self.outlier_weight) * masses
        mixed += self.outlier_weight * broad
        return np.asarray(np.log(mixed, out=mixed))

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
        before = np.cumsum(logs, axis=2)
        before -= logs
        before += np.log(self.weights)[:, None, None]
        before -= before.max(axis=0)
        np.exp(before, out=before)
        before /= before.sum(axis=0)
        return before

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

    def code_length_bits(self, patches: PatchSet) -> FloatArray:
        """Bits of each patch, (n_patches,); the whole patch at once, which costs half of pixel by pixel."""
        self._check(patches)
        parts = []
        for chunk in patches.chunks():
            logs = self.log_masses(chunk).sum(axis=2) + np.log(self.weights)[:, None]
            bits = -logsumexp(logs, axis=0) / np.log(2)
            parts.append(bits if chunk.discrete else bits + chunk.log2_response().sum(axis=1))
        return np.concatenate(parts)

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
