"""`calibrate fit --emva`: the block in the file, on stdout as JSON, and in the report; absent without the option."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from calibrate.cli import main


@pytest.fixture(scope="module")
def small_captures(emva_shoot, tmp_path_factory):
    return emva_shoot(tmp_path_factory.mktemp("small"), 7, shape=(24, 32), levels=8, stack=4).folder


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_fit_with_emva_writes_block_and_report(small_captures, tmp_path):
    result = run("fit", small_captures, "-o", tmp_path / "s.yaml", "--emva", "--report", tmp_path / "r.html", "--json")
    assert result.exit_code == 0, result.output
    block = json.loads(result.stdout)["emva1288"]
    assert set(block["system_gain_dn_per_e"]) == {"value", "std", "unit", "symbol", "release"}
    assert block["system_gain_dn_per_e"]["release"] == "4.0" and block["system_gain_dn_per_e_r31"]["release"] == "3.1"
    assert "PRNU_1288" in (tmp_path / "r.html").read_text(encoding="utf-8")
    shown = run("show", tmp_path / "s.yaml", "--json")
    assert json.loads(shown.stdout)["emva1288"] == block


def test_fit_without_emva_has_no_block(small_captures, tmp_path):
    result = run("fit", small_captures, "-o", tmp_path / "s.yaml", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert "emva1288" not in document and "emva1288_curves" not in document


def test_a_table_has_no_emva(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"{mean} {0.5 * mean + 3}" for mean in range(100, 2000, 100)))
    result = run("fit", tmp_path / "t.txt", "-o", tmp_path / "s.yaml", "--emva")
    assert result.exit_code == 1 and result.stdout == "" and not (tmp_path / "s.yaml").exists()
    assert "without --emva" in result.stderr
