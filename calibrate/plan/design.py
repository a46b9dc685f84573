"""Which levels and how many frames reach the targets with the fewest frames, from nothing or from what was shot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.photon_transfer.fisher import (
    FisherInformation,
    LevelDesign,
    Sensitivities,
    fisher_information,
    level_informations,
    parameter_names,
    parameter_values,
    sensitivities,
)
from calibrate.plan.precision import Predictor, maps_bits, worst_ratio
from calibrate.plan.targets import Target

FloatArray = NDArray[np.float64]

#: Fewer levels cannot tell curvature from scatter.
FEWEST_LEVELS = 6
#: More than the fewest: what a plan cannot foresee (drift, dust, a response of another form) shows in spare levels.
LEVELS_TRIED = (12, 16, 24, 32)
#: Of a series that adds to one that was shot already.
_ADDED_LEVELS_TRIED = (6, 12, 24)
SPACINGS = ("linear", "square_root", "geometric")
#: Frames at a level: pairs, because noise is measured from pairs.
_FRAMES = (2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024)
_DARK_EXPOSURES = 4
#: The dimmest level of a geometric series: this many electrons, or that share of the brightest.
_DIMMEST_E = 20.0
_DIMMEST_SHARE = 1 / 256


@dataclass(frozen=True)
class Design:
    """Levels to be shot.

    Parameters
    ----------
    spacing : str
    n_levels : int
        Flats of the series, where it has any frames.
    brights, darks : tuple of LevelDesign
        By rising light and by rising exposure.
    ratio : float
        Largest predicted error over what is wanted; 1 or less where all targets are reached.
    """

    spacing: str
    n_levels: int
    brights: tuple[LevelDesign, ...]
    darks: tuple[LevelDesign, ...]
    ratio: float

    @property
    def levels(self) -> tuple[LevelDesign, ...]:
        """All of them."""
        return self.brights + self.darks

    @property
    def n_frames(self) -> int:
        """Frames in all."""
        return sum(level.n_frames for level in self.levels)


def fractions(spacing: str, n_levels: int, highest: float, saturation_e: float) -> FloatArray:
    """Shares of saturation, rising to ``highest``.

    ``linear`` has equal steps of the signal, ``square_root`` equal steps of its noise, ``geometric`` equal ratios.
    """
    steps = np.arange(1, n_levels + 1) / n_levels
    if spacing == "linear":
        return np.asarray(highest * steps)
    if spacing == "square_root":
        return np.asarray(highest * steps**2)
    dimmest = min(max(_DIMMEST_E / saturation_e, _DIMMEST_SHARE * highest), highest / 2)
    return np.asarray(np.geomspace(dimmest, highest, n_levels))


def search(
    predictor: Predictor, targets: Sequence[Target], *, levels: int | None = None, max_frames: int = 2000
) -> tuple[Design, ...]:
    """The best design of each spacing and number of levels, best first.

    Best is what reaches all targets with the fewest frames; where none does, what comes closest within ``max_frames``.
    What was shot already counts, and a repeat of its levels is then tried as well.

    Parameters
    ----------
    predictor : Predictor
    targets : sequence of Target
    levels : int, optional
        Number of bright levels; default the best of several.
    max_frames : int
        To be shot.
    """
    sensor = predictor.sensor
    counts = (levels,) if levels is not None else _ADDED_LEVELS_TRIED if sensor.present else LEVELS_TRIED
    series = [
        (
            spacing,
            [sensor.bright(float(x), 2) for x in fractions(spacing, n, sensor.highest_fraction, sensor.saturation_e)],
        )
        for n in counts
        for spacing in SPACINGS
    ]
    if sensor.present and levels is None:
        again = [replace(x, n_frames=2, n_pixels=sensor.n_pixels) for x in sensor.present if x.kind == "bright"]
        series.append(("as_before", sorted(again, key=sensor.charge_e)))
    base = fisher_information(sensor.point, sensor.present).matrix if sensor.present else None
    found = [
        _Family(predictor, targets, spacing, brights, base).fewest_frames(max_frames) for spacing, brights in series
    ]
    designs = [design for design in found if design is not None]
    darks_only = [replace(design, spacing="darks_only", n_levels=0) for design in designs if not design.brights]
    designs = [design for design in designs if design.brights] + darks_only[:1]
    return tuple(sorted(designs, key=lambda d: (d.ratio > 1, d.n_frames if d.ratio <= 1 else d.ratio, d.ratio)))


class _Family:
    """Designs of one series of flats, which differ in their numbers of frames only."""

    def __init__(
        self,
        predictor: Predictor,
        targets: Sequence[Target],
        spacing: str,
        brights: Sequence[LevelDesign],
        base: FloatArray | None,
    ) -> None:
        sensor = predictor.sensor
        self.predictor, self.targets, self.spacing = predictor, targets, spacing
        self.brights, self.base = tuple(brights), base
        exposures = np.array([level.exposure_s for level in self.brights])
        swept = float(np.ptp(exposures)) > 0
        seconds = np.linspace(exposures[0], exposures[-1], _DARK_EXPOSURES) if swept else exposures[:1]
        self.darks = tuple(sensor.dark(float(t), 2) for t in seconds)
        self.maps_bits = next((target.wanted for target in targets if target.name == "maps"), None)
        # Darks at the scene's own exposure are what maps need, and nothing else needs so many of them.
        self.scene = () if self.maps_bits is None else (sensor.dark(predictor.scene.exposure_s, 2),)
        self.frames = _FRAMES if base is None else (0, *_FRAMES)
        self._known = {group: self._sensitivity(group) for group in (self.brights, self.darks, self.scene) if group}
        self._cache: dict[tuple[tuple[LevelDesign, ...], int], FloatArray] = {}

    def fewest_frames(self, max_frames: int) -> Design | None:
        """Fewest frames that reach the targets, else the closest; None where two frames a level are too many."""
        best: Design | None = None
        for n_bright in self.frames:
            least = n_bright * len(self.brights)
            if least > max_frames or (best is not None and best.ratio <= 1 and least >= best.n_frames):
                break
            n_scene = self._darks_for_maps(n_bright, max_frames - least)
            found = self._fewest_darks(n_bright, n_scene, max_frames)
            if found is not None and (best is None or _better(found, best)):
                best = found
        return best

    def _darks_for_maps(self, n_bright: int, room: int) -> int:
        """Fewest darks at the scene's exposure that make the maps good enough, else as many as there is room for."""
        if self.maps_bits is None:
            return 0

        def bits(n_scene: int) -> float:
            levels = [*self.predictor.sensor.present, *self._levels(n_bright, self.frames[0], n_scene)]
            return maps_bits(self.predictor.sensor, levels, self.predictor.scene)

        low, high = 0, max(room // 2, 0)
        if bits(2 * high) > self.maps_bits:
            return 2 * high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if bits(2 * middle) <= self.maps_bits else (middle + 1, high)
        return 2 * low

    def _fewest_darks(self, n_bright: int, n_scene: int, max_frames: int) -> Design | None:
        """Fewest darks that reach the targets, else the most that fit; None where nothing fits."""
        room = max_frames - n_bright * len(self.brights) - n_scene
        fitting = [n for n in self.frames if n * len(self.darks) <= room]
        if not fitting:
            return None
        low, high = 0, len(fitting) - 1
        best = self._design(n_bright, fitting[high], n_scene)
        if best.ratio > 1:
            return best
        while low < high:
            middle = (low + high) // 2
            trial = self._design(n_bright, fitting[middle], n_scene)
            if trial.ratio <= 1:
                best, high = trial, middle
            else:
                low = middle + 1
        return best

    def _parts(self, n_bright: int, n_dark: int, n_scene: int) -> list[tuple[tuple[LevelDesign, ...], int]]:
        parts = ((self.brights, n_bright), (self.darks, n_dark), (self.scene, n_scene))
        return [(group, n) for group, n in parts if group and n]

    def _levels(self, n_bright: int, n_dark: int, n_scene: int) -> list[LevelDesign]:
        return [replace(level, n_frames=n) for group, n in self._parts(n_bright, n_dark, n_scene) for level in group]

    def _design(self, n_bright: int, n_dark: int, n_scene: int) -> Design:
        point = self.predictor.sensor.point
        matrices = [self._matrix(group, n) for group, n in self._parts(n_bright, n_dark, n_scene)]
        matrix = np.sum(matrices if self.base is None else [self.base, *matrices], axis=0)
        information = FisherInformation(parameter_names(point), parameter_values(point), matrix)
        levels = self._levels(n_bright, n_dark, n_scene)
        everything = [*self.predictor.sensor.present, *levels]
        ratio = worst_ratio(self.predictor.from_information(information, everything).errors, self.targets)
        brights = tuple(level for level in levels if level.kind == "bright")
        darks = tuple(sorted((x for x in levels if x.kind == "dark"), key=lambda level: level.exposure_s))
        return Design(self.spacing, len(self.brights), brights, darks, ratio)

    def _matrix(self, group: tuple[LevelDesign, ...], n_frames: int) -> FloatArray:
        key = (group, n_frames)
        if key not in self._cache:
            levels = [replace(level, n_frames=n_frames) for level in group]
            matrices, _ = level_informations(self.predictor.sensor.point, levels, self._known[group])
            self._cache[key] = matrices.sum(axis=0)
        return self._cache[key]

    def _sensitivity(self, group: tuple[LevelDesign, ...]) -> Sensitivities:
        light = np.array([level.light for level in group])
        return sensitivities(self.predictor.sensor.point, light, np.array([level.exposure_s for level in group]))


def _better(one: Design, other: Design) -> bool:
    if (one.ratio <= 1) != (other.ratio <= 1):
        return one.ratio <= 1
    return one.n_frames < other.n_frames if one.ratio <= 1 else one.ratio < other.ratio
