r"""Frames of a worse camera, made from frames of a better one: thinning of the charge, and noise on top.

docs/theory/what-if.md has the derivation, its limits and its measured error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.sweep.imagined import imagined_camera
from mi_eval.sweep.imitation_error import COARSE_NOISE_DN, error_bits, is_coarse
from mi_eval.sweep.mosaic import by_channel
from mi_eval.sweep.thinning import Parts, Source, parts_of, source_of

FloatArray = NDArray[np.float64]
Codes = NDArray[np.generic]

#: Most that the parts of the law that cannot be matched may cost, bit/px, before frames are refused.
LARGEST_ERROR_BITS = 0.005
#: Share of pixels whose charge is unknown because the frames are clipped there.
LARGEST_CLIPPED = 1e-3
_LARGEST_COARSE = 1e-3  # share of pixels
_FINEST_NOISE_E = 0.5  # below this single electrons show in the codes: 1.4 % of modulation


@dataclass(frozen=True)
class Degraded:
    """Frames of the imagined camera.

    Parameters
    ----------
    frames : ndarray (n_scenes, height, width)
        Codes, or real values where the camera has no bit depth.
    noise_model : NoiseModel
        The imagined camera.
    charge_factor : float
        Mean charge over that of one frame of the source.
    error_bits_per_pixel : float
        Estimated size of what the law of the frames misses: variance that cannot be taken out, skewness, charge.
    clipped_share : float
        Share of pixels whose charge the source's frames do not tell.
    notes : tuple of str
        What was chosen where nothing was stated.
    """

    frames: NDArray[np.generic]
    noise_model: NoiseModel
    charge_factor: float
    error_bits_per_pixel: float
    clipped_share: float
    notes: tuple[str, ...]


def degrade_frames(
    frames: NDArray[np.generic],
    noise_model: NoiseModel,
    changes: Mapping[str, float | int],
    *,
    exposure_s: float | None = None,
    repeats: int = 1,
    seed: int = 0,
) -> Degraded:
    r"""Frames that a camera with more noise or less light would have taken of the same scenes.

    With :math:`x` the charge read from ``repeats`` = n frames, summed, its mean :math:`n y` and its noise
    :math:`n (y + r^2 + 1/4K^2)` (rounding, and a dither that hides it), the new charge is

    .. math:: w = \mathrm{Binomial}(\lfloor x \rfloor, \tau) + \tau (x - \lfloor x \rfloor) + e, \qquad \tau = t/n,

    with e normal of variance :math:`\tau(1-\tau)(x - \lfloor x \rfloor) + r'^2 - \tau^2 n (r^2 + 1/4K^2)`: mean
    :math:`t y` and variance :math:`t y + r'^2` are those of the imagined camera at every y. Gain, response, rounding
    and clipping then follow as they stand in its noise model.

    Parameters
    ----------
    frames : ndarray (n_frames, height, width)
        With ``repeats`` above 1, consecutive frames show the same scene.
    noise_model : NoiseModel
        Of these frames.
    changes : mapping
        As `imagined_camera` takes, and ``exposure_factor`` and ``light_factor``: both scale the light, the first the
        dark charge as well. Read noise that is not stated is the source's, or the least that the frames allow.
    exposure_s : float, optional
        Of the frames; needed where dark charge does not simply scale with the light.
    repeats : int
    seed : int

    Raises
    ------
    PhotonbitsError
        Where the imagined camera is better than the frames allow: more light than ``repeats`` frames hold, less read
        noise than the frames bring with them, less dark charge; or where the frames are clipped or rounded too
        coarsely for their charge to be known.
    """
    if frames.ndim != 3 or frames.shape[0] % repeats:
        raise PhotonbitsError(
            f"{frames.shape[0]} frames in groups of {repeats}",
            legal=f"a multiple of {repeats}: consecutive frames of each scene",
        )
    if noise_model.channel_layout is not None:
        return _degrade_channels(frames, noise_model, changes, exposure_s, repeats, seed)
    shape = (frames.shape[1], frames.shape[2])
    exposure, light = float(changes.get("exposure_factor", 1.0)), float(changes.get("light_factor", 1.0))
    factor = exposure * light
    source = source_of(noise_model)
    if factor > repeats * (1 + 1e-12):
        raise PhotonbitsError(
            f"light and exposure {factor:g} times those of a frame, from {repeats} frame(s) of each scene",
            legal=f"{repeats} at most: photons that were not collected cannot be made up",
            remedy="Shoot and state `repeats`, or give noiseless light as `light_e`",
        )
    changes, notes = _with_read_noise(dict(changes), noise_model, source, factor, repeats)
    target = imagined_camera(noise_model, changes, shape=shape, charge_factor=factor, seed=seed)
    ratio = _response_ratio(noise_model, target)
    tau = np.asarray(factor / repeats * ratio)
    if float(np.max(tau)) > 1 + 1e-9:
        raise PhotonbitsError(
            f"photo-response that collects {float(np.max(tau)) * repeats:.3g} frames' light in some pixels",
            legal=f"{repeats} at most",
            remedy="Lower light_factor or prnu_percent",
        )
    tau = np.minimum(tau, 1.0)
    extra_dark, lost_dark = _dark_charge(noise_model, target, exposure, light, ratio, exposure_s)
    parts = parts_of(source, target, tau, repeats)
    codes: list[NDArray[np.generic]] = []
    error = clipped_pixels = coarse_pixels = 0.0
    n_scenes = frames.shape[0] // repeats
    for number in range(n_scenes):
        rng = np.random.default_rng([seed, number, 9_731])
        charge, clipped = np.zeros(shape), np.zeros(shape, dtype=bool)
        for frame in frames[number * repeats : (number + 1) * repeats]:
            own, out = source.charge_e(frame, rng)
            charge += own
            clipped |= out
        if source.model.camera.kind == "gaussian":
            w = tau * charge + np.sqrt(np.maximum(parts.spare_e2, 0.0)) * rng.standard_normal(shape)
        else:
            w = _thinned(charge, parts, rng) + rng.poisson(np.broadcast_to(extra_dark, shape))
        codes.append(_read_out(target, w))
        error += float(np.mean(error_bits(charge, parts, source, repeats, target, lost_dark)))
        known = _saturates(target, tau * charge)
        clipped_pixels += float(np.mean(clipped & ~known))
        coarse_pixels += float(np.mean(is_coarse(charge / repeats, source)))
    fine = float(np.mean(parts.read_out_e))
    _refuse(error / n_scenes, clipped_pixels / n_scenes, coarse_pixels / n_scenes, fine, source, factor, repeats)
    return Degraded(np.stack(codes), target, factor, error / n_scenes, clipped_pixels / n_scenes, notes)


def _degrade_channels(
    frames: NDArray[np.generic],
    noise_model: NoiseModel,
    changes: Mapping[str, float | int],
    exposure_s: float | None,
    repeats: int,
    seed: int,
) -> Degraded:
    """Each channel made worse by itself."""

    def work(
        part: NDArray[np.generic], own: NoiseModel, own_changes: Mapping[str, float | int], own_seed: int
    ) -> Degraded:
        return degrade_frames(part, own, own_changes, exposure_s=exposure_s, repeats=repeats, seed=own_seed)

    whole, camera, made = by_channel(frames, noise_model, changes, seed, work)
    pixels = np.array([part.frames[0].size for part in made.values()])

    def mean(values: list[float]) -> float:
        return float(pixels @ np.array(values)) / float(pixels.sum())

    return Degraded(
        whole,
        camera,
        next(iter(made.values())).charge_factor,
        mean([part.error_bits_per_pixel for part in made.values()]),
        mean([part.clipped_share for part in made.values()]),
        tuple(f"{name}: {note}" for name, part in made.items() for note in part.notes),
    )


def _with_read_noise(
    changes: dict[str, float | int], model: NoiseModel, source: Source, factor: float, repeats: int
) -> tuple[dict[str, float | int], tuple[str, ...]]:
    """A read noise that was not stated: the source's, or the least that the frames allow."""
    if "read_noise_e" in changes or model.camera.kind == "poisson":
        return changes, ()
    own = float(model.camera.read_noise_e)
    least = factor * float(np.sqrt(np.mean(source.noise_e2) / repeats))
    if least <= own * (1 + 1e-9):
        return changes, ()
    note = f"read noise {least:.4g} e-, not {own:.4g}: the frames were rounded once already"
    return {**changes, "read_noise_e": least}, (note,)


