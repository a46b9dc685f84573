"""Noise spectra and capacities against closed forms and sums over the whole square."""

from __future__ import annotations

import numpy as np
import pytest
from edge_render import Optics, edge_image

from calibrate import NoiseModel
from mi_eval.edge import measure_edge
from mi_eval.edge.capacity import (
    FORMS,
    ROTATIONAL_2D,
    SLANTED_EDGE_1D,
    SQUARE,
    capacity,
    radial_grid,
    square_area,
)
from mi_eval.edge.noise import flat_rectangle, mean_model_variance_e2, model_variance_e2, side_noise
from mi_eval.edge.result import STATEMENT


def camera(**changes):
    values = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100, bit_depth=12)
    return NoiseModel.from_parameters(**{**values, **changes})


def test_flat_ratio_of_100_gives_3_33_bits():
    # SNR is the ratio of powers S/N: 1/2 log2(101) = 3.3291 over the square of area 1.
    f, edges = radial_grid()
    assert capacity(SQUARE, f, edges, 100.0) == pytest.approx(0.5 * np.log2(101), abs=1e-12)
    assert round(capacity(SQUARE, f, edges, 100.0), 2) == 3.33
    # Half a cycle with the whole logarithm is the same number where S/N is flat; the disc has area pi/4, twice.
    assert capacity(SLANTED_EDGE_1D, f, edges, 100.0) == pytest.approx(0.5 * np.log2(101), abs=1e-4)
    assert capacity(ROTATIONAL_2D, f, edges, 100.0) == pytest.approx(np.pi / 4 * np.log2(101), abs=1e-4)


@pytest.mark.parametrize(("angle", "shape"), [(5.0, (200, 120)), (7.3, (300, 120))])
def test_a_point_sampled_step_of_ratio_100_measures_3_33_bits(angle, shape):
    # Pixels that sample light at a point have an MTF of 1 at every frequency: S/N = V^2 / 12 / 50^2 = 100.
    model = camera(kind="gaussian", system_gain_dn_per_e=2.0, read_noise_e=50.0, offset_dn=200, bit_depth=14)
    row, column = np.mgrid[: shape[0], : shape[1]]
    theta = np.radians(angle)
    right = (column - shape[1] / 2 + 0.2) * np.cos(theta) > (row - shape[0] / 2) * np.sin(theta)
    light = np.where(right, 100 + 50 * np.sqrt(1200), 100.0)
    found = [measure_edge(model.sample(light, np.random.default_rng([6, seed])), model) for seed in range(4)]
    for form in ("nyquist_square", "slanted_edge_1d"):
        values = [one.capacity(form) for one in found]
        std = np.linalg.norm([value.std for value in values]) / 4
        assert np.mean([value.value for value in values]) == pytest.approx(0.5 * np.log2(101), abs=3 * std + 0.005)
    assert np.mean([one.mtf_at_nyquist.value for one in found]) == pytest.approx(1.0, abs=0.03)
    assert "no_mtf50" in {warning.code for warning in found[0].warnings}


def test_area_of_the_square_within_a_circle():
    x = (np.arange(1000) + 0.5) / 1000 - 0.5
    radius = np.hypot(x[:, None], x[None, :])
    for edge in (0.2, 0.45, 0.55, 0.65, 0.7):
        assert square_area(edge) == pytest.approx(np.mean(radius < edge), abs=5e-4)
    assert square_area(5.0) == pytest.approx(1.0, abs=1e-12)


def test_square_is_the_sum_over_both_frequencies():
    def ratio(f):
        return 300 * np.exp(-((f / 0.2) ** 2))

    f, edges = radial_grid()
    x = (np.arange(1000) + 0.5) / 2000
    whole = np.mean(0.5 * np.log2(1 + ratio(np.hypot(x[:, None], x[None, :]))))
    assert capacity(SQUARE, f, edges, ratio(f)) == pytest.approx(whole, abs=1e-4)
    assert capacity(SLANTED_EDGE_1D, f, edges, ratio(f)) == pytest.approx(
        np.sum(np.log2(1 + ratio(x))) / 2000, abs=1e-4
    )


@pytest.mark.parametrize("level", [3.0, 50.0, 2000.0])
def test_input_noise_is_shot_plus_read_plus_rounding(level):
    model = camera(read_noise_e=2.0, system_gain_dn_per_e=1.5, bit_depth=16)
    expected = level + 4.0 + 1 / 12 / 1.5**2
    assert model_variance_e2(model, np.array([level]))[0] == pytest.approx(expected, rel=2e-3)
    assert mean_model_variance_e2(model, level, 2 * level) == pytest.approx(expected + level / 2, rel=2e-3)


