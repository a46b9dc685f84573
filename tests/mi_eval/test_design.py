"""Designs against known optima, the objectives behind them, and what a run promises."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from script_files import load_script

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem, audit_design, optimise, water_filling
from mi_eval.design.audit import AuditSettings, closed_form_bits, simulate
from mi_eval.design.checkpoint import Checkpoint
from mi_eval.design.determinism import deterministic_torch
from mi_eval.design.objectives import SpectralObjective, make_objective
from mi_eval.design.optimise import OptimiserSettings, run_digest
from mi_eval.objects import make_prior
from mi_eval.systems import CircularKernel, CodedAperture, ColourMosaic, KSpaceSampling, Lens, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
GAUSSIAN = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=2.0)
TEXTURE = make_prior("gaussian_texture", {})
CELLS = make_prior("cells", {"radius_px": 3.0})
SHORT = OptimiserSettings(steps=40, restarts=2, objects=64, seed=5)


@pytest.fixture(scope="module")
def study():
    return load_script("study_design_waterfilling")


def mask_problem(**changes):
    return DesignProblem(CodedAperture((16, 16), (4, 4)), CELLS, SENSOR, **{"mean_light_e": 200.0, **changes})


# ---- known optima -----------------------------------------------------------------------------------------


def test_water_filling_is_the_best_of_all_powers():
    """Against a general solver, on a spectrum with modes that stay dry."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    spectrum = rng.exponential(size=12) ** 3
    found = water_filling(spectrum, 0.7, 1.5)
    assert found.power.mean() == pytest.approx(1.5) and (found.power == 0).any()
    best = minimize(
        lambda g: -np.mean(np.log2(1 + g * spectrum / 0.7)) / 2,
        np.full(12, 1.5),
        bounds=[(0, None)] * 12,
        constraints={"type": "eq", "fun": lambda g: g.mean() - 1.5},
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert found.bits_per_mode == pytest.approx(-best.fun, abs=1e-6)
    with pytest.raises(PhotonbitsError, match="above 0"):
        water_filling(spectrum, 0.0, 1.0)


@pytest.mark.parametrize(("side", "read_noise_e"), [(8, 0.5), (8, 8.0), (32, 2.0)])
def test_kernels_reach_water_filling(study, side, read_noise_e):
    case = study.kernel_case(side, read_noise_e, seed=0, audit=None)
    assert 0.999 <= case["share"] <= 1 + 1e-9
    assert case["conventional_share"] < 0.999


def test_the_audit_of_a_kernel_agrees_with_the_closed_form(study):
    """Density models on simulated frames against the optimum: no more than 0.005 bit per pixel between them."""
    problem = study.kernel_problem(8, 2.0)
    result = optimise(problem, OptimiserSettings(steps=200, restarts=1))
    audit = audit_design(result.after, problem, AuditSettings(frames=3000, patch_size=8, seed=100))
    best = water_filling(problem.known_spectrum(), 4.0, 1.0)
    assert audit.closed_form_bits_per_pixel == pytest.approx(best.bits_per_mode, rel=1e-6)
    assert abs(audit.value - best.bits_per_mode) < 0.005
    assert audit.ci95[0] < best.bits_per_mode < audit.ci95[1]


@pytest.mark.parametrize(("light_e", "restarts"), [(30.0, 8), (1000.0, 5)])
def test_masks_reach_an_independent_multistart_optimum(study, light_e, restarts):
    """At little light many cells are open, at much light few; both within 0.5 % of L-BFGS-B from 30 starts."""
    case = study.mask_case(light_e, seed=0, starts=30, restarts=restarts, steps=150)
    assert case["share"] > 0.995
    assert case["share"] < 1.02  # the reference is not a weak one


def test_scan_time_is_water_filled_with_conjugates_counted_once():
    """Locations that are their own conjugates have one real sample for the price of a complex one: half the level."""
    system = KSpaceSampling((8, 6), 6.0, 1000.0)
    problem = DesignProblem(system, TEXTURE, GAUSSIAN, rms_e=4.0)
    result = optimise(problem, OptimiserSettings(steps=400, restarts=1))
    price = np.full((8, 6), 0.5)
    for row in (0, 4):
        for column in (0, 3):
            price[row, column] = 1.0
    floor = 4.0 / problem.known_spectrum()
    low, high = 0.0, 1e4
    for _ in range(200):
        level = (low + high) / 2
        time = np.maximum(level / price - floor, 0)
        low, high = (level, high) if (price * time).sum() < 6.0 else (low, level)
    best = np.mean(np.log2(1 + time / floor)) / 2
    assert (time == 0).any()
    assert result.surrogate_after == pytest.approx(best, rel=1e-3)
    assert result.surrogate_after <= best * (1 + 1e-6)


# ---- objectives -------------------------------------------------------------------------------------------


def test_spectral_objective_is_the_closed_form_on_the_torus():
    problem = DesignProblem(CircularKernel((8, 8), 1.0), TEXTURE, GAUSSIAN, rms_e=3.0)
    objective = make_objective(problem, "spectral", n_objects=16, seed=0, patch_size=8)
    design = SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(1)))
    exact = closed_form_bits(design, problem, 8)
    assert float(objective.bits(design.tensors())) == pytest.approx(exact, rel=1e-9)


