"""Sweeps whose answer is known, and the bundled example: small versions of the studies in scripts/."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from script_files import load_script

from mi_eval.sweep import cells_of, load_config, run_sweep, summarize

ROOT = Path(__file__).resolve().parent.parent.parent


def test_information_against_gain_peaks_where_the_truth_does(tmp_path):
    """A quarter of the study: every second gain, frames of 24 x 24. A score's standard error is about 0.02 here."""
    study = load_script("study_sweep")
    gains = study.GAINS_DN_PER_E[::2]
    truth = study.true_bits(gains)
    assert int(np.argmax(truth)) == 2  # 2 DN/e-: below, read noise rules, above it the converter's end
    found = study.measured(study.swept(tmp_path, 0, gains=gains, frames=8, side=24, patch_size=4), truth)
    assert found["steps_off"] == 0 and found["true_best_kept"]
    assert np.max(np.abs(found["errors_bits_per_pixel"])) < 0.08


@pytest.mark.parametrize("place", [1, 4, 7, 12, 14, 17])
def test_information_of_made_frames_is_that_of_the_imagined_camera(place):
    """200 000 pixels: 4 standard errors of the surprise are 0.01 bit; the laws agree to 0.002 bit of divergence."""
    study = load_script("study_what_if")
    found = study.measure(study.CASES[place], 200_000, 1)
    assert abs(found["error"]) < 4 * found["chance"]
    assert -0.001 < found["divergence"] < 0.002
    assert found["predicted"] < 0.005


def test_made_frames_score_what_the_imagined_camera_would():
    """A score of 12 frames of 32 x 32; its error is about 0.015 bit/px."""
    study = load_script("study_what_if")
    found = study.scored(study.SCORED[0], 3, frames=12, side=32, patch_size=4)
    assert abs(found["found"] - found["true"]) < 4 * found["std"] and found["std"] < 0.03


@pytest.mark.slow
def test_the_bundled_example_runs_in_two_processes(tmp_path):
    config = load_config(ROOT / "data_samples" / "sweep" / "sweep.yaml")
    cells = cells_of(config)
    assert len(cells) == 12
    wanted = ("mono12", "less light: exposure x 0.5")
    some = [
        replace(cell, patch_size=4, max_patches=64) for cell in cells if cell.seed == 0 and cell.setting.name in wanted
    ]
    outcome = run_sweep(some, tmp_path, jobs=2)
    assert not outcome.failures, [result.record["error"] for result in outcome.failures]
    settings = {entry["name"]: entry for entry in summarize(outcome)["settings"]}
    plain, half = settings["mono12"], settings["less light: exposure x 0.5"]
    truth = json.loads((ROOT / "data_samples" / "mono12" / "scenes" / "truth.json").read_text())
    # Few patches stand for all: 4 % is what the scenes' means differ by.
    assert plain["mean_signal_e"] == pytest.approx(truth["mean_signal_e"], rel=0.1)
    assert half["mean_signal_e"] == pytest.approx(0.5 * plain["mean_signal_e"], rel=0.02)
    assert half["what_if"]["error_bits_per_pixel"] < 0.001
    again = run_sweep(some, tmp_path)
    assert again.computed == 0 and summarize(again) == summarize(outcome)
