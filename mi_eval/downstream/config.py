"""CONFIG.yaml of `mi-eval downstream`: that of a design, with a section that says how results are measured."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from calibrate import PhotonbitsError
from mi_eval.design.config import DesignConfig, DesignDocument, load_config

if TYPE_CHECKING:
    from mi_eval.downstream.end_to_end import EndToEndSettings
    from mi_eval.downstream.evaluate import EvaluationSettings
    from mi_eval.downstream.interface import Decoder


class DecoderEntry(BaseModel):
    """One decoder: its name and its fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str


class EndToEndEntry(BaseModel):
    """``end_to_end``: optics trained together with a U-Net; the defaults are those of `EndToEndSettings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unet: dict[str, Any] = Field(default_factory=dict)
    most_epochs: int = Field(default=300, ge=1)
    patience: int = Field(default=5, ge=1)
    design_rate: float = Field(default=0.05, gt=0)


class DownstreamEntry(BaseModel):
    """``downstream``; the defaults are those of `EvaluationSettings`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoders: tuple[DecoderEntry, ...] = (DecoderEntry(name="wiener"),)
    training_frames: int = Field(default=1000, ge=8)
    validation_frames: int = Field(default=200, ge=8)
    test_frames: int = Field(default=500, ge=8)
    seeds: tuple[int, ...] = (0,)
    end_to_end: EndToEndEntry | None = None


class DownstreamDocument(DesignDocument):
    """A design's configuration and the section ``downstream``."""

    downstream: DownstreamEntry = DownstreamEntry()


@dataclass(frozen=True)
class DownstreamConfig:
    """A checked configuration."""

    design: DesignConfig

    @property
    def entry(self) -> DownstreamEntry:
        """The section ``downstream``."""
        document = self.design.document
        assert isinstance(document, DownstreamDocument)
        return document.downstream

    def settings(self) -> EvaluationSettings:
        """Frames and seeds."""
        from mi_eval.downstream.evaluate import EvaluationSettings

        entry = self.entry
        return EvaluationSettings(entry.training_frames, entry.validation_frames, entry.test_frames, entry.seeds)

    def end_to_end(self) -> EndToEndSettings | None:
        """Settings of the joint training; None where none is asked for.

        Raises
        ------
        PhotonbitsError
            If a field of its decoder is unknown.
        """
        from mi_eval.downstream.end_to_end import EndToEndSettings
        from mi_eval.downstream.unet import UNet

        entry = self.entry.end_to_end
        if entry is None:
            return None
        decoder = make_decoder("unet", {"linear_start": False, **entry.unet})
        assert isinstance(decoder, UNet)
        return EndToEndSettings(
            decoder, most_epochs=entry.most_epochs, patience=entry.patience, design_rate=entry.design_rate
        )

    def decoders(self) -> tuple[Decoder, ...]:
        """The decoders asked for.

        Raises
        ------
        PhotonbitsError
            If a name or a field is unknown.
        """
        return tuple(make_decoder(entry.name, dict(entry.model_extra or {})) for entry in self.entry.decoders)


def make_decoder(name: str, options: dict[str, Any]) -> Decoder:
    """A decoder from its name and fields.

    Raises
    ------
    PhotonbitsError
        If the name or a field is unknown.
    """
    from mi_eval.downstream.classify import Classifier
    from mi_eval.downstream.localise import Localiser
    from mi_eval.downstream.unet import UNet
    from mi_eval.downstream.wiener import Wiener

    known: dict[str, type[Decoder]] = {cls.name: cls for cls in (Classifier, Localiser, UNet, Wiener)}
    if name not in known:
        raise PhotonbitsError(f"decoder {name!r}", legal=", ".join(known))
    declared = {field.name: field for field in fields(known[name])}  # type: ignore[arg-type]
    for option, value in options.items():
        if option not in declared:
            raise PhotonbitsError(f"{option!r} is no field of decoder {name}", legal=", ".join(declared))
        default = declared[option].default
        if default is not MISSING and not _alike(value, default):
            raise PhotonbitsError(f"{option} {value!r} of decoder {name}", legal=type(default).__name__)
    return known[name](**options)


def _alike(value: Any, default: Any) -> bool:
    """Whether a value has the default's type; whole numbers are numbers, truth values are not."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def load_downstream_config(path: str | Path) -> DownstreamConfig:
    """Read CONFIG.yaml.

    Raises
    ------
    PhotonbitsError
        If the file is missing or no YAML, a key is unknown or illegal, or there is no audit.
    """
    loaded = load_config(path, DownstreamDocument)
    if loaded.document.audit is None:
        raise PhotonbitsError("audit: null", where=Path(path), legal="an audit: it is what results are compared with")
    return DownstreamConfig(loaded)
