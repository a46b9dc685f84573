"""What the captures do not give, and what the standard asks for and they do not meet, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from calibrate.emva1288.highpass import REACH
from calibrate.emva1288.nonuniformity import SpatialMeasurement
from calibrate.emva1288.sensitivity import Sensitivity
from calibrate.emva1288.statistics import Levels
from calibrate.emva1288.uncertainty import Scatter
from calibrate.flags import flag
from calibrate.schema import FlagEntry

#: Release 4 asks for this many frames in a spatial stack and exposures of darks.
LEAST_STACK_FRAMES = 16
LEAST_DARK_EXPOSURES = 6


def find_flags(
    levels: Levels,
    found: Sensitivity,
    scatter: Scatter,
    dark: SpatialMeasurement | None,
    bright: SpatialMeasurement | None,
    values: Mapping[str, float],
) -> list[FlagEntry]:
    """Two flags at most: what is absent and why, and what limits the rest."""
    flags = []
    absent = _absent(levels, found, dark, bright)
    if absent:
        flags.append(flag("emva1288_absent", what="; ".join(absent)))
    limits = _limits(levels, found, scatter, dark, bright, values)
    if limits:
        flags.append(flag("emva1288_limits", what="; ".join(limits)))
    return flags


def _absent(
    levels: Levels, found: Sensitivity, dark: SpatialMeasurement | None, bright: SpatialMeasurement | None
) -> list[str]:
    out = []
    if not levels.light_unit:
        out.append("responsivity and linearity, since neither exposures nor photons are stated")
    elif levels.light_unit != "photons":
        out.append("quantum efficiency and everything in photons, since no photons per pixel are stated")
    if found.saturation is None:
        out.append(
            "saturation capacity, SNR_max, dynamic range and linearity, since no level is saturated "
            "(gain and responsivity are fitted up to 70 % of the brightest)"
        )
    elif levels.light_unit and found.linearity is None:
        out.append("linearity, since fewer than three levels lie between 5 % and 95 % of saturation")
    if found.dark_mean_slope_dn_per_s is None:
        out.append("dark current, since the darks have one exposure")
    if found.dark_noise_hidden:
        limit = 0.40 / found.gain_dn_per_e
        out.append(
            f"temporal dark noise in electrons, since a dark variance of {found.dark_variance_dn2:.3g} DN^2 is below "
            f"0.24 DN^2: it is less than {limit:.3g} e-, and threshold and dynamic range take that limit"
        )
    if dark is None:
        out.append("DSNU and PRNU, since no darks of two frames and 3 x 3 pixels are there")
    elif bright is None:
        out.append("PRNU, since no unclipped flats of two frames are there")
    return out


def _limits(
    levels: Levels,
    found: Sensitivity,
    scatter: Scatter,
    dark: SpatialMeasurement | None,
    bright: SpatialMeasurement | None,
    values: Mapping[str, float],
) -> list[str]:
    out = []
    if found.saturation is not None and found.saturation.definition != "clipped share":
        out.append(
            "no level shows 0.1 % of its pixels at the highest code, so that saturation is the variance maximum "
            "of release 3.1"
        )
    if found.dark_mean_slope_dn_per_s is not None and levels.dark.size < LEAST_DARK_EXPOSURES:
        out.append(
            f"dark current comes from {levels.dark.size} exposures where the standard asks for {LEAST_DARK_EXPOSURES}"
        )
    if scatter.variance_factor > 1:
        out.append(
            f"the variances scatter about the straight photon-transfer line by {scatter.variance_factor:.1f} times "
            "their noise, and the errors of the gain and what depends on it are widened by that; a bent curve is not "
            "the standard's model"
        )
    frames = [x.n_frames for x in (dark, bright) if x is not None]
    if frames and min(frames) < LEAST_STACK_FRAMES:
        out.append(f"DSNU and PRNU come from {min(frames)} frames where the standard asks for {LEAST_STACK_FRAMES}")
    level = values.get("spatial_signal_percent")
    if level is not None and not 40 <= level <= 60:
        out.append(f"PRNU is measured at {level:.0f} % of saturation, not at 50 %")
    if dark is not None and min(dark.shape) < 4 * REACH:
        size = f"{dark.shape[0]} x {dark.shape[1]}"
        out.append(f"frames of {size} pixels leave little of their pattern to the high-pass filter")
    negative = [name for name in ("dsnu1288_e", "prnu1288_percent") if values.get(name, 0.0) < 0]
    if negative:
        out.append(
            f"{' and '.join(negative)} below zero: the pattern is too weak for this many frames, and the number is "
            "the negative root of a negative variance"
        )
    return out
