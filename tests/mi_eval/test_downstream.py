"""Decoders against exact results, the same test for every design, and rank correlations of known truth."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem
from mi_eval.design.audit import simulate
from mi_eval.downstream import EvaluationSettings, Examples, Setting, Wiener, evaluate_designs, rank_designs
from mi_eval.downstream.evaluate import PARTS, examples, part_seed
from mi_eval.downstream.interface import Metric
from mi_eval.downstream.ranking import GivenInformation, spearman_interval
from mi_eval.downstream.reconstruction import PSNR, structural_similarity
from mi_eval.downstream.result import DesignOutcome, Evaluation, SeedOutcome
from mi_eval.objects import ImageSet, make_prior
from mi_eval.report.downstream_page import render_downstream_report
from mi_eval.systems import CircularKernel, CodedAperture, ColourMosaic, Lens, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
GAUSSIAN = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=0.7, read_noise_e=2.0, offset_dn=30.0)
SMALL = EvaluationSettings(training_frames=400, validation_frames=50, test_frames=200, seeds=(3,))


def kernel_problem(side=12):
    return DesignProblem(CircularKernel((side, side), 1.0), make_prior("gaussian_texture", {}), GAUSSIAN, rms_e=4.0)


def starts(system, *seeds):
    designs = {"conventional": system.start("conventional", np.random.default_rng(0))}
    designs |= {f"random {seed}": system.start("random", np.random.default_rng(seed)) for seed in seeds}
    return {name: SystemDesign.of(system, parameters) for name, parameters in designs.items()}


# ---- the linear decoder --------------------------------------------------------------------------------------


def test_spectral_wiener_reaches_the_least_error_that_is_possible():
    """Gaussian objects and noise: the mean squared error is the mean over frequencies of S N / (|H|^2 S + N)."""
    problem = kernel_problem()
    found = evaluate_designs(starts(problem.system, 1), problem, Wiener(ssim=False), SMALL)
    spectrum = problem.known_spectrum()
    for name, design in starts(problem.system, 1).items():
        transfer = problem.system.transfer(design.tensors())[0].numpy()
        best = np.mean(spectrum * 4.0 / (np.abs(transfer) ** 2 * spectrum + 4.0)) / problem.scale**2
        outcome = found.outcomes()[name]
        least = -10 * np.log10(best / found.target_range**2)
        # Spectra measured on 400 objects cost 1/400 of the error, 0.01 dB.
        assert outcome.value == pytest.approx(least, abs=0.015 + 4 * outcome.std)


def test_a_wide_window_is_as_good_as_the_best_linear_filter_of_a_small_kernel():
    """Conventional kernel (identity) and smooth objects: the window sees all that matters, but for its borders."""
    problem = kernel_problem(16)
    designs = {"identity": starts(problem.system)["conventional"]}
    spectral, window = (
        evaluate_designs(designs, problem, Wiener(form=form, radius_px=4, ssim=False), SMALL).outcomes()["identity"]
        for form in ("spectral", "window")
    )
    assert spectral.value - 0.6 < window.value < spectral.value + 0.05


def test_windows_of_a_mosaic_solve_the_normal_equations_of_their_place():
    """Radius 0: each place in the period has its own slope, cov(target, frame) / var(frame), less the ridge."""
    system = ColourMosaic((12, 12), 3, 1.0)
    problem = DesignProblem(system, make_prior("cells", {"radius_px": 3.0}), SENSOR, mean_light_e=200.0)
    setting = Setting(starts(system)["conventional"], problem)
    decoder = Wiener(radius_px=0, ssim=False)
    training, validation, test = examples(setting.design, problem, decoder, SMALL, 0)
    trained = decoder.train(training, validation, setting, 0)
    decoded = trained.decode(test.frames)
    mean_frame, mean_target = training.frames.mean(axis=0), training.targets.mean(axis=0)
    for ridge, (row, column) in zip(trained.details["relative_ridges"], np.ndindex(2, 2), strict=True):
        place = (..., slice(row, None, 2), slice(column, None, 2))
        x, t = (training.frames - mean_frame)[place], (training.targets - mean_target)[place]
        slope = np.einsum("nhw,nphw->p", x, t) / np.sum(x**2) / (1 + ridge)
        expected = mean_target[place] + slope[:, None, None] * (test.frames - mean_frame)[place][:, None]
        assert decoded[place] == pytest.approx(expected, abs=1e-6)


def test_a_margin_is_cropped_from_targets_and_needs_windows():
    system = CodedAperture((20, 20), (3, 3), margin_px=2)
    problem = DesignProblem(system, make_prior("cells", {}), SENSOR, mean_light_e=200.0)
    setting = Setting(starts(system)["conventional"], problem)
    seen = simulate(setting.design, problem, 8, 0)
    assert Wiener().targets(seen, setting) == pytest.approx(seen.objects[:, :, 2:-2, 2:-2] / problem.scale)
    with pytest.raises(PhotonbitsError, match="window or auto"):
        evaluate_designs(starts(system), problem, Wiener(form="spectral"), SMALL)


def test_planes_are_found_together():
    """Two planes through two transfer functions: the joint estimate, against a solve at every frequency."""
    rng = np.random.default_rng(0)
    system = Lens((16, 16), 3.0, 0.55, 20.0, 4.0, depths_waves=(0.0, 1.5))
    problem = DesignProblem(system, make_prior("beads", {}), SENSOR, mean_light_e=200.0)
    design = starts(system)["conventional"]
    setting, decoder = Setting(design, problem), Wiener(ssim=False)
    training, validation, test = examples(design, problem, decoder, SMALL, 0)
    decoded = decoder.train(training, validation, setting, 0).decode(test.frames)
    with torch.no_grad():
        transfer = system.transfer(design.tensors()).numpy()
        noise = problem.channel.noise_variance_e2(torch.from_numpy(training.simulation.charge_e)).mean().item()
    objects = training.simulation.objects
    spectra = np.fft.fft2(objects - objects.mean(axis=0), norm="ortho")
    frame = np.fft.fft2((test.frames - training.frames.mean(axis=0)) / 0.5, norm="ortho")
    shown = np.fft.fft2(decoded - training.targets.mean(axis=0), norm="ortho")
    for row, column in rng.integers(1, 8, (3, 2)):
        s = np.cov(spectra[:, :, row, column].T)
        h = transfer[:, row, column][None]
        gain = s @ h.conj().T @ np.linalg.inv(h @ s @ h.conj().T + noise * np.eye(1))
        expected = gain[:, 0] * frame[:, row, column][:, None] / problem.scale
        assert shown[:, :, row, column] == pytest.approx(expected, rel=1e-6, abs=1e-9)


# ---- the same test for every design --------------------------------------------------------------------------


def test_every_design_is_tested_on_the_same_objects_and_no_others_share_them():
    system = CodedAperture((12, 12), (3, 3))
    problem = DesignProblem(system, make_prior("cells", {"radius_px": 3.0}), SENSOR, mean_light_e=200.0)
    few = replace(SMALL, training_frames=60, test_frames=60)
    a, b = (examples(design, problem, Wiener(), few, 4) for design in starts(system, 1).values())
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.targets, other.targets)
        assert not np.array_equal(one.frames, other.frames)
    seeds = {part_seed(seed, part) for seed in range(50) for part in PARTS}
    assert len(seeds) == 150 and min(seeds) >= 2**62  # audits have small seeds
    assert not np.array_equal(a[0].targets[:50], a[2].targets[:50])


def test_images_of_each_part_are_apart():
    digits = ImageSet("digits")
    kept = {part: digits.part(part).images() for part in PARTS}
    keys = [{image.tobytes() for image in images} for images in kept.values()]
    assert sum(map(len, kept.values())) == len(digits.images())
    # Two writers may make one picture of 8 x 8 pixels.
    assert len(keys[0] & keys[2]) <= 1
    coins = ImageSet("coins")
    widths = [coins.part(part).images()[0].shape[1] for part in PARTS]
    assert sum(widths) == coins.images()[0].shape[1] and widths[0] > 2.9 * widths[1]


def test_results_repeat_and_errors_are_those_of_the_frames():
    system = CodedAperture((12, 12), (3, 3))
    problem = DesignProblem(system, make_prior("cells", {"radius_px": 3.0}), SENSOR, mean_light_e=200.0)
    settings = replace(SMALL, training_frames=60, validation_frames=20, test_frames=40, seeds=(0, 1))
    first, second = (evaluate_designs(starts(system, 1), problem, Wiener(), settings) for _ in range(2))
    assert first.to_dict(timed=False) == second.to_dict(timed=False)
    assert json.loads(json.dumps(first.to_dict(), allow_nan=False))["designs"][0]["metrics"]["ssim"]["value"] < 1
    outcome = first.outcomes()["conventional"]
    assert outcome.value == pytest.approx(np.mean(outcome.seed_values))
    assert first.difference("conventional", "random 1").std < np.hypot(outcome.std, outcome.std)
    with pytest.raises(PhotonbitsError, match="design other"):
        other = CodedAperture((14, 14), (3, 3))
        evaluate_designs({"other": starts(other)["conventional"]}, problem, Wiener(), settings)


def test_standard_errors_of_metrics():
    """Delta method against the scatter over many samples; shares without failures keep an error."""
    rng = np.random.default_rng(0)
    share = Metric("accuracy", "1", "", True, "share")
    for metric in (PSNR, Metric("rmse", "px", "", False, "root_mean"), share):
        draws = rng.random((2000, 400)) < 0.8 if metric is share else rng.exponential(size=(2000, 400))
        draws = draws.astype(float)
        scatter = np.std([metric.value(row) for row in draws])
        assert np.mean([metric.std(row) for row in draws[:100]]) == pytest.approx(scatter, rel=0.08)
    assert 0 < share.std(np.ones(100)) < 0.03


def test_ssim_needs_its_package_and_its_window(monkeypatch):
    images = np.random.default_rng(0).random((2, 1, 12, 12))
    assert structural_similarity(images, images, 1.0) == pytest.approx([1.0, 1.0])
    assert (structural_similarity(images[::-1], images, 1.0) < 0.5).all()
    with pytest.raises(PhotonbitsError, match="11 x 11"):
        structural_similarity(images[..., :9], images[..., :9], 1.0)
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(PhotonbitsError, match="photonbits\\[objects\\]"):
        structural_similarity(images, images, 1.0)


# ---- ranking --------------------------------------------------------------------------------------------------


def made_evaluation(values, *, spread=0.05, frames=100, seed=0, metric=PSNR):
    """Designs whose squared errors are those values, with scatter common to all designs and of their own."""
    rng = np.random.default_rng(seed)
    common = 1 + 0.5 * (rng.random(frames) - 0.5)
    common /= common.mean()
    designs = []
    for number, value in enumerate(values):
        own = spread * rng.standard_normal(frames)
        designs.append(DesignOutcome(f"d{number}", (SeedOutcome(0, {metric.name: value * (common + own)}, 1.0, {}),)))
    return Evaluation({"name": "made"}, "Made", (metric,), tuple(designs), {}, 1.0)


def test_orders_are_counted_over_pairs_that_differ():
    errors = [1e-2, 2e-3, 3e-3, 4e-3, 1e-3]
    bits = [1.0, 2.0, 2.001, 1.5, 3.0]
    information = {f"d{i}": GivenInformation(b, 0.01, (0.3, 0.0)) for i, b in enumerate(bits)}
    ranking = rank_designs(information, made_evaluation(errors))
    # d1 and d2 hold the same information: 9 of 10 pairs are left, all ordered alike.
    assert (ranking.significant.pairs, ranking.significant.alike) == (9, 9)
    assert ranking.decided.pairs == 9 and ranking.significant_in_both.pairs == 9
    assert ranking.spearman == pytest.approx(0.9)
    worse = rank_designs(information | {"d0": GivenInformation(2.2, 0.01, (0.3, 0.0))}, made_evaluation(errors))
    assert (worse.significant.pairs, worse.significant.alike) == (9, 6)
    assert (worse.decided.pairs, worse.decided.alike) == (7, 6)  # d0 is less than 0.3 above d1 and d2
    assert {(p["more"], p["less"]) for p in worse.to_dict()["ordered_otherwise"]} == {
        ("d0", "d1"),
        ("d0", "d2"),
        ("d0", "d3"),
    }
    smaller = Metric("rmse_px", "px", "", False, "root_mean")
    again = rank_designs(information, made_evaluation(errors, metric=smaller))
    assert again.spearman == pytest.approx(0.9) and again.significant.share == 1.0
    with pytest.raises(PhotonbitsError, match="d4"):
        rank_designs({k: v for k, v in information.items() if k != "d4"}, made_evaluation(errors))


@pytest.mark.parametrize(("n", "truth", "error"), [(12, 0.0, 0.2), (12, 0.9, 0.0), (12, 0.9, 0.5), (20, 0.5, 0.3)])
def test_intervals_of_the_rank_correlation_cover(n, truth, error):
    """Normal designs of known rank correlation, measured with errors: at least 93 % of 300 intervals hold it."""
    rng = np.random.default_rng([n, int(100 * truth)])
    pearson = 2 * np.sin(np.pi / 6 * truth)
    held = 0
    for trial in range(300):
        x = rng.standard_normal(n)
        y = pearson * x + np.sqrt(1 - pearson**2) * rng.standard_normal(n)
        seen = [v + error * rng.standard_normal(n) for v in (x, y)]
        _, (low, high) = spearman_interval(*seen, np.full(n, error), np.full(n, error), seed=trial, resamples=50)
        held += low <= truth <= high
    assert held >= 279


def test_errors_widen_the_interval_of_the_rank_correlation():
    x = np.arange(12.0)
    tight, wide = (spearman_interval(x, x, np.full(12, s), np.full(12, s))[1] for s in (0.01, 2.0))
    assert 0.95 < tight[0] < 1 and np.arctanh(wide[0]) < np.arctanh(tight[0]) - 0.1
    assert spearman_interval(x, -x, np.zeros(12), np.zeros(12))[1][1] < -0.95


def test_report_shows_designs_and_pairs():
    errors = [1e-2, 2e-3, 3e-3, 4e-3, 1e-3]
    information = {f"d{i}": GivenInformation(b, 0.01) for i, b in enumerate([1.0, 2.0, 2.001, 1.5, 3.0])}
    evaluation = made_evaluation(errors)
    ranking = rank_designs(information, evaluation)
    page = render_downstream_report([ranking], [evaluation], title="Masks", facts=[("Light", "200 e-")])
    assert "9 of 9 pairs alike" in page and "psnr_db" in page and "<script" not in page
    assert page == render_downstream_report([ranking], [evaluation], title="Masks", facts=[("Light", "200 e-")])


def test_examples_hold_raw_frames():
    problem = kernel_problem()
    training = examples(starts(problem.system)["conventional"], problem, Wiener(), SMALL, 0)[0]
    assert isinstance(training, Examples) and training.frames.dtype == np.float64
    assert training.frames.mean() == pytest.approx(30.0, abs=1.0)
