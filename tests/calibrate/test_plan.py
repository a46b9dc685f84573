"""Plans against closed forms, against simulation, and against a fit of frames shot to plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from calibrate import NoiseModel, fit_noise_model, load_captures, simulate_captures
from calibrate.photon_transfer.fisher import code_cumulants, fisher_information
from calibrate.plan import format_plan, make_plan, manifest_csv, parse_target, plan_sensor, plan_to_plain
from calibrate.plan.precision import Predictor, Scene, entropy_slopes_bits, maps_bits
from calibrate.plan.shooting_list import visits
from calibrate.plan.targets import Target, parse_targets
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import PARAMETERS, MeasurementEntry, NoiseModelDocument

VALUES = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12}


def model(**changes) -> NoiseModel:
    return NoiseModel.from_parameters(**{**VALUES, "dark_current_e_per_s": 5.0, **changes})


def sensor(**changes):
    return plan_sensor(model(), **{"shape": (256, 256), "light_scatter_percent": 0.1, "exposure_max_s": 1.0, **changes})


def measured_model(
    n_levels: int = 12, n_pixels: int = 16384, *, sweep: str = "exposure", stated: float = 1.0, n_darks: int = 4
) -> NoiseModel:
    """A fitted file without a fit: measurements at their expectations, errors of the bound times ``stated``."""
    point = replace(sensor().point, response_coefficients=())
    shares = 0.9 * np.arange(1, n_levels + 1) / n_levels
    entries = []
    for kind, x in [("bright", x) for x in shares] + [("dark", x) for x in np.linspace(0.1, 0.9, n_darks)]:
        seconds = None if sweep == "unknown" else 0.5 if sweep == "photons" else float(x)
        charge = 5.0 * (seconds or 0.0) + (7985.0 * x if kind == "bright" else 0.0)
        mean, variance = code_cumulants(point, np.array([charge]))[:2, 0]
        entries.append(
            MeasurementEntry(
                kind=kind,
                exposure_s=seconds,
                photons_per_pixel=float(2 * 7985.0 * x) if sweep == "photons" and kind == "bright" else None,
                n_frames=2,
                n_pixels=n_pixels,
                mean_dn=mean,
                mean_std_dn=0.01,
                variance_dn2=variance,
                variance_std_dn2=variance * np.sqrt(2 / n_pixels),
                clipped_fraction=0.0,
                used=True,
                fitted_mean_dn=None,
                fitted_variance_dn2=None,
            )
        )
    plain = model().document.to_plain()
    plain["measurements"] = [entry.model_dump() for entry in entries]
    plain["parameters"]["light_scatter_percent"] = {"value": 0.2, "std": None, "unit": "%"}
    made = NoiseModel.from_document(NoiseModelDocument.model_validate(plain))
    bound = _present_bound(made)
    for name in VALUES:
        if name in PARAMETERS and name in bound.names:
            plain["parameters"][name]["std"] = stated * bound.std(name)
    return NoiseModel.from_document(NoiseModelDocument.model_validate(plain))


def _present_bound(made: NoiseModel):
    planned = plan_sensor(made)
    information = fisher_information(planned.point, planned.present)
    exposures = {level.exposure_s for level in planned.present}
    return information.without("dark_current_e_per_s") if len(exposures) == 1 else information


# ---- targets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("gain=0.1%", Target("gain", 0.1)),
        (" read_noise = 2 %", Target("read_noise", 2.0)),
        ("offset=0.02", Target("offset", 0.02)),
        ("information=0.005", Target("information", 0.005)),
        ("maps", Target("maps", 0.01)),
        ("maps=0.02", Target("maps", 0.02)),
    ],
)
def test_targets_are_read(text: str, target: Target):
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["gain", "gain=0.1", "gain=x%", "gain=-1%", "gain=0%", "offset=1%", "information", "speed=1%", "gain=inf%", ""],
)
def test_targets_that_mean_nothing_are_refused(text: str):
    with pytest.raises(PhotonbitsError, match=r"Expected:"):
        parse_target(text)


def test_a_target_stands_once():
    with pytest.raises(PhotonbitsError, match="two targets for gain"):
        parse_targets(("gain=1%", "gain=2%"))


# ---- maps and information ------------------------------------------------------------------------------------------


def test_maps_need_72_darks_for_a_hundredth_of_a_bit():
    one = sensor()
    flats = [one.bright(0.5, 10_000)]
    for n, enough in ((70, False), (72, True)):
        bits = maps_bits(one, [one.dark(1.0, n), *flats], Scene(0.0, 1.0))
        assert bits == pytest.approx(0.5 * np.log2(1 + 1 / n))
        assert (bits <= 0.01) == enough
    assert np.isinf(maps_bits(one, flats, Scene(0.0, 1.0)))


@pytest.mark.parametrize("n_flats", [1, 8])
def test_false_information_is_that_of_simulated_maps(n_flats: int):
    """Offset and dark current by least squares over exposure, photo-response by sums, as the maps are made."""
    one = plan_sensor(model(bit_depth=16, offset_dn=1000.0, dark_current_e_per_s=1e-3), exposure_max_s=1.0)
    point, scene = one.point, Scene(300.0, 0.6)
    darks = [one.dark(t, n) for t, n in ((0.1, 6), (0.5, 4), (1.0, 10))]
    flats = [one.bright(0.004, n_flats), one.bright(0.01, n_flats)]
    rng = np.random.default_rng(2)
    pixels = 40_000
    noise = point.read_noise_e**2 + 1 / (12 * point.system_gain_dn_per_e**2)
    seconds = np.concatenate([np.full(level.n_frames, level.exposure_s) for level in darks])
    dark_frames = np.sqrt(noise) * rng.standard_normal((seconds.size, pixels))
    design = np.column_stack([np.ones(seconds.size), seconds])
    offset, rate = np.linalg.lstsq(design, dark_frames, rcond=None)[0]
    light = np.concatenate([np.full(level.n_frames, one.charge_e(level)) for level in flats])
    flat_frames = np.sqrt(noise + light[:, None]) * rng.standard_normal((light.size, pixels))
    response = flat_frames.sum(axis=0) / light.sum()
    of_darks = float(np.var(offset + rate * scene.exposure_s))
    in_light = (of_darks + scene.signal_e**2 * float(np.var(response))) / (scene.signal_e + noise)
    assert (in_light > of_darks / noise) == (n_flats == 1), "the test needs both"
    expected = 0.5 * np.log2(1 + max(of_darks / noise, in_light))
    assert maps_bits(one, [*darks, *flats], scene) == pytest.approx(expected, rel=0.03)


def test_entropy_slopes_are_those_of_a_normal_law():
    r"""H = 1/2 log2(2 pi e (K m' + K^2 r^2)) at a fixed mean signal m': 1 % of K is 0.0072 to 0.0144 bit."""
    gain, read = 3.0, 4.0
    camera = model(system_gain_dn_per_e=gain, read_noise_e=read, bit_depth=16, offset_dn=1000.0)
    for y in (0.0, 16.0, 15000.0):
        slopes = entropy_slopes_bits(camera, y)
        variance = y + read**2
        by_gain = (y + 2 * read**2) / variance / (2 * np.log(2) * gain)
        if y > 0:  # at no light less gain would need less than no charge
            assert slopes["system_gain_dn_per_e"] == pytest.approx(by_gain, rel=0.01)
            assert slopes["offset_dn"] == pytest.approx(-1 / (2 * np.log(2) * gain * variance), rel=0.02)
        assert slopes["read_noise_e"] == pytest.approx(read / (np.log(2) * variance), rel=0.01)
    assert entropy_slopes_bits(camera, 1e4)["system_gain_dn_per_e"] * 0.01 * gain == pytest.approx(0.0072, abs=1e-4)


def test_information_error_is_the_slopes_through_the_covariance():
    one = sensor()
    predictor = Predictor(one, Scene(500.0, 1.0))
    levels = [one.bright(0.1, 2), one.bright(0.5, 2), one.bright(0.9, 2), one.dark(0.1, 2), one.dark(0.9, 2)]
    found = predictor.predict(levels)
    rng = np.random.default_rng(4)
    draws = rng.multivariate_normal(np.zeros(len(found.information.names)), found.covariance, 20_000, method="eigh")
    change = sum(draws[:, i] * predictor.slopes_bits.get(n, 0.0) for i, n in enumerate(found.information.names))
    assert found.errors["information"] == pytest.approx(float(np.std(change)), rel=0.03)


# ---- plans from nothing ------------------------------------------------------------------------------------------


def test_a_plan_reaches_its_targets_and_no_smaller_one_does():
    targets = (Target("gain", 0.15), Target("read_noise", 0.5), Target("information", 0.001))
    plan = make_plan(sensor(), targets)
    assert plan.reached and plan.compared[0].ratio <= 1
    predictor = Predictor(plan.sensor, plan.scene)
    best = plan.compared[0]
    # The search adds up cached matrices; the prediction of the levels starts anew.
    again = predictor.predict(best.levels).errors
    assert max(again[t.name] / t.wanted for t in targets) == pytest.approx(best.ratio, rel=1e-6)
    halved = [replace(level, n_frames=max(level.n_frames // 2, 1)) for level in best.levels]
    errors = predictor.predict(halved).errors
    assert any(errors[t.name] > t.wanted for t in targets)
    frames = [design.n_frames for design in plan.compared if design.ratio <= 1]
    assert frames == sorted(frames)
    assert len(best.brights) >= 12
    assert len({level.exposure_s for level in best.darks}) >= 2, "one exposure of darks tells no dark current"
    assert plan.total_frames == best.n_frames + 2  # and one level beyond saturation


def test_a_quarter_of_the_pixels_needs_four_times_the_frames():
    large = make_plan(sensor(shape=(512, 512)), (Target("gain", 0.05),), levels=12, max_frames=100_000)
    small = make_plan(sensor(shape=(256, 256)), (Target("gain", 0.05),), levels=12, max_frames=100_000)
    assert small.compared[0].n_frames == pytest.approx(4 * large.compared[0].n_frames, rel=0.35)


def test_brightest_level_keeps_clear_of_the_clip():
    for bits, gain, read in ((8, 0.05, 5.0), (12, 0.5, 3.0), (8, 1.0, 10.0)):
        one = plan_sensor(model(bit_depth=bits, system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=20.0))
        mean, variance = code_cumulants(one.point, np.array([one.highest_fraction * one.saturation_e]))[:2, 0]
        assert one.highest_fraction <= 0.9
        assert mean + 4.9 * np.sqrt(variance) < 2**bits - 1


def test_full_well_ends_the_range():
    one = plan_sensor(model(full_well_e=2000.0))
    assert one.saturation_e == 2000.0
    assert one.saturation_dn == pytest.approx(1100.0)
    with pytest.raises(PhotonbitsError, match="full-well-e"):
        plan_sensor(model(bit_depth=None))


def test_light_scatter_forbids_what_more_frames_do_not_cure():
    targets = (Target("responsivity", 0.01),)
    plan = make_plan(sensor(light_scatter_percent=1.0), targets, levels=12)
    assert not plan.reached
    assert plan.least_errors["responsivity"] > 0.01
    assert plan.limited_by["responsivity"] == "light or offset scatter"
    assert any("more levels, or steady the lamp" in note for note in plan.notes)
    steady = make_plan(sensor(light_scatter_percent=0.0), targets, levels=12, max_frames=20_000)
    assert steady.reached


def test_a_target_out_of_reach_does_not_cost_all_frames():
    plan = make_plan(sensor(light_scatter_percent=1.0), (Target("responsivity", 0.01),), levels=12, max_frames=50_000)
    most = make_plan(sensor(light_scatter_percent=1.0), (Target("gain", 1e-4),), levels=12, max_frames=50_000)
    assert plan.total_frames < most.total_frames / 10


def test_endless_frames_are_what_the_light_leaves():
    """With a straight response and exact statistics the responsivity is known to s over root n."""
    one = sensor(light_scatter_percent=1.0, response_terms=0)
    plan = make_plan(one, (Target("gain", 1.0),), levels=12)
    brights = [p for p in plan.levels if p.purpose == "fit" and p.level.kind == "bright"]
    assert plan.least_errors["responsivity"] == pytest.approx(1.0 / np.sqrt(len(brights)), rel=0.02)


def test_maps_are_planned_with_enough_darks():
    plan = make_plan(sensor(), (Target("maps", 0.01), Target("gain", 1.0)), signal_e=0.0, scene_exposure_s=0.3)
    assert plan.errors["maps"] <= 0.01
    darks = [p.level.n_frames for p in plan.levels if p.level.kind == "dark"]
    assert 72 <= sum(darks) <= 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"levels": 5}, "6 or more"),
        ({"signal_e": 1e6}, "where the range ends"),
        ({"max_frames": 10}, "no plan has at most 10 frames"),
        ({"next_frames": 0}, "0 next frames"),
        ({"scene_exposure_s": -1.0}, "exposure of -1 s"),
    ],
)
def test_plans_out_of_range_are_refused(arguments: dict, words: str):
    with pytest.raises(PhotonbitsError, match=words):
        make_plan(sensor(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (1, 1)}, "two pixels"),
        ({"light_scatter_percent": -1.0}, "light scatter"),
        ({"exposure_max_s": 0.0}, "positive number of seconds"),
        ({"response_terms": 9}, "0 to 3"),
    ],
)
def test_sensors_out_of_range_are_refused(arguments: dict, words: str):
    with pytest.raises(PhotonbitsError, match=words):
        sensor(**arguments)


def test_percent_of_nothing_is_refused():
    one = plan_sensor(model(dark_current_e_per_s=None))
    with pytest.raises(PhotonbitsError, match="percent of a dark current of 0"):
        make_plan(one, (Target("dark_current", 1.0),))
    quiet = plan_sensor(model(read_noise_e=0.0))
    assert [target.name for target in make_plan(quiet).targets] == ["gain"]
    with pytest.raises(PhotonbitsError, match="percent of a read noise of 0"):
        make_plan(quiet, (Target("read_noise", 1.0),))


def test_noise_without_shot_noise_is_refused():
    with pytest.raises(PhotonbitsError, match="kind gaussian"):
        plan_sensor(model(kind="gaussian"))


# ---- the order -----------------------------------------------------------------------------------------------------


def test_order_takes_out_a_steady_drift():
    plan = make_plan(sensor(), (Target("gain", 0.1),), levels=12)
    assert plan.order == visits(plan.levels, 0)
    assert plan.order != visits(plan.levels, 1)
    flats = [v for v in plan.order if v.planned.level.kind == "bright" and v.planned.purpose == "fit"]
    assert min(v.planned.level.n_frames for v in flats) >= 4, "the test needs two visits"
    assert all(v.n_frames % 2 == 0 for v in plan.order)
    time, seen = 0.0, {}
    for visit in plan.order:
        for _ in range(visit.n_frames):
            seen.setdefault(visit.planned.name, []).append(time)
            time += 1.0
    totals = {planned.name: planned.level.n_frames for planned in plan.levels}
    assert {name: len(times) for name, times in seen.items()} == totals
    middle = {v.planned.name: np.mean(seen[v.planned.name]) for v in flats}
    # Times of levels in a sorted series would correlate by 1 with their light, and spread over the whole length.
    light = [v.planned.level.light for v in flats]
    assert abs(np.corrcoef(light, [middle[v.planned.name] for v in flats])[0, 1]) < 0.7
    halves = all(v.planned.level.n_frames % 4 == 0 for v in flats)
    if halves:
        assert np.ptp(list(middle.values())) < 0.15 * time


# ---- after a fit ---------------------------------------------------------------------------------------------------


def test_next_captures_are_ranked_by_what_they_add():
    plan = make_plan(plan_sensor(measured_model()), (Target("read_noise", 0.1),), next_frames=20)
    gains = [candidate.gain_percent["read_noise"] for candidate in plan.next]
    assert gains == sorted(gains, reverse=True) and gains[-1] > -1e-9
    best = plan.next[0]
    planned = plan.sensor
    direct = fisher_information(planned.point, [*planned.present, *best.levels])
    assert best.errors["read_noise"] == pytest.approx(100 * direct.std("read_noise_e") / 3.0, rel=1e-9)
    assert best.n_frames == 20


def test_what_helps_most_depends_on_what_is_wanted():
    one = plan_sensor(measured_model(n_darks=2))
    for wanted, kind in (("maps", "dark"), ("dark_current", "dark"), ("gain", "bright"), ("responsivity", "bright")):
        best = make_plan(one, (Target(wanted, 1e-6 if wanted == "maps" else 1e-3),), max_frames=40).next[0]
        assert best.levels[0].kind == kind, wanted


def test_nothing_to_add_where_the_targets_are_reached():
    plan = make_plan(plan_sensor(measured_model()), (Target("gain", 50.0),))
    assert plan.reached and not plan.levels and plan.total_frames == 0 and plan.next
    assert "nothing has to be added" in format_plan(plan)


def test_a_plan_after_a_fit_counts_what_was_shot():
    made = measured_model()
    fresh = plan_sensor(model(), shape=(128, 128), light_scatter_percent=0.2, exposure_max_s=1.0)
    target = (Target("gain", 0.3),)
    assert make_plan(plan_sensor(made, shape=(128, 128)), target).total_frames < make_plan(fresh, target).total_frames


def test_the_measured_light_is_found_again():
    """Exposure at saturation, responsivity and charges come out as they went in, for each way to change the light."""
    swept = plan_sensor(measured_model())
    assert swept.axis.sweep == "exposure" and swept.axis.unit == "s"
    assert swept.axis.full_exposure_s == pytest.approx(1.0, rel=1e-3)
    photons = plan_sensor(measured_model(sweep="photons"))
    assert photons.axis.sweep == "lamp" and photons.axis.unit == "photons"
    assert photons.point.responsivity_e_per_light == pytest.approx(0.5, rel=1e-3)
    assert photons.bright(0.5, 2).exposure_s == 0.5
    unknown = plan_sensor(measured_model(sweep="unknown"))
    assert np.isinf(unknown.point.light_scatter)
    for one in (swept, photons, unknown):
        assert one.charge_e(one.bright(0.4, 2)) == pytest.approx(0.4 * one.saturation_e)
        brights = [level for level in one.present if level.kind == "bright"]
        expected = 7985.0 * 0.9 * np.arange(1, 13) / 12 + 5.0 * np.array([level.exposure_s for level in brights])
        np.testing.assert_allclose([one.charge_e(level) for level in brights], expected, rtol=1e-4)
    with pytest.raises(PhotonbitsError, match="how much light"):
        make_plan(unknown, (Target("responsivity", 1.0),))
    with pytest.raises(PhotonbitsError, match="lists its own exposures"):
        plan_sensor(measured_model(), exposure_max_s=2.0)


def test_one_exposure_for_all_leaves_the_dark_current_out():
    """It would be one with the offset, whose error must stay finite."""
    plan = make_plan(plan_sensor(measured_model(sweep="photons")), (Target("gain", 50.0),))
    assert "dark_current" not in plan.errors
    assert np.isfinite(plan.errors["offset"])


def test_a_misfit_stays_whatever_is_shot():
    """Errors in the file of four times the bound: their surplus is no noise."""
    plan = make_plan(plan_sensor(measured_model(stated=4.0)), (Target("gain", 0.1),), max_frames=4000)
    assert plan.limited_by["gain"] == "misfit of the model"
    assert not plan.reached
    assert plan.errors["gain"] > 0.96 * plan.present_errors["gain"] * np.sqrt(15 / 16)
    assert any("the fit has other troubles" in note for note in plan.notes)
    assert any("does not describe this camera" in note for note in plan.notes)
    honest = make_plan(plan_sensor(measured_model(stated=1.0)), (Target("gain", 0.1),), max_frames=4000)
    assert honest.reached


# ---- against fits ------------------------------------------------------------------------------------------------


def test_the_bound_of_the_present_is_what_an_honest_fit_states(tmp_path: Path):
    camera = model()
    fitted = fit_noise_model(
        simulate_captures(camera, tmp_path / "captures", shape=(64, 64), levels=12, light_scatter_percent=0.1, seed=3)
    )
    assert fitted.document.fit.model == "linear"
    one = plan_sensor(fitted, response_terms=0)
    errors = Predictor(one, Scene(100.0, 1.0)).predict(one.present).errors
    for target, name in (("gain", "system_gain_dn_per_e"), ("read_noise", "read_noise_e")):
        entry = fitted.parameter(name)
        assert errors[target] == pytest.approx(100 * entry.std / entry.value, rel=0.1)


def test_frames_shot_to_plan_give_what_was_planned(tmp_path: Path):
    """The list is a manifest: frames saved under its names fit, to the predicted errors."""
    camera = model()
    one = plan_sensor(camera, shape=(64, 64), light_scatter_percent=0.0, exposure_max_s=1.0, response_terms=0)
    plan = make_plan(one, (Target("gain", 0.5), Target("read_noise", 0.8)), levels=12)
    file = tmp_path / "list.csv"
    file.write_text(manifest_csv(one, plan.order), encoding="utf-8")
    rng = np.random.default_rng(8)
    for visit in plan.order:
        charge = np.full((64, 64), one.charge_e(visit.planned.level))
        for k in range(visit.n_frames):
            name = f"{visit.planned.name}_{visit.visit}_{k:03d}.tif"
            tifffile.imwrite(tmp_path / name, camera.sample(charge, rng), photometric="minisblack")
    captures = load_captures(file)
    assert sum(level.n_frames for level in captures.levels) == plan.total_frames
    assert len(captures.levels) == len(plan.levels)
    assert captures.bit_depth == 12
    fitted = fit_noise_model(captures)
    for target, name in (("gain", "system_gain_dn_per_e"), ("read_noise", "read_noise_e")):
        entry, true = fitted.parameter(name), camera.parameter(name).value
        assert 100 * entry.std / true == pytest.approx(plan.errors[target], rel=0.12)
        assert abs(entry.value - true) < 4 * entry.std


# ---- output --------------------------------------------------------------------------------------------------------


def test_text_and_data_say_the_same():
    plan = make_plan(plan_sensor(measured_model()), (Target("gain", 0.2), Target("maps", 0.01)))
    plain, text = plan_to_plain(plan), format_plan(plan)
    assert plain["total_frames"] == plan.total_frames == sum(level["n_frames"] for level in plain["levels"])
    assert f"Shoot {plan.total_frames} frames" in text
    for level in plain["levels"]:
        assert level["name"] in text
    assert {entry["name"] for entry in plain["targets"]} == {"gain", "maps"}
    assert plain["next"][0]["capture"] in text
    assert sum(step["n_frames"] for step in plain["order"]) == plan.total_frames
