"""The page of a score: the number first, every number there, escaped, self-contained, the same twice."""

import re

import numpy as np
import pytest
from page_check import checked

from mi_eval.report import ScoreDetails, render_score_report, write_score_figures

EVIL = '<script>alert("x")</script>'


def score(value=1.178, std=0.0064, ci95=(1.165, 1.190), **changes):
    plain = {
        "mutual_information_bits_per_pixel": {"value": value, "std": std, "ci95": list(ci95)},
        "upper_bound_bits_per_pixel": ci95[1] + 0.0071,
        "lower_bound_bits_per_pixel": value / 2,
        "slack_bits_per_pixel": 0.00412,
        "marginal_entropy_bits_per_pixel": 4.92134 + value,
        "conditional_entropy_bits_per_pixel": {"value": 4.92134, "interval": [4.919, 4.9222], "identifiable": True},
        "entropy_kind": "discrete",
        "bits_per_electron": 0.012309,
        "mean_signal_e": 95.703,
        "frames": 61,
        "patches_used": 5123,
        "patch_size": 16,
        "saturated_fraction": 0.00123,
        "models": [
            {"name": EVIL, "heldout_bits_per_pixel": 6.1381, "weight": 0.12, "seconds": 0.41},
            {"name": "causal network", "heldout_bits_per_pixel": 6.1012, "weight": 0.88, "seconds": 38.2},
        ],
        "warnings": [{"code": "row_noise", "message": f"Row noise {EVIL} holds 3 % of the variance."}],
        "noise_model": {"path": "some/folder/sensor.yaml", "sha256": "ab" * 32},
        "seed": 7,
        "version": "9.8.7",
    }
    return {**plain, **changes}


def details(n_frames=40, **changes):
    rng = np.random.default_rng(0)
    positions = np.array([(3, r, c) for r in range(0, 64, 16) for c in range(0, 96, 16)])
    n = len(positions)
    grid = np.linspace(0, 14, 100) ** 2
    codes = np.arange(60.0, 200.0)
    pmf = np.exp(-0.5 * ((codes - 120) / 20) ** 2)
    values = dict(
        example_frame=rng.poisson(100, (70, 100)).astype(np.uint16),
        example_frame_index=3,
        frame_names=tuple(f"{EVIL if i == 3 else 'scene'}_{i}.tif" for i in range(n_frames)),
        per_frame_bits=np.append(rng.normal(1.178, 0.02, n_frames - 1), 0.5),
        patch_positions=positions,
        per_patch_code_length_bits=rng.normal(1600, 20, n),
        per_patch_conditional_bits=np.full(n, 1260.0),
        intensity_grid_e=grid,
        intensity_weights=np.exp(-0.5 * ((grid - 95) / 20) ** 2),
        histogram_codes=codes,
        histogram_observed=rng.poisson(1e4 * pmf / pmf.sum()).astype(float),
        histogram_predicted=pmf / pmf.sum(),
        pit_edges=np.linspace(0, 1, 21),
        pit_densities=rng.normal(1, 0.02, 20),
        learning_patches=np.array([300.0, 1000.0, 3000.0]),
        learning_bits=np.array([1.3, 1.22, 1.19]),
        learning_std_bits=np.full(3, 0.006),
    )
    return ScoreDetails(**{**values, **changes})


@pytest.fixture(scope="module")
def page():
    return render_score_report(score(), details())


