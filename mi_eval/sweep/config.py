"""The file that says what to score: entries, what-if cases, and the axes that all of them share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from calibrate.captures.text import read_text
from calibrate.plumbing.errors import PhotonbitsError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Label = str | int | float
#: Not "auto": settings are compared, and must be coded by the same families.
Density = Literal["closed-form", "network", "reference"]
ENTRY_AXES = ("camera", "gain_setting", "exposure_s")
DOCUMENTATION = "docs/sweep.md"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_tuple(value: Any) -> Any:
    """One value where a list may stand."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class EntryConfig(_Strict):
    """Frames of one camera setting, or of several: lists of cameras, gain settings and exposures are multiplied out.

    Where a list stands, ``name``, ``frames``, ``noise_model`` and ``scenes`` may hold ``{camera}``,
    ``{gain_setting}`` and ``{exposure_s}``.
    """

    name: str | None = None
    frames: tuple[str, ...] = Field(min_length=1)
    noise_model: str
    camera: tuple[Label | None, ...] = (None,)
    gain_setting: tuple[Label | None, ...] = (None,)
    exposure_s: tuple[NonNegative | None, ...] = (None,)
    scenes: str | None = None
    shift_bits: Annotated[int, Field(ge=0, le=16)] = 0
    roi: bool = False

    _lists = field_validator("frames", *ENTRY_AXES, mode="before")(_as_tuple)


class ChangesConfig(_Strict):
    """What is different about the imagined camera; lists are multiplied out. What is not named stays as it is."""

    name: str | None = None
    exposure_factor: tuple[Positive, ...] = (1.0,)
    light_factor: tuple[Positive, ...] = (1.0,)
    system_gain_dn_per_e: tuple[Positive, ...] | None = None
    read_noise_e: tuple[NonNegative, ...] | None = None
    offset_dn: tuple[Finite, ...] | None = None
    bit_depth: tuple[Annotated[int, Field(ge=1, le=16)], ...] | None = None
    dark_current_e_per_s: tuple[NonNegative, ...] | None = None
    full_well_e: tuple[Positive, ...] | None = None
    prnu_percent: tuple[Annotated[float, Field(ge=0, le=50)], ...] | None = None

    _lists = field_validator(
        "exposure_factor",
        "light_factor",
        "system_gain_dn_per_e",
        "read_noise_e",
        "offset_dn",
        "bit_depth",
        "dark_current_e_per_s",
        "full_well_e",
        "prnu_percent",
        mode="before",
    )(lambda value: None if value is None else _as_tuple(value))

    def expanded(self) -> Iterator[dict[str, float | int]]:
        """Each combination as a mapping of the changes that were named; factors of 1 are left out."""
        lists = {
            key: values
            for key, values in self.model_dump(exclude={"name"}).items()
            if values is not None and not (key.endswith("_factor") and tuple(values) == (1.0,))
        }
        for combination in itertools.product(*lists.values()):
            yield dict(zip(lists, combination, strict=True))


class WhatIfConfig(_Strict):
    """Cameras that do not exist: frames of an entry made worse, or known light measured afresh."""

    name: str
    of: str | None = None
    repeats: Annotated[int, Field(ge=1)] = 1
    light_e: tuple[str, ...] | None = None
    noise_model: str | None = None
    exposure_s: NonNegative | None = None
    cases: tuple[ChangesConfig, ...] = Field(min_length=1)

    @field_validator("light_e", mode="before")
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return None if value is None else _as_tuple(value)

    @model_validator(mode="after")
    def _one_source(self) -> WhatIfConfig:
        if (self.of is None) == (self.light_e is None):
            raise ValueError(
                "give either `of`, an entry whose frames are made worse, or `light_e`, noiseless light in electrons"
            )
        if self.light_e is not None and self.noise_model is None:
            raise ValueError("`light_e` needs a `noise_model`: the camera that the cases change")
        if self.of is not None and (self.noise_model is not None or self.exposure_s is not None):
            raise ValueError("`noise_model` and `exposure_s` are the entry's where `of` is given")
        if self.light_e is not None and self.repeats != 1:
            raise ValueError("`repeats` is for frames: known light has no noise to average")
        return self


