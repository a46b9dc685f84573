"""A lens: aperture, focus and pixel size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.optics import (
    check_pupil,
    convolve,
    cropped_shape,
    intensity_psf,
    oversampling,
    pupil_grid,
    sampled_at_pixels,
    shifted_picture,
)
from mi_eval.systems.protocol import (
    FloatArray,
    ImagingSystem,
    Limit,
    Parameters,
    ParameterSpec,
    Start,
    require_positive,
    require_shape,
)
from mi_eval.torch_extra import Tensor, torch

_SMALLEST_SHARE = 0.1  # of the largest aperture and of the pitch: below, the model of scalar optics says little


@dataclass(frozen=True)
class Lens(ImagingSystem):
    r"""Incoherent imaging through a round pupil with defocus, onto square pixels.

    The pupil function is :math:`A(\rho) \exp(2\pi i W \rho^2)` with radius :math:`\rho \le d/D`; W is the defocus at
    the rim of the full aperture: the object's depth plus the focus setting. Light goes with the pupil's area
    and the pixel's, so objects are the light through the full aperture on pixels that fill their pitch (Goodman,
    Introduction to Fourier Optics, ch. 6).

    Parameters
    ----------
    shape : (height, width)
        Of the objects, pixels.
    pitch_um : float
        Distance of pixels on the sensor.
    wavelength_um, focal_length_mm : float
    largest_diameter_mm : float
        The aperture's physical limit D.
    largest_defocus_waves : float
        Range of the focus setting, waves at the rim of the full aperture.
    depths_waves : tuple of float
        Defocus of each object plane, in the same unit; objects have as many planes, each an image of its own.
    margin_px : int
        Cut off the frames all round.
    """

    name: ClassVar[str] = "lens"
    title: ClassVar[str] = "Lens with aperture, focus and pixel size"
    conventional: ClassVar[str] = "wide open, focused, pixels as large as their pitch"

    shape: tuple[int, int]
    pitch_um: float
    wavelength_um: float
    focal_length_mm: float
    largest_diameter_mm: float
    largest_defocus_waves: float = 2.0
    depths_waves: tuple[float, ...] = (0.0,)
    margin_px: int = 0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape, least=8)
        require_positive(
            self.name,
            pitch_um=self.pitch_um,
            wavelength_um=self.wavelength_um,
            focal_length_mm=self.focal_length_mm,
            largest_diameter_mm=self.largest_diameter_mm,
            largest_defocus_waves=self.largest_defocus_waves,
        )
        if not self.depths_waves or not np.all(np.isfinite(self.depths_waves)):
            raise PhotonbitsError(f"depths_waves {self.depths_waves}", where=self.name, legal="one or more numbers")
        cropped_shape(self.shape, self.margin_px, self.name)
        check_pupil(self.shape, self.pitch_um, self._pupil_radius_per_um, self.name)

    @property
    def _pupil_radius_per_um(self) -> float:
        """Largest spatial frequency that the full aperture passes as amplitude, cycles/um on the sensor."""
        return self.largest_diameter_mm / (2 * self.wavelength_um * self.focal_length_mm)

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(depths, height, width)."""
        return (len(self.depths_waves), *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Objects less the margin."""
        return cropped_shape(self.shape, self.margin_px, self.name)

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Diameter, focus setting and pixel size."""
        widest, pitch, focus = self.largest_diameter_mm, self.pitch_um, self.largest_defocus_waves
        smallest = _SMALLEST_SHARE
        return (
            ParameterSpec("diameter_mm", "mm", (), smallest * widest, widest, 0.05 * widest, "aperture"),
            ParameterSpec("focus_waves", "waves", (), -focus, focus, 0.1, "defocus at the rim of the full aperture"),
            ParameterSpec("pixel_size_um", "um", (), smallest * pitch, pitch, 0.05 * pitch, "side of the active area"),
        )

    def limits(self) -> tuple[Limit, ...]:
        """Aperture and pixel."""
        return (
            Limit("aperture", self.largest_diameter_mm, "mm", "diameter"),
            Limit("pixel", self.pitch_um, "um", "side of the active area"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Diameter and pixel size."""
        return {"aperture": float(parameters["diameter_mm"]), "pixel": float(parameters["pixel_size_um"])}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Wide open and in focus for the middle depth, or anything within the bounds."""
        if how == "random":
            values = {spec.name: float(rng.uniform(_number(spec.lower), _number(spec.upper))) for spec in self.specs()}
        else:
            focus = -float(np.mean(self.depths_waves))
            values = {
                "diameter_mm": self.largest_diameter_mm,
                "focus_waves": focus,
                "pixel_size_um": self.pitch_um,
            }
        return self.project({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})

    def psf(self, parameters: Parameters) -> Tensor:
        """Point-spread functions (depths, height, width), origin at [0, 0], in shares of the full aperture's light."""
        every = oversampling(self.pitch_um, 2 * self._pupil_radius_per_um)
        fine_pitch = self.pitch_um / every
        fine = (self.shape[0] * every, self.shape[1] * every)
        rows, columns = pupil_grid(fine, fine_pitch)
        radius = torch.from_numpy(np.hypot(rows, columns) / self._pupil_radius_per_um)
        opening = parameters["diameter_mm"] / self.largest_diameter_mm
        # A rim as soft as the frequency grid is coarse: a sharp one would move in steps, without a gradient.
        edge = 0.5 / (min(self.shape) * self.pitch_um * self._pupil_radius_per_um)
        amplitude = torch.sigmoid((opening - radius) / edge * 2.0)
        waves = torch.tensor(self.depths_waves, dtype=torch.float64) + parameters["focus_waves"]
        phase = 2 * np.pi * waves[:, None, None] * radius**2
        psf = intensity_psf(torch.polar(amplitude.expand_as(phase), phase))
        pixel = parameters["pixel_size_um"]
        light = opening**2 * (pixel / self.pitch_um) ** 2
        return light * sampled_at_pixels(psf, fine_pitch, every, pixel)

    def transfer(self, parameters: Parameters) -> Tensor:
        """Fourier transform of the point-spread functions."""
        return torch.fft.fft2(self.psf(parameters))

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Blurred images of all planes, added; rounding errors below 0 are taken as 0."""
        return torch.clamp(convolve(objects, self.transfer(parameters), self.margin_px), min=0.0)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Point-spread functions."""
        psf = self.psf(parameters)
        return {
            f"point-spread function at {depth:g} waves": shifted_picture(plane)
            for depth, plane in zip(self.depths_waves, psf, strict=True)
        }


def _number(bound: float | None) -> float:
    assert bound is not None
    return bound
