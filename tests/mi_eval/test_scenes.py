"""The effective number of scenes and the correspondence of two sets of frames, against sets made to order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.measurements import cut_patches, frames_from_array
from mi_eval.scenes import Thumbnails, block_means, block_side, effective_scenes, scenes_correspond

SHAPE = (64, 80)
CAMERA = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100, bit_depth=12)


def scenes(count: int, rng: np.random.Generator, shape: tuple[int, int] = SHAPE) -> NDArray[Any]:
    """Light fields with a spectrum like that of photographs, contrasts and levels that differ, electrons."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij"))
    amplitude = 1 / np.maximum(frequency, 1 / max(shape))
    amplitude[0, 0] = 0
    white = np.fft.rfft2(rng.standard_normal((count, *shape)))
    field = np.fft.irfft2(white * amplitude, shape)
    field /= field.std()
    contrast = np.exp(0.3 * rng.standard_normal(count))[:, None, None]
    level = 200 * np.exp(0.5 * rng.standard_normal(count))[:, None, None]
    return np.asarray(level * np.exp(0.3 * contrast * field))


def thumbnails(light_e: NDArray[Any], rng: np.random.Generator, camera: NoiseModel = CAMERA) -> Thumbnails:
    frames = camera.sample(light_e, rng)
    return cut_patches(frames_from_array(frames), camera, patch_size=8, seed=0, max_patches=400).thumbnails


@pytest.mark.parametrize("count", [12, 60, 240])
def test_independent_scenes_count_in_full(count: int) -> None:
    rng = np.random.default_rng(count)
    found = effective_scenes(thumbnails(scenes(count, rng), rng))
    assert found == pytest.approx(count, rel=0.12)


@pytest.mark.parametrize(("kinds", "times"), [(1, 40), (4, 10), (20, 5), (60, 4)])
def test_repeated_scenes_count_once(kinds: int, times: int) -> None:
    """Each scene is shot several times, with new noise and under a lamp whose level changes."""
    rng = np.random.default_rng(kinds)
    light = np.tile(scenes(kinds, rng), (times, 1, 1)) * np.exp(0.2 * rng.standard_normal(kinds * times))[:, None, None]
    found = effective_scenes(thumbnails(light, rng))
    assert found == pytest.approx(kinds, rel=0.12)


def test_unequal_shares() -> None:
    """One scene in 30 frames and 30 scenes in one each: N^2 / sum of squares."""
    rng = np.random.default_rng(3)
    light = np.concatenate([np.repeat(scenes(1, rng), 30, axis=0), scenes(30, rng)])
    assert effective_scenes(thumbnails(light, rng)) == pytest.approx(60**2 / (30**2 + 30), rel=0.12)


def test_a_moving_camera_lies_between() -> None:
    """Frames cut from one wide scene, each shifted by a fifth of a frame against the last."""
    rng = np.random.default_rng(4)
    wide = scenes(1, rng, (64, 80 + 16 * 39))[0]
    light = np.stack([wide[:, 16 * k : 16 * k + 80] for k in range(40)])
    found = effective_scenes(thumbnails(light, rng))
    assert found is not None
    assert 30 < found <= 40  # a shift by six blocks of three pixels leaves little of the gradients in place
    slow = np.stack([wide[:, k : k + 80] for k in range(40)])
    crept = effective_scenes(thumbnails(slow, rng))
    assert crept is not None
    assert 3 < crept < 25


def test_a_shaded_lens_does_not_make_scenes_alike() -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[-1:1:64j, -1:1:80j]
    found = effective_scenes(thumbnails(scenes(100, rng) * (1 - 0.3 * (x * x + y * y)), rng))
    assert found == pytest.approx(100, rel=0.15)


def test_independent_pixels_at_low_light() -> None:
    rng = np.random.default_rng(6)
    found = effective_scenes(thumbnails(rng.gamma(4.0, 1.0, (300, 16, 16)), rng))
    assert found == pytest.approx(300, rel=0.15)


def test_edges_on_a_grid_do_not_make_scenes_alike() -> None:
    """Every scene is made of the same squares, with edges at the same places."""
    rng = np.random.default_rng(12)
    light = 20 * np.kron(rng.gamma(3.0, 1.0, (60, 16, 16)), np.ones((1, 4, 4)))
    assert effective_scenes(thumbnails(light, rng)) == pytest.approx(60, rel=0.15)


def test_nothing_to_see_is_said() -> None:
    rng = np.random.default_rng(7)
    assert effective_scenes(thumbnails(np.full((20, 64, 64), 100.0), rng)) is None
    one = thumbnails(scenes(1, rng), rng)
    assert effective_scenes(one) is None


def test_a_few_blank_frames_are_one_scene() -> None:
    rng = np.random.default_rng(8)
    light = np.concatenate([scenes(30, rng), np.full((10, *SHAPE), 100.0)])
    assert effective_scenes(thumbnails(light, rng)) == pytest.approx(31, rel=0.12)


def test_many_frames_are_drawn_from() -> None:
    """2000 frames of 25 scenes in turn; the draw must not fall in step with them."""
    rng = np.random.default_rng(9)
    kinds = scenes(25, rng, (16, 16))
    small = thumbnails(np.tile(kinds, (80, 1, 1)), rng)
    assert effective_scenes(small) == pytest.approx(25, rel=0.12)


def test_order_and_offset_do_not_matter() -> None:
    rng = np.random.default_rng(10)
    small = thumbnails(np.tile(scenes(10, rng), (3, 1, 1)), rng)
    order = rng.permutation(30)
    moved = Thumbnails(small.light_dn[order] + 7.0, small.noise_variance_dn2[order])
    assert effective_scenes(moved) == pytest.approx(effective_scenes(small), rel=1e-6)


def test_correspondence() -> None:
    rng = np.random.default_rng(11)
    light = scenes(40, rng)
    first = thumbnails(light, rng)
    dim = NoiseModel.from_parameters(system_gain_dn_per_e=2.0, read_noise_e=5.0, offset_dn=50, bit_depth=12)
    assert scenes_correspond(first, thumbnails(0.5 * light, rng, dim)) is True
    assert scenes_correspond(first, thumbnails(scenes(40, rng), rng)) is False
    shuffled = np.random.default_rng(0).permutation(40)
    other = thumbnails(light, rng)
    assert scenes_correspond(first, replace(other, light_dn=other.light_dn[shuffled])) is False
    assert scenes_correspond(first, thumbnails(light[:39], rng)) is None
    still = np.repeat(light[:1], 40, axis=0)
    assert scenes_correspond(thumbnails(still, rng), thumbnails(still, rng)) is None
    flat = np.full((40, *SHAPE), 100.0)
    assert scenes_correspond(thumbnails(flat, rng), thumbnails(flat, rng)) is None


def test_blocks_are_whole_periods() -> None:
    assert block_side((64, 80), (1, 1)) == (3, 3)
    assert block_side((64, 80), (2, 2)) == (4, 4)
    means = block_means(np.arange(35).reshape(1, 5, 7), (2, 3))
    assert means.tolist() == [[[4.5, 7.5], [18.5, 21.5]]]
