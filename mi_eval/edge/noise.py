"""Noise beside an edge: its power spectrum as measured, what the noise model says, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Edges of the radial bins of a noise spectrum, cycles per pixel; the corner of the square is at 0.707.
RADIAL_EDGES = np.append(np.arange(0.0, 0.651, 0.05), np.sqrt(0.5) + 1e-9)
_FEWEST_PIXELS = 256
_SHORTEST_SIDE_PX = 8
_LEVELS = 64  # of the signal between dark and bright, for the mean noise


@dataclass(frozen=True)
class SideNoise:
    """Noise of the flat region on one side.

    Parameters
    ----------
    mean_e : float
        Charge, dark charge included.
    mean_std_e : float
    n_pixels : int
    variance_e2, variance_std_e2 : float
        Measured, the trend taken out.
    model_variance_e2 : float
        The noise model's at this mean.
    frequency : ndarray (n_bins,)
        Mean radial frequency of each bin, cycles per pixel of the plane.
    spectrum_e2, spectrum_std_e2 : ndarray (n_bins,)
        Noise power: its mean over the Nyquist square is the variance.
    correlation : (float, float)
        Of neighbours along rows and along columns.
    phase_variance_ratio, phase_variance_std : float
        Largest over smallest variance of the four 2 x 2 phases, and the standard error of such a ratio.
    phase_mean_spread : float
        Largest difference of the phases' means over their standard error.
    phase_mean_share : float
        The same over the mean charge.
    trend_e : float
        How much the fitted trend spans over the region.
    """

    mean_e: float
    mean_std_e: float
    n_pixels: int
    variance_e2: float
    variance_std_e2: float
    model_variance_e2: float
    frequency: FloatArray
    spectrum_e2: FloatArray
    spectrum_std_e2: FloatArray
    correlation: tuple[float, float]
    phase_variance_ratio: float
    phase_variance_std: float
    phase_mean_spread: float
    phase_mean_share: float
    trend_e: float

    @property
    def ratio(self) -> float:
        """Measured variance over the model's."""
        return self.variance_e2 / self.model_variance_e2

    @property
    def ratio_std(self) -> float:
        """Its standard error, sampling alone."""
        return self.variance_std_e2 / self.model_variance_e2


def model_variance_e2(model: NoiseModel, charge_e: FloatArray) -> FloatArray:
    """Noise variance at each charge as an equivalent at the input, e-^2: the codes' over the square of the slope."""
    y = np.asarray(charge_e, dtype=np.float64)
    if model.camera.kind != "gaussian":
        y = np.maximum(y, 0.0)
    gain = float(model.camera.system_gain_dn_per_e)
    slope = gain * np.asarray(model.camera.response.derivative(gain * y))
    return np.asarray(model.variance_dn2(y) / np.maximum(slope, 1e-9 * gain) ** 2)


def mean_model_variance_e2(model: NoiseModel, dark_e: float, bright_e: float) -> float:
    """Noise variance averaged over a signal spread evenly between two levels, e-^2."""
    levels = dark_e + (bright_e - dark_e) * (np.arange(_LEVELS) + 0.5) / _LEVELS
    return float(np.mean(model_variance_e2(model, levels)))


def flat_rectangle(limit_px: FloatArray) -> tuple[slice, slice] | None:
    """Largest rectangle (rows, columns) left of a limit given for every row; None where there is hardly any."""
    n_rows = limit_px.size
    best: tuple[int, slice, slice] | None = None
    smallest = np.minimum.accumulate
    for rows in (slice(0, None), slice(None, None, -1)):
        width = np.floor(smallest(limit_px[rows])).astype(int) + 1
        area = np.where(width >= _SHORTEST_SIDE_PX, width, 0) * np.arange(1, n_rows + 1)
        k = int(np.argmax(area))
        if k + 1 < _SHORTEST_SIDE_PX or area[k] < _FEWEST_PIXELS:
            continue
        taken = slice(0, k + 1) if rows.step is None else slice(n_rows - 1 - k, n_rows)
        if best is None or area[k] > best[0]:
            best = (int(area[k]), taken, slice(0, int(width[k])))
    return None if best is None else (best[1], best[2])


def side_noise(charge_e: FloatArray, usable: BoolArray, model: NoiseModel) -> SideNoise:
    """Noise of a flat region, shape (height, width), whose slow trend (a quadratic surface) is taken out."""
    height, width = charge_e.shape
    row, column = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(row), row, column, row**2, row * column, column**2], axis=-1).reshape(-1, 6)
    good = usable.ravel()
    values = charge_e.ravel()
    coefficients = np.linalg.lstsq(terms[good], values[good], rcond=None)[0]
    surface = terms @ coefficients
    residual = np.where(good, values - surface, 0.0).reshape(height, width)
    n = int(good.sum())
    variance = float(np.sum(residual**2) / (n - 6))
    kurtosis = float(np.sum(residual**4) / n) / variance**2
    power = np.abs(np.fft.fft2(residual)) ** 2 / n * (n / (n - 6))
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    radius = np.hypot(fy, fx)
    # The trend took the lowest frequencies with it; they are no part of the measured spectrum.
    kept = (np.abs(fy) > 1.5 / height) | (np.abs(fx) > 1.5 / width)
    member = np.digitize(radius[kept], RADIAL_EDGES) - 1
    count = np.bincount(member, minlength=RADIAL_EDGES.size - 1)
    filled = count > 0
    total = np.bincount(member, weights=power[kept], minlength=RADIAL_EDGES.size - 1)
    place = np.bincount(member, weights=radius[kept], minlength=RADIAL_EDGES.size - 1)
    spectrum = total[filled] / count[filled]
    pairs = [(residual[:, 1:], residual[:, :-1]), (residual[1:], residual[:-1])]
    correlation = tuple(float(np.mean(a * b)) / variance for a, b in pairs)
    phases = [(residual[i::2, j::2], charge_e[i::2, j::2]) for i in (0, 1) for j in (0, 1)]
    variances = [float(np.mean(part**2)) for part, _ in phases]
    means = [float(np.mean(part)) for part, _ in phases]
    mean = float(np.mean(values[good]))
    return SideNoise(
        mean_e=mean,
        mean_std_e=float(np.sqrt(variance / n)),
        n_pixels=n,
        variance_e2=variance,
        variance_std_e2=variance * float(np.sqrt(max(kurtosis - 1.0, 0.5) / n)),
        model_variance_e2=float(model_variance_e2(model, np.array([mean]))[0]),
        frequency=place[filled] / count[filled],
        spectrum_e2=spectrum,
        spectrum_std_e2=spectrum / np.sqrt(np.maximum(count[filled] / 2, 1.0)),
        correlation=(correlation[0], correlation[1]),
        phase_variance_ratio=max(variances) / max(min(variances), 1e-300),
        phase_variance_std=float(np.sqrt(2 * (kurtosis - 1.0) / (n / 4))) if kurtosis > 1 else 1.0,
        phase_mean_spread=(max(means) - min(means)) / float(np.sqrt(2 * variance / (n / 4))),
        phase_mean_share=(max(means) - min(means)) / max(abs(mean), 1e-9),
        trend_e=float(np.ptp(surface - coefficients[0])),
    )
