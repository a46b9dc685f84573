"""From a sweep file to its cells: one setting, one patch size, one seed each, with what determines the result."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_bytes, sha256_of_file
from mi_eval.frame_source import frames_from_paths
from mi_eval.sweep.config import ENTRY_AXES, ChangesConfig, Density, EntryConfig, Label, SweepConfig, WhatIfConfig

Kind = Literal["captured", "degraded", "simulated"]
CAPTURED = "captured"
FileStamp = tuple[str, int, int]


@dataclass(frozen=True)
class Setting:
    """What is scored, apart from patch size and seed.

    Parameters
    ----------
    name : str
        Unique in the sweep.
    group : str
        ``captured``, or the what-if block: settings of one group are ranked together.
    kind : {"captured", "degraded", "simulated"}
        Frames as they are, frames made worse, or known light measured.
    frames : tuple of Path
        Files, folders or patterns; light in electrons where ``simulated``.
    scenes : str or None
        Settings with one name show the same scenes, frame by frame.
    of : str or None
        Name of the setting whose frames are made worse.
    """

    name: str
    group: str
    kind: Kind
    frames: tuple[Path, ...]
    noise_model: Path
    camera: Label | None = None
    gain_setting: Label | None = None
    exposure_s: float | None = None
    scenes: str | None = None
    shift_bits: int = 0
    roi: bool = False
    of: str | None = None
    repeats: int = 1
    changes: Mapping[str, float | int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SweepCell:
    """One score to be made."""

    setting: Setting
    patch_size: int
    seed: int
    max_patches: int
    density: Density = "closed-form"

    @property
    def name(self) -> str:
        """Readable identity: setting, patch size, seed."""
        return f"{slug(self.setting.name)}_p{self.patch_size}_s{self.seed}"


def slug(text: str) -> str:
    """Name of a file: letters, digits, dots and dashes of a text.

    Examples
    --------
    >>> slug("gain 12, 0.5 s")
    'gain-12-0.5-s'
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:80] or "setting"


def cells_of(config: SweepConfig) -> tuple[SweepCell, ...]:
    """All cells of a sweep in the order of the file: settings, then patch sizes, then seeds.

    Raises
    ------
    PhotonbitsError
        If two settings have one name, a what-if names no entry, or a placeholder has no value.
    """
    settings = settings_of(config)
    return tuple(
        SweepCell(setting, patch_size, seed, config.max_patches, config.density)
        for setting in settings
        for patch_size in config.patch_size
        for seed in config.seed
    )


def settings_of(config: SweepConfig) -> tuple[Setting, ...]:
    """The settings of a sweep, entries first."""
    settings: list[Setting] = []
    for number, entry in enumerate(config.entries, start=1):
        settings.extend(_expand_entry(entry, number, config.folder))
    captured = {setting.name: setting for setting in settings}
    for block in config.what_if:
        if block.name == CAPTURED:
            raise PhotonbitsError(f"what_if has the name {CAPTURED!r}", legal="any other name")
        settings.extend(_expand_what_if(block, captured, config.folder))
    seen: set[str] = set()
    for setting in settings:
        if setting.name in seen:
            raise PhotonbitsError(
                f"two settings have the name {setting.name!r}",
                legal="a name each",
                remedy="Put {camera}, {gain_setting} or {exposure_s} into the name of an entry, or name the cases",
            )
        seen.add(setting.name)
    return tuple(settings)


def _expand_entry(entry: EntryConfig, number: int, folder: Path) -> Iterator[Setting]:
    for camera, gain_setting, exposure_s in itertools.product(entry.camera, entry.gain_setting, entry.exposure_s):
        values = {"camera": camera, "gain_setting": gain_setting, "exposure_s": exposure_s}
        words = [
            *([] if camera is None else [str(camera)]),
            *([] if gain_setting is None else [f"gain {_text(gain_setting)}"]),
            *([] if exposure_s is None else [f"{_text(exposure_s)} s"]),
        ]
        default = " ".join(words) or f"entry {number}"

        def filled(text: str, values: dict[str, Any] = values) -> str:
            return _fill(text, values, f"entries {number}")

        yield Setting(
            name=default if entry.name is None else filled(entry.name),
            group=CAPTURED,
            kind="captured",
            frames=tuple(folder / filled(path) for path in entry.frames),
            noise_model=folder / filled(entry.noise_model),
            camera=camera,
            gain_setting=gain_setting,
            exposure_s=exposure_s,
            scenes=None if entry.scenes is None else filled(entry.scenes),
            shift_bits=entry.shift_bits,
            roi=entry.roi,
        )


