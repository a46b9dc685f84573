"""A noise model as a page: its numbers, its doubts, and the pictures that show whether it fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from calibrate.report.page import render_report, write_figures

__all__ = ["render_report", "write_figures"]

# The page draws; tables and words do not, and commands that print them should not load a plotting package.
__getattr__, __dir__ = lazy_exports(
    __name__, {"render_report": "calibrate.report.page", "write_figures": "calibrate.report.page"}
)