def _response_ratio(source: NoiseModel, target: NoiseModel) -> FloatArray | float:
    old, new = (source.maps or {}).get("prnu"), (target.maps or {}).get("prnu")
    if new is None or new is old:
        return 1.0
    return (1.0 + new) / (1.0 if old is None else 1.0 + old)


def _dark_charge(
    source: NoiseModel,
    target: NoiseModel,
    exposure: float,
    light: float,
    ratio: FloatArray | float,
    exposure_s: float | None,
) -> tuple[FloatArray, FloatArray]:
    """Dark electrons to add, and those that should be taken away and cannot."""
    old, new = (_dark_rate(model) for model in (source, target))
    if np.all(old == 0) and np.all(new == 0):
        return np.zeros(()), np.zeros(())
    thinned = light * np.asarray(ratio)
    if exposure_s is None:
        if np.all(thinned == 1) and np.array_equal(old, new):
            return np.zeros(()), np.zeros(())
        raise PhotonbitsError(
            "dark charge unknown: the noise model has dark current and the entry no exposure_s",
            legal="exposure_s, in seconds, where light and dark charge change differently",
        )
    wanted = exposure * exposure_s * (new - thinned * old)
    return np.maximum(wanted, 0.0), np.maximum(-wanted, 0.0)


def _dark_rate(model: NoiseModel) -> FloatArray:
    entry = model.parameter("dark_current_e_per_s")
    default = 0.0 if entry is None else entry.value
    return np.maximum(np.asarray((model.maps or {}).get("dark_current_e_per_s", default), dtype=np.float64), 0.0)


