"""One contract for every imaging system, and the physics of each."""

import numpy as np
import pytest
import torch

from calibrate import PhotonbitsError
from mi_eval.systems import (
    SYSTEM_NAMES,
    ChosenExposure,
    CircularKernel,
    CodedAperture,
    ColourMosaic,
    Interferometer,
    InterferometerSchedule,
    KSpaceSampling,
    LedArray,
    Lens,
    LensletArray,
    PhaseMask,
    SystemDesign,
    make_system,
)
from mi_eval.systems.names import OUTER_NAMES
from mi_eval.systems.optics import capped_simplex
from mi_eval.systems.zernike import noll_index, zernike

#: 10 mas cells at 6 cm: baselines up to 618 km. One visibility has 0.15 Jy of noise after a second.
RADIO = dict(
    shape=(9, 8),
    cell_arcsec=0.01,
    wavelength_m=0.06,
    largest_baseline_m=4e5,
    system_temperature_k=40.0,
    effective_area_m2=300.0,
    bandwidth_hz=3e6,
)
PLATE = dict(
    shape=(24, 24),
    pitch_um=20.0,
    wavelength_um=0.55,
    sensor_distance_mm=2.0,
    lenslets=3,
    lenslet_diameter_mm=0.1,
    aperture_diameter_mm=0.3,
    largest_power_per_m=900.0,
)
MASK = {"name": "coded_aperture", "shape": [8, 8], "mask_shape": [3, 3]}
SECONDS = {"reference_exposure_s": 0.5, "longest_exposure_s": 2.0}
STATIONS = ((0.0, 0.0), (1.2e5, 3e4), (-9e4, 1e5), (2e4, -1.7e5))
SYSTEMS = {
    "chosen_exposure": ChosenExposure(CodedAperture((12, 10), (4, 3), margin_px=2), 0.2, 1.5),
    "chosen_exposure led_array": ChosenExposure(
        LedArray((16, 16), 0.3, 0.6, 0.4, 0.6, light_e=200.0, power=0.8, diodes=3), 1.0, 1.0
    ),
    "circular_kernel": CircularKernel((6, 8), 2.0),
    "coded_aperture": CodedAperture((12, 10), (4, 3), margin_px=2),
    "colour_mosaic": ColourMosaic((6, 8), 5, 0.9),
    "interferometer": Interferometer(**RADIO, antennas=5, closest_spacing_m=3e4, integration_s=2.0),
    "interferometer tracks": Interferometer(
        **RADIO,
        antennas=3,
        closest_spacing_m=1e3,
        integration_s=2.0,
        hour_angles_h=(-4.0, 0.0, 2.5),
        latitude_deg=34.0,
        declination_deg=50.0,
    ),
    "interferometer_schedule": InterferometerSchedule(
        **RADIO, stations_m=STATIONS, baseline_time_s=20.0, longest_time_s=6.0, hour_angles_h=(-2.0, 2.0)
    ),
    "kspace": KSpaceSampling((6, 7), 12.0, 3.0),
    "kspace lines": KSpaceSampling((8, 6), 20.0, 3.0, by_lines=True),
    "led_array": LedArray((16, 16), 0.3, 0.6, 0.4, 0.6, light_e=200.0, power=0.8, diodes=3, absorption=0.1),
    "lens": Lens((12, 16), 4.0, 0.55, 20.0, 2.5, depths_waves=(-0.5, 0.7), margin_px=1),
    "lenslet_array": LensletArray(
        (14, 16), 20.0, 0.55, 1.5, 3, 0.06, 0.18, 900.0, vergences_per_m=(0.0, 80.0), margin_px=2
    ),
    "phase_mask": PhaseMask((16, 14), 0.2, 0.6, 0.8, 0.6, modes=8, depths_um=(-0.4, 0.0, 0.6), margin_px=2),
}

ARRAY = {**RADIO, "antennas": 4, "closest_spacing_m": 1e3, "integration_s": 1.0}
SCHEDULE = {**RADIO, "stations_m": STATIONS, "baseline_time_s": 20.0, "longest_time_s": 6.0}


