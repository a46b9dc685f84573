"""Fits by channel: known truth, whether channels differ, maps, taps, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from calibrate import NoiseModel, fit_noise_model, load_captures
from calibrate.channels import choose_layout, difference_tests, fit_channels, section_of_captures
from calibrate.cli import main
from calibrate.frames import iterate_frames, read_frame
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.sections import Section, tap_layout

GIVEN = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12}
CAMERAS = {
    "R": {"system_gain_dn_per_e": 0.4, "offset_dn": 96.0},
    "Gr": {"system_gain_dn_per_e": 0.5},
    "Gb": {"system_gain_dn_per_e": 0.52, "read_noise_e": 3.4},
    "B": {"system_gain_dn_per_e": 0.65, "offset_dn": 104.0},
}
#: Electrons of a second of light in each colour: a lamp is not white.
COLOURS = {"R": 1800.0, "Gr": 4500.0, "Gb": 4500.0, "B": 3500.0}
DARK_E_PER_S = 5.0


def sensor(**changes) -> NoiseModel:
    return NoiseModel.from_parameters(**{**GIVEN, **changes})


def shoot(
    folder: Path, model: NoiseModel, rate: np.ndarray, seed: int, *, levels: int = 8, frames: int = 2, header: str = ""
) -> Path:
    """Flats and darks of equal exposures, npy stacks with a manifest; `rate` is light in e-/s, a frame's shape."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = [header, "path,kind,exposure_s"] if header else ["# bit_depth: 12", "path,kind,exposure_s"]
    for number, t in enumerate(np.arange(1, levels + 1) / levels):
        for kind, light in (("bright", rate * t), ("dark", 0 * rate)):
            charge = np.broadcast_to(light + DARK_E_PER_S * t, (frames, *rate.shape))
            np.save(folder / f"{kind}_{number}.npy", model.sample(charge, rng))
            lines.append(f"{kind}_{number}.npy,{kind},{t}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def plane(model: NoiseModel, shape: tuple[int, int], values: dict[str, float]) -> np.ndarray:
    out = np.zeros(shape)
    for name, section in model.channel_layout.sections.items():
        out[section.index] = values[name]
    return out


@pytest.fixture(scope="module")
def bayer(tmp_path_factory) -> Path:
    model = NoiseModel.from_channels({name: sensor(**given) for name, given in CAMERAS.items()}, "GRBG", shape=(96, 96))
    rate = plane(model, (96, 96), COLOURS)
    header = "# bit_depth: 12\n# cfa: GRBG"
    return shoot(tmp_path_factory.mktemp("bayer") / "c", model, rate, 1, header=header)


@pytest.fixture(scope="module")
def fitted(bayer) -> NoiseModel:
    return fit_channels(bayer)


def test_each_channel_is_recovered_within_its_errors(fitted):
    assert fitted.channel_layout.pattern == "GRBG" and fitted.document.sensor.cfa == "GRBG"
    pulls = []
    for name, given in CAMERAS.items():
        model = fitted.channel(name)
        assert model.document.sensor.shape == (48, 48)
        truth = {**GIVEN, **given, "dark_current_e_per_s": DARK_E_PER_S}
        for key in ("system_gain_dn_per_e", "offset_dn", "read_noise_e", "dark_current_e_per_s"):
            entry = model.parameter(key)
            pulls.append((entry.value - truth[key]) / entry.std)
    assert np.max(np.abs(pulls)) < 4
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 1.6  # 16 pulls: 1 +- 0.18


def test_different_channels_are_flagged(fitted):
    doubts = {entry.code: entry.message for entry in fitted.document.fit.flags}
    assert "system_gain_dn_per_e 0." in doubts["channels_differ"]
    assert "(R)" in doubts["channels_differ"] and "(B)" in doubts["channels_differ"]
    differences = fitted.document.channel_layout.differences
    assert differences["system_gain_dn_per_e"].p_value < 1e-9 and differences["offset_dn"].p_value < 1e-9
    assert differences["dark_current_e_per_s"].p_value > 1e-4
    assert all(entry.dof == 3 for entry in differences.values())


def test_one_fit_of_all_pixels_describes_no_channel(fitted, bayer):
    gain = fitted.parameter("system_gain_dn_per_e")
    truth = np.mean([given["system_gain_dn_per_e"] for given in CAMERAS.values()])
    assert abs(gain.value - truth) < 4 * gain.std
    mono = fit_channels(bayer, channels="mono")
    assert mono.channel_layout is None and mono.document.channels is None
    assert mono.document == fit_noise_model(bayer).document
    found = mono.parameter("system_gain_dn_per_e")
    for name in ("R", "B"):
        assert abs(found.value - CAMERAS[name]["system_gain_dn_per_e"]) > 10 * found.std
        assert abs(fitted.channel(name).parameter("system_gain_dn_per_e").value / found.value - 1) > 0.1


def test_record_of_the_whole(fitted, bayer, tmp_path):
    document = fitted.document
    assert document.sensor.shape == (96, 96)
    assert document.fit.method.startswith("each channel on its own pixels")
    records = document.channel_layout.records
    assert document.fit.dof == sum(record.fit.dof for record in records.values())
    rows, parts = document.measurements, [record.measurements for record in records.values()]
    assert len(rows) == 16
    for number, row in enumerate(rows):
        assert row.n_pixels == 96 * 96
        if row.kind == "dark":
            continue
        own = [next(r for r in part if (r.kind, r.exposure_s) == (row.kind, row.exposure_s)) for part in parts]
        assert row.mean_dn == pytest.approx(np.mean([r.mean_dn for r in own]))
        assert row.variance_dn2 == pytest.approx(np.mean([r.variance_dn2 for r in own]))
        assert number < 8
    fitted.save(tmp_path / "s.yaml")
    assert NoiseModel.load(tmp_path / "s.yaml").document == document
    assert {entry.path for entry in document.provenance.files} == {path.name for path in bayer.iterdir()}


def test_equal_channels_are_called_equal_in_most_seeds(tmp_path):
    """At p = 0.001 over all parameters one false alarm in eight has a probability of 1 %."""
    layout = tap_layout(1, 2, (32, 64))
    model = NoiseModel.from_channels({name: sensor() for name in layout.names}, layout)
    flagged, p_values = 0, []
    for seed in range(8):
        folder = shoot(tmp_path / str(seed), model, np.full((32, 64), 5000.0), seed, levels=4)
        found = fit_channels(folder, channels="taps:1x2")
        flagged += any(entry.code == "channels_differ" for entry in found.document.fit.flags)
        p_values += [entry.p_value for entry in found.document.channel_layout.differences.values()]
    assert flagged <= 1
    assert np.mean(p_values) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / len(p_values)))


