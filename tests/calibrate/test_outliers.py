"""Single-frame outliers are taken out and nothing else is: variances against truth, heavy tails left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from calibrate import fit_noise_model, load_captures
from calibrate.level_statistics import LevelStatistics, measure_levels, pair_sums, reject_outliers
from calibrate.level_statistics.outliers import CUT_SIGMAS, _normal_within


def shoot(
    folder: Path, levels: dict[float, int], rng: np.random.Generator, *, share: float, height: float, side: int = 200
) -> tuple[LevelStatistics, ...]:
    """Levels (electrons: pairs) of K 0.5, 3 e-, offset 100 with sparks up to ``height`` DN; 0 electrons are darks."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (electrons, pairs) in enumerate(levels.items()):
        shape = (2 * pairs, side, side)
        codes = 100 + 0.5 * (rng.poisson(electrons, shape) + 3 * rng.standard_normal(shape))
        struck = rng.random(shape) < share
        codes[struck] += rng.uniform(0, height, int(struck.sum()))
        name = f"flat_{number + 1}ms" if electrons else "dark_0ms"
        np.save(folder / f"{name}.npy", np.clip(np.floor(codes + 0.5), 0, 65535).astype(np.uint16))
    return measure_levels(load_captures(folder))


LEVELS = {0.0: 3, 300.0: 2, 1000.0: 2, 3000.0: 2}


def variances(levels: tuple[LevelStatistics, ...]) -> np.ndarray:
    return np.array([level.temporal_variance_dn2(100.0 if level.kind == "bright" else None) for level in levels])


@pytest.mark.parametrize(("share", "height"), [(1e-3, 3000.0), (1e-4, 3000.0), (1e-3, 60_000.0)])
def test_variances_and_means_without_sparks(tmp_path, share, height):
    expected = np.array([0.25 * (electrons + 9) + 1 / 12 for electrons in LEVELS])
    error = expected * np.sqrt(2 / (200 * 200 * np.array(list(LEVELS.values()))))
    seen = {}
    for name, part in (("clean", 0.0), ("struck", share)):
        levels = reject_outliers(shoot(tmp_path / name, LEVELS, np.random.default_rng(3), share=part, height=height))
        order = np.argsort([level.mean_dn for level in levels])
        seen[name] = variances(levels)[order], np.array([level.mean_dn for level in levels])[order], levels
    assert np.all(np.abs(seen["struck"][0] - expected) < 4 * error)
    np.testing.assert_allclose(seen["struck"][1], 100 + 0.5 * np.array(list(LEVELS)), atol=0.3)
    rejected = np.mean([level.rejected_fraction for level in seen["struck"][2]])
    assert rejected == pytest.approx(2 * share, rel=0.25)
    assert all(level.rejected_fraction < 1e-5 for level in seen["clean"][2])


def save_clean_and_struck(folder: Path, stem: str, codes: np.ndarray, rng: np.random.Generator) -> None:
    """One level twice: as it is in ``clean``, with sparks of any height in 1e-3 of the pixels in ``struck``."""
    struck = rng.random(codes.shape) < 1e-3
    for name in ("clean", "struck"):
        (folder / name).mkdir(exist_ok=True)
        np.save(folder / name / f"{stem}.npy", np.clip(np.floor(codes + 0.5), 0, 4095).astype(np.uint16))
        codes[struck] += rng.uniform(0, 3000, int(struck.sum()))


def rejected_and_true(folder: Path) -> Iterator[tuple[str, LevelStatistics, float]]:
    """Levels of both folders after the cut, each with the variance of the clean level's difference, DN^2."""
    clean = measure_levels(load_captures(folder / "clean"))
    for name in ("clean", "struck"):
        found = reject_outliers(measure_levels(load_captures(folder / name)))
        for level, own in zip(found, clean, strict=True):
            yield name, level, own.pairs[0].difference_variance_dn2


@pytest.mark.parametrize(("offset", "pattern"), [(0.0, 0.0), (3.0, 0.0), (-1.0, 0.0), (0.0, 3.0)])
def test_noise_clipped_at_black_has_tails_of_its_own(tmp_path, offset, pattern):
    """Noise of 1.5 DN, part of it below the lowest code: sparks go, the long tails stay."""
    rng = np.random.default_rng(13)
    side = 500
    place = offset + pattern * rng.standard_normal((side, side))
    for electrons, stem in ((0.0, "dark_0ms"), (4.0, "flat_1ms"), (1000.0, "flat_2ms")):
        shape = (2, side, side)
        codes = place + 0.5 * rng.poisson(electrons, shape) + 1.5 * rng.standard_normal(shape)
        save_clean_and_struck(tmp_path, stem, codes, rng)
    for _, level, truth in rejected_and_true(tmp_path):
        assert level.pairs[0].difference_variance_dn2 == pytest.approx(truth, rel=1e-3)


