"""What one pass over the captures leaves: frozen records, small whatever the number of frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import FrameKind
from calibrate.validation.prediction import PixelClasses, Point

FloatArray = NDArray[np.float64]

#: Bins of the probability integral transform.
BINS = 32


@dataclass(frozen=True)
class Cell:
    """Pixels of one level with like mean signal, over all its pairs of frames (a, b); d = a - b, m = (a + b)/2.

    Parameters
    ----------
    level : int
        Position in `Observed.levels`.
    kind, exposure_s, dark_charge_e
        Of the level; the charge that the model gives a dark, None for brights.
    n_pairs : int
        Pixels times pairs of frames.
    mean_dn : float
        Mean of m.
    variance_dn2 : float
        Temporal variance of one frame: half the variance of d, lamp drift within pairs taken out.
    fourth_dn4 : float
        Mean of d^4 over 4.
    third_dn3 : float
        Mean of d^2 (m - mean): the third cumulant of a code, and what the spread of m adds.
    spread_dn2 : float
        Variance over pixels of their own mean codes (shading and fixed pattern): of m, less its noise.
    n_clipped, n_outliers : int
        Pixel pairs at the highest code; pixel pairs far outside the noise, left out where light rules it.
    at_black : int
        Pixels (of two frames a pair) at the lowest code.
    histogram : ndarray of int (BINS,)
        Of the probability integral transform of d under the model.
    offset_away_dn, gain_square_ratio, read_variance_dn2, classes
        Averages of the model's maps over the cell; see `Point`.
    """

    level: int
    kind: FrameKind
    exposure_s: float | None
    dark_charge_e: float | None
    n_pairs: int
    mean_dn: float
    variance_dn2: float
    fourth_dn4: float
    third_dn3: float
    spread_dn2: float
    n_clipped: int
    n_outliers: int
    at_black: int
    histogram: NDArray[np.int64]
    offset_away_dn: float = 0.0
    gain_square_ratio: float = 1.0
    read_variance_dn2: float | None = None
    classes: PixelClasses | None = None

    @property
    def point(self) -> Point:
        """The cell as the model is asked about it."""
        return Point(
            self.mean_dn - self.offset_away_dn, self.dark_charge_e, self.spread_dn2, self.gain_square_ratio,
            self.read_variance_dn2, self.classes,
        )  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """Mean squares of d over rows, columns and what is left, and products of neighbours of the rest.

    Each mean square is 2 V for noise that is independent from pixel to pixel. Sums over pairs; divide by ``n_pairs``.
    """

    rows: int
    columns: int
    n_pairs: int
    between_rows_dn2: float
    between_columns_dn2: float
    within_dn2: float
    horizontal_dn2: float
    vertical_dn2: float


@dataclass(frozen=True)
class ObservedLevel:
    """One level of the captures.

    ``dark_charge_e``: as for `Cell`. ``minimum_code``, ``maximum_code``: over all frames, with the shares of pixels
    there.
    """

    kind: FrameKind
    exposure_s: float | None
    dark_charge_e: float | None
    n_frames: int
    n_pixels: int
    frame_means_dn: tuple[float, ...]
    mean_offset_away_dn: float
    structure: Structure | None
    minimum_code: float
    maximum_code: float
    minimum_fraction: float
    maximum_fraction: float
    black_fraction: float

    @property
    def mean_dn(self) -> float:
        """Mean code of all frames."""
        return float(np.mean(self.frame_means_dn))


@dataclass(frozen=True)
class Regions:
    """Regions of the frame, arrays (rows, columns): observed over predicted variance, the frame's own ratio taken out.

    With its standard error, and the transform's histogram of each region, (regions, BINS).
    """

    noise_ratio: FloatArray
    noise_ratio_std: FloatArray
    histogram: NDArray[np.int64]


@dataclass(frozen=True)
class Observed:
    """All levels and cells; ``code_step`` is the greatest power of two that divides every code (0: real values)."""

    levels: tuple[ObservedLevel, ...]
    cells: tuple[Cell, ...]
    regions: Regions | None
    code_step: int