class SweepConfig(_Strict):
    """The whole file. ``folder`` is where it lies: relative paths start there."""

    schema_: Literal["photonbits/sweep"] = Field(default="photonbits/sweep", alias="schema")
    entries: tuple[EntryConfig, ...] = ()
    what_if: tuple[WhatIfConfig, ...] = ()
    patch_size: tuple[Annotated[int, Field(ge=2)], ...] = (16,)
    seed: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    max_patches: Annotated[int, Field(ge=16)] = 20_000
    density: Density = "closed-form"
    folder: Path = Field(default=Path(), exclude=True)

    _lists = field_validator("patch_size", "seed", mode="before")(_as_tuple)

    @model_validator(mode="after")
    def _something(self) -> SweepConfig:
        if not self.entries and not self.what_if:
            raise ValueError("neither `entries` nor `what_if` are there: nothing to score")
        for key in ("patch_size", "seed"):
            values = getattr(self, key)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{key} is {list(values)}: one value or more, each once")
        return self


def load_config(path: str | Path) -> SweepConfig:
    """A checked sweep file.

    Raises
    ------
    PhotonbitsError
        If the file is missing, is not YAML, or has unknown keys or illegal values; the message names the key.
    """
    path = Path(path)
    if not path.is_file():
        raise PhotonbitsError(f"no such file: {path}", legal="a sweep file (YAML)", remedy=f"See {DOCUMENTATION}")
    try:
        plain = YAML(typ="safe", pure=True).load(read_text(path))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = path if mark is None else f"{path}, line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise PhotonbitsError(f"not readable as YAML: {problem}", where=where, legal="a YAML 1.2 mapping") from error
    if not isinstance(plain, dict):
        raise PhotonbitsError(
            f"top of the file is {type(plain).__name__}", where=path, legal="keys: " + ", ".join(_keys(SweepConfig))
        )
    return parse_config(plain, folder=path.parent, where=path)


def parse_config(plain: Mapping[str, Any], *, folder: Path, where: object = "the sweep") -> SweepConfig:
    """`load_config` for a mapping already in memory."""
    if "folder" in plain:
        raise PhotonbitsError("unknown key folder", where=where, legal=", ".join(_keys(SweepConfig)))
    try:
        return SweepConfig.model_validate({**plain, "folder": folder})
    except ValidationError as error:
        raise _telling(error, where) from error


_MODELS: dict[str, type[BaseModel]] = {"entries": EntryConfig, "what_if": WhatIfConfig, "cases": ChangesConfig}


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if name != "folder"]


def _telling(error: ValidationError, where: object) -> PhotonbitsError:
    """The first error in words, a misspelt key before what it leaves out."""
    found = error.errors()
    first = next((entry for entry in found if entry["type"] == "extra_forbidden"), found[0])
    words = [str(part + 1 if isinstance(part, int) else part) for part in first["loc"]]
    place = " ".join(words) or "the file"
    value = first.get("input")
    shown = "" if isinstance(value, dict | list | tuple) else f", which is {value!r}"
    if first["type"] in ("extra_forbidden", "missing"):
        block = next((str(part) for part in reversed(first["loc"][:-1]) if isinstance(part, str)), "")
        what = "unknown key" if first["type"] == "extra_forbidden" else "missing key"
        return PhotonbitsError(
            f"{what} {place}",
            where=where,
            legal=", ".join(_keys(_MODELS.get(block, SweepConfig))),
            remedy=f"See {DOCUMENTATION}",
        )
    message = first["msg"].removeprefix("Value error, ")
    return PhotonbitsError(f"{place}{shown}: {message}", where=where, remedy=f"See {DOCUMENTATION}")
