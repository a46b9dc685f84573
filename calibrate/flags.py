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
        "denoised",
        "The noise of neighbouring pixels of the flats correlates by {correlation:+.2f}, more than a sensor's "
        "does: the frames were smoothed or sharpened (noise reduction, resampling, demosaicing, lossy "
        "compression), or charge is shared by pixels at read-out. The correlations add up to {total:.2g}, so that "
        "the system gain given is up to {gain_off} and the read noise in electrons up to {read_off}. Fit raw "
        "frames.",
        0.25,
    ),
    Flag(
        "photon_transfer_nonlinear",
        "The photon-transfer curve is not a straight line, which would give a gain off by {shift_percent:+.1f} %. "
        "The system gain given is the slope at small signals of the model {model}.",
    ),
    Flag(
        "two_slopes",
        "The response has a knee {knee_dn:.0f} DN above the offset and rises {slope:.3g} times as steeply beyond it "
        "(dual slope); {n_levels} levels lie there. The system gain given is that below the knee.",
    ),
    Flag(
        "knee_light_uneven",
        "The light differs by {percent:.2g} % over the frame (standard deviation), and levels with pixels on both "
        "sides of the knee depend on how: the system gain may be off by a percent. Shoot flats of more even light.",
        0.04,
    ),
    Flag(
        "read_noise_after_knee",
        "The read noise arises behind the knee, not before it: the noise model compresses it with the light, and its "
        "variance just beyond the knee is {percent:.2g} % too low.",
    ),
    Flag(
        "read_noise_step",
        "From a mean code of {code_dn:.0f} on the read noise is {high_e:.3g} e-, {low_e:.3g} e- below, at one gain: "
        "two gains merged on one scale (dual gain) hand over there. The noise model holds the lower noise; just above "
        "the hand-over its variance is {percent:.2g} % too low.",
    ),
    Flag(
        "knee_not_fitted",
        "From a mean code of {code_dn:.0f} on the noise is lower than the light asks for and the signal rises on, as "
        "beyond a knee (dual slope), but {reason}. The fit describes the levels below.",
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
        "dark_exposures_unknown",
        "The darks differ by {spread_dn:.3g} DN, and their noise with them as dark charge makes it, but no exposure is "
        "known (a number without a unit, as in exp10, is none). What a dark has above the least one counts as dark "
        "charge; the charge of the least dark is in the offset, and its shot noise in the read noise. Write the unit "
        "(exp10ms), or state exposures in a manifest.",
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
        "{percent:.2g} % of the dark pixels sit at the lowest code. The fit counts the clip in, as normal noise cut "
        "off there; what the noise does below it nobody sees. Raise the camera's black level if you can.",
        1e-4,
    ),
    Flag("white_clipped", "{n_levels} bright levels touch the highest code and were left out of the fit."),
    Flag(
        "not_saturated",
        "No level reaches saturation: saturation and full well are above {highest_dn} DN and cannot be known.",
    ),
    Flag(
        "left_aligned",
        "All codes are multiples of {step}: {bits}-bit data left-aligned in a larger word. Fit again with "
        "--shift-bits, which divides by {step}.",
    ),
    Flag(
        "drift",
        "The mean level of frames meant to be equal differs by up to {percent:.2g} % ({sigmas:.0f} standard errors): "
        "lamp or offset drift. Pair variances are corrected for it, the light axis is not.",
        1.0,
    ),
    Flag(
        "outliers",
        "{percent:.2g} % of the pixels of {n_levels} levels stand out in one frame only (cosmic rays, sparks): taken "
        "out, and the variances corrected for the cut.",
        1e-5,
    ),
    Flag(
        "heavy_tails",
        "{n_levels} bright levels hold pixels far outside the noise (kurtosis of the differences up to {kurtosis:.1f}, "
        "3 for noise) that are too many, or too much at home in their pixels, to be single-frame outliers: a scene "
        "that moves, or noisy pixels. They raise the variance there, and the gain with it.",
        1.5,
    ),
    Flag(
        "excess_noise_suspected",
        "The noise is {ratio:.2f}({error:.2f}) times as skewed as shot noise at this gain: an amplifier with excess "
        "noise, such as electron multiplication (1.5 for it). Only K F^2 is observable then: with F^2 = 2 the gain per "
        "electron is half of the value given, and electrons are counted twice too few.",
        0.2,
    ),
    Flag(
        "excess_noise_stated",
        "The excess noise factor F^2 = {factor:g} was stated, not measured. The parameters count effective "
        "electrons, input electrons over F^2, in which the noise model has the right mean and variance; its law is "
        "that of shot noise and not the amplifier's. In input electrons the system gain is {gain:.4g} DN/e- and "
        "the read noise {read:.4g} e- (excess_noise in the file).",
    ),
    Flag(
        "gain_pattern",
        "The gain, not the light alone, differs from pixel to pixel, by {percent:.2g} % (standard deviation): the mean "
        "gain is given, {shift_percent:.2g} % below the pooled slope.",
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
        "The dark variance is not above {least}: read noise is given as 0 with an upper limit as its error.",
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
        "brighter_fatter",
        "Neighbouring pixels correlate the more the brighter the light: charge that a pixel holds pushes charge aside "
        "(brighter-fatter, a_00 {own:.3g} per electron; its neighbours ask for {conserved:.3g} +- {error:.1g}). The "
        "system gain is free of it. The noise model leaves it out: its variance is {percent:.1f} % too high at "
        "{signal_dn:.0f} DN above the offset, and less so, in proportion, below.",
    ),
    Flag(
        "brighter_fatter_undecided",
        "A brighter-fatter sensor is the other account of the bend; taken for one, its gain would be "
        "{shift_percent:+.2f} % from the one given (criterion {bic:+.0f}, lower is better). Covariances of neighbours "
        "would tell, but a table has none: the bent response stands, which keeps mean and variance together.",
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
    Flag(
        "channels_differ",
        "The channels differ beyond their errors: {listing}. Use each channel's own parameters; the averages describe "
        "no pixel.",
        0.001,
    ),
    Flag(
        "gain_map_disagrees",
        "The gains of the single pixels average to {percent:+.1f} % off the system gain: the noise model misses "
        "something that depends on the signal. The map is scaled to the system gain.",
        0.01,
    ),
    Flag(
        "maps_not_repeatable",
        "Maps from the two halves of the frames differ {ratio:.2f} times more (in variance) than their errors say, "
        "most so {name}: drift between the frames, or noise that is not white in time.",
        1.2,
    ),
    Flag(
        "many_defects",
        "{percent:.2g} % of the pixels are in the defect map: the averages over good pixels describe a part of this "
        "sensor.",
        0.02,
    ),
    Flag(
        "from_scenes",
        "Gain and noise come from {n_frames} repeated frames of still scenes, not from flats: no light axis, no maps, "
        "and what moved unseen counts as noise. Shoot flats where the numbers matter.",
    ),
    Flag(
        "offset_given",
        "The offset of {offset_dn:g} DN was given, not measured: an error of 1 DN moves the read variance by the gain "
        "times 1 DN, and the read noise is an extrapolation to no light.",
    ),
    Flag(
        "scene_moved",
        "{percent:.2g} % of the repeated frames' pixels moved between shots and were left out.",
        0.01,
    ),
    Flag(
        "camera_shaken",
        "Noise is {percent:.2g} % larger on the slopes of the scene: the camera or the scene moved between shots. The "
        "flatter half of the pixels is used alone.",
    ),
    Flag("emva1288_absent", "EMVA 1288 leaves out: {what}."),
    Flag("emva1288_limits", "EMVA 1288: {what}."),
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
