"""The command `calibrate check`: exit codes, JSON, the table for people, nothing heavy for help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from calibrate.cli import main
from calibrate.plumbing.progress import set_quiet

ROOT = Path(__file__).resolve().parents[2]
VALUES = ["--gain-dn-per-e", "0.5", "--read-noise-e", "3", "--offset-dn", "100", "--bit-depth", "12"]


@pytest.fixture(autouse=True)
def talkative():
    """-q is a setting of the process; the next test starts without it."""
    set_quiet(False)
    yield
    set_quiet(False)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A fitted sensor, new captures of it, and captures at twice the gain."""
    folder = tmp_path_factory.mktemp("check")
    double = ["--gain-dn-per-e", "1.0", *VALUES[2:]]
    for name, values, seed in (("fit", VALUES, 1), ("new", VALUES, 2), ("double", double, 3)):
        assert call("from-values", "-o", folder / f"{name}.yaml", *values).exit_code == 0
        simulate = ["simulate", folder / f"{name}.yaml", "-o", folder / name, "--shape", "48x48"]
        assert call(*simulate, "--levels", 10, "--seed", seed).exit_code == 0
    assert call("fit", folder / "fit", "-o", folder / "sensor.yaml").exit_code == 0
    return folder


def test_agreement_exits_with_0(place):
    done = call("check", place / "sensor.yaml", place / "new")
    assert done.exit_code == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "observed DN²" in done.stdout and "predicted DN²" in done.stdout
    assert "The model describes these captures: " in done.stdout
    assert "10 % of the pixels reach saturation" in done.stdout  # the brightest level fills the range 1.1 times
    assert "independent" not in done.stdout


def test_disagreement_exits_with_1_and_says_what_to_do(place):
    done = call("check", place / "sensor.yaml", place / "double")
    assert done.exit_code == 1
    assert "The model does not describe these captures: " in done.stdout
    assert "wrong_gain_setting: The frames fit a system gain 2" in done.stdout
    assert "What to do: Check the camera's gain" in done.stdout
    assert done.stderr == ""


def test_json_is_one_object_and_has_the_agreed_keys(place):
    good = call("check", place / "sensor.yaml", place / "new", "--json")
    bad = call("check", place / "sensor.yaml", place / "double", "--json")
    assert (good.exit_code, bad.exit_code) == (0, 1)
    for done, agrees in ((good, True), (bad, False)):
        content = json.loads(done.stdout)
        assert content["agrees"] is agrees and "NaN" not in done.stdout
        assert len(content["ranges"]) >= 8
        for entry in content["ranges"]:
            assert {"mean_dn", "observed_variance_dn2", "predicted_variance_dn2", "z"} <= set(entry)
            difference = entry["observed_variance_dn2"] - entry["predicted_variance_dn2"]
            errors = np.hypot(entry["observed_std_dn2"], entry["predicted_std_dn2"])
            assert entry["z"] == pytest.approx(difference / errors)
        assert all({"code", "message"} <= set(entry) for entry in content["diagnoses"])
    assert json.loads(good.stdout)["diagnoses"] == []
    assert json.loads(bad.stdout)["diagnoses"][0]["code"] == "wrong_gain_setting"


def test_the_captures_of_the_fit_are_called_so(place):
    done = call("check", place / "sensor.yaml", place / "fit", "--json")
    content = json.loads(done.stdout)
    assert content["independent"] is False and content["frames_in_fit"] == content["frames"] > 0
    assert "not independent" in content["notes"][0]
    shown = call("check", place / "sensor.yaml", place / "fit").stdout
    assert "on frames that were part of the fit" in shown and "Note: All frames were part of the fit" in shown


def test_given_values_are_taken_as_exact(place):
    done = call("check", place / "new.yaml", place / "new")
    assert done.exit_code == 0 and "taken as exact" in done.stdout


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_what_cannot_be_read_exits_with_1_and_an_empty_stdout(place, tmp_path, option):
    (tmp_path / "broken.yaml").write_text("schema: something\n")
    (tmp_path / "empty").mkdir()
    cases = [
        ("absent.yaml", place / "new", "absent.yaml"),
        (tmp_path / "broken.yaml", place / "new", "schema"),
        (place / "sensor.yaml", tmp_path / "nowhere", "nowhere"),
        (place / "sensor.yaml", tmp_path / "empty", "empty"),
    ]
    for sensor, captures, said in cases:
        done = call("check", sensor, captures, *option)
        assert done.exit_code == 1 and done.stdout == ""
        assert done.stderr.startswith("Error: ") and said in done.stderr and done.stderr.count("\n") == 1


def test_a_wrong_command_line_exits_with_2(place):
    for arguments in (
        ["check"],
        ["check", place / "sensor.yaml"],
        ["check", "a", "b", "c"],
        ["check", "a", "b", "--no"],
    ):
        done = call(*arguments)
        assert done.exit_code == 2 and done.stdout == ""


def test_as_a_process(place):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "calibrate.cli", *map(str, arguments)],
            capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    done = run("check", place / "sensor.yaml", place / "double", "--json", "-q")
    assert done.returncode == 1 and done.stderr == ""
    assert json.loads(done.stdout)["agrees"] is False


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom calibrate.cli import main\n"
        "done = CliRunner().invoke(main, ['check', '-h'])\nassert done.exit_code == 0, done.output\n"
        "print(done.output)\n"
        "print([m for m in ('numpy', 'scipy', 'astropy', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "SENSOR CAPTURES" in done.stdout and "--json" in done.stdout


def test_levels_held_out_of_a_fit_are_checked_alone(place, tmp_path):
    """One set of captures is enough for an independent check."""
    done = call("fit", place / "fit", "-o", tmp_path / "sensor.yaml", "--hold-out", 4)
    assert done.exit_code == 0 and "Held out " in done.stderr and "--unseen" in done.stderr
    checked = call("check", tmp_path / "sensor.yaml", place / "fit", "--unseen", "--json")
    result = json.loads(checked.stdout)
    assert checked.exit_code == 0 and result["frames_in_fit"] == 0
    held = int(done.stderr.split("Held out ")[1].split()[0])
    assert 4 <= held == result["frames"] < 20
    whole = json.loads(call("check", tmp_path / "sensor.yaml", place / "fit", "--json").stdout)
    assert whole["frames_in_fit"] == whole["frames"] - held > 0


def test_nothing_unseen_or_nothing_to_hold_out_is_an_error(place, tmp_path):
    done = call("check", place / "sensor.yaml", place / "fit", "--unseen")
    assert done.exit_code == 1 and "all frames were part of the fit" in done.stderr and "--hold-out" in done.stderr
    for name in ("flat_1ms", "flat_2ms", "dark_1ms", "dark_2ms"):
        level = 300 if name.startswith("flat") else 100
        codes = np.random.default_rng(len(name)).normal(level, 5, (2, 16, 16)).astype(np.uint16)
        np.save(tmp_path / f"{name}.npy", codes)
    done = call("fit", tmp_path, "-o", tmp_path / "s.yaml", "--hold-out", 2)
    assert done.exit_code == 1 and "nothing can be held out of 4 levels" in done.stderr
