"""The section of the report: well formed, both releases side by side, every picture, and none of it without a block."""

from __future__ import annotations

from dataclasses import replace

import pytest
from page_check import checked

from calibrate import NoiseModel
from calibrate.emva1288 import add_emva1288
from calibrate.emva1288.names import QUANTITIES
from calibrate.report import render_report, write_figures
from calibrate.report.emva import emva_section, symbol_words


@pytest.fixture(scope="module")
def model(emva_captures):
    given = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=100.0, bit_depth=12)
    return add_emva1288(given, emva_captures.folder)


def test_the_block_joins_the_document_and_survives_the_file(model, tmp_path):
    model.save(tmp_path / "s.yaml")
    loaded = NoiseModel.load(tmp_path / "s.yaml")
    assert loaded.document.emva1288 == model.document.emva1288
    assert loaded.document.emva1288_curves == model.document.emva1288_curves
    assert {flag.code for flag in model.document.fit.flags} >= {"not_measured", "emva1288_limits"}


def test_the_page_holds_table_and_pictures(model):
    page = checked(render_report(model))
    for symbol in ("σ_y.dark", "μ_p.min", "DSNU_1288.row", "PRNU_1288.pixel", "LE_min", "SNR_max", "s²_y.50"):
        assert symbol in page.text, symbol
    assert "Release 4.0" in page.text and "Release 3.1" in page.text
    ids = [attrs.get("id", "") for _, attrs in page.tags]
    names = ("transfer", "linearity", "snr", "dark", "spectrum-dsnu", "profile-prnu", "defects-dsnu", "defects-prnu")
    for name in names:
        assert f"emva-{name}-title" in ids
    entry = model.document.emva1288["system_gain_dn_per_e"]
    assert f"{entry.value:.3f}" in page.text
    assert emva_section(model.document) == emva_section(model.document)


def test_every_picture_is_written_as_a_file(model, tmp_path):
    names = {path.name for path in write_figures(model, tmp_path) if path.name.startswith("emva1288_")}
    assert len(names) == 10 and "emva1288_spectrum_prnu.png" in names


def test_without_a_block_there_is_no_section(model):
    bare = model.document.model_copy(update={"emva1288": None, "emva1288_curves": None})
    assert emva_section(bare) == ()
    assert "EMVA 1288" not in checked(render_report(replace(model, document=bare))).text.split("Doubts")[0]


def test_a_block_without_curves_or_of_names_from_elsewhere_is_a_table(model):
    known = {"snr_max": model.document.emva1288["snr_max"]}
    other = {"my_quantity": known["snr_max"].model_copy(update={"symbol": "Q", "unit": "1"})}
    document = model.document.model_copy(update={"emva1288": known | other, "emva1288_curves": None})
    text = checked(render_report(replace(model, document=document))).text
    assert "My_quantity" in text and "The variances behind" not in text


def test_channels_have_their_own_tables(model):
    both = {f"{c}.{name}": entry for c in ("R", "G1") for name, entry in model.document.emva1288.items()}
    curves = {f"{c}.{name}": curve for c in ("R", "G1") for name, curve in model.document.emva1288_curves.items()}
    document = model.document.model_copy(update={"emva1288": both, "emva1288_curves": curves})
    page = checked(render_report(replace(model, document=document)))
    assert "Channel R" in page.text and "Channel G1" in page.text
    assert "emva-g1-snr-title" in [attrs.get("id", "") for _, attrs in page.tags]


def test_symbols_in_print():
    printed = {symbol_words(symbol) for symbol, _, _ in QUANTITIES.values()}
    assert {"η", "K", "μ_e.sat", "σ_d", "s²_y.dark", "σ²_y.stack", "DR"} <= printed
    assert not any(word.startswith(("mu", "sigma", "eta", "s2")) for word in printed)
