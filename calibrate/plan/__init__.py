"""Planning of captures: which frames to shoot for a wanted precision, and what to shoot next."""

from __future__ import annotations

from calibrate.plan.make import Plan, make_plan
from calibrate.plan.sensor import PlanSensor, plan_sensor
from calibrate.plan.shooting_list import manifest_csv
from calibrate.plan.targets import Target, parse_target
from calibrate.plan.words import format_plan, plan_to_plain

__all__ = [
    "Plan",
    "PlanSensor",
    "Target",
    "format_plan",
    "make_plan",
    "manifest_csv",
    "parse_target",
    "plan_sensor",
    "plan_to_plain",
]
