"""`mi-eval edge` as people run it: a file in, JSON and page out, errors that help."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from edge_render import Optics, edge_image
from page_check import checked

from calibrate import NoiseModel
from mi_eval.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("edge")
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100, bit_depth=12)
    model.save(root / "sensor.yaml")
    frame = model.sample(edge_image(Optics(0.5), 5.0, (120, 100), 300, 3000), np.random.default_rng(0))
    tifffile.imwrite(root / "edge.tif", frame)
    tifffile.imwrite(root / "stack.tif", np.stack([frame, frame]))
    return root


def run(place, *words, frame="edge.tif"):
    arguments = ["edge", str(place / frame), "--noise-model", str(place / "sensor.yaml"), *map(str, words)]
    return CliRunner().invoke(main, arguments)


def test_json_on_stdout_is_what_is_written(place):
    out, page = place / "edge.json", place / "edge.html"
    result = run(place, "--json", "-o", out, "--report", page)
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert content == json.loads(out.read_text(encoding="utf-8"))
    assert content["kind"] == "slanted_edge"
    assert "mutual_information_bits_per_pixel" not in content
    assert "never ranked" in content["assumed_signal_capacity"]["statement"]
    assert content["noise_model"]["sha256"]
    assert "information" not in result.stdout.replace("mutual information that mi-eval score measures", "")
    text = checked(page.read_text(encoding="utf-8")).text
    assert f"MTF50 {content['mtf50_cycles_per_px']['value']:.3f}" in text
    for words in ("never ranked against it", "Noise-equivalent", "Prefactor", "not_measured"):
        assert words in text or words.lower() in text
    again = run(place, "-o", out)
    assert again.exit_code == 1 and again.stdout == "" and "--force" in again.stderr
    assert run(place, "-o", out, "--report", place / "again.html", "--force").exit_code == 0
    assert (place / "again.html").read_bytes() == page.read_bytes()


def test_words_for_people(place):
    result = run(place)
    assert result.exit_code == 0, result.stderr
    for words in ("MTF50", "V_pp", "not a mutual information", "Doubts:"):
        assert words in result.stdout


def test_errors_are_one_line_and_leave_stdout_empty(place):
    for words, frame in (
        (("--roi", "0,0,10,10"), "edge.tif"),
        ((), "none.tif"),
        ((), "stack.tif"),
        (("--plane", "R"), "edge.tif"),
        (("--exposure-s", "-1"), "edge.tif"),
    ):
        result = run(place, *words, frame=frame)
        assert result.exit_code == 1, words
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert run(place, "--roi", "0,0,10").exit_code == 2


def test_a_page_without_flat_sides_is_still_a_page(place, tmp_path):
    model = NoiseModel.load(place / "sensor.yaml")
    frame = model.sample(edge_image(Optics(0.5), 5.0, (60, 20), 300, 3000), np.random.default_rng(0))
    tifffile.imwrite(tmp_path / "narrow.tif", frame)
    page = tmp_path / "narrow.html"
    arguments = [
        "edge",
        str(tmp_path / "narrow.tif"),
        "--noise-model",
        str(place / "sensor.yaml"),
        "--report",
        str(page),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert "few_flat_pixels" in checked(page.read_text(encoding="utf-8")).text