CASES = {
    "full": lambda: (score(), details()),
    "no details": lambda: (score(), None),
    "empty details": lambda: (score(), ScoreDetails()),
    "few frames": lambda: (score(), details(5)),
    "many frames": lambda: (score(), details(4000)),
    "near zero": lambda: (score(0.0004, 0.0021, (-0.0038, 0.0046)), None),
    "negative": lambda: (score(-0.2, 0.01, (-0.22, -0.18), lower_bound_bits_per_pixel=None), None),
    "differential": lambda: (
        score(
            entropy_kind="differential",
            marginal_entropy_bits_per_pixel=-2.1,
            conditional_entropy_bits_per_pixel={"value": -3.278, "interval": [-3.3, -3.2], "identifiable": False},
        ),
        None,
    ),
    "nothing listed": lambda: (
        score(
            models=[],
            warnings=[],
            noise_model={"path": None, "sha256": None},
            mean_signal_e=None,
            bits_per_electron=None,
            lower_bound_bits_per_pixel=None,
        ),
        None,
    ),
    "no error": lambda: (score(1.0, None, (1.0, 1.0)), details()),
    "one code, one charge": lambda: (
        score(),
        ScoreDetails(
            histogram_codes=np.array([7.0]),
            histogram_observed=np.array([9.0]),
            histogram_predicted=np.array([1.0]),
            intensity_grid_e=np.array([0.0]),
            intensity_weights=np.array([1.0]),
            per_frame_bits=np.array([1.0]),
            example_frame=np.full((5, 300), 7),
            learning_patches=np.array([10.0]),
            learning_bits=np.array([1.0]),
        ),
    ),
    "negative charges": lambda: (
        score(),
        ScoreDetails(intensity_grid_e=np.linspace(-5, 5, 11), intensity_weights=np.full(11, 1 / 11)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_score_gives_a_sound_page(name):
    result = checked(render_score_report(*CASES[name]()))
    assert [tag for tag, _ in result.tags].count("h1") == 1
    assert "None" not in result.text and "nan" not in result.text.split()


def test_the_page_is_the_same_twice(page):
    assert render_score_report(score(), details()) == page


def test_the_number_and_its_interval_come_first(page):
    text = checked(page).text
    assert re.search(r"<strong>1\.178 bit/px</strong> <span>95 % interval 1\.165 to 1\.190</span>", page)
    assert text.index("1.178 bit/px") < text.index("How it comes about")
    assert "2.26 equally likely grey levels" in text and "0.0123 bits per electron" in text


def test_near_zero_nothing_is_claimed():
    text = checked(render_score_report(*CASES["near zero"]())).text
    assert "no information detected" in text
    assert "at most 0.005 bit/px (estimate 0.000, 95 % interval -0.004 to 0.005)" in text
    assert "grey levels" not in text


def test_an_interval_below_zero_is_called_impossible():
    text = checked(render_score_report(*CASES["negative"]())).text
    assert "no information detected" in text and "which no camera can do" in text


def test_every_number_of_the_score_stands_there(page):
    text = checked(page).text
    for expected in (
        "1.17800",
        "0.0064",
        "1.16500 to 1.19000",
        "1.19710",
        "0.58900",
        "0.00412",
        "6.09934",
        "4.92134",
        "4.91900 to 4.92220",
        "0.012309",
        "95.703",
        "61",
        "5123 of 16 × 16",
        "0.123 %",
        "6.1381",
        "6.1012",
        "0.120",
        "0.880",
        "0.4",
        "38.2",
        "sensor.yaml",
        "ab" * 32,
        "seed 7",
        "9.8.7",
    ):
        assert expected in text, expected
    assert "some/folder" not in text


def test_times_are_left_out_where_they_are_not_kept():
    models = [{"name": "a", "heldout_bits_per_pixel": 6.0, "weight": 1.0}]
    assert "Time (s)" not in checked(render_score_report(score(models=models))).text
    assert "Time (s)" in checked(render_score_report(score())).text


def test_warnings_and_names_are_escaped(page):
    assert "<script" not in page
    text = checked(page).text
    assert f"Row noise {EVIL} holds 3 % of the variance." in text and f"{EVIL}_3.tif" in text
    assert "No warnings were raised." in checked(render_score_report(score(warnings=[]))).text


def test_a_conditional_entropy_that_is_not_fixed_is_said_in_words():
    text = checked(render_score_report(*CASES["differential"]())).text
    assert "every value from -3.300 to -3.200 bit/px agrees with them" in text and "differential, per DN" in text


def test_figures_are_written_as_png(tmp_path):
    written = write_score_figures(score(), details(), tmp_path / "new")
    assert len(written) == 9 and all(path.read_bytes().startswith(b"\x89PNG") for path in written)
    assert len(write_score_figures(score(), None, tmp_path)) == 2


def test_details_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="lengths differ"):
        ScoreDetails(intensity_grid_e=np.zeros(3), intensity_weights=np.zeros(2))
    with pytest.raises(ValueError, match="pit_edges has 3 entries for 3 bins"):
        ScoreDetails(pit_edges=np.zeros(3), pit_densities=np.zeros(3))
    with pytest.raises(ValueError, match="expected \\(n_patches, 3\\)"):
        ScoreDetails(patch_positions=np.zeros((4, 2), dtype=int))
    with pytest.raises(ValueError, match="expected \\(height, width\\)"):
        ScoreDetails(example_frame=np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match="1 frame_names for 2"):
        ScoreDetails(frame_names=("a",), per_frame_bits=np.zeros(2))


def budget_score(**changes):
    def bits(value, std):
        return {"bits_per_pixel": {"value": value, "std": std}}

    parts = [("read_noise", 0.0775, 0.0004), ("rounding", 0.0099, 0.0001), ("nonlinearity", -0.0123, 0.0011)]
    budget = {
        "ensemble": f"light {EVIL}",
        "method": "gaussian_copula",
        "as_fitted": bits(1.1781, 0.0013),
        "parts": [{"name": name, **bits(value, std)} for name, value, std in parts],
        "not_priced": [{"name": "drift", "reason": f"none {EVIL}"}],
        "all_off": bits(1.2651, 0.0016),
        "noiseless_readout_limit": bits(1.2652, 0.0016),
        "interaction": bits(0.0118, 0.0002),
        "spectrum": {
            "frequency_cycles_per_px": [0.0, 0.1, 0.3, 0.5, 0.7],
            "share_of_square": [0.01, 0.09, 0.3, 0.5, 0.1],
            "bits_per_pixel": [4.0, 3.0, 1.0, 0.4, 0.2],
            "noiseless_bits_per_pixel": [4.1, 3.1, 1.3, 0.7, 0.4],
        },
    }
    efficiency = {"value": 0.9312, "std": 0.0004, "ci95": [0.9304, 0.932], "method": "gaussian_copula"}
    return score(budget=budget | changes, efficiency=efficiency)


def test_budget_has_its_section_bars_and_numbers(tmp_path):
    page = render_score_report(budget_score(), details())
    checked(page)
    assert "What limits the camera" in page and EVIL not in page
    assert "The dearest imperfection is read noise" in page and "93.1 %" in page
    text = re.sub("<[^>]*>", "", page)
    for number in ("1.1781", "+0.0775", "-0.0123", "1.2652", "0.9312"):
        assert number in text
    names = {path.name for path in write_score_figures(budget_score(), details(), tmp_path)}
    assert {"budget.png", "spectrum.png"} <= names


def test_budget_without_a_limit_says_why():
    none = {"bits_per_pixel": None}
    sections = budget_score(all_off=none, noiseless_readout_limit=none, interaction=none, spectrum=None, parts=[])
    page = render_score_report({**sections, "efficiency": None}, details())
    checked(page)
    assert "Without shot noise there is no limit" in page
    assert "Information over spatial frequency" not in page


def test_no_budget_no_section():
    assert "What limits the camera" not in render_score_report(score(), details())