@pytest.mark.parametrize("noise", [0.2, 0.3, 0.45])
def test_noise_below_a_code_has_no_outliers_of_one_code(tmp_path, noise):
    """Offset 100: a code beside it is six standard deviations of the codes away where the noise is a fifth of one."""
    rng = np.random.default_rng(14)
    side = 500
    for signal, stem in ((0.0, "dark_0ms"), (0.3, "dark_1ms"), (900.0, "flat_2ms")):
        shape = (2, side, side)
        codes = 100 + signal + np.hypot(noise, np.sqrt(0.1 * signal) * (signal > 1)) * rng.standard_normal(shape)
        save_clean_and_struck(tmp_path, stem, codes, rng)
    for name, level, truth in rejected_and_true(tmp_path):
        assert level.pairs[0].difference_variance_dn2 == pytest.approx(truth, rel=2e-3)
        assert (level.rejected_fraction > 1e-3) == (name == "struck")


@pytest.mark.parametrize("law", ["even", "exponential"])
def test_the_same_noise_with_sparks_and_without(tmp_path, law):
    """Sparks that pile up at the highest code are no share of those below it, and leave no third or fourth power."""
    rng = np.random.default_rng(12)
    side, top = 400, 4095
    for electrons, stem in ((0.0, "dark_0ms"), (3000.0, "flat_1ms"), (7000.0, "flat_2ms")):
        shape = (4, side, side)
        codes = 100 + 0.5 * (rng.poisson(electrons, shape) + 3 * rng.standard_normal(shape))
        struck = rng.random(shape) < 1e-3
        count = int(struck.sum())
        heights = rng.uniform(0, 3000, count) if law == "even" else rng.exponential(400.0, count)
        for name in ("clean", "struck"):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f"{stem}.npy", np.clip(np.floor(codes + 0.5), 0, top).astype(np.uint16))
            codes[struck] += heights
    found = {name: reject_outliers(measure_levels(load_captures(tmp_path / name))) for name in ("clean", "struck")}
    for clean, level in zip(found["clean"], found["struck"], strict=True):
        assert level.rejected_fraction > 1e-3 and clean.rejected_fraction == 0
        assert level.maximum_fraction < 2e-5
        for one, other in zip(clean.pairs, level.pairs, strict=True):
            scale = one.difference_variance_dn2
            assert other.difference_variance_dn2 == pytest.approx(scale, rel=2e-3)
            assert other.kurtosis == pytest.approx(3.0, abs=0.06)
            third = (one.noise_signal_covariance_dn3, other.noise_signal_covariance_dn3)
            assert third[1] == pytest.approx(third[0], abs=0.006 * scale**1.5)


def test_what_the_cut_leaves_of_a_normal_law_and_of_shot_noise():
    rng = np.random.default_rng(1)
    d = rng.standard_normal(4_000_000)
    left, beyond = _normal_within(2.5, 0.0)
    inside = d[np.abs(d) <= 2.5]
    assert np.var(inside) == pytest.approx(left, rel=3e-3)
    assert 1 - inside.size / d.size == pytest.approx(beyond, rel=0.02)
    # Skellam differences of 8 e-: excess kurtosis 1/16.
    d = (rng.poisson(8.0, 4_000_000) - rng.poisson(8.0, 4_000_000)) / 4.0
    edge = 10.5 / 4
    inside = d[np.abs(d) <= edge]
    left, beyond = _normal_within(edge, 1 / 16)
    assert np.var(inside) / np.var(d) == pytest.approx(left, abs=0.005)
    assert 1 - inside.size / d.size == pytest.approx(beyond, rel=0.1)
    assert _normal_within(CUT_SIGMAS, 0.0)[0] == pytest.approx(1 - 1.07e-3, abs=1e-5)


