"""What H(Z|Y) loses where the noise of different pixels is correlated: 1/2 log2 det(corr)/D."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy

FloatArray = NDArray[np.float64]

#: Covariances closer to 0 than this many standard errors are taken as none.
SIGNIFICANT = 3.0
# Patches of more pixels go through the spectrum of a torus of their size.
_MOST_EXACT_PIXELS = 1024


@dataclass(frozen=True)
class NoiseCovariances:
    """Covariances of the noise of different pixels, DN^2: of a row, of a column, of next neighbours beyond these."""

    row_dn2: float
    column_dn2: float
    horizontal_dn2: float
    vertical_dn2: float

    def at_lags(self, rows: FloatArray, columns: FloatArray) -> FloatArray:
        """Covariance of pixels so many rows and columns apart; 0 for a pixel with itself."""
        rows, columns = np.abs(rows), np.abs(columns)
        covariance = self.row_dn2 * (rows == 0) + self.column_dn2 * (columns == 0)
        covariance = covariance + self.horizontal_dn2 * ((rows == 0) & (columns == 1))
        covariance = covariance + self.vertical_dn2 * ((rows == 1) & (columns == 0))
        return np.asarray(np.where((rows == 0) & (columns == 0), 0.0, covariance), dtype=np.float64)


def noise_covariances(model: NoiseModel) -> tuple[NoiseCovariances, NoiseCovariances] | None:
    """Significant covariances of the calibrated darks and their standard errors; None where there are none."""
    entry = model.document.noise_correlation
    if entry is None:
        return None
    values: list[float] = []
    errors: list[float] = []
    for found in (
        entry.row_noise_dn2,
        entry.column_noise_dn2,
        entry.horizontal_neighbour_dn2,
        entry.vertical_neighbour_dn2,
    ):
        std = 0.0 if found.std is None else found.std
        significant = abs(found.value) > SIGNIFICANT * std
        values.append(found.value if significant else 0.0)
        errors.append(std if significant else 0.0)
    if not any(values):
        return None
    return NoiseCovariances(*values), NoiseCovariances(*errors)


def correlation_bits(covariances: NoiseCovariances, mean_inverse_variance_dn2: float, patch_size: int) -> float:
    r"""Return :math:`\frac{1}{2D}\log_2\det R` for patches of D pixels, bits per pixel; not above 0.

    R has ones on its diagonal and the covariances times E[1/v] beside it, v the noise variance of a pixel: shot noise
    has no part in the covariances, so bright pixels are correlated less.

    Notes
    -----
    Exact for Gaussian noise of one variance. Where v differs, R is that of pixels whose light is independent; for
    patches each of one light the mean over patches differs in second order of the covariances' variation only.
    Beyond 32 x 32 pixels the determinant is that of a torus (Szego's limit).
    """
    scale = mean_inverse_variance_dn2
    if patch_size**2 <= _MOST_EXACT_PIXELS:
        row, column = np.divmod(np.arange(patch_size**2), patch_size)
        matrix = scale * covariances.at_lags(row[:, None] - row, column[:, None] - column)
        matrix.flat[:: patch_size**2 + 1] = 1.0
        try:
            return float(np.log2(np.diag(cholesky(matrix, lower=True))).mean())
        except LinAlgError:
            pass  # covariances that no noise of this variance can have: as much as the spectrum allows
    lag = np.asarray(np.fft.fftfreq(patch_size, 1 / patch_size), dtype=np.float64)
    spectrum = np.fft.fft2(scale * covariances.at_lags(lag[:, None], lag)).real + 1.0
    return 0.5 * float(np.log2(np.clip(spectrum, 1e-3, None)).mean())


def with_correlated_noise(noise: ConditionalEntropy, model: NoiseModel, patch_size: int) -> ConditionalEntropy:
    """H(Z|Y) of patches less what the noise of their pixels has in common, with the error of that."""
    found = noise_covariances(model)
    if found is None:
        return noise
    covariances, errors = found
    inverse = mean_inverse_variance(noise, model)
    value = correlation_bits(covariances, inverse, patch_size)
    moved = [
        replace(covariances, **{name: getattr(covariances, name) + getattr(errors, name)})
        for name in ("row_dn2", "column_dn2", "horizontal_dn2", "vertical_dn2")
    ]
    error = float(np.linalg.norm([correlation_bits(other, inverse, patch_size) - value for other in moved]))
    low, high = noise.interval_bits
    return replace(
        noise,
        value_bits=noise.value_bits + value,
        interval_bits=(low + value, high + value),
        influence_bits=noise.influence_bits + value,
        correlation_bits=value,
        correlation_std_bits=error,
    )


def mean_inverse_variance(noise: ConditionalEntropy, model: NoiseModel) -> float:
    """E[1/v] over the law of the charge, v the variance of a pixel's noise, DN^-2."""
    camera = model.camera
    gain, read = float(camera.system_gain_dn_per_e), float(camera.read_noise_e)
    rounding = 0.0 if camera.bit_depth is None else 1 / 12
    if noise.law is None:
        return 1 / ((gain * read) ** 2 + rounding)
    y, w = noise.law.y_e, noise.law.weights
    shot = np.zeros_like(y) if camera.kind == "gaussian" else y
    slope = camera.response.derivative(gain * y)
    # The flat end of a response adds nothing but rounding.
    return float(w @ (1 / np.maximum(slope**2 * gain**2 * (shot + read**2) + rounding, 1e-12)))
