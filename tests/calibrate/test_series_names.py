"""Settings told apart: by names, headers and manifests; darks shared only where nothing is ambiguous."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from calibrate import fit_noise_model, load_captures
from calibrate.captures import Setting, split_by_setting, write_manifest
from calibrate.captures.names import (
    exposures_in,
    gain_from_name,
    mode_from_name,
    temperature_from_name,
)
from calibrate.frames import describe_file
from calibrate.plumbing.errors import PhotonbitsError

FRAME = np.full((4, 6), 100, dtype="uint16")


# ---- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("1,5ms", 0.0015),
        ("flat_1,5ms_001", 0.0015),
        ("exp2,50s", 2.5),
        ("0p5ms", 0.0005),
        ("dark_0P5s", 0.5),
        ("flat_1,5e-3s", 0.0015),
        ("flat,5ms,001", 0.005),  # here commas separate
        ("flat_001,5ms", 0.005),
        ("flat_gain100,5ms", 0.005),
        ("1,2,3s", None),
        ("1p2p3s", None),
        ("1.2,3s", None),
        ("step5ms", 0.005),
        ("1080p_5ms", 0.005),
    ],
)
def test_decimal_signs_in_exposures(name: str, seconds: float | None) -> None:
    assert exposures_in(name) == (() if seconds is None else (pytest.approx(seconds, rel=1e-12),))


@given(st.integers(0, 9999), st.integers(1, 3), st.sampled_from(".,p"), st.sampled_from(["flat_", "exp", ""]))
def test_every_decimal_sign_means_the_same(digits: int, decimals: int, sign: str, prefix: str) -> None:
    number = f"{digits / 10**decimals:.{decimals}f}"
    (found,) = exposures_in(f"{prefix}{number.replace('.', sign)}ms_7")
    assert found == pytest.approx(float(number) * 1e-3, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("gain1,5_10ms", "1.5"),
        ("gain100,5ms", "100"),
        ("gain2p5", "2.5"),
        ("flat,gain100,5ms", "100"),
        ("ISO 800", "800"),
    ],
)
def test_decimal_signs_in_gains(name: str, gain: str) -> None:
    assert gain_from_name(PurePath(name)) == gain


@pytest.mark.parametrize(
    ("name", "temperature", "unclear"),
    [
        ("dark_-10C_300s", -10.0, False),
        ("Dark_300.0s_Bin1_2600MC_gain100_20211010-123456_-10.0C_0001", -10.0, False),
        ("dark_m10C", -10.0, False),
        ("minus10C", -10.0, False),
        ("-9,5C", -9.5, False),
        ("dark_20degC", 20.0, False),
        ("-20°C/dark_1", -20.0, False),
        ("T25C", 25.0, False),
        ("temp_-5C", -5.0, False),
        ("0C", 0.0, False),
        ("dark-10C", None, True),  # sign or separator?
        ("5C_10C", None, True),
        ("cam2C", None, False),
        ("2600MC", None, False),
        ("10c", None, False),
        ("-10Cx", None, False),
        ("dark_300s", None, False),
    ],
)
def test_temperatures(name: str, temperature: float | None, unclear: bool) -> None:
    assert temperature_from_name(PurePath(name)) == (temperature, unclear)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("mode1", "1"),
        ("mode_HCG/flat_1", "hcg"),
        ("readmode-low", "low"),
        ("ReadoutMode=2", "2"),
        ("model3", None),
        ("commode1", None),
        ("mode", None),
    ],
)
def test_modes(name: str, mode: str | None) -> None:
    assert mode_from_name(PurePath(name)) == mode


@given(st.text(max_size=30))
def test_no_name_breaks_the_parsers(text: str) -> None:
    path = PurePath(text.replace("/", "_"))
    temperature_from_name(path)
    mode_from_name(path)
    gain_from_name(path)
    assert all(seconds >= 0 for seconds in exposures_in(text))


@given(st.text(max_size=60), st.floats(-200, 100), st.text(max_size=60))
def test_file_names_are_safe(gain: str, temperature: float, mode: str) -> None:
    stem = Setting(gain, round(temperature, 1), mode).stem
    assert stem and len(stem) <= 100
    assert not set(stem) & set('/\\:*?"<>| \0') and stem.isascii() and stem[0] not in "-."


# ---- headers ---------------------------------------------------------------------------------------------


def put(path: Path, **header: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".fits":
        hdu = fits.PrimaryHDU(FRAME)
        hdu.header.update({name.replace("_", "-"): value for name, value in header.items()})
        hdu.writeto(path)
    else:
        np.save(path, FRAME)
    return path


def test_headers_of_fits_and_tiff(tmp_path: Path) -> None:
    header = describe_file(put(tmp_path / "a.fits", READOUTM="High Gain", ISOSPEED=800, CCD_TEMP=-9.9)).header
    assert header == {"mode": "high gain", "gain_setting": 800, "gain_scale": "iso", "temperature_c": -9.9}
    assert describe_file(put(tmp_path / "b.fits", READMODE=2, GAIN=100)).header == {"mode": "2", "gain_setting": 100}
    bayer = [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes([1, 0, 2, 1])), (34855, 3, 1, 400)]
    tifffile.imwrite(tmp_path / "a.tif", FRAME, photometric=32803, extratags=bayer)
    assert describe_file(tmp_path / "a.tif").header == {"cfa": "GRBG", "gain_setting": 400, "gain_scale": "iso"}
    shifted = [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes([0, 1, 1, 2])), (50829, 4, 4, (1, 2, 4, 6))]
    tifffile.imwrite(tmp_path / "b.tif", FRAME, photometric=32803, extratags=shifted)
    # The active area begins at row 1, column 2, and the exposed rows and columns with it.
    assert describe_file(tmp_path / "b.tif").header == {"cfa": "GBRG", "exposed": (1, 4, 2, 6)}
    other = [(33421, 3, 2, (3, 3)), (33422, 1, 9, bytes(9))]
    tifffile.imwrite(tmp_path / "c.tif", FRAME, photometric=32803, extratags=other)
    assert "cfa" not in describe_file(tmp_path / "c.tif").header


# ---- settings --------------------------------------------------------------------------------------------


def split(folder: Path) -> dict[str, list[tuple[str, float | None, int]]]:
    return {
        setting.words: [(level.kind, level.exposure_s, level.n_frames) for level in part.levels]
        for setting, part in split_by_setting(load_captures(folder)).parts.items()
    }


def shoot(folder: Path, name: str, *, kinds=("flat", "dark"), exposures=(1, 2), **header: object) -> None:
    for kind in kinds:
        for exposure in exposures:
            suffix = ".fits" if header else ".npy"
            put(folder / f"{name}_{kind}_{exposure}s{suffix}", **header)


BOTH = [("bright", 1.0, 1), ("bright", 2.0, 1), ("dark", 1.0, 1), ("dark", 2.0, 1)]


def test_gain_temperature_and_mode_are_told_apart(tmp_path: Path) -> None:
    for mode in ("low", "high"):
        for gain in (0, 120):
            for temperature in (-10, 0):
                shoot(tmp_path / f"mode_{mode}", f"gain{gain}_{temperature}C")
    found = split(tmp_path)
    assert len(found) == 8 and all(levels == BOTH for levels in found.values())
    assert list(found)[:2] == ["gain 0, -10 °C, mode high", "gain 120, -10 °C, mode high"]
    stems = [setting.stem for setting in split_by_setting(load_captures(tmp_path)).parts]
    assert stems[0] == "gain0_-10C_high" and len(set(stems)) == 8
    with pytest.raises(PhotonbitsError, match="8"):
        fit_noise_model(tmp_path)


def test_what_does_not_vary_is_no_setting(tmp_path: Path) -> None:
    shoot(tmp_path, "iso100_-10C_mode1")
    shoot(tmp_path, "iso200_-10C_mode1")
    captures = load_captures(tmp_path)
    assert captures.sensor == {"temperature_c": -10.0, "mode": "1"} and captures.gain_scale == "iso"
    parts = split_by_setting(captures).parts
    assert [setting.stem for setting in parts] == ["iso100", "iso200"]
    assert [part.sensor["gain_setting"] for part in parts.values()] == [100, 200]
    assert all(part.sensor["mode"] == "1" for part in parts.values())
    one = next(iter(parts.values()))
    assert list(split_by_setting(one).parts.values()) == [one]


def test_temperatures_of_a_cooler_that_wanders_are_one(tmp_path: Path) -> None:
    for number, temperature in enumerate((-10.2, -9.9, -10.0, 0.1, -0.2, 0.1)):
        shoot(tmp_path, f"n{number}", CCD_TEMP=temperature)
    assert list(split(tmp_path)) == ["-10 °C", "0 °C"]


def test_a_camera_that_warms_up_keeps_its_darks(tmp_path: Path) -> None:
    """Every exposure once, at temperatures that rise by themselves: one setting, and a note."""
    for number, temperature in enumerate((20.0, 22.0, 24.5, 27.0)):
        put(tmp_path / f"flat_{number + 1}s.fits", CCD_TEMP=temperature)
        put(tmp_path / f"dark_{number + 1}s.fits", CCD_TEMP=temperature + 0.3)
    captures = load_captures(tmp_path)
    assert len(split_by_setting(captures).parts) == 1 and "temperature_c" not in captures.sensor
    assert "20 to 27.3" in captures.notes[0] and "one setting" in captures.notes[0]


def test_flats_warm_and_darks_cold_stay_together(tmp_path: Path) -> None:
    shoot(tmp_path, "a", kinds=("flat",), CCD_TEMP=24.0)
    shoot(tmp_path, "a", kinds=("dark",), CCD_TEMP=20.0)
    assert len(split(tmp_path)) == 1


def test_darks_without_a_setting_are_shared_only_where_one_fits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shoot(tmp_path / "a", "gain0_-10C")
    shoot(tmp_path / "a", "gain120_0C")
    shoot(tmp_path / "a", "gain120", kinds=("dark",), exposures=(8,))  # gain 120 was used at 0 degrees alone
    shoot(tmp_path / "a", "any", kinds=("dark",), exposures=(9,))
    found = split_by_setting(load_captures(tmp_path / "a"))
    exposures = {s.words: [x.exposure_s for x in part.dark_levels()] for s, part in found.parts.items()}
    assert exposures == {"gain 0, -10 °C": [1.0, 2.0], "gain 120, 0 °C": [1.0, 2.0, 8.0]}
    assert any("1 darks without a temperature belong to gain 120, 0 °C" in note for note in found.notes)
    assert any("1 darks without a gain setting and a temperature may belong to any of 2" in n for n in found.notes)


def test_manifest_states_settings_and_writes_them_again(tmp_path: Path) -> None:
    lines = ["path,kind,exposure_s,gain_setting,temperature_c,mode"]
    for gain in (1, 2):
        for temperature in (-5.5, 4.5):
            for kind in ("bright", "dark"):
                for t in (1, 2):
                    name = f"x{gain}{temperature}{kind}{t}.npy"
                    put(tmp_path / name)
                    lines.append(f"{name},{kind},{t},{gain},{temperature},fast")
    (tmp_path / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    captures = load_captures(tmp_path)
    assert captures.sensor == {"mode": "fast"}
    assert [s.words for s in split_by_setting(captures).parts] == [
        "gain 1, -5.5 °C",
        "gain 2, -5.5 °C",
        "gain 1, 4.5 °C",
        "gain 2, 4.5 °C",
    ]
    write_manifest(captures, tmp_path / "again.yaml")
    assert load_captures(tmp_path / "again.yaml").levels == captures.levels
    bad = lines[0] + "\n" + lines[1].replace("-5.5", "warm")
    (tmp_path / "bad.csv").write_text(bad, encoding="utf-8")
    with pytest.raises(PhotonbitsError, match="temperature_c is 'warm'"):
        load_captures(tmp_path / "bad.csv")


def test_what_a_manifest_says_of_all_frames_is_not_looked_for_again(tmp_path: Path) -> None:
    text = "sensor: {temperature_c: -10, mode: slow}\nframes:\n"
    for number, temperature in enumerate((-12.0, -8.0)):
        put(tmp_path / f"mode{number}_{number}.fits", CCD_TEMP=temperature)
        for kind in ("flat", "dark"):
            path = put(tmp_path / f"{kind}_mode{number}.fits", CCD_TEMP=temperature)
            text += f"  - {{path: {path.name}, kind: {kind}, exposure_s: 1}}\n"
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    captures = load_captures(tmp_path / "m.yaml")
    assert len(split_by_setting(captures).parts) == 1
    assert captures.sensor == {"temperature_c": -10.0, "mode": "slow"}
