"""Flats of one exposure under several lamp levels: told apart by names or mean codes, and never by a drift."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from click.testing import CliRunner

from calibrate import fit_noise_model, load_captures
from calibrate.captures import CaptureSet, split_by_setting, write_manifest
from calibrate.cli import main
from calibrate.plumbing.errors import PhotonbitsError

GAIN, OFFSET, READ_DN = 0.5, 64.0, 2.0
LAMPS = (200.0, 900.0, 1800.0, 2700.0, 3600.0, 4500.0, 5400.0, 6300.0)


def frame(electrons: float, rng: np.random.Generator, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    codes = OFFSET + GAIN * rng.poisson(electrons, shape) + rng.normal(0, READ_DN, shape)
    return np.clip(np.rint(codes), 0, 4095).astype(np.uint16)


def shoot(folder: Path, names: Sequence[str], electrons: Sequence[float], seed: int = 1) -> Path:
    """Frames under these names, and four darks of 50 ms."""
    rng = np.random.default_rng(seed)
    for name, light in [*zip(names, electrons, strict=True), *((f"dark_50ms_{n}", 0.0) for n in range(4))]:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, frame(light, rng))
    return folder


def sizes(captures: CaptureSet) -> list[int]:
    return [level.n_frames for level in captures.bright_levels()]


def means(captures: CaptureSet) -> list[float]:
    return [
        float(np.mean([np.load(reference.path).mean() for reference in level.frames]))
        for level in captures.bright_levels()
    ]


def pairs(lights: Sequence[float]) -> list[float]:
    return [light for light in lights for _ in range(2)]


def test_a_light_swept_series_is_fitted(tmp_path: Path) -> None:
    """FITS headers state one exposure for all flats; a straight pair of frames a level, in mixed order."""
    rng = np.random.default_rng(3)
    lights = np.array(LAMPS)[np.random.default_rng(0).permutation(len(LAMPS))]
    shots = [("dark", 0.0)] * 4 + [("flat", light) for light in pairs(list(lights))]
    for number, (kind, light) in enumerate(shots):
        header = fits.Header({"EXPTIME": 0.05, "IMAGETYP": kind})
        fits.writeto(tmp_path / f"frame_{number:03d}.fits", frame(light, rng), header)
    captures = load_captures(tmp_path)
    assert sizes(captures) == [2] * 8
    assert "16 flats of 0.05 s (8 levels) differ in light and are told apart by their mean codes" in captures.notes[0]
    gain = fit_noise_model(captures).parameter("system_gain_dn_per_e")
    assert gain is not None and abs(gain.value - GAIN) < 4.5 * gain.std < 0.1 * GAIN
    done = CliRunner().invoke(main, ["fit", str(tmp_path), "-o", str(tmp_path / "m.yaml")])
    assert done.exit_code == 0 and "8 levels" in done.stderr
    checked = CliRunner().invoke(main, ["check", str(tmp_path / "m.yaml"), str(tmp_path)])
    assert checked.exit_code == 0 and "Note: Captures: 16 flats of 0.05 s (8 levels)" in checked.stdout


@pytest.mark.parametrize("pattern", ["flats/lamp{}/50ms_{}", "flat_50ms_lamp{}_{}", "flat_50ms_{1}_lamp{0}_-10.{1}C"])
def test_names_tell_lamp_levels_that_scatter(tmp_path: Path, pattern: str) -> None:
    """Light that scatters by 2 % within a level leaves no clear gaps; folders and numbers say which is which."""
    scatter = np.random.default_rng(5).normal(1, 0.02, (6, 3))
    lights = np.array([1000, 1100, 1200, 1300, 1400, 2000])[:, None] * scatter
    names = [pattern.format(level, n) for level in range(6) for n in range(3)]
    captures = load_captures(shoot(tmp_path, names, lights.ravel()))
    assert sizes(captures) == [3] * 6
    assert means(captures) == sorted(means(captures))
    assert "told apart by" in captures.notes[-1] and "mean codes" not in captures.notes[-1]
    for level in captures.bright_levels():
        assert len({reference.path.stem.split("lamp")[-1].split("_")[0] for reference in level.frames}) == 1 or (
            len({reference.path.parent for reference in level.frames}) == 1
        )


def test_numbers_that_do_not_tell_the_light_are_no_levels(tmp_path: Path) -> None:
    names = [f"flat_50ms_run{n % 3}_{n}" for n in range(12)]
    captures = load_captures(shoot(tmp_path, names, [2000.0] * 12))
    assert sizes(captures) == [12] and captures.notes == ()
    lights = pairs([1000, 2000, 3000, 4000, 5000, 6000])
    captures = load_captures(shoot(tmp_path, names, lights))  # run 0, 1, 2 in turn: the means decide
    assert sizes(captures) == [2] * 6 and "by their mean codes" in captures.notes[0]


def test_a_lamp_that_drifts_is_one_level(tmp_path: Path) -> None:
    time = np.arange(16)
    warming = 3000 * (1 - 0.08 * np.exp(-time / 4))
    walking = 3000 * (1 + 0.02 * np.cumsum(np.random.default_rng(2).normal(size=16)))
    rising = 3000 * (1 + 0.005 * time)
    for number, lights in enumerate((warming, walking, rising)):
        names = [f"flat_50ms_{n:02d}" for n in time]
        captures = load_captures(shoot(tmp_path / str(number), names, lights))
        assert sizes(captures) == [16]
        (note,) = captures.notes
        assert "no clear groups" in note and "`level`" in note and "`photons_per_pixel`" in note and "`index`" in note


def test_lamps_that_scatter_at_random_are_not_split() -> None:
    """Four frames of 1 % rms and sixteen of 2 %: gaps of chance must not look like levels."""
    from calibrate.captures.light_levels import _by_light, _Light

    rng = np.random.default_rng(11)
    for n, scatter in ((4, 0.01), (6, 0.01), (16, 0.02)):
        split = 0
        for _ in range(2000):
            light = _Light(1000 * rng.normal(1, scatter, n), np.full(n, 0.1))
            split += len(_by_light(light, list(range(n)))) > 1
        assert split <= 4, (n, scatter, split)


@pytest.mark.parametrize(
    ("n_levels", "frames", "scatter"), [(15, 2, 0.003), (15, 4, 0.003), (50, 2, 0.001), (8, 2, 0.003)]
)
def test_even_steps_of_a_lamp_are_found(n_levels: int, frames: int, scatter: float) -> None:
    """The top steps of 50 differ by 2 %; a wide pair is no two levels of one frame."""
    from calibrate.captures.light_levels import _by_light, _Light

    rng = np.random.default_rng(8)
    for _ in range(50):
        light = np.repeat(np.arange(1, n_levels + 1) / n_levels * 1e4, frames) * rng.normal(
            1, scatter, n_levels * frames
        )
        parts = _by_light(_Light(light, np.sqrt(light) / 500), list(range(light.size)))
        assert sorted(parts) == np.arange(light.size).reshape(n_levels, frames).tolist()


def test_small_lamp_scatter_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Levels of a time-swept series cost four frames each, and two-frame levels none."""
    import calibrate.captures.light_levels as module

    read: list[int] = []
    original = module.iterate_frames
    monkeypatch.setattr(module, "iterate_frames", lambda refs: (read.append(len(refs)), original(refs))[1])
    rng = np.random.default_rng(1)
    for exposure, n in (("10ms", 2), ("20ms", 16)):
        for number in range(n):
            np.save(tmp_path / f"flat_{exposure}_{number}.npy", frame(1000 * rng.normal(1, 0.001), rng))
    assert sizes(load_captures(tmp_path)) == [2, 16] and read == [4]


