"""The maps of one sensor: plan, sum, estimate, find defects, and bring to the camera model's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, Level
from calibrate.pixel_maps.defects import Defects, find_defects
from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.estimate import PixelEstimates, estimate_pixels
from calibrate.pixel_maps.finish import tie_gain, to_maps
from calibrate.pixel_maps.plan import LevelPlan, ScalarFit, measure_frame_means, plan_levels
from calibrate.pixel_maps.repeatability import Repeatability, compare_halves
from calibrate.pixel_maps.stream import read_pixels, sum_frames
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.store import Maps

_MOST_DARKS_FOR_TELEGRAPH = 512


@dataclass(frozen=True)
class MeasuredMaps:
    """Maps of one sensor with what they are worth.

    Parameters
    ----------
    maps : dict of float32 ndarray (height, width)
        ``offset_dn`` (DN), ``read_noise_e`` (e-), ``system_gain_dn_per_e`` where the variances of brights are there,
        ``prnu`` (relative photo-response, mean 0 over good pixels), ``dark_current_e_per_s`` where darks at two
        exposures or more are; the standard error of each as ``NAME_std``.
    defects : Defects
    repeatability : dict of Repeatability
        By the map's name; empty where the frames do not make two halves.
    gain_ratio, gain_ratio_std : float
        Mean of the gain map over the scalar gain before the two were made equal, and its error.
    read_variance_e2 : float
        Mean read variance of good pixels.
    n_darks : int
    """

    maps: dict[str, NDArray[np.float32]]
    defects: Defects
    repeatability: dict[str, Repeatability]
    gain_ratio: float
    gain_ratio_std: float
    read_variance_e2: float
    n_darks: int

    def with_defects(self) -> Maps:
        """The maps and the mask, as the noise-model file holds them."""
        return {**self.maps, "defects": self.defects.mask}


def measure_maps(
    captures: CaptureSet, fit: ScalarFit, frame_means_dn: Sequence[Sequence[float]] | None = None
) -> MeasuredMaps:
    """Maps of one sensor, each with its standard error, its defects, and how well the maps repeat.

    Parameters
    ----------
    captures : CaptureSet
    fit : ScalarFit
        The scalar fit of the same captures.
    frame_means_dn : sequence of sequences, optional
        Mean code of every frame in the order of ``captures.levels``; None: one more pass finds them.

    Raises
    ------
    PhotonbitsError
        If there are fewer than three darks, or no two at one exposure.

    Notes
    -----
    One pass over the frames; memory is a dozen arrays of one frame's size whatever their number. ``prnu`` holds the
    shading of the light as well: flats cannot tell the two apart. See docs/theory/pixel_maps.md.
    """
    darks = captures.dark_levels()
    n_darks = sum(level.n_frames for level in darks)
    if n_darks < 3 or n_darks <= len(darks):
        raise PhotonbitsError(
            f"{n_darks} dark frames at {len(darks)} exposures for maps",
            where=captures.root,
            legal="three darks or more, two or more at one exposure",
            remedy="Shoot 16 darks for rough maps, 72 and more for scores, or fit with --no-maps",
        )
    height, width = captures.shape or (0, 0)
    means = measure_frame_means(captures) if frame_means_dn is None else frame_means_dn
    levels = plan_levels(captures, fit, means)
    tiles = sum_frames(levels, height * width)
    whole = [tile.whole for tile in tiles]
    design = Design(tuple(whole[0].seen), fit, all(level.exposure_s is not None for level in darks))
    pixels = estimate_pixels(whole, design)

    def dark_codes(index: NDArray[np.int64]) -> NDArray[np.float32]:
        return _dark_codes([(level, plan) for level, plan in levels if not plan.bright], pixels, fit, index)

    constant = np.concatenate([tile.constant for tile in whole])
    defects = find_defects(pixels, design, constant, (height, width), dark_codes, n_darks)
    good = defects.mask.reshape(-1) == 0
    repeatability = compare_halves(tiles, design, good)
    del tiles, whole
    gain_ratio, gain_ratio_std = tie_gain(pixels, fit.system_gain_dn_per_e, good)
    counted = good if np.any(good) else np.ones_like(good)
    read_variance = float(np.mean(pixels.read_variance_dn2[counted], dtype=np.float64))
    flat = to_maps(pixels, design, counted)
    return MeasuredMaps(
        maps={name: values.reshape(height, width) for name, values in flat.items()},
        defects=defects,
        repeatability=repeatability,
        gain_ratio=gain_ratio,
        gain_ratio_std=gain_ratio_std,
        read_variance_e2=read_variance / fit.system_gain_dn_per_e**2,
        n_darks=n_darks,
    )


def _dark_codes(
    darks: Sequence[tuple[Level, LevelPlan]], pixels: PixelEstimates, fit: ScalarFit, index: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Dark codes of the pixels ``index`` less what their offset and dark charge predict; evenly chosen frames."""
    frames = [(ref, plan, k) for level, plan in darks for k, ref in enumerate(level.frames)]
    if len(frames) > _MOST_DARKS_FOR_TELEGRAPH:
        chosen = np.linspace(0, len(frames) - 1, _MOST_DARKS_FOR_TELEGRAPH).round().astype(int)
        frames = [frames[k] for k in chosen]
    codes = read_pixels([ref for ref, _, _ in frames], index)
    codes -= (pixels.offset_dn[index] - np.float32(fit.offset_dn))[:, None]
    codes -= np.array([plan.shifts_dn[k] for _, plan, k in frames], dtype=np.float32)
    if pixels.rate_dn_per_s is not None:
        codes -= pixels.rate_dn_per_s[index][:, None] * np.array([p.exposure_s for _, p, _ in frames], dtype=np.float32)
    return codes
