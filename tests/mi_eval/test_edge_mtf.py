"""Rendered edges whose MTF is known in closed form, with noise and without; a slow reader without bins beside."""

from __future__ import annotations

import numpy as np
import pytest
from edge_render import Optics, edge_image, slow_mtf, true_values

from calibrate import NoiseModel
from mi_eval.edge import measure_edge
from mi_eval.edge.line import EdgeLine, first_line, refined_line
from mi_eval.edge.spread import edge_distances, edge_spread, rise_distance, smooth_slope, transfer

BAND = np.arange(0, 71) / 100


def camera(**changes):
    values = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100, bit_depth=12)
    return NoiseModel.from_parameters(**{**values, **changes})


def noiseless_mtf(image, rounds=3):
    """The steps of the measurement on an image without noise."""
    everything, variance = np.ones(image.shape, bool), np.ones(image.shape)
    line = first_line(image)
    for _ in range(rounds):
        spread = edge_spread(image, everything, variance, edge_distances(line, image.shape[1]), 12)
        core = np.abs(spread.position_px) < 4
        slope = smooth_slope(spread.position_px, spread.value_e)
        line = refined_line(
            image, everything, variance, line, spread.position_px[core], spread.value_e[core], slope[core]
        )
    spread = edge_spread(image, everything, variance, edge_distances(line, image.shape[1]), 12)
    curve = transfer(spread, BAND, half_px=12)
    value = curve.weights @ curve.bins_e
    return line, spread, np.abs(value) / curve.step_e


@pytest.mark.parametrize("angle", [2.5, 5.0, -8.0, 17.3, 33.0, 40.0])
@pytest.mark.parametrize("optics", [Optics(0.4), Optics(0.9), Optics(0.4, 1.2)], ids=["sharp", "soft", "defocus"])
def test_without_noise_the_mtf_is_that_of_optics_times_pixel(angle, optics):
    image = edge_image(optics, angle, (100, 130), 100.0, 1100.0)
    line, _, mtf = noiseless_mtf(image)
    assert line.angle_degrees == pytest.approx(angle, abs=2e-3)
    np.testing.assert_allclose(mtf, np.abs(optics.mtf(BAND, angle)), atol=1e-3)


@pytest.mark.parametrize("tangent", [1 / 8, 1 / 5, 1 / 4, 1 / 3])
def test_angles_of_simple_fractions_leave_few_phases_and_cost_little(tangent):
    # 8, 5, 4 and 3 phases of the pixels are all there is; bins that take them as evenly filled err by up to 0.024.
    angle = float(np.degrees(np.arctan(tangent)))
    optics = Optics(0.5)
    _, _, mtf = noiseless_mtf(edge_image(optics, angle, (100, 120), 100.0, 1100.0))
    np.testing.assert_allclose(mtf, optics.mtf(BAND, angle), atol=5e-3)


def test_a_slow_reader_without_bins_agrees():
    optics, angle = Optics(0.45), 6.0
    image = edge_image(optics, angle, (90, 70), 100.0, 1100.0, centre=(0.0, 30.0))
    f = np.array([0.05, 0.15, 0.3, 0.45])
    slow = slow_mtf(image, angle, 30.0, f)
    line, _, fast = noiseless_mtf(image)
    assert line.place_px[0] == pytest.approx(30.0, abs=2e-3)
    # Straight pieces of 0.2 px between knots: their own error is 1e-3.
    np.testing.assert_allclose(fast[np.rint(f * 100).astype(int)], slow, atol=2e-3)
    np.testing.assert_allclose(slow, optics.mtf(f, angle), atol=2e-3)


def test_a_bent_edge_is_followed():
    optics = Optics(0.5)
    line, _, mtf = noiseless_mtf(edge_image(optics, 5.0, (120, 80), 100.0, 1100.0, bend_px=1.5))
    assert line.order >= 2
    np.testing.assert_allclose(mtf, optics.mtf(BAND, 5.0), atol=3e-3)


@pytest.mark.parametrize("optics", [Optics(0.35), Optics(0.6), Optics(1.5), Optics(0.4, 1.5)])
def test_rise_distance_is_free_of_bins_and_smoothing(optics):
    centres = np.arange(-40, 41) * 0.25
    inside = centres[:, None] + (np.arange(50) - 24.5) / 200
    binned = optics.edge_spread(inside.ravel(), 5.0).reshape(inside.shape).mean(axis=1)
    true = true_values(optics, 5.0, camera(), 0.0, 100.0)["rise_distance_px"]
    assert rise_distance(centres, binned, 0.0, 1.0) == pytest.approx(true, abs=4e-3)


