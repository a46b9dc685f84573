"""`mi-eval score --budget`: the keys that it adds, and their table."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from calibrate import NoiseModel
from mi_eval.cli import main


@pytest.fixture
def scene(tmp_path):
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100, bit_depth=12)
    model.save(tmp_path / "sensor.yaml")
    rng = np.random.default_rng(0)
    for index in range(6):
        tifffile.imwrite(tmp_path / f"scene_{index}.tif", model.sample(rng.gamma(4.0, 20.0, (48, 48)), rng))
    return tmp_path


def run(scene, *words):
    frames = sorted(scene.glob("scene_*.tif"))
    words = [*frames, "--noise-model", scene / "sensor.yaml", "--patch-size", "8", "--density", "closed-form", *words]
    return CliRunner().invoke(main, ["score", *map(str, words)])


def test_budget_and_efficiency_in_json(scene):
    result = run(scene, "--budget", "--json", "--deterministic")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    budget, efficiency = content["budget"], content["efficiency"]
    names = [part["name"] for part in budget["parts"]]
    assert names == ["read_noise", "rounding", "clipping"]
    assert {entry["name"] for entry in budget["not_priced"]} == {
        "row_noise", "prnu", "dsnu", "nonlinearity", "dark_current", "drift",
    }  # fmt: skip
    off, limit = (budget[key]["bits_per_pixel"] for key in ("all_off", "noiseless_readout_limit"))
    assert off["value"] == pytest.approx(limit["value"], abs=5e-4)
    low, high = efficiency["ci95"]
    assert low <= efficiency["value"] <= high and efficiency["value"] < 1
    fitted = budget["as_fitted"]["bits_per_pixel"]["value"]
    assert efficiency["value"] == pytest.approx(fitted / limit["value"], abs=1e-9)
    assert sum(budget["spectrum"]["share_of_square"]) == pytest.approx(1.0)


def test_budget_in_words(scene):
    result = run(scene, "--budget")
    assert result.exit_code == 0, result.stderr
    assert "read noise" in result.stdout and "Efficiency against a noiseless read-out" in result.stdout


def test_without_the_option_there_is_no_budget(scene):
    content = json.loads(run(scene, "--json").stdout)
    assert "budget" not in content and "efficiency" not in content
