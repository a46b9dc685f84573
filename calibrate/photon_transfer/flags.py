"""Which doubts a fit raises: every one through the registry in `calibrate.flags`."""

from __future__ import annotations

import numpy as np

from calibrate.captures.capture_set import CaptureSet
from calibrate.flags import FLAGS, flag
from calibrate.level_statistics import LevelStatistics
from calibrate.photon_transfer.data import PhotonTransferData
from calibrate.photon_transfer.fit import Choice
from calibrate.photon_transfer.gauss_newton import LEAST_DARK_VARIANCE_DN2, Candidate
from calibrate.photon_transfer.knee import Knee
from calibrate.photon_transfer.likelihood import inverse_at, shot_noise
from calibrate.photon_transfer.saturation import Saturation
from calibrate.photon_transfer.smoothing import Smoothing, find_smoothing
from calibrate.photon_transfer.units import noise_unit_dn
from calibrate.schema import FlagEntry

#: Share of a normal law beyond the four standard deviations of the cut, and three standard errors of it in 1 Mpx.
_NOISE_BEYOND_CUT = 9e-5


def raise_flags(
    captures: CaptureSet,
    levels: tuple[LevelStatistics, ...],
    data: PhotonTransferData,
    choice: Choice,
    saturation: Saturation | None,
    guessed_bit_depth: int | None,
) -> tuple[FlagEntry, ...]:
    """All doubts about a fit, the weightiest first."""
    fit = choice.chosen
    out: list[FlagEntry] = []
    smoothing = _smoothing_of(captures, levels, data, fit)
    if smoothing is not None:
        total = smoothing.sum_of_correlations
        values = {"gain_off": _off(total), "read_off": _off(1 / np.sqrt(total))}
        out.append(flag("denoised", correlation=smoothing.correlation, total=total, **values))
    knee = fit.layout.knee(fit.theta)
    if knee is not None:
        beyond = data.used_bright & (data.mean_dn - fit.layout.get(fit.theta, "offset") > knee.knee_dn)
        out.append(flag("two_slopes", knee_dn=knee.knee_dn, slope=knee.slope, n_levels=int(np.sum(beyond))))
        uneven = float(np.sqrt(knee.light_pattern))
        if uneven > (FLAGS["knee_light_uneven"].threshold or 0):
            out.append(flag("knee_light_uneven", percent=100 * uneven))
        out.extend(_late_noise_flags(data, fit, knee))
    elif fit.layout.index("step") is not None:
        out.append(_step_flag(fit))
    elif fit.name != "linear":
        straight = choice.candidates[0]
        shift = 100 * (straight.theta[0] / fit.theta[0] - 1)
        out.append(flag("photon_transfer_nonlinear", shift_percent=shift, model=fit.name.replace("_", " ")))
    if choice.knee is not None:
        out.append(flag("knee_not_fitted", code_dn=choice.knee.code_dn, reason=choice.knee.reason))
    if fit.deviance_per_dof > (FLAGS["over_dispersed"].threshold or 0) and data.known_errors:
        out.append(flag("over_dispersed", deviance_per_dof=fit.deviance_per_dof))
    if data.offset_is_zero:
        out.append(flag("no_darks"))
    if not data.has_light_axis:
        out.append(flag("light_unknown"))
    out.extend(_brighter_fatter_flags(data, choice))
    if not np.all(np.isfinite(data.exposure_s)):
        out.append(flag("no_exposures"))
        if np.any(data.charged):
            above = np.max(data.mean_dn[data.charged]) - np.min(data.mean_dn[data.still])
            out.append(flag("dark_exposures_unknown", spread_dn=float(above)))
    elif not data.offset_is_zero and not data.has_dark_exposures:
        out.append(flag("one_dark_level"))
    n_levels = int(np.sum(data.used_bright))
    if n_levels < (FLAGS["too_few_levels"].threshold or 0):
        out.append(flag("too_few_levels", n_levels=n_levels))
    clipped = int(np.sum(data.bright & (data.clipped_fraction > 0) & ~data.usable))
    if clipped:
        out.append(flag("white_clipped", n_levels=clipped))
    if saturation is None:
        highest = float(np.max(data.mean_dn))
        out.append(flag("not_saturated", highest_dn=f"{highest:.0f}" if highest >= 100 else f"{highest:.3g}"))
    if guessed_bit_depth is not None:
        largest = int(max(level.maximum_code for level in levels))
        out.append(flag("bit_depth_guessed", bit_depth=guessed_bit_depth, largest=largest))
    third = choice.third
    if third.skewness_ratio - 1 > max(FLAGS["excess_noise_suspected"].threshold or 0, 5 * third.skewness_ratio_std):
        out.append(flag("excess_noise_suspected", ratio=third.skewness_ratio, error=third.skewness_ratio_std))
    if data.gain_pattern > 0:
        percent = 100 * float(np.sqrt(data.gain_pattern))
        out.append(flag("gain_pattern", percent=percent, shift_percent=100 * data.gain_pattern))
    light = 100 * fit.nuisance.light
    if light > (FLAGS["light_scatter"].threshold or 0):
        out.append(flag("light_scatter", percent=light))
    out.extend(_frame_flags(levels, data, choice))
    return tuple(out)


