"""Calibrate the bundled simulated sensors, score their scenes, and compare with the truth.

    python3 scripts/demo.py

Makes the environment .venv on the first run. Writes to demo_output/. The exit status is 1 if a command fails
or a result lies further from the truth than 4 of its standard errors.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
import time
from pathlib import Path

import _environment
from _environment import ROOT, executable, say, variables

SAMPLES = Path("data_samples")
OUTPUT = Path("demo_output")
LARGEST_PULL = 4.0
# Half-width of a 95 % interval of a normal distribution, in standard deviations.


class DemoFailure(Exception):
    """A step that failed; the text says which."""


def main() -> int:
    if sys.argv[1:] == ["--inside"]:
        return run_all()
    python = _environment.prepare()
    return subprocess.run(
        [str(python), str(Path(__file__).resolve()), "--inside"], cwd=ROOT, env=variables(), check=False
    ).returncode


def run_all() -> int:
    """Run every sensor inside the environment and print the comparison."""
    sensors = sorted(path.parent.parent for path in SAMPLES.glob("*/captures/truth.json"))
    if not sensors:
        say(f"error: no sensor in {SAMPLES}; expected folders with captures/truth.json and scenes/truth.json")
        return 1
    OUTPUT.mkdir(exist_ok=True)
    earlier = {path: path.stat().st_mtime_ns for path in OUTPUT.iterdir()}
    complaints: list[str] = []
    for sensor in sensors:
        try:
            complaints += run_sensor(sensor)
        except DemoFailure as failure:
            complaints.append(str(failure))
    print("Files written:")
    for path in sorted(OUTPUT.iterdir()):
        if path.stat().st_mtime_ns != earlier.get(path):
            print(f"  {path.as_posix():<40}{path.stat().st_size / 1024:>9.1f} KiB")
    sys.stdout.flush()
    for complaint in complaints:
        say(f"FAILED: {complaint}")
    return int(bool(complaints))


def run_sensor(sensor: Path) -> list[str]:
    """Fit and score one sensor, print the comparison, and return what is wrong with it."""
    from calibrate.plumbing.tables import format_table

    name = sensor.name
    truth = read_json(sensor / "captures" / "truth.json")
    model = OUTPUT / f"{name}.yaml"
    fit = [
        "calibrate",
        "fit",
        sensor / "captures",
        "-o",
        model,
        "--report",
        OUTPUT / f"{name}.html",
        "--force",
    ]
    run([*fit, "--maps"] if truth.get("maps") else fit)
    true = true_over_good_pixels(model, sensor / "captures" / "truth_maps.npz", truth["parameters"])
    rows = parameter_rows(read_yaml(model)["parameters"], true)

    scenes = sensor / "scenes"
    score = OUTPUT / f"{name}_score.json"
    if (scenes / "truth.json").is_file():
        page = OUTPUT / f"{name}_score.html"
        about = read_json(scenes / "truth.json")
        exposure = ["--exposure-s", str(about["exposure_s"])] if "exposure_s" in about else []
        # Without networks, so that the figures are the same whether torch is installed or not.
        command = ["mi-eval", "score", scenes, "--noise-model", model, *exposure, "--density", "closed-form"]
        run([*command, "-o", score, "--report", page, "--force"])
        rows += score_rows(read_json(score), about)
    write_pictures(model, score if score.is_file() else None, OUTPUT / f"{name}_figures")

    print(f"\n{name}")
    cells = [(quantity, found, error, f"{true:.6g}", f"{pull:+.2f}") for quantity, found, error, true, pull in rows]
    print(format_table(["quantity", "found", "std", "true", "pull"], cells, align="lrrrr"))
    if score.is_file():
        information = read_json(score)["mutual_information_bits_per_pixel"]
        low, high = information["ci95"]
        print(f"The scenes carry {information['value']:.3f} bit per pixel (95 % interval {low:.3f} to {high:.3f}).")
    print(flush=True)
    return [
        f"{name}: {quantity} is {found}, the truth {true:.6g} ({pull:+.1f} standard errors)"
        for quantity, found, _, true, pull in rows
        if not abs(pull) <= LARGEST_PULL
    ]


def true_over_good_pixels(model: Path, truth_maps: Path, true: dict) -> dict:
    """The true parameters of the pixels that the fit averages: those outside its defect map."""
    import numpy as np

    from calibrate import NoiseModel

    defects = NoiseModel.load(model).defects
    if defects is None or not truth_maps.is_file():
        return true
    good = defects == 0
    with np.load(truth_maps) as maps:
        averages = {
            "offset_dn": float(np.mean(maps["offset_dn"][good], dtype=np.float64)),
            "dark_current_e_per_s": float(np.mean(maps["dark_current_e_per_s"][good], dtype=np.float64)),
            "read_noise_e": float(np.sqrt(np.mean(np.square(maps["read_noise_e"][good], dtype=np.float64)))),
        }
    return {**true, **averages}


Row = tuple  # (quantity, found, error, true, pull)


def parameter_rows(found: dict, true: dict) -> list[Row]:
    """One row for each parameter whose truth is known; one that was not found has an infinite pull."""
    rows: list[Row] = []
    for name, value in true.items():
        if not isinstance(value, (int, float)):
            continue
        if name not in found:
            rows.append((name, "-", "-", value, math.inf))
            continue
        estimate, std = found[name]["value"], found[name]["std"]
        if std is None:  # taken from the bit depth, not measured
            continue
        rows.append((name, f"{estimate:.6g}", f"{std:.2g}", value, pull_of(estimate - value, std)))
    return rows


def score_rows(score: dict, truth: dict) -> list[Row]:
    """H(Z|Y) of the scenes; a truth inside the set that the codes cannot tell apart counts as found."""
    name = "conditional_entropy_bits_per_pixel"
    if name not in truth:
        return []
    true, found = truth[name], score[name]
    low, high = found["interval"]
    std = score["error_budget_bits_per_pixel"]["conditional_entropy"]
    beyond = max(low - true, 0.0) + min(high - true, 0.0)
    return [(name, f"{found['value']:.5f}", f"{std:.2g}", true, pull_of(beyond, std))]


def write_pictures(model: Path, score: Path | None, folder: Path) -> None:
    """The reports' figures as PNG files."""
    from calibrate import NoiseModel
    from calibrate.report import write_figures

    folder.mkdir(exist_ok=True)
    write_figures(NoiseModel.load(model), folder)
    if score is not None:
        from mi_eval.report import write_score_figures

        write_score_figures(read_json(score), None, folder)


def pull_of(difference: float, std: float) -> float:
    """Difference in standard errors; infinite where an exact answer is off."""
    if std > 0:
        return difference / std
    return 0.0 if difference == 0 else math.copysign(math.inf, difference)


def run(command: list) -> None:
    """Run a command of the environment; its results are shown only if it fails."""
    words = [Path(word).as_posix() if isinstance(word, Path) else word for word in command]
    say("$ " + shlex.join(words))
    started_s = time.monotonic()
    done = subprocess.run([str(executable(words[0])), *words[1:]], env=variables(), stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode("utf-8", errors="replace"))
        raise DemoFailure(f"{shlex.join(words)} ended with status {done.returncode}")
    say(f"  {time.monotonic() - started_s:.1f} s")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def read_yaml(path: Path) -> dict:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