def some_objects(system, n=3, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.random((n, *system.object_shape))
    if system.objects_are == "signed":
        values = rng.standard_normal(values.shape)
    return torch.from_numpy(values * (50.0 if system.objects_are == "light" else 1.0))


def test_every_system_is_tested():
    assert {system.name for system in SYSTEMS.values()} == set(SYSTEM_NAMES) | set(OUTER_NAMES)


@pytest.mark.parametrize("name", SYSTEMS)
def test_contract(name):
    """Shapes, signs, limits kept from any start, file and back."""
    system = SYSTEMS[name]
    objects = some_objects(system)
    system.check_objects(objects)
    for how in ("conventional", "random"):
        first = system.start(how, np.random.default_rng(4))
        again = system.start(how, np.random.default_rng(4))
        system.check(first)
        assert all(torch.equal(first[key], again[key]) for key in first)
        wild = {key: value + 3 * torch.randn_like(value) for key, value in first.items()}
        for parameters in (first, system.project(wild)):
            usage = system.usage(parameters)
            assert {limit.name for limit in system.limits()} == set(usage)
            for limit in system.limits():
                assert usage[limit.name] <= limit.value * (1 + 1e-9)
            for spec in system.specs():
                value = parameters[spec.name]
                assert tuple(value.shape) == spec.shape and spec.unit
                assert spec.lower is None or float(value.min()) >= spec.lower - 1e-12
                assert spec.upper is None or float(value.max()) <= spec.upper + 1e-12
            frames = system.forward(objects, parameters)
            assert tuple(frames.shape) == (3, *system.frame_shape) and frames.dtype == torch.float64
            assert bool(torch.isfinite(frames).all())
            if not system.signed:
                assert float(frames.min()) >= 0
        once, twice = system.project(wild), system.project(system.project(wild))
        assert all(torch.allclose(once[key], twice[key], atol=1e-9) for key in once)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gradients_against_finite_differences(name):
    """Of a random quadratic form of the frames, in every parameter, at a random design."""
    system = SYSTEMS[name]
    objects = some_objects(system, seed=1)
    weights = torch.from_numpy(np.random.default_rng(2).standard_normal((3, *system.frame_shape)))
    start = system.start("random", np.random.default_rng(3))

    def value(parameters):
        frames = system.forward(objects, parameters)
        return (weights * frames + 0.01 * frames**2).sum()

    leaves = {key: tensor.clone().requires_grad_(True) for key, tensor in start.items()}
    gradients = torch.autograd.grad(value(leaves), list(leaves.values()))
    for key, gradient in zip(leaves, gradients, strict=True):
        found = gradient.reshape(-1).numpy()
        expected = np.empty_like(found)
        step = 1e-5 * max(float(start[key].abs().max()), 1e-3)
        for i in range(found.size):
            ends = []
            for sign in (1, -1):
                moved = start[key].clone().reshape(-1)
                moved[i] += sign * step
                ends.append(float(value({**start, key: moved.reshape(start[key].shape)})))
            expected[i] = (ends[0] - ends[1]) / (2 * step)
        assert np.max(np.abs(found - expected)) < 1e-6 * max(np.max(np.abs(expected)), 1.0)
        assert np.max(np.abs(expected)) > 0


@pytest.mark.parametrize("name", [n for n in SYSTEMS if SYSTEMS[n].objects_are == "light" and "exposure" not in n])
def test_light_is_only_lost(name):
    """Passive optics: whatever the parameters, frames hold no more light than the objects sent."""
    system = SYSTEMS[name]
    for seed in range(5):
        parameters = system.start("random", np.random.default_rng(seed))
        point = torch.zeros((1, *system.object_shape), dtype=torch.float64)
        point[..., system.shape[0] // 2, system.shape[1] // 2] = 1.0
        assert float(system.forward(point, parameters).sum()) <= float(point.sum()) * (1 + 1e-9)


@pytest.mark.parametrize(
    "name", [n for n in SYSTEMS if not n.endswith("led_array") and not n.startswith(("colour", "interfer"))]
)
def test_transfer_function_is_that_of_the_forward_model(name):
    system = SYSTEMS[name]
    objects = some_objects(system, seed=5)
    parameters = system.start("random", np.random.default_rng(6))
    spectrum = (torch.fft.fft2(objects) * system.transfer(parameters)).sum(dim=1)
    whole = torch.fft.ifft2(spectrum)
    assert float(whole.imag.abs().max()) < 1e-9 * float(whole.real.abs().max())
    height, width = system.object_shape[1:]
    margin = (height - system.frame_shape[0]) // 2
    inner = whole.real[:, margin : height - margin, margin : width - margin]
    expected = inner if system.signed else torch.clamp(inner, min=0)
    torch.testing.assert_close(system.forward(objects, parameters), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SYSTEMS)
def test_designs_are_saved_and_loaded(name, tmp_path):
    system = SYSTEMS[name]
    design = SystemDesign.of(system, system.start("random", np.random.default_rng(0)))
    path = tmp_path / "design.npz"
    design.save(path)
    loaded = SystemDesign.load(path)
    assert loaded.system == system
    objects = some_objects(system)
    assert torch.equal(loaded.forward(objects), design.forward(objects))
    assert loaded.to_bytes() == path.read_bytes()
    assert all(picture.ndim == 2 and picture.size for picture in system.pictures(design.tensors()).values())


def test_files_that_are_no_designs_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(PhotonbitsError, match="no such file"):
        SystemDesign.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(PhotonbitsError, match="no saved design"):
        SystemDesign.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(PhotonbitsError, match="no saved design"):
        SystemDesign.load(path)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("prism", {}, "imaging system 'prism'"),
        ("coded_aperture", {"shape": [8, 8]}, "lacks mask_shape"),
        ("coded_aperture", {"shape": [8, 8], "mask_shape": [9, 1]}, "mask_shape"),
        ("coded_aperture", {"shape": [8, 8], "mask_shape": [3, 3], "margin_px": 4}, "margin_px"),
        ("coded_aperture", {"shape": [8, 8], "mask_shape": [3, 3], "colour": 1}, "'colour' is no field"),
        ("circular_kernel", {"shape": [8, 8], "power": 0.0}, "power is 0"),
        ("lens", {"shape": [16, 16], "pitch_um": 4.0, "wavelength_um": 0.5, "focal_length_mm": 20}, "largest_diam"),
        ("kspace", {"shape": [8, 8], "scan_time": 4.0, "longest_time": 1.0, "data": "magnitude"}, "Rician"),
        ("kspace", {"shape": [8, 8], "scan_time": 64.0, "longest_time": 1.0}, "at most 34"),
        ("interferometer", {**RADIO, "antennas": 4, "closest_spacing_m": 1e3}, "lacks integration_s"),
        ("interferometer", {**ARRAY, "largest_baseline_m": 7e5}, "at most 618"),
        ("interferometer", {**ARRAY, "closest_spacing_m": 3e5}, "fill at most 40 %"),
        ("interferometer", {**ARRAY, "efficiency": 1.2}, "efficiency 1.2"),
        ("interferometer", {**ARRAY, "antennas": 1}, "2 or more"),
        ("interferometer", {**ARRAY, "latitude_deg": 40.0, "hour_angles_h": [0.0, 12.0], "declination_deg": 0.0}, "up"),
        ("interferometer_schedule", {**SCHEDULE, "stations_m": [[0, 0], [5e5, 0]]}, "500000 m apart"),
        ("interferometer_schedule", {**SCHEDULE, "baseline_time_s": 40.0}, "at most 36"),
        ("chosen_exposure", {"system": {"shape": [8, 8]}, **SECONDS}, "without name"),
        ("chosen_exposure", {"system": {"name": "circular_kernel", "shape": [8, 8], "power": 1.0}, **SECONDS}, "own"),
        ("chosen_exposure", {"system": {**MASK, "mask_shape": [9, 1]}, **SECONDS}, "mask_shape"),
        ("chosen_exposure", {"system": MASK, "reference_exposure_s": 3.0, "longest_exposure_s": 2.0}, "exposure_s 3"),
        ("lenslet_array", {k: v for k, v in PLATE.items() if k != "largest_power_per_m"}, "lacks largest_power"),
        ("lenslet_array", {**PLATE, "largest_power_per_m": 400.0}, "500 or more"),
        ("lenslet_array", {**PLATE, "lenslets": 4}, "at most 40%"),
        ("lenslet_array", {**PLATE, "lenslets": 2.5}, "whole number"),
        ("lenslet_array", {**PLATE, "aperture_diameter_mm": 0.5}, "spots 0.5 mm apart on a field of 0.48 mm"),
        ("lenslet_array", {**PLATE, "largest_power_per_m": 4000.0}, "a blur of 0.7 mm"),
        ("lenslet_array", {**PLATE, "vergences_per_m": [-1.0]}, "0 or above"),
        ("colour_mosaic", {"shape": [8, 8], "bands": 4, "largest_transmission": 1.2}, "up to 1"),
    ],
)
def test_systems_without_sense_or_limits_are_refused(name, fields, message):
    with pytest.raises(PhotonbitsError, match=message):
        make_system(name, fields)


