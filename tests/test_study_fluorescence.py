"""The study of emitters in depth runs from objects to figures; its decoder and its bound are what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_files import load_script

pytest.importorskip("torch")


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/study_fluorescence.py, loaded and not run."""
    return load_script("study_fluorescence", monkeypatch)


def test_the_quick_study(study: ModuleType, tmp_path: Path) -> None:
    arguments = ["--quick", "--folder", str(tmp_path / "kept"), "--json", str(tmp_path / "a.json")]
    levels = study.run([*arguments, "--figures", str(tmp_path / "figures")])
    assert levels[0].designs[-1].label == "designed 0"
    found = json.loads((tmp_path / "a.json").read_text())["levels"][0]
    bits = {entry["label"]: entry["bits_per_frame"] for entry in found["audits"]}
    # 10 standard errors and more: the clear pupil cannot tell above from below.
    assert bits["designed 0"] > bits["cylindrical lens, 0.2 waves"] > bits["conventional"] + 0.3
    assert max(bits.values()) < found["audits"][0]["entropy_bits"]
    error = {entry["name"]: entry["result"]["value"] for entry in found["rankings"][0]["designs"]}
    assert error["designed 0"] < 0.3 * error["conventional"]
    assert len(list((tmp_path / "figures").glob("fluorescence_*.png"))) == 6


def test_errors_of_the_posterior_mean_reach_the_bound(study: ModuleType) -> None:
    """Well above the lattice's step the lattice is as good as a continuum: errors across the axis meet Cramer-Rao."""
    from mi_eval.downstream import EvaluationSettings, evaluate_designs

    problem = study.problem_of(1, 8)(60.0)
    lens = study.masks_in_use(problem)["cylindrical lens, 0.05 waves"]
    found = evaluate_designs({"lens": lens}, problem, study.PosteriorMean(), EvaluationSettings(8, 8, 400))
    error = found.outcomes("lateral_error_nm")["lens"]
    bound = float(np.hypot(*study.cramer_rao_nm(lens, problem)[0, 1:]))
    # 60 photons: 45 nm an axis beside a prior of 46 nm (even over one pixel), so that the prior helps as much.
    alone = np.sqrt(2 * (160.0**2) / 12)
    assert error.value == pytest.approx((bound**-2 + alone**-2) ** -0.5, rel=0.15)
    depth = found.outcomes("depth_error_nm")["lens"]
    assert depth.value == pytest.approx(0.0, abs=1e-6)  # one plane
