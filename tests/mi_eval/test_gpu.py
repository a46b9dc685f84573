"""Networks on a GPU: the numbers of the CPU, the same every time, and what happens where it is missing or small."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from script_files import load_script

from calibrate import NoiseModel, PhotonbitsError
from mi_eval import estimate_information
from mi_eval.bounds import learned_bound
from mi_eval.density import PatchSet
from mi_eval.density.camera_cells import CameraCells
from mi_eval.density.network import captured, device, training
from mi_eval.density.network.causal import CausalNetwork
from mi_eval.density.network.gated_pixelcnn import GatedPixelCNN
from mi_eval.density.network.training import Schedule
from mi_eval.design.determinism import deterministic_torch
from mi_eval.downstream.unet import make_network
from mi_eval.heldout import heldout_code_lengths
from mi_eval.pixel_classes import classify_pixels
from mi_eval.truth import make_source

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
NETWORKS = (CausalNetwork(), GatedPixelCNN())
KINDS = ("dim", "bright", "real")


def patches_of(kind: str, n: int = 96, size: int = 8) -> PatchSet:
    """Smooth light under a camera: few electrons, many, or real-valued measurements."""
    rng = np.random.default_rng(3)
    field = np.cumsum(np.cumsum(rng.standard_normal((n, size, size)), axis=1), axis=2)
    light = (8.0 if kind == "dim" else 900.0) * np.exp(0.5 * field / field.std())
    if kind == "real":
        values = light + 4.0 * rng.standard_normal(light.shape)
        return PatchSet(values, np.arange(n), 16.0, lattice_dn=None)
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.5, offset_dn=100.0, bit_depth=12)
    codes = model.sample(light, rng).astype(np.int64)
    cells = CameraCells.of(model, classify_pixels(model))
    return PatchSet(codes, np.arange(n), 4.0, 100.0, black_clip_dn=0.0, white_clip_dn=4095.0, cells=cells)


def short(network: Any, steps: int) -> Any:
    return replace(network, schedule=Schedule(pixel_visits=64 * 16 * steps, most_epochs=1e9, batch_patches=16))


# ---- without a GPU --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU0", "mps"])
def test_an_unknown_device_is_refused_before_anything_is_fitted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, name)
    monkeypatch.setattr("mi_eval.heldout.make_folds", None)
    with pytest.raises(PhotonbitsError, match="PHOTONBITS_DEVICE"):
        heldout_code_lengths(patches_of("dim"), 0)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, " CPU ")
    assert device.best_device() == torch.device("cpu")
    monkeypatch.delenv(device.VARIABLE)
    assert device.best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setenv(device.VARIABLE, "cuda:97")
    with pytest.raises(PhotonbitsError, match=r"cuda:97.*cannot be used"):
        device.best_device()


def test_a_gpu_that_fails_at_the_simplest_sum_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "_fault", lambda _: "no kernel image is available")
    choose = device._device.__wrapped__
    with pytest.warns(RuntimeWarning, match="no kernel image.*the CPU does it"):
        assert choose("auto") == torch.device("cpu")
    with pytest.raises(PhotonbitsError, match="no kernel image"):
        choose("cuda")


def test_where_memory_is_short_the_cpu_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "best_device", lambda: torch.device("cuda"))
    asked = []

    def work(where: Any) -> int:
        asked.append(where.type)
        if where.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 7

    with pytest.warns(RuntimeWarning, match="memory is short for a fit.*PHOTONBITS_DEVICE=cpu"):
        assert device.on_best_device(work, "a fit") == 7
    assert asked == ["cuda", "cpu"]


def test_settings_of_the_gpu_come_back_after_the_last_thread() -> None:
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with device.repeatable():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with device.repeatable():
        thread.start()
        assert inside.wait(10)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == (True, False)
    leave.set()
    thread.join()
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32) == before


def test_steps_for_a_gpu_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam, the clipped gradient and the average, with numbers that lie in tensors."""
    steps, schedule = 40, Schedule(learning_rate=0.1, weight_decay=0.5)
    centre = torch.linspace(-3, 3, 24).reshape(4, 6)
    order = torch.from_numpy(np.random.default_rng(0).integers(0, 4, (steps, 2)))

    def start() -> tuple[list[Any], list[list[Any]], list[Any]]:
        weights = [torch.ones(1, 6, requires_grad=True), torch.zeros(1, requires_grad=True)]
        return (
            weights,
            [[torch.zeros_like(w) for w in weights] for _ in range(2)],
            [w.detach().clone() for w in weights],
        )

    def loss(weights: list[Any], index: Any) -> Any:
        return ((weights[0] - centre[index]) ** 2).sum(dim=1).mean() + 9 * (weights[1] - 2).abs().sum()

    weights, moments, averaged = start()
    for step in range(steps):
        gradients = list(torch.autograd.grad(loss(weights, order[step]), weights))
        training._step(weights, gradients, moments, averaged, step, steps, schedule)
    others, other_moments, other_averaged = start()
    advance = captured.CapturedSteps(
        lambda index: loss(others, index),
        lambda gradients, now: training._device_step(others, gradients, other_moments, other_averaged, now),
        others,
        order,
        training.step_numbers(steps, schedule),
    )
    for step in range(steps):
        advance(step)
    for one, other in zip((*weights, *averaged), (*others, *other_averaged), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), atol=2e-5)
    assert float(torch.linalg.vector_norm(averaged[0] - 1)) > 0.5


