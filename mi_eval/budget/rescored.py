"""The same light through several cameras, photons and read noise in common, each scored by the density models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtrik

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.heldout import heldout_code_lengths
from mi_eval.measurements import cut_patches, frames_from_array
from mi_eval.patch_places import crop_to_patches

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rescored:
    """Information of the same frames through several cameras.

    Parameters
    ----------
    bits : ndarray (n_groups, n_cameras)
        Bits per pixel by group of patches (frames).
    share : ndarray (n_groups,)
        Share of the patches.
    """

    bits: FloatArray
    share: FloatArray

    def mean(self, camera: int) -> float:
        """Bits per pixel through one camera."""
        return float(self.share @ self.bits[:, camera])

    def gain(self, camera: int, base: int = 0) -> tuple[float, float]:
        """What one camera tells more than another, bits per pixel, and the paired standard error."""
        difference = self.bits[:, camera] - self.bits[:, base]
        mean, n = float(self.share @ difference), difference.size
        return mean, float(np.sqrt(np.sum((self.share * (difference - mean)) ** 2) * n / max(n - 1, 1)))


def rescore(
    light_e: FloatArray,
    cameras: Sequence[NoiseModel],
    *,
    patch_size: int = 16,
    seed: int = 0,
    max_patches: int = 20_000,
) -> Rescored:
    """Measure light once with each camera on common random numbers, and score each.

    Parameters
    ----------
    light_e : ndarray (n_frames, height, width)
        Collected charge, electrons.
    cameras : sequence of NoiseModel
        With codes, without channels.
    patch_size, seed, max_patches
        As for `mi_eval.estimate_information`.

    Raises
    ------
    PhotonbitsError
        For light that is no stack of frames, or a camera with channels or without codes.

    Notes
    -----
    Information is the held-out code length, less the finite-sample excess, less the entropy of the noise at the known
    light. Photon counts are the Poisson quantiles of common uniform numbers and the read noise is made of common normal
    numbers, so that cameras differ in nothing but themselves.
    """
    light = np.asarray(light_e, dtype=np.float64)
    if light.ndim != 3 or not np.all(np.isfinite(light)):
        raise PhotonbitsError(f"light of shape {light.shape}", legal="finite electrons, (n_frames, height, width)")
    source = np.random.default_rng([seed, 5])
    uniform, normal = source.random(light.shape), source.standard_normal(light.shape)
    photons = poisson_quantile(uniform, light) if any(c.camera.kind != "gaussian" for c in cameras) else light
    columns, share = [], np.ones(1)
    for model in cameras:
        codes = _measured(model, light, photons, normal)
        data = cut_patches(frames_from_array(codes), model, patch_size=patch_size, seed=seed, max_patches=max_patches)
        heldout = heldout_code_lengths(data.patches, seed)
        places = data.positions
        entropy = model.conditional_entropy_bits(light)
        noise = np.concatenate(
            [
                crop_to_patches(entropy[frame], places[places[:, 0] == frame], patch_size).sum(axis=(1, 2))
                for frame in np.unique(places[:, 0])
            ]
        )
        bits = (heldout.full_bits - heldout.excess_bits - noise) / patch_size**2
        _, member = np.unique(data.patches.frame_index, return_inverse=True)
        size = np.bincount(member)
        columns.append(np.bincount(member, weights=bits) / size)
        share = size / size.sum()
    return Rescored(np.stack(columns, axis=1), share)


def poisson_quantile(uniform: FloatArray, mean: FloatArray) -> FloatArray:
    """Smallest count whose cumulative Poisson probability reaches ``uniform``."""
    with np.errstate(invalid="ignore"):
        count = np.ceil(np.maximum(np.nan_to_num(pdtrik(uniform, np.maximum(mean, 1e-300))), 0.0) - 1e-9)
    return np.asarray(np.where(mean > 0, count, 0.0))


def _measured(model: NoiseModel, light: FloatArray, photons: FloatArray, normal: FloatArray) -> NDArray[Any]:
    """Codes of one camera from given photons and standard normal numbers."""
    if model.channel_layout is not None or model.bit_depth is None:
        raise PhotonbitsError("a camera with channels or real values", legal="codes of one channel")
    camera, maps = model.camera, dict(model.readout_maps)
    gain = maps.get("system_gain_dn_per_e", camera.system_gain_dn_per_e)
    read = maps.get("read_noise_e", camera.read_noise_e)
    offset = maps.get("offset_dn", camera.offset_dn)
    charge = (light if camera.kind == "gaussian" else photons) + np.asarray(read) * normal
    hair = 1e-9 if not np.any(np.asarray(read)) else 0.0
    codes = np.floor(offset + camera.response.evaluate(gain * charge) + 0.5 + hair)
    return np.clip(codes, camera.black_clip_dn, camera.white_clip_dn).astype(np.uint32)