def _thinned(charge: FloatArray, parts: Parts, rng: np.random.Generator) -> FloatArray:
    """Charge of mean tau x and added variance tau (1 - tau) x + spare, where that is not negative."""
    tau = parts.tau
    # What is left beside the whole electrons begins at a random place, and is large enough for its noise to hide
    # that electrons are whole: the frames' own noise has hidden it already.
    start = parts.kept_e + rng.random(charge.shape) if not parts.resolves else 0.0
    whole = np.maximum(np.floor(charge - start), 0.0)
    rest = charge - whole
    drawn = rng.binomial(whole.astype(np.int64), np.broadcast_to(tau, charge.shape))
    positive = np.sqrt(tau * (1.0 - tau) * np.maximum(rest, 0.0)) * rng.standard_normal(charge.shape)
    # Below zero there is nothing to thin: less noise is added instead, for the mean variance to be right.
    share = np.maximum(parts.spare_e2 - tau * (1.0 - tau) * np.maximum(-rest, 0.0), 0.0)
    return drawn + tau * rest + positive + np.sqrt(share) * _skewed(parts.skewness, charge.shape, rng)


def _skewed(skewness: FloatArray, shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Noise of mean 0, variance 1 and skewness -s: a gamma law mirrored, normal where s is 0."""
    s = np.broadcast_to(np.maximum(skewness, 1e-3), shape)  # a gamma law of 4e6 degrees of freedom is normal
    return np.asarray(0.5 * s * (4.0 / s**2 - rng.standard_gamma(4.0 / s**2)))


def _read_out(target: NoiseModel, w: FloatArray) -> NDArray[np.generic]:
    """Charge and read noise in, codes out: gain, response, offset, rounding and clipping of the imagined camera."""
    camera, maps = target.camera, target.readout_maps
    gain = maps.get("system_gain_dn_per_e", float(camera.system_gain_dn_per_e))
    offset = maps.get("offset_dn", float(camera.offset_dn))
    z = offset + camera.response.evaluate(gain * w)
    if camera.bit_depth is None:
        return np.asarray(z, dtype=np.float64)
    codes = np.clip(np.floor(z + 0.5 + 1e-9), camera.black_clip_dn, camera.white_clip_dn)
    return codes.astype(np.uint16)


def _saturates(target: NoiseModel, charge: FloatArray) -> NDArray[np.bool_]:
    """Where the imagined camera is at its highest code for sure, whatever more light there was."""
    camera = target.camera
    if camera.bit_depth is None:
        return np.zeros(charge.shape, dtype=bool)
    reach = 5.0 * np.sqrt(np.maximum(charge, 0.0) + float(camera.read_noise_e) ** 2)
    gain = float(camera.system_gain_dn_per_e)
    signal = camera.response.evaluate(gain * np.maximum(charge - reach, 0.0))
    full = camera.response.full_well_dn
    top = camera.white_clip_dn - float(np.max(camera.offset_dn))
    if full is not None:
        top = min(top, float(camera.response.evaluate(np.array(full))))
    return np.asarray(signal >= top - 1e-9)


def _refuse(
    error_bits: float, clipped: float, coarse: float, read_out_e: float, source: Source, factor: float, repeats: int
) -> None:
    if clipped > LARGEST_CLIPPED:
        raise PhotonbitsError(
            f"{100 * clipped:.2g} % of the pixels are clipped: their charge is unknown",
            legal=f"{100 * LARGEST_CLIPPED:g} % or less",
            remedy="Shoot the frames with less light, or at a lower gain",
        )
    if coarse > _LARGEST_COARSE:
        raise PhotonbitsError(
            f"{100 * coarse:.2g} % of the pixels have less than {COARSE_NOISE_DN} DN of noise: rounding hides it",
            legal=f"{100 * _LARGEST_COARSE:g} % or less",
            remedy="Shoot the frames at a higher gain or bit depth",
        )
    if not source.resolves and source.model.camera.kind != "gaussian" and read_out_e < _FINEST_NOISE_E:
        raise PhotonbitsError(
            f"read_noise_e {read_out_e:.3g}: single electrons would show, and the frames do not tell them apart",
            legal=f"{_FINEST_NOISE_E} e- or more",
            remedy="Give noiseless light as `light_e`",
        )
    if error_bits > LARGEST_ERROR_BITS:
        least = factor * float(np.sqrt(np.mean(source.noise_e2) / repeats))
        raise PhotonbitsError(
            f"this case cannot be made from these frames: its law would be wrong by about {error_bits:.2g} bit/px",
            legal=f"{LARGEST_ERROR_BITS} bit/px or less; read_noise_e above {least:.3g} e- at this light, no dark "
            "charge less than the frames hold",
            remedy="Ask for more read noise, shoot `repeats`, or give noiseless light as `light_e`",
        )
