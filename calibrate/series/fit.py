"""Every setting fitted on its own, and what the settings say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from calibrate.captures import CaptureSet, Setting, split_by_setting
from calibrate.level_statistics import LevelStatistics, measure_levels
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.series.dark_current import DarkCurrentLaw, fit_dark_current
from calibrate.series.quantity import Quantity, quantities_of
from calibrate.series.shared import SharedQuantity, shared_quantities
from calibrate.series.unity_gain import UnityGain, find_unity_gain

FitOne = Callable[[CaptureSet], NoiseModel]


@dataclass(frozen=True)
class FittedSetting:
    """One setting with its noise model; ``name`` is its file's, without suffix."""

    setting: Setting
    name: str
    model: NoiseModel
    quantities: dict[str, Quantity] = field(compare=False)


@dataclass(frozen=True)
class DarkSetting:
    """Darks at a setting without flats: their current, through the gain of a setting that differs in temperature."""

    setting: Setting
    name: str
    dark_current_e_per_s: Quantity
    gain_from: str


@dataclass(frozen=True)
class NotFitted:
    """A setting that could not be fitted, and why."""

    setting: Setting
    name: str
    reason: str


@dataclass(frozen=True)
class DarkCurrentGroup:
    """Dark current against temperature at one gain setting and read-out mode."""

    setting: Setting
    temperatures_c: tuple[float, ...]
    currents: tuple[Quantity, ...]
    law: DarkCurrentLaw


@dataclass(frozen=True)
class UnityGroup:
    """Unity gain at one temperature and read-out mode."""

    setting: Setting
    unity: UnityGain


@dataclass(frozen=True)
class Series:
    """All settings of one set of captures.

    Parameters
    ----------
    fitted : tuple of FittedSetting
        By mode, temperature and gain.
    dark_only, not_fitted
        Settings with darks alone, and those that could not be used.
    unity : tuple of UnityGroup
        One for each temperature and mode with a choice of gains.
    dark_current : tuple of DarkCurrentGroup
        One for each gain and mode with a choice of temperatures.
    shared : tuple of SharedQuantity
        Tests of what should not depend on a setting.
    notes : tuple of str
        Frames that were shared between settings or left out.
    sensor : dict
        What the captures say of all settings.
    """

    fitted: tuple[FittedSetting, ...]
    dark_only: tuple[DarkSetting, ...]
    not_fitted: tuple[NotFitted, ...]
    unity: tuple[UnityGroup, ...]
    dark_current: tuple[DarkCurrentGroup, ...]
    shared: tuple[SharedQuantity, ...]
    notes: tuple[str, ...]
    sensor: dict[str, object]


def fit_series(captures: CaptureSet, fit: FitOne, *, announce: Callable[[str], None] | None = None) -> Series:
    """Fit every setting on its own, and compare them.

    Nothing is pooled: what the settings should have in common is tested instead (`shared.shared_quantities`). A
    setting that cannot be fitted is reported and does not stop the others.

    Parameters
    ----------
    captures : CaptureSet
        At several settings (`calibrate.captures.split_by_setting`).
    fit : callable
        What fits one of them: `calibrate.fit_noise_model`, say.
    announce : callable, optional
        Told in words what is being fitted.

    Raises
    ------
    PhotonbitsError
        If no setting can be fitted: the first one's error, with the setting's name.
    """
    split = split_by_setting(captures)
    names = _names(split.parts)
    fitted: list[FittedSetting] = []
    failed: list[tuple[NotFitted, PhotonbitsError]] = []
    only_darks: list[tuple[Setting, CaptureSet]] = []
    for setting, part in split.parts.items():
        if not part.bright_levels() and setting.temperature_c is not None:
            only_darks.append((setting, part))
            continue
        if announce is not None:
            announce(f"Fitting {setting.words}")
        try:
            model = fit(part)
        except PhotonbitsError as error:
            failed.append((NotFitted(setting, names[setting], str(error)), error))
            continue
        fitted.append(FittedSetting(setting, names[setting], model, quantities_of(model)))
    dark_only: list[DarkSetting] = []
    for setting, part in only_darks:
        try:
            dark_only.append(_dark_setting(setting, names[setting], part, fitted))
        except PhotonbitsError as error:
            failed.append((NotFitted(setting, names[setting], str(error)), error))
    if not fitted:
        _raise_first(failed, captures, split.notes)
    return Series(
        fitted=tuple(fitted),
        dark_only=tuple(dark_only),
        not_fitted=tuple(entry for entry, _ in failed),
        unity=tuple(_unity_groups(fitted)),
        dark_current=tuple(_dark_groups(fitted, dark_only)),
        shared=shared_quantities(_points(fitted, dark_only)),
        notes=split.notes,
        sensor={name: value for name, value in captures.sensor.items()},
    )


def _raise_first(failed: list[tuple[NotFitted, PhotonbitsError]], captures: CaptureSet, notes: tuple[str, ...]) -> None:
    if not failed:
        raise PhotonbitsError("no setting to fit", where=captures.root)
    entry, error = failed[0]
    where = f"{entry.setting.words}; {error.where or captures.root}"
    remedy = "; ".join((*((error.remedy,) if error.remedy else ()), *notes)) or None
    raise PhotonbitsError(
        f"none of {len(failed)} settings can be fitted, the first because: {error.what}",
        where=where,
        legal=error.legal,
        remedy=remedy,
    ) from error


