"""Efficiency of a read-out: the share of what the photon counts know that the codes still tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.budget.one_pixel import pixel_table
from mi_eval.budget.parts import NOTHING_KNOWN, Sensor, measured, sensor_of
from mi_eval.budget.rescored import Rescored, rescore
from mi_eval.budget.result import Efficiency
from mi_eval.truth.laws import LightLaw

FloatArray = NDArray[np.float64]

__all__ = ["Efficiency", "pixel_efficiency", "pixel_information_bits", "simulated_efficiency"]


def pixel_information_bits(noise_model: NoiseModel, law: LightLaw | tuple[ArrayLike, ArrayLike]) -> float:
    r"""I(Y;Z) of one pixel in bits, by quadrature over the law of its charge.

    .. math:: I = \sum_j w_j \sum_z p(z|y_j) \log_2 \frac{p(z|y_j)}{\sum_k w_k p(z|y_k)}

    Parameters
    ----------
    noise_model : NoiseModel
        Without channels; of maps the strata of pixels are averaged.
    law : LightLaw, or (charges in electrons, weights)

    Raises
    ------
    PhotonbitsError
        If charges and weights do not fit together or are no law, or the model has channels.
    """
    charge, weight = _nodes(law)
    sensor = _plain(noise_model, charge)
    high = float(charge[-1])
    cameras = measured(sensor, (), high)
    return float(sum(m.weight * pixel_table(m, charge).information_bits(weight[:, None])[0] for m in cameras))


def pixel_efficiency(noise_model: NoiseModel, law: LightLaw | tuple[ArrayLike, ArrayLike]) -> Efficiency:
    """I(Y;Z) / I(Y;N) of one pixel, exact: N is its photon count.

    Parameters and errors as for `pixel_information_bits`; a camera without shot noise counts no photons and is refused.

    Examples
    --------
    >>> from calibrate import NoiseModel
    >>> from mi_eval.truth.laws import GammaLight
    >>> camera = NoiseModel.from_parameters(
    ...     system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100, bit_depth=12)
    >>> round(pixel_efficiency(camera, GammaLight(4.0, 20.0)).value, 3)
    0.931
    """
    _refuse_without_photons(noise_model)
    charge, weight = _nodes(law)
    counts = counter(float(charge[-1])).code_table(charge)
    marginal = np.asarray(counts.pmf.T @ weight)
    some = marginal > 0
    limit = float(-(marginal[some] @ np.log2(marginal[some]))) - float(weight @ counts.entropies_bits())
    if limit <= 0:
        raise PhotonbitsError("a law of light without any information", legal="light that differs between pixels")
    value = pixel_information_bits(noise_model, (charge, weight)) / limit
    return Efficiency(value, 0.0, (value, value), "exact_one_pixel")


def simulated_efficiency(
    light_e: FloatArray, noise_model: NoiseModel, *, patch_size: int = 16, seed: int = 0, max_patches: int = 20_000
) -> Efficiency:
    """I(Y;Z) / I(Y;N) of simulated scenes whose light is known, frame by frame on the same photons.

    Both are scored by the same density models on the same patches, less the known entropy of the noise; the standard
    error is the jackknife over frames of their ratio.

    Parameters
    ----------
    light_e : ndarray (n_frames, height, width)
        Charge that light collects, electrons.
    noise_model : NoiseModel
        Without channels.
    patch_size, seed, max_patches
        As for `mi_eval.estimate_information`.

    Raises
    ------
    PhotonbitsError
        For a camera without shot noise or with channels, or too few frames.
    """
    _refuse_without_photons(noise_model)
    light = np.asarray(light_e, dtype=np.float64)
    cameras = [noise_model, counter(float(light.max()))]
    found = rescore(light, cameras, patch_size=patch_size, seed=seed, max_patches=max_patches)
    return _ratio(found)


def counter(highest_e: float) -> NoiseModel:
    """A camera that counts photons, up to where no charge of ``highest_e`` reaches."""
    top = int(highest_e + 10 * np.sqrt(highest_e) + 60)
    return NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, bit_depth=32, white_clip_dn=top)


def _ratio(found: Rescored) -> Efficiency:
    bits, share = found.bits, found.share
    value = float(share @ bits[:, 0] / (share @ bits[:, 1]))
    rest = share.sum() - share
    left_out = (share @ bits[:, 0] - share * bits[:, 0]) / rest / ((share @ bits[:, 1] - share * bits[:, 1]) / rest)
    n = left_out.size
    std = float(np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)))
    reach = float(stats.t.ppf(0.975, n - 1)) * std
    return Efficiency(value, std, (value - reach, value + reach), "simulated_light")


def _nodes(law: LightLaw | tuple[ArrayLike, ArrayLike]) -> tuple[FloatArray, FloatArray]:
    pair: tuple[Any, Any] = law if isinstance(law, tuple) else law.quadrature()
    charge, weight = (np.asarray(part, dtype=np.float64) for part in pair)
    if charge.ndim != 1 or charge.shape != weight.shape or charge.size == 0:
        raise PhotonbitsError(
            f"charges of shape {charge.shape} and weights of shape {weight.shape}", legal="two lists of one length"
        )
    if not np.all(np.isfinite(charge)) or np.any(weight < 0) or abs(weight.sum() - 1) > 1e-6:
        raise PhotonbitsError(
            f"weights from {weight.min():g} with sum {weight.sum():g}", legal="finite charges, weights of sum 1"
        )
    order = np.argsort(charge, kind="stable")
    return charge[order], weight[order]


def _plain(noise_model: NoiseModel, charge: FloatArray) -> Sensor:
    if noise_model.channel_layout is not None:
        raise PhotonbitsError("a model with channels", legal="one channel: noise_model.channel(name)")
    sensor = sensor_of(noise_model, NOTHING_KNOWN)
    # What the model says about pixels is taken as known, and the law is that of the charge.
    pixels = tuple(replace(pixel, response=1.0, dark_e=0.0) for pixel in sensor.pixels)
    low = float(charge[0]) - 8 * float(noise_model.camera.read_noise_e)
    return replace(sensor, pixels=pixels, lowest_e=min(low, 0.0) if noise_model.camera.kind == "gaussian" else 0.0)


def _refuse_without_photons(noise_model: NoiseModel) -> None:
    if noise_model.camera.kind == "gaussian":
        raise PhotonbitsError(
            "efficiency of a camera of kind gaussian", legal="kind poisson-gaussian or poisson: photons are counted"
        )
