"""Frames in, one record a level out: two frames in memory at a time, whatever their number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import CaptureSet, FrameKind, FrameReference, Level
from calibrate.frames import iterate_frames
from calibrate.level_statistics.bulk import HOT_SIGMAS, Bulk, bulk_of
from calibrate.level_statistics.pairs import PairSums
from calibrate.level_statistics.sums import pair_sums
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track

#: Pixels from which no two flats agree in all by chance, and share of them at one code up to which they may.
FEWEST_FOR_COPIES, MOST_AT_ONE_CODE = 256, 0.5
#: Spread over pixels, that of darks over, up to which two equal flats are at a full well and no copies.
_SPREAD_OF_COPIES = 2.0
_BLOCK_PIXELS = 1 << 16  # looked at at a time for extremes: they stay in a core's cache


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
    bulks : tuple of Bulk or None
        The ordinary pixels of each pair, for darks and levels at code 0 with pixels far outside the noise; else empty.
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
    bulks: tuple[Bulk | None, ...] = ()

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
    def hot_excess_dn(self) -> float:
        """What hot pixels add to the mean, DN; negative for cold ones."""
        pairs = zip(self.pairs, self.bulks, strict=True) if self.bulks else ()
        excess = [0.0 if b is None else 0.5 * (p.mean_a_dn + p.mean_b_dn) - b.mean_dn for p, b in pairs]
        return float(np.mean(excess)) if excess else 0.0

    @property
    def ordinary_noise(self) -> tuple[float, float] | None:
        """Temporal variance of the ordinary pixels, DN^2, and the kurtosis of their difference; None where not known.

        Where outliers were taken out of a pair they are still in its ordinary pixels.
        """
        if not self.bulks or any(pair.rejected for pair in self.pairs):
            return None
        plain = [(pair.temporal_variance_dn2(None), pair.kurtosis) for pair in self.pairs]
        found = [
            p if b is None else (b.temporal_variance_dn2, b.kurtosis) for p, b in zip(plain, self.bulks, strict=True)
        ]
        variance, kurtosis = np.mean(found, axis=0)
        return float(variance), float(kurtosis)

    @property
    def pattern_dn2(self) -> float:
        """Spatial variance of the ordinary pixels without temporal noise, DN^2: 0 without pairs."""
        if not self.pairs:
            return 0.0
        bulks = self.bulks or (None,) * len(self.pairs)
        values = [
            pair.spatial_covariance_dn2 if bulk is None else bulk.spatial_covariance_dn2
            for pair, bulk in zip(self.pairs, bulks, strict=True)
        ]
        return float(np.mean(values))

    @property
    def kurtosis(self) -> float:
        """Mean kurtosis of the pair differences."""
        return float(np.mean([pair.kurtosis for pair in self.pairs])) if self.pairs else 3.0

    @property
    def neighbour_correlation(self) -> tuple[float, float]:
        """Correlation of the temporal noise with the next pixel in the row and in the column.

        From the pairs without outliers, which would add products of their own; (0, 0) where there are none.
        """
        pairs = [pair for pair in self.pairs if not pair.rejected]
        power = sum(pair.difference_variance_dn2 * pair.n_pixels for pair in pairs)
        if power <= 0:
            return 0.0, 0.0
        horizontal = sum(pair.neighbour_horizontal for pair in pairs)
        vertical = sum(pair.neighbour_vertical for pair in pairs)
        # About their own mean n values correlate by -1/(n - 1) where they are independent.
        own = len(pairs) / sum(max(pair.n_pixels - 1, 1) for pair in pairs)
        return horizontal / power + own, vertical / power + own

    @property
    def rejected_fraction(self) -> float:
        """Share of the pairs' pixels that were taken out as single-frame outliers."""
        pixels = sum(pair.n_pixels + pair.rejected for pair in self.pairs)
        return sum(pair.rejected for pair in self.pairs) / pixels if pixels else 0.0