# ---- the physics of each ----------------------------------------------------------------------------------


def test_lens_in_focus_is_the_diffraction_limit():
    """The OTF of a round pupil, Goodman eq. 6-32, and light with the square of the diameter."""
    lens = Lens((96, 96), 2.0, 0.5, 10.0, 1.0, margin_px=0)  # cut-off 0.2 cycles/um, pitch below Nyquist's 2.5
    parameters = lens.start("conventional", np.random.default_rng(0))
    parameters["pixel_size_um"] = torch.tensor(0.2, dtype=torch.float64)
    otf = torch.abs(lens.transfer(parameters)[0]).numpy() / 0.1**2
    f = np.fft.fftfreq(96, 2.0)[:48]
    s = np.clip(f / 0.2, 0, 1)
    expected = 2 / np.pi * (np.arccos(s) - s * np.sqrt(1 - s**2))
    # The rim is one frequency sample soft, of 9.6 to the edge of the pupil.
    assert np.max(np.abs(otf[0, :48] - expected)) < 0.03
    small = dict(parameters, diameter_mm=torch.tensor(0.5, dtype=torch.float64))
    ratio = float(lens.psf(small).sum() / lens.psf(parameters).sum())
    assert ratio == pytest.approx(0.25, rel=1e-6)
    blurred = dict(parameters, focus_waves=torch.tensor(1.0, dtype=torch.float64))
    assert float(lens.psf(blurred).max()) < 0.3 * float(lens.psf(parameters).max())
    assert float(lens.psf(blurred).sum()) == pytest.approx(float(lens.psf(parameters).sum()), rel=1e-6)


