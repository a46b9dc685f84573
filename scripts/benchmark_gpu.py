"""Networks on the GPU beside the CPU: seconds, and held-out code length beside what the source's law allows.

    python scripts/benchmark_gpu.py [CASE ...] [--patches 5000] [--seed 0] [--devices cpu cuda] [--budget 1]
        [--cpu-share 0.05] [--score DENSITY] [--json FILE]

Cases `ising`, `templates-64` and `scale-mixture` are sources of known information, 16 x 16 pixels a patch. The others
have no known law: `photographs` are tiles of 16 x 16, none overlapping, of four photographs (scikit-image) at 30
electrons; `two-level` are 2 or 14 electrons where a smooth random field is below or above 0, 64 x 64 pixels a patch and
an eighth as many patches. Half of the patches train, a tenth chooses, the rest is coded. Both networks stand on one
scale mixture ("base"), which is fitted before; their seconds hold features and training ("fit"), and the codes.
"gap" is the code length less -log2 p(z) of the same patches, bits per pixel, with the standard error over patches: what
the network loses to the true law.

`--budget` scales the pixel visits of every fit. The gated PixelCNN would take long on a CPU: there it gets the share
`--cpu-share` of them, its seconds of fitting are scaled up, marked ~, and its code length is left out. `--score` makes
whole scores of the sources of known information instead, with this `density`, on the last of the devices.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from scipy.ndimage import gaussian_filter

from calibrate.plumbing.progress import set_quiet
from mi_eval.density import PatchSet
from mi_eval.density.camera_cells import CameraCells
from mi_eval.density.network.causal import CausalNetwork
from mi_eval.density.network.device import VARIABLE
from mi_eval.density.network.gated_pixelcnn import GatedPixelCNN
from mi_eval.density.network.training import Schedule
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture
from mi_eval.estimate import estimate_information
from mi_eval.frame_source import frames_from_array
from mi_eval.heldout import Density
from mi_eval.measurements import cut_patches
from mi_eval.pixel_classes import classify_pixels
from mi_eval.torch_extra import torch
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample

KNOWN = ("ising", "templates-64", "scale-mixture")
CASES = (*KNOWN, "photographs", "two-level")
Family = CausalNetwork | GatedPixelCNN
FAMILIES: tuple[Family, Family] = (CausalNetwork(), GatedPixelCNN())
#: The exact law of Ising images takes 6 ms a patch.
MOST_SURPRISES = 1000


@dataclass(frozen=True)
class Case:
    """Patches of one kind, dealt out, and -log2 p(z) of the first coded ones, bits per patch, where known."""

    name: str
    train: PatchSet
    validation: PatchSet
    test: PatchSet
    surprise: np.ndarray | None


def make_case(name: str, patches: int, seed: int, patch_size: int | None = None) -> Case:
    """Draw, and deal half, a tenth and the rest."""
    source = None
    if name in KNOWN:
        source = make_source(name)
        size, model = patch_size or 16, source.noise_model
        frames = draw_sample(source, patches=patches, patch_size=size, seed=seed).frames
    elif name == "photographs":
        size, model = patch_size or 16, make_source("ising").noise_model
        frames = model.sample(photographs(patches, size, seed), np.random.default_rng([seed, 1]))
    else:
        size, model = patch_size or 64, make_source("ising").noise_model
        frames = model.sample(two_level(max(patches // 8, 16), size, seed), np.random.default_rng([seed, 1]))
    cut = cut_patches(frames_from_array(frames), model, patch_size=size, seed=seed, max_patches=patches).patches
    cut = replace(cut, cells=CameraCells.of(model, classify_pixels(model)))
    order = np.random.default_rng([seed, 99]).permutation(cut.n_patches)
    train, validation, test = (
        cut.take(np.sort(part)) for part in np.split(order, [cut.n_patches // 2, 6 * cut.n_patches // 10])
    )
    surprise = None if source is None else np.asarray(source.surprise_bits(test.codes[:MOST_SURPRISES]))
    return Case(name, train, validation, test, surprise)


def two_level(count: int, size: int, seed: int) -> np.ndarray:
    """Light of a dark and a bright level, electrons."""
    rng = np.random.default_rng([seed, 7])
    fields = (gaussian_filter(rng.standard_normal((size, size)), 1.5, mode="wrap") for _ in range(count))
    return np.stack([np.where(field > 0, 14.0, 2.0) for field in fields])


def photographs(count: int, size: int, seed: int) -> np.ndarray:
    """Light of tiles of photographs, 30 electrons on average."""
    from mi_eval.objects import ImageSet

    tiles = []
    for image in (*ImageSet("camera").images(), *ImageSet("textures").images()):
        rows, columns = (side // size for side in image.shape)
        cut = image[: rows * size, : columns * size].reshape(rows, size, columns, size).swapaxes(1, 2)
        tiles.append(cut.reshape(-1, size, size) * (30.0 / image.mean()))
    every = np.concatenate(tiles)
    return every[np.random.default_rng([seed, 8]).permutation(len(every))[:count]]


def shared(schedule: Schedule, share: float) -> Schedule:
    """A share of a budget."""
    return replace(schedule, pixel_visits=share * schedule.pixel_visits, most_epochs=share * schedule.most_epochs)


def measure(
    case: Case, family: Family, base: FittedScaleMixture, device: str, share: float, scale: float
) -> tuple[dict, np.ndarray]:
    """One fit, and its codes, bits per pixel; where ``scale`` is below 1 seconds are scaled up, and no code is told."""
    os.environ[VARIABLE] = device
    full, part = (shared(family.schedule, share * factor) for factor in (1.0, scale))
    steps, made = (one.steps(case.train.n_patches, case.train.n_pixels) for one in (full, part))
    start = time.perf_counter()
    fitted = replace(family, schedule=part).fit(case.train, case.validation, 0, base)
    fit_s = (time.perf_counter() - start) * steps / made
    start = time.perf_counter()
    lengths = fitted.code_length_bits(case.test) / case.test.n_pixels
    answer = {
        "case": case.name,
        "family": family.name,
        "device": device,
        "steps": steps,
        "steps_made": made,
        "fit_s": fit_s,
        "codes_s": time.perf_counter() - start,
        "head": fitted.head_reason,
    }
    return answer | (code_of(case, lengths) if scale == 1 else {}), lengths


def code_of(case: Case, lengths: np.ndarray) -> dict:
    """Code length, and the gap to the true law; bits per pixel."""
    answer = {"code_bits_per_pixel": float(lengths.mean())}
    if case.surprise is not None:
        gap = lengths[: case.surprise.size] - case.surprise / case.test.n_pixels
        answer["gap_bits_per_pixel"] = float(gap.mean())
        answer["gap_std_bits_per_pixel"] = float(gap.std(ddof=1) / np.sqrt(gap.size))
    return answer


def line(answer: dict) -> str:
    """One row of the table."""
    about = "~" if answer.get("steps") != answer.get("steps_made") else " "
    seconds = (f"{about}{answer[key]:.1f}" if key in answer else "" for key in ("fit_s", "codes_s"))
    code = f"{answer['code_bits_per_pixel']:.4f}" if "code_bits_per_pixel" in answer else ""
    gap = (
        f"{answer['gap_bits_per_pixel']:+.4f} +- {answer['gap_std_bits_per_pixel']:.4f}"
        if "gap_bits_per_pixel" in answer
        else ""
    )
    left = f"{answer['case']:<15}{answer['family']:<16}{answer.get('device', ''):<6}{answer.get('steps', ''):>6}"
    return left + "".join(f"{word:>9}" for word in seconds) + f"{code:>9}  {gap}"


def ratios(answers: list[dict]) -> list[str]:
    """CPU over GPU, a line for each case and network that has both."""
    found = {(a["case"], a["family"], a["device"]): a for a in answers if "device" in a}
    lines = []
    for (case, family, device), there in found.items():
        here = found.get((case, family, "cpu"))
        if device == "cpu" or here is None:
            continue
        words = [f"{name} {here[key] / there[key]:.1f}x" for name, key in (("fit", "fit_s"), ("codes", "codes_s"))]
        if "code_bits_per_pixel" in here:
            words.append(f"codes differ by {there['code_bits_per_pixel'] - here['code_bits_per_pixel']:+.5f} bit/px")
        lines.append(f"{case} {family}, CPU over {device}: {', '.join(words)}")
    for answer in answers:
        if "shorter_bits_per_pixel" in answer:
            shorter, std = answer["shorter_bits_per_pixel"], answer["shorter_std_bits_per_pixel"]
            lines.append(f"{answer['case']}: {FAMILIES[1].name} codes {shorter:+.4f} +- {std:.4f} bit/px shorter")
    return lines


def run(
    cases: Sequence[str],
    *,
    patches: int,
    seed: int,
    devices: Sequence[str],
    budget: float,
    cpu_share: float,
    patch_size: int | None = None,
    file: Path | None = None,
) -> list[dict]:
    """Measure everything; lines and the file grow with every fit."""
    answers: list[dict] = []

    def tell() -> None:
        print(line(answers[-1]), flush=True)
        keep()

    def keep() -> None:
        if file is not None:
            file.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")

    print(f"{'case':<15}{'density':<16}{'on':<6}{'steps':>6}{'fit [s]':>9}{'codes':>9}{'bit/px':>9}  gap", flush=True)
    for name in cases:
        case = make_case(name, patches, seed, patch_size)
        base = ScaleMixture().fit(case.train, case.validation, seed)
        bits = base.code_length_bits(case.test) / case.test.n_pixels
        answers.append({"case": name, "family": "base"} | code_of(case, bits))
        tell()
        coded = []
        for family in FAMILIES:
            for device in reversed(devices):
                slow = device == "cpu" and family is FAMILIES[1]
                answer, lengths = measure(case, family, base, device, budget, cpu_share if slow else 1.0)
                coded += [lengths] if device == devices[-1] and "code_bits_per_pixel" in answer else []
                answers.append(answer)
                tell()
        if len(coded) == 2:
            shorter = coded[0] - coded[1]
            answers[-1]["shorter_bits_per_pixel"] = float(shorter.mean())
            answers[-1]["shorter_std_bits_per_pixel"] = float(shorter.std(ddof=1) / np.sqrt(shorter.size))
            keep()
    print("\n".join(ratios(answers)), flush=True)
    return answers


def score(name: str, *, patches: int, seed: int, device: str, density: Density) -> None:
    """A whole score beside the truth."""
    os.environ[VARIABLE] = device
    source = make_source(name)
    frames = draw_sample(source, patches=patches, patch_size=16, seed=seed).frames
    wall, cpu = time.perf_counter(), time.process_time()
    found = estimate_information(
        frames, source.noise_model, patch_size=16, seed=seed, max_patches=patches, density=density
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    value = found.mutual_information_bits_per_pixel
    low, high = value.ci95
    error = value.value - source.information_bits(16).value
    print(f"{name}, score with density {density} on {device}, {wall:.0f} s, {cpu:.0f} CPU s:")
    print(f"  {value.value:.4f} ({low:.4f} to {high:.4f}), error {error:+.4f}, slack {found.slack_bits_per_pixel:.4f}")
    for model in found.models:
        print(f"  {model.name:<22}{model.heldout_bits_per_pixel:>9.4f}{model.weight:>7.3f}{model.seconds:>6.0f} CPU s")


def warm_up() -> None:
    """Let the GPU start, outside of all times, and say what it is."""
    case = make_case("ising", 64, 0, 8)
    start = time.perf_counter()
    for family in FAMILIES:
        replace(family, schedule=shared(family.schedule, 1e-3)).fit(case.train, case.validation, 0)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"{card}, torch {torch.__version__}, first fits {time.perf_counter() - start:.1f} s", flush=True)


def main() -> None:
    """Measure and print, a line for each fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", default=list(CASES))
    parser.add_argument("--patches", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"])
    parser.add_argument("--budget", type=float, default=1.0)
    parser.add_argument("--cpu-share", type=float, default=0.05)
    parser.add_argument("--score", choices=get_args(Density))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    set_quiet(True)
    warm_up()
    if given.score:
        for name in given.cases:
            score(name, patches=given.patches, seed=given.seed, device=given.devices[-1], density=given.score)
        return
    run(
        given.cases,
        patches=given.patches,
        seed=given.seed,
        devices=given.devices,
        budget=given.budget,
        cpu_share=given.cpu_share,
        file=given.json,
    )


if __name__ == "__main__":
    main()
