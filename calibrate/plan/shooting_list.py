"""The order in which to shoot, and the list as a manifest that `calibrate fit` reads once the frames are there."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.photon_transfer.fisher import LevelDesign
from calibrate.plan.sensor import PlanSensor

#: Light of the level that shows saturation, over that which fills the range.
OVER_SATURATION = 1.1


@dataclass(frozen=True)
class PlannedLevel:
    """One light or one dark exposure.

    Parameters
    ----------
    name : str
        Of its files, without number.
    level : LevelDesign
    fraction_of_saturation, mean_dn : float
    purpose : {"fit", "saturation"}
    """

    name: str
    level: LevelDesign
    fraction_of_saturation: float
    mean_dn: float
    purpose: str = "fit"


@dataclass(frozen=True)
class Visit:
    """Frames shot one after the other at a level."""

    planned: PlannedLevel
    n_frames: int
    visit: int


def planned_levels(sensor: PlanSensor, levels: Sequence[LevelDesign], *, saturation: bool) -> tuple[PlannedLevel, ...]:
    """Levels with names, those of one light and exposure put together; one beyond saturation where wanted."""
    out = []
    for kind, word in (("bright", "flat"), ("dark", "dark")):
        merged: dict[tuple[float, float], LevelDesign] = {}
        for level in levels:
            if level.kind == kind:
                key = (float(f"{level.light:.9g}"), float(f"{level.exposure_s:.9g}"))
                before = merged[key].n_frames if key in merged else 0
                merged[key] = replace(level, n_frames=level.n_frames + before)
        for number, (_, level) in enumerate(sorted(merged.items()), start=1):
            share = sensor.fraction(level)
            out.append(PlannedLevel(f"{word}_{number:02d}", level, share, sensor.mean_dn(level)))
    if saturation:
        top = sensor.bright(OVER_SATURATION, 2)
        out.append(PlannedLevel("flat_saturated", top, OVER_SATURATION, sensor.saturation_dn, "saturation"))
    return tuple(out)


def visits(planned: Sequence[PlannedLevel], seed: int) -> tuple[Visit, ...]:
    """In which order: flats shuffled, and where they have four frames or more shot again in reverse; darks around them.

    A lamp or an offset that drifts along with the exposures looks like a bent response. Shuffling turns drift into
    scatter; going back the same way takes out a drift that is linear in time. Frames of a visit come in pairs.
    """
    rng = np.random.default_rng(seed)
    flats = [p for p in planned if p.level.kind == "bright"]
    darks = [p for p in planned if p.level.kind == "dark"]
    order = [flats[i] for i in rng.permutation(len(flats))]
    first, second = _two_visits(order)
    before, after = _two_visits(darks)
    # Darks of a single visit: every other exposure before the flats, the rest after them.
    single = [visit for visit in before if visit.planned.level.n_frames < 4]
    late = {visit.planned.name for visit in single[1::2]}
    early = [visit for visit in before if visit.planned.name not in late]
    after = [*[visit for visit in single if visit.planned.name in late], *after]
    return (*early, *first, *second, *after)


def _two_visits(planned: Sequence[PlannedLevel]) -> tuple[list[Visit], list[Visit]]:
    """The frames of every level in two visits, the second in reverse; levels of two frames have one."""
    first, second = [], []
    for entry in planned:
        n = entry.level.n_frames
        later = 2 * (n // 4)
        first.append(Visit(entry, n - later, 1))
        if later:
            second.append(Visit(entry, later, 2))
    return first, second[::-1]


def manifest_csv(sensor: PlanSensor, order: Sequence[Visit]) -> str:
    """CSV manifest, one row a visit, in the order of shooting; frames are to be saved under the pattern of its row."""
    stream = io.StringIO()
    if sensor.model.bit_depth is not None:
        stream.write(f"# bit_depth: {sensor.model.bit_depth}\n")
    photons = sensor.axis.unit == "photons"
    columns = ["path", "kind", "exposure_s", *(["photons_per_pixel"] if photons else []), "level", "comment"]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for step in order:
        level, planned = step.planned.level, step.planned
        light = [f"{level.light:.6g}" if level.kind == "bright" else ""] if photons else []
        what = "no light" if level.kind == "dark" else f"{planned.fraction_of_saturation:.1%} of saturation"
        comment = f"{step.n_frames} frames; {what}; mean about {planned.mean_dn:.0f} DN"
        exposure = f"{level.exposure_s:.6g}" if level.exposure_s > 0 else ""
        path = f"{planned.name}_{step.visit}_*.tif"
        writer.writerow([path, level.kind, exposure, *light, planned.name, comment])
    return stream.getvalue()
