"""A sweep file: what it expands to, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibrate import PhotonbitsError
from mi_eval.sweep import cells_of, load_config
from mi_eval.sweep.cells import settings_of
from mi_eval.sweep.config import parse_config

ENTRY = {"name": "a", "frames": "a.npy", "noise_model": "a.yaml"}


def config(**keys):
    return parse_config(keys, folder=Path("/data"))


def test_lists_of_an_entry_are_multiplied_out_and_fill_the_placeholders():
    entry = {
        "frames": "{camera}/gain{gain_setting}/{exposure_s}s",
        "noise_model": "{camera}_{gain_setting}.yaml",
        "camera": ["A", "B"],
        "gain_setting": [0, 12.5],
        "exposure_s": [0.01, 1.0],
    }
    settings = settings_of(config(entries=[entry]))
    assert len(settings) == 8
    last = settings[-1]
    assert last.name == "B gain 12.5 1 s"
    assert last.frames == (Path("/data/B/gain12.5/1s"),)
    assert last.noise_model == Path("/data/B_12.5.yaml")
    assert (last.camera, last.gain_setting, last.exposure_s) == ("B", 12.5, 1.0)


def test_cells_are_settings_times_patch_sizes_times_seeds_with_names_for_files():
    cells = cells_of(config(entries=[{**ENTRY, "name": "gain 3, 0.5 s"}], patch_size=[8, 16], seed=[0, 4]))
    assert [cell.name for cell in cells] == [f"gain-3-0.5-s_p{p}_s{s}" for p in (8, 16) for s in (0, 4)]


def test_what_if_cases_are_named_by_their_changes():
    block = {
        "name": "sensor",
        "of": "a",
        "cases": [{"exposure_factor": [0.5, 0.25]}, {"name": "old", "read_noise_e": 8.0, "bit_depth": [8, 10]}],
    }
    settings = settings_of(config(entries=[ENTRY], what_if=[block]))
    assert [setting.name for setting in settings] == [
        "a",
        "sensor: exposure x 0.5",
        "sensor: exposure x 0.25",
        "sensor: old, 8 bit",
        "sensor: old, 10 bit",
    ]
    assert settings[3].changes == {"read_noise_e": 8.0, "bit_depth": 8}
    assert {setting.kind for setting in settings[1:]} == {"degraded"}


def test_frames_that_are_used_one_by_one_keep_their_scenes_and_sums_of_repeats_do_not():
    def block(repeats):
        return {"name": "w", "of": "a", "repeats": repeats, "cases": [{"light_factor": 0.5}]}

    entry = {**ENTRY, "scenes": "lab"}
    for repeats, scenes in ((1, "lab"), (2, "what-if of a")):
        assert settings_of(config(entries=[entry], what_if=[block(repeats)]))[1].scenes == scenes


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "nothing to score"),
        ({"entries": [ENTRY], "patch_sizes": 8}, "unknown key patch_sizes"),
        ({"entries": [{**ENTRY, "gain": 3}]}, "unknown key entries 1 gain"),
        ({"entries": [{"frames": "a"}]}, "missing key entries 1 noise_model"),
        ({"entries": [ENTRY], "patch_size": [8, 1]}, "patch_size 2, which is 1"),
        ({"entries": [ENTRY], "seed": [3, 3]}, "each once"),
        ({"entries": [ENTRY], "density": "auto"}, "density"),
        ({"entries": [{**ENTRY, "exposure_s": -1}]}, "exposure_s"),
        ({"entries": [ENTRY], "what_if": [{"name": "w", "cases": [{}]}]}, "light_e"),
        ({"entries": [ENTRY], "what_if": [{"name": "w", "light_e": "y.npy", "cases": [{}]}]}, "noise_model"),
        ({"what_if": [{"name": "w", "of": "a", "cases": []}]}, "cases"),
        ({"entries": [ENTRY], "what_if": [{"name": "w", "of": "a", "cases": [{"iso": 3}]}]}, "unknown key"),
    ],
)
def test_errors_name_the_key(keys, words):
    with pytest.raises(PhotonbitsError, match="(?s).*" + words):
        config(**keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"entries": [ENTRY, ENTRY]}, "two settings have the name 'a'"),
        ({"entries": [{**ENTRY, "frames": "{camera}.npy"}]}, "no value"),
        ({"entries": [ENTRY], "what_if": [{"name": "w", "of": "b", "cases": [{}]}]}, "no entry"),
    ],
)
def test_contradictions_are_found_when_cells_are_made(keys, words):
    with pytest.raises(PhotonbitsError, match=words):
        cells_of(config(**keys))


def test_files_that_are_no_sweep_are_refused(tmp_path):
    with pytest.raises(PhotonbitsError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    for text, words in (("a: [", "not readable as YAML"), ("- 1", "top of the file is list")):
        (tmp_path / "s.yaml").write_text(text)
        with pytest.raises(PhotonbitsError, match=words):
            load_config(tmp_path / "s.yaml")
