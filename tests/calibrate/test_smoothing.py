"""Flats that were filtered before they were stored: flagged, with the factor by which the gain is off."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from calibrate import NoiseModel, fit_noise_model

GAIN = 1.5
SHAPE = (96, 96)


def coupled(share: float):
    kernel = np.array([[0, share, 0], [share, 1 - 4 * share, share], [0, share, 0]])
    return lambda frame: ndimage.convolve(frame, kernel, mode="wrap")


def fit_of(folder: Path, change, row_noise_dn: float = 0.0, flicker: float = 0.0) -> NoiseModel:
    rng = np.random.default_rng(3)
    folder.mkdir()
    for t in np.arange(1, 9) / 8:
        for name, light in (("flat", 8000.0), ("dark", 0.0)):
            frames = []
            for _ in range(2):
                rows = rng.standard_normal((2, SHAPE[0], 1))
                charge = rng.poisson(np.broadcast_to(light * t * (1 + flicker * rows[0]) + 20 * t, SHAPE))
                u = 64 + GAIN * (charge + 3 * rng.standard_normal(SHAPE)) + row_noise_dn * rows[1]
                frames.append(np.floor(change(u) + 0.5).astype(np.uint16))
            np.save(folder / f"{name}_{1000 * t:g}ms.npy", np.stack(frames))
    return fit_noise_model(folder)


def message_of(model: NoiseModel) -> str | None:
    return next((flag.message for flag in model.document.fit.flags if flag.code == "denoised"), None)


FILTERS = {
    "mean of 3 x 3": lambda frame: ndimage.uniform_filter(frame, 3, mode="wrap"),
    "narrow blur": lambda frame: ndimage.gaussian_filter(frame, 0.5, mode="wrap"),
    "pairs averaged": lambda frame: ndimage.uniform_filter(frame, (1, 2), mode="wrap"),
    "sharpened": lambda frame: 1.5 * frame - 0.5 * ndimage.gaussian_filter(frame, 1.0, mode="wrap"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_filtered_flats_are_told_with_the_factor(tmp_path, name):
    model = fit_of(tmp_path / "c", FILTERS[name])
    message = message_of(model)
    assert message is not None
    stated = [float(value) for value in re.findall(r"up to (\S+) times", message)]
    gain = GAIN / model.parameter("system_gain_dn_per_e").value
    read = model.parameter("read_noise_e").value / 3.0
    assert stated[0] == pytest.approx(max(gain, 1 / gain), rel=0.12)
    assert stated[1] == pytest.approx(max(read, 1 / read), rel=0.12)
    assert ("gain given is up to" in message) and (("times too small and" in message) == (gain > 1))
    impulse = np.zeros((32, 32))
    impulse[16, 16] = 1.0
    exact = 1 / np.sum(FILTERS[name](impulse) ** 2)  # sum of the correlations of a filter of sum 1
    assert gain == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("change", "row_noise_dn", "flicker"),
    [(lambda frame: frame, 0.0, 0.0), (lambda frame: frame, 12.0, 0.005), (coupled(0.01), 0.0, 0.0)],
)
def test_read_out_and_coupled_pixels_are_not(tmp_path, change, row_noise_dn, flicker):
    """Row noise in darks and flats, a lamp that flickers over a rolling shutter, 1 % of the charge on each side."""
    assert message_of(fit_of(tmp_path / "c", change, row_noise_dn, flicker)) is None
