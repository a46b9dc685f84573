"""The registry of what `check` may find wrong: a code, a threshold, a sentence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

#: Standard errors from which on anything but the variances and the transform is believed.
SIGMAS = 5.0


@dataclass(frozen=True)
class Diagnosis:
    """One kind of disagreement.

    Parameters
    ----------
    code : str
    sentence : str
        What was found; ``{...}`` fields are filled in by whoever raises it.
    remedy : str
        What to do.
    threshold : float or None
        Where it starts, in the unit the sentence names. Besides, each must be beyond chance (five standard errors,
        or the levels of `ranges` and `transform`).
    """

    code: str
    sentence: str
    remedy: str
    threshold: float | None = None


@dataclass(frozen=True)
class Finding:
    """A diagnosis with its sentence filled in."""

    code: str
    message: str
    remedy: str


_DIAGNOSES = (
    Diagnosis(
        "left_aligned",
        "All codes are multiples of {step}: the captures are left-aligned in a larger word, {model}.",
        "{advice}",
        2,
    ),
    Diagnosis(
        "saturated",
        "{percent:.2g} % of the pixels of a level pile up at code {code:.0f}, below the model's ceiling of "
        "{ceiling_dn:.0f} DN: the captures saturate earlier than the model says.",
        "Check that bit depth, gain setting and read-out mode are those of the calibration.",
        1e-3,
    ),
    Diagnosis(
        "clipped_black",
        "{percent:.2g} % of the {kind} pixels sit at the lowest code, {lowest}; the model expects {expected:.2g} %.",
        "Raise the camera's black level to that of the calibration, and switch off any black subtraction.",
        1e-4,
    ),
    Diagnosis(
        "drift",
        "The mean of {kind} frames that were meant to be equal moves by {amount}: {what} drift.",
        "{advice}",
        1.0,
    ),
    Diagnosis(
        "offset_shift",
        "The darks lie {shift_dn:+.3g} DN from the model's offset ({sigmas:.1f} of the dark noise; the model says "
        "{offset_dn:.2f} DN).",
        "Black level, temperature or gain setting differ from the calibration: restore them, or fit anew.",
        0.1,
    ),
    Diagnosis(
        "dark_current_changed",
        "The darks rise by {rate_e_per_s:.3g} e-/s, the model's dark current is {model_e_per_s:.3g} e-/s.",
        "The sensor's temperature differs from the calibration: restore it, or fit anew.",
        0.1,
    ),
    Diagnosis(
        "extra_row_noise",
        "Whole {lines} jump together from frame to frame by {noise_dn:.2g} DN ({percent:.2g} % of the {kind} "
        "variance); the model's noise is independent from pixel to pixel.",
        "{advice}",
        0.01,
    ),
    Diagnosis(
        "correlated_noise",
        "Noise of neighbouring pixels correlates by {correlation:+.3f} in the {kind} frames ({loss_bits:.2g} bit per "
        "pixel); the model's is independent from pixel to pixel.",
        "Look for interpolation, resampling, lossy compression or cross-talk of pixels; information per pixel would be "
        "wrong by about that much.",
        0.002,
    ),
    Diagnosis(
        "denoised",
        "The variance is {ratio:.2f} of the predicted one and neighbours correlate by {correlation:+.3f}: the frames "
        "were smoothed or denoised.",
        "Switch off noise reduction, sharpening, binning by averaging and demosaicing, and shoot raw frames.",
    ),
    Diagnosis(
        "wrong_gain_setting",
        "The frames fit a system gain {ratio:.3g} times the model's: {gain_dn_per_e:.4g} DN/e- instead of "
        "{model_dn_per_e:.4g}.{rivals}",
        "Check the camera's gain or ISO setting, or use the model of the setting that was used.",
    ),
    Diagnosis(
        "excess_noise",
        "Noise that light brings is {factor:.3g} times the predicted one, in variance, at the same mean.{rivals}",
        "Look for an amplification with noise of its own (electron multiplying, intensifier), a flickering lamp inside "
        "pairs, or vibration; darks and dim frames tell it from a wrong gain.",
    ),
    Diagnosis(
        "nonlinearity",
        "Small signals agree, and the misfit grows with the signal to {percent:+.3g} % of the variance at "
        "{signal_dn:.0f} DN above the offset.{rivals}",
        "The response is not the model's at large signals: fit anew with levels up to saturation, in this mode.",
    ),
    Diagnosis(
        "read_noise_changed",
        "Read noise is {noise_dn:.3g} DN instead of {model_dn:.3g} DN; what light adds to it agrees.{rivals}",
        "Check temperature, read-out speed and mode; fit anew with darks of this state.",
    ),
    Diagnosis(
        "noise_shape",
        "In the {kind} range at {mean_dn:.0f} DN the distribution has another shape than the model's ({loss_bits:.2g} "
        "bit per pixel), whatever its variance.",
        "{advice}",
        0.002,
    ),
    Diagnosis(
        "uneven_noise",
        "Noise differs over the frame by {percent:.2g} % (rms of its variance, at like signals); the region that "
        "stands out most, row {row}, column {column} of {rows} x {columns}, has {ratio:.2f} of the mean.",
        "Look for taps or amplifiers with a gain of their own, and glow; fit with --maps, or channel by channel.",
        0.03,
    ),
    Diagnosis(
        "unexplained",
        "Observed and predicted variances differ by up to {percent:.2g} % and no single cause above accounts for it."
        "{known}",
        "Look at the table for where they differ, and at the fit's report and doubts; fit anew on these captures and "
        "compare.",
        0.005,
    ),
)

DIAGNOSES: dict[str, Diagnosis] = {entry.code: entry for entry in _DIAGNOSES}


def finding(code: str, /, **values: object) -> Finding:
    """A diagnosis with its sentence filled in.

    Parameters
    ----------
    code : str
        A key of `DIAGNOSES`.
    **values
        What the fields of the sentence and the remedy name.
    """
    entry = DIAGNOSES[code]
    return Finding(code, entry.sentence.format(**values), entry.remedy.format(**values))


def threshold(code: str) -> float:
    """Where a diagnosis starts; 0 where it has no threshold of its own."""
    return DIAGNOSES[code].threshold or 0.0