def test_zernike_modes_are_orthonormal_and_ordered_as_noll_did():
    axis = np.linspace(-1, 1, 401)
    columns, rows = np.meshgrid(axis, axis)
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    inside = radius <= 1
    modes = np.stack([zernike(j, radius[inside], angle[inside]) for j in range(1, 16)])
    gram = modes @ modes.T / inside.sum()
    assert np.max(np.abs(gram - np.eye(15))) < 0.03
    assert [noll_index(j) for j in range(9, 16)] == [(3, -3), (3, 3), (4, 0), (4, 2), (4, -2), (4, 4), (4, -4)]


def test_phase_mask_keeps_the_light_and_defocus_is_symmetric():
    system = PhaseMask((32, 32), 0.15, 0.6, 0.9, 1.0, modes=6, depths_um=(-0.8, 0.0, 0.8), transmission=0.7)
    psf = system.psf(system.start("conventional", np.random.default_rng(0)))
    assert psf.sum(dim=(1, 2)).numpy() == pytest.approx(0.7, rel=1e-6)
    torch.testing.assert_close(psf[0], psf[2], rtol=1e-6, atol=1e-9)
    assert float(psf[1].max()) > 2 * float(psf[0].max())
    # Airy disc: mean over the first dark ring's radius 0.61 wavelength/NA holds 84 % of the light.
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(32, 1 / 32), np.fft.fftfreq(32, 1 / 32))) * 0.15
    assert float(psf[1].numpy()[radius < 0.61 * 0.6 / 0.9].sum()) / 0.7 == pytest.approx(0.84, abs=0.06)
    # A mask breaks the symmetry: depth can be told.
    masked = system.psf({"zernike_waves": torch.tensor([0.0, 0.2, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)})
    assert float((masked[0] - masked[2]).abs().max()) > 0.05 * float(masked[0].max())


def test_coded_apertures_are_centred_without_loss():
    system = CodedAperture((9, 8), (5, 4))
    for seed in range(20):
        mask = system.start("random", np.random.default_rng(seed))
        moved = system.centred(mask)
        before, after = mask["transmission"].numpy(), moved["transmission"].numpy()
        assert sorted(before.ravel()) == sorted(after.ravel())
        power = [torch.abs(system.transfer(parameters)) for parameters in (mask, moved)]
        assert torch.allclose(*power, atol=1e-12)  # no cell went round the edge
        places = np.indices(before.shape)
        off = [np.abs((places * m).sum(axis=(1, 2)) / m.sum() - np.array([2, 2])).round(9) for m in (before, after)]
        assert (off[1] <= off[0]).all()
        again = system.centred(moved)["transmission"]
        assert torch.equal(again, moved["transmission"])
    corner = torch.zeros(5, 4, dtype=torch.float64)
    corner[4, 0] = 0.5
    assert system.centred({"transmission": corner})["transmission"][2, 2] == 0.5
    closed = {"transmission": torch.zeros(5, 4, dtype=torch.float64)}
    assert torch.equal(system.centred(closed)["transmission"], closed["transmission"])


def test_coded_aperture_is_a_direct_sum_of_shifted_objects():
    system = CodedAperture((9, 8), (3, 2))
    mask = np.random.default_rng(0).random((3, 2))
    objects = some_objects(system, n=1)
    expected = np.zeros((9, 8))
    for i in range(3):
        for j in range(2):
            expected += mask[i, j] / 6 * np.roll(objects[0, 0].numpy(), (i - 1, j - 1), axis=(0, 1))
    found = system.forward(objects, {"transmission": torch.from_numpy(mask)})
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 7), (8, 8), (5, 5)])
def test_kspace_counts_conjugates_once(shape):
    system = KSpaceSampling(shape, 10.0, 2.0)
    rows, columns = np.indices(shape)
    partners = {
        frozenset([(r, c), (-r % shape[0], -c % shape[1])])
        for r, c in zip(rows.ravel().tolist(), columns.ravel().tolist(), strict=True)
    }
    assert system.independent_locations == len(partners)
    even = system.start("conventional", np.random.default_rng(0))
    assert float(even["time"][0, 0]) == pytest.approx(10.0 / len(partners))
    objects = some_objects(system)
    samples = system.samples(objects, even)
    assert samples.shape == (3, 2, *shape)
    # Unitary: samples and whitened image hold the same energy.
    frames = system.forward(objects, even)
    assert float((samples**2).sum()) == pytest.approx(float((frames**2).sum()))


