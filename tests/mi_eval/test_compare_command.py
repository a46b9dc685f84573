"""`mi-eval compare` as people run it: files in, a sentence, JSON and a page out, errors that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from page_check import checked

from calibrate import NoiseModel
from mi_eval.cli import main


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """Ten scenes with a quiet and a noisy camera, in folders whose names hold what a command line may trip over."""
    light = np.random.default_rng(0).gamma(4.0, 10.0, (10, 24, 24))
    for name, model_name, read in (("quiet", "quiet", 2.0), ("noisy, old", "noisy", 12.0)):
        model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=read, offset_dn=100, bit_depth=12)
        model.save(tmp_path / f"{model_name}.yaml")
        (tmp_path / name).mkdir()
        for index, frame in enumerate(model.sample(light, np.random.default_rng(int(read)))):
            tifffile.imwrite(tmp_path / name / f"scene_{index}.tif", frame)
    return tmp_path


def run(*words: Any) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, words)])


def entries(shot: Path) -> list[Any]:
    return ["--a", shot / "quiet", "--model-a", shot / "quiet.yaml", "--b", shot / "noisy, old", "--model-b",
            shot / "noisy.yaml", "--patch-size", 8]  # fmt: skip


def test_json_page_and_file(shot: Path) -> None:
    result = run(
        *entries(shot), "--paired", "--json", "--deterministic", "-o", shot / "c.json", "--report", shot / "r.html"
    )
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert content == json.loads((shot / "c.json").read_text(encoding="utf-8"))
    assert content["verdict"] == "a"
    assert content["paired"] is True
    page = (shot / "r.html").read_text(encoding="utf-8")
    checked(page)
    value = content["difference_bits_per_pixel"]["value"]
    assert f"a carries {value:.3f} bit/px more" in page


def test_left_aligned_codes_are_shifted_in_the_entries_that_have_them(shot: Path) -> None:
    wanted = run(*entries(shot), "--json", "--deterministic")
    assert wanted.exit_code == 0, wanted.stderr
    for path in (shot / "quiet").iterdir():
        tifffile.imwrite(path, tifffile.imread(path) << 4)
    refused = run(*entries(shot), "--json", "--deterministic")
    assert refused.exit_code == 1
    assert run(*entries(shot), "--shift-bits", 4).exit_code == 1  # the codes of b are not left-aligned
    found = run(*entries(shot), "--json", "--deterministic", "--shift-bits", 4, "--shift-bits", "b=0")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout) == json.loads(wanted.stdout)
    unknown = run(*entries(shot), "--shift-bits", "c=4")
    assert unknown.exit_code == 1
    assert "'c', which is no entry" in unknown.stderr
    assert run(*entries(shot), "--shift-bits", 17).exit_code == 1
    for words in (["4", "4"], ["a=4", "a=3"], ["=4"], ["a=x"], ["-1"]):
        assert run(*entries(shot), *[word for value in words for word in ("--shift-bits", value)]).exit_code == 2


def test_a_region_of_half_the_size_is_taken_as_one(shot: Path) -> None:
    """Frames of half the calibrated size may be binned, which a noise model of single pixels does not describe."""
    for name in ("quiet", "noisy"):
        model = NoiseModel.load(shot / f"{name}.yaml")
        plain = model.document.to_plain()
        plain["sensor"]["shape"] = [48, 48]
        NoiseModel(model.camera, type(model.document).model_validate(plain)).save(shot / f"{name}.yaml", overwrite=True)
    codes = []
    for words in ((), ("--roi",)):
        done = run(*entries(shot), "--json", *words)
        assert done.exit_code == 0, done.stderr
        codes.append(
            [{doubt["code"] for doubt in entry["score"]["warnings"]} for entry in json.loads(done.stdout)["entries"]]
        )
    assert [binned - region for binned, region in zip(*codes, strict=True)] == [{"maybe_binned"}] * 2


def test_words_for_people_and_named_entries(shot: Path) -> None:
    first, second = (shot / "quiet" / f"scene_{k}.tif" for k in (0, 1))
    rest = [shot / "quiet" / f"scene_{k}.tif" for k in range(2, 10)]
    named = [word for path in (first, second, *rest) for word in ("--entry", f"new={path},{shot / 'quiet.yaml'}")]
    result = run(*named, "--entry", f"old={shot / 'noisy, old'},{shot / 'noisy.yaml'}", "--patch-size", 8)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("new carries ")
    assert "more than old (95 % interval" in result.stdout
    assert "new, old: not_measured" in result.stdout
    assert "Frames are paired" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--a", "x", "--model-a", "y"],
        ["--a", "x", "--model-a", "y", "--b", "z"],
        ["--a", "x", "--model-a", "y", "--model-b", "z"],
        ["--entry", "new=frames", "--entry", "old=frames,model"],
        ["--entry", "=frames,model", "--entry", "old=frames,model"],
        ["--entry", "new=frames,one", "--entry", "new=frames,two"],
    ],
)
def test_wrong_command_line_is_2(words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_wrong_data_is_one_line(shot: Path) -> None:
    (shot / "quiet" / "scene_9.tif").unlink()
    result = run(*entries(shot), "--paired", "-o", shot / "c.json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert "a 9, b 10" in result.stderr
    assert not (shot / "c.json").exists()


def test_existing_output_is_kept(shot: Path) -> None:
    (shot / "c.json").write_text("mine", encoding="utf-8")
    result = run(*entries(shot), "-o", shot / "c.json")
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert (shot / "c.json").read_text(encoding="utf-8") == "mine"
