"""The camera of a what-if case: a noise model with some of its numbers changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError

FloatArray = NDArray[np.float64]

_KEPT = ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s", "full_well_e", "nonlinearity")
_MOST_PRNU_SIGMAS = 4.0


def imagined_camera(
    model: NoiseModel,
    changes: Mapping[str, float | int],
    *,
    shape: tuple[int, int],
    charge_factor: float | None = None,
    seed: int = 0,
) -> NoiseModel:
    r"""The noise model with the numbers of ``changes`` in the place of its own.

    Parameters
    ----------
    model : NoiseModel
        Without channels.
    changes : mapping
        ``system_gain_dn_per_e``, ``read_noise_e``, ``offset_dn``, ``bit_depth``, ``dark_current_e_per_s``,
        ``full_well_e``, ``prnu_percent``; other keys (factors of light and exposure) are no matter of the camera.
    shape : (height, width)
        Of the frames, for a photo-response map where the model has none.
    charge_factor : float, optional
        For frames made worse: charge over that of the frames, t. The model's calibration is then carried over, its
        errors in the charge scaled with t. Without it the imagined camera is known exactly.
    seed : int
        Of a new photo-response map.

    Raises
    ------
    PhotonbitsError
        For a model with channels, a change that the kind of camera does not have, or an illegal value.

    Notes
    -----
    ``bit_depth`` alone keeps full scale in electrons: gain, offset and clips are scaled by :math:`2^{B'-B}`. With
    a gain stated beside it, codes end at :math:`2^{B'}-1` and the offset stays in DN. Maps of gain, read noise and
    dark current keep their relative spread, offsets their spread in electrons.
    """
    _check(model, changes)
    camera = model.camera
    gain, offset = float(camera.system_gain_dn_per_e), float(camera.offset_dn)
    depth, black, white = camera.bit_depth, camera.black_clip_dn, camera.white_clip_dn
    new_gain, new_offset = float(changes.get("system_gain_dn_per_e", gain)), offset
    if "bit_depth" in changes and depth is not None:
        new_depth = int(changes["bit_depth"])
        if "system_gain_dn_per_e" in changes:
            white = 2**new_depth - 1
        else:
            scale = 2.0 ** (new_depth - depth)
            new_gain, new_offset = gain * scale, offset * scale
            black, white = round(black * scale), max(round((white + 1) * scale) - 1, 1)
        depth = new_depth
    new_offset = float(changes.get("offset_dn", new_offset))
    read = float(camera.read_noise_e)
    new_read = float(changes.get("read_noise_e", read))
    plain = model.document.to_plain()
    factors = {
        "system_gain_dn_per_e": new_gain / gain,
        "offset_dn": new_gain / gain * (charge_factor or 1.0),
        "read_noise_e": new_read / read if read > 0 else 1.0,
        "dark_current_e_per_s": 1.0,
    }
    parameters = {name: dict(entry) for name, entry in plain["parameters"].items() if name in _KEPT}
    values = {"system_gain_dn_per_e": new_gain, "offset_dn": new_offset, "read_noise_e": new_read}
    units = {"system_gain_dn_per_e": "DN/e-", "offset_dn": "DN", "read_noise_e": "e-"}
    for name, unit in (("dark_current_e_per_s", "e-/s"), ("full_well_e", "e-")):
        if name in changes:
            values[name], units[name] = float(changes[name]), unit
    if depth is not None:
        values |= {"black_clip_dn": black, "white_clip_dn": white}
        units |= {"black_clip_dn": "DN", "white_clip_dn": "DN"}
    for name, value in values.items():
        std = parameters.get(name, {}).get("std")
        kept = std if charge_factor is not None and std is not None else None
        parameters[name] = {
            "value": value,
            "std": None if kept is None else kept * factors.get(name, 1.0),
            "unit": units[name],
        }
    if "nonlinearity" in parameters:
        parameters["nonlinearity"]["scale_dn"] *= new_gain / gain
    plain["parameters"] = parameters
    plain["sensor"] = {**plain["sensor"], "bit_depth": depth}
    for key in ("maps", "channels", "defects", "repeatability", "validity", "brighter_fatter", "emva1288"):
        plain.pop(key, None)
    plain.pop("emva1288_curves", None)
    if charge_factor is None:
        plain.pop("covariance", None)
        plain.pop("measurements", None)
        plain["fit"] = {"method": "imagined", "model": "given", "flags": []}
    elif plain.get("covariance") is not None:
        scale_of = np.array([factors.get(name, 1.0) for name in plain["covariance"]["names"]])
        matrix = np.array(plain["covariance"]["matrix"]) * np.outer(scale_of, scale_of)
        plain["covariance"] = {"names": plain["covariance"]["names"], "matrix": matrix.tolist()}
    maps = _maps(model, changes, new_gain, new_offset, new_read, charge_factor, shape, seed)
    if maps:
        plain["sensor"]["shape"] = list(next(iter(maps.values())).shape)
    return NoiseModel.from_document(type(model.document).model_validate(plain), maps or None)


def _check(model: NoiseModel, changes: Mapping[str, float | int]) -> None:
    camera = model.camera
    if model.channel_layout is not None:
        raise PhotonbitsError(
            "a what-if of a camera with channels",
            where=model.path,
            legal="a noise model without channels, or one of its channels",
        )
    if camera.kind == "poisson" and float(changes.get("read_noise_e", 0.0)) > 0:
        raise PhotonbitsError(
            f"read_noise_e {changes['read_noise_e']:g} for a camera of kind poisson",
            where=model.path,
            legal="read_noise_e 0, or a noise model of kind poisson-gaussian",
        )
    if camera.kind == "gaussian":
        for name in ("dark_current_e_per_s", "prnu_percent"):
            if name in changes:
                raise PhotonbitsError(f"{name} for a camera of kind gaussian", legal="changes of gain and read noise")
    if "bit_depth" in changes and camera.bit_depth is None:
        raise PhotonbitsError(
            f"bit_depth {changes['bit_depth']} for real-valued measurements", legal="a noise model with a bit depth"
        )


def _maps(
    model: NoiseModel,
    changes: Mapping[str, float | int],
    gain: float,
    offset: float,
    read: float,
    charge_factor: float | None,
    shape: tuple[int, int],
    seed: int,
) -> dict[str, NDArray[Any]]:
    camera, own, readout = model.camera, model.maps or {}, model.readout_maps
    old_gain, old_read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    out: dict[str, NDArray[Any]] = {}
    if "system_gain_dn_per_e" in readout:
        out["system_gain_dn_per_e"] = readout["system_gain_dn_per_e"] * (gain / old_gain)
    if "read_noise_e" in readout and old_read > 0:
        out["read_noise_e"] = readout["read_noise_e"] * (read / old_read)
    if "offset_dn" in readout:
        out["offset_dn"] = offset + (readout["offset_dn"] - float(camera.offset_dn)) * (gain / old_gain)
    if "prnu_percent" in changes:
        out["prnu"] = _photo_response(own.get("prnu"), float(changes["prnu_percent"]) / 100, shape, seed)
    elif "prnu" in own:
        out["prnu"] = own["prnu"]
    if "dark_current_e_per_s" in own:
        entry = model.parameter("dark_current_e_per_s")
        old = float(np.mean(own["dark_current_e_per_s"])) if entry is None else entry.value
        new = float(changes.get("dark_current_e_per_s", old))
        out["dark_current_e_per_s"] = own["dark_current_e_per_s"] * (new / old if old > 0 else 1.0)
    if "defects" in own:
        out["defects"] = own["defects"]
    if charge_factor is not None:
        # What the maps do not know stays in the frames as a fixed pattern, and shrinks with the charge.
        if "offset_dn_std" in own:
            out["offset_dn_std"] = own["offset_dn_std"] * (gain / old_gain * charge_factor)
        if "prnu_std" in own and "prnu_percent" not in changes:
            out["prnu_std"] = own["prnu_std"]
    return out


def _photo_response(measured: FloatArray | None, spread: float, shape: tuple[int, int], seed: int) -> FloatArray:
    """A photo-response map of mean 0 and given standard deviation: the measured one rescaled, or a normal draw."""
    pattern = measured
    if pattern is None or float(np.std(pattern)) == 0:
        normal = np.random.default_rng([seed, 71]).standard_normal(shape)
        pattern = np.clip(normal, -_MOST_PRNU_SIGMAS, _MOST_PRNU_SIGMAS)
    centred = pattern - np.mean(pattern)
    return np.maximum(centred * (spread / max(float(np.std(centred)), 1e-300)), -0.9)
