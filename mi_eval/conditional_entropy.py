"""H(Z|Y): the entropy that the camera's own noise puts into a pixel, from noisy frames alone.

h(y) is the entropy of a code given the charge y, and H(Z|Y) = E[h(Y)]. The charge of no pixel is known, but the
law of the charge follows from the histogram of codes (`mi_eval.intensity`), and that is all an expectation needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.identifiability import entropy_range, is_identifiable
from mi_eval.intensity import (
    IntensityLaw,
    charge_grid,
    class_rows,
    fit_intensity_law,
    group_codes,
    influence_functions,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_READ_CLASSES = 16
_PHASES = 4
_COARSE_NOISE_DN = 0.7  # below this K r the phase of the offset within a code matters
_LARGEST_READ_RATIO = 1.2  # within one class
_GAIN_CLASS_WIDTH = 0.05
_TAIL_PROBABILITY = 1e-17  # where the table ends; outliers beyond it get this much
_DENSE_CELLS = 50_000_000


@dataclass(frozen=True)
class PixelClasses:
    """Pixels of like noise, and how their measurements become codes of one axis.

    Parameters
    ----------
    models : tuple of NoiseModel
        Scalar model of each class, offset relative to ``shift_dn``.
    fit_class : ndarray (n_classes,)
        Classes that share a histogram in the deconvolution; their rows are averaged, which is exact.
    index : ndarray (height, width) or None
        Class of each pixel, -1 where a map is not finite; None for one class.
    shift_dn : ndarray (height, width) or float
        Taken off each measurement: the whole part of the pixel's offset, less their mean. Crop both maps as
        the frames are cropped.
    step_dn : float
        Width of a code, 1 unless measurements are real-valued.
    differential : bool
        Whether codes are bins of real values.
    response_error : float
        Relative standard error of the photo-response map (rms).
    """

    models: tuple[NoiseModel, ...]
    fit_class: IntArray
    index: IntArray | None = None
    shift_dn: FloatArray | float = 0.0
    step_dn: float = 1.0
    differential: bool = False
    response_error: float = 0.0


@dataclass(frozen=True)
class FrameHistograms:
    """Counts of codes by frame and class of pixels.

    Parameters
    ----------
    counts : csr_array (n_frames, n_classes * n_codes)
        Column c * n_codes + i counts code ``first_code + i`` among pixels of class c.
    first_code, n_codes : int
    frames : ndarray (n_frames,)
        Frame of each row, increasing.
    """

    counts: sparse.csr_array
    first_code: int
    n_codes: int
    frames: IntArray

    @property
    def by_class(self) -> IntArray:
        """Counts over all frames, (n_classes, n_codes)."""
        return np.asarray(self.counts.sum(axis=0), dtype=np.int64).reshape(-1, self.n_codes)


@dataclass(frozen=True)
class ConditionalEntropy:
    """H(Z|Y) in bits per pixel, with everything that error bars need.

    Parameters
    ----------
    value_bits : float
    interval_bits : tuple of float
        Values that the histogram cannot tell apart; apart from solver tolerance (value, value) where identifiable.
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

    def frame_influence(self, histograms: FrameHistograms) -> FloatArray:
        """Mean of phi over each frame's pixels, bits per pixel; shape (n_frames,)."""
        if (histograms.first_code, histograms.n_codes) != (self.first_code, self.influence_bits.shape[1]):
            raise PhotonbitsError(
                f"histograms of {histograms.n_codes} codes from {histograms.first_code}",
                legal=f"the {self.influence_bits.shape[1]} codes from {self.first_code} of the fit",
            )
        total = np.asarray(histograms.counts.sum(axis=1)).ravel()
        return np.asarray(histograms.counts @ self.influence_bits.ravel()) / total


