"""Many scores at once: cameras, gain settings, exposures, patch sizes and seeds, captured or re-simulated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.sweep.cells import SweepCell, cells_of
    from mi_eval.sweep.config import SweepConfig, load_config
    from mi_eval.sweep.degrade import Degraded, degrade_frames
    from mi_eval.sweep.run import SweepOutcome, run_sweep
    from mi_eval.sweep.summary import summarize

__all__ = [
    "Degraded",
    "SweepCell",
    "SweepConfig",
    "SweepOutcome",
    "cells_of",
    "degrade_frames",
    "load_config",
    "run_sweep",
    "summarize",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "SweepCell": "mi_eval.sweep.cells",
        "cells_of": "mi_eval.sweep.cells",
        "SweepConfig": "mi_eval.sweep.config",
        "load_config": "mi_eval.sweep.config",
        "Degraded": "mi_eval.sweep.degrade",
        "degrade_frames": "mi_eval.sweep.degrade",
        "SweepOutcome": "mi_eval.sweep.run",
        "run_sweep": "mi_eval.sweep.run",
        "summarize": "mi_eval.sweep.summary",
    },
)
