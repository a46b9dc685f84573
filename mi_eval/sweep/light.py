"""Known light through an imagined camera: exact, whatever the camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.sweep.imagined import imagined_camera
from mi_eval.sweep.mosaic import by_channel

FloatArray = NDArray[np.float64]


class Measured(NamedTuple):
    """Frames (n_frames, height, width) and the camera that took them."""

    frames: NDArray[np.generic]
    noise_model: NoiseModel


def measure_light(
    light_e: FloatArray,
    noise_model: NoiseModel,
    changes: Mapping[str, float | int],
    *,
    exposure_s: float | None = None,
    seed: int = 0,
) -> Measured:
    r"""Frames of noiseless light, and the camera that took them.

    .. math:: y = t\,(1 + p)\, s + d\, T

    with t the product of ``light_factor`` and ``exposure_factor`` and T the exposure times the latter.

    Parameters
    ----------
    light_e : ndarray (n_frames, height, width)
        Electrons of light in every pixel at the exposure ``exposure_s``, without photo-response and dark charge.
    noise_model : NoiseModel
        The camera before the changes.
    changes : mapping
        As for `degrade_frames`.
    exposure_s : float, optional
        Needed where the camera has dark current.
    seed : int

    Raises
    ------
    PhotonbitsError
        For light that is negative or not finite, maps of another size, or an illegal change.
    """
    light = np.asarray(light_e, dtype=np.float64)
    if light.ndim != 3:
        raise PhotonbitsError(f"light of shape {light.shape}", legal="(n_frames, height, width)")
    if noise_model.channel_layout is not None:

        def work(part: FloatArray, own: NoiseModel, own_changes: Mapping[str, float | int], own_seed: int) -> Measured:
            return Measured(*measure_light(part, own, own_changes, exposure_s=exposure_s, seed=own_seed))

        frames, whole, _ = by_channel(light, noise_model, changes, seed, work)
        return Measured(frames, whole)
    shape = (light.shape[1], light.shape[2])
    camera = imagined_camera(noise_model, changes, shape=shape, seed=seed)
    shot = camera.camera.kind != "gaussian"
    if not np.all(np.isfinite(light)) or (shot and light.size and float(light.min()) < 0):
        raise PhotonbitsError(
            f"light from {float(np.nanmin(light)):g} to {float(np.nanmax(light)):g} e-",
            legal="finite electrons, 0 or more",
            remedy="Noisy frames are no light: give them as an entry, and ask for what can be made of them with `of`",
        )
    exposure = float(changes.get("exposure_factor", 1.0))
    charge = light * (exposure * float(changes.get("light_factor", 1.0)))
    if shot:
        maps = camera.maps or {}
        entry = camera.parameter("dark_current_e_per_s")
        dark = np.asarray(maps.get("dark_current_e_per_s", 0.0 if entry is None else entry.value))
        if np.any(dark > 0) and exposure_s is None:
            raise PhotonbitsError(
                "the camera has dark current and no exposure is stated",
                legal="exposure_s, in seconds",
                remedy="State it, or dark_current_e_per_s: 0",
            )
        charge = charge * (1.0 + maps.get("prnu", 0.0)) + np.maximum(dark, 0.0) * exposure * (exposure_s or 0.0)
    codes = [camera.sample(part, np.random.default_rng([seed, number, 9_731])) for number, part in enumerate(charge)]
    return Measured(np.stack(codes), camera)
