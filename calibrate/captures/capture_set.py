"""What was shot: frames grouped into light levels, before a single pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

FrameKind = Literal["bright", "dark"]


@dataclass(frozen=True)
class FrameReference:
    """One frame: a file, a page in it, and what the file itself cannot say.

    Parameters
    ----------
    path : Path
        File that holds the frame.
    index : int
        Page in a stack; 0 for a file with one frame.
    dtype, shape, byte_order, offset_bytes
        Layout of headerless binary files (``byte_order`` is ``"little"`` or ``"big"``).
    key : str or None
        Array name in an ``.npz`` file.
    """

    path: Path
    index: int = 0
    dtype: str | None = None
    shape: tuple[int, int] | None = None
    byte_order: Literal["little", "big"] | None = None
    offset_bytes: int = 0
    key: str | None = None


@dataclass(frozen=True)
class Level:
    """Frames taken under one light level and exposure, in the order they were taken.

    ``exposure_s`` and ``photons_per_pixel`` (mean photons that reach a pixel during the exposure) are
    None where the captures do not say. ``gain_setting`` is None unless the capture set mixes several
    settings (see `split_by_gain_setting`); one setting for all stands in ``CaptureSet.sensor``.
    """

    kind: FrameKind
    exposure_s: float | None
    photons_per_pixel: float | None
    frames: tuple[FrameReference, ...]
    gain_setting: str | None = None

    @property
    def n_frames(self) -> int:
        """Frames in this level."""
        return len(self.frames)


@dataclass(frozen=True)
class TablePoint:
    """One line of a photon-transfer table: mean above nothing in particular, temporal variance."""

    mean_dn: float
    variance_dn2: float
    exposure_s: float | None = None


@dataclass(frozen=True)
class IgnoredFile:
    """A file that was seen and left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class CaptureSet:
    """All that one folder, manifest, descriptor or table says was shot.

    Parameters
    ----------
    root : Path
        Folder that relative paths are relative to.
    source : str
        ``"folder"``, ``"manifest"``, ``"emva1288"`` or ``"table"``.
    levels : tuple of Level
        Bright levels by rising light (photons, else exposure), then darks by rising exposure.
    points : tuple of TablePoint
        Only for tables; ``levels`` is then empty.
    shape : (height, width) or None
        None for a table.
    bit_depth : int or None
        None where neither the captures nor the files say; the largest code seen decides later.
    ignored : tuple of IgnoredFile
    sensor : dict
        ``make``, ``model``, ``serial``, ``mode``, ``gain_setting``, ``temperature_c``, ``cfa`` where the
        captures say so; keys absent otherwise.
    input_files : tuple of Path
        Descriptor, manifest or table file that was read, for provenance.
    notes : tuple of str
        What people should know about how the files were read, such as a name that a header contradicts.
    bit_depth_source : str or None
        Where ``bit_depth`` comes from: ``"manifest"``, ``"descriptor"`` or ``"files"``.
    """

    root: Path
    source: Literal["folder", "manifest", "emva1288", "table"]
    levels: tuple[Level, ...] = ()
    points: tuple[TablePoint, ...] = ()
    shape: tuple[int, int] | None = None
    bit_depth: int | None = None
    ignored: tuple[IgnoredFile, ...] = ()
    sensor: dict[str, object] = field(default_factory=dict)
    input_files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    bit_depth_source: str | None = field(default=None, compare=False)

    def bright_levels(self) -> tuple[Level, ...]:
        """Bright levels, by rising light."""
        return tuple(level for level in self.levels if level.kind == "bright")

    def dark_levels(self) -> tuple[Level, ...]:
        """Dark levels, by rising exposure."""
        return tuple(level for level in self.levels if level.kind == "dark")


def split_by_gain_setting(captures: CaptureSet) -> dict[str, CaptureSet]:
    """Return one capture set per gain setting, in the order of their first level.

    Levels whose setting is not known belong to none of them when others say theirs, and stay out. A set with
    one setting comes back as it is, under that setting's name (``""`` where it is not known).
    """
    settings = dict.fromkeys(level.gain_setting for level in captures.levels if level.gain_setting is not None)
    if not settings:
        stated = captures.sensor.get("gain_setting")
        return {"" if stated is None else str(stated): captures}
    return {
        setting: replace(
            captures,
            levels=tuple(replace(x, gain_setting=None) for x in captures.levels if x.gain_setting == setting),
            sensor={**captures.sensor, "gain_setting": setting},
        )
        for setting in settings
    }
