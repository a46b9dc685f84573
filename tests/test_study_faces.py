"""The study of faces runs from objects to figures; its ideal observer is Bayes' rule."""

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
    """scripts/study_faces.py, loaded and not run."""
    return load_script("study_faces", monkeypatch)


def test_the_ideal_observer_is_bayes_rule(study: ModuleType) -> None:
    """Against sums over all views, written out with the sensor's log p(z|y)."""
    from mi_eval.design.audit import simulate
    from mi_eval.downstream.interface import Examples, Setting

    problem = study.small_problem_at(30.0)
    design = study.rules_of_thumb(problem)["open"]
    seen = simulate(design, problem, 6, 3)
    setting = Setting(design, problem)
    observer = study.IdealObserver()
    frames = seen.frames.astype(np.float64)
    examples = Examples(frames, observer.targets(seen, setting), 1.0, seen)
    decoded = observer.train(examples, examples, setting, 0).decode(frames)
    light = design.forward(problem.scale * problem.objects.population(problem.system.object_shape)).numpy()
    wanted = np.zeros((6, 10))
    for number, frame in enumerate(seen.frames):
        logs = problem.noise_model.log_pmf(frame[None], light).sum(axis=(1, 2))
        np.add.at(wanted[number], problem.objects.labels(problem.system.object_shape), np.exp(logs - logs.max()))
    np.testing.assert_allclose(decoded, wanted / wanted.sum(axis=1, keepdims=True), atol=0.02)
    found = observer.score(decoded, examples, setting)
    assert seen.labels is not None
    assert np.array_equal(found["accuracy"], decoded.argmax(axis=1) == seen.labels)


def test_the_quick_study(study: ModuleType, tmp_path: Path) -> None:
    arguments = ["--quick", "--folder", str(tmp_path / "kept"), "--json", str(tmp_path / "a.json")]
    levels = study.main(study.full, study.quick, "", [*arguments, "--figures", str(tmp_path / "figures")])
    names = [item.label for item in levels[0].designs]
    assert names == ["conventional", "random 0", "open", "stopped early 100", "designed 0"]
    level = json.loads((tmp_path / "a.json").read_text())["levels"][0]
    information = {entry["label"]: entry["value"] for entry in level["audits"]}
    most = np.log2(len(study.small_problem_at(30.0).objects.population((1, 10, 10)))) / 64
    assert information["conventional"] < information["designed 0"] < most + 0.01
    assert len(level["rankings"]) == 2 and level["rankings"][1]["metric"] == "accuracy"
    ideal = {entry["name"]: entry["result"]["value"] for entry in level["rankings"][1]["designs"]}
    assert ideal["designed 0"] > ideal["conventional"]
    assert len(list((tmp_path / "figures").glob("faces_*.png"))) == 5
