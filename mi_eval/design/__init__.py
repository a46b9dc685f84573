"""Imaging systems that carry more information: gradient ascent, and an audit that the optimiser never saw.

Examples
--------
>>> import mi_eval.design
>>> "optimise" in mi_eval.design.__all__
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.design.audit import Audit, audit_design
    from mi_eval.design.config import DesignConfig, load_config
    from mi_eval.design.enumerated import EnumeratedInformation, enumerated_information
    from mi_eval.design.optimise import optimise
    from mi_eval.design.problem import DesignProblem
    from mi_eval.design.result import DesignResult
    from mi_eval.design.waterfilling import WaterFilling, water_filling

__all__ = [
    "Audit",
    "DesignConfig",
    "DesignProblem",
    "DesignResult",
    "EnumeratedInformation",
    "WaterFilling",
    "audit_design",
    "enumerated_information",
    "load_config",
    "optimise",
    "water_filling",
]

# Names are loaded at first use (PEP 562): a command's help imports no torch.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Audit": "mi_eval.design.audit",
        "DesignConfig": "mi_eval.design.config",
        "DesignProblem": "mi_eval.design.problem",
        "DesignResult": "mi_eval.design.result",
        "EnumeratedInformation": "mi_eval.design.enumerated",
        "WaterFilling": "mi_eval.design.waterfilling",
        "audit_design": "mi_eval.design.audit",
        "enumerated_information": "mi_eval.design.enumerated",
        "load_config": "mi_eval.design.config",
        "optimise": "mi_eval.design.optimise",
        "water_filling": "mi_eval.design.waterfilling",
    },
)
