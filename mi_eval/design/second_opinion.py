"""A second opinion on an audited design: an upper bound of its information from the errors of denoisers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.bounds import (
    example_denoiser,
    gaussian_noise_bound,
    linear_denoiser,
    photon_count_bound,
    pixel_denoiser,
)
from mi_eval.bounds.denoisers import Denoiser, Noise

FloatArray = NDArray[np.float64]

_MOST_PATCHES = 3000  # that are denoised; as many again teach the linear estimate
_EXAMPLES = 1000
_JUDGES = 400
_CHARGE_NODES = 256


@dataclass(frozen=True)
class SecondOpinion:
    """An upper bound of the information, which fails differently from density models.

    Parameters
    ----------
    upper_bound_bits_per_pixel, std_bits_per_pixel : float
        From the errors of denoisers at 16 noise levels, and its standard error; on patches of the audit's size.
    of_photons_alone : bool
        True: of the photons themselves, without read noise, rounding and clipping, which only lose information. The
        bound is then loose where these matter.
    denoisers : tuple of str
        Those that were the best at some level.
    patches : int
    """

    upper_bound_bits_per_pixel: float
    std_bits_per_pixel: float
    of_photons_alone: bool
    denoisers: tuple[str, ...]
    patches: int


def second_opinion(noise_model: NoiseModel, charge_e: FloatArray, patch_size: int, seed: int) -> SecondOpinion:
    """Bound the information of patches of simulated frames by estimation errors (I-MMSE).

    The frames are dealt into teachers, judges and the rest. Teachers make three denoisers: linear, the posterior mean
    over examples, and (photons) pixel by pixel. At each noise level the judges choose one, which denoises the rest.

    Parameters
    ----------
    noise_model : NoiseModel
    charge_e : ndarray (n_frames, height, width)
        Charge of simulated frames, electrons.
    patch_size : int
    seed : int

    Returns
    -------
    SecondOpinion

    Notes
    -----
    For kind gaussian the noise is that before rounding (Guo, Shamai, Verdu 2005); else photon counts (the same authors
    2008). See `mi_eval.bounds.gaussian_noise_bound` and `mi_eval.bounds.photon_count_bound`.
    """
    camera = noise_model.camera
    photons = camera.kind != "gaussian"
    rng = np.random.default_rng([seed, 33])
    order = rng.permutation(len(charge_e))
    half, judged = len(order) // 2, len(order) // 2 + max(2, len(order) // 10)
    parts = (order[:half], order[half:judged], order[judged:])
    teachers, judges, rest = (_patches(charge_e[part], patch_size) for part in parts)
    teachers, judges, rest = (
        values[np.sort(rng.permutation(len(values))[:most])]
        for values, most in ((teachers, _MOST_PATCHES), (judges, _JUDGES), (rest, _MOST_PATCHES))
    )
    chosen = _Chosen(_taught(teachers, photons), judges, photons, seed)
    if photons:
        bound = photon_count_bound(np.maximum(rest, 0.0), chosen, seed=seed)
    else:
        bound = gaussian_noise_bound(rest, float(camera.read_noise_e), chosen, seed=seed)
    names = tuple(sorted(set(chosen.choices.values())))
    return SecondOpinion(bound.bits_per_pixel, bound.std_bits_per_pixel, photons, names, len(rest))


def _taught(teachers: FloatArray, photons: bool) -> dict[str, Denoiser]:
    """Denoisers made from patches of light."""
    noise: Noise = "photons" if photons else "gaussian"
    flat = teachers.reshape(len(teachers), -1)
    found: dict[str, Denoiser] = {"examples": example_denoiser(teachers[:_EXAMPLES], noise=noise)}
    if photons:
        mean = float(flat.mean())
        centred = flat - mean
        found["linear"] = linear_denoiser(mean, centred.T @ centred / len(flat), noise=noise)
        levels = np.quantile(flat, (np.arange(_CHARGE_NODES) + 0.5) / _CHARGE_NODES)
        weight = np.full(_CHARGE_NODES, 1 / _CHARGE_NODES)
        found["pixel"] = pixel_denoiser(np.maximum(levels, 1e-6), weight, noise=noise)
        return found
    place = teachers.mean(axis=0)
    centred = flat - place.ravel()
    about_zero = linear_denoiser(0.0, centred.T @ centred / (len(flat) - 1), noise=noise)
    found["linear"] = lambda noisy, strength: place + about_zero(noisy - place, strength)
    return found


class _Chosen:
    """At each noise level the denoiser that does best on the judges; they are no part of what is bounded."""

    def __init__(self, denoisers: dict[str, Denoiser], judges: FloatArray, photons: bool, seed: int) -> None:
        self._denoisers, self._judges, self._photons = denoisers, judges, photons
        self._seed = seed
        self.choices: dict[float, str] = {}

    def __call__(self, noisy_e: FloatArray, strength: float) -> FloatArray:
        if strength not in self.choices:
            losses = {name: self._loss(denoise, strength) for name, denoise in self._denoisers.items()}
            self.choices[strength] = min(losses, key=lambda name: losses[name])
        return self._positive(self._denoisers[self.choices[strength]](noisy_e, strength))

    def _loss(self, denoise: Denoiser, strength: float) -> float:
        rng = np.random.default_rng([self._seed, 34])
        light = self._judges
        if not self._photons:
            noisy = light + strength * rng.standard_normal(light.shape)
            return float(np.mean((denoise(noisy, strength) - light) ** 2))
        light = np.maximum(light, 0.0)
        estimate = self._positive(denoise(rng.poisson(strength * light).astype(np.float64), strength))
        logs = light * np.log(np.maximum(light, 1e-300) / estimate)
        return float(np.mean(logs - light + estimate))

    def _positive(self, estimate: FloatArray) -> FloatArray:
        return np.maximum(estimate, 1e-6) if self._photons else estimate


def _patches(frames: FloatArray, patch: int) -> FloatArray:
    """Frames (n, h, w) cut into patches side by side, (n * patches, patch, patch)."""
    rows, columns = (side // patch for side in frames.shape[1:])
    cut = frames[:, : rows * patch, : columns * patch].reshape(-1, rows, patch, columns, patch)
    return np.ascontiguousarray(cut.swapaxes(2, 3).reshape(-1, patch, patch))
