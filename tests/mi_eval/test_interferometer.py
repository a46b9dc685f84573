"""Radio interferometers: visibilities from first principles, exact information, and designs that use them."""

import numpy as np
import pytest
import torch

from calibrate import NoiseModel
from mi_eval.design import DesignProblem, audit_design, optimise
from mi_eval.design.audit import AuditSettings, closed_form_bits
from mi_eval.design.objectives import make_objective
from mi_eval.design.optimise import OptimiserSettings
from mi_eval.objects import BlackHoles, make_prior
from mi_eval.systems import Interferometer, InterferometerSchedule, SystemDesign
from mi_eval.systems.spacing import least_spacing, spread_out

RADIANS = np.pi / 180 / 3600
NOISE = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)
RADIO = dict(
    shape=(12, 12),
    cell_arcsec=0.02,
    wavelength_m=0.06,
    largest_baseline_m=3e5,
    system_temperature_k=40.0,
    effective_area_m2=300.0,
    bandwidth_hz=1e8,
)
STATIONS = ((0.0, 0.0), (1.2e5, 3e4), (-9e4, 1e5), (2e4, -1.1e5))


def array(**changes):
    return Interferometer(**{**RADIO, "antennas": 4, "closest_spacing_m": 1e3, "integration_s": 10.0, **changes})


def schedule(**changes):
    times = {"stations_m": STATIONS, "baseline_time_s": 60.0, "longest_time_s": 60.0}
    return InterferometerSchedule(**{**RADIO, **times, **changes})


def slow_uv(place, hour_h, latitude_deg, declination_deg):
    """Baselines turned into the source's frame by rotations of three-dimensional vectors, in metres."""
    latitude, declination, hour = np.deg2rad(latitude_deg), np.deg2rad(declination_deg), hour_h * np.pi / 12
    # Local axes on the celestial sphere with the meridian as x, east as y, the pole as z.
    east, north = np.array([0, 1, 0]), np.array([-np.sin(latitude), 0, np.cos(latitude)])
    # The source is west of the meridian by the hour angle.
    source = np.array([np.cos(declination) * np.cos(hour), -np.cos(declination) * np.sin(hour), np.sin(declination)])
    to_east = np.array([np.sin(hour), np.cos(hour), 0])
    to_north = np.cross(source, to_east)
    out = []
    for i in range(len(place)):
        for j in range(i + 1, len(place)):
            step = place[j] - place[i]
            vector = step[0] * east + step[1] * north
            out.append((vector @ to_east, vector @ to_north))
    return np.array(out)


@pytest.mark.parametrize(
    ("hour", "latitude", "declination"), [(0.0, 90.0, 90.0), (3.0, 34.0, 50.0), (-5.0, -23.0, -40.0)]
)
def test_baselines_turn_with_the_earth(hour, latitude, declination):
    system = array(hour_angles_h=(hour,), latitude_deg=latitude, declination_deg=declination)
    place = np.array(STATIONS)
    found = system.uv_of(torch.from_numpy(place))[:, 0].numpy() * system.wavelength_m
    np.testing.assert_allclose(found, slow_uv(place, hour, latitude, declination), rtol=1e-9, atol=1e-6)
    if latitude == 90.0:
        np.testing.assert_allclose(found[0], place[1] - place[0], rtol=1e-12)


def test_visibilities_are_a_direct_sum_over_the_noise_of_the_radiometer():
    """Every number of a frame from the definition; the noise from 2kT/A = 368.2 Jy over sqrt(2 x 1e8 Hz x 10 s)."""
    system = array(efficiency=0.88)
    design = SystemDesign.of(system, {"positions": torch.tensor(STATIONS, dtype=torch.float64)})
    sky = np.random.default_rng(0).random((2, 1, 12, 12))
    frames = design.forward(torch.from_numpy(sky)).numpy().reshape(2, -1)
    assert system.n_visibilities == 6 and frames.shape == (2, 16)
    sigma = 368.1730 / 0.88 / np.sqrt(2 * 1e8 * 10.0)
    rows, columns = np.indices((12, 12))
    number = 0
    for i in range(4):
        for j in range(i + 1, 4):
            u, v = (np.array(STATIONS[j]) - np.array(STATIONS[i])) / 0.06
            turn = u * (columns - 6) * 0.02 * RADIANS + v * (rows - 6) * 0.02 * RADIANS
            value = np.sum(sky[:, 0] * np.exp(-2j * np.pi * turn), axis=(1, 2)) / sigma
            np.testing.assert_allclose(frames[:, number], value.real, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(frames[:, 6 + number], value.imag, rtol=1e-6, atol=1e-6)
            number += 1
    assert not frames[:, 12:].any()


def test_time_is_worth_its_square_root():
    system = schedule(hour_angles_h=(-3.0, 1.0))
    sky = torch.from_numpy(np.random.default_rng(1).random((1, 1, 12, 12)))
    time = torch.full((6, 2), 5.0, dtype=torch.float64)
    once = system.forward(sky, {"time": time}).reshape(-1)
    time[2, 1] = 20.0  # baseline 3 at the second hour angle: place 2 * 2 + 1
    again = system.forward(sky, {"time": time}).reshape(-1)
    ratio = (again[:24] / once[:24]).numpy()
    expected = np.ones(24)
    expected[[5, 17]] = 2.0
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)


