"""What a score is made of: code lengths, noise entropy and their errors, group by group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bootstrap_excess import with_best_excess
from mi_eval.bursts import Repeats, find_repeats, repeat_doubts
from mi_eval.calibration_error import CalibrationErrors, calibration_errors
from mi_eval.code_lengths import Density, HeldOut
from mi_eval.conditional_entropy import ConditionalEntropy, conditional_entropy
from mi_eval.correlated_noise import with_correlated_noise
from mi_eval.density.camera_cells import CameraCells
from mi_eval.fit_spread import FitSpread, spread_in_score
from mi_eval.frame_source import Region
from mi_eval.frames_check import CheckedFrames, check_frames
from mi_eval.heldout import heldout_code_lengths
from mi_eval.histograms import frame_histograms
from mi_eval.measurements import FrameSource, Measurements, cut_patches
from mi_eval.patch_places import PatchPlaces, crop_to_patches
from mi_eval.pixel_classes import PixelClasses, classify_pixels
from mi_eval.processed import check_noise
from mi_eval.warnings import ScoreWarning

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreParts:
    """Everything measured for a score, before it is put into one number.

    Parameters
    ----------
    source, model, data, classes
        Frames, noise model, patches, and classes of pixels of like noise.
    noise : ConditionalEntropy
        H(Z|Y).
    calibration : CalibrationErrors
        What the noise model's errors do to it.
    heldout : HeldOut
        Code lengths of every patch.
    influence_bits : ndarray (n_patches,)
        Influence of each patch on H(Z|Y), bits per pixel.
    groups : ndarray (n_groups,) of int
        What was held out together, in ascending order: frames, or parts of them.
    share : ndarray (n_groups,)
        Share of the patches, sum 1.
    code_bits, excess_bits, group_bits : ndarray (n_groups,)
        Held-out code length, its finite-sample excess, and code length less excess less influence on H(Z|Y): the
        information of the group. Bits per pixel.
    patch_size, seed : int
    exposure_s : float or None
        Of the frames.
    repeats : Repeats or None
        Which frames show one scene; None where nobody looked.
    exposed : (first row, row after the last, first column, column after the last) or None
        Where patches may lie; None for everywhere.
    checks : tuple of ScoreWarning
        What comparing the frames with the model gave cause for.
    """

    source: FrameSource
    model: NoiseModel
    data: Measurements
    classes: PixelClasses
    noise: ConditionalEntropy
    calibration: CalibrationErrors
    heldout: HeldOut
    influence_bits: FloatArray
    groups: IntArray
    share: FloatArray
    code_bits: FloatArray
    excess_bits: FloatArray
    group_bits: FloatArray
    patch_size: int
    seed: int
    exposure_s: float | None = None
    exposed: Region | None = None
    repeats: Repeats | None = None
    checks: tuple[ScoreWarning, ...] = ()

    @property
    def value_bits(self) -> float:
        """Information: code length less excess less H(Z|Y), bits per pixel."""
        return float(self.share @ self.code_bits) - float(self.share @ self.excess_bits) - self.noise.value_bits

    @property
    def sampling_std_bits(self) -> float:
        """Standard error from the spread between groups, bits per pixel."""
        return spread_std(self.group_bits, self.share)

    @property
    def fit_spread(self) -> FitSpread:
        """Standard error from the chance of the fits and of a bootstrapped excess."""
        return spread_in_score(self.heldout, self.patch_size**2)


def measure_parts(
    source: FrameSource,
    model: NoiseModel,
    *,
    patch_size: int,
    seed: int,
    max_patches: int,
    exposure_s: float | None = None,
    roi: bool = False,
    density: Density = "auto",
    burst: bool | None = None,
    accept_processed: bool = False,
) -> ScoreParts:
    """Compare frames and model, cut patches, find H(Z|Y) and its errors, and code every patch by unseen frames.

    ``burst`` says that all frames show one scene, or that none repeats another; see `find_repeats`.

    Raises
    ------
    PhotonbitsError
        If frames and noise model do not fit together, there are too few patches, or frames were denoised or demosaiced
        and ``accept_processed`` is False.
    """
    checked = check_frames(source, model, exposure_s=exposure_s, roi=roi)
    repeats = find_repeats(checked.source, model, exposed=checked.exposed, exposure_s=checked.exposure_s, burst=burst)
    return measure_checked(
        checked,
        model,
        patch_size=patch_size,
        seed=seed,
        max_patches=max_patches,
        density=density,
        repeats=repeats,
        accept_processed=accept_processed,
    )


def measure_checked(
    checked: CheckedFrames,
    model: NoiseModel,
    *,
    patch_size: int,
    seed: int,
    max_patches: int,
    places: PatchPlaces | None = None,
    density: Density = "auto",
    repeats: Repeats | None = None,
    accept_processed: bool | None = None,
) -> ScoreParts:
    """`measure_parts` of frames that were compared with their model already, at places of one's own choice.

    Their noise is not compared with the model's where ``accept_processed`` is None.

    Raises
    ------
    PhotonbitsError
        If frames and noise model do not fit together, or there are too few patches.
    """
    if patch_size != int(patch_size):
        raise PhotonbitsError(f"patch_size is {patch_size!r}", legal="a whole number of pixels, 2 or more")
    if max_patches < 16:
        raise PhotonbitsError(f"max_patches is {max_patches}", legal="16 or more")
    source = checked.source
    doubts = checked.warnings + (() if repeats is None else repeat_doubts(repeats, model))
    data = cut_patches(
        source,
        model,
        patch_size=patch_size,
        seed=seed,
        max_patches=max_patches,
        places=places,
        exposed=checked.exposed,
        exposure_s=checked.exposure_s,
        scene=None if repeats is None else repeats.scene,
    )
    noise_doubts: tuple[ScoreWarning, ...] = ()
    if accept_processed is not None:
        noise_doubts = check_noise(source, model, accept_processed=accept_processed, exposed=checked.exposed, seed=seed)
    parts = parts_of(source, model, data, classify_pixels(model, source.shape), seed, density)
    checks = (*noise_doubts, *doubts)
    return replace(parts, exposure_s=checked.exposure_s, exposed=checked.exposed, repeats=repeats, checks=checks)


def parts_of(
    source: FrameSource,
    model: NoiseModel,
    data: Measurements,
    classes: PixelClasses,
    seed: int,
    density: Density = "auto",
) -> ScoreParts:
    """The parts of a score of patches that are cut already."""
    patch_size = data.patches.patch_size
    pixels = patch_size**2
    index, shift = _class_maps(data, classes)
    numbers = np.arange(data.patches.n_patches)
    histograms = frame_histograms(data.patches.codes, numbers, classes, class_index=index, shift_dn=shift)
    noise = conditional_entropy(histograms, classes)
    calibration = calibration_errors(model, noise, histograms, classes)
    noise = with_correlated_noise(noise, model, patch_size)
    influence = noise.frame_influence(histograms)
    cells = CameraCells.of(model, classes, index, 0.0 if shift is None else shift)
    heldout = heldout_code_lengths(replace(data.patches, cells=cells), seed, density)
    heldout = with_best_excess(data.patches, heldout, model, noise.law, seed)
    groups, member = np.unique(data.patches.frame_index, return_inverse=True)
    size = np.bincount(member)
    code = np.bincount(member, weights=heldout.full_bits) / size / pixels
    excess = np.bincount(member, weights=heldout.excess_bits) / size / pixels
    return ScoreParts(
        source=source,
        model=model,
        data=data,
        classes=classes,
        noise=noise,
        calibration=calibration,
        heldout=heldout,
        influence_bits=influence,
        groups=groups,
        share=size / size.sum(),
        code_bits=code,
        excess_bits=excess,
        group_bits=code - excess - np.bincount(member, weights=influence) / size,
        patch_size=patch_size,
        seed=seed,
    )


def spread_std(values: FloatArray, share: FloatArray) -> float:
    """Standard error of the mean of values with these shares, from their spread; 0 for one value."""
    spread = values - float(share @ values)
    n = values.size
    return float(np.sqrt(np.sum((share * spread) ** 2) * n / max(n - 1, 1)))


def _class_maps(data: Measurements, classes: PixelClasses) -> tuple[IntArray | None, FloatArray | None]:
    """Class of every pixel and what is taken off its code, under every patch; None for one class."""
    if classes.index is None:
        return None, None
    size = data.patches.patch_size
    shift = crop_to_patches(np.asarray(classes.shift_dn), data.positions, size)
    return crop_to_patches(classes.index, data.positions, size), shift
