"""What rows, columns, neighbours and regions of the difference images say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, ndtr

from calibrate.captures.capture_set import FrameKind
from calibrate.validation.diagnoses import SIGMAS, Finding, finding, threshold
from calibrate.validation.observed import Observed, ObservedLevel
from calibrate.validation.ranges import Comparison

#: Correlation of neighbours above which smoothing explains a variance that is too small ...
_SMOOTHED = 0.1
#: ... by more than this share.
_SMALLER = 0.03


@dataclass(frozen=True)
class _Lines:
    """Rows or columns of one level: their share of the variance and the noise that they have in common."""

    share: float
    name: str
    noise_dn: float
    kind: FrameKind


def find_line_noise(observed: Observed) -> list[Finding]:
    """Rows or columns that move together, in the level where they show most.

    Notes
    -----
    Independent noise gives lines of n pixels a mean square of their means, times n, equal to the pixels' own. Noise
    that neighbours share raises it, to (1 + rho)/(1 - rho) where it fades geometrically; that is allowed for.
    """
    found: list[_Lines] = []
    for level in observed.levels:
        part = level.structure
        if part is None or part.within_dn2 <= 0:
            continue
        for name, count, length, between, along in (
            ("rows", part.rows, part.columns, part.between_rows_dn2, part.horizontal_dn2),
            ("columns", part.columns, part.rows, part.between_columns_dn2, part.vertical_dn2),
        ):
            rho = float(np.clip(along / part.within_dn2, 0.0, 0.9))
            ratio = between / part.within_dn2 / ((1 + rho) / (1 - rho))
            share = (ratio - 1) / length
            error = np.sqrt(2 / ((count - 1) * part.n_pairs))
            if ratio - 1 > SIGMAS * error and share > threshold("extra_row_noise"):
                noise = float(np.sqrt(share * part.within_dn2 / (2 * part.n_pairs)))
                found.append(_Lines(share, name, noise, level.kind))
    if not found:
        return []
    worst = max(found, key=lambda lines: lines.share)
    advice = "Look for interference, an unstable supply or read-out reference; a model of this camera needs row noise."
    if all(lines.kind == "bright" for lines in found) and any(level.kind == "dark" for level in observed.levels):
        advice = "The darks are free of it: look for a lamp that flickers during a rolling shutter."
    values = {"noise_dn": worst.noise_dn, "percent": 100 * worst.share, "advice": advice}
    return [finding("extra_row_noise", lines=worst.name, kind=worst.kind, **values)]


def _correlation(levels: Iterable[ObservedLevel]) -> tuple[float, float, float]:
    """Correlation of neighbours along rows and along columns, and its standard error."""
    parts = [level.structure for level in levels if level.structure is not None and level.structure.within_dn2 > 0]
    if not parts:
        return 0.0, 0.0, float("inf")
    n = np.array([float(part.rows * part.columns * part.n_pairs) for part in parts])
    along = np.array([part.horizontal_dn2 / part.within_dn2 for part in parts])
    across = np.array([part.vertical_dn2 / part.within_dn2 for part in parts])
    return float(n @ along / n.sum()), float(n @ across / n.sum()), float(1 / np.sqrt(n.sum()))


def find_correlation(observed: Observed, comparison: Comparison) -> list[Finding]:
    """Neighbours whose noise correlates; with a variance that is too small, the frames were smoothed."""
    out: dict[str, Finding] = {}
    kinds: tuple[FrameKind, ...] = ("dark", "bright")
    for kind in kinds:
        along, across, error = _correlation(level for level in observed.levels if level.kind == kind)
        loss = -0.5 * float(np.sum(np.log2(1 - np.clip(np.square([along, across]), 0, 0.99))))
        value = max(along, across, key=abs)
        if loss < threshold("correlated_noise") or abs(value) < SIGMAS * error:
            continue
        ranges = [entry for entry in comparison.ranges if entry.kind == kind]
        n = np.array([float(entry.n_pairs) for entry in ranges])
        ratio = float(n @ np.array([entry.ratio for entry in ranges]) / n.sum()) if ranges else 1.0
        if value > _SMOOTHED and ratio < 1 - _SMALLER:
            out.setdefault("denoised", finding("denoised", ratio=ratio, correlation=value))
        else:
            found = finding("correlated_noise", correlation=value, kind=kind, loss_bits=loss)
            out.setdefault("correlated_noise", found)
    return list(out.values())


def find_uneven_noise(observed: Observed) -> tuple[list[Finding], float]:
    """Regions whose noise differs at like signals; and by how much, rms of the variance's share."""
    regions = observed.regions
    if regions is None or regions.noise_ratio.size < 4:
        return [], 0.0
    ratio, std = regions.noise_ratio.ravel(), np.maximum(regions.noise_ratio_std.ravel(), 1e-12)
    weight = 1 / std**2
    mean = float(weight @ ratio / weight.sum())
    statistic = float(np.sum(((ratio - mean) / std) ** 2))
    excess = float(np.sqrt(max(np.mean((ratio - mean) ** 2) - np.mean(std**2), 0.0)))
    if chdtrc(ratio.size - 1, statistic) > 2 * ndtr(-SIGMAS) or excess < threshold("uneven_noise"):
        return [], 0.0
    rows, columns = regions.noise_ratio.shape
    place = int(np.argmax(np.abs(ratio - mean) / std))
    where = {"row": place // columns + 1, "column": place % columns + 1, "rows": rows, "columns": columns}
    return [finding("uneven_noise", percent=100 * excess, ratio=float(ratio[place] / mean), **where)], excess
