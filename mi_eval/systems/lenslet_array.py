"""An array of small lenses in front of a sensor: where they sit, how strong they are, how much each passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
from mi_eval.systems.spacing import least_spacing, spread_out
from mi_eval.torch_extra import Tensor, torch

_UM_PER_MM = 1e3
_UM_PER_M = 1e6
_MOST_FILLED = 0.4  # of the disc: places that keep the spacing are then found without search
_PICTURE_SIDE = 96


@dataclass(frozen=True)
class LensletArray(ImagingSystem):
    r"""Round lenslets in an opaque plate and no other lens: every point has a spot behind each of them.

    Seen by lenslet i, of diameter d, focal power :math:`\varphi_i` and centre :math:`c_i`, at distance z from the
    sensor, a point of vergence V (one over its distance) has a spot at :math:`c_i (1 + z V)`, blurred by the pupil

    .. math:: P_i(f) = \exp\left[2\pi i W_i |f|^2/f_0^2\right], \quad |f| \le f_0 = \frac{d}{2 \lambda z}, \qquad
        W_i = \frac{d^2}{8 \lambda} \left(V + \frac{1}{z} - \varphi_i\right)

    with the defocus W in waves at the rim, 0 where the lens equation holds, and the share :math:`t_i (d/D)^2` of the
    light through the open aperture D. Objects are that light, and have one plane a distance, upright and as large as
    their image behind a lenslet. Spots of different lenslets add as intensities (docs/theory/design.md derives both;
    Goodman, Introduction to Fourier Optics, sec. 6.4).

    Parameters
    ----------
    shape : (height, width)
        Of the objects, pixels.
    pitch_um : float
        Distance of pixels on the sensor.
    wavelength_um : float
    sensor_distance_mm : float
        From the array to the sensor, z.
    lenslets : int
    lenslet_diameter_mm, aperture_diameter_mm : float
        Of one lenslet, d, and of the plate that holds them all, D. No two overlap.
    largest_power_per_m : float
        Focal powers lie between 0 (a hole) and this, 1/m: one over the shortest focal length that can be made.
    vergences_per_m : tuple of float
        One over the distance of each object plane, 1/m, 0 for objects far away.
    margin_px : int
        Cut off the frames all round.
    """

    name: ClassVar[str] = "lenslet_array"
    title: ClassVar[str] = "Lensless camera with a lenslet array"
    conventional: ClassVar[str] = "hexagonal array, every lenslet open and focused at the middle depth"

    shape: tuple[int, int]
    pitch_um: float
    wavelength_um: float
    sensor_distance_mm: float
    lenslets: int
    lenslet_diameter_mm: float
    aperture_diameter_mm: float
    largest_power_per_m: float
    vergences_per_m: tuple[float, ...] = (0.0,)
    margin_px: int = 0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape, least=8)
        require_positive(
            self.name,
            pitch_um=self.pitch_um,
            wavelength_um=self.wavelength_um,
            sensor_distance_mm=self.sensor_distance_mm,
            lenslets=self.lenslets,
            lenslet_diameter_mm=self.lenslet_diameter_mm,
            aperture_diameter_mm=self.aperture_diameter_mm,
            largest_power_per_m=self.largest_power_per_m,
        )
        vergences = np.asarray(self.vergences_per_m)
        if vergences.ndim != 1 or not vergences.size or not np.all(np.isfinite(vergences)) or vergences.min() < 0:
            raise PhotonbitsError(
                f"vergences_per_m {self.vergences_per_m}", where=self.name, legal="one or more numbers, 0 or above"
            )
        cropped_shape(self.shape, self.margin_px, self.name)
        check_pupil(self.shape, self.pitch_um, self._pupil_radius_per_um, self.name)
        if self.largest_power_per_m < self._focus_per_m:
            raise PhotonbitsError(
                f"largest_power_per_m {self.largest_power_per_m:g}",
                where=self.name,
                legal=f"{self._focus_per_m:.4g} or more: one over the sensor's distance, plus the objects' vergence",
            )
        self._check_packing()
        self._check_reach()

    def _check_packing(self) -> None:
        filled = self.lenslets * (self.lenslet_diameter_mm / self.aperture_diameter_mm) ** 2
        most = 1.0 if self.lenslets == 1 else _MOST_FILLED
        if self.lenslets != int(self.lenslets) or filled > most:
            raise PhotonbitsError(
                f"{self.lenslets} lenslets of {self.lenslet_diameter_mm:g} mm in an aperture of "
                f"{self.aperture_diameter_mm:g} mm",
                where=self.name,
                legal=f"a whole number of lenslets that fill at most {most:.0%} of the aperture",
            )

    def _check_reach(self) -> None:
        """Spots, and the blur of the weakest and the strongest lenslet, must fit into the objects' field."""
        field_mm = min(self.shape) * self.pitch_um / _UM_PER_MM
        nearest = max(self._magnification)
        spread = self.aperture_diameter_mm * nearest
        if spread > field_mm:
            raise PhotonbitsError(
                f"spots {spread:.3g} mm apart on a field of {field_mm:.3g} mm",
                where=self.name,
                legal="a field as wide as the aperture seen from the nearest object, or wider",
            )
        blur = max(
            self.lenslet_diameter_mm * abs(m - self._z_m * power)
            for m in self._magnification
            for power in (0.0, self.largest_power_per_m)
        )
        if blur >= field_mm:
            raise PhotonbitsError(
                f"a blur of {blur:.3g} mm on a field of {field_mm:.3g} mm",
                where=self.name,
                legal="a smaller largest_power_per_m, or a larger field",
            )

    @property
    def _z_m(self) -> float:
        return self.sensor_distance_mm / 1e3

    @property
    def _focus_per_m(self) -> float:
        """Focal power that images the middle depth sharply."""
        return float(np.mean(self.vergences_per_m)) + 1 / self._z_m

    @property
    def _magnification(self) -> list[float]:
        """Spacing of spots over that of lenslets, 1 + z V, for every object plane."""
        return [1.0 + self._z_m * vergence for vergence in self.vergences_per_m]

    @property
    def _pupil_radius_per_um(self) -> float:
        """Largest spatial frequency that a lenslet passes as amplitude, cycles/um on the sensor."""
        return self.lenslet_diameter_mm / (2 * self.wavelength_um * self.sensor_distance_mm)

    @property
    def _waves_per_power(self) -> float:
        """Waves at the rim of a lenslet for a focal power of 1/m."""
        diameter_um = self.lenslet_diameter_mm * _UM_PER_MM
        return diameter_um**2 / (8 * self.wavelength_um * _UM_PER_M)

    @property
    def _reach_mm(self) -> float:
        """Largest distance of a lenslet's centre from the middle of the aperture."""
        return (self.aperture_diameter_mm - self.lenslet_diameter_mm) / 2

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(distances, height, width)."""
        return (len(self.vergences_per_m), *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Objects less the margin."""
        return cropped_shape(self.shape, self.margin_px, self.name)

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Centres, focal powers and transmissions."""
        n, reach, strongest = self.lenslets, self._reach_mm, self.largest_power_per_m
        pixel = 0.5 * self.pitch_um / _UM_PER_MM
        quarter_wave = min(0.25 / self._waves_per_power, 0.1 * strongest)
        return (
            ParameterSpec("centres", "mm", (n, 2), -reach, reach, pixel, "rows and columns from the aperture's middle"),
            ParameterSpec("power", "1/m", (n,), 0.0, strongest, quarter_wave, "focal power of every lenslet"),
            ParameterSpec("transmission", "1", (n,), 0.0, 1.0, 0.1, "share of light that a lenslet passes"),
        )

    def limits(self) -> tuple[Limit, ...]:
        """Number of lenslets, aperture, overlap, transmission and focal power."""
        return (
            Limit("lenslets", float(self.lenslets), "1", "number of lenslets, fixed"),
            Limit("aperture", self.aperture_diameter_mm, "mm", "diameter that holds all lenslets"),
            Limit("crowding", 1.0, "1", "diameter of a lenslet over the distance of the closest two"),
            Limit("transmission", 1.0, "1", "largest transmission of a lenslet"),
            Limit("focal_power", self.largest_power_per_m, "1/m", "largest focal power of a lenslet"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """How far out lenslets reach, how close they are, the largest transmission and power."""
        centres = parameters["centres"].detach()
        close = self.lenslet_diameter_mm / least_spacing(centres) if self.lenslets > 1 else 0.0
        return {
            "lenslets": float(self.lenslets),
            "aperture": float(2 * torch.linalg.norm(centres, dim=1).max()) + self.lenslet_diameter_mm,
            "crowding": close,
            "transmission": float(parameters["transmission"].max()),
            "focal_power": float(parameters["power"].max()),
        }

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """A focused hexagonal array, or places, powers and a share of open lenslets drawn at random."""
        n, reach = self.lenslets, self._reach_mm
        if how == "random":
            radius, angle = reach * np.sqrt(rng.random(n)), rng.uniform(0, 2 * np.pi, n)
            centres = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
            # As for masks: optima lie between one open lenslet and all, and starts should.
            transmission = rng.random(n) * (rng.random(n) < float(n) ** -rng.random())
            transmission[rng.integers(n)] = rng.random()
            power = rng.uniform(0.0, self.largest_power_per_m, n)
        else:
            centres, transmission = _hexagonal(n, reach), np.ones(n)
            power = np.full(n, self._focus_per_m)
        values = {"centres": centres, "power": power, "transmission": transmission}
        return self.project({name: torch.from_numpy(value) for name, value in values.items()})

    def project(self, parameters: Parameters) -> Parameters:
        """Powers and transmissions within bounds; lenslets pulled into the aperture and pushed apart."""
        held = super().project(parameters)
        held["centres"] = spread_out(parameters["centres"], self._reach_mm, self.lenslet_diameter_mm)
        return held

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """The gradient less what pulls a lenslet at the edge of the aperture outwards."""
        centres, slope = parameters["centres"], gradient["centres"]
        radius = torch.linalg.norm(centres, dim=1, keepdim=True)
        outward = (slope * centres).sum(dim=1, keepdim=True) / torch.clamp(radius, min=1e-300) ** 2
        at_edge = radius >= self._reach_mm * (1 - 1e-9)
        inward = slope - torch.where(at_edge, torch.clamp(outward, min=0.0) * centres, 0.0)
        return {**gradient, "centres": inward}

    def centred(self, parameters: Parameters) -> Parameters:
        """The array moved by whole pixels of the sensor, the middle of its light nearest to the middle.

        With objects at several distances spots move by different ways: then it stays as it is.
        """
        light = parameters["transmission"]
        if len(self.vergences_per_m) > 1 or float(light.sum()) <= 0:
            return parameters
        centres = parameters["centres"]
        pixel_mm = self.pitch_um / _UM_PER_MM / self._magnification[0]
        off = (light[:, None] * centres).sum(dim=0) / light.sum()
        steps = torch.round(off / pixel_mm)
        # Closed lenslets keep to the aperture as well: as much of the way as it leaves.
        for share in np.linspace(1.0, 0.0, 17):
            moved = centres - torch.round(share * steps) * pixel_mm
            if float(torch.linalg.norm(moved, dim=1).max()) <= self._reach_mm:
                return {**parameters, "centres": moved}
        return parameters

    @cached_property
    def _grid(self) -> tuple[int, float, Tensor, Tensor]:
        """Oversampling, fine pitch, amplitude of a lenslet's pupil and its frequencies (2, h, w), cycles/um."""
        every = oversampling(self.pitch_um, 2 * self._pupil_radius_per_um)
        pitch = self.pitch_um / every
        frequency = np.stack(pupil_grid((self.shape[0] * every, self.shape[1] * every), pitch))
        inside = np.hypot(*frequency) <= self._pupil_radius_per_um
        return every, pitch, torch.from_numpy(inside.astype(np.float64)), torch.from_numpy(frequency)

    def psf(self, parameters: Parameters) -> Tensor:
        """Point-spread functions (distances, height, width), origin at [0, 0], in shares of the aperture's light."""
        every, pitch, amplitude, frequency = self._grid
        square = (frequency**2).sum(dim=0) / self._pupil_radius_per_um**2
        light = parameters["transmission"] * (self.lenslet_diameter_mm / self.aperture_diameter_mm) ** 2
        planes = []
        for vergence, magnification in zip(self.vergences_per_m, self._magnification, strict=True):
            waves = self._waves_per_power * (vergence + 1 / self._z_m - parameters["power"])
            spots_um = parameters["centres"] * (magnification * _UM_PER_MM)
            tilt = torch.einsum("na,ahw->nhw", spots_um, frequency)
            phase = 2 * np.pi * (waves[:, None, None] * square - tilt)
            spots = intensity_psf(torch.polar(amplitude.expand_as(phase), phase))
            planes.append(torch.einsum("n,nhw->hw", light, spots))
        return sampled_at_pixels(torch.stack(planes), pitch, every, self.pitch_um)

    def transfer(self, parameters: Parameters) -> Tensor:
        """Fourier transform of the point-spread functions."""
        return torch.fft.fft2(self.psf(parameters))

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Images behind all lenslets, added; rounding errors below 0 are taken as 0."""
        return torch.clamp(convolve(objects, self.transfer(parameters), self.margin_px), min=0.0)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """The plate from the front, and the point-spread function at every distance."""
        shown = {
            "focal power of the lenslets (1/m)": self._plate(parameters, "power"),
            "transmission of the lenslets": self._plate(parameters, "transmission"),
        }
        for vergence, plane in zip(self.vergences_per_m, self.psf(parameters), strict=True):
            shown[f"point-spread function at {vergence:g} 1/m"] = shifted_picture(plane, min(self.shape) // 2)
        return shown

    def _plate(self, parameters: Parameters, which: str) -> FloatArray:
        """A parameter drawn over the aperture, NaN beside the lenslets."""
        axis = np.linspace(-0.5, 0.5, _PICTURE_SIDE) * self.aperture_diameter_mm
        columns, rows = np.meshgrid(axis, axis)
        plate = np.full(rows.shape, np.nan)
        for (row, column), value in zip(
            parameters["centres"].detach().numpy(), parameters[which].detach().numpy(), strict=True
        ):
            plate[np.hypot(rows - row, columns - column) <= self.lenslet_diameter_mm / 2] = value
        return plate


def _hexagonal(n: int, reach: float) -> FloatArray:
    """The ``n`` points of a hexagonal lattice nearest to its origin, centred, the outermost at ``reach``."""
    side = int(np.ceil(np.sqrt(n))) + 1
    first, second = np.meshgrid(np.arange(-side, side + 1), np.arange(-side, side + 1), indexing="ij")
    points = np.stack([first * np.sqrt(0.75), second + 0.5 * first], axis=-1).reshape(-1, 2)
    angle = np.arctan2(points[:, 1], points[:, 0])
    chosen = points[np.lexsort((angle.round(9), np.hypot(*points.T).round(9)))[:n]]
    chosen = chosen - chosen.mean(axis=0)
    farthest = float(np.hypot(*chosen.T).max())
    return np.asarray(chosen * (reach / farthest) if farthest > 0 else chosen)
