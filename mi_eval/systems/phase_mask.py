"""A phase mask in the pupil: point-spread-function engineering for fluorescence."""

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
from mi_eval.systems.zernike import zernike
from mi_eval.torch_extra import Tensor, torch

_FIRST_MODE = 4  # piston does nothing; tip and tilt only shift the frame


@dataclass(frozen=True)
class PhaseMask(ImagingSystem):
    r"""Fluorescent objects in several depths through one pupil with a mask of Zernike modes.

    .. math:: P(f) = \exp 2\pi i \Big[ \sum_j c_j Z_j(f) + z \sqrt{(n/\lambda)^2 - f^2} \Big], \qquad |f| \le NA/\lambda

    The mask moves light, and passes ``transmission`` of it; objects are the light through the bare pupil. Scalar
    optics: polarisation matters above NA 0.9 or so. Lengths are in object space.

    Parameters
    ----------
    shape : (height, width)
        Of the objects, pixels.
    pixel_um : float
        Pixel size in object space: that of the camera over the magnification.
    wavelength_um, numerical_aperture : float
    largest_phase_waves : float
        Root-mean-square phase that the mask may have.
    modes : int
        Number of Zernike modes, from Noll's 4 (defocus) on.
    depths_um : tuple of float
        Distance of each object plane from focus; objects have as many planes.
    refractive_index : float
    transmission : float
        Of the mask, up to 1.
    margin_px : int
        Cut off the frames all round.
    """

    name: ClassVar[str] = "phase_mask"
    title: ClassVar[str] = "Fluorescence microscope with a phase mask"
    conventional: ClassVar[str] = "clear pupil, focused at depth 0"

    shape: tuple[int, int]
    pixel_um: float
    wavelength_um: float
    numerical_aperture: float
    largest_phase_waves: float
    modes: int = 12
    depths_um: tuple[float, ...] = (0.0,)
    refractive_index: float = 1.33
    transmission: float = 1.0
    margin_px: int = 0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape, least=8)
        require_positive(
            self.name,
            pixel_um=self.pixel_um,
            wavelength_um=self.wavelength_um,
            numerical_aperture=self.numerical_aperture,
            largest_phase_waves=self.largest_phase_waves,
            refractive_index=self.refractive_index,
        )
        if self.numerical_aperture >= self.refractive_index:
            raise PhotonbitsError(
                f"numerical_aperture {self.numerical_aperture}",
                where=self.name,
                legal=f"below the refractive index, {self.refractive_index}",
            )
        if not 0 < self.transmission <= 1:
            raise PhotonbitsError(f"transmission {self.transmission}", where=self.name, legal="above 0, up to 1")
        if self.modes < 1 or not self.depths_um:
            raise PhotonbitsError("no modes or no depths", where=self.name, legal="one or more of each")
        cropped_shape(self.shape, self.margin_px, self.name)
        check_pupil(self.shape, self.pixel_um, self._pupil_radius_per_um, self.name)

    @property
    def _pupil_radius_per_um(self) -> float:
        return self.numerical_aperture / self.wavelength_um

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(depths, height, width)."""
        return (len(self.depths_um), *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Objects less the margin."""
        return cropped_shape(self.shape, self.margin_px, self.name)

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Zernike coefficients."""
        last = _FIRST_MODE + self.modes - 1
        meaning = f"Zernike coefficients, Noll {_FIRST_MODE} to {last}, root mean square"
        return (ParameterSpec("zernike_waves", "waves", (self.modes,), None, None, 0.02, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Phase of the mask, aperture and transmission; the last two are constants."""
        return (
            Limit("phase", self.largest_phase_waves, "waves", "root-mean-square phase of the mask"),
            Limit("aperture", self.numerical_aperture, "NA", "numerical aperture, fixed"),
            Limit("transmission", 1.0, "1", "share of light that the mask passes, fixed"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Phase used; aperture and transmission as they are."""
        return {
            "phase": float(torch.sqrt((parameters["zernike_waves"] ** 2).sum())),
            "aperture": self.numerical_aperture,
            "transmission": self.transmission,
        }

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """No phase, or a random mask of half the largest phase."""
        waves = np.zeros(self.modes)
        if how == "random":
            waves = rng.standard_normal(self.modes)
            waves *= 0.5 * self.largest_phase_waves / np.sqrt(np.sum(waves**2))
        return {"zernike_waves": torch.from_numpy(waves)}

    def project(self, parameters: Parameters) -> Parameters:
        """Shrink to the largest phase."""
        waves = parameters["zernike_waves"]
        size = torch.sqrt((waves**2).sum())
        return {"zernike_waves": waves * torch.clamp(self.largest_phase_waves / torch.clamp(size, min=1e-12), max=1.0)}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """Along the sphere of the largest phase, once it is reached and the gradient points outwards."""
        waves, slope = parameters["zernike_waves"], gradient["zernike_waves"]
        square, along = (waves**2).sum(), (waves * slope).sum()
        if float(square) >= self.largest_phase_waves**2 * (1 - 1e-6) and float(along) > 0:
            slope = slope - waves * along / square
        return {"zernike_waves": slope}

    def _grid(self) -> tuple[int, float, FloatArray, FloatArray]:
        """Oversampling, fine pitch, and normalised radius and angle of the pupil's frequencies."""
        every = oversampling(self.pixel_um, 2 * self._pupil_radius_per_um)
        pitch = self.pixel_um / every
        rows, columns = pupil_grid((self.shape[0] * every, self.shape[1] * every), pitch)
        return every, pitch, np.hypot(rows, columns) / self._pupil_radius_per_um, np.arctan2(rows, columns)

    def psf(self, parameters: Parameters) -> Tensor:
        """Point-spread functions (depths, height, width), origin at [0, 0]; each sums to the transmission."""
        every, pitch, radius, angle = self._grid()
        inside = radius <= 1.0
        modes = np.stack([zernike(_FIRST_MODE + j, radius[inside], angle[inside]) for j in range(self.modes)])
        waves = parameters["zernike_waves"] @ torch.from_numpy(modes)
        axial = np.sqrt(
            (self.refractive_index / self.wavelength_um) ** 2 - (radius[inside] * self._pupil_radius_per_um) ** 2
        )
        depth = torch.from_numpy(np.multiply.outer(self.depths_um, axial - axial.mean()))
        phase = 2 * np.pi * (waves + depth)
        pupil = torch.zeros((len(self.depths_um), *radius.shape), dtype=torch.complex128)
        at = torch.from_numpy(np.flatnonzero(inside))
        pupil = pupil.reshape(len(self.depths_um), -1).index_copy(1, at, torch.polar(torch.ones_like(phase), phase))
        psf = intensity_psf(pupil.reshape(-1, *radius.shape))
        return self.transmission * sampled_at_pixels(psf, pitch, every, self.pixel_um)

    def transfer(self, parameters: Parameters) -> Tensor:
        """Fourier transform of the point-spread functions."""
        return torch.fft.fft2(self.psf(parameters))

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Images of all depths, added; rounding errors below 0 are taken as 0."""
        return torch.clamp(convolve(objects, self.transfer(parameters), self.margin_px), min=0.0)

    def mask_waves(self, parameters: Parameters, side: int = 64) -> FloatArray:
        """Phase of the mask over the pupil, waves, (side, side); NaN outside."""
        axis = np.linspace(-1, 1, side)
        columns, rows = np.meshgrid(axis, axis)
        radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
        waves = parameters["zernike_waves"].detach().numpy()
        phase = sum(value * zernike(_FIRST_MODE + j, radius, angle) for j, value in enumerate(waves))
        return np.where(radius <= 1, phase, np.nan)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """The mask, and the point-spread function at every depth."""
        shown = {"phase of the mask (waves)": self.mask_waves(parameters)}
        for depth, plane in zip(self.depths_um, self.psf(parameters), strict=True):
            shown[f"point-spread function at {depth:g} um"] = shifted_picture(plane)
        return shown
