"""Noise-model files: YAML 1.2 with per-pixel maps beside it, written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import SafeRepresenter

from calibrate.plumbing.atomic import atomic_outputs
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_file
from calibrate.schema import SCHEMA_NAME, SCHEMA_VERSION, NoiseModelDocument

#: Arrays (height, width) by name: real numbers, and ``defects`` as uint8.
Maps = dict[str, NDArray[Any]]
DEFECTS = "defects"


class _Representer(SafeRepresenter):
    """Floats with a point before the exponent, which YAML 1.1 readers need to see a number."""


def _represent_float(representer: SafeRepresenter, value: float) -> Any:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e", 1)
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(float, _represent_float)


def dump_yaml(plain: dict[str, Any]) -> str:
    """YAML text of plain data: keys in the given order, short lists of numbers on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 118
    stream = io.StringIO()
    yaml.dump(plain, stream)
    return stream.getvalue()


def load_yaml(path: Path) -> dict[str, Any]:
    """Mapping at the top of a YAML 1.2 file.

    Raises
    ------
    PhotonbitsError
        If the file does not exist, is not YAML, or holds something other than a mapping.
    """
    _require_yaml(path)
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())[:200]
        raise PhotonbitsError(f"not readable as YAML: {line}", where=path, legal="a YAML 1.2 mapping") from error
    if not isinstance(document, dict):
        raise PhotonbitsError(f"top of the file is {type(document).__name__}", where=path, legal="a YAML mapping")
    return document


def _require_yaml(path: Path) -> None:
    """Refuse what cannot be a noise model's YAML, and name those that lie there or beside it."""
    legal = "a noise-model YAML"
    if path.is_dir():
        found = sorted(file.name for suffix in ("*.yaml", "*.yml") for file in path.glob(suffix))
        listing = ", ".join(found[:8]) + (" ..." if len(found) > 8 else "")
        raise PhotonbitsError(
            "this is a folder" + (f", with {listing}" if found else " without a YAML"),
            where=path,
            legal=legal,
            remedy="Name one of these files" if found else "Make one with: calibrate fit",
        )
    if not path.is_file():
        raise PhotonbitsError(f"no such file: {path}", legal=legal, remedy="Make one with: calibrate fit")
    if path.suffix.lower() == ".npz":
        own = path.with_name(path.stem.removesuffix("_maps") + ".yaml")
        there = [own] if own.is_file() else sorted(path.parent.glob("*.yaml"))[:8]
        names = ", ".join(file.name for file in there)
        raise PhotonbitsError(
            "this is a file of per-pixel maps, not the noise model that they belong to",
            where=path,
            legal=legal,
            remedy=f"Name the YAML beside it: {names}" if there else "Find the YAML that it was written with",
        )


def read_document(path: Path) -> tuple[NoiseModelDocument, Maps | None]:
    """Read and check a noise-model file and its maps.

    Raises
    ------
    PhotonbitsError
        Names the key, its value and what is legal: unknown schema or version, missing or unknown keys,
        wrong units, NaN, maps that are missing, changed or of another shape.
    """
    raw = load_yaml(path)
    if raw.get("schema") != SCHEMA_NAME:
        raise PhotonbitsError(
            f"schema is {raw.get('schema')!r}",
            where=path,
            legal=SCHEMA_NAME,
            remedy="Make a noise model with: calibrate fit",
        )
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise PhotonbitsError(
            f"schema_version is {raw.get('schema_version')!r}",
            where=path,
            legal=f"{SCHEMA_VERSION}",
            remedy="Use the release that wrote it, or fit the captures again",
        )
    try:
        document = NoiseModelDocument.model_validate(raw)
    except ValidationError as error:
        first = _most_telling(error)
        place = ".".join(str(part) for part in first["loc"] if part not in _ENTRY_CLASSES) or "the file"
        value = first.get("input")
        shown = "" if isinstance(value, dict | list) else f" (value {value!r})"
        raise PhotonbitsError(
            f"{place}: {first['msg'].removeprefix('Value error, ')}{shown}",
            where=path,
            remedy="See docs/noise-model.md for the keys and units",
        ) from error
    return document, _read_maps(document, path)


