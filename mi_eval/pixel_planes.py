"""Offset and relative response of every pixel: what stands between a code and the light behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel

FloatArray = NDArray[np.float64]


def pixel_planes(
    model: NoiseModel, shape: tuple[int, int], exposure_s: float | None
) -> tuple[FloatArray | None, FloatArray | None]:
    r"""Offset and relative response of every pixel, (height, width); None where all pixels are alike.

    .. math:: b_i = \mathrm{offset}_i + K_i\,(\mathrm{dark}_i - \overline{\mathrm{dark}})\,t, \qquad
        g_i = (1 + \mathrm{prnu}_i)\, K_i / K

    The mean dark charge stays where the light is. Gains are those that the pixels' cameras are made of.
    """
    maps = model.maps or {}
    scalar = float(model.camera.system_gain_dn_per_e)
    gain = model.readout_maps.get("system_gain_dn_per_e", _channel_plane(model, "system_gain_dn_per_e", shape))
    offset = maps.get("offset_dn", _channel_plane(model, "offset_dn", shape))
    response = None if "prnu" not in maps else 1.0 + maps["prnu"]
    if gain is not None:
        response = gain / scalar if response is None else response * (gain / scalar)
    dark = maps.get("dark_current_e_per_s")
    if dark is not None and exposure_s:
        charge = (dark - np.mean(dark, dtype=np.float64)) * exposure_s * (scalar if gain is None else gain)
        offset = charge + (float(model.camera.offset_dn) if offset is None else offset)
    return offset, response


def _channel_plane(model: NoiseModel, name: str, shape: tuple[int, int]) -> FloatArray | None:
    """A camera scalar of every pixel's channel, (height, width); None for a sensor without channels."""
    if model.channel_layout is None:
        return None
    plane = np.empty(shape)
    for channel, section in model.channel_layout.sections.items():
        plane[section.index] = getattr(model.channel(channel).camera, name)
    return plane
