"""Information of a whole frame: the rate per pixel that larger and larger patches tend to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.code_lengths import Density
from mi_eval.estimate import frame_source, load_model
from mi_eval.score_parts import ScoreParts, measure_parts

FloatArray = NDArray[np.float64]

#: Sides of patches, pixels, where none are given; those that fit the frames are used.
PATCH_SIZES = (4, 6, 8, 12, 16, 24, 32)
_FEWEST_SIZES = 4
_FEWEST_PATCHES = 200


@dataclass(frozen=True)
class BulkRate:
    """The rate i of I(L)/L^2 = i + b/L + c/L^2, bits per pixel, and what it was found from.

    ``std`` holds the spread between frames, the calibration's error, and the change when the smallest patches are left
    out. ``per_frame_bits`` is the rate times the pixels of a frame. ``bits_per_pixel`` belongs to ``patch_sizes``.
    """

    value: float
    std: float
    patch_sizes: tuple[int, ...]
    bits_per_pixel: tuple[float, ...]
    per_frame_bits: float

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "value": self.value,
            "std": self.std,
            "patch_sizes": list(self.patch_sizes),
            "bits_per_pixel": list(self.bits_per_pixel),
            "per_frame_bits": self.per_frame_bits,
        }


def bulk_rate(
    frames: NDArray[Any] | Sequence[NDArray[Any] | str | Path],
    noise_model: NoiseModel | str | Path,
    *,
    patch_sizes: Sequence[int] | None = None,
    seed: int = 0,
    max_patches: int = 20_000,
    exposure_s: float | None = None,
    shift_bits: int = 0,
    roi: bool = False,
    density: Density = "auto",
) -> BulkRate:
    r"""Score patches of several sizes and extrapolate to the whole frame.

    .. math:: I(L)/L^2 = i + b/L + c/L^2

    b/L is what pixels at the border of a patch do not share with their neighbours outside, c/L^2 the same of corners:
    exact for stationary Gaussian fields up to terms that vanish exponentially with L over the correlation length.

    Parameters
    ----------
    frames, noise_model, seed, max_patches, exposure_s, shift_bits, roi, density
        As for `estimate_information`.
    patch_sizes : sequence of int, optional
        Default: those of `PATCH_SIZES` that give 200 patches or more.

    Raises
    ------
    PhotonbitsError
        Fewer than four sizes, or frames that cannot be scored.
    """
    source, model = frame_source(frames).shifted(shift_bits), load_model(noise_model)
    height, width = source.shape
    sizes = tuple(
        size
        for size in (PATCH_SIZES if patch_sizes is None else patch_sizes)
        if patch_sizes is not None or (height // size) * (width // size) * source.n_frames >= _FEWEST_PATCHES
    )
    if len(set(sizes)) < _FEWEST_SIZES:
        raise PhotonbitsError(
            f"{len(set(sizes))} patch sizes for frames of {height} x {width} pixels",
            legal=f"{_FEWEST_SIZES} or more, for an extrapolation with a check",
            remedy="Use more frames, or larger ones",
        )
    parts = [
        measure_parts(
            source,
            model,
            patch_size=size,
            seed=seed,
            max_patches=max_patches,
            exposure_s=exposure_s,
            roi=roi,
            density=density,
        )
        for size in sizes
    ]
    return extrapolated(parts, height * width)


def extrapolated(parts: Sequence[ScoreParts], frame_pixels: int) -> BulkRate:
    """The rate from the parts of scores of one set of frames at several patch sizes."""
    sizes = np.array([part.patch_size for part in parts], dtype=np.float64)
    found = np.array([part.value_bits for part in parts])
    spread = _covariance(parts)
    # Small patches are known best and extrapolated from farthest: all sizes count by their own error and this much.
    scale = np.sqrt(np.diag(spread) + 1e-3**2)
    weights = _weights(sizes, scale)
    value = float(weights @ found)
    smallest = int(np.argmin(sizes))
    others = np.delete(np.arange(sizes.size), smallest)
    without = float(_weights(sizes[others], scale[others]) @ found[others])
    sampling = float(np.sqrt(max(float(weights @ spread @ weights), 0.0)))
    calibration = max(part.calibration.std_bits for part in parts)
    return BulkRate(
        value=value,
        std=float(np.linalg.norm([sampling, calibration, without - value])),
        patch_sizes=tuple(int(size) for size in sizes),
        bits_per_pixel=tuple(float(bits) for bits in found),
        per_frame_bits=value * frame_pixels,
    )


def _weights(sizes: FloatArray, scale: FloatArray) -> FloatArray:
    """Weights of the sizes in the constant term of a weighted fit of 1, 1/L, 1/L^2."""
    design = np.stack([np.ones_like(sizes), 1 / sizes, 1 / sizes**2], axis=1) / scale[:, None]
    return np.asarray(np.linalg.pinv(design)[0] / scale)


def _covariance(parts: Sequence[ScoreParts]) -> FloatArray:
    """Covariance of the scores over frames: all sizes see the same frames. Independent where the groups differ."""
    groups = parts[0].groups
    if not all(np.array_equal(part.groups, groups) for part in parts):
        return np.diag([part.sampling_std_bits**2 for part in parts])
    spread = np.stack([part.share * (part.group_bits - part.share @ part.group_bits) for part in parts])
    return np.asarray(spread @ spread.T * groups.size / max(groups.size - 1, 1))
