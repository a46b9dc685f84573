"""Magnetic resonance imaging: how the scan time is spent over k-space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.optics import budget_tangent, capped_simplex, convolve
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
class KSpaceSampling(ImagingSystem):
    r"""Complex Gaussian k-space samples of a real image, with the scan time spread over locations.

    A location k read for the time :math:`t_k` (1 is one reading) has noise of variance :math:`\sigma^2/t_k`, so that
    :math:`\sqrt{t_k}` times the mean of its readings has unit noise whatever the time. A real image has conjugate
    samples at k and -k: reading one reads both, so time is counted once for the pair, and so is the information.
    Frames are the inverse Fourier transform of the whitened samples, :math:`F^{-1} \sqrt{t} F x`: a real image with
    white noise that holds exactly the information of the samples, 0 at locations never read.

    Coils are taken as pre-whitened and combined into one channel.

    Parameters
    ----------
    shape : (height, width)
        Rows are phase-encoded.
    scan_time : float
        Total time in readings: one for each independent location read once.
    longest_time : float
        Most time at one location, in readings.
    by_lines : bool
        Whole phase-encoded lines get one time, as Cartesian scans do.
    data : {"complex"}
        Magnitude images are refused: their noise is Rician, and phase and conjugate symmetry are lost.
    """

    name: ClassVar[str] = "kspace"
    title: ClassVar[str] = "k-space sampling"
    objects_are: ClassVar[Literal["light", "signed", "relative"]] = "signed"
    conventional: ClassVar[str] = "the same time at every location"

    shape: tuple[int, int]
    scan_time: float
    longest_time: float
    by_lines: bool = False
    data: str = "complex"

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape)
        require_positive(self.name, scan_time=self.scan_time, longest_time=self.longest_time)
        if self.data != "complex":
            raise PhotonbitsError(
                f"data {self.data!r}",
                where=self.name,
                legal="complex",
                remedy="Magnitude images have Rician noise and no phase: export the complex samples",
            )
        if self.scan_time > self.longest_time * float(self._counts().sum()):
            raise PhotonbitsError(
                f"scan_time {self.scan_time:g}",
                where=self.name,
                legal=f"at most {self.longest_time * float(self._counts().sum()):g}, longest_time everywhere",
            )

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(1, height, width)."""
        return (1, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """That of the objects."""
        return self.shape

    @property
    def independent_locations(self) -> int:
        """Locations of k-space with conjugate pairs counted once."""
        height, width = self.shape
        itself = (1 if height % 2 else 2) * (1 if width % 2 else 2)
        return (height * width + itself) // 2

    def _counts(self) -> FloatArray:
        """Independent locations that each entry of the parameter stands for, halves for each of a pair."""
        height, width = self.shape
        rows, columns = np.arange(height), np.arange(width)
        own = np.logical_and.outer((2 * rows) % height == 0, (2 * columns) % width == 0)
        count = np.where(own, 1.0, 0.5)
        return count.sum(axis=1) if self.by_lines else count

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Time at every location, or line, in readings; FFT order."""
        shape = (self.shape[0],) if self.by_lines else self.shape
        meaning = "time at a location of k-space, FFT order, in readings"
        rate = 0.2 * min(self.scan_time / float(self._counts().sum()), self.longest_time)
        return (ParameterSpec("time", "readings", shape, 0.0, self.longest_time, rate, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Total scan time, and the longest at one location."""
        return (
            Limit("scan_time", self.scan_time, "readings", "total time, conjugate pairs counted once"),
            Limit("longest_time", self.longest_time, "readings", "time at one location"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Total and longest time."""
        time = parameters["time"].detach().numpy()
        return {"scan_time": float((self._counts() * time).sum()), "longest_time": float(time.max())}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Even time, or times drawn uniformly."""
        shape = self.specs()[0].shape
        time = np.full(shape, self.scan_time / float(self._counts().sum()))
        if how == "random":
            time = rng.random(shape) * 2 * time
        return self.project({"time": torch.from_numpy(time)})

    def project(self, parameters: Parameters) -> Parameters:
        """Nearest times that are equal at k and -k, within 0 and the longest, and add up to the scan time."""
        time = _symmetric(parameters["time"])
        counts = torch.from_numpy(self._counts())
        return {"time": _symmetric(capped_simplex(time, self.scan_time, self.longest_time, counts))}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """Differences of worth per reading, symmetric."""
        prices = torch.from_numpy(self._counts())
        found = budget_tangent(parameters["time"], _symmetric(gradient["time"]), prices, self.longest_time)
        return {"time": found}

    def _time(self, parameters: Parameters) -> Tensor:
        time = _symmetric(parameters["time"])
        return time[:, None].expand(self.shape) if self.by_lines else time

    def transfer(self, parameters: Parameters) -> Tensor:
        """Square root of the time, which is lifted by 1e-12 so that its gradient is finite where it is 0."""
        time = self._time(parameters)
        return torch.sqrt(time + 1e-12).to(torch.complex128)[None]

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Whitened images."""
        return convolve(objects, self.transfer(parameters))

    def samples(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Whitened k-space samples, (n, 2, height, width): real and imaginary part, unitary transform, FFT order.

        Each has the noise variance of the channel over 2 in either part, except at the locations that are their own
        conjugates; samples at -k repeat those at k.
        """
        spectrum = torch.fft.fft2(objects[:, 0], norm="ortho") * self.transfer(parameters)[0]
        return torch.stack([spectrum.real, spectrum.imag], dim=1)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Times with k = 0 in the middle."""
        return {"time over k-space (readings)": np.fft.fftshift(self._time(parameters).detach().numpy())}


def _symmetric(time: Tensor) -> Tensor:
    """Mean of the times at k and -k."""
    axes = tuple(range(time.ndim))
    return 0.5 * (time + torch.roll(torch.flip(time, axes), (1,) * time.ndim, axes))
