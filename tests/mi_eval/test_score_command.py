"""`mi-eval score` as people run it: files in, JSON and page out, errors that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result

from calibrate import NoiseModel
from mi_eval.cli import main


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Path]:
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100, bit_depth=12)
    model.save(tmp_path / "sensor.yaml")
    rng = np.random.default_rng(0)
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(6):
        frame = model.sample(rng.gamma(4.0, 20.0, (48, 64)), rng)
        tifffile.imwrite(folder / f"scene_{index}.tif", frame)
    return {"model": tmp_path / "sensor.yaml", "frames": folder, "out": tmp_path / "score.json", "root": tmp_path}


def run(*words: Any) -> Result:
    return CliRunner().invoke(main, ["score", *map(str, words)])


def test_json_on_stdout_is_what_is_written(scene: dict[str, Path]) -> None:
    result = run(
        scene["frames"], "--noise-model", scene["model"], "-o", scene["out"], "--json", "--deterministic",
        "--report", scene["root"] / "r.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert content == json.loads(scene["out"].read_text(encoding="utf-8"))
    assert content["frames"] == 6
    assert content["noise_model"]["sha256"]
    page = (scene["root"] / "r.html").read_text(encoding="utf-8")
    value = content["mutual_information_bits_per_pixel"]["value"]
    assert f"{value:.2f}"[:4] in page


def test_words_for_people(scene: dict[str, Path]) -> None:
    files = sorted(scene["frames"].iterdir())
    result = run(*files, "--noise-model", scene["model"], "--patch-size", 8)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Information: ")
    assert "bit/px" in result.stdout
    assert "not_measured" in result.stdout


def test_existing_output_is_kept(scene: dict[str, Path]) -> None:
    scene["out"].write_text("mine", encoding="utf-8")
    result = run(scene["frames"], "--noise-model", scene["model"], "-o", scene["out"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "--force" in result.stderr
    assert scene["out"].read_text(encoding="utf-8") == "mine"


def test_two_outputs_of_one_name(scene: dict[str, Path]) -> None:
    result = run(scene["frames"], "--noise-model", scene["model"], "-o", scene["out"], "--report", scene["out"])
    assert result.exit_code == 1
    assert "same name" in result.stderr
    assert not scene["out"].exists()


def broken_yaml(scene: dict[str, Path]) -> None:
    scene["model"].write_text("schema: [unclosed", encoding="utf-8")


def unknown_version(scene: dict[str, Path]) -> None:
    text = scene["model"].read_text(encoding="utf-8")
    scene["model"].write_text(text.replace("schema_version: 1", "schema_version: 99"), encoding="utf-8")


def not_a_number(scene: dict[str, Path]) -> None:
    text = scene["model"].read_text(encoding="utf-8")
    scene["model"].write_text(text.replace("value: 0.5,", "value: .nan,"), encoding="utf-8")


def no_model(scene: dict[str, Path]) -> None:
    scene["model"].unlink()


def no_frames(scene: dict[str, Path]) -> None:
    for file in scene["frames"].iterdir():
        file.unlink()


def no_folder(scene: dict[str, Path]) -> None:
    scene["frames"] = scene["root"] / "elsewhere"


def mixed_shapes(scene: dict[str, Path]) -> None:
    tifffile.imwrite(scene["frames"] / "wide.tif", np.full((48, 80), 120, dtype=np.uint16))


def truncated(scene: dict[str, Path]) -> None:
    file = scene["frames"] / "scene_3.tif"
    file.write_bytes(file.read_bytes()[:900])


def wrong_camera(scene: dict[str, Path]) -> None:
    tifffile.imwrite(scene["frames"] / "scene_9.tif", np.full((48, 64), 60000, dtype=np.uint16))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (broken_yaml, "YAML"),
        (unknown_version, "99"),
        (not_a_number, "finite"),
        (no_model, "no such file"),
        (no_frames, "no frames"),
        (no_folder, "elsewhere"),
        (mixed_shapes, "(48, 80)"),
        (truncated, "scene_3.tif"),
        (wrong_camera, "60000"),
    ],
)
def test_one_clear_message_and_no_output(scene: dict[str, Path], spoil: Any, said: str) -> None:
    spoil(scene)
    result = run(scene["frames"], "--noise-model", scene["model"], "-o", scene["out"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert said in result.stderr
    assert not scene["out"].exists()
    assert not list(scene["root"].glob("*.partial*"))


def test_wrong_command_line_is_2(scene: dict[str, Path]) -> None:
    assert run("--noise-model", scene["model"]).exit_code == 2
    assert run(scene["frames"], "--noise-model", scene["model"], "--patch-size", "wide").exit_code == 2