def test_full_objective_tends_to_the_closed_form():
    """Sample covariance: too low by up to (D + 1)/(4 n ln 2) = 0.002 bit, 9 correlated patches a frame aside."""
    problem = DesignProblem(CircularKernel((8, 8), 1.0), TEXTURE, GAUSSIAN, rms_e=3.0)
    design = SystemDesign.of(problem.system, problem.system.start("random", np.random.default_rng(1)))
    exact = closed_form_bits(design, problem, 4)
    found = float(make_objective(problem, "full", n_objects=3000, seed=0, patch_size=4).bits(design.tensors()))
    assert found == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    ("system", "name"),
    [
        (CodedAperture((12, 12), (3, 3)), "spectral"),
        (CodedAperture((12, 12), (3, 3)), "full"),
        (ColourMosaic((12, 12), 3, 1.0), "full"),
    ],
)
@pytest.mark.parametrize("full_well_e", [None, 60.0])
def test_objective_gradients_count_the_poisson_noise(system, name, full_well_e):
    """Central differences of bits less penalty: the noise moves with the light, and so does the full well's penalty."""
    noise = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=1.0)
    problem = DesignProblem(system, CELLS, noise, mean_light_e=50.0, full_well_e=full_well_e)
    objective = make_objective(problem, name, n_objects=64, seed=0, patch_size=4)

    def value(p):
        return objective.bits(p) - objective.penalty(p)

    (key,) = system.start("random", np.random.default_rng(2))
    inside = np.random.default_rng(2).uniform(0.2, 0.8, system.specs()[0].shape)
    start = {key: torch.from_numpy(inside)}
    leaf = start[key].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(value({key: leaf}), leaf)
    if full_well_e is not None:
        assert float(objective.penalty(start)) > 0
    for i in range(leaf.numel()):
        ends = []
        for sign in (1, -1):
            moved = start[key].clone().reshape(-1)
            moved[i] += sign * 1e-5
            ends.append(float(value({key: moved.reshape(leaf.shape)})))
        expected = (ends[0] - ends[1]) / 2e-5
        assert float(gradient.reshape(-1)[i]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_spectral_objective_needs_a_transfer_function():
    problem = DesignProblem(ColourMosaic((12, 12), 3, 1.0), CELLS, SENSOR, mean_light_e=50.0)
    with pytest.raises(PhotonbitsError, match="does not shift frames"):
        make_objective(problem, "spectral", n_objects=32, seed=0, patch_size=4)
    with pytest.raises(PhotonbitsError, match="patches for a covariance"):
        make_objective(problem, "full", n_objects=16, seed=0, patch_size=10)


# ---- limits -----------------------------------------------------------------------------------------------


def test_designs_without_limits_are_refused_or_flagged():
    with pytest.raises(PhotonbitsError, match="light budget"):
        mask_problem(mean_light_e=None)
    with pytest.raises(PhotonbitsError, match="mean_light_e"):
        mask_problem(rms_e=3.0)
    with pytest.raises(PhotonbitsError, match="kind gaussian"):
        DesignProblem(CircularKernel((8, 8), 1.0), TEXTURE, SENSOR, rms_e=1.0)
    with pytest.raises(PhotonbitsError, match="objects of light"):
        DesignProblem(CodedAperture((8, 8), (2, 2)), TEXTURE, SENSOR, mean_light_e=1.0)
    real = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0)
    unlimited = DesignProblem(CodedAperture((16, 16), (4, 4)), CELLS, real, mean_light_e=200.0)
    assert [code for code, _ in unlimited.flags] == ["no_full_well"]
    assert mask_problem().flags == () and mask_problem().full_well_e == pytest.approx((4094.5 - 100) / 0.5)


