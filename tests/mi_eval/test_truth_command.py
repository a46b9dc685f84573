"""`mi-eval truth` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

from calibrate import PhotonbitsError
from mi_eval.cli import main
from mi_eval.commands import truth as command
from mi_eval.truth import CASES, KnownInformation, ising, measure_case


def run(*words: Any) -> Result:
    return CliRunner().invoke(main, ["truth", *map(str, words)])


def test_json_holds_found_and_true() -> None:
    result = run("gaussian-field", "pure-noise", "--patches", 96, "--patch-size", 4, "--json")
    assert result.exit_code == 0, result.stderr
    field, noise = json.loads(result.stdout)["cases"]
    assert (field["case"], noise["case"]) == ("gaussian-field", "pure-noise")
    assert (field["patches"], field["patch_size"], field["seed"]) == (96, 4, 0)
    found, true = field["found_bits_per_pixel"], field["true_bits_per_pixel"]
    assert field["error_bits_per_pixel"] == found["value"] - true["value"]
    assert field["inside"] == (found["ci95"][0] <= true["value"] <= found["ci95"][1])
    assert abs(field["error_bits_per_pixel"]) < 5 * found["std"]
    assert field["marginal_entropy_bits_per_pixel"] - field["conditional_entropy_bits_per_pixel"] == pytest.approx(
        found["value"]
    )
    assert field["cpu_s"] > 0
    assert noise["true_bits_per_pixel"] == {"value": 0.0, "std": 0.0}


def test_table_for_people() -> None:
    result = run("two-level", "--patches", 64, "--patch-size", 4, "--seed", 3)
    assert result.exit_code == 0, result.stderr
    assert "two-level" in result.stdout
    assert "0.80783" in result.stdout
    assert "4 x 4 pixels, seed 3" in result.stdout
    assert "of 1 intervals" in result.stdout
    assert result.stderr == ""


def test_unknown_case_names_the_legal_ones() -> None:
    result = run("isling")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in CASES)
    assert result.stdout == ""


@pytest.mark.parametrize(
    "words", [("ising", "--patch-size", 17), ("pure-noise", "--patch-size", 1), ("pure-noise", "--patch-size", 0)]
)
def test_a_case_that_cannot_run_is_an_error_when_asked_for(words: tuple[Any, ...]) -> None:
    result = run(*words, "--patches", 16)
    assert result.exit_code == 1
    assert "patch size" in result.stderr
    assert result.stdout == ""


def test_of_all_cases_those_run_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CASES", {name: CASES[name] for name in ("ising", "pure-noise")})
    monkeypatch.setattr(ising, "LARGEST_SIZE", 3)
    result = run("--patch-size", 4, "--patches", 32, "--json")
    assert result.exit_code == 0, result.stderr
    assert [case["case"] for case in json.loads(result.stdout)["cases"]] == ["pure-noise"]
    assert "ising is left out" in result.stderr


def test_draws_depend_on_name_and_seed_alone() -> None:
    first = measure_case("two-level", patches=32, patch_size=4, seed=1)
    again = measure_case("two-level", patches=32, patch_size=4, seed=1, truth=KnownInformation(0.5, 0.1))
    assert again.found == first.found
    assert (again.true, again.true_std) == (0.5, 0.1)
    assert again.error == again.found - 0.5
    assert measure_case("two-level", patches=32, patch_size=4, seed=2).found != first.found


def test_limits_of_the_arguments() -> None:
    with pytest.raises(PhotonbitsError, match="15 patches"):
        measure_case("pure-noise", patches=15)
    with pytest.raises(PhotonbitsError, match="seed -1"):
        measure_case("pure-noise", seed=-1)
    assert run("pure-noise", "--patches", 8).exit_code == 2


def test_help_lists_the_cases_and_imports_nothing_heavy() -> None:
    program = (
        "import sys, mi_eval.cli as m\nsys.argv = ['mi-eval', 'truth', '-h']\n"
        "try:\n    m.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'scipy', 'astropy', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"{name} " in done.stdout for name in CASES)
