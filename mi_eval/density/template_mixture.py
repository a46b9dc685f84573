"""Repeated objects: every patch shows one of a few patterns, learnt from noisy looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from mi_eval.density.camera import CameraTable
from mi_eval.density.cells import log_normal_density, normal_cell_mass
from mi_eval.density.combine import combine_code_lengths, fit_mixture_weights
from mi_eval.density.full_gaussian import FullGaussian
from mi_eval.density.gaussian import LEAST_SD, OUTLIER_WEIGHTS, FittedGaussian
from mi_eval.density.interface import FittedDensity, flat_edges, flat_values
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.template_learning import Templates, learn_templates

_TRAINING_PIXELS = 1 << 21
# Pixels that choose between drafts: all, at least, and as many pixels times templates.
_TUNING_PIXELS = 1 << 18
_LEAST_TUNING_PIXELS = 1 << 15
_TUNING_MASSES = 1 << 22
# Variance beyond noise and the templates' own error that is tried, in units of the noise variance.
_EXTRA_VARIANCES = (0.0, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class TemplateMixture:
    r"""A mixture of templates under the camera's noise, with a Gaussian for what is none of them.

    .. math:: q(z) = w_0\,q_\mathrm{Gauss}(z) + \sum_k w_k \prod_i p(z_i\,|\,m_{ki} \pm c_{ki})

    Templates :math:`m_k` are shrunk means of the light of clusters of patches, :math:`c_k` their standard errors
    (`learn_templates`). Pixel probabilities are those of the camera averaged over that error, exact where all pixels
    have one lattice of codes, else Gaussian with the camera's variance. As a sequential code the mixture learns which
    template it sees while it reads the patch. Held-out codes decide on the weight of the Gaussian, on variance beyond
    the noise, and whether there are templates at all.
    """

    name: str = "template_mixture"

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, base: FittedGaussian | None = None
    ) -> FittedTemplateMixture:
        """Fit to `train`, choosing on `validation`; `base`, a full Gaussian of the same, is not refitted."""
        if base is None:
            base = FullGaussian().fit(train, validation, seed)
        none = FittedTemplateMixture(
            self.name,
            train.patch_size,
            base,
            np.empty((0, train.n_pixels)),
            np.empty((0, train.n_pixels)),
            np.ones(1),
            train.noise_variance_dn2,
            train.camera,
            0.0,
            base.outlier_weight,
        )
        best, shortest = none, np.inf
        for found in learn_templates(train.thinned(_TRAINING_PIXELS), seed):
            tuning = validation.thinned(_TUNING_PIXELS)
            bits, draft = _tuned(none, found, tuning)
            if bits < shortest:
                best, shortest = draft, bits
        return best


def _tuned(none: FittedTemplateMixture, found: Templates, tuning: PatchSet) -> tuple[float, FittedTemplateMixture]:
    """Bits on `tuning`, and the mixture of templates and Gaussian that needs fewest."""
    tuning = tuning.thinned(max(_LEAST_TUNING_PIXELS, _TUNING_MASSES // max(len(found.mean_dn), 64)))
    base_bits = none.base.code_length_bits(tuning)
    best, shortest = none, float(base_bits.sum())
    for outlier_weight in OUTLIER_WEIGHTS[::3]:
        worse = True
        for extra in _EXTRA_VARIANCES:
            draft = replace(
                none,
                templates_dn=found.mean_dn,
                error_dn2=found.error_dn2,
                weights=np.append(0.0, found.weights),
                extra_variance=extra,
                outlier_weight=float(outlier_weight),
            )
            lengths = np.stack([base_bits, draft.code_length_bits(tuning)], axis=1)
            share = fit_mixture_weights(lengths)
            bits = float(combine_code_lengths(lengths, share).sum())
            if bits >= shortest:
                break
            best = replace(draft, weights=np.append(share[0], share[1] * found.weights))
            shortest, worse = bits, False
        if worse:
            break
    return shortest / tuning.n_patches, best


@dataclass(frozen=True)
class FittedTemplateMixture(FittedDensity):
    """See `TemplateMixture`; ``weights`` begins with that of the Gaussian, `base`."""

    name: str
    patch_size: int
    base: FittedGaussian
    templates_dn: FloatArray
    error_dn2: FloatArray
    weights: FloatArray
    noise_variance_dn2: float
    camera: CameraTable | None
    extra_variance: float
    outlier_weight: float

    @property
    def n_templates(self) -> int:
        """Number of templates."""
        return len(self.templates_dn)

    def _pixel_bits(self, patches: PatchSet) -> FloatArray:
        if not self.n_templates:
            return self.base._pixel_bits(patches)
        bits = np.empty((patches.n_patches, patches.n_pixels))
        for pixel, (posterior, masses) in enumerate(self._read(patches)):
            bits[:, pixel] = -np.log2(np.einsum("nk,nk->n", posterior, masses))
        return bits if patches.discrete else bits + patches.log2_response()

    def _conditional_cdf(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        if not self.n_templates:
            return self.base._conditional_cdf(patches)
        base = self.base._conditional_cdf(patches)
        law = _PixelLaw(self, patches)
        low, high = np.empty((2, patches.n_patches, patches.n_pixels))
        for pixel, (posterior, _) in enumerate(self._read(patches)):
            for out, side, ends in ((low, 0, base[0]), (high, 1, base[1])):
                out[:, pixel] = posterior[:, 0] * ends[:, pixel]
                out[:, pixel] += np.einsum("nk,nk->n", posterior[:, 1:], law.cdf(pixel, side))
        return np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)

    def _read(self, patches: PatchSet) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Posterior weights before each pixel is read, and masses (or densities of light) at it, (n, 1 + K) each."""
        base_bits = self.base._pixel_bits(patches)
        base_mass = 2.0 ** -(base_bits if patches.discrete else base_bits - patches.log2_response())
        law = _PixelLaw(self, patches)
        posterior = np.tile(self.weights, (patches.n_patches, 1))
        masses = np.empty_like(posterior)
        for pixel in range(patches.n_pixels):
            masses[:, 0] = base_mass[:, pixel]
            masses[:, 1:] = law.mass(pixel)
            yield posterior, masses
            posterior *= masses
            posterior /= posterior.sum(axis=1, keepdims=True)


