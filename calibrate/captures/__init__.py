"""What was shot: a folder, a manifest, an EMVA 1288 descriptor or a table, as one `CaptureSet`.

Examples
--------
>>> from calibrate.captures import CaptureSet, load_captures
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from calibrate.captures.capture_set import (
    CaptureSet,
    FrameKind,
    FrameReference,
    IgnoredFile,
    Level,
    TablePoint,
    split_by_gain_setting,
)

if TYPE_CHECKING:
    from calibrate.captures.loading import load_captures
    from calibrate.captures.manifest_writer import write_manifest

__all__ = [
    "CaptureSet",
    "FrameKind",
    "FrameReference",
    "IgnoredFile",
    "Level",
    "TablePoint",
    "load_captures",
    "split_by_gain_setting",
    "write_manifest",
]

# Loaded at first use (PEP 562): the records above need no numpy, the loaders do.
_HOMES = {
    "load_captures": "calibrate.captures.loading",
    "write_manifest": "calibrate.captures.manifest_writer",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value
