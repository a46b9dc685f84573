"""Small captures of simulated sensors with patterns, photons and spatial stacks, for the tests of EMVA 1288."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from calibrate import NoiseModel

GAIN, READ_E, OFFSET, BITS, EFFICIENCY, DARK_E_PER_S = 0.5, 3.0, 100.0, 12, 0.6, 40.0
DSNU_DN = {"row": 0.25, "column": 0.35, "pixel": 0.8}
PRNU = {"row": 0.003, "column": 0.004, "pixel": 0.01}
LONGEST_S = 0.8
FULL_PHOTONS = (2**BITS - 1 - OFFSET) / (GAIN * EFFICIENCY)


def pattern(rng, shape, sigma):
    """Independent rows, columns and pixels."""
    rows, columns = rng.standard_normal((shape[0], 1)), rng.standard_normal((1, shape[1]))
    return sigma["row"] * rows + sigma["column"] * columns + sigma["pixel"] * rng.standard_normal(shape)


def shoot(
    folder: Path,
    seed: int = 0,
    *,
    shape=(48, 64),
    levels=12,
    stack=8,
    light_scatter=0.003,
    photons=True,
    top=1.1,
    dark_exposures=None,
    dsnu_dn=DSNU_DN,
    prnu=PRNU,
    gain=GAIN,
    read_e=READ_E,
    full_well_e=None,
    real_values=False,
) -> SimpleNamespace:
    """Frames of one sensor in a folder with a manifest; returns its truth and maps."""
    rng = np.random.default_rng(seed)
    offset = OFFSET + pattern(rng, shape, dsnu_dn)
    response = 1 + pattern(rng, shape, prnu)
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain,
        read_noise_e=read_e,
        offset_dn=OFFSET,
        bit_depth=None if real_values else BITS,
        full_well_e=full_well_e,
        maps={"offset_dn": offset},
    )
    full = (2**BITS - 1 - OFFSET) / (gain * EFFICIENCY)
    lines = [] if real_values else [f"# bit_depth: {BITS}"]
    lines.append("path,kind,exposure_s,photons_per_pixel,level" if photons else "path,kind,exposure_s,level")

    def take(kind, light, exposure_s, count):
        lit = light * (1 + light_scatter * rng.standard_normal()) if kind == "bright" else 0.0
        charge = EFFICIENCY * lit * response + DARK_E_PER_S * exposure_s
        name = f"{kind}_{len(lines):03d}.npy"
        np.save(folder / name, np.stack([sensor.sample(charge, rng) for _ in range(count)]))
        told = f"{light if kind == 'bright' else ''}," if photons else ""
        lines.append(f"{name},{kind},{exposure_s!r},{told}{len(lines)}")

    for step in np.arange(1, levels + 1) / levels:
        take("bright", float(top * full * step), float(LONGEST_S * step), 2)
    for step in np.arange(1, levels + 1) / levels if dark_exposures is None else dark_exposures:
        take("dark", 0.0, float(LONGEST_S * step), 2)
    if stack:
        take("bright", float(full / 2), LONGEST_S / 2.2, stack)
        take("dark", 0.0, LONGEST_S / 2.2, stack)
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return SimpleNamespace(folder=folder, offset_dn=offset, response=response)


@pytest.fixture(scope="session")
def emva_shoot():
    """The function that shoots captures: `shoot(folder, seed, ...)`."""
    return shoot


@pytest.fixture(scope="session")
def emva_captures(tmp_path_factory):
    """One folder of captures, for tests that only read it."""
    return shoot(tmp_path_factory.mktemp("emva"), 3)
