"""What a design is for: a system, its objects, its sensor and its light."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.channel import Channel
from mi_eval.objects import ObjectPrior
from mi_eval.objects.prior import Part
from mi_eval.systems import ChosenExposure, ImagingSystem, SystemDesign
from mi_eval.systems.exposed import EXPOSURE
from mi_eval.systems.protocol import Parameters
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]

#: Fixes the scale of the light, whatever the seed of a run: the population has one mean.
_SCALE_SEED = 20_031
_SCALE_OBJECTS = 1024


@lru_cache(maxsize=64)
def _population(objects: ObjectPrior, shape: tuple[int, int, int]) -> tuple[float, float]:
    """Mean of a point, all planes together, and standard deviation about the mean object."""
    values = objects.sample(_SCALE_OBJECTS, shape, np.random.default_rng(_SCALE_SEED))
    return float(values.sum(axis=1).mean()), float(np.std(values - values.mean(axis=0)))


@dataclass(frozen=True)
class DesignProblem:
    """A system under a light budget, with its sensor and the objects it is for.

    Parameters
    ----------
    system : ImagingSystem
    objects : ObjectPrior
    noise_model : NoiseModel
        Kind ``gaussian`` for systems that measure signed values.
    mean_light_e : float or None
        Light budget: electrons per pixel that the mean object sends to the sensor through the open system, all planes
        together, in one exposure. Systems of relative objects have a budget of their own and take None.
    rms_e : float or None
        For signed objects: their root-mean-square value.
    mean_flux_jy : float or None
        For systems that observe the sky: total flux of the mean object.
    rms_jy : float or None
        For such systems and signed objects: their root-mean-square brightness, Jy per cell.
    full_well_e : float or None
        Charge that no pixel should exceed; by default that of the noise model, None where it has none.
    exposure_s : float
        Time of one frame, for the dark charge; 0 where it is not stated.
    longest_exposure_s : float or None
        The most that the exposure may be.
    choose_exposure : bool
        Choose the exposure with the optics, up to the longest. The light is then what is stated for ``exposure_s``, and
        goes in proportion to time; ``system`` becomes a `ChosenExposure` of the one that is given.

    Raises
    ------
    PhotonbitsError
        If the light is not stated, or system, objects and noise do not fit together.
    """

    system: ImagingSystem
    objects: ObjectPrior
    noise_model: NoiseModel
    mean_light_e: float | None = None
    rms_e: float | None = None
    mean_flux_jy: float | None = None
    rms_jy: float | None = None
    full_well_e: float | None = None
    exposure_s: float = 0.0
    longest_exposure_s: float | None = None
    choose_exposure: bool = False
    channel: Channel = field(init=False, repr=False, compare=False)
    _scale: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.noise_model.maps:
            # A design is for every place on the sensor: the averages stand for all pixels.
            object.__setattr__(self, "noise_model", replace(self.noise_model, maps=None))
        object.__setattr__(self, "channel", Channel(self.noise_model))
        self._take_exposure()
        if self.full_well_e is None:
            object.__setattr__(self, "full_well_e", None if self.system.signed else self.channel.full_well_e)
        wanted = self.system.objects_are
        if self.system.signed and not self.channel.signed:
            raise PhotonbitsError(
                f"system {self.system.name} measures signed values, noise of kind {self.channel.kind}",
                legal="kind gaussian",
            )
        budgets = {
            "mean_light_e": self.mean_light_e,
            "rms_e": self.rms_e,
            "mean_flux_jy": self.mean_flux_jy,
            "rms_jy": self.rms_jy,
        }
        of_the_sky = "rms_jy" if self.objects.signed else "mean_flux_jy"
        needed = {"light": "mean_light_e", "signed": "rms_e", "relative": None, "sky": of_the_sky}[wanted]
        for name, value in budgets.items():
            if name != needed and value is not None:
                raise PhotonbitsError(f"{name} {value:g} with system {self.system.name}", legal=f"{needed} instead")
            if name == needed and (value is None or not (np.isfinite(value) and value > 0)):
                raise PhotonbitsError(
                    f"{name} is {value}",
                    legal="a number above 0",
                    remedy="State how much light there is: a design without its light budget means nothing",
                )
        if self.objects.signed and not self.system.signed:
            raise PhotonbitsError(
                f"signed objects {self.objects.kind} with system {self.system.name}", legal="objects of light"
            )
        object.__setattr__(self, "_scale", self._find_scale())

    def _take_exposure(self) -> None:
        longest = self.longest_exposure_s
        if not (np.isfinite(self.exposure_s) and self.exposure_s >= 0):
            raise PhotonbitsError(f"exposure_s is {self.exposure_s}", legal="seconds, 0 or more")
        if longest is not None and not (np.isfinite(longest) and longest > 0 and self.exposure_s <= longest):
            raise PhotonbitsError(
                f"exposure_s {self.exposure_s:g} with longest_exposure_s {longest:g}",
                legal="an exposure up to the longest",
            )
        system = self.system
        if isinstance(system, ChosenExposure):
            stated = (system.reference_exposure_s, system.longest_exposure_s)
            if not self.choose_exposure or stated != (self.exposure_s, longest):
                raise PhotonbitsError(
                    f"a system with exposures {stated} s", legal="choose_exposure, and the same times in the problem"
                )
        elif self.choose_exposure:
            if longest is None or not self.exposure_s:
                raise PhotonbitsError(
                    "an exposure that is chosen without a limit",
                    legal="exposure_s, for which the light is stated, and longest_exposure_s",
                )
            object.__setattr__(self, "system", ChosenExposure(self.system, self.exposure_s, longest))

    def _find_scale(self) -> float:
        if self.system.objects_are == "relative":
            return 1.0
        if self.rms_e is not None:
            return self.rms_e if self.objects.signed else self.rms_e / self._population()[1]
        if self.rms_jy is not None:
            return self.rms_jy
        mean = self._population()[0]
        if not mean > 0:
            raise PhotonbitsError(f"objects {self.objects.kind} without light", legal="a mean above 0")
        if self.mean_flux_jy is not None:
            return self.mean_flux_jy / (mean * self.system.object_shape[1] * self.system.object_shape[2])
        assert self.mean_light_e is not None
        return self.mean_light_e / mean

    def _population(self) -> tuple[float, float]:
        return _population(self.objects, self.system.object_shape)

    @property
    def scale(self) -> float:
        """The system's units for one unit of the object prior: electrons, or 1 for relative objects."""
        return self._scale

    def charge_e(self, light_e: Tensor, parameters: Parameters) -> Tensor:
        """Charge of pixels, electrons, of the light of a design: photo-response and dark charge of its exposure."""
        return self.channel.charge_e(light_e, self._seconds(parameters))

    def _seconds(self, parameters: Parameters) -> Tensor | float:
        chosen = EXPOSURE in parameters
        return self.exposure_s * torch.exp2(parameters[EXPOSURE]) if chosen else self.exposure_s

    def exposure_of(self, design: SystemDesign) -> float:
        """Time of one frame of a design, s: the chosen one, or that of the problem."""
        return float(self._seconds(design.tensors()))

    def adopted(self, design: SystemDesign) -> SystemDesign:
        """A design as one of the problem's system: optics alone get the stated exposure where it is to be chosen."""
        outer = self.system
        if isinstance(outer, ChosenExposure) and design.system == outer.system:
            return SystemDesign.of(outer, outer.with_exposure(design.tensors()))
        return design

    def for_system(self, system: ImagingSystem) -> DesignProblem:
        """The same objects, light and sensor for another system."""
        if system == self.system:
            return self
        if isinstance(system, ChosenExposure):
            return replace(self, system=system, choose_exposure=True, longest_exposure_s=system.longest_exposure_s)
        return replace(self, system=system, choose_exposure=False)

    def draw(self, n: int, rng: np.random.Generator) -> Tensor:
        """Objects in the system's own units, (n, planes, height, width)."""
        return self._in_units(self.objects.sample(n, self.system.object_shape, rng))

    def draw_labelled(
        self, n: int, rng: np.random.Generator, part: Part | None = None
    ) -> tuple[Tensor, NDArray[np.int64] | None]:
        """Objects of the prior or a part of it, in the system's units, and their classes where they have any."""
        prior = self.objects if part is None else self.objects.part(part)
        values, labels = prior.sample_labelled(n, self.system.object_shape, rng)
        return self._in_units(values), labels

    def _in_units(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._scale * values))

    def known_spectrum(self) -> FloatArray | None:
        """Power spectrum of one plane of the objects, (height, width), in their units squared, where it is known."""
        relative = self.objects.spectrum(self.system.object_shape)
        return None if relative is None else self._scale**2 * relative

    @property
    def flags(self) -> tuple[tuple[str, str], ...]:
        """Limits that are missing, as (code, sentence)."""
        if self.system.signed:
            return ()
        found = []
        if self.full_well_e is None:
            text = (
                "Neither the sensor nor the limits state a full well: nothing keeps the light of this design from "
                "saturating a real sensor."
            )
            found.append(("no_full_well", text))
        if self.dark_current_e_per_s > 0 and not self.exposure_s:
            text = (
                f"The sensor has a dark current of {self.dark_current_e_per_s:.4g} e-/s, and no exposure is stated: "
                "its charge is left out."
            )
            found.append(("no_exposure", text))
        return tuple(found)

    @property
    def dark_current_e_per_s(self) -> float:
        """Of the sensor; 0 where it states none."""
        entry = self.noise_model.parameter("dark_current_e_per_s")
        return 0.0 if entry is None else float(entry.value)
