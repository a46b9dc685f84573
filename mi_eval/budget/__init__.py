"""What limits a camera: each imperfection in bits per pixel, on the light of the user's own frames.

Names are resolved on first use (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.budget.parts import PARTS
    from mi_eval.budget.priced import estimate_with_budget, information_budget
    from mi_eval.budget.result import BitsEstimate, BudgetPart, Efficiency, InformationBudget, Spectrum

__all__ = [
    "PARTS",
    "BitsEstimate",
    "BudgetPart",
    "Efficiency",
    "InformationBudget",
    "Spectrum",
    "estimate_with_budget",
    "information_budget",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "PARTS": "mi_eval.budget.parts",
        "estimate_with_budget": "mi_eval.budget.priced",
        "information_budget": "mi_eval.budget.priced",
        "BitsEstimate": "mi_eval.budget.result",
        "BudgetPart": "mi_eval.budget.result",
        "Efficiency": "mi_eval.budget.result",
        "InformationBudget": "mi_eval.budget.result",
        "Spectrum": "mi_eval.budget.result",
    },
)
