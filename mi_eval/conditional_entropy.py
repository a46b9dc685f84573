"""H(Z|Y): the entropy that the camera's own noise puts into a pixel, from noisy frames alone.

h(y) is the entropy of a code given the charge y, and H(Z|Y) = E[h(Y)]. The charge of no pixel is known, but
the law of the charge follows from the histogram of codes (`mi_eval.intensity`), which is all that an
expectation needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.charge_grid import charge_grid, class_tables, group_codes
from mi_eval.histograms import FrameHistograms
from mi_eval.identifiability import entropy_range, is_identifiable, least_noise_dn
from mi_eval.intensity import IntensityLaw, fit_intensity_law, influence_functions
from mi_eval.laws import entropy_by_law
from mi_eval.pixel_classes import PixelClasses, classify_pixels

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# From here on the entropy of a code does not depend on its phase: exp(-2 pi^2 0.8^2) is 3e-6.
_SMOOTH_NOISE_DN = 0.8
_TAIL_PROBABILITY = 1e-17  # where the table ends; outliers beyond it get this much


@dataclass(frozen=True)
class ConditionalEntropy:
    """H(Z|Y) in bits per pixel, with everything that error bars need.

    Parameters
    ----------
    value_bits : float
    interval_bits : tuple of float
        Values that the histogram cannot tell apart: (value, value) and solver tolerance where identifiable.
    identifiable : bool
    law : IntensityLaw or None
        None where h does not depend on the charge.
    influence_bits : ndarray (n_classes, n_codes)
        phi: its mean over pixels is the value, and a frame's mean less the value is the frame's influence.
    first_code : int
        Code of column 0 of ``influence_bits``.
    parameter_sensitivity_bits : dict
        dH(Z|Y)/dtheta at fixed frames, bits per unit of each parameter (DN/e-, e-, DN).
    sampling_std_bits : float
        Standard error of the value if pixels were independent: a lower bound for scenes with structure.
    widening : float
        1; above it where no law explains the histogram and the bands of the linear programme had to give.
    differential : bool
    parts : tuple
        (law, share of the pixels, result) where the sensor's channels have laws of their own.
    correlation_bits, correlation_std_bits : float
        What correlated noise has taken off the value (0 or below), and its standard error.
    """

    value_bits: float
    interval_bits: tuple[float, float]
    identifiable: bool
    law: IntensityLaw | None
    influence_bits: FloatArray
    first_code: int
    parameter_sensitivity_bits: dict[str, float]
    sampling_std_bits: float
    widening: float = 1.0
    differential: bool = False
    parts: tuple[tuple[int, float, ConditionalEntropy], ...] = ()
    correlation_bits: float = 0.0
    correlation_std_bits: float = 0.0

    def frame_influence(self, histograms: FrameHistograms) -> FloatArray:
        """Mean of phi over each frame's pixels, bits per pixel; shape (n_frames,)."""
        if (histograms.first_code, histograms.n_codes) != (self.first_code, self.influence_bits.shape[1]):
            raise PhotonbitsError(
                f"histograms of {histograms.n_codes} codes from {histograms.first_code}",
                legal=f"the {self.influence_bits.shape[1]} codes from {self.first_code} of the fit",
            )
        total = np.asarray(histograms.counts.sum(axis=1)).ravel()
        return np.asarray(histograms.counts @ self.influence_bits.ravel() / total, dtype=np.float64)


