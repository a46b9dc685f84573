"""Sources whose information is known exactly, and the estimate beside it.

Names are resolved on first use (PEP 562), so that importing the package costs nothing.

Examples
--------
>>> from mi_eval.truth import make_source
>>> round(make_source("templates-64").information_bits(patch_size=8).value, 6)
0.09375
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.truth.measure import TruthResult, measure_case, measure_source
    from mi_eval.truth.registry import CASES, make_source
    from mi_eval.truth.source import KnownInformation, Sample, Source

__all__ = [
    "CASES",
    "KnownInformation",
    "Sample",
    "Source",
    "TruthResult",
    "make_source",
    "measure_case",
    "measure_source",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "CASES": "mi_eval.truth.registry",
        "make_source": "mi_eval.truth.registry",
        "KnownInformation": "mi_eval.truth.source",
        "Sample": "mi_eval.truth.source",
        "Source": "mi_eval.truth.source",
        "TruthResult": "mi_eval.truth.measure",
        "measure_case": "mi_eval.truth.measure",
        "measure_source": "mi_eval.truth.measure",
    },
)
