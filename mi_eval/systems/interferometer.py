"""Radio interferometers: where the antennas stand, or how observing time is spent over baselines of given stations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.systems.antenna_array import AntennaArray
from mi_eval.systems.optics import budget_tangent, capped_simplex
from mi_eval.systems.protocol import FloatArray, Limit, Parameters, ParameterSpec, Start, require_positive
from mi_eval.systems.spacing import least_spacing, spread_out
from mi_eval.torch_extra import Tensor, torch

#: Distance along an arm of a Y goes as (k/n)^1.716 for its k-th antenna (the Very Large Array's).
_ARM_POWER = 1.716


@dataclass(frozen=True, kw_only=True)
class Interferometer(AntennaArray):
    """Where to put the antennas of an array.

    The information is a smooth function of the positions, through (u, v), with many local optima. Two antennas in one
    place would measure the flux over and over: ``closest_spacing_m`` (a dish's diameter, or more) is kept.

    Parameters
    ----------
    antennas : int
    largest_baseline_m : float
        Positions lie in a disc of this diameter.
    closest_spacing_m : float
        Least distance between two antennas, on the ground.
    integration_s : float
        On every baseline at every hour angle.
    """

    name: ClassVar[str] = "interferometer"
    title: ClassVar[str] = "radio interferometer"
    conventional: ClassVar[str] = "a Y of three arms"

    antennas: int
    closest_spacing_m: float
    integration_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.name, closest_spacing_m=self.closest_spacing_m, integration_s=self.integration_s)
        if self.antennas < 2:
            raise PhotonbitsError(f"{self.antennas} antennas", where=self.name, legal="2 or more")
        # Discs of the spacing's diameter must fit into the field; a share of 0.4 is found without search.
        share = self.antennas * (self.closest_spacing_m / (self.largest_baseline_m + self.closest_spacing_m)) ** 2
        if share > 0.4:
            raise PhotonbitsError(
                f"{self.antennas} antennas {self.closest_spacing_m:g} m apart within {self.largest_baseline_m:g} m",
                where=self.name,
                legal="antennas that fill at most 40 % of the field",
            )

    @property
    def n_antennas(self) -> int:
        """As stated."""
        return self.antennas

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Positions on the ground."""
        reach = self.largest_baseline_m / 2
        meaning = "east and north of the middle of the field"
        return (ParameterSpec("positions", "m", (self.antennas, 2), -reach, reach, 0.06 * reach, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Number of antennas, largest baseline, spacing and observing time."""
        return (
            Limit("antennas", float(self.antennas), "1", "number of antennas, fixed"),
            Limit("largest_baseline", self.largest_baseline_m, "m", "distance of the antennas that lie farthest apart"),
            Limit("crowding", 1.0, "1", f"{self.closest_spacing_m:g} m over the distance of the closest antennas"),
            Limit("observing_time", self._seconds, "s", "time on every baseline, all hour angles, fixed"),
        )

    @property
    def _seconds(self) -> float:
        return self.integration_s * len(self.hour_angles_h)

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Distances of the farthest and the closest pair."""
        place = parameters["positions"].detach()
        return {
            "antennas": float(self.antennas),
            "largest_baseline": float(torch.pdist(place).max()),
            "crowding": self.closest_spacing_m / least_spacing(place),
            "observing_time": self._seconds,
        }

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """A Y of three arms, or places drawn evenly from the field."""
        reach = self.largest_baseline_m / 2
        if how == "random":
            radius, angle = reach * np.sqrt(rng.random(self.antennas)), rng.uniform(0, 2 * np.pi, self.antennas)
        else:
            number = np.arange(self.antennas)
            radius = reach * ((number // 3 + 1) / np.ceil(self.antennas / 3)) ** _ARM_POWER
            angle = np.deg2rad(90 + 120 * (number % 3))
        place = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return self.project({"positions": torch.from_numpy(place)})

    def project(self, parameters: Parameters) -> Parameters:
        """Positions pulled into the field and pushed apart, pair by pair, as little as it takes."""
        reach = self.largest_baseline_m / 2
        return {"positions": spread_out(parameters["positions"], reach, self.closest_spacing_m)}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """The gradient less what pulls an antenna on the edge of the field outwards."""
        place, slope = parameters["positions"], gradient["positions"]
        radius = torch.linalg.norm(place, dim=1, keepdim=True)
        outward = (slope * place).sum(dim=1, keepdim=True) / torch.clamp(radius, min=1e-300) ** 2
        at_edge = radius >= self.largest_baseline_m / 2 * (1 - 1e-9)
        return {"positions": slope - torch.where(at_edge, torch.clamp(outward, min=0.0) * place, 0.0)}

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Visibilities over their noise."""
        return self.frames_of(objects, parameters["positions"], self.integration_s)

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Antennas and (u, v) coverage."""
        return self.plans(parameters["positions"], np.ones(self.n_visibilities))


@dataclass(frozen=True, kw_only=True)
class InterferometerSchedule(AntennaArray):
    """How correlator time is spent over baselines and hour angles of stations that stand where they stand.

    The Gaussian surrogate is a concave function of the times: it has one optimum.

    Parameters
    ----------
    stations_m : tuple of (east, north)
    baseline_time_s : float
        Total over all baselines and hour angles.
    longest_time_s : float
        Most for one baseline at one hour angle.
    """

    name: ClassVar[str] = "interferometer_schedule"
    title: ClassVar[str] = "schedule of a radio interferometer"
    conventional: ClassVar[str] = "the same time on every baseline"

    stations_m: tuple[tuple[float, float], ...]
    baseline_time_s: float
    longest_time_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self.name, baseline_time_s=self.baseline_time_s, longest_time_s=self.longest_time_s)
        place = np.asarray(self.stations_m, dtype=np.float64)
        if place.ndim != 2 or place.shape[1] != 2 or len(place) < 2 or not np.isfinite(place).all():
            raise PhotonbitsError(
                f"stations_m of shape {place.shape}", where=self.name, legal="two or more [east, north], metres"
            )
        longest = float(torch.pdist(self._place).max())
        if longest > self.largest_baseline_m * (1 + 1e-9):
            raise PhotonbitsError(
                f"stations {longest:g} m apart", where=self.name, legal=f"at most {self.largest_baseline_m:g}"
            )
        most = self.longest_time_s * self.n_visibilities
        if self.baseline_time_s > most:
            raise PhotonbitsError(
                f"baseline_time_s {self.baseline_time_s:g}",
                where=self.name,
                legal=f"at most {most:g}, longest_time_s everywhere",
            )

    @property
    def n_antennas(self) -> int:
        """Number of stations."""
        return len(self.stations_m)

    @cached_property
    def _place(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.stations_m, dtype=np.float64))

    def specs(self) -> tuple[ParameterSpec, ...]:
        """Seconds for every baseline at every hour angle."""
        shape = (self.n_antennas * (self.n_antennas - 1) // 2, len(self.hour_angles_h))
        meaning = "time on each pair of stations (1-2, 1-3, ...) at each hour angle"
        rate = 0.2 * min(self.baseline_time_s / self.n_visibilities, self.longest_time_s)
        return (ParameterSpec("time", "s", shape, 0.0, self.longest_time_s, rate, meaning),)

    def limits(self) -> tuple[Limit, ...]:
        """Total and longest time, and the baselines as they are."""
        return (
            Limit("observing_time", self.baseline_time_s, "s", "total over baselines and hour angles"),
            Limit("longest_time", self.longest_time_s, "s", "on one baseline at one hour angle"),
            Limit("largest_baseline", self.largest_baseline_m, "m", "distance of the stations farthest apart, fixed"),
        )

    def usage(self, parameters: Parameters) -> dict[str, float]:
        """Total and longest time."""
        time = parameters["time"].detach()
        return {
            "observing_time": float(time.sum()),
            "longest_time": float(time.max()),
            "largest_baseline": float(torch.pdist(self._place).max()),
        }

    def start(self, how: Start, rng: np.random.Generator) -> Parameters:
        """Even time, or times drawn uniformly."""
        time = np.full(self.specs()[0].shape, self.baseline_time_s / self.n_visibilities)
        if how == "random":
            time = rng.random(time.shape) * 2 * time
        return self.project({"time": torch.from_numpy(time)})

    def project(self, parameters: Parameters) -> Parameters:
        """Nearest times within 0 and the longest that add up to the total."""
        return {"time": capped_simplex(parameters["time"], self.baseline_time_s, self.longest_time_s)}

    def tangent(self, parameters: Parameters, gradient: Parameters) -> Parameters:
        """Differences of worth per second."""
        time = parameters["time"]
        return {"time": budget_tangent(time, gradient["time"], torch.ones_like(time), self.longest_time_s)}

    def forward(self, objects: Tensor, parameters: Parameters) -> Tensor:
        """Visibilities over their noise."""
        return self.frames_of(objects, self._place, parameters["time"].reshape(-1))

    def pictures(self, parameters: Parameters) -> dict[str, FloatArray]:
        """Stations and (u, v) coverage weighted by time."""
        return self.plans(self._place, parameters["time"].detach().numpy().ravel())