def classify_pixels(noise_model: NoiseModel) -> PixelClasses:
    """Classes of pixels by gain, predictive read noise and offset phase.

    Notes
    -----
    What a map does not know is noise: read^2 + (offset_std / K)^2 replaces read^2, otherwise the map's own
    error counts as information (0.5 log2(1 + 1/L) bit per pixel for a map of L frames). About 16 classes of
    read noise with equal numbers of pixels, split further where they span more than 20 %; four offset phases
    where K r falls below 0.7 DN anywhere; gain classes 5 % wide.
    """
    camera, maps = noise_model.camera, noise_model.maps or {}
    real = camera.bit_depth is None
    names = {"system_gain_dn_per_e", "read_noise_e", "offset_dn", "offset_dn_std"} & set(maps)
    prnu = maps.get("prnu_std")
    error = 0.0 if prnu is None else float(np.sqrt(np.nanmean(np.square(prnu))))
    if not names:
        scalar = noise_model.with_parameters()
        return _with_step(PixelClasses((scalar,), np.zeros(1, dtype=np.int64), response_error=error), real)
    shape = noise_model.map_shape or (1, 1)

    def array(name: str, default: object) -> FloatArray:
        return np.broadcast_to(np.asarray(maps.get(name, default), dtype=np.float64), shape)

    gain = array("system_gain_dn_per_e", camera.system_gain_dn_per_e)
    offset = array("offset_dn", camera.offset_dn)
    with np.errstate(invalid="ignore", divide="ignore"):
        read = np.hypot(array("read_noise_e", camera.read_noise_e), array("offset_dn_std", 0.0) / gain)
    good = np.isfinite(gain) & np.isfinite(offset) & np.isfinite(read) & (gain > 0)
    if not np.any(good):
        raise PhotonbitsError("the noise maps have no finite pixel", remedy="Calibrate again with --maps")
    g, r, b = gain[good], read[good], offset[good]
    whole = np.floor(b)
    base = 0.0 if real else float(np.round(whole.mean()))
    fine = not real and float(np.min(g * r)) < _COARSE_NOISE_DN
    phase = np.floor((b - whole) * _PHASES) if fine else np.zeros(b.size)
    by_gain = np.floor(np.log(g / np.median(g)) / _GAIN_CLASS_WIDTH + 0.5)
    by_read, third = _read_classes(r)
    keys, member = np.unique(np.stack([by_gain, phase, third, by_read]), axis=1, return_inverse=True)
    member = member.ravel()
    size = np.bincount(member)
    means = [np.bincount(member, weights=a) / size for a in (g, r, base + (b - whole) * (not real))]
    models = tuple(
        noise_model.with_parameters(
            system_gain_dn_per_e=float(k), read_noise_e=float(s) if camera.kind != "poisson" else 0.0, offset_dn=float(o)
        )
        for k, s, o in zip(*means, strict=True)
    )
    index = np.full(shape, -1, dtype=np.int64)
    index[good] = member
    shift = np.zeros(shape)
    shift[good] = b if real else whole - base
    fit_class = np.unique(keys[:3], axis=1, return_inverse=True)[1].ravel()
    return _with_step(PixelClasses(models, fit_class, index, shift, response_error=error), real)


def _read_classes(read: FloatArray) -> tuple[IntArray, IntArray]:
    """Class of each read noise, and the third of the classes it lies in."""
    edges = np.unique(np.quantile(read, np.linspace(0, 1, _READ_CLASSES + 1)))
    # Neighbouring quantiles within 2 % are one class; the long tail of hot pixels is split evenly in log r.
    kept = [edges[0]]
    for edge in edges[1:]:
        if kept[-1] > 0 and edge > kept[-1] * _LARGEST_READ_RATIO:
            steps = int(np.ceil(np.log(edge / kept[-1]) / np.log(_LARGEST_READ_RATIO)))
            kept.extend(np.geomspace(kept[-1], edge, steps + 1)[1:])
        elif edge > kept[-1] * 1.02:
            kept.append(edge)
    inner = np.array(kept[1:-1])
    classes = np.searchsorted(inner, read, side="right")
    thirds = np.quantile(read, [0.5, 0.9])
    return classes, np.searchsorted(thirds, np.append(inner, np.inf)[classes], side="left")


