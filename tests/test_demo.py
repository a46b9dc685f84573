"""The demo's comparison with the truth holds on the bundled sensor with maps and defects."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from script_files import load_script

from calibrate import fit_noise_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/demo.py, loaded and not run."""
    return load_script("demo", monkeypatch)


@pytest.mark.slow
def test_good_pixels_are_compared_with_good_pixels(demo: ModuleType, tmp_path: Path) -> None:
    """Noisy pixels are in the defect map and out of the averages: of the truth's as well."""
    captures = ROOT / "data_samples" / "scmos16" / "captures"
    model = fit_noise_model(captures, maps=True)
    model.save(tmp_path / "sensor.yaml")
    truth = json.loads((captures / "truth.json").read_text())["parameters"]
    true = demo.true_over_good_pixels(tmp_path / "sensor.yaml", captures / "truth_maps.npz", truth)
    assert model.defects is not None and (model.defects != 0).sum() == 11
    assert true["read_noise_e"] < truth["read_noise_e"] - 0.03
    found = {name: {"value": p.value, "std": p.std} for name in true if (p := model.parameter(name)) is not None}
    rows = demo.parameter_rows(found, true)
    assert {row[0] for row in rows} >= {"system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s"}
    assert all(abs(pull) < demo.LARGEST_PULL for *_, pull in rows)