def test_two_lamps_at_every_exposure_make_one_note(tmp_path: Path) -> None:
    names = [f"flat_{exposure}ms_{lamp}{n}" for exposure in (10, 20, 30, 40) for lamp in "ab" for n in range(2)]
    lights = [light for exposure in (10, 20, 30, 40) for light in pairs([20 * exposure, 70 * exposure])]
    captures = load_captures(shoot(tmp_path, names, lights))
    assert sizes(captures) == [2] * 8
    (note,) = captures.notes
    assert note.startswith(
        "4 flats of 0.01 s (2 levels), 4 flats of 0.02 s (2 levels), 4 flats of 0.03 s (2 levels) ..."
    )


def test_lamp_levels_at_two_temperatures_stay_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    for temperature in (-10, 20):
        for number, light in enumerate(pairs(LAMPS[:4])):
            np.save(tmp_path / f"flat_50ms_{temperature}C_{number}.npy", frame(light, rng))
        np.save(tmp_path / f"dark_50ms_{temperature}C_0.npy", frame(0, rng))
    split = split_by_setting(load_captures(tmp_path)).parts
    assert [setting.temperature_c for setting in split] == [-10.0, 20.0]
    assert [sizes(part) for part in split.values()] == [[2] * 4] * 2


def test_a_stack_of_all_levels(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    stack = np.array([frame(light, rng) for light in pairs(LAMPS)])
    tifffile.imwrite(tmp_path / "flats.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "darks.tif", np.array([frame(0, rng) for _ in range(4)]), photometric="minisblack")
    captures = load_captures(tmp_path)
    assert sizes(captures) == [2] * 8
    assert [reference.index for reference in captures.bright_levels()[2].frames] == [4, 5]
    # Written down, the levels come back without a look at the frames.
    write_manifest(captures, tmp_path / "all.yaml")
    assert load_captures(tmp_path / "all.yaml").levels == captures.levels


def test_what_people_state_is_left_alone(tmp_path: Path) -> None:
    names = [f"flat_50ms_{n}" for n in range(8)]
    shoot(tmp_path, names, pairs(LAMPS[:4]))
    darks = "dark_50ms_*.npy,dark,,\n"
    (tmp_path / "manifest.csv").write_text("path,kind,level,photons_per_pixel\nflat_*.npy,flat,a,\n" + darks)
    assert sizes(load_captures(tmp_path)) == [8]
    (tmp_path / "manifest.csv").write_text("path,kind,level,photons_per_pixel\nflat_*.npy,flat,,500\n" + darks)
    assert sizes(load_captures(tmp_path)) == [8]
    (tmp_path / "manifest.csv").write_text("path,kind,level,photons_per_pixel\nflat_*.npy,flat,,\n" + darks)
    assert sizes(load_captures(tmp_path)) == [2] * 4


def test_single_frames_of_many_lights_name_the_keys(tmp_path: Path) -> None:
    names = [f"flat_50ms_{n}" for n in range(8)]
    shoot(tmp_path, names, [light * (1 + 0.3 * n) for n, light in enumerate(LAMPS)])
    captures = load_captures(tmp_path)
    assert sizes(captures) == [8] and "no clear groups" in captures.notes[0]
    with pytest.raises(PhotonbitsError, match=r"of 1 bright levels.*`level`"):
        fit_noise_model(captures)
