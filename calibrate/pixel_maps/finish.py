"""From DN to the camera model's units: the maps of the noise-model file, averaged over good pixels to its scalars."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model.credibility import credible_map
from calibrate.pixel_maps.design import Design
from calibrate.pixel_maps.estimate import PixelEstimates
from calibrate.pixel_maps.root import unbiased_root
from calibrate.pixel_maps.sums import TILE_PIXELS, Float32Array

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_THREADS = 2
#: Standard errors of the mean gain of the pixels within which it must be known to be tied to the scalar.
_TIED_FROM = 5.0


def tie_gain(pixels: PixelEstimates, scalar: float, good: BoolArray) -> tuple[float, float]:
    """Scale the gain map to the scalar gain, on average over good pixels; the mean before over the scalar, its error.

    The map is left alone where its mean is not known to a fifth of itself.
    """
    if pixels.gain_dn_per_e is None or not np.any(good):
        return 1.0, 0.0
    gain, std = pixels.gain_dn_per_e, pixels.std["gain_dn_per_e"]
    mean = float(np.mean(gain[good], dtype=np.float64))
    error = float(np.sqrt(np.mean(np.square(std[good], dtype=np.float64)) / np.count_nonzero(good)))
    if mean > _TIED_FROM * error:
        gain *= np.float32(scalar / mean)
        std *= np.float32(scalar / mean)
    return mean / scalar, error / scalar


def to_maps(pixels: PixelEstimates, design: Design, good: BoolArray) -> dict[str, Float32Array]:
    """Maps in the units of the noise-model file, flat; ``pixels`` is used up.

    Notes
    -----
    Charge needs the pixel's gain: DN over K_i. Where the gain map says nothing about single pixels
    (`credible_map`) K stands for all, and the photo-response is that of the signal in DN; K_i (1 + prnu_i), which is
    what the means depend on, is the same either way.
    """
    scalar = design.fit.system_gain_dn_per_e
    gain_map, gain_error = None, 0.0
    if pixels.gain_dn_per_e is not None:
        gain_map, gain_error = credible_map(
            pixels.gain_dn_per_e, pixels.std["gain_dn_per_e"], scalar, good, robust=True
        )
    relative_error = gain_error / scalar
    maps: dict[str, Float32Array] = {"offset_dn": pixels.offset_dn, "offset_dn_std": pixels.std["offset_dn"]}
    root = np.empty_like(pixels.offset_dn)
    root_std = np.empty_like(root)
    dof, t = design.dark_dof, design.noise_exposure_s

    def gain_of(part: slice) -> FloatArray | float:
        return scalar if gain_map is None else np.asarray(gain_map[part], dtype=np.float64)

    def read_noise(part: slice) -> None:
        gain = gain_of(part)
        rate: FloatArray | float = design.fit.dark_rate_dn_per_s if design.has_exposures else 0.0
        if pixels.rate_dn_per_s is not None:
            rate = pixels.rate_dn_per_s[part].astype(np.float64)
        change = (scalar - gain) * t * rate  # the pixel's own gain in its dark shot noise
        read, guess = (x[part] + change for x in (pixels.read_variance_dn2, pixels.guess_dn2))
        value, std = unbiased_root(read, pixels.std["read_variance_dn2"][part], guess, dof)
        root[part] = value / gain
        root_std[part] = np.hypot(std / gain, value / gain * relative_error)

    _in_parts(root.size, read_noise)
    maps["read_noise_e"], maps["read_noise_e_std"] = root, root_std
    if pixels.gain_dn_per_e is not None:
        maps["system_gain_dn_per_e"] = pixels.gain_dn_per_e
        maps["system_gain_dn_per_e_std"] = pixels.std["gain_dn_per_e"]
    if pixels.rate_dn_per_s is not None:
        rate, rate_std = pixels.rate_dn_per_s, pixels.std["rate_dn_per_s"]

        def dark_current(part: slice) -> None:
            gain = gain_of(part)
            rate[part] /= gain
            rate_std[part] = np.hypot(rate_std[part] / gain, rate[part] * relative_error)

        _in_parts(rate.size, dark_current)
        maps["dark_current_e_per_s"], maps["dark_current_e_per_s_std"] = rate, rate_std
    if pixels.response is not None:
        prnu, prnu_std = pixels.response, pixels.std["response"]

        def photo_response(part: slice) -> None:
            share = scalar / gain_of(part)
            prnu[part] = (1.0 + prnu[part]) * share
            prnu_std[part] = np.hypot(prnu_std[part] * share, prnu[part] * relative_error)

        _in_parts(prnu.size, photo_response)
        mean = float(np.mean(prnu[good], dtype=np.float64)) if np.any(good) else 1.0
        if mean > 0:
            prnu /= np.float32(mean)
            prnu_std /= np.float32(mean)
        prnu -= np.float32(1.0)
        prnu -= np.float32(np.mean(prnu[good], dtype=np.float64)) if np.any(good) else np.float32(0.0)
        maps["prnu"], maps["prnu_std"] = prnu, prnu_std
    return maps


def _in_parts(n: int, work: Callable[[slice], None]) -> None:
    """Run ``work`` over slices of n pixels on two threads: temporaries stay small."""
    parts = [slice(k, min(k + 2 * TILE_PIXELS, n)) for k in range(0, n, 2 * TILE_PIXELS)]
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(work, parts):
            pass