class _PixelLaw:
    """Masses and cdfs of one pixel under every template, with the outlier component mixed in; (n, K) each."""

    def __init__(self, model: FittedTemplateMixture, patches: PatchSet) -> None:
        self.model, self.patches = model, patches
        self.epsilon = model.outlier_weight
        histogram = model.base.histogram
        self.broad_mass = self.epsilon * histogram.weigh(patches)
        self.values = flat_values(patches)
        self.edges = flat_edges(patches) if patches.discrete else (self.values, self.values)
        self.broad_cdf: tuple[FloatArray, FloatArray] | None = None
        camera = model.camera
        self.pmf = None if camera is None else camera.pmf
        if camera is not None and self.pmf is not None:
            flat = patches.codes.reshape(patches.n_patches, -1)
            self.column = np.rint((flat - camera.first_code_dn) / camera.lattice_dn).astype(np.int64)
        noise = (
            np.full(model.templates_dn.shape, model.noise_variance_dn2)
            if camera is None
            else camera.variance_at(model.templates_dn)
        )
        spread = model.error_dn2 + model.extra_variance * noise
        # The cell adds the rounding variance that the noise holds already.
        least = (LEAST_SD * patches.lattice_dn) ** 2 if patches.lattice_dn is not None else 0.0
        self.sd = np.sqrt(np.maximum(noise + spread - patches.rounding_variance_dn2, least))
        self.spread_sd = np.sqrt(spread)

    def mass(self, pixel: int) -> FloatArray:
        """Mass of each patch's cell, or density of its value."""
        broad = self.broad_mass[:, pixel, None]
        if self.pmf is not None:
            mass = self._rows(pixel, cumulative=False)
        elif self.patches.discrete:
            lower, upper = (edge[:, pixel, None] for edge in self.edges)
            mean, sd = self._mean_sd(pixel)
            mass = normal_cell_mass(*np.broadcast_arrays(lower, upper, mean, sd))
        else:
            mass = np.exp(log_normal_density(self.values[:, pixel, None], *self._mean_sd(pixel)))
        mass *= 1 - self.epsilon
        mass += broad
        return mass

    def cdf(self, pixel: int, side: int) -> FloatArray:
        """Cdf at the lower (0) or upper (1) edge of each patch's cell."""
        if self.broad_cdf is None:
            histogram = self.model.base.histogram
            self.broad_cdf = (histogram.cdf(self.edges[0]), histogram.cdf(self.edges[1]))
        edge = self.edges[side][:, pixel, None]
        if self.pmf is not None:
            below = self._rows(pixel, cumulative=True, shift=side)
        else:
            mean, sd = self._mean_sd(pixel)
            below = ndtr((edge - mean) / sd)
        return np.asarray((1 - self.epsilon) * below + self.epsilon * self.broad_cdf[side][:, pixel, None])

    def _mean_sd(self, pixel: int) -> tuple[FloatArray, FloatArray]:
        return self.model.templates_dn[None, :, pixel], self.sd[None, :, pixel]

    def _rows(self, pixel: int, *, cumulative: bool, shift: int = 0) -> FloatArray:
        """Entries of the averaged table at the codes of a pixel, (n, K)."""
        camera = self.model.camera
        if camera is None or self.pmf is None:
            raise ValueError("no table of codes")
        column = self.column[:, pixel]
        first, last = max(int(column.min()), 0), min(int(column.max()), self.pmf.shape[1] - 1)
        if first > last:
            return np.full((column.size, self.model.n_templates), float(cumulative and column[0] > 0))
        part = slice(0, last + 1) if cumulative else slice(first, last + 1)
        table = self._averaged(pixel, self.pmf[:, part])
        if not cumulative:
            inside = (column >= first) & (column <= last)
            mass = np.ascontiguousarray(table.T)[np.where(inside, column - first, 0)]
            return mass if inside.all() else np.where(inside[:, None], mass, 0.0)
        below = np.zeros((last + 2, len(table)))
        np.cumsum(table.T, axis=0, out=below[1:])
        if last == self.pmf.shape[1] - 1:
            below[-1] = 1.0
        return below[np.clip(column + shift, 0, last + 1)]

    def _averaged(self, pixel: int, pmf: FloatArray) -> FloatArray:
        """Probability of codes under each template, averaged over its error by two points, (K, n_codes)."""
        camera = self.model.camera
        if camera is None:
            raise ValueError("no table of codes")
        light = self.model.templates_dn[:, pixel]
        row, last = camera.row_of(light), pmf.shape[0] - 1
        spread = 0.5 * (
            camera.row_of(light + self.spread_sd[:, pixel]) - camera.row_of(light - self.spread_sd[:, pixel])
        )
        # Interpolation between rows blurs by a sixth of a row^2 on average: that much is in already.
        reach = np.sqrt(np.maximum(spread**2 - 1 / 6, 0.0))
        total = np.zeros((light.size, pmf.shape[1]))
        for side in (-1.0, 1.0):
            at = np.clip(row + side * reach, 0.0, last)
            low = np.minimum(at.astype(np.int64), last - 1)
            share = (at - low)[:, None]
            total += 0.5 * ((1 - share) * pmf[low] + share * pmf[low + 1])
        return total