def test_pixels_that_are_noisy_in_every_frame_stay(tmp_path):
    """2 % of the pixels with eight times the read noise: their noise is the sensor's."""
    rng = np.random.default_rng(5)
    noise = np.where(rng.random((150, 150)) < 0.02, 24.0, 3.0)
    darks = 200 + noise * rng.standard_normal((8, 150, 150))
    np.save(tmp_path / "dark_0ms.npy", np.floor(darks + 0.5).astype(np.uint16))
    flats = 200 + 0.5 * rng.poisson(200, (4, 150, 150)) + noise * rng.standard_normal((4, 150, 150))
    np.save(tmp_path / "flat_5ms.npy", np.floor(flats + 0.5).astype(np.uint16))
    before = measure_levels(load_captures(tmp_path))
    after = reject_outliers(before)
    dark = next(level for level in after if level.kind == "dark")
    assert dark.rejected_fraction == 0
    assert dark.temporal_variance_dn2(None) == pytest.approx(np.mean(noise**2) + 1 / 12, rel=0.05)


def test_few_electrons_have_tails_of_their_own(tmp_path):
    """At 0.05 e- a single electron stands eight standard deviations out, and is no outlier."""
    rng = np.random.default_rng(6)
    np.save(tmp_path / "dark_0ms.npy", np.full((4, 100, 100), 100, dtype=np.uint16))
    flats = 100 + 4 * rng.poisson(0.05, (4, 100, 100))
    np.save(tmp_path / "flat_5ms.npy", flats.astype(np.uint16))
    flat = next(level for level in reject_outliers(measure_levels(load_captures(tmp_path))) if level.kind == "bright")
    assert flat.rejected_fraction == 0
    assert flat.temporal_variance_dn2(None) == pytest.approx(16 * 0.05, rel=0.1)


def test_sums_without_a_pixel_are_those_of_the_others():
    rng = np.random.default_rng(7)
    frames = rng.integers(900, 1100, (2, 64, 64)).astype(np.uint16)
    frames[0, 3, 5] = 40_000
    pair = pair_sums(*frames)
    assert pair.candidates is not None and pair.candidates.index.tolist() == [3 * 64 + 5]
    left = pair.without(np.zeros(1, dtype=bool), 1.0)
    mask = np.ones((64, 64), dtype=bool)
    mask[3, 5] = False
    a, b = (frame[mask].astype(float) for frame in frames)
    assert left.n_pixels == 4095 and left.rejected == 1
    assert left.difference_variance_dn2 == pytest.approx(np.var(a - b, ddof=1), rel=1e-12)
    assert left.spatial_covariance_dn2 == pytest.approx(np.cov(a, b, bias=True)[0, 1], rel=1e-9)
    # About the means that the other pixels of each tile have: a spark leaves nothing behind, in its fourth power least.
    d = frames[0].astype(float) - frames[1]
    d[:32] -= d[:32][mask[:32]].mean()
    d[32:] -= d[32:].mean()
    d = d[mask]
    assert left.sum_d2 == pytest.approx(np.sum(d**2), rel=1e-12)
    assert left.sum_d4 == pytest.approx(np.sum(d**4), rel=1e-12)
    assert left.sum_d2_signal == pytest.approx(np.sum(d**2 * (a + b) / 2), rel=1e-12)


def test_a_moved_scene_is_not_cut(tmp_path):
    rng = np.random.default_rng(8)
    frames = rng.normal(1000, 5, (2, 100, 100))
    frames[1, :10] += 300
    np.save(tmp_path / "flat_5ms.npy", frames.astype(np.uint16))
    (level,) = reject_outliers(measure_levels(load_captures(tmp_path)))
    assert level.rejected_fraction == 0


def test_gain_with_sparks_in_one_pixel_of_a_thousand(tmp_path):
    rng = np.random.default_rng(9)
    levels = {0.0: 3, **{float(e): 1 for e in np.linspace(200, 6000, 10)}}
    shoot(tmp_path, levels, rng, share=1e-3, height=3000.0, side=256)
    model = fit_noise_model(tmp_path)
    gain = model.parameter("system_gain_dn_per_e")
    assert abs(gain.value - 0.5) < min(4 * gain.std, 0.005)
    assert "outliers" in {flag.code for flag in model.document.fit.flags}