@pytest.mark.parametrize(
    ("optics", "angle", "dark", "bright"),
    [
        (Optics(0.4), 5.0, 400.0, 4000.0),
        (Optics(0.9), -8.0, 400.0, 4000.0),
        (Optics(0.4, 1.2), 6.0, 200.0, 2000.0),
        (Optics(0.5), 33.0, 100.0, 1000.0),
        (Optics(0.6), 10.0, 10.0, 120.0),
    ],
    ids=["sharp", "soft", "defocus", "steep", "dim"],
)
def test_truth_lies_within_the_stated_errors(optics, angle, dark, bright):
    # 12 seeds of 71 frequencies, whose errors go together over 0.1 cycles per pixel: some 7 values a seed.
    model = camera()
    image = edge_image(optics, angle, (110, 90 if abs(angle) < 20 else 150), dark, bright)
    truth = true_values(optics, angle, model, dark, bright)
    scores, scaled = [], []
    for seed in range(12):
        found = measure_edge(model.sample(image, np.random.default_rng([5, seed])), model)
        for name, value in (
            ("mtf50", found.mtf50),
            ("nyquist_square", found.capacity()),
            ("vpp_e", found.vpp_e),
            ("angle_degrees", found.angle_degrees),
            ("rise_distance_px", found.rise_distance_px),
        ):
            scores.append((value.value - truth[name]) / value.std)
        error = found.mtf[2:51] - optics.mtf(found.frequency[2:51], angle)
        scaled.append(np.mean((error / found.mtf_std[2:51]) ** 2))
    # 60 scores: their rms scatters by about 0.1 around 1 (by 0.15, as MTF50, capacity and rise go together).
    assert 0.6 < np.sqrt(np.mean(np.square(scores))) < 1.45
    assert np.max(np.abs(scores)) < 4.5
    assert 0.6 < np.sqrt(np.mean(scaled)) < 1.4


def test_what_does_not_change_the_mtf():
    optics, model = Optics(0.5), camera()
    frame = model.sample(edge_image(optics, 5.0, (120, 100), 200, 2000), np.random.default_rng(1))
    found = measure_edge(frame, model)
    turned = measure_edge(np.ascontiguousarray(frame.T), model)
    np.testing.assert_allclose(turned.mtf, found.mtf, atol=1e-12)
    assert not turned.upright and found.upright
    mirrored = measure_edge(np.ascontiguousarray(frame[:, ::-1]), model)
    assert mirrored.angle_degrees.value == pytest.approx(-found.angle_degrees.value, abs=1e-3)
    assert mirrored.mtf50.value == pytest.approx(found.mtf50.value, abs=1e-3)
    # An offset, and a gain of 4 with codes times 4, carry the same electrons.
    moved = measure_edge(frame + np.uint16(300), camera(offset_dn=400))
    np.testing.assert_allclose(moved.mtf, found.mtf, atol=1e-9)
    scaled = measure_edge(frame * np.uint16(4), camera(system_gain_dn_per_e=2.0, offset_dn=400, bit_depth=14))
    np.testing.assert_allclose(scaled.mtf, found.mtf, atol=1e-3)


def test_a_curved_response_is_taken_out():
    response = {"form": "polynomial", "coefficients": (-0.12,), "scale_dn": 2200.0}
    model = camera(response=response)
    optics = Optics(0.5)
    image = edge_image(optics, 5.0, (140, 100), 300, 4000)
    frame = model.sample(image, np.random.default_rng(3))
    found = measure_edge(frame, model)
    taken_as_linear = measure_edge(frame, camera())
    assert found.bright_e.value == pytest.approx(4000, abs=5 * found.bright_e.std + 1)
    assert taken_as_linear.bright_e.value < 3700
    assert "nonlinear_data" not in {w.code for w in found.warnings}


def test_line_and_angle_of_a_polynomial():
    line = EdgeLine(np.array([10.0, 5.0]), np.diag([1e-4, 4e-4]), 101, 0.0)
    assert line.place_px[[0, -1]] == pytest.approx([5, 15])
    assert line.angle_degrees == pytest.approx(np.degrees(np.arctan(0.1)))
    assert line.angle_std_degrees == pytest.approx(np.degrees(0.02 / 50 / 1.01))