def conditional_entropy(
    histograms: FrameHistograms,
    classes: PixelClasses | NoiseModel,
    *,
    effective_sample_size: float | None = None,
) -> ConditionalEntropy:
    r"""H(Z|Y) in bits per pixel of the frames counted in ``histograms``.

    .. math:: H(Z|Y) = \sum_c \pi_c \sum_j w_j h_c(y_j)

    with one law w of the charge for all classes c of pixels, whose shares pi_c are those of the frames; a law for
    each channel where the classes say so (`laws.entropy_by_law`).

    Parameters
    ----------
    histograms : FrameHistograms
    classes : PixelClasses or NoiseModel
        What the histograms were counted with; a NoiseModel is classified again.
    effective_sample_size : float, optional
        Number of independent pixels that the histogram is worth where noise is correlated over pixels; used
        by the linear programme of the non-identifiable case. Default: all, right for independent noise.

    Raises
    ------
    PhotonbitsError
        If a code was measured that the noise model cannot produce.

    Notes
    -----
    Sensitivities follow the weights as they keep reproducing the data: to first order
    dH = sum_j w_j dh(y_j) - sum_z phi(z) dp(z), by central differences of the rows.
    """
    if isinstance(classes, NoiseModel):
        classes = classify_pixels(classes)
    counts = histograms.by_class
    if counts.shape[0] != len(classes.models):
        raise PhotonbitsError(
            f"histograms of {counts.shape[0]} classes with {len(classes.models)} classes of pixels",
            legal="the classes that the histograms were counted with",
        )
    if classes.law is not None:
        return entropy_by_law(
            histograms,
            classes,
            lambda own, its: conditional_entropy(own, its, effective_sample_size=effective_sample_size),
        )
    camera = classes.models[0].camera
    if camera.kind == "gaussian" and classes.differential and camera.response.is_linear:
        return _constant_entropy(histograms, classes, counts)
    reads = [float(m.camera.read_noise_e) for m in classes.models]
    highest = float(histograms.first_code + histograms.n_codes - 1)
    noise = min(least_noise_dn(m, highest) for m in classes.models)
    identifiable = is_identifiable(camera.kind, min(reads), noise, rounded=not classes.differential)
    identifiable &= clipped_fraction(histograms, classes) <= MOST_CLIPPED
    fit = _Fit.of(histograms, classes, counts, step=0.25 if identifiable else 0.125)
    law = fit_intensity_law(fit.counts, fit.tables, fit.y_e, column_codes=fit.column_codes)
    shares = np.array([float(n.sum()) for n in fit.counts]) / counts.sum()
    h = fit.entropies.T @ (counts.sum(axis=1) / counts.sum())
    value = float(h @ law.weights)
    total = float(counts.sum())
    ridges = (1.0,) if identifiable else (1.0, 1e-2, 1e2, 1e4)
    phi, *others = influence_functions(fit.tables, shares, law, h, total, ridges=ridges)
    family = [phi, *others]
    mean = sum(float(n @ f) for n, f in zip(fit.counts, phi, strict=True)) / total
    phi = [f + (value - mean) for f in phi]
    square = sum(float(n @ (f - value) ** 2) for n, f in zip(fit.counts, phi, strict=True)) / total
    std = float(np.sqrt(square / total))
    slack = std * float(np.sqrt(2 * law.certified_gap_nats))
    interval, widening = (value - slack, value + slack), 1.0
    if not identifiable:
        allowed = entropy_range(
            [n.astype(np.float64) for n in fit.counts],
            [table.toarray() for table in fit.tables],
            h,
            family,
            effective_fraction=min(effective_sample_size or total, total) / total,
        )
        interval = (float(min(allowed.lo, interval[0])), float(max(allowed.hi, interval[1])))
        widening = allowed.widening
    # A class's own mean entropy is known and moves with the share of its pixels in a frame.
    own = fit.entropies @ law.weights - h @ law.weights
    influence = np.stack([phi[f][fit.group] + own[c] for c, f in enumerate(classes.fit_class)])
    sensitivity = _sensitivity(fit, classes, counts, law, phi)
    return ConditionalEntropy(
        value,
        interval,
        identifiable,
        law,
        influence,
        histograms.first_code,
        sensitivity,
        std,
        widening,
        classes.differential,
    )


def _constant_entropy(histograms: FrameHistograms, classes: PixelClasses, counts: IntArray) -> ConditionalEntropy:
    """Gaussian noise of constant variance on real values: h = 0.5 log2(2 pi e K^2 r^2) in every class."""
    noise = [float(m.camera.system_gain_dn_per_e) * float(m.camera.read_noise_e) for m in classes.models]
    share = counts.sum(axis=1) / counts.sum()
    h = 0.5 * np.log2(2 * np.pi * math.e * np.square(noise))
    value = float(share @ h)
    means = [float(share @ [getattr(m.camera, name) for m in classes.models]) for name in _THETA[:2]]
    sensitivity = {name: float(1 / (np.log(2) * mean)) for name, mean in zip(_THETA[:2], means, strict=True)}
    std = float(np.sqrt(share @ (h - value) ** 2 / counts.sum()))
    influence = np.repeat(h[:, None], histograms.n_codes, axis=1)
    sensitivity["offset_dn"] = 0.0
    return ConditionalEntropy(
        value,
        (value, value),
        True,
        None,
        influence,
        histograms.first_code,
        sensitivity,
        std,
        differential=True,
    )


def clipped_fraction(histograms: FrameHistograms, classes: PixelClasses) -> float:
    """Share of the pixels at the highest code; 0 for real-valued measurements."""
    camera = classes.models[0].camera
    if camera.bit_depth is None:
        return 0.0
    column = int(camera.white_clip_dn) - histograms.first_code
    counts = histograms.by_class
    return float(counts[:, column:].sum() / counts.sum()) if 0 <= column < counts.shape[1] else 0.0


