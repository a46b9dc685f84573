"""Averages of many frames under one light, for the spatial quantities: frame by frame, one sum image in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, Level
from calibrate.frames import iterate_frames
from calibrate.level_statistics import LevelStatistics
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track

FloatArray = NDArray[np.float64]

#: Pixels kept of all frames together, to see how any two frames agree.
_SAMPLED_VALUES = 1 << 22


@dataclass(frozen=True)
class Stack:
    """Averages of frames taken under one light; frames are taken about their own means.

    Parameters
    ----------
    mean_image_dn : ndarray (height, width)
        Equation 33.
    temporal_variance_dn2 : float
        Mean over pixels of the variance between frames (equation 65).
    common_variance_dn2 : float
        The part of it that all pixels share: flicker of the lamp, drift of the offset.
    row_means_dn, column_means_dn : ndarray (n_frames, height), (n_frames, width)
        Of every frame, about the frame's mean.
    covariance_dn2 : ndarray (n_frames, n_frames)
        Covariance over pixels of every two frames, rows and columns taken out, from a sample of the pixels.
    sampled_pixels : int
    exposure_s, photons_per_pixel : float or None
    """

    mean_image_dn: FloatArray
    temporal_variance_dn2: float
    common_variance_dn2: float
    row_means_dn: FloatArray
    column_means_dn: FloatArray
    covariance_dn2: FloatArray
    sampled_pixels: int
    exposure_s: float | None
    photons_per_pixel: float | None

    @property
    def n_frames(self) -> int:
        """Frames averaged."""
        return int(self.row_means_dn.shape[0])

    @property
    def mean_dn(self) -> float:
        """Mean of the average image."""
        return float(np.mean(self.mean_image_dn))


def read_stack(level: Level) -> Stack:
    """Average a level's frames one by one; memory grows with their number only up to a sample of 32 MB.

    Raises
    ------
    PhotonbitsError
        If there are fewer than two frames, or they differ in shape.
    """
    n_frames = level.n_frames
    if n_frames < 2:
        raise PhotonbitsError(
            f"{n_frames} {level.kind} frame for a spatial stack", legal="two frames or more under the same light"
        )
    total, shift = np.zeros((0, 0)), 0.0
    place: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    squares = 0.0
    means: list[float] = []
    rows: list[FloatArray] = []
    columns: list[FloatArray] = []
    sample: list[FloatArray] = []
    frames = track(iterate_frames(level.frames), f"Spatial stack, {level.kind}", total=n_frames)
    for reference, frame in zip(level.frames, frames, strict=True):
        if not means:
            # Codes about their mean: sums of squares then hold every digit that the variances need.
            total, shift = np.zeros(frame.shape), float(np.round(np.mean(frame)))
            place = _sample_of(frame.size, n_frames)
        elif frame.shape != total.shape:
            raise PhotonbitsError(
                f"frame of shape {frame.shape}", where=reference.path, legal=f"{total.shape} like the others"
            )
        codes = frame.astype(np.float64)
        codes -= shift
        total += codes
        squares += float(np.vdot(codes, codes))
        means.append(float(np.mean(codes)))
        rows.append(np.mean(codes, axis=1) - means[-1])
        columns.append(np.mean(codes, axis=0) - means[-1])
        row, column = np.divmod(place, codes.shape[1])
        sample.append(codes.ravel()[place] - rows[-1][row] - columns[-1][column] - means[-1])
    temporal = (squares - float(np.vdot(total, total)) / n_frames) / (total.size * (n_frames - 1))
    total /= n_frames
    total += shift
    sampled = np.array(sample)
    return Stack(
        mean_image_dn=total,
        temporal_variance_dn2=temporal,
        common_variance_dn2=float(np.var(means, ddof=1)),
        row_means_dn=np.array(rows),
        column_means_dn=np.array(columns),
        covariance_dn2=sampled @ sampled.T / place.size,
        sampled_pixels=int(place.size),
        exposure_s=level.exposure_s,
        photons_per_pixel=level.photons_per_pixel,
    )


def _sample_of(n_pixels: int, n_frames: int) -> NDArray[np.int64]:
    """Places of the pixels that are kept of every frame: all of a small stack, drawn at random from a large one."""
    wanted = min(n_pixels, max(_SAMPLED_VALUES // n_frames, 1))
    if wanted == n_pixels:
        return np.arange(n_pixels)
    return np.sort(np.random.default_rng(n_pixels).choice(n_pixels, wanted, replace=False))


def choose_stacks(
    captures: CaptureSet,
    statistics: tuple[LevelStatistics, ...],
    half_saturation_dn: float,
    top_code: float | None,
) -> tuple[Level | None, Level | None]:
    """The bright and the dark level for the spatial quantities; None where there is none.

    Of the unclipped bright levels with the most frames, the one whose mean is nearest to half the saturation; of the
    darks with the most frames, the one nearest to its exposure.
    """
    levels = [pair for pair in zip(captures.levels, statistics, strict=True) if pair[0].n_frames >= 2]
    bright = _longest(
        [p for p in levels if p[0].kind == "bright" and (top_code is None or p[1].maximum_code < top_code)]
    )
    dark = _longest([p for p in levels if p[0].kind == "dark"])
    chosen = min(bright, key=lambda pair: abs(pair[1].mean_dn - half_saturation_dn), default=(None, None))[0]
    wanted = chosen.exposure_s if chosen is not None else None

    def distance(pair: tuple[Level, LevelStatistics]) -> float:
        exposure = pair[0].exposure_s
        return 0.0 if wanted is None or exposure is None else abs(exposure - wanted)

    return chosen, min(dark, key=distance, default=(None, None))[0]


def _longest(levels: list[tuple[Level, LevelStatistics]]) -> list[tuple[Level, LevelStatistics]]:
    most = max((level.n_frames for level, _ in levels), default=0)
    return [pair for pair in levels if pair[0].n_frames == most]
