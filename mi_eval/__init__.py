"""Mutual information between scene and raw frames, in bits per pixel, with error bars.

Examples
--------
>>> import mi_eval
>>> "estimate_information" in mi_eval.__all__
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate import __version__
from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.compare import Comparison, compare_information
    from mi_eval.edge import EdgeMeasurement, measure_edge
    from mi_eval.estimate import InformationEstimate, estimate_information

__all__ = [
    "Comparison",
    "EdgeMeasurement",
    "InformationEstimate",
    "__version__",
    "compare_information",
    "estimate_information",
    "measure_edge",
]

# Names are loaded at first use (PEP 562), so that a command's help imports no numerical package.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Comparison": "mi_eval.compare",
        "compare_information": "mi_eval.compare",
        "EdgeMeasurement": "mi_eval.edge",
        "InformationEstimate": "mi_eval.estimate",
        "estimate_information": "mi_eval.estimate",
        "measure_edge": "mi_eval.edge",
    },
)
