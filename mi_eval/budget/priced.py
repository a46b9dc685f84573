"""information_budget: raw frames and a noise model in, the price of every imperfection in bits per pixel out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from calibrate import NoiseModel
from calibrate.plumbing.progress import track
from mi_eval.budget.parts import PARTS, Known
from mi_eval.budget.result import BitsEstimate, BudgetPart, Efficiency, InformationBudget
from mi_eval.budget.spectrum import information_spectrum
from mi_eval.budget.surrogate import Scenes, information_bits, photon_limit_bits, scenes_of
from mi_eval.estimate import InformationEstimate, estimate_information, frame_source, load_model
from mi_eval.measurements import Measurements, cut_patches
from mi_eval.score_parts import ScoreParts
from mi_eval.warnings import threshold, warning

FloatArray = NDArray[np.float64]

ENSEMBLE = (
    "light with the one-pixel law deconvolved from these frames and the correlation of their neighbouring pixels "
    "(Gaussian copula)"
)
_METHOD = "gaussian_copula"
_THETA = ("system_gain_dn_per_e", "read_noise_e")
_AS_FITTED, _ALL_OFF, _LIMIT, _INTERACTION, _EFFICIENCY = (
    "as_fitted",
    "all_off",
    "noiseless_readout_limit",
    "interaction",
    "efficiency",
)


def information_budget(
    frames: NDArray[Any] | Sequence[NDArray[Any] | str | Path],
    noise_model: NoiseModel | str | Path,
    *,
    patch_size: int = 16,
    seed: int = 0,
    max_patches: int = 20_000,
    exposure_s: float | None = None,
    row_noise_e: float | None = None,
    drift_e: float | None = None,
) -> InformationBudget:
    r"""The price of each imperfection of a camera on the light of given frames, in bits per pixel.

    An imperfection is switched off in the fitted model, and the information of the same light is computed again:

    .. math:: I_v = I_1(F, v) + \frac1{2D} \log_2\det R_v - \frac1{2D} \log_2\det C_v

    with I_1 the exact information of one pixel whose light has the law F, R_v the correlation of the codes' normal
    scores in a patch of D pixels, and C_v that of the noise (the identity unless rows or frames share noise).

    Parameters
    ----------
    frames, noise_model, patch_size, seed, max_patches
        As for `mi_eval.estimate_information`.
    exposure_s : float, optional
        Exposure of the frames; dark charge is priced only with it.
    row_noise_e, drift_e : float, optional
        Noise that the pixels of a row, and of a frame, have in common (electrons); default: what the model holds.
        ``read_noise_e`` of the model is then without them.

    Raises
    ------
    PhotonbitsError
        As for `mi_eval.estimate_information`.

    Notes
    -----
    Common random numbers: nothing is drawn at all, so differences have no noise of simulation. Standard errors hold
    the sampling of frames (jackknife over blocks of frames), what the codes leave open about the law of light (half
    the distance to the non-parametric law) and the calibration's gain and read noise, in quadrature.
    """
    model = load_model(noise_model)
    data = cut_patches(frame_source(frames), model, patch_size=patch_size, seed=seed, max_patches=max_patches)
    return budget_of(data, model, seed=seed, exposure_s=exposure_s, row_noise_e=row_noise_e, drift_e=drift_e)


def estimate_with_budget(
    frames: NDArray[Any] | Sequence[NDArray[Any] | str | Path],
    noise_model: NoiseModel | str | Path,
    *,
    seed: int = 0,
    keep: Callable[[ScoreParts], None] | None = None,
    **options: Any,
) -> InformationEstimate:
    """`mi_eval.estimate_information`, and the budget and the efficiency of the same patches; its options.

    The efficiency is None where no information was detected.
    """
    kept: list[ScoreParts] = []
    estimate = estimate_information(frames, noise_model, seed=seed, keep=kept.append, **options)
    parts = kept[0]
    if keep is not None:
        keep(parts)
    budget = budget_of(parts.data, parts.model, seed=seed, exposure_s=parts.exposure_s)
    information = estimate.mutual_information_bits_per_pixel
    detected = information.ci95[0] > 0 and budget.efficiency is not None
    doubts = list(estimate.warnings)
    off = budget.as_fitted.value - information.value
    if information.ci95[0] > 0 and abs(off) > max(threshold("budget_surrogate"), 3 * budget.as_fitted.std):
        doubts.append(warning("budget_surrogate", surrogate=budget.as_fitted.value, score=information.value))
    return replace(
        estimate,
        budget=budget.to_dict(),
        efficiency=budget.efficiency.to_dict() if detected and budget.efficiency is not None else None,
        warnings=tuple(doubts),
    )


def budget_of(
    data: Measurements,
    model: NoiseModel,
    *,
    seed: int = 0,
    exposure_s: float | None = None,
    row_noise_e: float | None = None,
    drift_e: float | None = None,
) -> InformationBudget:
    """`information_budget` of patches that were cut before."""
    known = Known(exposure_s, row_noise_e, drift_e)
    with threadpool_limits(limits=1):
        scenes = scenes_of(data, model, known, seed=seed)
        found = _quantities(scenes, "Pricing imperfections")
        calibration = _calibration_std(data, model, scenes, found, known)
    stds = {name: _std(values, calibration.get(name, 0.0)) for name, values in found.items()}

    def entry(name: str) -> BitsEstimate | None:
        return BitsEstimate(float(found[name][0]), stds[name]) if name in found else None

    as_fitted = entry(_AS_FITTED)
    if as_fitted is None:
        raise ValueError("nothing was computed")
    absent = {name: channel.sensor.absent.get(name) for channel in scenes.channels for name in PARTS}
    efficiency = None
    if _EFFICIENCY in found:
        value, std = float(found[_EFFICIENCY][0]), stds[_EFFICIENCY]
        reach = float(stats.t.ppf(0.975, max(scenes.n_laws - 3, 1))) * std
        efficiency = Efficiency(value, std, (value - reach, value + reach), _METHOD)
    return InformationBudget(
        ensemble=ENSEMBLE,
        method=_METHOD,
        as_fitted=as_fitted,
        parts=tuple(BudgetPart(name, BitsEstimate(float(found[name][0]), stds[name])) for name in scenes.parts),
        not_priced={name: reason for name, reason in absent.items() if reason and name not in scenes.parts},
        all_off=entry(_ALL_OFF),
        noiseless_readout_limit=entry(_LIMIT),
        interaction=entry(_INTERACTION),
        efficiency=efficiency,
        spectrum=information_spectrum(data, scenes),
    )


def _quantities(scenes: Scenes, words: str | None = None) -> dict[str, FloatArray]:
    """Every number of the budget under each law; (n_laws,) each."""
    base = information_bits(scenes, ())
    out = {_AS_FITTED: base}
    for name in track(scenes.parts, words, total=len(scenes.parts)) if words else scenes.parts:
        out[name] = information_bits(scenes, (name,)) - base
    if all(channel.sensor.kind != "gaussian" for channel in scenes.channels):
        out[_ALL_OFF] = information_bits(scenes, scenes.parts)
        out[_LIMIT] = photon_limit_bits(scenes)
        out[_INTERACTION] = out[_ALL_OFF] - base - sum(out[name] for name in scenes.parts)
        out[_EFFICIENCY] = base / np.maximum(out[_LIMIT], 1e-12)
    return out


def _std(values: FloatArray, calibration: float) -> float:
    """Jackknife over the blocks, half the distance to the non-parametric law, and the calibration."""
    left_out = values[1:-1]
    jackknife = 0.0
    if left_out.size > 1:
        jackknife = float(np.sum((left_out - left_out.mean()) ** 2) * (left_out.size - 1) / left_out.size)
    return float(np.sqrt(jackknife + (0.5 * (values[-1] - values[0])) ** 2 + calibration**2))


def _calibration_std(
    data: Measurements,
    model: NoiseModel,
    scenes: Scenes,
    found: dict[str, FloatArray],
    known: Known,
) -> dict[str, float]:
    """Standard errors from those of gain and read noise, by the model moved by one of each; maps keep their shape."""
    covariance = model.document.covariance
    if covariance is None:
        return {}
    names = [name for name in _THETA if name in covariance.names]
    index = [covariance.names.index(name) for name in names]
    matrix = np.array(covariance.matrix)[np.ix_(index, index)]
    steps = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    if not np.any(steps > 0):
        return {}
    plain = model.with_parameters()
    here = _quantities(scenes_of(data, plain, known, like=scenes))
    gradients = []
    for name, step in zip(names, steps, strict=True):
        moved = plain.with_parameters(**{name: getattr(plain.camera, name) + max(step, 1e-12)})
        there = _quantities(scenes_of(data, moved, known, like=scenes))
        gradients.append({key: (there[key][0] - here[key][0]) / max(step, 1e-12) for key in here if key in there})
    out = {}
    for key in found:
        gradient = np.array([entry.get(key, 0.0) for entry in gradients])
        out[key] = float(np.sqrt(max(gradient @ matrix @ gradient, 0.0)))
    return out
