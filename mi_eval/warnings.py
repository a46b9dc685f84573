"""The registry of doubts about a score: every one has a code, a threshold where one applies, and a sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ScoreWarning:
    """A doubt about a score."""

    code: str
    message: str


_SENTENCES: dict[str, tuple[str, float | None]] = {
    "below_zero": (
        "The interval, {low:.4f} to {high:.4f}, lies below 0, where no information is: the frames have less noise "
        "than the noise model expects. They come from other settings, were processed, or the model is wrong there.",
        None,
    ),
    "few_frames": (
        "{n_frames} different frames: the interval rests on the spread between frames, and with fewer than "
        "{threshold:.0f} it is only rough.",
        8,
    ),
    "frames_split": (
        "{n_frames} different frames are too few to hold some out: parts of a frame stand in for frames. If the parts "
        "show the same scene, the score is too high and its interval too narrow.",
        None,
    ),
    "few_scenes": (
        "The {n_frames} frames show about {scenes:.2g} different scenes: the score tells how well these can be told "
        "apart, and not how much other scenes would carry. Shoot {threshold:.0f} or more that differ.",
        8,
    ),
    "scenes_alike": (
        "The {n_frames} frames are worth about {scenes:.0f} different scenes: the interval takes every frame as a new "
        "one and may be too narrow, by up to a factor of {factor:.1f}.",
        0.5,
    ),
    "few_patches": (
        "{n_patches} patches for a density of {n_pixels} pixels: the finite-sample correction is large and rough.",
        300,
    ),
    "not_measured": (
        "The noise model was given, not measured: its error is unknown and the interval leaves it out. One percent "
        "of system gain is about 0.01 bit per pixel.",
        None,
    ),
    "correlated_noise_corrected": (
        "The camera's noise is correlated over pixels (row noise, column noise, neighbours): {bits:.4f} bit per pixel "
        "of H(Z|Y) are taken off for it, as the darks of the calibration say.",
        0.002,
    ),
    "correlated_noise": (
        "The noise of neighbouring pixels is correlated, and the score takes it as independent: it is too low, by "
        "0.03 bit per pixel where row noise holds a tenth of the variance.",
        None,
    ),
    "denoised": (
        "The noise model was fitted to frames that had been smoothed or sharpened: its gain and noise are off by up to "
        "the factor in its flag, and the score with them. Calibrate with raw frames.",
        None,
    ),
    "over_dispersed": (
        "The noise model does not describe its own captures within their noise: the mean misfit is in the interval, "
        "but it may be larger at the light of these frames.",
        None,
    ),
    "no_maps": (
        "The noise model has no per-pixel maps: fixed pattern of the sensor counts as information about the scene.",
        None,
    ),
    "repeated_scenes": (
        "{n_frames} frames show {n_scenes} scene(s) only: repeats say nothing new. They count as one scene for the "
        "interval, and a score of few scenes is about these scenes alone.",
        None,
    ),
    "burst_noisier_than_model": (
        "Repeated frames are {percent:.1f} % ({error:.1f} % standard error) noisier, in variance, than the noise model "
        "says, most so near {mean_dn:.0f} DN: the score is about {bits:.3f} bit per pixel too high there.",
        0.03,
    ),
    "burst_quieter_than_model": (
        "Repeated frames are {percent:.1f} % ({error:.1f} % standard error) quieter, in variance, than the noise model "
        "says, most so near {mean_dn:.0f} DN: the score is about {bits:.3f} bit per pixel too low there.",
        0.03,
    ),
    "fixed_pattern": (
        "Frames of different scenes share a fine pattern of {pattern_dn:.2g} DN, the sensor's, which counts as scene: "
        "up to {bits:.3f} bit per pixel. Calibrate with --maps.",
        0.01,
    ),
    "pattern_despite_maps": (
        "Frames of different scenes share a fine pattern of {pattern_dn:.2g} DN that the noise model's maps do not "
        "hold: up to {bits:.3f} bit per pixel. The maps are from few frames, or of another temperature or time.",
        0.01,
    ),
    "borders_cut": (
        "Rows {rows} and columns {columns} are scored alone, because {reason}: borders without light are no scene.",
        None,
    ),
    "excess_negative": (
        "Codes got longer with more training frames, which leaves a finite-sample correction of {excess:.3f} bit per "
        "pixel where it cannot be below 0: the frames are too few or too different to measure it. The value then lies "
        "above the upper bound; the truth does not. Use more frames.",
        0.01,
    ),
    "excess_large": (
        "The finite-sample correction is {excess:.3f} bit per pixel, too much to be trusted: the frames are few for "
        "what the densities have to learn. The interval reaches up to the uncorrected value. Use more frames; --twins "
        "shows the bias.",
        0.05,
    ),
    "maybe_binned": (
        "Frames of {shape}, captures of {calibrated}: {reason}, or another region of the sensor? Binning changes gain, "
        "noise and full well, and the score would be wrong. --roi says that it is a region.",
        None,
    ),
    "cfa_without_channels": (
        "The sensor has colour filters {cfa} and the noise model one set of numbers for all: where gain or offset "
        "differ between the colours, the score is off. Fit with --channels {cfa}.",
        None,
    ),
    "mosaic_unknown_to_model": (
        "The frames say that they have colour filters {cfa}, of which the noise model knows nothing.",
        None,
    ),
    "not_scenes": (
        "{listing} among the {n_files} files by their headers: they carry no scene, and are scored as if they did.",
        None,
    ),
    "other_gain_setting": (
        "The frames were taken at gain setting {found}, the noise model holds for {calibrated}: the score cannot be "
        "trusted.",
        None,
    ),
    "other_mode": (
        "The frames were read out in mode {found}, the noise model holds for mode {calibrated}: the score cannot be "
        "trusted.",
        None,
    ),
    "temperature_outside_validity": (
        "The frames were taken at {found} degrees Celsius, the noise model at {calibrated}: dark current doubles "
        "every 6 to 8 degrees, and offset and gain drift.",
        None,
    ),
    "exposure_outside_validity": (
        "The frames were exposed for {found} s, the noise model was measured at {calibrated} s: dark charge and its "
        "pattern are extrapolated.",
        None,
    ),
    "exposures_differ": (
        "The frames were exposed for {found} s: brightness that differs by exposure counts as scene.",
        None,
    ),
    "exposure_contradicted": (
        "An exposure of {given:g} s is given, the files state {found} s; the given one is used.",
        None,
    ),
    "saturated": (
        "{percent:.2g} % of the pixels sit at the highest code: what they would have measured is lost.",
        0.01,
    ),
    "noise_model_contradicted": (
        "No law of light explains these codes through this noise model (deviance {deviance:.0f} on {dof} codes): "
        "the frames come from other settings, or are processed. The score cannot be trusted.",
        None,
    ),
    "not_identifiable": (
        "At this read noise, gain and share of clipped pixels the codes alone do not determine H(Z|Y): any value from "
        "{low:.4f} to {high:.4f} bit per pixel agrees with them. The interval holds them all.",
        None,
    ),
    "outside_validity": (
        "Signals reach {signal_dn:.0f} DN above the offset; the noise model was measured up to {limit_dn:.0f} DN.",
        None,
    ),
    "demosaiced": (
        "Every second pixel was computed from its neighbours (detail differs by a factor of {ratio:.1f}): the frames "
        "were demosaiced. The score means nothing by itself.",
        1.5,
    ),
    "processed": (
        "The quietest parts of the frames have {percent:.0f} % of the noise variance that the model says: they were "
        "denoised, averaged or resampled, or come from another camera or setting. The score means nothing by itself.",
        0.5,
    ),
    "quieter_than_model": (
        "The quietest parts of the frames have {percent:.0f} % of the noise variance that the model says: the model "
        "belongs to other settings, or the frames were smoothed. The score is too low by half the binary log of that "
        "ratio, or wrong altogether.",
        0.06,
    ),
    "noisier_than_model": (
        "Flat parts of the frames have {percent:.0f} % of the noise variance that the model says: other settings, or a "
        "fixed pattern that the model has no map of. What is not in the model counts as information.",
        0.15,
    ),
    "budget_surrogate": (
        "The budget's model of these scenes (one-pixel law, Gaussian correlation) holds {surrogate:.3f} bit per pixel "
        "where the score is {score:.3f}: neighbouring pixels share more than their correlation. Take the budget as the "
        "order of its parts, not as bits.",
        0.1,
    ),
    "dark_unknown": (
        "The noise model has dark current, but the exposure of these frames is unknown: dark charge counts as light "
        "in the mean signal. Give --exposure-s.",
        None,
    ),
    "scenes_do_not_correspond": (
        "Frames were paired as given, but frame by frame they do not show the same scenes: the interval is right only "
        "where scenes are in random order, and wider than it need be. Check the order, or leave out --paired.",
        None,
    ),
    "scenes_correspond": (
        "Frame by frame the entries show the same scenes: --paired would give a sharper interval.",
        None,
    ),
    "light_differs": (
        "{high} collects {high_e:.4g} e- per pixel and {low} {low_e:.4g} e-: part of the difference is light. Compare "
        "at one exposure where the camera alone is asked for.",
        1.5,
    ),
    "scenes_differ": (
        "{many} shows about {n_many:.0f} different scenes and {few} about {n_few:.0f}: what is rare among the scenes "
        "may be in one and not in the other.",
        2.0,
    ),
    "saturation_differs": (
        "{high:.2g} % of the pixels of {most} sit at the highest code and {low:.2g} % of {least}: the exposure, and "
        "not the camera, may make the difference.",
        0.005,
    ),
    "sizes_differ": (
        "Frames have different sizes: bits are per pixel, and a pixel of one is not a pixel of the other. Multiply by "
        "the number of pixels to compare frames.",
        None,
    ),
    "sets_decide": (
        "{first} against {second}: more frames will not decide it. The frames tell the two apart, but the difference "
        "is no larger than what the density models may miss (slack) or the codes leave open about H(Z|Y).",
        None,
    ),
    "no_torch": (
        "The density models leave something that earlier pixels of a patch explain, and a neural network may find it, "
        'but torch is not installed (pip install "photonbits[torch]"): the score is likely too high.',
        None,
    ),
}


def threshold(code: str) -> float:
    """Where a doubt starts."""
    value = _SENTENCES[code][1]
    if value is None:
        raise KeyError(f"{code} has no threshold")
    return value


def warning(code: str, **values: object) -> ScoreWarning:
    """A doubt with its sentence filled in."""
    sentence, limit = _SENTENCES[code]
    return ScoreWarning(code, sentence.format(threshold=limit, **values))
