"""The single streaming pass over the frames: exact sums, two frames in memory at a time.

Integer codes are summed as float64 tiles small enough that every partial sum is an exact integer, and the
partial sums are added up as Python integers: means, variances and covariances have no rounding error
whatever the offset or the number of pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, FrameKind, Level
from calibrate.frames import iterate_frames
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track

FloatArray = NDArray[np.float64]
_TILE_PIXELS = 1 << 17  # 16-bit codes: sums of products stay below 2^49, exact in float64


@dataclass(frozen=True)
class PairSums:
    """Exact sums over the pixels of two frames a and b of one level.

    ``d = a - b``. The sums are those of the codes minus ``shift_dn``, which is 0 for integers: real values far from 0
    keep their digits so. ``sum_d4`` and the neighbour products are in DN^4 and DN^2.
    """

    n_pixels: int
    sum_a: float
    sum_b: float
    sum_aa: float
    sum_bb: float
    sum_ab: float
    sum_d4: float
    neighbour_horizontal: float
    neighbour_vertical: float
    shift_dn: float = 0.0

    @property
    def mean_a_dn(self) -> float:
        """Mean of frame a, DN."""
        return self.shift_dn + self.sum_a / self.n_pixels

    @property
    def mean_b_dn(self) -> float:
        """Mean of frame b, DN."""
        return self.shift_dn + self.sum_b / self.n_pixels

    @property
    def difference_variance_dn2(self) -> float:
        """Variance of a - b over pixels, DN^2 (its mean taken out)."""
        return _scaled_difference_variance(self, 1.0, 1.0)

    def temporal_variance_dn2(self, offset_dn: float | None) -> float:
        """Temporal variance of one frame at the pair's mean light, DN^2.

        Both frames, offset removed, are scaled to the pair's mean before they are subtracted, so that a lamp
        that drifts does not turn the shading into noise; the shot noise is corrected for the scale. Without
        light (``offset_dn`` None, or the mean within one noise of it) the plain difference is used.

        Notes
        -----
        With alpha = M/m_a, beta = M/m_b and variances in proportion to the light,
        Var(alpha a - beta b) = v (alpha^2 m_a + beta^2 m_b) / M = v (alpha + beta).
        """
        plain = self.difference_variance_dn2 / 2
        if offset_dn is None:
            return plain
        light_a = self.mean_a_dn - offset_dn
        light_b = self.mean_b_dn - offset_dn
        mean = (light_a + light_b) / 2
        if min(light_a, light_b) <= max(np.sqrt(max(plain, 0.0)), 1.0):
            return plain
        alpha, beta = mean / light_a, mean / light_b
        return _scaled_difference_variance(self, alpha, beta) / (alpha + beta)

    @property
    def r4_variance_dn2(self) -> float:
        """EMVA 1288 R4 temporal variance: mean(d^2)/2 - mean(d)^2/2, DN^2."""
        return self.difference_variance_dn2 / 2

    @property
    def spatial_covariance_dn2(self) -> float:
        """Covariance of the two frames over pixels: shading and fixed pattern without temporal noise, DN^2."""
        n = self.n_pixels
        return (n * self.sum_ab - self.sum_a * self.sum_b) / (n * n)

    @property
    def kurtosis(self) -> float:
        """E[d^4]/E[d^2]^2 of the difference about its mean; 3 for a normal law."""
        second = self.difference_variance_dn2
        return float(self.sum_d4 / self.n_pixels / second**2) if second > 0 else 3.0


def _scaled_difference_variance(sums: PairSums, alpha: float, beta: float) -> float:
    """Variance over pixels of alpha a - beta b; the unbiased one (n - 1)."""
    n = sums.n_pixels
    var_a = n * sums.sum_aa - sums.sum_a * sums.sum_a
    var_b = n * sums.sum_bb - sums.sum_b * sums.sum_b
    cov = n * sums.sum_ab - sums.sum_a * sums.sum_b
    if alpha == 1.0 and beta == 1.0:
        return float(var_a + var_b - 2 * cov) / (n * (n - 1))
    # (alpha - beta)^2 cov is all that is left of the shading; written so, nothing large cancels.
    noise = alpha * alpha * float(var_a - cov) + beta * beta * float(var_b - cov)
    return (noise + (alpha - beta) ** 2 * float(cov)) / (n * (n - 1))


@dataclass(frozen=True)
class LevelStatistics:
    """What the fit needs to know of one level.

    Parameters
    ----------
    kind, exposure_s, photons_per_pixel, n_frames
        As in the captures.
    n_pixels : int
    frame_means_dn : tuple of float
    pairs : tuple of PairSums
        Frames 0 and 1, 2 and 3, ...; a last odd frame counts in the mean only.
    minimum_code, maximum_code : float
    minimum_fraction, maximum_fraction : float
        Share of pixels at the lowest and at the highest code of the level.
    code_bits : int
        Bitwise or of all codes; its trailing zeros show left-aligned data. 0 for real-valued frames.
    """

    kind: FrameKind
    exposure_s: float | None
    photons_per_pixel: float | None
    n_frames: int
    n_pixels: int
    frame_means_dn: tuple[float, ...]
    pairs: tuple[PairSums, ...]
    minimum_code: float
    maximum_code: float
    minimum_fraction: float
    maximum_fraction: float
    code_bits: int

    @property
    def mean_dn(self) -> float:
        """Mean code of all frames, DN."""
        return float(np.mean(self.frame_means_dn))

    def temporal_variance_dn2(self, offset_dn: float | None) -> float | None:
        """Mean of the pairs' temporal variances, DN^2; None for a single frame."""
        if not self.pairs:
            return None
        return float(np.mean([pair.temporal_variance_dn2(offset_dn) for pair in self.pairs]))

    @property
    def kurtosis(self) -> float:
        """Mean kurtosis of the pair differences."""
        return float(np.mean([pair.kurtosis for pair in self.pairs])) if self.pairs else 3.0

    @property
    def neighbour_correlation(self) -> tuple[float, float]:
        """Correlation of the temporal noise with the next pixel in the row and in the column."""
        n = sum(pair.n_pixels for pair in self.pairs)
        power = sum(pair.difference_variance_dn2 * pair.n_pixels for pair in self.pairs)
        if n == 0 or power <= 0:
            return 0.0, 0.0
        horizontal = sum(pair.neighbour_horizontal for pair in self.pairs)
        vertical = sum(pair.neighbour_vertical for pair in self.pairs)
        return horizontal / power, vertical / power


