"""Information as the sum of estimation errors over all noise levels: any denoiser gives an upper bound.

It fails differently from density models, which makes it a second opinion on simulated systems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate import PhotonbitsError
from mi_eval.bounds.denoisers import Denoiser

FloatArray = NDArray[np.float64]

_NODES = 16


@dataclass(frozen=True)
class EstimationBound:
    """An upper bound of information in bits per pixel, from the errors of a denoiser at several noise levels.

    Parameters
    ----------
    bits_per_pixel, std_bits_per_pixel : float
        Sum over the levels, and its standard error from the scatter between patches.
    level : ndarray (n_nodes,)
        Share of the full signal: of the inverse noise variance, or of the light.
    error : ndarray (n_nodes,)
        Mean loss per pixel at each: squared error over the noise variance, or the Poisson loss in electrons.
    """

    bits_per_pixel: float
    std_bits_per_pixel: float
    level: FloatArray
    error: FloatArray


def gaussian_noise_bound(
    light_e: ArrayLike, noise_e: float, denoise: Denoiser, *, seed: int = 0, nodes: int = _NODES
) -> EstimationBound:
    r"""Upper bound of I(Y; Y + noise) for Gaussian noise of standard deviation ``noise_e``.

    Parameters
    ----------
    light_e : ndarray (n_patches, height, width)
        Independent draws of the scene, electrons; none of them may have taught the denoiser.
    noise_e : float
    denoise : callable
        ``denoise(noisy_e, noise_sd_e)`` gives an estimate of the light, the shape of ``noisy_e``.
    seed : int
    nodes : int
        Noise levels.

    Returns
    -------
    EstimationBound

    Raises
    ------
    PhotonbitsError
        For other shapes, noise that is not positive, or estimates of another shape or not finite.

    Notes
    -----
    .. math:: I = \frac12 \int_0^{1} \frac{\mathrm{mmse}(s)}{\sigma^2}\,ds \text{ nats},

    where mmse(s) is the summed error of the best estimate from the light with noise of variance :math:`\sigma^2/s`
    (Guo, Shamai, Verdu 2005, IEEE Trans. Inf. Theory 51, 1261). The error of any estimate is at least that. The rule of
    Gauss and Legendre runs in log(1 + c s), with c the variance of the light over the noise's, where the integrand is
    smooth. Rounding and clipping after the noise only lose information, so it bounds a camera of kind gaussian as well.
    """
    light = _light(light_e)
    if not noise_e > 0:
        raise PhotonbitsError(f"noise_e {noise_e}", legal="above 0 electrons")
    contrast = max(float(np.var(light)) / noise_e**2, 1e-3)
    rng = np.random.default_rng(seed)

    def loss(share: float) -> FloatArray:
        sd = noise_e / np.sqrt(share)
        estimate = _estimate(denoise, light + sd * rng.standard_normal(light.shape), float(sd), light.shape)
        return np.asarray(np.mean((estimate - light) ** 2, axis=(1, 2)) / (2 * noise_e**2))

    return _integrated(loss, contrast, nodes, scale=2.0)


def photon_count_bound(light_e: ArrayLike, denoise: Denoiser, *, seed: int = 0, nodes: int = _NODES) -> EstimationBound:
    r"""Upper bound of I(Y;N) with N the photon count, N ~ Poisson(Y): no read noise, no rounding.

    Parameters
    ----------
    light_e : ndarray (n_patches, height, width)
        Independent draws of the scene, electrons, 0 or more; none of them may have taught the denoiser.
    denoise : callable
        ``denoise(counts, share)`` gives a positive estimate of the *whole* light from counts of a share of it.
    seed : int
    nodes : int

    Returns
    -------
    EstimationBound

    Raises
    ------
    PhotonbitsError
        For other shapes, negative light, or estimates that are not positive where light is.

    Notes
    -----
    .. math:: I = \int_0^1 E\,\ell(Y, \hat Y_\alpha)\,d\alpha \text{ nats}, \qquad
        \ell(x, \hat x) = x \log\frac{x}{\hat x} - x + \hat x,

    with :math:`\hat Y_\alpha` the posterior mean from counts of a share :math:`\alpha` of the light (Guo, Shamai, Verdu
    2008, IEEE Trans. Inf. Theory 54, 1837; Atar, Weissman 2012, same journal 58, 1302). The posterior mean has the
    least loss, so any estimate bounds from above. The counts of the shares are thinned from the same photons. Read
    noise, rounding and clipping only lose information: it bounds I(X;Z) of a camera with them.
    """
    light = _light(light_e)
    if np.any(light < 0):
        raise PhotonbitsError(f"light of {float(light.min()):g} e-", legal="0 or more electrons")
    mean = float(light.mean())
    contrast = max(float(np.var(light)) / max(mean, 1e-12), 1e-3)
    rng = np.random.default_rng(seed)
    photons = rng.poisson(light)

    def loss(share: float) -> FloatArray:
        counts = rng.binomial(photons, share).astype(np.float64)
        estimate = _estimate(denoise, counts, share, light.shape)
        if np.any(estimate < 0) or np.any((estimate == 0) & (light > 0)):
            raise PhotonbitsError(
                "the denoiser's estimates are 0 or below where there is light", legal="estimates above 0 electrons"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.where(light > 0, light * np.log(light / np.where(estimate > 0, estimate, 1.0)), 0.0)
        return np.asarray(np.mean(logs - light + estimate, axis=(1, 2)))

    return _integrated(loss, contrast, nodes, scale=1.0)


def _integrated(loss: Callable[[float], FloatArray], contrast: float, nodes: int, scale: float) -> EstimationBound:
    """Integral of a loss per pixel over shares from 0 to 1, patch by patch; ``error`` is the loss times ``scale``."""
    if nodes < 2:
        raise PhotonbitsError(f"{nodes} nodes", legal="2 or more")
    place, weight = np.polynomial.legendre.leggauss(nodes)
    top = np.log1p(contrast)
    t = top * (place + 1) / 2
    share = np.expm1(t) / contrast
    measure = weight * top / 2 * np.exp(t) / contrast
    losses = [loss(float(value)) for value in share]
    nats = np.sum(measure[:, None] * np.stack(losses), axis=0)
    bits = nats / np.log(2)
    return EstimationBound(
        bits_per_pixel=float(bits.mean()),
        std_bits_per_pixel=float(np.std(bits, ddof=1) / np.sqrt(bits.size)),
        level=share,
        error=scale * np.array([float(values.mean()) for values in losses]),
    )


def _light(light_e: ArrayLike) -> FloatArray:
    light = np.asarray(light_e, dtype=np.float64)
    if light.ndim != 3 or len(light) < 2:
        raise PhotonbitsError(f"light of shape {light.shape}", legal="(n_patches, height, width), 2 patches or more")
    if not np.all(np.isfinite(light)):
        raise PhotonbitsError("light is NaN or infinite", legal="finite electrons")
    return light


def _estimate(denoise: Denoiser, noisy: FloatArray, strength: float, shape: tuple[int, ...]) -> FloatArray:
    estimate = np.asarray(denoise(noisy, strength), dtype=np.float64)
    if estimate.shape != shape or not np.all(np.isfinite(estimate)):
        raise PhotonbitsError(
            f"the denoiser gave shape {estimate.shape}, {int(np.sum(~np.isfinite(estimate)))} values not finite",
            legal=f"finite electrons of shape {shape}",
        )
    return estimate
