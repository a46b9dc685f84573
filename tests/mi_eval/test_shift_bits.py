"""Left-aligned codes from the frames to the score: as if they had been stored right-aligned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from calibrate import NoiseModel, load_captures
from calibrate.captures import load_scenes, write_manifest
from calibrate.cli import main as calibrate_main
from calibrate.frames import read_frame
from calibrate.plumbing.errors import PhotonbitsError
from mi_eval.cli import main as mi_eval_main

GAIN, OFFSET, READ_DN, BITS = 0.25, 64.0, 1.5, 4
KEY = "mutual_information_bits_per_pixel"
EXPOSURES_MS = (10, 20, 40, 60, 80, 100, 120)


def call(*arguments: object) -> Result:
    command = mi_eval_main if arguments[0] == "score" else calibrate_main
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def write(folder: Path, seed: int, bits: int) -> Path:
    """Flats, darks and scenes (in a folder of their own) of a 10-bit camera, shifted left."""
    rng = np.random.default_rng(seed)
    names = [(f"flat_{ms}ms_{n}", 25.0 * ms) for ms in EXPOSURES_MS for n in range(2)]
    names += [(f"dark_{ms}ms_{n}", 0.0) for ms in (10, 120) for n in range(2)]
    for name, light in names:
        save(folder / f"{name}.npy", np.full((48, 64), light), rng, bits)
    scene = 800 + 500 * np.sin(np.arange(64) / 5)[None] * np.cos(np.arange(48) / 4)[:, None]
    for n in range(4):
        save(folder.parent / f"scenes{bits}" / f"scene_{n}.npy", np.roll(scene, 5 * n, 1), rng, bits)
    return folder


def save(path: Path, electrons: Any, rng: np.random.Generator, bits: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    codes = OFFSET + GAIN * rng.poisson(electrons) + rng.normal(0, READ_DN, electrons.shape)
    np.save(path, np.clip(np.rint(codes), 0, 1023).astype(np.uint16) << bits)


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shift")
    for bits in (0, BITS):
        write(place / f"captures{bits}", 1, bits)
        write(place / f"new{bits}", 2, bits)
    assert call("fit", place / "captures0", "-o", place / "m0.yaml").exit_code == 0
    done = call("fit", place / f"captures{BITS}", "-o", place / "m4.yaml", "--shift-bits", BITS)
    assert done.exit_code == 0, done.stderr
    return place


def test_the_fit_is_that_of_right_aligned_frames(shot: Path) -> None:
    plain, shifted = (NoiseModel.load(shot / name).document for name in ("m0.yaml", "m4.yaml"))
    assert plain.parameters == shifted.parameters and plain.covariance == shifted.covariance
    assert plain.fit == shifted.fit and plain.sensor == shifted.sensor and plain.validity == shifted.validity
    assert "left_aligned" not in {flag.code for flag in shifted.fit.flags}
    assert abs(plain.parameters["system_gain_dn_per_e"].value - GAIN) < 0.05 * GAIN


def test_the_model_scores_frames_that_are_shifted_alike(shot: Path) -> None:
    """That the score is the one of right-aligned frames with one model, the tests of frames know."""
    common = ["--noise-model", shot / "m4.yaml", "--patch-size", 4, "--max-patches", 150, "--no-burst", "--json"]
    refused = call("score", shot / "scenes4", *common)
    assert refused.exit_code == 1 and "--shift-bits 4" in refused.stderr
    done = call("score", shot / "scenes4", "--shift-bits", BITS, "--density", "closed-form", *common)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)[KEY]["value"] > 0.2


def test_check_shifts_and_names_the_option(shot: Path) -> None:
    model = shot / "m0.yaml"
    same = call("check", model, shot / "new0"), call("check", model, shot / "new4", "--shift-bits", BITS)
    assert same[0].exit_code == same[1].exit_code == 0 and same[0].stdout == same[1].stdout
    done = call("check", model, shot / "new4", "--json")
    (finding,) = json.loads(done.stdout)["diagnoses"]
    assert done.exit_code == 1 and finding["code"] == "left_aligned" and "--shift-bits 4" in finding["remedy"]


def test_a_model_of_left_aligned_codes_is_told_so(shot: Path) -> None:
    assert call("fit", shot / "captures4", "-o", shot / "left.yaml", "--force").exit_code == 0
    done = call("check", shot / "left.yaml", shot / "new4", "--json")
    found = {entry["code"]: entry["remedy"] for entry in json.loads(done.stdout)["diagnoses"]}
    assert done.exit_code == 1 and "--maps" not in done.stdout
    assert found["left_aligned"] == "Fit again with --shift-bits 4, and check with it."


def test_codes_above_the_stated_depth_name_left_alignment(shot: Path) -> None:
    manifest = shot / "captures4" / "stated.csv"
    rows = "path,kind\nflat_*.npy,flat\ndark_*.npy,dark\n"
    manifest.write_text(f"# bit_depth: 10\n{rows}")
    done = call("fit", manifest, "-o", shot / "x.yaml")
    assert done.exit_code == 1 and "left-aligned in a larger word by 4 bit(s)" in done.stderr
    assert "--shift-bits 4" in done.stderr and "shift_bits: 4" in done.stderr
    manifest.write_text(f"# bit_depth: 10\n# shift_bits: 4\n{rows}")
    assert call("fit", manifest, "-o", shot / "x.yaml").exit_code == 0
    assert NoiseModel.load(shot / "x.yaml").bit_depth == 10
    # What the command says wins, and a wrong number of bits is an error.
    for bits, words in ((0, "left-aligned"), (5, "lowest 5 bits of the codes are not empty")):
        wrong = call("fit", manifest, "-o", shot / "y.yaml", "--shift-bits", bits)
        assert wrong.exit_code == 1 and words in wrong.stderr


def test_inspect_and_manifests_keep_the_shift(shot: Path) -> None:
    folder, manifest = shot / "captures4", shot / "written.yaml"
    shown = json.loads(call("inspect", folder, "--json").stdout)
    assert shown["shift_bits"] == 0 and any("--shift-bits 4" in note for note in shown["notes"])
    shown = json.loads(call("inspect", folder, "--json", "--shift-bits", BITS).stdout)
    assert shown["shift_bits"] == BITS and not any("left-aligned" in note for note in shown["notes"])
    assert (
        "10 bit (from: largest code seen), after 4 empty low bits" in call("inspect", folder, "--shift-bits", 4).stdout
    )
    captures = load_captures(folder, shift_bits=BITS)
    write_manifest(captures, manifest)
    assert load_captures(manifest).levels == captures.levels
    assert read_frame(captures.levels[0].frames[0]).max() < 1024
    (shot / "scenes.yaml").write_text("sensor: {shift_bits: 4}\nframes: [{path: scenes4/scene_0.npy}]\n")
    (scene,) = load_scenes(shot / "scenes.yaml")
    assert read_frame(scene.reference).max() < 1024
    with pytest.raises(PhotonbitsError, match="0 to 16"):
        load_captures(folder, shift_bits=17)
