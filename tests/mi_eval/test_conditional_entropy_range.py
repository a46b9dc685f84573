"""The linear programme holds the truth where codes do not determine H(Z|Y)."""

from __future__ import annotations

import numpy as np
import pytest
from script_files import load_script

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy, conditional_entropy
from mi_eval.histograms import frame_histograms
from mi_eval.identifiability import entropy_range, is_identifiable
from mi_eval.pixel_classes import classify_pixels


@pytest.mark.parametrize(
    ("kind", "read", "noise_dn", "rounded", "expected"),
    [
        ("poisson-gaussian", 1.0, 0.45, True, True),
        ("poisson-gaussian", 0.99, 5.0, True, False),
        ("poisson-gaussian", 3.0, 0.44, True, False),
        ("poisson-gaussian", 3.0, 0.1, False, True),
        ("gaussian", 0.2, 0.5, True, True),
        ("gaussian", 3.0, 0.3, True, False),
        ("poisson", 0.0, 0.0, True, False),
    ],
)
def test_rule(kind: str, read: float, noise_dn: float, rounded: bool, expected: bool) -> None:
    assert is_identifiable(kind, read, noise_dn, rounded=rounded) is expected


def _trial(seed: int) -> tuple[ConditionalEntropy, float]:
    rng = np.random.default_rng(seed)
    gain = float(np.exp(rng.uniform(np.log(0.1), np.log(2))))
    read = float(rng.choice([0, 0.2, 0.5, 0.8, 1.5, 3, 5]))
    mean = float(np.exp(rng.uniform(np.log(0.5), np.log(200))))
    law = rng.integers(3)
    if law == 0:
        y = rng.gamma(4, mean / 4, 65_536)
    elif law == 1:
        y = np.where(rng.random(65_536) < 0.3, 0.2 * mean, 1.5 * mean)
    else:
        y = rng.gamma(0.5, 2 * mean, 65_536)
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=float(rng.uniform(10, 11)), bit_depth=12
    )
    classes = classify_pixels(model)
    histograms = frame_histograms(model.sample(y, rng)[None], [0], classes)
    return conditional_entropy(histograms, classes), float(model.conditional_entropy_bits(y).mean())


def test_interval_holds_the_truth() -> None:
    widths = []
    for seed in range(40):
        result, truth = _trial(9000 + seed)
        lo, hi = result.interval_bits
        if result.identifiable:
            assert abs(result.value_bits - truth) < 4 * result.sampling_std_bits, seed
            assert hi - lo < 0.002
        else:
            assert lo <= truth <= hi, seed
            assert lo <= result.value_bits <= hi
            assert result.widening == 1
            widths.append(hi - lo)
    assert len(widths) >= 20
    assert np.median(widths) < 0.1


def test_fewer_effective_pixels_widen_the_interval() -> None:
    model = NoiseModel.from_parameters(system_gain_dn_per_e=1, read_noise_e=0.3, offset_dn=10.0, bit_depth=10)
    rng = np.random.default_rng(31)
    histograms = frame_histograms(model.sample(rng.gamma(4, 2, (1, 50_000)), rng), [0], classify_pixels(model))
    narrow = conditional_entropy(histograms, model).interval_bits
    wide = conditional_entropy(histograms, model, effective_sample_size=5_000).interval_bits
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_histogram_that_no_law_explains_widens_the_bands() -> None:
    table = np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    result = entropy_range([np.array([9000.0, 1000.0])], [table], np.array([1.0, 2.0, 3.0]), [])
    assert result.widening > 5
    assert 1.0 <= result.lo <= result.hi <= 3.0


def test_cameras_of_the_whole_range() -> None:
    """A part of the study, whose figures stand in docs/benchmarks.md."""
    study = load_script("study_conditional_entropy")
    trials = [study.run(seed, 65_536) for seed in range(12)]
    assert sum(t.holds for t in trials) == 12
    told = [t for t in trials if t.identifiable and t.clipped_fraction == 0]
    assert len(told) >= 3
    assert max(abs(t.error_bits) for t in told) < 0.002
    assert all(t.width_bits < 0.002 for t in told)


def test_light_beyond_a_clip_is_not_told_by_codes() -> None:
    """A quarter of the pixels clipped: light just beyond the clip decides, and the range holds the truth."""
    rng = np.random.default_rng(4)
    charge = rng.gamma(4.0, 25.0, (4, 96, 96))
    for gain, clipped in ((8.0, True), (3.0, False)):
        read = float(np.hypot(1.5, 3 / gain))
        model = NoiseModel.from_parameters(system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=20.0, bit_depth=10)
        classes = classify_pixels(model)
        codes = model.sample(charge, rng)
        assert (np.mean(codes == 1023) > 0.05) is np.bool_(clipped)
        found = conditional_entropy(frame_histograms(codes, np.arange(4), classes), classes)
        assert found.identifiable is not clipped
        truth = float(model.conditional_entropy_bits(charge).mean())
        low, high = found.interval_bits
        reach = 0.0 if clipped else 4 * found.sampling_std_bits
        assert low - reach < truth < high + reach
        assert high - low < 0.25
