"""The photon-transfer fit: frames in, noise model out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from calibrate.captures import load_captures, split_by_gain_setting
from calibrate.captures.capture_set import CaptureSet
from calibrate.flags import FLAGS
from calibrate.level_statistics import (
    LevelStatistics,
    NeighbourCovariances,
    correlations_rise,
    measure_covariances,
    measure_levels,
    reject_outliers,
)
from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer.assemble import build_document, files_of
from calibrate.photon_transfer.dark_charge import with_own_dark_charge
from calibrate.photon_transfer.data import PhotonTransferData, from_levels, from_table, require_levels
from calibrate.photon_transfer.fit import Choice, fit_photon_transfer
from calibrate.photon_transfer.knee_search import (
    LEAST_SLOPE,
    Break,
    KneeDoubt,
    doubt_a_knee,
    find_break,
    with_own_tails,
)
from calibrate.photon_transfer.likelihood import ROUNDING_VARIANCE_DN2
from calibrate.photon_transfer.read_noise_step import Step, find_step
from calibrate.photon_transfer.rounding import rounded_moments
from calibrate.photon_transfer.saturation import find_saturation
from calibrate.photon_transfer.units import noise_unit_dn, times
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_meanwhile

if TYPE_CHECKING:
    from calibrate.pixel_maps import MeasuredMaps

__all__ = ["fit_noise_model"]

_COMMON_BIT_DEPTHS = (8, 10, 12, 14, 16)
#: Deviance per degree of freedom of two slopes, over that of the levels below alone, from which on they are refused.
_WORSE_WITH_KNEE = 1.5
#: Levels below the knee that such a comparison takes.
_FEWEST_TO_COMPARE = 3


def fit_noise_model(captures: str | Path | CaptureSet, *, maps: bool = False, seed: int = 0) -> NoiseModel:
    """Fit a sensor's noise model to its dark and flat frames.

    One likelihood holds the means, the pair variances and the darks of all levels, with a response curve chosen
    by the Bayesian information criterion and the scatter of the light fitted beside it.

    Parameters
    ----------
    captures : path or CaptureSet
        A folder, manifest, EMVA 1288 descriptor or table; see `calibrate.load_captures`.
    maps : bool
        Also measure per-pixel maps (a second pass over the frames).
    seed : int
        Kept for reproducibility of methods that draw random numbers; this fit draws none.

    Raises
    ------
    PhotonbitsError
        If the captures cannot be read or cannot determine a noise model: no darks, one level only, a noise that
        does not rise with the light.
    """
    if not isinstance(captures, CaptureSet):
        captures = load_captures(captures)
    settings = split_by_gain_setting(captures)
    if len(settings) > 1:
        raise PhotonbitsError(
            f"captures at {len(settings)} gain settings ({', '.join(settings)}) in one folder",
            where=captures.root,
            legal="one gain setting a fit",
            remedy="Fit each setting from a folder or manifest of its own",
        )
    # One thread for linear algebra: the matrices and tiles are so small that several threads wait for each other.
    with threadpool_limits(limits=1), sha256_meanwhile(files_of(captures)) as digests:
        return _fit(captures, maps, digests)


def _fit(captures: CaptureSet, maps: bool, digests: Callable[[], list[str]]) -> NoiseModel:
    """The fit of captures at one setting; ``digests`` gives those of their files, for the record."""
    levels: tuple[LevelStatistics, ...] = ()
    measured_levels = levels
    guessed: int | None = None
    bit_depth = captures.bit_depth
    if captures.points:
        data = from_table(captures)
        rounding = 0.0 if bit_depth is None else ROUNDING_VARIANCE_DN2
    else:
        measured_levels = measure_levels(captures)
        levels = reject_outliers(measured_levels)
        integer = all(level.code_bits or level.maximum_code == 0 for level in levels)
        if integer and bit_depth is None:
            guessed = bit_depth = guess_bit_depth(levels)
        rounding = ROUNDING_VARIANCE_DN2 if integer else 0.0
        if not integer:
            bit_depth = None
        data = with_own_dark_charge(from_levels(captures, levels, white_clip(levels, bit_depth), few=True))
    choice = _fit_with_what_shows(captures, levels, data, rounding)
    knee = choice.chosen.layout.knee(choice.chosen.theta)
    if knee is not None:
        offset = choice.chosen.layout.get(choice.chosen.theta, "offset")
        whole = with_own_tails(knee, offset, measured_levels, levels)
        if any(a is not b for a, b in zip(whole, levels, strict=True)):
            levels = whole
            whole_data = from_levels(captures, levels, white_clip(levels, bit_depth), few=True)
            found = find_break(with_own_dark_charge(whole_data))
            choice = (None if found is None else _fit_with_knee(found, rounding, captures.root)) or choice
    data = choice.data
    unit = noise_unit_dn(data, rounding)
    saturation = times(find_saturation(times(data, 1 / unit), times(choice.chosen, 1 / unit)), unit)
    decided = replace(captures, bit_depth=bit_depth)
    document = build_document(decided, levels, data, choice, saturation, guessed, digests())
    if not maps:
        return NoiseModel.from_document(document)
    from calibrate.pixel_maps import record_maps

    measured = _measure_maps(captures, levels, data, choice, rounding)
    return NoiseModel.from_document(record_maps(document, measured), measured.with_defects())


def _covariances(
    captures: CaptureSet, levels: tuple[LevelStatistics, ...], data: PhotonTransferData
) -> tuple[NeighbourCovariances, ...]:
    """Covariances of neighbours below saturation, where the first pass says that they rise with the light."""
    if not levels:
        return ()
    offset = float(np.mean(data.mean_dn[data.still]))
    highest = float(np.max(data.mean_dn[data.used_bright]))
    if not correlations_rise(levels, offset, highest):
        return ()
    return measure_covariances(captures, offset, highest)


def _fit_with_what_shows(
    captures: CaptureSet, levels: tuple[LevelStatistics, ...], data: PhotonTransferData, rounding: float
) -> Choice:
    """The fit of the levels up to saturation; where a knee or a step of the read noise shows, with that in it."""
    found = find_break(data)
    choice = None if found is None else _fit_with_knee(found, rounding, captures.root)
    if choice is not None and int(np.sum(data.used_bright & np.isfinite(data.variance_dn2))) < _FEWEST_TO_COMPARE:
        return choice
    data = require_levels(data, captures.root)
    covariances = _covariances(captures, levels, data)
    if found is None or choice is None:
        step = None if found is not None else find_step(data)
        if step is not None:
            stepped = converged_fit(data, rounding, captures.root, covariances, step)
            describes = stepped.chosen.deviance_per_dof <= (FLAGS["over_dispersed"].threshold or 0.0)
            if stepped.chosen.layout.index("step") is not None and describes:
                return stepped
        plain = converged_fit(data, rounding, captures.root, covariances)
        doubt = doubt_a_knee(data) if found is None else None
        return plain if doubt is None else replace(plain, knee=doubt)
    try:
        plain = converged_fit(data, rounding, captures.root, covariances)
    except PhotonbitsError:
        return choice
    limit = max(FLAGS["over_dispersed"].threshold or 0.0, _WORSE_WITH_KNEE * plain.chosen.deviance_per_dof)
    if choice.chosen.deviance_per_dof <= limit:
        return choice
    code = max(start.below_dn for start in found.starts)
    return replace(plain, knee=KneeDoubt(code, "two straight slopes do not describe the levels beyond it"))


def _fit_with_knee(found: Break, rounding: float, where: object) -> Choice | None:
    """The fit of the levels on both sides of a knee; None where the criterion sees none there."""
    try:
        choice = converged_fit(found.data, rounding, where, (), found)
    except PhotonbitsError:
        return None
    knee = choice.chosen.layout.knee(choice.chosen.theta)
    return choice if knee is not None and knee.slope >= LEAST_SLOPE else None


def converged_fit(
    data: PhotonTransferData,
    rounding: float,
    where: object,
    covariances: tuple[NeighbourCovariances, ...],
    found: Break | Step | None = None,
) -> Choice:
    """The fit, of real values in units of their noise; data that send it to infinity are an error with a remedy."""
    unit = noise_unit_dn(data, rounding)
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scaled = tuple(times(entry, 1 / unit) for entry in covariances)
            choice = fit_photon_transfer(times(data, 1 / unit), rounding, scaled, times(found, 1 / unit))
            choice = times(choice, unit)
        criteria = np.array([candidate.bic for candidate in choice.candidates])
        finite = (choice.chosen.theta, choice.chosen.covariance, criteria)
        if all(np.all(np.isfinite(values)) for values in finite):
            return choice
    except np.linalg.LinAlgError:
        pass
    raise PhotonbitsError(
        f"the fit of {int(np.sum(data.used_bright))} bright and {int(np.sum(data.dark))} dark levels does not converge",
        where=where,
        legal="means and variances that rise together",
        remedy="Use larger frames or more levels, and look at calibrate inspect for files in the wrong level",
    )


def guess_bit_depth(levels: tuple[LevelStatistics, ...]) -> int:
    """The least common bit depth that holds the largest code."""
    top = int(max(level.maximum_code for level in levels))
    return next((bits for bits in _COMMON_BIT_DEPTHS if top < 2**bits), max(1, top.bit_length()))


def white_clip(levels: tuple[LevelStatistics, ...], bit_depth: int | None) -> float | None:
    """Highest code: where many pixels of the brightest level pile up, else the converter's last."""
    if bit_depth is None:
        return None
    brightest = max(levels, key=lambda level: level.mean_dn)
    if brightest.maximum_fraction > 0.3 and brightest.kind == "bright":
        return brightest.maximum_code
    return float(2**bit_depth - 1)


