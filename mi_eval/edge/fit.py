"""The edge's line and its spread function, made to agree with each other, and the flat sides beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.edge import checks
from mi_eval.edge.doubts import EdgeWarning
from mi_eval.edge.line import EdgeLine, first_line, refined_line
from mi_eval.edge.locate import FEWEST_LINES
from mi_eval.edge.noise import SideNoise, flat_rectangle, model_variance_e2, side_noise
from mi_eval.edge.plane import Plane
from mi_eval.edge.spread import (
    EdgeSpread,
    edge_distances,
    edge_spread,
    finest_bins,
    rise_distance,
    smooth_slope,
)

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Where a side counts as flat, in 10-90 % distances from the edge.
FLAT_IN_RISES = 2.0
_ROOM_PX = 5.0  # beside the edge, in every line that is used
_WINDOW_IN_RISES = 4.0
_SHORTEST_WINDOW_PX = 5.0
_ROUNDS = 3


def lines_with_room(part: Plane) -> tuple[Plane, EdgeLine, tuple[int, int]]:
    """The lines in which the edge has room on both sides, and the edge through them."""
    height, width = part.charge_e.shape
    if height < FEWEST_LINES or width < 2 * _ROOM_PX + 2:
        raise PhotonbitsError(
            f"region of {width} x {height} pixels across and along the edge",
            where=part.source,
            legal=f"{2 * _ROOM_PX + 2:.0f} x {FEWEST_LINES} or more",
            remedy="Use a larger region",
        )
    filled = np.where(part.usable, part.charge_e, np.median(part.charge_e[part.usable]))
    line = first_line(filled)
    place = line.place_px
    inside = np.flatnonzero((place > _ROOM_PX) & (place < width - 1 - _ROOM_PX))
    if inside.size < FEWEST_LINES:
        raise PhotonbitsError(
            f"the edge has room on both sides in {inside.size} lines of the region",
            where=part.source,
            legal=f"{FEWEST_LINES} lines or more with {_ROOM_PX:.0f} pixels on each side",
            remedy="Choose a region around the edge with --roi X,Y,W,H",
        )
    kept = (int(inside[0]), int(inside[-1]) + 1)
    if kept != (0, height):
        part = part.crop(slice(*kept), slice(None))
        line = first_line(filled[slice(*kept)])
    return part, line, kept


@dataclass(frozen=True)
class EdgeFit:
    """Line and spread function that agree with each other, on a part turned so that dark lies left.

    ``transformed`` is the spread function in bins as fine as the edge allows, for the MTF.
    """

    line: EdgeLine
    spread: EdgeSpread
    transformed: EdgeSpread
    distance_px: FloatArray
    dark_e: float
    bright_e: float
    rise_px: float
    window_px: float
    sides: dict[str, SideNoise]
    warnings: list[EdgeWarning]


def fit_edge(part: Plane, line: EdgeLine) -> EdgeFit:
    """Line, spread function and sides of a part whose edge runs down its rows, the bright side right.

    Raises
    ------
    PhotonbitsError
        For clipped sides, too little contrast, too little room, and data that are not raw.
    """
    charge, usable = part.charge_e, part.usable
    width = charge.shape[1]
    room = float(min(line.place_px.min(), width - 1 - line.place_px.max()))
    cosine = float(np.cos(np.arctan(np.max(np.abs(line.slope)))))
    reach = room * cosine
    dark_e, bright_e = _levels(charge, usable, edge_distances(line, width), 3.0)
    middle_e2 = float(model_variance_e2(part.model, np.array([(dark_e + bright_e) / 2]))[0])
    checks.check_contrast(dark_e, bright_e, middle_e2, part.source)
    variance = np.full(charge.shape, middle_e2)
    spread: EdgeSpread | None = None
    rise = 1.0
    for _ in range(_ROUNDS):
        distance = edge_distances(line, width)
        spread = edge_spread(charge, usable, variance, distance, max(reach, _SHORTEST_WINDOW_PX))
        rise = rise_distance(spread.position_px, spread.value_e, dark_e, bright_e)
        dark_e, bright_e = _levels(charge, usable, distance, FLAT_IN_RISES * rise)
        checks.check_contrast(dark_e, bright_e, middle_e2, part.source)
        variance = _variance_map(part.model, spread, distance, dark_e, bright_e)
        slope = smooth_slope(spread.position_px, spread.value_e)
        core = np.abs(spread.position_px) <= max(1.5 * rise, 2.0)
        line = refined_line(charge, usable, variance, line, spread.position_px[core], spread.value_e[core], slope[core])
    distance = edge_distances(line, width)
    if FLAT_IN_RISES * rise + 1 > reach:
        raise PhotonbitsError(
            f"the edge rises over {rise:.1f} px and has {reach:.1f} px on its narrower side",
            where=part.source,
            legal=f"{FLAT_IN_RISES:.0f} rises (10 to 90 %) and a pixel more on each side",
            remedy="Use a wider region",
        )
    window = min(max(_WINDOW_IN_RISES * rise, _SHORTEST_WINDOW_PX), reach)
    warnings: list[EdgeWarning] = []
    for name, side in (("dark", distance < -rise), ("bright", distance > rise)):
        warnings += checks.check_clipping(checks.clipped_share(part, side), name, part.source)
    sides = _sides(part, line, max(FLAT_IN_RISES * rise, 3.0) / cosine)
    checks.check_raw(sides, part)
    widened = max([1.0] + [side.ratio for side in sides.values() if side.ratio - 1 > 3 * side.ratio_std])
    spread = edge_spread(charge, usable, widened * variance, distance, window + 1.0)
    fine = edge_spread(
        charge, usable, widened * variance, distance, window + 1.0, finest_bins(usable, distance, window + 1.0)
    )
    # Within a wide bin a steep edge varies by itself: raggedness is judged on the fine ones.
    spread = replace(spread, residual_ratio=fine.residual_ratio)
    return EdgeFit(line, spread, fine, distance, dark_e, bright_e, rise, window, sides, warnings)


def _levels(charge: FloatArray, usable: BoolArray, distance: FloatArray, margin_px: float) -> tuple[float, float]:
    """Mean charge beyond a margin on both sides; the outermost pixels where the margin leaves none."""
    out = []
    for sign in (-1.0, 1.0):
        far = usable & (sign * distance > margin_px)
        if np.count_nonzero(far) < 20:
            limit = np.sort((sign * distance)[usable])[-20]
            far = usable & (sign * distance >= limit)
        out.append(float(np.mean(charge[far])))
    return out[0], out[1]


def _variance_map(
    model: NoiseModel, spread: EdgeSpread, distance: FloatArray, dark_e: float, bright_e: float
) -> FloatArray:
    """The noise model's variance of every pixel, e-^2, at the charge of the spread function."""
    smooth = np.convolve(np.pad(spread.value_e, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    far = np.abs(spread.position_px) > 4.0
    level = np.where(far, np.where(spread.position_px < 0, dark_e, bright_e), smooth)
    low, high = min(dark_e, float(level.min())), max(bright_e, float(level.max()))
    grid = np.linspace(low, high, 129)
    by_bin = np.interp(level, grid, model_variance_e2(model, grid))
    return np.asarray(np.interp(distance, spread.position_px, by_bin))


def _sides(part: Plane, line: EdgeLine, margin_px: float) -> dict[str, SideNoise]:
    width = part.charge_e.shape[1]
    limits = {"dark": line.place_px - margin_px, "bright": width - 1 - (line.place_px + margin_px)}
    out: dict[str, SideNoise] = {}
    for name, limit in limits.items():
        found = flat_rectangle(limit)
        if found is None:
            continue
        rows, columns = found
        if name == "bright":
            columns = slice(width - columns.stop, width)
        cut = part.crop(rows, columns)
        if np.mean(cut.usable) > 0.9:
            out[name] = side_noise(cut.charge_e, cut.usable, part.model)
    return out
