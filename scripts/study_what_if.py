"""How wrong are frames of an imagined camera, made from frames? Information against its truth, over many cases.

    python scripts/study_what_if.py [--pixels 1000000] [--seed 0] [--scored]

Light is gamma(4), every pixel for itself, so that the information of the imagined camera is exact by quadrature. Frames
of the source camera are drawn, made worse, and compared with the imagined camera's own law: what a score of infinitely
many such frames would say, mean[-log2 p(z)] - H(Z|Y) with p the imagined camera's law of codes, less the truth. The
error of this number is the chance of the draw. Divergence is that of the codes' law from p, in bits; predicted is what
the frames themselves say about their error (the imitation error of a sweep), without its limit.

With --scored two cases go all the way: 16 frames of 48 x 48, made worse and scored in patches of 8 x 8.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

LIGHT_SHAPE = 4.0


@dataclass(frozen=True)
class Case:
    """A source camera, mean light in electrons, and what is changed."""

    name: str
    light_e: float
    changes: dict
    camera: dict = field(default_factory=dict)
    repeats: int = 1


MONO = {"system_gain_dn_per_e": 0.35, "read_noise_e": 4.2}
SCMOS = {"system_gain_dn_per_e": 2.0, "read_noise_e": 1.0}
COARSE = {"system_gain_dn_per_e": 0.3, "read_noise_e": 1.6}
PHOTONS = {"system_gain_dn_per_e": 8.0, "read_noise_e": 0.1}
CASES = (
    *(Case("half the light", y, {"exposure_factor": 0.5}) for y in (2.0, 20.0, 200.0)),
    *(Case("tenth of the light", y, {"exposure_factor": 0.1}) for y in (2.0, 20.0, 200.0)),
    Case("0.9 of the light, r' 2.2 e-", 20.0, {"exposure_factor": 0.9, "read_noise_e": 2.2}),
    Case("half the light, r' 1.3 e-", 20.0, {"exposure_factor": 0.5, "read_noise_e": 1.3}),
    Case("half the light", 5.0, {"exposure_factor": 0.5}, SCMOS),
    Case("half the light", 20.0, {"exposure_factor": 0.5}, SCMOS),
    Case("read noise 6 e-", 50.0, {"read_noise_e": 6.0}, MONO),
    Case("10 bit", 400.0, {"bit_depth": 10}, MONO),
    Case("8 bit", 400.0, {"bit_depth": 8}, MONO),
    Case("twice the gain", 50.0, {"system_gain_dn_per_e": 0.7}, MONO),
    Case("half the light", 20.0, {"exposure_factor": 0.5}, COARSE),
    Case("half the light", 2.0, {"exposure_factor": 0.5}, PHOTONS),
    Case("full well 150 e-", 200.0, {"exposure_factor": 0.5, "full_well_e": 150.0}),
    Case("of 4 frames: r' 1.7 e-", 20.0, {"read_noise_e": 1.7}, {}, 4),
    Case("of 4 frames: twice the light", 20.0, {"exposure_factor": 2.0, "read_noise_e": 3.0}, {}, 4),
    # At and beyond the limit.
    Case("0.9 of the light", 20.0, {"exposure_factor": 0.9}),
    Case("0.9 of the light", 2.0, {"exposure_factor": 0.9}),
    Case("half the light, r' 1.1 e-", 2.0, {"exposure_factor": 0.5, "read_noise_e": 1.1}),
    Case("half the light", 1.0, {"exposure_factor": 0.5}, SCMOS),
    Case("half the light, r' 0.7 e-", 5.0, {"exposure_factor": 0.5, "read_noise_e": 0.7}, SCMOS),
    Case("read noise 1.5 e-", 20.0, {"read_noise_e": 1.5}),
)


def measure(case: Case, pixels: int, seed: int) -> dict:
    """Error of the information of made frames, its chance, divergence and prediction, bit/px."""
    import numpy as np

    from calibrate import NoiseModel
    from mi_eval.sweep import degrade
    from mi_eval.truth.independent import IndependentPixels
    from mi_eval.truth.laws import GammaLight

    given = {"system_gain_dn_per_e": 1.0, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12} | case.camera
    source = NoiseModel.from_parameters(**given)
    rng = np.random.default_rng([21, seed])
    # Light in equal steps of probability: its own chance is gone.
    light = GammaLight(LIGHT_SHAPE, case.light_e)
    charge = light.quantile(rng.permutation((np.arange(pixels) + 0.5) / pixels)).reshape(1, -1, 1000)
    frames = source.sample(np.repeat(charge, case.repeats, axis=0), rng)
    limit, degrade.LARGEST_ERROR_BITS = degrade.LARGEST_ERROR_BITS, float("inf")
    try:
        made = degrade.degrade_frames(frames, source, case.changes, repeats=case.repeats, seed=seed)
    finally:
        degrade.LARGEST_ERROR_BITS = limit
    imagined = IndependentPixels(
        "imagined", "", made.noise_model, GammaLight(LIGHT_SHAPE, case.light_e * made.charge_factor)
    )
    mass = imagined.code_masses()
    z = made.frames.ravel().astype(np.int64) - made.noise_model.camera.black_clip_dn
    surprise = -np.log2(np.maximum(mass, 1e-30))
    bits = surprise[z]
    entropy = float(mass @ surprise)
    share = np.bincount(z, minlength=mass.size) / z.size
    some = share > 0
    divergence = float(share[some] @ (np.log2(share[some]) + surprise[some]))
    divergence -= (int(some.sum()) - 1) / (2 * np.log(2) * z.size)
    return {
        "true": imagined.information_bits(2).value,
        "error": float(bits.mean()) - entropy,
        "chance": float(bits.std() / np.sqrt(bits.size)),
        "divergence": divergence,
        "predicted": made.error_bits_per_pixel,
        "gain_dn_per_e": given["system_gain_dn_per_e"],
        "read_noise_e": given["read_noise_e"],
    }


SCORED = (
    Case("half the light", 40.0, {"exposure_factor": 0.5}),
    Case("read noise 4 e-", 40.0, {"read_noise_e": 4.0}),
)


def scored(case: Case, seed: int, *, frames: int = 16, side: int = 48, patch_size: int = 8) -> dict:
    """The score of made frames beside the imagined camera's truth, bit/px."""
    import numpy as np

    from calibrate import NoiseModel
    from mi_eval import estimate_information
    from mi_eval.sweep import degrade_frames
    from mi_eval.truth.independent import IndependentPixels
    from mi_eval.truth.laws import GammaLight

    source = NoiseModel.from_parameters(system_gain_dn_per_e=1.0, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    rng = np.random.default_rng([5, seed])
    light = GammaLight(LIGHT_SHAPE, case.light_e).quantile(rng.random((frames, side, side)))
    made = degrade_frames(source.sample(light, rng), source, case.changes, seed=seed)
    law = GammaLight(LIGHT_SHAPE, case.light_e * made.charge_factor)
    found = estimate_information(
        made.frames, made.noise_model, patch_size=patch_size, density="closed-form", seed=seed
    ).mutual_information_bits_per_pixel
    true = IndependentPixels("imagined", "", made.noise_model, law).information_bits(2).value
    return {"true": true, "found": found.value, "std": found.std, "inside": found.ci95[0] <= true <= found.ci95[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--pixels", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scored", action="store_true")
    arguments = parser.parse_args()
    if arguments.scored:
        for case in SCORED:
            for seed in range(arguments.seed, arguments.seed + 2):
                found = scored(case, seed)
                print(
                    f"{case.name:<20}seed {seed}  true {found['true']:.4f}  found {found['found']:.4f} +- "
                    f"{found['std']:.4f}{'' if found['inside'] else '  OUTSIDE'}",
                    flush=True,
                )
        return
    from mi_eval.sweep.degrade import LARGEST_ERROR_BITS

    print(f"{arguments.pixels} pixels, seed {arguments.seed}; bit/px")
    print(
        f"{'case':<30}{'light (e-)':>11}{'K':>7}{'r (e-)':>8}{'true':>9}{'error':>10}{'chance':>9}{'diverg.':>10}"
        f"{'predicted':>11}",
        flush=True,
    )
    for case in CASES:
        found = measure(case, arguments.pixels // 1000 * 1000, arguments.seed)
        print(
            f"{case.name:<30}{case.light_e:>11g}{found['gain_dn_per_e']:>7g}{found['read_noise_e']:>8g}"
            f"{found['true']:>9.4f}{found['error']:>+10.5f}{found['chance']:>9.5f}{found['divergence']:>+10.5f}"
            f"{found['predicted']:>11.5f}{'  refused' if found['predicted'] > LARGEST_ERROR_BITS else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