def test_capped_simplex_is_the_nearest_point():
    """Against scipy's quadratic solver."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(1)
    v, w = rng.standard_normal(7), rng.uniform(0.5, 2.0, 7)
    found = capped_simplex(torch.from_numpy(v), 3.0, 0.9, torch.from_numpy(w)).numpy()
    assert (w * found).sum() == pytest.approx(3.0)
    best = minimize(
        lambda t: np.sum(w * (t - v) ** 2),
        np.full(7, 3.0 / w.sum()),
        bounds=[(0, 0.9)] * 7,
        constraints={"type": "eq", "fun": lambda t: (w * t).sum() - 3.0},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-5)


def test_led_array_empty_field_is_bright_in_bright_field_only():
    system = SYSTEMS["led_array"]
    empty = torch.zeros((1, 1, 16, 16), dtype=torch.float64)
    bright = system.forward(empty, system.start("conventional", np.random.default_rng(0)))
    assert bright.numpy() == pytest.approx(0.8 * 200.0)
    corner = torch.zeros((3, 3), dtype=torch.float64)
    corner[0, 0] = 0.8
    assert float(system.forward(empty, {"diode_power": corner}).abs().max()) < 1e-9


def test_mosaic_pixels_see_their_own_filter():
    system = SYSTEMS["colour_mosaic"]
    parameters = system.start("random", np.random.default_rng(0))
    objects = some_objects(system)
    frames = system.forward(objects, parameters).numpy()
    for row, column in ((0, 0), (3, 4), (5, 7), (2, 3)):
        own = parameters["filters"][2 * (row % 2) + column % 2].numpy()
        np.testing.assert_allclose(frames[:, row, column], objects[:, :, row, column].numpy() @ own)


def fresnel_light(system, parameters, vergence_per_m, fine_um=2.0, every=9):
    """Light on the pixels from a point, all lenslets coherent: the Fresnel integral over the plate, term by term."""
    n, wavelength, distance = system.shape[0], system.wavelength_um, system.sensor_distance_mm * 1e3
    aperture = system.aperture_diameter_mm * 1e3
    x = np.arange(-aperture / 2, aperture / 2, fine_um) + fine_um / 2
    rows, columns = np.meshgrid(x, x, indexing="ij")
    plate = np.zeros(rows.shape, dtype=complex)
    centres, powers, shares = (parameters[k].numpy() for k in ("centres", "power", "transmission"))
    for (row, column), power, share in zip(centres * 1e3, powers, shares, strict=True):
        square = (rows - row) ** 2 + (columns - column) ** 2
        inside = square <= (system.lenslet_diameter_mm * 500) ** 2
        plate += np.sqrt(share) * inside * np.exp(-1j * np.pi * power * 1e-6 * square / wavelength)
    plate *= np.exp(1j * np.pi * vergence_per_m * 1e-6 * (rows**2 + columns**2) / wavelength)
    at = ((np.arange(n * every) - (every - 1) / 2) / every - n // 2) * system.pitch_um
    kernel = np.exp(1j * np.pi * (at[:, None] - x) ** 2 / (wavelength * distance))
    field = kernel @ plate @ kernel.T * fine_um**2 / (wavelength * distance)
    light = (np.abs(field) ** 2).reshape(n, every, n, every).sum(axis=(1, 3)) * (system.pitch_um / every) ** 2
    return np.roll(light, (-(n // 2), -(n // 2)), axis=(0, 1)) / (np.pi * aperture**2 / 4)


def test_lenslets_are_those_of_coherent_diffraction():
    """Spots, blur, parallax and light of focused and defocused lenslets, against the Fresnel integral of the plate."""
    system = LensletArray((32, 32), 20.0, 0.55, 2.0, 5, 0.12, 0.44, 900.0, vergences_per_m=(0.0, 60.0))
    parameters = system.start("conventional", np.random.default_rng(0))
    parameters["power"] = torch.tensor([500.0, 560.0, 440.0, 520.0, 800.0], dtype=torch.float64)
    parameters["transmission"] = torch.tensor([1.0, 0.5, 0.8, 0.3, 0.9], dtype=torch.float64)
    found = system.psf(parameters).numpy()
    assert found.sum(axis=(1, 2)) == pytest.approx(3.5 * (0.12 / 0.44) ** 2, rel=1e-9)
    for vergence, plane in zip(system.vergences_per_m, found, strict=True):
        expected = fresnel_light(system, parameters, vergence)
        assert np.max(np.abs(plane - expected)) < 0.015 * expected.max()
        assert np.sum(np.abs(plane - expected)) < 0.025 * expected.sum()
    # Parallax: a near object's spots lie 1 + z V as far out, here 12 %.
    one = {**parameters, "transmission": torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)}
    one["power"] = torch.full((5,), 530.0, dtype=torch.float64)
    # The spot is symmetric: the phase of the slowest frequencies, one period a field of 640 um, is its place, but for
    # what pixels of 20 um fold back.
    for plane, scale in zip(system.transfer(one).numpy(), (1.0, 1.12), strict=True):
        place = -np.angle(np.array([plane[1, 0], plane[0, 1]])) / (2 * np.pi) * 640.0
        np.testing.assert_allclose(place, scale * one["centres"][4].numpy() * 1e3, atol=4.0)


def test_lenslets_blur_as_rays_do_far_from_focus():
    """A geometric disc of diameter d |1 + z V - z power|: its transform is that of the spot at low frequencies."""
    from scipy.special import j1

    system = LensletArray((64, 64), 10.0, 0.4, 2.0, 1, 0.3, 0.3, 1500.0)
    f = np.arange(1, 5) / 640.0
    for power in (0.0, 1200.0):
        values = {"centres": [[0.0, 0.0]], "power": [power], "transmission": [1.0]}
        parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        x = np.pi * f * 300.0 * abs(1 - 2e-3 * power)
        found = system.transfer(parameters)[0, 0, 1:5].numpy()
        assert np.max(np.abs(found - 2 * j1(x) / x * np.sinc(10.0 * f))) < 0.02


def test_lenslets_are_centred_by_whole_pixels():
    system = LensletArray(**PLATE)
    centres = torch.tensor([[0.088, 0.0], [0.0, -0.05], [0.0, 0.055]], dtype=torch.float64)
    parameters = {**system.start("conventional", np.random.default_rng(0)), "centres": centres}
    parameters["transmission"] = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    moved = system.centred(parameters)
    np.testing.assert_allclose((moved["centres"] - centres).numpy(), [[-0.08, 0.0]] * 3, atol=1e-12)
    blocked = {**parameters, "centres": torch.cat([centres[:2], torch.tensor([[-0.06, 0.055]], dtype=torch.float64)])}
    far = system.centred(blocked)["centres"]  # a closed lenslet at the edge leaves only part of the way
    assert 0.0 < float(far[0, 0]) < 0.088 and float(torch.linalg.norm(far, dim=1).max()) <= 0.1
    assert torch.allclose(system.transfer(moved).abs(), system.transfer(parameters).abs(), atol=1e-9)
    deep = LensletArray(**PLATE, vergences_per_m=(0.0, 50.0))
    assert deep.centred(parameters) is parameters
