"""Orchestration: each cell once, failures kept apart, the same on a cluster, one page at the end."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sweep_files import QuickScore, write_setting

from calibrate import PhotonbitsError
from mi_eval.cli import main
from mi_eval.sweep import cells_of, run_sweep, summarize
from mi_eval.sweep.config import parse_config
from mi_eval.sweep.table import COLUMNS, summary_csv, summary_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_setting(tmp_path, "low", read_noise_e=8.0)
    write_setting(tmp_path, "high", read_noise_e=2.0)
    return tmp_path


def cells(folder: Path, *, patch_size=(4, 8), seed=(0, 1), names=("low", "high"), what_if=()):
    entries = [
        {"name": name, "frames": f"{name}.npy", "noise_model": f"{name}.yaml", "exposure_s": 1.0, "scenes": "x"}
        for name in names
    ]
    plain = {"entries": entries, "patch_size": list(patch_size), "seed": list(seed), "what_if": list(what_if)}
    return cells_of(parse_config(plain, folder=folder))


def test_each_cell_has_a_file_and_is_run_once(folder):
    score = QuickScore()
    first = run_sweep(cells(folder), folder / "out", score=score)
    assert first.computed == len(score.calls) == 8
    files = sorted(path.name for path in (folder / "out" / "cells").iterdir())
    assert len(files) == 8 and files[0].startswith("high_p4_s0_")
    record = json.loads((folder / "out" / "cells" / files[0]).read_text())
    assert record["schema"] == "photonbits/sweep-cell" and record["setting"]["exposure_s"] == 1.0
    assert str(folder) not in json.dumps(record)
    again = run_sweep(cells(folder), folder / "out", score=score)
    assert again.computed == 0 and len(score.calls) == 8
    assert summarize(again) == summarize(first)
    assert {call["density"] for call in score.calls} == {"closed-form"}
    other = [replace(cell, density="network") for cell in cells(folder, seed=(0,), patch_size=(4,))]
    assert run_sweep(other, folder / "out", score=score).computed == 2 and score.calls[-1]["density"] == "network"
    more = run_sweep(cells(folder, seed=(0, 1, 2)), folder / "out", score=score)
    assert more.computed == 4
    assert run_sweep(cells(folder), folder / "out", again=True, score=score).computed == 8


def test_changed_frames_or_model_are_scored_anew_and_broken_results_too(folder):
    score = QuickScore()
    run_sweep(cells(folder, seed=(0,), patch_size=(4,)), folder / "out", score=score)
    stack = np.load(folder / "low.npy")
    np.save(folder / "low.npy", stack[:5])
    assert run_sweep(cells(folder, seed=(0,), patch_size=(4,)), folder / "out", score=score).computed == 1
    os.utime(folder / "low.npy", ns=(1, 1))
    assert run_sweep(cells(folder, seed=(0,), patch_size=(4,)), folder / "out", score=score).computed == 1
    write_setting(folder, "high", read_noise_e=2.5)
    assert run_sweep(cells(folder, seed=(0,), patch_size=(4,)), folder / "out", score=score).computed == 1
    for path in (folder / "out" / "cells").iterdir():
        path.write_text('{"status": "do')
    assert run_sweep(cells(folder, seed=(0,), patch_size=(4,)), folder / "out", score=score).computed == 2


def test_failed_cells_are_recorded_do_not_stop_the_others_and_are_tried_again(folder):
    score, lines = QuickScore(), []
    (folder / "low.npy").rename(folder / "away.npy")
    outcome = run_sweep(cells(folder, patch_size=(8, 13), seed=(0,)), folder / "out", score=score, say=lines.append)
    errors = {result.cell.name: result.record["error"] for result in outcome.failures}
    assert set(errors) == {"low_p8_s0", "low_p13_s0", "high_p13_s0"}
    assert "no such file" in errors["low_p8_s0"] and "bad luck" in errors["high_p13_s0"]
    assert len(lines) == 4 and "[4/4]" in lines[-1]
    summary = summarize(outcome)
    assert [entry["name"] for entry in summary["settings"]] == ["high"]
    assert {entry["cell"] for entry in summary["failed"]} == set(errors)
    (folder / "away.npy").rename(folder / "low.npy")
    cured = run_sweep(cells(folder, patch_size=(8, 13), seed=(0,)), folder / "out", score=score)
    assert cured.computed == 3 and {r.cell.name for r in cured.failures} == {"low_p13_s0", "high_p13_s0"}
    assert not list((folder / "out" / "cells").glob("low_p8*no-input*"))


def test_summary_takes_seeds_together_and_compares_within_a_patch_size(folder):
    what_if = [{"name": "darker", "of": "high", "cases": [{"light_factor": [0.5, 0.1]}]}]
    summary = summarize(run_sweep(cells(folder, what_if=what_if), folder / "out", score=QuickScore()))
    assert [(r["group"], r["patch_size"]) for r in summary["rankings"]] == [
        ("captured", 4), ("captured", 8), ("darker", 4), ("darker", 8),
    ]  # fmt: skip
    entry = summary["settings"][0]
    assert entry["seeds"] == 2 and entry["seed_std_bits_per_pixel"] == pytest.approx(0.01 / np.sqrt(2))
    # The stand-in says that noise is information: the camera with more of it must come out on top.
    assert summary["rankings"][0]["best"]["name"] == "low"
    assert summary["rankings"][0]["comparisons"][0]["paired"]
    dark = next(e for e in summary["settings"] if e["name"] == "darker: light x 0.1" and e["patch_size"] == 4)
    assert dark["against_source"]["paired"] and dark["against_source"]["difference_bits_per_pixel"] < 0
    assert dark["mean_signal_e"] == pytest.approx(5.0, abs=0.2)
    rows = list(csv.DictReader(io.StringIO(summary_csv(summary))))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 8
    assert float(rows[0]["information_bits_per_pixel"]) == entry["mutual_information_bits_per_pixel"]["value"]
    text = summary_text(summary)
    assert "low gives the most information" in text and "darker: light x 0.1" in text


def test_known_light_is_measured_by_every_camera_asked_for(folder):
    light = np.random.default_rng(1).gamma(4.0, 10.0, (5, 16, 24))
    np.save(folder / "light.npy", light)
    block = {
        "name": "lamp",
        "light_e": "light.npy",
        "noise_model": "high.yaml",
        "exposure_s": 0.5,
        "cases": [{"exposure_factor": [1, 4], "read_noise_e": [0.5, 8.0]}],
    }
    plain = {"what_if": [block], "patch_size": 4}
    outcome = run_sweep(cells_of(parse_config(plain, folder=folder)), folder / "out", score=QuickScore())
    summary = summarize(outcome)
    assert not outcome.failures and len(summary["settings"]) == 4
    last = summary["settings"][-1]
    assert last["kind"] == "simulated" and last["read_noise_e"] == 8.0 and last["exposure_s"] == 2.0
    assert last["mean_signal_e"] == pytest.approx(4 * light.mean(), rel=0.02)
    assert all(entry["paired"] for entry in summary["rankings"][0]["comparisons"])


def test_a_dask_cluster_gives_what_this_machine_gives(folder):
    distributed = pytest.importorskip("dask.distributed")
    mine = summarize(run_sweep(cells(folder), folder / "here", score=QuickScore()))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
    ) as cluster:
        there = run_sweep(cells(folder), folder / "there", cluster=cluster.scheduler_address, score=QuickScore())
    assert there.computed == 8
    assert summarize(there) == mine


def test_a_cluster_that_is_not_there_is_an_error_in_words(folder, monkeypatch):
    pytest.importorskip("dask.distributed")
    monkeypatch.setattr("mi_eval.sweep.run._CLUSTER_TIMEOUT_S", 0.3)
    with pytest.raises(PhotonbitsError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run_sweep(cells(folder), folder / "out", cluster="tcp://127.0.0.1:1", score=QuickScore())


def test_without_dask_the_error_names_the_extra(folder, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(PhotonbitsError, match=r"photonbits\[cluster\]"):
        run_sweep(cells(folder), folder / "out", cluster="tcp://127.0.0.1:1", score=QuickScore())


@pytest.fixture
def quick(monkeypatch):
    """The command with the stand-in for the score."""
    score = QuickScore()

    def run(*arguments, **keywords):
        return run_sweep(*arguments, **keywords, score=score)

    import mi_eval.sweep.run as module

    monkeypatch.setattr(module, "run_sweep", run)
    return lambda *words: CliRunner().invoke(main, ["sweep", *map(str, words)])


def write_config(folder: Path, patch_size: str = "4") -> Path:
    lines = [f"patch_size: [{patch_size}]", "entries:"]
    lines += [f"  - {{name: {name}, frames: {name}.npy, noise_model: {name}.yaml}}" for name in ("low", "high")]
    (folder / "sweep.yaml").write_text("\n".join(lines) + "\n")
    return folder / "sweep.yaml"


def test_command_writes_the_summary_and_ends_with_1_naming_failed_cells(folder, quick):
    result = quick(write_config(folder), "-o", folder / "out", "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert content == json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    assert "[2/2] high, 4 px, seed 0" in result.stderr
    page = (folder / "out" / "summary.html").read_text(encoding="utf-8")
    assert page.startswith("<!") and "low" in page
    failed = quick(write_config(folder, "4, 13"), "-o", folder / "out")
    assert failed.exit_code == 1 and failed.stdout == ""
    assert "2 of 4 cells failed" in failed.stderr and "low_p13_s0" in failed.stderr and "high_p13_s0" in failed.stderr
    assert len(json.loads((folder / "out" / "summary.json").read_text())["settings"]) == 2
    quiet = quick(write_config(folder), "-o", folder / "out", "-q")
    assert quiet.stderr == "" and quiet.stdout.startswith("setting")


def test_command_refuses_what_cannot_be(folder, quick):
    (folder / "file").write_text("")
    assert quick(write_config(folder), "-o", folder / "file").exit_code == 1
    both = quick(write_config(folder), "-o", folder / "out", "--jobs", "2", "--cluster", "tcp://127.0.0.1:1")
    assert both.exit_code == 1 and "one of them" in both.stderr
    assert quick(folder / "none.yaml", "-o", folder / "out").exit_code == 1
    assert quick("-o", folder / "out").exit_code == 2
    assert quick(write_config(folder), "-o", folder / "out", "--jobs", 0).exit_code == 1
