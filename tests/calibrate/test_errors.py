"""Everything that people get wrong: one clear line, exit status 1, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

from calibrate import NoiseModel
from calibrate.cli import main

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
LEVELS_E = (500, 1500, 3000, 4500, 6000, 7000)


def shoot(folder: Path, *, brights=LEVELS_E, darks=(0, 0), size=24, suffix=".tif") -> None:
    """A good set of captures."""
    rng = np.random.default_rng(0)
    for kind, levels in (("flat", brights), ("dark", darks)):
        for i, y in enumerate(levels):
            frames = SENSOR.sample(np.full((2, size, size), float(y)), rng)
            if suffix == ".npy":
                np.save(folder / f"{kind}_{i + 1}ms.npy", frames)
            else:
                tifffile.imwrite(folder / f"{kind}_{i + 1}ms.tif", frames, photometric="minisblack")


def no_frames(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing here\n")


def no_darks(folder: Path) -> None:
    shoot(folder, darks=())


def no_brights(folder: Path) -> None:
    shoot(folder, brights=())


def one_level(folder: Path) -> None:
    shoot(folder, brights=LEVELS_E[:1])


def one_frame_a_level(folder: Path) -> None:
    shoot(folder)
    for path in folder.iterdir():
        tifffile.imwrite(path, tifffile.imread(path)[0], photometric="minisblack")


def mixed_shapes(folder: Path) -> None:
    shoot(folder)
    tifffile.imwrite(folder / "flat_9ms.tif", np.zeros((2, 20, 24), np.uint16), photometric="minisblack")


def mixed_types(folder: Path) -> None:
    shoot(folder)
    tifffile.imwrite(folder / "flat_9ms.tif", np.zeros((2, 24, 24), np.uint8), photometric="minisblack")


def truncated_tiff(folder: Path) -> None:
    shoot(folder)
    path = folder / "flat_3ms.tif"
    path.write_bytes(path.read_bytes()[:1500])


def corrupt_png(folder: Path) -> None:
    from PIL import Image

    shoot(folder)
    Image.fromarray(np.zeros((24, 24), np.uint16)).save(folder / "flat_8ms.png")
    data = (folder / "flat_8ms.png").read_bytes()
    (folder / "flat_8ms.png").write_bytes(data[:45] + b"garbage" + data[52:])


def corrupt_fits(folder: Path) -> None:
    shoot(folder)
    (folder / "flat_8ms.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 500)


def empty_file(folder: Path) -> None:
    shoot(folder)
    (folder / "flat_8ms.tif").write_bytes(b"")


def nan_in_data(folder: Path) -> None:
    shoot(folder, suffix=".npy")
    for path in folder.iterdir():
        frames = np.load(path).astype(np.float64)
        if path.name == "flat_4ms.npy":
            frames[1, 2, 3] = np.nan
        np.save(path, frames)


def unreadable_manifest(folder: Path) -> None:
    shoot(folder)
    (folder / "manifest.yaml").write_text("entries: [\n  - {path: flat_1ms.tif\n")


def manifest_of_missing_files(folder: Path) -> None:
    (folder / "manifest.csv").write_text("path,kind,exposure_s\nflat_1.tif,bright,1\n")


def codes_above_the_bit_depth(folder: Path) -> None:
    shoot(folder)
    rows = [f"{path.name},{'bright' if 'flat' in path.name else 'dark'}" for path in sorted(folder.glob("*.tif"))]
    (folder / "manifest.csv").write_text("# bit_depth: 10\npath,kind\n" + "\n".join(rows) + "\n")


def swapped(folder: Path) -> None:
    shoot(folder)
    for path in folder.glob("flat_*"):
        path.rename(folder / path.name.replace("flat", "tmp"))
    for path in folder.glob("dark_*"):
        path.rename(folder / path.name.replace("dark", "flat"))
    for path in folder.glob("tmp_*"):
        path.rename(folder / path.name.replace("tmp", "dark"))


def the_same_frame_twice(folder: Path) -> None:
    shoot(folder)
    for path in folder.iterdir():
        frame = tifffile.imread(path)[0]
        tifffile.imwrite(path, np.stack([frame, frame]), photometric="minisblack")


def two_gains(folder: Path) -> None:
    for gain in (0, 100):
        (folder / f"gain{gain}").mkdir()
        shoot(folder / f"gain{gain}")


def one_pixel(folder: Path) -> None:
    shoot(folder, size=1, suffix=".npy")


CASES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no frames": (no_frames, ("no dark or flat frame", "Expected", "manifest")),
    "no darks": (no_darks, ("no dark frames", "Expected", "Shoot darks")),
    "no brights": (no_brights, ("no bright frames", "Add flats")),
    "one level": (one_level, ("1 of 1 bright levels", "Expected: 2", "Shoot flats")),
    "one frame a level": (one_frame_a_level, ("two frames", "Expected")),
    "mixed shapes": (mixed_shapes, ("20 x 24", "24 x 24", "flat_9ms.tif", "Expected")),
    "mixed bit depths": (mixed_types, ("uint8", "uint16", "flat_9ms.tif", "Expected")),
    "truncated TIFF": (truncated_tiff, ("flat_3ms.tif", "Expected")),
    "corrupt PNG": (corrupt_png, ("flat_8ms.png", "Expected")),
    "corrupt FITS": (corrupt_fits, ("flat_8ms.fits", "Expected")),
    "empty file": (empty_file, ("flat_8ms.tif", "empty")),
    "NaN in data": (nan_in_data, ("NaN", "flat_4ms.npy", "Expected")),
    "unreadable YAML": (unreadable_manifest, ("manifest.yaml", "YAML")),
    "missing files": (manifest_of_missing_files, ("flat_1.tif", "1 of 1", "Expected")),
    "codes above the bit depth": (codes_above_the_bit_depth, ("10-bit", "0 to 1023", "manifest")),
    "darks and flats swapped": (swapped, ("lies above the darks", "swapped")),
    "the same frame twice": (the_same_frame_twice, ("two flats are identical in every pixel", "copies")),
    "two gain settings": (two_gains, ("several settings", "folder", "summary.json")),
    "one pixel": (one_pixel, ("1 pixel", "Expected: two")),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [[], ["--json", "--maps", "--report"]], ids=["plain", "all"])
def test_a_failing_fit_says_why_and_writes_nothing(tmp_path, name, options):
    make, said = CASES[name]
    folder, out = tmp_path / "captures", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    make(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    extra = [*options, str(out / "r.html")] if options else []
    done = CliRunner().invoke(main, ["fit", str(folder), "-o", str(out / "s.yaml"), *extra])
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    assert len(errors) == 1 and lines[-1] == errors[0], done.stderr
    assert all(word in errors[0] for word in said), errors[0]
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["fit", "{absent}", "-o", "{out}"], ("no such file or folder", "absent", "Expected", "Check the path")),
        (["inspect", "{absent}"], ("no such file or folder", "absent")),
        (["show", "{absent}"], ("no such file", "absent", "Expected", "calibrate fit")),
        (["report", "{absent}", "-o", "{out}"], ("no such file", "absent")),
        (["simulate", "{absent}", "-o", "{out}"], ("no such file", "absent")),
        (["show", "{future}"], ("schema_version is 99", "Expected: 1", "future.yaml", "release")),
        (["show", "{foreign}"], ("schema is 'x'", "foreign.yaml", "photonbits/noise-model")),
        (["show", "{broken}"], ("not readable as YAML", "broken.yaml")),
        (["fit", "{broken}", "-o", "{out}"], ("YAML", "broken.yaml")),
        (["fit", "{binary}", "-o", "{out}"], ("binary.txt",)),
        (["show", "{folder}"], ("this is a folder without a YAML", "calibrate fit")),
        (["fit", "{broken}", "-o", "{folder}"], ("YAML", "broken.yaml")),
        (["fit", "{broken}", "-o", "{absent}/s.yaml"], ("does not exist", "Create it")),
    ],
)
def test_paths_that_are_absent_or_of_another_kind(tmp_path, command, said):
    names = {name: str(tmp_path / name) for name in ("absent", "out", "folder")}
    (tmp_path / "folder").mkdir()
    for name, text in (
        ("future", "schema: photonbits/noise-model\nschema_version: 99\n"),
        ("foreign", "schema: x\n"),
        ("broken", "a: [1, 2\nb: }"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
        names[name] = str(tmp_path / f"{name}.yaml")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 10)
    names["binary"] = str(tmp_path / "binary.txt")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    done = CliRunner().invoke(main, [part.format(**names) for part in command])
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in said), done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_short_table_is_spoken_of_as_a_table(tmp_path):
    table = tmp_path / "curve.txt"
    table.write_text("100 50\n200 100\n")
    done = CliRunner().invoke(main, ["fit", str(table), "-o", str(tmp_path / "s.yaml")])
    assert done.exit_code == 1
    assert f"the table has 2 points below saturation of 2 in all (in {table})" in done.stderr
    assert "Expected: 3 points or more" in done.stderr and "frame" not in done.stderr
