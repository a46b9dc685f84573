"""A plan for people and for programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibrate.plan.make import Plan
from calibrate.plan.targets import TARGETS
from calibrate.plumbing.tables import format_table

#: Candidates shown; all of them are in the JSON.
_SHOWN = 8
#: Designs shown.
_COMPARED = 5


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shown(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if np.isfinite(value) else "unknown"


def plan_to_plain(plan: Plan) -> dict[str, Any]:
    """The plan as plain data; numbers that cannot be known are null."""
    sensor, point = plan.sensor, plan.sensor.point
    return {
        "camera": {
            "system_gain_dn_per_e": point.system_gain_dn_per_e,
            "read_noise_e": point.read_noise_e,
            "offset_dn": point.offset_dn,
            "dark_current_e_per_s": point.dark_current_e_per_s,
            "bit_depth": point.bit_depth,
            "saturation_e": sensor.saturation_e,
            "saturation_dn": sensor.saturation_dn,
            "shape": list(sensor.shape),
            "light_scatter_percent": _number(100 * point.light_scatter),
            "response_coefficients": len(point.response_coefficients),
            "sweep": sensor.axis.sweep,
            "exposure_at_saturation_s": sensor.axis.full_exposure_s,
        },
        "scene": {"signal_e": plan.scene.signal_e, "exposure_s": plan.scene.exposure_s},
        "targets": [
            {
                "name": target.name,
                "wanted": target.wanted,
                "unit": target.unit,
                "predicted": _number(plan.errors.get(target.name, np.inf)),
                "reached": bool(plan.errors.get(target.name, np.inf) <= target.wanted),
                "limited_by": plan.limited_by.get(target.name),
            }
            for target in plan.targets
        ],
        "reached": plan.reached,
        "precision": {
            name: {
                "error": _number(error),
                "unit": TARGETS[name][0],
                "present": None if plan.present_errors is None else _number(plan.present_errors.get(name, np.inf)),
                "with_endless_frames": _number(plan.least_errors.get(name, np.inf)),
                "limited_by": plan.limited_by[name],
            }
            for name, error in plan.errors.items()
        },
        "entropy_slopes_bits": dict(plan.slopes_bits),
        "levels": [
            {
                "name": planned.name,
                "kind": planned.level.kind,
                "purpose": planned.purpose,
                "fraction_of_saturation": planned.fraction_of_saturation,
                "mean_dn": planned.mean_dn,
                "exposure_s": planned.level.exposure_s,
                "photons_per_pixel": planned.level.light if sensor.axis.unit == "photons" else None,
                "n_frames": planned.level.n_frames,
            }
            for planned in plan.levels
        ],
        "order": [
            {"level": visit.planned.name, "visit": visit.visit, "n_frames": visit.n_frames} for visit in plan.order
        ],
        "total_frames": plan.total_frames,
        "compared": [
            {
                "spacing": design.spacing,
                "bright_levels": design.n_levels,
                "frames": design.n_frames,
                "error_over_wanted": _number(design.ratio),
            }
            for design in plan.compared
        ],
        "next": [
            {
                "capture": candidate.name,
                "n_frames": candidate.n_frames,
                "errors": {name: _number(error) for name, error in candidate.errors.items()},
                "gain_percent": dict(candidate.gain_percent),
            }
            for candidate in plan.next
        ],
        "notes": list(plan.notes),
    }


def format_plan(plan: Plan) -> str:
    """The plan as text: what it is for, the levels, the order, the predicted errors, and what else was looked at."""
    parts = [_head(plan), _errors(plan)]
    if plan.levels:
        parts += [_levels(plan), _order(plan)]
    elif plan.next:
        parts.append("All targets are reached with what was shot: nothing has to be added.")
    if plan.compared:
        parts.append(_compared(plan))
    if plan.next:
        parts.append(_next(plan))
    if plan.notes:
        parts.append("Notes:\n" + "\n".join(f"  {note}" for note in plan.notes))
    return "\n\n".join(parts)


def _head(plan: Plan) -> str:
    sensor, point = plan.sensor, plan.sensor.point
    wanted = ", ".join(f"{target.name} {target.wanted:g} {target.unit}" for target in plan.targets)
    scatter = "unknown light" if np.isinf(point.light_scatter) else f"light scatter {100 * point.light_scatter:.3g} %"
    return (
        f"Wanted: {wanted}\n"
        f"Camera: K {point.system_gain_dn_per_e:.5g} DN/e-, read noise {point.read_noise_e:.4g} e-, saturation "
        f"{sensor.saturation_e:.0f} e- at {sensor.saturation_dn:.0f} DN; {sensor.shape[0]} x {sensor.shape[1]} pixels, "
        f"{scatter}, {len(point.response_coefficients)} response coefficient(s) fitted"
    )


def _errors(plan: Plan) -> str:
    rows = []
    wanted = {target.name: target for target in plan.targets}
    for name, error in plan.errors.items():
        unit = TARGETS[name][0]
        row = [name, _shown(error, unit), _shown(plan.least_errors.get(name, np.inf), unit)]
        if plan.present_errors is not None:
            row.insert(1, _shown(plan.present_errors.get(name, np.inf), unit))
        target = wanted.get(name)
        verdict = "" if target is None else ("reached" if error <= target.wanted else "NOT reached")
        rows.append([*row, plan.limited_by[name], verdict])
    headers = ["standard error of", "planned", "endless frames", "limited by", "target"]
    if plan.present_errors is not None:
        headers.insert(1, "now")
        headers[2] = "with what follows"
    align = "l" + "r" * (len(headers) - 3) + "ll"
    scene = f"(information and maps: for {plan.scene.signal_e:.4g} e- and {plan.scene.exposure_s:.4g} s)"
    return format_table(headers, rows, align=align) + "\n" + scene


def _levels(plan: Plan) -> str:
    rows = []
    for planned in plan.levels:
        level = planned.level
        light = [f"{level.light:.5g}" if level.kind == "bright" else ""] if plan.sensor.axis.unit == "photons" else []
        share = f"{planned.fraction_of_saturation:.1%}" if level.kind == "bright" else "dark"
        exposure = f"{level.exposure_s:.5g}" if level.exposure_s > 0 else "shortest"
        rows.append([planned.name, share, f"{planned.mean_dn:.0f}", exposure, *light, level.n_frames])
    photons = ["photons/pixel"] if plan.sensor.axis.unit == "photons" else []
    headers = ["level", "of saturation", "mean DN", "exposure s", *photons, "frames"]
    return f"Shoot {plan.total_frames} frames:\n\n" + format_table(headers, rows)


def _order(plan: Plan) -> str:
    steps = ", ".join(f"{visit.planned.name} x {visit.n_frames}" for visit in plan.order)
    return (
        f"In this order, so that a drifting lamp does not look like a bent response:\n{steps}\n"
        "Frames of one step follow each other without a change of the light: noise is measured from their pairs."
    )


def _compared(plan: Plan) -> str:
    rows = [
        [design.spacing.replace("_", " "), design.n_levels, design.n_frames, f"{design.ratio:.3g}"]
        for design in plan.compared[:_COMPARED]
    ]
    headers = ["spacing", "bright levels", "frames", "error / wanted"]
    return "Compared (the first is planned):\n\n" + format_table(headers, rows)


def _next(plan: Plan) -> str:
    names = [target.name for target in plan.targets]
    rows = []
    for candidate in plan.next[:_SHOWN]:
        gains = [f"{candidate.gain_percent[name]:.2f} %" if name in candidate.gain_percent else "" for name in names]
        rows.append([candidate.name, candidate.n_frames, *gains])
    headers = ["shoot next", "frames", *(f"{name} better by" for name in names)]
    return "What helps most, each for itself:\n\n" + format_table(headers, rows)
