"""From captures to the block: truth within its errors, reasons for what is absent, the same numbers twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from calibrate import NoiseModel, load_captures
from calibrate.emva1288 import add_emva1288, measure_emva1288
from calibrate.emva1288.highpass import transfer
from calibrate.emva1288.names import QUANTITIES, base_name
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.schema import ChannelLayoutEntry, SectionEntry

GAIN, READ_E, OFFSET, TOP, EFFICIENCY, DARK_E_PER_S, LONGEST_S = 0.5, 3.0, 100.0, 4095, 0.6, 40.0, 0.8
DSNU_DN = {"row": 0.25, "column": 0.35, "pixel": 0.8}
PRNU = {"row": 0.003, "column": 0.004, "pixel": 0.01}
SHAPE = (48, 64)


def clipped_photons():
    """Light at which 0.15 % of the pixels show the highest code, by the camera model."""
    full = (TOP - OFFSET) / (GAIN * EFFICIENCY)
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    fixed = [np.sqrt(sum(s**2 for s in part.values())) for part in (DSNU_DN, PRNU)]

    def excess(photons):
        charge = EFFICIENCY * photons + DARK_E_PER_S * LONGEST_S * photons / (1.1 * full)
        spread = np.hypot(fixed[0], GAIN * EFFICIENCY * photons * fixed[1])
        edge = TOP - 0.5 - OFFSET - GAIN * charge
        share = norm.sf((edge - spread * nodes) / (GAIN * np.sqrt(charge + READ_E**2)))
        return weights @ share / weights.sum() - 0.0015

    return brentq(excess, 0.7 * full, full)


def truth():
    kept = transfer(*SHAPE)
    passed = {"row": kept.rows, "column": kept.columns, "pixel": kept.pixels}
    dark_e2 = READ_E**2 + 1 / 12 / GAIN**2
    saturation = clipped_photons()
    threshold = (np.sqrt(dark_e2 + 0.25) + 0.5) / EFFICIENCY
    values = {
        "system_gain_dn_per_e": GAIN,
        "responsivity_dn_per_photon": GAIN * EFFICIENCY,
        "quantum_efficiency_percent": 100 * EFFICIENCY,
        "temporal_dark_noise_dn": GAIN * np.sqrt(dark_e2),
        "temporal_dark_noise_e": READ_E,
        "sensitivity_threshold_photons": threshold,
        "sensitivity_threshold_photons_r31": (np.sqrt(dark_e2) + 0.5) / EFFICIENCY,
        "saturation_capacity_photons": saturation,
        "saturation_capacity_e": EFFICIENCY * saturation,
        "snr_max": np.sqrt(EFFICIENCY * saturation),
        "dynamic_range": saturation / threshold,
        "dark_current_from_mean_e_per_s": DARK_E_PER_S,
        "dark_current_from_variance_e_per_s": DARK_E_PER_S,
    }
    for name, sigma, unit, factor in (("dsnu1288", DSNU_DN, "e", 1 / GAIN), ("prnu1288", PRNU, "percent", 100.0)):
        power = {part: passed[part] * sigma[part] ** 2 for part in sigma}
        values |= {f"{name}_{part}_{unit}": factor * np.sqrt(power[part]) for part in power}
        values[f"{name}_{unit}"] = factor * np.sqrt(sum(power.values()))
        values[f"{name}_{unit}_r31"] = factor * np.sqrt(sum(s**2 for s in sigma.values()))
    return values


def test_truth_lies_within_the_errors(emva_shoot, tmp_path):
    """Coverage over 24 sensors, each with another pattern: the large version is scripts/study_emva1288_coverage.py.

    Every quantity's pulls have a root mean square between the 0.05 % and 99.95 % points of chi for 24 values, and of
    all of them together 93 % to 98 % lie within 1.96.
    """
    true = truth()
    pulls = {name: [] for name in true}
    for seed in range(24):
        folder = tmp_path / str(seed)
        folder.mkdir()
        emva_shoot(folder, seed, shape=SHAPE)
        entries = measure_emva1288(folder, seed=seed, draws=150).entries
        for name, value in true.items():
            pulls[name].append((entries[name].value - value) / entries[name].std)
    for name, values in pulls.items():
        assert 0.55 < np.sqrt(np.mean(np.square(values))) < 1.55, name
    together = np.abs(np.concatenate(list(pulls.values())))
    assert 0.93 <= np.mean(together < 1.96) <= 0.98


@pytest.fixture(scope="module")
def found(emva_captures):
    return measure_emva1288(emva_captures.folder)


def test_every_entry_is_a_known_quantity_with_its_unit_and_release(found):
    for name, entry in found.entries.items():
        symbol, unit, _ = QUANTITIES[base_name(name)]
        assert (entry.symbol, entry.unit) == (symbol, unit)
        assert entry.release == ("3.1" if name.endswith("_r31") else "4.0")
        assert np.isfinite(entry.value)
        assert (entry.std is None) == name.startswith("spatial_signal") or name == "spatial_frames" or entry.std > 0, (
            name
        )
    both = {"system_gain_dn_per_e", "sensitivity_threshold_photons", "dsnu1288_e", "prnu1288_percent", "dynamic_range"}
    assert {name + "_r31" for name in both} | both <= set(found.entries)
    assert found.entries["spatial_frames"].value == 8
    assert 45 < found.entries["spatial_signal_percent"].value < 60


def test_the_same_captures_and_seed_give_the_same_block(found, emva_captures):
    again = measure_emva1288(emva_captures.folder)
    assert again == found
    other = measure_emva1288(emva_captures.folder, seed=1)
    for name, entry in found.entries.items():
        assert other.entries[name].value == entry.value
        if entry.std:
            assert other.entries[name].std == pytest.approx(entry.std, rel=0.25)


def test_curves_are_complete_and_of_bounded_size(found):
    names = {"levels", "linearity", "linearity_line", "dark"}
    for kind in ("dsnu", "prnu"):
        names |= {f"histogram_{kind}", f"accumulated_{kind}"}
        names |= {f"{what}_{kind}_{way}" for what in ("spectrogram", "profile") for way in ("horizontal", "vertical")}
    assert set(found.curves) == names
    for name, curve in found.curves.items():
        lengths = {len(column) for column in curve.columns.values()}
        assert len(lengths) == 1 and lengths.pop() <= 257, name
    assert sum(found.curves["histogram_dsnu"].columns["pixels"]) == SHAPE[0] * SHAPE[1]


def test_what_the_captures_lack_is_absent_and_said(emva_shoot, tmp_path):
    emva_shoot(tmp_path, 1, photons=False, top=0.7, dark_exposures=[0.5], stack=0)
    found = measure_emva1288(tmp_path, draws=40)
    absent = next(flag.message for flag in found.flags if flag.code == "emva1288_absent")
    for word in ("photons", "saturation", "dark current"):
        assert word in absent
    limits = next(flag.message for flag in found.flags if flag.code == "emva1288_limits")
    assert "2 frames where the standard asks for 16" in limits
    for name in ("quantum_efficiency_percent", "saturation_capacity_e", "dark_current_from_mean_e_per_s", "snr_max"):
        assert name not in found.entries
    for name in ("system_gain_dn_per_e", "responsivity_dn_per_s", "temporal_dark_noise_e", "dsnu1288_e"):
        assert found.entries[name].std > 0
    assert abs(found.entries["system_gain_dn_per_e"].value - GAIN) < 4 * found.entries["system_gain_dn_per_e"].std


def test_a_full_well_is_found_at_the_variance_maximum_and_said(emva_shoot, tmp_path):
    emva_shoot(tmp_path, 2, full_well_e=5000.0, top=1.1, levels=16)
    found = measure_emva1288(tmp_path, draws=60)
    limits = next(flag.message for flag in found.flags if flag.code == "emva1288_limits")
    assert "variance maximum" in limits
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=GAIN, read_noise_e=READ_E, offset_dn=OFFSET, bit_depth=12, full_well_e=5000.0
    )
    charge = np.linspace(4000, 5200, 601)
    exact = charge[np.argmax(sensor.variance_dn2(charge))]
    saturation = found.entries["saturation_capacity_e"]
    assert abs(saturation.value - exact) < 3 * saturation.std < 1500


def test_real_values_have_no_rounding_and_no_highest_code(emva_shoot, tmp_path):
    emva_shoot(tmp_path, 4, real_values=True, read_e=0.6)
    found = measure_emva1288(tmp_path, draws=60)
    noise = found.entries["temporal_dark_noise_e"]
    assert abs(noise.value - 0.6) < 4 * noise.std
    assert found.entries["temporal_dark_noise_dn"].value == pytest.approx(
        noise.value * found.entries["system_gain_dn_per_e"].value
    )
    assert "saturation_capacity_e" not in found.entries


def test_dark_noise_under_rounding_is_a_limit(emva_shoot, tmp_path):
    emva_shoot(tmp_path, 5, read_e=0.5, dsnu_dn=dict.fromkeys(DSNU_DN, 0.0))
    found = measure_emva1288(tmp_path, draws=40)
    assert "temporal_dark_noise_e" not in found.entries and "temporal_dark_noise_e_r31" in found.entries
    message = next(flag.message for flag in found.flags if flag.code == "emva1288_absent")
    assert "0.24 DN^2" in message and "less than 0.8" in message  # 0.40 DN / 0.5 DN per electron


def test_no_pattern_keeps_its_sign_and_is_said(emva_shoot, tmp_path):
    """A sensor without pattern: over a few of them some estimates are negative, and all lie within their errors."""
    none = dict.fromkeys(DSNU_DN, 0.0)
    negative = 0
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        emva_shoot(folder, seed, dsnu_dn=none, levels=6)
        found = measure_emva1288(folder, draws=60)
        entry = found.entries["spatial_variance_dark_dn2"]
        assert abs(entry.value) < 4 * entry.std
        if entry.value < 0:
            negative += 1
            assert found.entries["dsnu1288_e"].value < 0
            assert any("dsnu1288_e" in flag.message for flag in found.flags)
    assert negative > 0


def test_a_descriptor_keeps_its_long_stacks_out_of_the_photon_transfer(emva_captures, tmp_path):
    """Two frames a point in the descriptor, more in the stacks: as the public reference implementation reads it."""
    lines = ["v 4.0", "n 12 64 48"]
    for row in (emva_captures.folder / "manifest.csv").read_text().splitlines()[2:]:
        name, kind, exposure, photons, _ = row.split(",")
        nanoseconds = float(exposure) * 1e9
        lines.append(f"b {nanoseconds} {photons}" if kind == "bright" else f"d {nanoseconds}")
        for index, frame in enumerate(np.load(emva_captures.folder / name)):
            np.save(tmp_path / f"{index}_{name}", frame)
            lines.append(f"i {index}_{name}")
    (tmp_path / "emva.txt").write_text("\n".join(lines) + "\n")
    found = measure_emva1288(tmp_path / "emva.txt", draws=30)
    assert len(found.curves["levels"].columns["light"]) == 12
    assert len(measure_emva1288(emva_captures.folder, draws=30).curves["levels"].columns["light"]) == 13
    assert found.entries["spatial_frames"].value == 8


def test_tables_and_too_few_levels_are_refused(tmp_path, emva_captures):
    (tmp_path / "t.txt").write_text("10 5\n20 10\n40 20\n80 40\n")
    with pytest.raises(PhotonbitsError, match="table"):
        measure_emva1288(tmp_path / "t.txt")
    captures = load_captures(emva_captures.folder)
    few = replace(captures, levels=(captures.bright_levels()[3], captures.dark_levels()[0]))
    with pytest.raises(PhotonbitsError, match="1 bright"):
        measure_emva1288(few)
    no_rise = replace(
        captures, levels=(*(replace(x, kind="bright") for x in captures.dark_levels()), *captures.dark_levels())
    )
    with pytest.raises(PhotonbitsError, match="does not rise"):
        measure_emva1288(no_rise)


def test_channels_are_measured_on_their_own_pixels(emva_captures):
    """Two interleaved halves of the columns: the same numbers as of captures that hold nothing else."""
    sections = {
        name: SectionEntry(rows=(0, None, 1), columns=(start, None, 2)) for name, start in (("left", 0), ("right", 1))
    }
    given = NoiseModel.from_parameters(system_gain_dn_per_e=GAIN, read_noise_e=READ_E, offset_dn=OFFSET, bit_depth=12)
    layout = ChannelLayoutEntry(kind="interleaved", sections=sections, records={})
    model = replace(given, document=given.document.model_copy(update={"channel_layout": layout}))
    block = add_emva1288(model, emva_captures.folder).document.emva1288
    whole = measure_emva1288(emva_captures.folder).entries
    assert set(block) == {f"{channel}.{name}" for channel in sections for name in whole}
    for channel in sections:
        gain = block[f"{channel}.system_gain_dn_per_e"]
        assert abs(gain.value - GAIN) < 4 * gain.std
        assert gain.std > 1.2 * whole["system_gain_dn_per_e"].std  # half the pixels
    offsets = [emva_captures.offset_dn[:, start::2].std(ddof=1) / GAIN for start in (0, 1)]
    for channel, offset in zip(sections, offsets, strict=True):
        entry = block[f"{channel}.dsnu1288_e_r31"]
        assert abs(entry.value - offset) < 3 * entry.std


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (1, 40)])
def test_tiny_frames_give_what_they_can(emva_shoot, tmp_path, shape):
    emva_shoot(tmp_path, 6, shape=shape, levels=10, light_scatter=0.0)
    found = measure_emva1288(tmp_path, draws=40)
    gain = found.entries["system_gain_dn_per_e"]
    assert abs(gain.value - GAIN) < 5 * gain.std
    assert ("dsnu1288_e" in found.entries) == (min(shape) >= 3)
    if min(shape) < 3:
        assert any("3 x 3 pixels" in flag.message for flag in found.flags)


def test_darks_of_one_code(emva_shoot, tmp_path):
    """No noise at all in the dark: limits and signs, nothing that is no number."""
    emva_shoot(tmp_path, 8, levels=8, dsnu_dn=dict.fromkeys(DSNU_DN, 0.0))
    for path in tmp_path.glob("dark_*.npy"):
        np.save(path, np.full_like(np.load(path), 100))
    found = measure_emva1288(tmp_path, draws=40)
    assert found.entries["temporal_dark_noise_dn"].value == 0.0
    assert found.entries["dsnu1288_e"].value == 0.0
    assert "temporal_dark_noise_e" not in found.entries
    assert found.entries["sensitivity_threshold_e"].value > 1.0