#: Share of clipped pixels from which the light beyond the clip decides H(Z|Y) and the codes do not tell it.
MOST_CLIPPED = 0.05
_THETA = ("system_gain_dn_per_e", "read_noise_e", "offset_dn")


@dataclass(frozen=True)
class _Fit:
    """Rows of all classes on one grid and one axis of grouped codes; both merged by fit class."""

    y_e: FloatArray
    group: IntArray
    column_codes: IntArray
    first_code: int
    models: tuple[NoiseModel, ...]
    entropies: FloatArray
    tables: list[sparse.csr_array]
    counts: list[IntArray]

    @classmethod
    def of(cls, histograms: FrameHistograms, classes: PixelClasses, counts: IntArray, *, step: float) -> _Fit:
        camera = classes.models[0].camera
        poisson = camera.kind != "gaussian"
        codes = histograms.first_code + np.arange(histograms.n_codes, dtype=np.float64)
        least = min(classes.models, key=lambda m: float(m.camera.read_noise_e))
        charge = _charge_of(least, codes * (classes.step_dn if camera.bit_depth is None else 1.0))
        variance = float(least.camera.read_noise_e) ** 2
        seen = charge[counts.sum(axis=0) > 0]
        noise_dn = float(least.camera.system_gain_dn_per_e) * float(np.sqrt(variance))
        if not poisson and camera.bit_depth is not None and noise_dn < _SMOOTH_NOISE_DN:
            # h(y) has the period of one code: the grid has to follow it.
            step = min(step, 0.1 / noise_dn)
        y_e = charge_grid(seen, variance, poisson=poisson, step=step)
        if camera.bit_depth is not None:
            charge[(codes <= camera.black_clip_dn) | (codes >= camera.white_clip_dn)] = np.inf
        group = group_codes(charge, variance, poisson=poisson)
        models, first = classes.models, histograms.first_code
        if camera.bit_depth is not None:
            models = tuple(_shortened(m, float(y_e[-1]), int(codes[-1])) for m in models)
        else:
            models, first = _coded(classes, float(y_e[-1]), float(y_e[0]), first, histograms.n_codes)
        grouped = np.stack([np.bincount(group, weights=n, minlength=group[-1] + 1) for n in counts])
        merged = np.zeros((int(classes.fit_class.max()) + 1, grouped.shape[1]))
        np.add.at(merged, classes.fit_class, grouped)
        weights = grouped.sum(axis=1) / np.maximum(merged.sum(axis=1), 1.0)[classes.fit_class]
        tables, entropies = class_tables(
            models,
            classes.fit_class,
            weights,
            y_e,
            first,
            group,
            step_dn=classes.step_dn if classes.differential else None,
            response_error=classes.response_error,
        )
        if camera.kind != "poisson" and variance > 0:
            tables = [_with_tails(table, n) for table, n in zip(tables, merged, strict=True)]
        labels = (histograms.first_code + np.flatnonzero(np.diff(group, prepend=-1))).astype(np.int64)
        return cls(y_e, group, labels, first, models, entropies, tables, list(merged.astype(np.int64)))


def _charge_of(model: NoiseModel, value_dn: FloatArray) -> FloatArray:
    """Charge whose noise-free value is ``value_dn``; codes above a full well stand for the full well."""
    camera = model.camera
    u = camera.response.inverse(value_dn - float(camera.offset_dn))
    top = camera.response.full_well_dn
    u = np.where(np.isfinite(u), u, 0.0 if top is None else top)
    return np.asarray(u / float(camera.system_gain_dn_per_e), dtype=np.float64)


def _shortened(model: NoiseModel, high_e: float, last_code: int) -> NoiseModel:
    """The same camera without the upper codes of a 32-bit range that no row reaches."""
    camera = model.camera
    reach = 10 * float(np.sqrt(max(high_e, 0.0) + float(camera.read_noise_e) ** 2)) + 60
    top = float(camera.response.evaluate(float(camera.system_gain_dn_per_e) * (high_e + reach)))
    needed = max(int(np.ceil(top + float(camera.offset_dn))), last_code) + 2
    if camera.white_clip_dn - needed < 2**17:
        return model
    return model.with_parameters(white_clip_dn=needed)


