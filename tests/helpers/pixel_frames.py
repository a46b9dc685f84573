"""Frames of a sensor whose every pixel is known, and the scalar fit that such a sensor deserves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from calibrate import load_captures
from calibrate.captures.capture_set import CaptureSet
from calibrate.noise_model.credibility import credible_map
from calibrate.photon_transfer.rounding import rounded_moments
from calibrate.pixel_maps import MeasuredMaps, ScalarFit, measure_maps
from calibrate.response import Response

#: Names of the maps, and the sensor's attribute where it differs in scale.
NAMES = ("offset_dn", "read_noise_e", "system_gain_dn_per_e", "dark_current_e_per_s", "prnu")


class PixelSensor:
    """Maps (height, width) of the camera model's parameters, drawn from a seed unless given."""

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        seed: int = 0,
        gain: float = 0.5,
        read_noise_e: float = 3.0,
        read_spread: float = 0.2,
        offset_dn: float = 100.0,
        offset_spread: float = 2.0,
        dark_e_per_s: float = 3.0,
        prnu_percent: float = 1.0,
        gain_percent: float = 0.0,
        response: Response | None = None,
        rounds: bool = True,
        **maps: np.ndarray,
    ) -> None:
        rng = np.random.default_rng([seed, 1])
        normal = rng.standard_normal
        prnu = prnu_percent / 100 * normal(shape)
        gains = gain * (1 + gain_percent / 100 * normal(shape))
        drawn = {
            "offset_dn": offset_dn + offset_spread * normal(shape),
            "read_noise_e": read_noise_e * np.exp(read_spread * normal(shape)),
            "system_gain_dn_per_e": gains * gain / gains.mean(),
            "dark_current_e_per_s": dark_e_per_s * rng.gamma(4.0, 0.25, shape),
            "prnu": prnu - prnu.mean(),
        }
        self.maps = {**drawn, **maps}
        self.shape = shape
        self.response = response or Response()
        self.rounds = rounds
        self.rng = np.random.default_rng([seed, 2])

    def shoot(self, light_e: float | np.ndarray, exposure_s: float) -> np.ndarray:
        """One frame: uint16 codes, or float64 where the sensor does not round."""
        m = self.maps
        charge = (1 + m["prnu"]) * light_e + m["dark_current_e_per_s"] * exposure_s
        n = self.rng.poisson(np.maximum(charge, 0)) + m["read_noise_e"] * self.rng.standard_normal(self.shape)
        z = m["offset_dn"] + self.response.evaluate(m["system_gain_dn_per_e"] * n)
        return np.clip(np.floor(z + 0.5), 0, 65535).astype(np.uint16) if self.rounds else z

    def scalar_fit(self, bright_range_dn: tuple[float, float] = (0.0, 65000.0)) -> ScalarFit:
        """The scalars that the maps average to."""
        m = self.maps
        return ScalarFit(
            system_gain_dn_per_e=float(np.mean(m["system_gain_dn_per_e"])),
            offset_dn=float(np.mean(m["offset_dn"])),
            dark_current_e_per_s=float(np.mean(m["dark_current_e_per_s"])),
            read_noise_e=float(np.sqrt(np.mean(m["read_noise_e"] ** 2))),
            response=self.response,
            bright_range_dn=bright_range_dn,
            rounding_dn2=1 / 12 if self.rounds else 0.0,
            dark_rounding_dn2=self._dark_rounding() if self.rounds else 0.0,
        )

    def _dark_rounding(self) -> float:
        """What rounding adds to the variance of a dark at zero exposure, averaged over pixels."""
        m = self.maps
        variance = np.mean((m["system_gain_dn_per_e"] * m["read_noise_e"]) ** 2)
        offset, spread = np.mean(m["offset_dn"]), np.var(m["offset_dn"])
        return float(rounded_moments(*(np.array([x]) for x in (offset, variance, spread)))[1][0] - variance)


def shoot_captures(
    sensor: PixelSensor,
    folder: Path,
    *,
    light_e: tuple[float, ...] = (200, 500, 1000, 2000, 3000, 4000, 5000, 6000),
    frames: int = 2,
    exposure_s: float = 1.0,
    dark_exposures_s: tuple[float | None, ...] = (0.0, 1.0, 2.0, 4.0),
    darks: int = 8,
    light_pattern: np.ndarray | float = 1.0,
    lamp: Callable[[int], float] = lambda k: 1.0,
    change: Callable[[np.ndarray, str, int], np.ndarray] | None = None,
) -> CaptureSet:
    """Stacks of brights and darks as npy files with a manifest.

    ``lamp(k)`` scales the light of bright frame k (counted through); ``change(frame, kind, k)`` may alter any frame, k
    counted through each kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    timed = None not in dark_exposures_s
    lines = ["path,kind,level" + (",exposure_s" if timed else "")]
    plan = [("bright", exposure_s, y, frames) for y in light_e]
    plan += [("dark", t, 0.0, darks) for t in dark_exposures_s]
    counted = {"bright": 0, "dark": 0}
    for number, (kind, t, y, count) in enumerate(plan):
        stack = []
        for _ in range(count):
            k = counted[kind]
            counted[kind] += 1
            frame = sensor.shoot(y * light_pattern * (lamp(k) if kind == "bright" else 1.0), t or 0.0)
            stack.append(frame if change is None else change(frame, kind, k))
        np.save(folder / f"{number:03d}.npy", np.stack(stack))
        lines.append(f"{number:03d}.npy,{kind},{number}" + (f",{float(t or 0.0)!r}" if timed else ""))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_captures(folder)


def measured(sensor: PixelSensor, folder: Path, **settings: object) -> MeasuredMaps:
    """Maps of frames shot with ``settings``, under the sensor's own scalar fit."""
    return measure_maps(shoot_captures(sensor, folder, **settings), sensor.scalar_fit())


def pulls(found: MeasuredMaps, sensor: PixelSensor, name: str) -> np.ndarray:
    """(measured - true) / std over good pixels; ``signal`` is K (1 + prnu), which the means depend on."""
    good = found.defects.mask == 0
    return ((found.maps[name] - true_map(found, sensor, name)) / found.maps[name + "_std"])[good]


def true_map(
    found: MeasuredMaps, sensor: PixelSensor, name: str, light_pattern: np.ndarray | float = 1.0
) -> np.ndarray:
    """A map as the fit defines it: photo-response is that of the signal where the gains cannot be told apart."""
    if name != "prnu":
        return sensor.maps[name]
    told_apart = False
    if "system_gain_dn_per_e" in found.maps:
        gain, std = found.maps["system_gain_dn_per_e"], found.maps["system_gain_dn_per_e_std"]
        told_apart = credible_map(gain, std, float(np.mean(gain)), found.defects.mask == 0, robust=True)[0] is not None
    response = (1 + sensor.maps["prnu"]) * light_pattern
    signal = response if told_apart else response * sensor.maps["system_gain_dn_per_e"]
    return signal / signal.mean() - 1
