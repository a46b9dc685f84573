"""Patterns behind noisy looks at them: clusters of patches, and their shrunk means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from mi_eval.density.camera import ROW_STEP, CameraTable
from mi_eval.density.covariance import MOST_DENSE_PIXELS, lag_average, squared_distance
from mi_eval.density.interface import flat_values
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.template_clusters import canonical_order, find_clusters, scattered_clusters

# Coordinates in which patterns are told apart: those where light varies more than this share of the noise.
_LEAST_SIGNAL = 0.1
_MOST_COORDINATES = 48
_MOST_TEMPLATES = 512
# Fewer looks at a pattern than this teach less than the Gaussian knows.
_FEWEST_LOOKS = 3
_EM_STEPS = 30
_FEWEST_PATCHES = 8
# Where noise hides the patterns nothing tells their number; held-out codes choose among these.
_NUMBERS_WHEN_DIM = (8, 32)
_FEW_CLUSTERS = 8
# Candidates for the covariance of patterns, and how many patterns can choose between them.
_STATIONARY_PARTS = (1.0, 0.8, 0.4)
_TAPERS_PX = (24.0, 12.0, 6.0, 4.0, 2.5, 1.5)
_FEWEST_FOR_CHOICE = 8


@dataclass(frozen=True)
class Templates:
    """Templates [DN of light], the variances of their errors [DN^2], both (K, p*p), and their weights (K,)."""

    mean_dn: FloatArray
    error_dn2: FloatArray
    weights: FloatArray


def learn_templates(training: PatchSet, seed: int) -> Iterator[Templates]:
    """Sets of templates to choose from; none where no pattern shows above the noise.

    Where patches fall into clusters there is one set. Where noise hides clusters, EM starts from a few numbers of
    scattered patches.
    """
    if training.noise_variance_dn2 <= 0 or training.n_patches < _FEWEST_PATCHES:
        return
    if training.n_pixels > MOST_DENSE_PIXELS:
        return
    scale = LightScale.of(training)
    values = flat_values(training)
    x = values[canonical_order(values)]
    scaled = scale.to(x)
    coordinates, variance = _coordinates(scaled, scale.noise_of_patches(x))
    if variance.size == 0:
        return
    rng = np.random.default_rng([seed, 3])
    most = min(_MOST_TEMPLATES, len(x) // _FEWEST_LOOKS)
    labels = find_clusters(coordinates, variance, most, rng)
    if labels is None:
        return
    if labels.max() >= _FEW_CLUSTERS - 1:
        yield _refined(x, scale, _one_hot(labels), None)
        return
    law = PatternLaw.of_patches(scaled, scale.noise_of_patches(x))
    numbers = [int(labels.max()) + 1, *(n for n in _NUMBERS_WHEN_DIM if n <= most)]
    for number in numbers:
        start = labels if number == numbers[0] else scattered_clusters(coordinates, number, rng)
        yield _refined(x, scale, _one_hot(start), law)


def _one_hot(labels: np.ndarray) -> FloatArray:
    return np.asarray((labels == np.arange(labels.max() + 1)[:, None]).astype(np.float64))


def _refined(x: FloatArray, scale: LightScale, responsibility: FloatArray, law: PatternLaw | None) -> Templates:
    """Templates by EM over patches (n, D) [DN]; without `law` their own averages make it."""
    choice: CovarianceChoice | None = None
    for step in range(_EM_STEPS):
        counts = responsibility.sum(axis=1)
        kept = counts > 0.5
        counts, responsibility = counts[kept], responsibility[kept]
        average = (responsibility @ x) / counts[:, None]
        scaled, noise = scale.to(average), scale.noise(average).mean(axis=1) / counts
        if law is None and (choice is None or step == 1):
            choice = CovarianceChoice.best(scaled, noise, counts)
        own = law if choice is None else choice.law(scaled, noise, counts)
        if own is None:
            raise ValueError("no law of patterns")
        posterior, error = own.posterior(scaled, noise)
        mean, weights = scale.back(posterior), counts / counts.sum()
        noise_dn2 = scale.noise_dn2(mean)
        error_dn2 = error * noise_dn2
        before = responsibility
        responsibility = _responsibilities(x, mean, noise_dn2 + error_dn2, weights)
        if np.abs(responsibility - before).sum() < 1e-3 * len(x):
            break
    return Templates(mean, error_dn2, weights)


def _responsibilities(x: FloatArray, mean: FloatArray, variance: FloatArray, weights: FloatArray) -> FloatArray:
    """Posterior probability of each template (K, n) for patches x (n, D)."""
    precision = 1 / variance
    logs = -0.5 * (precision @ (x**2).T) + (precision * mean) @ x.T
    logs += (np.log(weights) - 0.5 * (np.log(variance) + precision * mean**2).sum(axis=1))[:, None]
    logs -= logs.max(axis=0)
    np.exp(logs, out=logs)
    return np.asarray(logs / logs.sum(axis=0))


def _coordinates(scaled: FloatArray, noise: float) -> tuple[FloatArray, FloatArray]:
    """Patches (n, q) of unit noise along the directions in which they differ most, and the variances of their light."""
    n, n_pixels = scaled.shape
    x = scaled - scaled.mean()
    scatter = x.T @ x / n
    share = n_pixels / (n_pixels + n)
    values, vectors = eigh(share * lag_average(scatter, round(n_pixels**0.5)) + (1 - share) * scatter)
    # The largest eigenvalue that noise alone would have (Marchenko and Pastur 1967), and then some.
    edge = noise * (share + (1 - share) * (1 + np.sqrt(n_pixels / n)) ** 2)
    seen = np.flatnonzero(values > edge + _LEAST_SIGNAL * noise)[-_MOST_COORDINATES:]
    return (x @ vectors[:, seen]) / np.sqrt(noise), values[seen] / noise - 1


@dataclass(frozen=True)
class LightScale:
    """A scale of light on which the camera's noise is about 1 everywhere; plain light where most of it is dark."""

    camera: CameraTable | None
    noise_sd_dn: float

    @classmethod
    def of(cls, patches: PatchSet) -> LightScale:
        """The scale for `patches`."""
        camera, noise_sd = patches.camera, float(np.sqrt(patches.noise_variance_dn2))
        # At few electrons single values lie around 0, where the scale is bent.
        bright = float(np.mean(flat_values(patches.thinned(1 << 16)))) > 3 * noise_sd
        return cls(camera if bright else None, noise_sd)

    def to(self, light_dn: FloatArray) -> FloatArray:
        """The scale's value of a light."""
        return light_dn / self.noise_sd_dn if self.camera is None else ROW_STEP * self.camera.row_of(light_dn)

    def back(self, scaled: FloatArray) -> FloatArray:
        """The light of a value."""
        return scaled * self.noise_sd_dn if self.camera is None else self.camera.light_at(scaled / ROW_STEP)

    def noise_dn2(self, light_dn: FloatArray) -> FloatArray:
        """Noise variance at a light [DN^2]."""
        if self.camera is None:
            return np.full(light_dn.shape, self.noise_sd_dn**2)
        return self.camera.variance_at(light_dn)

    def noise(self, light_dn: FloatArray) -> FloatArray:
        """Noise variance on the scale, near 1."""
        step = 0.5 * np.sqrt(self.noise_dn2(light_dn))
        return np.asarray((self.to(light_dn + step) - self.to(light_dn - step)) ** 2)

    def noise_of_patches(self, x: FloatArray) -> float:
        """Mean noise variance on the scale, over the pixels of patches (n, D)."""
        return float(self.noise(x.mean(axis=0)).mean())


