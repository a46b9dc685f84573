"""Points in a disc that keep a least distance from each other."""

from __future__ import annotations

from calibrate import PhotonbitsError
from mi_eval.torch_extra import Tensor, torch

_MARGIN = 1e-9
_SWEEPS = 2000


def least_spacing(points: Tensor) -> float:
    """Distance of the closest pair of points (n, 2)."""
    return float(torch.pdist(points).min())


def in_disc(points: Tensor, radius: float) -> Tensor:
    """Points (n, 2), those outside of a disc about 0 moved to its edge."""
    length = torch.linalg.norm(points, dim=1, keepdim=True)
    return torch.where(length > radius, points * (radius * (1 - 1e-15) / torch.clamp(length, min=1e-300)), points)


def spread_out(points: Tensor, radius: float, least: float) -> Tensor:
    """Points in a disc, no two closer than ``least``: pulled in, and pushed apart along the line between them.

    Points that keep both already do not move. Each sweep moves all close pairs by half of what they lack.

    Raises
    ------
    PhotonbitsError
        If 2000 sweeps do not find places: the disc is too full.
    """
    found = in_disc(points, radius)
    n = found.shape[0]
    first, second = torch.triu_indices(n, n, 1)
    # Coincident points part along directions of their own, the same every time.
    angle = 2.399963 * torch.arange(first.shape[0], dtype=torch.float64)
    apart = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    for sweep in range(_SWEEPS):
        gap = found[second] - found[first]
        length = torch.linalg.norm(gap, dim=1, keepdim=True)
        if bool((length >= least).all()):
            return found
        along = torch.where(length > 1e-12 * least, gap / torch.clamp(length, min=1e-300), apart)
        # A little more than what is lacking, and more as sweeps go on: the end is reached, not approached.
        lacking = torch.clamp(least * (1 + _MARGIN + 1e-5 * sweep) - length, min=0.0)
        push = torch.where(length < least, 0.5 * lacking, 0.0) * along
        moved = found.index_add(0, second, push).index_add(0, first, -push)
        found = in_disc(moved, radius)
    raise PhotonbitsError(f"{n} points {least:g} apart within a disc of radius {radius:g}", legal="fewer, or closer")
