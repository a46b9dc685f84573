"""A slanted edge: MTF, noise spectrum, noise-equivalent quanta, and the capacity of an assumed signal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.edge.measure import measure_edge
    from mi_eval.edge.result import EdgeMeasurement

__all__ = ["EdgeMeasurement", "measure_edge"]

# Loaded at first use (PEP 562), so that a command's help imports no numerical package.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {"EdgeMeasurement": "mi_eval.edge.result", "measure_edge": "mi_eval.edge.measure"},
)
