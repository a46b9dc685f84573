"""Designs by information against optics trained together with a decoder: result, time and memory.

    python scripts/study_end_to_end.py [--system mask] [--seeds 0] [--level 100] [--starts 128]

`mask`: a coded aperture before cells, 28 x 28 pixels, at so many electrons per pixel. `kspace`: the time of a scan of
head-like slices of 28 x 28 voxels, at such a contrast-to-noise ratio. Each side runs in a process of its own. The
information side is a race of many starts on the surrogate, of which three ascents go on (a scan: three ascents), then
the same U-Net trained on frames of the finished design; the other side trains both together. Either training has fresh
noise in every epoch and stops when validation has not improved for 5 epochs. Both are tested on the same new objects.
The joint training stops later, as the moving optics go on improving validation: so the network is also trained anew on
the finished design of either side, for as many epochs as the joint training took, the best of which is kept.
Then the design of either side gets the default decoder, trained anew, so that the optics alone are compared; and with
it the designed mask, moved into a corner of its frame, which has the same information on the torus.
At last all designs are audited (400 frames, patches of 8 x 8), and valued by the surrogate on the same objects.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

#: In a process each: this one stays small, as a process begins with the peak memory of the one that starts it.
SIDES = ("imports", "information", "together", "retrained", "audited", "as_long")
#: System: level that it is run at where none is given.
LEVELS = {"mask": 100.0, "kspace": 1.0}
#: Starts of the ascent. That of a scan is concave in the times; a mask's has many optima, and one start in 16 to 48
#: led to the best of them (seeds 10 to 13).
STARTS = {"mask": 128, "kspace": None}
#: Most readings of one location of k-space.
LONGEST_TIME = 8.0


def make_problem(system: str, level: float) -> Any:
    from calibrate import NoiseModel
    from mi_eval.design import DesignProblem
    from mi_eval.objects import make_prior
    from mi_eval.systems import CodedAperture, KSpaceSampling

    if system == "kspace":
        evenly = KSpaceSampling((28, 28), 1.0, LONGEST_TIME).independent_locations
        scan = KSpaceSampling((28, 28), float(evenly), LONGEST_TIME)
        receiver = NoiseModel.from_parameters(kind="gaussian", system_gain_dn_per_e=1.0, read_noise_e=1.0)
        return DesignProblem(scan, make_prior("phantoms", {"ellipses": 6, "largest": 0.8}), receiver, rms_e=level)
    sensor = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    cells = make_prior("cells", {"radius_px": 4.0})
    return DesignProblem(CodedAperture((32, 32), (5, 5), margin_px=2), cells, sensor, mean_light_e=level)


def settings(seed: int) -> Any:
    from mi_eval.downstream import EvaluationSettings

    return EvaluationSettings(training_frames=800, validation_frames=200, test_frames=500, seeds=(seed,))


def score_of(problem: Any, design: Any, decoder: Any, seed: int, trained: Any) -> tuple[float, float]:
    """PSNR on the test objects, and its standard error, of a decoder that is trained already."""
    from mi_eval.downstream import Setting
    from mi_eval.downstream.evaluate import examples
    from mi_eval.downstream.reconstruction import PSNR

    test = examples(design, problem, decoder, settings(seed), seed)[2]
    rows = decoder.score(trained.decode(test.frames), test, Setting(design, problem))[PSNR.name]
    return PSNR.value(rows), PSNR.std(rows)


def imports_side(system: str, seed: int, level: float, path: Path) -> dict[str, Any]:
    """What a process holds before it does anything: the packages, and a first step of a tiny network."""
    import mi_eval.design.optimise
    import mi_eval.downstream.evaluate  # noqa: F401
    from mi_eval.downstream.end_to_end import peak_memory_mb
    from mi_eval.downstream.unet import make_network
    from mi_eval.torch_extra import torch

    make_problem(system, level)
    network = make_network(1, 1, 2, 0)
    network(torch.zeros(1, 1, 8, 8)).sum().backward()
    torch.optim.Adam(network.parameters()).step()
    return {"peak_memory_mb": peak_memory_mb()}


def ascent(system: str, seed: int, starts: int | None) -> Any:
    """How the information side looks for its design."""
    from mi_eval.design.optimise import OptimiserSettings

    return OptimiserSettings(objective="spectral", steps=200, restarts=3, starts=starts, seed=seed)


def information_side(system: str, seed: int, level: float, path: Path, starts: int | None) -> dict[str, Any]:
    from mi_eval.design import optimise
    from mi_eval.downstream.end_to_end import peak_memory_mb, train_end_to_end

    problem = make_problem(system, level)
    found = optimise(problem, ascent(system, seed, starts))
    found.after.save(path)
    # The same network, noise drawn anew in every epoch, and the same rule when to stop; the optics are held.
    joint = joint_settings(seed, design_rate=0.0)
    decoded = train_end_to_end(problem, joint, start=found.after)
    value, std = score_of(problem, found.after, joint.decoder, seed, decoded.trained)
    return {
        "design_seconds": found.cpu_seconds,
        "decoder_seconds": decoded.cpu_seconds,
        "design_memory_mb": found.peak_memory_mb,
        "peak_memory_mb": peak_memory_mb(),
        "epochs": len(decoded.history),
        "psnr_db": value,
        "psnr_std_db": std,
    }


def joint_settings(seed: int, design_rate: float, epochs: int | None = None) -> Any:
    """How a decoder is trained, alone or with the optics; for this many epochs if given, else until it stops."""
    from mi_eval.downstream import UNet
    from mi_eval.downstream.end_to_end import EndToEndSettings

    asked = settings(seed)
    return EndToEndSettings(
        UNet(linear_start=False, ssim=False),
        training_objects=asked.training_frames,
        validation_objects=asked.validation_frames,
        design_rate=design_rate,
        seed=seed,
        **({} if epochs is None else {"most_epochs": epochs, "patience": epochs}),
    )


def together_side(system: str, seed: int, level: float, path: Path) -> dict[str, Any]:
    from mi_eval.downstream.end_to_end import peak_memory_mb, train_end_to_end

    problem = make_problem(system, level)
    joint = joint_settings(seed, design_rate=0.05)
    found = train_end_to_end(problem, joint)
    found.design.save(path)
    value, std = score_of(problem, found.design, joint.decoder, seed, found.trained)
    return {
        "seconds": found.cpu_seconds,
        "peak_memory_mb": peak_memory_mb(),  # the test included, as on the other side
        "epochs": len(found.history),
        "stopped": found.stopped,
        "psnr_db": value,
        "psnr_std_db": std,
    }


def as_long_side(system: str, seed: int, level: float, path: Path, epochs: int) -> dict[str, Any]:
    """The network of the joint training, trained anew on either design for so many epochs."""
    from mi_eval.downstream.end_to_end import train_end_to_end

    problem, found = make_problem(system, level), {}
    for name, design in designs_of(problem, seed, path).items():
        if name != "conventional":
            joint = joint_settings(seed, 0.0, epochs)
            trained = train_end_to_end(problem, joint, start=design).trained
            found[name] = score_of(problem, design, joint.decoder, seed, trained)
    return {"psnr_db": found}


def run_side(
    side: str, system: str, seed: int, level: float, path: Path, starts: int | None, epochs: int | None = None
) -> dict[str, Any]:
    """A side in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--system", system, "--seeds", str(seed)]
    command += ["--level", str(level), "-o", str(path), *([] if starts is None else ["--starts", str(starts)])]
    command += [] if epochs is None else ["--epochs", str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def retrained_side(system: str, seed: int, level: float, path: Path) -> dict[str, Any]:
    """The default decoder, trained anew on either design, and the difference on the same test objects."""
    from mi_eval.downstream import UNet, evaluate_designs
    from mi_eval.systems import SystemDesign

    problem = make_problem(system, level)
    designs = designs_of(problem, seed, path)
    if system == "mask":
        mask = designs["information"].parameters["transmission"]
        rows, columns = (np.flatnonzero(mask.max(axis=axis) > 0.01)[0] for axis in (1, 0))
        corner = np.roll(mask, (-int(rows), -int(columns)), axis=(0, 1))
        designs["information, in a corner"] = SystemDesign(problem.system, {"transmission": corner})
    evaluation = evaluate_designs(designs, problem, UNet(ssim=False), settings(seed))
    apart = evaluation.difference("information", "together")
    return {
        "psnr_db": {name: [outcome.value, outcome.std] for name, outcome in evaluation.outcomes().items()},
        "information_less_together_db": [apart.value, apart.std],
    }


def designs_of(problem: Any, seed: int, path: Path) -> dict[str, Any]:
    """The saved designs of both sides, and the conventional one."""
    from mi_eval.systems import SystemDesign

    found = {side: SystemDesign.load(path.parent / f"{side}-{seed}.npz") for side in SIDES[1:3]}
    first = problem.system.start("conventional", np.random.default_rng(0))
    return {**found, "conventional": SystemDesign.of(problem.system, first)}


def audited_side(system: str, seed: int, level: float, path: Path) -> dict[str, Any]:
    """Information of the designs by the audit, and by the surrogate on the objects of the ascent, bits per pixel."""
    from mi_eval.design import audit_design
    from mi_eval.design.audit import AuditSettings

    problem = make_problem(system, level)
    surrogate = ascent(system, seed, None).objective_for(problem, seed)
    found = {}
    for name, design in designs_of(problem, seed, path).items():
        audit = audit_design(design, problem, AuditSettings(frames=400, patch_size=8, seed=7))
        found[name] = {"surrogate": surrogate.report(design.tensors()), "audit": audit.value, "ci95": audit.ci95}
        if system == "mask":
            found[name]["open_cells"] = float(design.parameters["transmission"].sum())
    return found


def show(system: str, seed: int, level: float, folder: Path, starts: int | None) -> None:
    """Run all sides for one seed and print what they took and reached."""
    paths = {side: folder / f"{side}-{seed}.npz" for side in SIDES}
    held, info, joint, again, audited = (
        run_side(side, system, seed, level, path, starts) for side, path in paths.items() if side != "as_long"
    )
    as_long = run_side("as_long", system, seed, level, paths["as_long"], starts, joint["epochs"])
    both = info["design_seconds"] + info["decoder_seconds"]
    print(f"{system}, seed {seed}, level {level:g}")
    stop = "stopped" if joint["stopped"] else "ran out of epochs"
    print(
        f"  together: {joint['psnr_db']:.3f} dB +- {joint['psnr_std_db']:.3f}, {joint['seconds']:.1f} CPU s, "
        f"{joint['peak_memory_mb']:.0f} MiB, {joint['epochs']} epochs ({stop})"
    )
    print(
        f"  information: {info['psnr_db']:.3f} dB +- {info['psnr_std_db']:.3f}, design "
        f"{info['design_seconds']:.1f} CPU s and {info['design_memory_mb']:.0f} MiB, "
        f"with decoder {both:.1f} CPU s and {info['peak_memory_mb']:.0f} MiB, {info['epochs']} epochs"
    )
    # 20 log10 of a ratio of root mean squared errors is the difference in dB.
    error = 10 ** ((joint["psnr_db"] - info["psnr_db"]) / 20)
    print(f"  root mean squared error, information over together: {error:.4f}")
    for what, seconds, memory in (
        ("design alone", info["design_seconds"], info["design_memory_mb"]),
        ("design and decoder", both, info["peak_memory_mb"]),
    ):
        base = held["peak_memory_mb"]
        above, over = memory - base, joint["peak_memory_mb"] - base
        print(
            f"  {what} over together: time {seconds / joint['seconds']:.3f}, "
            f"peak memory {memory / joint['peak_memory_mb']:.3f}, above the {base:.0f} MiB of imports "
            f"{above:.0f} of {over:.0f} MiB, {above / over:.3f}"
        )
    for name, (value, std) in as_long["psnr_db"].items():
        ratio = 10 ** ((joint["psnr_db"] - value) / 20)
        print(
            f"  own decoder trained for {joint['epochs']} epochs, {name}: {value:.3f} dB +- {std:.3f}, "
            f"root mean squared error over together {ratio:.4f}"
        )
    for name, (value, std) in again["psnr_db"].items():
        print(f"  default decoder trained anew, {name}: {value:.3f} dB +- {std:.3f}")
    apart, std = again["information_less_together_db"]
    print(f"  information less together: {apart:+.3f} dB +- {std:.3f}")
    for name, entry in audited.items():
        cells = f", {entry['open_cells']:.2f} open cells" if "open_cells" in entry else ""
        low, high = entry["ci95"]
        print(
            f"  {name}: surrogate {entry['surrogate']:.4f} bit/px, audit {entry['audit']:.4f} "
            f"({low:.4f} to {high:.4f}){cells}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--system", choices=tuple(LEVELS), default="mask")
    parser.add_argument(
        "--level", type=float, help="electrons per pixel of the mean object, or contrast-to-noise ratio"
    )
    parser.add_argument("--starts", type=int, help="starts of the race for the design; 128 for masks, none for scans")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=None, help="folder for the designs")
    options = parser.parse_args()
    starts = STARTS[options.system] if options.starts is None else options.starts
    if options.side:
        run: Any = {
            "imports": imports_side,
            "information": partial(information_side, starts=starts),
            "together": together_side,
            "retrained": retrained_side,
            "audited": audited_side,
            "as_long": partial(as_long_side, epochs=options.epochs),
        }[options.side]
        print(json.dumps(run(options.system, options.seeds[0], options.level, options.output)))
        return
    began = time.perf_counter()
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        folder = options.output or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            show(options.system, seed, options.level or LEVELS[options.system], folder, starts)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
