"""Make data_samples/: two simulated sensors, their captures and scene frames, with the truth beside them.

Run with the development environment: ``python scripts/make_data_samples.py``. The same versions of numpy and
scikit-image give the same bytes. Scenes are crops of pictures that come with scikit-image.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import tifffile
from skimage import color, data, transform

from calibrate import NoiseModel, simulate_captures

ROOT = Path(__file__).resolve().parent.parent / "data_samples"
PICTURES = (
    "camera",
    "coins",
    "brick",
    "grass",
    "gravel",
    "astronaut",
    "coffee",
    "chelsea",
    "rocket",
    "hubble_deep_field",
)
N_SCENES = 24
SCENE_EXPOSURE_S = 0.02


def mono12() -> NoiseModel:
    """A 12-bit machine-vision sensor without fixed pattern."""
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=0.35, read_noise_e=4.2, offset_dn=64.3, bit_depth=12, dark_current_e_per_s=35.0
    )


def scmos16(shape: tuple[int, int] = (96, 96)) -> NoiseModel:
    """A 16-bit sCMOS-like sensor: offset, read noise (heavy tail), dark current and response by pixel."""
    rng = np.random.default_rng(20_26)
    read = 1.35 * np.exp(0.28 * rng.standard_normal(shape))
    hot = rng.random(shape) < 0.012
    read[hot] *= rng.uniform(2.0, 6.0, int(hot.sum()))
    maps = {
        "read_noise_e": read,
        "offset_dn": 100.0 + 1.8 * rng.standard_normal(shape) + 0.6 * rng.standard_normal((1, shape[1])),
        "prnu": 0.009 * rng.standard_normal(shape),
        "dark_current_e_per_s": rng.gamma(2.0, 6.0, shape),
    }
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=2.17,
        read_noise_e=float(np.sqrt(np.mean(read**2))),
        offset_dn=float(np.mean(maps["offset_dn"])),
        bit_depth=16,
        dark_current_e_per_s=float(np.mean(maps["dark_current_e_per_s"])),
        maps=maps,
    )


def scenes(shape: tuple[int, int], mean_light_e: float, seed: int) -> np.ndarray:
    """Light of the scenes in electrons, (N_SCENES, height, width): crops at many places, scales and exposures."""
    rng = np.random.default_rng(seed)
    out = np.empty((N_SCENES, *shape))
    for index in range(N_SCENES):
        picture = np.asarray(getattr(data, PICTURES[index % len(PICTURES)])(), dtype=np.float64)
        if picture.ndim == 3:
            picture = 255.0 * color.rgb2gray(picture[..., :3] / 255.0)
        # Display values to light: the inverse of the usual display curve, so that light is positively skewed.
        light = (picture / 255.0) ** 2.2
        side = int(rng.integers(int(1.2 * shape[0]), min(picture.shape) - 1))
        top, left = (int(rng.integers(0, size - side)) for size in picture.shape)
        crop = transform.resize(light[top : top + side, left : left + side], shape, anti_aliasing=True)
        crop = np.clip(crop, 0.0, None) + 0.02
        out[index] = mean_light_e * rng.uniform(0.5, 1.5) * crop / crop.mean()
    return out


def make_sensor(name: str, model: NoiseModel, *, mean_light_e: float, seed: int, **plan: object) -> None:
    """Write data_samples/NAME: captures/ and scenes/, each with its truth.json."""
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    simulate_captures(model, folder / "captures", seed=seed, exposure_max_s=0.1, light_scatter_percent=0.1, **plan)  # type: ignore[arg-type]
    shape = model.map_shape or (128, 128)
    light = scenes(shape, mean_light_e, seed + 1)
    maps = model.maps or {}
    entry = model.parameter("dark_current_e_per_s")
    dark = maps.get("dark_current_e_per_s", entry.value if entry else 0.0)
    charge = light * (1.0 + maps.get("prnu", 0.0)) + dark * SCENE_EXPOSURE_S
    frames = model.sample(charge, np.random.default_rng(seed + 2))
    (folder / "scenes").mkdir()
    for part in range(0, N_SCENES, 12):
        tifffile.imwrite(
            folder / "scenes" / f"scenes_{part:02d}.tif", frames[part : part + 12], photometric="minisblack"
        )
    truth = {
        "conditional_entropy_bits_per_pixel": float(np.mean(model.conditional_entropy_bits(charge))),
        "mean_signal_e": float(np.mean(light * (1.0 + maps.get("prnu", 0.0)))),
        "exposure_s": SCENE_EXPOSURE_S,
        "pictures": list(PICTURES),
    }
    (folder / "scenes" / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Make both sensors."""
    make_sensor("mono12", mono12(), mean_light_e=400.0, seed=11, levels=16, frames_per_level=2, shape=(128, 128))
    make_sensor(
        "scmos16",
        scmos16(),
        mean_light_e=120.0,
        seed=23,
        levels=12,
        frames_per_level=4,
        dark_levels=2,
        darks_per_level=48,
    )
    size = sum(file.stat().st_size for file in ROOT.rglob("*") if file.is_file())
    print(f"data_samples: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