def measure_levels(captures: CaptureSet) -> tuple[LevelStatistics, ...]:
    """Statistics of every level, in the order of ``captures.levels``.

    Raises
    ------
    PhotonbitsError
        If a frame cannot be read, has another shape, its codes exceed the bit depth, or two flats are copies.
    """
    if captures.shape is not None and captures.shape[0] * captures.shape[1] < 2:
        raise PhotonbitsError(
            "frames of 1 pixel", where=captures.root, legal="two pixels or more: noise is a variance over pixels"
        )
    total = sum(level.n_frames for level in captures.levels)
    frames = iter(track(_frames(captures), "Reading frames", total=total))
    measured = []
    for level in captures.levels:
        parts = []
        # One pair after the other: the sums are so short that two threads spend their time on taking turns.
        for position in range(0, level.n_frames, 2):
            pair = tuple(next(frames) for _ in range(min(2, level.n_frames - position)))
            parts.append(_measure_part(pair, level.kind))
        measured.append((level, parts))
    dark = [_spread_dn2(part) for level, parts in measured if level.kind == "dark" for part in parts if part.pair]
    for level, parts in measured:
        _refuse_copies(level, parts, float(np.median(dark)) if dark else 0.0)
    return tuple(_level_of(level, parts) for level, parts in measured)


def _frames(captures: CaptureSet) -> Iterator[NDArray[np.generic]]:
    for level in captures.levels:
        for reference, frame in zip(level.frames, iterate_frames(level.frames), strict=True):
            if captures.shape is not None and frame.shape != captures.shape:
                raise PhotonbitsError(
                    f"frame of shape {frame.shape}", where=reference.path, legal=f"{captures.shape} like the others"
                )
            if captures.bit_depth is not None and np.issubdtype(frame.dtype, np.integer):
                top = int(frame.max(initial=0))
                if top >= 2**captures.bit_depth:
                    raise _too_large(frame, top, captures.bit_depth, reference.path)
            yield frame


def _refuse_copies(level: Level, parts: list[_Part], dark_spread_dn2: float) -> None:
    """Refuse two flats that agree in every pixel although their codes differ from pixel to pixel: copies of one frame.

    Darks may do so where rounding hides their noise, and flats where most pixels are saturated. At a full well below
    the highest code a flat shows its offsets: it differs over them no more than darks do, whereas the copy of
    a flat has the shot noise of one.
    """
    for number, part in enumerate(parts if level.kind == "bright" else ()):
        crowded = max(part.lowest[1], part.highest[1]) > MOST_AT_ONE_CODE * 2 * part.n_pixels
        copies = part.pair is not None and part.pair.sum_d2 == 0 and not part.pair.rejected
        if copies and _spread_dn2(part) <= _SPREAD_OF_COPIES * dark_spread_dn2:
            continue
        if copies and not crowded and part.n_pixels >= FEWEST_FOR_COPIES:
            raise copies_error(level.frames[2 * number : 2 * number + 2])


def _spread_dn2(part: _Part) -> float:
    """Variance of the pair's first frame over its pixels."""
    pair = part.pair
    return 0.0 if pair is None else float(pair.n_pixels * pair.sum_aa - pair.sum_a**2) / pair.n_pixels**2


def copies_error(pages: Sequence[FrameReference]) -> PhotonbitsError:
    """What to say about two flats that agree in every pixel."""
    one_file = pages[0].path == pages[1].path
    names = [f"{page.path.name}{f', frame {page.index}' if one_file else ''}" for page in pages]
    return PhotonbitsError(
        f"two flats are identical in every pixel: {names[0]} and {names[1]}",
        where=pages[0].path.parent,
        legal="two exposures of their own a level",
        remedy="Leave copies out: a frame less its copy has no noise to measure",
    )


