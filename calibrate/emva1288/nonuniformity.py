"""Spatial variances with their row, column and pixel parts, spectrograms and profiles (release 4, section 8).

Estimates keep their sign: a variance below zero says that the pattern is smaller than the noise of its measurement,
and its error says by how much it may yet be there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibrate.emva1288.highpass import Transfer, high_pass, smooth, transfer
from calibrate.emva1288.stacks import Stack

FloatArray = NDArray[np.float64]
PARTS = ("total", "row", "column", "pixel")
#: Values from which on their own fourth moment says how sure their variance is.
_FEWEST_FOR_KURTOSIS = 128
_LEAST_FREEDOM = 6.0


@dataclass(frozen=True)
class SpatialMeasurement:
    """Variances of an average image, noise of the average still in them, with their sampling errors; all DN^2.

    Parameters
    ----------
    of_rows, of_columns : float
        Variance of the means of rows and of columns.
    of_rest : float
        Variance of what rows and columns do not explain; the three add up to the image's variance.
    of_rows_std, of_columns_std, of_rest_std : float
    noise, noise_std : float
        Temporal variance of a pixel of the average image.
    row_noise, column_noise : float
        Temporal variance of its row and column means.
    shape : (height, width)
    mean_dn, mean_std_dn : float
    n_frames : int
    """

    of_rows: float
    of_columns: float
    of_rest: float
    of_rows_std: float
    of_columns_std: float
    of_rest_std: float
    noise: float
    noise_std: float
    row_noise: float
    column_noise: float
    shape: tuple[int, int]
    mean_dn: float
    mean_std_dn: float
    n_frames: int

    @property
    def measured(self) -> float:
        """Variance of the average image (equation 35), unbiased for independent pixels."""
        n = self.shape[0] * self.shape[1]
        return (self.of_rows + self.of_columns + self.of_rest) * n / (n - 1)

    def variances(self) -> dict[str, float]:
        """Spatial variances by part, noise taken out; any may be negative.

        Notes
        -----
        Total: measured less noise (equation 36). The variances of the means of columns and of rows, less their
        noise, hold 1/height and 1/width of the pixels' (equations 41 and 42):
        cav = col + pixel/height, rav = row + pixel/width, total = col + row + pixel.
        The noise of row and column means is their own, measured between frames, where the standard takes that of
        independent pixels: row noise of the read-out is not mistaken for a pattern.
        """
        height, width = self.shape
        total = self.measured - self.noise
        of_columns = self.of_columns - self.column_noise
        of_rows = self.of_rows - self.row_noise
        pixel = (total - of_columns - of_rows) / (1 - 1 / height - 1 / width)
        return {
            "total": total,
            "row": of_rows - pixel / width,
            "column": of_columns - pixel / height,
            "pixel": pixel,
        }

    def drawn(self, rng: np.random.Generator) -> SpatialMeasurement:
        """Another measurement that might have been made, by the sampling errors."""
        step = rng.standard_normal(5)
        return replace(
            self,
            of_rows=self.of_rows + step[0] * self.of_rows_std,
            of_columns=self.of_columns + step[1] * self.of_columns_std,
            of_rest=self.of_rest + step[2] * self.of_rest_std,
            noise=self.noise + step[3] * self.noise_std,
            mean_dn=self.mean_dn + step[4] * self.mean_std_dn,
        )


def measure_spatial(stack: Stack, *, filtered: bool) -> SpatialMeasurement | None:
    """Variances of a stack's average image, as it is or through the high-pass filter.

    Parameters
    ----------
    stack : Stack
    filtered : bool
        Release 4: high-pass filter, and the part of the temporal noise that all pixels share is left out, since it
        moves the average image as a whole. Release 3.1: neither.

    Returns
    -------
    SpatialMeasurement or None
        None for frames of fewer than 3 rows or columns, which have no rows, columns and pixels to tell apart.
    """
    height, width = stack.mean_image_dn.shape
    if min(height, width) < 3:
        return None
    image = high_pass(stack.mean_image_dn) if filtered else stack.mean_image_dn
    kept = transfer(height, width) if filtered else Transfer()
    mean = float(np.mean(image))
    row_means, column_means = stack.row_means_dn, stack.column_means_dn
    if filtered:
        row_means = row_means - smooth(row_means, axes=(1,))
        column_means = column_means - smooth(column_means, axes=(1,))
    rows, columns = np.mean(image, axis=1) - mean, np.mean(image, axis=0) - mean
    rest = (image - rows[:, None] - columns[None, :] - mean).ravel()
    n_frames, n = stack.n_frames, height * width
    row_noise, row_extra = _line_noise(row_means, kept.row_samples)
    column_noise, column_extra = _line_noise(column_means, kept.column_samples)
    temporal = stack.temporal_variance_dn2
    if filtered:
        # Rows and columns pass the filter as measured, what is left of the noise as independent pixels do.
        lines = sum(float(np.mean(np.var(x, axis=0, ddof=1))) for x in (stack.row_means_dn, stack.column_means_dn))
        temporal = kept.pixels * (temporal - stack.common_variance_dn2 - lines) + row_noise + column_noise
    rest_extra = _coherent_variance(stack.covariance_dn2, stack.sampled_pixels)
    of_rows, rows_std = _variance(rows, kept.row_samples)
    of_columns, columns_std = _variance(columns, kept.column_samples)
    of_rest, rest_std = _variance(rest, 1.0)
    return SpatialMeasurement(
        of_rows=of_rows,
        of_columns=of_columns,
        of_rest=of_rest,
        of_rows_std=float(np.hypot(rows_std, np.sqrt(row_extra))),
        of_columns_std=float(np.hypot(columns_std, np.sqrt(column_extra))),
        of_rest_std=float(np.hypot(rest_std, np.sqrt(rest_extra))),
        noise=temporal / n_frames,
        noise_std=abs(temporal) / n_frames * float(np.sqrt(2.0 / (n * (n_frames - 1)))),
        row_noise=row_noise / n_frames,
        column_noise=column_noise / n_frames,
        shape=(height, width),
        mean_dn=stack.mean_dn,
        mean_std_dn=float(np.sqrt(max(stack.common_variance_dn2, temporal / n, 0.0) / n_frames)),
        n_frames=n_frames,
    )


def _variance(values: FloatArray, samples: float) -> tuple[float, float]:
    """Mean square of deviations and its standard error, from their own fourth moment: hot pixels make it large.

    Notes
    -----
    An error that is read off the estimate is too small where the estimate came out low. With nu = 2 v^2/Var(v)
    degrees of freedom, nu (nu + 4)/((nu - 2)(nu - 4)) times the variance makes the mean square of
    (estimate - truth)/error equal to 1.
    """
    squares = values**2
    power = float(np.mean(squares))
    scatter = max(float(np.mean(squares**2)) - power**2, 0.0)
    # A handful of lines cannot show their fourth moment: no surer than a normal law.
    if values.size < _FEWEST_FOR_KURTOSIS:
        scatter = max(scatter, 2 * power**2)
    if scatter == 0:
        return power, 0.0
    error2 = scatter * samples / values.size
    freedom = max(2 * power**2 / error2, _LEAST_FREEDOM)
    error2 *= freedom * (freedom + 4) / ((freedom - 2) * (freedom - 4))
    return power, float(np.sqrt(error2))


def _line_noise(means: FloatArray, samples: float) -> tuple[float, float]:
    """Temporal variance of row or column means (n_frames, n_lines), and the error that coherent noise adds."""
    noise = float(np.mean(np.var(means, axis=0, ddof=1)))
    return noise, _coherent_variance(means @ means.T / means.shape[1], means.shape[1] / samples)


def _coherent_variance(covariance: FloatArray, n: float) -> float:
    """Variance of a spatial variance beyond what noise that is independent from pixel to pixel explains.

    Parameters
    ----------
    covariance : ndarray (n_frames, n_frames)
        Over pixels, of every two frames.
    n : float
        Independent pixels it comes from.

    Notes
    -----
    The spatial variance is the mean covariance of two different frames. Interference that comes back with another
    phase in every frame makes these covariances scatter, and their mean by 2/(L (L - 1)) of that. Independent noise
    of variance w on a pattern s^2 gives a scatter of (w^2 + 2 s^2 w)/n, which the sampling errors hold already.
    """
    n_frames = covariance.shape[0]
    if n_frames < 3:
        return 0.0
    pairs = covariance[np.triu_indices(n_frames, 1)]
    pattern = float(np.mean(pairs))
    noise = max(float(np.mean(np.diag(covariance))) - pattern, 0.0)
    independent = (noise**2 + 2 * max(pattern, 0.0) * noise) / n
    return max(float(np.var(pairs, ddof=1)) - independent, 0.0) / pairs.size


def signed_root(variance: float) -> float:
    """Square root that keeps the sign: -sqrt(-x) below zero."""
    return float(np.sign(variance) * np.sqrt(abs(variance)))


def nonuniformity_values(
    dark: SpatialMeasurement | None, bright: SpatialMeasurement | None, gain_dn_per_e: float
) -> dict[str, float]:
    """DSNU1288 and PRNU1288 with their parts, and the variances they come from (equations 65 to 67).

    PRNU1288 = sqrt(s^2_bright - s^2_dark)/(mean_bright - mean_dark). Roots of negative variances are negative.
    """
    values: dict[str, float] = {}
    if dark is None:
        return values
    values["temporal_variance_stack_dark_dn2"] = dark.noise * dark.n_frames
    own = dark.variances()
    for part in PARTS:
        suffix = "" if part == "total" else f"_{part}"
        values[f"spatial_variance_dark{suffix}_dn2"] = own[part]
        values[f"dsnu1288{suffix}_e"] = signed_root(own[part]) / gain_dn_per_e
        if part == "total":
            values["dsnu1288_dn"] = signed_root(own[part])
    if bright is None or not bright.mean_dn > dark.mean_dn:
        return values
    values["temporal_variance_stack_dn2"] = bright.noise * bright.n_frames
    lit = bright.variances()
    signal = bright.mean_dn - dark.mean_dn
    for part in PARTS:
        suffix = "" if part == "total" else f"_{part}"
        values[f"spatial_variance_50{suffix}_dn2"] = lit[part]
        values[f"prnu1288{suffix}_percent"] = 100.0 * signed_root(lit[part] - own[part]) / signal
    return values


def spectrogram(image: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    """Root of the mean power spectrum of an image's lines, in the image's unit (section 8.6).

    Parameters
    ----------
    image : ndarray (height, width)
    axis : int
        1 along rows (horizontal), 0 along columns (vertical).

    Returns
    -------
    frequency, root power : ndarray
        Cycles per pixel from 0 to 1/2; a white pattern of standard deviation s lies at s.
    """
    size = image.shape[axis]
    spectrum = np.fft.rfft(image - np.mean(image), axis=axis, norm="ortho")
    power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=1 - axis)
    return np.arange(power.size) / size, np.sqrt(power)


def profiles(image: FloatArray, axis: int) -> dict[str, FloatArray]:
    """Middle line, mean, minimum and maximum across an image (section 8.7).

    ``axis`` 1 gives horizontal profiles, one value a column; 0 vertical ones, one value a row.
    """
    across = 1 - axis
    return {
        "middle": np.take(image, image.shape[across] // 2, axis=across),
        "mean": np.mean(image, axis=across),
        "minimum": np.min(image, axis=across),
        "maximum": np.max(image, axis=across),
    }
