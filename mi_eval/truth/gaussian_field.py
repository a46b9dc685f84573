"""Stationary Gaussian fields seen by a camera with Gaussian noise: the closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.fields import Correlation
from mi_eval.truth.source import Family, FloatArray, KnownInformation, Sample, check_patch_size, pixel_sampler

_LARGEST_PATCH = 64


@dataclass(frozen=True)
class GaussianField:
    r"""Light y ~ Normal(mean, sd^2 R), measured as z = offset + K (y + r), r ~ Normal(0, read noise^2).

    .. math:: I = \frac1{2D}\log_2\det\Big(1 + \frac{\sigma_y^2}{\sigma^2} R\Big),
        \qquad \sigma^2 = r^2 + \frac1{12 K^2}

    with the second term of :math:`\sigma^2` for integer codes only.

    Notes
    -----
    Rounding: P(z) is the density of the unrounded value convolved with a box of 1 DN, so up to aliasing of
    :math:`\exp(-2\pi^2 K^2 r^2)` the entropy of the codes is that of signal plus noise plus an independent uniform
    error of variance 1/12 DN^2. Taking this error as Gaussian neglects :math:`\kappa_4^2/48` nats per pixel and
    entropy with :math:`\kappa_4 = -(K r)^{-4}/120`, its excess kurtosis against the noise (Edgeworth): 2e-6 bit at
    K r = 1 DN, 3e-11 at 4 DN.
    """

    family: ClassVar[Family] = "gaussian"

    name: str
    description: str
    noise_model: NoiseModel
    correlation: Correlation
    mean_e: float
    sd_e: float

    def __post_init__(self) -> None:
        camera = self.noise_model.camera
        if camera.kind != "gaussian" or self.noise_model.maps or not camera.response.is_linear:
            raise PhotonbitsError(
                f"Gaussian field with a camera of kind {camera.kind}", legal="kind gaussian, linear, without maps"
            )
        if camera.bit_depth is not None and float(camera.system_gain_dn_per_e) * float(camera.read_noise_e) < 1:
            raise PhotonbitsError("read noise below 1 DN", legal="1 DN or more, for the closed form to hold for codes")

    @property
    def noise_variance_e2(self) -> float:
        """Variance of the noise, electrons squared, rounding included."""
        return gaussian_noise_variance_e2(self.noise_model)

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, _LARGEST_PATCH, self.name)
        light = self.mean_e + self.sd_e * self.correlation.draw(n_patches, patch_size, rng)
        return pixel_sampler(self.noise_model, light, rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z) in closed form, bits per pixel; patch size 1 is a single pixel."""
        ratio = self.sd_e**2 / self.noise_variance_e2
        modes = self.correlation.eigenvalues(patch_size)
        return KnownInformation(0.5 * float(np.mean(np.log2(1 + ratio * modes))), 0.0)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z), of the density for real values."""
        n, size, _ = patches.shape
        gain = float(self.noise_model.camera.system_gain_dn_per_e)
        modes, vectors = np.linalg.eigh(self.correlation.matrix(size))
        variance = gain**2 * (self.sd_e**2 * np.maximum(modes, 0.0) + self.noise_variance_e2)
        centred = patches.reshape(n, -1) - float(self.noise_model.camera.offset_dn) - gain * self.mean_e
        square = (centred @ vectors) ** 2
        nats = 0.5 * (square @ (1 / variance) + np.sum(np.log(2 * np.pi * variance)))
        return np.asarray(nats / np.log(2))


def gaussian_noise_variance_e2(noise_model: NoiseModel) -> float:
    """Noise variance of a camera of kind gaussian, electrons squared, rounding included."""
    camera = noise_model.camera
    rounding_dn2 = 0.0 if camera.bit_depth is None else 1 / 12
    return float(camera.read_noise_e) ** 2 + rounding_dn2 / float(camera.system_gain_dn_per_e) ** 2
