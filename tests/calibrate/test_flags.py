"""Every doubt is raised where it should be, has a sentence for people, and stays silent otherwise."""

from __future__ import annotations

import re
import string
from pathlib import Path

import numpy as np
import pytest

from calibrate import NoiseModel, fit_noise_model
from calibrate.flags import FLAGS, flag

CONTRACT = {
    "photon_transfer_nonlinear",
    "over_dispersed",
    "no_darks",
    "no_exposures",
    "one_dark_level",
    "too_few_levels",
    "black_clipped",
    "left_aligned",
    "drift",
    "correlated_noise",
    "not_measured",
}
LEVELS_E = np.linspace(200, 7000, 10)


class Shoot:
    """Frames of one camera, changed at will, in a folder of npy stacks."""

    def __init__(self, folder: Path, **changes: object) -> None:
        given = dict(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
        self.sensor = NoiseModel.from_parameters(**{**given, **changes})
        self.folder = folder
        self.rng = np.random.default_rng(11)

    def fit(self, levels=LEVELS_E, *, darks=range(1, 11), names="{kind}_{t:g}ms.npy", change=None, size=40, frames=2):
        """Light in proportion to the exposure: 200 electrons a millisecond."""
        plan = [("flat", y / 200, y) for y in levels] + [("dark", float(t), 0.0) for t in darks]
        for i, (kind, t, y) in enumerate(plan):
            codes = self.sensor.sample(np.full((frames, size, size), float(y)), self.rng)
            codes = codes if change is None else change(codes, kind, i)
            np.save(self.folder / names.format(kind=kind, t=t, letter=string.ascii_letters[i]), codes)
        model = fit_noise_model(self.folder)
        return model, {entry.code: entry.message for entry in model.document.fit.flags}


def test_a_good_camera_raises_no_grave_doubt(tmp_path):
    model, flags = Shoot(tmp_path).fit()
    assert set(flags) == {"not_saturated", "bit_depth_guessed"}
    assert "12" in flags["bit_depth_guessed"] or "14" in flags["bit_depth_guessed"]
    assert model.document.fit.deviance_per_dof < 2


@pytest.mark.parametrize(
    ("code", "settings", "arguments"),
    [
        ("one_dark_level", {}, {"darks": [5]}),
        ("too_few_levels", {}, {"levels": LEVELS_E[::2]}),
        ("no_exposures", {}, {"names": "{kind}_{letter}.npy"}),
        ("light_unknown", {}, {"names": "{kind}_{letter}.npy"}),
        ("black_clipped", {"offset_dn": 2.0}, {}),
        ("left_aligned", {}, {"change": lambda codes, kind, i: codes * np.uint16(16)}),
        ("coarse_quantisation", {"system_gain_dn_per_e": 0.1}, {}),
        ("bit_depth_guessed", {}, {}),
        ("not_saturated", {}, {}),
    ],
)
def test_doubt_is_raised(tmp_path, code, settings, arguments):
    model, flags = Shoot(tmp_path, **settings).fit(**arguments)
    assert code in flags
    assert "{" not in flags[code] and flags[code].endswith(".")
    gain = model.parameter("system_gain_dn_per_e")
    true = settings.get("system_gain_dn_per_e", 0.5) * (16 if code == "left_aligned" else 1)
    assert abs(gain.value - true) < 4.5 * gain.std


@pytest.mark.parametrize("scatter_percent", [0.0, 0.3])
def test_two_levels_are_enough_with_a_warning(tmp_path, scatter_percent):
    """Darks keep the offset whatever the lamp did between the two levels."""
    levels = np.array([1000.0, 6000.0])
    light = levels * (1 + scatter_percent / 100 * np.array([1.0, -1.0]))
    shoot = Shoot(tmp_path)
    sample = shoot.sensor.sample

    def change(codes, kind, i):
        return sample(np.full(codes.shape, light[i]), shoot.rng) if kind == "flat" else codes

    model, flags = shoot.fit(levels, change=change)
    assert "too_few_levels" in flags and "2" in flags["too_few_levels"]
    for name, true in (("system_gain_dn_per_e", 0.5), ("offset_dn", 100.0), ("read_noise_e", 3.0)):
        entry = model.parameter(name)
        assert abs(entry.value - true) < 4 * entry.std, name


def test_without_exposures_what_needs_them_is_absent(tmp_path):
    model, _ = Shoot(tmp_path).fit(names="{kind}_{letter}.npy")
    for name in ("dark_current_e_per_s", "linearity_error_percent", "light_scatter_percent"):
        assert model.parameter(name) is None
    assert model.document.validity.exposure_s is None
    for name, true in (("system_gain_dn_per_e", 0.5), ("offset_dn", 100.0), ("read_noise_e", 3.0)):
        assert abs(model.parameter(name).value - true) < 4 * model.parameter(name).std


def test_left_alignment_names_the_step(tmp_path):
    _, flags = Shoot(tmp_path).fit(change=lambda codes, kind, i: codes * np.uint16(16))
    assert "multiples of 16" in flags["left_aligned"] and "12-bit" in flags["left_aligned"]


def test_perturbed_variances_widen_the_errors(tmp_path):
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()
    good, _ = Shoot(tmp_path / "good").fit(size=64)

    def rough(codes, kind, i):
        """A mains hum of some levels: noise that is no photon noise."""
        hum = np.rint((6 + 5 * (-1) ** i) * np.random.default_rng(i).standard_normal(codes.shape))
        return np.clip(codes + hum, 0, 4095).astype(np.uint16) if kind == "flat" else codes

    bad, flags = Shoot(tmp_path / "bad").fit(size=64, change=rough)
    assert "over_dispersed" in flags
    assert f"{bad.document.fit.deviance_per_dof:.1f}" in flags["over_dispersed"]
    assert bad.document.fit.deviance_per_dof > 2
    ratio = bad.parameter("system_gain_dn_per_e").std / good.parameter("system_gain_dn_per_e").std
    assert ratio > 1.5


def test_drift_within_a_level(tmp_path):
    def drifting(codes, kind, i):
        if kind == "flat":
            codes[1] = np.clip(codes[1] * 1.03 - 3, 0, 4095)
        return codes

    _, flags = Shoot(tmp_path).fit(change=drifting)
    assert "drift" in flags and "%" in flags["drift"]


def test_cosmic_rays_are_named(tmp_path):
    """Two pixels, in one frame of each flat, far above the rest."""

    def struck(codes, kind, i):
        if kind == "flat":
            codes[0, 5, 7:9] = np.minimum(codes[0, 5, 7:9] + 600, 4095)
        return codes

    _, flags = Shoot(tmp_path).fit(change=struck)
    assert "outliers" in flags
    _, quiet = Shoot(tmp_path).fit()
    assert "outliers" not in quiet


def test_correlated_noise(tmp_path):
    def smeared(codes, kind, i):
        return ((codes.astype(int) + np.roll(codes, 1, axis=-1)) // 2).astype(np.uint16)

    _, flags = Shoot(tmp_path).fit(change=smeared)
    assert re.search(r"\+0\.(4|5)\d\d", flags["correlated_noise"])


def test_darks_without_noise(tmp_path):
    model, flags = Shoot(tmp_path, read_noise_e=0.0).fit()
    entry = model.parameter("read_noise_e")
    assert "read_noise_not_positive" in flags or "coarse_quantisation" in flags
    assert entry.value < 4 * entry.std + 1e-9 and entry.std > 0


def test_registry_is_complete_and_readable():
    assert set(FLAGS) >= CONTRACT
    assert list(FLAGS) == [entry.code for entry in FLAGS.values()]
    for entry in FLAGS.values():
        assert entry.code == entry.code.lower() and entry.sentence.endswith(".")
        fields = {name for _, name, _, _ in string.Formatter().parse(entry.sentence) if name}
        values = {name: 1.5 for name in fields - {"threshold"}} | {name: "x" for name in fields & {"model"}}
        made = flag(entry.code, **values)
        assert made.code == entry.code and "{" not in made.message
        if "threshold" in fields:
            assert entry.threshold is not None
    with pytest.raises(KeyError):
        flag("no_such_flag")
