"""The estimate beside the truth: one case measured."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.estimate import estimate_information
from mi_eval.truth.registry import make_source
from mi_eval.truth.source import KnownInformation, Sample, Source

_FEWEST_PATCHES = 16


@dataclass(frozen=True)
class TruthResult:
    """What `estimate_information` found on a source of known information. All values in bits per pixel.

    Parameters
    ----------
    found, std, interval
        Estimate, standard error, 95 % interval.
    true, true_std
        The truth, and its own standard error where it is a Monte-Carlo mean.
    marginal, conditional
        The two entropies whose difference is ``found``.
    identifiable : bool
        Whether the codes determine H(Z|Y); where not, the interval holds a set.
    slack : float
        Estimated misfit of the densities, part of the interval's low end.
    seconds : float
        CPU seconds of the estimate over all threads; drawing frames and finding the truth are left out.
    """

    case: str
    description: str
    patches: int
    patch_size: int
    seed: int
    found: float
    std: float
    interval: tuple[float, float]
    true: float
    true_std: float
    marginal: float
    conditional: float
    identifiable: bool
    slack: float
    seconds: float

    @property
    def error(self) -> float:
        """Found minus true."""
        return self.found - self.true

    @property
    def inside(self) -> bool:
        """Whether the interval holds the truth; that of a Monte-Carlo truth counts as exact."""
        return self.interval[0] <= self.true <= self.interval[1]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, units in the names."""
        return {
            "case": self.case,
            "description": self.description,
            "patches": self.patches,
            "patch_size": self.patch_size,
            "seed": self.seed,
            "found_bits_per_pixel": {"value": self.found, "std": self.std, "ci95": list(self.interval)},
            "true_bits_per_pixel": {"value": self.true, "std": self.true_std},
            "error_bits_per_pixel": self.error,
            "inside": self.inside,
            "marginal_entropy_bits_per_pixel": self.marginal,
            "conditional_entropy_bits_per_pixel": self.conditional,
            "identifiable": self.identifiable,
            "slack_bits_per_pixel": self.slack,
            "cpu_s": self.seconds,
        }


def measure_case(
    name: str, *, patches: int = 5000, patch_size: int = 16, seed: int = 0, truth: KnownInformation | None = None
) -> TruthResult:
    """Draw frames of a case, estimate their information, and set it beside the truth.

    Parameters
    ----------
    name : str
        One of `CASES`.
    patches : int
        Patches in all; each is a frame of its own unless the camera has maps.
    seed : int
        Of the draw and of the estimate. Cases draw independently of each other.
    truth : KnownInformation, optional
        From an earlier call of ``information_bits(patch_size)``, where finding it again would take seconds.

    Raises
    ------
    PhotonbitsError
        For an unknown case, a patch size that it cannot make, or too few patches.
    """
    return measure_source(make_source(name), patches=patches, patch_size=patch_size, seed=seed, truth=truth)


def measure_source(
    source: Source, *, patches: int = 5000, patch_size: int = 16, seed: int = 0, truth: KnownInformation | None = None
) -> TruthResult:
    """`measure_case` for a source of one's own."""
    sample = draw_sample(source, patches=patches, patch_size=patch_size, seed=seed)
    known = source.information_bits(patch_size) if truth is None else truth
    start = time.process_time()
    estimate = estimate_information(
        sample.frames, source.noise_model, patch_size=patch_size, seed=seed, max_patches=max(patches, _FEWEST_PATCHES)
    )
    seconds = time.process_time() - start
    information = estimate.mutual_information_bits_per_pixel
    return TruthResult(
        case=source.name,
        description=source.description,
        patches=estimate.patches_used,
        patch_size=patch_size,
        seed=seed,
        found=information.value,
        std=information.std,
        interval=information.ci95,
        true=known.value,
        true_std=known.std,
        marginal=estimate.marginal_entropy_bits_per_pixel,
        conditional=estimate.conditional_entropy_bits_per_pixel.value,
        identifiable=estimate.conditional_entropy_bits_per_pixel.identifiable,
        slack=estimate.slack_bits_per_pixel,
        seconds=seconds,
    )


def draw_sample(source: Source, *, patches: int, patch_size: int, seed: int) -> Sample:
    """Frames of a source; the same for the same name, sizes and seed, whatever other cases there are."""
    if patches < _FEWEST_PATCHES:
        raise PhotonbitsError(f"{patches} patches", legal=f"{_FEWEST_PATCHES} or more")
    if seed < 0:
        raise PhotonbitsError(f"seed {seed}", legal="0 or more")
    return source.sample(patches, patch_size, np.random.default_rng([seed, zlib.crc32(source.name.encode())]))
