"""What the maps say, in the noise-model document: spreads over good pixels, defects, repeatability and doubts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate.flags import FLAGS, flag
from calibrate.noise_model.defect_kinds import DEFECT_KINDS
from calibrate.pixel_maps.measure import MeasuredMaps
from calibrate.schema import (
    PARAMETERS,
    DefectEntry,
    DefectsEntry,
    FlagEntry,
    NoiseModelDocument,
    ParameterEntry,
    RepeatabilityEntry,
)

BoolArray = NDArray[np.bool_]

#: Noise in DN below which the scalar fit knows more about rounding than single pixels do.
_COARSE_NOISE_DN = 0.5


def record_maps(document: NoiseModelDocument, measured: MeasuredMaps) -> NoiseModelDocument:
    """The document with what the maps add; scalars become averages over good pixels where there are defects.

    Notes
    -----
    ``dsnu_e`` and ``prnu_percent`` are standard deviations over good pixels with the mean squared error of the map
    taken out. Where pixels are defective, ``offset_dn`` and ``dark_current_e_per_s`` move by the difference of the
    maps' means over good and over all pixels, and ``read_noise_e`` becomes the root of the mean read variance of good
    pixels: the fit itself sees all pixels.
    """
    good = measured.defects.mask == 0
    if not np.any(good):
        good = np.ones_like(good)
    parameters: dict[str, Any] = dict(document.parameters)
    parameters.update(_spreads(measured, parameters, good))
    if not np.all(good):
        parameters.update(_good_averages(measured, parameters, good))
    flags = (*document.fit.flags, *_doubts(measured, good))
    return document.model_copy(
        update={
            "parameters": {name: parameters[name] for name in PARAMETERS if name in parameters},
            "fit": document.fit.model_copy(update={"flags": flags}),
            "defects": _defects(measured),
            "repeatability": {
                name: RepeatabilityEntry(
                    variance_ratio=entry.variance_ratio, correlation=entry.correlation, n_pixels=entry.n_pixels
                )
                for name, entry in measured.repeatability.items()
            }
            or None,
        }
    )


def _spreads(measured: MeasuredMaps, parameters: dict[str, Any], good: BoolArray) -> dict[str, ParameterEntry]:
    gain = parameters["system_gain_dn_per_e"].value
    out: dict[str, ParameterEntry] = {}
    for name, source, factor in (("dsnu_e", "offset_dn", 1 / gain), ("prnu_percent", "prnu", 100.0)):
        if source not in measured.maps:
            continue
        values = measured.maps[source][good].astype(np.float64)
        total = float(np.var(values))
        own = float(np.mean(np.square(measured.maps[source + "_std"][good], dtype=np.float64)))
        true = max(total - own, 0.0)
        # The variance's error by its own fourth moment; its root's by the slope, at the error itself where it is 0.
        square = np.square(values - np.mean(values))
        fourth = float(np.mean(np.square(square)))
        error = float(np.sqrt(max(fourth - total**2, 2 * total**2 / values.size) / values.size))
        std = error / (2 * np.sqrt(max(true, error))) if error > 0 else 0.0
        out[name] = _entry(name, factor * float(np.sqrt(true)), factor * std)
    return out


def _good_averages(measured: MeasuredMaps, parameters: dict[str, Any], good: BoolArray) -> dict[str, ParameterEntry]:
    out: dict[str, ParameterEntry] = {}
    for name in ("offset_dn", "dark_current_e_per_s"):
        if name in measured.maps and name in parameters:
            values = measured.maps[name]
            shift = float(np.mean(values[good], dtype=np.float64) - np.mean(values, dtype=np.float64))
            out[name] = _entry(name, parameters[name].value + shift, parameters[name].std)
    gain, read = parameters["system_gain_dn_per_e"].value, parameters["read_noise_e"]
    if gain * read.value >= _COARSE_NOISE_DN and measured.read_variance_e2 > 0:
        value = float(np.sqrt(measured.read_variance_e2))
        out["read_noise_e"] = _entry("read_noise_e", value, read.std)
        if "dark_noise_dn" in parameters:
            rounding = parameters["dark_noise_dn"].value ** 2 - (gain * read.value) ** 2
            noise = float(np.sqrt((gain * value) ** 2 + max(rounding, 0.0)))
            out["dark_noise_dn"] = _entry("dark_noise_dn", noise, parameters["dark_noise_dn"].std)
    return out


def _entry(name: str, value: float, std: float | None) -> ParameterEntry:
    return ParameterEntry(value=value, std=std, unit=PARAMETERS[name][0])


def _defects(measured: MeasuredMaps) -> DefectsEntry:
    found = measured.defects
    return DefectsEntry(
        n_pixels=int(np.count_nonzero(found.mask)),
        kinds={
            name: DefectEntry(
                count=entry.count,
                bit=DEFECT_KINDS[name].bit,
                limit=entry.limit,
                unit=entry.unit,
                expected_false_alarms=entry.expected_false_alarms,
            )
            for name, entry in found.counts.items()
        },
    )


def _doubts(measured: MeasuredMaps, good: BoolArray) -> list[FlagEntry]:
    flags = []
    if measured.n_darks < (FLAGS["few_frames_for_maps"].threshold or 0):
        flags.append(flag("few_frames_for_maps", n_frames=measured.n_darks))
    off = abs(measured.gain_ratio - 1)
    if off > max(FLAGS["gain_map_disagrees"].threshold or 0, 5 * measured.gain_ratio_std):
        flags.append(flag("gain_map_disagrees", percent=100 * (measured.gain_ratio - 1)))
    limit = FLAGS["maps_not_repeatable"].threshold or 0
    poor = {
        name: entry.variance_ratio
        for name, entry in measured.repeatability.items()
        if entry.variance_ratio > limit + 5 * np.sqrt(2 / entry.n_pixels)
    }
    if poor:
        worst = max(poor, key=lambda name: poor[name])
        flags.append(flag("maps_not_repeatable", name=worst, ratio=poor[worst]))
    share = 1 - np.count_nonzero(good) / good.size
    if share > (FLAGS["many_defects"].threshold or 0):
        flags.append(flag("many_defects", percent=100 * share))
    return flags