def _coded(
    classes: PixelClasses, high_e: float, low_e: float, first: int, n_codes: int
) -> tuple[tuple[NoiseModel, ...], int]:
    """Cameras whose codes are the bins of real values, offset so that no row reaches code 0 or the last."""
    step, coded = classes.step_dn, []
    read = max(float(m.camera.read_noise_e) for m in classes.models)
    gain = max(float(m.camera.system_gain_dn_per_e) for m in classes.models)
    shot = 0.0 if classes.models[0].camera.kind == "gaussian" else 1.0
    response = classes.models[0].camera.response
    reach = 10 * np.sqrt(shot * max(high_e, 0.0) + read**2) + 60 * shot
    below = int(np.ceil(10 * read * gain / step + max(0.0, -low_e * gain / step, -float(first)))) + 2
    above = int(np.ceil(float(response.evaluate(gain * (high_e + reach))) / step)) + below + 2
    above = max(above, first + n_codes + below)
    scaled = replace(
        response,
        scale_dn=response.scale_dn / step,
        full_well_dn=None if response.full_well_dn is None else response.full_well_dn / step,
    )
    for model in classes.models:
        coded.append(
            model.with_parameters(
                system_gain_dn_per_e=float(model.camera.system_gain_dn_per_e) / step,
                offset_dn=float(below),
                bit_depth=32,
                black_clip_dn=0,
                white_clip_dn=above,
                response=scaled,
            )
        )
    return tuple(coded), first + below


def _with_tails(table: sparse.csr_array, counts: FloatArray) -> sparse.csr_array:
    """Outliers colder than the table's 1e-17 tail still have some probability, at the darkest charge."""
    seen = np.asarray(table.sum(axis=0)).ravel() > 0
    lost = np.flatnonzero((counts > 0) & ~seen)
    if not lost.size:
        return table
    row = np.where(lost < np.argmax(seen), 0, table.shape[0] - 1)
    tail = sparse.coo_array((np.full(lost.size, _TAIL_PROBABILITY), (row, lost)), shape=table.shape)
    return sparse.csr_array(table + tail)


def _thinned(law: IntensityLaw) -> tuple[FloatArray, FloatArray]:
    """The law on at most about 300 charges: derivatives are smooth over neighbours on a long grid."""
    every = max(1, law.y_e.size // 300)
    starts = np.arange(0, law.y_e.size, every)
    w = np.add.reduceat(law.weights, starts)
    y = np.add.reduceat(law.weights * law.y_e, starts) / w
    return y[w > 1e-8], w[w > 1e-8]


def _sensitivity(
    fit: _Fit, classes: PixelClasses, counts: IntArray, law: IntensityLaw, phi: list[FloatArray]
) -> dict[str, float]:
    """dH/dtheta, classes of one fit class represented by their mean camera."""
    y_e, w = _thinned(law)
    share = counts.sum(axis=1) / counts.sum()
    means = {t: float(share @ [float(getattr(m.camera, t)) for m in classes.models]) for t in _THETA}
    slopes = dict.fromkeys(_THETA, 0.0)
    camera = classes.models[0].camera
    # On the lattice of a real-valued Poisson camera h does not depend on any of the three. With rounding and no
    # read noise rows are steps in K and offset; only a difference over many steps means something.
    relative, offset_step = (0.02, 0.25) if camera.kind == "poisson" else (1e-3, 0.01)
    lattice = camera.kind == "poisson" and camera.bit_depth is None
    models: list[NoiseModel] = []
    terms: list[tuple[int, str, float]] = []
    for f in np.unique(classes.fit_class):
        member = np.flatnonzero(classes.fit_class == f)
        weight = share[member].sum()
        if weight <= 0 or lattice:
            continue
        mean = {
            t: float(share[member] @ [float(getattr(fit.models[c].camera, t)) for c in member]) / weight for t in _THETA
        }
        base = fit.models[member[0]].with_parameters(**mean)
        steps = (relative * mean[_THETA[0]], 1e-2 * mean[_THETA[1]], offset_step)
        for theta, step in zip(_THETA, steps, strict=True):
            if step == 0:
                continue
            # Maps move together: gain and read noise in proportion, offsets by the same amount.
            if theta == "offset_dn":
                together = 1.0 / (classes.step_dn if classes.differential else 1.0)
            else:
                together = mean[theta] / max(means[theta], 1e-300)
            for sign in (-1, 1):
                models.append(base.with_parameters(**{theta: mean[theta] + sign * step}))
                terms.append((int(f), theta, sign * weight * together / (2 * step)))
    if not models:
        return slopes
    # The photo-response error is left out: it moves the derivative by a few per cent of itself.
    step_dn = classes.step_dn if classes.differential else None
    tables, entropies = class_tables(
        models, np.arange(len(models)), np.ones(len(models)), y_e, fit.first_code, fit.group, step_dn=step_dn
    )
    for (f, theta, factor), table, h in zip(terms, tables, entropies, strict=True):
        slopes[theta] += factor * (float(h @ w) - float(phi[f] @ (table.T @ w)))
    return {theta: float(slope) for theta, slope in slopes.items()}
