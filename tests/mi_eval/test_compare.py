"""Comparisons end to end: known differences, equal cameras, what is refused and what is warned of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from script_files import load_script

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import compare_information, estimate_information
from mi_eval.truth.fields import Correlation

CAMERA: dict[str, Any] = {"system_gain_dn_per_e": 0.5, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12}


def camera(**changes: Any) -> NoiseModel:
    return NoiseModel.from_parameters(**(CAMERA | changes))


def scenes(count: int, seed: int, size: int = 16) -> NDArray[Any]:
    """Light that differs from frame to frame in level and contrast, and is smooth over pixels, electrons."""
    rng = np.random.default_rng(seed)
    contrast = 0.3 * np.exp(0.7 * rng.standard_normal(count))[:, None, None]
    return np.asarray(40.0 * np.exp(contrast * Correlation(4.0).draw(count, size, rng)))


@pytest.fixture(scope="module")
def shot() -> dict[str, Any]:
    """The same 48 scenes with a quiet camera, one like it, and a noisy one."""
    light, rng = scenes(48, 2), np.random.default_rng(1)
    quiet, noisy = camera(), camera(read_noise_e=8.0)
    return {
        "light": light,
        "quiet": (quiet.sample(light, rng), quiet),
        "twin": (quiet.sample(light, rng), quiet),
        "noisy": (noisy.sample(light, rng), noisy),
    }


@pytest.fixture(scope="module")
def three(shot: dict[str, Any]) -> Any:
    entries = {name: shot[name] for name in ("quiet", "twin", "noisy")}
    return compare_information(entries, patch_size=8, seed=3, deterministic=True)


def test_a_clear_difference_is_found_and_an_absent_one_is_not(three: Any) -> None:
    verdicts = {(pair.first, pair.second): pair.verdict for pair in three.pairs}
    assert verdicts == {
        ("quiet", "twin"): "undecided",
        ("quiet", "noisy"): "quiet",
        ("twin", "noisy"): "twin",
    }
    assert three.paired
    # Neither of the two good ones carries more than every other.
    assert three.verdict == "undecided"
    assert "no difference detected between" in three.sentence


def test_scores_are_those_of_the_estimate(three: Any, shot: dict[str, Any]) -> None:
    alone = estimate_information(*shot["noisy"], patch_size=8, seed=3, density="closed-form", deterministic=True)
    found = dict(three.entries)["noisy"]
    # A scene that any camera sees twice is one scene for all of them, and the folds are others then.
    assert found.bursts is None
    assert found.to_dict() == alone.to_dict()
    pair = next(p for p in three.pairs if (p.first, p.second) == ("quiet", "noisy"))
    values = {name: score.mutual_information_bits_per_pixel.value for name, score in three.entries}
    assert pair.difference_bits_per_pixel.value == pytest.approx(values["quiet"] - values["noisy"])
    assert pair.frame_bits.mean() == pytest.approx(values["quiet"] - values["noisy"], abs=1e-9)


def test_pairing_takes_the_scenes_out(three: Any, shot: dict[str, Any]) -> None:
    entries = {name: shot[name] for name in ("quiet", "noisy")}
    apart = compare_information(entries, patch_size=8, seed=3, paired=False, deterministic=True)
    together = next(p for p in three.pairs if (p.first, p.second) == ("quiet", "noisy"))
    assert apart.pairs[0].sampling_std > 2 * together.sampling_std
    assert not apart.paired
    assert "scenes_correspond" in {doubt.code for doubt in apart.warnings}


def test_json_has_the_documented_keys(three: Any) -> None:
    content = json.loads(json.dumps(three.to_dict(), allow_nan=False))
    assert set(content) == {
        "difference_bits_per_pixel", "p_value", "verdict", "sentence", "compared", "paired", "patch_size", "pairs",
        "entries", "warnings", "seed", "version",
    }  # fmt: skip
    assert set(content["difference_bits_per_pixel"]) == {"value", "std", "ci95"}
    assert set(content["pairs"][0]) == {
        "first", "second", "difference_bits_per_pixel", "p_value", "p_value_holm", "verdict", "sentence",
        "error_budget_bits_per_pixel", "shared_noise_model",
    }  # fmt: skip
    assert [entry["name"] for entry in content["entries"]] == ["quiet", "twin", "noisy"]
    assert content["entries"][0]["score"]["patch_size"] == 8
    shared = {(pair["first"], pair["second"]): pair["shared_noise_model"] for pair in content["pairs"]}
    assert shared[("quiet", "twin")]
    assert not shared[("quiet", "noisy")]
    documented = Path(__file__).parents[2] / "docs" / "compare.md"
    text = documented.read_text(encoding="utf-8")
    for key in {*content, *content["pairs"][0], *content["pairs"][0]["error_budget_bits_per_pixel"]}:
        assert key in text, key


def test_same_frames_are_equal_to_the_last_digit(shot: dict[str, Any]) -> None:
    found = compare_information([shot["quiet"], shot["quiet"]], patch_size=8, deterministic=True)
    assert found.difference_bits_per_pixel.value == 0
    assert found.verdict == "undecided"
    assert found.p_value == 1.0
    assert [name for name, _ in found.entries] == ["a", "b"]


def test_frames_in_another_order_are_noticed(shot: dict[str, Any]) -> None:
    frames, model = shot["twin"]
    order = np.random.default_rng(5).permutation(len(frames))
    entries = [shot["quiet"], (frames[order], model)]
    found = compare_information(entries, paired=True, patch_size=8, deterministic=True)
    assert "scenes_do_not_correspond" in {doubt.code for doubt in found.warnings}


def test_what_is_not_the_camera_is_warned_of(shot: dict[str, Any]) -> None:
    light, rng = shot["light"], np.random.default_rng(6)
    short = camera(bit_depth=8, offset_dn=20.0)
    bright = short.sample(6 * light[:12], rng)
    found = compare_information({"long": shot["quiet"], "bright": (bright, short)}, patch_size=8, deterministic=True)
    codes = {doubt.code for doubt in found.warnings}
    assert codes >= {"light_differs", "scenes_differ", "saturation_differs"}
    assert not found.paired


def test_places_are_clear_of_the_defects_of_all() -> None:
    from mi_eval.compare import _measure
    from mi_eval.frames_check import check_frames
    from mi_eval.measurements import frames_from_array

    rng = np.random.default_rng(7)
    light = rng.gamma(4.0, 10.0, (20, 32, 32))
    defects = np.zeros((32, 32), dtype=np.uint8)
    defects[3, 20] = 4  # stuck
    holed = camera(maps={"offset_dn": np.full((32, 32), 100.0), "defects": defects})
    whole = camera()
    models = {"holed": holed, "whole": whole}
    frames = {name: check_frames(frames_from_array(whole.sample(light, rng)), model) for name, model in models.items()}
    parts = _measure(frames, models, 8, 0, 100)
    places = [part.data.positions for part in parts.values()]
    assert np.array_equal(*places)
    corners = {tuple(corner) for corner in places[0][:, 1:].tolist()}
    assert (0, 16) not in corners
    assert (0, 8) in corners
    assert parts["whole"].data.patches.n_patches == parts["holed"].data.patches.n_patches


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: e.pop("b"), "1 entries"),
        (lambda e: e.update(b=(e["b"][0][:47], e["b"][1])), "different numbers of frames: a 48, b 47"),
        (lambda e: e.update(b=(e["b"][0][:, :8], e["b"][1])), "different frame sizes: a 16 x 16, b 8 x 16"),
        (lambda e: e.update(b=(e["b"][0], camera(kind="gaussian"))), "different kinds: a poisson-gaussian, b gaussian"),
        (
            lambda e: e.update(b=(e["b"][0] + 0.1, camera(bit_depth=None))),
            "different units: a integer codes, b real values",
        ),
        (lambda e: e.update(undecided=e.pop("b")), "'undecided'"),
    ],
)
def test_refused(shot: dict[str, Any], spoil: Any, said: str) -> None:
    entries = {"a": shot["quiet"], "b": shot["twin"]}
    spoil(entries)
    with pytest.raises(PhotonbitsError, match=said.replace("(", r"\(")):
        compare_information(entries, paired=True, patch_size=8)


def test_study_in_small() -> None:
    """Two seeds of scripts/study_compare.py, fixed in advance: one of each law of scenes."""
    study = load_script("study_compare")
    for seed in (0, 1):
        stand = study.bench(("pixels", "fields")[seed], 4)
        gap = stand.source.information_bits(4).value
        noisier = study.replace(stand.source, noise_model=stand.noisier).information_bits(4).value
        assert gap - noisier == pytest.approx(study.DIFFERENCE_BITS, abs=1e-6)
        different, equal = study.run_seed(seed, scenes=300, side=8, patch_size=4)
        assert different.std < study.LARGEST_STD_BITS
        assert different.sign == 1
        assert abs(different.value - study.DIFFERENCE_BITS) < 3.5 * different.std
        assert equal.sign == 0
        assert equal.p_value > 0.001


def test_frames_that_repeat_a_scene_are_one_group_in_all_entries() -> None:
    from mi_eval.compare import _repeats
    from mi_eval.frames_check import check_frames
    from mi_eval.measurements import frames_from_array

    rng = np.random.default_rng(8)
    light = np.repeat(scenes(6, 9, 32), 2, axis=0)
    models = {"quiet": camera(), "noisy": camera(read_noise_e=8.0)}
    frames = {name: check_frames(frames_from_array(model.sample(light, rng)), model) for name, model in models.items()}
    found = _repeats(frames, models)
    assert np.array_equal(found["quiet"].scene, found["noisy"].scene)
    assert np.array_equal(found["quiet"].scene, np.repeat(np.arange(6), 2))