def test_two_taps(tmp_path):
    layout = tap_layout(1, 2, (40, 91))
    truth = {"tap_0_0": 0.5, "tap_0_1": 0.53}
    model = NoiseModel.from_channels({n: sensor(system_gain_dn_per_e=k) for n, k in truth.items()}, layout)
    folder = shoot(tmp_path / "c", model, np.full((40, 91), 5000.0), 3)
    found = fit_channels(folder, channels="taps:1x2")
    assert found.channel_layout == layout
    for name, gain in truth.items():
        entry = found.channel(name).parameter("system_gain_dn_per_e")
        assert abs(entry.value - gain) < 4 * entry.std
    sizes = np.array([40 * 46, 40 * 45])
    values = [found.channel(name).parameter("system_gain_dn_per_e").value for name in truth]
    assert found.parameter("system_gain_dn_per_e").value == pytest.approx(sizes @ values / sizes.sum())
    assert found.document.sensor.cfa is None and found.document.channel_layout.kind == "taps"


def test_maps_average_to_their_own_channel(bayer):
    found = fit_channels(bayer, maps=True)
    assert found.maps["offset_dn"].shape == (96, 96)
    for name in CAMERAS:
        own = found.channel(name, maps=True)
        assert np.mean(own.maps["offset_dn"]) == pytest.approx(own.parameter("offset_dn").value, abs=1e-3 * 100)
        assert np.mean(own.maps["prnu"]) == pytest.approx(0, abs=1e-9)
    section = found.channel_layout.sections["B"].index
    np.testing.assert_array_equal(found.maps["offset_dn"][section], found.channel("B", maps=True).maps["offset_dn"])
    assert "few_frames_for_maps" in {entry.code for entry in found.document.fit.flags}
    own = [found.channel(name, maps=True) for name in CAMERAS]
    assert found.document.defects.n_pixels == sum(model.document.defects.n_pixels for model in own)
    for key, planes in found.readout_maps.items():
        np.testing.assert_array_equal(planes[section], own[3].readout_maps.get(key, getattr(own[3].camera, key)))
    dsnu = np.array([found.channel(name).parameter("dsnu_e").value for name in CAMERAS])
    assert found.parameter("dsnu_e").value == pytest.approx(np.sqrt(np.mean(dsnu**2)))


