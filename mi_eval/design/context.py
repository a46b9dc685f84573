"""How far the optics spread a point, against the patch that a density or a covariance sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mi_eval.systems import SystemDesign
from mi_eval.torch_extra import torch

FloatArray = NDArray[np.float64]

_SHARE = 0.9


def psf_side_px(design: SystemDesign, share: float = _SHARE) -> int | None:
    """Side of the smallest square, anywhere, that holds a share of the squared response to a point.

    The point lies in the middle of the frame, on nothing (transparent objects: on an even half); the widest of all
    planes counts. None for systems whose pixels are no neighbours, and where no light arrives at all.
    """
    system = design.system
    if system.whole_frames:
        return None
    planes, height, width = system.object_shape
    level, step = (0.5, 0.1) if system.objects_are == "relative" else (0.0, 1.0)
    ground = torch.full((planes, planes, height, width), level, dtype=torch.float64)
    raised = ground.clone()
    for plane in range(planes):
        raised[plane, plane, height // 2, width // 2] += step
    with torch.no_grad():
        response = design.forward(raised) - design.forward(ground)
    sides = [_smallest_square(energy, share) for energy in response.numpy() ** 2 if energy.sum() > 0]
    return max(sides, default=None)


def _smallest_square(energy: FloatArray, share: float) -> int:
    """Side of the smallest square, anywhere in an image, that holds a share of its sum."""
    area = np.zeros((energy.shape[0] + 1, energy.shape[1] + 1))
    area[1:, 1:] = energy.cumsum(axis=0).cumsum(axis=1)
    for side in range(1, max(energy.shape)):
        high, wide = (min(side, n) for n in energy.shape)
        inside = area[high:, wide:] - area[:-high, wide:] - area[high:, :-wide] + area[:-high, :-wide]
        if float(inside.max()) >= share * area[-1, -1]:
            return side
    return int(max(energy.shape))