def _smoothing_of(
    captures: CaptureSet, levels: tuple[LevelStatistics, ...], data: PhotonTransferData, fit: Candidate
) -> Smoothing | None:
    if not levels or data.offset_is_zero:
        return None
    return find_smoothing(captures, levels, fit, float(np.max(data.mean_dn[data.used_bright])))


def _off(factor: float) -> str:
    """How far off a value is that should be multiplied by ``factor``."""
    return f"{factor:.2g} times too small" if factor >= 1 else f"{1 / factor:.2g} times too large"


def _step_flag(fit: Candidate) -> FlagEntry:
    """Read noise below and above a hand-over; the noise model has one of them."""
    layout, theta = fit.layout, fit.theta
    gain, w, step = (layout.get(theta, name) for name in ("gain", "dark_variance", "step"))
    shot = gain * (layout.hand_over_dn - layout.get(theta, "offset"))
    return flag(
        "read_noise_step",
        code_dn=layout.hand_over_dn,
        low_e=float(np.sqrt(max(w, 0.0))) / gain,
        high_e=float(np.sqrt(max(w + step, 0.0))) / gain,
        percent=100 * step / (shot + w + step),
    )


def _late_noise_flags(data: PhotonTransferData, fit: Candidate, knee: Knee) -> list[FlagEntry]:
    """Read noise that arises after the knee is more than a noise model with all noise before it holds."""
    if not knee.late_dn2:
        return []
    u = inverse_at(fit.theta, fit.layout, np.array([knee.knee_dn]))
    before = knee.slope**2 * (knee.gain * float(u[0]) + knee.late_dn2)
    missing = (1 - knee.slope**2) * knee.late_dn2
    return [flag("read_noise_after_knee", percent=100 * missing / (before + missing))]


def _brighter_fatter_flags(data: PhotonTransferData, choice: Choice) -> list[FlagEntry]:
    fit = choice.chosen
    if choice.shifts is not None:
        offset, gain = fit.layout.get(fit.theta, "offset"), fit.layout.get(fit.theta, "gain")
        signal = float(np.max(data.mean_dn[data.used_bright])) - offset
        x = inverse_at(fit.theta, fit.layout, np.array([signal]))
        share = float(shot_noise(fit.theta, fit.layout, x)[0][0] / (gain * x[0]))
        return [
            flag(
                "brighter_fatter",
                own=fit.layout.get(fit.theta, "a00"),
                conserved=float(choice.shifts.a_per_e[0, 0]),
                error=float(choice.shifts.a_std_per_e[0, 0]),
                percent=100 * (1 / share - 1),
                signal_dn=signal,
            )
        ]
    other = next((c for c in choice.candidates if c.name == "brighter_fatter_constant"), None)
    if other is None or fit.layout.degree == 0:
        return []
    shift = 100 * (other.theta[0] / fit.theta[0] - 1)
    return [flag("brighter_fatter_undecided", shift_percent=shift, bic=other.bic - fit.bic)]


