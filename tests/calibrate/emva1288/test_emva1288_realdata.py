"""Public reference set 001 against what the public reference implementation reports.

The set here has 16 + 16 spatial frames; the published DSNU and PRNU come from 50 + 50. What needs no spatial stack
agrees in every digit that is published. On the 16 + 16 frames the reference implementation (emva1288 1.0.2) reports
DSNU 0.497584 e-, PRNU 0.432784 %, and so do we.
"""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.emva1288 import measure_emva1288

#: Name: (published value, unit of its last digit).
PUBLISHED = {
    "system_gain_dn_per_e": (0.280063, 1e-6),
    "quantum_efficiency_percent": (45.2495, 1e-4),
    "temporal_dark_noise_dn": (3.07310, 1e-5),
    "temporal_dark_noise_e": (10.9244, 1e-4),
    "sensitivity_threshold_photons": (25.3548, 1e-4),
    "saturation_capacity_e": (14007.9, 0.1),
    "dynamic_range": (1220.95, 0.01),
    "linearity_error_min_percent": (-0.616, 1e-3),
    "linearity_error_max_percent": (0.480, 1e-3),
    "dark_current_from_mean_e_per_s": (28.5, 0.1),
    "dark_current_from_variance_e_per_s": (70.0, 1.0),
}
#: Of the reference implementation on the shortened stacks.
SHORTENED = {
    "dsnu1288_e": (0.497584, 1e-6),
    "prnu1288_percent": (0.432784, 1e-6),
    "spatial_variance_dark_dn2": (0.0194197, 1e-7),
    "spatial_variance_50_dn2": (72.4629, 1e-4),
    "temporal_variance_stack_dark_dn2": (9.49729, 1e-5),
    "temporal_variance_stack_dn2": (553.329, 1e-3),
}


@pytest.fixture(scope="module")
def found(realdata):
    return measure_emva1288(realdata / "emva1288_set001_ccd12" / "EMVA1288_Data.txt")


@pytest.mark.parametrize("name", [*PUBLISHED, *SHORTENED])
def test_release_3_1_reproduces_the_reference(found, name):
    value, digit = (PUBLISHED | SHORTENED)[name]
    assert abs(found.entries[name + "_r31"].value - value) <= 0.5001 * digit


def test_the_published_dsnu_and_prnu_lie_within_the_errors_of_the_shortened_stacks(found):
    """0.55319 e- and 0.432705 % from 50 + 50 frames."""
    dark = found.entries["spatial_variance_dark_dn2_r31"]
    gain = found.entries["system_gain_dn_per_e_r31"].value
    assert abs(dark.value - (0.55319 * gain) ** 2) < dark.std
    prnu = found.entries["prnu1288_percent_r31"]
    assert abs(prnu.value - 0.432705) < 0.02 * prnu.std


def test_release_4_has_the_exact_threshold(found):
    threshold = found.entries["sensitivity_threshold_photons"].value
    assert abs(threshold - 25.3800) <= 0.5001e-4
    # Release 4 moves the saturation from the variance maximum to the clipped share; with the old one:
    old = found.entries["saturation_capacity_photons_r31"].value
    assert old == 30957 and abs(old / threshold - 1219.74) <= 0.00501
    new = found.entries["saturation_capacity_photons"]
    assert 30957 < new.value < 31858 and 0 < new.std < 200  # none of the pixels clipped, and 2.1 %
    assert found.entries["dynamic_range"].value == pytest.approx(new.value / threshold)
    assert found.entries["linearity_error_percent"].value == pytest.approx(0.2974, abs=0.0001)


def test_the_straight_line_does_not_describe_this_camera_and_the_errors_say_so(found):
    assert any("scatter about the straight photon-transfer line" in flag.message for flag in found.flags)
    gain = found.entries["system_gain_dn_per_e"]
    assert 0.001 < gain.std < 0.003  # 0.06 % from noise alone
    assert "emva1288_absent" not in {flag.code for flag in found.flags}


def test_rows_of_the_darks_are_noise_of_the_readout(found):
    """The reference finds 0.45 e- of row pattern: row means scatter 18 times more in time than pixels make them."""
    row = found.entries["dsnu1288_row_e"]
    assert abs(row.value) < 0.2 and row.std < 0.2
    for part in ("row", "column", "pixel"):
        assert np.isfinite(found.entries[f"dsnu1288_{part}_e"].value)


def test_interference_stands_out_of_the_spectrogram(found):
    curve = found.curves["spectrogram_dsnu_horizontal"].columns
    root, frequency = np.array(curve["root_power"]), np.array(curve["cycles_per_pixel"])
    assert abs(frequency[np.argmax(root)] - 0.25) < 0.005 and root.max() > 1.4 * np.median(root)
