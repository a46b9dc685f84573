"""What the chance of a fit does to a score: folds dealt, frames that choose, and where networks and templates start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mi_eval.code_lengths import CodedRows, HeldOut

_MOST_DOF = 1e6


@dataclass(frozen=True)
class FitSpread:
    """Standard error that the fits of a score add to its mean, and its degrees of freedom.

    Parameters
    ----------
    std_bits : float
        Bits per pixel.
    dof : int
        Independent differences between fits that it rests on; 0 where there were none.
    """

    std_bits: float = 0.0
    dof: int = 0


def spread_of_fits(folds: Sequence[CodedRows], n_pixels: int) -> FitSpread:
    r"""Compare fits on patches that two of them code.

    A frame that chooses the weights of fold i is held out in another fold j. With e the error that the chance of a fit
    makes in the mean of its codes, and b what choosing saves on the frames that choose,

    .. math:: d_{ij} = \overline{L_i - L_j} = e_i - e_j - b, \qquad
              \tfrac12 E\big[\tfrac14 (d_{ij} - d_{ji})^2\big] = \sigma^2 + \text{chance of the patches},

    whose own share is known from the spread of the patches' differences and taken off. K fits leave
    :math:`\sigma/\sqrt K` in the mean.

    Parameters
    ----------
    folds : sequence of CodedRows
    n_pixels : int
        Of a patch.
    """
    squares: list[float] = []
    for i, first in enumerate(folds):
        for second in folds[i + 1 :]:
            if first.fit == second.fit:
                continue
            there, back = _difference(first, second), _difference(second, first)
            if there is not None and back is not None:
                mean, noise = 0.5 * (there[0] - back[0]), 0.25 * (there[1] + back[1])
                squares.append(0.5 * (mean**2 - noise))
    n_fits = len({fold.fit for fold in folds})
    if not squares:
        return FitSpread()
    variance = max(float(np.mean(squares)), 0.0) / n_fits
    return FitSpread(float(np.sqrt(variance)) / n_pixels, n_fits - 1)


def spread_in_score(heldout: HeldOut, n_pixels: int, other: HeldOut | None = None) -> FitSpread:
    """Spread that the fits, and a bootstrapped excess, leave in a score, or in the difference of two with common folds.

    What both scores' fits do alike, because they see the same scenes, is not in their difference.
    """
    if other is None:
        found = spread_of_fits(heldout.corrected_folds, n_pixels)
        return FitSpread(float(np.hypot(found.std_bits, heldout.excess_std_bits)), found.dof)
    pairs = zip(heldout.corrected_folds, other.corrected_folds, strict=True)
    found = spread_of_fits([_less(first, second) for first, second in pairs], n_pixels)
    return FitSpread(float(np.linalg.norm([found.std_bits, heldout.excess_std_bits, other.excess_std_bits])), found.dof)


def effective_dof(variances: Sequence[float], dofs: Sequence[int | None]) -> float:
    r"""Degrees of freedom of a sum of variances, :math:`(\sum v_i)^2 / \sum v_i^2/\nu_i`; None: known exactly.

    Welch (1947, doi:10.1093/biomet/34.1-2.28) and Satterthwaite (1946, doi:10.2307/3002019).

    Examples
    --------
    >>> effective_dof([1.0, 1.0], [10, 10]), effective_dof([1.0, 1.0], [10, None])
    (20.0, 40.0)
    """
    spread = sum(v**2 / max(dof, 1) for v, dof in zip(variances, dofs, strict=True) if dof is not None)
    total = float(sum(variances)) ** 2
    return float(min(total / spread, _MOST_DOF)) if spread > 0 else _MOST_DOF


def _less(first: CodedRows, second: CodedRows) -> CodedRows:
    """Differences of code lengths patch by patch."""
    return replace(
        first,
        test_bits=first.test_bits - second.test_bits,
        validation_bits=first.validation_bits - second.validation_bits,
    )


def _difference(chose: CodedRows, held_out: CodedRows) -> tuple[float, float] | None:
    """Mean code length of the fit that chose on some patches less the one that never saw them, and its variance.

    The variance is that of whole groups: patches of one frame move together.
    """
    _, own, other = np.intersect1d(chose.validation, held_out.test, assume_unique=True, return_indices=True)
    difference = chose.validation_bits[own] - held_out.test_bits[other]
    known = np.isfinite(difference)
    difference = difference[known]
    number = np.unique(chose.validation_group[own][known], return_inverse=True)[1].ravel()
    n_groups = int(number.max(initial=-1)) + 1
    if n_groups < 2:
        return None
    mean = float(difference.mean())
    sums = np.bincount(number, weights=difference - mean)
    return mean, float(np.sum(sums**2)) / difference.size**2 * n_groups / (n_groups - 1)
