"""Exact information of finite populations of objects, and the emitters that have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import poisson

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem, enumerated_information
from mi_eval.objects import make_prior
from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape

torch = pytest.importorskip("torch")

from mi_eval.design.enumerated import PopulationLikelihood  # noqa: E402
from mi_eval.systems import PhaseMask, SystemDesign  # noqa: E402

CAMERA = {"system_gain_dn_per_e": 2.0, "read_noise_e": 1.4, "offset_dn": 100.0, "bit_depth": 16}


@dataclass(frozen=True)
class TwoLevels(ObjectPrior):
    """An even field, dim or bright: the frame's electrons are all that it says."""

    kind: ClassVar[str] = "two_levels"

    dim: float = 0.8

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        return self.population(shape)[rng.integers(2, size=n)]

    def population(self, shape: Shape) -> FloatArray:
        levels = np.array([self.dim, 1.0])[:, None, None, None]
        return np.broadcast_to(levels, (2, *shape)).copy()

    def describe(self) -> str:
        return "Even fields."


def microscope(photons: float, *, depths_um: tuple[float, ...] = (-0.6, 0.0, 0.6), **options: float) -> DesignProblem:
    system = PhaseMask((14, 14), 0.16, 0.6, 1.2, 0.5, depths_um=depths_um, margin_px=2)
    emitter = make_prior("emitter", {"wander_px": 0.5, "steps_per_px": 4, **options})
    light = photons * (1 / 14**2 + emitter.background)
    return DesignProblem(
        system, emitter, NoiseModel.from_parameters(**CAMERA), mean_light_e=light, full_well_e=30_000.0
    )


def with_mask(problem: DesignProblem, **waves: float) -> SystemDesign:
    values = torch.zeros(problem.system.modes, dtype=torch.float64)
    for noll, value in waves.items():
        values[int(noll[1:]) - 4] = value
    return SystemDesign.of(problem.system, {"zernike_waves": values})


def test_two_levels_match_the_sum_over_counts():
    """Poisson counts without read noise: the total is sufficient, and its information is a sum over totals."""
    noise = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0, offset_dn=0.0, bit_depth=16)
    system = PhaseMask((10, 10), 0.16, 0.6, 1.2, 0.5)
    problem = DesignProblem(system, TwoLevels(), noise, mean_light_e=1.0, full_well_e=1000.0)
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    charge = PopulationLikelihood(design, problem).charge_e(np.array([0, 1]))
    totals = charge.sum(axis=1)
    assert totals[0] / totals[1] == pytest.approx(0.8, rel=0.03)  # charges are rounded
    counts = np.arange(200)
    each = poisson.logpmf(counts[:, None], totals)
    truth = float((np.exp(each) * (each - logsumexp(each, axis=1, keepdims=True) + np.log(2))).sum() / 2 / np.log(2))
    assert 0.1 < truth < 0.9
    found = enumerated_information(design, problem, frames=4000)
    assert found.bits_per_frame == pytest.approx(truth, abs=4 * found.std)
    assert found.std < 0.015


def test_likelihood_is_that_of_charges_rounded_by_little():
    problem = microscope(400.0)
    design = with_mask(problem, z5=0.1)
    population = problem.objects.population(problem.system.object_shape)
    light = design.forward(torch.from_numpy(problem.scale * population)).detach().numpy().reshape(len(population), -1)
    likelihood = PopulationLikelihood(design, problem)
    charge = likelihood.charge_e(np.arange(len(population)))
    assert np.max(np.abs(charge - light) / np.sqrt(light)) < 0.021
    codes = problem.noise_model.sample(light[[3, 50]], np.random.default_rng(7))
    slow = problem.noise_model.log_pmf(codes[:, None].astype(float), charge[None]).sum(axis=2)
    assert likelihood.log_likelihood(codes) == pytest.approx(slow, rel=1e-12)


def test_information_lies_between_nothing_and_the_population():
    bright = microscope(3000.0, wander_px=1.0, steps_per_px=1)
    found = enumerated_information(with_mask(bright, z5=0.1), bright, frames=100)
    assert found.bits_per_frame == pytest.approx(found.entropy_bits, abs=1e-3)
    assert found.entropy_bits == pytest.approx(np.log2(3 * 9))
    dark = enumerated_information(with_mask(bright, z5=0.1), microscope(0.5), frames=400)
    assert abs(dark.bits_per_frame) < 0.05
    value, std = found.bits_per_pixel
    assert (value * 100, std * 100) == pytest.approx((found.bits_per_frame, found.std))


def test_a_clear_pupil_cannot_tell_above_from_below():
    """Two planes as far above as below look alike through a clear pupil; a mask of astigmatism tells them apart."""
    problem = microscope(1500.0, depths_um=(-0.5, 0.5))
    clear = enumerated_information(with_mask(problem), problem, frames=200)
    mask = enumerated_information(with_mask(problem, z5=0.1), problem, frames=200)
    assert mask.bits_per_frame - clear.bits_per_frame == pytest.approx(1.0, abs=0.15)


def test_emitters_lie_where_they_are_said_to():
    emitter = make_prior("emitter", {"wander_px": 1.0, "steps_per_px": 8})
    shape = (3, 14, 12)
    population = emitter.population(shape)
    assert population.shape == (3 * 17 * 17, *shape)
    assert population.max() <= 1.0
    places = emitter.places(5.0 * population)
    assert len(np.unique(places, axis=0)) == len(places)
    assert places[0].tolist() == [0.0, -1.0, -1.0]
    assert places[-1].tolist() == [2.0, 1.0, 1.0]
    drawn = emitter.sample(500, shape, np.random.default_rng(3))
    flux = drawn.sum(axis=(1, 2, 3)) - emitter.background * 14 * 12
    assert flux == pytest.approx(np.ones(500))
    listed = {tuple(place) for place in places.tolist()}
    assert {tuple(place) for place in emitter.places(drawn).tolist()} <= listed


def test_what_has_no_finite_population_is_refused():
    system = PhaseMask((10, 10), 0.16, 0.6, 1.2, 0.5)
    noise = NoiseModel.from_parameters(**CAMERA)
    beads = DesignProblem(system, make_prior("beads", {}), noise, mean_light_e=10.0, full_well_e=1000.0)
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    with pytest.raises(PhotonbitsError, match="population"):
        enumerated_information(design, beads)
    with pytest.raises(PhotonbitsError, match="background"):
        make_prior("emitter", {"background": 0.7})


def test_finer_rounding_comes_closer_to_the_likelihood_of_the_charges_themselves():
    problem = microscope(400.0)
    design = with_mask(problem, z5=0.1)
    exact_e = PopulationLikelihood(design, problem, root_step=1e-4).charge_e(np.arange(4))
    frames = problem.noise_model.sample(exact_e, np.random.default_rng(2))
    wanted = problem.noise_model.log_pmf(frames[:, None].astype(np.float64), exact_e[None]).sum(axis=2)
    errors = []
    for step in (0.02, 0.005):
        likelihood = PopulationLikelihood(design, problem, root_step=step)
        assert np.max(np.abs(np.sqrt(likelihood.charge_e(np.arange(4))) - np.sqrt(exact_e))) <= 0.51 * step
        errors.append(np.std(likelihood.log_likelihood(frames)[:, :4] - wanted))
    assert errors[1] < 0.5 * errors[0]