def test_one_large_difference_is_no_flag(tmp_path):
    """The cut then takes the few in 100 000 that noise has beyond it; that is none of the captures' faults."""
    levels = {0.0: 3, **{float(e): 1 for e in np.linspace(400, 6000, 6)}}
    shoot(tmp_path, levels, np.random.default_rng(15), share=0.0, height=1.0, side=400)
    flats = np.load(tmp_path / "flat_4ms.npy")
    flats[0, 200, 200] += 400
    np.save(tmp_path / "flat_4ms.npy", flats)
    struck = [level.rejected_fraction for level in reject_outliers(measure_levels(load_captures(tmp_path)))]
    assert 1e-5 < max(struck) < 1e-4
    assert "outliers" not in {flag.code for flag in fit_noise_model(tmp_path).document.fit.flags}


def test_excess_noise_shows_in_the_skewness(tmp_path):
    """An electron-multiplying register: the curve is straight, the gain from it twice too big, and the fit says so."""
    rng = np.random.default_rng(10)
    shape = (2, 128, 128)
    for name, multiplied in (("em", True), ("plain", False)):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "dark_0ms.npy", np.rint(500 + 20 * rng.standard_normal((6, 128, 128))).astype(np.uint16))
        for level, electrons in enumerate(np.linspace(20, 400, 10), start=1):
            n = rng.poisson(electrons, shape)
            signal = rng.gamma(np.maximum(n, 1e-9), 40.0) if multiplied else 80.0 * n
            codes = 500 + signal + 20 * rng.standard_normal(shape)
            np.save(folder / f"flat_{level}ms.npy", np.clip(np.rint(codes), 0, 65535).astype(np.uint16))
        model = fit_noise_model(folder)
        assert model.parameter("system_gain_dn_per_e").value == pytest.approx(80.0, rel=0.03)
        flags = {flag.code for flag in model.document.fit.flags}
        assert ("excess_noise_suspected" in flags) == multiplied


@pytest.mark.realdata
def test_the_real_electron_multiplying_camera_is_found_out(tmp_path, realdata):
    """At 100x: excess factor 2, skewness ratio 1.5; at 1x nothing."""
    archive = np.load(realdata / "emccd_lanl_fatmac78" / "emccd_all.npz")
    rng = np.random.default_rng(0)
    for key, suspected in (("ADU/1x-gain", False), ("gain-IS/100x-gain", True)):
        folder = tmp_path / key.replace("/", "_")
        folder.mkdir()
        offset, noise = archive[f"{key}_no-signal_S0"], archive[f"{key}_no-signal_sigma"]
        darks = np.floor(offset + noise * rng.standard_normal((5000, 3, 3)) + 0.5)
        np.save(folder / "dark.npy", darks.astype(np.uint16))
        for level in range(1, 7):
            np.save(folder / f"flat_level{level}.npy", archive[f"{key}_level-0{level}"])
        rows = ["path,kind,level", "dark.npy,dark,0"] + [f"flat_level{i}.npy,bright,{i}" for i in range(1, 7)]
        (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
        model = fit_noise_model(folder / "manifest.csv")
        gain = model.parameter("system_gain_dn_per_e")
        assert gain.value == pytest.approx(43.9 if suspected else 0.2543, rel=0.03)
        assert ("excess_noise_suspected" in {flag.code for flag in model.document.fit.flags}) == suspected


def test_gain_that_differs_from_pixel_to_pixel(tmp_path):
    """8 % of gain pattern raises the pooled slope by 0.64 %; of light pattern by nothing."""
    rng = np.random.default_rng(11)
    pattern = 0.08 * rng.standard_normal((256, 256))
    found = {}
    for name in ("gain", "light"):
        folder = tmp_path / name
        folder.mkdir()
        np.save(folder / "dark_0ms.npy", np.rint(100 + 1.5 * rng.standard_normal((8, 256, 256))).astype(np.uint16))
        for level, electrons in enumerate(np.linspace(300, 6000, 14), start=1):
            light = electrons * (1 + pattern) if name == "light" else np.full((256, 256), electrons)
            gain = 0.5 * (1 + pattern) if name == "gain" else 0.5
            codes = 100 + gain * (rng.poisson(light, (2, 256, 256)) + 3 * rng.standard_normal((2, 256, 256)))
            np.save(folder / f"flat_{level}ms.npy", np.rint(codes).astype(np.uint16))
        model = fit_noise_model(folder)
        flags = {flag.code for flag in model.document.fit.flags}
        assert ("gain_pattern" in flags) == (name == "gain")
        entry = model.parameter("system_gain_dn_per_e")
        found[name] = entry.value
        true = 0.5 * (1 + pattern.mean()) if name == "gain" else 0.5
        assert abs(entry.value - true) < 3.5 * entry.std