@dataclass(frozen=True)
class PatternLaw:
    """Law of a pattern's light on the scale, N(mean, V diag(variance) V^T)."""

    mean: FloatArray
    vectors: FloatArray
    variance: FloatArray

    @classmethod
    def of_patches(cls, scaled: FloatArray, noise: float) -> PatternLaw:
        """Stationary part of the covariance of patches (n, D) less the noise."""
        n, n_pixels = scaled.shape
        x = scaled - scaled.mean()
        stationary = lag_average(x.T @ x / n - noise * np.eye(n_pixels), round(n_pixels**0.5))
        values, vectors = eigh(stationary)
        return cls(np.full(n_pixels, float(scaled.mean())), vectors, np.maximum(values, 1e-6))

    def posterior(self, average: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior means and variances (K, D) of patterns given averages with white noise (K,)."""
        factor = self.variance / (self.variance + noise[:, None])
        mean = (((average - self.mean) @ self.vectors) * factor) @ self.vectors.T + self.mean
        return np.asarray(mean), np.asarray((factor * noise[:, None]) @ (self.vectors**2).T)


@dataclass(frozen=True)
class CovarianceChoice:
    """How the law of patterns is made from averages.

    Its covariance lies between that of the averages and its stationary part, whose distant lags are tapered: few
    patterns say little about them.
    """

    by_position: bool
    stationary_part: float
    taper_px: float

    def law(self, average: FloatArray, noise: FloatArray, counts: FloatArray) -> PatternLaw:
        """The law behind averages (K, D) with white noise (K,) of as many patches as `counts`."""
        n_pixels = average.shape[1]
        share = counts / counts.sum()
        centre = share @ average
        if not self.by_position:
            centre = np.full(n_pixels, centre.mean())
        x = average - centre
        scatter = (x.T * share) @ x - float(share @ noise) * np.eye(n_pixels)
        size = round(n_pixels**0.5)
        stationary = lag_average(scatter, size) * np.exp(-0.5 * squared_distance(size) / self.taper_px**2)
        values, vectors = eigh(self.stationary_part * stationary + (1 - self.stationary_part) * scatter)
        return PatternLaw(centre, vectors, np.maximum(values, 1e-6))

    def evidence(self, average: FloatArray, noise: FloatArray, counts: FloatArray) -> float:
        """Log-likelihood of each half of the averages under the law that the other half makes."""
        total = 0.0
        for half in (0, 1):
            fitted, scored = (np.flatnonzero(np.arange(len(average)) % 2 == side) for side in (1 - half, half))
            law = self.law(average[fitted], noise[fitted], counts[fitted])
            variance = law.variance + noise[scored, None]
            rotated = (average[scored] - law.mean) @ law.vectors
            total -= 0.5 * float(np.sum(rotated**2 / variance + np.log(variance)))
        return total

    @classmethod
    def best(cls, average: FloatArray, noise: FloatArray, counts: FloatArray) -> CovarianceChoice:
        """The choice with the largest evidence; taper first."""
        if len(average) < _FEWEST_FOR_CHOICE:
            return cls(False, 1.0, _TAPERS_PX[-1])
        drafts = [cls(False, 1.0, taper) for taper in _TAPERS_PX]
        taper = max(drafts, key=lambda draft: draft.evidence(average, noise, counts)).taper_px
        drafts = [cls(at, part, taper) for at in (False, True) for part in _STATIONARY_PARTS]
        return max(drafts, key=lambda draft: draft.evidence(average, noise, counts))
