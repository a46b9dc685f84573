"""One cell: frames read, changed where it is a what-if, and scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.estimate import InformationEstimate, estimate_information
from mi_eval.frame_source import frames_from_paths
from mi_eval.frames_check import check_frames
from mi_eval.sweep.cells import SweepCell
from mi_eval.sweep.degrade import degrade_frames
from mi_eval.sweep.light import measure_light

#: Takes what `estimate_information` takes.
Score = Callable[..., InformationEstimate]


def compute_cell(cell: SweepCell, score: Score = estimate_information) -> dict[str, Any]:
    """Result of a cell as plain data: ``status`` ``done`` with the score, or ``failed`` with the error in words.

    Only errors that people can act on become results; others are faults of the program and pass through.
    """
    setting = cell.setting
    try:
        model = NoiseModel.load(setting.noise_model)
        calibration = model.sha256
        if setting.kind == "captured":
            facts = None
            exposure_s = setting.exposure_s
            estimate = score(
                list(setting.frames),
                model,
                patch_size=cell.patch_size,
                seed=cell.seed,
                max_patches=cell.max_patches,
                exposure_s=exposure_s,
                deterministic=True,
                density=cell.density,
                shift_bits=setting.shift_bits,
                roi=setting.roi,
            )
        else:
            frames, model, exposure_s, facts = _imagined_frames(cell, model)
            estimate = score(
                frames,
                model,
                patch_size=cell.patch_size,
                seed=cell.seed,
                max_patches=cell.max_patches,
                exposure_s=exposure_s,
                deterministic=True,
                density=cell.density,
            )
    except PhotonbitsError as error:
        return {"status": "failed", "error": str(error)}
    except (OSError, MemoryError) as error:
        return {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    bits = estimate.details.per_frame_bits
    content = estimate.to_dict()
    # Imagined cameras share the calibration of the one they come from. No path: results may be passed on.
    content["noise_model"] = {"path": None, "sha256": calibration}
    return {
        "status": "done",
        "camera_model": _camera(model),
        "exposure_s": exposure_s,
        "what_if": facts,
        "per_frame_bits_per_pixel": None if bits is None else [float(value) for value in bits],
        "score": content,
    }


def _imagined_frames(
    cell: SweepCell, model: NoiseModel
) -> tuple[NDArray[np.generic], NoiseModel, float | None, dict[str, Any]]:
    """Frames of a what-if, their camera, their exposure, and how good the imitation is."""
    setting = cell.setting
    source = frames_from_paths(setting.frames)
    factor = float(setting.changes.get("exposure_factor", 1.0))
    if setting.kind == "simulated":
        exposure_s = setting.exposure_s
        light = np.stack([np.asarray(frame, dtype=np.float64) for frame in source])
        frames, camera = measure_light(light, model, setting.changes, exposure_s=exposure_s, seed=cell.seed)
        facts = {"notes": [], "error_bits_per_pixel": 0.0, "clipped_share": 0.0}
    else:
        checked = check_frames(
            replace(source, shift_bits=setting.shift_bits), model, exposure_s=setting.exposure_s, roi=setting.roi
        )
        exposure_s = checked.exposure_s if setting.exposure_s is None else setting.exposure_s
        made = degrade_frames(
            np.stack(list(checked.source)),
            model,
            setting.changes,
            exposure_s=exposure_s,
            repeats=setting.repeats,
            seed=cell.seed,
        )
        frames, camera = made.frames, made.noise_model
        facts = {
            "notes": list(made.notes),
            "error_bits_per_pixel": made.error_bits_per_pixel,
            "clipped_share": made.clipped_share,
        }
    return frames, camera, None if exposure_s is None else exposure_s * factor, facts


def _camera(model: NoiseModel) -> dict[str, Any]:
    """Numbers of the camera that a table shows."""
    camera = model.camera
    return {
        "system_gain_dn_per_e": float(camera.system_gain_dn_per_e),
        "read_noise_e": float(camera.read_noise_e),
        "offset_dn": float(camera.offset_dn),
        "bit_depth": camera.bit_depth,
    }
