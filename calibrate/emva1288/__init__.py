"""EMVA 1288: the standard's own estimators, release 4.0 linear and, where it differs, release 3.1."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from calibrate.captures import load_captures
from calibrate.captures.capture_set import CaptureSet
from calibrate.channels import section_of_captures
from calibrate.emva1288.curves import image_curves, level_curves
from calibrate.emva1288.doubts import find_flags
from calibrate.emva1288.names import QUANTITIES, RELEASE_31
from calibrate.emva1288.nonuniformity import SpatialMeasurement, measure_spatial, nonuniformity_values
from calibrate.emva1288.sensitivity import Sensitivity, measure_sensitivity, sensitivity_values
from calibrate.emva1288.stacks import Stack, choose_stacks, read_stack
from calibrate.emva1288.statistics import gather
from calibrate.emva1288.uncertainty import DRAWS, Draw, find_scatter, standard_errors
from calibrate.level_statistics import measure_levels
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import EmvaCurveEntry, EmvaEntry, FlagEntry
from calibrate.sections import Section

__all__ = ["Emva1288", "add_emva1288", "measure_emva1288"]


@dataclass(frozen=True)
class Emva1288:
    """The standard's numbers, curves and what limits them.

    Parameters
    ----------
    entries : dict
        By name; names of release 3.1 end in ``_r31``.
    curves : dict
        What the standard's pictures are drawn from.
    flags : tuple
        What is absent and why, and which demands of the standard the captures do not meet.
    """

    entries: dict[str, EmvaEntry]
    curves: dict[str, EmvaCurveEntry]
    flags: tuple[FlagEntry, ...]


def add_emva1288(model: NoiseModel, captures: str | Path | CaptureSet, *, seed: int = 0) -> NoiseModel:
    """The model with the block ``emva1288``, the standard's curves and its flags in the document.

    Parameters
    ----------
    model : NoiseModel
        Fitted to the same captures; its bit depth is used.
    captures : path or CaptureSet
    seed : int
        Of the draws behind the standard errors.

    Raises
    ------
    PhotonbitsError
        As `measure_emva1288`.
    """
    if not isinstance(captures, CaptureSet):
        captures = load_captures(captures)
    document = model.document
    if document.channel_layout is None:
        found = measure_emva1288(captures, bit_depth=model.bit_depth, seed=seed)
    else:
        parts = {}
        for name, entry in document.channel_layout.sections.items():
            section = section_of_captures(captures, Section(entry.rows, entry.columns))
            parts[name] = measure_emva1288(section, bit_depth=model.bit_depth, seed=seed)
        found = _joined(parts)
    fit = document.fit.model_copy(update={"flags": (*document.fit.flags, *found.flags)})
    changes = {"emva1288": found.entries, "emva1288_curves": found.curves, "fit": fit}
    return replace(model, document=document.model_copy(update=changes))


def _joined(parts: dict[str, Emva1288]) -> Emva1288:
    """Numbers and curves of all channels, the channel before the name and a point between; flags that name theirs."""
    return Emva1288(
        {f"{channel}.{name}": entry for channel, part in parts.items() for name, entry in part.entries.items()},
        {f"{channel}.{name}": curve for channel, part in parts.items() for name, curve in part.curves.items()},
        tuple(
            entry.model_copy(update={"message": f"Channel {channel}: {entry.message}"})
            for channel, part in parts.items()
            for entry in part.flags
        ),
    )


def measure_emva1288(
    captures: str | Path | CaptureSet, *, bit_depth: int | None = None, seed: int = 0, draws: int = DRAWS
) -> Emva1288:
    """Every quantity of EMVA 1288 release 4.0 linear that the captures allow, with release 3.1 beside it.

    Parameters
    ----------
    captures : path or CaptureSet
        One sensor at one gain setting; see `calibrate.load_captures`.
    bit_depth : int, optional
        Default: the captures'. None there as well means real-valued frames.
    seed : int
    draws : int
        Behind every standard error; 600 know it to 3 %.

    Raises
    ------
    PhotonbitsError
        For a table of points, too few levels with two frames, or a variance that does not rise with the signal.
    """
    if not isinstance(captures, CaptureSet):
        captures = load_captures(captures)
    if captures.points:
        raise PhotonbitsError(
            "a table of points holds neither darks nor pixels", where=captures.root, remedy="Fit it without --emva"
        )
    bit_depth = captures.bit_depth if bit_depth is None else bit_depth
    statistics = measure_levels(captures)
    levels = gather(captures, statistics, bit_depth)
    new, old = measure_sensitivity(levels, "4.0"), measure_sensitivity(levels, "3.1")
    if new is None or old is None:
        raise PhotonbitsError(
            "the temporal variance does not rise with the signal below 70 % of saturation",
            where=captures.root,
            legal="two levels or more there, whose variance rises",
            remedy="Look at calibrate inspect for files in the wrong level, or fit without --emva",
        )
    offset = float(levels.dark.mean_dn[0])
    full = new.saturation.signal_dn if new.saturation is not None else float(new.signal_dn.max())
    lit, unlit = choose_stacks(captures, statistics, offset + full / 2, levels.top_code)
    bright = None if lit is None or unlit is None else read_stack(lit)
    dark = None if unlit is None else read_stack(unlit)
    spatial = _Spatial.of(dark, bright)
    values = _values(new, old, spatial)

    def values_of(draw: Draw) -> dict[str, float]:
        again = [
            measure_sensitivity(draw.levels, release, share=draw.share, grid_shift=draw.grid_shift)
            for release in ("4.0", "3.1")
        ]
        if again[0] is None or again[1] is None:
            return {}
        return _values(again[0], again[1], spatial.drawn(draw))

    scatter = find_scatter(levels, new)
    std = standard_errors(levels, scatter, values_of, seed, draws)
    values |= spatial.conditions(full)
    curves = level_curves(levels, new)
    if dark is not None:
        curves |= image_curves(dark, bright)
    flags = find_flags(levels, new, scatter, spatial.dark, spatial.bright, values)
    return Emva1288(_entries(values, std), curves, tuple(flags))


@dataclass(frozen=True)
class _Spatial:
    """Spatial measurements, high-pass filtered (release 4.0) and not (release 3.1)."""

    dark: SpatialMeasurement | None = None
    bright: SpatialMeasurement | None = None
    dark_plain: SpatialMeasurement | None = None
    bright_plain: SpatialMeasurement | None = None

    @classmethod
    def of(cls, dark: Stack | None, bright: Stack | None) -> _Spatial:
        measured = [
            None if stack is None else measure_spatial(stack, filtered=filtered)
            for filtered in (True, False)
            for stack in (dark, bright)
        ]
        return cls(*measured)

    def drawn(self, draw: Draw) -> _Spatial:
        parts = (self.dark, self.bright, self.dark_plain, self.bright_plain)
        return _Spatial(*(None if part is None else part.drawn(draw.rng) for part in parts))

    def conditions(self, saturation_signal_dn: float) -> dict[str, float]:
        """Numbers that describe the measurement and not the sensor."""
        out = {}
        frames = [part.n_frames for part in (self.dark, self.bright) if part is not None]
        if frames:
            out["spatial_frames"] = float(min(frames))
        if self.dark is not None and self.bright is not None:
            out["spatial_signal_percent"] = 100 * (self.bright.mean_dn - self.dark.mean_dn) / saturation_signal_dn
        return out


def _values(new: Sensitivity, old: Sensitivity, spatial: _Spatial) -> dict[str, float]:
    """Numbers of both releases by name."""
    values = sensitivity_values(new) | nonuniformity_values(spatial.dark, spatial.bright, new.gain_dn_per_e)
    earlier = sensitivity_values(old)
    plain = nonuniformity_values(spatial.dark_plain, spatial.bright_plain, old.gain_dn_per_e)
    # Release 3.1 knows no rows, columns and pixels.
    parts = ("_row", "_column", "_pixel")
    earlier |= {name: value for name, value in plain.items() if not any(part in name for part in parts)}
    return values | {name + RELEASE_31: value for name, value in earlier.items()}


def _entries(values: dict[str, float], std: dict[str, float]) -> dict[str, EmvaEntry]:
    entries = {}
    for base, (symbol, unit, _) in QUANTITIES.items():
        for name, release in ((base, "4.0"), (base + RELEASE_31, "3.1")):
            if name in values:
                entries[name] = EmvaEntry(
                    value=values[name], std=std.get(name), unit=unit, symbol=symbol, release=release
                )
    return entries
