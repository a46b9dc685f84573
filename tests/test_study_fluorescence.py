"""The study of emitters in depth runs from objects to figures; its decoders and its bounds are what they should be."""

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
    figures = ["--figures", str(tmp_path / "figures"), "--accuracy-figure", str(tmp_path / "accuracy.png")]
    levels = study.run([*arguments, *figures])
    assert levels[0].designs[-1].label == "designed 0"
    found = json.loads((tmp_path / "a.json").read_text())["levels"][0]
    bits = {entry["label"]: entry["bits_per_frame"] for entry in found["audits"]}
    # 10 standard errors and more: the clear pupil cannot tell above from below.
    assert bits["designed 0"] > bits["cylindrical lens, 0.2 waves"] > bits["conventional"] + 0.3
    assert max(bits.values()) < found["audits"][0]["entropy_bits"]
    error = {entry["name"]: entry["result"]["value"] for entry in found["rankings"][0]["designs"]}
    assert error["designed 0"] < 0.3 * error["conventional"]
    assert len(list((tmp_path / "figures").glob("fluorescence_*.png"))) == 6
    assert (tmp_path / "accuracy.png").stat().st_size > 10_000
    named = levels[0].evaluations[1].outcomes("named_rightly")
    for name, accuracy in levels[0].evaluations[1].outcomes("accuracy").items():
        assert accuracy.value == pytest.approx(named[name].value, abs=4 * named[name].std), name
        # 45 places; both bounds lie far from what optics reach, so that errors of the bits do not matter.
        least, most = study.accuracy_bounds(np.array([bits[name]]), 45)
        assert least[0] < accuracy.value < most[0], name
    assert named["designed 0"].value > named["conventional"].value + 0.1


def test_other_seeds_make_other_designs_and_frames(study: ModuleType) -> None:
    fresh, checks = study.full(10, 10)
    told, known = study.full()
    assert [fresh.plan_at(light).seeds for light in fresh.lights] == [10, 10, 10]
    assert [told.plan_at(light).seeds for light in told.lights] == [10, 10, 3]
    assert {fresh.plan_at(light).first for light in fresh.lights} == {10}
    assert fresh.audit.seed == 11
    assert told.audit.seed == 1
    assert [check.settings.seeds for check in (*checks, *known)] == [(10,), (10,), (0,), (0,)]


def test_bounds_of_accuracy_hold_for_posteriors_and_are_reached(study: ModuleType) -> None:
    """Even over m places meets the lower bound; one favourite among equals meets Fano's."""
    places = 40
    favourite = np.full(places, 0.7 / (places - 1))
    favourite[0] = 0.3
    even = np.zeros(places)
    even[:8] = 1 / 8
    drawn = np.random.default_rng(3).dirichlet(np.full(places, 0.3), size=50)
    for posterior in (favourite, even, *drawn):
        entropy = -float(np.sum(posterior[posterior > 0] * np.log2(posterior[posterior > 0])))
        least, most = study.accuracy_bounds(np.array([np.log2(places) - entropy]), places)
        assert least[0] - 1e-9 <= posterior.max() <= most[0] + 1e-4
        if posterior is even:
            assert least[0] == pytest.approx(1 / 8)
        if posterior is favourite:
            assert most[0] == pytest.approx(0.3, abs=1e-4)


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
