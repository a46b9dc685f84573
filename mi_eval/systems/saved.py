"""A designed system as a file: constants, parameters, and where they came from."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from calibrate.plumbing.atomic import write_bytes_atomically
from mi_eval.systems.protocol import ImagingSystem, Parameters
from mi_eval.systems.registry import make_system
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]

_SCHEMA = "photonbits/system-design"
_HEADER = "system_json"
#: What numpy, zipfile and json raise at bytes that are no design: a lone array, a cut stream, a header of another kind.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class SystemDesign:
    """An imaging system with its parameters chosen.

    Parameters
    ----------
    system : ImagingSystem
    parameters : dict of ndarray
        In the units of ``system.specs()``.

    Raises
    ------
    PhotonbitsError
        If parameters are missing or have the wrong shape.
    """

    system: ImagingSystem
    parameters: dict[str, FloatArray]

    def __post_init__(self) -> None:
        self.system.check(self.tensors())

    @classmethod
    def of(cls, system: ImagingSystem, parameters: Parameters) -> SystemDesign:
        """A design from tensors, which are copied."""
        return cls(system, {name: np.array(value.detach().numpy()) for name, value in parameters.items()})

    def tensors(self) -> Parameters:
        """The parameters as tensors of their own."""
        return {name: torch.from_numpy(np.array(value, dtype=np.float64)) for name, value in self.parameters.items()}

    def forward(self, objects: Tensor | FloatArray) -> Tensor:
        """Light of the frames, electrons per pixel, (n, height, width), of objects (n, planes, height, width)."""
        tensor = objects if isinstance(objects, torch.Tensor) else torch.from_numpy(np.asarray(objects, np.float64))
        self.system.check_objects(tensor)
        return self.system.forward(tensor, self.tensors())

    def to_bytes(self) -> bytes:
        """The content of the file: an npz archive of the parameters and one JSON text; same design, same bytes."""
        header = {"schema": _SCHEMA, "schema_version": 1, "name": self.system.name, "fields": self.system.constants()}
        entries: dict[str, Any] = {_HEADER: np.array(json.dumps(header, sort_keys=True))}
        entries.update({spec.name: self.parameters[spec.name] for spec in self.system.specs()})
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in entries.items():
                content = io.BytesIO()
                np.lib.format.write_array(content, np.asarray(value), allow_pickle=False)
                # A fixed time stamp, which np.savez does not give.
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())
        return stream.getvalue()

    def save(self, path: str | Path, *, overwrite: bool = True) -> None:
        """Write the design, completely or not at all."""
        write_bytes_atomically(path, self.to_bytes(), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> SystemDesign:
        """Read a design.

        Raises
        ------
        PhotonbitsError
            If the file is missing, is no design, or its system or parameters are illegal.
        """
        try:
            # A file of our own: numpy leaves the one that it opens open when the archive is damaged.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                entries = {name: archive[name] for name in archive.files}
            header = json.loads(str(entries.pop(_HEADER)))
            if header.get("schema") != _SCHEMA or header.get("schema_version") != 1:
                raise PhotonbitsError(f"{path} has schema {header.get('schema')!r}", legal=f"{_SCHEMA}, version 1")
            name, constants = str(header["name"]), dict(header["fields"])
            parameters = {key: np.asarray(value, dtype=np.float64) for key, value in entries.items()}
        except FileNotFoundError as error:
            raise PhotonbitsError(f"no such file: {path}", legal="a design written by mi-eval design") from error
        except _DAMAGE as error:
            raise PhotonbitsError(f"{path} is no saved design", legal="an npz file of mi-eval design") from error
        try:
            return cls(make_system(name, constants), parameters)
        except PhotonbitsError as error:
            raise PhotonbitsError(error.what, where=path, legal=error.legal, remedy=error.remedy) from error
