"""The optima of a mask: how many starts lead to the best, whether a race finds it, and what whole frames can carry.

    python scripts/study_mask_optima.py [--seeds 10 11 12 13] [--starts 48] [--errors] [--decoders 800 4000]

The mask of `study_end_to_end.py`. `--errors`: of the best mask (a block) and of the best scattered one, an upper bound
of the information of whole frames on the torus, under white Gaussian noise of their mean variance: half the integral of
the squared error of the noiseless frame over the signal-to-noise ratio (Guo, Shamai and Verdu 2005, theorem 1). The
estimate is the object's, imaged again: linear, and corrected by one network for all noise levels. The network of
either mask is trained alike, on objects that are not scored.
`--decoders`: the default decoder of both masks, taught so many frames.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from mi_eval.design import DesignProblem, optimise
from mi_eval.design.ascent import ascend, begin
from mi_eval.design.determinism import deterministic_torch
from mi_eval.downstream import EvaluationSettings, UNet, evaluate_designs
from mi_eval.downstream.unet import make_network
from mi_eval.systems import CodedAperture, SystemDesign
from mi_eval.torch_extra import Tensor, torch
from study_end_to_end import ascent, make_problem

LEVEL_E = 100.0
#: As good as the best: bits per pixel.
SAME_BITS = 1e-4
#: Lowest signal-to-noise ratio of an error integral, as a share of the frame's; below, the estimate is linear.
LOWEST_SHARE = 1e-3
PAD_PX = 8  # of the torus round a frame, for a network that knows no torus


def drawn(mask: Any) -> str:
    """Rows of a mask as text."""
    return "/".join("".join(".+#"[int(cell > 0.1) + int(cell > 0.9)] for cell in row) for row in mask)


def optima(seed: int, starts: int) -> tuple[SystemDesign, SystemDesign]:
    """All starts to their ends, and a race; the best design, and the best of 8 open cells or more."""
    problem, settings = make_problem("mask", LEVEL_E), ascent("mask", seed, None)
    with deterministic_torch():
        objective = settings.objective_for(problem, seed)
        ends = [
            ascend(problem.system, objective, begin(problem.system, seed, k), steps=settings.steps, learning_rate=1.0)
            for k in range(starts)
        ]
    raced = optimise(problem, ascent("mask", seed, 128))
    values = np.array([end.best_value for end in ends])
    best = ends[int(np.argmax(values))]
    wide = max((e for e in ends if e.best["transmission"].sum() >= 8), key=lambda e: e.best_value)
    cut = settings.steps // 8
    rank = int(np.sum([end.curve[cut] > best.curve[cut] for end in ends]))
    first = int(np.sum([end.curve[0] > best.curve[0] for end in ends]))
    print(
        f"seed {seed}: best {values.max():.4f} {drawn(best.best['transmission'])}, reached by "
        f"{int(np.sum(values > values.max() - SAME_BITS))} of {starts}; best of the first 3: {values[:3].max():.4f}; "
        f"its rank at the start {first}, after {cut} steps {rank}\n"
        f"  best of 8 cells or more {wide.best_value:.4f} {drawn(wide.best['transmission'])}\n"
        f"  race of 128: {raced.surrogate_after:.4f} {drawn(raced.after.parameters['transmission'])}, "
        f"{raced.cpu_seconds:.1f} CPU s",
        flush=True,
    )
    block = problem.system.centred(SystemDesign(problem.system, best.best).tensors())
    return SystemDesign.of(problem.system, block), SystemDesign(problem.system, wide.best)


class Frames:
    """Noisy frames of one mask on the torus, and both estimates of the noiseless ones."""

    def __init__(self, problem: DesignProblem, mask: Any, objects: Tensor) -> None:
        parameters = {"transmission": torch.from_numpy(np.array(mask))}
        self.transfer = problem.system.transfer(parameters)[0].to(torch.complex64)
        light = float(problem.system.forward(objects[:512].to(torch.float64)[:, None], parameters).mean())
        self.noise = float(problem.channel.noise_variance_e2(torch.tensor(light, dtype=torch.float64)))
        self.mean, self.spread = objects.mean(dim=0), float(objects.std())
        self.spectrum = (torch.abs(torch.fft.fft2(objects - self.mean)) ** 2).mean(dim=0) / self.mean.numel()
        self.power = torch.abs(self.transfer) ** 2 * self.spectrum

    def linear_bits(self, share: float = 1.0) -> float:
        """What the linear estimate's errors add up to, up to a share of the signal-to-noise ratio: the surrogate."""
        return float(0.5 * torch.log2(1 + share * self.power / self.noise).mean())

    def errors(self, network: Any, objects: Tensor, place: Tensor, generator: Any) -> Tensor:
        """Squared errors of frames, in units of the noise, (n,); places from 0 to 1 are even in log signal-to-noise."""
        share = torch.exp(np.log(LOWEST_SHARE) * (1 - place))[:, None, None]
        noise = self.noise / share
        clean = torch.fft.ifft2(torch.fft.fft2(objects - self.mean) * self.transfer).real
        seen = clean + torch.sqrt(noise) * torch.randn(clean.shape, generator=generator)
        gain = self.transfer.conj() * self.spectrum / (self.power + noise)
        linear = torch.fft.ifft2(torch.fft.fft2(seen) * gain).real
        level = (torch.log(share) / 3.5 + 1).expand_as(seen)
        inputs = torch.stack([linear / self.spread, seen / torch.sqrt(noise) / 2, level], dim=1)
        inputs = torch.nn.functional.pad(inputs, (PAD_PX,) * 4, mode="circular")
        found = linear + self.spread * network(inputs)[:, 0, PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
        again = torch.fft.ifft2(torch.fft.fft2(found) * self.transfer).real
        return ((again - clean) ** 2 / noise).mean(dim=(1, 2))


def error_bound(mask: Any, steps: int, seed: int = 0) -> tuple[float, float, float]:
    """Linear bound, network's bound and its standard error over frames, bits per pixel."""
    sensor = make_problem("mask", LEVEL_E).noise_model
    problem = DesignProblem(CodedAperture((32, 32), (5, 5)), cells(), sensor, mean_light_e=LEVEL_E)
    train, test = (problem.draw(n, np.random.default_rng(k)).to(torch.float32)[:, 0] for n, k in ((4000, 5), (1000, 6)))
    frames, network = Frames(problem, mask, train), make_network(3, 1, 16, seed)
    adam = torch.optim.Adam(network.parameters(), lr=4e-3)
    fall = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda k: min(1.0, (k + 1) / 50) * 0.5 * (1 + float(np.cos(np.pi * k / steps)))
    )
    generator = torch.Generator().manual_seed(seed + 1)
    for step in range(steps):
        objects = train[torch.randint(0, len(train), (16,), generator=generator)]
        objects = objects.flip(-1) if step % 2 else objects  # the objects have no handedness
        adam.zero_grad()
        frames.errors(network, objects, torch.rand(16, generator=generator), generator).mean().backward()
        adam.step()
        fall.step()
    places = (torch.arange(50) + 0.5) / 50
    with torch.no_grad():
        tested = torch.stack([frames.errors(network, test[k : k + 50], places, generator) for k in range(0, 1000, 50)])
    scale = 0.5 * -np.log(LOWEST_SHARE) / np.log(2)
    std = float((tested.std(dim=0) ** 2).mean() ** 0.5) / len(test) ** 0.5
    return frames.linear_bits(), frames.linear_bits(LOWEST_SHARE) + scale * float(tested.mean()), scale * std


