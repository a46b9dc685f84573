"""Levels left out of a fit, so that one set of captures can be fitted and then checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from calibrate.captures.capture_set import CaptureSet, Level
from calibrate.plumbing.errors import PhotonbitsError

#: The fewest levels of a kind of which one can be spared: what is left still has two ends.
_FEWEST_LEVELS = 3


def without_every(captures: CaptureSet, every: int) -> tuple[CaptureSet, int]:
    """The captures without every so-many-th level of each kind, and how many frames that leaves out.

    Parameters
    ----------
    captures : CaptureSet
        Of one setting or several: each setting's levels are counted on their own.
    every : int
        2 or more. The first and the last level of a kind stay: a fit holds between its ends.

    Raises
    ------
    PhotonbitsError
        If ``every`` is below 2, or there are too few levels to leave one out.
    """
    if every < 2:
        raise PhotonbitsError(f"every {every} levels held out", legal="2 or more", remedy="Try --hold-out 4")
    groups: dict[tuple[object, ...], list[Level]] = {}
    for level in captures.levels:
        key = (level.kind, level.gain_setting, level.temperature_c, level.mode)
        groups.setdefault(key, []).append(level)
    held = {
        id(level)
        for group in groups.values()
        if len(group) >= _FEWEST_LEVELS
        for level in group[1:-1][(every - 1) // 2 :: every]
    }
    if not held:
        raise PhotonbitsError(
            f"nothing can be held out of {len(captures.levels)} levels",
            where=captures.root,
            legal=f"{_FEWEST_LEVELS} levels of a kind or more",
            remedy="Hold out more often, shoot more levels, or shoot a second set for the check",
        )
    kept = tuple(level for level in captures.levels if id(level) not in held)
    frames = sum(level.n_frames for level in captures.levels) - sum(level.n_frames for level in kept)
    return replace(captures, levels=kept), frames


def only_files(captures: CaptureSet, wanted: Collection[object]) -> CaptureSet:
    """The captures with those frames alone whose files are ``wanted``; levels without any are left out."""
    levels = (
        replace(level, frames=tuple(frame for frame in level.frames if frame.path in wanted))
        for level in captures.levels
    )
    return replace(captures, levels=tuple(level for level in levels if level.frames))
