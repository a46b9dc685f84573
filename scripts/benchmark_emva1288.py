"""Time and memory of `calibrate fit` against the public reference implementation of EMVA 1288, on the same files.

    python scripts/benchmark_emva1288.py --environment FOLDER        makes an environment with emva1288 there, once
    python scripts/benchmark_emva1288.py --python INTERPRETER        takes one that has emva1288
    python scripts/benchmark_emva1288.py --no-reference              times calibrate alone
    python scripts/benchmark_emva1288.py --small ...                 a few small frames, to see that it works
    python scripts/benchmark_emva1288.py --times 4 ...               calibrate also on four times the frames: memory

Writes 232 frames of 1080 x 1920 pixels and 12 bit (50 levels of 2 flats and 2 darks, 16 + 16 for the spatial part;
960 MB) with a descriptor into a temporary folder, and runs both programs on it as whole processes, in turn and several
times. Prints seconds and peak resident memory of each, their ratios, and gain and read noise against the truth.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import tifffile

from calibrate import NoiseModel

ROOT = Path(__file__).resolve().parent.parent
GAIN, READ_E, OFFSET, BITS, EFFICIENCY = 0.5, 2.3, 60.0, 12, 0.5
#: A process that does nothing but start another: memory that a forked child has for a moment from this script, which
#: holds frames, would count as the child's own.
LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, seconds, peak, done.stdout, done.stderr[-2000:]]))
"""
REFERENCE = """
import json, logging, sys
from emva1288.process import Data1288, LoadImageData, ParseEmvaDescriptorFile, Results1288
parsed = ParseEmvaDescriptorFile(sys.argv[1], loglevel=logging.ERROR)
images = LoadImageData(parsed.images, loglevel=logging.ERROR)
data = Data1288(images.data, loglevel=logging.ERROR)
found = Results1288(data.data, loglevel=logging.ERROR)
print(json.dumps({"gain": float(found.K), "read_noise_e": float(found.sigma_d)}))
"""


def write_frames(folder: Path, shape: tuple[int, int], levels: int, stack: int, seed: int) -> Path:
    """Uncompressed TIFF files and their descriptor; returns the descriptor."""
    rng = np.random.default_rng(seed)
    sensor = NoiseModel.from_parameters(
        system_gain_dn_per_e=GAIN, read_noise_e=READ_E, offset_dn=OFFSET, bit_depth=BITS
    )
    full_e = (2**BITS - 1 - OFFSET) / GAIN
    lines = ["v 4.0", f"n {BITS} {shape[1]} {shape[0]}"]

    def take(head: str, charge_e: float, count: int) -> None:
        lines.append(head)
        for _ in range(count):
            name = f"{len(lines):05d}.tif"
            tifffile.imwrite(folder / name, sensor.sample(np.full(shape, charge_e), rng), photometric="minisblack")
            lines.append(f"i {name}")

    for step in np.arange(1, levels + 1) / levels:
        charge = 1.1 * full_e * step
        take(f"b {1e7 * step:.1f} {charge / EFFICIENCY:.3f}", charge, 2)
        take(f"d {1e7 * step:.1f}", 0.0, 2)
    take(f"b {4.6e6:.1f} {0.5 * full_e / EFFICIENCY:.3f}", 0.5 * full_e, stack)
    take(f"d {4.6e6:.1f}", 0.0, stack)
    descriptor = folder / "emva.txt"
    descriptor.write_text("\n".join(lines) + "\n")
    return descriptor


