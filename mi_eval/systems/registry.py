"""Imaging systems by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Any

from calibrate import PhotonbitsError
from mi_eval.systems.names import OUTER_NAMES, SYSTEM_NAMES
from mi_eval.systems.protocol import ImagingSystem


def system_class(name: str) -> type[ImagingSystem]:
    """The class behind a system's name.

    Raises
    ------
    PhotonbitsError
        If no system has that name.
    """
    if name not in SYSTEM_NAMES and name not in OUTER_NAMES:
        raise PhotonbitsError(f"imaging system {name!r}", legal=", ".join(SYSTEM_NAMES))
    module, class_name = {**SYSTEM_NAMES, **OUTER_NAMES}[name]
    found: type[ImagingSystem] = getattr(import_module(module), class_name)
    return found


def make_system(name: str, constants: Mapping[str, Any]) -> ImagingSystem:
    """An imaging system from its name and its fields, as a configuration or a file holds them.

    Raises
    ------
    PhotonbitsError
        If the name or a field is unknown, or a field that the system needs is missing: a design without its
        physical limits is refused.
    """
    cls = system_class(name)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(constants) - set(known))
    if unknown:
        raise PhotonbitsError(f"{unknown[0]!r} is no field of system {name}", legal=", ".join(known))
    missing = [key for key, field in known.items() if field.default is MISSING and key not in constants]
    if missing:
        raise PhotonbitsError(
            f"system {name} lacks {', '.join(missing)}",
            remedy="State every physical limit: without them a design means nothing",
        )
    values = {key: _frozen(value) for key, value in constants.items()}
    return cls(**values)


def _frozen(value: Any) -> Any:
    """Lists, as files hold them, as tuples; a mapping is the system within another."""
    if isinstance(value, Mapping):
        if not isinstance(value.get("name"), str):
            raise PhotonbitsError("a system without name", legal="name and fields")
        return make_system(value["name"], {key: entry for key, entry in value.items() if key != "name"})
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list | tuple) else value
