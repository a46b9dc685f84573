"""What every imaging system says about itself: its parameters, its limits, and the light it makes of objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]
Parameters = dict[str, Tensor]
Start = Literal["conventional", "random"]


@dataclass(frozen=True)
class ParameterSpec:
    """One array that a design chooses.

    Parameters
    ----------
    name, unit, meaning : str
    shape : tuple of int
    lower, upper : float or None
        Bounds of every entry; None where only a limit of the system binds.
    rate : float
        Size of a good first step, in the parameter's unit: what the optimiser's learning rate multiplies.
    """

    name: str
    unit: str
    shape: tuple[int, ...]
    lower: float | None
    upper: float | None
    rate: float
    meaning: str


@dataclass(frozen=True)
class Limit:
    """A physical limit: ``usage`` of a design is at most ``value``, both in ``unit``."""

    name: str
    value: float
    unit: str
    meaning: str


class ImagingSystem(ABC):
    """A frozen dataclass of physical constants, with a forward model that torch differentiates.

    Objects are tensors (n, planes, height, width). What they mean is ``objects_are``: ``light`` is the electrons
    that each point sends to the sensor through the open system in one exposure (0 or more); ``signed`` are any
    real numbers; ``relative`` lies between 0 and 1, and the light is a constant of the system; ``sky`` is brightness in
    Jy per cell. The frames are
    tensors (n, height, width) of light, electrons per pixel: dark charge and noise belong to the channel.

    A system is not changed: a design is a system with one value of its parameters (`SystemDesign`).
    """

    name: ClassVar[str]
    title: ClassVar[str]
    objects_are: ClassVar[Literal["light", "signed", "relative", "sky"]] = "light"
    #: Pixels that touch are no neighbours: a patch is a whole frame, which is square.
    whole_frames: ClassVar[bool] = False
    #: Frames repeat their expected pattern with this period: patches are cut at multiples of it.
    period_px: ClassVar[int] = 1
    #: The word for the starting point that people would build without an optimiser.
    conventional: ClassVar[str]

    @property
    def signed(self) -> bool:
        """Whether frames may be negative: measurements then have Gaussian noise only."""
        return self.objects_are == "signed"

    def patch_size(self, wanted: int) -> int:
        """Side of the patches that stand for a frame: the wanted one, or that of a whole frame."""
        return self.frame_shape[0] if self.whole_frames else wanted

    @property
    @abstractmethod
    def object_shape(self) -> tuple[int, int, int]:
        """(planes, height, width) of an object."""

    @property
    @abstractmethod
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) of a frame."""

    @abstractmethod
    def specs(self) -> tuple[ParameterSpec, ...]:
        """The arrays that a design chooses."""

    @abstractmethod
    def limits(self) -> tuple[Limit, ...]:
        """The physical limits that every design keeps."""

    @abstractmethod
    def usage(self, parameters: Parameters) -> dict[str, float]:
        """How much of each limit a design uses, in the limit's unit."""

    @abstractmethod
    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Parameters to begin with: the conventional design, or a random one; both keep the limits."""

    @abstractmethod
    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Light of the frames, electrons per pixel, (n, height, width), differentiable in the parameters."""

    def project(self, parameters: Parameters) -> Parameters:
        """The nearest parameters that keep bounds and limits; here the bounds alone."""
        return {
            spec.name: torch.clamp(parameters[spec.name], spec.lower, spec.upper)
            if spec.lower is not None or spec.upper is not None
            else parameters[spec.name]
            for spec in self.specs()
        }

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """The gradient less what only pushes against a limit that is used up; here the gradient itself.

        On a budget that is spent all entries want to grow, and only their differences say where it should go: without
        this the size of a step would be that of a push which the projection takes back.
        """
        return gradient

    def transfer(self, parameters: Parameters) -> Tensor | None:
        """Transfer function (planes, height, width), complex, of a system that shifts frames with objects; else None.

        Frame spectrum = sum over planes of transfer times object spectrum, before edges are cropped.
        """
        return None

    def centred(self, parameters: Parameters) -> Parameters:
        """The same optics, moved so that a frame shows the middle of the objects; here as they are.

        Where frames shift with the optics the information does not tell one place from another, and an ascent ends at
        any. What a frame shows then lies off what it was aimed at, and results that are counted there suffer.
        """
        return parameters

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Images of the optics for a report, by caption."""
        return {spec.name: _picture(parameters[spec.name]) for spec in self.specs() if len(spec.shape) == 2}

    def constants(self) -> dict[str, Any]:
        """Fields of the system as plain values; `make_system` takes them back."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def check(self, parameters: Parameters) -> None:
        """Raise PhotonbitsError unless the parameters have the declared names, shapes and finite values."""
        for spec in self.specs():
            if spec.name not in parameters:
                raise PhotonbitsError(f"a design of {self.name} without {spec.name}", legal="every declared parameter")
            value = parameters[spec.name]
            if tuple(value.shape) != spec.shape or not bool(torch.isfinite(value).all()):
                raise PhotonbitsError(
                    f"{spec.name} of shape {tuple(value.shape)}", legal=f"finite numbers of shape {spec.shape}"
                )

    def check_objects(self, objects: Tensor) -> None:
        """Raise PhotonbitsError unless objects have the system's shape and a legal range."""
        if objects.ndim != 4 or tuple(objects.shape[1:]) != self.object_shape:
            raise PhotonbitsError(
                f"objects of shape {tuple(objects.shape)}", legal=f"(n, {', '.join(map(str, self.object_shape))})"
            )
        low, high = float(objects.min()), float(objects.max())
        if self.objects_are in ("light", "relative") and low < 0:
            raise PhotonbitsError(f"objects as low as {low:g}", legal="0 or more: light cannot be negative")
        if self.objects_are == "relative" and high > 1:
            raise PhotonbitsError(f"objects up to {high:g}", legal="0 to 1")


def _picture(value: Tensor) -> FloatArray:
    return np.asarray(value.detach().numpy(), dtype=np.float64)


def require_positive(where: str, **values: float) -> None:
    """Raise PhotonbitsError unless every value is a finite number above 0."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise PhotonbitsError(f"{name} is {value}", where=where, legal="a finite number above 0")


def require_shape(where: str, name: str, shape: tuple[int, ...], least: int = 2) -> None:
    """Raise PhotonbitsError unless ``shape`` is (height, width) of whole numbers from ``least`` on."""
    if len(shape) != 2 or not all(float(side).is_integer() and side >= least for side in shape):
        raise PhotonbitsError(f"{name} is {shape}", where=where, legal=f"[height, width], each {least} or more")
