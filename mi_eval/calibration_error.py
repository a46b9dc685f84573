"""What the errors of a calibration do to a score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy, conditional_entropy
from mi_eval.histograms import FrameHistograms
from mi_eval.laws import of_one_law
from mi_eval.pixel_classes import PixelClasses, classify_pixels

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationErrors:
    """How the calibration's errors move H(Z|Y), channel by channel; one channel for a sensor without them.

    Parameters
    ----------
    channels : tuple of str
        Names; one empty name where the model has one set of parameters.
    shares : tuple of float
        Share of the pixels.
    gradients : tuple of ndarray
        dH(Z|Y)/dtheta of the channel, bits per unit of each parameter in the covariance.
    covariances : tuple of ndarray
        Covariance of the same parameters.
    misfits_bits : tuple of float
        What a model that misses its own variances may be off by.
    common_misfit : bool
        Whether a misfit may be common to all channels, so that their errors add up.
    """

    channels: tuple[str, ...]
    shares: tuple[float, ...]
    gradients: tuple[FloatArray, ...]
    covariances: tuple[FloatArray, ...]
    misfits_bits: tuple[float, ...]
    common_misfit: bool

    @property
    def std_bits(self) -> float:
        """Standard error of the score, sqrt(g' C g) and the misfit, bits per pixel."""
        errors = [
            share * _std_bits(gradient, covariance, misfit)
            for share, gradient, covariance, misfit in zip(
                self.shares, self.gradients, self.covariances, self.misfits_bits, strict=True
            )
        ]
        return float(np.sum(errors) if self.common_misfit else np.linalg.norm(errors))


def calibration_errors(
    model: NoiseModel, noise: ConditionalEntropy, histograms: FrameHistograms, classes: PixelClasses
) -> CalibrationErrors:
    """What the noise model's own errors do to H(Z|Y), with g = dH(Z|Y)/dtheta for each channel.

    Coefficients of the response are moved by a standard error each way and H(Z|Y) is found again. Channels were fitted
    on pixels of their own, so their errors add up in quadrature, unless a misfit may be common to all of them.
    """
    if not (noise.parts and model.channel_layout is not None):
        gradient, covariance = _gradient(model, noise, histograms, classes)
        misfit = 0.0 if covariance.size == 0 else _misfit_bits(model)
        return CalibrationErrors(("",), (1.0,), (gradient,), (covariance,), (misfit,), False)
    names = model.channel_layout.names
    channels = [model.channel(name, maps=True) for name in names]
    found = [
        (law, share, *_gradient(channels[law], part, *of_one_law(histograms, classes, law)[:2]))
        for law, share, part in noise.parts
    ]
    return CalibrationErrors(
        channels=tuple(names[law] for law, *_ in found),
        shares=tuple(share for _, share, *_ in found),
        gradients=tuple(gradient for *_, gradient, _ in found),
        covariances=tuple(covariance for *_, covariance in found),
        misfits_bits=tuple(0.0 if c.size == 0 else _misfit_bits(channels[law]) for law, *_, c in found),
        common_misfit=_misfit_bits(model) > 0,
    )


def _std_bits(gradient: FloatArray, covariance: FloatArray, misfit_bits: float) -> float:
    return float(np.hypot(np.sqrt(max(float(gradient @ covariance @ gradient), 0.0)), misfit_bits))


def _gradient(
    model: NoiseModel, noise: ConditionalEntropy, histograms: FrameHistograms, classes: PixelClasses
) -> tuple[FloatArray, FloatArray]:
    """dH(Z|Y)/dtheta and the covariance of theta; both empty for a model without one."""
    covariance = model.document.covariance
    if covariance is None:
        return np.zeros(0), np.zeros((0, 0))
    matrix = np.array(covariance.matrix)
    gradient = np.array([noise.parameter_sensitivity_bits.get(name, 0.0) for name in covariance.names])
    for position, name in enumerate(covariance.names):
        step = float(np.sqrt(max(float(matrix[position, position]), 0.0)))
        if name.startswith("nonlinearity[") and step > 0:
            power = int(name.removeprefix("nonlinearity[").removesuffix("]"))
            if model.camera.response.form == "two-slope":  # knee and slope stay where they mean something
                value = model.camera.response.coefficients[power]
                step = min(step, 0.5 * value, 0.5 * (1.0 - value) if power else np.inf)
            ends = [
                conditional_entropy(histograms, classify_pixels(_bent(model, power, side * step))).value_bits
                for side in (-1.0, 1.0)
            ]
            gradient[position] = (ends[1] - ends[0]) / (2 * step)
    return gradient, matrix


def _misfit_bits(model: NoiseModel) -> float:
    """What a noise model that misses its own variances may be off by: 0.5 log2(1 + rms relative misfit), bits.

    Only for models flagged ``over_dispersed``; the variances' own noise is taken out of the misfit.
    """
    if all(entry.code != "over_dispersed" for entry in model.document.fit.flags):
        return 0.0
    levels = [entry for entry in model.document.measurements or () if entry.used and entry.fitted_variance_dn2]
    excess = [
        (level.variance_dn2 / level.fitted_variance_dn2 - 1.0) ** 2
        - (level.variance_std_dn2 / level.fitted_variance_dn2) ** 2
        for level in levels
        if level.fitted_variance_dn2
    ]
    return 0.5 * float(np.log2(1.0 + np.sqrt(max(float(np.mean(excess)), 0.0)))) if excess else 0.0


def _bent(model: NoiseModel, power: int, change: float) -> NoiseModel:
    """The model with one coefficient of its response moved."""
    response = model.camera.response
    coefficients = list(response.coefficients)
    coefficients[power] += change
    moved = replace(response, coefficients=tuple(coefficients))
    return replace(model, camera=replace(model.camera, response=moved))
