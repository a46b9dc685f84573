"""estimate_information: raw frames and a noise model in, bits per pixel with an honest interval out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError, __version__
from mi_eval.code_lengths import Density
from mi_eval.doubts import doubts_of
from mi_eval.fit_spread import FitSpread, effective_dof
from mi_eval.learning import learning_curve
from mi_eval.measurements import FrameSource, Measurements, frames_from_array, frames_from_paths
from mi_eval.per_channel import channel_estimates
from mi_eval.result import (
    ConditionalEstimate,
    InformationEstimate,
    IntervalEstimate,
    ModelRecord,
    undecided_bits,
)
from mi_eval.scenes import effective_scenes
from mi_eval.score_parts import ScoreParts, measure_parts
from mi_eval.shown import score_details, with_curve
from mi_eval.two_shots import two_shot_bound
from mi_eval.warnings import ScoreWarning, threshold, warning

__all__ = ["InformationEstimate", "estimate_information"]

FloatArray = NDArray[np.float64]


def estimate_information(
    frames: NDArray[Any] | Sequence[NDArray[Any] | str | Path],
    noise_model: NoiseModel | str | Path,
    *,
    patch_size: int = 16,
    seed: int = 0,
    max_patches: int = 20_000,
    with_learning_curve: bool = False,
    exposure_s: float | None = None,
    deterministic: bool = False,
    shift_bits: int = 0,
    roi: bool = False,
    per_channel: bool = False,
    two_shots: bool = False,
    burst: bool | None = None,
    accept_processed: bool = False,
    keep: Callable[[ScoreParts], None] | None = None,
    density: Density = "auto",
) -> InformationEstimate:
    r"""Mutual information between scenes and raw frames, in bits per pixel, with a 95 % interval.

    .. math:: I(X;Z) = H(Z) - H(Z|Y)

    H(Z) is the code length of held-out frames under density models of the integer codes, an upper bound whatever
    the models; H(Z|Y) is the entropy that the noise model adds, averaged over the law of light behind the codes.

    Parameters
    ----------
    frames : array (n_frames, height, width), or sequence of frames or of paths
        Raw codes, integer exactly when the noise model has a bit depth.
    noise_model : NoiseModel or path
    patch_size : int
        Side of the square patches, pixels. Information per pixel depends on it: compare at one size only.
    seed : int
        Which patches are used where there are more than ``max_patches``, and how frames are dealt into folds.
    max_patches : int
    with_learning_curve : bool
        Score quarters and halves of the frames as well.
    exposure_s : float, optional
        Exposure of the frames (default: what the files say): with it dark charge is left out of the mean signal, and
        the pattern of the dark current out of the scene.
    shift_bits : int
        Empty low bits to take off every code of left-aligned frames.
    roi : bool
        Frames of half (a third ...) of the calibrated size are a region of interest, not binned.
    burst : bool, optional
        True: all frames show one still scene; False: none repeats another. Default: look.
    per_channel : bool
        Score every colour filter or tap alone as well.
    two_shots : bool
        Find a lower bound from two shots of each of 50 scenes or more (with torch).
    density : {"auto", "closed-form", "network", "reference"}
        Families of densities: the closed-form ones alone; with a neural network where they leave something that the
        causal past explains ("auto", with torch installed) or in any case; also with the slow reference network.
    deterministic : bool
        Leave timings out, so that the result is the same bytes every time.
    accept_processed : bool
        Score frames that were denoised or demosaiced all the same; the score is then no absolute number.
    keep : callable, optional
        Is given what the estimate is put together from, for whatever else is wanted of the same patches.

    Raises
    ------
    PhotonbitsError
        If frames and noise model do not fit together, or there are too few patches.

    Notes
    -----
    ``value`` is the upper bound less the finite-sample excess, taken as the growth of the code length when half of
    the training frames are left out (the excess falls as 1/n). The standard error is that of the per-group
    differences of code length and influence of H(Z|Y), which move together, and the calibration covariance,
    dI = -dH(Z|Y). Non-identifiability, the estimated misfit of the densities, and a correction above 0.05 bit
    per pixel widen the interval as sets.
    """
    parts = measure_parts(
        frame_source(frames).shifted(shift_bits),
        load_model(noise_model),
        patch_size=patch_size,
        seed=seed,
        max_patches=max_patches,
        exposure_s=exposure_s,
        roi=roi,
        density=density,
        burst=burst,
        accept_processed=accept_processed,
    )
    if keep is not None:
        keep(parts)
    estimate = information_estimate(parts, exposure_s=exposure_s, deterministic=deterministic)
    if with_learning_curve:
        curve = learning_curve(parts)
        estimate = replace(estimate, learning_curve=curve, details=with_curve(estimate.details, curve))
    if two_shots:
        bound = two_shot_bound(parts)
        estimate = replace(
            estimate,
            two_shots=bound.to_dict(),
            lower_bound_bits_per_pixel=bound.value if bound.significant else None,
        )
    if not per_channel:
        return estimate
    finish = partial(information_estimate, exposure_s=exposure_s, deterministic=deterministic)
    return replace(estimate, channels=channel_estimates(parts, finish, max_patches=max_patches, density=density))


def load_model(noise_model: NoiseModel | str | Path) -> NoiseModel:
    """The model, read from its file where a path is given."""
    return noise_model if isinstance(noise_model, NoiseModel) else NoiseModel.load(noise_model)


def frame_source(frames: NDArray[Any] | Sequence[NDArray[Any] | str | Path]) -> FrameSource:
    """Frames in memory, or in files."""
    if isinstance(frames, np.ndarray):
        return frames_from_array(frames)
    arrays = [frame for frame in frames if isinstance(frame, np.ndarray)]
    if not arrays:
        return frames_from_paths([frame for frame in frames if not isinstance(frame, np.ndarray)])
    shapes = {frame.shape for frame in arrays}
    if len(arrays) < len(frames) or len(shapes) > 1:
        raise PhotonbitsError(f"frames of shapes {sorted(map(str, shapes))}", legal="arrays of one shape, or paths")
    return frames_from_array(np.stack(arrays))


def information_estimate(
    parts: ScoreParts, *, exposure_s: float | None = None, deterministic: bool = False
) -> InformationEstimate:
    """The score that the measured parts add up to; see `estimate_information`."""
    data, noise, heldout, model = parts.data, parts.noise, parts.heldout, parts.model
    exposure_s = parts.exposure_s if exposure_s is None else exposure_s
    pixels = parts.patch_size**2
    upper_entropy, mean_excess = float(parts.share @ parts.code_bits), float(parts.share @ parts.excess_bits)
    value = parts.value_bits
    sampling = parts.sampling_std_bits
    calibration = float(np.hypot(parts.calibration.std_bits, noise.correlation_std_bits))
    fits = parts.fit_spread
    std = float(np.linalg.norm([sampling, fits.std_bits, calibration]))
    reach = student_quantile(sampling, fits, calibration, parts.group_bits.size - 1) * std
    conditional = ConditionalEstimate(noise.value_bits, noise.interval_bits, noise.identifiable)
    down, up = undecided_bits(conditional, heldout.slack_bits, mean_excess)
    ci95 = (value - reach - down, value + reach + up)
    law = noise.law
    mean_charge = law.mean_e if law is not None else _mean_charge(data, model)
    mean_signal = mean_charge - _dark_charge(model, exposure_s)
    scenes = effective_scenes(data.thumbnails, parts.seed)
    # Families without weight code a share of the patches only.
    family_bits = np.nanmean(heldout.family_bits, axis=0) / pixels
    estimate = InformationEstimate(
        mutual_information_bits_per_pixel=IntervalEstimate(value, std, ci95),
        upper_bound_bits_per_pixel=upper_entropy - noise.interval_bits[0],
        lower_bound_bits_per_pixel=None,
        slack_bits_per_pixel=heldout.slack_bits,
        marginal_entropy_bits_per_pixel=upper_entropy - mean_excess,
        conditional_entropy_bits_per_pixel=conditional,
        entropy_kind="differential" if noise.differential else "discrete",
        bits_per_electron=value / mean_signal if mean_signal > 0 else None,
        mean_signal_e=mean_signal,
        frames=data.n_frames,
        patches_used=data.patches.n_patches,
        patch_size=parts.patch_size,
        saturated_fraction=data.saturated_fraction,
        models=tuple(
            ModelRecord(name, float(bits), float(weight), None if deterministic else float(seconds))
            for name, bits, weight, seconds in zip(
                heldout.names, family_bits, heldout.weights, heldout.seconds, strict=True
            )
        ),
        warnings=(
            *parts.checks,
            *doubts_of(data, model, noise, ci95, exposure_s, pixels, scenes, heldout.no_torch),
            *_excess_doubt(mean_excess),
        ),
        noise_model={"path": None if model.path is None else str(model.path), "sha256": model.sha256},
        seed=parts.seed,
        version=__version__,
        error_budget_bits_per_pixel={
            "sampling": sampling,
            "fits": fits.std_bits,
            "calibration": calibration,
            "finite_sample_excess": mean_excess,
            "slack": heldout.slack_bits,
            "correlated_noise": 0.0 - noise.correlation_bits,
            "conditional_entropy": float(np.hypot(noise.sampling_std_bits, calibration)),
        },
        effective_scenes=scenes,
        excess_method=heldout.excess_method,
    )
    repeats = parts.repeats
    bursts = repeats.to_dict() if repeats is not None and repeats.n_scenes < data.n_frames else None
    return replace(estimate, details=score_details(parts), bursts=bursts)


def _excess_doubt(excess_bits: float) -> tuple[ScoreWarning, ...]:
    """More training frames must shorten a code, by little: elsewhere the correction is noise, or no law of 1/n."""
    if excess_bits > threshold("excess_large"):
        return (warning("excess_large", excess=excess_bits),)
    if excess_bits >= -threshold("excess_negative"):
        return ()
    return (warning("excess_negative", excess=excess_bits),)


def student_quantile(sampling: float, fits: FitSpread, calibration: float, dof: int) -> float:
    """97.5 % point of Student's t; degrees of freedom by Welch and Satterthwaite, the calibration's taken as many."""
    if dof < 1:
        return float(stats.t.ppf(0.975, 1))
    variances = [sampling**2, fits.std_bits**2, calibration**2]
    return float(stats.t.ppf(0.975, effective_dof(variances, [dof, fits.dof, None])))


def _mean_charge(data: Measurements, model: NoiseModel) -> float:
    camera = model.camera
    mean = float(np.mean(data.patches.codes, dtype=np.float64)) - float(np.mean(camera.offset_dn))
    return mean / float(camera.system_gain_dn_per_e)


def _dark_charge(model: NoiseModel, exposure_s: float | None) -> float:
    entry = model.parameter("dark_current_e_per_s")
    return 0.0 if entry is None or exposure_s is None else entry.value * exposure_s