def _measure_maps(
    captures: CaptureSet,
    levels: tuple[LevelStatistics, ...],
    data: PhotonTransferData,
    choice: Choice,
    rounding: float,
) -> MeasuredMaps:
    if captures.points:
        raise PhotonbitsError("a table of points has no pixels", where=captures.root, remedy="Fit it with --no-maps")
    layout, theta = choice.chosen.layout, choice.chosen.theta
    gain = layout.get(theta, "gain")
    response = layout.response(theta)
    used = data.used_bright
    rate = layout.get(theta, "dark_rate") / gain if layout.index("dark_rate") is not None else None
    offset, still = layout.get(theta, "offset"), max(layout.get(theta, "dark_variance"), 0.0)
    dark_rounding = 0.0
    if rounding > 0:
        pattern = np.array([data.offset_variance_dn2])
        dark_rounding = float(rounded_moments(np.array([offset]), np.array([still]), pattern)[1][0]) - still
    u = response.inverse(data.mean_dn[used] - offset)
    plain = response.derivative(u) ** 2 * (gain * u + still) + rounding
    ratio = choice.chosen.residuals.fitted_variance[used] / np.maximum(plain, 1e-300)
    from calibrate.pixel_maps import ScalarFit, measure_maps

    fit = ScalarFit(
        system_gain_dn_per_e=gain,
        offset_dn=offset,
        dark_current_e_per_s=rate,
        read_noise_e=float(np.sqrt(still) / gain),
        response=response,
        bright_range_dn=(float(np.min(data.mean_dn[used])) - 1, float(np.max(data.mean_dn[used])) + 1),
        rounding_dn2=rounding,
        dark_rounding_dn2=dark_rounding,
        variance_ratio=tuple(zip(data.mean_dn[used].tolist(), ratio.tolist(), strict=True)),
    )
    return measure_maps(captures, fit, [level.frame_means_dn for level in levels])
