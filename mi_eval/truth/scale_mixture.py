"""Gaussian fields whose contrast differs from patch to patch: exact by quadrature over the contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.fields import Correlation
from mi_eval.truth.gaussian_field import gaussian_noise_variance_e2
from mi_eval.truth.source import (
    Family,
    FloatArray,
    KnownInformation,
    Sample,
    check_patch_size,
    monte_carlo_mean,
    pixel_sampler,
)

_LARGEST_PATCH = 64
_REACH = 7.5  # standard deviations of ln s; 6e-14 of the law lies outside


@dataclass(frozen=True)
class ScaleMixtureField:
    r"""Light :math:`y = \mathrm{mean} + \sqrt{s} g`, g a Gaussian field, ln s ~ Normal(-v/2, v) once a patch.

    So E[s] = 1: ``sd_e`` is the standard deviation of the light (Wainwright and Simoncelli 1999). With Gaussian
    noise of variance :math:`\sigma^2`

    .. math:: I(Y;Z) = \int \tfrac12\log_2\det\Big(1 + \frac{s \sigma_y^2}{\sigma^2} R\Big) dF(s) + I(S;Z)

    because h(Z) = h(Z|S) + I(S;Z). The integral is a quadrature; :math:`I(S;Z) = E \log_2 p(z|s)/p(z)`, a few bits
    a patch, is a Monte-Carlo mean with p(z) by the same quadrature.

    Parameters
    ----------
    log_sd : float
        Standard deviation of ln s, :math:`\sqrt{v}`.
    monte_carlo_patches : int
        Draws behind I(S;Z).
    """

    family: ClassVar[Family] = "scale-mixture"

    name: str
    description: str
    noise_model: NoiseModel
    correlation: Correlation
    mean_e: float
    sd_e: float
    log_sd: float
    monte_carlo_patches: int = 2000

    def __post_init__(self) -> None:
        camera = self.noise_model.camera
        if camera.kind != "gaussian" or self.noise_model.maps or not camera.response.is_linear:
            raise PhotonbitsError(
                f"scale mixture with a camera of kind {camera.kind}", legal="kind gaussian, linear, without maps"
            )
        if camera.bit_depth is not None and float(camera.system_gain_dn_per_e) * float(camera.read_noise_e) < 1:
            raise PhotonbitsError("read noise below 1 DN", legal="1 DN or more, for Gaussian densities of codes")

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, _LARGEST_PATCH, self.name)
        contrast = self.sd_e * np.sqrt(self._draw_scales(n_patches, rng))[:, None, None]
        light = self.mean_e + contrast * self.correlation.draw(n_patches, patch_size, rng)
        return pixel_sampler(self.noise_model, light, rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z), bits per pixel, with the standard error of I(S;Z)."""
        rng = np.random.default_rng([2, patch_size])
        modes = self.correlation.eigenvalues(patch_size)
        noise = gaussian_noise_variance_e2(self.noise_model)
        scales, weights = self._quadrature(patch_size)
        ratio = self.sd_e**2 / noise * modes
        given_scale = 0.5 * float(weights @ np.log2(1 + np.outer(scales, ratio)).mean(axis=1))
        drawn = self._draw_scales(self.monte_carlo_patches, rng)
        own = noise * (1 + np.outer(drawn, ratio))
        square = own * rng.standard_normal(own.shape) ** 2
        known = -0.5 * (np.sum(square / own, axis=1) + np.sum(np.log(own), axis=1))
        mixed = _log_mixture(square, noise * (1 + np.outer(scales, ratio)), weights)
        about_scale = monte_carlo_mean((known - mixed) / np.log(2) / patch_size**2)
        return KnownInformation(given_scale + about_scale.value, about_scale.std)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z) by quadrature over the scale."""
        n, size, _ = patches.shape
        gain = float(self.noise_model.camera.system_gain_dn_per_e)
        modes, vectors = np.linalg.eigh(self.correlation.matrix(size))
        scales, weights = self._quadrature(size)
        noise = gaussian_noise_variance_e2(self.noise_model)
        variance = noise + np.outer(scales, self.sd_e**2 * np.maximum(modes, 0.0))
        centred = patches.reshape(n, -1) - float(self.noise_model.camera.offset_dn) - gain * self.mean_e
        square = (centred @ vectors / gain) ** 2
        nats = _log_mixture(square, variance, weights) - size**2 * (0.5 * np.log(2 * np.pi) + np.log(gain))
        return np.asarray(-nats / np.log(2))

    def _draw_scales(self, n: int, rng: np.random.Generator) -> FloatArray:
        return np.exp(self.log_sd * rng.standard_normal(n) - self.log_sd**2 / 2)

    def _quadrature(self, patch_size: int) -> tuple[FloatArray, FloatArray]:
        """Scales and weights of the trapezoid rule in ln s, a quarter of the posterior's least width apart."""
        step = min(0.25 * np.sqrt(2) / patch_size, self.log_sd / 8)
        count = int(np.ceil(_REACH * self.log_sd / step))
        normal = np.arange(-count, count + 1) * step / self.log_sd
        weights = np.exp(-0.5 * normal**2)
        return np.exp(self.log_sd * normal - self.log_sd**2 / 2), weights / weights.sum()


def _log_mixture(square: FloatArray, variance: FloatArray, weights: FloatArray) -> FloatArray:
    """log sum_k w_k prod_j v_kj^(-1/2) exp(-q_j / 2 v_kj), natural, without the factors of 2 pi; shape (n,)."""
    nats = -0.5 * (square @ (1 / variance).T + np.log(variance).sum(axis=1)) + np.log(weights)
    return np.asarray(logsumexp(nats, axis=1))
