"""The score in words and plain numbers: small pure functions of the JSON and the details."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mi_eval.score_details import ScoreDetails

FloatArray = NDArray[np.float64]
Score = Mapping[str, Any]


@dataclass(frozen=True)
class Headline:
    """The result in words; ``detected`` is False where the interval reaches zero."""

    main: str
    detail: str
    detected: bool


def decimals(std: float | None) -> int:
    """Decimals that show the first digit of the standard error, between 2 and 5; 3 where it is unknown.

    Examples
    --------
    >>> decimals(0.0064), decimals(0.00064), decimals(None)
    (3, 4, 3)
    """
    if std is None or not std > 0 or not math.isfinite(std):
        return 3
    return int(min(max(-math.floor(math.log10(std)), 2), 5))


def headline(score: Score) -> Headline:
    """``1.178 bit/px`` with its interval, or ``no information detected`` with the interval's upper end."""
    information = score["mutual_information_bits_per_pixel"]
    value, (low, high) = information["value"], information["ci95"]
    d = decimals(information.get("std"))
    if low > 0:
        return Headline(f"{value:.{d}f} bit/px", f"95 % interval {low:.{d}f} to {high:.{d}f}", True)
    most = _rounded_up(max(high, 0.0), d)
    return Headline(
        "no information detected",
        f"at most {most} bit/px (estimate {value:.{d}f}, 95 % interval {low:.{d}f} to {high:.{d}f})",
        False,
    )


def _rounded_up(value: float, places: int) -> str:
    """A bound is rounded away from zero, so that what is printed is still a bound."""
    return f"{math.ceil(value * 10**places - 1e-9) / 10**places:.{places}f}"


def lower_bound_is_near(score: Score) -> bool:
    """Whether the lower bound fits into a picture of the interval: InfoNCE on rich scenes does not."""
    lower = score.get("lower_bound_bits_per_pixel")
    information = score["mutual_information_bits_per_pixel"]
    points = [*information["ci95"], information["value"], score["upper_bound_bits_per_pixel"]]
    return lower is not None and min(points) - lower < 4 * (max(points) - min(points))


def meaning(score: Score) -> str:
    """What the number means, for somebody who wants to use it."""
    information = score["mutual_information_bits_per_pixel"]
    value, (low, high) = information["value"], information["ci95"]
    if high < 0:
        return (
            "The whole interval lies below zero, which no camera can do: the noise model claims more noise than the "
            "frames have. Check that it belongs to this camera, gain and temperature."
        )
    if low <= 0:
        return "The frames vary no more than the camera's noise alone makes them vary, within the error of this score."
    text = (
        f"On average a pixel tells as much about the scene as {2**value:.3g} equally likely grey levels that could be "
        f"told apart without error (2 to the power of {value:.3g})"
    )
    per_electron, mean = score.get("bits_per_electron"), score.get("mean_signal_e")
    if per_electron is not None and mean is not None:
        text += f"; at a mean signal of {mean:.4g} electrons that is {per_electron:.3g} bits per electron"
    return text + "."


def frame_outliers(bits: FloatArray, limit: float = 4.0) -> NDArray[np.bool_]:
    """Frames farther than `limit` robust standard deviations from the median; none below five frames."""
    values = np.asarray(bits, dtype=np.float64)
    median = np.median(values) if values.size else 0.0
    spread = 1.4826 * float(np.median(np.abs(values - median))) if values.size else 0.0
    if values.size < 5 or spread == 0:
        return np.zeros(values.shape, dtype=bool)
    return np.asarray(np.abs(values - median) > limit * spread)


def local_information(details: ScoreDetails, patch_size: int) -> tuple[FloatArray, int] | None:
    """Map (h, w) of (code length - H(Z|Y)) / pixels over the example frame, and the number of patches in it.

    Overlapping patches are averaged; pixels under no patch are NaN. None where something needed is missing or
    no patch lies in the example frame.
    """
    frame, positions = details.example_frame, details.patch_positions
    lengths, conditional = details.per_patch_code_length_bits, details.per_patch_conditional_bits
    if frame is None or positions is None or lengths is None or conditional is None:
        return None
    chosen = np.flatnonzero(np.asarray(positions)[:, 0] == details.example_frame_index)
    if chosen.size == 0:
        return None
    bits = (np.asarray(lengths)[chosen] - np.asarray(conditional)[chosen]) / patch_size**2
    total, count = np.zeros(frame.shape), np.zeros(frame.shape)
    for value, (_, row, column) in zip(bits, np.asarray(positions)[chosen], strict=True):
        part = slice(row, row + patch_size), slice(column, column + patch_size)
        total[part] += value
        count[part] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), int(chosen.size)


@dataclass(frozen=True)
class CodeComparison:
    """Observed and predicted numbers of pixels per bin of codes, and their difference in Poisson standard errors."""

    edges: FloatArray
    observed: FloatArray
    predicted: FloatArray
    residuals: FloatArray


def compare_codes(codes: FloatArray, observed: FloatArray, pmf: FloatArray, n_bins: int = 120) -> CodeComparison:
    """Codes in at most `n_bins` bins of equal width; no residual where less than one pixel is expected."""
    code = np.asarray(codes, dtype=np.float64)
    low, high = float(code.min()), float(code.max())
    width = max(1.0, math.ceil((high - low + 1) / n_bins))
    edges = np.arange(low - 0.5, high + 0.5 + width, width)
    counts, _ = np.histogram(code, edges, weights=np.asarray(observed, dtype=np.float64))
    expected, _ = np.histogram(code, edges, weights=np.asarray(pmf, dtype=np.float64))
    expected = expected * float(np.sum(observed))
    residuals = np.where(expected >= 1, (counts - expected) / np.sqrt(np.maximum(expected, 1)), np.nan)
    return CodeComparison(edges, counts, expected, residuals)


def intensity_density(grid_e: FloatArray, weights: FloatArray, n_bins: int = 48) -> tuple[FloatArray, FloatArray]:
    """The intensity law in bins of equal width in sqrt(y): edges (n + 1,) in electrons, shares (n,) that sum to 1.

    The estimate is a few spikes by nature; only its sums over ranges mean something. Negative charges (kind
    ``gaussian``) get bins of equal width in y.
    """
    y, w = np.asarray(grid_e, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    kept = w > 1e-6 * float(w.max())
    low, high = float(y[kept].min()), float(y[kept].max())
    pad = max(0.02 * (high - low), 1e-9 * max(abs(high), 1.0), 1e-12)
    if low >= 0:
        edges = np.linspace(math.sqrt(max(low - pad, 0.0)), math.sqrt(high + pad), n_bins + 1) ** 2
    else:
        edges = np.linspace(low - pad, high + pad, n_bins + 1)
    shares, _ = np.histogram(y, edges, weights=w)
    return edges, shares / float(np.sum(w))
