"""A check from end to end: honest cameras pass, faults are named, what cannot be compared is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from script_files import load_script

from calibrate import NoiseModel, PhotonbitsError, fit_noise_model, simulate_captures
from calibrate.channels import fit_channels
from calibrate.validation import DIAGNOSES, check_captures, format_result

ROOT = Path(__file__).resolve().parents[2]


#: The scenes of this test, at more seeds, are its study.
study = load_script("study_check")
PLAIN = study.PLAIN
#: What may be named besides the fault, because it is true as well or cannot be told from it in these frames.
COMPANIONS = {
    "twice the gain, flats alone": {"excess_noise"},
    "electron multiplying, flats alone": {"wrong_gain_setting"},
    "black level removed": {"offset_shift"},
    "right half 20 % more gain": {"dark_current_changed"},
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> NoiseModel:
    return fit_noise_model(study.capture(PLAIN, tmp_path_factory.mktemp("fit"), 0))


def codes(result) -> set[str]:
    return {found.code for found in result.findings}


# ---- honest cameras ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["flickering lamp 1 %", "shading 50 %, pattern 1 %", "lamp drift 0.5 % in pairs", "six frames a level",
     "flats alone", "darks alone", "16 bit, few electrons"],
)  # fmt: skip
def test_honest_cameras_raise_nothing(tmp_path, name):
    scene, settings = study.HONEST[name]
    model = fit_noise_model(study.capture(scene, tmp_path / "fit", 100))
    for seed in (101, 102):
        result = check_captures(model, study.capture(scene, tmp_path / "check", seed, **settings))
        assert codes(result) == set(), format_result(result)
        assert result.is_independent and result.n_in_fit == 0
        assert len(result.ranges) >= (1 if name == "darks alone" else 8)
        assert "describes these captures" in result.verdict


def test_z_has_unit_spread_over_seeds(fitted, tmp_path):
    """The plain camera, ten sets of captures against one fit: noise and the calibration's own error account for z."""
    z, values = [], []
    for seed in range(200, 210):
        result = check_captures(fitted, study.capture(PLAIN, tmp_path / "check", seed))
        assert result.agrees
        z.extend(entry.z for entry in result.ranges)
        values.append(result.chi_square[0] / result.chi_square[1])
    # 130 z that share one calibration: the error of their rms is below 0.1.
    assert np.sqrt(np.mean(np.square(z))) == pytest.approx(1.0, abs=0.25)
    assert 0.6 < np.mean(values) < 1.6


def test_shading_changes_nothing(fitted, tmp_path):
    """Under light that falls by half to the corners every signal is still compared with its own variance."""
    scene = replace(PLAIN, shading=0.9)
    result = check_captures(fitted, study.capture(scene, tmp_path / "c", 5, levels=2, frames=8))
    brights = [entry for entry in result.ranges if entry.kind == "bright"]
    assert result.agrees, format_result(result)
    assert len(brights) >= 8  # two levels, cut into cells of like signal
    assert brights[-1].mean_dn > 2 * brights[0].mean_dn
    # Left whole, the highest level alone would span a factor of two in variance.
    assert all(abs(entry.ratio - 1) < 5 * entry.observed_std_dn2 / entry.predicted_variance_dn2 for entry in brights)


def test_single_frame_outliers_are_left_out_and_counted(fitted, tmp_path):
    """One pixel in 4000 hit in one frame would raise the variance of a flat by tens of percents."""

    def struck(frame, number, rng):
        hit = rng.random(frame.shape) < (2.5e-4 if frame.mean() > 300 else 0.0)
        return frame + 900.0 * hit

    result = check_captures(fitted, study.capture(replace(PLAIN, distort=struck), tmp_path / "c", 7, full_e=5000.0))
    assert result.agrees, format_result(result)
    count = next(int(note.split()[0]) for note in result.notes if "stand out" in note)
    assert 8 <= count <= 40  # 20.5 expected in 82 thousand pixels


def test_one_level_and_one_pair_are_enough(fitted, tmp_path):
    result = check_captures(fitted, study.capture(PLAIN, tmp_path / "c", 6, levels=1, kinds=("flat",)))
    assert result.agrees and len(result.ranges) == 1
    assert any("No darks" in note for note in result.notes)


