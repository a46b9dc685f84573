"""Where the bits are over spatial frequency: 1/2 log2(1 + S/N) of the frames, ring by ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mi_eval.budget.parts import Sensor
from mi_eval.budget.result import Spectrum
from mi_eval.budget.surrogate import Scenes
from mi_eval.measurements import Measurements

FloatArray = NDArray[np.float64]

_MOST_PATCHES = 5000


def information_spectrum(data: Measurements, scenes: Scenes) -> Spectrum | None:
    r"""Density of information over the Nyquist square, from the spectrum of patches; None with several channels.

    .. math:: i(f) = \frac12 \log_2\Big(1 + \frac{S(f)}{N}\Big), \qquad S(f) = \max(P(f) - N, 0)

    P is the mean periodogram of the patches of light units under a Hann window, N the mean variance of the noise, both
    in electrons squared. The mean of i over the square is the information of a Gaussian field with this spectrum.
    """
    if len(scenes.channels) != 1:
        return None
    channel, patches = scenes.channels[0], data.patches.thinned(_MOST_PATCHES * data.patches.n_pixels)
    size = patches.patch_size
    if size < 8:
        return None
    light = channel.law.light_e
    mean_e = float(light @ channel.law.weights[:, 0])
    noise, shot = _noise_e2(channel.sensor, mean_e), _shot_e2(channel.sensor, mean_e)
    values = _electrons(patches.value_dn, channel.sensor)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window2 = np.outer(window, window)
    field = (values - values.mean()) * window2
    power = np.mean(np.abs(np.fft.fft2(field)) ** 2, axis=0) / np.sum(window2**2)
    signal = np.maximum(power - noise, 0.0)
    fy, fx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    radius = np.hypot(fy, fx)
    ring = np.floor(radius * size + 0.5).astype(np.int64)
    rings = np.unique(ring)

    def mean(values: FloatArray) -> tuple[float, ...]:
        return tuple(float(values[ring == r].mean()) for r in rings)

    return Spectrum(
        frequency_cycles_per_px=mean(radius),
        share_of_square=tuple(float(np.mean(ring == r)) for r in rings),
        bits_per_pixel=mean(0.5 * np.log2(1 + signal / noise)),
        noiseless_bits_per_pixel=mean(0.5 * np.log2(1 + signal / shot)) if shot > 0 else (),
    )


def _electrons(value_dn: FloatArray, sensor: Sensor) -> FloatArray:
    """Codes less offset through the inverse response, electrons."""
    camera = sensor.camera
    u = camera.response.inverse(value_dn)
    top = camera.response.full_well_dn
    return np.asarray(np.where(np.isfinite(u), u, top or 0.0) / float(camera.system_gain_dn_per_e))


def _shot_e2(sensor: Sensor, mean_e: float) -> float:
    return 0.0 if sensor.kind == "gaussian" else max(mean_e, 1e-6)


def _noise_e2(sensor: Sensor, mean_e: float) -> float:
    """Mean variance of the noise in electrons squared, rounding in it."""
    gain = float(sensor.camera.system_gain_dn_per_e)
    rounding = 0.0 if sensor.camera.bit_depth is None else 1 / 12
    own = sum(
        p.weight * (p.read_noise_e**2 + p.offset_error_e**2 + p.dark_e + (p.response_error * mean_e) ** 2)
        for p in sensor.pixels
    )
    return _shot_e2(sensor, mean_e) + own + sensor.row_noise_e**2 + sensor.drift_e**2 + rounding / gain**2
