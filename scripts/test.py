"""Check the whole project: style, types, layers, packages, tests.

    python3 scripts/test.py [PYTEST ARGUMENTS]

Makes the environment .venv on the first run. Every check runs even if an earlier one failed; the exit status
is 1 if any did.
"""

from __future__ import annotations

import subprocess
import sys
import time

import _environment
from _environment import ROOT, executable, say, variables

# pytest runs in two processes; more threads than that would only slow each other down.
ONE_THREAD = {
    name: "1" for name in ("MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
}


def main(pytest_arguments: list[str]) -> int:
    python = str(_environment.prepare("dev", "torch", "objects", "cluster"))
    checks: list[tuple[str, list[str]]] = [
        ("ruff check", [str(executable("ruff")), "check", "."]),
        ("ruff format", [str(executable("ruff")), "format", "--check", "."]),
        ("mypy", [python, "-m", "mypy"]),
        ("lint-imports", [str(executable("lint-imports")), "--no-logo"]),
        ("pip check", [python, "-m", "pip", "check"]),
        ("pytest", [python, "-m", "pytest", "-n", "2", "--benchmark-disable", *pytest_arguments]),
    ]
    results: list[tuple[str, float, int]] = []
    for name, command in checks:
        say(f"== {name}")
        started_s = time.monotonic()
        status = subprocess.run(command, cwd=ROOT, env=variables(**ONE_THREAD), check=False).returncode
        seconds = time.monotonic() - started_s
        results.append((name, seconds, status))
        say(f"== {name}: {'passed' if status == 0 else f'FAILED (status {status})'} in {seconds:.1f} s\n")
    for name, seconds, status in results:
        print(f"{name:<14}{seconds:>8.1f} s  {'passed' if status == 0 else 'FAILED'}", flush=True)
    return int(any(status != 0 for _, _, status in results))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