def with_copies(descriptor: Path, times: int) -> Path:
    """A descriptor beside the first with ``times`` times the frames: every level's frames again, under other names."""
    lines: list[str] = []
    level: list[str] = []

    def close_level() -> None:
        for copy in range(1, times):
            for line in level:
                frame = descriptor.parent / line.removeprefix("i ")
                name = f"{frame.stem}_{copy}{frame.suffix}"
                os.link(frame, frame.with_name(name))
                lines.append(f"i {name}")
        level.clear()

    for line in descriptor.read_text().splitlines():
        if line.startswith("i "):
            level.append(line)
        else:
            close_level()
        lines.append(line)
    close_level()
    other = descriptor.with_name("copies.txt")
    other.write_text("\n".join(lines) + "\n")
    return other


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float, str]:
    """Seconds, peak resident memory in MB and output of a whole process."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True, check=True, env=environment
    )
    code, seconds, peak, output, complaint = json.loads(done.stdout)
    if code != 0:
        raise SystemExit(f"{command[0]} failed:\n{complaint}")
    return float(seconds), float(peak) / (1024.0**2 if sys.platform == "darwin" else 1024.0), str(output)


def run_calibrate(descriptor: Path) -> tuple[float, float, dict[str, float]]:
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "calibrate.cli", "fit", str(descriptor), "-o", f"{place}/s.yaml"]
        search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        seconds, peak, output = timed([*command, "--no-maps", "--json"], {**os.environ, "PYTHONPATH": search})
    parameters = json.loads(output)["parameters"]
    names = {"gain": "system_gain_dn_per_e", "read_noise_e": "read_noise_e"}
    return seconds, peak, {key: float(parameters[name]["value"]) for key, name in names.items()}


def run_reference(python: str, descriptor: Path) -> tuple[float, float, dict[str, float]]:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    seconds, peak, output = timed([python, "-c", REFERENCE, str(descriptor)], clean)
    return seconds, peak, json.loads(output.strip().splitlines()[-1])


def reference_python(folder: Path) -> str:
    """Interpreter of an environment with emva1288, made where it does not exist: the package needs numpy below 2."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"Making an environment with emva1288 in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "numpy<2", "emva1288==1.0.2", "setuptools<81"]
        subprocess.run(install, check=True)
    return str(python)


def report(name: str, runs: list[tuple[float, float, dict[str, float]]]) -> tuple[float, float]:
    """Print one program's line; median seconds and largest memory."""
    seconds, peak = median(run[0] for run in runs), max(run[1] for run in runs)
    gain, noise = runs[-1][2]["gain"], runs[-1][2]["read_noise_e"]
    each = " ".join(f"{run[0]:.2f}" for run in runs)
    print(
        f"{name:<22}{seconds:>8.2f}{peak:>8.0f}{gain:>11.6f}{100 * (gain / GAIN - 1):>+9.3f} %{noise:>9.4f}"
        f"{100 * (noise / READ_E - 1):>+8.2f} %   {each}"
    )
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--python", help="interpreter that has emva1288")
    parser.add_argument("--environment", type=Path, help="folder for an environment with emva1288, made if absent")
    parser.add_argument("--no-reference", action="store_true", help="time calibrate alone")
    parser.add_argument("--small", action="store_true", help="40 frames of 64 x 80 pixels")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program (default 3)")
    parser.add_argument("--times", type=int, default=1, help="also time calibrate on so many times the frames")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made (default: the system's)")
    arguments = parser.parse_args()
    if not arguments.no_reference and arguments.python is None and arguments.environment is None:
        parser.error("give --python, --environment or --no-reference")
    python = None
    if not arguments.no_reference:
        python = arguments.python or reference_python(arguments.environment)
    shape, levels, stack = ((64, 80), 8, 4) if arguments.small else ((1080, 1920), 50, 16)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        print(f"Writing {4 * levels + 2 * stack} frames of {shape[0]} x {shape[1]}", file=sys.stderr)
        descriptor = write_frames(Path(place), shape, levels, stack, arguments.seed)
        ours, theirs, more = [], [], []
        for _ in range(max(arguments.repeats, 1)):
            ours.append(run_calibrate(descriptor))
            if python is not None:
                theirs.append(run_reference(python, descriptor))
        if arguments.times > 1:
            copies = with_copies(descriptor, arguments.times)
            more = [run_calibrate(copies) for _ in range(max(arguments.repeats, 1))]
    print(
        f"Truth: gain {GAIN} DN/e-, read noise {READ_E} e-. Median of {len(ours)} whole processes, frames in the cache."
    )
    print(f"{'':<22}{'s':>8}{'MB':>8}{'DN/e-':>11}{'error':>11}{'e-':>9}{'error':>10}   every run, s")
    our_seconds, our_peak = report("calibrate fit", ours)
    if theirs:
        seconds, peak = report("emva1288 reference", theirs)
        print(f"{'ratio':<22}{seconds / our_seconds:>8.2f}{peak / our_peak:>8.2f}   reference over calibrate")
    if more:
        seconds, peak = report(f"calibrate, {arguments.times} x frames", more)
        print(f"{'difference':<22}{seconds - our_seconds:>+8.2f}{peak - our_peak:>+8.1f}")


if __name__ == "__main__":
    main()