def test_channels_guess_one_bit_depth(tmp_path):
    """A dim channel alone would look like fewer bits."""
    models = {name: sensor() for name in CAMERAS}
    model = NoiseModel.from_channels(models, "RGGB", shape=(40, 40))
    rate = plane(model, (40, 40), {**COLOURS, "B": 900.0})
    folder = shoot(tmp_path / "c", model, rate, 2, levels=5, header="# cfa: RGGB")
    found = fit_channels(folder)
    assert found.bit_depth == 12
    assert {found.channel(name).bit_depth for name in CAMERAS} == {12}
    assert "bit_depth_guessed" in {entry.code for entry in found.document.fit.flags}


# ---- which channels --------------------------------------------------------------------------------------


def test_what_auto_decides(bayer):
    captures = load_captures(bayer)
    layout, reason = choose_layout(captures, "auto")
    assert layout.pattern == "GRBG" and "as the captures state" in reason
    layout, reason = choose_layout(captures, "RGGB")
    assert layout.pattern == "RGGB" and "though the captures state GRBG" in reason
    assert choose_layout(captures, "mono")[0] is None and "GRBG" in choose_layout(captures, "mono")[1]
    plain = replace(captures, sensor={})
    assert choose_layout(plain, "auto") == (None, "one channel: the captures state no colour filters")
    assert choose_layout(replace(captures, sensor={"cfa": "XTRANS"}), "auto")[0] is None
    with pytest.raises(PhotonbitsError, match="channels 'x'"):
        choose_layout(captures, "x")


def test_tables_have_no_channels(tmp_path):
    (tmp_path / "t.txt").write_text("100 60\n200 110\n400 210\n800 410\n")
    captures = load_captures(tmp_path / "t.txt")
    assert choose_layout(captures, "auto")[0] is None
    with pytest.raises(PhotonbitsError, match="table"):
        choose_layout(captures, "RGGB")


def test_errors_name_the_channel(bayer):
    captures = load_captures(bayer)
    without_darks = replace(captures, levels=captures.bright_levels())
    with pytest.raises(PhotonbitsError, match="channel R") as caught:
        fit_channels(without_darks)
    assert caught.value.remedy


def test_sections_are_read_from_files(bayer):
    captures = load_captures(bayer)
    section = Section((1, None, 2), (0, 30, 3))
    part = section_of_captures(captures, section)
    assert part.shape == (48, 10) and "cfa" not in part.sensor
    whole = list(iterate_frames(captures.levels[0].frames))
    for frame, own, reference in zip(whole, iterate_frames(part.levels[0].frames), part.levels[0].frames, strict=True):
        np.testing.assert_array_equal(own, frame[1::2, 0:30:3])
        np.testing.assert_array_equal(read_frame(reference), own)
        assert own.flags["C_CONTIGUOUS"]
    empty = replace(part.levels[0].frames[0], section=Section((96, None, 1), (0, None, 1)))
    with pytest.raises(PhotonbitsError, match="no pixel"):
        read_frame(empty)


def test_a_missing_error_is_not_tested(fitted):
    document = fitted.channel("R").document
    parameters = dict(document.parameters)
    parameters["offset_dn"] = parameters["offset_dn"].model_copy(update={"std": None})
    tests = difference_tests({"R": document, "B": document.model_copy(update={"parameters": parameters})})
    assert "offset_dn" not in tests and tests["system_gain_dn_per_e"].p_value == 1.0


# ---- the command -----------------------------------------------------------------------------------------


def test_command(bayer, tmp_path):
    run = CliRunner()
    out = tmp_path / "s.yaml"
    done = run.invoke(main, ["fit", str(bayer), "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert list(content["channels"]) == ["R", "Gr", "Gb", "B"] and content["sensor"]["cfa"] == "GRBG"
    assert "Channels: colour filters GRBG, as the captures state." in done.stderr
    assert NoiseModel.load(out).channel("Gb").bit_depth == 12
    bad = run.invoke(main, ["fit", str(bayer), "-o", str(tmp_path / "x.yaml"), "--channels", "RGBW"])
    assert bad.exit_code == 2 and "RGGB" in bad.stderr
    many = run.invoke(main, ["fit", str(bayer), "-o", str(tmp_path / "x.yaml"), "--channels", "taps:97x1"])
    assert many.exit_code == 1 and many.stdout == "" and "taps:97x1 of frames of 96 x 96" in many.stderr