def _frame_flags(levels: tuple[LevelStatistics, ...], data: PhotonTransferData, choice: Choice) -> list[FlagEntry]:
    out: list[FlagEntry] = []
    darks = [level for level in levels if level.kind == "dark"]
    if not darks:
        return out
    at_zero = max(level.minimum_fraction if level.minimum_code == 0 else 0.0 for level in darks)
    if at_zero > (FLAGS["black_clipped"].threshold or 0):
        out.append(flag("black_clipped", percent=100 * at_zero))
    bits = 0
    for level in levels:
        bits |= level.code_bits
    step = bits & -bits if bits else 1
    top = max(level.maximum_code for level in levels)
    if step >= 4:
        out.append(flag("left_aligned", step=step, bits=max(1, int(top).bit_length() - step.bit_length() + 1)))
    w = choice.chosen.layout.get(choice.chosen.theta, "dark_variance")
    noise = float(np.sqrt(max(w, 0.0)))
    rounded = choice.chosen.layout.rounding_dn2
    if w <= 2 * LEAST_DARK_VARIANCE_DN2 * noise_unit_dn(data, rounded) ** 2:
        out.append(flag("read_noise_not_positive", least="that of rounding" if rounded > 0 else "zero"))
    elif rounded > 0 and noise < (FLAGS["coarse_quantisation"].threshold or 0) * step:
        out.append(flag("coarse_quantisation", noise_dn=noise))
    offset = choice.chosen.layout.get(choice.chosen.theta, "offset")
    dimmest = 10 * max(noise, 1.0 if rounded > 0 else 0.0)
    worst, sigmas = 0.0, 0.0
    for level in levels:
        if level.kind != "bright" or level.n_frames < 2 or level.mean_dn - offset < dimmest:
            continue
        spread = float(np.ptp(level.frame_means_dn))
        share = 100 * spread / (level.mean_dn - offset)
        if share > worst:
            variance = level.temporal_variance_dn2(offset) or 0.0
            worst = share
            sigmas = spread / np.sqrt(max(2 * variance / level.n_pixels, 1e-12 * spread**2, 1e-300))
    if worst > (FLAGS["drift"].threshold or 0) and sigmas > 5:
        out.append(flag("drift", percent=worst, sigmas=sigmas))
    # Beyond a full well the few pixels that are not full yet stand out.
    last = float(np.max(data.mean_dn[data.used_bright])) + (offset if data.offset_is_zero else 0.0)
    unsaturated = [level for level in levels if level.kind == "dark" or level.mean_dn <= last + 1e-6]
    # One difference of large frames reaches six standard deviations by chance, and the cut takes all beyond four.
    least = (FLAGS["outliers"].threshold or 0) + _NOISE_BEYOND_CUT
    struck = [level for level in unsaturated if level.rejected_fraction > least]
    if struck:
        worst_share = max(level.rejected_fraction for level in struck)
        out.append(flag("outliers", n_levels=len(struck), percent=100 * worst_share))
    # Where light rules the noise: in the dark a heavy tail is the read noise of hot pixels.
    heavy = FLAGS["heavy_tails"].threshold or 0
    lit = data.used_bright & (choice.chosen.residuals.fitted_variance > heavy * 4 * max(noise**2, rounded))
    knee = choice.chosen.layout.knee(choice.chosen.theta)
    if knee is not None:  # a level at the knee has tails of its own
        signal = data.mean_dn - choice.chosen.layout.get(choice.chosen.theta, "offset")
        lit &= ~knee.is_near(inverse_at(choice.chosen.theta, choice.chosen.layout, signal))
    wild = lit & (data.kurtosis > 3.0 * heavy + 10 * np.sqrt(24.0 / data.variance_samples))
    if np.any(wild):
        out.append(flag("heavy_tails", n_levels=int(np.sum(wild)), kurtosis=float(np.max(data.kurtosis[wild]))))
    correlations = [rho for level in darks for rho in level.neighbour_correlation if level.pairs]
    if correlations:
        n_pixels = sum(level.n_pixels * len(level.pairs) for level in darks)
        mean = float(max(np.mean(correlations[0::2]), np.mean(correlations[1::2]), key=abs))
        if abs(mean) > max(FLAGS["correlated_noise"].threshold or 0, 5 / np.sqrt(n_pixels)):
            out.append(flag("correlated_noise", correlation=mean))
    return out
