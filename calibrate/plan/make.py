"""A plan: from a sensor and targets to levels, an order, predicted errors and their limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from calibrate.photon_transfer.fisher import LevelDesign
from calibrate.plan.design import FEWEST_LEVELS, Design, search
from calibrate.plan.next_captures import Candidate, next_captures
from calibrate.plan.precision import MISFIT_LIMIT, Predictor, Scene, least_possible, limits, worst_ratio
from calibrate.plan.sensor import PlanSensor
from calibrate.plan.shooting_list import PlannedLevel, Visit, planned_levels, visits
from calibrate.plan.targets import DEFAULT_TARGETS, PARAMETER_OF, TARGETS, Target
from calibrate.plumbing.errors import PhotonbitsError

#: Charge at which the information's error is taken unless said otherwise: this share of saturation.
_SCENE_SHARE = 0.1
#: Where a target is out of reach: error of the plan over the least one.
_CLOSE = 1.05


@dataclass(frozen=True)
class Plan:
    """What to shoot, what it gives, and what limits it.

    Parameters
    ----------
    sensor : PlanSensor
    scene : Scene
    targets : tuple of Target
    errors, least_errors : dict
        Predicted errors in the units of `TARGETS`, all captures together, and those of any number of frames at the
        same levels; ``inf`` where the captures do not tell.
    limited_by : dict
    present_errors : dict or None
        Of what was shot already.
    levels : tuple of PlannedLevel
        To be shot; empty where the targets are reached already.
    order : tuple of Visit
    compared : tuple of Design
        Best first; empty where the targets are reached already.
    next : tuple of Candidate
        Best first; empty without measurements.
    slopes_bits : dict
        dH(Z|Y)/d(parameter) at the scene's signal.
    notes : tuple of str
    """

    sensor: PlanSensor
    scene: Scene
    targets: tuple[Target, ...]
    errors: Mapping[str, float]
    least_errors: Mapping[str, float]
    limited_by: Mapping[str, str]
    present_errors: Mapping[str, float] | None
    levels: tuple[PlannedLevel, ...]
    order: tuple[Visit, ...]
    compared: tuple[Design, ...]
    next: tuple[Candidate, ...]
    slopes_bits: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def total_frames(self) -> int:
        """Frames to be shot."""
        return sum(visit.n_frames for visit in self.order)

    @property
    def reached(self) -> bool:
        """Whether all targets are predicted to be reached."""
        return all(self.errors.get(target.name, np.inf) <= target.wanted for target in self.targets)


def make_plan(
    sensor: PlanSensor,
    targets: Sequence[Target] = DEFAULT_TARGETS,
    *,
    levels: int | None = None,
    signal_e: float | None = None,
    scene_exposure_s: float | None = None,
    next_frames: int = 16,
    max_frames: int = 2000,
    seed: int = 0,
) -> Plan:
    """Plan captures that reach the targets.

    The spacing and number of levels that need the fewest frames; with measurements, what has to be added to them.

    Parameters
    ----------
    sensor : PlanSensor
    targets : sequence of Target
    levels : int, optional
        Bright levels, 6 or more; default whatever needs the fewest frames.
    signal_e, scene_exposure_s : float, optional
        Of the frames that will be scored; default 10 % of saturation, and the exposure that fills the range.
    next_frames : int
        Frames of each candidate for the next captures.
    max_frames : int
    seed : int
        Of the order.

    Raises
    ------
    PhotonbitsError
        If an argument is out of range, or a target has no meaning for this sensor.
    """
    scene = Scene(
        _SCENE_SHARE * sensor.saturation_e if signal_e is None else signal_e,
        sensor.axis.full_exposure_s if scene_exposure_s is None else scene_exposure_s,
    )
    if targets is DEFAULT_TARGETS:
        targets = tuple(target for target in targets if _has_meaning(sensor, target))
    _check(sensor, targets, levels, scene, next_frames, max_frames, seed)
    predictor = Predictor(sensor, scene)
    notes = list(sensor.notes)
    compared: tuple[Design, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    present = sensor.present
    present_errors: Mapping[str, float] | None = None
    added: tuple[LevelDesign, ...] = ()
    if present:
        present_errors = predictor.predict(present).errors
        notes += _misfit_notes(sensor, predictor)
        candidates = next_captures(predictor, present, targets, next_frames)
    if present_errors is None or worst_ratio(present_errors, targets) > 1:
        compared = _search(predictor, targets, levels, max_frames)
        if not compared:
            raise PhotonbitsError(
                f"no plan has at most {max_frames} frames",
                legal="two frames at every level: 12 flats and 4 darks are 32 frames",
                remedy="Allow more with --max-frames, or ask for fewer levels",
            )
        added = compared[0].levels
    everything = (*present, *added)
    final = predictor.predict(everything)
    planned = planned_levels(sensor, added, saturation=bool(added) and not present)
    plan = Plan(
        sensor=sensor,
        scene=scene,
        targets=tuple(targets),
        errors=final.errors,
        least_errors=least_possible(predictor, everything),
        limited_by=limits(predictor, everything),
        present_errors=present_errors,
        levels=planned,
        order=visits(planned, seed),
        compared=compared,
        next=candidates,
        slopes_bits=predictor.slopes_bits,
        notes=(),
    )
    return _with_notes(plan, notes)


def _search(predictor: Predictor, targets: Sequence[Target], levels: int | None, max_frames: int) -> tuple[Design, ...]:
    """Designs, best first; where a target is out of reach, those that come within 5 % of what ``max_frames`` can do.

    Without that, a target that light scatter or a misfit forbids would always cost all the frames there are.
    """
    designs = search(predictor, targets, levels=levels, max_frames=max_frames)
    if not designs or designs[0].ratio <= 1:
        return designs
    present = predictor.sensor.present
    best = predictor.predict([*present, *designs[0].levels]).errors
    known = [(target, best.get(target.name, np.inf)) for target in targets]
    relaxed = [Target(t.name, max(t.wanted, _CLOSE * error)) for t, error in known if np.isfinite(error)]
    again = search(predictor, relaxed, levels=levels, max_frames=max_frames)
    return tuple(
        replace(design, ratio=worst_ratio(predictor.predict([*present, *design.levels]).errors, targets))
        for design in again
    )


def _with_notes(plan: Plan, notes: list[str]) -> Plan:
    for target in plan.targets:
        error = plan.errors.get(target.name, np.inf)
        if error <= target.wanted:
            continue
        shown = f"{error:.3g} {target.unit}" if np.isfinite(error) else "unknown"
        text = f"{target.name}={target.wanted:g} {target.unit} is not reached ({shown})"
        least = plan.least_errors.get(target.name, np.inf)
        if plan.limited_by.get(target.name) == MISFIT_LIMIT:
            text += ": the model does not describe this camera to that"
        elif np.isfinite(least) and least > target.wanted:
            text += (
                f": any number of frames at these levels leaves {least:.3g} {target.unit} because light and offset "
                "scatter; shoot more levels, or steady the lamp"
            )
        else:
            text += f": limited by {plan.limited_by.get(target.name, 'the captures')} within --max-frames"
        notes.append(text + ".")
    return replace(plan, notes=tuple(notes))


def _misfit_notes(sensor: PlanSensor, predictor: Predictor) -> list[str]:
    """Where the file's own errors are wider than noise makes them."""
    notes = []
    for name in ("gain", "read_noise"):
        misfit, stated = predictor.misfit_errors.get(name), sensor.stated_std.get(PARAMETER_OF[name])
        if misfit and stated is not None:
            percent = 100 * stated / float(getattr(sensor.point, PARAMETER_OF[name]))
            notes.append(
                f"The file states an error of {percent:.2g} % for {TARGETS[name][1]}, and noise alone makes "
                f"{np.sqrt(percent**2 - misfit**2):.2g} %: the fit has other troubles (see its flags), which more "
                "frames alike do not cure."
            )
    return notes