def test_noise_spectrum_is_white_and_its_errors_are_honest():
    model = camera()
    scores, levels = [], []
    for seed in range(40):
        rng = np.random.default_rng([2, seed])
        flat = (model.sample(np.full((60, 34), 900.0), rng) - 100.0) / 0.5
        shaded = flat + 8 * np.linspace(-1, 1, 60)[:, None] ** 2  # a trend of 8 e- that the fit takes out
        side = side_noise(shaded, np.ones(flat.shape, bool), model)
        scores.append((side.ratio - 1) / side.ratio_std)
        levels.append((side.spectrum_e2 / side.model_variance_e2 - 1) / (side.spectrum_std_e2 / side.spectrum_e2))
    assert 0.75 < np.std(scores) < 1.3
    assert abs(np.mean(scores)) < 0.55  # 3.5 standard errors of the mean
    assert 0.8 < np.sqrt(np.mean(np.square(levels))) < 1.25


def test_coloured_noise_is_seen_as_coloured():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((130, 131)) * 30
    smooth = 1000 + (white[:, 1:] + white[:, :-1]) / 2
    side = side_noise(smooth, np.ones(smooth.shape, bool), camera())
    assert side.correlation[0] == pytest.approx(0.5, abs=0.03)
    assert side.correlation[1] == pytest.approx(0.0, abs=0.03)
    # Mean over the direction of cos^2(pi f_x), times 900.
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    expected = [900 * np.mean(np.cos(np.pi * f * np.cos(angle)) ** 2) for f in side.frequency]
    inner = side.frequency < 0.5
    off = (side.spectrum_e2 - expected)[inner] / side.spectrum_std_e2[inner]
    assert np.sqrt(np.mean(off**2)) < 1.8


def test_largest_rectangle_beside_a_slanted_edge():
    limit = np.linspace(30.5, 10.5, 50)
    rows, columns = flat_rectangle(limit)
    height, width = rows.stop - rows.start, columns.stop
    assert np.all(limit[rows] >= width - 1)
    best = max((k + 1) * (int(limit[k]) + 1) for k in range(50) if int(limit[k]) + 1 >= 8)
    assert height * width == best
    rows, _ = flat_rectangle(limit[::-1])
    assert rows.stop == 50
    assert flat_rectangle(np.full(50, 3.0)) is None


def test_quanta_of_a_noiseless_readout_are_the_electrons():
    # Without read noise and with fine steps NEQ(0) is the light itself, below at every frequency by MTF^2.
    model = camera(read_noise_e=0.05, system_gain_dn_per_e=8.0, bit_depth=16)
    found = measure_edge(
        model.sample(edge_image(Optics(0.5), 5.0, (150, 110), 300, 3000), np.random.default_rng(0)), model
    )
    f, by_model, measured = found.noise_equivalent_quanta("bright")
    expected = 3000 * Optics(0.5).mtf(f, 5.0) ** 2
    np.testing.assert_allclose(by_model, expected, atol=60)
    assert np.mean(measured / by_model) == pytest.approx(1.0, abs=0.1)


def test_capacity_of_measured_and_modelled_noise_agree_and_say_what_they_are():
    model = camera()
    frame = model.sample(edge_image(Optics(0.5), 5.0, (150, 120), 300, 3000), np.random.default_rng(4))
    found = measure_edge(frame, model)
    for form in FORMS:
        one, other = found.capacity(form.name), found.capacity(form.name, "measured")
        assert abs(one.value - other.value) < 3.5 * np.hypot(one.std, other.std)
    content = found.to_dict()
    assert not any("information" in key or "mutual" in key for key in content)
    entry = content["assumed_signal_capacity"]
    assert entry["statement"] == STATEMENT and "never ranked" in STATEMENT
    assert {value["form"]: value["prefactor"] for value in entry["values"]} == {
        "nyquist_square": 0.5,
        "slanted_edge_1d": 1.0,
        "rotational_2d": 1.0,
    }
    with pytest.raises(KeyError):
        found.capacity("nyquist_square", "imagined")


def test_calibration_error_reaches_the_capacity_and_the_step():
    from calibrate.schema import CovarianceEntry, ParameterEntry

    model = camera()
    frame = model.sample(edge_image(Optics(0.5), 5.0, (150, 120), 300, 3000), np.random.default_rng(4))
    plain = measure_edge(frame, model)
    std = {"system_gain_dn_per_e": 0.02, "read_noise_e": 0.1}
    parameters = dict(model.document.parameters)
    for name, error in std.items():
        entry = parameters[name]
        parameters[name] = ParameterEntry(value=entry.value, std=error, unit=entry.unit)
    matrix = ((0.02**2, 0.0), (0.0, 0.1**2))
    document = model.document.model_copy(
        update={"parameters": parameters, "covariance": CovarianceEntry(names=tuple(std), matrix=matrix)}
    )
    measured = measure_edge(frame, NoiseModel.from_document(document))
    added = np.sqrt(measured.capacity().std ** 2 - plain.capacity().std ** 2)
    # By hand: 4 % of gain is 4 % of the noise variance, DN^2, of a shot-limited camera.
    up = measure_edge(frame, camera(system_gain_dn_per_e=0.5 * 1.04)).capacity().value
    assert added == pytest.approx(abs(up - plain.capacity().value), rel=0.1)
    assert measured.vpp_e.std == pytest.approx(0.04 * measured.vpp_e.value, rel=0.01)
    assert measured.capacity(noise="measured").std == pytest.approx(plain.capacity(noise="measured").std, rel=0.01)