def gaussian_problem(system):
    """A sky of Gaussian texture: 2 mJy rms in every cell, against 8.2 mJy of noise in 10 s."""
    return DesignProblem(system, make_prior("gaussian_texture", {"corner": 0.15}), NOISE, rms_jy=2e-3)


def test_exact_information_of_a_gaussian_sky():
    """Closed form, from an independent covariance in space; the surrogate and the audit come to the same."""
    system = array()
    problem = gaussian_problem(system)
    design = SystemDesign.of(system, {"positions": torch.tensor(STATIONS, dtype=torch.float64)})
    exact = closed_form_bits(design, problem, 4)
    covariance = np.fft.ifft2(problem.known_spectrum()).real
    row, column = np.divmod(np.arange(144), 12)
    sky = covariance[np.subtract.outer(row, row), np.subtract.outer(column, column)]
    basis = []
    for i in range(4):
        for j in range(i + 1, 4):
            u, v = (np.array(STATIONS[j]) - np.array(STATIONS[i])) / 0.06
            wave = np.exp(-2j * np.pi * 0.02 * RADIANS * (u * (column - 6) + v * (row - 6)))
            basis += [wave.real, wave.imag]
    response = np.array(basis) / (368.1730 / np.sqrt(2 * 1e8 * 10.0))
    bits = np.linalg.slogdet(np.eye(12) + response @ sky @ response.T)[1] / np.log(4)
    assert 0.1 < exact == pytest.approx(bits / 16, rel=1e-6)
    # A sample covariance of n patches reads too low by up to (D + 1)/(4 n ln 2) = 0.002.
    surrogate = make_objective(problem, "full", n_objects=3000, seed=0, patch_size=8).bits(design.tensors())
    assert float(surrogate) == pytest.approx(exact, abs=0.02)
    audit = audit_design(design, problem, AuditSettings(frames=3000, seed=2))
    assert audit.patch_size == 4 and audit.closed_form_bits_per_pixel == pytest.approx(exact)
    assert audit.ci95[0] <= exact <= audit.ci95[1]
    assert audit.value == pytest.approx(exact, abs=4 * audit.std)


def test_times_have_one_optimum():
    """The surrogate is concave in the times: all starts end together, and no second is worth more elsewhere."""
    problem = gaussian_problem(schedule())
    settings = OptimiserSettings(objective="full", steps=400, restarts=2, objects=200)
    result = optimise(problem, settings)
    ends = [restart.bits_per_pixel for restart in result.restarts]
    assert max(ends) - min(ends) < 1e-4 * max(ends)
    assert result.surrogate_after > result.surrogate_before
    objective = settings.objective_for(problem, 0)
    time = torch.from_numpy(result.after.parameters["time"]).requires_grad_(True)
    (worth,) = torch.autograd.grad(objective.bits({"time": time}), time)
    used = time.detach() > 0.01
    assert float(worth.max() - worth[used].min()) < 0.02 * float(worth.max())


def test_positions_beat_a_y_on_black_holes():
    prior = BlackHoles(radius_px=3.0, width=0.45)
    problem = DesignProblem(array(antennas=6), prior, NOISE, mean_flux_jy=0.05)
    assert float(problem.draw(500, np.random.default_rng(0)).sum(dim=(1, 2, 3)).mean()) == pytest.approx(0.05, rel=0.03)
    result = optimise(problem, OptimiserSettings(objective="full", steps=60, restarts=1, objects=400))
    assert result.fresh_after > 1.05 * result.fresh_before
    assert all(check.kept for check in result.limit_checks())
    assert set(result.to_dict()["light"]) >= {"mean_flux_jy", "rms_jy"}


def test_points_are_spread_out_no_more_than_needed():
    rng = np.random.default_rng(0)
    crowd = torch.from_numpy(rng.normal(0, 0.2, (12, 2)))
    crowd[3] = crowd[4]
    found = spread_out(crowd, 1.0, 0.3)
    assert least_spacing(found) >= 0.3 and float(torch.linalg.norm(found, dim=1).max()) <= 1.0
    assert torch.equal(spread_out(found, 1.0, 0.3), found)
    pair = torch.tensor([[0.1, 0.0], [0.3, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.05, 0.0], [0.35, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(spread_out(pair, 1.0, 0.3), expected, atol=1e-6, rtol=0)
