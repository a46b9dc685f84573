"""A system whose exposure is chosen with its optics: more light and more dark charge with time, up to a longest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.protocol import FloatArray, ImagingSystem, Limit, Parameters, ParameterSpec, Start
from mi_eval.torch_extra import Tensor, torch

#: Name of the parameter: log2 of the exposure over the reference. Steps are factors, as light and well ask for.
EXPOSURE = "exposure_octaves"
_RATE_OCTAVES = 0.1
_SHORTEST_SHARE = 1e-3  # of the longest exposure


@dataclass(frozen=True)
class ChosenExposure(ImagingSystem):
    r"""Another system's frames after any time t up to the longest: light goes with :math:`t/t_0`.

    Objects are light in the reference exposure :math:`t_0`. The dark charge after t is the sensor's, and is added by
    `mi_eval.design.DesignProblem.charge_e`, which finds t among the parameters.

    Parameters
    ----------
    system : ImagingSystem
        Of light or of relative objects.
    reference_exposure_s : float
        For which the light is stated; the conventional design's exposure.
    longest_exposure_s : float
    """

    name: ClassVar[str] = "chosen_exposure"

    system: ImagingSystem
    reference_exposure_s: float
    longest_exposure_s: float

    def __post_init__(self) -> None:
        if isinstance(self.system, ChosenExposure) or self.system.objects_are not in ("light", "relative"):
            raise PhotonbitsError(
                f"an exposure that is chosen with system {self.system.name}",
                legal="systems whose frames are light: others have times of their own",
            )
        reference, longest = self.reference_exposure_s, self.longest_exposure_s
        if not (np.isfinite(longest) and _SHORTEST_SHARE * longest <= reference <= longest and reference > 0):
            raise PhotonbitsError(
                f"exposure_s {reference} with longest_exposure_s {longest}",
                legal=f"an exposure above 0, {_SHORTEST_SHARE:g} to 1 times the longest",
            )
        # What the protocol declares for a class is here that of the system within.
        for key in ("title", "objects_are", "whole_frames", "period_px"):
            object.__setattr__(self, key, getattr(self.system, key))
        object.__setattr__(self, "conventional", f"{self.system.conventional}; exposed for {reference:g} s")

    @property
    def object_shape(self) -> tuple[int, int, int]:
        """That of the system within."""
        return self.system.object_shape

    @property
    def frame_shape(self) -> tuple[int, int]:
        """That of the system within."""
        return self.system.frame_shape

    def specs(self) -> tuple[ParameterSpec, ...]:
        """The system's parameters, and the exposure."""
        low, high = self._bounds
        meaning = f"log2 of the exposure over {self.reference_exposure_s:g} s"
        return (*self.system.specs(), ParameterSpec(EXPOSURE, "octaves", (), low, high, _RATE_OCTAVES, meaning))

    @property
    def _bounds(self) -> tuple[float, float]:
        high = float(np.log2(self.longest_exposure_s / self.reference_exposure_s))
        return high + float(np.log2(_SHORTEST_SHARE)), high

    def seconds(self, parameters: Parameters) -> Tensor:
        """The exposure of a design, s."""
        return self.reference_exposure_s * torch.exp2(parameters[EXPOSURE])

    def limits(self) -> tuple[Limit, ...]:
        """The system's limits, and the longest exposure."""
        return (*self.system.limits(), Limit("exposure", self.longest_exposure_s, "s", "time of one frame, chosen"))

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """The system's, and the exposure."""
        return {**self.system.usage(parameters), "exposure": float(self.seconds(parameters))}

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """The system's start with the reference exposure, or with one drawn evenly in its logarithm."""
        optics = self.system.start(how, rng)
        octaves = rng.uniform(*self._bounds) if how == "random" else 0.0
        return {**optics, EXPOSURE: torch.tensor(octaves, dtype=torch.float64)}

    def with_exposure(self, optics: Parameters) -> Parameters:
        """Parameters of the system within, with the reference exposure."""
        return {**optics, EXPOSURE: torch.tensor(0.0, dtype=torch.float64)}

    def shortened(self, parameters: Parameters, share: float) -> Parameters:
        """The same optics, exposed for a share of the time, within bounds."""
        octaves = parameters[EXPOSURE] + float(np.log2(share))
        return self.project({**parameters, EXPOSURE: octaves})

    def project(self, parameters: Parameters) -> Parameters:
        """The system's projection, and the exposure within its bounds."""
        return {**self.system.project(parameters), EXPOSURE: torch.clamp(parameters[EXPOSURE], *self._bounds)}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """The system's tangent; the exposure has a scale of its own."""
        optics = {name: slope for name, slope in gradient.items() if name != EXPOSURE}
        return {**self.system.tangent(parameters, optics), EXPOSURE: gradient[EXPOSURE]}

    def centred(self, parameters: Parameters) -> Parameters:
        """The system's, exposed as before."""
        return {**self.system.centred(parameters), EXPOSURE: parameters[EXPOSURE]}

    def _share(self, parameters: Parameters) -> Tensor:
        """Light over that of the reference exposure."""
        return torch.exp2(parameters[EXPOSURE])

    def transfer(self, parameters: Parameters) -> Tensor | None:
        """The system's, in proportion to the exposure."""
        found = self.system.transfer(parameters)
        return None if found is None else found * self._share(parameters)

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """The system's light, in proportion to the exposure."""
        return self.system.forward(objects, parameters) * self._share(parameters)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Those of the system."""
        return self.system.pictures(parameters)

    def constants(self) -> dict[str, Any]:
        """The system within by name and fields, and the exposures."""
        return {
            "system": {"name": self.system.name, **self.system.constants()},
            "reference_exposure_s": self.reference_exposure_s,
            "longest_exposure_s": self.longest_exposure_s,
        }
