"""Estimates of a scene from noisy charge, for the bounds through estimation error; any other callable will do as well.

A denoiser is called with noisy patches and the noise: ``denoise(noisy_e, strength)``. For Gaussian noise ``strength``
is the noise's standard deviation in electrons; for photon counts the share of the light that was counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln, logsumexp

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]
Denoiser = Callable[[FloatArray, float], FloatArray]
Noise = Literal["gaussian", "photons"]


def linear_denoiser(mean_e: float, covariance_e2: ArrayLike, *, noise: Noise = "gaussian") -> Denoiser:
    """Best linear estimate for scenes of this mean and covariance: exact for Gaussian fields under Gaussian noise.

    Parameters
    ----------
    mean_e : float
        Of every pixel.
    covariance_e2 : ndarray (n_pixels, n_pixels)
        Pixels in raster order.
    noise : {"gaussian", "photons"}
        Photon counts get the noise variance of their mean.
    """
    values, vectors = np.linalg.eigh(np.asarray(covariance_e2, dtype=np.float64))
    values = np.maximum(values, 0.0)

    def denoise(noisy_e: FloatArray, strength: float) -> FloatArray:
        flat = noisy_e.reshape(len(noisy_e), -1)
        scale = 1.0 if noise == "gaussian" else strength
        variance = strength**2 if noise == "gaussian" else mean_e / strength
        centred = (flat / scale - mean_e) @ vectors
        estimate = mean_e + (centred * (values / (values + variance))) @ vectors.T
        floor = -np.inf if noise == "gaussian" else 1e-3 * mean_e
        return np.asarray(np.maximum(estimate, floor).reshape(noisy_e.shape))

    return denoise


def pixel_denoiser(charge_e: ArrayLike, weight: ArrayLike, *, noise: Noise) -> Denoiser:
    """Posterior mean of each pixel for itself, for light of a given law: exact where pixels are independent.

    Parameters
    ----------
    charge_e, weight : ndarray (n_nodes,)
        Quadrature of the law of a pixel's light; weights of sum 1.
    noise : {"gaussian", "photons"}
    """
    node, mass = np.asarray(charge_e, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    with np.errstate(divide="ignore"):
        log_mass = np.log(mass)

    def denoise(noisy_e: FloatArray, strength: float) -> FloatArray:
        values, which = np.unique(noisy_e, return_inverse=True)
        estimate = np.empty(values.size)
        step = max(1, 2_000_000 // node.size)
        for i in range(0, values.size, step):
            part = values[i : i + step, None]
            log_posterior = log_mass + _log_likelihood(part, node[None, :], strength, noise)
            posterior = np.exp(log_posterior - logsumexp(log_posterior, axis=1, keepdims=True))
            estimate[i : i + step] = posterior @ node
        return estimate[which.reshape(-1)].reshape(noisy_e.shape)

    return denoise


def example_denoiser(examples_e: ArrayLike, *, noise: Noise) -> Denoiser:
    """Posterior mean over given scenes, all equally likely: exact where scenes are these and no others.

    Parameters
    ----------
    examples_e : ndarray (n_examples, height, width)
        Charge, electrons, of independent draws.
    noise : {"gaussian", "photons"}
    """
    examples = np.asarray(examples_e, dtype=np.float64)
    if examples.ndim != 3:
        raise PhotonbitsError(f"examples of shape {examples.shape}", legal="(n_examples, height, width)")
    flat = examples.reshape(len(examples), -1)

    def denoise(noisy_e: FloatArray, strength: float) -> FloatArray:
        noisy = noisy_e.reshape(len(noisy_e), -1)
        if noise == "gaussian":
            squares = np.sum(noisy**2, axis=1)[:, None] + np.sum(flat**2, axis=1)[None, :] - 2 * noisy @ flat.T
            logs = -squares / (2 * strength**2)
        else:
            rate = strength * np.maximum(flat, 1e-12)
            logs = noisy @ np.log(rate).T - rate.sum(axis=1)[None, :]
        posterior = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        return np.asarray((posterior @ flat).reshape(noisy_e.shape))

    return denoise


def _log_likelihood(noisy: FloatArray, charge: FloatArray, strength: float, noise: Noise) -> FloatArray:
    if noise == "gaussian":
        return np.asarray(-0.5 * ((noisy - charge) / strength) ** 2)
    rate = strength * charge
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(noisy > 0, noisy * np.log(rate), 0.0)
    return np.asarray(logs - rate - gammaln(noisy + 1))
