"""Edges that must be refused, and doubts that must be raised; both on rendered frames."""

from __future__ import annotations

import numpy as np
import pytest
from edge_render import Optics, edge_image
from scipy import ndimage

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.edge import measure_edge

OPTICS = Optics(0.5)


def camera(**changes):
    values = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100, bit_depth=12)
    return NoiseModel.from_parameters(**{**values, **changes})


def shot(image, seed=0, **changes):
    return camera(**changes).sample(image, np.random.default_rng(seed))


def edge(angle=5.0, shape=(120, 100), dark=300.0, bright=3000.0, optics=OPTICS, **more):
    return edge_image(optics, angle, shape, dark, bright, **more)


def codes(found):
    return {entry.code for entry in found.warnings}


def refusal(frame, **options):
    with pytest.raises(PhotonbitsError) as caught:
        measure_edge(frame, options.pop("model", camera()), **options)
    assert caught.value.legal
    assert caught.value.remedy
    return str(caught.value)


def test_a_clean_edge_raises_no_doubt_but_that_the_model_was_given():
    assert codes(measure_edge(shot(edge()), camera())) == {"not_measured"}


def test_saturated_side():
    assert "saturated or clipped" in refusal(shot(edge(bright=9000.0)))


def test_black_clipped_side():
    assert "dark side" in refusal(shot(edge(dark=1.0), offset_dn=0), model=camera(offset_dn=0))


def test_nothing_to_see():
    assert "no slanted edge" in refusal(shot(np.full((120, 100), 500.0)))


def test_no_edge_in_a_named_region():
    message = refusal(shot(np.full((120, 100), 500.0)), roi=(10, 10, 60, 60))
    assert "no common edge" in message or "noise of a pixel" in message


@pytest.mark.parametrize("angle", [0.0, 0.2])
def test_upright_edge(angle):
    assert "one whole pixel" in refusal(shot(edge(angle)), roi=(0, 0, 100, 120))


@pytest.mark.parametrize("angle", [44.0, 45.0])
def test_diagonal_edge(angle):
    message = refusal(shot(edge(angle, (120, 200))), roi=(0, 0, 200, 120))
    assert "43 degrees" in message


def test_faint_edge():
    message = refusal(shot(edge(dark=1000.0, bright=1050.0)), roi=(0, 0, 100, 120))
    assert "noise of a pixel" in message or "no common edge" in message


def test_short_edge():
    assert "20" in refusal(shot(edge(shape=(15, 100))), roi=(0, 0, 100, 15))


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (19, 19)])
def test_tiny_frames(shape):
    assert "look for an edge" in refusal(np.full(shape, 300, np.uint16))
    assert "across and along" in refusal(np.full((60, 60), 300, np.uint16), roi=(3, 3, 1, 1))


def test_blur_wider_than_the_region():
    assert "wider region" in refusal(shot(edge(shape=(120, 40), optics=Optics(5.0))), roi=(0, 0, 40, 120))


def test_region_outside_the_frame():
    assert "inside the plane" in refusal(shot(edge()), roi=(50, 0, 100, 50))


def test_codes_outside_the_model():
    assert "noise model's range" in refusal(shot(edge()) + np.uint16(4000))


def test_real_values_with_a_model_of_codes():
    assert "integer codes" in refusal(shot(edge()).astype(float))


def test_colour_frames():
    assert "raw plane" in refusal(np.zeros((50, 50, 3), np.uint16))


def test_demosaiced_frame():
    frame = shot(edge(shape=(160, 140))).astype(float)
    seen = np.zeros(frame.shape, bool)
    seen[::2, ::2] = seen[1::2, 1::2] = True
    kernel = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    filled = np.where(seen, frame, ndimage.convolve(np.where(seen, frame, 0.0), kernel))
    assert "demosaiced" in refusal(np.rint(filled).astype(np.uint16))


def test_denoised_frame():
    smooth = np.rint(ndimage.uniform_filter(shot(edge(shape=(160, 140))).astype(float), 3)).astype(np.uint16)
    assert "denoised" in refusal(smooth)


def mosaic_frame():
    image = edge_image(OPTICS, 5.0, (240, 200), 300, 3000)
    share = np.ones(image.shape)
    share[::2, ::2], share[1::2, 1::2] = 0.5, 0.35
    return shot(image * share)


def test_mosaic_taken_as_one_plane():
    assert "--plane" in refusal(mosaic_frame())


@pytest.mark.parametrize(("plane", "level"), [("0,0", 1500.0), ("0,1", 3000.0), ("1,1", 1050.0)])
def test_a_plane_of_a_mosaic_is_measured_on_its_own_pixels(plane, level):
    found = measure_edge(mosaic_frame(), camera(), plane=plane)
    assert found.bright_e.value == pytest.approx(level, abs=5 * found.bright_e.std)
    assert found.pitch == 2
    # A pixel of the plane is two of the sensor's, and its aperture and blur half as wide in those units.
    f = found.frequency
    theta = np.radians(5.0)
    expected = np.exp(-2 * (np.pi * 0.25 * f) ** 2) * np.sinc(f / 2 * np.cos(theta)) * np.sinc(f / 2 * np.sin(theta))
    off = (found.mtf - expected)[2:51] / found.mtf_std[2:51]
    assert np.sqrt(np.mean(off**2)) < 2


