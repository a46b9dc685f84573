"""The registry of pixel defects: every kind has a bit, a threshold and a sentence for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Fewest darks that two levels can be seen in: with 32 they must lie 10 standard deviations apart, with 64 five.
FEWEST_DARKS_FOR_TELEGRAPH = 32


@dataclass(frozen=True)
class DefectKind:
    """One way in which a pixel is not like the others.

    Parameters
    ----------
    name : str
    bit : int
        Its value in the mask: a power of two.
    meaning : str
        What such a pixel does.
    threshold : float
        Where it starts, in what ``threshold_unit`` says.
    threshold_unit : str
    unusable : bool
        Whether the maps cannot describe the pixel, so that its codes say nothing about the light.
    """

    name: str
    bit: int
    meaning: str
    threshold: float
    threshold_unit: str
    unusable: bool


_KINDS = (
    DefectKind(
        "hot",
        1,
        "its dark signal at the longest dark exposure stands far above the others', and above three times the "
        "temporal noise",
        8.0,
        "robust standard deviations above the median",
        unusable=False,
    ),
    DefectKind(
        "cold",
        2,
        "it answers to light less than half as much as the pixels around it, or not at all",
        0.5,
        "of the neighbours' response",
        unusable=True,
    ),
    DefectKind("stuck", 4, "it gave the same code in every frame, dark or bright", 1.0, "codes seen", unusable=True),
    DefectKind(
        "noisy",
        8,
        "its temporal noise in the dark is more than three times the typical one, and far beyond the spread of "
        "this sensor's pixels",
        6.0,
        "robust standard deviations of the logarithm of the variance",
        unusable=False,
    ),
    DefectKind(
        "telegraph",
        16,
        "its dark codes jump between two levels (random telegraph noise): they have two peaks where noise has one",
        5.0,
        "standard errors below the scatter that normal noise leaves about its two best levels",
        unusable=False,
    ),
)

DEFECT_KINDS: dict[str, DefectKind] = {kind.name: kind for kind in _KINDS}


def unusable_pixels(defects: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of a defect mask whose codes say nothing about the light; the shape of ``defects``."""
    bits = sum(kind.bit for kind in _KINDS if kind.unusable)
    return np.asarray((defects & np.uint8(bits)) != 0)


def defect_names(mask: int) -> tuple[str, ...]:
    """Names of the defects in one pixel's mask.

    Examples
    --------
    >>> defect_names(9)
    ('hot', 'noisy')
    """
    return tuple(kind.name for kind in _KINDS if mask & kind.bit)


def not_looked_for(kinds: Collection[str]) -> str:
    """A sentence on telegraph pixels where ``kinds``, those that were looked for, lack them; else empty."""
    if "telegraph" in kinds:
        return ""
    return (
        "Telegraph pixels, which jump between two levels, were not looked for: that takes "
        f"{FEWEST_DARKS_FOR_TELEGRAPH} darks or more."
    )
