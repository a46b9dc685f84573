"""Captures of a simulated sensor, with their truth: what `calibrate fit` should find."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.progress import track
from calibrate.schema import ParameterEntry
from calibrate.store import maps_bytes

FloatArray = NDArray[np.float64]
#: Light of the brightest level over that which fills the sensor's range, so that saturation can be found.
OVERSHOOT = 1.1


def simulate_captures(
    model: NoiseModel,
    folder: str | Path,
    *,
    levels: int = 16,
    frames_per_level: int = 2,
    shape: tuple[int, int] | None = None,
    exposure_max_s: float = 1.0,
    dark_levels: int | None = None,
    darks_per_level: int | None = None,
    light_scatter_percent: float = 0.0,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Shoot flats and darks with a simulated sensor: TIFF stacks, manifest.csv and truth.json.

    Exposures rise in equal steps to ``exposure_max_s``; the lamp is so bright that the last step would fill the
    sensor's range 1.1 times over. Darks are taken at the same exposures.

    Parameters
    ----------
    model : NoiseModel
        Its maps, photo-response and dark current included, are used where it has them.
    folder : path
        Made; written whole or not at all.
    levels, frames_per_level : int
        Bright levels and frames at each.
    shape : (height, width), optional
        Default: the maps' or the sensor's shape, else 128 x 128.
    exposure_max_s : float
        Seconds.
    dark_levels, darks_per_level : int, optional
        Default: as for the brights. Dark exposures run from 0 to ``exposure_max_s`` where they differ.
    light_scatter_percent : float
        Standard deviation of a level's light about its nominal value.
    seed : int
    overwrite : bool
        Replace an existing folder of captures.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    PhotonbitsError
        If an argument is out of range, the folder exists, or the shape does not fit the maps.
    """
    folder = Path(folder)
    shape = _shape(model, shape)
    minima = (
        ("levels", levels, 2),
        ("frames_per_level", frames_per_level, 2),
        ("dark_levels", dark_levels, 1),
        ("darks_per_level", darks_per_level, 2),
        ("seed", seed, 0),
    )
    for name, value, least in minima:
        if value is not None and value < least:
            raise PhotonbitsError(f"{name} is {value}", legal=f"{least} or more")
    if not 0 < exposure_max_s < np.inf:
        raise PhotonbitsError(f"exposure_max_s is {exposure_max_s:g}", legal="a positive number of seconds")
    if not 0 <= light_scatter_percent < np.inf:
        raise PhotonbitsError(f"light_scatter_percent is {light_scatter_percent:g}", legal="0 or more, in percent")
    _check_folder(folder, overwrite)
    rng = np.random.default_rng(seed)
    steps = np.arange(1, levels + 1) / levels
    rate = OVERSHOOT * _range_e(model) / exposure_max_s
    n_dark = levels if dark_levels is None else dark_levels
    exposures = exposure_max_s * steps if n_dark == levels else np.linspace(0.0, exposure_max_s, n_dark)
    per_dark = frames_per_level if darks_per_level is None else darks_per_level
    plan = [("bright", float(t), frames_per_level) for t in exposure_max_s * steps]
    plan += [("dark", float(t), per_dark) for t in exposures]
    scene = _Scene(model, shape)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
    try:
        lines = [f"# bit_depth: {model.bit_depth}"] if model.bit_depth is not None else []
        lines.append("path,kind,exposure_s,level")
        light = []
        for index, (kind, t, count) in enumerate(track(plan, "Simulating", total=len(plan))):
            scatter = 1.0 + light_scatter_percent / 100 * rng.standard_normal()
            mean_e = rate * t * scatter if kind == "bright" else 0.0
            frames = np.stack([scene.shoot(mean_e, t, rng) for _ in range(count)])
            name = f"{'flat' if kind == 'bright' else 'dark'}_{index:03d}.tif"
            tifffile.imwrite(partial / name, frames, photometric="minisblack")
            lines.append(f"{name},{kind},{t!r},{index}")
            light.append(mean_e)
        (partial / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        truth = _truth(model, seed, light[:levels])
        (partial / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
        if model.maps:
            (partial / "truth_maps.npz").write_bytes(maps_bytes(model.maps))
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Raise PhotonbitsError unless ``folder`` may be made; only simulated captures are ever replaced."""
    if not folder.parent.is_dir():
        raise PhotonbitsError(f"folder {folder.parent} does not exist", remedy="Create it first")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise PhotonbitsError(f"the output {folder} is a file", legal="the name of a folder")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise PhotonbitsError(f"folder {folder} exists and is not empty", remedy="Choose another, or use --force")
    if not (folder / "truth.json").is_file():
        raise PhotonbitsError(
            f"folder {folder} holds something other than simulated captures (no truth.json)",
            remedy="Choose another folder; only simulated captures are replaced",
        )


class _Scene:
    """Even light on the simulated pixels."""

    def __init__(self, model: NoiseModel, shape: tuple[int, int]) -> None:
        maps = model.maps or {}
        entry = model.parameter("dark_current_e_per_s")
        self.model = model
        self.response = 1.0 + maps.get("prnu", np.zeros(shape))
        self.dark = maps.get("dark_current_e_per_s", np.full(shape, entry.value if entry else 0.0))

    def shoot(self, light_e: float, exposure_s: float, rng: np.random.Generator) -> NDArray[np.generic]:
        charge = np.maximum(self.response * light_e + self.dark * exposure_s, 0.0)
        return self.model.sample(charge, rng)


def _shape(model: NoiseModel, shape: tuple[int, int] | None) -> tuple[int, int]:
    fixed = model.map_shape
    if fixed is not None:
        if shape is not None and tuple(shape) != fixed:
            raise PhotonbitsError(f"shape {shape}", legal=f"{fixed}, that of the maps")
        return fixed
    if shape is None:
        stored = model.document.sensor.shape
        return (128, 128) if stored is None else (int(stored[0]), int(stored[1]))
    if min(shape) < 2:
        raise PhotonbitsError(f"shape {shape}", legal="2 x 2 pixels or more")
    return shape


def _range_e(model: NoiseModel) -> float:
    """Charge that fills the sensor: full well, or the converter's highest code."""
    camera = model.camera
    charges = []
    if camera.response.full_well_dn is not None:
        charges.append(camera.response.full_well_dn / float(camera.system_gain_dn_per_e))
    if camera.bit_depth is not None:
        top = camera.response.inverse(np.array(camera.white_clip_dn - float(camera.offset_dn)))
        charges.append(float(top) / float(camera.system_gain_dn_per_e))
    finite = [charge for charge in charges if np.isfinite(charge) and charge > 0]
    if not finite:
        raise PhotonbitsError(
            "the model has neither a bit depth nor a full well", remedy="Give --bit-depth or --full-well-e"
        )
    return min(finite)


def _truth(model: NoiseModel, seed: int, light: list[float]) -> dict[str, object]:
    parameters = {
        name: entry.value for name, entry in model.document.parameters.items() if isinstance(entry, ParameterEntry)
    }
    for name in ("offset_dn", "read_noise_e", "dark_current_e_per_s"):
        if model.maps and name in model.maps:
            # The scalar that a fit finds: the mean, and for noise the root of the mean variance.
            values = model.maps[name]
            parameters[name] = float(np.sqrt(np.mean(values**2)) if name == "read_noise_e" else np.mean(values))
    curve = model.camera.response
    return {
        "parameters": parameters,
        "response": {"form": curve.form, "coefficients": list(curve.coefficients), "scale_dn": curve.scale_dn},
        "maps": bool(model.maps),
        "light_e": light,
        "seed": seed,
    }
