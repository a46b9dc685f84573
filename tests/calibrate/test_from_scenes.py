"""Fits of repeated frames of still scenes: coverage, motion, shake, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from scipy import ndimage

from calibrate import NoiseModel, PhotonbitsError
from calibrate.captures import load_bursts
from calibrate.cli import main
from calibrate.from_scenes import fit_from_scenes
from calibrate.level_statistics import measure_bursts

GAIN, READ, OFFSET, SIDE = 0.5, 5.0, 200.0, 96
CAMERA = NoiseModel.from_parameters(system_gain_dn_per_e=GAIN, read_noise_e=READ, offset_dn=OFFSET, bit_depth=12)


def scene(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    field = ndimage.gaussian_filter(rng.standard_normal((side, side)), 3, mode="wrap")
    return 5000.0 * np.clip(np.exp(0.9 * field / field.std()) / 8, 0.0, 1.0)


def shots(rng: np.random.Generator, light: np.ndarray, n: int, flicker: float = 0.01) -> np.ndarray:
    return np.stack([CAMERA.sample(light * (1 + flicker * rng.standard_normal()), rng) for _ in range(n)])


def write(path: Path, frames: np.ndarray) -> None:
    tifffile.imwrite(path, frames, photometric="minisblack")


def captures(folder: Path, seed: int, n: int, darks: int = 8) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for letter in "abc":
        write(folder / f"scene_{letter}.tif", shots(rng, scene(rng), n))
    if darks:
        write(folder / "dark.tif", shots(rng, np.zeros((SIDE, SIDE)), darks))
    return folder


@pytest.mark.parametrize("n", [2, 4])
def test_stated_errors_hold(tmp_path: Path, n: int) -> None:
    """Ten seeds fixed in advance; scripts/study_from_scenes.py has 300."""
    pulls = []
    for seed in range(10):
        model = fit_from_scenes(captures(tmp_path / str(seed), seed, n))
        assert model.document.fit.flags[0].code == "from_scenes"
        for name, truth in (("system_gain_dn_per_e", GAIN), ("read_noise_e", READ), ("offset_dn", OFFSET)):
            entry = model.parameter(name)
            pulls.append((entry.value - truth) / entry.std)
            assert entry.std < {"system_gain_dn_per_e": 0.01, "read_noise_e": 0.1, "offset_dn": 0.05}[name]
    # 30 pulls of which gain and read noise go together: an rms of 1.45 has a probability below 0.001.
    assert np.sqrt(np.mean(np.square(pulls))) < 1.45 and np.max(np.abs(pulls)) < 4.0


def test_sorting_does_not_see_the_pair_it_sorts() -> None:
    """Flats of one light: every range of signal has the same mean and variance, whatever noise sorted its pixels."""
    rng = np.random.default_rng(1)
    light = np.full((256, 256), 1000.0)
    for n in (2, 6):
        found = measure_bursts([list(CAMERA.sample(np.broadcast_to(light, (n, 256, 256)), rng))])
        expected = GAIN**2 * (1000.0 + READ**2) + 1 / 12
        assert len(found.levels) > 5 and found.moved_fraction == 0 and found.shaken == 0
        for level in found.levels:
            samples = level.n_pixels * len(level.pairs)
            assert level.mean_dn == pytest.approx(OFFSET + GAIN * 1000, abs=5 * np.sqrt(expected / samples))
            variance = level.temporal_variance_dn2(OFFSET)
            assert variance == pytest.approx(expected, rel=5 * np.sqrt(2 / samples))


def test_what_moves_is_left_out() -> None:
    rng = np.random.default_rng(2)
    light = scene(rng, 128)
    frames = []
    for number in range(4):
        moving = light.copy()
        moving[20:40, 10 + 12 * number : 30 + 12 * number] = 3000.0  # something walks through
        frames.append(CAMERA.sample(moving, rng))
    found = measure_bursts([frames])
    assert 0.05 < found.moved_fraction < 0.25
    still = measure_bursts([list(shots(rng, light, 4, flicker=0.0))])
    assert still.moved_fraction == 0.0
    for level in found.levels:
        y = (level.mean_dn - OFFSET) / GAIN
        expected = GAIN**2 * (y + READ**2) + 1 / 12
        samples = level.n_pixels * len(level.pairs)
        assert level.temporal_variance_dn2(OFFSET) == pytest.approx(expected, rel=5 * np.sqrt(2.2 / samples) + 0.01)
    with pytest.raises(PhotonbitsError, match="moved between shots"):
        measure_bursts([[CAMERA.sample(scene(rng), rng) for _ in range(2)]])


def test_a_shaken_camera_is_seen() -> None:
    rng = np.random.default_rng(3)
    light = scene(rng, 192)
    frames = [
        CAMERA.sample(np.maximum(ndimage.shift(light, 0.12 * rng.standard_normal(2), mode="wrap"), 0.0), rng)
        for _ in range(6)
    ]
    found = measure_bursts([frames])
    assert found.shaken > 0.02 or found.moved_fraction > 0.02
    assert measure_bursts([list(shots(rng, light, 6))]).shaken == 0.0


def test_without_darks_the_offset_must_be_given(tmp_path: Path) -> None:
    folder = captures(tmp_path / "a", 5, 4, darks=0)
    with pytest.raises(PhotonbitsError, match="cannot be told apart"):
        fit_from_scenes(folder)
    model = fit_from_scenes(folder, offset_dn=OFFSET)
    codes = {entry.code for entry in model.document.fit.flags}
    assert {"from_scenes", "offset_given"} <= codes and "no_darks" not in codes
    assert model.parameter("offset_dn").value == OFFSET and model.parameter("offset_dn").std is None
    assert model.parameter("white_clip_dn").value == 4095
    gain, read = model.parameter("system_gain_dn_per_e"), model.parameter("read_noise_e")
    assert abs(gain.value - GAIN) < 4 * gain.std and abs(read.value - READ) < 4 * read.std
    both = captures(tmp_path / "b", 5, 4)
    with pytest.raises(PhotonbitsError, match="darks and an offset"):
        fit_from_scenes(both, offset_dn=OFFSET)


def test_scenes_without_contrast_or_repeats_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    dim = tmp_path / "dim"
    dim.mkdir()
    write(dim / "scene.tif", shots(rng, np.full((SIDE, SIDE), 0.5), 2))
    write(dim / "dark.tif", shots(rng, np.zeros((SIDE, SIDE)), 8))
    with pytest.raises(PhotonbitsError):
        fit_from_scenes(dim)
    single = tmp_path / "single"
    single.mkdir()
    write(single / "scene_a.tif", shots(rng, scene(rng), 1)[0])
    write(single / "dark.tif", shots(rng, np.zeros((SIDE, SIDE)), 2))
    with pytest.raises(PhotonbitsError, match="no scene was shot twice"):
        fit_from_scenes(single)


def test_bursts_are_told_apart_by_folder_name_and_manifest(tmp_path: Path) -> None:
    frame = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for name in ("desk/10ms_1.tif", "desk/10ms_2.tif", "wall/10ms_1.tif", "wall/10ms_2.tif", "dark/10ms_1.tif"):
        path = tmp_path / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, frame)
    found = load_bursts(tmp_path / "f")
    assert [(level.kind, level.n_frames) for level in found.levels] == [("bright", 2), ("bright", 2), ("dark", 1)]
    manifest = tmp_path / "f" / "m.yaml"
    manifest.write_text(
        "frames:\n"
        "  - {path: desk/10ms_1.tif, kind: scene, level: one}\n  - {path: wall/10ms_1.tif, kind: scene, level: one}\n"
        "  - {path: desk/10ms_2.tif, kind: flat}\n  - {path: dark/10ms_1.tif, kind: dark}\n"
    )
    assert [level.n_frames for level in load_bursts(manifest).levels] == [2, 1, 1]


def test_the_command(tmp_path: Path) -> None:
    folder = captures(tmp_path / "a", 7, 4)
    run = CliRunner()

    def call(*arguments: Any) -> Any:
        return run.invoke(main, [str(argument) for argument in arguments])

    done = call("fit", folder, "--from-scenes", "-o", tmp_path / "s.yaml", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["fit"]["flags"][0]["code"] == "from_scenes" and "maps" not in document
    assert len(document["provenance"]["files"]) == 4
    assert call("fit", folder, "--from-scenes", "--maps", "-o", tmp_path / "t.yaml").exit_code == 2
    assert call("fit", folder, "--offset-dn", "200", "-o", tmp_path / "t.yaml").exit_code == 2
    channels = call("fit", folder, "--from-scenes", "--channels", "RGGB", "-o", tmp_path / "c.yaml", "--json")
    assert channels.exit_code == 0, channels.stderr
    assert set(json.loads(channels.stdout)["channels"]) == {"R", "Gr", "Gb", "B"}
