"""Time and memory of the per-pixel maps, against a fit in a loop and against plain arrays.

    python scripts/benchmark_pixel_maps.py [--only maps|fit] [--folder DIR] [--quarter]

``maps``: 4 Mpx, 12 levels of 2 brights and 2 darks, the maps alone. ``fit``: 232 frames of 1080 x 1920 (50 levels of
2 + 2, 16 + 16 more at one), the whole `calibrate fit --maps`. Every run is a process of its own; seconds are wall
time and, beside it, processor time of all threads; MB is the largest resident set. The frames are written first
(``--folder``: where; they are deleted at the end) and so lie in the page cache. Baselines in the same run:

- polyfit: numpy.polyfit of variance over mean, pixel by pixel, on 20,000 pixels, times the number of pixels;
- arrays: the same estimates with whole float64 frames in plain numpy, nothing clever and no errors, defects or halves.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

GAIN, READ_NOISE_E, OFFSET_DN, DARK_E_PER_S = 0.5, 2.3, 100.0, 5.0
FULL_DN = 3500.0


def write_frames(folder: Path, shape: tuple[int, int], levels: int, extra: int, seed: int) -> None:
    """Frames of a 12-bit camera (normal shot noise, PRNU 1 %, DSNU 1 DN) and their manifest."""
    rng = np.random.default_rng(seed)
    response = 1 + 0.01 * rng.standard_normal(shape, dtype=np.float32)
    offset = OFFSET_DN + rng.standard_normal(shape, dtype=np.float32)
    lines = ["# bit_depth: 12", "path,kind,exposure_s,level"]
    exposures = [(k + 1) / levels for k in range(levels)]
    plan = [(kind, t, k, 2) for k, t in enumerate(exposures) for kind in ("bright", "dark")]
    plan += [(kind, 0.5, levels, extra) for kind in ("bright", "dark") if extra]
    for kind, t, level, count in plan:
        light = FULL_DN / GAIN * t if kind == "bright" else 0.0
        charge = response * np.float32(light) + np.float32(DARK_E_PER_S * t)
        noise = np.sqrt(charge + np.float32(READ_NOISE_E**2))
        for frame in range(count):
            z = rng.standard_normal(shape, dtype=np.float32)
            z *= noise
            z += charge
            z *= np.float32(GAIN)
            z += offset
            z += np.float32(0.5)
            name = f"{kind}_{level:03d}_{frame:02d}.npy"
            np.save(folder / name, np.clip(z, 0, 4095).astype(np.uint16))
            lines.append(f"{name},{kind},{t!r},{level if kind == 'bright' else 1000 + level}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- what is timed, each in a process of its own ---------------------------------------------------------


def run_maps(folder: Path) -> dict[str, float]:
    """`measure_maps` alone: the scalars and the frames' means are given, as the scalar fit would give them."""
    from calibrate import load_captures
    from calibrate.pixel_maps import ScalarFit, measure_maps
    from calibrate.pixel_maps.plan import measure_frame_means
    from calibrate.response import Response

    captures = load_captures(folder)
    means = measure_frame_means(captures)
    fit = ScalarFit(GAIN, OFFSET_DN, DARK_E_PER_S, READ_NOISE_E, Response(), (OFFSET_DN, 4000.0), 1 / 12)
    started, processor = time.perf_counter(), time.process_time()
    measured = measure_maps(captures, fit, means)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "gain": float(np.mean(measured.maps["system_gain_dn_per_e"])),
        "gain_before": measured.gain_ratio * GAIN,
        "read_noise_e": float(np.mean(measured.maps["read_noise_e"])),
        "defects": float(np.count_nonzero(measured.defects.mask)),
    }


def run_fit(folder: Path, *options: str) -> dict[str, float]:
    """`calibrate fit` as a user runs it, start of the interpreter and writing of the files included."""
    import resource

    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        target = Path(out) / "sensor.yaml"
        command = [sys.executable, "-m", "calibrate.cli", "fit", str(folder), "-o", str(target), "-q", *options]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        text = target.read_text(encoding="utf-8")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    gain = float(text.split("system_gain_dn_per_e", 1)[1].split("value:", 1)[1].split(",", 1)[0].split("\n", 1)[0])
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "MB": usage.ru_maxrss / 1024,
        "gain": gain,
    }


