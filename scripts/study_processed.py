"""How often frames are doubted: honest frames of many kinds (false alarms), wrong models, and processed frames."""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from scipy import ndimage

from calibrate import NoiseModel
from calibrate.plumbing.tables import format_table
from mi_eval.frame_source import frames_from_array
from mi_eval.processed import noise_check

SHAPE = (6, 128, 128)


def camera(**changes):
    values = {"system_gain_dn_per_e": 0.5, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12} | changes
    return NoiseModel.from_parameters(**values)


def dead_leaves(rng, mean_e, texture=0.1, shape=SHAPE):
    """Rectangles that hide each other, with smooth texture."""
    light = np.ones(shape)
    _, height, width = shape
    for frame in light:
        for _ in range(25):
            top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
            part = frame[top : top + rng.integers(4, height), left : left + rng.integers(4, width)]
            part[:] = rng.uniform(0.3, 1.8) * np.exp(0.2 * rng.standard_normal())
    soft = ndimage.gaussian_filter(rng.standard_normal(shape), (0, 2.5, 2.5))
    return mean_e * light * np.exp(texture * soft / soft.std())


SCENES = {
    "leaves": lambda rng, mean: dead_leaves(rng, mean),
    "leaves, untextured": lambda rng, mean: dead_leaves(rng, mean, 0.0),
    "flat": lambda rng, mean: np.full(SHAPE, mean),
    "ramp": lambda rng, mean: np.broadcast_to(mean * np.linspace(0.2, 1.8, SHAPE[2]), SHAPE),
    "white texture": lambda rng, mean: rng.gamma(4.0, mean / 4, SHAPE),
    "two levels": lambda rng, mean: np.where(rng.random(SHAPE) < 0.2, 3 * mean, 0.5 * mean),
    "blurred field": lambda rng, mean: mean * np.exp(0.4 * field(rng)),
    "sparse dots": lambda rng, mean: mean * (0.2 + 40 * (rng.random(SHAPE) < 0.01)),
    "checks of 2 px": lambda rng, mean: mean * (1 + 0.5 * np.where(np.indices(SHAPE)[1:].sum(axis=0) // 2 % 2, 1, -1)),
}


def field(rng):
    soft = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (0, 4, 4))
    return soft / soft.std()


def with_maps(**changes):
    rng = np.random.default_rng(99)
    return camera(
        maps={
            "offset_dn": 100.0 + 2.0 * rng.standard_normal(SHAPE[1:]),
            "read_noise_e": 2.0 * np.exp(0.4 * rng.standard_normal(SHAPE[1:])),
        },
        **changes,
    )


def mosaic():
    models = {n: camera(system_gain_dn_per_e=k) for n, k in (("R", 0.4), ("Gr", 0.5), ("Gb", 0.5), ("B", 0.7))}
    return NoiseModel.from_channels(models, "RGGB", shape=SHAPE[1:])


CAMERAS = {
    "usual": (camera(), 100.0),
    "bright, 14 bit": (camera(system_gain_dn_per_e=1.0, bit_depth=14), 3000.0),
    "dim": (camera(system_gain_dn_per_e=1.0), 3.0),
    "very dim": (camera(system_gain_dn_per_e=1.0, read_noise_e=0.3), 0.7),
    "counting": (camera(kind="poisson", system_gain_dn_per_e=1.0, read_noise_e=0.0, offset_dn=0.0), 4.0),
    "coarse codes": (camera(system_gain_dn_per_e=0.1), 100.0),
    "bent": (camera(response={"coefficients": [-0.1], "scale_dn": 200.0}), 150.0),
    "maps": (with_maps(), 60.0),
    "mosaic": (mosaic(), 60.0),
    "clipping": (camera(bit_depth=8, offset_dn=20.0), 250.0),
    "no offset": (camera(offset_dn=0.0), 20.0),
    "gaussian": (camera(kind="gaussian", read_noise_e=10.0), 100.0),
}


def smoothed(width):
    return lambda z, rng: np.round(ndimage.gaussian_filter(z.astype(float), (0, width, width)))


def demosaiced(z, rng):
    place = np.indices(z.shape[1:]).sum(axis=0) % 2 == 0
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    return np.where(place, z, np.round(np.stack([ndimage.convolve(f * place.astype(float), ring) for f in z])))


PROCESSED = {
    "median 3 x 3": lambda z, rng: ndimage.median_filter(z, (1, 3, 3)),
    "Gaussian 0.4 px": smoothed(0.4),
    "Gaussian 0.7 px": smoothed(0.7),
    "green demosaiced": demosaiced,
    "mean of 4 frames": None,
    "resized by 0.7": lambda z, rng: np.round(ndimage.zoom(z.astype(float), (1, 0.7, 0.7), order=1)),
    "sharpened": lambda z, rng: np.clip(np.round(2 * z - ndimage.gaussian_filter(z.astype(float), (0, 1, 1))), 0, 4095),
    "NL means": lambda z, rng: np.stack([_nl_means(f) for f in z]),
}


def _nl_means(frame):
    from skimage.restoration import denoise_nl_means

    return np.round(denoise_nl_means(frame.astype(float), h=12.0, sigma=8.0, fast_mode=True))


WRONG = {
    "gain + 10 %": {"system_gain_dn_per_e": 0.55},
    "gain - 10 %": {"system_gain_dn_per_e": 0.45},
    "gain x 2": {"system_gain_dn_per_e": 1.0},
    "read noise x 2": {"read_noise_e": 4.0},
    "read noise x 4": {"read_noise_e": 8.0},
    "read noise / 2": {"read_noise_e": 1.0},
    "pure Poisson": {"kind": "poisson", "read_noise_e": 0.0},
    "pure Gaussian": {"kind": "gaussian", "read_noise_e": 10.0},
    "offset + 1 DN": {"offset_dn": 101.0},
}


def check(codes, model, seed):
    return noise_check(frames_from_array(codes), model, seed=seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args().seeds)
    alarms, runs, worst = Counter(), 0, []
    for name, (model, mean_e) in CAMERAS.items():
        for kind, make in SCENES.items():
            found = []
            for seed in seeds:
                rng = np.random.default_rng([seed, 17])
                found.append(check(model.sample(np.array(make(rng, mean_e)), rng), model, seed))
                runs += 1
                for doubt in found[-1].doubts():
                    alarms[doubt.code, name, kind] += 1
            worst.append((min(f.quiet_ratio for f in found), name, kind))
    print(f"Honest frames: {runs} runs, {sum(alarms.values())} doubts: {dict(alarms)}")
    print("lowest quiet ratios:", sorted(worst)[:5])
    rows = []
    usual = camera()
    for title, scene in (("leaves", SCENES["leaves"]), ("flat", SCENES["flat"])):
        for mean_e in (10.0, 100.0):
            for name, changes in WRONG.items():
                rows.append(row(f"{title}, {mean_e:g} e-", name, scene, mean_e, camera(**changes), None, seeds))
            for name, change in PROCESSED.items():
                rows.append(row(f"{title}, {mean_e:g} e-", name, scene, mean_e, usual, (name, change), seeds))
    print(format_table(["frames", "what is wrong", "quiet", "flat", "phase", "doubts (runs)"], rows, align="llrrrl"))


def row(title, name, scene, mean_e, model, process, seeds):
    found, codes = [], Counter()
    for seed in seeds:
        rng = np.random.default_rng([seed, 23])
        light = np.array(scene(rng, mean_e))
        z = camera().sample(light, rng)
        if process is not None and process[1] is None:
            z = np.round(np.mean([camera().sample(light, rng) for _ in range(4)], axis=0))
        elif process is not None:
            z = process[1](z, rng)
        found.append(check(z.astype(np.uint16), model, seed))
        codes.update(doubt.code for doubt in found[-1].doubts())
    ratios = [np.mean([getattr(f, key) for f in found]) for key in ("quiet_ratio", "flat_ratio", "phase_ratio")]
    said = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
    return [title, name, *(f"{r:.2f}" for r in ratios), said]


if __name__ == "__main__":
    main()