def decoders(designs: tuple[SystemDesign, SystemDesign], seed: int, frames: int) -> None:
    """PSNR of the default decoder for both masks, taught so many frames."""
    settings = EvaluationSettings(training_frames=frames, validation_frames=200, test_frames=500, seeds=(seed,))
    named = {drawn(design.parameters["transmission"]): design for design in designs}
    found = evaluate_designs(named, make_problem("mask", LEVEL_E), UNet(ssim=False), settings).outcomes()
    for name, outcome in found.items():
        print(f"{name}: {frames} frames, {outcome.value:.3f} dB +- {outcome.std:.3f}", flush=True)


def cells() -> Any:
    return make_problem("mask", LEVEL_E).objects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13])
    parser.add_argument("--starts", type=int, default=48)
    parser.add_argument(
        "--errors", action="store_true", help="bounds by errors of whole frames, masks of the first seed"
    )
    parser.add_argument("--steps", type=int, default=1500, help="training steps of a network, of 16 frames")
    parser.add_argument("--decoders", type=int, nargs="+", default=[], help="training frames of the default decoder")
    options = parser.parse_args()
    began = time.process_time()
    found = [optima(seed, options.starts) for seed in options.seeds]
    for design in found[0] if options.errors else ():
        with deterministic_torch():
            linear, bound, std = error_bound(design.parameters["transmission"], options.steps)
        print(
            f"{drawn(design.parameters['transmission'])}: linear {linear:.4f}, network {bound:.4f} +- {std:.4f} bit/px",
            flush=True,
        )
    for frames in options.decoders:
        decoders(found[0], options.seeds[0], frames)
    print(f"{time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