def test_full_well_is_kept_where_it_would_be_exceeded():
    """Much light and a small full well: without the limit the design saturates, with it it does not."""
    lens = Lens((24, 24), 3.0, 0.55, 20.0, 3.0)
    settings = OptimiserSettings(objective="full", steps=120, restarts=1, objects=64, patch_size=4)
    above = {}
    for well in (None, 2000.0):
        noise = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0)
        problem = DesignProblem(lens, CELLS, noise, mean_light_e=1500.0, full_well_e=well)
        result = optimise(problem, settings)
        seen = simulate(result.after, problem, 64, seed=3)
        assert seen.objects.shape == (64, 1, 24, 24) and seen.frames.shape == seen.charge_e.shape
        above[well] = float(np.mean(seen.charge_e > 2000.0))
    assert above[None] > 0.05
    assert above[2000.0] < 1e-3


# ---- a run ------------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_design_and_leaves_torch_as_it_was():
    torch.use_deterministic_algorithms(False)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first, again = (optimise(mask_problem(), SHORT) for _ in range(2))
    assert first.after.to_bytes() == again.after.to_bytes()
    assert first.to_dict(timed=False) == again.to_dict(timed=False)
    other = optimise(mask_problem(), replace(SHORT, seed=6))
    assert [r.curve for r in other.restarts] != [r.curve for r in first.restarts]
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)
    with deterministic_torch():
        assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1


def test_a_stopped_run_resumes_to_the_same_design(tmp_path, monkeypatch):
    whole = optimise(mask_problem(), replace(SHORT, steps=60))
    path = tmp_path / "checkpoint.npz"
    saves = []
    save = Checkpoint.save

    def stop_later(self, place):
        save(self, place)
        saves.append(place)
        if len(saves) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", stop_later)
    with pytest.raises(KeyboardInterrupt):
        optimise(mask_problem(), replace(SHORT, steps=60), checkpoint=path)
    held = Checkpoint.load(path, run_digest(mask_problem(), replace(SHORT, steps=60), None))
    assert {index: state.step for index, state in held.states.items()} == {0: 60, 1: 50}
    resumed = optimise(mask_problem(), replace(SHORT, steps=60), checkpoint=path)
    assert len(saves) == 4  # only what was left
    assert resumed.after.to_bytes() == whole.after.to_bytes()
    assert [r.curve for r in resumed.restarts] == [r.curve for r in whole.restarts]
    with pytest.raises(PhotonbitsError, match="another configuration"):
        optimise(mask_problem(), replace(SHORT, seed=9), checkpoint=path)
    path.write_bytes(b"broken")
    with pytest.raises(PhotonbitsError, match="damaged"):
        optimise(mask_problem(), SHORT, checkpoint=path)


