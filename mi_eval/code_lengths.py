"""What held-out coding gives: code lengths of every patch, their excess, and which fits they came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Which families code the frames: closed-form ones, also the network where it may help, or in any case; or also the
#: slow reference.
Density = Literal["auto", "closed-form", "network", "reference"]
#: How the finite-sample excess was found.
ExcessMethod = Literal["half-training", "bootstrap"]


@dataclass(frozen=True)
class CodedRows:
    """Code lengths and their excess by half training, bits per patch, of one fold's patches by number.

    Parameters
    ----------
    fit : int
        Number of the fit: folds with the same network share one.
    test, test_bits, test_excess_bits
        Patches held out; the excess is NaN where it was not measured.
    validation, validation_bits, validation_excess_bits, validation_group
        Patches that chose weights, and their groups.
    """

    fit: int
    test: IntArray
    test_bits: FloatArray
    test_excess_bits: FloatArray
    validation: IntArray
    validation_bits: FloatArray
    validation_excess_bits: FloatArray
    validation_group: IntArray

    def less_excess(self) -> CodedRows:
        """With the excess taken off the codes."""
        return replace(
            self,
            test_bits=self.test_bits - self.test_excess_bits,
            validation_bits=self.validation_bits - self.validation_excess_bits,
        )


@dataclass(frozen=True)
class HeldOut:
    """Code lengths of every patch by models that never saw its group.

    Parameters
    ----------
    full_bits : ndarray (n_patches,)
        Of the combination, bits per patch.
    excess_bits : ndarray (n_patches,)
        Finite-sample excess of ``full_bits``. By half training: with c/n of excess after n training patches, the
        growth when m of them are left is (c/n)(n/m - 1); of many patches a share of each group is measured, and the
        others have its mean.
    family_bits : ndarray (n_patches, n_families)
        NaN where patches are many and the family, without weight, coded a share of them.
    names : tuple of str
    weights, seconds : ndarray (n_families,)
        Mean weight in the combination; CPU seconds over all folds.
    slack_bits : float
        Bits per pixel that a recalibration or a regression given the causal past would still save; not below 0, nor
        below the excess of networks times their weight.
    pit : ndarray
        Randomised probability integral transform of codes given their past under the best family.
    no_torch : bool
        Whether a network might have helped, but torch is not installed.
    folds : tuple of CodedRows
        What the chance of the fits is measured by.
    excess_method : {"half-training", "bootstrap"}
        Where ``excess_bits`` are from; see `mi_eval.bootstrap_excess`.
    excess_std_bits : float
        Standard error of a bootstrap, bits per pixel.
    half_training_excess_bits : float
        Mean excess by half training, bits per patch, whatever the method.
    """

    full_bits: FloatArray
    excess_bits: FloatArray
    family_bits: FloatArray
    names: tuple[str, ...]
    weights: FloatArray
    seconds: FloatArray
    slack_bits: float
    pit: FloatArray
    no_torch: bool = False
    folds: tuple[CodedRows, ...] = ()
    excess_method: ExcessMethod = "half-training"
    excess_std_bits: float = 0.0
    half_training_excess_bits: float = 0.0

    @property
    def corrected_folds(self) -> tuple[CodedRows, ...]:
        """`folds` with the codes as the mean has them: less the excess where it was measured patch by patch."""
        return self.folds if self.excess_method == "bootstrap" else tuple(fold.less_excess() for fold in self.folds)
