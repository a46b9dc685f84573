"""The benchmark against the reference implementation and the coverage study run, on small frames."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def run(name, *arguments):
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_benchmark_prints_time_memory_and_error(tmp_path):
    done = run("benchmark_emva1288.py", "--small", "--no-reference", "--repeats", 1, "--times", 3, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^calibrate, 3 x frames +[0-9.]+ +[0-9]+ ", done.stdout, re.MULTILINE)
    line = next(line for line in done.stdout.splitlines() if line.startswith("calibrate fit"))
    seconds, peak, gain = (float(word) for word in line.removeprefix("calibrate fit").split()[:3])
    assert seconds > 0 and 20 < peak < 2000
    assert gain == pytest.approx(0.5, rel=0.05)
    assert list(tmp_path.iterdir()) == []  # the frames are gone


def test_benchmark_wants_to_know_the_reference():
    done = run("benchmark_emva1288.py", "--small")
    assert done.returncode == 2 and "--no-reference" in done.stderr


@pytest.mark.skipif("PHOTONBITS_EMVA1288_PYTHON" not in os.environ, reason="names no interpreter with emva1288")
def test_benchmark_compares_with_the_reference(tmp_path):
    python = os.environ["PHOTONBITS_EMVA1288_PYTHON"]
    done = run("benchmark_emva1288.py", "--small", "--python", python, "--repeats", 1, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ratio +[0-9.]+ +[0-9.]+", done.stdout, re.MULTILINE)


def test_coverage_study_prints_a_line_for_every_quantity():
    done = run("study_emva1288_coverage.py", "--seeds", 3, "--shape", "24x32", "--draws", 40)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^system_gain_dn_per_e .* %$", done.stdout, re.MULTILINE)
    assert len(done.stdout.splitlines()) > 20
