"""Overscan and optically black borders: rows and columns at an edge that never see light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.frame_source import FrameSource, Region

FloatArray = NDArray[np.float64]

#: Light beyond a border, in standard deviations of the dark noise, from which its edge is one.
_BRIGHT_SIGMAS = 5.0
#: The border's own signal, at most, in the same unit and as a share of the light beyond it.
_DARK_SIGMAS, _DARK_SHARE = 0.5, 0.02
#: Variance along the border over that of the dark noise; hot pixels and the offset's pattern make it more than 1.
_VARIANCE_RATIO = 2.0
#: Rows (columns) that must be bright beyond a border; columns (rows) that the step may take.
_BRIGHT_LINES, _STEP = 0.9, 4
#: Lines of a border that hold the offset, the rest being darker; light next to it over that farther inside.
_DARK_LINES, _SHARPNESS = 0.8, 0.5
_NARROWEST = 2
_WIDEST_SHARE = 0.25


def exposed_region(source: FrameSource, model: NoiseModel, frames: Sequence[NDArray[Any]]) -> tuple[Region | None, str]:
    """Rows and columns that see light, and how that is known (``"header"``, ``"frames"``); None for all of a frame.

    Headers (FITS TRIMSEC, DATASEC or BIASSEC, the active area of a DNG) where all files agree; else the frames
    themselves: lines at an edge that hold the offset and the dark noise in every frame, up to a sharp step to light
    along nine tenths of the edge. A scene that is dark at its edge has no such step.

    Parameters
    ----------
    source : FrameSource
    model : NoiseModel
    frames : sequence of ndarray (height, width)
        Some of the frames.
    """
    height, width = source.shape
    stated = {file.info.header.get("exposed") for file in source.files}
    if len(stated) == 1:
        section = stated.pop()
        if isinstance(section, tuple) and section[1] <= height and section[3] <= width:
            region: Region = (section[0], section[1], section[2], section[3])
            return (None if region == (0, height, 0, width) else region), "header"
    if not frames or model.bit_depth is None:
        return None, ""
    offset, noise = _dark_level(model)
    stack = np.stack([frame.astype(np.float64) for frame in frames]) - offset
    left, right = _borders(stack, noise)
    top, bottom = _borders(stack[:, :, left : width - right].swapaxes(1, 2), noise)
    if left + right + top + bottom == 0:
        return None, ""
    return (top, height - bottom, left, width - right), "frames"


def _dark_level(model: NoiseModel) -> tuple[float, float]:
    """Offset and temporal noise of a dark pixel, DN."""
    camera = model.camera
    gain, read = float(np.mean(camera.system_gain_dn_per_e)), float(np.mean(camera.read_noise_e))
    return float(np.mean(camera.offset_dn)), float(np.sqrt((gain * read) ** 2 + 1.0 / 12.0))


def _borders(signal: FloatArray, noise: float) -> tuple[int, int]:
    """Dark columns at the left and at the right of frames (n, height, width), above the offset."""
    return _border(signal, noise), _border(signal[:, :, ::-1], noise)


def _border(signal: FloatArray, noise: float) -> int:
    n, height, width = signal.shape
    most = int(_WIDEST_SHARE * width)
    if most < _NARROWEST or width < 4 * _STEP:
        return 0
    mean = signal[:, :, : most + 2 * _STEP].mean(axis=1)
    light = float(np.median(signal))
    limit = max(_DARK_SIGMAS * noise, _DARK_SHARE * max(light, 0.0), 3 * noise / np.sqrt(height))
    spread = signal[:, :, : most + 2 * _STEP].var(axis=1)
    # A bad column may be darker than the rest of an overscan, never lighter.
    unlit = np.all((mean < limit) & (spread < _VARIANCE_RATIO * noise**2 + 1.0), axis=0)
    dark = np.all(np.abs(mean) < limit, axis=0)
    count = int(np.argmin(unlit)) if not unlit.all() else unlit.size
    if not _NARROWEST <= count <= most or float(np.mean(dark[:count])) < _DARK_LINES:
        return 0
    # The step to light, line by line: bright a few columns beyond, and about as bright as farther inside.
    near = signal[:, :, count + 1 : count + 1 + _STEP].mean(axis=(0, 2))
    far = signal[:, :, count + 1 + _STEP : count + 1 + 3 * _STEP].mean(axis=(0, 2))
    lit = near > _BRIGHT_SIGMAS * noise * max(0.5, 1.0 / np.sqrt(n * _STEP))
    sharp = float(near.mean()) > _SHARPNESS * float(far.mean())
    return count if sharp and float(np.mean(lit)) >= _BRIGHT_LINES else 0
