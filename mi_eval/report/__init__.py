"""A score as a page: the number first, then what it means and how far it may be trusted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mi_eval.report.page import render_score_report, write_score_figures
    from mi_eval.score_details import ScoreDetails

__all__ = ["ScoreDetails", "render_score_report", "write_score_figures"]

# Loaded at first use (PEP 562): who only fills in the details need not import matplotlib.
_HOMES = {
    "ScoreDetails": "mi_eval.score_details",
    "render_score_report": "mi_eval.report.page",
    "write_score_figures": "mi_eval.report.page",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
