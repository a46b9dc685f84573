"""The numbers that the fit sees: one row a level, and which rows may be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from calibrate.captures.capture_set import CaptureSet
from calibrate.level_statistics import LevelStatistics
from calibrate.plumbing.errors import PhotonbitsError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Share of pixels at a clip, above that of the darks, from which a level's variance is no longer its own.
CLIPPED_FRACTION = 1e-4
#: The same where exact moments can take its place: a frame whose pixels differ less than their noise.
CORRECTABLE_FRACTION = 0.02
_EVEN_FRAME = 0.25  # of the temporal variance
_NORMAL_SKEWNESS = 0.05
#: Where saturation is a roll-off and not a clip: share of the saturation signal up to which levels are used.
ROLL_OFF_RANGE = 0.9


@dataclass(frozen=True)
class PhotonTransferData:
    """Level statistics as arrays of one length; brights by rising mean, then darks by rising exposure.

    Parameters
    ----------
    bright : ndarray of bool
    light : ndarray
        Photons per pixel, else exposure in seconds; NaN where unknown, 0 for darks.
    exposure_s : ndarray
        NaN where unknown.
    mean_dn, variance_dn2 : ndarray
        Variance is NaN for levels of one frame.
    mean_samples, variance_samples : ndarray
        Pixels times frames, and pixels times pairs.
    kurtosis : ndarray
        Of the pair differences.
    clipped_fraction : ndarray
    usable : ndarray of bool
    light_unit : str
        ``"photons"``, ``"s"`` or ``""``.
    offset_is_zero : bool
        Means are signals above the offset (tables).
    known_errors : bool
        False for tables, which do not say from how many pixels they come.
    white_clip_dn : float or None
        Highest code; None for real values.
    saturates : {"clip", "roll_off", "no"}
    offset_variance_dn2 : float
        Fixed pattern of the offset over ordinary pixels; hot ones are in ``hot_dn``.
    black_clip_dn : float or None
        Lowest code; None for real values.
    black_fraction : ndarray
        Share of a level's pixels at that code.
    hot_dn, ordinary_variance_dn2 : ndarray
        What hot pixels add to the mean of a dark, or of a level that reaches the lowest code; spatial variance without
        them.
    ordinary_noise : ndarray of bool
        Darks whose variance and kurtosis are those of the ordinary pixels alone.
    spatial_variance_dn2, noise_signal_dn3 : ndarray
        Of shading and fixed pattern; covariance over pixels of the noise's square with the signal.
    gain_pattern : float
        Relative variance of the gain over pixels, K_i against K, where it could be told from that of the light.
    mean_shift_dn, variance_shift_dn2 : ndarray
        What rounding, the black clip and the spread of the light over the frame add to a bright level's first-order
        prediction; found on the way by the fit.
    charged : ndarray of bool
        Darks of unknown exposure whose signal is read off their own mean, as a flat's is (`dark_charge`).
    dn_per_unit : float
        1 but inside a fit of real values, which is in units of their noise (`units`).
    """

    bright: BoolArray
    light: FloatArray
    exposure_s: FloatArray
    photons_per_pixel: FloatArray
    mean_dn: FloatArray
    variance_dn2: FloatArray
    mean_samples: FloatArray
    variance_samples: FloatArray
    n_frames: NDArray[np.int64]
    kurtosis: FloatArray
    clipped_fraction: FloatArray
    usable: BoolArray
    light_unit: str
    offset_is_zero: bool
    known_errors: bool
    white_clip_dn: float | None
    saturates: str
    offset_variance_dn2: float
    black_clip_dn: float | None
    black_fraction: FloatArray
    hot_dn: FloatArray
    ordinary_noise: BoolArray
    ordinary_variance_dn2: FloatArray
    spatial_variance_dn2: FloatArray
    noise_signal_dn3: FloatArray
    gain_pattern: float
    mean_shift_dn: FloatArray
    variance_shift_dn2: FloatArray
    charged: BoolArray
    dn_per_unit: float = 1.0

    @property
    def used_bright(self) -> BoolArray:
        """Brights that enter the fit."""
        return self.bright & self.usable

    @property
    def dark(self) -> BoolArray:
        """Darks, all of which enter the fit."""
        return ~self.bright

    @property
    def still(self) -> BoolArray:
        """Darks whose mean says where the offset is: all but those whose charge it tells."""
        return self.dark & ~self.charged

    @property
    def has_light_axis(self) -> bool:
        """Whether every used bright level has a light value."""
        return bool(self.light_unit) and bool(np.all(np.isfinite(self.light[self.used_bright])))

    @property
    def has_dark_exposures(self) -> bool:
        """Whether darks at two or more exposures are there."""
        exposures = self.exposure_s[self.dark]
        return bool(exposures.size and np.all(np.isfinite(exposures)) and np.ptp(exposures) > 0)


def in_order_of_fit(levels: tuple[LevelStatistics, ...]) -> list[LevelStatistics]:
    """Brights by their means, then darks by their exposures: the rows of `PhotonTransferData`."""
    brights = sorted((level for level in levels if level.kind == "bright"), key=lambda level: level.mean_dn)
    return [*brights, *sorted((x for x in levels if x.kind == "dark"), key=lambda level: level.exposure_s or 0.0)]


def from_levels(
    captures: CaptureSet,
    levels: tuple[LevelStatistics, ...],
    white_clip_dn: float | None,
    given_offset_dn: float | None = None,
    *,
    few: bool = False,
) -> PhotonTransferData:
    """Arrange level statistics for the fit and decide which levels are below saturation.

    ``given_offset_dn`` takes the place of darks: means and clip are then counted from it. With ``few`` the levels below
    saturation are not counted: `require_levels` does that.

    Raises
    ------
    PhotonbitsError
        If there are no darks, no brights, fewer than two levels with two frames, or all are saturated.
    """
    where = captures.root
    ordered = in_order_of_fit(levels)
    brights = [level for level in ordered if level.kind == "bright"]
    darks = [level for level in ordered if level.kind == "dark"]
    if not brights:
        raise PhotonbitsError(
            "no bright frames", where=where, remedy="Add flats at several light levels, two or more frames each"
        )
    if not darks and given_offset_dn is None:
        raise PhotonbitsError(
            "no dark frames",
            where=where,
            legal="two or more darks at one exposure or more",
            remedy="Shoot darks with the same settings, or name them so (inspect shows what was recognised)",
        )
    for kind, group in (("bright", brights), ("dark", darks)):
        if group and not any(level.pairs for level in group):
            raise PhotonbitsError(
                f"no {kind} level with two frames or more",
                where=where,
                legal="two frames a level, same light",
                remedy="Noise is measured from the difference of two frames",
            )
    fewest = min(level.n_pixels for level in ordered)
    if fewest < 2:
        raise PhotonbitsError(
            f"frames of {fewest} pixel", where=where, legal="two pixels or more: noise is a variance over pixels"
        )
    offset = float(np.mean([level.mean_dn for level in darks])) if darks else float(given_offset_dn or 0.0)
    zero = 0.0 if darks else offset
    bright = np.array([level.kind == "bright" for level in ordered])
    photons = np.array([np.nan if level.photons_per_pixel is None else level.photons_per_pixel for level in ordered])
    exposure = np.array([np.nan if level.exposure_s is None else level.exposure_s for level in ordered])
    light, unit = _light_axis(photons, exposure, bright)
    variance = [level.temporal_variance_dn2(offset if level.kind == "bright" else None) for level in ordered]
    kurtosis = [level.kurtosis for level in ordered]
    ordinary = [level.ordinary_noise if level.kind == "dark" else None for level in ordered]
    for i, noise in enumerate(ordinary):
        if noise is not None:
            variance[i], kurtosis[i] = noise
    clipped = np.array([_clipped(level, white_clip_dn) for level in ordered])
    data = PhotonTransferData(
        bright=bright,
        light=light,
        exposure_s=exposure,
        photons_per_pixel=photons,
        mean_dn=np.array([level.mean_dn - zero for level in ordered]),
        variance_dn2=np.array([np.nan if v is None else v for v in variance]),
        mean_samples=np.array([float(level.n_pixels * level.n_frames) for level in ordered]),
        variance_samples=np.array([float(level.n_pixels * max(len(level.pairs), 1)) for level in ordered]),
        n_frames=np.array([level.n_frames for level in ordered]),
        kurtosis=np.array(kurtosis),
        clipped_fraction=clipped,
        usable=np.ones(bright.shape, dtype=bool),
        light_unit=unit,
        offset_is_zero=not darks,
        known_errors=True,
        white_clip_dn=None if white_clip_dn is None else white_clip_dn - zero,
        saturates="no",
        offset_variance_dn2=_offset_variance(darks),
        black_clip_dn=None if white_clip_dn is None else -zero,
        black_fraction=np.array([level.minimum_fraction if level.minimum_code <= 0 else 0.0 for level in ordered]),
        hot_dn=np.array([level.hot_excess_dn for level in ordered]),
        ordinary_noise=np.array([noise is not None for noise in ordinary]),
        ordinary_variance_dn2=np.array([level.pattern_dn2 for level in ordered]),
        spatial_variance_dn2=np.array(
            [_mean(pair.spatial_covariance_dn2 for pair in level.pairs) for level in ordered]
        ),
        noise_signal_dn3=np.array(
            [_mean(pair.noise_signal_covariance_dn3 for pair in level.pairs) for level in ordered]
        ),
        gain_pattern=0.0,
        mean_shift_dn=np.zeros(len(ordered)),
        variance_shift_dn2=np.zeros(len(ordered)),
        charged=np.zeros(len(ordered), dtype=bool),
    )
    marked = _mark_saturation(data, offset - zero)
    return marked if few else require_levels(marked, where)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.mean(listed)) if listed else 0.0


def _offset_variance(darks: list[LevelStatistics]) -> float:
    """Variance of the offset over ordinary pixels, DN^2; 0 where it is not above twice its standard error."""
    darks = [level for level in darks if level.pairs]
    pairs = [pair for level in darks for pair in level.pairs]
    if not pairs:
        return 0.0
    value = float(np.average([level.pattern_dn2 for level in darks], weights=[len(level.pairs) for level in darks]))
    error = float(np.mean([pair.difference_variance_dn2 / 2 for pair in pairs]))
    error /= np.sqrt(sum(pair.n_pixels for pair in pairs))
    return value if value > 2 * error else 0.0


def from_table(captures: CaptureSet) -> PhotonTransferData:
    """Arrange a table of (mean, variance) points; means are taken as signals above the offset.

    Raises
    ------
    PhotonbitsError
        If fewer than three points are left below saturation.
    """
    points = sorted(captures.points, key=lambda point: point.mean_dn)
    n = len(points)
    exposure = np.array([np.nan if point.exposure_s is None else point.exposure_s for point in points])
    bright = np.ones(n, dtype=bool)
    light, unit = _light_axis(np.full(n, np.nan), exposure, bright)
    data = PhotonTransferData(
        bright=bright,
        light=light,
        exposure_s=exposure,
        photons_per_pixel=np.full(n, np.nan),
        mean_dn=np.array([point.mean_dn for point in points]),
        variance_dn2=np.array([point.variance_dn2 for point in points]),
        mean_samples=np.full(n, 1e5),
        variance_samples=np.full(n, 1e5),
        n_frames=np.full(n, 2),
        kurtosis=np.full(n, 3.0),
        clipped_fraction=np.zeros(n),
        usable=np.ones(n, dtype=bool),
        light_unit=unit,
        offset_is_zero=True,
        known_errors=False,
        white_clip_dn=None,
        saturates="no",
        offset_variance_dn2=0.0,
        black_clip_dn=None,
        black_fraction=np.zeros(n),
        hot_dn=np.zeros(n),
        ordinary_noise=np.zeros(n, dtype=bool),
        ordinary_variance_dn2=np.zeros(n),
        spatial_variance_dn2=np.zeros(n),
        noise_signal_dn3=np.zeros(n),
        gain_pattern=0.0,
        mean_shift_dn=np.zeros(n),
        variance_shift_dn2=np.zeros(n),
        charged=np.zeros(n, dtype=bool),
    )
    where = captures.input_files[0] if captures.input_files else captures.root
    return _drop_outliers(require_levels(_mark_saturation(data, 0.0), where), where)


def _light_axis(photons: FloatArray, exposure: FloatArray, bright: BoolArray) -> tuple[FloatArray, str]:
    for values, unit in ((photons, "photons"), (exposure, "s")):
        some = values[bright]
        if np.all(np.isfinite(some)) and np.ptp(some) > 0:
            return np.where(bright, values, 0.0), unit
    return np.where(bright, np.nan, 0.0), ""


def _clipped(level: LevelStatistics, white_clip_dn: float | None) -> float:
    if white_clip_dn is None or level.maximum_code < white_clip_dn:
        return 0.0
    return level.maximum_fraction


def even_levels(data: PhotonTransferData, offset: float) -> BoolArray:
    """Levels whose pixels differ less than their noise, which is as good as normal: moments at a clip are known there.

    What an uneven frame has at a clip depends on how its light is spread, which two moments do not tell: the bright
    middle of a vignetted frame ends sooner than a normal law of the same variance.
    """
    # Signal over noise squared is the charge where light rules the noise: its root is one over the skewness.
    noise = np.sqrt(np.maximum(np.nan_to_num(data.variance_dn2), 1e-12))
    even = data.spatial_variance_dn2 < _EVEN_FRAME * noise**2
    return np.asarray(even & (noise < _NORMAL_SKEWNESS * np.maximum(data.mean_dn - offset, 0.0)))


def unclipped_levels(data: PhotonTransferData, offset: float) -> tuple[BoolArray, bool]:
    """Levels with few enough pixels at the highest code, darks included, and whether any level clips."""
    excess = data.clipped_fraction - np.min(data.clipped_fraction)
    correctable = even_levels(data, offset) & ~_holds_more_than_noise(data)
    largest = np.where(correctable, CORRECTABLE_FRACTION, CLIPPED_FRACTION)
    usable = ~(data.bright & (excess > largest))
    return usable, bool(np.any(data.bright & (excess > CLIPPED_FRACTION)))


def _holds_more_than_noise(data: PhotonTransferData) -> BoolArray:
    """Levels with twice as many pixels at the highest code as a normal law of their mean and variance puts there.

    Sparks and hot pixels end there; they are no further from the mean than the noise, and cannot be told from it.
    """
    if data.white_clip_dn is None:
        return np.zeros(data.bright.shape, dtype=bool)
    spread = np.sqrt(np.maximum(np.nan_to_num(data.variance_dn2) + np.maximum(data.spatial_variance_dn2, 0.0), 1e-12))
    expected = ndtr((data.mean_dn - data.white_clip_dn + 0.5) / spread)
    return np.asarray(data.clipped_fraction > 2 * expected + CLIPPED_FRACTION)


def _mark_saturation(data: PhotonTransferData, offset: float) -> PhotonTransferData:
    """Leave out clipped levels, and those past the variance's roll-off."""
    usable, clips = unclipped_levels(data, offset)
    saturates = "clip" if clips else "no"
    rows = np.flatnonzero(data.bright & np.isfinite(data.variance_dn2))
    if rows.size:
        peak = rows[np.argmax(data.variance_dn2[rows])]
        after = rows[data.mean_dn[rows] > data.mean_dn[peak]]
        fallen = after[data.variance_dn2[after] < 0.9 * data.variance_dn2[peak]]
        unclipped = fallen[usable[fallen]]
        if unclipped.size and usable[peak]:
            saturates = "roll_off"
            limit = offset + ROLL_OFF_RANGE * (data.mean_dn[peak] - offset)
            usable &= ~data.bright | (data.mean_dn <= limit)
    return replace(data, usable=usable, saturates=saturates)


