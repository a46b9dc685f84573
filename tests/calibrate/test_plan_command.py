"""`calibrate plan` as people and programs call it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from calibrate import NoiseModel
from calibrate.commands.plan import plan

VALUES = ["--gain-dn-per-e", "0.5", "--read-noise-e", "3", "--bit-depth", "12", "--offset-dn", "100"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(plan, list(arguments))


@pytest.fixture
def sensor_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "sensor.yaml"
    NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12).save(path)
    return path


def test_values_and_file_give_the_same_plan(sensor_yaml: Path):
    from_values, from_file = call(*VALUES), call(str(sensor_yaml))
    assert from_values.exit_code == 0, from_values.stderr
    assert from_values.stdout == from_file.stdout
    assert "Shoot" in from_values.stdout and "limited by" in from_values.stdout


def test_json_is_one_object_and_nothing_else():
    result = call(*VALUES, "--json", "--target", "gain=0.2%", "--target", "maps", "--shape", "128x128")
    content = json.loads(result.stdout)
    assert content["reached"] is True
    assert [target["name"] for target in content["targets"]] == ["gain", "maps"]
    assert content["targets"][0]["predicted"] <= 0.2
    assert content["camera"]["shape"] == [128, 128]
    assert content["total_frames"] == sum(step["n_frames"] for step in content["order"])


def test_what_cannot_be_known_is_null(sensor_yaml: Path):
    """No dark current in the file, and none can be told in percent; unknown errors are null, never Infinity."""
    content = json.loads(call(str(sensor_yaml), "--json").stdout)
    assert "dark_current" not in content["precision"]
    assert content["precision"]["gain"]["present"] is None


def test_shooting_list_is_written_whole_and_kept(tmp_path: Path):
    output = tmp_path / "list.csv"
    first = call(*VALUES, "-o", str(output))
    assert first.exit_code == 0 and f"Wrote {output}" in first.stderr
    text = output.read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    assert set(rows[0]) == {"path", "kind", "exposure_s", "level", "comment"}
    assert {row["kind"] for row in rows} == {"bright", "dark"}
    again = call(*VALUES, "-o", str(output))
    assert again.exit_code == 1 and "exists" in again.stderr and again.stdout == ""
    assert output.read_text(encoding="utf-8") == text
    other = call(*VALUES, "-o", str(output), "--force", "-q", "--seed", "1")
    assert other.exit_code == 0 and other.stderr == ""
    assert output.read_text(encoding="utf-8") != text
    assert [path.name for path in tmp_path.iterdir()] == ["list.csv"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--gain-dn-per-e", "0.5", "--bit-depth", "12"],
        ["sensor.yaml", "--read-noise-e", "2"],
        [*VALUES, "--target", "speed=1%"],
        [*VALUES, "--target", "gain=0.1"],
        [*VALUES, "--target", "gain=1%", "--target", "gain=2%"],
        [*VALUES, "--shape", "12"],
        [*VALUES, "--levels", "many"],
    ],
)
def test_a_wrong_command_line_is_2(arguments: list[str]):
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.yaml"], "no such file"),
        ([*VALUES, "--levels", "3"], "6 or more"),
        ([*VALUES, "--max-frames", "8"], "no plan has at most 8 frames"),
        ([*VALUES, "--light-scatter-percent", "-1"], "0 or more"),
        (["--gain-dn-per-e", "-1", "--read-noise-e", "1", "--bit-depth", "12"], "above 0"),
        (["--gain-dn-per-e", "1", "--read-noise-e", "1", "--bit-depth", "0"], "bit"),
        ([*VALUES, "--offset-dn", "5000"], "saturates"),
        ([*VALUES, "-o", "no/such/folder/list.csv"], "does not exist"),
    ],
)
def test_unusable_values_are_1(arguments: list[str], words: str):
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert words in result.stderr and result.stdout == ""


def test_a_target_out_of_reach_is_an_answer():
    result = call(*VALUES, "--target", "responsivity=0.0001%", "--levels", "8")
    assert result.exit_code == 0
    assert "NOT reached" in result.stdout and "steady the lamp" in result.stdout
