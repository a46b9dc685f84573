"""What a design run found, and design.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrate import __version__
from mi_eval.design.audit import Audit, LightUse
from mi_eval.design.context import psf_side_px
from mi_eval.design.contrastive_objective import NEAR_CAP_BITS
from mi_eval.design.problem import DesignProblem
from mi_eval.systems import SystemDesign

SCHEMA = "photonbits/design-result"
_ACTIVE_SHARE = 0.999
_ABOVE_AUDIT_BITS = 0.01


@dataclass(frozen=True)
class LimitCheck:
    """A physical limit, how much of it a design uses, and whether it binds."""

    name: str
    value: float
    used: float
    unit: str
    meaning: str
    active: bool
    kept: bool


@dataclass(frozen=True)
class Restart:
    """One ascent: where it began, what the surrogate reached, and how it got there."""

    index: int
    start: str
    bits_per_pixel: float
    curve: tuple[float, ...]


@dataclass(frozen=True)
class DesignResult:
    """A design beside the conventional one, with the audit of both.

    Parameters
    ----------
    problem : DesignProblem
    before, after : SystemDesign
        The conventional design and the best of all restarts.
    surrogate_before, surrogate_after : float
        What the optimiser maximised, bits per pixel.
    surrogate_cap : float or None
        The most that it can be, whatever the information, bits per pixel; None where there is no such cap.
    fresh_before, fresh_after : float
        The same on objects that the optimiser did not see.
    audit_before, audit_after : Audit or None
    light : LightUse
        Of the new design: that of the audit, or of simulated light where there is none.
    restarts : tuple of Restart
    raced_bits_per_pixel : tuple of float
        The surrogate of every start at the end of the race for which starts go on, best first; empty without a race.
    settings : dict
        Of the optimiser, seed included.
    cpu_seconds, peak_memory_mb : float
        Of the optimisation; the memory is the peak of the process up to its end, audits left out.
    """

    problem: DesignProblem
    before: SystemDesign
    after: SystemDesign
    surrogate_before: float
    surrogate_after: float
    surrogate_cap: float | None
    fresh_before: float
    fresh_after: float
    audit_before: Audit | None
    audit_after: Audit | None
    light: LightUse
    restarts: tuple[Restart, ...]
    raced_bits_per_pixel: tuple[float, ...]
    settings: dict[str, Any]
    cpu_seconds: float
    peak_memory_mb: float

    def gain(self) -> tuple[float, float, tuple[float, float]] | None:
        """Audited information gained: bits per pixel, standard error, 95 % interval; None without an audit.

        Sampling errors of the two audits are added in quadrature; what neither audit can decide is added as it is.
        """
        before, after = self.audit_before, self.audit_after
        if before is None or after is None:
            return None
        value = after.value - before.value
        reaches = [a.ci95[1] - a.value - a.undecided_bits_per_pixel[1] for a in (before, after)]
        reach = float(np.hypot(reaches[0], reaches[1]))
        low = value - reach - after.undecided_bits_per_pixel[0] - before.undecided_bits_per_pixel[1]
        high = value + reach + after.undecided_bits_per_pixel[1] + before.undecided_bits_per_pixel[0]
        return value, float(np.hypot(after.std, before.std)), (low, high)

    def limit_checks(self) -> tuple[LimitCheck, ...]:
        """Every limit of the system, and exposure, light and full well where they are stated."""
        used = self.after.system.usage(self.after.tensors())
        checks = [
            LimitCheck(
                limit.name,
                limit.value,
                used[limit.name],
                limit.unit,
                limit.meaning,
                active=used[limit.name] >= _ACTIVE_SHARE * limit.value,
                kept=used[limit.name] <= limit.value * (1 + 1e-9),
            )
            for limit in self.after.system.limits()
        ]
        problem, exposure = self.problem, self.problem.exposure_of(self.after)
        if exposure and "exposure" not in used:
            longest = problem.longest_exposure_s or exposure
            meaning = "time of one frame, fixed"
            checks.append(LimitCheck("exposure", longest, exposure, "s", meaning, exposure >= longest, True))
        budget, well = problem.mean_light_e, problem.full_well_e
        if budget is not None:
            if "exposure" in used:
                budget *= exposure / problem.exposure_s
            light = self.light.mean_light_e - problem.dark_current_e_per_s * exposure
            meaning = "mean light on a pixel against that of the open system"
            kept = light <= budget * 1.05  # the objects are a sample
            checks.append(LimitCheck("light", budget, light, "e-", meaning, light >= 0.98 * budget, kept))
        if well is not None:
            meaning = "charge that one pixel in a thousand exceeds"
            high, kept = self.light.high_charge_e, self.light.keeps_full_well
            checks.append(LimitCheck("full_well", well, high, "e-", meaning, high >= 0.9 * well, kept))
        return tuple(checks)

    def flags(self) -> tuple[tuple[str, str], ...]:
        """Doubts about the design, as (code, sentence)."""
        found = list(self.problem.flags)
        for check in self.limit_checks():
            if not check.kept:
                text = f"The design uses {check.used:.4g} {check.unit} of {check.name}; the limit is {check.value:.4g}."
                found.append((f"{check.name}_exceeded", text))
        gain = self.gain()
        if gain is not None and gain[2][0] <= 0:
            text = (
                f"The audit does not show a gain: {gain[0]:+.4f} bit per pixel, 95 % interval {gain[2][0]:+.4f} to "
                f"{gain[2][1]:+.4f}."
            )
            found.append(("no_gain", text))
        if self.surrogate_after - self.fresh_after > 0.02:
            text = (
                f"On new objects the surrogate falls from {self.surrogate_after:.4f} to {self.fresh_after:.4f} bit per "
                "pixel: the design has learned the objects by heart. Use more of them."
            )
            found.append(("overfitted", text))
        return (*found, *self._objective_flags())

    def _objective_flags(self) -> tuple[tuple[str, str], ...]:
        """What the objective may have missed."""
        found, objective = [], self.settings["objective"]
        system = self.after.system
        patch, side = system.patch_size(self.settings["patch_size"]), psf_side_px(self.after)
        if objective != "spectral" and side is not None and patch < min(side, *system.frame_shape):
            text = (
                f"Patches of {patch} x {patch} pixels are smaller than the design's point-spread function, which takes "
                f"{side} pixels: the {objective} objective cannot see all of the correlation that the optics bring in."
            )
            found.append(("context_too_small", text))
        if self.surrogate_cap is not None and self.surrogate_after > self.surrogate_cap - NEAR_CAP_BITS / patch**2:
            text = (
                f"The {objective} objective reports {self.surrogate_after:.4f} bit per pixel, within {NEAR_CAP_BITS:g} "
                f"bit per patch of its cap, {self.surrogate_cap:.4f}: it tells the number of pairs, not "
                "the information."
            )
            found.append(("near_cap", text))
        audit = self.audit_after
        comparable = audit is not None and audit.patch_size == patch
        if objective == "density" and audit is not None and comparable:
            above = self.surrogate_after - audit.ci95[1]
            if above > _ABOVE_AUDIT_BITS:
                text = (
                    f"The density objective reports {self.surrogate_after:.4f} bit per pixel, {above:.4f} above the "
                    "audit's interval: the design hides structure from that density."
                )
                found.append(("above_audit", text))
        for which, one in (("conventional", self.audit_before), ("new", audit)):
            opinion = None if one is None else one.second_opinion
            if one is None or opinion is None:
                continue
            bound = opinion.upper_bound_bits_per_pixel
            if one.ci95[0] > bound + 2 * opinion.std_bits_per_pixel:
                text = (
                    f"The audit of the {which} design, {one.value:.4f} bit per pixel, lies above the upper bound from "
                    f"estimation errors, {bound:.4f}: its density models miss something."
                )
                found.append(("audit_above_bound", text))
        return tuple(found)

    def to_dict(self, *, timed: bool = True) -> dict[str, Any]:
        """The content of design.json."""
        problem, system = self.problem, self.after.system
        gain = self.gain()
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "schema_version": 1,
            "system": {"name": system.name, "title": system.title, "fields": system.constants()},
            "objects": {**problem.objects.to_dict(), "description": problem.objects.describe()},
            "light": {
                "mean_light_e": problem.mean_light_e,
                "rms_e": problem.rms_e,
                "mean_flux_jy": problem.mean_flux_jy,
                "rms_jy": problem.rms_jy,
                "full_well_e": problem.full_well_e,
                "exposure_s": problem.exposure_s,
                "longest_exposure_s": problem.longest_exposure_s,
                "choose_exposure": problem.choose_exposure,
            },
            "noise_model": {
                "kind": problem.noise_model.camera.kind,
                "path": None if problem.noise_model.path is None else problem.noise_model.path.name,
                "sha256": problem.noise_model.sha256,
            },
            "optimiser": dict(self.settings),
            "conventional": system.conventional,
            "parameters": [
                {
                    "name": spec.name,
                    "unit": spec.unit,
                    "shape": list(spec.shape),
                    "lowest": float(np.min(self.after.parameters[spec.name])),
                    "highest": float(np.max(self.after.parameters[spec.name])),
                    "meaning": spec.meaning,
                }
                for spec in system.specs()
            ],
            "surrogate_bits_per_pixel": {
                "before": self.surrogate_before,
                "after": self.surrogate_after,
                "before_on_new_objects": self.fresh_before,
                "after_on_new_objects": self.fresh_after,
                "cap": self.surrogate_cap,
            },
            "audit": {
                "before": None if self.audit_before is None else self.audit_before.to_dict(timed=timed),
                "after": None if self.audit_after is None else self.audit_after.to_dict(timed=timed),
                "gain_bits_per_pixel": None
                if gain is None
                else {"value": gain[0], "std": gain[1], "ci95": list(gain[2])},
            },
            "restarts": [
                {"index": r.index, "start": r.start, "bits_per_pixel": r.bits_per_pixel, "curve": list(r.curve)}
                for r in self.restarts
            ],
            "raced_bits_per_pixel": list(self.raced_bits_per_pixel),
            "limits": [vars(check) for check in self.limit_checks()],
            "flags": [{"code": code, "message": message} for code, message in self.flags()],
            "version": __version__,
        }
        if timed:
            out["cost"] = {"cpu_seconds": self.cpu_seconds, "peak_memory_mb": self.peak_memory_mb}
        return out
