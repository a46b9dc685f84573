"""The closed-form families that every score runs."""

from __future__ import annotations

from collections.abc import Iterator

from mi_eval.density.full_gaussian import FullGaussian
from mi_eval.density.gaussian import StationaryGaussian
from mi_eval.density.histogram import CodeHistogram
from mi_eval.density.interface import DensityFamily, FittedDensity
from mi_eval.density.patches import PatchSet
from mi_eval.density.recalibrated import RecalibratedGaussian
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture


def closed_form_families() -> tuple[DensityFamily, ...]:
    """One declaration of each closed-form family, cheapest first."""
    return (CodeHistogram(), StationaryGaussian(), FullGaussian(), ScaleMixture(), RecalibratedGaussian())


def fit_closed_form(train: PatchSet, validation: PatchSet, seed: int) -> Iterator[FittedDensity]:
    """Fit each of `closed_form_families` in turn, the scale mixture once for the two that need it."""
    base: FittedScaleMixture | None = None
    for family in closed_form_families():
        if isinstance(family, RecalibratedGaussian):
            yield family.fit(train, validation, seed, base=base)
            continue
        fitted = family.fit(train, validation, seed)
        if isinstance(fitted, FittedScaleMixture):
            base = fitted
        yield fitted
