"""How often the truth lies in the intervals of a fit to repeated frames of still scenes.

    python scripts/study_from_scenes.py [--seeds 300] [--case NAME ...] [--list]

Each seed shoots three smooth scenes several times under a lamp that flickers by 1 %, and eight darks, and fits them
with `calibrate fit --from-scenes`. For gain and read noise: mean error and scatter in percent, mean and rms of the
pulls (found - true)/std, and the share of seeds within 1.96 of the stated error.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

from calibrate import NoiseModel
from calibrate.from_scenes import fit_from_scenes
from calibrate.plumbing.progress import set_quiet

TRUTH = {"system_gain_dn_per_e": 0.5, "read_noise_e": 5.0}
OFFSET_DN, SIDE, SCENES, DARKS = 200.0, 96, 3, 8
CASES: dict[str, dict] = {
    "four frames": {"frames": 4},
    "two frames": {"frames": 2},
    "sixteen frames": {"frames": 16},
    "four frames, DSNU 5 e-, PRNU 2 %": {"frames": 4, "dsnu_e": 5.0, "prnu": 0.02},
    "two frames, DSNU 5 e-, PRNU 2 %": {"frames": 2, "dsnu_e": 5.0, "prnu": 0.02},
    "four frames, offset given": {"frames": 4, "given": True},
}


def scene(rng: np.random.Generator) -> np.ndarray:
    """Smooth light from dark to 5000 e-, (side, side)."""
    field = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3, mode="wrap")
    return 5000.0 * np.clip(np.exp(0.9 * field / field.std()) / 8, 0.0, 1.0)


def fitted(seed: int, frames: int, dsnu_e: float = 0.0, prnu: float = 0.0, given: bool = False) -> NoiseModel:
    """The fit of one seed's frames."""
    rng = np.random.default_rng(seed)
    gain, read = TRUTH.values()
    maps = {"offset_dn": OFFSET_DN + gain * dsnu_e * rng.standard_normal((SIDE, SIDE))} if dsnu_e else None
    model = NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read, offset_dn=OFFSET_DN, bit_depth=12, maps=maps
    )
    response = 1.0 + prnu * rng.standard_normal((SIDE, SIDE))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number in range(SCENES):
            light = response * scene(rng)
            shots = [model.sample(light * (1 + 0.01 * rng.standard_normal()), rng) for _ in range(frames)]
            tifffile.imwrite(folder / f"scene_{'abc'[number]}.tif", np.stack(shots), photometric="minisblack")
        if given:
            return fit_from_scenes(folder, offset_dn=OFFSET_DN)
        darks = [model.sample(np.zeros((SIDE, SIDE)), rng) for _ in range(DARKS)]
        tifffile.imwrite(folder / "dark.tif", np.stack(darks), photometric="minisblack")
        return fit_from_scenes(folder)


def study(name: str, seeds: int) -> None:
    """Fit all seeds of one case and print its lines."""
    clock = time.process_time()
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in TRUTH}
    bent = 0
    for seed in range(seeds):
        model = fitted(seed, **CASES[name])
        bent += model.document.fit.model != "linear"
        for key in TRUTH:
            entry = model.parameter(key)
            found[key].append((entry.value, entry.std))
    print(f"{name}: {seeds} seeds, {bent} not linear, {time.process_time() - clock:.0f} CPU s")
    for key, truth in TRUTH.items():
        value, std = np.array(found[key]).T
        error, pull = 100 * (value / truth - 1), (value - truth) / std
        print(
            f"  {key:22s} error {error.mean():+.3f} % (scatter {error.std():.3f}), pull {pull.mean():+.2f}, "
            f"rms {np.sqrt(np.mean(pull**2)):.2f}, inside {np.count_nonzero(np.abs(pull) < 1.96)} of {seeds}",
            flush=True,
        )


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--case", nargs="+", default=list(CASES))
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(CASES))
        return
    set_quiet(True)
    for name in arguments.case:
        study(name, arguments.seeds)


if __name__ == "__main__":
    main()
