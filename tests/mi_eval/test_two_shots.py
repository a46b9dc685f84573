"""Two shots of each scene: a lower bound that needs no noise model."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.two_shots import _pairs

pytest.importorskip("torch")


def camera() -> NoiseModel:
    return NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100.0, bit_depth=12)


def shots(n_scenes: int) -> np.ndarray:
    """Two frames of each scene, one of four bright textures, never the one before."""
    rng = np.random.default_rng(11)
    textures = 40.0 * np.exp(0.5 * rng.standard_normal((4, 24, 24)))
    which = np.cumsum(rng.integers(1, 4, n_scenes)) % 4
    return np.asarray(camera().sample(np.repeat(textures[which], 2, axis=0), rng))


@pytest.mark.slow
def test_two_bits_a_patch_are_found_from_below() -> None:
    """Four equally likely bright textures: 2 bits a patch of 8 x 8, and a bound just under it."""
    found = estimate_information(shots(300), camera(), patch_size=8, two_shots=True, density="closed-form")
    block = found.two_shots
    assert block is not None and block["scenes"] == 300 and block["heldout_scenes"] == 60
    assert found.lower_bound_bits_per_pixel == block["value"]
    assert 0.75 * 2 / 64 < block["value"] <= 2 / 64 + 3 * block["std"]
    assert not block["capped"] and block["cap"] == pytest.approx(np.log2(60) / 64)
    assert found.to_dict()["two_shots"]["seeds"] == [0, 1]


def test_pairs_lie_at_one_place() -> None:
    """The pattern of the sensor is then the same in every pair."""
    scene = np.array([0, 0, 1, 1, 1, 2, 3, 3])
    places = [(0, 0), (0, 8), (8, 0)]
    positions = np.array([(f, *places[k]) for f in range(8) for k in range(3) if (f, k) != (1, 0)])
    pairs = _pairs(scene, positions, seed=0)
    assert len(pairs) == 3  # scene 2 was shot once
    assert len({tuple(place) for place in positions[pairs.ravel(), 1:].tolist()}) == 1
    assert scene[positions[pairs[:, 0], 0]].tolist() == scene[positions[pairs[:, 1], 0]].tolist() == [0, 1, 3]
    assert np.all(positions[pairs[:, 0], 0] != positions[pairs[:, 1], 0])


def test_scenes_shot_once_are_refused() -> None:
    frames = shots(60)[::2]
    with pytest.raises(PhotonbitsError, match=r"scenes with two shots.*50 or more"):
        estimate_information(frames, camera(), patch_size=8, two_shots=True, density="closed-form")
