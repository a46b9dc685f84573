"""Held-out codes of many patches: a share of them is enough where nothing depends on the rest."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel
from mi_eval.density import PatchSet
from mi_eval.heldout import heldout_code_lengths


def smooth_patches(n_frames: int, per_frame: int) -> PatchSet:
    """Codes of smooth light, several patches from each frame."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    rng = np.random.default_rng(5)
    level = rng.gamma(4.0, 50.0, (n_frames * per_frame, 1, 1))
    slope = rng.normal(0.0, 0.05, (n_frames * per_frame, 6, 1)) + rng.normal(0.0, 0.05, (n_frames * per_frame, 1, 6))
    codes = model.sample(level * np.exp(slope), rng)
    return PatchSet(
        codes.astype(np.int64),
        np.repeat(np.arange(n_frames), per_frame),
        60.0,
        100.0,
        black_clip_dn=0.0,
        white_clip_dn=4095.0,
    )


def test_a_share_of_many_patches_measures_the_excess(monkeypatch: pytest.MonkeyPatch) -> None:
    patches = smooth_patches(60, 10)
    monkeypatch.setattr("mi_eval.folds._MANY_PATCHES", 600)
    monkeypatch.setattr("mi_eval.folds._SAMPLED_PATCHES", 600)
    whole = heldout_code_lengths(patches, 0, "closed-form")
    monkeypatch.setattr("mi_eval.folds._SAMPLED_PATCHES", 200)
    shared = heldout_code_lengths(patches, 0, "closed-form")
    assert np.isfinite(whole.family_bits).all()
    dropped = ~np.isfinite(shared.family_bits).all(axis=0)
    # White noise with one level a patch: the histogram of single pixels is no use.
    assert dropped[shared.names.index("code_histogram")]
    assert not dropped.all()
    assert shared.weights.sum() == pytest.approx(1.0)
    # What was left out saves less than 2e-5 bits per pixel of validation patches, and 1e-4 weights cost as much.
    assert shared.full_bits.mean() / 36 == pytest.approx(whole.full_bits.mean() / 36, abs=1e-3)
    measured = np.isfinite(shared.family_bits[:, dropped]).all(axis=1)
    assert 180 <= measured.sum() <= 240
    for group in range(60):
        assert measured[patches.frame_index == group].any()
        unmeasured = shared.excess_bits[(patches.frame_index == group) & ~measured]
        mean = shared.excess_bits[(patches.frame_index == group) & measured].mean()
        assert unmeasured == pytest.approx(mean)
    # The share's mean excess agrees with that of all within the scatter of what was left out.
    scatter = whole.excess_bits.std() / np.sqrt(measured.sum())
    assert shared.excess_bits.mean() == pytest.approx(whole.excess_bits.mean(), abs=4 * scatter)