def _names(settings: Iterable[Setting]) -> dict[Setting, str]:
    """File names, apart even where capitals do not count."""
    out: dict[Setting, str] = {}
    taken: set[str] = {"summary"}
    for setting in settings:
        name, number = setting.stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{setting.stem}_{number}"
        taken.add(name.lower())
        out[setting] = name
    return out


# ---- darks alone -----------------------------------------------------------------------------------------


def _dark_setting(setting: Setting, name: str, part: CaptureSet, fitted: list[FittedSetting]) -> DarkSetting:
    like = [
        entry
        for entry in fitted
        if (entry.setting.gain_setting, entry.setting.mode) == (setting.gain_setting, setting.mode)
    ]
    if not like:
        raise PhotonbitsError(
            "no flats", where=setting.words, remedy="Shoot flats at this gain setting and mode, at one temperature"
        )
    nearest = min(like, key=lambda entry: abs((entry.setting.temperature_c or 0.0) - (setting.temperature_c or 0.0)))
    rate, rate_std = dark_rate_dn_per_s(measure_levels(part), setting.words)
    gain = nearest.quantities["system_gain_dn_per_e"]
    current = rate / gain.value
    std = float(np.hypot(rate_std / gain.value, current * (gain.std or 0.0) / gain.value))
    return DarkSetting(setting, name, Quantity(current, std, "e-/s"), nearest.name)


def dark_rate_dn_per_s(levels: Iterable[LevelStatistics], where: str) -> tuple[float, float]:
    """Slope of the darks' means against exposure and its standard error, DN/s.

    Notes
    -----
    Weighted straight line; the error of a mean is that of the temporal noise over pixels and frames. From three
    exposures on the scatter about the line widens it: an offset that moves between levels is no noise of pixels.

    Raises
    ------
    PhotonbitsError
        For darks at fewer than two known exposures, or without two frames of one level.
    """
    known = [level for level in levels if level.exposure_s is not None]
    t = np.array([level.exposure_s for level in known], dtype=np.float64)
    noises = [level.temporal_variance_dn2(None) for level in known]
    measured = [value for value in noises if value is not None]
    if np.unique(t).size < 2 or not measured:
        raise PhotonbitsError(
            f"darks at {np.unique(t).size} exposure(s)",
            where=where,
            legal="two exposures or more, two frames at one of them",
            remedy="Add darks at other exposures, as long as they will be used",
        )
    typical = float(np.mean(measured))
    variance = np.array(
        [
            max(typical if noise is None else noise, 1e-12) / (level.n_pixels * level.n_frames)
            for noise, level in zip(noises, known, strict=True)
        ]
    )
    z = np.array([level.mean_dn for level in known])
    weight = 1 / variance
    centre = float(weight @ t / weight.sum())
    lever = float(weight @ (t - centre) ** 2)
    slope = float(weight @ ((t - centre) * z) / lever)
    rest = z - float(weight @ z / weight.sum()) - slope * (t - centre)
    dof = t.size - 2
    widen = max(1.0, float(np.sqrt(weight @ rest**2 / dof))) if dof > 0 else 1.0
    return slope, widen / float(np.sqrt(lever))


# ---- what the settings say together ----------------------------------------------------------------------


def _points(
    fitted: list[FittedSetting], dark_only: list[DarkSetting]
) -> list[tuple[Setting, str, dict[str, Quantity]]]:
    points = [(entry.setting, entry.name, entry.quantities) for entry in fitted]
    points += [(entry.setting, entry.name, {"dark_current_e_per_s": entry.dark_current_e_per_s}) for entry in dark_only]
    return points


def _unity_groups(fitted: list[FittedSetting]) -> list[UnityGroup]:
    groups: dict[Setting, list[FittedSetting]] = {}
    for entry in fitted:
        if entry.setting.gain_setting is not None:
            key = Setting(None, entry.setting.temperature_c, entry.setting.mode, entry.setting.gain_scale)
            groups.setdefault(key, []).append(entry)
    out = []
    for key, members in groups.items():
        if len(members) < 2:
            continue
        if any(doubt.code == "left_aligned" for entry in members for doubt in entry.model.document.fit.flags):
            unity = UnityGain(
                None, "the codes are left-aligned: one electron per code means nothing before they are divided"
            )
        else:
            numbered = [entry for entry in members if entry.setting.gain_number is not None]
            unity = find_unity_gain(
                [entry.setting.gain_number or 0.0 for entry in numbered],
                [entry.quantities["system_gain_dn_per_e"] for entry in numbered],
                scale=key.gain_scale,
            )
        out.append(UnityGroup(key, unity))
    return out


def _dark_groups(fitted: list[FittedSetting], dark_only: list[DarkSetting]) -> list[DarkCurrentGroup]:
    groups: dict[Setting, list[tuple[float, Quantity]]] = {}
    for setting, _, quantities in _points(fitted, dark_only):
        if setting.temperature_c is None:
            continue
        key = Setting(setting.gain_setting, None, setting.mode, setting.gain_scale)
        members = groups.setdefault(key, [])
        if "dark_current_e_per_s" in quantities:
            members.append((setting.temperature_c, quantities["dark_current_e_per_s"]))
    out = []
    for key, members in groups.items():
        members.sort(key=lambda pair: pair[0])
        temperatures = tuple(pair[0] for pair in members)
        currents = tuple(pair[1] for pair in members)
        out.append(DarkCurrentGroup(key, temperatures, currents, fit_dark_current(temperatures, currents)))
    return out
