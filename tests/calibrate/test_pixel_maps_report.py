"""The report on maps: where defects lie, what they are, and whether the maps repeat."""

from __future__ import annotations

import numpy as np
import pytest
from page_check import checked

from calibrate import NoiseModel
from calibrate.commands.summary import print_summary
from calibrate.report.maps import draw_map, map_caption, map_findings, map_names, repeatability_sentence
from calibrate.report.page import render_report, write_figures
from calibrate.schema import NoiseModelDocument, RepeatabilityEntry

SHAPE = (30, 40)


def model_with(mask: np.ndarray, **blocks: object) -> NoiseModel:
    rng = np.random.default_rng(0)
    maps = {
        "offset_dn": rng.normal(100, 1, SHAPE),
        "offset_dn_std": np.full(SHAPE, 0.25),
        "system_gain_dn_per_e": rng.normal(0.5, 0.1, SHAPE),
        "system_gain_dn_per_e_std": np.full(SHAPE, 0.1),
        "defects": mask,
    }
    base = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, bit_depth=12, maps=maps)
    plain = base.document.to_plain() | blocks
    return NoiseModel.from_document(NoiseModelDocument.model_validate(plain), base.maps)


def kinds(**counts: int) -> dict[str, object]:
    bits = {"hot": 1, "cold": 2, "stuck": 4, "noisy": 8, "telegraph": 16}
    return {
        name: {"count": count, "bit": bits[name], "limit": 120.5, "unit": "DN2", "expected_false_alarms": 0.01}
        for name, count in counts.items()
    }


def repeated(**ratios: float) -> dict[str, object]:
    return {name: {"variance_ratio": r, "correlation": 0.5, "n_pixels": 1200} for name, r in ratios.items()}


def test_defects_are_shown_counted_and_explained(tmp_path):
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[2, 3], mask[7, 30], mask[20, 20] = 1, 4, 9
    model = model_with(
        mask,
        defects={"n_pixels": 3, "kinds": kinds(hot=2, cold=0, stuck=1, noisy=1)},
        repeatability=repeated(offset_dn=1.01, system_gain_dn_per_e=0.98),
    )
    assert map_names(model.maps)[-1] == "defects"
    page = checked(render_report(model))
    for words in ("3 of 1200 pixels are in the defect map", "0.25 %", "far above the others", "120 DN²"):
        assert words in page.text, words
    assert "as much as their errors say" in page.text
    assert "0.25 DN" in page.text and "1.010" in page.text
    assert tmp_path / "map_defects.png" in write_figures(model, tmp_path)
    assert render_report(model) == render_report(model)


def test_summary_and_page_say_when_telegraph_pixels_were_not_looked_for(capsys):
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1, 2] = 1
    few = model_with(mask, defects={"n_pixels": 1, "kinds": kinds(hot=1, noisy=0)})
    enough = model_with(mask, defects={"n_pixels": 1, "kinds": kinds(hot=1, telegraph=0)})
    for model, missing in ((few, True), (enough, False)):
        print_summary(model)
        shown = capsys.readouterr().out
        assert f"Defective pixels: 1 (hot 1, {'noisy' if missing else 'telegraph'} 0)." in shown
        said = "Telegraph pixels, which jump between two levels, were not looked for: that takes 32 darks or more."
        assert (said in shown) == missing == (said in checked(render_report(model)).text)


def test_a_sensor_without_defects_says_so():
    model = model_with(np.zeros(SHAPE, dtype=np.uint8), defects={"n_pixels": 0, "kinds": kinds(hot=0, cold=0)})
    assert "defects" not in map_names(model.maps)
    text = checked(render_report(model)).text
    assert "No pixel is defective: none is hot, cold." in text and "were not looked for" in text
    assert map_findings(NoiseModel.from_parameters(system_gain_dn_per_e=0.5)) == ()


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ({"prnu": 1.0, "offset_dn": 1.05}, "as much as their errors say; .* offset, by 1.05 times"),
        ({"prnu": 2.5, "offset_dn": 0.9}, "more than their errors say, most so photo-response, by 2.5 times.*moved"),
        ({"prnu": 1.0, "read_noise_e": 0.4}, "less than their errors say, most so read noise.*coarse rounding"),
    ],
)
def test_one_sentence_judges_the_repeatability(ratios, said):
    import re

    entries = {name: RepeatabilityEntry.model_validate(value) for name, value in repeated(**ratios).items()}
    assert re.search(said, repeatability_sentence(entries))


def test_many_defects_are_drawn_in_part_and_counted_in_full():
    mask = np.full((100, 90), 16, dtype=np.uint8)
    figure = draw_map(mask, "defects")
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["telegraph 9000"]
    assert figure.axes[0].collections[0].get_offsets().shape == (2000, 2)
    assert map_caption(mask, "defects").startswith("9000 of 9000 pixels")
