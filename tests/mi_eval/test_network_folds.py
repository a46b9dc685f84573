"""Networks in a score: who sees which frames, when they are tried, and what they find."""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.density import PatchSet
from mi_eval.density.camera_cells import CameraCells
from mi_eval.density.network.causal import CausalNetwork
from mi_eval.density.network.heads import NoiseAwareHead, NormalMixtureHead
from mi_eval.density.network.intensity_grid import IntensityGrid
from mi_eval.density.network.stabilise import Stabiliser
from mi_eval.density.network.training import Schedule
from mi_eval.density.scale_mixture import ScaleMixture
from mi_eval.folds import make_folds
from mi_eval.frame_source import frames_from_array
from mi_eval.heldout import heldout_code_lengths
from mi_eval.measurements import cut_patches
from mi_eval.network_folds import network_tasks, rows_of
from mi_eval.pixel_classes import classify_pixels
from mi_eval.truth import make_source
from mi_eval.truth.ising import IsingImages


def camera(**changes: Any) -> NoiseModel:
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.0, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, **changes})


@pytest.mark.parametrize(("n_groups", "n_folds"), [(4, 4), (5, 4), (8, 4), (40, 4), (6, 2)])
def test_a_network_sees_neither_its_folds_nor_their_validation(n_groups: int, n_folds: int) -> None:
    rng = np.random.default_rng(n_groups)
    group = np.repeat(np.arange(n_groups), 3)
    folds = np.array_split(rng.permutation(n_groups), n_folds)
    validations = [rng.permutation(np.setdiff1d(np.arange(n_groups), fold))[: max(1, n_groups // 7)] for fold in folds]
    tasks = network_tasks(group, folds, validations)
    assert sorted(fold for task in tasks for fold in task.folds) == list(range(n_folds))
    for task in tasks:
        for fold in task.folds:
            assert np.isin(rows_of(group, folds[fold]), task.code).all()
            assert np.isin(rows_of(group, validations[fold]), task.code).all()
            assert not np.isin(rows_of(group, folds[fold]), np.concatenate([task.train, task.stop])).any()
            assert not np.isin(rows_of(group, validations[fold]), task.train).any()
        assert not np.isin(task.stop, task.train).any()
        assert 0 < task.fewer.size < task.train.size
        assert np.isin(task.fewer, task.train).all()
    if n_groups == 40:
        assert len(tasks) == 2


def ising(n: int, size: int, seed: int) -> tuple[IsingImages, NDArray[Any]]:
    source = IsingImages("ising", "", camera(), low_e=2.0, high_e=14.0, coupling=0.4)
    return source, source.sample(n, size, np.random.default_rng(seed)).frames


@pytest.mark.slow
def test_ising_images() -> None:
    """Known information: closed-form families are 0.2 bit per pixel off, the network finds what neighbours tell."""
    source, frames = ising(800, 8, 0)
    truth = source.surprise_bits(frames).mean() / 64 - float(
        source.noise_model.conditional_entropy_bits(np.array([2.0, 14.0])).mean()
    )
    found = {
        density: estimate_information(frames, source.noise_model, patch_size=8, density=density)
        for density in ("closed-form", "auto")
    }
    error = {name: score.mutual_information_bits_per_pixel.value - truth for name, score in found.items()}
    assert error["closed-form"] > 0.1
    assert abs(error["auto"]) < 0.03
    assert "causal_network" in {model.name for model in found["auto"].models}
    information = found["auto"].mutual_information_bits_per_pixel
    assert information.ci95[0] < truth < information.ci95[1]
    assert found["auto"].slack_bits_per_pixel < found["closed-form"].slack_bits_per_pixel / 3


def patches_of(frames: NDArray[Any], model: NoiseModel) -> PatchSet:
    return PatchSet(
        frames.astype(np.int64),
        np.arange(len(frames)),
        4.0,
        float(model.camera.offset_dn),
        black_clip_dn=0.0,
        white_clip_dn=4095.0,
        cells=CameraCells.of(model, classify_pixels(model)),
    )


def test_without_torch_the_network_is_missed_only_where_it_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("mi_eval.density.families.find_spec", lambda name: None if name == "torch" else found(name))
    source, frames = ising(160, 8, 1)
    patches = patches_of(frames, source.noise_model)
    assert heldout_code_lengths(patches, 0).no_torch
    assert not heldout_code_lengths(patches, 0, "closed-form").no_torch
    noise = source.noise_model.sample(np.full(frames.shape, 20.0), np.random.default_rng(2))
    assert not heldout_code_lengths(patches_of(noise, source.noise_model), 0).no_torch
    with pytest.raises(PhotonbitsError, match=r"photonbits\[torch\]"):
        heldout_code_lengths(patches, 0, "network")


def test_each_network_leaves_its_own_share_of_its_parameters_in_the_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    source, frames = ising(100, 8, 1)
    one = CausalNetwork(schedule=Schedule(pixel_visits=1.0))
    found = {}
    for share in (1.0, 2.0):
        families = (one, replace(one, name="other", learnt_by_chance=share))
        monkeypatch.setattr("mi_eval.heldout.network_families", lambda families=families, **_: families)
        found[share] = heldout_code_lengths(patches_of(frames, source.noise_model), 0, "reference")
    assert found[1.0].names[-1] == "other"
    weight = found[1.0].weights[-1]
    assert weight > 0.2
    parameters = (2 * 40 + 6) * 64 + 40 * 64 + 64 + 64 * 64 + 64 + 65 * 20  # some 20 intensities
    patches = patches_of(frames, source.noise_model)
    folds = make_folds(patches, 0)
    tasks = network_tasks(patches.frame_index, [f.test for f in folds], [f.validation for f in folds])
    pixels = 64 * min(task.train.size for task in tasks)
    growth = (found[2.0].slack_bits - found[1.0].slack_bits) / weight
    assert growth == pytest.approx(parameters / (2 * pixels * np.log(2)), rel=0.05)


def test_unknown_densities_are_refused() -> None:
    source, frames = ising(16, 8, 1)
    with pytest.raises(PhotonbitsError, match="closed-form, network, reference"):
        heldout_code_lengths(patches_of(frames, source.noise_model), 0, "fast")  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{}, {"kind": "gaussian"}, {"read_noise_e": 0.2}, {"system_gain_dn_per_e": 8.0}])
def test_stabilised_noise_has_unit_variance_and_no_code_vanishes(changes: dict[str, Any]) -> None:
    model = camera(**changes)
    stabilise = Stabiliser.of(patches_of(np.full((4, 4, 4), 120), model))
    gain = float(model.camera.system_gain_dn_per_e)
    for y in (30.0, 300.0):
        u = gain * (np.random.default_rng(0).normal(y, np.sqrt(y * (model.camera.kind != "gaussian")), 40_000))
        u += gain * float(model.camera.read_noise_e) * np.random.default_rng(1).standard_normal(40_000)
        assert np.std(stabilise(u)) == pytest.approx(1, abs=0.03)
    edges = stabilise(np.arange(-200.5, 4096.0))
    assert np.all(np.diff(edges) > 0)
    v = np.array([-50.0, -1.0, 0.5, 40.0, 900.0])
    slope = (stabilise(v + 1e-4) - stabilise(v - 1e-4)) / 2e-4
    np.testing.assert_allclose(slope, stabilise.slope(v), rtol=1e-6)


def test_bright_light_gets_gaussians_and_dim_light_the_camera() -> None:
    rng = np.random.default_rng(0)
    dim = camera().sample(rng.gamma(2.0, 5.0, (40, 8, 8)), rng)
    bright = camera().sample(rng.gamma(2.0, 600.0, (40, 8, 8)), rng)
    network = CausalNetwork(schedule=Schedule(pixel_visits=1.0))
    for frames, head in ((dim, NoiseAwareHead), (bright, NormalMixtureHead)):
        patches = patches_of(frames, camera())
        assert isinstance(network.fit(patches, patches, 0).head, head)


def test_grid_follows_two_levels_and_its_masses_are_the_cameras() -> None:
    source, frames = ising(60, 8, 3)
    patches = patches_of(frames, source.noise_model)
    grid = IntensityGrid.of(patches, patches)
    assert isinstance(grid, IntensityGrid)
    assert grid.weights.sum() == pytest.approx(1)
    # Deconvolution puts the light where it is: 2 and 14 electrons, half of the pixels each.
    assert grid.weights[np.abs(grid.y_e - 2) < 1.2].sum() == pytest.approx(0.5, abs=0.1)
    assert grid.weights[np.abs(grid.y_e - 14) < 2.5].sum() == pytest.approx(0.5, abs=0.1)
    rows = grid.masses[grid.locate(patches)]
    expected = np.exp(source.noise_model.log_pmf(patches.codes.reshape(60, -1, 1), grid.y_e))
    np.testing.assert_allclose(rows, expected, atol=1e-12)
    lower, upper = grid.edges(patches)
    np.testing.assert_allclose(upper - lower, rows, atol=1e-12)


def test_pixels_with_their_own_offsets_keep_proper_masses() -> None:
    """Classes, phases of the offset, dark pattern beyond a code, and clips that the shift moves."""
    rng = np.random.default_rng(4)
    offset, p, n = 3.0 + rng.normal(0, 2.0, (1, 6, 6)), 6, 12
    shift = np.floor(offset) - 3
    models = tuple(camera(read_noise_e=r, offset_dn=3.5) for r in (1.0, 2.0))
    wide = {name: np.repeat(a, n, axis=0) for name, a in (("offset", offset), ("shift", shift))}
    cells = CameraCells(models, 0.5, 0.75, True, rng.integers(0, 2, (1, p, p)).repeat(n, axis=0), wide["shift"])
    light = np.floor(wide["offset"] + rng.gamma(2.0, 4.0, (n, p, p)))
    codes = np.clip(light, 0, 15).astype(np.int64)

    def patches(codes: NDArray[Any]) -> PatchSet:
        return PatchSet(codes, np.arange(n), 1.0, wide["offset"], 1.0, 0.0, 15.0, cells=cells)

    grid = IntensityGrid.of(patches(codes), patches(codes))
    assert isinstance(grid, IntensityGrid)
    every = [grid.masses[grid.locate(patches(np.full_like(codes, code)))] for code in range(16)]
    np.testing.assert_allclose(np.sum(every, axis=0), 1.0, atol=1e-12)
    edges = [grid.edges(patches(np.full_like(codes, code))) for code in range(16)]
    np.testing.assert_array_equal(edges[0][0], 0)
    np.testing.assert_array_equal(edges[-1][1], 1)
    for (_, upper), (lower, _) in itertools.pairwise(edges):
        np.testing.assert_allclose(upper, lower, atol=1e-12)


def test_batches_hold_pixels_not_patches() -> None:
    """One budget of pixel visits makes as many steps for patches of any size, until a batch is one patch."""
    schedule = Schedule(pixel_visits=2.0e6, most_epochs=1e9)
    assert [schedule.batch(side**2) for side in (4, 8, 16, 24, 32, 64, 128)] == [16, 16, 16, 7, 4, 1, 1]
    steps = {side: schedule.steps(500, side**2) for side in (16, 32, 64)}
    assert steps[16] == pytest.approx(2.0e6 / 4096, abs=1)
    assert steps[32] == pytest.approx(steps[16], abs=1)
    assert steps[64] == pytest.approx(steps[16], abs=1)


def test_large_patches_are_learnt_as_well_as_small_ones() -> None:
    """Two-level images: the network saves bits on patches of 48 x 48 that 40 steps of 16 of them do not."""
    model = make_source("ising").noise_model
    rng = np.random.default_rng(0)
    fields = (gaussian_filter(rng.standard_normal((48, 48)), 1.5, mode="wrap") for _ in range(80))
    codes = model.sample(np.stack([np.where(field > 0, 14.0, 2.0) for field in fields]), rng).astype(np.uint16)
    cut = cut_patches(frames_from_array(codes), model, patch_size=48, seed=0, max_patches=80).patches
    train, validation, test = (cut.take(np.arange(*part)) for part in ((0, 48), (48, 60), (60, 80)))
    base = ScaleMixture().fit(train, validation, 0)
    few = CausalNetwork(schedule=Schedule(pixel_visits=6e5))
    many = Schedule(pixel_visits=6e5, batch_patches=16 * 9)  # batches of 16 patches whatever their size
    assert few.schedule.batch(48**2) == 2 and many.batch(48**2) == 16
    ours, theirs = (
        float(network.fit(train, validation, 0, base).code_length_bits(test).mean()) / 48**2
        for network in (few, replace(few, schedule=many))
    )
    assert ours < theirs - 0.01
