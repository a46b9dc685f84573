"""What was shot: frames grouped into light levels, before a single pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from calibrate.sections import Section

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
    section : Section or None
        The rows and columns that are meant, of one colour filter or tap; None for the whole frame.
    shift_bits : int
        Empty low bits of left-aligned codes, taken off when the frame is read.
    """

    path: Path
    index: int = 0
    dtype: str | None = None
    shape: tuple[int, int] | None = None
    byte_order: Literal["little", "big"] | None = None
    offset_bytes: int = 0
    key: str | None = None
    section: Section | None = None
    shift_bits: int = 0


@dataclass(frozen=True)
class Level:
    """Frames taken under one light level and exposure, in the order they were taken.

    ``exposure_s`` and ``photons_per_pixel`` (mean photons that reach a pixel during the exposure) are
    None where the captures do not say. ``gain_setting``, ``temperature_c`` and ``mode`` (of read-out) are None
    unless the capture set mixes several (see `settings.split_by_setting`); one for all stands in
    ``CaptureSet.sensor``.
    """

    kind: FrameKind
    exposure_s: float | None
    photons_per_pixel: float | None
    frames: tuple[FrameReference, ...]
    gain_setting: str | None = None
    temperature_c: float | None = None
    mode: str | None = None

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
    gain_scale : str
        What gain settings are called: ``"iso"`` where names or headers give photographers' sensitivities.
    shift_bits : int
        Empty low bits that are taken off every code; ``bit_depth`` counts what is left.
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
    gain_scale: str = field(default="gain", compare=False)
    shift_bits: int = 0

    def bright_levels(self) -> tuple[Level, ...]:
        """Bright levels, by rising light."""
        return tuple(level for level in self.levels if level.kind == "bright")

    def dark_levels(self) -> tuple[Level, ...]:
        """Dark levels, by rising exposure."""
        return tuple(level for level in self.levels if level.kind == "dark")


def split_by_gain_setting(captures: CaptureSet) -> dict[str, CaptureSet]:
    """Return one capture set per setting by the setting's name: its gain where nothing else varies.

    A set with one setting comes back as it is, under its gain's name (``""`` where it is not known). What cannot be
    put into one setting stays out; `settings.split_by_setting` says so.
    """
    from calibrate.captures.settings import split_by_setting

    parts = split_by_setting(captures).parts
    only_gain = len(parts) == 1 or all(part.temperature_c is None and part.mode is None for part in parts)
    return {(part.gain_setting or "" if only_gain else part.words): found for part, found in parts.items()}
