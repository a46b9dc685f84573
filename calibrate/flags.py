"""The registry of doubts: every flag has a code, a threshold where one applies, and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass

from calibrate.schema import FlagEntry


@dataclass(frozen=True)
class Flag:
    """One kind of doubt.

    Parameters
    ----------
    code : str
    sentence : str
        What it means; ``{...}`` fields are filled in by whoever raises it.
    threshold : float or None
        Where it starts, in the unit the sentence names.
    """

    code: str
    sentence: str
    threshold: float | None = None


_FLAGS = (
    Flag(
        "photon_transfer_nonlinear",
        "The photon-transfer curve is not a straight line, which would give a gain off by {shift_percent:+.1f} %. "
        "The system gain given is the slope at small signals of the model {model}.",
    ),
    Flag(
        "over_dispersed",
        "The levels scatter {deviance_per_dof:.1f} times more (in variance) than their noise allows for, so no model "
        "tried describes this camera fully. The uncertainties are widened to match.",
        2.0,
    ),
    Flag("no_darks", "No dark frames: offset and read noise come from the bright frames and may be far off."),
    Flag(
        "no_exposures",
        "The captures do not say how long the exposures were: dark current and linearity cannot be known.",
    ),
    Flag(
        "one_dark_level",
        "Darks at one exposure only: offset and dark current are told apart through the bright frames, if at all.",
    ),
    Flag(
        "too_few_levels",
        "Only {n_levels} bright levels below saturation: curvature cannot be checked and the uncertainty rests on "
        "the noise model alone. Shoot at least {threshold:.0f} levels.",
        6,
    ),
    Flag(
        "black_clipped",
        "{percent:.2g} % of the dark pixels sit at the lowest code: offset, read noise and, by less, the system "
        "gain are off by more than their errors say. Raise the camera's black level and shoot again.",
        1e-4,
    ),
    Flag("white_clipped", "{n_levels} bright levels touch the highest code and were left out of the fit."),
    Flag(
        "not_saturated",
        "No level reaches saturation: saturation and full well are above {highest_dn:.0f} DN and cannot be known.",
    ),
    Flag(
        "left_aligned",
        "All codes are multiples of {step}: {bits}-bit data left-aligned in a larger word. Divide by {step} first.",
    ),
    Flag(
        "drift",
        "The mean level of frames meant to be equal differs by up to {percent:.2g} % ({sigmas:.0f} standard errors): "
        "lamp or offset drift. Pair variances are corrected for it, the light axis is not.",
        1.0,
    ),
    Flag(
        "outliers",
        "{n_levels} bright levels hold pixels far outside the noise (kurtosis of the differences up to {kurtosis:.1f}, "
        "3 for noise): cosmic rays, sparks or a moving light. They raise the variance there, and the gain with it.",
        1.5,
    ),
    Flag(
        "correlated_noise",
        "Noise of neighbouring pixels correlates by {correlation:+.3f}; information per pixel assumes independence.",
        0.02,
    ),
    Flag(
        "coarse_quantisation",
        "The dark noise of {noise_dn:.2f} DN is below {threshold:g} DN: rounding hides much of it. "
        "Read noise and its error follow from what rounding does at this offset, and may be wide.",
        0.5,
    ),
    Flag(
        "read_noise_not_positive",
        "The dark variance is not above that of rounding: read noise is given as 0 with an upper limit as its error.",
    ),
    Flag(
        "light_scatter",
        "The light scatters by {percent:.2g} % from level to level beyond the noise: lamp, shutter or drift.",
        1.0,
    ),
    Flag(
        "light_unknown",
        "No light axis (exposures or photons): a bent response cannot be told from the brighter-fatter effect.",
    ),
    Flag(
        "bit_depth_guessed",
        "Nothing says how many bits the codes have: {bit_depth} taken from the largest code, {largest}.",
    ),
    Flag(
        "few_frames_for_maps",
        "Maps from {n_frames} darks: a score takes their error as noise, and is lower by up to "
        "0.5 log2(1 + 1/{n_frames}) bit per pixel.",
        72,
    ),
    Flag("not_measured", "The values were given, not measured: no uncertainty is known."),
)

FLAGS: dict[str, Flag] = {entry.code: entry for entry in _FLAGS}


def flag(code: str, **values: object) -> FlagEntry:
    """A flag with its sentence filled in.

    Parameters
    ----------
    code : str
        A key of `FLAGS`.
    **values
        What the sentence's fields name; ``threshold`` is filled in from the registry.
    """
    entry = FLAGS[code]
    return FlagEntry(code=code, message=entry.sentence.format(threshold=entry.threshold, **values))