def test_tiny_frames(tmp_path):
    """Frames of 3 x 3 pixels in thousands: degrees of freedom, neighbours and lines are counted right."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    folder = study.capture(
        replace(PLAIN, dark_current_e_per_s=0.0), tmp_path / "c", 8, shape=(3, 3), levels=3, frames=1500
    )
    result = check_captures(model, folder)
    assert result.agrees, format_result(result)
    for entry in result.ranges:
        assert entry.ratio == pytest.approx(1.0, abs=5 * entry.observed_std_dn2 / entry.predicted_variance_dn2)


# ---- faults --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(study.FAULTS))
def test_faults_are_named(fitted, tmp_path, name):
    scene, settings, code = study.FAULTS[name]
    scene = scene if isinstance(scene, study.Scene) else scene((64, 64))
    result = check_captures(fitted, study.capture(scene, tmp_path / "c", 1, **settings))
    assert code in codes(result), format_result(result)
    assert codes(result) <= {code, *COMPANIONS.get(name, set())}, format_result(result)
    assert not result.agrees and code in result.verdict
    found = next(entry for entry in result.findings if entry.code == code)
    assert "{" not in found.message + found.remedy and found.message.endswith(".") and found.remedy.endswith(".")


def test_every_diagnosis_has_a_fault_that_raises_it():
    """``unexplained`` is what is left when no other one fits, and has a test of its own."""
    assert {code for _, _, code in study.FAULTS.values()} == set(DIAGNOSES) - {"unexplained"}


def test_figures_of_the_causes(fitted, tmp_path):
    """What is named comes with its size: gain ratio, excess factor, read noise."""
    cases = {
        "twice the gain": ("wrong_gain_setting", r"gain (\S+) times", 2.0, 0.02),
        "gain 12 % lower": ("wrong_gain_setting", r"gain (\S+) times", 0.88, 0.02),
        "electron multiplying": ("excess_noise", r"brings is (\S+) times", 2.0, 0.06),
        "read noise 4.5 e-": ("read_noise_changed", r"noise is (\S+) DN", 2.25, 0.06),
        "dark current times 4": ("dark_current_changed", r"rise by (\S+) e-", 20.0, 0.6),
        "offset 1 DN higher": ("offset_shift", r"lie (\S+) DN", 1.0, 0.1),
    }
    for name, (code, pattern, expected, tolerance) in cases.items():
        scene, settings, _ = study.FAULTS[name]
        result = check_captures(fitted, study.capture(scene, tmp_path / "c", 3, **settings))
        message = next(found.message for found in result.findings if found.code == code)
        number = float(re.search(pattern, message)[1])
        assert number == pytest.approx(expected, abs=tolerance), message


def test_third_cumulants_tell_multiplication_from_gain(tmp_path):
    """Flats alone: both double the noise at the same mean, only skewness differs. It takes many pixels to see."""
    low = NoiseModel.from_parameters(system_gain_dn_per_e=2.0, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    base = study.Scene(gain_dn_per_e=2.0, read_noise_e=2.0, dark_current_e_per_s=0.0)
    settings = {"shape": (160, 160), "levels": 4, "frames": 4, "kinds": ("flat",), "full_e": 250.0}
    doubled = replace(base, gain_dn_per_e=4.0)
    multiplied = replace(base, amplify=True)
    assert codes(check_captures(low, study.capture(doubled, tmp_path / "a", 1, **settings))) == {"wrong_gain_setting"}
    assert codes(check_captures(low, study.capture(multiplied, tmp_path / "b", 1, **settings))) == {"excess_noise"}


def test_a_misfit_without_a_simple_cause_is_unexplained(fitted, tmp_path):
    """Noise that is too large in the middle of the range alone."""

    def swell(frame, number, rng):
        middle = np.exp(-(((frame.mean() - 1800) / 250) ** 2))
        return frame + 20 * middle * rng.standard_normal(frame.shape)

    result = check_captures(fitted, study.capture(replace(PLAIN, distort=swell), tmp_path / "c", 4))
    assert codes(result) == {"unexplained"}, format_result(result)


def test_small_misfits_do_not_matter(tmp_path):
    """A model exact but for 0.3 % of gain, against very many pixels: significant, and of no consequence."""
    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    scene = study.Scene(gain_dn_per_e=0.5015, dark_current_e_per_s=0.0)
    folder = study.capture(scene, tmp_path / "c", 2, shape=(512, 512), levels=3, frames=16, kinds=("flat",))
    result = check_captures(model, folder)
    assert result.chi_square[2] < 1e-3
    assert result.agrees, format_result(result)
    off = replace(scene, gain_dn_per_e=0.51)
    folder = study.capture(off, tmp_path / "c", 2, shape=(512, 512), levels=3, frames=4, kinds=("flat",))
    assert "wrong_gain_setting" in codes(check_captures(model, folder))


# ---- kinds of model ------------------------------------------------------------------------------------------


def shoot(model: NoiseModel, folder: Path, charges: list[float], seed: int = 0, shape=(96, 96)) -> Path:
    """Four frames a level and two dark levels, straight from the model."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    lines = [] if model.bit_depth is None else [f"# bit_depth: {model.bit_depth}"]
    lines.append("path,kind,exposure_s,level")
    for kind, levels in (("flat", charges), ("dark", [0.0, 0.0])):
        for index, charge in enumerate(levels):
            np.save(
                folder / f"{kind}{index}.npy", np.stack([model.sample(np.full(shape, charge), rng) for _ in range(4)])
            )
            lines.append(f"{kind}{index}.npy,{kind},1.0,{kind}{index}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


KINDS = {
    "gaussian": ({"kind": "gaussian", "read_noise_e": 3.0, "bit_depth": 12}, [100.0, 1000.0]),
    "gaussian, coarse": ({"kind": "gaussian", "read_noise_e": 0.3, "bit_depth": 12}, [100.2, 1000.45]),
    "gaussian, real": ({"kind": "gaussian", "read_noise_e": 0.3}, [100.0, 1000.0]),
    "poisson": ({"kind": "poisson", "system_gain_dn_per_e": 2.5, "bit_depth": 16}, [1.0, 20.0, 300.0, 5000.0]),
    "poisson, real": ({"kind": "poisson", "system_gain_dn_per_e": 2.5}, [1.0, 20.0, 1000.0]),
    "few electrons, real": ({"system_gain_dn_per_e": 1.5, "read_noise_e": 0.3}, [1.0, 5.0, 50.0]),
    "single electrons": ({"system_gain_dn_per_e": 7.0, "read_noise_e": 0.2, "bit_depth": 12}, [0.5, 2.0, 10.0, 100.0]),
    "black clip": ({"system_gain_dn_per_e": 0.5, "read_noise_e": 4.0, "bit_depth": 12, "offset_dn": 3.0}, [1.0, 10.0]),
    "full well": ({"system_gain_dn_per_e": 0.5, "read_noise_e": 4.0, "bit_depth": 12, "full_well_e": 4000.0},
                  [3000.0, 3950.0]),
    "bent": ({"system_gain_dn_per_e": 0.5, "read_noise_e": 4.0, "bit_depth": 12,
              "response": {"coefficients": (-0.1, 0.02), "scale_dn": 3900.0}}, [10.0, 1000.0, 6000.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_of_camera_describes_itself(tmp_path, name):
    parameters, charges = KINDS[name]
    model = NoiseModel.from_parameters(**{"system_gain_dn_per_e": 1.0, "offset_dn": 100.3, **parameters})
    result = check_captures(model, shoot(model, tmp_path / "c", charges))
    assert result.agrees, format_result(result)
    assert max(abs(entry.transform.loss_bits) for entry in result.ranges) < 0.002
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["agrees"] is True


@pytest.mark.parametrize("gain", [0.5, 0.1])
def test_maps_are_used(tmp_path, gain):
    """Pixels with read noise, dark current and offset of their own: their model fits, its averages do not."""
    rng = np.random.default_rng(3)
    shape = (80, 80)
    read = 3.0 * np.exp(0.4 * rng.standard_normal(shape))
    dark = 5.0 * np.exp(rng.standard_normal(shape))
    offset = 100 + rng.standard_normal(shape)
    truth = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=float(np.sqrt(np.mean(read**2))), offset_dn=float(offset.mean()),
        bit_depth=12, dark_current_e_per_s=float(dark.mean()),
        maps={"read_noise_e": read, "dark_current_e_per_s": dark, "offset_dn": offset},
    )  # fmt: skip
    folder = simulate_captures(truth, tmp_path / "c", levels=4, dark_levels=2, darks_per_level=16, seed=1)
    result = check_captures(truth, folder)
    assert result.agrees, format_result(result)
    assert codes(check_captures(truth.with_parameters(), folder)) >= {"noise_shape"}
    other = simulate_captures(truth.with_parameters(), tmp_path / "d", shape=(40, 40), levels=2)
    with pytest.raises(PhotonbitsError, match="40 x 40 pixels for a model with maps of 80 x 80"):
        check_captures(truth, other)


def test_unusable_pixels_are_left_out(tmp_path):
    """Stuck pixels, known to the defect map, neither lower the variance nor shift the offset."""
    offset, defects = np.full((64, 64), 100.0), np.zeros((64, 64), dtype=np.uint8)
    defects[::4, ::4] = 4
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12, maps={"offset_dn": offset}
    )
    folder = study.capture(replace(PLAIN, dark_current_e_per_s=0.0), tmp_path / "c", 4, levels=3)
    for file in folder.glob("*.npy"):
        stack = np.load(file)
        stack[:, ::4, ::4] = 7
        np.save(file, stack)
    assert not check_captures(model, folder).agrees
    known = NoiseModel(model.camera, model.document, {**(model.maps or {}), "defects": defects})
    result = check_captures(known, folder)
    assert result.agrees, format_result(result)


def test_channels_are_checked_apart(tmp_path):
    def mosaic(folder: Path, seed: int, red_gain: float = 0.5) -> Path:
        models = {
            name: NoiseModel.from_parameters(
                system_gain_dn_per_e=red_gain if name == "R" else 0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12
            )
            for name in ("R", "Gr", "Gb", "B")
        }
        model = NoiseModel.from_channels(models, "RGGB", shape=(64, 64))
        rng = np.random.default_rng(seed)
        colour = np.ones((64, 64))
        colour[0::2, 0::2], colour[1::2, 1::2] = 0.5, 0.3
        folder.mkdir()
        lines = ["# bit_depth: 12", "# cfa: RGGB", "path,kind,exposure_s,level"]
        for index in range(8):
            for kind, light in (("flat", 800.0 * (index + 1)), ("dark", 0.0)):
                stack = np.stack([model.sample(colour * light, rng) for _ in range(2)])
                np.save(folder / f"{kind}{index}.npy", stack)
                lines.append(f"{kind}{index}.npy,{kind},{(index + 1) / 8},{kind}{index}")
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
        return folder

    fit = mosaic(tmp_path / "a", 1)
    model, new = fit_channels(fit), mosaic(tmp_path / "b", 2)
    result = check_captures(model, new)
    assert result.agrees, format_result(result)
    assert [part.channel for part in result.parts] == ["R", "Gr", "Gb", "B"]
    plain = result.to_dict()
    assert {entry["channel"] for entry in plain["ranges"]} == set(plain["channels"]) == {"R", "Gr", "Gb", "B"}
    wrong = check_captures(model, mosaic(tmp_path / "c", 3, red_gain=0.6))
    assert codes(wrong) == {"wrong_gain_setting"} and wrong.findings[0].message.startswith("Channel R: ")
    # One number for all channels describes this mosaic as well: its colours lie on planes of their own.
    assert check_captures(fit_channels(fit, channels="mono"), new).agrees


# ---- provenance, tables, refusals ----------------------------------------------------------------------------


def test_frames_of_the_fit_are_recognised(tmp_path):
    old = study.capture(PLAIN, tmp_path / "old", 1)
    new = study.capture(PLAIN, tmp_path / "new", 2)
    model = fit_noise_model(old)
    same, fresh = check_captures(model, old), check_captures(model, new)
    assert same.n_in_fit == same.n_frames == 40 and not same.is_independent
    assert "not independent" in same.notes[0] and "part of the fit" in same.verdict
    assert fresh.is_independent and not any("independent" in note for note in fresh.notes)
    (new / "flat_03.npy").write_bytes((old / "flat_03.npy").read_bytes())
    some = check_captures(model, new)
    assert some.n_in_fit == 2 and some.notes[0].startswith("2 of the 40 frames")


def test_tables(fitted, tmp_path):
    signal = np.linspace(200, 3000, 12)
    rng = np.random.default_rng(0)
    variance = (0.5 * signal + 2.33) * (1 + 0.004 * rng.standard_normal(12))

    def table(values: np.ndarray) -> Path:
        path = tmp_path / "t.txt"
        path.write_text("".join(f"{m} {v}\n" for m, v in zip(signal, values, strict=True)))
        return path

    good = check_captures(fitted, table(variance))
    assert good.agrees, format_result(good)
    assert good.ranges[3].mean_dn == pytest.approx(100 + signal[3], abs=0.2) and len(good.ranges) == 12
    assert codes(check_captures(fitted, table(1.3 * variance))) >= {"wrong_gain_setting"}
    assert codes(check_captures(fitted, table(variance * (1 - 1e-4 * signal)))) == {"nonlinearity"}
    assert good.is_independent
    own = check_captures(fit_noise_model(table(variance)), table(variance))
    assert own.n_in_fit == own.n_frames == 12 and "not independent" in own.notes[0]
    with pytest.raises(PhotonbitsError, match="no point of the table"):
        (tmp_path / "t.txt").write_text("9000 4500\n9500 4700\n9900 5000\n")
        check_captures(fitted, tmp_path / "t.txt")


def test_what_cannot_be_compared_is_refused(fitted, tmp_path):
    good = study.capture(PLAIN, tmp_path / "good", 1, levels=2)
    real = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0)
    with pytest.raises(PhotonbitsError, match="whole codes for a model of real values"):
        check_captures(real, good)
    eight = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=8)
    with pytest.raises(PhotonbitsError, match="captures of 12 bit for a model of 8 bit"):
        check_captures(eight, good)
    silent = study.capture(PLAIN, tmp_path / "silent", 1, levels=2, state_depth=False)
    with pytest.raises(PhotonbitsError, match=r"code \d+ for a model of 8 bit.*0 to 255"):
        check_captures(eight, silent)
    with pytest.raises(PhotonbitsError, match="no level with two frames"):
        check_captures(fitted, study.capture(PLAIN, tmp_path / "single", 1, levels=2, frames=1))
    full = study.capture(PLAIN, tmp_path / "full", 1, levels=1, kinds=("flat",), full_e=20000.0)
    with pytest.raises(PhotonbitsError, match="no level can be compared"):
        check_captures(fitted, full)


