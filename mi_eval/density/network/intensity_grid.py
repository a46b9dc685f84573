"""A grid of intensities and the camera's exact rows p(z | y) on it: what the noise-aware head mixes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.density.patches import FloatArray, PatchSet

IntArray = NDArray[np.int64]

# Distance of grid points over the standard deviation of the noise: a law between two of them is matched to 0.001 nat.
_STEP = 0.5
# More points than this and the network's last layer costs as much as the rest; three Gaussians do as well there.
MOST_INTENSITIES = 64
_FINER = 4
_EM_STEPS = 300
_PHASES = 8
_MOST_ROWS = 256
# Bright pixels beyond this share are left to the histogram that guards against outliers.
_BEYOND = 1e-4
_LEAST_WEIGHT = 1e-5


@dataclass(frozen=True)
class IntensityGrid:
    r"""Intensities :math:`y_k` and :math:`p_c(z|y_k)` of every class c of pixels.

    Parameters
    ----------
    y_e : (K,)
        Collected charge, electrons.
    weights : (K,)
        Law of single pixels on the grid, by EM.
    first_code : int
        Code of column 1 of the tables; columns 0 and -1 stand for all codes that no intensity gives.
    pmf, cdf : (n_rows, n_codes + 2, K)
        Mass of a code, and of all codes up to and including it.
    black_clip_dn, white_clip_dn : float
        Codes that hold everything below and above them.
    row_of : (n_classes, n_phases) int
        Row of a class of pixels and phase of its offset.
    """

    y_e: FloatArray
    weights: FloatArray
    first_code: int
    pmf: FloatArray
    cdf: FloatArray
    row_of: IntArray
    black_clip_dn: float
    white_clip_dn: float

    @classmethod
    def of(cls, train: PatchSet, validation: PatchSet) -> IntensityGrid | str:
        """The grid that spans the light of the patches, or the reason why there is none."""
        camera = train.cells
        if camera is None:
            return "the camera is unknown"
        if not camera.discrete:
            return "real-valued measurements"
        places = _places_of_grid(train)
        if isinstance(places, str):
            return places
        used = np.unique(np.concatenate([_axis(part)[0].ravel() for part in (train, validation)]))
        if used.size > _MOST_ROWS:
            return f"{used.size} classes of pixels"
        models = [_model_of(camera.models[key // _PHASES], key % _PHASES, train) for key in used]
        keys, codes = _axis(train)
        common = used[np.argmax(np.bincount(np.searchsorted(used, keys.ravel()), minlength=used.size))]
        y, weights = _gather(places, models[int(np.searchsorted(used, common))], codes[keys == common])
        tables = [model.code_table(y) for model in models]
        first = min(table.first_code + int(table.pmf.indices.min()) for table in tables)
        stop = max(table.first_code + int(table.pmf.indices.max()) + 1 for table in tables)
        pmf = np.zeros((used.size, stop - first + 2, y.size))
        for row, table in zip(pmf, tables, strict=True):
            low = int(table.pmf.indices.min())
            high = int(table.pmf.indices.max()) + 1
            start = table.first_code + low - first + 1
            row[start : start + high - low] = table.pmf[:, low:high].toarray().T
        pmf /= pmf.sum(axis=1, keepdims=True)
        cdf = np.minimum(np.cumsum(pmf, axis=1), 1.0)
        cdf[:, -1] = 1.0
        every = np.arange(len(camera.models) * _PHASES)
        nearest = np.argmin(np.abs(every[:, None] - used), axis=1)
        black, white = (np.nan if end is None else end for end in (train.black_clip_dn, train.white_clip_dn))
        return cls(y, weights, first, pmf, cdf, nearest.reshape(-1, _PHASES), black, white)

    @cached_property
    def masses(self) -> FloatArray:
        """Rows of K masses, one below the other: of codes, of codes at the black clip, of codes at the white clip."""
        below = np.concatenate([np.zeros_like(self.cdf[:, :1]), self.cdf[:, :-1]], axis=1)
        return np.stack([self.pmf, self.cdf, 1 - below]).reshape(-1, self.y_e.size)

    def locate(self, patches: PatchSet) -> IntArray:
        """Row of `masses` for every pixel, (n, p*p)."""
        keys, codes = _axis(patches)
        n_rows, n_columns, _ = self.pmf.shape
        column = np.clip(codes - self.first_code + 1, 0, n_columns - 1)
        kind = np.where(patches.codes == self.black_clip_dn, 1, np.where(patches.codes == self.white_clip_dn, 2, 0))
        index = (kind * n_rows + self.row_of.ravel()[keys]) * n_columns + column
        return np.asarray(index.reshape(patches.n_patches, -1), dtype=np.int64)

    def edges(self, patches: PatchSet) -> tuple[FloatArray, FloatArray]:
        """The K cdfs below and above every code, (n, p*p, K) each."""
        n_rows, n_columns, n_grid = self.pmf.shape
        index = self.locate(patches)
        kind, place = np.divmod(index, n_rows * n_columns)
        flat = self.cdf.reshape(-1, n_grid)
        upper, lower = flat[place], flat[np.maximum(place - 1, 0)]
        upper[kind == 2] = 1.0
        lower[(kind == 1) | (place % n_columns == 0)] = 0.0
        return lower, upper


def _axis(patches: PatchSet) -> tuple[IntArray, IntArray]:
    """Class and phase of the offset of every pixel in one number, and its code on the class's axis, (n, p, p) each."""
    camera = patches.cells
    if camera is None:
        raise ValueError("patches without their camera")
    if camera.class_index is None:
        return np.zeros(patches.codes.shape, dtype=np.int64), np.asarray(patches.codes, dtype=np.int64)
    offsets = np.array([float(model.camera.offset_dn) for model in camera.models])
    rest = patches.offset_dn - camera.shift_dn - offsets[camera.class_index]
    whole = np.floor(rest + 0.5)
    phase = np.clip(np.floor((rest - whole + 0.5) * _PHASES), 0, _PHASES - 1)
    codes = np.round(patches.codes - camera.shift_dn - whole)
    return np.asarray(camera.class_index * _PHASES + phase, dtype=np.int64), codes.astype(np.int64)


