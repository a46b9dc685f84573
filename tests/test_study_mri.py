"""The study of k-space runs from objects to figures, keeps what it has made, and every scan takes the same time."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_files import load_script

pytest.importorskip("torch")
pytest.importorskip("skimage")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/study_mri.py, loaded and not run."""
    return load_script("study_mri", monkeypatch)


def test_rules_of_thumb_take_the_time_of_one_scan(study: ModuleType) -> None:
    problem = study.problem_of(12)(1.0)
    rules = study.rules_of_thumb(problem)
    assert len(rules) == 5
    for design in rules.values():
        time = design.parameters["time"]
        assert problem.system.usage(design.tensors())["scan_time"] == pytest.approx(74.0, rel=1e-9)
        assert time.max() <= study.LONGEST_TIME
        np.testing.assert_allclose(time, np.roll(np.flip(time), (1, 1), (0, 1)), atol=1e-12)
    # The lowest frequencies, half of the plane less the ring that the median falls on.
    block = rules["lowest half"].parameters["time"].round(6)  # the projection leaves 1e-15
    assert np.mean(block > 0) == pytest.approx(0.48, abs=0.001)
    assert block[0, 0] == pytest.approx(74 / 35, rel=1e-6)


def test_the_quick_study(study: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--folder", str(tmp_path / "kept"), "--json", str(tmp_path / "a.json")]
    levels = study.main(study.full, study.quick, "", [*arguments, "--figures", str(tmp_path / "figures")])
    names = [item.label for item in levels[0].designs]
    assert names == ["conventional", "random 0", "lowest half", "stopped early 100", "designed 0"]
    found = json.loads((tmp_path / "a.json").read_text())["levels"][0]
    by_name = {entry["label"]: entry["value"] for entry in found["audits"]}
    # The surrogate's gain is 0.06 bit/px, four standard errors of these few frames.
    assert by_name["designed 0"] > by_name["conventional"]
    assert {won["over"] for won in found["wins"]} == {"random", "conventional"}
    result = {entry["name"]: entry["result"]["value"] for entry in found["rankings"][0]["designs"]}
    assert result["designed 0"] > result["conventional"]
    assert len(list((tmp_path / "figures").glob("mri_*.png"))) == 5
    # A second run reads what the first has kept.
    held = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    study.main(study.full, study.quick, "", arguments)
    assert held == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "kept").iterdir()}
    assert found == json.loads((tmp_path / "a.json").read_text())["levels"][0]
    capsys.readouterr()
    study.by_errors(tmp_path / "kept", study.quick)
    lines = capsys.readouterr().out
    assert "designed above random: 1 of 1" in lines and "designed above conventional: 1 of 1" in lines
    assert "Linear reconstruction (Wiener)" in lines and "pairs alike" in lines
    assert len(list((tmp_path / "kept").glob("bound_*.json"))) == 5


def test_checks_run_apart(study: ModuleType, tmp_path: Path) -> None:
    seen: list[Path] = []

    def check(folder: Path) -> None:
        """Look twice."""
        seen.append(folder)

    found = study.main(study.full, study.quick, "", ["--folder", str(tmp_path), "--look"], apart={"look": check})
    assert found == [] and seen == [tmp_path] and not list(tmp_path.iterdir())
