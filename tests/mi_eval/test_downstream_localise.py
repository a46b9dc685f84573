"""Localisation: against the Cramer-Rao bound, and the bound against closed forms and differences."""

from dataclasses import replace

import numpy as np
import pytest

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem
from mi_eval.downstream import EvaluationSettings, Localiser, Setting, evaluate_designs
from mi_eval.downstream.fisher import fisher_table
from mi_eval.downstream.localise import _Model
from mi_eval.objects import PointSource, make_prior
from mi_eval.systems import CircularKernel, CodedAperture, Lens, SystemDesign

SENSOR = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
SOME = EvaluationSettings(training_frames=8, validation_frames=8, test_frames=300, seeds=(0,))


def setup(system, noise=SENSOR, start="conventional", seed=0, **light):
    problem = DesignProblem(system, make_prior("point", {"background": 0.02}), noise, **light)
    design = SystemDesign.of(system, system.start(start, np.random.default_rng(seed)))
    return problem, design


def test_sources_are_drawn_between_pixels_and_found_exactly_in_the_objects():
    prior = PointSource(background=0.1, border_px=3.0)
    objects = prior.sample(200, (2, 16, 20), np.random.default_rng(0))
    row, column, plane, peak = prior.locate(objects).T
    assert row.min() >= 3 and row.max() <= 13 and column.min() >= 3 and column.max() <= 17
    assert set(plane) == {0.0, 1.0} and peak.min() >= 0.5 and peak.max() <= 0.9
    assert np.std(row % 1) == pytest.approx(np.sqrt(1 / 12), rel=0.15)
    down, right = np.arange(16)[:, None] - row[7], np.arange(20) - column[7]
    spot = peak[7] * np.exp(-0.5 * (down**2 + right**2) / 0.7**2) + 0.05
    assert objects[7, int(plane[7])] == pytest.approx(spot, abs=1e-10)
    with pytest.raises(PhotonbitsError, match="width_px"):
        PointSource(width_px=0.3)


@pytest.mark.parametrize(
    ("system", "start", "light"),
    [
        (CodedAperture((24, 24), (3, 3)), "random", {"mean_light_e": 30.0}),
        (Lens((24, 24), 3.0, 0.55, 20.0, 4.0, depths_waves=(0.0, 1.5)), "conventional", {"mean_light_e": 60.0}),
        (CircularKernel((24, 24), 1.0), "random", {"rms_e": 12.0}),
    ],
)
def test_errors_reach_the_bound_in_enough_light(system, start, light):
    noise = SENSOR
    if system.signed:
        noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=0.5, read_noise_e=2.0)
    problem, design = setup(system, noise, start, **light)
    if isinstance(system, Lens):
        # In focus for one plane: midway between two both are blurred alike, and nothing tells them apart.
        design = replace(design, parameters={**design.parameters, "focus_waves": np.array(0.0)})
    found = {m.name: found for m, found in _outcomes(evaluate_designs({"a": design}, problem, Localiser(), SOME))}
    for error, bound in (("rmse_px", "bound_px"), ("flux_rmse", "flux_bound")):
        assert found[error].value == pytest.approx(found[bound].value, abs=3.5 * found[error].std)
        assert found[error].std < 0.09 * found[error].value
    assert found["rmse_px"].value < 0.2 and found["plane_accuracy"].value == 1.0


def _outcomes(evaluation):
    return [(metric, evaluation.outcomes(metric.name)["a"]) for metric in evaluation.metrics]


def test_the_bound_of_a_spot_in_shot_noise_alone_is_its_width_over_the_root_of_its_photons():
    """A spot of 1.2 px is sampled well enough that pixels cost nothing: variance width^2 / N, of the flux 1 / N."""
    poisson = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=1.0)
    system = CodedAperture((24, 24), (1, 1))
    problem = DesignProblem(system, PointSource(width_px=1.2), poisson, mean_light_e=2.0)
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    truth = np.array([[10.3, 12.6, 0.0, 0.8], [11.0, 9.5, 0.0, 0.5]])
    bound = _Model(Setting(design, problem), problem.objects).bound(truth)
    photons = problem.scale * truth[:, 3] * 2 * np.pi * 1.2**2
    assert bound[:, 0] == pytest.approx(1.2**2 / photons, rel=0.01)
    assert bound[:, 1] == pytest.approx(1.2**2 / photons, rel=0.01)
    assert bound[:, 2] / truth[:, 3] ** 2 == pytest.approx(1 / photons, rel=0.01)


def test_slopes_are_those_of_differences():
    problem, design = setup(Lens((16, 16), 3.0, 0.55, 20.0, 4.0, depths_waves=(0.0, 1.5)), mean_light_e=60.0)
    model = _Model(Setting(design, problem), problem.objects)
    state, plane = np.array([[7.2, 8.4, 0.7], [8.0, 6.9, 0.5]]), np.array([1.0, 0.0])
    _, slopes = model.charge_and_slopes(state, plane)
    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        up, down = (model.charge_and_slopes(state + sign * step, plane)[0] for sign in (1, -1))
        assert slopes[:, axis] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-5)


def test_fisher_information_of_codes():
    """Closed forms for pure noises; with both, more than Gaussian noise of the same variance; none in saturation."""
    poisson = NoiseModel.from_parameters(kind="poisson", system_gain_dn_per_e=2.0)
    charges = np.array([0.5, 3.0, 100.0, 900.0])
    assert fisher_table(poisson, 0.1, 1000.0)(charges) == pytest.approx(1 / charges, rel=1e-4)
    gaussian = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=1.5)
    assert fisher_table(gaussian, -50.0, 50.0)(charges) == pytest.approx(np.full(4, 1 / 2.25), rel=1e-4)
    both = fisher_table(SENSOR, 0.0, 1000.0)(charges) * (charges + 4.0 + 1 / 3)
    assert (both[:2] > 1.01).all() and both[2:] == pytest.approx(np.ones(2), abs=1e-3)
    clipped = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0, bit_depth=8)
    assert fisher_table(clipped, 0.0, 500.0)(np.array([400.0]))[0] < 1e-6


def test_other_objects_are_refused():
    system = CodedAperture((16, 16), (3, 3))
    problem = DesignProblem(system, make_prior("stars", {}), SENSOR, mean_light_e=30.0)
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    with pytest.raises(PhotonbitsError, match="one isolated source"):
        evaluate_designs({"a": design}, problem, Localiser(), SOME)
