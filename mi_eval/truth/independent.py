"""Pixels that are independent of each other, through the full camera model: quadrature of one pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.fields import Correlation
from mi_eval.truth.laws import LightLaw
from mi_eval.truth.source import Family, FloatArray, KnownInformation, Sample, check_patch_size, pixel_sampler

_LARGEST_PATCH = 256


@dataclass(frozen=True)
class IndependentPixels:
    r"""Each pixel's light is drawn afresh from one law and measured by a camera with codes.

    .. math:: I = H(Z) - H(Z|Y) = -\sum_z p(z) \log_2 p(z) - \int h(y) dF(y), \qquad p(z) = \int p(z|y) dF(y)

    with p(z|y) the camera's own cell probabilities: shot noise, read noise, response, rounding and clipping.
    """

    family: ClassVar[Family] = "independent"

    name: str
    description: str
    noise_model: NoiseModel
    light: LightLaw

    def __post_init__(self) -> None:
        if self.noise_model.bit_depth is None or self.noise_model.maps:
            raise PhotonbitsError("independent pixels with real values or maps", legal="integer codes, without maps")

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, _LARGEST_PATCH, self.name)
        light = self.light.quantile(rng.random((n_patches, patch_size, patch_size)))
        return pixel_sampler(self.noise_model, light, rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z) of one pixel, which is that of any patch, bits per pixel."""
        charge, weight = self.light.quadrature()
        conditional = float(weight @ self.noise_model.code_table(charge).entropies_bits())
        mass = self.code_masses()
        some = mass > 0
        return KnownInformation(float(-(mass[some] @ np.log2(mass[some]))) - conditional, 0.0)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z), the sum over pixels."""
        with np.errstate(divide="ignore"):
            bits = -np.log2(self.code_masses())
        return np.asarray(bits[patches - self.noise_model.camera.black_clip_dn].sum(axis=(1, 2)))

    def code_masses(self) -> FloatArray:
        """p(z) of every code from the black clip on, (n_codes,)."""
        charge, weight = self.light.quadrature()
        return np.asarray(self.noise_model.code_table(charge).pmf.T @ weight)


@dataclass(frozen=True)
class ShuffledScene:
    r"""Correlated scenes, measured, and then all pixels of all patches shuffled.

    Light is a Gaussian field g turned into the pixels' law by its ranks R among all N pixels of all frames,
    :math:`y = F^{-1}((R + 1/2)/N)`: however few independent fields there are, the pool has the law F. After the
    shuffle nothing but this law is left, so the information is that of :class:`IndependentPixels`.
    """

    family: ClassVar[Family] = "independent"

    pixels: IndependentPixels
    correlation: Correlation

    @property
    def name(self) -> str:
        """That of the pixels."""
        return self.pixels.name

    @property
    def description(self) -> str:
        """That of the pixels."""
        return self.pixels.description

    @property
    def noise_model(self) -> NoiseModel:
        """The camera."""
        return self.pixels.noise_model

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Shuffled frames of one patch each, and their light in the same order."""
        check_patch_size(patch_size, 64, self.name)
        scene = self.correlation.draw(n_patches, patch_size, rng)
        rank = np.empty(scene.size)
        rank[np.argsort(scene, axis=None)] = np.arange(scene.size) + 0.5
        light = self.pixels.light.quantile((rank / scene.size).reshape(scene.shape))
        ordered = pixel_sampler(self.noise_model, light, rng)
        order = rng.permutation(scene.size)
        return Sample(*(array.ravel()[order].reshape(scene.shape) for array in ordered))

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z) of one pixel."""
        return self.pixels.information_bits(patch_size)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z), the sum over pixels."""
        return self.pixels.surprise_bits(patches)