def _with_step(classes: PixelClasses, real: bool) -> PixelClasses:
    if not real:
        return classes
    camera = classes.models[0].camera
    shift = classes.shift_dn if classes.index is not None else float(camera.offset_dn)
    models = tuple(model.with_parameters(offset_dn=0.0) for model in classes.models)
    if camera.kind == "poisson":
        return replace(classes, models=models, shift_dn=shift, step_dn=float(camera.system_gain_dn_per_e))
    noise = [float(m.camera.system_gain_dn_per_e) * float(m.camera.read_noise_e) for m in models]
    if min(noise) <= 0:
        raise PhotonbitsError(
            "read_noise_e 0 with real-valued measurements", legal="kind poisson", remedy="Set kind: poisson"
        )
    return replace(classes, models=models, shift_dn=shift, step_dn=min(noise) / 4, differential=True)


def frame_histograms(
    measurements: ArrayLike,
    frame_index: ArrayLike,
    classes: PixelClasses,
    *,
    class_index: ArrayLike | None = None,
    shift_dn: ArrayLike | None = None,
) -> FrameHistograms:
    """Count codes by frame and class.

    Parameters
    ----------
    measurements : array (n_patches, ...)
        Codes, or real values where the model has no bit depth.
    frame_index : array (n_patches,)
        Frame that each patch was cut from.
    classes : PixelClasses
    class_index, shift_dn : array (n_patches, ...), optional
        ``classes.index`` and ``classes.shift_dn`` at each pixel; needed with maps.

    Raises
    ------
    PhotonbitsError
        For fractional codes, measurements that are not finite or off the lattice of a Poisson camera, arrays
        that do not fit, or no pixel at all.

    Notes
    -----
    Where whole offsets differ between pixels, their clips lie at different codes of the common axis; clipped codes
    are put at the class's mean clip, which is wrong by the spread of the offsets for pixels near it.
    """
    z = np.asarray(measurements)
    if classes.index is not None and (class_index is None or shift_dn is None):
        raise PhotonbitsError("no class_index or shift_dn with per-pixel maps", legal="the maps, cropped like the frames")
    shift = classes.shift_dn if shift_dn is None else np.asarray(shift_dn)
    codes = _codes(z, shift, classes)
    rows = np.broadcast_to(
        np.asarray(frame_index).reshape((-1,) + (1,) * (z.ndim - 1)), z.shape
    ).ravel()
    member = np.zeros(z.size, dtype=np.int64) if class_index is None else np.asarray(class_index).ravel()
    kept = member >= 0
    if not np.any(kept):
        raise PhotonbitsError("no usable pixel in the frames", legal="at least one pixel outside the defect maps")
    if not np.all(kept):
        rows, member, codes = rows[kept], member[kept], codes[kept]
    first, last = int(codes.min()), int(codes.max())
    n_codes, n_classes = last - first + 1, len(classes.models)
    frames, row = np.unique(rows, return_inverse=True)
    key = member * n_codes + (codes - first)
    shape = (frames.size, n_classes * n_codes)
    if shape[0] * shape[1] <= _DENSE_CELLS:
        flat = np.bincount(row.ravel() * shape[1] + key, minlength=shape[0] * shape[1])
        counts = sparse.csr_array(flat.reshape(shape))
    else:
        counts = sparse.csr_array(sparse.coo_array((np.ones(key.size, dtype=np.int64), (row.ravel(), key)), shape=shape))
    return FrameHistograms(counts, first, n_codes, frames)


def _codes(z: NDArray[np.generic], shift: FloatArray | float, classes: PixelClasses) -> IntArray:
    camera = classes.models[0].camera
    if camera.bit_depth is not None:
        codes = z.astype(np.int64)
        if not np.issubdtype(z.dtype, np.integer) and not np.array_equal(codes, z):
            raise PhotonbitsError("fractional codes", legal=f"integers of {camera.bit_depth} bit")
        low, high = camera.black_clip_dn, camera.white_clip_dn
        inside = (codes > low) & (codes < high)
        if np.ndim(shift) or shift:
            codes = np.where(inside, np.clip(codes - np.asarray(shift, dtype=np.int64), low, high), codes)
        return codes.ravel()
    if not np.all(np.isfinite(z)):
        raise PhotonbitsError("measurements hold NaN or infinite values", legal="finite DN")
    scaled = (z - shift) / classes.step_dn
    codes = np.floor(scaled + 0.5)
    if not classes.differential and np.max(np.abs(scaled - codes)) > 0.01:
        raise PhotonbitsError(
            f"a value lies {np.max(np.abs(scaled - codes)):.3g} steps off the lattice offset + K n",
            legal="kind poisson measures whole electrons",
            remedy="Use kind poisson-gaussian where there is read noise",
        )
    return np.asarray(codes, dtype=np.int64).ravel()


