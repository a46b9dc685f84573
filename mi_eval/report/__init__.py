"""Results as pages: the number first, then what it means and how far it may be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.report.edge_page import render_edge_report
    from mi_eval.report.page import render_score_report, write_score_figures
    from mi_eval.score_details import ScoreDetails

__all__ = ["ScoreDetails", "render_edge_report", "render_score_report", "write_score_figures"]

# Loaded at first use (PEP 562): who only fills in the details need not import matplotlib.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ScoreDetails": "mi_eval.score_details",
        "render_edge_report": "mi_eval.report.edge_page",
        "render_score_report": "mi_eval.report.page",
        "write_score_figures": "mi_eval.report.page",
    },
)
