"""Density models of raw codes: closed-form families whose held-out code length bounds H(Z) from above.

Names are resolved on first use (PEP 562), so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.density.by_channel import place_classes
    from mi_eval.density.combine import combine_code_lengths, fit_mixture_weights
    from mi_eval.density.families import closed_form_families, fit_closed_form, network_families
    from mi_eval.density.full_gaussian import FullGaussian
    from mi_eval.density.gaussian import StationaryGaussian
    from mi_eval.density.histogram import CodeHistogram
    from mi_eval.density.interface import DensityFamily, FittedDensity, NetworkFamily
    from mi_eval.density.misfit import estimate_unexplained_bits
    from mi_eval.density.patches import PatchSet
    from mi_eval.density.pit import RecoverableBits, estimate_recoverable_bits, randomised_pit
    from mi_eval.density.recalibrated import RecalibratedGaussian
    from mi_eval.density.scale_mixture import ScaleMixture
    from mi_eval.density.template_mixture import TemplateMixture

__all__ = [
    "CodeHistogram",
    "DensityFamily",
    "FittedDensity",
    "FullGaussian",
    "NetworkFamily",
    "PatchSet",
    "RecalibratedGaussian",
    "RecoverableBits",
    "ScaleMixture",
    "StationaryGaussian",
    "TemplateMixture",
    "closed_form_families",
    "combine_code_lengths",
    "estimate_recoverable_bits",
    "estimate_unexplained_bits",
    "fit_closed_form",
    "fit_mixture_weights",
    "network_families",
    "place_classes",
    "randomised_pit",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "place_classes": "mi_eval.density.by_channel",
        "PatchSet": "mi_eval.density.patches",
        "DensityFamily": "mi_eval.density.interface",
        "FittedDensity": "mi_eval.density.interface",
        "NetworkFamily": "mi_eval.density.interface",
        "CodeHistogram": "mi_eval.density.histogram",
        "StationaryGaussian": "mi_eval.density.gaussian",
        "FullGaussian": "mi_eval.density.full_gaussian",
        "RecalibratedGaussian": "mi_eval.density.recalibrated",
        "ScaleMixture": "mi_eval.density.scale_mixture",
        "TemplateMixture": "mi_eval.density.template_mixture",
        "closed_form_families": "mi_eval.density.families",
        "fit_closed_form": "mi_eval.density.families",
        "network_families": "mi_eval.density.families",
        "combine_code_lengths": "mi_eval.density.combine",
        "fit_mixture_weights": "mi_eval.density.combine",
        "randomised_pit": "mi_eval.density.pit",
        "estimate_recoverable_bits": "mi_eval.density.pit",
        "RecoverableBits": "mi_eval.density.pit",
        "estimate_unexplained_bits": "mi_eval.density.misfit",
    },
)
