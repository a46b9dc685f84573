"""What a density may know of the camera: the noise at every light, and the exact probabilities of codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibrate import NoiseModel
from mi_eval.density.patches import FloatArray

# Distance of neighbouring rows in standard deviations of the blur.
ROW_STEP = 0.25
# One wild value must not make the grid endless; rows farther apart than a step only blur the light more.
_MOST_ROWS = 1 << 15
# Larger tables of probabilities are left out (64 MB); at such light a Gaussian is as good.
_MOST_ENTRIES = 8_000_000
# Below this noise variance [electrons^2] the grid of a camera that only counts would be endlessly fine at 0.
_LEAST_VARIANCE_E2 = 0.25


@dataclass(frozen=True)
class CameraTable:
    """The camera of a set of patches on a grid of light, a quarter of the noise apart.

    Parameters
    ----------
    charge_e : (n_rows,)
        Collected charge [electrons], increasing.
    light_dn : (n_rows,)
        Its noise-free value above the offset [DN of light], increasing.
    variance_dn2 : (n_rows,)
        Variance of a code there [DN^2], rounding in it, clipping left aside.
    pmf : (n_rows, n_codes) or None
        Exact probability of every code. None where pixels have cells of their own (maps, channels), where
        measurements are real values, and where the table would be too large.
    first_code_dn, lattice_dn : float
        Code of column 0 and distance of the codes [DN].
    """

    charge_e: FloatArray
    light_dn: FloatArray
    variance_dn2: FloatArray
    pmf: FloatArray | None = None
    first_code_dn: float = 0.0
    lattice_dn: float = 1.0

    def row_of(self, light_dn: FloatArray) -> FloatArray:
        """Fractional row of a light, straight on beyond both ends; noise is nearly the same all along it."""
        return _through(light_dn, self.light_dn, np.arange(self.light_dn.size, dtype=np.float64))

    def light_at(self, row: FloatArray) -> FloatArray:
        """Light [DN] at a fractional row, straight on beyond both ends."""
        return _through(row, np.arange(self.light_dn.size, dtype=np.float64), self.light_dn)

    def variance_at(self, light_dn: FloatArray) -> FloatArray:
        """Noise variance at a light [DN^2], that of the ends beyond them."""
        return np.interp(light_dn, self.light_dn, self.variance_dn2)


def _through(x: FloatArray, knots: FloatArray, values: FloatArray) -> FloatArray:
    """Linear interpolation, and extrapolation by the outermost pieces."""
    piece = np.clip(np.searchsorted(knots, x) - 1, 0, knots.size - 2)
    slope = np.diff(values) / np.diff(knots)
    return np.asarray(values[piece] + (x - knots[piece]) * slope[piece])


def camera_table(model: NoiseModel, low_dn: float, high_dn: float, *, own_cells: bool) -> CameraTable:
    """Tabulate a camera between two codes.

    Parameters
    ----------
    model : NoiseModel
        Its scalars count; maps and channels are left aside.
    low_dn, high_dn : float
        Lowest and highest measurement.
    own_cells : bool
        Whether pixels differ in offset or gain, so that no table of codes holds for all.
    """
    camera = model.camera
    gain, read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    ends = np.array([low_dn, high_dn]) - float(camera.offset_dn)
    top = camera.response.full_well_dn
    inverse = camera.response.inverse(ends)
    low_e, high_e = np.where(np.isfinite(inverse), inverse, ends if top is None else top) / gain
    if camera.kind == "gaussian":
        # Rounding blurs too.
        blur = float(np.hypot(read, 0.0 if camera.bit_depth is None else 0.3 / gain))
        low_e, high_e = low_e - blur, high_e + blur  # one code alone has a noise too
        charge = np.linspace(low_e, high_e, _n_rows((high_e - low_e) / blur))
        noise_e2 = np.full(charge.size, read**2)
    else:
        floor = max(read**2, _LEAST_VARIANCE_E2)
        # Uniform in 2 sqrt(y + floor), where the blur has unit variance.
        first, last = 2 * np.sqrt(np.maximum([low_e, high_e], 0.0) + floor)
        first, last = first - 1.0, last + 1.0
        root = np.linspace(first, last, _n_rows(last - first))
        charge = np.maximum(np.maximum(root, 0.0) ** 2 / 4 - floor, 0.0)
        noise_e2 = charge + read**2
    light = np.asarray(camera.response.evaluate(gain * charge), dtype=np.float64)
    slope = np.asarray(camera.response.derivative(gain * charge), dtype=np.float64)
    rounding = 0.0 if camera.bit_depth is None else 1 / 12
    variance = slope**2 * gain**2 * noise_e2 + rounding
    rises = np.append(True, np.diff(light) > 0)  # above a full well light no longer tells charges apart
    charge, light, variance = charge[rises], light[rises], variance[rises]
    if light.size == 1:  # all of it beyond the full well
        charge, light, variance = (
            np.append(x, x[-1] + step) for x, step in ((charge, 1), (light, gain), (variance, 0))
        )
    if own_cells or (camera.bit_depth is None and camera.kind != "poisson"):
        return CameraTable(charge, light, variance)
    if camera.bit_depth is None:
        most = int(np.ceil(high_e + 10 * np.sqrt(high_e) + 60))
        counter = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=32, white_clip_dn=most)
        rows, first_code, lattice = counter.code_table(charge), float(camera.offset_dn), gain
    else:
        rows, first_code, lattice = model.code_table(charge), float(camera.black_clip_dn), 1.0
    pmf = rows.pmf
    columns = np.unique(pmf.indices)
    start, stop = int(columns[0]), int(columns[-1]) + 1
    if charge.size * (stop - start) > _MOST_ENTRIES:
        return CameraTable(charge, light, variance)
    dense = pmf[:, start:stop].toarray()
    dense /= dense.sum(axis=1, keepdims=True)  # tails below 1e-17 were left out
    return CameraTable(charge, light, variance, dense, first_code + lattice * start, lattice)


def _n_rows(blurs: float) -> int:
    """Number of rows over so many standard deviations of the blur."""
    return min(int(np.ceil(min(blurs / ROW_STEP, 1e9))) + 2, _MOST_ROWS)
