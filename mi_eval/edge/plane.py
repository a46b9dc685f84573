"""One colour plane of a raw frame as light: codes through the noise model's inverse response, in electrons."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from calibrate.captures import FrameReference
from calibrate.frames import describe_file, read_frame

FloatArray = NDArray[np.float64]
Slices = tuple[slice, slice]

_POSITION = re.compile(r"([01]),([01])")
PLANES_LEGAL = "R, G1, G2, B (G1: green of the red rows, also Gr; G2: of the blue rows, also Gb), or ROW,COLUMN as 0,1"
_OTHER_NAMES = {"G1": "Gr", "G2": "Gb", "GR": "Gr", "GB": "Gb", "R": "R", "B": "B"}


@dataclass(frozen=True)
class Plane:
    """Pixels of one colour of one frame.

    Parameters
    ----------
    codes : ndarray (height, width)
        As captured, DN.
    charge_e : ndarray (height, width)
        Collected charge: f^-1(z - offset) / K, over 1 + prnu where there is a map; dark charge included.
    usable : ndarray of bool (height, width)
        False at stuck and cold pixels.
    model : NoiseModel
        Scalars of this colour, without maps.
    name : str or None
        The colour or position; None for a frame without colour filters.
    pitch : int
        Sensor pixels from one pixel of the plane to the next.
    source : str
        The file's name.
    has_maps : bool
        Whether the sensor's fixed pattern was taken out.
    """

    codes: NDArray[Any]
    charge_e: FloatArray
    usable: NDArray[np.bool_]
    model: NoiseModel
    name: str | None
    pitch: int
    source: str
    has_maps: bool

    def crop(self, rows: slice, columns: slice) -> Plane:
        """The pixels of a region."""
        part = (rows, columns)
        return replace(self, codes=self.codes[part], charge_e=self.charge_e[part], usable=self.usable[part])

    def turned(self) -> Plane:
        """Rows and columns exchanged."""
        return replace(self, codes=self.codes.T, charge_e=self.charge_e.T, usable=self.usable.T)

    def mirrored(self) -> Plane:
        """Left and right exchanged."""
        part = (slice(None), slice(None, None, -1))
        return replace(self, codes=self.codes[part], charge_e=self.charge_e[part], usable=self.usable[part])


def read_edge_frame(path: str | Path) -> tuple[NDArray[Any], str]:
    """The one frame of a file, (height, width), and the file's name.

    Raises
    ------
    PhotonbitsError
        If the file cannot be read, is in colour, or holds several frames.
    """
    path = Path(path)
    if path.is_dir():
        raise PhotonbitsError(f"{path} is a folder", legal="one raw frame of a slanted edge")
    info = describe_file(path)
    if info.n_frames != 1:
        raise PhotonbitsError(
            f"{info.n_frames} frames", where=path, legal="one frame", remedy="Write the frame to a file of its own"
        )
    return read_frame(FrameReference(path)), path.name


def edge_plane(frame: NDArray[Any], model: NoiseModel, plane: str | None, source: str = "frame") -> Plane:
    """One colour plane as light.

    Parameters
    ----------
    frame : ndarray (height, width)
    model : NoiseModel
    plane : str or None
        See `PLANES_LEGAL`; None for a sensor without colour filters.
    source : str
        What to call the frame in messages.

    Raises
    ------
    PhotonbitsError
        For colour frames, codes that the model cannot have, a plane that the sensor lacks, or none where it has
        several.
    """
    frame = np.asarray(frame)
    if frame.ndim != 2 or frame.size == 0:
        raise PhotonbitsError(
            f"frame of shape {frame.shape}",
            where=source,
            legal="one raw plane, (height, width)",
            remedy="Measure raw data: developed colour images have another noise and another sharpness",
        )
    _check_codes(frame, model, source)
    name, index, channel = _find_plane(model, plane, frame.shape)
    whole = model.map_shape
    if whole is not None and whole != frame.shape:
        raise PhotonbitsError(
            f"frame of shape {frame.shape} with maps of shape {whole}",
            where=source,
            legal="a frame of the calibrated size",
            remedy="Use the read-out window of the calibration, or a noise model without maps",
        )
    own = model if channel is None else model.channel(channel, maps=True)
    cut: Slices = index if channel is None else (slice(None), slice(None))
    codes = frame[index]
    camera = own.camera
    maps = {key: array[cut] for key, array in own.readout_maps.items()} if own.maps else {}
    offset = maps.get("offset_dn", camera.offset_dn)
    gain = maps.get("system_gain_dn_per_e", camera.system_gain_dn_per_e)
    charge = camera.response.inverse(codes.astype(np.float64) - offset) / gain
    prnu = (own.maps or {}).get("prnu")
    if prnu is not None:
        charge = charge / np.maximum(1.0 + prnu[cut], 0.05)
    stuck = own.unusable_pixels
    usable = np.isfinite(charge)
    if stuck is not None:
        usable &= ~stuck[cut]
    scalar = replace(own, maps=None) if channel is not None or own.channel_layout is None else own.with_parameters()
    step = 1 if index == (slice(None), slice(None)) else int(index[0].step)
    return Plane(codes, charge, usable, scalar, name, step, source, bool(maps) or prnu is not None)


def _check_codes(frame: NDArray[Any], model: NoiseModel, source: str) -> None:
    integer = np.issubdtype(frame.dtype, np.integer)
    if not integer and not np.all(np.isfinite(frame)):
        raise PhotonbitsError("pixels are NaN or infinite", where=source, legal="finite numbers")
    if model.bit_depth is None:
        return
    if not integer:
        raise PhotonbitsError(
            f"a frame of type {frame.dtype} with a {model.bit_depth}-bit noise model",
            where=source,
            legal="integer codes as the camera gave them",
            remedy="Measure the raw frame: dark-subtracted, scaled or averaged ones have another noise",
        )
    low, high = model.camera.black_clip_dn, model.camera.white_clip_dn
    if int(frame.min()) < low or int(frame.max()) > high:
        raise PhotonbitsError(
            f"codes from {int(frame.min())} to {int(frame.max())}",
            where=source,
            legal=f"{low} to {high}, the noise model's range",
            remedy="Use the noise model of this camera and setting",
        )


def _find_plane(model: NoiseModel, plane: str | None, shape: tuple[int, ...]) -> tuple[str | None, Slices, str | None]:
    """Name of the plane, where its pixels lie, and the model's channel for it."""
    layout = model.channel_layout
    pattern = model.document.sensor.cfa
    everything = (slice(None), slice(None))
    if layout is not None:
        layout.check_shape(shape)
        pattern = layout.pattern or pattern
        if layout.kind != "cfa":
            raise PhotonbitsError(
                f"a noise model with {layout.words}",
                where=model.path,
                legal="a model of one read-out channel, or of colour filters",
                remedy="Save one channel's model and cut the frame to its pixels",
            )
    if plane is None:
        if pattern:
            raise PhotonbitsError(
                f"a sensor with colour filters ({pattern}) and no plane chosen",
                legal=PLANES_LEGAL,
                remedy="Add --plane G1, for example",
            )
        return None, everything, None
    position = _POSITION.fullmatch(plane.replace(" ", ""))
    if position is not None:
        row, column = int(position[1]), int(position[2])
        name = f"{row},{column}"
    else:
        colour = _OTHER_NAMES.get(plane.upper())
        if colour is None:
            raise PhotonbitsError(f"plane {plane!r}", legal=PLANES_LEGAL)
        if not pattern:
            raise PhotonbitsError(
                f"plane {plane} of a sensor whose colour filters are not known",
                where=model.path,
                legal="a position in the mosaic, ROW,COLUMN",
                remedy="Give the plane as 0,0 or 0,1 or 1,0 or 1,1",
            )
        row, column = _place(pattern.upper(), colour)
        name = {"Gr": "G1", "Gb": "G2"}.get(colour, colour)
    index = (slice(row, None, 2), slice(column, None, 2))
    channel = None
    if layout is not None:
        found = [key for key, section in layout.sections.items() if section.index == index]
        channel = found[0] if found else None
    return name, index, channel


def _place(pattern: str, colour: str) -> tuple[int, int]:
    """Row and column of a colour in a 2 x 2 pattern; Gr is the green beside red."""
    if len(pattern) == 4:
        for position, letter in enumerate(pattern):
            row, column = divmod(position, 2)
            beside = pattern[2 * row + 1 - column]
            if (letter if letter != "G" else f"G{beside.lower()}") == colour:
                return row, column
    raise PhotonbitsError(
        f"plane {colour} of a {pattern} mosaic", legal="a Bayer pattern, or a position ROW,COLUMN of one plane"
    )