def _check(
    sensor: PlanSensor,
    targets: Sequence[Target],
    levels: int | None,
    scene: Scene,
    next_frames: int,
    max_frames: int,
    seed: int,
) -> None:
    if levels is not None and levels < FEWEST_LEVELS:
        raise PhotonbitsError(
            f"{levels} bright levels", legal=f"{FEWEST_LEVELS} or more: fewer cannot show a bent response"
        )
    for name, value, least in (("next frames", next_frames, 2), ("frames", max_frames, 2), ("seed", seed, 0)):
        if value < least:
            raise PhotonbitsError(f"{value} {name}", legal=f"{least} or more")
    if not 0 <= scene.signal_e <= sensor.saturation_e:
        raise PhotonbitsError(
            f"a signal of {scene.signal_e:g} electrons", legal=f"0 to {sensor.saturation_e:.0f}, where the range ends"
        )
    if not 0 <= scene.exposure_s < np.inf:
        raise PhotonbitsError(f"an exposure of {scene.exposure_s:g} s", legal="0 s or more")
    for target in targets:
        if not _has_meaning(sensor, target):
            raise PhotonbitsError(
                f"target {target.name} in percent of a {TARGETS[target.name][1]} of 0",
                remedy="Leave it out, or state the value",
            )
        if target.name == "responsivity" and not sensor.axis.unit:
            raise PhotonbitsError(
                "target responsivity for captures that do not say how much light there was",
                remedy="Leave it out, or state exposures or photons",
            )


def _has_meaning(sensor: PlanSensor, target: Target) -> bool:
    """False for a percentage of nothing."""
    parameter = PARAMETER_OF.get(target.name)
    return target.unit != "%" or parameter is None or float(getattr(sensor.point, parameter)) > 0
