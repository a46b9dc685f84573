"""The exposure of a design: light and dark charge against full well and a longest time."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.design import DesignProblem, optimise
from mi_eval.design.audit import simulate
from mi_eval.design.objectives import make_objective
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.objects import make_prior
from mi_eval.systems import CircularKernel, CodedAperture, SystemDesign

CELLS = make_prior("cells", {"per_frame": 4, "radius_px": 3})
HOLE = CodedAperture((12, 12), (1, 1))
OPTICS = CodedAperture((12, 12), (3, 3))
SEARCH = OptimiserSettings(steps=400, restarts=1, objects=64)


def problem(system=HOLE, dark=0.0, full_well=None, **light):
    noise = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=2.0, dark_current_e_per_s=dark, full_well_e=full_well
    )
    return DesignProblem(system, CELLS, noise, **{"mean_light_e": 100.0, "exposure_s": 0.5, **light})


def chosen(**options):
    return problem(choose_exposure=True, longest_exposure_s=4.0, **options)


def limits(result):
    return {check.name: check for check in result.limit_checks()}


def test_light_and_dark_charge_go_with_the_exposure():
    one, other = problem(dark=30.0), chosen(dark=30.0)
    optics = {"transmission": torch.full((1, 1), 0.7, dtype=torch.float64)}
    seconds = {**optics, "exposure_octaves": torch.log2(torch.tensor(3.0, dtype=torch.float64))}
    dark, light = 30.0 * 0.5, simulate(SystemDesign.of(HOLE, optics), one, 8, seed=1).charge_e - 30.0 * 0.5
    found = simulate(SystemDesign.of(other.system, seconds), other, 8, seed=1).charge_e
    np.testing.assert_allclose(found, 3 * (light + dark), rtol=1e-12)
    # Optics alone, as another run saved them, have the stated exposure.
    adopted = other.adopted(SystemDesign.of(HOLE, optics))
    np.testing.assert_allclose(simulate(adopted, other, 8, seed=1).charge_e, light + dark, rtol=1e-12)


@pytest.mark.parametrize("name", ["spectral", "full"])
def test_gradients_in_the_exposure(name):
    """Central differences of bits less penalty, below the full well and above it."""
    given = chosen(dark=40.0, full_well=300.0)
    objective = make_objective(given, name, n_objects=64, seed=0, patch_size=4)
    for octaves in (-2.3, 2.0):
        leaf = torch.tensor(octaves, dtype=torch.float64, requires_grad=True)

        def value(t):
            p = {"transmission": torch.full((1, 1), 0.8, dtype=torch.float64), "exposure_octaves": t}
            return objective.bits(p) - objective.penalty(p)

        (gradient,) = torch.autograd.grad(value(leaf), leaf)
        ends = [float(value(torch.tensor(octaves + sign * 1e-5, dtype=torch.float64))) for sign in (1, -1)]
        assert float(gradient) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)
        assert (float(gradient) > 0) == (octaves < 0)


def test_the_full_well_ends_the_exposure():
    """The ascent ends at the best of a fine scan; then the brightest pixels are brought below the well."""
    rates = []
    for dark in (0.0, 400.0):
        given = chosen(dark=dark, full_well=600.0)
        result = optimise(given, SEARCH)
        objective = SEARCH.objective_for(given, SEARCH.seed)
        scan = []
        for octaves in np.linspace(-2.0, 2.0, 801):
            p = {"transmission": [[1.0]], "exposure_octaves": octaves}
            p = {name: torch.tensor(value, dtype=torch.float64) for name, value in p.items()}
            scan.append(float(objective.bits(p) - objective.penalty(p)))
        assert result.restarts[0].bits_per_pixel == pytest.approx(max(scan), abs=0.003)
        assert float(result.after.parameters["transmission"][0, 0]) > 0.99
        found = limits(result)
        check, light, well = (found[name] for name in ("exposure", "light", "full_well"))
        assert (check.value, check.unit, check.active, check.kept) == (4.0, "s", False, True)
        assert 0.85 * 600 < well.used <= 600 and well.kept
        assert "full_well_exceeded" not in dict(result.flags())
        # The budget is that of the chosen time.
        assert light.value == pytest.approx(100.0 * check.used / 0.5) and light.kept
        assert light.used == pytest.approx(light.value, rel=0.06)
        rates.append(600 / check.used)
    # The well over the time is the rate at which the brightest pixels fill it: dark charge adds its own.
    assert rates[1] - rates[0] == pytest.approx(400.0, rel=0.02)


def test_without_a_full_well_the_longest_exposure_is_taken_and_flagged():
    result = optimise(chosen(dark=20.0), SEARCH)
    check = limits(result)["exposure"]
    assert check.used == pytest.approx(4.0) and check.active
    assert "no_full_well" in dict(result.flags())
    content = result.to_dict()
    assert content["light"]["longest_exposure_s"] == 4.0 and content["light"]["choose_exposure"]
    assert content["system"]["fields"]["system"]["name"] == "coded_aperture"


def test_a_fixed_exposure_stands_among_the_limits():
    once = OptimiserSettings(steps=0, restarts=1, objects=64)
    check = limits(optimise(problem(longest_exposure_s=2.0, full_well=600.0), once))["exposure"]
    assert (check.used, check.value, check.active, check.kept) == (0.5, 2.0, False, True)
    assert limits(optimise(problem(full_well=600.0), once))["exposure"].value == 0.5
    unstated = optimise(problem(exposure_s=0.0, dark=5.0, full_well=600.0), once)
    assert "exposure" not in limits(unstated)
    assert "dark current of 5 e-/s" in dict(unstated.flags())["no_exposure"]
    assert "no_exposure" not in dict(optimise(problem(dark=5.0, full_well=600.0), once).flags())


def test_light_and_full_well_are_checked_without_an_audit():
    once = OptimiserSettings(steps=0, restarts=1, objects=64)
    start = SystemDesign.of(OPTICS, {"transmission": torch.ones((3, 3), dtype=torch.float64)})
    given = problem(OPTICS, full_well=120.0)
    result = optimise(given, once, start=start)
    assert result.audit_after is None
    charge = simulate(start, given, 400, seed=3).charge_e
    assert limits(result)["light"].used == pytest.approx(charge.mean(), rel=0.05)
    assert limits(result)["full_well"].used == pytest.approx(np.quantile(charge, 0.999), rel=0.1)
    assert "full_well_exceeded" in dict(result.flags())
    assert "full_well_exceeded" not in dict(optimise(problem(OPTICS, full_well=2000.0), once, start=start).flags())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choose_exposure": True}, "without a limit"),
        ({"choose_exposure": True, "longest_exposure_s": 1.0, "exposure_s": 0.0}, "without a limit"),
        ({"exposure_s": 2.0, "longest_exposure_s": 1.0}, "up to the longest"),
        ({"exposure_s": float("nan")}, "0 or more"),
        ({"longest_exposure_s": 1.0, "exposure_s": 1e-4, "choose_exposure": True}, "0.001 to 1 times"),
    ],
)
def test_exposures_without_sense_are_refused(options, message):
    with pytest.raises(PhotonbitsError, match=message):
        problem(**options)


def test_only_light_is_exposed():
    noise = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)
    with pytest.raises(PhotonbitsError, match="times of their own"):
        DesignProblem(
            CircularKernel((8, 8), 1.0), make_prior("gaussian_texture", {}), noise, rms_e=2.0, exposure_s=1.0,
            longest_exposure_s=2.0, choose_exposure=True,
        )  # fmt: skip
