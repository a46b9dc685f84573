"""The study of telescope arrays runs from sources to figures, and its plans keep the array's limits."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from script_files import load_script

pytest.importorskip("torch")
pytest.importorskip("skimage")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/study_celestial.py, loaded and not run."""
    return load_script("study_celestial", monkeypatch)


@pytest.mark.parametrize("objects", ["rings", "stars"])
def test_plans_keep_the_limits_of_the_array(study: ModuleType, objects: str) -> None:
    problem = study.problem_of(objects)(1.0)
    limits = {limit.name: limit.value for limit in problem.system.limits()}
    plans = study.plans_in_use(problem)
    assert len(plans) == 3
    for design in plans.values():
        used = problem.system.usage(design.tensors())
        assert all(used[name] <= most * (1 + 1e-6) for name, most in limits.items())
    assert problem.system.usage(plans["circle"].tensors())["largest_baseline"] == pytest.approx(study.EARTH_M)


def test_the_quick_study(study: ModuleType, tmp_path: Path) -> None:
    arguments = [
        "--objects",
        "stars",
        "--quick",
        "--folder",
        str(tmp_path / "kept"),
        "--json",
        str(tmp_path / "a.json"),
    ]
    levels = study.run([*arguments, "--figures", str(tmp_path / "figures")])
    names = [item.label for item in levels[0].designs]
    assert names == ["conventional", "random 0", "circle", "grid", "half of a Y", "designed 0"]
    found = json.loads((tmp_path / "a.json").read_text())["levels"][0]
    bits = {entry["label"]: entry["value"] for entry in found["audits"]}
    assert bits["designed 0"] > bits["half of a Y"] + 0.2
    assert len(list((tmp_path / "figures").glob("celestial_stars_*.png"))) == 7