def require_levels(data: PhotonTransferData, where: object) -> PhotonTransferData:
    """The data, if enough bright levels lie below saturation.

    Raises
    ------
    PhotonbitsError
        If fewer than two do, or three of a table.
    """
    good = int(np.sum(data.used_bright & np.isfinite(data.variance_dn2)))
    needed = 3 if data.offset_is_zero else 2
    if good < needed and not data.known_errors:
        raise PhotonbitsError(
            f"the table has {good} points below saturation of {int(np.sum(data.bright))} in all",
            where=where,
            legal=f"{needed} points or more, below the signal where the variance falls",
            remedy="Add points at other signals, or check the order of the columns",
        )
    if good < needed:
        count = int(np.sum(data.bright))
        raise PhotonbitsError(
            f"{good} of {count} bright levels can be used (the rest is saturated or has one frame)",
            where=where,
            legal=f"{needed} levels or more below saturation, two frames each",
            remedy="Shoot flats at several exposures from dim to just saturated; flats of one exposure under several "
            "lamp levels need `level` or `photons_per_pixel` in a manifest, pages of a stack `index`",
        )
    return data


def _drop_outliers(data: PhotonTransferData, where: object) -> PhotonTransferData:
    """Leave out table points whose variance over mean stands apart from its neighbours' (5 robust sigmas).

    Published tables carry dead exposures; frames do not come here, since their own noise says what to expect.
    """
    rows = np.flatnonzero(data.used_bright)
    ratio = np.log(np.maximum(data.variance_dn2[rows], 1e-12) / np.maximum(data.mean_dn[rows], 1e-12))
    centre = np.array([np.median(ratio[max(0, i - 3) : i + 4]) for i in range(rows.size)])
    scale = 1.4826 * np.median(np.abs(ratio - centre)) + 1e-3
    usable = data.usable.copy()
    usable[rows[np.abs(ratio - centre) > max(5 * scale, 0.15)]] = False
    if int(np.sum(usable)) < 3:
        raise PhotonbitsError(
            "fewer than three points of the table hang together", where=where, legal="mean and temporal variance"
        )
    return replace(data, usable=usable)
