"""What was shot: a folder, a manifest, an EMVA 1288 descriptor or a table, as one `CaptureSet`.

Examples
--------
>>> from calibrate.captures import CaptureSet, load_captures
"""

from __future__ import annotations

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
from calibrate.captures.settings import Setting, SplitCaptures, split_by_setting
from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from calibrate.captures.bursts import load_bursts
    from calibrate.captures.loading import load_captures
    from calibrate.captures.manifest_writer import write_manifest
    from calibrate.captures.scenes import SceneFile, describe_scene, load_scenes

__all__ = [
    "CaptureSet",
    "FrameKind",
    "FrameReference",
    "IgnoredFile",
    "Level",
    "SceneFile",
    "Setting",
    "SplitCaptures",
    "TablePoint",
    "describe_scene",
    "load_bursts",
    "load_captures",
    "load_scenes",
    "split_by_gain_setting",
    "split_by_setting",
    "write_manifest",
]

# Loaded at first use (PEP 562): the records above need no numpy, the loaders do.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "SceneFile": "calibrate.captures.scenes",
        "describe_scene": "calibrate.captures.scenes",
        "load_bursts": "calibrate.captures.bursts",
        "load_captures": "calibrate.captures.loading",
        "load_scenes": "calibrate.captures.scenes",
        "write_manifest": "calibrate.captures.manifest_writer",
    },
)
