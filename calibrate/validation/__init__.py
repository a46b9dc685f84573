"""Captures against a noise model: noise per signal range, the whole distribution, and what is wrong."""

from calibrate.validation.check import check_captures
from calibrate.validation.diagnoses import DIAGNOSES, Diagnosis, Finding
from calibrate.validation.ranges import Comparison, SignalRange
from calibrate.validation.result import CheckResult, PartResult, format_result

__all__ = [
    "DIAGNOSES",
    "CheckResult",
    "Comparison",
    "Diagnosis",
    "Finding",
    "PartResult",
    "SignalRange",
    "check_captures",
    "format_result",
]
