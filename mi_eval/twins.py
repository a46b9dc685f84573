"""Digital twins: frames drawn from a fitted density through the camera, scored where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from calibrate import NoiseModel, PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.density import PatchSet, fit_closed_form
from mi_eval.density.camera import CameraTable, camera_table
from mi_eval.density.gaussian import FittedGaussian, Innovations
from mi_eval.density.interface import FittedDensity
from mi_eval.density.scale_mixture import FittedScaleMixture
from mi_eval.density.template_mixture import FittedTemplateMixture
from mi_eval.estimate import information_estimate
from mi_eval.pixel_classes import classify_pixels
from mi_eval.score_parts import ScoreParts, parts_of

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
# Probabilities of a pixel under a light that are computed for the truth (some 10 s), and fewest patches of each twin.
_JUDGING = 6e8
_FEWEST_JUDGED = 100
# Contrasts with less weight are left out.
_LEAST_WEIGHT = 0.01
# Light varies at least by this many standard deviations of the noise around its prediction.
_LEAST_LIGHT_SD = 0.05


@dataclass(frozen=True)
class TwinReport:
    """What scores of twins were, against their truth. All in bits per pixel.

    Parameters
    ----------
    family : str
        The density that the twins' light was drawn from.
    true, true_std
        Their information by Monte Carlo, and its standard error.
    errors : ndarray (n_twins,)
        Score less truth.
    bias, bias_std
        Mean error and its standard error: where the probability of every patch was computed, against the mean of the
        very same patches, which takes their chance out.
    stds, inside : ndarray (n_twins,)
        Stated standard error; whether the 95 % interval holds the truth.
    half_training_excess, measured_excess, measured_excess_std
        Mean finite-sample excess that the scores took off, and the mean of held-out code length less -log2 p(z) of the
        same patches: the parametric bootstrap of the excess.
    """

    family: str
    true: float
    true_std: float
    errors: FloatArray
    bias: float
    bias_std: float
    stds: FloatArray
    inside: NDArray[np.bool_]
    half_training_excess: float
    measured_excess: float
    measured_excess_std: float

    def to_dict(self) -> dict[str, Any]:
        """The block ``twins`` of score.json."""
        n = self.errors.size
        return {
            "family": self.family,
            "twins": n,
            "true_bits_per_pixel": {"value": self.true, "std": self.true_std},
            "bias_bits_per_pixel": {"value": self.bias, "std": self.bias_std},
            "error_spread_bits_per_pixel": float(self.errors.std(ddof=1)),
            "stated_std_bits_per_pixel": float(self.stds.mean()),
            "intervals_that_hold_the_truth": int(self.inside.sum()),
            "excess_bits_per_pixel": {
                "half_training": self.half_training_excess,
                "measured": self.measured_excess,
                "measured_std": self.measured_excess_std,
            },
        }


def score_twins(parts: ScoreParts, n_twins: int) -> TwinReport:
    r"""Draw twins of scored frames, score each, and compare with their truth.

    The family with the shortest held-out codes (the scale mixture in place of the recalibrated Gaussian, and the best
    closed form in place of a network) says what light to expect at a pixel after the earlier measurements of its patch:
    a normal law, from whose variance the noise is taken, an independent draw from the deconvolved law, or a template.
    The light is drawn on a grid a quarter of the noise apart, and the camera makes the code of it. So
    :math:`p(z_i \mid z_{<i}) = \sum_k w_k(z_{<i})\,p(z_i \mid y_k)` is exact, and the truth is

    .. math:: T = \tfrac1D\,E\Big[-\log_2 p(z) + \sum_i \log_2 p(z_i \mid y_i)\Big]

    by Monte Carlo: the entropy of the codes less that of the noise, which is what a score estimates. There are as many
    frames and patches as in the score, and the patches of a frame are independent. The camera is the noise model's
    without maps and without error, so that the intervals hold sampling and slack alone.

    Raises
    ------
    PhotonbitsError
        For fewer than 2 twins, mosaics, and cameras without a table of codes (light so bright, or a real-valued
        measurement with shot noise).
    """
    if n_twins < 2:
        raise PhotonbitsError(f"{n_twins} twins", legal="2 or more")
    if parts.data.patches.place_class is not None:
        raise PhotonbitsError("twins of a mosaic", legal="sensors with one channel")
    source = _Twin.of(parts)
    classes = classify_pixels(source.model, parts.source.shape)
    pixels = parts.patch_size**2
    errors, stds, spans = np.empty(n_twins), np.empty(n_twins), np.empty((n_twins, 2))
    truths: list[FloatArray] = []
    growth, excess = np.empty(n_twins), np.empty(n_twins)
    n_patches = parts.data.patches.n_patches
    wanted = int(_JUDGING / (n_twins * pixels * source.n_terms))
    n_judged = min(n_patches, max(wanted, _FEWEST_JUDGED))
    for number in track(range(n_twins), "Scoring twins", total=n_twins):
        rng = np.random.default_rng([parts.seed, 31, number])
        codes, rows = source.draw(n_patches, rng)
        judged = np.sort(rng.permutation(n_patches)[:n_judged])
        surprise = source.surprise_bits(codes[judged])
        truths.append((surprise + source.log2_noise(codes[judged], rows[judged])) / pixels)
        data = replace(parts.data, patches=source.patches(codes, parts.data.patches))
        scored = parts_of(parts.source, source.model, data, classes, parts.seed, "closed-form")
        found = information_estimate(scored).mutual_information_bits_per_pixel
        errors[number], stds[number], spans[number] = found.value, found.std, found.ci95
        growth[number] = float(np.mean(scored.heldout.excess_bits)) / pixels
        excess[number] = float(np.mean(scored.heldout.full_bits[judged] - surprise)) / pixels
    every = np.concatenate(truths)
    true, true_std = float(every.mean()), float(every.std(ddof=1) / np.sqrt(every.size))
    if n_judged == n_patches:
        paired = errors - np.array([own.mean() for own in truths])
        bias, bias_std = float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(n_twins))
    else:
        bias = float(errors.mean()) - true
        bias_std = float(np.hypot(errors.std(ddof=1) / np.sqrt(n_twins), true_std))
    return TwinReport(
        family=source.family,
        true=true,
        true_std=true_std,
        errors=errors - true,
        bias=bias,
        bias_std=bias_std,
        stds=stds,
        inside=(spans[:, 0] <= true) & (true <= spans[:, 1]),
        half_training_excess=float(growth.mean()),
        measured_excess=float(excess.mean()),
        measured_excess_std=float(excess.std(ddof=1) / np.sqrt(n_twins)),
    )


@dataclass(frozen=True)
class _Twin:
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
    def of(cls, parts: ScoreParts) -> _Twin:
        patches, bits = parts.data.patches, np.nanmean(parts.heldout.family_bits, axis=0)
        known = [(float(b), _DRAWN[n]) for n, b in zip(parts.heldout.names, bits, strict=True) if n in _DRAWN]
        family = min(known)[1]
        camera = parts.model.camera
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
        if family == "code_histogram" and parts.noise.law is not None:
            kept = parts.noise.law.weights > 0
            single = parts.noise.law.weights[kept] / parts.noise.law.weights[kept].sum()
            table = _table_of(model, parts.noise.law.y_e[kept])
        else:
            fitted = _fitted(patches, "stationary_gaussian" if family == "code_histogram" else family, parts.seed)
            weights, gaussians, lights = _components(fitted, table)
        return cls(family, model, table, weights, gaussians, lights, single, parts.patch_size)

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
