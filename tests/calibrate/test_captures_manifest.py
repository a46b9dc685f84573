"""Manifests: YAML, CSV, what they may say, and that what is written loads as the same captures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from calibrate.captures import CaptureSet, load_captures, write_manifest
from calibrate.plumbing.errors import PhotonbitsError

FRAME = np.full((4, 6), 100, dtype="uint16")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Folder with a0.png .. a5.png, stack.tif (4 frames), two.npz and raw.bin (2 frames after 16 bytes)."""
    for number in range(6):
        Image.fromarray(FRAME).save(tmp_path / f"a{number}.png")
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([FRAME] * 4), photometric="minisblack")
    np.savez(tmp_path / "two.npz", x=np.stack([FRAME] * 3), y=FRAME)
    (tmp_path / "raw.bin").write_bytes(bytes(16) + FRAME.astype(">u2").tobytes() * 2)
    return tmp_path


def yaml(folder: Path, text: str) -> Path:
    (folder / "m.yaml").write_text(text, encoding="utf-8")
    return folder / "m.yaml"


def csv(folder: Path, text: str) -> Path:
    (folder / "m.csv").write_text(text, encoding="utf-8")
    return folder / "m.csv"


def summary(captures: CaptureSet) -> list[tuple[object, ...]]:
    return [(level.kind, level.exposure_s, level.photons_per_pixel, level.n_frames) for level in captures.levels]


def refused(path: Path, *words: str) -> None:
    with pytest.raises(PhotonbitsError) as caught:
        load_captures(path)
    error = caught.value
    assert error.where and error.legal and error.remedy, str(error)
    for word in words:
        assert word in str(error), str(error)


EVERYTHING = """\
sensor:
  {make: M, model: C, serial: 17, mode: low, gain_setting: 30, temperature_c: -5, bit_depth: 12, cfa: rggb}
frames:
  - {path: 'a[01].png', kind: flat, exposure_s: 1e-5, photons_per_pixel: 100}
  - {path: stack.tif, kind: bright, exposure_s: 2e-5, photons_per_pixel: 200}
  - {path: two.npz, key: x, kind: dark, exposure_s: 1e-5}
  - {path: two.npz, key: y, kind: bias}
  - path: raw.bin
    kind: dark
    exposure_s: 3
    dtype: uint16
    shape: [4, 6]
    byte_order: big
    offset_bytes: 16
"""


def test_yaml_says_everything(frames: Path) -> None:
    captures = load_captures(yaml(frames, EVERYTHING))
    assert summary(captures) == [
        ("bright", 1e-5, 100.0, 2),
        ("bright", 2e-5, 200.0, 4),
        ("dark", 0.0, None, 1),
        ("dark", 1e-5, None, 3),
        ("dark", 3.0, None, 2),
    ]
    assert (captures.bit_depth, captures.bit_depth_source, captures.shape) == (12, "manifest", (4, 6))
    assert captures.sensor == {
        "make": "M",
        "model": "C",
        "serial": "17",
        "mode": "low",
        "gain_setting": 30,
        "temperature_c": -5.0,
        "cfa": "RGGB",
    }
    assert captures.input_files == (frames / "m.yaml",) and captures.source == "manifest"


def test_csv_with_sensor_comments_as_simulate_writes_it(frames: Path) -> None:
    text = (
        "# made by calibrate simulate\n# bit_depth: 12\n# gain_setting: 30\n"
        "path,kind,exposure_s,photons_per_pixel,level\n"
        "a0.png,bright,0.01,50.5,0\na1.png,bright,0.01,50.5,0\n"
        "a2.png,bright,0.01,50.5,1\n\na3.png,dark,0,,\na4.png,dark,0.0,0,\n"
    )
    captures = load_captures(csv(frames, text))
    assert summary(captures) == [
        ("bright", 0.01, 50.5, 2),
        ("bright", 0.01, 50.5, 1),
        ("dark", 0.0, None, 2),
    ]
    assert captures.bit_depth == 12 and captures.sensor == {"gain_setting": 30}


def test_csv_dialects(frames: Path) -> None:
    text = "path;kind;exposure_s;dtype;shape;byte_order;offset_bytes\r\nraw.bin;Dark;1;uint16;4x6;big;16\r\n"
    captures = load_captures(csv(frames, "\ufeff" + text))
    assert summary(captures) == [("dark", 1.0, None, 2)]
    assert captures.levels[0].frames[1].index == 1


def test_windows_paths_and_parent_folders(frames: Path) -> None:
    (frames / "sub").mkdir()
    manifest = yaml(frames / "sub", "frames:\n  - {path: '..\\a0.png', kind: dark, exposure_s: 0}\n")
    captures = load_captures(manifest)
    assert captures.levels[0].frames[0].path == frames / "a0.png"


