"""What the errors of a calibration do to a score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy, conditional_entropy
from mi_eval.histograms import FrameHistograms
from mi_eval.laws import of_one_law
from mi_eval.pixel_classes import PixelClasses, classify_pixels


def calibration_std_bits(
    model: NoiseModel, noise: ConditionalEntropy, histograms: FrameHistograms, classes: PixelClasses
) -> float:
    """Standard error from the noise model's own: sqrt(g' C g) with g = dH(Z|Y)/dtheta.

    Coefficients of the response are moved by a standard error each way and H(Z|Y) is found again. Channels were fitted
    on pixels of their own, so their errors add up in quadrature, unless a misfit may be common to all of them.
    """
    if noise.parts and model.channel_layout is not None:
        channels = [model.channel(name, maps=True) for name in model.channel_layout.names]
        errors = [
            share * calibration_std_bits(channels[law], part, *of_one_law(histograms, classes, law)[:2])
            for law, share, part in noise.parts
        ]
        return float(np.sum(errors) if _misfit_bits(model) > 0 else np.linalg.norm(errors))
    covariance = model.document.covariance
    if covariance is None:
        return 0.0
    matrix = np.array(covariance.matrix)
    gradient = np.array([noise.parameter_sensitivity_bits.get(name, 0.0) for name in covariance.names])
    for position, name in enumerate(covariance.names):
        step = float(np.sqrt(max(matrix[position, position], 0.0)))
        if name.startswith("nonlinearity[") and step > 0:
            power = int(name.removeprefix("nonlinearity[").removesuffix("]"))
            ends = [
                conditional_entropy(histograms, classify_pixels(_bent(model, power, side * step))).value_bits
                for side in (-1.0, 1.0)
            ]
            gradient[position] = (ends[1] - ends[0]) / (2 * step)
    return float(np.hypot(np.sqrt(max(gradient @ matrix @ gradient, 0.0)), _misfit_bits(model)))


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
