"""The registry of doubts about an edge: every one has a code, a threshold where one applies, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EdgeWarning:
    """A doubt about a measured edge."""

    code: str
    message: str


_SENTENCES: dict[str, tuple[str, float | None]] = {
    "noise_above_model": (
        "The {side} side has {ratio:.2f} times the noise variance that the noise model predicts: fixed pattern (a "
        "model without maps), a textured chart, other settings, or a wrong model. Errors are widened to match.",
        None,
    ),
    "noise_below_model": (
        "The {side} side has {ratio:.2f} times the noise variance that the noise model predicts: the frame was "
        "denoised, averaged or resampled, or taken at other settings. The capacity from the model is then too low.",
        None,
    ),
    "nonlinear_data": (
        "Noise variance grows {observed:.2f} times from the dark to the bright side, and {expected:.2f} times by the "
        "noise model: the codes may carry a tone curve (gamma, log), or the model is of other settings.",
        None,
    ),
    "sharpened": (
        "The edge overshoots its sides by {overshoot:.1f} % and the MTF reaches {peak:.2f}: sharpening. MTF and "
        "capacity are those of the processing, not of the camera.",
        None,
    ),
    "correlated_noise": (
        "Noise of neighbours correlates by {correlation:+.2f}: processed data, or read-out noise that the model takes "
        "as independent. Use the capacity from the measured spectrum.",
        0.05,
    ),
    "uneven_light": (
        "The sides are not flat: the light changes by {percent:.0f} % of the step over the {side} one. Low frequencies "
        "of the MTF suffer.",
        0.10,
    ),
    "curved_edge": (
        "The edge is bent by {bend:.2f} px; the curve was followed (order {order}).",
        0.1,
    ),
    "ragged_edge": (
        "Pixels on the edge vary {ratio:.1f} times as much as the noise explains: a ragged edge, or a blur that "
        "changes along it. The MTF is a mean.",
        1.5,
    ),
    "noisy": (
        "The standard error of MTF50 is {percent:.0f} % of it: use a longer edge or more light.",
        0.05,
    ),
    "no_mtf50": (
        "The MTF does not fall to one half below 1 cycle per pixel: there is no MTF50.",
        None,
    ),
    "few_flat_pixels": (
        "The {side} side has too few flat pixels beside the edge for a noise spectrum: make the region wider.",
        None,
    ),
    "clipped": (
        "{percent:.2g} % of the pixels of the {side} side sit at a clip: noise is cut off there.",
        0.001,
    ),
    "low_angle_span": (
        "The edge crosses {cycles:.1f} pixel columns: fewer than {threshold:.0f} give each quarter pixel few lines.",
        3,
    ),
    "outside_validity": (
        "Signals reach {signal_dn:.0f} DN above the offset; the noise model was measured up to {limit_dn:.0f} DN.",
        None,
    ),
    "not_measured": (
        "The noise model was given, not measured: errors leave its own out.",
        None,
    ),
    "dark_unknown": (
        "The noise model has dark current, but the exposure is unknown: dark charge counts as signal in the noise-"
        "equivalent quanta. Give --exposure-s.",
        None,
    ),
}


def threshold(code: str) -> float:
    """Where a doubt starts."""
    value = _SENTENCES[code][1]
    if value is None:
        raise KeyError(f"{code} has no threshold")
    return value


def edge_warning(code: str, **values: object) -> EdgeWarning:
    """A doubt with its sentence filled in."""
    sentence, limit = _SENTENCES[code]
    return EdgeWarning(code, sentence.format(threshold=limit, **values))