_ENTRY_CLASSES = ("ParameterEntry", "NonlinearityEntry")  # pydantic names the branch that it tried


def _most_telling(error: ValidationError) -> Any:
    """The error to show: of the branch that the parameter belongs to, and a misspelt key before what it leaves out."""
    found = [
        entry
        for entry in error.errors()
        if ("NonlinearityEntry" if "nonlinearity" not in entry["loc"] else "ParameterEntry") not in entry["loc"]
    ] or error.errors()
    return next((entry for entry in found if entry["type"] == "extra_forbidden"), found[0])


def _read_maps(document: NoiseModelDocument, path: Path) -> Maps | None:
    if document.maps is None:
        return None
    file = path.parent / document.maps.file
    remedy = "Keep the maps file beside the YAML, or fit again with --maps"
    if not file.is_file():
        raise PhotonbitsError(f"maps file {file.name} is missing", where=path, remedy=remedy)
    if sha256_of_file(file) != document.maps.sha256:
        raise PhotonbitsError(f"maps file {file.name} is not the one that was written", where=path, remedy=remedy)
    with np.load(file, allow_pickle=False) as archive:
        absent = sorted(set(document.maps.names) - set(archive.files))
        if absent:
            raise PhotonbitsError(
                f"maps.names lists {absent[0]}, which {file.name} does not hold",
                where=path,
                legal=", ".join(sorted(archive.files)),
                remedy=remedy,
            )
        maps: Maps = {
            name: np.asarray(archive[name], dtype=np.uint8 if name == DEFECTS else np.float64)
            for name in document.maps.names
        }
    for name, array in maps.items():
        if document.sensor.shape is not None and array.shape != tuple(document.sensor.shape):
            raise PhotonbitsError(
                f"map {name} has shape {array.shape}", where=file, legal=f"sensor.shape {document.sensor.shape}"
            )
    return maps


def maps_bytes(maps: Maps) -> bytes:
    """The maps file: an npz of float32 arrays, the same bytes for the same maps."""
    stream = io.BytesIO()
    _write_maps(stream, maps)
    return stream.getvalue()


def _write_maps(target: io.BytesIO | Path, maps: Maps) -> None:
    """Uncompressed: noise takes ten times as long to compress as to write, and shrinks by a tenth."""
    arrays = {name: maps[name].astype(np.uint8 if name == DEFECTS else np.float32, copy=False) for name in sorted(maps)}
    np.savez(target, **arrays)  # type: ignore[arg-type]


def write_document(
    document: NoiseModelDocument,
    path: Path,
    maps: Maps | None = None,
    *,
    overwrite: bool = False,
    also: dict[Path, bytes] | None = None,
) -> NoiseModelDocument:
    """Write YAML, maps and ``also`` (a report, say) together; existing files are kept unless ``overwrite``.

    Returns
    -------
    NoiseModelDocument
        As it was written: with the name and the digest of the maps' file.

    Raises
    ------
    PhotonbitsError
        If an output exists and may not be replaced, or its folder cannot be written.
    """
    others = dict(also or {})
    file = path.with_name(path.stem + "_maps.npz")
    names = [*others, *([file] if maps else []), path]
    with atomic_outputs(names, overwrite=overwrite) as temporary:
        for place, data in zip(temporary, others.values(), strict=False):
            place.write_bytes(data)
        if maps:
            _write_maps(temporary[-2], maps)
            entry = {"file": file.name, "sha256": sha256_of_file(temporary[-2]), "names": sorted(maps)}
            document = NoiseModelDocument.model_validate({**document.to_plain(), "maps": entry})
        temporary[-1].write_bytes(dump_yaml(document.to_plain()).encode("utf-8"))
    return document
