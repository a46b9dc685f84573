"""Small frames, a noise model and a quick stand-in for the score, for tests of sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.estimate import frame_source
from mi_eval.result import ConditionalEstimate, InformationEstimate, IntervalEstimate
from mi_eval.score_details import ScoreDetails


def write_setting(folder: Path, name: str, *, light_e: float = 50.0, n_frames: int = 6, **camera: Any) -> NoiseModel:
    """Frames NAME.npy and noise model NAME.yaml of a 12-bit camera; the same scenes under every name."""
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 2.0, "offset_dn": 100.0, "bit_depth": 12} | camera
    model = NoiseModel.from_parameters(**given)
    scenes = np.random.default_rng(7).gamma(4.0, 0.25, (n_frames, 16, 24))
    np.save(folder / f"{name}.npy", model.sample(scenes * light_e, np.random.default_rng([8, len(name)])))
    model.save(folder / f"{name}.yaml")
    return model


class QuickScore:
    """Stands in for `estimate_information`: half the log of the frames' variance; keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, frames: Any, model: NoiseModel, **settings: Any) -> InformationEstimate:
        self.calls.append(settings)
        if settings["patch_size"] == 13:
            raise PhotonbitsError("patches of 13 pixels bring bad luck", legal="any other size")
        source = frame_source(frames)
        stack = np.stack([np.asarray(frame, dtype=np.float64) for frame in source])
        stack = (stack - model.camera.offset_dn) / model.camera.system_gain_dn_per_e
        bits = np.array([0.5 * np.log2(frame.var()) + 0.01 * settings["seed"] for frame in stack])
        value, std = float(bits.mean()), float(bits.std(ddof=1) / np.sqrt(bits.size))
        return InformationEstimate(
            mutual_information_bits_per_pixel=IntervalEstimate(value, std, (value - 2 * std, value + 2 * std)),
            upper_bound_bits_per_pixel=value + 0.01,
            lower_bound_bits_per_pixel=None,
            slack_bits_per_pixel=0.0,
            marginal_entropy_bits_per_pixel=value + 2.0,
            conditional_entropy_bits_per_pixel=ConditionalEstimate(2.0, (2.0, 2.0), True),
            entropy_kind="discrete",
            bits_per_electron=value / float(stack.mean()),
            mean_signal_e=float(stack.mean()),
            frames=len(stack),
            patches_used=99,
            patch_size=settings["patch_size"],
            saturated_fraction=0.0,
            models=(),
            warnings=(),
            noise_model={"path": "somewhere.yaml", "sha256": model.sha256},
            seed=settings["seed"],
            version="0",
            error_budget_bits_per_pixel={"calibration": 0.0},
            details=ScoreDetails(per_frame_bits=bits),
        )
