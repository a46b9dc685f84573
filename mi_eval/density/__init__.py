"""Density models of raw codes: closed-form families whose held-out code length bounds H(Z) from above.

Names are resolved on first use (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "PatchSet": "patches",
    "DensityFamily": "interface",
    "FittedDensity": "interface",
    "CodeHistogram": "histogram",
    "StationaryGaussian": "gaussian",
    "FullGaussian": "full_gaussian",
    "RecalibratedGaussian": "recalibrated",
    "ScaleMixture": "scale_mixture",
    "closed_form_families": "families",
    "fit_closed_form": "families",
    "combine_code_lengths": "combine",
    "fit_mixture_weights": "combine",
    "randomised_pit": "pit",
    "estimate_recoverable_bits": "pit",
    "RecoverableBits": "pit",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
