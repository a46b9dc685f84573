"""Patches with stuck or cold pixels are left out of a score; hot and noisy pixels stay, for the maps describe them."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.measurements import cut_patches, frames_from_array

HOT, COLD, STUCK, NOISY = 1, 2, 4, 8


def model_with(mask: np.ndarray | None) -> NoiseModel:
    maps = {"offset_dn": np.full((32, 48), 100.0)}
    if mask is not None:
        maps["defects"] = mask
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=1.0, read_noise_e=2.0, offset_dn=100.0, bit_depth=12, maps=maps
    )


def cut(mask: np.ndarray | None, n_frames: int = 4):
    frames = np.random.default_rng(0).poisson(150, (n_frames, 32, 48)).astype(np.uint16)
    return cut_patches(frames_from_array(frames), model_with(mask), patch_size=8, seed=0, max_patches=1000)


def test_only_patches_with_unusable_pixels_are_left_out():
    mask = np.zeros((32, 48), dtype=np.uint8)
    mask[3, 3], mask[8, 16], mask[31, 47] = STUCK, COLD, STUCK | HOT
    mask[20, 20], mask[21, 30] = HOT, NOISY
    everything, sound = cut(None), cut(mask)
    assert everything.positions.shape[0] == 4 * 24
    left = {tuple(place) for place in everything.positions} - {tuple(place) for place in sound.positions}
    assert left == {(frame, *corner) for frame in range(4) for corner in ((0, 0), (8, 16), (24, 40))}
    np.testing.assert_array_equal(sound.patches.codes.shape, (4 * 21, 8, 8))


def test_without_defects_nothing_changes():
    np.testing.assert_array_equal(cut(None).positions, cut(np.zeros((32, 48), dtype=np.uint8)).positions)


def test_too_few_sound_patches_are_an_error_that_says_why():
    with pytest.raises(PhotonbitsError, match=r"0 patches.*stuck or cold"):
        cut(np.full((32, 48), COLD, dtype=np.uint8))
