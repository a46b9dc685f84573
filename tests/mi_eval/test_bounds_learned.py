"""A learned critic on two shots of the same scenes, and on objects with their measurements."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bounds import learned_bound
from mi_eval.truth.fields import Correlation
from mi_eval.truth.templates import Templates


def templates(mean_e):
    camera = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100, bit_depth=12)
    return Templates("templates", "", camera, mean_e, Correlation(3.0, 2.0), n_templates=8)


@pytest.fixture(scope="module")
def shots():
    source = templates(20.0)
    rng = np.random.default_rng(0)
    light = source.sample(1500, 6, rng).light_e
    return light, source.noise_model.sample(light, rng), source.noise_model.sample(light, rng)


def test_two_shots_of_eight_patterns_share_three_bits(shots):
    _, first, second = shots
    found = learned_bound(first, second, epochs=40)
    assert found.lower_bits_per_pixel < 3 / 36 + 3 * found.std_bits_per_pixel
    assert found.lower_bits_per_pixel > 0.75 * 3 / 36
    assert found.cap_bits_per_pixel == pytest.approx(np.log2(300) / 36)
    assert (found.train_pairs, found.test_pairs) == (900, 300)
    assert not found.capped
    assert len(found.per_seed_bits_per_pixel) == len(found.seeds) == 2
    assert found.lower_bits_per_pixel in found.per_seed_bits_per_pixel
    # Two encoders: 3 x 3 x 16 + 16, 3 x 3 x 16 x 16 + 16, 16 x 36 x 32 + 32 numbers.
    assert found.critic_parameters == 2 * (160 + 2320 + 18464)


def test_objects_and_their_measurements(shots):
    light, first, _ = shots
    found = learned_bound(light, first, seeds=(3,), epochs=25)
    assert 0.7 * 3 / 36 < found.lower_bits_per_pixel < 3 / 36 + 3 * found.std_bits_per_pixel


def test_unrelated_pairs_share_nothing_and_the_same_seed_gives_the_same(shots):
    _, first, second = shots
    mixed = np.random.default_rng(5).permutation(second[:600])
    found = learned_bound(first[:600], mixed, seeds=(0,), epochs=6, batch=64)
    assert found.lower_bits_per_pixel < 3 * found.std_bits_per_pixel + 1e-4
    assert learned_bound(first[:600], mixed, seeds=(0,), epochs=6, batch=64) == found


def test_groups_stay_together(shots):
    from mi_eval.bounds.learned import _split

    label = np.repeat(np.arange(100), 3)
    parts = _split(label, 300)
    assert sorted(np.concatenate(parts)) == list(range(300))
    for i in range(3):
        for j in range(i):
            assert not set(label[parts[i]]) & set(label[parts[j]])


def test_what_is_refused(shots):
    _, first, second = shots
    for arguments, options, words in (
        ((first, second[:10]), {}, "equally many"),
        ((first[:40], second[:40]), {}, "50 or more"),
        ((first[:100], second[:100]), {"batch": 128}, "training pairs"),
        ((first, second), {"seeds": ()}, "one or more"),
        ((first, second), {"groups": np.zeros(3)}, "one for each pair"),
    ):
        with pytest.raises(PhotonbitsError, match=words):
            learned_bound(*arguments, **options)
