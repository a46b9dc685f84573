"""Settings of a camera in one set of captures: gain, temperature and read-out mode, told apart and split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from calibrate.captures.capture_set import CaptureSet, Level

#: Temperatures with a wider gap between neighbours are two settings: cooled cameras hold theirs to a few tenths of a
#: degree, and a dark current that doubles every 6 to 8 degrees moves by 14 to 19 % over it.
TEMPERATURE_GAP_C = 1.5
_DIMENSIONS = ("gain_setting", "temperature_c", "mode")


@dataclass(frozen=True)
class Setting:
    """What was set on the camera; a dimension that does not vary over the captures is None.

    Parameters
    ----------
    gain_setting : str or None
        The camera's own scale.
    temperature_c : float or None
        Mean over the setting's frames, degrees Celsius.
    mode : str or None
        Read-out mode.
    gain_scale : {"gain", "iso"}
        What the camera calls its gain setting.
    """

    gain_setting: str | None = None
    temperature_c: float | None = None
    mode: str | None = None
    gain_scale: str = "gain"

    @property
    def gain_number(self) -> float | None:
        """The gain setting as a number; None where it is a word."""
        try:
            return None if self.gain_setting is None else float(self.gain_setting)
        except ValueError:
            return None

    @property
    def words(self) -> str:
        """The setting for people: ``ISO 100, -10 °C, mode hcg``."""
        parts = []
        if self.gain_setting is not None:
            parts.append(f"{'ISO' if self.gain_scale == 'iso' else 'gain'} {self.gain_setting}")
        if self.temperature_c is not None:
            parts.append(f"{self.temperature_c:g} °C")
        if self.mode is not None:
            parts.append(f"mode {self.mode}")
        return ", ".join(parts) or "one setting"

    @property
    def stem(self) -> str:
        """A file name without suffix that any file system takes: ``iso100_-10C_hcg``.

        Examples
        --------
        >>> Setting("100", -10.0, gain_scale="iso").stem, Setting(mode="fast/12 bit").stem
        ('iso100_-10C', 'mode_fast-12-bit')
        """
        parts = []
        if self.gain_setting is not None:
            gap = "" if self.gain_setting[:1].isdigit() else "_"
            parts.append(f"{self.gain_scale}{gap}{self.gain_setting}")
        if self.temperature_c is not None:
            parts.append(f"{'' if parts else 'at_'}{self.temperature_c:g}C")
        if self.mode is not None:
            word = "mode" if self.mode[:1].isdigit() else "mode_" if not parts else ""
            parts.append(f"{word}{self.mode}")
        safe = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).strip("-.") or "x" for part in parts[:1])
        rest = (re.sub(r"[^A-Za-z0-9_.+-]+", "-", part).rstrip("-.") or "x" for part in parts[1:])
        return "_".join((*safe, *rest))[:100] or "sensor"

    @property
    def sort_key(self) -> tuple[object, ...]:
        """By mode, then temperature, then gain as a number."""
        number = self.gain_number
        cold = -1e9 if self.temperature_c is None else self.temperature_c
        return (self.mode or "", cold, number is None, number or 0.0, self.gain_setting or "")


@dataclass(frozen=True)
class SplitCaptures:
    """One capture set a setting, and what could not be put anywhere.

    Parameters
    ----------
    parts : dict
        By setting, in the order of `Setting.sort_key`.
    notes : tuple of str
        Levels that were shared or left out, and why.
    """

    parts: dict[Setting, CaptureSet]
    notes: tuple[str, ...] = ()


def cluster_temperatures(temperatures_c: Iterable[float]) -> list[tuple[float, ...]]:
    """Distinct temperatures in rising order, cut where neighbours are more than `TEMPERATURE_GAP_C` apart.

    Examples
    --------
    >>> cluster_temperatures([0.2, -10.0, -9.8, 0.0])
    [(-10.0, -9.8), (0.0, 0.2)]
    """
    clusters: list[list[float]] = []
    for value in sorted(set(temperatures_c)):
        if clusters and value - clusters[-1][-1] <= TEMPERATURE_GAP_C:
            clusters[-1].append(value)
        else:
            clusters.append([value])
    return [tuple(cluster) for cluster in clusters]


def split_by_setting(captures: CaptureSet) -> SplitCaptures:
    """Captures by setting; one part, as it is, where nothing varies.

    A level that does not say one of the things that vary (a dark without a temperature) belongs to the one setting
    that agrees with what it says. Where several do, it is left out, with a note.
    """
    varying = _varying(captures)
    full = sorted({_setting(level, captures) for level in captures.levels if _is_full(level, varying)}, key=_key)
    if not full:
        known = captures.sensor
        gain = known.get("gain_setting")
        temperature, mode = known.get("temperature_c"), known.get("mode")
        setting = Setting(
            None if gain is None else str(gain),
            float(temperature) if isinstance(temperature, int | float) else None,
            None if mode is None else str(mode),
            captures.gain_scale,
        )
        return SplitCaptures({setting: captures})
    members: dict[Setting, list[Level]] = {setting: [] for setting in full}
    shared: dict[str, int] = {}
    left: dict[str, int] = {}
    for level in captures.levels:
        own = _setting(level, captures)
        fitting = [setting for setting in full if _agrees(own, setting)]
        missing = [name for name in varying if getattr(level, name) is None]
        if len(fitting) == 1:
            members[fitting[0]].append(level)
        if missing:
            words = " and ".join(_WORDS[name] for name in missing)
            kind = "flats" if level.kind == "bright" else "darks"
            if len(fitting) == 1:
                cause = f"{kind} without {words} belong to {fitting[0].words}, the only setting that agrees with them"
                shared[cause] = shared.get(cause, 0) + level.n_frames
            else:
                cause = f"{kind} without {words} may belong to any of {len(fitting)} settings and are left out"
                left[cause] = left.get(cause, 0) + level.n_frames
    parts = {setting: _part(captures, setting, tuple(levels)) for setting, levels in members.items()}
    notes = [f"{count} {cause}" for cause, count in (*shared.items(), *left.items())]
    return SplitCaptures(parts, tuple(notes))


_WORDS = {"gain_setting": "a gain setting", "temperature_c": "a temperature", "mode": "a read-out mode"}


def _key(setting: Setting) -> tuple[object, ...]:
    return setting.sort_key


def _varying(captures: CaptureSet) -> list[str]:
    return [name for name in _DIMENSIONS if any(getattr(level, name) is not None for level in captures.levels)]


def _is_full(level: Level, varying: list[str]) -> bool:
    return bool(varying) and all(getattr(level, name) is not None for name in varying)


def _setting(level: Level, captures: CaptureSet) -> Setting:
    return Setting(level.gain_setting, level.temperature_c, level.mode, captures.gain_scale)


def _agrees(own: Setting, setting: Setting) -> bool:
    return all(getattr(own, name) in (None, getattr(setting, name)) for name in _DIMENSIONS)


def _part(captures: CaptureSet, setting: Setting, levels: Sequence[Level]) -> CaptureSet:
    stated: dict[str, object] = {name: getattr(setting, name) for name in _DIMENSIONS}
    if setting.gain_setting is not None and setting.gain_number is not None:
        number = setting.gain_number
        stated["gain_setting"] = int(number) if number == int(number) else number
    known = {name: value for name, value in stated.items() if value is not None}
    plain = tuple(replace(level, gain_setting=None, temperature_c=None, mode=None) for level in levels)
    return replace(captures, levels=plain, sensor={**captures.sensor, **known})