@pytest.mark.parametrize("starts", [None, 4])
def test_restarts_of_a_cluster_are_kept_and_resumed(tmp_path, monkeypatch, starts):
    """Stopped after the first restart that ended; then a cluster, or no cluster, takes the steps that are left."""
    settings = replace(SHORT, steps=60, starts=starts)
    whole = optimise(mask_problem(), settings)
    path = tmp_path / "checkpoint.npz"
    asked = []

    def broken(function, numbers):
        asked.append(list(numbers))
        for number in reversed(numbers):  # in any order
            yield function(number)
            if function.stop is None:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimise(mask_problem(), settings, checkpoint=path, mapper=broken)
    assert len(asked) == (1 if starts is None else 2)
    kept = path.read_bytes()
    held = Checkpoint.load(path, run_digest(mask_problem(), settings, None))
    assert sorted(state.step for state in held.states.values())[-1] == 60

    steps = []
    report = SpectralObjective.bits

    def counted(self, parameters):
        steps.append(torch.is_grad_enabled())
        return report(self, parameters)

    monkeypatch.setattr(SpectralObjective, "bits", counted)
    there = optimise(mask_problem(), settings, checkpoint=path, mapper=map)
    taken = sum(steps)
    path.write_bytes(kept)
    here = optimise(mask_problem(), settings, checkpoint=path)
    assert taken == sum(steps) - taken == 60 * settings.restarts - sum(s.step for s in chosen(held, settings))
    for resumed in (there, here):
        assert resumed.after.to_bytes() == whole.after.to_bytes()
        assert [r.curve for r in resumed.restarts] == [r.curve for r in whole.restarts]
        assert resumed.raced_bits_per_pixel == whole.raced_bits_per_pixel


def chosen(held, settings):
    """The states that go on: the finished one, and those that won the race."""
    best = sorted(held.states.values(), key=lambda s: (-s.step, -s.best_value))
    return best[: settings.restarts]


def test_the_best_of_many_starts_go_on_as_if_alone():
    raced = optimise(mask_problem(), replace(SHORT, starts=9))
    every = optimise(mask_problem(), replace(SHORT, restarts=9))
    assert raced.settings["starts"] == 9 and every.raced_bits_per_pixel == ()
    steps = SHORT.steps // 8
    curves = {restart.index: restart.curve for restart in every.restarts}
    best = sorted(curves, key=lambda index: -max(curves[index][: steps + 1]))[:2]
    assert {r.index: r.curve for r in raced.restarts} == {index: curves[index] for index in sorted(best)}
    at_the_end = sorted((curve[steps - 1] for curve in curves.values()), reverse=True)
    assert list(raced.raced_bits_per_pixel) == at_the_end == raced.to_dict()["raced_bits_per_pixel"]