def measure_levels(captures: CaptureSet) -> tuple[LevelStatistics, ...]:
    """Statistics of every level, in the order of ``captures.levels``.

    Raises
    ------
    PhotonbitsError
        If a frame cannot be read, has another shape, or its codes exceed the bit depth.
    """
    total = sum(level.n_frames for level in captures.levels)
    frames = track(_frames(captures), "Reading frames", total=total)
    out = []
    for level in captures.levels:
        out.append(_measure_level(level, frames, captures))
    return tuple(out)


def _frames(captures: CaptureSet) -> Iterable[NDArray[np.generic]]:
    for level in captures.levels:
        for reference, frame in zip(level.frames, iterate_frames(level.frames), strict=True):
            if captures.shape is not None and frame.shape != captures.shape:
                raise PhotonbitsError(
                    f"frame of shape {frame.shape}", where=reference.path, legal=f"{captures.shape} like the others"
                )
            if captures.bit_depth is not None and np.issubdtype(frame.dtype, np.integer):
                top = int(frame.max(initial=0))
                if top >= 2**captures.bit_depth:
                    raise PhotonbitsError(
                        f"code {top} in a {captures.bit_depth}-bit capture",
                        where=reference.path,
                        legal=f"0 to {2**captures.bit_depth - 1}",
                        remedy="State the right bit depth in the manifest",
                    )
            yield frame


def _measure_level(level: Level, frames: Iterable[NDArray[np.generic]], captures: CaptureSet) -> LevelStatistics:
    iterator = iter(frames)
    means: list[float] = []
    pairs: list[PairSums] = []
    lowest, highest = np.inf, -np.inf
    at_lowest = at_highest = bits = n_pixels = 0
    previous: NDArray[np.generic] | None = None
    for position in range(level.n_frames):
        frame = next(iterator)
        n_pixels = frame.size
        low, high = float(frame.min()), float(frame.max())
        at_low, at_high = int(np.count_nonzero(frame == low)), int(np.count_nonzero(frame == high))
        at_lowest = at_low + (at_lowest if low == lowest else 0) if low <= lowest else at_lowest
        at_highest = at_high + (at_highest if high == highest else 0) if high >= highest else at_highest
        lowest, highest = min(low, lowest), max(high, highest)
        if np.issubdtype(frame.dtype, np.integer):
            bits |= int(np.bitwise_or.reduce(frame, axis=None))
        if position % 2 == 0:
            previous = frame
            if position == level.n_frames - 1:
                means.append(float(np.sum(frame, dtype=np.float64)) / n_pixels)
        else:
            if previous is None:  # pragma: no cover - position counts from 0
                raise RuntimeError("a pair without a first frame")
            sums = pair_sums(previous, frame)
            pairs.append(sums)
            means.extend([sums.mean_a_dn, sums.mean_b_dn])
    return LevelStatistics(
        kind=level.kind,
        exposure_s=level.exposure_s,
        photons_per_pixel=level.photons_per_pixel,
        n_frames=level.n_frames,
        n_pixels=n_pixels,
        frame_means_dn=tuple(means),
        pairs=tuple(pairs),
        minimum_code=lowest,
        maximum_code=highest,
        minimum_fraction=at_lowest / (n_pixels * level.n_frames),
        maximum_fraction=at_highest / (n_pixels * level.n_frames),
        code_bits=bits,
    )


def pair_sums(a: NDArray[np.generic], b: NDArray[np.generic]) -> PairSums:
    """Sums over two frames (height, width), exact for integer codes up to 16 bit."""
    exact = np.issubdtype(a.dtype, np.integer) and np.issubdtype(b.dtype, np.integer)
    number = int if exact else float
    rows = max(1, _TILE_PIXELS // a.shape[1])
    total = [number(0)] * 5
    fourth = horizontal = vertical = 0.0
    last: FloatArray | None = None
    shift = 0.0 if exact else float(np.mean(a[: min(rows, a.shape[0])].astype(np.float64)))
    for top in range(0, a.shape[0], rows):
        x = a[top : top + rows].astype(np.float64) - shift
        y = b[top : top + rows].astype(np.float64) - shift
        flat_x, flat_y = x.ravel(), y.ravel()
        parts = (flat_x.sum(), flat_y.sum(), flat_x @ flat_x, flat_y @ flat_y, flat_x @ flat_y)
        total = [sum_ + number(part) for sum_, part in zip(total, parts, strict=True)]
        d = x - y
        d -= d.mean()
        square = (d * d).ravel()
        fourth += float(square @ square)
        horizontal += float(np.einsum("ij,ij->", d[:, :-1], d[:, 1:]))
        vertical += float(np.einsum("ij,ij->", d[:-1], d[1:]))
        if last is not None:
            vertical += float(last @ d[0])
        last = d[-1].copy()
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = total
    n = a.size
    return PairSums(n, sum_a, sum_b, sum_aa, sum_bb, sum_ab, fourth, horizontal, vertical, shift)
