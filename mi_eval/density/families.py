"""The closed-form families that every score runs."""

from __future__ import annotations

from collections.abc import Iterator

from mi_eval.density.full_gaussian import FullGaussian
from mi_eval.density.gaussian import FittedGaussian, StationaryGaussian
from mi_eval.density.histogram import CodeHistogram
from mi_eval.density.interface import DensityFamily, FittedDensity
from mi_eval.density.patches import PatchSet
from mi_eval.density.recalibrated import RecalibratedGaussian
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture
from mi_eval.density.template_mixture import TemplateMixture


def closed_form_families() -> tuple[DensityFamily, ...]:
    """One declaration of each closed-form family, cheapest first."""
    return (
        CodeHistogram(),
        StationaryGaussian(),
        FullGaussian(),
        TemplateMixture(),
        ScaleMixture(),
        RecalibratedGaussian(),
    )


def fit_closed_form(train: PatchSet, validation: PatchSet, seed: int) -> Iterator[FittedDensity]:
    """Fit each of `closed_form_families` in turn; those that stand on another family get it fitted already."""
    full: FittedGaussian | None = None
    scales: FittedScaleMixture | None = None
    for family in closed_form_families():
        if isinstance(family, RecalibratedGaussian):
            yield family.fit(train, validation, seed, base=scales)
            continue
        if isinstance(family, TemplateMixture):
            yield family.fit(train, validation, seed, base=full)
            continue
        fitted = family.fit(train, validation, seed)
        if isinstance(fitted, FittedScaleMixture):
            scales = fitted
        if isinstance(family, FullGaussian) and isinstance(fitted, FittedGaussian):
            full = fitted
        yield fitted