def _model_of(model: NoiseModel, phase: int, patches: PatchSet) -> NoiseModel:
    """The model of a class at the middle of a phase."""
    if patches.cells is None or patches.cells.class_index is None:
        return model.with_parameters()
    offset = float(model.camera.offset_dn) + (phase + 0.5) / _PHASES - 0.5
    return model.with_parameters(offset_dn=offset)


def _places_of_grid(train: PatchSet) -> FloatArray | str:
    """Fine grid of charges, `_FINER` to a step, or why it would be too long."""
    camera = train.cells
    if camera is None:
        return "the camera is unknown"
    sample = train.thinned(1 << 19).value_dn / camera.gain_dn_per_e
    low, high = float(sample.min()), float(np.quantile(sample, 1 - _BEYOND))
    read = camera.read_noise_dn / camera.gain_dn_per_e
    if camera.shot:
        floor = max(read**2, 0.25)
        start, stop = 2 * np.sqrt(max(low, 0.0) + floor), 2 * np.sqrt(max(high, 0.0) + floor)
    elif read > 0:
        floor, start, stop = 0.0, low / read, high / read
    else:
        return "no noise"
    # Two steps more on each side, as far as there is negative light.
    start = max(start - 2 * _STEP, 2 * np.sqrt(floor)) if camera.shot else start - 2 * _STEP
    count = int(np.ceil((stop + 2 * _STEP - start) / _STEP)) + 1
    if count > MOST_INTENSITIES:
        return f"{count} intensities, more than {MOST_INTENSITIES}: bright light"
    place = start + (np.arange(count * _FINER) + 0.5) * _STEP / _FINER - 0.5 * _STEP
    if not camera.shot:
        return np.asarray(place * read)
    return np.unique(np.maximum(place**2 / 4 - floor, 0.0) * (place > 0))


def _gather(fine_e: FloatArray, model: NoiseModel, codes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Grid points at the centres of the deconvolved light within each step, and their weights."""
    table = model.code_table(fine_e)
    column = codes - table.first_code
    counts = np.bincount(column[(column >= 0) & (column < table.pmf.shape[1])], minlength=table.pmf.shape[1])
    seen = np.flatnonzero(counts)
    rows, share = table.pmf[:, seen].toarray(), counts[seen] / counts.sum()
    law = np.full(fine_e.size, 1 / fine_e.size)
    for _ in range(_EM_STEPS):
        law *= rows @ (share / np.maximum(law @ rows, 1e-300))
    cell = np.arange(fine_e.size) // _FINER
    weight = np.bincount(cell, weights=law)
    plain = np.bincount(cell, weights=fine_e) / np.bincount(cell)
    centre = np.bincount(cell, weights=law * fine_e) / np.maximum(weight, 1e-300)
    # A step that hardly any light falls into keeps its middle.
    y = np.where(weight > 1e-3 / weight.size, centre, plain)
    weight = np.maximum(weight, _LEAST_WEIGHT)
    return y, weight / weight.sum()