def _expand_what_if(block: WhatIfConfig, captured: Mapping[str, Setting], folder: Path) -> Iterator[Setting]:
    source: Setting | None = None
    if block.of is not None:
        source = captured.get(block.of)
        if source is None:
            raise PhotonbitsError(
                f"what_if {block.name!r} is of {block.of!r}, which is no entry",
                legal=", ".join(captured) or "the name of an entry",
            )
    for case in block.cases:
        for changes in case.expanded():
            name = f"{block.name}: {_case_name(case, changes)}"
            if source is not None:
                yield Setting(
                    name=name,
                    group=block.name,
                    kind="degraded",
                    frames=source.frames,
                    noise_model=source.noise_model,
                    camera=source.camera,
                    gain_setting=None,
                    exposure_s=source.exposure_s,
                    scenes=f"what-if of {source.name}" if source.scenes is None or block.repeats > 1 else source.scenes,
                    shift_bits=source.shift_bits,
                    roi=source.roi,
                    of=source.name,
                    repeats=block.repeats,
                    changes=changes,
                )
            else:
                yield Setting(
                    name=name,
                    group=block.name,
                    kind="simulated",
                    frames=tuple(folder / path for path in block.light_e or ()),
                    noise_model=folder / str(block.noise_model),
                    exposure_s=block.exposure_s,
                    scenes=f"light of {block.name}",
                    changes=changes,
                )


_WORDS = {
    "exposure_factor": "exposure x {}",
    "light_factor": "light x {}",
    "system_gain_dn_per_e": "{} DN/e-",
    "read_noise_e": "read noise {} e-",
    "offset_dn": "offset {} DN",
    "bit_depth": "{} bit",
    "dark_current_e_per_s": "dark {} e-/s",
    "full_well_e": "full well {} e-",
    "prnu_percent": "PRNU {} %",
}


def _case_name(case: ChangesConfig, changes: Mapping[str, float | int]) -> str:
    listed = {key for key, values in case.model_dump().items() if isinstance(values, tuple) and len(values) > 1}
    if case.name is not None:
        changes = {key: value for key, value in changes.items() if key in listed}
    words = ([] if case.name is None else [case.name]) + [_WORDS[k].format(_text(v)) for k, v in changes.items()]
    return ", ".join(words) or "unchanged"


def _text(value: Label) -> str:
    return format(value, "g") if isinstance(value, float) else str(value)


def _fill(text: str, values: Mapping[str, Any], where: str) -> str:
    """Text with the values of an entry in the place of ``{camera}`` and its like."""
    for name in re.findall(r"\{([^{}]*)\}", text):
        if name not in values or values[name] is None:
            stated = ", ".join("{" + key + "}" for key in ENTRY_AXES if values[key] is not None)
            raise PhotonbitsError(
                f"{{{name}}} in {text!r} has no value", where=where, legal=stated or "no placeholder: none is stated"
            )
        text = text.replace("{" + name + "}", _text(values[name]))
    return text


# ---- what determines a result ----------------------------------------------------------------------------


def cell_digest(cell: SweepCell, version: str, stamps: Sequence[FileStamp] | None = None) -> str:
    """SHA-256 over all that determines a cell's result.

    The setting, the noise model's content, each frame file's name, size and time of change (``stamps``, by default
    read here), patch size, seed, most patches, and the release.

    Raises
    ------
    PhotonbitsError
        If frames or noise model are missing.
    """
    setting = cell.setting
    content = {
        "camera": setting.camera,
        "changes": dict(sorted(setting.changes.items())),
        "density": cell.density,
        "exposure_s": setting.exposure_s,
        "frames": [list(stamp) for stamp in (file_stamps(setting.frames) if stamps is None else stamps)],
        "gain_setting": setting.gain_setting,
        "kind": setting.kind,
        "max_patches": cell.max_patches,
        "noise_model_sha256": sha256_of_file(setting.noise_model),
        "patch_size": cell.patch_size,
        "repeats": setting.repeats,
        "roi": setting.roi,
        "seed": cell.seed,
        "shift_bits": setting.shift_bits,
        "version": version,
    }
    return sha256_of_bytes(json.dumps(content, sort_keys=True, default=str).encode())


def file_stamps(paths: Sequence[Path]) -> tuple[FileStamp, ...]:
    """(name, size in bytes, time of change in ns) of each frame file and manifest that the paths mean, in order.

    Raises
    ------
    PhotonbitsError
        If there are none, or one cannot be read.
    """
    source = frames_from_paths(paths)
    files = list(dict.fromkeys([*(path for path in paths if path.is_file()), *(scene.path for scene in source.files)]))
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
