"""What radio interferometers share: from antennas and sky to visibilities in units of their noise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.systems.protocol import FloatArray, ImagingSystem, require_positive, require_shape
from mi_eval.torch_extra import Tensor, torch

_BOLTZMANN_J_PER_K = 1.380649e-23
_JANSKY = 1e-26  # W m^-2 Hz^-1
_RAD_PER_ARCSEC = np.pi / 648_000


@dataclass(frozen=True, kw_only=True)
class AntennaArray(ImagingSystem):
    r"""Complex visibilities of a small field of sky, in units of their own noise.

    The baseline between two antennas, seen from the sky, has the coordinates u, v in wavelengths, and measures

    .. math:: V(u, v) = \sum_{x} I_x \exp(-2\pi i (u l_x + v m_x))

    with the brightness I of the cells (Jy per cell) at the direction cosines l, m from the middle of the grid. A
    baseline and its reverse hold conjugate values: each pair is counted once. Real and imaginary part have independent
    noise of

    .. math:: \sigma = \frac{2 k T}{\eta A \sqrt{2 \Delta\nu\, t}}

    in t seconds (Thompson, Moran and Swenson, Interferometry and Synthesis in Radio Astronomy, 3rd ed., eq. 6.50: one
    polarisation). The field is small against the primary beam, and the array is flat and on the ground.

    Frames hold :math:`V/\sigma`: all real parts, then all imaginary parts, row by row in the smallest square that takes
    them; what is left of the square holds noise alone. Pixels that touch are no neighbours, so a patch is a whole frame
    (`whole_frames`). The sensor is Gaussian noise of 1; another value says that the noise is that many times the
    equation's.

    Parameters
    ----------
    shape : (height, width)
        Cells of the sky.
    cell_arcsec, wavelength_m, largest_baseline_m : float
        A baseline that the cells undersample (more than half a turn of phase from cell to cell) is refused.
    system_temperature_k, effective_area_m2, bandwidth_hz, efficiency : float
        Of each antenna; the efficiency is the correlator's, at most 1.
    hour_angles_h : tuple of float
        When the sky is observed, in sidereal hours from the meridian: each baseline measures once at each.
    latitude_deg, declination_deg : float
        Of the array and the source. 90 and 90 (the pole) makes tracks circles, and (u, v) at hour 0 the ground plan.
    """

    objects_are: ClassVar[Literal["light", "signed", "relative", "sky"]] = "sky"
    whole_frames: ClassVar[bool] = True

    shape: tuple[int, int]
    cell_arcsec: float
    wavelength_m: float
    largest_baseline_m: float
    system_temperature_k: float
    effective_area_m2: float
    bandwidth_hz: float
    efficiency: float = 1.0
    hour_angles_h: tuple[float, ...] = (0.0,)
    latitude_deg: float = 90.0
    declination_deg: float = 90.0

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape)
        require_positive(
            self.name,
            cell_arcsec=self.cell_arcsec,
            wavelength_m=self.wavelength_m,
            largest_baseline_m=self.largest_baseline_m,
            system_temperature_k=self.system_temperature_k,
            effective_area_m2=self.effective_area_m2,
            bandwidth_hz=self.bandwidth_hz,
            efficiency=self.efficiency,
        )
        if self.efficiency > 1:
            raise PhotonbitsError(f"efficiency {self.efficiency:g}", where=self.name, legal="at most 1")
        longest = self.wavelength_m / (2 * self.cell_arcsec * _RAD_PER_ARCSEC)
        if self.largest_baseline_m > longest * (1 + 1e-9):
            raise PhotonbitsError(
                f"largest_baseline_m {self.largest_baseline_m:g}",
                where=self.name,
                legal=f"at most {longest:.6g}: sky cells of {self.cell_arcsec:g} arcsec undersample longer ones",
                remedy="Use smaller cells",
            )
        if not self.hour_angles_h or not all(np.isfinite(self.hour_angles_h)):
            raise PhotonbitsError(
                f"hour_angles_h {self.hour_angles_h}", where=self.name, legal="one or more finite numbers"
            )
        if not (abs(self.latitude_deg) <= 90 and abs(self.declination_deg) <= 90):
            raise PhotonbitsError(
                f"latitude_deg {self.latitude_deg}, declination_deg {self.declination_deg}",
                where=self.name,
                legal="-90 to 90",
            )
        hours, latitude, declination = self._angles()
        height = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(hours)
        if height.min() <= 0:
            raise PhotonbitsError(
                f"hour angle {self.hour_angles_h[int(height.argmin())]:g} h with the source below the horizon",
                where=self.name,
                legal="hour angles at which the source is up",
            )

    @property
    @abstractmethod
    def n_antennas(self) -> int:
        """Number of antennas."""

    @property
    def signed(self) -> bool:
        """Visibilities have either sign."""
        return True

    @property
    def n_visibilities(self) -> int:
        """Complex values of one observation: pairs of antennas times hour angles."""
        return self.n_antennas * (self.n_antennas - 1) // 2 * len(self.hour_angles_h)

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(1, height, width)."""
        return (1, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """The smallest square that takes real and imaginary parts."""
        side = int(np.ceil(np.sqrt(2 * self.n_visibilities)))
        return side, side

    @property
    def noise_jy_in_one_second(self) -> float:
        """Standard deviation of the real, or imaginary, part of one visibility after one second."""
        flux = 2 * _BOLTZMANN_J_PER_K * self.system_temperature_k / self.effective_area_m2 / _JANSKY
        return float(flux / (self.efficiency * np.sqrt(2 * self.bandwidth_hz)))

    @cached_property
    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first, second = np.triu_indices(self.n_antennas, 1)
        return first, second

    @cached_property
    def _cells(self) -> tuple[Tensor, Tensor]:
        """Direction cosines l and m of all cells."""
        rows, columns = np.indices(self.shape)
        angle = self.cell_arcsec * _RAD_PER_ARCSEC
        across, up = (columns - self.shape[1] // 2) * angle, (rows - self.shape[0] // 2) * angle
        return torch.from_numpy(across.ravel()), torch.from_numpy(up.ravel())

    def _angles(self) -> tuple[FloatArray, float, float]:
        hours = np.asarray(self.hour_angles_h, dtype=np.float64) * np.pi / 12
        return hours, float(np.deg2rad(self.latitude_deg)), float(np.deg2rad(self.declination_deg))

    def uv_of(self, positions_m: Tensor) -> Tensor:
        """(u, v) in wavelengths of every baseline at every hour angle, (pairs, hours, 2), of (east, north) positions.

        Thompson, Moran and Swenson, eq. 4.1 and 4.4, for antennas on one level.
        """
        first, second = self._pairs
        baseline = positions_m[second] - positions_m[first]
        hours, latitude, declination = self._angles()
        x, y = -np.sin(latitude) * baseline[:, 1:], baseline[:, :1]
        z = np.cos(latitude) * baseline[:, 1:]
        sine, cosine = torch.from_numpy(np.sin(hours)), torch.from_numpy(np.cos(hours))
        u = sine * x + cosine * y
        v = np.sin(declination) * (sine * y - cosine * x) + np.cos(declination) * z
        return torch.stack([u, v], dim=-1) / self.wavelength_m

    def visibilities(self, objects: Tensor, positions_m: Tensor) -> Tensor:
        """Expected visibilities, Jy, (n, 2, pairs * hours): real and imaginary parts."""
        uv = self.uv_of(positions_m).reshape(-1, 2)
        across, up = self._cells
        phase = 2 * np.pi * (uv[:, :1] * across + uv[:, 1:] * up)
        sky = objects[:, 0].reshape(objects.shape[0], -1)
        return torch.stack([sky @ torch.cos(phase).T, -(sky @ torch.sin(phase).T)], dim=1)

    def frames_of(self, objects: Tensor, positions_m: Tensor, seconds: Tensor | float) -> Tensor:
        """Visibilities over their noise, in squares."""
        seconds = torch.as_tensor(seconds, dtype=torch.float64)
        # Lifted by 1e-12 of a second, so that the root's gradient is finite where no time is spent.
        signal = self.visibilities(objects, positions_m) * torch.sqrt(seconds + 1e-12) / self.noise_jy_in_one_second
        side = self.frame_shape[0]
        flat = signal.reshape(objects.shape[0], -1)
        return torch.nn.functional.pad(flat, (0, side**2 - flat.shape[1])).reshape(-1, side, side)

    def plans(self, positions_m: Tensor, weights: FloatArray) -> dict[str, FloatArray]:
        """The ground plan and the (u, v) coverage, both ways round, as histograms."""
        place = positions_m.detach().numpy()
        uv = self.uv_of(positions_m.detach()).reshape(-1, 2).numpy() * self.wavelength_m
        reach = self.largest_baseline_m
        ground = _histogram(place - place.mean(axis=0), np.ones(len(place)), reach)
        coverage = _histogram(np.concatenate([uv, -uv]), np.concatenate([weights, weights]), reach)
        return {
            f"antennas on the ground, {2 * reach:g} m wide": ground,
            f"baselines seen from the source, {2 * reach:g} m wide": coverage,
        }


def _histogram(points: FloatArray, weights: FloatArray, reach: float) -> FloatArray:
    edges = np.linspace(-reach, reach, 66)
    counts = np.histogram2d(points[:, 1], points[:, 0], bins=(edges, edges), weights=weights)[0]
    return np.asarray(counts[::-1])
