"""Time and memory of `mi-eval score` on raw frames in files, by the number of frames.

    python scripts/benchmark_score.py [--frames 50 200] [--side 1024] [--max-patches 20000] [--density KIND]
        [--json FILE]

Frames are simulated into a temporary folder: smooth random scenes of 30 to 600 electrons through a 12-bit camera,
a TIFF each, every frame a scene of its own. Each number of frames is scored by a process of its own, through the
command, on two threads at most. Targets: 200 frames of 1 Mpx in 60 s and 2 GB from at least 20,000 patches, and
memory that does not grow with the number of frames. Files are read back through the page cache: the disk is not
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_WALL_S, TARGET_PEAK_MB, TARGET_FRAMES = 60.0, 2048.0, 200

CHILD = """
import json, resource, sys, time
from mi_eval.cli import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    code = done.code
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"exit": code or 0, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}),
      file=sys.stderr)
"""


def simulate(folder: Path, frames: int, side: int, seed: int) -> Path:
    """Write frames and the noise model; return the model's path."""
    import numpy as np
    import tifffile
    from scipy.ndimage import gaussian_filter

    from calibrate import NoiseModel

    model = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.5, offset_dn=100.0, bit_depth=12)
    rng = np.random.default_rng(seed)
    for number in range(frames):
        # White noise at a quarter of the resolution, smoothed and enlarged: a scene costs little to make.
        small = gaussian_filter(rng.standard_normal((side // 4 + 1, side // 4 + 1)), 2.0)
        scene = np.kron(small / small.std(), np.ones((4, 4)))[:side, :side]
        light = 130.0 * np.exp(0.7 * scene)
        tifffile.imwrite(folder / f"scene_{number:05d}.tif", model.sample(np.clip(light, 1.0, 6000.0), rng))
    path = folder.parent / "sensor.yaml"
    model.save(path)
    return path


def score(folder: Path, model: Path, frames: int, options: list[str]) -> dict:
    """One run of the command on the first so many frames."""
    files = sorted(map(str, folder.glob("*.tif")))[:frames]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "score", *files, "--noise-model", str(model), "--json", "-q", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - start
    if done.returncode != 0 or not done.stdout.strip():
        raise SystemExit(f"the score of {frames} frames failed:\n{done.stderr[-2000:]}")
    answer, usage = json.loads(done.stdout), json.loads(done.stderr.strip().splitlines()[-1])
    return {
        "frames": frames,
        "patches": answer["patches_used"],
        "found": answer["mutual_information_bits_per_pixel"],
        "wall_s": wall,
        "cpu_s": usage["cpu_s"],
        "peak_mb": usage["peak_mb"],
        "models": {entry["name"]: entry["heldout_bits_per_pixel"] for entry in answer["models"]},
    }


def main() -> None:
    """Simulate, score and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[50, TARGET_FRAMES])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--max-patches", type=int, default=20_000)
    parser.add_argument("--density", help="passed on to the command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "2")
    options = ["--max-patches", str(given.max_patches)]
    if given.density:
        options += ["--density", given.density]
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "frames"
        folder.mkdir()
        model = simulate(folder, max(given.frames), given.side, given.seed)
        print(f"{'frames':>7} {'patches':>8} {'wall s':>8} {'CPU s':>8} {'peak MB':>8}  found, bits per pixel")
        for frames in given.frames:
            result = score(folder, model, frames, options)
            results.append(result)
            found = result["found"]
            print(
                f"{frames:7d} {result['patches']:8d} {result['wall_s']:8.1f} {result['cpu_s']:8.1f} "
                f"{result['peak_mb']:8.0f}  {found['value']:.4f} +- {found['std']:.4f}",
                flush=True,
            )
    most = results[-1]
    if most["frames"] == TARGET_FRAMES and given.side == 1024:
        held = most["wall_s"] <= TARGET_WALL_S and most["peak_mb"] <= TARGET_PEAK_MB
        print(f"target {TARGET_WALL_S:.0f} s and {TARGET_PEAK_MB:.0f} MB: {'held' if held else 'missed'}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
