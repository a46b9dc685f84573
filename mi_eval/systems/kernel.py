"""A circular convolution whose kernel is free but for its power: the system whose optimum is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mi_eval.systems.optics import convolve
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
class CircularKernel(ImagingSystem):
    r"""Frames are objects convolved on the torus with a real kernel k of free sign, sum k^2 = power.

    With Gaussian objects of spectrum S and white noise of variance N the best transfer function is water-filling,
    :math:`|\hat k(f)|^2 = (\mu - N/S(f))_+` with mean ``power``; see `mi_eval.design.waterfilling`.

    Parameters
    ----------
    shape : (height, width)
    power : float
        Sum of squares of the kernel, dimensionless.
    """

    name: ClassVar[str] = "circular_kernel"
    title: ClassVar[str] = "Circular convolution"
    objects_are: ClassVar[Literal["light", "signed", "relative"]] = "signed"
    conventional: ClassVar[str] = "identity: every pixel sees its own point"

    shape: tuple[int, int]
    power: float

    def __post_init__(self) -> None:
        require_shape(self.name, "shape", self.shape)
        require_positive(self.name, power=self.power)

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """(1, height, width)."""
        return (1, *self.shape)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """That of the objects."""
        return self.shape

    def specs(self) -> tuple[ParameterSpec, ...]:
        """The kernel, origin at [0, 0]."""
        size = float(np.sqrt(self.power / np.prod(self.shape)))
        return (ParameterSpec("kernel", "1", self.shape, None, None, size, "kernel, origin at [0, 0]"),)

    def limits(self) -> tuple[Limit, ...]:
        """The power."""
        return (Limit("power", self.power, "1", "sum of squares of the kernel"),)

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Sum of squares."""
        return {"power": float((parameters["kernel"] ** 2).sum())}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Return the identity, or white noise."""
        kernel = np.zeros(self.shape)
        kernel[0, 0] = 1.0
        if how == "random":
            kernel = rng.standard_normal(self.shape)
        return self.project({"kernel": torch.from_numpy(kernel)})

    def project(self, parameters: Parameters) -> Parameters:
        """Scale to the power."""
        return {"kernel": self._scaled(parameters["kernel"])}

    def _scaled(self, kernel: Tensor) -> Tensor:
        return kernel * torch.sqrt(self.power / (kernel**2).sum())

    def transfer(self, parameters: Parameters) -> Tensor:
        """Fourier transform of the kernel; scaled here too, so that gradients run along the power's sphere."""
        return torch.fft.fft2(self._scaled(parameters["kernel"]))[None]

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Circular convolution."""
        return convolve(objects, self.transfer(parameters))

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """The kernel with its origin in the middle, and its transfer function."""
        kernel = parameters["kernel"].detach().numpy()
        return {
            "kernel": np.fft.fftshift(kernel),
            "transfer function (magnitude)": np.fft.fftshift(np.abs(np.fft.fft2(kernel))),
        }
