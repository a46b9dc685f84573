"""Where the edge is: a region given by hand, or the longest straight, slanted, lonely edge of the plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FEWEST_LINES = 20
_SMOOTHING_PX = 1.5
_GRADIENT_SIGMAS = 6.0
_SHARE_OF_STEEPEST = 0.3
_WIDEST_SIDE_PX = 64
_REMEDY = "Fill the frame with one clean edge tilted by 3 to 10 degrees, or name the region with --roi X,Y,W,H"


@dataclass(frozen=True)
class Region:
    """A rectangle of the plane, and whether the edge in it runs along the columns (upright) or along the rows.

    ``x``, ``y``, ``width``, ``height`` in pixels of the plane, ``x`` along the rows of the picture from its left side.
    """

    x: int
    y: int
    width: int
    height: int
    upright: bool

    @property
    def rows(self) -> slice:
        """Rows of the region."""
        return slice(self.y, self.y + self.height)

    @property
    def columns(self) -> slice:
        """Columns of the region."""
        return slice(self.x, self.x + self.width)


def given_region(charge_e: FloatArray, box: tuple[int, int, int, int]) -> Region:
    """The region x, y, width, height, with the direction of the edge found in it.

    Raises
    ------
    PhotonbitsError
        If it does not lie in the plane.
    """
    x, y, width, height = box
    rows, columns = charge_e.shape
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > columns or y + height > rows:
        raise PhotonbitsError(
            f"region {x},{y},{width},{height}",
            legal=f"X,Y,W,H inside the plane of {columns} x {rows} pixels (width x height)",
            remedy="With --plane, count in pixels of that plane, half as many as the sensor's",
        )
    part = charge_e[y : y + height, x : x + width]
    return Region(x, y, width, height, _is_upright(part))


def _is_upright(part: FloatArray) -> bool:
    """Whether charge changes more along the rows than along the columns."""
    smooth = ndimage.gaussian_filter(part, _SMOOTHING_PX)
    across = float(np.sum(np.mean(np.diff(smooth, axis=1), axis=0) ** 2)) if part.shape[1] > 1 else 0.0
    down = float(np.sum(np.mean(np.diff(smooth, axis=0), axis=1) ** 2)) if part.shape[0] > 1 else 0.0
    return across >= down


def find_region(charge_e: FloatArray, usable: BoolArray) -> Region:
    """Region around the best edge of the plane.

    Raises
    ------
    PhotonbitsError
        If the plane is too small, or no straight edge of `FEWEST_LINES` lines stands out.
    """
    if min(charge_e.shape) < FEWEST_LINES:
        height, width = charge_e.shape
        raise PhotonbitsError(
            f"a plane of {width} x {height} pixels",
            legal=f"{FEWEST_LINES} x {FEWEST_LINES} or more to look for an edge in",
            remedy=_REMEDY,
        )
    filled = np.where(usable, charge_e, np.median(charge_e[usable]) if np.any(usable) else 0.0)
    smooth = ndimage.gaussian_filter(filled, _SMOOTHING_PX)
    down, across = np.gradient(smooth)
    steepness = np.hypot(down, across)
    noise = 1.4826 * float(np.median(np.abs(across - np.median(across))))
    steepest = float(np.percentile(steepness, 99.9)) if steepness.size else 0.0
    strong = steepness > max(_GRADIENT_SIGMAS * noise, _SHARE_OF_STEEPEST * steepest, 1e-9)
    best: tuple[float, Region] | None = None
    for upright in (True, False):
        along, main, other = (across, strong, down) if upright else (down.T, strong.T, across.T)
        for sign in (1.0, -1.0):
            mask = main & (sign * along > np.abs(other) * 0.9)
            for found in _straight_edges(mask, np.abs(along), main, upright):
                if best is None or found[0] > best[0]:
                    best = found
    if best is None:
        raise PhotonbitsError(
            "no slanted edge was found",
            legal=f"a straight edge, 1 to 43 degrees off the rows or columns, over {FEWEST_LINES} lines or more",
            remedy=_REMEDY,
        )
    return best[1]


def _straight_edges(mask: BoolArray, along: FloatArray, strong: BoolArray, upright: bool) -> list[tuple[float, Region]]:
    """Score and region of every straight component of edge pixels; arrays turned so that edges run down."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    out: list[tuple[float, Region]] = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        lines = box[0].stop - box[0].start
        if lines < FEWEST_LINES:
            continue
        own = labels[box] == number
        weight = np.where(own, along[box], 0.0)
        total = weight.sum(axis=1)
        place = weight @ np.arange(own.shape[1]) / np.maximum(total, 1e-12) + box[1].start
        line = np.arange(box[0].start, box[0].stop)
        seen = total > 0
        slope, start = np.polyfit(line[seen], place[seen], 1)
        rms = float(np.sqrt(np.mean((place[seen] - slope * line[seen] - start) ** 2)))
        if rms > 0.5 + 0.01 * lines or not np.tan(np.radians(1)) < abs(slope) < np.tan(np.radians(43)):
            continue
        region = _room(labels, number, strong, slope * line + start, line, upright)
        if region is not None:
            lines_used = region.height if upright else region.width
            contrast = float(np.median(total[seen]))
            out.append((lines_used * contrast, region))
    return out


def _room(
    labels: NDArray[np.int32], number: int, strong: BoolArray, place: FloatArray, line: NDArray[np.int64], upright: bool
) -> Region | None:
    """The largest clear rectangle around an edge: ends cut back, sides up to the next strong gradient."""
    height, width = strong.shape
    margin = max(3, line.size // 20)
    # A corner blurs the end of an edge; the border of the plane does not.
    first = line[0] if line[0] <= 2 else line[0] + margin
    last = line[-1] if line[-1] >= height - 3 else line[-1] - margin
    if last - first + 1 < FEWEST_LINES:
        return None
    use = (line >= first) & (line <= last)
    own = ndimage.binary_dilation(labels == number, iterations=4)
    others = (strong & ~own)[first : last + 1]
    low, high = int(np.floor(place[use].min())), int(np.ceil(place[use].max()))
    left_limit, right_limit = max(0, low - _WIDEST_SIDE_PX), min(width - 1, high + _WIDEST_SIDE_PX)
    busy = np.flatnonzero(others.mean(axis=0) > 0.02)
    before, after = busy[busy < low], busy[busy > high]
    left = max(left_limit, int(before.max()) + 5) if before.size else left_limit
    right = min(right_limit, int(after.min()) - 5) if after.size else right_limit
    if right - left < 8:
        return None
    if upright:
        return Region(left, int(first), right - left + 1, int(last - first) + 1, True)
    return Region(int(first), left, int(last - first) + 1, right - left + 1, False)
