"""CONFIG.yaml of `mi-eval design`: checked by pydantic, turned into a problem and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from calibrate import NoiseModel, PhotonbitsError

if TYPE_CHECKING:
    from mi_eval.design.audit import AuditSettings
    from mi_eval.design.optimise import OptimiserSettings
    from mi_eval.design.problem import DesignProblem
    from mi_eval.systems import SystemDesign


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    def rest(self) -> dict[str, Any]:
        """The fields that are not declared here."""
        return dict(self.model_extra or {})


class SystemEntry(_Open):
    """``system``: its name and its fields."""

    name: str


class ObjectsEntry(_Open):
    """``objects``: their kind and its fields."""

    kind: str


class NoiseEntry(_Strict):
    """``noise``: given numbers, as those of `NoiseModel.from_parameters`."""

    kind: Literal["poisson-gaussian", "poisson", "gaussian"] = "poisson-gaussian"
    system_gain_dn_per_e: float
    read_noise_e: float = 0.0
    offset_dn: float = 0.0
    bit_depth: int | None = None
    full_well_e: float | None = None
    dark_current_e_per_s: float | None = None


class LightEntry(_Strict):
    """``light``: the light budget and the charge that no pixel should exceed."""

    mean_light_e: float | None = None
    rms_e: float | None = None
    mean_flux_jy: float | None = None
    rms_jy: float | None = None
    full_well_e: float | None = None
    exposure_s: float = Field(default=0.0, ge=0)
    longest_exposure_s: float | None = Field(default=None, gt=0)
    choose_exposure: bool = False


class OptimiserEntry(_Strict):
    """``optimiser``; the defaults are those of `OptimiserSettings`."""

    objective: Literal["spectral", "full", "density", "infonce"] = "spectral"
    steps: int = Field(default=300, ge=0)
    restarts: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    objects: int = Field(default=512, ge=16)
    patch_size: int = Field(default=8, ge=2)
    refit_every: int = Field(default=5, ge=1)
    seed: int = Field(default=0, ge=0)
    starts: int | None = Field(default=None, ge=1)


class AuditEntry(_Strict):
    """``audit``; the defaults are those of `AuditSettings`."""

    frames: int = Field(default=1500, ge=32)
    patch_size: int = Field(default=8, ge=2)
    seed: int = Field(default=1, ge=0)
    i_mmse: bool = False


class DesignDocument(_Strict):
    """A whole configuration."""

    system: SystemEntry
    objects: ObjectsEntry
    noise: NoiseEntry | str
    channel: str | None = None
    light: LightEntry = LightEntry()
    optimiser: OptimiserEntry = OptimiserEntry()
    audit: AuditEntry | None = AuditEntry()
    start: str | None = None


@dataclass(frozen=True)
class DesignConfig:
    """A checked configuration, and the folder that its paths are relative to."""

    document: DesignDocument
    folder: Path

    def problem(self) -> DesignProblem:
        """The design problem.

        Raises
        ------
        PhotonbitsError
            If a limit is missing, a name is unknown, or system, objects and noise do not fit together.
        """
        from mi_eval.design.problem import DesignProblem
        from mi_eval.objects import make_prior
        from mi_eval.systems import make_system

        document = self.document
        options = document.objects.rest()
        if document.objects.kind == "folder" and isinstance(options.get("path"), str):
            options["path"] = str(self.folder / options["path"])
        light = document.light
        return DesignProblem(
            system=make_system(document.system.name, document.system.rest()),
            objects=make_prior(document.objects.kind, options),
            noise_model=self.noise_model(),
            mean_light_e=light.mean_light_e,
            rms_e=light.rms_e,
            mean_flux_jy=light.mean_flux_jy,
            rms_jy=light.rms_jy,
            full_well_e=light.full_well_e,
            exposure_s=light.exposure_s,
            longest_exposure_s=light.longest_exposure_s,
            choose_exposure=light.choose_exposure,
        )

    def noise_model(self) -> NoiseModel:
        """The sensor: a YAML of calibrate, one channel of it, or given numbers."""
        noise = self.document.noise
        if not isinstance(noise, str):
            if self.document.channel is not None:
                raise PhotonbitsError("a channel of given noise", legal="a channel of a sensor YAML")
            return NoiseModel.from_parameters(**noise.model_dump())
        model = NoiseModel.load(self.folder / noise)
        return model if self.document.channel is None else model.channel(self.document.channel)

    def optimiser(self) -> OptimiserSettings:
        """Settings of the ascent."""
        from mi_eval.design.optimise import OptimiserSettings

        return OptimiserSettings(**self.document.optimiser.model_dump())

    def audit(self) -> AuditSettings | None:
        """Settings of the audit; None for ``audit: null``."""
        from mi_eval.design.audit import AuditSettings

        return None if self.document.audit is None else AuditSettings(**self.document.audit.model_dump())

    def start(self) -> SystemDesign | None:
        """The saved design to begin with, where there is one."""
        from mi_eval.systems import SystemDesign

        return None if self.document.start is None else SystemDesign.load(self.folder / self.document.start)


def _legal_keys(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """The keys that may stand beside the last of ``place``."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return ", ".join(model.model_fields)


def load_config(path: str | Path, model: type[DesignDocument] = DesignDocument) -> DesignConfig:
    """Read CONFIG.yaml; ``model`` may declare more sections.

    Raises
    ------
    PhotonbitsError
        If the file is missing or no YAML, or a key is unknown, missing or has an illegal value.
    """
    path = Path(path)
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PhotonbitsError(f"no such file: {path}", legal="a design configuration (YAML)") from error
    except IsADirectoryError as error:
        raise PhotonbitsError(f"{path} is a folder", legal="a design configuration (YAML)") from error
    except (YAMLError, UnicodeDecodeError) as error:
        first = str(error).strip().splitlines()[0]
        raise PhotonbitsError(f"not readable as YAML: {first}", where=path) from error
    if not isinstance(content, dict):
        raise PhotonbitsError("no mapping of keys", where=path, legal=", ".join(model.model_fields))
    try:
        document = model.model_validate(content)
    except ValidationError as error:
        entry = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
        key = ".".join(str(part) for part in entry["loc"] if part not in ("NoiseEntry", "str"))
        what = "an unknown key" if entry["type"] == "extra_forbidden" else entry["msg"]
        of_keys = entry["type"] in ("extra_forbidden", "missing")
        legal = _legal_keys(model, entry["loc"]) if of_keys or len(entry["loc"]) == 1 else None
        raise PhotonbitsError(f"{key}: {what}", where=path, legal=legal) from error
    return DesignConfig(document, path.parent)
