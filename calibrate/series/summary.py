"""The series as plain data: what summary.json holds."""

from __future__ import annotations

from typing import Any

from calibrate import __version__
from calibrate.captures import Setting
from calibrate.series.fit import DarkCurrentGroup, Series, UnityGroup
from calibrate.series.shared import SharedQuantity

SCHEMA_NAME = "photonbits/series"
SCHEMA_VERSION = 1


def series_summary(series: Series, files: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Plain lists, dicts and numbers of a series; see docs/series.md for the keys.

    Parameters
    ----------
    series : Series
    files : dict, optional
        Names of the files written for each setting, and under ``""`` for all.
    """
    names = files or {}
    return {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION,
        "sensor": dict(sorted(series.sensor.items())),
        "settings": [
            {
                "name": entry.name,
                "setting": _setting(entry.setting),
                "file": f"{entry.name}.yaml",
                "files": names.get(entry.name, [f"{entry.name}.yaml"]),
                "quantities": {name: quantity.to_dict() for name, quantity in entry.quantities.items()},
                "channels": list(entry.model.document.channels or {}),
                "flags": [doubt.code for doubt in entry.model.document.fit.flags],
            }
            for entry in series.fitted
        ],
        "dark_only": [
            {
                "name": entry.name,
                "setting": _setting(entry.setting),
                "quantities": {"dark_current_e_per_s": entry.dark_current_e_per_s.to_dict()},
                "gain_from": entry.gain_from,
            }
            for entry in series.dark_only
        ],
        "not_fitted": [
            {"name": entry.name, "setting": _setting(entry.setting), "reason": entry.reason}
            for entry in series.not_fitted
        ],
        "unity_gain": [_unity(group) for group in series.unity],
        "dark_current": [_dark(group) for group in series.dark_current],
        "shared": [_shared(entry) for entry in series.shared],
        "notes": list(series.notes),
        "files": names.get("", []),
        "software": f"photonbits {__version__}",
    }


def _setting(setting: Setting) -> dict[str, Any]:
    number = setting.gain_number
    gain: Any = setting.gain_setting
    if number is not None:
        gain = int(number) if number.is_integer() else number
    return {
        "gain_setting": gain,
        "gain_scale": None if setting.gain_setting is None else setting.gain_scale,
        "temperature_c": setting.temperature_c,
        "mode": setting.mode,
    }


def _unity(group: UnityGroup) -> dict[str, Any]:
    unity = group.unity
    return {
        "temperature_c": group.setting.temperature_c,
        "mode": group.setting.mode,
        "setting": None if unity.setting is None else unity.setting.to_dict(),
        "axis": unity.axis or None,
        "reason": unity.reason or None,
    }


def _dark(group: DarkCurrentGroup) -> dict[str, Any]:
    law = group.law
    return {
        "gain_setting": _setting(group.setting)["gain_setting"],
        "mode": group.setting.mode,
        "temperatures_c": list(group.temperatures_c),
        "dark_current_e_per_s": [quantity.to_dict() for quantity in group.currents],
        "doubling_temperature": None if law.doubling is None else law.doubling.to_dict(),
        "activation_energy": None if law.activation is None else law.activation.to_dict(),
        "reason": law.reason or None,
    }


def _shared(entry: SharedQuantity) -> dict[str, Any]:
    return {
        "quantity": entry.quantity,
        "across": entry.across,
        "at": _setting(entry.at),
        "settings": list(entry.names),
        "mean": entry.mean.to_dict(),
        "chi2": entry.chi2,
        "dof": entry.dof,
        "p_value": entry.p_value,
        "agree": entry.agree,
    }
