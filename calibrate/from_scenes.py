"""A noise model from repeated frames of still scenes, where there are no flats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from calibrate.captures import load_bursts
from calibrate.captures.capture_set import CaptureSet
from calibrate.flags import FLAGS, flag
from calibrate.frames import iterate_frames
from calibrate.level_statistics import BurstStatistics, LevelStatistics, measure_bursts, measure_levels, reject_outliers
from calibrate.noise_model import NoiseModel
from calibrate.photon_transfer import converged_fit, guess_bit_depth, white_clip
from calibrate.photon_transfer.assemble import build_document, files_of
from calibrate.photon_transfer.data import from_levels
from calibrate.photon_transfer.likelihood import ROUNDING_VARIANCE_DN2
from calibrate.photon_transfer.saturation import find_saturation
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_files
from calibrate.schema import NoiseModelDocument, ParameterEntry

__all__ = ["fit_from_scenes"]


def fit_from_scenes(captures: str | Path | CaptureSet, *, offset_dn: float | None = None) -> NoiseModel:
    """Fit a noise model to repeated frames of still scenes and darks; flagged ``from_scenes``.

    The pixels of a scene are sorted by their signal, and every range of signal is a level of the photon transfer curve
    (`calibrate.level_statistics.measure_bursts`). The fit is that of flats without known exposures.

    Parameters
    ----------
    captures : path or CaptureSet
        See `calibrate.captures.load_bursts`: frames that are not dark, by folder and name, or as a manifest says.
    offset_dn : float, optional
        Offset of a camera of which there are no darks. The read noise is then the curve's intercept.

    Raises
    ------
    PhotonbitsError
        If there are neither darks nor an offset, or both; no scene was shot twice; the scenes moved; or they have too
        little contrast to tell gain and read noise apart.
    """
    captures = captures if isinstance(captures, CaptureSet) else load_bursts(captures)
    bursts = [level for level in captures.bright_levels() if level.n_frames >= 2]
    if not bursts:
        raise PhotonbitsError(
            "no scene was shot twice",
            where=captures.root,
            legal="two frames or more of each still scene, in a folder or with a name of its own",
            remedy="Name repeated frames alike up to a running number, or list them with a level for each scene",
        )
    darks = captures.dark_levels()
    if bool(darks) == (offset_dn is not None):
        raise PhotonbitsError(
            "darks and an offset" if darks else "no darks: offset and read noise cannot be told apart by scenes",
            where=captures.root,
            legal="darks, or --offset-dn for a camera whose offset is known",
            remedy="Leave --offset-dn out" if darks else "Cap the lens and shoot two darks or more with these settings",
        )
    found = measure_bursts([list(iterate_frames(level.frames)) for level in bursts])
    levels: tuple[LevelStatistics, ...] = found.levels
    if darks:
        levels = reject_outliers((*levels, *measure_levels(replace(captures, levels=darks))))
    integer = all(level.code_bits or level.maximum_code == 0 for level in levels)
    bit_depth, guessed = captures.bit_depth, None
    if integer and bit_depth is None:
        guessed = bit_depth = guess_bit_depth(levels)
    bit_depth = bit_depth if integer else None
    captures = replace(captures, bit_depth=bit_depth, levels=(*bursts, *darks))
    data = from_levels(captures, levels, white_clip(levels, bit_depth), offset_dn)
    choice = converged_fit(data, ROUNDING_VARIANCE_DN2 if integer else 0.0, captures.root, ())
    fit = choice.chosen
    gain, std = fit.layout.get(fit.theta, "gain"), float(np.sqrt(fit.covariance[0, 0]))
    if not gain > 3 * std:
        raise PhotonbitsError(
            f"the noise does not rise with the signal of the scenes: gain {gain:.3g} +- {std:.2g} DN/e-",
            where=captures.root,
            legal="scenes from dark to bright, with shot noise well above the read noise",
            remedy="Shoot a scene with more contrast or light, or more frames of it",
        )
    saturation = find_saturation(choice.data, fit)
    digests = sha256_of_files(files_of(captures))
    document = build_document(captures, levels, choice.data, choice, saturation, guessed, digests)
    return NoiseModel.from_document(_finished(document, found, offset_dn))


def _finished(document: NoiseModelDocument, found: BurstStatistics, offset_dn: float | None) -> NoiseModelDocument:
    """The document with the doubts about scenes, and with codes counted from 0 again where an offset was given."""
    flags = [flag("from_scenes", n_frames=found.n_frames)]
    if found.moved_fraction > (FLAGS["scene_moved"].threshold or 0):
        flags.append(flag("scene_moved", percent=100 * found.moved_fraction))
    if found.shaken > 0:
        flags.append(flag("camera_shaken", percent=100 * found.shaken))
    parameters = dict(document.parameters)
    kept = document.fit.flags
    covariance = document.covariance
    if offset_dn is not None:
        flags.append(flag("offset_given", offset_dn=offset_dn))
        kept = tuple(entry for entry in kept if entry.code != "no_darks")
        for name in ("offset_dn", "saturation_dn", "white_clip_dn"):
            entry = parameters.get(name)
            if isinstance(entry, ParameterEntry):
                value = offset_dn if name == "offset_dn" else entry.value + offset_dn
                std = None if name == "offset_dn" else entry.std
                parameters[name] = ParameterEntry(value=value, std=std, unit=entry.unit)
    return document.model_copy(
        update={
            "parameters": parameters,
            "covariance": covariance,
            "fit": document.fit.model_copy(update={"flags": (*flags, *kept)}),
        }
    )