def test_random_numbers_of_the_gpu_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.manual_seed seeds the caller's GPUs too, which forking the CPU's generator does not put back."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
    assert seeded == [1]
    first, second = (make_network(1, 1, 4, 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    a = np.random.default_rng(0).standard_normal((80, 8, 8))
    learned_bound(a, a + 0.5, seeds=(0,), epochs=1, batch=32)
    assert seeded == [1]


def test_benchmark_of_the_gpu_in_small(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = load_script("benchmark_gpu", monkeypatch)
    monkeypatch.setenv(device.VARIABLE, "cpu")
    answers = script.run(["ising"], patches=160, patch_size=8, seed=0, devices=["cpu"], budget=0.05, cpu_share=1.0)
    base, causal, reference = answers
    assert base["family"] == "base" and base["gap_bits_per_pixel"] > causal["gap_bits_per_pixel"] > 0
    assert reference["gap_bits_per_pixel"] > 0 and reference["steps"] == reference["steps_made"]
    longer = reference["gap_bits_per_pixel"] - causal["gap_bits_per_pixel"]
    assert reference["shorter_bits_per_pixel"] == pytest.approx(-longer, abs=1e-12)
    assert "bit/px shorter" in capsys.readouterr().out
    part = script.measure(
        script.make_case("two-level", 160, 0, 8), CausalNetwork(), *unfitted(script), "cpu", 1.0, 0.5
    )[0]
    assert "code_bits_per_pixel" not in part
    assert script.photographs(5, 16, 0).mean() == pytest.approx(30, rel=1)


def unfitted(script: Any) -> tuple[Any]:
    case = script.make_case("two-level", 160, 0, 8)
    return (script.ScaleMixture().fit(case.train, case.validation, 0),)


# ---- on a GPU -------------------------------------------------------------------------------------------------


@needs_gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_codes_are_those_of_the_cpu(network: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = patches_of(kind)
    monkeypatch.setenv(device.VARIABLE, "cpu")
    fitted = short(network, 40).fit(patches, patches, 0)
    here = fitted.pixel_code_length_bits(patches)
    monkeypatch.setenv(device.VARIABLE, "cuda")
    there = fitted.pixel_code_length_bits(patches)
    assert set(fitted._placed) == {"cpu", "cuda"}
    np.testing.assert_allclose(there, here, atol=2e-3)
    assert abs(there.mean() - here.mean()) < 1e-5
    # In any order of patches, and one by one: nothing of a batch tells on the others.
    np.testing.assert_allclose(fitted.pixel_code_length_bits(patches.take(slice(5, 6))), there[5:6], atol=1e-4)


@needs_gpu
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_short_training_gives_the_weights_of_the_cpu(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps as asked for, the others recorded."""
    patches = patches_of("dim")
    found = {}
    for name in ("cpu", "cuda"):
        monkeypatch.setenv(device.VARIABLE, name)
        found[name] = replace(network, schedule=replace(short(network, 40).schedule, learning_rate=1e-3)).fit(
            patches, patches, 0
        )
    for one, other in zip(found["cpu"].weights, found["cuda"].weights, strict=True):
        np.testing.assert_allclose(other, one, atol=2e-3)


@needs_gpu
def test_training_reaches_the_code_length_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source("ising")
    frames = source.sample(700, 8, np.random.default_rng(1)).frames
    cells = CameraCells.of(source.noise_model, classify_pixels(source.noise_model))
    offset = float(source.noise_model.camera.offset_dn)
    every = PatchSet(frames.astype(np.int64), np.arange(700), 4.0, offset, cells=cells)
    train, stop, test = (every.take(slice(a, b)) for a, b in ((0, 400), (400, 500), (500, 700)))
    bits: dict[str, list[float]] = {}
    for name in ("cpu", "cuda"):
        monkeypatch.setenv(device.VARIABLE, name)
        bits[name] = [
            float(CausalNetwork().fit(train, stop, seed).code_length_bits(test).mean()) / 64 for seed in range(4)
        ]
    spread = float(np.hypot(np.std(bits["cpu"], ddof=1), np.std(bits["cuda"], ddof=1)) / 2)
    assert abs(np.mean(bits["cpu"]) - np.mean(bits["cuda"])) < 3 * spread + 1e-4, bits


@needs_gpu
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_seed_repeats_itself_on_the_gpu_and_beside_another(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, "cuda")
    patches, family = patches_of("dim"), short(network, 60)
    alone = family.fit(patches, patches, 5)
    with ThreadPoolExecutor(2) as pool:
        fits = list(pool.map(lambda seed: family.fit(patches, patches, seed), [5, 6, 5]))
    for fitted in (fits[0], fits[2]):
        for one, other in zip(alone.weights, fitted.weights, strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(alone.code_length_bits(patches), fits[2].code_length_bits(patches))
    assert any(not np.array_equal(one, other) for one, other in zip(alone.weights, fits[1].weights, strict=True))


@needs_gpu
@pytest.mark.parametrize("kind", ["bright", "real"])
def test_three_gaussians_train_on_the_gpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, "cuda")
    patches = patches_of(kind)
    start, end = (short(CausalNetwork(), steps).fit(patches, patches, 0) for steps in (40, 200))
    assert end.code_length_bits(patches).mean() < start.code_length_bits(patches).mean()


@needs_gpu
def test_a_score_with_the_reference_runs_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source("ising")
    frames = source.sample(200, 8, np.random.default_rng(2)).frames
    found = {}
    for name in ("cpu", "cuda", "again"):
        monkeypatch.setenv(device.VARIABLE, "cpu" if name == "cpu" else "cuda")
        torch.cuda.reset_peak_memory_stats()
        found[name] = estimate_information(
            frames, source.noise_model, patch_size=8, density="reference", deterministic=True
        )
        used_mb = torch.cuda.max_memory_allocated() / 1e6
        assert name == "cpu" or used_mb > 1
    assert {model.name for model in found["cuda"].models} >= {"causal_network", "gated_pixelcnn"}
    value = {name: score.mutual_information_bits_per_pixel.value for name, score in found.items()}
    assert value["cuda"] == pytest.approx(value["cpu"], abs=0.02)
    assert found["cuda"].to_dict() == found["again"].to_dict()


@needs_gpu
def test_too_little_memory_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    patches, family = patches_of("dim"), short(CausalNetwork(), 40)
    monkeypatch.setenv(device.VARIABLE, "cpu")
    here = family.fit(patches, patches, 0)
    monkeypatch.setenv(device.VARIABLE, "cuda")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-9)
    try:
        with pytest.warns(RuntimeWarning, match="memory is short for (a fit|the codes) of causal_network"):
            fitted = family.fit(patches, patches, 0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for one, other in zip(here.weights, fitted.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_gpu
def test_strict_callers_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch refuses what may differ from run to run where a caller has asked it to."""
    monkeypatch.setenv(device.VARIABLE, "cuda")
    patches = patches_of("bright")
    with deterministic_torch():
        strict = [short(network, 40).fit(patches, patches, 0) for network in NETWORKS]
    free = [short(network, 40).fit(patches, patches, 0) for network in NETWORKS]
    for one, other in zip(strict, free, strict=True):
        np.testing.assert_array_equal(one.code_length_bits(patches), other.code_length_bits(patches))