def conditional_entropy(
    histograms: FrameHistograms,
    classes: PixelClasses | NoiseModel,
    *,
    effective_sample_size: float | None = None,
) -> ConditionalEntropy:
    r"""H(Z|Y) in bits per pixel of the frames counted in ``histograms``.

    .. math:: H(Z|Y) = \sum_c \pi_c \sum_j w_j h_c(y_j)

    with one law w of the charge for all classes c of pixels, whose shares pi_c are those of the frames.

    Parameters
    ----------
    histograms : FrameHistograms
    classes : PixelClasses or NoiseModel
        What the histograms were counted with; a NoiseModel is classified again.
    effective_sample_size : float, optional
        Number of independent pixels that the histogram is worth where noise is correlated over pixels; used by
        the linear programme of the non-identifiable case. Default: all pixels, right for independent noise.

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
    camera = classes.models[0].camera
    if camera.kind == "gaussian" and classes.differential and camera.response.is_linear:
        return _constant_entropy(histograms, classes, counts)
    reads = [float(m.camera.read_noise_e) for m in classes.models]
    gains = [float(m.camera.system_gain_dn_per_e) for m in classes.models]
    identifiable = is_identifiable(
        camera.kind, min(reads), float(np.min(np.multiply(reads, gains))), rounded=not classes.differential
    )
    fit = _Fit.of(histograms, classes, counts, step=0.25 if identifiable else 0.125)
    law = fit_intensity_law(fit.counts, fit.tables, fit.y_e, first_code=0)
    shares = np.array([float(n.sum()) for n in fit.counts]) / counts.sum()
    h = fit.entropies.T @ (counts.sum(axis=1) / counts.sum())
    value = float(h @ law.weights)
    total = float(counts.sum())
    phi = influence_functions(fit.tables, shares, law, h, total)
    mean = sum(float(n @ f) for n, f in zip(fit.counts, phi, strict=True)) / total
    phi = [f + (value - mean) for f in phi]
    square = sum(float(n @ (f - value) ** 2) for n, f in zip(fit.counts, phi, strict=True)) / total
    std = float(np.sqrt(square / total))
    slack = std * float(np.sqrt(2 * law.certified_gap_nats))
    interval, widening = (value - slack, value + slack), 1.0
    if not identifiable:
        family = [influence_functions(fit.tables, shares, law, h, total, ridge=10.0**k) for k in (-2, 0, 2, 4)]
        allowed = entropy_range(
            [n.astype(np.float64) for n in fit.counts],
            [table.toarray() for table in fit.tables],
            h,
            family,
            effective_fraction=1.0 if effective_sample_size is None else min(effective_sample_size / total, 1.0),
        )
        interval = (min(allowed.lo, interval[0]), max(allowed.hi, interval[1]))
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
    h = 0.5 * np.log2(2 * np.pi * np.e * np.square(noise))
    value = float(share @ h)
    means = [float(share @ [getattr(m.camera, name) for m in classes.models]) for name in _THETA[:2]]
    sensitivity = {name: 1 / (np.log(2) * mean) for name, mean in zip(_THETA[:2], means, strict=True)}
    std = float(np.sqrt(share @ (h - value) ** 2 / counts.sum()))
    influence = np.repeat(h[:, None], histograms.n_codes, axis=1)
    return ConditionalEntropy(
        value, (value, value), True, None, influence, histograms.first_code, sensitivity | {"offset_dn": 0.0}, std,
        differential=True,
    )  # fmt: skip


_THETA = ("system_gain_dn_per_e", "read_noise_e", "offset_dn")


@dataclass(frozen=True)
class _Fit:
    """Rows of all classes on one grid and one axis of grouped codes; histograms and rows merged for the fit."""

    y_e: FloatArray
    group: IntArray
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
        if not poisson and camera.bit_depth is not None:
            # h(y) has the period of one code: the grid has to follow it.
            step = min(step, 0.1 / float(least.camera.system_gain_dn_per_e) / np.sqrt(variance))
        y_e = charge_grid(seen, variance, poisson=poisson, step=step)
        if camera.bit_depth is not None:
            charge[(codes <= camera.black_clip_dn) | (codes >= camera.white_clip_dn)] = np.inf
        group = group_codes(charge, variance, poisson=poisson)
        models, first = classes.models, histograms.first_code
        if camera.bit_depth is None:
            models, first = _coded(classes, float(y_e[-1]), float(y_e[0]), first, histograms.n_codes)
        pieces = [_rows(m, y_e, first, group, classes) for m in models]
        grouped = np.stack([np.bincount(group, weights=n, minlength=group[-1] + 1) for n in counts])
        tables, merged = [], []
        for f in range(int(classes.fit_class.max()) + 1):
            member = np.flatnonzero(classes.fit_class == f)
            n = grouped[member]
            weight = n.sum(axis=1) / max(n.sum(), 1.0)
            table = sum((w * pieces[c][0] for w, c in zip(weight, member, strict=True)), start=0 * pieces[member[0]][0])
            tables.append(_with_tails(sparse.csr_array(table), n.sum(axis=0), camera.kind))
            merged.append(n.sum(axis=0).astype(np.int64))
        return cls(y_e, group, first, models, np.stack([p[1] for p in pieces]), tables, merged)


def _rows(
    model: NoiseModel, y_e: FloatArray, first: int, group: IntArray, classes: PixelClasses
) -> tuple[sparse.csr_array, FloatArray]:
    step = classes.step_dn if classes.differential else None
    return class_rows(model, y_e, first, group, step_dn=step, response_error=classes.response_error)


def _charge_of(model: NoiseModel, value_dn: FloatArray) -> FloatArray:
    """Charge whose noise-free value is ``value_dn``; codes above a full well stand for the full well."""
    camera = model.camera
    u = camera.response.inverse(value_dn - float(camera.offset_dn))
    top = camera.response.full_well_dn
    u = np.where(np.isfinite(u), u, 0.0 if top is None else top)
    return np.asarray(u / float(camera.system_gain_dn_per_e), dtype=np.float64)


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


def _with_tails(table: sparse.csr_array, counts: FloatArray, kind: str) -> sparse.csr_array:
    """Outliers colder than the table's 1e-17 tail still have some probability, at the darkest charge."""
    seen = np.asarray(table.sum(axis=0)).ravel() > 0
    lost = np.flatnonzero((counts > 0) & ~seen)
    if kind == "poisson" or not lost.size:
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
    kind = classes.models[0].camera.kind
    for f in np.unique(classes.fit_class):
        member = np.flatnonzero(classes.fit_class == f)
        weight = share[member].sum()
        if weight <= 0:
            continue
        mean = {
            t: float(share[member] @ [float(getattr(fit.models[c].camera, t)) for c in member]) / weight for t in _THETA
        }
        base = fit.models[member[0]].with_parameters(**mean)
        for theta, step in zip(_THETA, (1e-3 * mean[_THETA[0]], 1e-2 * mean[_THETA[1]], 0.01), strict=True):
            if step == 0 or (kind == "poisson" and fit.models is not classes.models):
                continue
            sides = []
            for sign in (-1, 1):
                model = base.with_parameters(**{theta: mean[theta] + sign * step})
                table, h = _rows(model, y_e, fit.first_code, fit.group, classes)
                sides.append(float(h @ w) - float(phi[f] @ (table.T @ w)))
            slope = weight * (sides[1] - sides[0]) / (2 * step)
            # Maps move together: gain and read noise in proportion, offsets by the same amount.
            if theta == "offset_dn":
                slopes[theta] += slope / (classes.step_dn if classes.differential else 1.0)
            else:
                slopes[theta] += slope * mean[theta] / max(means[theta], 1e-300)
    return {theta: float(slope) for theta, slope in slopes.items()}
