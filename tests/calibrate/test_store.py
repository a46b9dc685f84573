"""Noise-model files: the same after a round trip, numbers for every reader, and clear words about broken ones."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from calibrate import NoiseModel, PhotonbitsError
from calibrate.schema import NoiseModelDocument, json_schema
from calibrate.store import dump_yaml, load_yaml, read_document, write_document

# What a YAML 1.1 reader (PyYAML, most others) takes for a float.
YAML_1_1_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*)\.[0-9_]*([eE][-+][0-9]+)?|[-+]?\.[0-9_]+([eE][-+][0-9]+)?")
MAPS = {"offset_dn": np.arange(12.0).reshape(3, 4) + 100, "read_noise_e": np.linspace(1, 2, 12).reshape(3, 4)}


def plain_model(**more: object) -> NoiseModel:
    values = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.25, bit_depth=12)
    return NoiseModel.from_parameters(**{**values, **more})


def full_document() -> NoiseModelDocument:
    """A document with every optional block filled."""
    base = plain_model(response={"coefficients": (-0.02, 1e-5), "scale_dn": 3900.0}).document.to_plain()
    base["sensor"] = {
        "make": "Ünïcode: #1",
        "gain_setting": 12,
        "temperature_c": -20.5,
        "bit_depth": 12,
        "shape": [3, 4],
    }
    base["parameters"]["system_gain_dn_per_e"]["std"] = 1e-5
    base["parameters"]["dark_current_e_per_s"] = {"value": 1e-05, "std": 1.5e-300, "unit": "e-/s"}
    base["covariance"] = {"names": ["system_gain_dn_per_e", "offset_dn"], "matrix": [[1e-10, -1e-22], [-1e-22, 4.0]]}
    base["validity"] = {"signal_dn": [0.0, 3000.0], "exposure_s": [1e-6, 2.0], "temperature_c": None}
    base["fit"] = {
        "method": "m: n",
        "model": "quadratic_response",
        "deviance_per_dof": 1.25,
        "dof": 40,
        "flags": [{"code": "drift", "message": 'It\'s "so": {odd}\nand long ' + "word " * 60}],
        "candidates": [{"name": "linear", "bic": -1e16, "system_gain_dn_per_e": 0.5, "deviance_per_dof": 2.0}],
    }
    base["emva1288"] = {"K": {"value": 0.5, "std": None, "unit": "DN/e-", "symbol": "K", "release": "R4"}}
    base["measurements"] = [
        {
            "kind": "dark", "exposure_s": 1e-05, "photons_per_pixel": None, "n_frames": 2, "n_pixels": 12,
            "mean_dn": 100.0, "mean_std_dn": 0.1, "variance_dn2": 3.0, "variance_std_dn2": 0.2,
            "clipped_fraction": 0.0, "used": True, "fitted_mean_dn": None, "fitted_variance_dn2": 2.9,
        }
    ]  # fmt: skip
    base["provenance"] = {"files": [{"path": "flat 1.tif", "sha256": "0" * 64}], "software": "photonbits 0"}
    return NoiseModelDocument.model_validate(base)


def test_round_trip_keeps_every_field(tmp_path):
    document = full_document()
    write_document(document, tmp_path / "a.yaml")
    again, maps = read_document(tmp_path / "a.yaml")
    assert again == document
    assert maps is None
    assert again.to_plain() == document.to_plain()


def test_round_trip_of_a_model_with_maps(tmp_path):
    rng = np.random.default_rng(0)
    maps = {**MAPS, "prnu": 0.01 * rng.standard_normal((3, 4)), "offset_dn_std": np.full((3, 4), 0.1)}
    model = plain_model(maps=maps)
    model.save(tmp_path / "sensor.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sensor.yaml", "sensor_maps.npz"]
    again = NoiseModel.load(tmp_path / "sensor.yaml")
    assert again.camera == model.camera
    assert sorted(again.maps) == sorted(maps)
    for name, values in maps.items():
        np.testing.assert_array_equal(again.maps[name], values.astype(np.float32))  # the file's precision
    assert again.document.maps.sha256 == hashlib.sha256((tmp_path / "sensor_maps.npz").read_bytes()).hexdigest()
    assert again.sha256 == hashlib.sha256((tmp_path / "sensor.yaml").read_bytes()).hexdigest()
    again.save(tmp_path / "sensor2.yaml")
    assert NoiseModel.load(tmp_path / "sensor2.yaml").document.maps.file == "sensor2_maps.npz"
    y = np.full((3, 4), 20.0)
    np.testing.assert_allclose(again.mean_dn(y), model.mean_dn(y), atol=1e-5)


@pytest.mark.parametrize("kind", ["poisson-gaussian", "poisson", "gaussian"])
@pytest.mark.parametrize("bits", [None, 10])
def test_loaded_camera_is_the_saved_one(tmp_path, kind, bits):
    more = {} if bits is None else {"black_clip_dn": 3, "white_clip_dn": 900}
    if kind != "poisson":
        more |= {"full_well_e": 1500.0, "response": {"coefficients": (-0.1,), "scale_dn": 500.0}}
    model = plain_model(kind=kind, read_noise_e=0.0 if kind == "poisson" else 2.0, bit_depth=bits, **more)
    model.save(tmp_path / "a.yaml")
    again = NoiseModel.load(tmp_path / "a.yaml")
    assert again.camera == model.camera
    z = np.arange(90, 300)
    np.testing.assert_array_equal(again.log_pmf(z, 100.0), model.log_pmf(z, 100.0))


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plain_model(maps=dict(reversed(MAPS.items())) if name == "b" else MAPS).save(tmp_path / name / "s.yaml")
    for file in ("s.yaml", "s_maps.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_a_number_for_old_and_new_readers(value):
    text = dump_yaml({"value": value})
    written = text.split(":", 1)[1].strip(" }\n")
    assert YAML_1_1_FLOAT.fullmatch(written), written
    assert float(written) == value
    again = YAML(typ="safe", pure=True).load(text)["value"]
    assert isinstance(again, float) and again == value


def test_small_numbers_stay_numbers(tmp_path):
    (tmp_path / "a.yaml").write_text(dump_yaml({"a": 1e-5, "b": -1e16, "c": 1e22, "d": 0.1}))
    assert "1.0e-05" in (tmp_path / "a.yaml").read_text()
    assert load_yaml(tmp_path / "a.yaml") == {"a": 1e-5, "b": -1e16, "c": 1e22, "d": 0.1}


def test_keys_stand_in_the_order_of_the_schema(tmp_path):
    plain_model().save(tmp_path / "a.yaml")
    keys = [line.split(":")[0] for line in (tmp_path / "a.yaml").read_text().splitlines() if line[0].isalpha()]
    assert keys == ["schema", "schema_version", "kind", "sensor", "parameters", "fit", "provenance"]
    assert set(keys) <= set(json_schema()["properties"])


def replaced(old: str, new: str) -> object:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


BROKEN = {
    "unknown schema": (replaced("photonbits/noise-model", "a/b"), ("schema is 'a/b'", "photonbits/noise-model")),
    "unknown version": (replaced("version: 1", "version: 99"), ("schema_version is 99", "Expected: 1", "release")),
    "no version": (replaced("schema_version: 1\n", ""), ("schema_version is None",)),
    "missing key": (replaced("kind: poisson-gaussian\n", ""), ("kind", "required")),
    "missing parameter": (replaced("  offset_dn:", "  dsnu_e:"), ("dsnu_e.unit", "'DN'", "'e-'")),
    "wrong unit": (replaced("unit: DN/e-", "unit: e-/DN"), ("system_gain_dn_per_e.unit", "'e-/DN'", "'DN/e-'")),
    "nan": (replaced("value: 100.25", "value: .nan"), ("offset_dn", "finite")),
    "infinite": (replaced("value: 100.25", "value: .inf"), ("offset_dn", "finite")),
    "text": (replaced("value: 100.25", "value: much"), ("offset_dn", "'much'")),
    "negative gain": (replaced("value: 0.5", "value: -0.5"), ("system_gain_dn_per_e is -0.5", "above 0")),
    "typing error": (replaced("kind: poisson-gaussian", "kind: poisson-gaussian\nknid: 1"), ("knid", "not permitted")),
    "typing error in a parameter": (replaced("std: null", "sdt: null"), ("sdt",)),
    "unknown parameter": (replaced("  offset_dn:", "  ofset_dn:"), ("ofset_dn",)),
    "unknown kind": (replaced("kind: poisson-gaussian", "kind: binomial"), ("kind", "'binomial'")),
    "bit depth": (replaced("bit_depth: 12", "bit_depth: 99"), ("sensor.bit_depth", "99")),
    "clip above the range": (replaced("value: 4095.0", "value: 70000.0"), ("white_clip_dn 70000", "<= 4095")),
    "twice": (replaced("kind: poisson-gaussian", "kind: poisson-gaussian\nkind: poisson"), ("YAML", "kind")),
    "cut short": (lambda text: text[: text.index("parameters") + 30], ()),
    "cut in a brace": (lambda text: text[: text.index("{") + 8], ("not readable as YAML",)),
    "empty": (lambda text: "", ("NoneType", "mapping")),
    "a list": (lambda text: "- 1\n- 2\n", ("list", "mapping")),
    "no YAML": (lambda text: "a: [1, 2\nb: }", ("not readable as YAML",)),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused_with_key_and_file(tmp_path, name):
    change, said = BROKEN[name]
    path = tmp_path / "sensor.yaml"
    plain_model().save(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(PhotonbitsError) as error:
        NoiseModel.load(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text
    assert all(word in text for word in said), text


def test_a_maps_file_names_the_yaml_beside_it(tmp_path):
    maps = tmp_path / "a_maps.npz"
    maps.write_bytes(b"PK")
    with pytest.raises(PhotonbitsError, match=r"file of per-pixel maps.*Find the YAML"):
        NoiseModel.load(maps)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("x: 1")
    with pytest.raises(PhotonbitsError, match=r"Name the YAML beside it: a\.yaml\.$"):
        NoiseModel.load(maps)
    with pytest.raises(PhotonbitsError, match="this is a folder without a YAML"):
        (tmp_path / "empty").mkdir()
        NoiseModel.load(tmp_path / "empty")


def test_binary_missing_and_folder_are_refused(tmp_path):
    path = tmp_path / "sensor.yaml"
    path.write_bytes(bytes(range(256)) * 4)
    for where, said in (
        (path, "YAML"),
        (tmp_path / "absent.yaml", "no such file"),
        (tmp_path, "a folder, with sensor.yaml"),
    ):
        with pytest.raises(PhotonbitsError, match=said) as error:
            NoiseModel.load(where)
        assert str(where) in str(error.value)


def test_maps_that_are_missing_changed_or_of_another_shape(tmp_path):
    path, file = tmp_path / "s.yaml", tmp_path / "s_maps.npz"
    plain_model(maps=MAPS).save(path)
    text, data = path.read_text(), file.read_bytes()

    def complaint() -> str:
        with pytest.raises(PhotonbitsError) as error:
            NoiseModel.load(path)
        return str(error.value)

    file.unlink()
    assert "s_maps.npz is missing" in complaint() and str(path) in complaint()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "not the one that was written" in complaint() and "--maps" in complaint()
    file.write_bytes(data)
    path.write_text(text.replace("shape: [3, 4]", "shape: [4, 3]"))
    assert "(3, 4)" in complaint() and "(4, 3)" in complaint()
    path.write_text(text.replace("names: [offset_dn,", "names: [dark_current_e_per_s,"))
    assert "dark_current_e_per_s" in complaint() and "offset_dn" in complaint()
    path.write_text(text)
    assert NoiseModel.load(path).map_shape == (3, 4)


def test_existing_output_is_kept(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("mine")
    with pytest.raises(PhotonbitsError, match=r"exists already.*--force"):
        plain_model(maps=MAPS).save(path, overwrite=False)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    (tmp_path / "t_maps.npz").write_text("mine too")
    with pytest.raises(PhotonbitsError, match=r"t_maps\.npz"):
        plain_model(maps=MAPS).save(tmp_path / "t.yaml", overwrite=False)
    assert not (tmp_path / "t.yaml").exists()
    plain_model().save(path, overwrite=True)
    assert NoiseModel.load(path).bit_depth == 12


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    with pytest.raises(PhotonbitsError, match="does not exist"):
        plain_model(maps=MAPS).save(tmp_path / "absent" / "s.yaml")
    report = tmp_path / "r.html"
    written: list[Path] = []
    real = Path.write_bytes

    def full_disk(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(PhotonbitsError, match="No space left"):
        plain_model(maps=MAPS).save(tmp_path / "s.yaml", also={report: b"<html>"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PhotonbitsError, match="cannot be written"):
            plain_model().save(tmp_path / "s.yaml")
        assert list(tmp_path.iterdir()) == []
    finally:
        tmp_path.chmod(0o700)