def run_arrays(folder: Path) -> dict[str, float]:
    """Offset, dark current, read noise, response and gain with whole float64 frames."""
    import csv

    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    levels: dict[tuple[str, str], list[str]] = {}
    exposure: dict[tuple[str, str], float] = {}
    for row in rows:
        levels.setdefault((row["kind"], row["level"]), []).append(row["path"])
        exposure[row["kind"], row["level"]] = float(row["exposure_s"])
    started, processor = time.perf_counter(), time.process_time()
    points: dict[str, list[tuple[float, np.ndarray, np.ndarray]]] = {"dark": [], "bright": []}
    for (kind, level), names in levels.items():
        frames = np.stack([np.load(folder / name).astype(np.float64) for name in names])
        points[kind].append((exposure[kind, level], frames.mean(axis=0), frames.var(axis=0, ddof=1)))
    t = np.array([p[0] for p in points["dark"]])
    share = (t - t.mean()) / np.sum((t - t.mean()) ** 2)
    rate = sum(w * m for w, (_, m, _) in zip(share, points["dark"], strict=True))
    offset = sum(m for _, m, _ in points["dark"]) / t.size - rate * t.mean()
    still = sum(v for _, _, v in points["dark"]) / t.size - GAIN * rate * t.mean() - 1 / 12
    read = np.sqrt(np.maximum(still, 0)) / GAIN
    signal = [float(m.mean()) - OFFSET_DN for _, m, _ in points["bright"]]
    response = sum(m - offset for _, m, _ in points["bright"]) / sum(signal) - 1
    weights = [1 / (GAIN * s + 1) ** 2 for s in signal]
    top = sum(w * (v - still) * s for w, s, (_, _, v) in zip(weights, signal, points["bright"], strict=True))
    gain = top / sum(w * s * s for w, s in zip(weights, signal, strict=True)) / (1 + response)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
        "gain": float(gain.mean()),
        "read_noise_e": float(read.mean()),
    }


def run_polyfit(folder: Path) -> dict[str, float]:
    """`numpy.polyfit` of variance over mean for each of 20,000 pixels: seconds for all pixels of a frame."""
    stacks = []
    for path in sorted(folder.glob("bright_*_00.npy")):
        pair = [np.load(path).ravel()[:20_000], np.load(path.with_name(path.name.replace("_00.", "_01."))).ravel()]
        stacks.append(np.stack([pair[0], pair[1][:20_000]]).astype(np.float64))
    mean = np.array([stack.mean(axis=0) for stack in stacks])
    variance = np.array([stack.var(axis=0, ddof=1) for stack in stacks])
    n_pixels = np.load(next(folder.glob("bright_*_00.npy")), mmap_mode="r").size
    started = time.perf_counter()
    slopes = [np.polyfit(mean[:, k], variance[:, k], 1)[0] for k in range(mean.shape[1])]
    seconds = (time.perf_counter() - started) * n_pixels / mean.shape[1]
    return {"seconds": seconds, "processor_seconds": seconds, "gain": float(np.mean(slopes))}


RUNS = {"maps": run_maps, "fit": lambda f: run_fit(f, "--maps"), "plain fit": lambda f: run_fit(f, "--no-maps"),
        "arrays": run_arrays, "polyfit": run_polyfit}  # fmt: skip


def measure(name: str, folder: Path) -> dict[str, float]:
    """One run in a fresh process, with its largest resident set."""
    code = (
        "import json, resource, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "import benchmark_pixel_maps as b; from calibrate.plumbing.progress import set_quiet; set_quiet(True); "
        "out = b.RUNS[sys.argv[2]](Path(sys.argv[3])); "
        "out.setdefault('MB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024); print(json.dumps(out))"
    )
    here = str(Path(__file__).resolve().parent)
    done = subprocess.run(
        [sys.executable, "-c", code, here, name, str(folder)], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(title: str, names: tuple[str, ...], folder: Path, n_pixels: int) -> None:
    """Print one line a run, and each run's time over ours."""
    print(f"\n{title}")
    print(f"  {'run':<12}{'seconds':>9}{'cpu s':>9}{'us/pixel':>10}{'MB':>8}{'ratio':>8}   results")
    first: float | None = None
    for name in names:
        out = measure(name, folder)
        seconds = out.pop("seconds")
        first = seconds if first is None else first
        processor, memory = out.pop("processor_seconds"), out.pop("MB")
        results = ", ".join(f"{key} {value:.6g}" for key, value in out.items())
        figures = f"{seconds:>9.2f}{processor:>9.2f}{1e6 * seconds / n_pixels:>10.3f}{memory:>8.0f}"
        print(f"  {name:<12}{figures}{seconds / first:>8.1f}   {results}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", choices=["maps", "fit"], help="one of the two parts")
    parser.add_argument("--folder", type=Path, help="where the frames are written (default: the system's)")
    parser.add_argument("--quarter", action="store_true", help="a quarter of the pixels, for a quick look")
    parser.add_argument("--seed", type=int, default=20240)
    arguments = parser.parse_args()
    side = 2 if arguments.quarter else 1
    place = Path(tempfile.mkdtemp(prefix="photonbits_maps_", dir=arguments.folder))
    try:
        if arguments.only in (None, "maps"):
            shape = (2048 // side, 2048 // side)
            folder = place / "maps"
            folder.mkdir()
            write_frames(folder, shape, 12, 0, arguments.seed)
            names = ("maps", "arrays", "polyfit")
            report(f"maps alone: {shape[0]} x {shape[1]}, 12 levels of 2 + 2", names, folder, shape[0] * shape[1])
            shutil.rmtree(folder)
        if arguments.only in (None, "fit"):
            shape = (1080 // side, 1920 // side)
            folder = place / "fit"
            folder.mkdir()
            write_frames(folder, shape, 50, 16, arguments.seed)
            names = ("fit", "plain fit", "polyfit")
            report(f"whole fit: {shape[0]} x {shape[1]}, 232 frames", names, folder, shape[0] * shape[1])
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
