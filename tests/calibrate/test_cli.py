"""The command: results on stdout, talk on stderr, exit codes, outputs kept or made whole."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from calibrate import NoiseModel, __version__
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


def process(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "calibrate.cli", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture(scope="module")
def sensor(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sensor") / "truth.yaml"
    assert call("from-values", "-o", path, *VALUES).exit_code == 0
    return path


@pytest.fixture(scope="module")
def captures(sensor) -> Path:
    folder = sensor.parent / "captures"
    assert call("simulate", sensor, "-o", folder, "--shape", "40x48", "--levels", 10).exit_code == 0
    return folder


def test_a_session(sensor, captures, tmp_path):
    """Simulate, inspect, fit, show, report: what each leaves behind is what the next one takes."""
    output, page = tmp_path / "s.yaml", tmp_path / "r.html"
    assert "flat" in call("inspect", captures).stdout or "bright" in call("inspect", captures).stdout
    done = call("fit", captures, "-o", output, "--report", page)
    assert done.exit_code == 0, done.stderr
    assert "system_gain_dn_per_e" in done.stdout and "DN/e-" in done.stdout
    assert f"Wrote {output}" in done.stderr and f"Wrote {page}" in done.stderr
    assert "Wrote" not in done.stdout
    model = NoiseModel.load(output)
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - 0.5) < 4.5 * gain.std
    shown = call("show", output)
    assert shown.exit_code == 0 and shown.stdout == done.stdout
    assert page.read_text().startswith("<!")
    again = call("report", output, "-o", tmp_path / "again.html")
    assert again.exit_code == 0 and again.stdout == ""


def test_json_is_one_object_and_nothing_else(sensor, captures, tmp_path):
    fitted = call("fit", captures, "-o", tmp_path / "s.yaml", "--json")
    shown = call("show", tmp_path / "s.yaml", "--json")
    inspected = call("inspect", captures, "--json")
    for done in (fitted, shown, inspected):
        assert done.exit_code == 0 and isinstance(json.loads(done.stdout), dict)
        assert "NaN" not in done.stdout
    content = json.loads(fitted.stdout)
    assert content == json.loads(shown.stdout)
    assert content["schema"] == "photonbits/noise-model" and content["schema_version"] == 1
    assert {"kind", "sensor", "parameters", "covariance", "validity", "fit", "provenance"} <= set(content)
    assert {"frames", "levels", "shape", "bit_depth", "ignored"} <= set(json.loads(inspected.stdout))
    assert json.loads(inspected.stdout)["frames"] == 40


def test_json_with_maps_says_where_they_are(captures, tmp_path):
    done = call("fit", captures, "-o", tmp_path / "s.yaml", "--maps", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["maps"]["file"] == "s_maps.npz"
    assert (tmp_path / "s_maps.npz").is_file()
    assert NoiseModel.load(tmp_path / "s.yaml").map_shape == (40, 48)


def test_quiet_says_nothing_beside_results(sensor, captures, tmp_path):
    quiet = call("fit", captures, "-o", tmp_path / "s.yaml", "-q")
    assert quiet.exit_code == 0 and quiet.stderr == "" and "system_gain" in quiet.stdout
    assert call("simulate", sensor, "-o", tmp_path / "c", "--shape", "8x8", "-q").stderr == ""
    failed = call("show", tmp_path / "absent.yaml", "-q")
    assert failed.exit_code == 1 and failed.stderr.startswith("Error: ")


def test_existing_outputs_are_kept_without_force(sensor, captures, tmp_path):
    output = tmp_path / "s.yaml"
    page = tmp_path / "r.html"
    for path in (output, page):
        path.write_text("mine")
    kept = [
        call("fit", captures, "-o", output),
        call("fit", captures, "-o", tmp_path / "new.yaml", "--report", page),
        call("from-values", "-o", output, *VALUES),
        call("report", sensor, "-o", page),
        call("simulate", sensor, "-o", captures),
        call("inspect", captures, "--write-manifest", output),
    ]
    for done in kept:
        assert done.exit_code == 1 and done.stdout == "" and "--force" in done.stderr
    assert output.read_text() == page.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "s.yaml"]
    assert call("fit", captures, "-o", output, "--report", page, "--force").exit_code == 0
    assert NoiseModel.load(output).bit_depth == 12 and page.read_text() != "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit"],
        ["fit", "x"],
        ["nonsense"],
        ["show", "a", "b"],
        ["fit", "x", "-o", "y", "--seed", "many"],
        ["from-values", "-o", "x", "--gain-dn-per-e", "much"],
        ["simulate", "{sensor}", "-o", "x", "--shape", "12by12"],
        ["fit", "x", "-o", "y", "--no-such-option"],
    ],
)
def test_a_wrong_command_line_exits_with_2(sensor, tmp_path, arguments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*[argument.format(sensor=sensor) for argument in arguments])
    assert done.exit_code == 2 and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--gain-dn-per-e", "-1", "system_gain_dn_per_e"),
        ("--gain-dn-per-e", "nan", "system_gain_dn_per_e"),
        ("--read-noise-e", "-3", "read_noise_e"),
        ("--bit-depth", "40", "bit_depth"),
        ("--full-well-e", "0", "full_well_e"),
        ("--white-clip-dn", "5000", "white_clip_dn"),
        ("--dark-current-e-per-s", "-1", "dark_current_e_per_s"),
    ],
)
def test_illegal_values_exit_with_1_and_write_nothing(tmp_path, option, value, said):
    done = call("from-values", "-o", tmp_path / "s.yaml", *VALUES, option, value)
    assert done.exit_code == 1 and done.stdout == ""
    assert said in done.stderr and value.rstrip("0") in done.stderr and "Expected" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_help_and_the_common_options():
    assert __version__ in call("--version").stdout
    for name in main.commands:
        text = call(name, "-h")
        assert text.exit_code == 0
        assert all(option in text.stdout for option in ("-q, --quiet", "-v, --verbose", "-h, --help"))


def test_verbose_shows_where_an_error_arose(tmp_path):
    done = call("show", tmp_path / "absent.yaml", "-v")
    assert done.exit_code == 1 and "Traceback" in done.stderr
    assert "Traceback" not in call("show", tmp_path / "absent.yaml").stderr


def test_real_processes(captures, tmp_path):
    done = process("fit", captures, "-o", "s.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parameters"]["offset_dn"]["unit"] == "DN"
    assert "Warning" not in done.stderr
    failed = process("fit", "nowhere", "-o", "t.yaml", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"Error: [^\n]*nowhere[^\n]*\n", failed.stderr)
    assert process("fit", cwd=tmp_path).returncode == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.yaml"]


def test_fits_repeat_byte_for_byte(captures, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert (
            call("fit", captures, "-o", tmp_path / name / "s.yaml", "--report", tmp_path / name / "r.html").exit_code
            == 0
        )
    for file in ("s.yaml", "r.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_table_on_the_command_line(tmp_path):
    points = "".join(f"{0.5 * y} {0.25 * (y + 9)}\n" for y in np.linspace(100, 9000, 12))
    (tmp_path / "t.txt").write_text("# mean variance\n" + points)
    done = call("fit", tmp_path / "t.txt", "-o", tmp_path / "s.yaml")
    assert done.exit_code == 0, done.stderr
    assert "no_darks" in done.stdout
    assert NoiseModel.load(tmp_path / "s.yaml").parameter("system_gain_dn_per_e").value == pytest.approx(0.5, rel=1e-6)
