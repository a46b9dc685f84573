"""Histograms of codes by frame and class of pixels: all that H(Z|Y) needs to know of the frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from calibrate import PhotonbitsError
from mi_eval.pixel_classes import PixelClasses

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DENSE_CELLS = 50_000_000
_MOST_CODES = 2**22


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
    Where whole offsets differ between pixels, their clips lie at different codes of the common axis; clipped
    codes are put at the class's mean clip, wrong by the spread of the offsets for pixels near it.
    """
    z = np.asarray(measurements)
    if classes.index is not None and (class_index is None or shift_dn is None):
        raise PhotonbitsError(
            "no class_index or shift_dn with per-pixel maps", legal="the maps, cropped like the frames"
        )
    shift = classes.shift_dn if shift_dn is None else np.asarray(shift_dn)
    codes = _codes(z, shift, classes)
    rows = np.broadcast_to(np.asarray(frame_index).reshape((-1,) + (1,) * (z.ndim - 1)), z.shape).ravel()
    member = np.zeros(z.size, dtype=np.int64) if class_index is None else np.asarray(class_index).ravel()
    kept = member >= 0
    if not np.any(kept):
        raise PhotonbitsError("no usable pixel in the frames", legal="at least one pixel outside the defect maps")
    if not np.all(kept):
        rows, member, codes = rows[kept], member[kept], codes[kept]
    first, last = int(codes.min()), int(codes.max())
    n_codes, n_classes = last - first + 1, len(classes.models)
    if n_codes > _MOST_CODES:
        raise PhotonbitsError(
            f"measurements from {first} to {last} span {n_codes} codes",
            legal=f"at most {_MOST_CODES} codes (for real values: bins of {classes.step_dn:g} DN)",
            remedy="Mask outliers, or check the unit of the noise model",
        )
    frames, row = np.unique(rows, return_inverse=True)
    key = member * n_codes + (codes - first)
    shape = (frames.size, n_classes * n_codes)
    if shape[0] * shape[1] <= _DENSE_CELLS:
        flat = np.bincount(row.ravel() * shape[1] + key, minlength=shape[0] * shape[1])
        counts = sparse.csr_array(flat.reshape(shape))
    else:
        counts = sparse.csr_array(
            sparse.coo_array((np.ones(key.size, dtype=np.int64), (row.ravel(), key)), shape=shape)
        )
    return FrameHistograms(counts, first, n_codes, frames)


def _codes(z: NDArray[np.generic], shift: FloatArray | float, classes: PixelClasses) -> IntArray:
    camera = classes.models[0].camera
    if camera.bit_depth is not None:
        codes = z.astype(np.int64)
        if not np.issubdtype(z.dtype, np.integer) and not np.array_equal(codes, z):
            raise PhotonbitsError("fractional codes", legal=f"integers of {camera.bit_depth} bit")
        low = min(model.camera.black_clip_dn for model in classes.models)
        high = max(model.camera.white_clip_dn for model in classes.models)
        if codes.size and (codes.min() < low or codes.max() > high):
            wrong = int(codes.min() if codes.min() < low else codes.max())
            raise PhotonbitsError(
                f"code {wrong} in the frames",
                legal=f"{low} to {high}, the clips of the noise model",
                remedy="Check bit depth and alignment of the frames against the calibration",
            )
        inside = (codes > low) & (codes < high)
        if np.ndim(shift) or shift:
            codes = np.where(inside, np.clip(codes - np.asarray(shift, dtype=np.int64), low, high), codes)
        return codes.ravel()
    if not np.all(np.isfinite(z)):
        raise PhotonbitsError("measurements hold NaN or infinite values", legal="finite DN")
    scaled = (np.asarray(z, dtype=np.float64) - shift) / classes.step_dn
    codes = np.floor(scaled + 0.5)
    if not classes.differential and np.max(np.abs(scaled - codes)) > 0.01:
        raise PhotonbitsError(
            f"a value lies {np.max(np.abs(scaled - codes)):.3g} steps off the lattice offset + K n",
            legal="kind poisson measures whole electrons",
            remedy="Use kind poisson-gaussian where there is read noise",
        )
    return np.asarray(codes, dtype=np.int64).ravel()