def test_what_the_manifest_leaves_open_is_looked_up(frames: Path) -> None:
    Image.fromarray(FRAME).save(frames / "x_20ms_1.png")
    open_entry = "frames:\n  - {path: x_20ms_1.png, kind: flat}\n"
    assert load_captures(yaml(frames, open_entry)).levels[0].exposure_s == 0.02
    null_entry = "frames:\n  - {path: x_20ms_1.png, kind: flat, exposure_s: null}\n"
    assert load_captures(yaml(frames, null_entry)).levels[0].exposure_s is None
    stated = "frames:\n  - {path: x_20ms_1.png, kind: flat, exposure_s: 0.5}\n"
    assert load_captures(yaml(frames, stated)).levels[0].exposure_s == 0.5


def test_index_chooses_frames_of_a_stack(frames: Path) -> None:
    text = (
        "frames:\n  - {path: stack.tif, kind: flat, exposure_s: 1, index: [3, 0]}\n"
        "  - {path: stack.tif, kind: dark, exposure_s: 1, index: 1}\n"
    )
    bright, dark = load_captures(yaml(frames, text)).levels
    assert [frame.index for frame in bright.frames] == [3, 0]
    assert [frame.index for frame in dark.frames] == [1]


def same(one: CaptureSet, other: CaptureSet) -> bool:
    return replace(one, source="manifest", input_files=()) == replace(other, source="manifest", input_files=())


@pytest.mark.parametrize("place", [".", "elsewhere/deep"])
def test_round_trip_of_a_manifest(frames: Path, place: str) -> None:
    captures = load_captures(yaml(frames, EVERYTHING))
    (frames / place).mkdir(parents=True, exist_ok=True)
    target = frames / place / "out.yaml"
    write_manifest(captures, target)
    assert same(load_captures(target), captures)
    assert str(frames) not in target.read_text(encoding="utf-8")


