"""Patches like given ones whose probabilities are known: light from a fitted density, codes by the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.code_lengths import HeldOut
from mi_eval.density import PatchSet, fit_closed_form
from mi_eval.density.camera import CameraTable, camera_table
from mi_eval.density.gaussian import FittedGaussian, Innovations
from mi_eval.density.interface import FittedDensity
from mi_eval.density.scale_mixture import FittedScaleMixture
from mi_eval.density.template_mixture import FittedTemplateMixture
from mi_eval.intensity import IntensityLaw

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Families that can be drawn from, by the name in the score; the recalibrated Gaussian stands on the scale mixture.
_DRAWN = {
    "code_histogram": "code_histogram",
    "stationary_gaussian": "stationary_gaussian",
    "full_gaussian": "full_gaussian",
    "template_mixture": "template_mixture",
    "scale_mixture": "scale_mixture",
    "recalibrated_gaussian": "scale_mixture",
}
# Contrasts with less weight are left out.
_LEAST_WEIGHT = 0.01
# Light varies at least by this many standard deviations of the noise around its prediction.
_LEAST_LIGHT_SD = 0.05


@dataclass(frozen=True)
class TwinSource:
    """Laws of patches with their weights, and the camera on its grid of light."""

    family: str
    model: NoiseModel
    table: CameraTable
    weights: FloatArray
    gaussians: tuple[Innovations, ...]
    lights: IntArray
    single: FloatArray | None
    patch_size: int

    @classmethod
    def of(
        cls, patches: PatchSet, heldout: HeldOut, noise_model: NoiseModel, law: IntensityLaw | None, seed: int
    ) -> TwinSource:
        """The source for coded patches, their camera and the deconvolved law of their light.

        Raises
        ------
        PhotonbitsError
            For mosaics, and cameras without a table of codes.
        """
        if patches.place_class is not None:
            raise PhotonbitsError("twins of a mosaic", legal="sensors with one channel")
        bits = np.nanmean(heldout.family_bits, axis=0)
        known = [(float(b), _DRAWN[n]) for n, b in zip(heldout.names, bits, strict=True) if n in _DRAWN]
        family = min(known)[1]
        camera = noise_model.camera
        model = NoiseModel.from_parameters(
            kind=camera.kind,
            system_gain_dn_per_e=float(camera.system_gain_dn_per_e),
            read_noise_e=float(np.mean(camera.read_noise_e)),
            offset_dn=float(np.mean(camera.offset_dn)),
            bit_depth=camera.bit_depth,
            black_clip_dn=None if camera.bit_depth is None else int(camera.black_clip_dn),
            white_clip_dn=None if camera.bit_depth is None else int(camera.white_clip_dn),
            response=camera.response,
        )
        table = camera_table(model, float(patches.codes.min()), float(patches.codes.max()), own_cells=False)
        if table.pmf is None:
            raise PhotonbitsError(
                f"no table of codes for {table.light_dn.size} levels of light",
                legal="integer codes of at most 8 million pairs of a code and a light, for twins",
            )
        weights, lights, single = np.ones(1), np.empty((0, patches.n_pixels), dtype=np.int64), None
        gaussians: tuple[Innovations, ...] = ()
        if family == "code_histogram" and law is not None:
            kept = law.weights > 0
            single = law.weights[kept] / law.weights[kept].sum()
            table = _table_of(model, law.y_e[kept])
        else:
            fitted = _fitted(patches, "stationary_gaussian" if family == "code_histogram" else family, seed)
            weights, gaussians, lights = _components(fitted, table)
        return cls(family, model, table, weights, gaussians, lights, single, patches.patch_size)

    @property
    def n_terms(self) -> int:
        """Lights times laws that the probability of a pixel is a sum over."""
        return max(1, len(self.gaussians)) * self.table.light_dn.size

    def draw(self, n: int, rng: np.random.Generator) -> tuple[NDArray[Any], IntArray]:
        """Codes (n, p, p), and the rows of the grid that their light was, (n, p*p)."""
        size = self.patch_size**2
        charge, offset = self.table.charge_e, float(self.model.camera.offset_dn)
        last = charge.size - 1
        if self.single is not None:
            rows = rng.choice(charge.size, size=(n, size), p=self.single)
            return self.model.sample(charge[rows], rng).reshape(n, self.patch_size, -1), rows
        kind = rng.choice(self.weights.size, size=n, p=self.weights)
        rows = np.empty((n, size), dtype=np.int64)
        codes = np.empty((n, size), dtype=self.model.sample(charge[:1], rng).dtype)
        n_gaussians = len(self.gaussians)
        fixed = np.flatnonzero(kind >= n_gaussians)
        rows[fixed] = self.lights[kind[fixed] - n_gaussians]
        codes[fixed] = self.model.sample(charge[rows[fixed]], rng)
        for number, gaussian in enumerate(self.gaussians):
            own = np.flatnonzero(kind == number)
            innovations = np.empty((own.size, size))
            for pixel in range(size):
                factor = gaussian.cholesky_dn[pixel]
                mean = gaussian.mean_dn[pixel] + innovations[:, :pixel] @ factor[:pixel]
                light = mean + self._light_sd(mean, factor[pixel]) * rng.standard_normal(own.size)
                rows[own, pixel] = np.clip(np.rint(self.table.row_of(light)), 0, last).astype(np.int64)
                codes[own, pixel] = self.model.sample(charge[rows[own, pixel]], rng)
                innovations[:, pixel] = (codes[own, pixel] - offset - mean) / factor[pixel]
        return codes.reshape(n, self.patch_size, -1), rows

    def _light_sd(self, mean_dn: FloatArray, code_sd_dn: float) -> FloatArray:
        """Standard deviation of the light around its prediction: that of codes less the noise there."""
        noise = self.table.variance_at(mean_dn)
        return np.sqrt(np.maximum(code_sd_dn**2 - noise, _LEAST_LIGHT_SD**2 * noise))

    def surprise_bits(self, codes: NDArray[Any]) -> FloatArray:
        """Minus log2 p(z) of patches, (n,)."""
        column = self._columns(codes)
        pmf = self._pmf()
        if self.single is not None:
            return np.asarray(-np.log2(self.single @ pmf)[column].sum(axis=1))
        logs = [self._gaussian_nats(gaussian, codes, column) for gaussian in self.gaussians]
        for light in self.lights:
            logs.append(np.log(np.maximum(pmf[light[None, :], column], 1e-300)).sum(axis=1))
        return np.asarray(-logsumexp(np.stack(logs, axis=1) + np.log(self.weights), axis=1) / np.log(2))

    def _gaussian_nats(self, gaussian: Innovations, codes: NDArray[Any], column: IntArray) -> FloatArray:
        """Log of the probability of patches whose light is predicted by one Gaussian, (n,)."""
        pmf = self._pmf()
        values = codes.reshape(len(codes), -1).astype(np.float64) - float(self.model.camera.offset_dn)
        means, _ = gaussian.innovate(values)
        edges = self.table.light_at(np.arange(-0.5, pmf.shape[0]))
        total = np.zeros(len(codes))
        for pixel in range(values.shape[1]):
            mean = means[:, pixel]
            sd = self._light_sd(mean, gaussian.sd_dn[pixel])
            first = int(np.clip(np.searchsorted(edges, float((mean - 9 * sd).min())) - 1, 0, pmf.shape[0] - 1))
            last = int(np.clip(np.searchsorted(edges, float((mean + 9 * sd).max())) + 1, first + 1, pmf.shape[0]))
            below = ndtr((edges[None, first : last + 1] - mean[:, None]) / sd[:, None])
            if first == 0:
                below[:, 0] = 0.0  # the outermost lights stand for all beyond
            if last == pmf.shape[0]:
                below[:, -1] = 1.0
            seen = pmf[first:last, column[:, pixel]].T
            total += np.log(np.maximum((np.diff(below, axis=1) * seen).sum(axis=1), 1e-300))
        return total

    def log2_noise(self, codes: NDArray[Any], rows: IntArray) -> FloatArray:
        """Sum of log2 p(z_i|y_i), (n,)."""
        return np.asarray(np.log2(self._pmf()[rows, self._columns(codes)]).sum(axis=1))

    def patches(self, codes: NDArray[Any], like: PatchSet) -> PatchSet:
        """A set of drawn patches in the place of ``like``."""
        return replace(
            like,
            codes=codes,
            offset_dn=float(self.model.camera.offset_dn),
            relative_response=1.0,
            camera=camera_table(self.model, float(codes.min()), float(codes.max()), own_cells=False),
            cells=None,
        )

    def _pmf(self) -> FloatArray:
        if self.table.pmf is None:
            raise ValueError("no table of codes")
        return self.table.pmf

    def _columns(self, codes: NDArray[Any]) -> IntArray:
        flat = codes.reshape(len(codes), -1).astype(np.float64)
        return np.rint((flat - self.table.first_code_dn) / self.table.lattice_dn).astype(np.int64)


def _fitted(patches: PatchSet, family: str, seed: int) -> FittedDensity:
    """The family, fitted to four fifths of the frames."""
    groups = np.random.default_rng([seed, 30]).permutation(np.unique(patches.frame_index))
    choosing = np.isin(patches.frame_index, groups[: max(1, groups.size // 5)])
    train, validation = (patches.take(np.flatnonzero(rows)) for rows in (~choosing, choosing))
    return next(fitted for fitted in fit_closed_form(train, validation, seed) if fitted.name == family)


def _components(fitted: FittedDensity, table: CameraTable) -> tuple[FloatArray, tuple[Innovations, ...], IntArray]:
    """Weights, Gaussians, and rows of the grid of fixed lights."""
    none = np.empty((0, fitted.patch_size**2), dtype=np.int64)
    if isinstance(fitted, FittedGaussian):
        return np.ones(1), (fitted.innovations,), none
    if isinstance(fitted, FittedScaleMixture):
        kept = fitted.weights >= min(_LEAST_WEIGHT, float(fitted.weights.max()))
        experts = tuple(expert for expert, keep in zip(fitted.experts, kept, strict=True) if keep)
        return fitted.weights[kept] / fitted.weights[kept].sum(), experts, none
    if isinstance(fitted, FittedTemplateMixture):
        if not fitted.n_templates:
            return np.ones(1), (fitted.base.innovations,), none
        last = table.light_dn.size - 1
        rows = np.clip(np.rint(table.row_of(fitted.templates_dn)), 0, last).astype(np.int64)
        weights = np.maximum(fitted.weights, 1e-9)
        return weights / weights.sum(), (fitted.base.innovations,), rows
    raise ValueError(f"{fitted.name} cannot be drawn from")


def _table_of(model: NoiseModel, charge_e: FloatArray) -> CameraTable:
    """Exact probabilities of codes for given charges."""
    if model.bit_depth is None:
        raise PhotonbitsError("real-valued measurements of independent pixels", legal="integer codes, for twins")
    rows = model.code_table(charge_e).pmf
    columns = np.unique(rows.indices)
    start, stop = int(columns[0]), int(columns[-1]) + 1
    dense = rows[:, start:stop].toarray()
    dense /= dense.sum(axis=1, keepdims=True)
    signal = np.asarray(model.camera.response.evaluate(float(model.camera.system_gain_dn_per_e) * charge_e))
    first = float(model.camera.black_clip_dn) + start
    return CameraTable(charge_e, signal, np.asarray(model.variance_dn2(charge_e)), dense, first)