def _too_large(frame: NDArray[np.generic], top: int, bit_depth: int, path: Path) -> PhotonbitsError:
    used = int(np.bitwise_or.reduce(frame, axis=None))
    empty = (used & -used).bit_length() - 1
    what, remedy = f"code {top} in a {bit_depth}-bit capture", "State the right bit depth in the manifest"
    if empty and top >> empty < 2**bit_depth:
        what += f", all codes multiples of {2**empty}: they are left-aligned in a larger word by {empty} bit(s)"
        remedy = f"Use --shift-bits {empty}, or state shift_bits: {empty} under `sensor` in the manifest"
    return PhotonbitsError(what, where=path, legal=f"0 to {2**bit_depth - 1}", remedy=remedy)


@dataclass(frozen=True)
class _Part:
    """One or two frames of a level. ``means_dn`` are theirs; the extremes are (code, pixels at it)."""

    means_dn: tuple[float, ...]
    pair: PairSums | None
    lowest: tuple[float, int]
    highest: tuple[float, int]
    code_bits: int
    n_pixels: int
    bulk: Bulk | None


def _measure_part(frames: tuple[NDArray[np.generic], ...], kind: FrameKind) -> _Part:
    if len(frames) == 2:
        pair = pair_sums(frames[0], frames[1])
        means: tuple[float, ...] = (pair.mean_a_dn, pair.mean_b_dn)
    else:
        pair = None
        means = (float(np.sum(frames[0], dtype=np.float64)) / frames[0].size,)
    lowest, highest, bits = (np.inf, 0), (-np.inf, 0), 0
    for frame in frames:
        whole = np.issubdtype(frame.dtype, np.integer)
        rows = max(1, _BLOCK_PIXELS // frame.shape[1])
        for top in range(0, frame.shape[0], rows):
            block = frame[top : top + rows]
            lowest = _with_extreme(lowest, block, float(block.min()), operator.lt)
            highest = _with_extreme(highest, block, float(block.max()), operator.gt)
            if whole:
                bits |= int(np.bitwise_or.reduce(block, axis=None))
    bulk = None
    if pair is not None and (kind == "dark" or (bits and lowest[0] == 0)):
        noise = np.sqrt(max(pair.difference_variance_dn2, 0.0) / 2)
        if max(highest[0] - means[0], means[0] - lowest[0]) > HOT_SIGMAS * noise:
            bulk = bulk_of(frames[0], frames[1], pair)
    return _Part(means, pair, lowest, highest, bits, frames[0].size, bulk)


def _with_extreme(
    known: tuple[float, int], block: NDArray[np.generic], code: float, beyond: Callable[[float, float], bool]
) -> tuple[float, int]:
    """The extreme code so far and the pixels at it, with one block more: pixels are counted only where they matter."""
    if beyond(code, known[0]):
        return code, int(np.count_nonzero(block == code))
    if code == known[0]:
        return code, known[1] + int(np.count_nonzero(block == code))
    return known


def _level_of(level: Level, parts: list[_Part]) -> LevelStatistics:
    lowest, highest = min(part.lowest[0] for part in parts), max(part.highest[0] for part in parts)
    at_lowest = sum(part.lowest[1] for part in parts if part.lowest[0] == lowest)
    at_highest = sum(part.highest[1] for part in parts if part.highest[0] == highest)
    bits = 0
    for part in parts:
        bits |= part.code_bits
    n_pixels = parts[-1].n_pixels
    bulks = tuple(part.bulk for part in parts if part.pair is not None)
    return LevelStatistics(
        kind=level.kind,
        exposure_s=level.exposure_s,
        photons_per_pixel=level.photons_per_pixel,
        n_frames=level.n_frames,
        n_pixels=n_pixels,
        frame_means_dn=tuple(mean for part in parts for mean in part.means_dn),
        pairs=tuple(part.pair for part in parts if part.pair is not None),
        minimum_code=lowest,
        maximum_code=highest,
        minimum_fraction=at_lowest / (n_pixels * level.n_frames),
        maximum_fraction=at_highest / (n_pixels * level.n_frames),
        code_bits=bits,
        bulks=bulks if any(bulk is not None for bulk in bulks) else (),
    )