def test_round_trip_of_a_folder_with_doubts(tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    for name in (
        "flats/a/1",
        "flats/a/2",
        "flats/b/1",
        "dark_10ms_1",
        "dark_9",
        "bias_1",
        "x_1",
        "flat_1ms_2ms",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(FRAME.astype("uint8")).save(folder / f"{name}.png")
    (folder / "001 # notes, and so on.txt").write_text("x")
    captures = load_captures(folder)
    assert captures.notes and captures.ignored and captures.bit_depth == 8
    write_manifest(captures, tmp_path / "m.yaml")
    assert same(load_captures(tmp_path / "m.yaml"), captures)
    write_manifest(captures, folder / "manifest.yaml")
    again = load_captures(folder)
    assert same(replace(again, notes=captures.notes), captures)


def test_round_trip_of_a_descriptor_with_equal_exposures(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(FRAME).save(tmp_path / f"b{number}.png")
    (tmp_path / "d.txt").write_text("n 12 6 4\nb 1000 10\ni b0.png\ni b1.png\nb 1000 10\ni b2.png\nb 500 5\ni b3.png\n")
    captures = load_captures(tmp_path / "d.txt")
    write_manifest(captures, tmp_path / "m.yaml")
    assert same(load_captures(tmp_path / "m.yaml"), captures)
    assert [level.n_frames for level in captures.levels] == [1, 2, 1]


def test_write_keeps_an_existing_file_and_refuses_tables(frames: Path) -> None:
    captures = load_captures(yaml(frames, EVERYTHING))
    with pytest.raises(PhotonbitsError, match=r"m\.yaml"):
        write_manifest(captures, frames / "m.yaml")
    write_manifest(captures, frames / "m.yaml", overwrite=True)
    with pytest.raises(PhotonbitsError, match=r"\.yaml or \.yml"):
        write_manifest(captures, frames / "m.csv")
    (frames / "t.txt").write_text("1 2\n")
    with pytest.raises(PhotonbitsError, match="no frames"):
        write_manifest(load_captures(frames / "t.txt"), frames / "new.yaml")
    assert not (frames / "new.yaml").exists()


ENTRY = "frames:\n  - {path: a0.png, kind: dark, exposure_s: 1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("no keys",)),
        ("- a\n", ("no keys",)),
        ("frames: []\n", ("no frames",)),
        ("frame: []\n", ("unknown key 'frame'", "frames")),
        ("frames: [a0.png]\n", ("entry 1", "a0.png")),
        ("frames: [\n", ("no YAML", "line")),
        ("frames: []\nframes: []\n", ("no YAML",)),
        ("schema: photonbits/noise-model\n", ("noise-model", "not a manifest")),
        ("frames:\n  - {path: a0.png, kind: dark, exposure: 1}\n", ("'exposure'", "exposure_s", "entry 1")),
        ("frames:\n  - {kind: dark}\n", ("path is None",)),
        ("frames:\n  - {path: a0.png}\n", ("kind is None", "bright, flat, dark, bias")),
        ("frames:\n  - {path: a0.png, kind: photo}\n", ("kind is 'photo'",)),
        ("frames:\n  - {path: a0.png, kind: dark, exposure_s: 10ms}\n", ("'10ms'", "seconds")),
        ("frames:\n  - {path: a0.png, kind: dark, exposure_s: -1}\n", ("-1",)),
        ("frames:\n  - {path: a0.png, kind: dark, exposure_s: .nan}\n", ("nan",)),
        ("frames:\n  - {path: a0.png, kind: dark, exposure_s: true}\n", ("True",)),
        (ENTRY + ", photons_per_pixel: 5}\n", ("photons_per_pixel", "dark")),
        (ENTRY + ", index: 1}\n", ("no frame 1", "0 to 0")),
        (ENTRY + ", index: []}\n", ("index is []",)),
        (ENTRY + ", shape: [4]}\n", ("shape", "height, width")),
        (ENTRY + ", byte_order: middle}\n", ("byte_order", "little or big")),
        (ENTRY + ", offset_bytes: -4}\n", ("offset_bytes",)),
        (ENTRY + ", dtype: uint16}\n", ("shape",)),
        (ENTRY + "}\nsensor: {bit_depth: 12.5}\n", ("bit_depth is 12.5", "1 to 32")),
        (ENTRY + "}\nsensor: {bit_depth: 0}\n", ("bit_depth is 0",)),
        (ENTRY + "}\nsensor: {bit_depth: 24}\n", ("bit_depth 24", "uint16")),
        (ENTRY + "}\nsensor: {temperature_c: cold}\n", ("temperature_c is 'cold'",)),
        (ENTRY + "}\nsensor: {cfa: XYZW}\n", ("cfa", "RGGB")),
        (ENTRY + "}\nsensor: {gain: 3}\n", ("unknown key 'gain'", "gain_setting")),
        (ENTRY + "}\nsensor: [1]\n", ("sensor is [1]",)),
        (
            ENTRY + "}\n  - {path: a0.png, kind: bright, exposure_s: 1}\n",
            ("listed twice", "entry 1", "entry 2"),
        ),
        (ENTRY + "}\n  - {path: no.png, kind: dark}\n", ("1 of 2 listed files", "no.png")),
        (ENTRY + "}\n  - {path: 'no*.png', kind: dark}\n", ("no file matches", "no*.png")),
        (ENTRY + "}\n  - {path: two.npz, kind: dark}\n", ("2 arrays", "x, y")),
    ],
)
def test_yaml_errors(frames: Path, text: str, words: tuple[str, ...]) -> None:
    refused(yaml(frames, text), *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,kind\n", ("no frames",)),
        ("path,kind,exposure_ms\na0.png,dark,3\n", ("unknown key 'exposure_ms'", "heading")),
        ("path,kind\na0.png,dark,3\n", ("3 cells for 2 columns", "line 2")),
        ("path,kind,exposure_s\na0.png,dark,fast\n", ("'fast'", "line 2")),
        ("# bit_depth: twelve\npath,kind\na0.png,dark\n", ("bit_depth is 'twelve'",)),
        ("path,kind,shape\na0.png,dark,4\n", ("shape",)),
    ],
)
def test_csv_errors(frames: Path, text: str, words: tuple[str, ...]) -> None:
    refused(csv(frames, text), *words)


def test_real_numbers_with_a_bit_depth_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAME.astype(float))
    text = "sensor: {bit_depth: 12}\nframes:\n  - {path: a.npy, kind: dark, exposure_s: 1}\n"
    refused(yaml(tmp_path, text), "bit_depth 12", "float64")


def test_manifests_of_any_encoding(frames: Path) -> None:
    text = "# Maß\nframes:\n  - {path: a0.png, kind: dark, exposure_s: 1}\n"
    for encoding in ("utf-8", "utf-8-sig", "cp1252"):
        (frames / "m.yaml").write_text(text, encoding=encoding)
        assert load_captures(frames / "m.yaml").levels


def test_real_headerless_and_npz(realdata: Path, tmp_path: Path) -> None:
    raw = (realdata / "nikon_bayer_mushfiqulalam" / "DSC_1339_768x512_rggb.raw").as_posix()
    entry: dict[str, Any] = {"path": raw, "kind": "flat", "dtype": "uint16", "shape": [512, 768]}
    captures = load_captures(yaml(tmp_path, f"sensor: {{bit_depth: 14}}\nframes: [{entry}]\n"))
    assert captures.shape == (512, 768) and captures.bit_depth == 14
