"""A microscope under an array of light-emitting diodes: which of them shine, and how brightly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.optics import budget_tangent, capped_simplex, check_pupil, pupil_grid
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


@dataclass(frozen=True)
class LedArray(ImagingSystem):
    r"""Thin transparent objects under sums of tilted plane waves, one for each diode.

    .. math:: y = \text{light} \sum_l w_l \big| F^{-1}\{P(f)\, \hat o(f - f_l)\} \big|^2, \qquad
        o = \exp(-a x + i \varphi x)

    with relative objects x in 0 to 1, of absorption a and phase :math:`\varphi` at x = 1. Diodes lie on a square grid
    of ``diodes`` x ``diodes`` illumination angles up to ``illumination_na``; those outside the objective's aperture
    give dark field (Goodman, Introduction to Fourier Optics, ch. 7; Tian et al. 2014, doi:10.1364/BOE.5.002376).

    Parameters
    ----------
    shape : (height, width)
    pixel_um : float
        Pixel size in object space; small enough for intensities, 1/(4 NA) of a wavelength.
    wavelength_um, numerical_aperture, illumination_na : float
    diodes : int
        Diodes along one side of the array.
    light_e : float
        Electrons per pixel of an empty field with all power in bright field: the light budget.
    power : float
        Share of that budget that all diodes together may use, up to 1.
    phase_rad, absorption : float
        Of an object at x = 1.
    """

    name: ClassVar[str] = "led_array"
    title: ClassVar[str] = "Microscope with LED-array illumination"
    objects_are: ClassVar[Literal["light", "signed", "relative"]] = "relative"
    conventional: ClassVar[str] = "all diodes within the objective's aperture, evenly"

    shape: tuple[int, int]
    pixel_um: float
    wavelength_um: float
    numerical_aperture: float
    illumination_na: float
    light_e: float
    power: float
    diodes: int = 7
    phase_rad: float = 1.0
    absorption: float = 0.0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape, least=8)
        require_positive(
            self.name,
            pixel_um=self.pixel_um,
            wavelength_um=self.wavelength_um,
            numerical_aperture=self.numerical_aperture,
            illumination_na=self.illumination_na,
            light_e=self.light_e,
            power=self.power,
        )
        if self.power > 1 or self.diodes < 2:
            raise PhotonbitsError(
                f"power {self.power}, diodes {self.diodes}", where=self.name, legal="power up to 1, 2 diodes or more"
            )
        if self.pixel_um > self.wavelength_um / (4 * self.numerical_aperture):
            raise PhotonbitsError(
                f"pixel_um {self.pixel_um:g}",
                where=self.name,
                legal=f"at most {self.wavelength_um / (4 * self.numerical_aperture):.4g}: intensities alias otherwise",
            )
        check_pupil(self.shape, self.pixel_um, self.numerical_aperture / self.wavelength_um, self.name)

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(1, height, width)."""
        return (1, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """That of the objects."""
        return self.shape

    @cached_property
    def _shifts(self) -> tuple[tuple[int, int], ...]:
        """Illumination angle of each diode in whole frequency samples: tilts that fit the grid."""
        axis = np.linspace(-1, 1, self.diodes) * self.illumination_na / self.wavelength_um
        steps = [np.round(axis * side * self.pixel_um).astype(int) for side in self.shape]
        return tuple((int(row), int(column)) for row in steps[0] for column in steps[1])

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Power of every diode."""
        side = (self.diodes, self.diodes)
        meaning = "share of the light budget that a diode uses"
        return (ParameterSpec("diode_power", "1", side, 0.0, self.power, self.power / self.diodes**2, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Power of all diodes, and the objective's aperture."""
        return (
            Limit("power", self.power, "1", "share of the light budget that all diodes use"),
            Limit("aperture", self.numerical_aperture, "NA", "numerical aperture, fixed"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Sum of powers; the aperture as it is."""
        return {"power": float(parameters["diode_power"].sum()), "aperture": self.numerical_aperture}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Even bright field, or powers drawn uniformly."""
        weight = rng.random(self.diodes**2) if how == "random" else self._in_bright_field().astype(np.float64)
        weight = self.power * weight / weight.sum()
        return {"diode_power": torch.from_numpy(weight.reshape(self.diodes, self.diodes))}

    def _in_bright_field(self) -> FloatArray:
        scale = np.array(self.shape) * self.pixel_um * self.numerical_aperture / self.wavelength_um
        inside = np.hypot(*(np.array(self._shifts) / scale).T) <= 1.0
        return np.asarray(inside if inside.any() else np.ones(inside.shape), dtype=np.float64)

    def project(self, parameters: Parameters) -> Parameters:
        """Nearest powers of 0 or more that add up to at most the budget."""
        power = torch.clamp(parameters["diode_power"], min=0.0)
        if float(power.sum()) > self.power:
            power = capped_simplex(power, self.power, self.power)
        return {"diode_power": power}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """Differences of worth, once the power is used up."""
        power, slope = parameters["diode_power"], gradient["diode_power"]
        if float(power.sum()) >= self.power * (1 - 1e-6):
            slope = budget_tangent(power, slope, torch.ones_like(power), self.power)
        return {"diode_power": slope}

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Intensities under each diode, added with their powers."""
        x = objects[:, 0]
        field = torch.fft.fft2(torch.polar(torch.exp(-self.absorption * x), self.phase_rad * x))
        rows, columns = pupil_grid(self.shape, self.pixel_um)
        passes = torch.from_numpy(np.hypot(rows, columns) <= self.numerical_aperture / self.wavelength_um)
        frames = torch.zeros_like(x)
        for weight, shift in zip(parameters["diode_power"].reshape(-1), self._shifts, strict=True):
            image = torch.fft.ifft2(torch.roll(field, shift, dims=(-2, -1)) * passes)
            frames = frames + weight * (image.real**2 + image.imag**2)
        return self.light_e * frames
