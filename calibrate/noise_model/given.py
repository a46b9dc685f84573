"""A camera of given numbers, checked: what `NoiseModel.from_parameters` makes its model of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from calibrate.flags import flag
from calibrate.noise_model.camera import Camera, Kind
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.response import Response
from calibrate.schema import (
    PARAMETERS,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    FitEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
)
from calibrate.store import DEFECTS, Maps

#: Maps that the measurement itself needs; `prnu` and `dark_current_e_per_s` act before charge is collected.
READOUT_MAPS = ("system_gain_dn_per_e", "read_noise_e", "offset_dn")


def given_values(
    *,
    kind: Kind,
    system_gain_dn_per_e: float,
    read_noise_e: float,
    offset_dn: float,
    bit_depth: int | None,
    white_clip_dn: int | None,
    black_clip_dn: int | None,
    full_well_e: float | None,
    response: Response | Mapping[str, Any] | None,
    maps: Mapping[str, ArrayLike] | None,
    dark_current_e_per_s: float | None,
) -> tuple[Camera, NoiseModelDocument, Maps | None]:
    """Camera, document and maps of given numbers; see `NoiseModel.from_parameters`."""
    if response is None:
        response = Response()
    elif isinstance(response, Mapping):
        missing = [key for key in ("coefficients", "scale_dn") if key not in response]
        if missing:
            raise PhotonbitsError(
                f"response has no {missing[0]}", legal="a Response, or a mapping with coefficients and scale_dn"
            )
        form = response.get("form", "polynomial")
        response = Response(form, tuple(response["coefficients"]), float(response["scale_dn"]))
    elif not isinstance(response, Response):
        raise PhotonbitsError(
            f"response is {response!r}", legal="a Response, or a mapping with coefficients and scale_dn"
        )
    if full_well_e is not None:
        if not 0 < full_well_e < np.inf:
            raise PhotonbitsError(f"full_well_e is {full_well_e:g}", legal="a positive number of electrons")
        if not system_gain_dn_per_e > 0:
            raise PhotonbitsError(
                f"system_gain_dn_per_e is {system_gain_dn_per_e:g}", legal="a finite number above 0, in DN/e-"
            )
        response = replace(response, full_well_dn=system_gain_dn_per_e * full_well_e)
    _check_given(bit_depth, white_clip_dn, black_clip_dn, dark_current_e_per_s)
    top = 0 if bit_depth is None else max(0, 2**bit_depth - 1)
    camera = Camera(
        kind=kind,
        system_gain_dn_per_e=float(system_gain_dn_per_e),
        read_noise_e=float(read_noise_e),
        offset_dn=float(offset_dn),
        bit_depth=bit_depth,
        black_clip_dn=0 if black_clip_dn is None else int(black_clip_dn),
        white_clip_dn=top if white_clip_dn is None else int(white_clip_dn),
        response=response,
    )
    values = {
        "system_gain_dn_per_e": camera.system_gain_dn_per_e,
        "offset_dn": camera.offset_dn,
        "read_noise_e": camera.read_noise_e,
    }
    if bit_depth is not None:
        values["black_clip_dn"] = camera.black_clip_dn
        values["white_clip_dn"] = camera.white_clip_dn
    if full_well_e is not None:
        values["full_well_e"] = full_well_e
    if dark_current_e_per_s is not None:
        values["dark_current_e_per_s"] = dark_current_e_per_s
    parameters: dict[str, Any] = {
        name: ParameterEntry(value=float(value), std=None, unit=PARAMETERS[name][0]) for name, value in values.items()
    }
    if response.form != "linear":
        parameters["nonlinearity"] = NonlinearityEntry(
            form=response.form,
            coefficients=response.coefficients,
            std=tuple(0.0 for _ in response.coefficients),
            scale_dn=response.scale_dn,
            unit="1",
        )
    arrays = _checked_maps(maps)
    shape = None if arrays is None else next(iter(arrays.values())).shape
    fit = FitEntry(method="given values", model="given", flags=(flag("not_measured"),))
    document = NoiseModelDocument.model_validate(
        {
            "schema": SCHEMA_NAME,
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "sensor": {"bit_depth": bit_depth, "shape": shape},
            "parameters": parameters,
            "fit": fit,
        }
    )
    return camera, document, arrays


def _check_given(
    bit_depth: object, white_clip_dn: float | None, black_clip_dn: float | None, dark_current_e_per_s: float | None
) -> None:
    """Raise PhotonbitsError for given values that neither the camera nor the file's schema would name clearly."""
    if bit_depth is not None and (isinstance(bit_depth, bool) or not isinstance(bit_depth, int | np.integer)):
        raise PhotonbitsError(f"bit_depth is {bit_depth!r}", legal="a whole number, 1 to 32, or None for real values")
    for name, code in (("white_clip_dn", white_clip_dn), ("black_clip_dn", black_clip_dn)):
        if code is None:
            continue
        if not float(code).is_integer():
            raise PhotonbitsError(f"{name} is {code:g}", legal="a whole number: a code of the converter")
        if bit_depth is None:
            raise PhotonbitsError(
                f"{name} is {code:g} without a bit_depth", legal="None: real-valued measurements do not clip"
            )
    if dark_current_e_per_s is not None and not 0 <= dark_current_e_per_s < np.inf:
        raise PhotonbitsError(
            f"dark_current_e_per_s is {dark_current_e_per_s:g}", legal="a finite number 0 or more, in e-/s"
        )


def _checked_maps(maps: Mapping[str, ArrayLike] | None) -> Maps | None:
    if not maps:
        return None
    arrays: Maps = {
        name: np.asarray(value, dtype=np.uint8 if name == DEFECTS else np.float64) for name, value in maps.items()
    }
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise PhotonbitsError(f"maps have shapes {shapes}", legal="one (height, width) for all maps")
    known = (*READOUT_MAPS, "prnu", "dark_current_e_per_s")
    for name, array in arrays.items():
        if name.removesuffix("_std") not in known and name != DEFECTS:
            raise PhotonbitsError(f"unknown map {name!r}", legal=", ".join(known) + f", NAME_std and {DEFECTS}")
        if not np.all(np.isfinite(array)):
            raise PhotonbitsError(
                f"map {name} holds {int(np.sum(~np.isfinite(array)))} values that are NaN or infinite",
                legal="finite numbers",
            )
    return arrays
