"""Mutual information between scene and raw frames, in bits per pixel, with error bars.

Examples
--------
>>> import mi_eval
>>> "estimate_information" in mi_eval.__all__
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from calibrate import __version__

if TYPE_CHECKING:
    from mi_eval.estimate import InformationEstimate, estimate_information

__all__ = ["InformationEstimate", "__version__", "estimate_information"]

# Names are loaded at first use (PEP 562), so that a command's help imports no numerical package.
_HOMES = {
    "InformationEstimate": "mi_eval.estimate",
    "estimate_information": "mi_eval.estimate",
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
