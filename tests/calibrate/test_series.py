"""Series: a model for each setting, what they say together, and the folder they are written to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from page_check import checked

from calibrate import NoiseModel, fit_noise_model, load_captures
from calibrate.captures import CaptureSet, Setting
from calibrate.cli import main
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.series import (
    check_series_folder,
    fit_series,
    format_series,
    render_series,
    series_summary,
    write_series,
)

ISO = {100: (0.4, 4.0), 200: (0.8, 3.0), 400: (1.6, 2.5), 800: (3.2, 2.2)}
DARK_E_PER_S = 20.0
T = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


def shoot(
    folder: Path,
    name: str,
    seed: int,
    *,
    dark: float = DARK_E_PER_S,
    kinds: tuple[str, ...] = ("flat", "dark"),
    size: int = 48,
    **given: object,
) -> None:
    """Flats that fill the converter at the last exposure but one, and darks at the same exposures."""
    model = NoiseModel.from_parameters(
        **{"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12, **given}
    )
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    full = (4095 - 100) / float(model.camera.system_gain_dn_per_e)
    for t in T:
        for kind in kinds:
            light = full * t / 1.3 if kind == "flat" else 0.0
            np.save(folder / f"{kind}_{name}_{t}s.npy", model.sample(np.full((2, size, size), light + dark * t), rng))


@pytest.fixture(scope="module")
def iso(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("iso") / "captures"
    for seed, (speed, (gain, read)) in enumerate(ISO.items()):
        shoot(folder, f"iso{speed}", seed, system_gain_dn_per_e=gain, read_noise_e=read)
    return folder


@pytest.fixture(scope="module")
def written(iso, tmp_path_factory):
    """The command with a report, its folder and what it printed."""
    place = tmp_path_factory.mktemp("out")
    done = CliRunner().invoke(
        main, ["fit", str(iso), "-o", str(place / "series"), "--json", "--report", str(place / "r.html")]
    )
    assert done.exit_code == 0, done.output
    return place, json.loads(done.stdout), done.stderr


# ---- known truth -----------------------------------------------------------------------------------------


def test_iso_series_finds_every_gain_and_unity(written):
    _, summary, _ = written
    assert [entry["name"] for entry in summary["settings"]] == ["iso100", "iso200", "iso400", "iso800"]
    for entry, (speed, (gain, read)) in zip(summary["settings"], ISO.items(), strict=True):
        assert entry["setting"] == {"gain_setting": speed, "gain_scale": "iso", "temperature_c": None, "mode": None}
        found = entry["quantities"]
        for name, true in (("system_gain_dn_per_e", gain), ("read_noise_e", read), ("offset_dn", 100.0)):
            assert abs(found[name]["value"] - true) < 4 * found[name]["std"], (speed, name)
        assert found["electrons_per_dn"]["value"] == pytest.approx(1 / found["system_gain_dn_per_e"]["value"])
        assert abs(found["saturation_e"]["value"] - 3995 / gain) < 4 * found["saturation_e"]["std"]
        assert found["dynamic_range_db"]["value"] == pytest.approx(
            20 * np.log10(2) * found["dynamic_range_stops"]["value"], rel=1e-9
        )
    (unity,) = summary["unity_gain"]
    assert abs(unity["setting"]["value"] - 250) < 4 * unity["setting"]["std"] < 20
    assert unity["axis"] == "logarithmic" and unity["reason"] is None
    shared = {entry["quantity"]: entry for entry in summary["shared"]}
    assert shared["dark_current_e_per_s"]["agree"]
    mean = shared["dark_current_e_per_s"]["mean"]
    assert abs(mean["value"] - DARK_E_PER_S) < 4 * mean["std"]
    assert summary["dark_current"] == []


def test_temperatures_double_the_dark_current(tmp_path):
    for seed, temperature in enumerate((-6, 0, 6)):
        shoot(tmp_path, f"_{temperature}C", seed, dark=20 * 2 ** (temperature / 6))
    shoot(tmp_path, "_12C", 9, dark=80.0, kinds=("dark",))
    series = fit_series(load_captures(tmp_path), fit_noise_model)
    assert [entry.name for entry in series.fitted] == ["at_-6C", "at_0C", "at_6C"]
    (cold,) = series.dark_only
    assert cold.setting.temperature_c == 12 and cold.gain_from == "at_6C"
    assert abs(cold.dark_current_e_per_s.value - 80) < 4 * cold.dark_current_e_per_s.std
    (group,) = series.dark_current
    assert group.temperatures_c == (-6, 0, 6, 12)
    doubling = group.law.doubling.quantity
    assert abs(doubling.value - 6) < 4 * doubling.std < 1
    assert group.law.activation.quantity.std > 0
    assert series.unity == ()
    (gain,) = [entry for entry in series.shared if entry.quantity == "system_gain_dn_per_e"]
    assert gain.across == "temperatures" and gain.agree
    text = format_series(series)
    assert "12 °C (darks alone)" in text and "doubles every" in text and "activation energy" in text
    assert "Dark current against temperature" in checked(render_series(series)).text


# ---- with a stand-in for the fit -------------------------------------------------------------------------


def given_model(part: CaptureSet) -> NoiseModel:
    """A model whose gain is a hundredth of the setting, without reading a frame."""
    setting = float(part.sensor.get("gain_setting", 50))
    return NoiseModel.from_parameters(system_gain_dn_per_e=setting / 100, read_noise_e=3.0, bit_depth=12)


def levels(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for kind in ("flat", "dark"):
            for t in (1, 2):
                np.save(folder / f"{kind}_{name}_{t}s.npy", np.full((2, 4, 4), 100, dtype=np.uint16))
    return folder


def test_one_bad_setting_does_not_stop_the_others(tmp_path):
    levels(tmp_path, "gain50", "gain150", "gain250")

    def fit(part: CaptureSet) -> NoiseModel:
        if part.sensor["gain_setting"] == 150:
            raise PhotonbitsError("no dark frames", where="here", remedy="Shoot darks")
        return given_model(part)

    told: list[str] = []
    series = fit_series(load_captures(tmp_path), fit, announce=told.append)
    assert told == ["Fitting gain 50", "Fitting gain 150", "Fitting gain 250"]
    assert [entry.name for entry in series.fitted] == ["gain50", "gain250"]
    (bad,) = series.not_fitted
    assert bad.name == "gain150" and "no dark frames" in bad.reason and "Shoot darks" in bad.reason
    assert "gain 150: no dark frames" in format_series(series)
    assert "gain 150 could not be fitted" in checked(render_series(series)).text
    (unity,) = series.unity
    assert unity.unity.setting is not None and 50 < unity.unity.setting.value < 250


def test_no_setting_at_all_is_an_error_that_names_the_first(tmp_path):
    levels(tmp_path, "gain50", "gain150")

    def fit(part: CaptureSet) -> NoiseModel:
        raise PhotonbitsError("no dark frames", where="here", legal="darks", remedy="Shoot darks")

    with pytest.raises(PhotonbitsError, match="none of 2 settings") as caught:
        fit_series(load_captures(tmp_path), fit)
    assert "gain 50" in caught.value.where and caught.value.legal == "darks"
    assert "Shoot darks" in caught.value.remedy


def test_names_stay_apart_where_capitals_do_not_count(tmp_path):
    captures = load_captures(levels(tmp_path, "gain1", "gain2"))
    renamed = tuple(replace(level, gain_setting={"1": "A", "2": "a"}[level.gain_setting]) for level in captures.levels)
    series = fit_series(replace(captures, levels=renamed), lambda part: given_model(replace(part, sensor={})))
    assert [entry.name for entry in series.fitted] == ["gain_A", "gain_a_2"]
    assert series.unity[0].unity.setting is None and "given as numbers" in series.unity[0].unity.reason


def test_left_aligned_codes_have_no_unity_gain(tmp_path):
    from calibrate.flags import flag
    from calibrate.schema import FitEntry

    def fit(part: CaptureSet) -> NoiseModel:
        model = given_model(part)
        doubts = FitEntry(method="x", model="x", flags=(flag("left_aligned", step=16, bits=12),))
        return NoiseModel.from_document(model.document.model_copy(update={"fit": doubts}))

    series = fit_series(load_captures(levels(tmp_path, "gain50", "gain150")), fit)
    assert series.unity[0].unity.setting is None and "left-aligned" in series.unity[0].unity.reason


def test_darks_without_flats_at_their_gain_are_not_used(tmp_path):
    levels(tmp_path, "gain50_0C", "gain50_10C")
    for t in (1, 2):
        np.save(tmp_path / f"dark_gain99_20C_{t}s.npy", np.full((2, 4, 4), 100, dtype=np.uint16))
    series = fit_series(load_captures(tmp_path), given_model)
    (bad,) = series.not_fitted
    assert bad.setting == Setting("99", 20.0) and "no flats" in bad.reason


# ---- files -----------------------------------------------------------------------------------------------


def test_folder_holds_models_summary_and_page(written):
    place, summary, stderr = written
    folder = place / "series"
    names = [f"iso{speed}" for speed in ISO]
    expected = {f"{name}{suffix}" for name in names for suffix in (".yaml", ".html")} | {"summary.json", "summary.html"}
    assert {path.name for path in folder.iterdir()} == expected
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8")) == summary
    assert summary["schema"] == "photonbits/series" and summary["schema_version"] == 1
    assert set(summary["files"]) == {"summary.json", "summary.html"}
    for name, entry in zip(names, summary["settings"], strict=True):
        model = NoiseModel.load(folder / entry["file"])
        assert model.document.sensor.gain_setting == entry["setting"]["gain_setting"]
        assert set(entry["files"]) == {f"{name}.yaml", f"{name}.html"}
        assert {path.path.split("_")[1] for path in model.document.provenance.files} == {name}
    text = checked((place / "r.html").read_text(encoding="utf-8")).text
    assert "Unity gain" in text and (place / "r.html").read_bytes() == (folder / "summary.html").read_bytes()
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
    assert "Fitting ISO 400" in stderr and "several gain settings" in stderr


def test_the_same_captures_give_the_same_bytes(written, iso, tmp_path):
    place, *_ = written
    series = fit_series(load_captures(iso), fit_noise_model)
    write_series(series, tmp_path / "again")
    for path in (tmp_path / "again").iterdir():
        if path.name != "summary.json":  # that one lists the pages of the settings
            assert path.read_bytes() == (place / "series" / path.name).read_bytes(), path.name


def small_series(tmp_path: Path):
    return fit_series(load_captures(levels(tmp_path / "c", "gain50", "gain150")), given_model)


def test_nothing_is_overwritten_by_accident(tmp_path):
    series = small_series(tmp_path)
    target = tmp_path / "out"
    write_series(series, target)
    (target / "gain50.yaml").write_text("changed", encoding="utf-8")
    with pytest.raises(PhotonbitsError, match="--force"):
        write_series(series, target)
    assert (target / "gain50.yaml").read_text(encoding="utf-8") == "changed"
    write_series(series, target, overwrite=True)
    assert NoiseModel.load(target / "gain50.yaml").bit_depth == 12
    (target / "diary.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(PhotonbitsError, match=r"diary\.txt"):
        write_series(series, target, overwrite=True)
    assert (target / "diary.txt").is_file() and (target / "summary.json").is_file()
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text("1", encoding="utf-8")
    with pytest.raises(PhotonbitsError, match="no series has written"):
        check_series_folder(other, overwrite=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    write_series(series, empty)
    assert (empty / "summary.json").is_file()


def test_half_written_folders_do_not_stay(tmp_path):
    series = small_series(tmp_path)
    broken = replace(series, sensor={"model": float("nan")})  # NaN is no JSON
    with pytest.raises(ValueError):
        write_series(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("name", ["x.yaml", "x.YML", "x.json", "file", "missing/out"])
def test_wrong_outputs(tmp_path, name):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(PhotonbitsError) as caught:
        check_series_folder(tmp_path / name, overwrite=True)
    assert caught.value.legal or caught.value.remedy


def test_command_refuses_one_file_for_several_settings(iso, tmp_path):
    done = CliRunner().invoke(main, ["fit", str(iso), "-o", str(tmp_path / "sensor.yaml")])
    assert done.exit_code == 1 and done.stdout == ""
    assert "name of a folder" in done.stderr and "several settings" in done.stderr
    inside = ["fit", str(iso), "-o", str(tmp_path / "out"), "--report", str(tmp_path / "out" / "r.html")]
    done = CliRunner().invoke(main, inside)
    assert done.exit_code == 1 and "lies in the output folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_setting_still_gives_one_file(iso, tmp_path):
    folder = tmp_path / "one"
    shoot(folder, "iso100", 1)
    out = tmp_path / "s.yaml"
    done = CliRunner().invoke(main, ["fit", str(folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert NoiseModel.load(out).document.sensor.gain_setting == 100
    assert "Channels: one channel" in done.stderr


def test_summary_without_errors_has_nulls_and_no_nan(tmp_path):
    summary = series_summary(small_series(tmp_path))
    text = json.dumps(summary, allow_nan=False)
    assert '"std": null' in text
    assert summary["settings"][0]["quantities"]["system_gain_dn_per_e"] == {"value": 0.5, "std": None, "unit": "DN/e-"}
    assert summary["shared"] == []
