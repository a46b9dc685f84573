"""The score of a mosaic of four channels with different gains, against its true information.

    python scripts/study_mosaic.py [--seeds 10] [--frames 48] [--side 128]

Every pixel's light is drawn afresh from the law of its colour (gamma of order 4, another mean for each colour) and
measured by the camera of its channel (other gain, offset and read noise for each). The information per pixel of the
mosaic is then the mean over the channels of that of one pixel, which is a quadrature over the law of light.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import stats

from calibrate import NoiseModel
from calibrate.plumbing.progress import set_quiet
from mi_eval import estimate_information

CHANNELS = {  # gain DN/e-, offset DN, read noise e-, mean light e-
    "R": (0.3, 90.0, 3.0, 60.0),
    "Gr": (0.5, 100.4, 2.5, 200.0),
    "Gb": (0.52, 104.0, 2.5, 200.0),
    "B": (0.9, 130.0, 4.0, 30.0),
}


def mosaic(side: int) -> NoiseModel:
    """A camera with a Bayer mosaic whose channels differ."""
    models = {
        name: NoiseModel.from_parameters(system_gain_dn_per_e=k, offset_dn=b, read_noise_e=r, bit_depth=12)
        for name, (k, b, r, _) in CHANNELS.items()
    }
    return NoiseModel.from_channels(models, "RGGB", shape=(side, side))


def pixel_information_bits(model: NoiseModel, mean_e: float) -> float:
    """I(Y;Z) of one pixel under gamma(4) light, by quadrature over 20,000 equally likely charges."""
    share = (np.arange(20_000) + 0.5) / 20_000
    table = model.code_table(stats.gamma(4, scale=mean_e / 4).ppf(share))
    marginal = np.asarray(table.pmf.mean(axis=0)).ravel()
    marginal = marginal[marginal > 0]
    return float(-(marginal @ np.log2(marginal)) - table.entropies_bits().mean())


def shoot(model: NoiseModel, frames: int, side: int, seed: int) -> np.ndarray:
    """Frames of independent pixels."""
    rng = np.random.default_rng(seed)
    light = np.empty((frames, side, side))
    for name, section in model.channel_layout.sections.items():
        part = light[(slice(None), *section.index)]
        part[:] = rng.gamma(4.0, CHANNELS[name][3] / 4, part.shape)
    return model.sample(light, rng)


def main() -> None:
    """Run the study and print a line a seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--side", type=int, default=128)
    arguments = parser.parse_args()
    set_quiet(True)
    clock = time.process_time()
    model = mosaic(arguments.side)
    own = {name: pixel_information_bits(model.channel(name), CHANNELS[name][3]) for name in CHANNELS}
    truth = float(np.mean(list(own.values())))
    print("truth, bit/px: " + ", ".join(f"{name} {bits:.4f}" for name, bits in own.items()) + f"; mosaic {truth:.4f}")
    differences, inside = [], 0
    for seed in range(arguments.seeds):
        frames = shoot(model, arguments.frames, arguments.side, seed)
        found = estimate_information(frames, model, per_channel=seed == 0, density="closed-form")
        information = found.mutual_information_bits_per_pixel
        low, high = information.ci95
        inside += low <= truth <= high
        differences.append(information.value - truth)
        print(f"seed {seed}: {information.value:.4f} ({low:.4f} to {high:.4f}), {differences[-1]:+.4f}", flush=True)
        for name, channel in found.channels.items():
            bits = channel.mutual_information_bits_per_pixel
            print(f"    {name:2s} {bits.value:.4f} ({bits.std:.4f}), {bits.value - own[name]:+.4f}", flush=True)
    worst = max(differences, key=abs)
    print(f"mean {np.mean(differences):+.4f}, worst {worst:+.4f}, inside {inside} of {len(differences)} intervals")
    print(f"{time.process_time() - clock:.0f} CPU s")


if __name__ == "__main__":
    main()
