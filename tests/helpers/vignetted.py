"""Captures under light that falls off towards the corners."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel


def fall_off(side: int, corner: float = 0.3) -> NDArray[np.float64]:
    """Relative light (side, side), 1 in the middle and less by ``corner`` in the corners."""
    y, x = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    return np.asarray(1 - corner * (x**2 + y**2) / 2)


def write_captures(
    folder: Path, sensor: NoiseModel, charge_e: NDArray[np.float64], exposures_s: Iterable[float], seed: int = 0
) -> None:
    """Two flats and two darks at every exposure, and their manifest; ``charge_e`` per pixel and second."""
    rng = np.random.default_rng(seed)
    rows = ["path,kind,exposure_s"]
    for exposure in exposures_s:
        for kind, rate in (("bright", charge_e), ("dark", np.zeros_like(charge_e))):
            for frame in range(2):
                name = f"{kind}_{exposure}_{frame}.npy"
                np.save(folder / name, sensor.sample(rate * exposure, rng))
                rows.append(f"{name},{kind},{exposure}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
