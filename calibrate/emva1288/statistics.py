"""What the standard's photon-transfer formulas start from: level statistics as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet
from calibrate.level_statistics import LevelStatistics
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]

#: Share of pixels at the highest code of the brightest level from which that code, and not 2^B - 1, is the clip.
_PILE_UP = 0.3
#: Kurtosis of a difference from which a level's own kurtosis is not believed (a few pixels make it).
_LARGEST_KURTOSIS = 30.0


@dataclass(frozen=True)
class Series:
    """Levels of one kind as arrays of one length; brights by rising light, darks by rising exposure.

    Parameters
    ----------
    light : ndarray
        Photons per pixel, else exposure in seconds, else NaN; for darks the exposure.
    mean_dn, variance_dn2 : ndarray
        Mean of the frames (equation 16) and temporal variance of pairs (equation 18 of release 4).
    spread_dn : ndarray
        Standard deviation over the pixels of one frame, temporal noise and fixed pattern together.
    top_share : ndarray
        Share of pixels at the sensor's highest code.
    mean_std_dn, variance_std_dn2 : ndarray
        Sampling errors of the two from the temporal noise.
    n_pixels : int
    """

    light: FloatArray
    mean_dn: FloatArray
    variance_dn2: FloatArray
    spread_dn: FloatArray
    top_share: FloatArray
    mean_std_dn: FloatArray
    variance_std_dn2: FloatArray
    n_pixels: int

    @property
    def size(self) -> int:
        """Levels."""
        return int(self.light.size)


@dataclass(frozen=True)
class Levels:
    """Photon-transfer data of the standard.

    Parameters
    ----------
    bright, dark : Series
    light_unit : {"photons", "s", ""}
        Of ``bright.light``; empty where neither photons nor exposures are known.
    dark_weights : ndarray (brights, darks)
        Row i times the darks' values gives the dark value that belongs to bright level i.
    top_code : float or None
        Where the codes clip; None for real-valued frames.
    rounding_dn2 : float
        Variance of rounding: 1/12, or 0 for real values.
    """

    bright: Series
    dark: Series
    light_unit: str
    dark_weights: FloatArray
    top_code: float | None
    rounding_dn2: float


def gather(captures: CaptureSet, statistics: tuple[LevelStatistics, ...], bit_depth: int | None) -> Levels:
    """Arrange level statistics for the standard's formulas.

    Raises
    ------
    PhotonbitsError
        If fewer than two bright levels, or no dark level, have two frames.
    """
    pairs = [level for level in statistics if level.pairs]
    temporal = _temporal(captures, pairs)
    bright = [level for level in temporal if level.kind == "bright"]
    dark = sorted((level for level in temporal if level.kind == "dark"), key=lambda level: level.exposure_s or 0.0)
    if len(bright) < 2 or not dark:
        raise PhotonbitsError(
            f"EMVA 1288 from {len(bright)} bright and {len(dark)} dark levels with two frames",
            where=captures.root,
            legal="two bright levels or more, one dark level or more",
            remedy="Shoot two flats and two darks at each exposure, or fit without --emva",
        )
    light, unit = _light_axis(bright)
    order = np.argsort(light if unit else [level.mean_dn for level in bright], kind="stable")
    bright, light = [bright[i] for i in order], light[order]
    top = _top_code(bright, bit_depth)
    exposures = np.array([np.nan if level.exposure_s is None else level.exposure_s for level in dark])
    wanted = np.array([np.nan if level.exposure_s is None else level.exposure_s for level in bright])
    return Levels(
        bright=_series(bright, light, top),
        dark=_series(dark, exposures, top),
        light_unit=unit,
        dark_weights=dark_weights(wanted, exposures),
        top_code=top,
        rounding_dn2=0.0 if bit_depth is None else 1.0 / 12.0,
    )


def _temporal(captures: CaptureSet, levels: list[LevelStatistics]) -> list[LevelStatistics]:
    """Levels of the photon-transfer series.

    A descriptor gives two frames to each of its points and more than two to the spatial stacks, which are another
    measurement; elsewhere every level counts.
    """
    if captures.source != "emva1288":
        return levels
    kept = [level for level in levels if level.n_frames == 2]
    kinds = [level.kind for level in kept]
    return kept if kinds.count("bright") >= 2 and "dark" in kinds else levels


def _light_axis(bright: list[LevelStatistics]) -> tuple[FloatArray, str]:
    for name, unit in (("photons_per_pixel", "photons"), ("exposure_s", "s")):
        values = [getattr(level, name) for level in bright]
        if None not in values and np.ptp(np.array(values, dtype=np.float64)) > 0:
            return np.array(values, dtype=np.float64), unit
    return np.full(len(bright), np.nan), ""


def _top_code(bright: list[LevelStatistics], bit_depth: int | None) -> float | None:
    if bit_depth is None:
        return None
    brightest = max(bright, key=lambda level: level.mean_dn)
    return brightest.maximum_code if brightest.maximum_fraction > _PILE_UP else float(2**bit_depth - 1)


def _series(levels: list[LevelStatistics], light: FloatArray, top: float | None) -> Series:
    # Equation 18 divides by the number of pixels, the unbiased variance of the pairs by one less.
    variance = np.array([np.mean([p.r4_variance_dn2 for p in x.pairs]) * (1 - 1 / x.n_pixels) for x in levels])
    pattern = np.array([np.mean([p.spatial_covariance_dn2 for p in x.pairs]) for x in levels])
    n = np.array([float(x.n_pixels) for x in levels])
    n_pairs = np.array([float(len(x.pairs)) for x in levels])
    n_frames = np.array([float(x.n_frames) for x in levels])
    # Var(v) = v^2 (kappa - 1)/n for one pair with kappa the kurtosis of the difference (3 for a normal law); noise
    # that correlates with its neighbours by rho counts as fewer pixels.
    kurtosis = np.clip([x.kurtosis for x in levels], 1.0, _LARGEST_KURTOSIS)
    fewer = np.array([1 + 2 * sum(rho**2 for rho in x.neighbour_correlation) for x in levels])
    noise = np.maximum(variance, 0.0)
    return Series(
        light=light,
        mean_dn=np.array([x.mean_dn for x in levels]),
        variance_dn2=variance,
        spread_dn=np.sqrt(noise + np.maximum(pattern, 0.0)),
        top_share=np.array([x.maximum_fraction if x.maximum_code == top else 0.0 for x in levels]),
        mean_std_dn=np.sqrt(noise / (n * n_frames)),
        variance_std_dn2=noise * np.sqrt((kurtosis - 1.0) * fewer / (n * n_pairs)),
        n_pixels=int(n[0]),
    )


def dark_weights(wanted_s: FloatArray, dark_s: FloatArray) -> FloatArray:
    """Weights (brights, darks) that make the dark values belonging to each bright level.

    The dark of the same exposure where there is one; else the straight line through all darks; without exposures, or
    with one dark exposure, their mean.
    """
    n = dark_s.size
    rows = np.full((wanted_s.size, n), 1.0 / n)
    if not np.all(np.isfinite(dark_s)):
        return rows
    centre = dark_s - np.mean(dark_s)
    power = float(centre @ centre)
    for i, t in enumerate(wanted_s):
        same = np.isclose(dark_s, t, rtol=1e-6, atol=0.0)
        if np.any(same):
            rows[i] = same / np.count_nonzero(same)
        elif power > 0 and np.isfinite(t):
            rows[i] += centre * (t - np.mean(dark_s)) / power
    return rows