def test_a_race_that_was_stopped_goes_on(tmp_path, monkeypatch):
    settings = replace(SHORT, steps=60, starts=6)
    whole = optimise(mask_problem(), settings)
    monkeypatch.setattr(sys.modules["mi_eval.design.restarts"], "_SAVE_STARTS", 2)
    save = Checkpoint.save
    for stops_at, begun in ((2, 4), (2, 6)):  # in the race, and in the second of the ascents that go on
        saves = []

        def stop(self, place, saves=saves, stops_at=stops_at):
            save(self, place)
            saves.append(place)
            if len(saves) == stops_at:
                raise KeyboardInterrupt

        monkeypatch.setattr(Checkpoint, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            optimise(mask_problem(), settings, checkpoint=tmp_path / "checkpoint.npz")
        held = Checkpoint.load(tmp_path / "checkpoint.npz", run_digest(mask_problem(), settings, None))
        assert len(held.states) == begun
    monkeypatch.setattr(Checkpoint, "save", save)
    resumed = optimise(mask_problem(), settings, checkpoint=tmp_path / "checkpoint.npz")
    assert resumed.to_dict(timed=False) == whole.to_dict(timed=False)


def test_races_need_values_that_do_not_scatter():
    with pytest.raises(PhotonbitsError, match="as many starts as restarts"):
        replace(SHORT, starts=1)
    with pytest.raises(PhotonbitsError, match="spectral and full"):
        optimise(mask_problem(), replace(SHORT, objective="density", starts=4))


def test_many_starts_find_the_best_mask_and_aim_it():
    """No cell opened, closed or moved is better, which holds of few optima, nor is any block of cells."""
    problem = DesignProblem(
        CodedAperture((32, 32), (5, 5), margin_px=2),
        make_prior("cells", {"radius_px": 4.0}),
        SENSOR,
        mean_light_e=100.0,
    )
    settings = OptimiserSettings(steps=120, restarts=3, starts=64, seed=20)
    result = optimise(problem, settings)
    objective = settings.objective_for(problem, settings.seed)
    mask = torch.from_numpy(result.after.parameters["transmission"])
    rows, columns = np.indices((5, 5))
    blocks = [
        (rows < height) & (columns < width) & ((rows > 0) | (columns > 0) | (not cut))
        for height in range(1, 6)
        for width in range(1, 6)
        for cut in (False, True)
    ]
    others = [torch.from_numpy(block.astype(float)) for block in blocks if block.any()]
    cells = [divmod(cell, 5) for cell in range(25)]
    for one in cells:
        for two in cells:
            other = mask.clone()
            other[one], other[two] = (mask[two], mask[one]) if one != two else (1 - mask[one], 1 - mask[one])
            if other.sum() > 0:
                others.append(other)
    best = max(objective.report({"transmission": other}) for other in others)
    assert result.surrogate_after >= best - 1e-9
    open_cells = torch.nonzero(mask > 0.5).to(torch.float64)
    assert (torch.abs(open_cells.mean(dim=0) - 2.0) <= 0.5).all()


def test_a_saved_design_is_scored_again(tmp_path):
    problem = mask_problem()
    result = optimise(problem, SHORT)
    result.after.save(tmp_path / "design.npz")
    loaded = SystemDesign.load(tmp_path / "design.npz")
    again = optimise(problem, replace(SHORT, steps=0), start=loaded)
    assert again.surrogate_after == result.surrogate_after
    assert again.after.to_bytes() == result.after.to_bytes()
    with pytest.raises(PhotonbitsError, match="another system"):
        optimise(DesignProblem(CodedAperture((16, 16), (3, 3)), CELLS, SENSOR, mean_light_e=9.0), SHORT, start=loaded)


def test_result_states_audit_limits_and_doubts():
    problem = mask_problem(mean_light_e=2000.0)
    result = optimise(problem, SHORT, audit=AuditSettings(frames=40, patch_size=4))
    content = result.to_dict()
    gain = content["audit"]["gain_bits_per_pixel"]
    after, before = content["audit"]["after"], content["audit"]["before"]
    assert gain["value"] == pytest.approx(after["value"] - before["value"])
    assert gain["ci95"][0] < gain["value"] < gain["ci95"][1]
    for entry in (before, after):
        # The interval is symmetric but for what cannot be decided.
        (low, high), (down, up) = entry["ci95"], entry["undecided_bits_per_pixel"]
        assert entry["value"] - low - down == pytest.approx(high - entry["value"] - up)
    low, high = gain["ci95"]
    undecided = [entry["undecided_bits_per_pixel"] for entry in (before, after)]
    assert gain["value"] - low - undecided[1][0] - undecided[0][1] == pytest.approx(
        np.hypot(*(e["ci95"][1] - e["value"] - e["undecided_bits_per_pixel"][1] for e in (before, after)))
    )
    limits = {entry["name"]: entry for entry in content["limits"]}
    assert set(limits) == {"transmission", "aperture", "light", "full_well"}
    assert all(entry["kept"] for entry in limits.values())
    assert limits["light"]["used"] == pytest.approx(2000.0 * result.after.parameters["transmission"].mean(), rel=0.15)
    assert content["cost"]["cpu_seconds"] > 0 and content["cost"]["peak_memory_mb"] > 10
    assert content["objects"]["description"].startswith("Cells")
    nothing = replace(result, audit_after=result.audit_before)
    assert "no_gain" in [code for code, _ in nothing.flags()]
    learned = replace(result, fresh_after=result.surrogate_after - 0.1)
    assert "overfitted" in [code for code, _ in learned.flags()]
