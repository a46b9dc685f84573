"""What decoders that reconstruct objects share: targets, PSNR and SSIM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.design.audit import Simulation
from mi_eval.design.problem import DesignProblem
from mi_eval.downstream.interface import Decoder, Examples, FloatArray, Metric, Setting
from mi_eval.objects.prior import ObjectPrior, Shape
from mi_eval.systems import ImagingSystem

_RANGE_SEED = 20_033
_RANGE_OBJECTS = 512

PSNR = Metric(
    "psnr_db",
    "dB",
    "10 log10 of squared target range over mean squared error of all test pixels",
    larger_is_better=True,
    summary="decibel",
)
SSIM = Metric("ssim", "1", "structural similarity, Gaussian window of 1.5 px, mean over test frames", True)


@dataclass(frozen=True)
class Reconstruction(Decoder):
    """Finds the object in a frame.

    Parameters
    ----------
    planes : {"each", "sum"}
        Targets are all planes of the object, or their sum.
    ssim : bool
        Measure structural similarity too (scikit-image, extra `objects`).
    """

    planes: Literal["each", "sum"] = "each"
    ssim: bool = True

    def __post_init__(self) -> None:
        if self.planes not in ("each", "sum"):
            raise PhotonbitsError(f"planes {self.planes!r}", where=self.name, legal="each or sum")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """PSNR, and SSIM unless it is left out."""
        return (PSNR, SSIM) if self.ssim else (PSNR,)

    def targets(self, seen: Simulation, setting: Setting) -> FloatArray:
        """Objects in units of the prior, (n, planes, height, width), cropped to the middle that the frame shows."""
        return _targets(seen.objects / setting.problem.scale, self.shown_shape(setting.design.system), self.planes)

    def shown_shape(self, system: ImagingSystem) -> tuple[int, int]:
        """Height and width of the middle of the object that is found: what the frame shows."""
        return system.frame_shape

    def target_range(self, problem: DesignProblem) -> float:
        """Largest less smallest value in the targets of 512 objects, always the same ones."""
        shown = self.shown_shape(problem.system)
        reach = _population_range(problem.objects, problem.system.object_shape, shown, self.planes)
        if not reach > 0:
            raise PhotonbitsError("targets that are all alike", where=self.name, legal="objects that differ")
        return reach

    def score(self, decoded: FloatArray, examples: Examples, setting: Setting) -> dict[str, FloatArray]:
        """Mean squared error over squared range, and structural similarity."""
        error = (decoded - examples.targets) / examples.target_range
        found = {PSNR.name: np.mean(error**2, axis=tuple(range(1, error.ndim)))}
        if self.ssim:
            found[SSIM.name] = structural_similarity(decoded, examples.targets, examples.target_range)
        return found


def _targets(values: FloatArray, shape: tuple[int, int], planes: str) -> FloatArray:
    """Targets from objects in units of their prior."""
    if planes == "sum":
        values = values.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(_middle(values, shape))


@lru_cache(maxsize=64)
def _population_range(objects: ObjectPrior, shape: Shape, frame_shape: tuple[int, int], planes: str) -> float:
    values = objects.sample(_RANGE_OBJECTS, shape, np.random.default_rng(_RANGE_SEED))
    return float(np.ptp(_targets(values, frame_shape, planes)))


def structural_similarity(decoded: FloatArray, targets: FloatArray, target_range: float) -> FloatArray:
    """SSIM of each frame (n,), mean over its planes, of arrays (n, planes, height, width).

    Gaussian window of 1.5 px cut at 3.5 sigma, population moments: Wang et al. 2004, doi:10.1109/TIP.2003.819861.

    Raises
    ------
    PhotonbitsError
        If scikit-image is not installed, or images are smaller than the window of 11 px.
    """
    compare = _structural_similarity()
    if min(targets.shape[-2:]) < 11:
        raise PhotonbitsError(
            f"SSIM of images of {targets.shape[-2]} x {targets.shape[-1]}",
            legal="11 x 11 pixels or more",
            remedy="Take larger frames, or ssim=False",
        )
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": target_range}
    values = [
        [compare(found, target, **options) for found, target in zip(*pair, strict=True)]
        for pair in zip(decoded, targets, strict=True)
    ]
    return np.asarray(np.mean(values, axis=1), dtype=np.float64)


def _structural_similarity() -> Any:
    try:
        from skimage.metrics import structural_similarity as compare
    except ImportError as error:
        raise PhotonbitsError(
            "scikit-image is not installed, which computes SSIM",
            remedy='Install it with pip install "photonbits[objects]", or take ssim=False',
        ) from error
    return compare


def _middle(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """The middle (..., *shape) of arrays."""
    height, width = values.shape[-2:]
    if shape[0] > height or shape[1] > width:
        raise PhotonbitsError(
            f"frames of {shape[0]} x {shape[1]} of objects of {height} x {width}", legal="frames inside the object"
        )
    row, column = (height - shape[0]) // 2, (width - shape[1]) // 2
    return values[..., row : row + shape[0], column : column + shape[1]]