@pytest.mark.parametrize(
    ("column", "values", "stated", "said"),
    [
        ("gain_setting", (0, 6), {"gain_setting": 0}, "gain 0"),
        ("mode", ("slow", "fast"), {"mode": "slow"}, "mode slow"),
        ("temperature_c", (-10, 20), {"temperature_c": -9.5}, "-10 °C"),
    ],
)
def test_one_setting_of_several(fitted, tmp_path, column, values, stated, said):
    """The captures of the model's own setting are compared; where it does not say which, none are."""
    parts = (
        study.capture(PLAIN, tmp_path / "c", 1, levels=2),
        study.capture(replace(PLAIN, gain_dn_per_e=1.0), tmp_path / "d", 1, levels=2),
    )
    lines = ["# bit_depth: 12", f"path,kind,exposure_s,level,{column}"]
    for value, where in zip(values, parts, strict=True):
        for file in sorted(where.glob("*.npy")):
            lines.append(f"{file},{file.stem[:4]},{(int(file.stem[-2:]) + 1) / 2},{file.stem},{value}")
    (tmp_path / "both.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(PhotonbitsError, match="captures at 2 settings"):
        check_captures(fitted, tmp_path / "both.csv")
    sensor = fitted.document.sensor.model_copy(update=stated)
    knows = NoiseModel.from_document(fitted.document.model_copy(update={"sensor": sensor}))
    result = check_captures(knows, tmp_path / "both.csv")
    assert any(f"the model's setting, {said}" in note for note in result.notes)
    assert result.agrees, format_result(result)


def test_the_same_check_gives_the_same_numbers(fitted, tmp_path):
    folder = study.capture(PLAIN, tmp_path / "c", 1, levels=3)
    assert check_captures(fitted, folder).to_dict() == check_captures(fitted, folder).to_dict()


def test_the_map_shows_where(fitted, tmp_path):
    """A corner with more noise stands out in its own regions of the map, and there alone."""

    def corner(frame, number, rng):
        frame = frame.copy()
        frame[:16, -16:] += 15 * rng.standard_normal((16, 16))
        return frame

    result = check_captures(fitted, study.capture(replace(PLAIN, distort=corner), tmp_path / "c", 1, frames=8))
    assert "uneven_noise" in codes(result)
    plain = result.to_dict()["map"]
    ratio, loss = np.array(plain["noise_ratio"]), np.array(plain["loss_bits_per_pixel"])
    assert ratio.shape == (plain["rows"], plain["columns"]) == (8, 8)
    bad = np.zeros((8, 8), dtype=bool)
    bad[:2, -2:] = True
    assert ratio[bad].min() > 1.2 * ratio[~bad].max() and loss[bad].min() > 5 * loss[~bad].max()


# ---- reference captures --------------------------------------------------------------------------------------


def test_set_001(realdata):
    """A third of the levels fitted, others checked: what disagrees is said, and it is no more than a few percent."""
    from calibrate import load_captures

    captures = load_captures(realdata / "emva1288_set001_ccd12")
    pairs = tuple(level for level in captures.levels if level.n_frames == 2)
    model = fit_noise_model(replace(captures, levels=pairs[::3]))
    other = check_captures(model, replace(captures, levels=pairs[1::4]))
    assert other.n_in_fit > 0 and not other.is_independent  # some levels are of both thirds and quarters
    other = check_captures(model, replace(captures, levels=pairs[1::3]))
    assert other.is_independent and len(other.ranges) >= 8
    # No simple model describes this camera within its noise, and its rows have noise of their own.
    assert not other.agrees and codes(other) >= {"extra_row_noise"}
    assert max(abs(entry.ratio - 1) for entry in other.ranges if entry.within_validity) < 0.04


def test_row_noise_of_set_001_is_there(realdata):
    """The same by plain numpy: row means of dark differences scatter far more than their pixels allow."""
    from calibrate import load_captures
    from calibrate.frames import read_frame

    captures = load_captures(realdata / "emva1288_set001_ccd12")
    level = next(level for level in captures.dark_levels() if level.n_frames == 2)
    a, b = (read_frame(reference).astype(float) for reference in level.frames)
    d = a - b
    expected = d.var() / d.shape[1]
    assert d.mean(axis=1).var() > 5 * expected


def test_electron_multiplying_camera(realdata, tmp_path):
    """At 1x the stated gain fits; at 100x (gain of the register about 86) the noise is twice that of the electrons."""
    file = realdata / "emccd_lanl_fatmac78" / "emccd_all.npz"
    arrays = np.load(file)
    results = []
    for name, register, levels in (("ADU/1x-gain", 1.0, (2,)), ("gain-IS/100x-gain", 86.0, (1, 2, 3))):
        offset, noise = arrays[f"{name}_no-signal_S0"], arrays[f"{name}_no-signal_sigma"]
        gain = 0.2544 * register
        lines = ["# bit_depth: 16", "path,kind,level,key"]
        lines += [f"{file},flat,{level},{name}_level-0{level}" for level in levels]
        (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
        model = NoiseModel.from_parameters(
            system_gain_dn_per_e=gain, read_noise_e=float(np.sqrt(np.mean(noise**2))) / gain, bit_depth=16,
            offset_dn=float(offset.mean()), maps={"offset_dn": offset, "read_noise_e": noise / gain},
        )  # fmt: skip
        results.append(check_captures(model, tmp_path / "m.csv"))
    assert results[0].agrees, format_result(results[0])
    # Nine pixels: the third cumulants prefer excess noise without ruling out the gain.
    found = results[1].findings
    assert found[0].code == "excess_noise" and codes(results[1]) <= {"excess_noise", "wrong_gain_setting"}
    assert float(re.search(r"brings is (\S+) times", found[0].message)[1]) == pytest.approx(2.0, abs=0.05)
