"""Covariances of the darks' noise: found within their errors, kept in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model

SHAPE = (96, 128)


def shoot(folder: Path, row_dn: float, column_dn: float, seed: int, neighbour: float = 0.0) -> None:
    """Flats and darks of a camera with line noise, in DN."""
    rng = np.random.default_rng(seed)
    # Line noise comes before the converter: values are rounded once, with it.
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=6.0, offset_dn=100.0)
    plan = [("flat", float(t), 200.0 * t) for t in np.linspace(1, 30, 10)]
    plan += [("dark", float(t), 0.0) for t in range(1, 7)]
    for kind, exposure, charge in plan:
        stack = []
        for _ in range(4):
            values = np.asarray(sensor.sample(np.full(SHAPE, charge), rng), dtype=np.float64)
            values += row_dn * rng.standard_normal((SHAPE[0], 1)) + column_dn * rng.standard_normal((1, SHAPE[1]))
            if neighbour:
                wide = rng.standard_normal((SHAPE[0], SHAPE[1] + 1))
                values += np.sqrt(neighbour) * (wide[:, 1:] + wide[:, :-1])
            stack.append(np.clip(np.floor(values + 0.5), 0, 4095))
        np.save(folder / f"{kind}_{exposure:g}ms.npy", np.array(stack, dtype=np.uint16))


def test_line_noise_is_found_and_kept(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    shoot(tmp_path / "c", row_dn=0.9, column_dn=0.5, seed=1, neighbour=0.4)
    model = fit_noise_model(tmp_path / "c")
    found = model.document.noise_correlation
    assert found is not None
    for entry, truth in (
        (found.row_noise_dn2, 0.81),
        (found.column_noise_dn2, 0.25),
        (found.horizontal_neighbour_dn2, 0.4),
        (found.vertical_neighbour_dn2, 0.0),
    ):
        assert entry.std is not None
        assert 0 < entry.std < 0.15
        # The tail of the neighbours' covariance counts into the rows' mean: 2 c / width.
        assert abs(entry.value - truth) < 4 * entry.std + 0.01
    # Every level has its own, brights too: a lamp or a supply that shakes shows there first.
    assert model.document.measurements is not None
    flats = [level for level in model.document.measurements if level.kind == "bright"]
    assert np.mean([level.row_noise_dn2 for level in flats]) == pytest.approx(0.81, abs=0.3)
    assert np.mean([level.column_noise_dn2 for level in flats]) == pytest.approx(0.25, abs=0.2)
    model.save(tmp_path / "sensor.yaml")
    assert NoiseModel.load(tmp_path / "sensor.yaml").document.noise_correlation == found


@pytest.mark.slow
def test_errors_cover_the_truth(tmp_path: Path) -> None:
    pulls = []
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        shoot(folder, row_dn=0.6, column_dn=0.0, seed=seed)
        found = fit_noise_model(folder).document.noise_correlation
        assert found is not None
        for entry, truth in ((found.row_noise_dn2, 0.36), (found.column_noise_dn2, 0.0)):
            assert entry.std is not None
            pulls.append((entry.value - truth) / entry.std)
    assert 0.7 < np.std(pulls) < 1.4  # 24 pulls: 15 % scatter
    assert abs(np.mean(pulls)) < 0.6
