"""Frames against the noise model before they are scored: camera, settings, codes, size, borders, manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from calibrate import NoiseModel, PhotonbitsError
from calibrate.captures import load_captures
from mi_eval import estimate_information
from mi_eval.borders import exposed_region
from mi_eval.frames_check import check_frames
from mi_eval.measurements import cut_patches, frames_from_array, frames_from_paths, pixel_planes

CAMERA: dict[str, Any] = {"system_gain_dn_per_e": 0.5, "read_noise_e": 4.0, "offset_dn": 100.0, "bit_depth": 12}


def camera(
    sensor: dict[str, Any] | None = None,
    validity: dict[str, Any] | None = None,
    flags: tuple[str, ...] = (),
    **changes: Any,
) -> NoiseModel:
    """A model whose document says more about its sensor than from_parameters can."""
    model = NoiseModel.from_parameters(**(CAMERA | changes))
    plain = model.document.to_plain()
    plain["sensor"] |= sensor or {}
    plain["fit"]["flags"] = [*plain["fit"]["flags"], *({"code": code, "message": ""} for code in flags)]
    if validity is not None:
        plain["validity"] = validity
    return NoiseModel(model.camera, type(model.document).model_validate(plain), model.maps)


def scene_codes(n: int = 4, shape: tuple[int, int] = (64, 64), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return camera().sample(rng.gamma(4.0, 100.0, (n, *shape)), rng).astype(np.uint16)


def write_fits(folder: Path, codes: np.ndarray, cards: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    for number, (frame, header) in enumerate(zip(codes, cards, strict=True)):
        hdu = fits.PrimaryHDU(frame)
        for key, value in header.items():
            hdu.header[key] = value
        hdu.writeto(folder / f"light_{number}.fits")
    return folder


def doubts(folder: Path, model: NoiseModel, **options: Any) -> dict[str, str]:
    return {entry.code: entry.message for entry in check_frames(frames_from_paths([folder]), model, **options).warnings}


HEADER = {"INSTRUME": "Cam A", "SERIALNO": "17", "GAIN": 120, "EXPTIME": 0.2, "CCD-TEMP": -10.0}


def test_what_fits_raises_nothing_and_tells_the_exposure(tmp_path: Path) -> None:
    folder = write_fits(tmp_path / "a", scene_codes(), [HEADER] * 4)
    model = camera(
        {"model": "cam a", "serial": "17", "gain_setting": 120, "shape": [64, 64]},
        {"signal_dn": [0, 3000], "exposure_s": [0.0, 1.0], "temperature_c": [-10.2, -10.2]},
    )
    assert doubts(folder, model) == {}
    assert check_frames(frames_from_paths([folder]), model).exposure_s == pytest.approx(0.2)
    assert check_frames(frames_from_paths([folder]), model, exposure_s=0.21).exposure_s == 0.21
    assert "exposure_contradicted" in doubts(folder, model, exposure_s=0.5)


def test_two_cameras_in_a_folder_are_told_apart(tmp_path: Path) -> None:
    cards = [HEADER, HEADER, HEADER | {"SERIALNO": "18"}, HEADER | {"SERIALNO": "18"}]
    folder = write_fits(tmp_path / "a", scene_codes(), cards)
    with pytest.raises(PhotonbitsError, match=r"2 serial numbers: 17 \(2\), 18 \(2\)"):
        check_frames(frames_from_paths([folder]), camera())
    some = [folder / "light_0.fits", folder / "light_1.fits"]
    with pytest.raises(PhotonbitsError, match="serial 17, a noise model of 18"):
        check_frames(frames_from_paths(some), camera({"serial": "18"}))
    assert check_frames(frames_from_paths(some), camera({"serial": "17"})).warnings == ()


def test_settings_outside_the_models(tmp_path: Path) -> None:
    folder = write_fits(tmp_path / "a", scene_codes(), [HEADER | {"READOUTM": "Fast"}] * 4)
    model = camera(
        {"gain_setting": 100, "mode": "slow"},
        {"signal_dn": None, "exposure_s": [0.0, 0.1], "temperature_c": [20.0, 25.0]},
    )
    found = doubts(folder, model)
    assert set(found) == {
        "other_gain_setting",
        "other_mode",
        "temperature_outside_validity",
        "exposure_outside_validity",
    }
    assert "120" in found["other_gain_setting"] and "100" in found["other_gain_setting"]
    assert "-10" in found["temperature_outside_validity"] and "20 to 25" in found["temperature_outside_validity"]
    mixed = write_fits(tmp_path / "b", scene_codes(), [HEADER, HEADER, HEADER, HEADER | {"GAIN": 200}])
    with pytest.raises(PhotonbitsError, match="2 gain settings"):
        check_frames(frames_from_paths([mixed]), camera())
    longer = write_fits(tmp_path / "c", scene_codes(), [HEADER, HEADER, HEADER, HEADER | {"EXPTIME": 0.8}])
    assert set(doubts(longer, camera())) == {"exposures_differ"}
    darks = write_fits(tmp_path / "d", scene_codes(), [HEADER, HEADER, HEADER, HEADER | {"IMAGETYP": "Dark"}])
    assert "1 dark among the 4 files" in doubts(darks, camera())["not_scenes"]


def test_left_aligned_codes_are_an_error_or_shifted() -> None:
    codes = scene_codes(8)
    with pytest.raises(PhotonbitsError, match=r"multiples of 16.*left-aligned by 4 bit.*--shift-bits 4"):
        estimate_information(codes * 16, camera(), patch_size=8)
    shifted = estimate_information(codes * 16, camera(), patch_size=8, shift_bits=4, density="closed-form")
    plain = estimate_information(codes, camera(), patch_size=8, density="closed-form")
    assert shifted.mutual_information_bits_per_pixel == plain.mutual_information_bits_per_pixel
    with pytest.raises(PhotonbitsError, match="not empty"):
        estimate_information(codes, camera(), patch_size=8, shift_bits=1)
    with pytest.raises(PhotonbitsError, match="flag left_aligned"):
        estimate_information(codes * 16, camera(flags=("left_aligned",), bit_depth=16), patch_size=8)


def test_sizes_of_binned_frames_are_doubted_or_refused() -> None:
    codes = scene_codes(shape=(32, 48))
    model = camera({"shape": [64, 96]})
    (doubt,) = check_frames(frames_from_array(codes), model).warnings
    assert doubt.code == "maybe_binned" and "binned 2 x 2, or another region" in doubt.message
    assert check_frames(frames_from_array(codes), model, roi=True).warnings == ()
    (doubt,) = check_frames(frames_from_array(codes), camera({"shape": [16, 24]})).warnings
    assert doubt.code == "maybe_binned" and "not binned, while the captures were, 2 x 2" in doubt.message
    with pytest.raises(PhotonbitsError, match="binned 2 x 2"):
        check_frames(frames_from_array(codes), camera(maps={"offset_dn": np.full((64, 96), 100.0)}))
    with pytest.raises(PhotonbitsError, match="turned by a quarter"):
        check_frames(frames_from_array(codes), camera(maps={"offset_dn": np.full((48, 32), 100.0)}))
    # Of odd sizes binning drops the last row.
    assert [d.code for d in check_frames(frames_from_array(codes), camera({"shape": [65, 97]})).warnings] == [
        "maybe_binned"
    ]
    assert check_frames(frames_from_array(codes), camera({"shape": [40, 60]})).warnings == ()


def test_headers_that_say_binned_leave_no_way_round(tmp_path: Path) -> None:
    folder = write_fits(tmp_path / "a", scene_codes(shape=(32, 48)), [{"XBINNING": 2, "YBINNING": 2}] * 4)
    with pytest.raises(PhotonbitsError, match="binned 2 x 2"):
        check_frames(frames_from_paths([folder]), camera({"shape": [64, 96]}), roi=True)


def bordered(left: int, bottom: int, seed: int = 3) -> np.ndarray:
    """Six frames of 60 x 80 whose first columns and last rows see no light."""
    rng = np.random.default_rng(seed)
    light = rng.gamma(4.0, 60.0, (6, 60, 80))
    light[:, :, :left] = 0.0
    light[:, 60 - bottom :] = 0.0
    return camera().sample(light, rng).astype(np.uint16)


@pytest.mark.parametrize(("left", "bottom"), [(6, 0), (0, 4), (8, 3)])
def test_dark_borders_are_found(left: int, bottom: int) -> None:
    source = frames_from_array(bordered(left, bottom))
    frames = [frame for _, frame in source.sample(8)]
    region, known_by = exposed_region(source, camera(), frames)
    assert region == (0, 60 - bottom, left, 80) and known_by == "frames"
    checked = check_frames(source, camera())
    assert checked.exposed == region and [entry.code for entry in checked.warnings] == ["borders_cut"]
    data = cut_patches(checked.source, camera(), patch_size=8, seed=0, max_patches=10_000, exposed=checked.exposed)
    assert data.positions[:, 2].min() >= left and data.positions[:, 1].max() + 8 <= 60 - bottom


def test_dark_scenery_at_the_edge_is_no_border() -> None:
    rng = np.random.default_rng(4)
    light = rng.gamma(4.0, 60.0, (6, 60, 80)) * np.clip((np.arange(80) - 6) / 30.0, 0.0, 1.0)
    source = frames_from_array(camera().sample(light, rng).astype(np.uint16))
    assert exposed_region(source, camera(), [frame for _, frame in source.sample(8)])[0] is None
    # Half the edge in the dark, half in the light.
    light = rng.gamma(4.0, 60.0, (6, 60, 80))
    light[:, :30, :8] = 0.0
    source = frames_from_array(camera().sample(light, rng).astype(np.uint16))
    assert exposed_region(source, camera(), [frame for _, frame in source.sample(8)])[0] is None
    flats = frames_from_array(camera().sample(np.full((6, 60, 80), 300.0), rng).astype(np.uint16))
    assert exposed_region(flats, camera(), [frame for _, frame in flats.sample(8)])[0] is None


def test_maps_of_the_exposed_part_alone_crop_the_frames(tmp_path: Path) -> None:
    codes = bordered(6, 0)
    folder = write_fits(tmp_path / "a", codes, [{"TRIMSEC": "[7:80,1:60]"}] * 6)
    source = frames_from_paths([folder])
    inside = camera(maps={"offset_dn": np.full((60, 74), 100.0)})
    checked = check_frames(source, inside)
    assert checked.exposed is None and checked.source.shape == (60, 74)
    np.testing.assert_array_equal(next(iter(checked.source)), codes[0][:, 6:])
    whole = check_frames(source, camera(maps={"offset_dn": np.full((60, 80), 100.0)}))
    assert whole.exposed == (0, 60, 6, 80) and whole.source.shape == (60, 80)
    assert "the headers say so" in whole.warnings[0].message
    overscan = write_fits(tmp_path / "b", codes, [{"BIASSEC": "[1:6,1:60]"}] * 6)
    assert check_frames(frames_from_paths([overscan]), camera()).exposed == (0, 60, 6, 80)


def test_mosaics_that_the_model_does_not_know(tmp_path: Path) -> None:
    folder = write_fits(tmp_path / "a", scene_codes(), [{"BAYERPAT": "RGGB"}] * 4)
    assert set(doubts(folder, camera())) == {"mosaic_unknown_to_model"}
    assert set(doubts(folder, camera({"cfa": "RGGB"}))) == {"cfa_without_channels"}
    with pytest.raises(PhotonbitsError, match="colour filters RGGB, a noise model of GRBG"):
        check_frames(frames_from_paths([folder]), camera({"cfa": "GRBG"}))
    data = cut_patches(
        frames_from_array(scene_codes()), camera({"cfa": "RGGB"}), patch_size=7, seed=0, max_patches=10_000
    )
    assert np.all(data.positions[:, 1:] % 2 == 0)


def test_a_manifest_lists_headerless_scenes(tmp_path: Path) -> None:
    codes = scene_codes()
    for number, frame in enumerate(codes):
        frame.astype(">u2").tofile(tmp_path / f"s{number}.raw")
    np.zeros((64, 64), dtype=">u2").tofile(tmp_path / "dark.raw")
    layout = "dtype: uint16, byte_order: big, shape: [64, 64]"
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(
        "sensor: {gain_setting: 5}\nframes:\n"
        f"  - {{path: 's[0-2].raw', kind: scene, {layout}, exposure_s: 0.5}}\n"
        f"  - {{path: s3.raw, {layout}, exposure_s: 0.5}}\n"
        f"  - {{path: dark.raw, kind: dark, {layout}, exposure_s: 0.5}}\n"
    )
    for place in (manifest, tmp_path):  # a folder of nothing else is read through it
        source = frames_from_paths([place])
        np.testing.assert_array_equal(np.stack(list(source)), codes)
        checked = check_frames(source, camera({"gain_setting": 5}))
        assert checked.exposure_s == 0.5 and checked.warnings == ()
    table = tmp_path / "list.csv"
    table.write_text("path,dtype,byte_order,shape\n" + "".join(f"s{i}.raw,uint16,big,64x64\n" for i in range(4)))
    np.testing.assert_array_equal(np.stack(list(frames_from_paths([table]))), codes)
    # calibrate leaves scenes alone and says so.
    manifest.write_text(f"frames:\n  - {{path: dark.raw, kind: dark, {layout}}}\n  - {{path: s0.raw, kind: scene}}\n")
    captures = load_captures(manifest)
    assert len(captures.levels) == 1 and [entry.path for entry in captures.ignored] == ["s0.raw"]
    manifest.write_text(f"frames:\n  - {{path: dark.raw, kind: dark, {layout}}}\n")
    with pytest.raises(PhotonbitsError, match="no scene"):
        frames_from_paths([manifest])


def test_planes_take_the_pixels_own_gain_and_dark_charge() -> None:
    """Means are offset_i + K_i ((1 + prnu_i) s + dark_i t): exactly what the planes have to undo."""
    rng = np.random.default_rng(5)
    shape = (6, 7)
    maps = {
        "offset_dn": 100.0 + rng.standard_normal(shape),
        "system_gain_dn_per_e": 0.5 * (1 + 0.1 * rng.standard_normal(shape)),
        "prnu": 0.05 * rng.standard_normal(shape),
        "dark_current_e_per_s": rng.gamma(2.0, 30.0, shape),
    }
    model = camera(maps=maps, dark_current_e_per_s=float(maps["dark_current_e_per_s"].mean()))
    light, exposure = 500.0, 2.0
    charge = (1 + maps["prnu"]) * light + maps["dark_current_e_per_s"] * exposure
    mean = maps["offset_dn"] + maps["system_gain_dn_per_e"] * charge
    offset, response = pixel_planes(model, shape, exposure)
    common = maps["dark_current_e_per_s"].mean() * exposure * maps["system_gain_dn_per_e"]
    np.testing.assert_allclose((mean - offset - common) / response, 0.5 * light, rtol=1e-5)
    assert pixel_planes(camera(), shape, exposure) == (None, None)


def test_uneven_gain_and_dark_charge_of_flats_are_no_scene() -> None:
    rng = np.random.default_rng(6)
    shape = (64, 64)
    maps = {
        "system_gain_dn_per_e": 0.5 * np.exp(0.08 * rng.standard_normal(shape)),
        "dark_current_e_per_s": rng.gamma(2.0, 20.0, shape),
    }
    model = camera(maps=maps, dark_current_e_per_s=40.0)
    frames = model.sample(200.0 + np.broadcast_to(maps["dark_current_e_per_s"], (16, *shape)), rng)
    found = estimate_information(frames, model, patch_size=8, exposure_s=1.0, density="closed-form")
    assert abs(found.mutual_information_bits_per_pixel.value) < 0.02
    blind = estimate_information(frames, model, patch_size=8, density="closed-form")
    assert blind.mutual_information_bits_per_pixel.value > 0.1


def test_overscan_of_a_real_frame(realdata: Path) -> None:
    path = realdata / "ccd_single_frames" / "saao_ste3_a8280271.fits"
    model = NoiseModel.from_parameters(system_gain_dn_per_e=1 / 1.9, read_noise_e=5.0, offset_dn=214.0, bit_depth=16)
    source = frames_from_paths([path])
    checked = check_frames(source, model)
    assert checked.exposed == (0, 520, 16, 528) and checked.exposure_s == pytest.approx(150.04)
    # Without the header both overscans are seen in the codes.
    region, known_by = exposed_region(frames_from_array(next(iter(source))), model, [next(iter(source))])
    assert known_by == "frames" and region == (0, 520, 16, 528)