def test_planes_by_colour_use_the_channel_s_own_model():
    gains = {"R": 0.4, "Gr": 0.5, "Gb": 0.5, "B": 0.6}
    plain = {name: camera(system_gain_dn_per_e=gain) for name, gain in gains.items()}
    model = NoiseModel.from_channels(plain, "RGGB")
    frame = model.sample(edge_image(OPTICS, 5.0, (240, 200), 300, 3000), np.random.default_rng(0))
    for plane in ("R", "G1", "Gb", "b"):
        found = measure_edge(frame, model, plane=plane)
        assert found.bright_e.value == pytest.approx(3000, abs=5 * found.bright_e.std)
        assert found.sides["bright"].ratio == pytest.approx(1.0, abs=5 * found.sides["bright"].ratio_std)
    assert "--plane" in refusal(frame, model=model)
    with pytest.raises(PhotonbitsError, match="R, G1"):
        measure_edge(frame, model, plane="white")
    with pytest.raises(PhotonbitsError, match="ROW,COLUMN"):
        measure_edge(frame, camera(), plane="R")


def test_fixed_pattern_is_told_and_taken_out_by_maps():
    rng = np.random.default_rng(3)
    prnu = 0.03 * rng.standard_normal((140, 120))
    frame = shot(edge(shape=(140, 120)) * (1 + prnu))
    plain = measure_edge(frame, camera())
    assert "noise_above_model" in codes(plain)
    mapped = measure_edge(frame, camera(maps={"prnu": prnu}))
    assert "noise_above_model" not in codes(mapped)
    assert mapped.sides["bright"].ratio < 1.1 < plain.sides["bright"].ratio
    assert mapped.mtf_at_nyquist.std < plain.mtf_at_nyquist.std


def test_denoised_without_correlation_is_told():
    image = edge()
    averaged = np.rint(np.mean([shot(image, seed) for seed in range(4)], axis=0)).astype(np.uint16)
    found = measure_edge(averaged, camera())
    assert "noise_below_model" in codes(found)


def test_a_frame_without_noise():
    assert "noise variance of the noise model" in refusal(np.rint(100 + edge() / 2).astype(np.uint16))


def test_tone_curve_is_told():
    frame = shot(edge()).astype(float) - 100
    bent = np.rint(100 + 1600 * (np.maximum(frame, 0) / 1600) ** 0.6).astype(np.uint16)
    assert "nonlinear_data" in codes(measure_edge(bent, camera()))


def test_sharpening_is_told():
    frame = shot(edge(dark=600.0)).astype(float)
    sharp = np.clip(np.rint(frame + 0.8 * (frame - ndimage.gaussian_filter(frame, 1.0))), 0, 4095).astype(np.uint16)
    found = measure_edge(sharp, camera())
    assert {"sharpened", "correlated_noise"} <= codes(found)
    assert found.mtf.max() > 1.05


def test_bent_ragged_and_unevenly_lit_edges_are_told():
    assert "curved_edge" in codes(measure_edge(shot(edge(bend_px=2.0)), camera()))
    rng = np.random.default_rng(0)
    ragged = np.stack(
        [edge(shape=(1, 100), centre=(60.0 - i, 50.0 + s))[0] for i, s in enumerate(rng.normal(0, 0.4, 120))]
    )
    assert "ragged_edge" in codes(measure_edge(shot(ragged), camera()))
    lamp = 1 + 0.4 * np.linspace(-1, 1, 120)[:, None]
    assert "uneven_light" in codes(measure_edge(shot(edge() * lamp), camera()))


def test_noisy_short_and_narrow_edges_are_told():
    assert "noisy" in codes(measure_edge(shot(edge(dark=5.0, bright=60.0, shape=(60, 80))), camera()))
    assert "low_angle_span" in codes(measure_edge(shot(edge(angle=2.0, shape=(60, 60))), camera()))
    assert "few_flat_pixels" in codes(measure_edge(shot(edge(angle=5.0, shape=(60, 20))), camera()))


def test_dark_charge_leaves_the_signal_where_the_exposure_is_known():
    model = camera(dark_current_e_per_s=100.0)
    frame = shot(edge(dark=400.0, bright=2400.0))
    assert "dark_unknown" in codes(measure_edge(frame, model))
    found = measure_edge(frame, model, exposure_s=2.0)
    assert "dark_unknown" not in codes(found)
    whole = measure_edge(frame, model).noise_equivalent_quanta("dark")[1]
    np.testing.assert_allclose(found.noise_equivalent_quanta("dark")[1] / whole, 0.25, rtol=0.02)


def tilted_square(angle, size, shape, low, high):
    """A bright square, tilted, on a dark ground: four edges."""
    theta = np.radians(angle)
    row, column = np.mgrid[: shape[0], : shape[1]].astype(float)
    y, x = row - shape[0] / 2, column - shape[1] / 2
    u, v = x * np.cos(theta) - y * np.sin(theta), x * np.sin(theta) + y * np.cos(theta)

    def rise(d):
        return OPTICS.edge_spread(np.clip(d, -30, 30), angle)

    return low + (high - low) * rise(u + size / 2) * rise(size / 2 - u) * rise(v + size / 2) * rise(size / 2 - v)


@pytest.mark.parametrize("angle", [4.0, -7.0])
def test_an_edge_of_a_tilted_square_is_found(angle):
    found = measure_edge(shot(tilted_square(angle, 150, (300, 320), 200, 3000)), camera())
    assert found.n_lines > 80
    assert abs(found.angle_degrees.value) == pytest.approx(abs(angle), abs=0.05)
    error = (found.mtf - OPTICS.mtf(found.frequency, angle))[2:51]
    assert np.sqrt(np.mean((error / found.mtf_std[2:51]) ** 2)) < 2
    assert not codes(found) & {"curved_edge", "ragged_edge", "uneven_light"}
